"""How well one graph agrees with another: objects found, triplets right. What the truth leaves undecided is not counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.predicates.relations import Relations
from vla3d.scene_graphs.predicates.table import STATES
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE
from vla3d.scene_graphs.shapes.boxes import Boxes, OrientedBox
from vla3d.scene_graphs.shapes.polygons import areas, common_areas

LEAST_IOU = 0.25
"""Boxes with at least this intersection over union can be of the same thing."""

THINGS = ("object", "part")
"""Kinds of nodes that count as objects."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """True positives, false positives and false negatives; they add up over scenes."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(right=self.right + other.right, wrong=self.wrong + other.wrong, missed=self.missed + other.missed)

    @property
    def precision(self) -> float:
        """Share of what was said that is right; 1 where nothing was said."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """Share of what is true that was said; 1 where nothing is."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where nothing is true and nothing was said."""
        counted = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / counted if counted else 1.0


def box_ious(first: Sequence[OrientedBox], second: Sequence[OrientedBox]) -> Float[np.ndarray, "N M"]:
    """Intersection over union of every two boxes; of tilted ones, that of the upright prisms around their shadows."""
    one, two = Boxes.stack(first), Boxes.stack(second)
    if not len(one) or not len(two):
        return np.zeros((len(one), len(two)))
    rows, columns = (index.ravel() for index in np.indices((len(one), len(two))))
    area = common_areas(one.footprints[rows], two.footprints[columns])
    height = np.minimum(one.high[rows, 2], two.high[columns, 2]) - np.maximum(one.low[rows, 2], two.low[columns, 2])
    common = area * height.clip(min=0.0)
    prisms = [areas(boxes.footprints) * 2 * boxes.half_extents[:, 2] for boxes in (one, two)]
    return (common / (prisms[0][rows] + prisms[1][columns] - common)).reshape(len(one), len(two))


def match_nodes(found: SceneGraph, truth: SceneGraph, *, least_iou: float = LEAST_IOU, labels: bool = True) -> dict[int, int]:
    """Which found object is which true one: found id to true id, so that the sum of intersections over union is largest.

    Args:
        found: to be judged.
        truth: to judge by.
        least_iou: pairs below it are none.
        labels: whether labels must agree as well.
    """
    mine, theirs = ([node for node in graph.nodes if node.kind in THINGS] for graph in (found, truth))
    scores = box_ious([node.box for node in mine], [node.box for node in theirs])
    if labels:
        scores = scores * np.array([[a.label == b.label for b in theirs] for a in mine]).reshape(scores.shape)
    rows, columns = linear_sum_assignment(-scores)
    return {
        mine[row].id: theirs[column].id for row, column in zip(rows, columns, strict=True) if scores[row, column] >= least_iou
    }


def object_counts(found: SceneGraph, truth: SceneGraph, matches: Mapping[int, int]) -> Counts:
    """Objects and parts that were found, invented and missed."""
    mine, theirs = (sum(node.kind in THINGS for node in graph.nodes) for graph in (found, truth))
    return Counts(right=len(matches), wrong=mine - len(matches), missed=theirs - len(matches))


def triplet_counts(
    found: SceneGraph, truth: Relations, matches: Mapping[int, int], *, among_matched: bool = False
) -> dict[str, Counts]:
    """Triplets right, wrong and missed, by predicate.

    A true triplet that was not said is missed, also when one of its nodes was. A triplet that was said between two matched
    nodes is wrong when the truth says false, and is not counted when the truth is undecided. One with a node that matches
    nothing is wrong.

    Args:
        found: to be judged.
        truth: of the true nodes.
        matches: found ids to true ids, tables and grippers included.
        among_matched: count only triplets between things that were found.
    """
    true, false = (set(truth.triplets(value)) for value in (TRUE, FALSE))
    if among_matched:
        true = {triplet for triplet in true if {triplet[0], triplet[2]} <= set(matches.values())}
    said, invented = set(), Counter[str]()
    for edge in found.edges:
        if edge.subject in matches and edge.object in matches:
            said.add((matches[edge.subject], edge.predicate, matches[edge.object]))
        elif not among_matched:
            invented[edge.predicate] += 1
    counts = {}
    for predicate in found.edges.vocabulary:
        mine, theirs, not_so = ({t for t in triplets if t[1] == predicate} for triplets in (said, true, false))
        wrong = len(mine & not_so) + invented[predicate]
        counts[predicate] = Counts(right=len(mine & theirs), wrong=wrong, missed=len(theirs - mine))
    return counts


def state_counts(found: SceneGraph, truth: Relations, matches: Mapping[int, int]) -> dict[str, Counts]:
    """States right, wrong and missed, by state.

    Args:
        found: to be judged.
        truth: of the true nodes.
        matches: found ids to true ids.
    """
    said = {matches[node.id]: node.states for node in found.nodes if node.id in matches}
    counts = {}
    for state in STATES:
        values = zip(truth.ids.tolist(), truth.of(state).tolist(), strict=True)
        pairs = [(state in said.get(node_id, ()), value) for node_id, value in values]
        counts[state] = Counts(
            right=sum(mine and value == TRUE for mine, value in pairs),
            wrong=sum(mine and value == FALSE for mine, value in pairs),
            missed=sum(not mine and value == TRUE for mine, value in pairs),
        )
    return counts
