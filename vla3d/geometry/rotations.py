"""Rotations: quaternions (``wxyz``), matrices, 6D, axis-angle; and the gripper's own symmetry.

Everything is batched over leading dimensions and differentiable, except `canonical_gripper_quaternion`, which chooses.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_SQRT_HALF = math.sqrt(0.5)


def quaternion_to_matrix(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a quaternion.

    Args:
        quaternion: ``wxyz``, any non-zero length (the formula divides by the squared length).
    """
    w, x, y, z = quaternion.unbind(-1)
    s = 2.0 / (quaternion * quaternion).sum(-1)
    rows = (
        1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y),
        s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x),
        s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, dim=-1).reshape(*quaternion.shape[:-1], 3, 3)


def matrix_to_quaternion(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion ``wxyz`` with ``w >= 0`` of a rotation matrix.

    Each column of ``4 q q^T`` is the quaternion times one of its own components; the column of the largest component is the
    well-conditioned one (S. W. Shepperd, "Quaternion from rotation matrix", 1978).
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in matrix.unbind(-2))
    outer = (
        1 + xx + yy + zz, zy - yz, xz - zx, yx - xy,
        zy - yz, 1 + xx - yy - zz, yx + xy, xz + zx,
        xz - zx, yx + xy, 1 - xx + yy - zz, zy + yz,
        yx - xy, xz + zx, zy + yz, 1 - xx - yy + zz,
    )  # fmt: skip
    four_qq = torch.stack(outer, dim=-1).reshape(*matrix.shape[:-2], 4, 4)
    largest = four_qq.diagonal(dim1=-2, dim2=-1).argmax(-1)
    index = largest[..., None, None].expand(*largest.shape, 1, 4)
    column = four_qq.gather(-2, index).squeeze(-2)
    quaternion = column / column.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def quaternion_multiply(a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Hamilton product ``a b`` (``wxyz``): the rotation that applies ``b`` first, then ``a``."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    parts = (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )
    return torch.stack(parts, dim=-1)


def wxyz_to_xyzw(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Reorder a quaternion for a border that writes ``xyzw`` (RLBench, ROS, SciPy)."""
    return quaternion.roll(-1, dims=-1)


def xyzw_to_wxyz(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Reorder a quaternion that came from a border that writes ``xyzw`` (RLBench, ROS, SciPy)."""
    return quaternion.roll(1, dims=-1)


def rotation_6d_to_matrix(rotation_6d: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix from its first two columns, made orthonormal by Gram-Schmidt (Zhou et al. 2019).

    Args:
        rotation_6d: first column (3), then second column (3); any two vectors that are not parallel.
    """
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    x = torch.nn.functional.normalize(first, dim=-1)
    y = torch.nn.functional.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y, dim=-1)), dim=-1)


def matrix_to_rotation_6d(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """First two columns of a rotation matrix, one after the other (the inverse of `rotation_6d_to_matrix`)."""
    return torch.cat((matrix[..., :, 0], matrix[..., :, 1]), dim=-1)


def axis_angle_to_matrix(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a rotation vector (axis times angle in radians), exact and differentiable at zero too."""
    angle = axis_angle.norm(dim=-1, keepdim=True)
    # sinc(t) = sin(pi t) / (pi t), so this is sin(angle / 2) / angle without a division by zero.
    vector = axis_angle * (0.5 * torch.sinc(angle / (2 * math.pi)))
    return quaternion_to_matrix(torch.cat((torch.cos(angle / 2), vector), dim=-1))


def geodesic_angle(first: Float[Tensor, "*#batch 3 3"], second: Float[Tensor, "*#batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Angle in radians, in [0, pi], of the rotation that leads from one matrix to the other.

    ``atan2`` of sine and cosine: unlike ``acos`` of the trace alone it keeps its precision near 0 and near pi.
    """
    relative = first.transpose(-1, -2) @ second
    sine_axis = torch.stack(
        (
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ),
        dim=-1,
    )
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(sine_axis.norm(dim=-1), trace - 1)


def random_rotation(
    generator: torch.Generator, batch: int | tuple[int, ...] = (), dtype: torch.dtype = torch.float32
) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices drawn uniformly over all rotations (a normalised 4D Gaussian is a uniform quaternion).

    Args:
        generator: source of randomness; the result lives on its device.
        batch: leading shape.
        dtype: of the result.
    """
    shape = (batch,) if isinstance(batch, int) else tuple(batch)
    quaternion = torch.randn(*shape, 4, generator=generator, device=generator.device, dtype=dtype)
    return quaternion_to_matrix(quaternion)


def canonical_gripper_quaternion(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The one of the two orientations a parallel gripper cannot tell apart that every part of vla3d uses.

    Turning a parallel gripper by pi about its tool z axis swaps its fingers and changes nothing else. Of the two, this
    takes the one whose tool x axis has a yaw (heading in the world's xy plane) in [-90, 90) degrees: a gripper that points
    down then has its x axis forward. Where the x axis is nearer to vertical than to horizontal its yaw means nothing (a hand
    that points forward with its fingers side by side), so there the x axis points up: what pitching the first hand up gives.

    Args:
        quaternion: ``wxyz``, unit length.

    Returns:
        ``quaternion`` or ``quaternion * Rz(pi)``, unit length, ``w >= 0``.
    """
    matrix = quaternion_to_matrix(quaternion)
    forward, left, up = matrix[..., 0, 0], matrix[..., 1, 0], matrix[..., 2, 0]
    backward = (forward < 0) | ((forward == 0) & (left > 0))
    flip = torch.where(up.abs() > _SQRT_HALF, up < 0, backward)
    half_turn = quaternion.new_tensor([0.0, 0.0, 0.0, 1.0])
    chosen = torch.where(flip[..., None], quaternion_multiply(quaternion, half_turn), quaternion)
    return torch.where(chosen[..., :1] < 0, -chosen, chosen)
