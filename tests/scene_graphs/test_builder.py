"""The graph from images: boxes that are right, merging that any order of views leaves alone, updates, refusals."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from graph_scenes import cube, tray
from seen_scenes import CAMERAS, frame, frames, names, pose

from vla3d.errors import ConfigError, DataError, ObservationError
from vla3d.scene_graphs.building.articulation import Slide, opening_of
from vla3d.scene_graphs.building.builder import BuilderConfig, SceneGraphBuilder
from vla3d.scene_graphs.building.clustering import ClusterConfig, with_clusters
from vla3d.scene_graphs.building.gripper import GripperReading
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.building.labels import InstanceLabel, labels_of_names
from vla3d.scene_graphs.building.memory import FIRST_ID
from vla3d.scene_graphs.building.segments import segmentation_of_masks
from vla3d.scene_graphs.building.surfaces import table_box
from vla3d.scene_graphs.metrics import box_ious, match_nodes, triplet_counts
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.relations import relate
from vla3d.scene_graphs.shapes.box_fitting import upright_box
from vla3d.scene_graphs.shapes.boxes import OrientedBox
from vla3d.types import RgbdFrame, Workspace


def things() -> list[SceneNode]:
    """Two cubes one on the other, one in a tray's place, a wall before nothing."""
    return [
        cube(2, 0.45, 0.15, yaw=0.3),
        cube(3, 0.45, 0.15, z=0.06, yaw=0.8, color="blue"),
        cube(4, 0.6, -0.15, yaw=-0.5),
        cube(5, 0.35, -0.1, color="blue"),
    ]


def built(nodes: list[SceneNode], config: BuilderConfig | None = None) -> SceneGraphBuilder:
    builder = SceneGraphBuilder(names(nodes), config)
    builder.add(frames(nodes))
    return builder


# Boxes


def test_the_box_of_a_boxs_corners_is_that_box() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        size = np.sort(rng.uniform(0.01, 0.3, 3))[[2, 1, 0]]
        box = OrientedBox.upright(rng.uniform(-1, 1, 3), size, rng.uniform(-np.pi / 2, np.pi / 2))
        found = upright_box(box.corners)
        np.testing.assert_allclose(found.center, box.center, atol=1e-9)
        np.testing.assert_allclose(found.size, box.size, atol=1e-9)
        assert abs(found.quaternion @ box.quaternion) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "points",
    [[[1, 2, 3]], [[1, 2, 3]] * 4, [[0, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]],
    ids=["one", "same", "two", "line"],
)
def test_few_or_flat_points_still_have_a_box(points: list[list[float]]) -> None:
    array = np.array(points, dtype=float)
    box = upright_box(array)
    assert (box.size >= 0.001).all() and box.contains(array, margin=1e-9).all()


def test_boxes_from_images_are_those_that_were_seen() -> None:
    nodes = things()
    graph = built(nodes).graph
    assert {node.id for node in graph.nodes} == {0, 2, 3, 4, 5}
    for node in nodes:
        found = graph.node(node.id)
        np.testing.assert_allclose(found.box.center, node.box.center, atol=0.003)
        np.testing.assert_allclose(np.sort(found.box.size), np.sort(node.box.size), atol=0.004)
        assert (found.label, found.color, found.views, found.incomplete) == ("cube", node.color, 3, False)
    assert graph.node(0).kind == "surface" and graph.node(0).box.corners[:, 2].max() == pytest.approx(0, abs=1e-4)


def test_triplets_from_images_are_the_true_ones() -> None:
    nodes = things()
    found, truth = (
        built(nodes).graph,
        [*nodes, SceneNode(id=0, label="table", kind="surface", box=OrientedBox.upright([0.5, 0, -0.02], [2, 2, 0.04]))],
    )
    matches = match_nodes(found, graph_of(truth)) | {0: 0}
    assert matches == {node.id: node.id for node in truth}
    counts = triplet_counts(found, relate(truth), matches)
    assert sum(count.right for count in counts.values()) > 40
    assert not [name for name, count in counts.items() if count.wrong or count.missed]


