"""How good predicted triplets are: precision and recall of a graph, recall among the best, accuracy edge by edge."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vla3d.errors import DataError
from vla3d.scene_graphs.metrics.agreement import Counts

Triplet = tuple[int, str, int]


@dataclass(frozen=True, kw_only=True)
class TripletScore(Counts):
    """Triplets right, wrong and missed, and those that are neither right nor wrong.

    Attributes:
        open: predicted, and neither true nor false: they count neither for nor against.
    """

    open: int = 0

    @property
    def hallucination_rate(self) -> float:
        """Share of wrong ones among all predictions; 0 where there are none."""
        count = self.right + self.wrong + self.open
        return self.wrong / count if count else 0.0

    def __add__(self, other: Counts) -> "TripletScore":
        counts = super().__add__(other)
        more = other.open if isinstance(other, TripletScore) else 0
        return TripletScore(right=counts.right, wrong=counts.wrong, missed=counts.missed, open=self.open + more)


def triplet_score(predicted: Iterable[Triplet], true: Collection[Triplet], undecided: Collection[Triplet] = ()) -> TripletScore:
    """Compare triplets of one scene, whose nodes are already matched. Add up scores for several: that is the micro average.

    Args:
        predicted: what a model says.
        true: what holds.
        undecided: what may hold: neither right nor wrong. What is in neither collection is false.
    """
    said, holds, may = set(predicted), set(true), set(undecided)
    right = len(said & holds)
    open_ = len((said & may) - holds)
    return TripletScore(right=right, wrong=len(said) - right - open_, open=open_, missed=len(holds) - right)


def scene_recall(scores: Mapping[Triplet, float], true: Collection[Triplet], k: int, *, graph_constraint: bool = True) -> float:
    """Recall@k of one scene: the share of true triplets among the ``k`` predictions of highest score.

    Ties are broken by the triplet, so that the order of a mapping makes no difference.

    Args:
        scores: of each candidate triplet.
        true: what holds; several triplets of one pair count one by one.
        k: how many predictions count.
        graph_constraint: whether each ordered pair may put in only its best predicate (with constraint), or all of them
            (without; also called no-graph-constraint recall).

    Raises:
        DataError: ``k`` is below 1, a score is not finite, or nothing is true: leave such scenes out of the mean.
    """
    if k < 1 or not true:
        raise DataError(f"scene_recall: got k={k} and {len(true)} true triplets, expected at least one of each.")
    if not all(np.isfinite(score) for score in scores.values()):
        raise DataError("scene_recall: got a score that is not finite.")
    ranked = sorted(scores, key=lambda triplet: (-scores[triplet], triplet))
    if graph_constraint:
        best: dict[tuple[int, int], Triplet] = {}
        for triplet in ranked:
            best.setdefault((triplet[0], triplet[2]), triplet)
        ranked = list(best.values())
    return len(set(ranked[:k]) & set(true)) / len(set(true))


def mean_recall(
    scenes: Iterable[tuple[Mapping[Triplet, float], Collection[Triplet]]], k: int, *, graph_constraint: bool = True
) -> dict[str, float]:
    """mRecall@k: for each predicate the share of its true triplets, over all scenes, that are among the scene's best ``k``.

    The mean over the values is the figure that is usually reported; every predicate that occurs counts, the last one included.

    Args:
        scenes: scores and true triplets of each scene.
        k: how many predictions of a scene count.
        graph_constraint: see `scene_recall`.

    Returns:
        The recall of each predicate that is true somewhere.
    """
    found: dict[str, list[float]] = {}
    for scores, true in scenes:
        for triplet in set(true):
            hit = scene_recall(scores, [triplet], k, graph_constraint=graph_constraint)
            found.setdefault(triplet[1], []).append(hit)
    return {predicate: float(np.mean(hits)) for predicate, hits in sorted(found.items())}


def per_edge_ranks(
    subject: Float[np.ndarray, "C"], predicate: Float[np.ndarray, "R"], object: Float[np.ndarray, "C"],
    labels: tuple[int, int], true: Sequence[int],
) -> list[int]:  # fmt: skip
    """Ranks, from 0, of an edge's true triplets among all ``C R C`` products of its scores.

    This is what "A@50" and "A@100" of 3DSSG papers count: it asks whether the right triplet is high among the answers for this
    one edge, so it is no recall of a scene. Of several true predicates each is ranked without the true ones before it, so that
    no label is in another's way. Ties count against the prediction.

    Args:
        subject: probability of each class for the subject.
        predicate: probability of each predicate.
        object: probability of each class for the object.
        labels: true classes of subject and object.
        true: true predicates.
    """
    products = subject[:, None, None] * predicate[None, :, None] * object[None, None, :]
    values = {number: products[labels[0], number, labels[1]] for number in true}
    ranks = []
    for number in true:
        better = int((products >= values[number]).sum()) - 1
        before = sum(values[other] >= values[number] for other in true if other != number)
        ranks.append(better - before)
    return ranks


def per_edge_accuracy(ranks: Sequence[int], k: int) -> float:
    """Share of ranks below ``k``.

    Raises:
        DataError: there are none.
    """
    if not ranks:
        raise DataError("per_edge_accuracy: got no ranks, expected those of at least one edge.")
    return float(np.mean([rank < k for rank in ranks]))
