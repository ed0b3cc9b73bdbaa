"""Orientations as three classes of 5 degrees, as RVT and BridgeVLA's 2025 release label and decode them.

Unlike `vla3d.geometry.euler_bins`, pitches within a degree of 90 are moved to 90, where roll and yaw turn about one axis, and
what they do together is put into the roll.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.geometry.euler_bins import euler_bins_to_quaternion
from vla3d.geometry.rotations import quaternion_to_matrix

ROTATION_BINS = 72
_BIN_DEGREES = 360.0 / ROTATION_BINS
_NEAR_VERTICAL = 1.0  # degrees between a pitch and 90
_LOCKED = 1e-7  # cosine of the pitch below which roll and yaw cannot be told apart


def quaternion_to_rotation_bins(quaternion: Float[Tensor, "B 4"]) -> Int64[Tensor, "B 3"]:
    """Bins of the extrinsic x-y-z Euler angles; bin ``k`` stands for ``5 k - 180`` degrees, halves go to the even bin.

    Args:
        quaternion: ``wxyz``, any non-zero length.
    """
    matrix = quaternion_to_matrix(quaternion.double())
    cosine = torch.hypot(matrix[:, 0, 0], matrix[:, 1, 0])
    roll = torch.atan2(matrix[:, 2, 1], matrix[:, 2, 2])
    pitch = torch.atan2(-matrix[:, 2, 0], cosine)
    yaw = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])
    side = torch.where(pitch < 0, -1.0, 1.0)
    # Of a matrix whose pitch is 90 degrees: sin and cos of roll - yaw; of -90 degrees: of roll + yaw.
    together = torch.atan2(side * matrix[:, 0, 1], matrix[:, 1, 1])
    together = torch.where(cosine < _LOCKED, together, roll - side * yaw)
    angles = torch.rad2deg(torch.stack((roll, pitch, yaw), dim=-1))
    upright = torch.stack((torch.rad2deg(together), 90.0 * side, torch.zeros_like(yaw)), dim=-1)
    angles = torch.where((90.0 - angles[:, 1:2].abs()).abs() < _NEAR_VERTICAL, upright, angles)
    return (angles.add(180.0).remainder(360.0) / _BIN_DEGREES).round().long() % ROTATION_BINS


def rotation_bins_to_quaternion(bins: Int64[Tensor, "B 3"]) -> Float[Tensor, "B 4"]:
    """Unit quaternion ``wxyz`` (``w >= 0``, float32) of the angles that three bins stand for."""
    return euler_bins_to_quaternion(bins, ROTATION_BINS)