def test_evidence_counts_the_views_that_show_an_edge() -> None:
    graph = built(things()).graph
    (edge,) = graph.edges_of(subject=3, predicate="on")
    assert (edge.object, edge.evidence, edge.confidence) == (2, 3, pytest.approx(4 / 5))
    assert all(0 <= edge.evidence <= 3 for edge in graph.edges)


# Merging


@pytest.mark.parametrize("order", list(permutations(CAMERAS)), ids="-".join)
def test_the_order_of_views_makes_no_difference(order: tuple[str, ...]) -> None:
    nodes = things()
    seen, together = frames(nodes), built(nodes).graph
    builder = SceneGraphBuilder(names(nodes))
    for name in order:
        builder.add({name: seen[name]})
    for mine, other in zip(builder.graph.nodes, together.nodes, strict=True):
        np.testing.assert_allclose(mine.box.center, other.box.center, atol=1e-9)
    assert builder.graph.triplets() == together.triplets()
    assert [edge.evidence for edge in builder.graph.edges] == [edge.evidence for edge in together.edges]


def scrambled(view: RgbdFrame, seed: int) -> tuple[RgbdFrame, dict[int, InstanceLabel]]:
    """The same view with ids that mean nothing elsewhere."""
    ids = np.random.default_rng(seed).permutation(np.arange(10, 30))
    segmentation = np.where(view.segmentation > 0, ids[view.segmentation], 0).astype(np.int16)
    return replace(view, segmentation=segmentation), {int(number): InstanceLabel(label="cube") for number in ids}


def test_ids_that_differ_between_views_are_merged_by_room() -> None:
    nodes = things()
    together = built(nodes).graph
    builder = SceneGraphBuilder(config=BuilderConfig(ids_agree=False))
    views = {name: scrambled(view, seed) for seed, (name, view) in enumerate(frames(nodes).items())}
    builder.add({name: view for name, (view, _) in views.items()}, names={name: labels for name, (_, labels) in views.items()})
    matches = match_nodes(builder.graph, together, least_iou=0.9) | {0: 0}
    assert len(matches) == len(together.nodes) == len(builder.graph.nodes)
    assert {(matches[s], p, matches[o]) for s, p, o in builder.graph.triplets()} == together.triplets()
    again = builder.add(
        {name: view for name, (view, _) in views.items()}, names={name: labels for name, (_, labels) in views.items()}
    )
    assert again.empty, again.lines()


def test_views_may_disagree_on_a_label() -> None:
    nodes = things()[:1]
    builder = SceneGraphBuilder()
    called = {name: {2: InstanceLabel(label=label)} for name, label in zip(CAMERAS, ("cube", "block", "cube"), strict=True)}
    builder.add(frames(nodes), names=called)
    assert builder.graph.node(2).label_scores == {"block": pytest.approx(1 / 3), "cube": pytest.approx(2 / 3)}
    assert builder.graph.node(2).label == "cube"


def test_what_is_cut_off_in_every_view_is_incomplete() -> None:
    wall = SceneNode(id=9, label="wall", box=OrientedBox.upright([0.8, 0.0, 0.1], [0.02, 0.3, 0.2]))
    hidden = cube(2, 0.74, 0.0)
    view = {"front": frame([hidden, wall], pose(*CAMERAS["front"]))}
    assert (view["front"].segmentation == 2).sum() < 5, "the wall hides it from the front"
    half = {"front": frame([cube(2, 0.72, 0.18), wall], pose(*CAMERAS["front"]))}
    builder = SceneGraphBuilder({2: "cube", 9: "wall"})
    builder.add(half)
    assert builder.graph.node(2).incomplete and not builder.graph.node(9).incomplete
    builder.add({"left": frame([cube(2, 0.72, 0.18), wall], pose(*CAMERAS["left"]))})
    assert not builder.graph.node(2).incomplete
    cut = SceneGraphBuilder({2: "cube"})
    cut.add({"near": frame([cube(2, 0.45, 0.0)], pose((0.45, -0.2, 0.15), (0.56, 0.0, 0.05)))})
    assert cut.graph.node(2).incomplete, "the border cuts it"


