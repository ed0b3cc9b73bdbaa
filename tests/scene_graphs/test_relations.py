"""The predicates: what they say of scenes that can be told by looking, and the laws that the table promises."""

import runpy
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from graph_scenes import cube, known_scene, table, tray, upright_nodes
from hypothesis import given, settings
from hypothesis import strategies as st

from vla3d.errors import ConfigError, DataError
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.relations import neighbour_pairs, relate
from vla3d.scene_graphs.predicates.table import PREDICATES, RELATIONS, STATES
from vla3d.scene_graphs.predicates.tolerances import Band, Tolerances
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE, UNDECIDED, decide
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint
from vla3d.scene_graphs.shapes.boxes import Boxes, OrientedBox

ROOT = Path(__file__).parents[2]


def truth(name: str, subject: SceneNode, target: SceneNode, viewpoint: Viewpoint | None = None) -> int:
    return int(relate([subject, target], viewpoint=viewpoint).dense(name)[0, 1])


# By looking


def test_a_scene_whose_relations_can_be_told_by_looking() -> None:
    graph = known_scene()
    vertical = {edge for edge in graph.triplets() if edge[1] in ("on", "in", "under", "supported_by")}
    assert vertical == {
        (1, "on", 0), (0, "on", 9), (2, "on", 9), (0, "under", 1), (9, "under", 0), (9, "under", 1), (9, "under", 2),
        (3, "in", 2), (1, "supported_by", 0), (0, "supported_by", 9), (2, "supported_by", 9), (3, "supported_by", 2),
        (9, "under", 3),
    }  # fmt: skip
    assert graph.edges_of(subject=0, predicate="left_of") and graph.edges_of(subject=0, predicate="in_front_of", object=3)
    assert {edge[::2] for edge in graph.triplets() if edge[1] == "same_colour"} == {(0, 3), (3, 0)}
    assert {edge.object for edge in graph.edges_of(subject=2, predicate="larger")} == {0, 1, 3}
    assert not [edge for edge in graph.triplets() if edge[1] == "near" and 9 in edge]


@pytest.mark.parametrize(
    ("gap_mm", "expected"), [(0, TRUE), (4.9, TRUE), (7, UNDECIDED), (10.1, FALSE), (-4.9, TRUE), (-7, UNDECIDED), (-11, FALSE)]
)
def test_on_is_undecided_inside_its_band(gap_mm: float, expected: int) -> None:
    assert truth("on", cube(1, 0.4, 0.2, z=0.06 + gap_mm / 1000), cube(0, 0.4, 0.2)) == expected


def test_yaw_decides_what_axis_aligned_boxes_would_get_wrong() -> None:
    """Two thin bars at 45 degrees, side by side: the boxes around them overlap, they do not."""
    low, high = (OrientedBox.upright([x, 0, z], [0.3, 0.02, 0.02], np.pi / 4) for x, z in ((0.0, 0.0), (0.1, 0.02)))
    one, two = SceneNode(id=0, label="bar", box=low), SceneNode(id=1, label="bar", box=high)
    assert truth("on", two, one) == FALSE and truth("touching", two, one) == FALSE
    crossed = SceneNode(id=1, label="bar", box=OrientedBox.upright([0, 0, 0.02], [0.3, 0.02, 0.02], -np.pi / 4))
    assert truth("on", crossed, one) == TRUE and truth("supported_by", crossed, one) == TRUE


def test_what_hangs_over_is_on_but_not_supported() -> None:
    over = SceneNode(id=1, label="board", box=OrientedBox.upright([0.07, 0, 0.05], [0.2, 0.04, 0.02]))
    base = cube(0, 0.0, 0.0)
    assert truth("on", over, base) == TRUE
    assert truth("supported_by", over, base) == FALSE
    rim = SceneNode(id=1, label="board", box=OrientedBox.upright([0.02, 0, 0.05], [0.2, 0.04, 0.02]))
    assert truth("supported_by", rim, base) == UNDECIDED


def test_half_in_is_undecided_and_over_the_rim_is_not_in() -> None:
    assert truth("in", cube(1, 0.6, -0.2, z=0.026), tray(2, 0.6, -0.2)) == TRUE
    assert truth("in", cube(1, 0.6, -0.2, z=0.05), tray(2, 0.6, -0.2)) == UNDECIDED
    assert truth("in", cube(1, 0.6, -0.2, z=0.08), tray(2, 0.6, -0.2)) == FALSE
    assert truth("in", cube(1, 0.6, -0.2, z=-0.01), table()) == FALSE


