"""Sliding a block onto a target: when the goal holds, and that a push takes the block there and nowhere else."""

import numpy as np
import pytest

from vla3d.envs.base import make_env
from vla3d.envs.tabletop.colors import COLOR_NAMES
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.expert import RETREAT_HEIGHT, top_down
from vla3d.envs.tabletop.motion import MotionExecutor
from vla3d.envs.tabletop.objects import ROUND_BLOCK_HEIGHT, ROUND_BLOCK_RADIUS, TARGET_EDGE
from vla3d.envs.tabletop.placement import TablePose
from vla3d.envs.tabletop.pushing import RUN_UP, Push
from vla3d.envs.tabletop.robot import FINGER_TRAVEL
from vla3d.envs.tabletop.scene import WORKSPACE, new_scene
from vla3d.envs.tabletop.tasks.base import Scenario
from vla3d.envs.tabletop.tasks.slide_block_to_target import BLOCK, DISTANCE, SPAWN, TARGETS, SlideBlockToTarget
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

REST = ROUND_BLOCK_HEIGHT / 2
PLACES = (TablePose(0.40, 0.15, 0.3), TablePose(0.60, -0.15, -0.6), TablePose(0.62, 0.20, 0.0), TablePose(0.45, -0.10, 0.0))
SCENARIO = Scenario(variation=0, goal=0, swapped=1, colors=(0, 1, 2, 3), poses=PLACES)


def scene(scale: float = 1.0) -> World:
    """The scenario above; the block (and nothing else) built ``scale`` times as large."""
    task, spec = SlideBlockToTarget(), new_scene()
    task.build(spec)
    for geom in spec.body(BLOCK).geoms:
        geom.size = [scale * size for size in geom.size]
    world = World(spec, task.instances, scales={BLOCK: scale})
    task.arrange(world, SCENARIO)
    world.sim.refresh()
    return world


@pytest.fixture(scope="module")
def env() -> TabletopEnv:
    made = make_env("slide_block_to_target", renderer=None)
    assert isinstance(made, TabletopEnv)
    return made


def put_block(world: World, x: float, y: float, height: float = REST) -> None:
    world.sim.set_free_body(BLOCK, [x, y, height], [1, 0, 0, 0])
    world.sim.refresh()


def last_result(env: TabletopEnv):
    expert, result = env.expert(), None
    while result is None or not (result.terminated or result.truncated):
        result = env.step(expert.next_action())
    return result


@pytest.mark.parametrize(("off", "expected"), [(0.0, True), (0.019, True), (0.021, False), (0.031, False)])
def test_the_goal_is_two_centimetres_around_the_target(off: float, expected: bool) -> None:
    task, world = SlideBlockToTarget(), scene()
    middle = world.position(TARGETS[1])
    for angle in np.linspace(0.0, 2 * np.pi, 7):
        put_block(world, middle[0] + off * np.cos(angle), middle[1] + off * np.sin(angle))
        assert task.reached(world, 1) is expected
        assert not task.reached(world, 0) and not task.reached(world, 2)
        assert task.disturbed(world, 1) is (off < 0.03)
        assert not task.disturbed(world, 0)


def test_a_block_in_the_air_or_on_the_move_is_not_there() -> None:
    task, world = SlideBlockToTarget(), scene()
    x, y, _ = world.position(TARGETS[2])
    put_block(world, x, y)
    assert task.reached(world, 2)
    world.sim.data.joint(BLOCK).qvel[0] = 0.05
    world.sim.refresh()
    assert not task.reached(world, 2)
    for height in (REST + 0.01, ROUND_BLOCK_RADIUS):  # held up; standing on its edge
        put_block(world, x, y, height)
        assert not task.reached(world, 2)


