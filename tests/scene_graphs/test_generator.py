"""Generated scenes: the same bytes everywhere, nothing meets anything, relations from geometry, compositions held out."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from generated import bytes_of, digest
from scipy.spatial import ConvexHull

from vla3d.errors import ConfigError
from vla3d.scene_graphs.boxes import Boxes, OrientedBox
from vla3d.scene_graphs.build import graph_of
from vla3d.scene_graphs.colors import color_name
from vla3d.scene_graphs.files import read_graph, write_graph
from vla3d.scene_graphs.generator.catalog import COLORS, SIZES, SceneKind, items_of, labels_of
from vla3d.scene_graphs.generator.holdout import Holdout, default_holdout
from vla3d.scene_graphs.generator.scene import SPLITS, GeneratedScene, GeneratorConfig, generate, scenes
from vla3d.scene_graphs.generator.shapes import SHAPES
from vla3d.scene_graphs.generator.surface import Sampling, sample_points, with_points
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.relations import relate
from vla3d.scene_graphs.separation import box_gaps
from vla3d.scene_graphs.truth import TRUE

KINDS: tuple[SceneKind, ...] = ("tabletop", "room")


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest) -> list[GeneratedScene]:
    """Training scenes of a kind."""
    return list(scenes("train", 60, config=GeneratorConfig.usual(request.param)))


# The same bytes


def test_other_processes_draw_the_same_bytes() -> None:
    program = Path(__file__).parent / "generated.py"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout.strip() == digest(), done.stderr


def test_a_scene_depends_on_its_request_alone() -> None:
    config = GeneratorConfig.usual("room")
    alone = generate("train", 7, seed=1, config=config)
    assert bytes_of(list(scenes("train", 8, seed=1, config=config))[7].graph) == bytes_of(alone.graph)
    others = [generate("train", 8, seed=1, config=config), generate("train", 7, seed=2, config=config)]
    others += [generate("validation", 7, seed=1, config=config), generate("train", 7, seed=1)]
    assert len({bytes_of(scene.graph) for scene in (alone, *others)}) == 5


def test_no_two_splits_share_a_seed() -> None:
    for kind in KINDS:
        config = GeneratorConfig.usual(kind)
        seeds = [generate(split, index, config=config).seed for split in SPLITS for index in range(10)]  # type: ignore[arg-type]
        assert len(set(seeds)) == len(seeds)


# Geometry


def meeting(graph: SceneGraph) -> Iterator[tuple[SceneNode, SceneNode]]:
    """Pairs of boxes that overlap by more than a micrometre and are no part of each other; tables are told by their tops."""
    nodes = [node for node in graph.nodes if node.label not in ("table", "desk") or node.box.size[2] < 0.1]
    shrunk = [OrientedBox(center=n.box.center, size=n.box.size - 2e-6, quaternion=n.box.quaternion) for n in nodes]
    pairs = np.stack(np.triu_indices(len(nodes), k=1), axis=1)
    for row in np.flatnonzero(box_gaps(Boxes.stack(shrunk), pairs, reach=1.0) == 0):
        first, second = (nodes[position] for position in pairs[row])
        if first.id != second.part_of and second.id != first.part_of:
            yield first, second


def lies_within(inner: SceneNode, outer: SceneNode) -> bool:
    """Whether one's outline from above is within the other's, and it stands above the other's floor."""
    corners = inner.box.corners.copy()
    corners[:, 2] = outer.box.center[2]
    return bool(outer.box.contains(corners).all()) and inner.box.corners[:, 2].min() > outer.box.corners[:, 2].min() + 0.005


def test_nothing_meets_anything_but_what_it_is_in(trained: list[GeneratedScene]) -> None:
    holders = {item.label for item in items_of(trained[0].kind) if item.interior} | {"drawer"}
    contained = 0
    for scene in trained:
        for first, second in meeting(scene.graph):
            inner, outer = (first, second) if first.box.size.prod() < second.box.size.prod() else (second, first)
            assert outer.label in holders and lies_within(inner, outer), f"{first.name} meets {second.name}"
            contained += 1
    assert contained > 15


def test_collisions_would_be_seen() -> None:
    cubes = [OrientedBox.upright([x, 0, 0], [0.04] * 3, yaw) for x, yaw in ((0.0, 0.3), (0.03, 1.0))]
    graph = graph_of([SceneNode(id=i, label="block", box=box) for i, box in enumerate(cubes)])
    assert len(list(meeting(graph))) == 1


def test_relations_are_what_the_predicates_say_of_the_boxes(trained: list[GeneratedScene]) -> None:
    for scene in trained[:40]:
        found = relate(scene.graph.nodes, viewpoint=scene.graph.viewpoint)
        assert scene.graph.triplets() == set(found.triplets(TRUE))


def test_everything_stands_on_or_in_something(trained: list[GeneratedScene]) -> None:
    for scene in trained:
        held = {s for s, predicate, _ in scene.graph.triplets() if predicate in ("supported_by", "in")}
        assert {node.id for node in scene.graph.nodes if node.kind == "object"} <= held


