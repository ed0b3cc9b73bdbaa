"""Order, positions and attention mask of a prompt made of images, proprioception and text.

Why a module of its own: with images first and a causal mask, image tokens cannot see the instruction, and a heatmap read from
them is blind. And `transformers` 5 changes PaliGemma's mask with the padding unless it is told otherwise. So the mask is always
written out here, never inferred.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Prompt:
    """Layout of one batch of prompts of S tokens.

    Attributes:
        text_first: whether the order is (proprioception, text, images) instead of (images, proprioception, text).
        positions: position of each token, from 1 as PaliGemma counts, padding skipped, ``(1 or B, S)``.
        allowed: True where the query (second last axis) may read the key (last axis), ``(B, 1, 1 or S, S)``.
    """

    text_first: bool
    positions: Int[Tensor, "_ S"]
    allowed: Bool[Tensor, "B 1 _ S"]

    def join(self, images: Tensor, proprio: Tensor | None, text: Tensor) -> Tensor:
        """Put the three parts, each ``(B, n, D)``, in the prompt's order: ``(B, S, D)``."""
        parts = [proprio, text, images] if self.text_first else [images, proprio, text]
        return torch.cat([part for part in parts if part is not None], dim=1)

    def split(self, hidden: Tensor, images: int, text: int) -> tuple[Tensor, Tensor]:
        """Cut the image tokens and the text tokens out of ``(B, S, D)``."""
        if self.text_first:
            return hidden[:, hidden.shape[1] - images :], hidden[:, hidden.shape[1] - images - text : hidden.shape[1] - images]
        return hidden[:, :images], hidden[:, hidden.shape[1] - text :]


def lay_out(text_mask: Bool[Tensor, "B T"], images: int, proprio: int, mask: str) -> Prompt:
    """Lay out a batch of prompts.

    Args:
        text_mask: True at real text tokens, padding on the right, ``(B, T)``.
        images: image tokens of all views together.
        proprio: proprioception tokens.
        mask: one of `config.MASKS`.
    """
    batch, words = text_mask.shape
    device = text_mask.device
    length = images + proprio + words
    text_first = mask == "text_first_causal"
    always = text_mask.new_ones(batch, 1).expand(batch, images + proprio)
    positions = torch.arange(1, length + 1, device=device)[None]
    if text_first:
        real = torch.cat([always[:, :proprio], text_mask, always[:, :images]], dim=1)
        # The images come after the padding, and how much of it there is must not move them.
        padding = words - text_mask.sum(dim=1, keepdim=True)
        positions = positions - padding * (positions > proprio + words)
    else:
        real = torch.cat([always, text_mask], dim=1)
    allowed = real[:, None, None, :]
    if mask != "bidirectional":
        allowed = allowed & torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return Prompt(text_first, positions, allowed)
