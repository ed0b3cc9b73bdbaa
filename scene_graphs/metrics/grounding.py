"""Accuracy of grounding by the ScanRefer protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vla3d.errors import DataError

THRESHOLDS = (0.25, 0.5)


@dataclass(frozen=True, kw_only=True)
class GroundingScore:
    """Shares of sentences whose box was found.

    Attributes:
        count: of sentences.
        accuracy: by threshold; not a number where there are no sentences.
    """

    count: int
    accuracy: Mapping[float, float]


def grounding_scores(
    ious: Float[np.ndarray, "N"], unique: Bool[np.ndarray, "N"], thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, GroundingScore]:
    """Acc@k of the subsets ``unique``, ``multiple`` and ``overall``.

    A sentence counts as right at threshold k if the intersection over union of its one predicted box and its true box is at
    least k. Subsets are averaged over sentences, not over scenes.

    Args:
        ious: of each sentence; 0 where nothing was predicted.
        unique: whether the thing is the only one of its class in the scene (D. Z. Chen et al., "ScanRefer", 2020); see
            `vla3d.scene_graphs.datasets.scanrefer`.
        thresholds: k.

    Raises:
        DataError: different lengths, or an overlap outside [0, 1].
    """
    if len(ious) != len(unique):
        raise DataError(f"grounding: got {len(ious)} overlaps for {len(unique)} sentences, expected one for each.")
    if not ((ious >= 0) & (ious <= 1 + 1e-9)).all():
        raise DataError("grounding: got an overlap outside [0, 1]; write 0 where nothing was predicted.")
    subsets = {"unique": unique, "multiple": ~unique, "overall": np.ones(len(unique), dtype=bool)}
    return {
        name: GroundingScore(
            count=int(chosen.sum()),
            accuracy={k: float((ious[chosen] >= k).mean()) if chosen.any() else float("nan") for k in thresholds},
        )
        for name, chosen in subsets.items()
    }
