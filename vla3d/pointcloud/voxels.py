"""Thinning clouds to one point for each voxel."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor
from torch.nn.functional import pad

from vla3d.kernels.launching import launch
from vla3d.kernels.operators import Operator, register
from vla3d.kernels.sharing import in_shares
from vla3d.pointcloud.gathering import gather_rows, sum_rows
from vla3d.pointcloud.reference import voxels as reference
from vla3d.pointcloud.rows import check_device, rows_of

# Points of all clouds whose time outweighs that of starting a thread.
_FEWEST_TO_SHARE = 1 << 15


@dataclass(frozen=True, kw_only=True, eq=False)
class Voxels:
    """The occupied voxels of clouds, in the form of the clouds: padded, or packed.

    There is room for as many voxels as there were points, because counting them would make the program wait for a GPU; what is
    not used is zero. `trimmed` cuts it off.

    Attributes:
        points: mean of the points of each voxel; of a cloud by ``(x, y, z)`` of the voxel.
        lengths: voxels of each padded cloud; None for packed ones.
        offsets: borders of packed clouds; None for padded ones.
        count: how many points each voxel holds.
        index: voxel of each point, -1 for invalid ones; within the cloud, or, for packed clouds, in the flat tensor.
            `gather_points` with it brings what belongs to voxels back to the points.
        values: mean of the values of each voxel's points, when values were handed over.
    """

    points: Float[Tensor, "*rows 3"]
    lengths: Int64[Tensor, "B"] | None
    offsets: Int64[Tensor, "B_plus_1"] | None
    count: Int64[Tensor, "*rows"]
    index: Int64[Tensor, "*rows_of_points"]
    values: Float[Tensor, "*rows C"] | None

    def trimmed(self) -> "Voxels":
        """Without the room that no voxel needs. Waits for a GPU."""
        if self.offsets is not None:
            most = int(self.offsets[-1])
            parts = (self.points[:most], self.count[:most], None if self.values is None else self.values[:most])
        else:
            assert self.lengths is not None
            most = int(self.lengths.max()) if len(self.lengths) > 0 else 0
            parts = (self.points[:, :most], self.count[:, :most], None if self.values is None else self.values[:, :most])
        return replace(self, points=parts[0], count=parts[1], values=parts[2])


def voxel_downsample(
    points: Float[Tensor, "*shape 3"],
    size: float,
    lengths: Int[Tensor, "B"] | None = None,
    *,
    offsets: Int[Tensor, "B_plus_1"] | None = None,
    values: Float[Tensor, "*shape C"] | None = None,
) -> Voxels:
    """The mean of the points in each voxel of a grid whose corners are the whole multiples of ``size``.

    A point lies in voxel ``floor(point / size)``, computed in float64. Means are summed in float64 in the order of the points,
    and are the same on every run and device; they are differentiable. Points with a non-finite coordinate are left out.

    Args:
        points: clouds, padded ``(B, N, 3)`` or packed ``(T, 3)``.
        size: edge of a voxel in metres.
        lengths: real points of each padded cloud; all when None.
        offsets: borders of packed clouds.
        values: something else of each point to average, for example colours or features.

    Raises:
        ValueError: when shapes, types, devices or sizes do not fit; when a cloud has too many voxels along an axis for a 63-bit
            key of cloud and voxel: more than 2^21 for one cloud, 2^19 for 64. On a GPU, where that is not looked at, points
            farther than this from the cloud's lowest corner are left out.
    """
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < math.inf:
        raise ValueError(f"size: got {size!r}, expected metres, more than 0.")
    rows = rows_of("points", points, lengths, offsets)
    total, shape = rows.points.shape[0], points.shape[:-1]
    mean, row, voxels, count = _downsample(rows.points, rows.starts, rows.lengths, float(size), rows.packed)
    means = None
    if values is not None:
        if values.shape[:-1] != shape or not values.is_floating_point():
            raise ValueError(
                f"values: got {values.dtype} of shape {tuple(values.shape)}, expected floating-point numbers {(*shape, 'C')}."
            )
        check_device("values", values, points)
        means = sum_rows(values.flatten(0, -2), row, total, mean=True).view(values.shape)
    return Voxels(
        points=mean.view(points.shape),
        lengths=None if rows.packed else voxels,
        offsets=pad(voxels.cumsum(0), (1, 0)) if rows.packed else None,
        count=count.view(shape),
        index=row if rows.packed else (row.view(shape) - rows.starts[:, None]).clamp_(min=-1),
        values=means,
    )


def _kernel(points: Tensor, starts: Tensor, lengths: Tensor, size: float, packed: bool) -> tuple[Tensor, ...]:
    serially = points.device.type == "cpu" and 0 not in (len(points), len(starts))
    return (_downsample_serially if serially else _downsample_in_parallel)(points, starts, lengths, size, packed)


def _downsample_serially(points: Tensor, starts: Tensor, lengths: Tensor, size: float, packed: bool) -> tuple[Tensor, ...]:
    """Each thread some of the clouds: the form for a CPU."""
    from vla3d.pointcloud.kernels import serial_voxels as kernels

    batch, total = len(starts), len(points)
    means = torch.zeros_like(points)
    row, voxels, count = torch.full((total,), -1), torch.empty_like(starts), torch.zeros(total, dtype=torch.int64)
    workspace = torch.empty(total, kernels.WIDTH, dtype=torch.float64)
    most = 1 << reference.axis_bits(batch)

    def downsample(clouds: slice) -> None:
        results = (row, voxels, count, means)
        ends = (clouds.start, clouds.stop)
        launch(kernels.downsample, 1, points, starts, lengths, size, most, int(packed), *ends, workspace, *results)

    if packed or total < _FEWEST_TO_SHARE:
        downsample(slice(0, batch))
    else:
        in_shares(batch, points.device, downsample, most=batch)
    reference.check_extent(-int(voxels.min()), size, batch)
    return means, row, voxels, count


def _downsample_in_parallel(points: Tensor, starts: Tensor, lengths: Tensor, size: float, packed: bool) -> tuple[Tensor, ...]:
    """The form for CUDA, and the reference: sorting and counting, which torch does well by itself."""
    row, voxels, count = reference.voxel_rows(points, starts, lengths, size, packed)
    return sum_rows(points, row, len(points), mean=True), row, voxels, count


def _fake(points: Tensor, starts: Tensor, lengths: Tensor, size: float, packed: bool) -> tuple[Tensor, ...]:
    row = points.new_empty(points.shape[0], dtype=torch.int64)
    return torch.empty_like(points), row, torch.empty_like(starts), torch.empty_like(row)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, row, voxels, count = output
    ctx.mark_non_differentiable(row, voxels, count)
    ctx.save_for_backward(row, count)


def _backward(ctx: Any, gradient: Tensor, *others: Tensor | None) -> tuple[Tensor | None, ...]:
    row, count = ctx.saved_tensors
    return gather_rows(gradient / count.clamp(min=1)[:, None], row), None, None, None, None


_downsample = register(
    Operator(
        schema=(
            "voxel_downsample(Tensor points, Tensor starts, Tensor lengths, float size, bool packed)"
            " -> (Tensor, Tensor, Tensor, Tensor)"
        ),
        kernel=_kernel,
        reference=_downsample_in_parallel,
        fake=_fake,
        save=_save,
        backward=_backward,
    )
)