# Updates


def test_the_same_images_again_change_nothing() -> None:
    nodes = things()
    builder = built(nodes)
    assert builder.add(frames(nodes)).empty


def test_a_cube_that_moved_came_or_went_is_reported() -> None:
    nodes = things()
    builder = built(nodes)
    moved = [
        cube(2, 0.45, 0.15, yaw=0.3),
        cube(3, 0.6, -0.15, z=0.06, yaw=0.8, color="blue"),
        cube(4, 0.6, -0.15, yaw=-0.5),
        cube(6, 0.4, 0.0),
    ]
    delta = builder.add(frames(moved))
    assert [node.id for node in delta.added] == [6] and [node.id for node in delta.removed] == [5]
    assert [change.after.id for change in delta.moved()] == [3]
    assert (3, "on", 4) in {edge.triplet for edge in delta.added_edges}
    assert (3, "on", 2) in {edge.triplet for edge in delta.removed_edges}


def test_what_is_hidden_is_remembered_and_what_is_seen_through_is_forgotten() -> None:
    wall = SceneNode(id=9, label="wall", box=OrientedBox.upright([0.8, 0.0, 0.1], [0.02, 0.3, 0.2]))
    builder = SceneGraphBuilder({2: "cube", 9: "wall"})
    front = pose(*CAMERAS["front"])
    builder.add({"front": frame([cube(2, 0.74, 0.0)], front)})
    hidden = builder.add({"front": frame([cube(2, 0.74, 0.0), wall], front)})
    assert 2 in builder.graph and [node.id for node in hidden.added] == [9]
    gone = builder.add({"front": frame([], front)})
    assert {node.id for node in gone.removed} == {2, 9}


def test_what_came_to_another_place_is_no_longer_where_it_was_though_nothing_sees_through_that() -> None:
    """A box now takes the old place, and hides both places from one of the cameras."""
    old, new = cube(2, 0.6, 0.0), cube(2, 0.4, 0.2)
    box = SceneNode(id=9, label="box", box=OrientedBox.upright([0.6, 0.0, 0.2], [0.1, 0.3, 0.4]))
    views = {name: pose(*CAMERAS[name]) for name in ("front", "left")}
    builder = SceneGraphBuilder({2: "cube", 9: "box"})
    builder.add({name: frame([old], view) for name, view in views.items()})
    builder.add({"front": frame([box], views["front"]), "left": frame([new, box], views["left"])})
    found = builder.graph.node(2)
    assert found.views == 1
    np.testing.assert_allclose(found.box.center, new.box.center, atol=0.02)


def test_a_thing_that_comes_out_of_hiding_has_not_moved() -> None:
    wall = SceneNode(id=9, label="wall", box=OrientedBox.upright([0.4, 0.3, 0.1], [0.3, 0.02, 0.2]))
    views = {name: pose(*CAMERAS[name]) for name in ("front", "left")}
    hiding = SceneNode(id=8, label="wall", box=OrientedBox.upright([0.8, 0.0, 0.1], [0.02, 0.3, 0.2]))
    builder = SceneGraphBuilder({2: "cube", 8: "wall", 9: "wall"})
    thing = cube(2, 0.7, 0.0)
    builder.add({"front": frame([thing], views["front"]), "left": frame([thing, wall], views["left"])})
    builder.add({"front": frame([thing, hiding], views["front"]), "left": frame([thing], views["left"])})
    assert builder.graph.node(2).views == 2


def test_the_gripper_and_what_it_holds() -> None:
    nodes = [cube(2, 0.5, 0.0, z=0.2)]
    builder = SceneGraphBuilder(names(nodes))
    reading = GripperReading(position=np.array([0.5, 0, 0.2]), quaternion=np.array([0.0, 1, 0, 0]), width=0.04, closing=True)
    builder.add(frames(nodes), reading)
    assert (2, "held_by", 1) in builder.graph.triplets() and builder.graph.node(2).states == ("held",)
    delta = builder.add(frames(nodes), replace(reading, closing=False, width=0.08))
    assert delta.state_changes() == ((2, "held", False),)


