"""How far two gripper poses are apart, in the units people think in."""

from dataclasses import dataclass

import numpy as np
import torch

from vla3d.policies.keyframe_errors import gripper_rotation_error
from vla3d.types import KeyframeAction, Observation


@dataclass(frozen=True, kw_only=True)
class PoseError:
    """A distance, and an angle to the nearer of the two grasps that a parallel gripper cannot tell apart."""

    millimetres: float
    degrees: float


def pose_error(first: KeyframeAction, second: KeyframeAction | Observation) -> PoseError:
    """Between two actions, or between an action and where the hand is in an observation."""
    if isinstance(second, Observation):
        position, quaternion = second.gripper_position, second.gripper_quaternion
    else:
        position, quaternion = second.position, second.quaternion
    angle = gripper_rotation_error(_row(first.quaternion), _row(quaternion))
    return PoseError(
        millimetres=1000 * float(np.linalg.norm(np.subtract(first.position, position))), degrees=float(torch.rad2deg(angle)[0])
    )


def pose_words(error: PoseError) -> str:
    """``12 mm and 3°``; tenths below ten."""
    return " and ".join(
        f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
        for value, unit in ((error.millimetres, " mm"), (error.degrees, "°"))
    )


def _row(quaternion: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(quaternion, dtype=np.float64) / np.linalg.norm(quaternion))[None]