def test_whose_left() -> None:
    """Left for the robot is right for who faces it; a quarter turn makes it in front."""
    left, right = cube(0, 0.5, 0.2), cube(1, 0.5, -0.2)
    assert truth("left_of", left, right) == TRUE and truth("left_of", right, left) == FALSE
    assert truth("left_of", left, right, Viewpoint(heading=np.pi)) == FALSE
    assert truth("right_of", left, right, Viewpoint(heading=np.pi)) == TRUE
    assert truth("in_front_of", right, left, Viewpoint(heading=np.pi / 2)) == TRUE
    assert truth("left_of", cube(0, 0.5, 0.015), cube(1, 0.5, 0.0)) == UNDECIDED


def test_a_viewers_pose_gives_its_heading() -> None:
    facing = np.eye(4)
    facing[:3, :3] = np.array([[0, 0.5, -np.sqrt(0.75)], [1, 0, 0], [0, -np.sqrt(0.75), -0.5]])  # looks along -x and down
    assert Viewpoint.of_viewer(facing).heading == pytest.approx(np.pi)
    down = np.diag([1.0, -1.0, -1.0, 1.0])  # looks down, picture's up is +y
    assert Viewpoint.of_viewer(down).heading == pytest.approx(np.pi / 2)
    with pytest.raises(ConfigError, match="expected 4 rows of 4 finite numbers"):
        Viewpoint.of_viewer(np.full((4, 4), np.nan))


def gripper(holding: bool | None, z: float = 0.02) -> SceneNode:
    return SceneNode(id=8, label="gripper", kind="gripper", holding=holding, box=OrientedBox.upright([0.4, 0.2, z], [0.02] * 3))


@pytest.mark.parametrize(("holding", "expected"), [(True, TRUE), (False, FALSE), (None, UNDECIDED)])
def test_held_needs_a_gripper_that_closed_on_something(holding: bool | None, expected: int) -> None:
    held = cube(0, 0.4, 0.2)
    assert truth("inside_gripper", held, gripper(holding)) == TRUE
    assert truth("held_by", held, gripper(holding)) == expected
    assert truth("held_by", held, gripper(holding, z=0.2)) == FALSE
    assert ("held" in graph_of([held, gripper(holding)]).node(0).states) == (expected == TRUE)


@pytest.mark.parametrize(
    ("opening", "open_", "closed"),
    [(0.0, FALSE, TRUE), (0.07, FALSE, UNDECIDED), (0.2, UNDECIDED, FALSE), (0.9, TRUE, FALSE), (None, UNDECIDED, UNDECIDED)],
)
def test_open_and_closed(opening: float | None, open_: int, closed: int) -> None:
    drawer = SceneNode(id=0, label="drawer", box=OrientedBox.upright([0, 0, 0], [1, 1, 1]), opening=opening)
    states = relate([drawer])
    assert (states.of("open")[0], states.of("closed")[0]) == (open_, closed)


def test_a_part_neither_touches_nor_is_in_its_whole() -> None:
    cabinet = SceneNode(id=0, label="cabinet", box=OrientedBox.upright([0, 0, 0], [1, 1, 1]))
    drawer = SceneNode(id=1, label="drawer", kind="part", part_of=0, box=OrientedBox.upright([0, 0, 0], [0.9, 0.3, 0.3]))
    found = relate([drawer, cabinet])
    assert all((found.dense(name) == FALSE).all() for name in ("in", "touching", "near", "on", "supported_by"))
    assert found.dense("larger")[1, 0] == TRUE


def test_an_unknown_colour_is_undecided() -> None:
    plain = SceneNode(id=5, label="cube", box=OrientedBox.upright([0, 0, 0], [1, 1, 1]))
    assert truth("same_colour", plain, cube(0, 1, 1)) == UNDECIDED


# Laws


@given(upright_nodes())
@settings(max_examples=60)
def test_the_laws_of_the_table(nodes: list[SceneNode]) -> None:
    found = relate(nodes)
    assert set(np.unique(found.truth)) <= {TRUE, UNDECIDED, FALSE}
    for name in RELATIONS:
        predicate, holds = PREDICATES[name], found.dense(name)
        assert (holds.diagonal() == FALSE).all()
        if predicate.symmetric:
            assert (holds == holds.T).all(), name
        else:
            assert not ((holds == TRUE) & (holds.T == TRUE)).any(), f"{name} holds both ways round"
        if predicate.converse is not None:
            assert (holds == found.dense(predicate.converse).T).all(), name
        for implied in predicate.implies:
            assert (found.dense(implied)[holds == TRUE] == TRUE).all(), f"{name} without {implied}"
        if predicate.transitive:
            for a, b, c in permutations(range(len(nodes)), 3):
                assert not (holds[a, b] == holds[b, c] == TRUE) or holds[a, c] == TRUE, name
    assert not ((found.of("open") == TRUE) & (found.of("closed") == TRUE)).any()
    assert (found.dense("under").T[found.dense("on") == TRUE] == TRUE).all()
    assert (found.dense("near")[found.dense("touching") == TRUE] == TRUE).all()


