"""Rotation heads: how numbers from a network become an orientation, and what their loss is."""

from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.errors import unknown_name
from vla3d.geometry.euler_bins import euler_bins_to_quaternion, quaternion_to_euler_bins
from vla3d.geometry.rotations import (
    canonical_gripper_quaternion,
    matrix_to_quaternion,
    quaternion_to_matrix,
    rotation_6d_to_matrix,
)

RotationKind = Literal["6d", "euler_bins"]


class RotationHead(ABC):
    """A representation of orientation; it holds no weights."""

    num_outputs: int

    @abstractmethod
    def loss(self, outputs: Float[Tensor, "B C"], target: Float[Tensor, "B 4"]) -> Float[Tensor, " B"]:
        """Loss against target quaternions (wxyz)."""

    @abstractmethod
    def decode(self, outputs: Float[Tensor, "B C"]) -> Float[Tensor, "B 4"]:
        """The orientation as a canonical quaternion (wxyz)."""


class Rotation6D(RotationHead):
    """Continuous 6D representation (Zhou et al. 2019, section 4.2) with the squared Frobenius distance."""

    num_outputs = 6

    def loss(self, outputs: Float[Tensor, "B C"], target: Float[Tensor, "B 4"]) -> Float[Tensor, " B"]:
        """Squared Frobenius distance between predicted and target matrices."""
        target_matrix = quaternion_to_matrix(canonical_gripper_quaternion(target))
        return (rotation_6d_to_matrix(outputs) - target_matrix).square().sum(dim=(-2, -1))

    def decode(self, outputs: Float[Tensor, "B C"]) -> Float[Tensor, "B 4"]:
        """Gram-Schmidt, then the canonical one of the two equivalent grasps."""
        return canonical_gripper_quaternion(matrix_to_quaternion(rotation_6d_to_matrix(outputs)))


class EulerBins(RotationHead):
    """Extrinsic xyz Euler angles in bins, one classification per axis (PerAct, section 3.4).

    Unlike a regression it can keep two equally good grasps apart instead of averaging them.

    Args:
        num_bins: bins per full turn.
        label_sigma: width in bins of the circular Gaussian the target is softened with; 0 keeps it one-hot.
    """

    def __init__(self, num_bins: int = 72, label_sigma: float = 0.0) -> None:
        self.num_bins = num_bins
        self.label_sigma = label_sigma
        self.num_outputs = 3 * num_bins

    def _labels(self, bins: Tensor) -> Float[Tensor, "B 3 N"]:
        offset = torch.arange(self.num_bins, device=bins.device) - bins[..., None]
        half = self.num_bins // 2
        offset = (offset + half) % self.num_bins - half
        if self.label_sigma == 0:
            return (offset == 0).float()
        return torch.softmax(-0.5 * (offset / self.label_sigma).square(), dim=-1)

    def loss(self, outputs: Float[Tensor, "B C"], target: Float[Tensor, "B 4"]) -> Float[Tensor, " B"]:
        """Cross-entropy summed over the three axes."""
        labels = self._labels(quaternion_to_euler_bins(canonical_gripper_quaternion(target), self.num_bins))
        log_probabilities = outputs.view(-1, 3, self.num_bins).log_softmax(dim=-1)
        return -(labels * log_probabilities).sum(dim=(-2, -1))

    def decode(self, outputs: Float[Tensor, "B C"]) -> Float[Tensor, "B 4"]:
        """The most likely bin of each axis."""
        bins = outputs.view(-1, 3, self.num_bins).argmax(dim=-1)
        return canonical_gripper_quaternion(euler_bins_to_quaternion(bins, self.num_bins))


def make_rotation_head(kind: str, label_sigma: float = 0.0) -> RotationHead:
    """The head of a configured name.

    Raises:
        ConfigError: for an unknown name.
    """
    if kind == "6d":
        return Rotation6D()
    if kind == "euler_bins":
        return EulerBins(label_sigma=label_sigma)
    raise unknown_name("rotation head", kind, get_args(RotationKind))