def test_how_far_a_drawer_is_open() -> None:
    cabinet = OrientedBox.upright([0, 0, 0.1], [0.3, 0.2, 0.2], 0.4)
    slide = Slide(closed=0.02, travel=0.1)
    for opening in (0.0, 0.35, 1.0):
        away = np.array([np.cos(0.4 + np.pi / 2), np.sin(0.4 + np.pi / 2), 0]) * (0.02 + 0.1 * opening)
        drawer = OrientedBox.upright(np.array([0, 0, 0.1]) + away, [0.08, 0.2, 0.1], 0.4)
        assert opening_of(drawer, cabinet, slide) == pytest.approx(opening, abs=1e-9)
    with pytest.raises(ConfigError, match="travel above 0"):
        Slide(closed=0.0, travel=0.0)


# Without masks


def test_clusters_find_what_stands_apart_and_join_what_touches() -> None:
    nodes = things()
    clustered = with_clusters(frames(nodes), ClusterConfig(workspace=Workspace.from_bounds([0, -0.5, -0.1], [1, 0.5, 0.5])))
    builder = SceneGraphBuilder()
    builder.add(clustered)
    found = builder.graph.find(kind="object")
    assert [node.label for node in found] == ["unknown"] * 3, "the stack is one cluster"
    assert [node.id for node in found] == [FIRST_ID, FIRST_ID + 1, FIRST_ID + 2]
    middles = np.array([[0.45, 0.15, 0.04], [0.6, -0.15, 0.02], [0.35, -0.1, 0.02]])
    for middle in middles:
        assert min(np.linalg.norm(node.box.center - middle) for node in found) < 0.006


def test_an_empty_table_has_no_clusters() -> None:
    clustered = with_clusters(frames([]))
    assert not any(view.segmentation.any() for view in clustered.values())
    assert with_clusters({}) == {}


@pytest.mark.parametrize("values", [{"gap": 0.0}, {"voxel": float("inf")}, {"least_points": 0}])
def test_cluster_settings_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(values))}: got"):
        ClusterConfig(**values)  # type: ignore[arg-type]


# Names and masks


def test_what_instance_names_say() -> None:
    found = labels_of_names({0: "background", 1: "robot", 5: "cabinet", 6: "cabinet/drawer_1", 7: "round_block", 8: "cube_12"})
    assert {number: label.label for number, label in found.items()} == {5: "cabinet", 6: "drawer", 7: "round block", 8: "cube"}
    assert (found[6].kind, found[6].part_of, found[5].kind) == ("part", 5, "object")
    with pytest.raises(DataError, match="Instance 3: got the name '_7'"):
        labels_of_names({3: "_7"})


def test_overlapping_masks_go_to_the_smaller_one() -> None:
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[0, :, :], masks[1, 1:3, 1:3] = True, True
    result = segmentation_of_masks(masks, [7, 3])
    assert (result[1:3, 1:3] == 3).all() and (result == 7).sum() == 12
    assert (segmentation_of_masks(masks[::-1]) == np.where(result == 3, 1, 2)).all()
    with pytest.raises(DataError, match="expected different ids from 1 to 32767"):
        segmentation_of_masks(masks, [3, 3])


def test_an_id_without_a_name_is_unknown() -> None:
    builder = SceneGraphBuilder({2: "cube"})
    builder.add(frames([cube(2, 0.5, 0.0), cube(77, 0.4, 0.2)]))
    assert builder.graph.node(77).label == "unknown" and builder.graph.node(2).label == "cube"


