"""Rigid transforms as 4x4 matrices, and similarity transforms (uniform scale and shift, no rotation)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


def make_transform(
    rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """Homogeneous matrix of ``p -> rotation p + translation``."""
    transform = rotation.new_zeros(*rotation.shape[:-2], 4, 4)
    transform[..., :3, :3] = rotation
    transform[..., :3, 3] = translation
    transform[..., 3, 3] = 1
    return transform


def invert_transform(transform: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Inverse of a rigid transform, from the transpose of its rotation (no linear solve)."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    translation = -(rotation @ transform[..., :3, 3:]).squeeze(-1)
    return make_transform(rotation, translation)


def transform_points(
    transform: Float[Tensor, "*#batch 4 4"], points: Float[Tensor, "*#batch N 3"]
) -> Float[Tensor, "*batch N 3"]:
    """Apply a rigid transform to points, metres."""
    return points @ transform[..., :3, :3].transpose(-1, -2) + transform[..., None, :3, 3]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarityTransform:
    """``p -> scale * p + translation``: what maps the workspace to the cube, and the cube to its zoomed part.

    Attributes:
        scale: positive factor per batch element, ``(B,)``; ``B = 1`` serves any batch.
        translation: shift *after* scaling, ``(B, 3)``, in the target's units.
    """

    scale: Float[Tensor, "B"]
    translation: Float[Tensor, "B 3"]

    def __post_init__(self) -> None:
        if self.scale.ndim != 1 or self.translation.shape != (self.scale.shape[0], 3):
            raise ValueError(
                f"SimilarityTransform: got scale {tuple(self.scale.shape)} and translation {tuple(self.translation.shape)}, "
                "expected (B,) and (B, 3)."
            )

    @classmethod
    def about(cls, center: Float[Tensor, "B 3"], scale: float | Float[Tensor, "B"]) -> "SimilarityTransform":
        """The transform ``p -> (p - center) * scale``."""
        factor = torch.as_tensor(scale, dtype=center.dtype, device=center.device).expand(center.shape[0])
        return cls(scale=factor, translation=-center * factor[:, None])

    def apply(self, points: Float[Tensor, "B *rest 3"]) -> Float[Tensor, "B *rest 3"]:
        """Map points; the first dimension is the batch."""
        middle = (1,) * (points.ndim - 2)
        return points * self.scale.view(-1, *middle, 1) + self.translation.view(-1, *middle, 3)

    def inverse(self) -> "SimilarityTransform":
        """The transform that undoes this one."""
        return SimilarityTransform(scale=1 / self.scale, translation=-self.translation / self.scale[:, None])

    def compose(self, first: "SimilarityTransform") -> "SimilarityTransform":
        """The transform that applies ``first``, then this one: ``a.compose(b).apply(p) == a.apply(b.apply(p))``."""
        translation = self.scale[:, None] * first.translation + self.translation
        return SimilarityTransform(scale=self.scale * first.scale, translation=translation)

    def to(self, device: torch.device | str) -> "SimilarityTransform":
        """The same transform on another device."""
        return SimilarityTransform(scale=self.scale.to(device), translation=self.translation.to(device))