@given(upright_nodes(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_nodes_makes_no_difference(nodes: list[SceneNode], random) -> None:
    shuffled = random.sample(nodes, len(nodes))
    assert graph_of(nodes).same_as(graph_of(shuffled))


@given(upright_nodes(), st.floats(-3, 3), st.tuples(*[st.floats(-2, 2)] * 3))
@settings(max_examples=30)
def test_moving_scene_and_viewer_together_changes_nothing_that_was_decided(
    nodes: list[SceneNode], turn: float, shift: tuple[float, float, float]
) -> None:
    """Values on a threshold may round to its other side, where undecided begins; nothing may turn into its opposite."""
    rotation = OrientedBox.upright([0, 0, 0], [1, 1, 1], turn)
    moved = []
    for node in nodes:
        a, b = rotation.quaternion, node.box.quaternion
        quaternion = [a[0] * b[0] - a[3] * b[3], 0, 0, a[0] * b[3] + a[3] * b[0]]
        center = rotation.rotation @ node.box.center + shift
        box = OrientedBox(center=center, size=node.box.size, quaternion=np.array(quaternion))
        moved.append(SceneNode(id=node.id, label=node.label, box=box, rgb=node.rgb, opening=node.opening))
    before, after = relate(nodes), relate(moved, viewpoint=Viewpoint(heading=turn))
    assert (np.abs(before.truth.astype(int) - after.truth) <= 1).all()
    assert (before.truth != after.truth).mean() < 0.2


def test_numbers_that_are_none_are_undecided() -> None:
    values = np.array([np.nan, 0.0, 1.0, 2.0])
    assert decide(values, no=0.5, yes=1.5).tolist() == [UNDECIDED, FALSE, UNDECIDED, TRUE]
    assert decide(values, no=1.5, yes=0.5).tolist() == [UNDECIDED, TRUE, UNDECIDED, FALSE]


# Many nodes


def test_large_scenes_relate_neighbours_and_what_they_stand_on() -> None:
    rng = np.random.default_rng(0)
    nodes = [table(), *(cube(100 + i, *rng.uniform([0, -0.7], [1, 0.7])) for i in range(300))]
    few = relate(nodes, most_neighbours=8)
    assert len(few.subjects) < 301 * 8 * 4
    everything = relate(nodes)
    close = ("on", "touching", "supported_by")
    assert all((few.dense(name) == everything.dense(name)).all() for name in close)


def test_pairs_of_a_small_scene_are_all() -> None:
    boxes = Boxes.stack([node.box for node in known_scene().nodes])
    assert neighbour_pairs(boxes).tolist() == [[i, j] for i in range(5) for j in range(i + 1, 5)]
    assert len(neighbour_pairs(Boxes.stack([]))) == 0


# Mistakes


@pytest.mark.parametrize("pairs", [[[0, 0]], [[0, 5]], [[-1, 0]]])
def test_pairs_that_are_none(pairs: list[list[int]]) -> None:
    with pytest.raises(DataError, match="expected rows of two different positions from 0 to 1"):
        relate([cube(0, 0, 0), cube(1, 0, 0)], pairs=np.array(pairs))


def test_unknown_predicates_and_bands_without_width() -> None:
    with pytest.raises(ConfigError, match=r"Unknown predicate 'onn'\. Did you mean 'on'\?"):
        relate([cube(0, 0, 0)]).of("onn")
    with pytest.raises(ConfigError, match=r"tolerances\.near: got 0\.1 twice"):
        Tolerances(near=Band(0.1, 0.1))
    with pytest.raises(ConfigError, match=r"tolerances\.near: got yes 0\.2 and no 0\.1, expected yes below no"):
        Tolerances(near=Band(0.2, 0.1))
    with pytest.raises(ConfigError, match="what touches is near"):
        Tolerances(contact=Band(0.1, 0.2))
    with pytest.raises(ConfigError, match="most_neighbours: got 0"):
        relate([cube(0, 0, 0)], most_neighbours=0)


# The page


def test_the_page_of_the_predicates_is_what_the_table_says() -> None:
    page = runpy.run_path(str(ROOT / "benchmarks" / "predicate_page.py"))
    text = (ROOT / "docs" / "predicates.md").read_text()
    assert text == page["page"](), f"write it again: {page['COMMAND']}"
    assert all(f"`{name}`" in text for name in (*RELATIONS, *STATES))
