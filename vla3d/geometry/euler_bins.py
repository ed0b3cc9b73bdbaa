"""Rotations as three discrete angles: extrinsic x-y-z Euler bins, the classification target of PerAct and RVT."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.geometry.rotations import quaternion_multiply, quaternion_to_matrix

# Below this cosine of the pitch, roll and yaw turn about the same axis and only their combination is defined.
_GIMBAL_COSINE = 1e-5


def quaternion_to_euler_bins(quaternion: Float[Tensor, "*batch 4"], num_bins: int = 72) -> Int64[Tensor, "*batch 3"]:
    """Nearest bin of each extrinsic x-y-z Euler angle.

    Bin ``k`` stands for the angle ``k * 360 / num_bins - 180`` degrees, and angles wrap, so -180 and 180 share bin 0. Pitch is
    in [-90, 90]. At a pitch of exactly +-90 degrees roll is taken as zero.

    Args:
        quaternion: ``wxyz``, any non-zero length.
        num_bins: bins on the full circle; 72 bins are 5 degrees each.

    Returns:
        Bins of the rotations about x, y and z, in that order, each in [0, num_bins).
    """
    _check(num_bins)
    matrix = quaternion_to_matrix(quaternion)
    cosine = torch.hypot(matrix[..., 0, 0], matrix[..., 1, 0])
    pitch = torch.atan2(-matrix[..., 2, 0], cosine)
    locked = cosine < _GIMBAL_COSINE
    roll = torch.atan2(matrix[..., 2, 1], matrix[..., 2, 2]).masked_fill(locked, 0.0)
    yaw = torch.where(
        locked,
        torch.atan2(-matrix[..., 0, 1], matrix[..., 1, 1]),
        torch.atan2(matrix[..., 1, 0], matrix[..., 0, 0]),
    )
    angles = torch.stack((roll, pitch, yaw), dim=-1)
    return ((angles + math.pi) * (num_bins / (2 * math.pi))).round().long() % num_bins


def euler_bins_to_quaternion(bins: Int64[Tensor, "*batch 3"], num_bins: int = 72) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion ``wxyz`` (``w >= 0``, float32) of the angles that three bins stand for.

    Raises:
        ValueError: when ``num_bins`` is not positive.
    """
    _check(num_bins)
    half = (bins.float() * (2 * math.pi / num_bins) - math.pi) / 2
    cosine, sine, zero = torch.cos(half), torch.sin(half), torch.zeros_like(half[..., 0])
    about_x = torch.stack((cosine[..., 0], sine[..., 0], zero, zero), dim=-1)
    about_y = torch.stack((cosine[..., 1], zero, sine[..., 1], zero), dim=-1)
    about_z = torch.stack((cosine[..., 2], zero, zero, sine[..., 2]), dim=-1)
    quaternion = quaternion_multiply(about_z, quaternion_multiply(about_y, about_x))
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def _check(num_bins: int) -> None:
    if num_bins < 1:
        raise ValueError(f"num_bins: got {num_bins}, expected a positive number (72 bins are 5 degrees each).")