def test_targets_are_pictures_on_the_table() -> None:
    world = scene()
    x, y, _ = world.position(TARGETS[0])
    put_block(world, x, y)
    world.run(0.5)
    assert not any(world.sim.in_contact(BLOCK, target) for target in TARGETS)
    assert world.position(BLOCK)[2] == pytest.approx(REST, abs=5e-4)


def test_a_block_left_alone_stays() -> None:
    world = scene()
    before = world.position(BLOCK)
    world.run(5.0)
    np.testing.assert_allclose(world.position(BLOCK), before, atol=5e-4)
    assert world.speed(BLOCK) < 1e-3


def test_the_block_cannot_be_picked_up() -> None:
    assert 0.8 * ROUND_BLOCK_RADIUS > FINGER_TRAVEL, "also when a suite makes it smaller"
    world = scene()
    executor = MotionExecutor(world.sim)
    over = KeyframeAction(position=np.add(world.position(BLOCK), [0, 0, 0.1]), quaternion=top_down(0.0), gripper_open=True)
    down = KeyframeAction(position=world.position(BLOCK), quaternion=top_down(0.0), gripper_open=False, ignore_collisions=True)
    assert executor.execute(over) is None and executor.execute(down) == "collision"


def test_what_is_drawn() -> None:
    task, rng = SlideBlockToTarget(), np.random.default_rng(0)
    drawn = [task.draw(rng, int(rng.integers(task.num_variations))) for _ in range(300)]
    places = np.array([[[pose.x, pose.y, pose.yaw] for pose in scenario.poses] for scenario in drawn])
    assert np.ptp(SPAWN.x) >= 0.25 and np.ptp(SPAWN.y) >= 0.50 and SPAWN.yaw >= np.pi / 4
    *targets, block = places.transpose(1, 0, 2)
    for target in targets:
        assert (np.ptp(target, axis=0) > [0.36, 0.50, 0.45 * np.pi]).all(), "the whole range is used"
        np.testing.assert_array_equal(target[:, 2], block[:, 2])
    assert (np.ptp(block, axis=0) > [0.24, 0.38, 0.45 * np.pi]).all()
    for scenario in drawn:
        assert len(set(scenario.colors)) == 4, "the block has a colour of its own"


def test_targets_lie_on_different_sides_of_the_block() -> None:
    task, rng = SlideBlockToTarget(), np.random.default_rng(0)
    sides, away = [], []
    for _ in range(300):
        *targets, block = task.draw(rng, 0).poses
        offsets = np.array([[target.x - block.x, target.y - block.y] for target in targets])
        turns = (np.arctan2(offsets[:, 1], offsets[:, 0]) - block.yaw) / (np.pi / 2)
        np.testing.assert_allclose(turns, turns.round(), atol=1e-9)
        assert len(set(turns.round() % 4)) == len(targets)
        sides += list(turns.round() % 4)
        away += list(np.linalg.norm(offsets, axis=1))
    assert DISTANCE[0] <= min(away) and max(away) <= DISTANCE[1]
    assert min(away) > ROUND_BLOCK_RADIUS + TARGET_EDGE / 2 + 0.02, "the block touches no target at first"
    assert min(np.bincount(np.int64(sides))) > 150, "no side is rare"


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("angle", np.linspace(-np.pi, np.pi, 6, endpoint=False) + 0.3)
def test_a_straight_push_goes_where_it_should(scale: float, angle: float) -> None:
    world = scene(scale)
    put_block(world, 0.5, 0.0, scale * REST)
    world.run(0.1)
    goal = np.array([0.5, 0.0]) + 0.14 * np.array([np.cos(angle), np.sin(angle)])
    executor, furthest = MotionExecutor(world.sim), 0.0

    def look() -> None:
        nonlocal furthest
        furthest = max(furthest, float(np.linalg.norm(world.position(BLOCK)[:2] - [0.5, 0.0])))

    for _ in range(3):
        block = world.position(BLOCK)
        action = Push(block, goal - block[:2], scale * ROUND_BLOCK_RADIUS).next_action(world)
        assert WORKSPACE.contains(action.position) and executor.execute(action, look) is None
    assert np.linalg.norm(world.position(BLOCK)[:2] - goal) < 0.005
    assert furthest < 0.145, "the block is not shot ahead"
    assert world.position(BLOCK)[2] == pytest.approx(scale * REST, abs=1e-3)


