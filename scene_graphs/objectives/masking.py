"""What is masked, and the loss of what was."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional


def draw_mask(eligible: Bool[Tensor, "*N"], share: float, generator: torch.Generator) -> Bool[Tensor, "*N"]:
    """Each eligible position with probability ``share``; where that gives none of a row, one eligible position of the row.

    Args:
        eligible: what may be masked.
        share: in [0, 1].
        generator: on the device of ``eligible``.
    """
    luck = torch.rand(eligible.shape, generator=generator, device=eligible.device)
    drawn = eligible & (luck < share)
    luckiest = luck.masked_fill(~eligible, 2.0).argmin(dim=-1, keepdim=True)
    one = torch.zeros_like(eligible).scatter(-1, luckiest, True) & eligible
    return torch.where(drawn.any(dim=-1, keepdim=True), drawn, one)


def masked_mean(values: Float[Tensor, "*N"], mask: Bool[Tensor, "*N"]) -> Float[Tensor, ""]:
    """Mean of the values under a mask; 0 where it is empty. Values elsewhere have no influence, even if they are not finite."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def masked_cross_entropy(
    logits: Float[Tensor, "*N C"], targets: Int64[Tensor, "*N"], mask: Bool[Tensor, "*N"]
) -> Float[Tensor, ""]:
    """Cross-entropy over masked positions alone: of words, or of the category of things.

    Args:
        logits: of classes.
        targets: true classes; any number where ``mask`` is False.
        mask: positions that count.
    """
    chosen = logits[mask]
    losses = functional.cross_entropy(chosen, targets[mask], reduction="none")
    return losses.sum() / mask.sum().clamp(min=1)
