"""How far predicted keyframes are from demonstrated ones: the one definition behind validation and offline evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vla3d.geometry.rotations import geodesic_angle, quaternion_to_matrix
from vla3d.types import KeyframeAction

NEAR = 0.02
"""Metres within which a predicted position counts as near."""

HIT_RADIUS = 3.0
"""Pixels between a heatmap's peak and the target's projection within which the heatmap counts as a hit."""


class Keyframes(Protocol):
    """Keyframe actions as tensors of B rows: world metres, ``wxyz``."""

    @property
    def position(self) -> Float[Tensor, "B 3"]: ...

    @property
    def quaternion(self) -> Float[Tensor, "B 4"]: ...

    @property
    def gripper_open(self) -> Bool[Tensor, " B"]: ...

    @property
    def ignore_collisions(self) -> Bool[Tensor, " B"]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionTensors:
    """Actions stacked, as ``keyframe_errors`` takes them."""

    position: Float[Tensor, "B 3"]
    quaternion: Float[Tensor, "B 4"]
    gripper_open: Bool[Tensor, " B"]
    ignore_collisions: Bool[Tensor, " B"]

    @classmethod
    def of(cls, actions: Sequence[KeyframeAction]) -> Self:
        """Stack actions, in float64."""
        return cls(
            position=torch.from_numpy(np.stack([action.position for action in actions])).double(),
            quaternion=torch.from_numpy(np.stack([action.quaternion for action in actions])).double(),
            gripper_open=torch.tensor([bool(action.gripper_open) for action in actions]),
            ignore_collisions=torch.tensor([bool(action.ignore_collisions) for action in actions]),
        )


def gripper_rotation_error(predicted: Float[Tensor, "B 4"], target: Float[Tensor, "B 4"]) -> Float[Tensor, " B"]:
    """Angle in radians to the nearer of the two grasps that a parallel gripper cannot tell apart."""
    first, second = quaternion_to_matrix(predicted), quaternion_to_matrix(target)
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0], device=second.device, dtype=second.dtype))
    return torch.minimum(geodesic_angle(first, second), geodesic_angle(first, second @ half_turn))


def heatmap_hits(
    heatmaps: Float[Tensor, "B L V R R"],
    pixel_maps: Float[Tensor, "B L V 2 4"],
    target: Float[Tensor, "B 3"],
    radius: float = HIT_RADIUS,
) -> Bool[Tensor, "B L V"]:
    """Which heatmaps of each look and view peak within ``radius`` pixels of where the target is seen.

    Args:
        heatmaps: heat over the pixels.
        pixel_maps: affine maps from the world to pixels, see ``PolicyExplanation.pixel_maps``.
        target: world metres; where a look does not show it, no peak can hit it.
        radius: pixels.
    """
    pixels = torch.einsum("blvij,bj->blvi", pixel_maps[..., :3], target) + pixel_maps[..., 3]
    width = heatmaps.shape[-1]
    peak = heatmaps.flatten(3).argmax(dim=-1)
    at = torch.stack([peak % width, peak // width], dim=-1) + 0.5
    seen = ((pixels >= 0) & (pixels <= width)).all(dim=-1)
    return ((at - pixels).norm(dim=-1) <= radius) & seen


def keyframe_errors(predicted: Keyframes, demonstrated: Keyframes) -> dict[str, Float[Tensor, " B"]]:
    """Errors of each row in millimetres and degrees, and which answers are right (0 or 1)."""
    distance = (predicted.position - demonstrated.position).norm(dim=-1)
    errors = {
        "position_error_mm": 1000 * distance,
        "within_2cm": distance < NEAR,
        "rotation_error_deg": torch.rad2deg(gripper_rotation_error(predicted.quaternion, demonstrated.quaternion)),
        "gripper_accuracy": predicted.gripper_open == demonstrated.gripper_open,
        "collision_accuracy": predicted.ignore_collisions == demonstrated.ignore_collisions,
    }
    return {name: value.to(distance.dtype) for name, value in errors.items()}


def look_errors(
    coarse_position: Float[Tensor, "B 3"],
    heatmaps: Float[Tensor, "B L V R R"],
    pixel_maps: Float[Tensor, "B L V 2 4"],
    target: Float[Tensor, "B 3"],
) -> dict[str, Float[Tensor, " B"]]:
    """Of each row: how far off the first look pointed, and the share of views that hit in the first and in the last look."""
    hits = heatmap_hits(heatmaps, pixel_maps, target).to(target.dtype).mean(dim=-1)
    errors = {
        "coarse_position_error_mm": 1000 * (coarse_position - target).norm(dim=-1),
        "heatmap_hit_rate": hits[:, 0],
    }
    return errors | {"fine_heatmap_hit_rate": hits[:, -1]} if hits.shape[1] > 1 else errors
