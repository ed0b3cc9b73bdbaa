"""The cube that stands so to another thing: what the sentence means, that it alone tells the cube, and what is held out."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from vla3d.envs.base import make_env
from vla3d.envs.tabletop.colors import COLOR_NAMES
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.objects import CUBE_EDGE
from vla3d.envs.tabletop.placement import TablePose
from vla3d.envs.tabletop.scene import WORKSPACE
from vla3d.envs.tabletop.scene_nodes import scene_nodes
from vla3d.envs.tabletop.tasks.anchors import ANCHORS, Anchor
from vla3d.envs.tabletop.tasks.base import Scenario
from vla3d.envs.tabletop.tasks.lift_by_relation import CUBES, HELD_OUT, TRAINED, VARIATIONS, LiftByRelation
from vla3d.envs.tabletop.tasks.standing import SIDES, standing, the_one
from vla3d.scene_graphs.building.builder import SceneGraphBuilder
from vla3d.scene_graphs.building.gripper import GripperReading
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.relations import relate
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE
from vla3d.scene_graphs.shapes.boxes import Boxes, OrientedBox
from vla3d.scene_graphs.shapes.separation import box_gaps

FINGER_REACH = 0.039
TASK = LiftByRelation()


@pytest.fixture(scope="module")
def env() -> Iterator[TabletopEnv]:
    yield made()


def made(*factors: str) -> TabletopEnv:
    env = make_env("lift_by_relation", renderer=None, factors=factors)
    assert isinstance(env, TabletopEnv)
    return env


def scenarios(count: int, unseen: bool = False) -> list[Scenario]:
    rng = np.random.default_rng(0)
    return [TASK.draw(rng, int(rng.choice(TASK.variations(unseen)))) for _ in range(count)]


SCENARIOS = scenarios(120)
UNSEEN_SCENARIOS = scenarios(60, unseen=True)


def relations_of_cubes(nodes: Sequence[SceneNode], env: TabletopEnv) -> dict[tuple[str, int], list[int]]:
    """How the cubes stand to the anchors by a scene graph's nodes: side and anchor to a truth for each cube."""
    place = {env.instance_names[node.id]: index for index, node in enumerate(nodes)}
    relations = relate(nodes)
    near, cubes = relations.dense("near"), [place[cube] for cube in CUBES]
    return {
        (side, kind): np.minimum(near, relations.dense(side))[cubes, place[anchor.name]].tolist()
        for side in SIDES
        for kind, anchor in enumerate(ANCHORS)
        if anchor.name in place
    }


def stands(scenario: Scenario) -> dict[tuple[str, int], tuple[int, ...]]:
    anchors = scenario.poses[len(CUBES) :]
    return dict(standing(scenario.poses[: len(CUBES)], tuple((k, pose) for k, pose in enumerate(anchors) if pose.z >= 0)))


def test_each_side_and_each_anchor_is_held_out_once_and_trained_otherwise() -> None:
    assert not set(TRAINED) & set(HELD_OUT) and len(TRAINED) + len(HELD_OUT) == len(SIDES) * len(ANCHORS) == len(VARIATIONS)
    assert sorted(side for side, _ in HELD_OUT) == sorted(SIDES)
    assert sorted(kind for _, kind in HELD_OUT) == [*range(len(ANCHORS))]
    said = [{s for v in TASK.variations(unseen) for s in TASK.sentences(v)} for unseen in (False, True)]
    assert said[0] and said[1] and not said[0] & said[1]
    assert sum(map(len, said)) == len(TASK.templates) * len(VARIATIONS), "no sentence asks for two things"


def test_sentences_name_neither_colors_nor_numbers_of_cubes() -> None:
    for variation in range(TASK.num_variations):
        for unseen in (False, True):
            for sentence in TASK.sentences(variation, unseen):
                assert not set(sentence.split()) & set(COLOR_NAMES)
                assert SIDES[VARIATIONS[variation][0]] in sentence and ANCHORS[VARIATIONS[variation][1]].name in sentence
                assert any(word in sentence for word in ("just", "next to", "near", "close to"))


