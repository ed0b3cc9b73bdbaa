"""How well words fit scenes, word by word."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


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
    scores = torch.einsum("wc,bkc->wbk", packed, items).masked_fill(~item_mask, float("-inf"))
    best = scores.amax(dim=2) if items.shape[1] else scores.new_full(scores.shape[:2], float("-inf"))
    best = torch.where(item_mask.any(dim=1), best, 0.0)
    sentence = word_mask.nonzero()[:, 0]
    total = best.new_zeros((len(words), len(items))).index_add(0, sentence, best)
    return total / word_mask.sum(dim=1, keepdim=True).clamp(min=1)
