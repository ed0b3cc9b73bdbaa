"""Numbering the voxels that points lie in."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.pointcloud.rows import cloud_of_points, valid_points

_KEY_BITS = 63
_BEYOND = 1 << 61


def voxel_number(
    points: Float[Tensor, "T 3"], starts: Int64[Tensor, "B"], lengths: Int64[Tensor, "B"], size: float
) -> tuple[Int64[Tensor, "T"], Int64[Tensor, "B"]]:
    """Number the voxels that hold points by cloud, then by ``(x, y, z)``.

    This is sorting and counting, which torch does well by itself, so it is the kernel too. An operator all the same, as a
    compiler that fuses the division might round it otherwise.

    Returns:
        Number of each point's voxel, -1 for invalid points, and how many voxels each cloud has.

    Raises:
        ValueError: when a cloud has more voxels along an axis than fit a 63-bit key beside the other axes and the cloud.
            Tensors on a GPU are not looked at; there points beyond are as invalid ones.
    """
    batch, total = len(starts), len(points)
    if 0 in (batch, total):
        return torch.full((total,), -1, device=points.device), torch.zeros_like(starts)
    cloud = cloud_of_points(starts, total)
    valid = valid_points(points, starts, lengths, cloud)
    # In float64 the division of a coordinate is all but exact, and a scalar divisor becomes no reciprocal on a GPU.
    divisor = torch.full((), size, dtype=torch.float64, device=points.device)
    at = (torch.where(valid[:, None], points.double(), 0.0) / divisor).floor().clamp(-_BEYOND, _BEYOND).long()
    lowest = torch.full((batch, 3), _BEYOND, device=points.device).scatter_reduce_(
        0, cloud[:, None].expand(-1, 3), torch.where(valid[:, None], at, _BEYOND), "amin"
    )
    at = at - lowest[cloud]
    bits = (_KEY_BITS - (batch - 1).bit_length()) // 3
    fits = (at < 1 << bits).all(1)
    if points.device.type == "cpu" and bool((valid & ~fits).any()):
        widest = int(at[valid].max()) + 1
        raise ValueError(
            f"size: got {size}, which cuts a cloud into {widest} voxels along an axis; expected at most {1 << bits}, so that "
            f"voxel and cloud (of {batch}) fit a key of 63 bits. Crop the clouds, or take larger voxels."
        )
    key = ((cloud << bits | at[:, 0]) << bits | at[:, 1]) << bits | at[:, 2]
    key, order = torch.where(valid & fits, key, -1).sort(stable=True)
    begins = (key >= 0) & torch.cat((torch.ones_like(key[:1], dtype=torch.bool), key[1:] != key[:-1]))
    number = torch.empty_like(key)
    number[order] = torch.where(key >= 0, begins.cumsum(0) - 1, -1)
    return number, torch.zeros_like(starts).index_add_(0, cloud[order], begins.long())