def test_ids_of_table_and_gripper_stay_theirs() -> None:
    builder = SceneGraphBuilder()
    builder.add(
        frames([cube(1, 0.5, 0.0)]),
        GripperReading(position=np.zeros(3), quaternion=np.array([1.0, 0, 0, 0]), width=0.0, closing=True),
    )
    assert builder.graph.ids == (0, 1, 2**15 + 1)


# Bad input


def bare(**values: object) -> RgbdFrame:
    return replace(frame([cube(2, 0.5, 0.0)], pose(*CAMERAS["front"])), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"T_world_camera": np.full((4, 4), np.nan)}, "got a pose or intrinsics with a number that is not finite"),
        ({"T_world_camera": np.diag([1.0, -1, 1, 1])}, "T_world_camera is no rigid pose"),
        ({"T_world_camera": np.diag([2.0, 2, 2, 1])}, "T_world_camera is no rigid pose"),
        ({"segmentation": None}, "got a segmentation of shape None"),
        (
            {"segmentation": np.zeros((3, 3), np.int16)},
            "got a segmentation of shape (3, 3), expected instance ids of shape (96, 96)",
        ),
    ],
)
@pytest.mark.wrong_shapes
def test_bad_frames_are_one_sentence_that_names_the_camera(values: dict, part: str) -> None:
    builder = SceneGraphBuilder()
    with pytest.raises(ObservationError) as caught:
        builder.add({"front": bare(**values)})
    assert part in str(caught.value) and "Camera 'front'" in str(caught.value)
    assert not builder.graph.nodes, "a refused instant changes nothing"


@pytest.mark.parametrize("depth", [np.zeros((96, 96), np.float32), np.full((96, 96), np.nan, np.float32)])
def test_images_without_depth_give_an_empty_graph(depth: np.ndarray) -> None:
    builder = SceneGraphBuilder()
    assert builder.add({"front": bare(depth=depth)}).empty
    assert builder.graph.nodes == () and len(builder.graph.edges) == 0


def test_one_point_is_a_thing_only_if_asked_for() -> None:
    segmentation = np.zeros((96, 96), np.int16)
    segmentation[50, 50] = 2
    few, one = SceneGraphBuilder(), SceneGraphBuilder(config=BuilderConfig(least_points=1))
    few.add({"front": bare(segmentation=segmentation)})
    one.add({"front": bare(segmentation=segmentation)})
    assert 2 not in few.graph and one.graph.node(2).box.size.tolist() == [0.001] * 3


@pytest.mark.parametrize(
    "values", [{"voxel": 0.0}, {"merge_overlap": 0.0}, {"gone_share": 1.5}, {"least_points": 0}, {"keep_points": -1}]
)
def test_settings_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(values))}: got"):
        BuilderConfig(**values)  # type: ignore[arg-type]


def test_points_are_kept_when_asked_for() -> None:
    nodes = things()[:1]
    points = built(nodes, BuilderConfig(keep_points=20)).graph.node(2).points
    assert points is not None and 10 <= len(points) <= 20
    assert nodes[0].box.contains(points.astype(float), margin=0.001).all()


def test_without_a_level_surface_there_is_no_table() -> None:
    rng = np.random.default_rng(0)
    assert table_box(rng.uniform(-1, 1, (3000, 3)), np.zeros(0)) is None
    assert table_box(np.zeros((3, 3)), np.zeros(0)) is None
    shelf = np.concatenate([rng.uniform([0, 0, z], [1, 1, z + 0.001], (500, 3)) for z in (0.0, 0.4)])
    for height in (0.0, 0.4):
        found = table_box(shelf, np.array([height + 0.001]))
        assert found is not None and found.corners[:, 2].max() == pytest.approx(height, abs=0.002)


def test_intersection_over_union() -> None:
    box = OrientedBox.upright([0, 0, 0], [1, 1, 1], 0.4)
    half = OrientedBox.upright([0, 0, 0.5], [1, 1, 1], 0.4)
    np.testing.assert_allclose(box_ious([box, half], [box]), [[1.0], [1 / 3]])
    assert box_ious([], [box]).shape == (0, 1)
    assert tray(0, 0, 0).label == "tray"
