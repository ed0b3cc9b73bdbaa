"""The operator behind `vla3d.views.lifting`: the best voxel of the cube for a set of heatmaps."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from vla3d.kernels.launching import launch
from vla3d.kernels.operators import Operator, register
from vla3d.kernels.sharing import in_shares
from vla3d.views.reference import lifting as reference
from vla3d.views.view_set import ViewSet, coordinate_of, view_set_of

_MOST_ELEMENTS = 2**31 - 1  # the kernels count in 32 bits
_CUDA_LANES = 1 << 16


@lru_cache(maxsize=64)
def _axes(views: ViewSet, device: torch.device) -> Float[Tensor, "V 3 3"]:
    """Kept, since a copy from the host makes the program wait for a GPU."""
    return views.axes(device)


@lru_cache(maxsize=64)
def _layout(views: ViewSet, device: torch.device) -> Int32[Tensor, "V 4"]:
    """Where each axis-aligned view lies: its plane, whether it is transposed, and mirrored along the plane's two axes."""
    rows = []
    for view in views:
        (down, down_rises), (right, right_rises) = coordinate_of(view.down), coordinate_of(view.right)
        first_rises, second_rises = (down_rises, right_rises) if down < right else (right_rises, down_rises)
        plane = reference.PLANES.index((min(down, right), max(down, right)))
        rows.append([plane, int(down > right), int(not first_rises), int(not second_rises)])
    return torch.tensor(rows, dtype=torch.int32, device=device)


def work_of_a_thread(device: torch.device, grid: int) -> tuple[int, int]:
    """Values of ``z`` that a thread compares, and how many threads score the voxels of a sample."""
    return (1, min(grid**3, _CUDA_LANES)) if device.type == "cuda" else (grid, 1)


def _kernel(heatmaps: Tensor, axes: Sequence[float], grid: int, chosen: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    views = view_set_of(tuple(axes))
    lift = _separable if views.axis_aligned else _general
    index, score = lift(heatmaps.contiguous(), views, grid, chosen.contiguous(), radius)
    return index.masked_fill(score == -torch.inf, -1), score


def _separable(heatmaps: Tensor, views: ViewSet, grid: int, chosen: Tensor, radius: int) -> reference.Best:
    from vla3d.views.kernels import lifting as kernels

    batch, resolution, device = heatmaps.shape[0], heatmaps.shape[-1], heatmaps.device
    sizes = len(views), resolution, grid, resolution / 2
    share, _ = work_of_a_thread(device, grid)
    parts: dict[int, reference.Best] = {}

    def lift(rows: slice) -> None:
        samples = rows.stop - rows.start
        planes = heatmaps.new_empty(3, samples, grid, grid)
        launch(kernels.plane_maps, (3, samples, grid), heatmaps[rows].view(-1), _layout(views, device), *sizes, planes)
        maxima = heatmaps.new_empty(samples, grid, grid // share)
        inputs = planes.view(-1), samples, grid, chosen[rows], radius, share
        launch(kernels.slab_maxima, tuple(maxima.shape), *inputs, maxima)
        parts[rows.start] = reference.first_of_slabs(maxima.amax(2), planes, chosen[rows], radius, len(views))

    in_shares(batch, device, lift, _MOST_ELEMENTS // max(3 * grid * grid, len(views) * resolution**2))
    if not parts:
        return heatmaps.new_empty(0, dtype=torch.int64), heatmaps.new_empty(0)
    index, score = zip(*(parts[begin] for begin in sorted(parts)), strict=True)
    return (index[0], score[0]) if len(parts) == 1 else (torch.cat(index), torch.cat(score))


def _general(heatmaps: Tensor, views: ViewSet, grid: int, chosen: Tensor, radius: int) -> reference.Best:
    from vla3d.views.kernels import lifting as kernels

    batch, resolution, device = heatmaps.shape[0], heatmaps.shape[-1], heatmaps.device
    _, lanes = work_of_a_thread(device, grid)
    keys = torch.empty(batch, lanes, dtype=torch.int64, device=device)
    lowest, axes = heatmaps.amin((2, 3)), _axes(views, device)

    def score(rows: slice) -> None:
        samples = heatmaps[rows], lowest[rows], axes, grid, resolution / 2, chosen[rows], radius, lanes, keys[rows]
        launch(kernels.best_keys, (rows.stop - rows.start, lanes), *samples)

    in_shares(batch, device, score, _MOST_ELEMENTS)
    key = keys.amax(1)
    number = (key >> 32).to(torch.int32)
    bits = number ^ ((number >> 31) & 0x7FFFFFFF)
    return 0xFFFFFFFF - (key & 0xFFFFFFFF), bits.view(torch.float32)


def _reference(heatmaps: Tensor, axes: Sequence[float], grid: int, chosen: Tensor, radius: int) -> reference.Best:
    return reference.best_voxel(heatmaps, view_set_of(tuple(axes)), grid, chosen, radius)


def _fake(heatmaps: Tensor, axes: Sequence[float], grid: int, chosen: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    return heatmaps.new_empty(heatmaps.shape[:1], dtype=torch.int64), heatmaps.new_empty(heatmaps.shape[:1])


best_voxel = register(
    Operator(
        schema="best_voxel(Tensor heatmaps, float[] axes, SymInt grid, Tensor chosen, int radius) -> (Tensor, Tensor)",
        kernel=_kernel,
        reference=_reference,
        fake=_fake,
    )
)
