"""Rows by index and back: gathering what belongs to points, and adding it up again."""

from typing import Any

import torch
from jaxtyping import Int, Int64, Shaped
from torch import Tensor

from vla3d.kernels.launching import launch
from vla3d.kernels.operators import Operator, register
from vla3d.pointcloud.grouping import group_rows
from vla3d.pointcloud.reference import gathering as reference
from vla3d.pointcloud.rows import check_device


def gather_points(values: Shaped[Tensor, "*rows C"], index: Int[Tensor, "*shape"]) -> Shaped[Tensor, "*shape C"]:
    """The values of points by index; with the indices of `knn` or `ball_query`, a group of them for each query.

    The gradient of a point that is taken many times is added up in the order of the indices: the same on every run and device.

    Args:
        values: ``(B, N, C)`` of padded clouds, or ``(T, C)`` of packed ones.
        index: ``(B, ...)`` within each cloud, or of any shape for packed ones. Negative stands for no point.

    Returns:
        The values, in the shape of ``index``; zeros where there is no point.

    Raises:
        ValueError: when shapes, types or devices do not fit.
        IndexError: when an index is too large; a GPU is not asked, and there the row is undefined.
    """
    if values.ndim not in (2, 3):
        raise ValueError(f"values: got shape {tuple(values.shape)}, expected (B, N, C), or (T, C) for packed clouds.")
    if index.is_floating_point() or index.dtype == torch.bool:
        raise ValueError(f"index: got {index.dtype}, expected whole numbers.")
    check_device("index", index, values)
    size, channels = values.shape[-2:]
    if index.device.type == "cpu" and not torch.compiler.is_compiling() and bool((index >= size).any()):
        raise IndexError(f"index: got {int(index.max())}, expected less than {size}, the size of values.")
    rows = index.long()
    if values.ndim == 3:
        batch = values.shape[0]
        if index.ndim == 0 or index.shape[0] != batch:
            raise ValueError(f"index: got shape {tuple(index.shape)}, expected ({batch}, ...), as many clouds as values.")
        start = (torch.arange(batch, device=index.device) * size).view(-1, *(1 for _ in index.shape[1:]))
        rows, values = torch.where(rows >= 0, rows + start, -1), values.flatten(0, 1)
    return gather_rows(values, rows.reshape(-1)).view(*index.shape, channels)


def gather_rows(values: Shaped[Tensor, "R C"], index: Int64[Tensor, "n"]) -> Shaped[Tensor, "n C"]:
    """Rows by index, zeros where it is negative."""
    return _gather_rows(values, index)


def sum_rows(
    values: Shaped[Tensor, "R C"], index: Int64[Tensor, "R"], total: int, mean: bool = False
) -> Shaped[Tensor, "total C"]:
    """Add up the rows of each index, in float64 and in their order; or their mean. The adjoint of `gather_rows`.

    Args:
        values: rows.
        index: where each of them goes, less than ``total``; negative ones are left out.
        total: rows of the result. Those to which none goes are zero.
        mean: divide by how many there are.
    """
    return _sum_rows(values, index, total, mean)


def _gather(values: Tensor, index: Tensor) -> Tensor:
    gather = _gather_serially if values.device.type == "cpu" else _gather_in_parallel
    return values.new_zeros(len(index), values.shape[1]) if len(values) == 0 else gather(values, index)


def _gather_serially(values: Tensor, index: Tensor) -> Tensor:
    """The form for a CPU: which rows are no points can be asked, and then only those are written twice."""
    missing = index < 0
    if not bool(missing.any()):
        return values.index_select(0, index)
    return values.index_select(0, index.clamp(min=0)).index_fill_(0, missing.nonzero()[:, 0], 0)


def _gather_in_parallel(values: Tensor, index: Tensor) -> Tensor:
    """The form for CUDA."""
    return values[index.clamp(min=0)].masked_fill_(index[:, None] < 0, 0)


def _gather_fake(values: Tensor, index: Tensor) -> Tensor:
    return values.new_empty((index.shape[0], values.shape[1]))


def _gather_save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    values, index = inputs
    ctx.rows = values.shape[0]
    ctx.save_for_backward(index)


def _gather_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    (index,) = ctx.saved_tensors
    return sum_rows(gradient, index, ctx.rows), None


def _sum(values: Tensor, index: Tensor, total: int, mean: bool) -> Tensor:
    together = torch.zeros(total, values.shape[1], device=values.device)
    if 0 not in (len(values), values.shape[1], total):
        add_up = _sum_serially if values.device.type == "cpu" else _sum_in_parallel
        add_up(values.float().contiguous(), index, mean, together)
    return together.to(values.dtype)


def _sum_serially(values: Tensor, index: Tensor, mean: bool, together: Tensor) -> None:
    """Fill in ``together`` by one thread, the rows as they come: the form for a CPU."""
    from vla3d.pointcloud.kernels import serial_gathering as kernels

    total, channels = together.shape
    sums = torch.empty(total, min(channels, kernels.CHANNELS_AT_ONCE) + 1, dtype=torch.float64)
    launch(kernels.sum_rows, 1, values, index.contiguous(), int(mean), sums, together)


def _sum_in_parallel(values: Tensor, index: Tensor, mean: bool, together: Tensor) -> None:
    """Fill in ``together``, a thread for each of its numbers: the form for CUDA."""
    from vla3d.pointcloud.kernels import gathering as kernels

    order, begin = group_rows(index, len(together))
    launch(kernels.sum_rows, tuple(together.shape), values, order, begin, int(mean), together)


def _sum_fake(values: Tensor, index: Tensor, total: int, mean: bool) -> Tensor:
    return values.new_empty((total, values.shape[1]))


def _sum_save(ctx: Any, inputs: tuple[Tensor, Tensor, int, bool], output: Tensor) -> None:
    _, index, ctx.total, ctx.mean = inputs
    ctx.save_for_backward(index)


def _sum_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    (index,) = ctx.saved_tensors
    if ctx.mean:
        count = torch.zeros(ctx.total + 1, dtype=torch.int64, device=index.device)
        count = count.scatter_add(0, torch.where(index >= 0, index, ctx.total), torch.ones_like(index))[:-1]
        gradient = gradient / count.clamp(min=1)[:, None]
    return gather_rows(gradient, index), None, None, None


_gather_rows = register(
    Operator(
        schema="gather_rows(Tensor values, Tensor index) -> Tensor",
        kernel=_gather,
        reference=_gather,
        fake=_gather_fake,
        save=_gather_save,
        backward=_gather_backward,
    )
)

_sum_rows = register(
    Operator(
        schema="sum_rows(Tensor values, Tensor index, SymInt total, bool mean) -> Tensor",
        kernel=_sum,
        reference=reference.sum_rows,
        fake=_sum_fake,
        save=_sum_save,
        backward=_sum_backward,
    )
)