@pytest.mark.parametrize("factors", [(), ("unseen_relations",)], ids=["trained", "held out"])
def test_the_scene_graph_of_the_settled_scene_says_what_the_sentence_means(factors: tuple[str, ...]) -> None:
    env = made(*factors)
    for seed in range(12):
        env.begin(seed=seed)
        scenario, found = env.episode.scenario, relations_of_cubes(scene_nodes(env), env)
        truth = found[VARIATIONS[scenario.variation]]
        assert truth[scenario.goal] == TRUE and truth.count(FALSE) == len(CUBES) - 1
        for pair, values in found.items():
            assert the_one(values) == env._task.candidate(scenario, VARIATIONS.index(pair)), pair


def test_any_of_the_four_pairs_might_be_the_named_one() -> None:
    """Neither the side nor the anchor tells the cube, nor does which sides the cubes stand on, or what is never said."""
    for scenario in (*SCENARIOS, *UNSEEN_SCENARIOS):
        side, kind = VARIATIONS[scenario.variation]
        found = stands(scenario)
        (other,) = {k for _, k in found} - {kind}
        pairs = [{each for each in SIDES if the_one(found[each, at]) is not None} for at in (kind, other)]
        shared = [each for each in SIDES if each in pairs[0] & pairs[1]]
        assert side in shared
        complete = [
            each
            for each in shared
            if each != side
            and {the_one(found[s, at]) for s in (side, each) for at in (kind, other)} == {*range(len(CUBES))}
            and {(each, kind), (each, other), (side, other)} <= {*TRAINED}
        ]
        assert complete, "the same two sides at both anchors"


def test_the_outermost_cube_on_the_named_side_is_hardly_more_often_the_named_one() -> None:
    """Were "left of the box" the side alone, it would be the leftmost cube in every scene."""
    toward = {"left_of": (0, 1), "right_of": (0, -1), "in_front_of": (-1, 0), "behind": (1, 0)}
    hits = 0
    for scenario in SCENARIOS:
        places = np.array([[pose.x, pose.y] for pose in scenario.poses[: len(CUBES)]])
        hits += int((places @ toward[VARIATIONS[scenario.variation][0]]).argmax()) == scenario.goal
    assert hits / len(SCENARIOS) < 0.65


def test_which_body_is_named_and_what_is_present_is_drawn() -> None:
    goals = Counter(scenario.goal for scenario in SCENARIOS)
    assert len(goals) == len(CUBES) and max(goals.values()) < 0.5 * len(SCENARIOS)
    present = Counter(kind for scenario in SCENARIOS for _, kind in stands(scenario))
    assert len(present) == len(ANCHORS)
    for scenario in SCENARIOS:
        colors = scenario.colors
        assert len(set(colors[: len(CUBES)])) == 1 and len(set(colors)) == 1 + len(ANCHORS)
        assert scenario.swapped != scenario.goal
        assert Scenario.from_json(scenario.to_json()) == scenario


def test_every_other_cube_has_a_sentence_of_the_training_set() -> None:
    for scenario in (*SCENARIOS, *UNSEEN_SCENARIOS):
        for cube in range(len(CUBES)):
            variation = TASK.variation_of(scenario, cube)
            assert TASK.candidate(scenario, variation) == cube
            assert variation == scenario.variation if cube == scenario.goal else VARIATIONS[variation] in TRAINED


def test_demos_never_say_what_is_held_out(env: TabletopEnv) -> None:
    held_out = {s for v in TASK.variations(unseen=True) for unseen in (False, True) for s in TASK.sentences(v, unseen)}
    for seed in range(30):
        env.begin(seed=seed)
        said = [*env.paraphrases, env.swap_instruction(), env.absent_instruction()]
        said += [sentence for other in env.alternatives() for sentence in other.sentences]
        assert not held_out & set(said)
        assert len(env.alternatives()) == len(CUBES), "the three other cubes and what is absent"


def test_the_factor_asks_for_what_is_held_out_alone() -> None:
    env = made("unseen_relations")
    asked = set()
    for seed in range(30):
        env.begin(seed=seed)
        asked.add(env.variation)
        assert VARIATIONS[env.variation] in HELD_OUT
        absent = next(v for v in range(env.num_variations) if env.absent_instruction() in TASK.sentences(v))
        assert VARIATIONS[absent] in HELD_OUT
    assert len(asked) == len(HELD_OUT)


