"""CIDEr of captions, and the two ways in which dense captions are matched to things before it is computed."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from vla3d.errors import DataError

_LONGEST, _SIGMA, _SCALE = 4, 6.0, 10.0
MOST_WORDS = 30
"""Words of a reference that count in dense captioning."""

NOTHING = "sos eos"
"""The caption of a thing for which none was given."""

Grams = Counter[tuple[str, ...]]


def cider_d(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """CIDEr-D (R. Vedantam, C. L. Zitnick, D. Parikh, "CIDEr", 2015, section 4) of each caption; report the mean.

    n-grams of 1 to 4 words are weighted by frequency times log inverse document frequency, a document being the set of one
    key's references. The candidate's weights are clipped to the reference's in the dot product, which is divided by both norms
    and multiplied by a Gaussian of the difference in length (in pairs of words, sigma 6); the mean over references and lengths
    is multiplied by 10. Words are what spaces separate: tokenise first where a protocol does.

    Args:
        candidates: one caption for each key.
        references: true captions for each key.

    Raises:
        DataError: keys differ, or a key has no reference.
    """
    if candidates.keys() != references.keys():
        raise DataError(
            f"cider: got {len(candidates)} captions and references of {len(references)} keys, expected the same keys."
        )
    if not candidates or any(not texts for texts in references.values()):
        raise DataError("cider: expected at least one key, and a reference for each.")
    grams = {key: [_grams(text) for text in texts] for key, texts in references.items()}
    frequency: Grams = Counter()
    for texts in grams.values():
        frequency.update({gram for text in texts for gram in text})
    documents = math.log(len(grams))
    scores = {}
    for key, text in candidates.items():
        mine = _Weighted(_grams(text), frequency, documents)
        values = [mine.similarity(_Weighted(other, frequency, documents)) for other in grams[key]]
        scores[key] = _SCALE * float(np.mean(values))
    return scores


class _Weighted:
    """A text as vectors of weights, one for each length of n-gram."""

    def __init__(self, grams: Grams, frequency: Grams, documents: float) -> None:
        self.vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(_LONGEST)]
        for gram, count in grams.items():
            self.vectors[len(gram) - 1][gram] = count * (documents - math.log(max(1, frequency[gram])))
        self.norms = [math.sqrt(sum(value**2 for value in vector.values())) for vector in self.vectors]
        # Counted in pairs of words, as the program does by which published figures were computed.
        self.length = sum(count for gram, count in grams.items() if len(gram) == 2)

    def similarity(self, other: "_Weighted") -> float:
        """Mean over the lengths of n-gram, of this as the candidate with another as the reference."""
        penalty = math.exp(-((self.length - other.length) ** 2) / (2 * _SIGMA**2))
        values = []
        for mine, its, norm, its_norm in zip(self.vectors, other.vectors, self.norms, other.norms, strict=True):
            dot = sum(min(value, its[gram]) * its[gram] for gram, value in mine.items() if gram in its)
            values.append(dot / (norm * its_norm) if norm and its_norm else 0.0)
        return penalty * float(np.mean(values))


def dense_cider(
    captions: Sequence[str],
    ious: Float[np.ndarray, "P T"],
    references: Sequence[Sequence[str]],
    threshold: float,
    variant: Literal["scan2cap", "vote2cap"],
) -> float:
    """CIDEr@kIoU of the captions of predicted boxes, over all true things; things without a caption count as `NOTHING`.

    There are incompatible definitions; name the one that you report:

    - ``"scan2cap"``: each predicted box belongs to the thing that it overlaps most, and gives it its caption if the overlap is
      *above* the threshold; of several the last one counts (D. Z. Chen et al., "Scan2Cap", 2021).
    - ``"vote2cap"``: each thing takes the caption of the box that overlaps it most, if the overlap is *at least* the threshold
      (S. Chen et al., "Vote2Cap-DETR", 2023; also LL3DA, LEGO).

    References are cut to 30 words, and all captions are put between ``sos`` and ``eos``. Put the things of all scenes into one
    call, the overlap of things of different scenes being 0: the mean is over things.

    Args:
        captions: of the predicted boxes.
        ious: of predicted boxes with true ones.
        references: true captions of each thing.
        threshold: k.
        variant: see above.

    Raises:
        DataError: shapes do not fit, an unknown variant, or a thing has no reference.
    """
    if ious.shape != (len(captions), len(references)):
        raise DataError(f"dense_cider: got overlaps {ious.shape} of {len(captions)} captions and {len(references)} things.")
    given: dict[int, str] = {}
    if variant == "scan2cap":
        for number, caption in enumerate(captions if len(references) else ()):
            thing = int(ious[number].argmax())
            if ious[number, thing] > threshold:
                given[thing] = caption
    elif variant == "vote2cap":
        for thing in range(len(references) if len(captions) else 0):
            number = int(ious[:, thing].argmax())
            if ious[number, thing] >= threshold:
                given[thing] = captions[number]
    else:
        raise DataError(f"dense_cider: got the variant {variant!r}, expected scan2cap or vote2cap.")
    said = {str(thing): f"sos {given[thing]} eos" if thing in given else NOTHING for thing in range(len(references))}
    truth = {
        str(thing): [f"sos {' '.join(text.split()[:MOST_WORDS])} eos" for text in texts]
        for thing, texts in enumerate(references)
    }
    return float(np.mean(list(cider_d(said, truth).values())))


def _grams(text: str) -> Grams:
    words = text.split()
    return Counter(
        tuple(words[start : start + length]) for length in range(1, _LONGEST + 1) for start in range(len(words) - length + 1)
    )
