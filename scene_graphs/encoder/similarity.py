"""How well words fit scenes, word by word."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional


def late_interaction(
    words: Float[Tensor, "M T C"],
    word_mask: Bool[Tensor, "M T"],
    items: Float[Tensor, "B K C"],
    item_mask: Bool[Tensor, "B K"],
) -> Float[Tensor, "M B"]:
    """Every word takes what it resembles most in a scene; the mean over the words of a sentence.

    This is the score of ColBERT (Khattab and Zaharia 2020) and FILIP (Yao et al. 2022), here between words and the things and
    pairs of a scene, so that "a red cup" is not answered by something red and a cup. Dot products: give unit vectors for
    cosines.

    Args:
        words: of sentences.
        word_mask: words that count; a sentence without any scores 0.
        items: of scenes.
        item_mask: items that are there; a scene without any scores 0.
    """
    packed = words[word_mask]
    best = packed.new_zeros((len(packed), len(items)))
    if items.shape[1]:
        nearest = functional.embedding(_nearest(packed, items, item_mask), items.flatten(0, 1))
        best = (packed[:, None] * nearest).sum(dim=2) * item_mask.any(dim=1)
    sentence = word_mask.nonzero()[:, 0]
    total = best.new_zeros((len(words), len(items))).index_add(0, sentence, best)
    return total / word_mask.sum(dim=1, keepdim=True).clamp(min=1)


@torch.no_grad()
def _nearest(
    words: Float[Tensor, "W C"], items: Float[Tensor, "B K C"], item_mask: Bool[Tensor, "B K"]
) -> Int64[Tensor, "W B"]:
    """Which item of each scene each word resembles most, items numbered scene by scene.

    Only the answer is differentiated: most of the similarities would get a gradient of zero, and there are many of them.
    """
    scores = torch.einsum("wc,bkc->wbk", words, items).masked_fill_(~item_mask, float("-inf"))
    first = items.shape[1] * torch.arange(len(items), device=items.device)
    return scores.argmax(dim=2) + first
