"""Objects found and triplets right, by cases counted by hand."""

import numpy as np
import pytest
from graph_scenes import cube, table, tray

from vla3d.scene_graphs.boxes import OrientedBox
from vla3d.scene_graphs.build import graph_of
from vla3d.scene_graphs.edges import Edge
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.metrics import Counts, match_nodes, object_counts, state_counts, triplet_counts
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.relations import relate

TRUTH = [table(), cube(0, 0.4, 0.2), cube(1, 0.4, 0.2, z=0.06), tray(2, 0.6, -0.2)]


def test_a_graph_agrees_with_itself() -> None:
    truth = graph_of(TRUTH)
    matches = match_nodes(truth, truth)
    assert matches == {0: 0, 1: 1, 2: 2}
    assert object_counts(truth, truth, matches) == Counts(right=3)
    counts = triplet_counts(truth, relate(TRUTH), matches | {9: 9})
    assert sum(count.right for count in counts.values()) == len(truth.edges)
    assert not any(count.wrong or count.missed for count in counts.values())


def test_wrong_missed_and_undecided_are_told_apart() -> None:
    """Said: a true triplet, a false one, one of an invented thing, and one that the truth leaves undecided."""
    half_over = SceneNode(id=3, label="board", box=OrientedBox.upright([0.42, 0.2, 0.085], [0.2, 0.04, 0.01]))
    truth = relate([*TRUTH, half_over])
    assert truth.dense("supported_by")[4, 2] == 0, "the middle is over the rim"
    edges = [
        Edge(subject=11, predicate="on", object=10),
        Edge(subject=10, predicate="on", object=12),
        Edge(subject=99, predicate="on", object=10),
        Edge(subject=13, predicate="supported_by", object=11),
    ]
    nodes = [SceneNode(id=number, label="x", box=OrientedBox.upright([0, 0, 0], [1, 1, 1])) for number in (10, 11, 12, 13, 99)]
    found, matches = SceneGraph.of(nodes, edges), {10: 0, 11: 1, 12: 2, 13: 3}
    counts = triplet_counts(found, truth, matches)
    assert counts["on"] == Counts(right=1, wrong=2, missed=3)  # missed: 0 on 9, 2 on 9, 3 on 1
    assert counts["supported_by"] == Counts(right=0, wrong=0, missed=3)
    among = triplet_counts(found, truth, matches, among_matched=True)
    assert among["on"] == Counts(right=1, wrong=1, missed=1)


def test_states_are_counted_like_triplets() -> None:
    def drawer(number: int, opening: float) -> SceneNode:
        return SceneNode(id=number, label="drawer", opening=opening, box=OrientedBox.upright([number, 0, 0], [1, 1, 1]))

    truth = [drawer(0, 1.0), drawer(1, 0.0), drawer(2, 0.15)]
    found = graph_of([drawer(0, 1.0), drawer(1, 1.0), drawer(2, 1.0)])
    counts = state_counts(found, relate(truth), {0: 0, 1: 1, 2: 2})
    assert counts["open"] == Counts(right=1, wrong=1, missed=0) and counts["closed"] == Counts(right=0, wrong=0, missed=1)


def test_matching_takes_the_best_pairs_and_respects_labels() -> None:
    truth = graph_of([cube(0, 0.0, 0.0), cube(1, 0.03, 0.0)])
    found = graph_of([cube(5, 0.016, 0.0), cube(6, -0.012, 0.0)])
    assert match_nodes(found, truth) == {5: 1, 6: 0}
    renamed = SceneGraph(nodes=tuple(SceneNode(id=node.id, label="cup", box=node.box) for node in found.nodes))
    assert match_nodes(renamed, truth) == {} and match_nodes(renamed, truth, labels=False) == {5: 1, 6: 0}
    assert match_nodes(SceneGraph(), truth) == {}
    assert object_counts(renamed, truth, {}) == Counts(wrong=2, missed=2)


def test_rates() -> None:
    counts = Counts(right=6, wrong=2, missed=4) + Counts(right=2)
    assert (counts.precision, counts.recall) == (0.8, pytest.approx(8 / 12))
    assert counts.f1 == pytest.approx(2 / (1 / 0.8 + 12 / 8))
    assert Counts().f1 == Counts().precision == Counts().recall == 1.0
    assert np.isclose(Counts(wrong=1).f1, 0.0)
