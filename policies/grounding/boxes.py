"""Oriented boxes as tensors: how they move, and how far points are from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from vla3d.scene_graphs.shapes.boxes import Boxes, OrientedBox

NOT_COUNTED = -1
"""In place of a box's number, where no box is meant."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxTensors:
    """Boxes of the things of several scenes, padded.

    Attributes:
        center: world metres.
        rotation: box axes as columns.
        size: full edge lengths, metres; 0 at padding.
    """

    center: Float[Tensor, "B N 3"]
    rotation: Float[Tensor, "B N 3 3"]
    size: Float[Tensor, "B N 3"]

    @classmethod
    def of(cls, boxes: Sequence[OrientedBox]) -> Self:
        """The boxes of one scene."""
        columns = Boxes.stack(boxes)
        center, rotation, size = (
            torch.from_numpy(values)[None].float() for values in (columns.centers, columns.rotations, columns.sizes)
        )
        return cls(center=center, rotation=rotation, size=size)

    @classmethod
    def stack(cls, scenes: Sequence[Self]) -> Self:
        """One batch of several scenes, padded to the one with most things."""
        pad = torch.nn.utils.rnn.pad_sequence
        center, rotation, size = (
            pad([getattr(scene, name)[0] for scene in scenes], batch_first=True) for name in ("center", "rotation", "size")
        )
        return cls(center=center, rotation=rotation, size=size)

    def to(self, device: torch.device | str) -> Self:
        """The boxes on another device."""
        return type(self)(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})

    def moved(self, rotation: Float[Tensor, "B 3 3"], about: Float[Tensor, "B 3"], to: Float[Tensor, "B 3"]) -> Self:
        """Each scene's boxes, turned about a point which is then brought to another place: what augmentation does to points."""
        center = (self.center - about[:, None]) @ rotation.transpose(1, 2) + to[:, None]
        return type(self)(center=center, rotation=rotation[:, None] @ self.rotation, size=self.size)

    def distances(self, points: Float[Tensor, "B 3"]) -> Float[Tensor, "B N"]:
        """Metres from each scene's point to each of its boxes; 0 inside."""
        local = torch.einsum("bnji,bnj->bni", self.rotation, points[:, None] - self.center)
        return (local.abs() - self.size / 2).clamp(min=0).norm(dim=-1)

    def nearest(self, points: Float[Tensor, "B 3"], things: Bool[Tensor, "B N"], reach: float) -> Int64[Tensor, " B"]:
        """Number of the box nearest to each scene's point; the lowest of equally near ones.

        Args:
            points: world metres.
            things: boxes that may be meant.
            reach: metres; where none of them is within, the answer is ``NOT_COUNTED``.
        """
        if not things.shape[1]:
            return torch.full((len(points),), NOT_COUNTED, device=points.device)
        distances = self.distances(points).masked_fill(~things, float("inf"))
        number = distances.argmin(dim=1)  # of equal ones the first
        least = distances.amin(dim=1)
        return torch.where(least <= reach, number, NOT_COUNTED)
