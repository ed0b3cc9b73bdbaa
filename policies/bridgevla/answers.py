"""When to answer that what a sentence asks for is absent, and what then is left to learn of a sample."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vla3d.policies.grounding.grounder import Grounding


class AbsenceHead(nn.Module):
    """One logit from what the first look saw and, of a policy that grounds, from how probable "none of them" is.

    Args:
        views: number of views.
        dim: width of their tokens.
        width: hidden units.
        grounded: whether there is a grounding.
    """

    def __init__(self, views: int, dim: int, width: int, *, grounded: bool) -> None:
        super().__init__()
        self.grounded = grounded
        self.norm = nn.LayerNorm(views * dim)
        self.layers = nn.Sequential(nn.Linear(views * dim + int(grounded), width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, grid: Float[Tensor, "B V gh gw D"], grounding: Grounding | None) -> Float[Tensor, " B"]:
        """Logit of "absent".

        Args:
            grid: tokens of the first look.
            grounding: of the sentence; without one the head goes by the views alone.
        """
        features = self.norm(grid.flatten(2, 3).amax(dim=2).flatten(1))
        if self.grounded:
            nothing = features.new_zeros(len(features)) if grounding is None else grounding.nothing.to(features.dtype)
            features = torch.cat([features, nothing[:, None]], dim=1)
        logits: Tensor = self.layers(features)
        return logits[:, 0]


def choice_loss(
    logits: Float[Tensor, "B C"], chosen: Int64[Tensor, " B"], moving: Bool[Tensor, " B"] | None
) -> Float[Tensor, ""]:
    """Mean cross-entropy over the samples that ask for a motion; see `moving_mean`."""
    if moving is None:
        return F.cross_entropy(logits, chosen)
    return moving_mean(F.cross_entropy(logits, chosen, reduction="none"), moving)


def moving_mean(losses: Float[Tensor, " B"], moving: Bool[Tensor, " B"] | None) -> Float[Tensor, ""]:
    """Mean over the samples that ask for a motion; 0 where none does.

    Args:
        losses: of each sample.
        moving: which samples do; None for all.
    """
    if moving is None:
        return losses.mean()
    return torch.where(moving, losses, 0.0).sum() / moving.sum().clamp(min=1)
