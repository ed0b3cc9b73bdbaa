"""Thinning clouds to one point for each voxel."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor
from torch.nn.functional import pad

from vla3d.kernels.operators import Operator, register
from vla3d.pointcloud.gathering import sum_rows
from vla3d.pointcloud.reference import voxels as reference
from vla3d.pointcloud.rows import check_device, cloud_of_points, rows_of


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
    number, voxels = _voxel_number(rows.points.detach(), rows.starts, rows.lengths, float(size))
    borders = pad(voxels.cumsum(0), (1, 0))
    index = number
    if not rows.packed:
        cloud = cloud_of_points(rows.starts, number.shape[0])
        index = torch.where(number >= 0, number - borders[cloud], -1)
        number = torch.where(number >= 0, index + rows.starts[cloud], -1)
    total, shape = number.shape[0], points.shape[:-1]
    count = torch.zeros(total + 1, dtype=torch.int64, device=number.device)
    count = count.scatter_add(0, torch.where(number >= 0, number, total), torch.ones_like(number))[:-1]
    means = None
    if values is not None:
        if values.shape[:-1] != shape or not values.is_floating_point():
            raise ValueError(
                f"values: got {values.dtype} of shape {tuple(values.shape)}, expected floating-point numbers {(*shape, 'C')}."
            )
        check_device("values", values, points)
        means = sum_rows(values.flatten(0, -2), number, total, mean=True).view(values.shape)
    return Voxels(
        points=sum_rows(rows.points, number, total, mean=True).view(points.shape),
        lengths=None if rows.packed else voxels,
        offsets=borders if rows.packed else None,
        count=count.view(shape),
        index=index.view(shape),
        values=means,
    )


def _fake(points: Tensor, starts: Tensor, lengths: Tensor, size: float) -> tuple[Tensor, Tensor]:
    return points.new_empty(points.shape[0], dtype=torch.int64), torch.empty_like(starts)


_voxel_number = register(
    Operator(
        schema="voxel_number(Tensor points, Tensor starts, Tensor lengths, float size) -> (Tensor, Tensor)",
        kernel=reference.voxel_number,
        reference=reference.voxel_number,
        fake=_fake,
    )
)
