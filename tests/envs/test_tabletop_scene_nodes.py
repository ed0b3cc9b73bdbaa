"""The simulator's truth as nodes: boxes that hold every measured point, states that are the physics' own."""

from collections.abc import Iterator

import numpy as np
import pytest

from vla3d.envs.base import make_env
from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.objects import CUBE_EDGE, DRAWER_TRAVEL
from vla3d.envs.tabletop.scene_nodes import SLIDES, scene_nodes
from vla3d.scene_graphs.building.builder import BuilderConfig, SceneGraphBuilder
from vla3d.scene_graphs.building.gripper import GripperReading
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.building.segments import segments_of, world_points
from vla3d.scene_graphs.metrics import match_nodes, triplet_counts
from vla3d.scene_graphs.predicates.relations import relate


@pytest.fixture(params=sorted(BUILT_IN))
def env(request: pytest.FixtureRequest) -> Iterator[TabletopEnv]:
    made = make_env(request.param, image_size=64)
    assert isinstance(made, TabletopEnv)
    yield made
    made.close()


def test_every_instance_is_a_node_whose_box_holds_what_is_seen_of_it(env: TabletopEnv) -> None:
    seen = env.reset(seed=11)
    nodes = {node.id: node for node in scene_nodes(env)}
    here = {number for number, name in env.instance_names.items() if name not in env.world.away}
    assert set(nodes) == here
    assert {int(number) for frame in seen.frames.values() for number in np.unique(frame.segmentation)} <= here
    assert (nodes[0].kind, nodes[1].kind) == ("surface", "gripper")
    assert all(node.color is not None for number, node in nodes.items() if number > 1)
    for frame in seen.frames.values():
        for segment in segments_of(frame, *world_points(frame)):
            if segment.number > 1:
                assert nodes[segment.number].box.contains(segment.points, margin=0.001).all(), nodes[segment.number].name


def test_sizes_and_parts() -> None:
    env = make_env("put_item_in_drawer", renderer=None)
    assert isinstance(env, TabletopEnv)
    env.begin(seed=0)
    graph = graph_of(scene_nodes(env))
    for cube in graph.find("cube"):
        np.testing.assert_allclose(cube.box.size, CUBE_EDGE, atol=2e-4)  # it sinks into the table a little
    (cabinet,) = graph.find("cabinet")
    drawers = graph.find("drawer")
    assert len(drawers) == 3 and all(drawer.part_of == cabinet.id and drawer.kind == "part" for drawer in drawers)
    assert all(drawer.states == ("closed",) and drawer.opening == pytest.approx(0.0, abs=1e-3) for drawer in drawers)
    joint = env.world.sim.data.joint("cabinet/drawer_1")
    joint.qpos[0] = 0.6 * DRAWER_TRAVEL
    env.world.sim.refresh()
    opened = graph_of(scene_nodes(env)).node(drawers[1].id)
    assert opened.opening == pytest.approx(0.6) and opened.states == ("open",)
    assert np.linalg.norm(opened.box.center - drawers[1].box.center) == pytest.approx(0.6 * DRAWER_TRAVEL, abs=1e-3)


def test_what_the_expert_does_is_what_the_graph_says() -> None:
    env = make_env("place_in_container", renderer=None)
    assert isinstance(env, TabletopEnv)
    env.begin(seed=1)
    expert, held, result = env.expert(), False, None
    while result is None or not (result.terminated or result.truncated):
        result = env.advance(expert.next_action())
        held |= bool(graph_of(scene_nodes(env)).edges_of(predicate="held_by"))
    graph = graph_of(scene_nodes(env))
    (inside,) = graph.edges_of(predicate="in")
    assert result.success and held
    assert graph.node(inside.object).label == "box" and graph.node(inside.subject).label == "cube"
    assert not graph.edges_of(predicate="held_by")


def test_a_pressed_button_says_so() -> None:
    env = make_env("push_buttons", renderer=None)
    assert isinstance(env, TabletopEnv)
    env.begin(seed=1)
    expert, result = env.expert(), None
    while result is None or not (result.terminated or result.truncated):
        result = env.advance(expert.next_action())
    nodes = scene_nodes(env)
    assert result.success and any("pressed" in node.states for node in nodes)
    assert all(node.box.corners[:, 2].min() >= -1e-9 for node in nodes if node.label == "button")


@pytest.mark.parametrize("task", ["stack_blocks", "open_drawer"])
def test_images_and_truth_agree(task: str) -> None:
    env = make_env(task)
    assert isinstance(env, TabletopEnv)
    env.begin(seed=2)
    expert = env.expert()
    for _ in range(3):
        env.advance(expert.next_action())
    seen, nodes = env.observe(), scene_nodes(env)
    builder = SceneGraphBuilder(env.instance_names, BuilderConfig(slides=SLIDES))
    builder.add(seen.frames, GripperReading.of(seen))
    env.close()
    matches = match_nodes(builder.graph, graph_of(nodes)) | {0: 0, 1: 1}
    assert matches == {node.id: node.id for node in nodes}
    counts = triplet_counts(builder.graph, relate(nodes), matches).values()
    right, wrong, missed = (sum(getattr(count, name) for count in counts) for name in ("right", "wrong", "missed"))
    assert right > 25 and 2 * right / (2 * right + wrong + missed) >= 0.9