@pytest.mark.parametrize("beside", [-0.015, 0.015])
@pytest.mark.parametrize("turn", [-8.0, 8.0])
def test_a_sloppy_hand_pushes_well_enough(beside: float, turn: float) -> None:
    world = scene()
    goal = PLACES[2]
    block = world.position(BLOCK)
    push = Push(block, np.array([goal.x, goal.y]) - block[:2], ROUND_BLOCK_RADIUS)
    direction = push.way / np.linalg.norm(push.way)
    aside = np.array([-direction[1], direction[0], 0.0]) * beside
    executor = MotionExecutor(world.sim)
    start = push.tool(-RUN_UP)
    quaternion = top_down(start.yaw + np.radians(turn))
    for position, straight in ((start.position + aside + [0, 0, 0.09], False), (start.position + aside, True)):
        sloppy = KeyframeAction(position=position, quaternion=quaternion, gripper_open=True, ignore_collisions=straight)
        assert executor.execute(sloppy) is None
    assert executor.execute(push.next_action(world)) is None
    assert np.linalg.norm(world.position(BLOCK)[:2] - [goal.x, goal.y]) < 0.01


@pytest.mark.parametrize("seed", [101, 204, 206, 255, 365])
def test_the_block_is_not_wedged_fast_near_the_base(env: TabletopEnv, seed: int) -> None:
    """There the arm is folded up and its hand sinks most under the push."""
    env.reset(seed=seed)
    assert env.world.position(BLOCK)[0] < 0.375
    assert last_result(env).success


def test_a_hand_low_beside_the_block_rises_first(env: TabletopEnv) -> None:
    env.reset(seed=2)
    block = env.world.position(BLOCK)
    aside = np.array([0.0, -np.sign(block[1]) * 0.12, 0.0])
    position = block + aside
    env.step(KeyframeAction(position=np.add(position, [0, 0, 0.1]), quaternion=top_down(0.0), gripper_open=True))
    env.step(KeyframeAction(position=position, quaternion=top_down(0.0), gripper_open=True, ignore_collisions=True))
    action = env.expert().next_action()
    assert action.ignore_collisions and action.position[2] == RETREAT_HEIGHT
    assert last_result(env).success


def test_a_block_that_moves_away_is_pushed_all_the_same(env: TabletopEnv) -> None:
    env.reset(seed=3)
    expert = env.expert()
    env.step(expert.next_action())
    x, y, _ = env.world.position(BLOCK)
    put_block(env.world, x, y - np.sign(y) * 0.06)
    assert last_result(env).success


def test_a_goal_reached_is_left_alone(env: TabletopEnv) -> None:
    env.reset(seed=4)
    x, y, _ = env.world.position(TARGETS[env.episode.scenario.goal])
    put_block(env.world, x, y)
    assert last_result(env).success and env.episode.step == 1
    np.testing.assert_allclose(env.world.position(BLOCK)[:2], [x, y], atol=1e-3)


def test_the_first_keyframe_depends_on_the_sentence(env: TabletopEnv) -> None:
    env.reset(seed=5)
    named = env.expert().next_action().position
    alternatives = [other for other in env.alternatives() if other.action.answer == "move"]
    others = [alternative.action.position for alternative in alternatives]
    assert len(others) == 2
    assert all(np.linalg.norm(named - other) > 0.01 for other in others)
    words = [COLOR_NAMES[color] for color in env.episode.scenario.colors[:3]]
    assert all(sum(word in alternative.sentences[0] for word in words) == 1 for alternative in alternatives)