def test_every_way_to_stand_and_both_states_occur(trained: list[GeneratedScene]) -> None:
    triples = {
        (scene.graph.node(s).label, predicate, scene.graph.node(o).label)
        for scene in trained
        for s, predicate, o in scene.graph.triplets()
    }
    states = {state for scene in trained for node in scene.graph.nodes for state in node.states}
    assert states == {"open", "closed"}
    assert {p for _, p, _ in triples} >= {"on", "in", "under", "near", "touching", "larger", "same_colour", "behind"}
    under_tables = [s for s, predicate, o in triples if predicate == "under" and o == "tabletop"]
    assert bool(under_tables) == (trained[0].kind == "room")


def test_words_for_looks_are_what_is_seen(trained: list[GeneratedScene]) -> None:
    usual = {item.label: item.size for item in items_of(trained[0].kind)}
    for scene in trained[:40]:
        for node in scene.graph.nodes:
            assert node.rgb is not None and node.color == color_name(node.rgb)
            if "size" in node.attributes:
                scale = float(np.cbrt((node.box.size / usual[node.label]).prod()))
                low, high = SIZES[str(node.attributes["size"])]
                assert 0.97 * low <= scale <= 1.03 * high


# Compositions


@pytest.mark.parametrize("kind", KINDS)
def test_training_never_shows_what_is_held_out_though_it_shows_the_pieces(kind: SceneKind) -> None:
    config = GeneratorConfig.usual(kind)
    holdout = config.holdout
    seen_colors, seen_labels, seen_predicates = set(), set(), set()
    for scene in scenes("train", 120, seed=3, config=config):
        labels = {node.id: node.label for node in scene.graph.nodes}
        pairs = {(node.color, node.label) for node in scene.graph.nodes}
        triples = {(labels[s], predicate, labels[o]) for s, predicate, o in scene.graph.triplets()}
        assert not pairs & set(holdout.attributes) and not triples & set(holdout.relations)
        assert not holdout.found_in(scene.graph)
        seen_colors |= {color for color, _ in pairs}
        seen_labels |= {label for _, label in pairs}
        seen_predicates |= {predicate for _, predicate, _ in triples}
    assert seen_colors >= set(COLORS) and seen_labels >= set(labels_of(kind))
    assert seen_predicates >= {predicate for _, predicate, _ in holdout.relations}


@pytest.mark.parametrize("kind", KINDS)
def test_tests_of_compositions_show_what_is_held_out(kind: SceneKind) -> None:
    config = GeneratorConfig.usual(kind)
    shown_pairs, shown_triples = set(), set()
    for scene in scenes("test_attributes", 30, config=config):
        pairs = [found for found in config.holdout.found_in(scene.graph) if len(found) == 2]
        assert pairs
        shown_pairs |= set(pairs)
    for scene in scenes("test_relations", 50, config=config):
        found = config.holdout.found_in(scene.graph)
        assert found and all(len(composition) == 3 for composition in found)
        shown_triples |= set(found)
    assert len(shown_pairs) > len(config.holdout.attributes) / 2
    assert len(set(config.holdout.relations) & shown_triples) >= len(config.holdout.relations) - 1