@pytest.mark.parametrize("drawn", [SCENARIOS, UNSEEN_SCENARIOS], ids=["trained", "held out"])
def test_absent_is_an_anchor_that_is_not_there_or_a_side_where_certainly_no_cube_stands(drawn: list[Scenario]) -> None:
    kinds = Counter()
    for scenario in drawn:
        found = stands(scenario)
        absent = TASK.absent_variations(scenario, unseen=drawn is UNSEEN_SCENARIOS)
        assert absent
        for variation in absent:
            truth = found.get(VARIATIONS[variation])
            assert truth is None or set(truth) == {FALSE}
            assert (variation >= len(TRAINED)) == (drawn is UNSEEN_SCENARIOS)
        kinds[found.get(VARIATIONS[absent[0]]) is None] += 1
    assert len(kinds) == 2 and min(kinds.values()) > 0.3 * len(drawn), "about one half each"


def gap_of_squares(cube: TablePose, other: TablePose, width: float) -> float:
    """Exact distance of a cube from another square, metres."""
    boxes = [
        OrientedBox.upright([pose.x, pose.y, 0.01], [edge, edge, 0.02], pose.yaw)
        for pose, edge in ((cube, CUBE_EDGE), (other, width))
    ]
    return float(box_gaps(Boxes.stack(boxes), np.array([[0, 1]]), reach=1.0)[0])


def gap_to_anchor(cube: TablePose, anchor: Anchor, pose: TablePose) -> float:
    """Distance of a cube from an anchor as it is, metres."""
    if not anchor.round:
        return gap_of_squares(cube, pose, anchor.width)
    cos, sin = np.cos(cube.yaw), np.sin(cube.yaw)
    center = np.array([[cos, sin], [-sin, cos]]) @ [pose.x - cube.x, pose.y - cube.y]
    return float(np.linalg.norm((np.abs(center) - CUBE_EDGE / 2).clip(min=0.0)) - anchor.width / 2)


def test_the_hand_has_room_and_everything_is_in_the_workspace() -> None:
    for scenario in (*SCENARIOS, *UNSEEN_SCENARIOS):
        cubes = scenario.poses[: len(CUBES)]
        there = [pair for pair in zip(ANCHORS, scenario.poses[len(CUBES) :], strict=True) if pair[1].z >= 0]
        for i, cube in enumerate(cubes):
            assert all(gap_of_squares(cube, other, CUBE_EDGE) >= 0.05 - 1e-9 for other in cubes[:i])
            assert all(gap_to_anchor(cube, *anchor) > FINGER_REACH + 0.003 for anchor in there)
        for anchor, pose in there:
            reach = anchor.width / 2**0.5
            assert WORKSPACE.contains(np.array([[pose.x, pose.y + side * reach, 0.02] for side in (-1, 1)])).all()
    drawn = np.array([[pose.x, pose.y] for scenario in SCENARIOS for pose in scenario.poses[: len(CUBES)]])
    assert (np.ptp(drawn, axis=0) >= [0.25, 0.50]).all()


@pytest.mark.parametrize("factors", [(), ("unseen_relations",)], ids=["trained", "held out"])
def test_a_graph_made_from_images_says_the_same(factors: tuple[str, ...]) -> None:
    """Boxes measured from images are off by millimetres, and turned any way around what is round: the scenes allow for it."""
    env = make_env("lift_by_relation", image_size=128, factors=factors)
    assert isinstance(env, TabletopEnv)
    for seed in range(4):
        observation = env.reset(seed=seed)
        builder = SceneGraphBuilder(observation.instance_names)
        builder.add(observation.frames, GripperReading.of(observation))
        truth = relations_of_cubes(builder.graph.nodes, env)[VARIATIONS[env.variation]]
        assert the_one(truth) == env.episode.scenario.goal
    env.close()


def test_what_is_put_away_stays_out_of_the_scene(env: TabletopEnv) -> None:
    env.begin(seed=3)
    away = set(env.world.away)
    assert len(away) == 2 and away <= {anchor.name for anchor in ANCHORS}
    env.world.run(1.0)
    for name in away:
        assert env.world.position(name)[2] < -0.5 and env.world.speed(name) < 1e-3
        assert not any(env.instance_names[node.id] == name for node in scene_nodes(env))
    saved = env.save_state()
    other = made()
    other.begin(seed=4)
    other.load_state(saved)
    assert set(other.world.away) == away and other.save_state() == saved


def test_scenes_of_every_pair_can_be_drawn() -> None:
    rng = np.random.default_rng(1)
    for variation in range(TASK.num_variations):
        scenario = TASK.draw(rng, variation)
        assert TASK.candidate(scenario, variation) == scenario.goal
