"""Numbering the voxels that points lie in."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.pointcloud.rows import cloud_of_points, valid_points

_KEY_BITS = 63
_BEYOND = 1 << 61


def voxel_rows(
    points: Float[Tensor, "T 3"], starts: Int64[Tensor, "B"], lengths: Int64[Tensor, "B"], size: float, packed: bool
) -> tuple[Int64[Tensor, "T"], Int64[Tensor, "B"], Int64[Tensor, "T"]]:
    """Give each voxel that holds points a row, those of a cloud by ``(x, y, z)``.

    Returns:
        Row of each point's voxel, -1 for invalid points; how many voxels each cloud has; how many points each row stands for.
        The rows of a cloud follow those of the one before where clouds are packed, else they begin where its points do.

    Raises:
        ValueError: see `check_extent`. Tensors on a GPU are not looked at; there points beyond are as invalid ones.
    """
    batch, total = len(starts), len(points)
    if 0 in (batch, total):
        nothing = torch.zeros(total, dtype=torch.int64, device=points.device)
        return nothing - 1, torch.zeros_like(starts), nothing
    cloud = cloud_of_points(starts, total)
    valid = valid_points(points, starts, lengths, cloud)
    # In float64 the division of a coordinate is all but exact, and a scalar divisor becomes no reciprocal on a GPU.
    divisor = torch.full((), size, dtype=torch.float64, device=points.device)
    at = (torch.where(valid[:, None], points.double(), 0.0) / divisor).floor().clamp(-_BEYOND, _BEYOND).long()
    lowest = torch.full((batch, 3), _BEYOND, device=points.device).scatter_reduce_(
        0, cloud[:, None].expand(-1, 3), torch.where(valid[:, None], at, _BEYOND), "amin"
    )
    at = at - lowest[cloud]
    bits = axis_bits(batch)
    if points.device.type == "cpu" and bool(valid.any()):
        check_extent(int(at[valid].max()) + 1, size, batch)
    key = ((cloud << bits | at[:, 0]) << bits | at[:, 1]) << bits | at[:, 2]
    key, order = torch.where(valid & (at < 1 << bits).all(1), key, -1).sort(stable=True)
    begins = (key >= 0) & torch.cat((torch.ones_like(key[:1], dtype=torch.bool), key[1:] != key[:-1]))
    voxels = torch.zeros_like(starts).index_add_(0, cloud[order], begins.long())
    number = torch.where(key >= 0, begins.cumsum(0) - 1, -1)
    if not packed:
        first = starts - (voxels.cumsum(0) - voxels)
        number = torch.where(key >= 0, number + first[cloud[order]], -1)
    row = torch.empty_like(key)
    row[order] = number
    count = torch.zeros(total + 1, dtype=torch.int64, device=points.device)
    count.scatter_add_(0, torch.where(row >= 0, row, total), torch.ones_like(row))
    return row, voxels, count[:-1]


def axis_bits(batch: int) -> int:
    """Bits of a key of cloud and voxel that are left for each axis."""
    return (_KEY_BITS - (batch - 1).bit_length()) // 3


def check_extent(widest: int, size: float, batch: int) -> None:
    """Refuse voxels that a key cannot tell apart, ``widest`` of them along an axis."""
    most = 1 << axis_bits(batch)
    if widest > most:
        raise ValueError(
            f"size: got {size}, which cuts a cloud into {widest} voxels along an axis; expected at most {most}, so that "
            f"voxel and cloud (of {batch}) fit a key of 63 bits. Crop the clouds, or take larger voxels."
        )
