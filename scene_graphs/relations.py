"""Evaluate the predicates on nodes: true, false or undecided for every pair."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int8

from vla3d.errors import ConfigError, DataError, unknown_name
from vla3d.scene_graphs.boxes import Boxes
from vla3d.scene_graphs.measures import Measures
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates import PREDICATES, RELATIONS, STATES
from vla3d.scene_graphs.tolerances import Tolerances
from vla3d.scene_graphs.truth import FALSE, TRUE
from vla3d.scene_graphs.viewpoint import Viewpoint

MOST_NEIGHBOURS = 256
"""Every node is related to all others in scenes of up to so many more; in larger ones to so many of the nearest."""

_BLOCK = 512
_PAIRS_AT_A_TIME = 2**17


@dataclass(frozen=True, kw_only=True, eq=False)
class Relations:
    """What holds between nodes.

    Attributes:
        ids: id of each node, in the order in which they were given.
        subjects: position of the subject of each ordered pair.
        objects: position of the object.
        truth: a row for each of ``RELATIONS``, a column for each pair: 1 true, 0 undecided, -1 false.
        states: a row for each of ``STATES``, a column for each node.
    """

    ids: Int[np.ndarray, "N"]
    subjects: Int[np.ndarray, "P"]
    objects: Int[np.ndarray, "P"]
    truth: Int8[np.ndarray, "R P"]
    states: Int8[np.ndarray, "S N"]

    def of(self, name: str) -> Int8[np.ndarray, "*shape"]:
        """Truth of one predicate over pairs, or over nodes for a state.

        Raises:
            ConfigError: no such predicate.
        """
        if name in STATES:
            return self.states[STATES.index(name)]
        if name not in RELATIONS:
            raise unknown_name("predicate", name, PREDICATES)
        return self.truth[RELATIONS.index(name)]

    def dense(self, name: str) -> Int8[np.ndarray, "N N"]:
        """Truth of one relation as a table, subjects in rows; false for pairs that were not asked."""
        table = np.full((len(self.ids), len(self.ids)), FALSE, dtype=np.int8)
        table[self.subjects, self.objects] = self.of(name)
        return table

    def triplets(self, value: int = TRUE) -> Iterator[tuple[int, str, int]]:
        """``(subject id, predicate, object id)`` of all that are true, or undecided (0), or false (-1)."""
        for row, column in zip(*np.nonzero(self.truth == value), strict=True):
            yield int(self.ids[self.subjects[column]]), RELATIONS[row], int(self.ids[self.objects[column]])


def relate(
    nodes: Sequence[SceneNode],
    *,
    viewpoint: Viewpoint | None = None,
    tolerances: Tolerances | None = None,
    pairs: Int[np.ndarray, "U 2"] | None = None,
    most_neighbours: int = MOST_NEIGHBOURS,
) -> Relations:
    """Evaluate every predicate.

    Args:
        nodes: with different ids.
        viewpoint: of left, right, in front and behind; the robot base's by default.
        tolerances: the bands.
        pairs: rows of two different positions in ``nodes``, each unordered pair once; `neighbour_pairs` by default.
        most_neighbours: see `neighbour_pairs`.

    Raises:
        DataError: pairs that are none.
        ConfigError: ``most_neighbours`` is below 1.
    """
    bands = tolerances or Tolerances()
    if pairs is None:
        pairs = neighbour_pairs(Boxes.stack([node.box for node in nodes]), most_neighbours)
    elif len(pairs) and (pairs.min() < 0 or pairs.max() >= len(nodes) or (pairs[:, 0] == pairs[:, 1]).any()):
        raise DataError(f"pairs: expected rows of two different positions from 0 to {len(nodes) - 1}.")
    reach = max(bands.near.no, bands.contact.no) * 1.001
    # Some pairs at a time: what is measured of a pair takes a hundred times the room of what is decided.
    ends, truth, states = [], [], np.zeros((0, 0), dtype=np.int8)
    for block in np.split(pairs, range(_PAIRS_AT_A_TIME, len(pairs), _PAIRS_AT_A_TIME)):
        measured = Measures(nodes, block, viewpoint or Viewpoint(), reach)
        ends.append(np.stack([measured.subjects, measured.objects]))
        truth.append(np.array([PREDICATES[name].rule(measured, bands) for name in RELATIONS], dtype=np.int8))
        states = np.array([PREDICATES[name].rule(measured, bands) for name in STATES], dtype=np.int8)
    subjects, objects = np.concatenate(ends, axis=1)
    return Relations(
        ids=np.array([node.id for node in nodes], dtype=np.int64),
        subjects=subjects,
        objects=objects,
        truth=np.concatenate(truth, axis=1),
        states=states,
    )


def neighbour_pairs(boxes: Boxes, most_neighbours: int = MOST_NEIGHBOURS) -> Int[np.ndarray, "U 2"]:
    """Unordered pairs to relate: all of them, or in large scenes each box with its nearest and with those it is nearest to.

    Distance is that of the axis-aligned boxes around, so a table is among the nearest of everything that stands on it, however
    far away its middle is. Memory grows with the number of pairs, not with the square of the number of boxes.

    Args:
        boxes: all of them.
        most_neighbours: how many of the nearest; scenes with no more others than that get every pair.

    Raises:
        ConfigError: ``most_neighbours`` is below 1.
    """
    if most_neighbours < 1:
        raise ConfigError(f"most_neighbours: got {most_neighbours}, expected at least 1.")
    count = len(boxes)
    if count <= most_neighbours + 1:
        return np.stack(np.triu_indices(count, k=1), axis=1).astype(np.int64)
    found = []
    for start in range(0, count, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, count))
        away = _box_distances(boxes, rows)
        away[np.arange(len(rows)), rows] = np.inf
        nearest = np.argpartition(away, most_neighbours - 1, axis=1)[:, :most_neighbours]
        found.append(np.stack([np.repeat(rows, most_neighbours), nearest.ravel()], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    keys = np.unique(pairs[:, 0] * count + pairs[:, 1])
    return np.stack([keys // count, keys % count], axis=1)


def _box_distances(boxes: Boxes, rows: Int[np.ndarray, "R"]) -> Float[np.ndarray, "R N"]:
    """Squared distances of axis-aligned boxes, those of ``rows`` from all."""
    squared = np.zeros((len(rows), len(boxes)))
    for axis in range(3):
        apart = np.abs(boxes.centers[rows, axis][:, None] - boxes.centers[None, :, axis])
        apart -= boxes.half_extents[rows, axis][:, None] + boxes.half_extents[None, :, axis]
        squared += apart.clip(min=0.0) ** 2
    return squared