def test_a_held_out_triple_holds_its_converse_out() -> None:
    holdout = Holdout(relations=(("cup", "left_of", "bowl"), ("can", "near", "box")))
    assert holdout.triples == {
        ("cup", "left_of", "bowl"), ("bowl", "right_of", "cup"), ("can", "near", "box"), ("box", "near", "can"),
    }  # fmt: skip
    boxes = [OrientedBox.upright([0.5, y, 0], [0.1] * 3) for y in (-0.3, 0.3)]
    bowl, cup = (
        SceneNode(id=i, label=label, box=box) for i, (label, box) in enumerate(zip(("bowl", "cup"), boxes, strict=True))
    )
    assert set(holdout.found_in(graph_of([bowl, cup]))) == {("bowl", "right_of", "cup"), ("cup", "left_of", "bowl")}


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Holdout(attributes=(("rde", "cup"),)), "Unknown colour 'rde'. Did you mean 'red'?"),
        (lambda: Holdout(relations=(("cup", "onn", "box"),)), "Unknown predicate 'onn'"),
        (lambda: Holdout(attributes=tuple((color, "cup") for color in COLORS)), "every colour of 'cup' is held out"),
        (lambda: GeneratorConfig(holdout=Holdout(attributes=(("red", "sofa"),))), "Unknown label 'sofa'"),
        (lambda: GeneratorConfig(kind="kitchen"), "Unknown kind of scene 'kitchen'"),  # type: ignore[arg-type]
        (lambda: GeneratorConfig(least=5, most=4), "got least 5 and most 4"),
        (lambda: generate("tset", 0), "Unknown split 'tset'. Did you mean 'test'?"),  # type: ignore[arg-type]
        (lambda: generate("test_relations", 0, config=GeneratorConfig()), "needs a held-out triple"),
        (lambda: generate("test_attributes", 0, config=GeneratorConfig()), "needs a held-out pair"),
        (lambda: generate("train", 0, config=impossible()), "hold out fewer compositions"),
        (lambda: Sampling(dropout=1.0), "sampling.dropout: got 1.0"),
        (lambda: Sampling(noise=float("nan")), "sampling.noise: got nan"),
    ],
)
def test_mistakes(make: object, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()  # type: ignore[operator]
    assert part in str(caught.value)


def impossible() -> GeneratorConfig:
    """Nothing may be on a table, and a block may not be in a bowl."""
    return GeneratorConfig(
        holdout=Holdout(relations=tuple((label, "on", "table") for label in labels_of("tabletop") if label != "drawer"))
    )


def test_usual_holdouts_leave_most_compositions() -> None:
    for kind in KINDS:
        holdout = default_holdout(kind)
        for item in items_of(kind):
            if item.leg_room is None:
                labels = (item.label, item.part) if item.part else (item.label,)
                assert len(holdout.colors_for(*labels)) >= 8


# Points


def test_points_lie_on_their_things_and_keep_their_colours() -> None:
    scene = generate("train", 2, config=GeneratorConfig.usual("room"))
    cloud = sample_points(
        scene.graph, 0, Sampling(per_object=200, cameras=0, dropout=0.0, noise=0.0, shading=0.0, color_noise=0.0)
    )
    assert len(cloud.points) == 200 * len(scene.graph.nodes)
    for node in scene.graph.nodes:
        mine = cloud.points[cloud.ids == node.id].astype(np.float64)
        assert node.box.contains(mine, margin=1e-6).all()
        assert color_name(cloud.colors[cloud.ids == node.id][0] / 255) == node.color


@pytest.mark.parametrize("label", sorted(SHAPES))
def test_a_shape_fills_its_box_to_every_side(label: str) -> None:
    if label in ("table", "desk"):  # legs, under a top that is a node of its own
        return
    node = SceneNode(id=0, label=label, box=OrientedBox.upright([0.0, 0, 1], [0.4, 0.6, 0.5]))
    cloud = sample_points(graph_of([node]), 0, Sampling(per_object=6000, cameras=0, dropout=0.0, noise=0.0))
    extent = np.ptp(cloud.points, axis=0)
    assert (extent > 0.93 * node.box.size).all() and (extent < 1.001 * node.box.size).all()


def test_points_spread_evenly_over_a_block() -> None:
    node = SceneNode(id=0, label="block", box=OrientedBox.upright([0, 0, 0], [1.0, 2.0, 3.0]))
    points = sample_points(graph_of([node]), 0, Sampling(per_object=22000, cameras=0, dropout=0.0, noise=0.0)).points
    for axis, area in enumerate((6.0, 3.0, 2.0)):
        share = (np.abs(np.abs(points[:, axis]) - node.box.size[axis] / 2) < 1e-6).mean()
        assert share == pytest.approx(2 * area / 22.0, abs=0.01)
    assert ConvexHull(points).volume == pytest.approx(6.0, rel=0.02)


def test_what_is_covered_is_not_seen() -> None:
    lid = SceneNode(id=0, label="box", box=OrientedBox.upright([0, 0, 0.3], [0.5, 0.5, 0.5]))
    inner = SceneNode(id=1, label="block", box=OrientedBox.upright([0, 0, 0.3], [0.1, 0.1, 0.1]))
    beside = SceneNode(id=2, label="block", box=OrientedBox.upright([1.0, 0, 0.1], [0.1, 0.1, 0.1]))
    cloud = sample_points(graph_of([lid, inner, beside]), 0, Sampling(cameras=8, dropout=0.0, noise=0.0))
    assert (cloud.ids == 0).any() and (cloud.ids == 2).any() and not (cloud.ids == 1).any()
    below = cloud.points[cloud.ids == 0, 2] < 0.05 + 1e-6
    assert not (np.abs(cloud.points[cloud.ids == 0][below][:, :2]) < 0.24).all(axis=1).any(), "the underside faces no camera"
    assert with_points(graph_of([lid, inner, beside]), cloud).node(1).points is None


def test_dropout_loses_its_share() -> None:
    scene = generate("train", 0)
    whole, less = (sample_points(scene.graph, 1, Sampling(per_object=500, cameras=0, dropout=d)) for d in (0.0, 0.4))
    assert len(less.points) == pytest.approx(0.6 * len(whole.points), rel=0.05)


def test_scenes_with_points_are_files(tmp_path: Path) -> None:
    scene = generate("train", 1)
    graph = with_points(scene.graph, sample_points(scene.graph, scene.seed))
    write_graph(tmp_path / "scene.json", graph)
    assert read_graph(tmp_path / "scene.json").same_as(graph)


def test_an_empty_graph_has_no_points() -> None:
    assert sample_points(SceneGraph(), 0).points.shape == (0, 3)
