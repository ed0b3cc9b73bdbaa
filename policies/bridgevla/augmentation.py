"""SE(3) augmentation: scene and target move together, about the target, and the target stays in the workspace."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vla3d.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix
from vla3d.policies.bridgevla.config import AugmentationConfig
from vla3d.policies.bridgevla.processor import BridgeVLABatch


def uniform(shape: Sequence[int], limit: float, generator: torch.Generator) -> Tensor:
    """Numbers between plus and minus ``limit``, on the generator's device."""
    return (2 * torch.rand(shape, generator=generator, device=generator.device) - 1) * limit


def _yaw_matrix(angle: Tensor) -> Tensor:
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=-1).view(-1, 3, 3)


def augment(
    batch: BridgeVLABatch, config: AugmentationConfig, low: Tensor, high: Tensor, generator: torch.Generator
) -> BridgeVLABatch:
    """Turn every scene about the vertical through its target and shift it, at random (PerAct, appendix; RVT, section 3).

    Args:
        batch: samples in world coordinates.
        config: limits.
        low: lower corner of the workspace, (3,).
        high: upper corner, (3,).
        generator: source of the randomness, on any device.
    """
    count, device = len(batch.position), batch.position.device
    angle = uniform((count,), math.radians(config.yaw_degrees), generator).to(device)
    reach = torch.tensor(config.translation, device=device) * (high - low)
    shift = uniform((count, 3), 1.0, generator).to(device) * reach
    rotation = _yaw_matrix(angle)
    inside = batch.position.clamp(low, high)
    position = (inside + shift).clamp(low, high) + (batch.position - inside)
    points = (batch.points - batch.position[:, None]) @ rotation.transpose(1, 2) + position[:, None]
    quaternion = matrix_to_quaternion(rotation @ quaternion_to_matrix(batch.quaternion))
    scenes = batch.scenes
    if scenes is not None:
        # Boxes go where their points go. What the graph says stays as it was seen: the sentence was said of that scene, and
        # what is left of something as seen from the robot may be in front of it in the turned one.
        scenes = replace(scenes, boxes=scenes.boxes.moved(rotation, batch.position, position))
    return replace(batch, points=points, position=position, quaternion=quaternion, scenes=scenes)


def crop(batch: BridgeVLABatch, low: Tensor, high: Tensor) -> BridgeVLABatch:
    """Make the points outside the workspace invalid (NaN), as the crop at run time would drop them."""
    outside = ((batch.points < low) | (batch.points > high)).any(dim=-1, keepdim=True)
    return replace(batch, points=batch.points.masked_fill(outside, float("nan")))
