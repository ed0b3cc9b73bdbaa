"""A tower counts when it stands in the named order, let go and at rest; the sentence is needed at every stage."""

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pytest

from vla3d.envs.base import make_env
from vla3d.envs.tabletop.colors import COLOR_NAMES
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.motion import MotionExecutor
from vla3d.envs.tabletop.objects import CUBE_EDGE
from vla3d.envs.tabletop.placement import rectangle_gap
from vla3d.envs.tabletop.robot import FINGER_TRAVEL, HAND_HALF
from vla3d.envs.tabletop.scene import new_scene
from vla3d.envs.tabletop.tasks.stack_blocks import BLOCKS, StackBlocks
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

ORDERS = list(permutations(range(5), 3))
HALF = CUBE_EDGE / 2


@pytest.fixture(scope="module")
def made() -> Iterator[TabletopEnv]:
    env = make_env("stack_blocks", renderer=None)
    assert isinstance(env, TabletopEnv)
    yield env
    env.close()


@pytest.fixture
def env(made: TabletopEnv) -> TabletopEnv:
    made.begin(seed=1)
    return made


def put(env: TabletopEnv, block: int, position: np.ndarray) -> None:
    env.world.sim.set_free_body(BLOCKS[block], position, [1, 0, 0, 0])


def build(env: TabletopEnv, order: tuple[int, ...], lean: float = 0.0, gap: float = 0.0) -> None:
    """Put blocks on each other, each ``lean`` metres further to the side and ``gap`` metres above the one below."""
    base = env.world.position(BLOCKS[order[0]])
    env.world.sim.set_free_body(BLOCKS[order[0]], base, [1, 0, 0, 0])
    for level, block in enumerate(order[1:], start=1):
        put(env, block, base + level * np.array([lean, 0.0, CUBE_EDGE + gap]))
    env.world.sim.refresh()


def reached(env: TabletopEnv) -> list[tuple[int, ...]]:
    return [order for order, holds in zip(ORDERS, env._reached(), strict=True) if holds]


def expert_steps(env: TabletopEnv, count: int) -> KeyframeAction:
    """Let the expert act, and return what it would do next."""
    for _ in range(count):
        env.advance(env.expert().next_action())
    return env.expert().next_action()


def test_exactly_the_order_that_stands_is_reached(env: TabletopEnv) -> None:
    for order in ((0, 1, 2), (4, 2, 0), (3, 1, 4)):
        env.begin(seed=1)
        assert reached(env) == []
        build(env, order[:2])
        assert reached(env) == [], "two are not three"
        build(env, order)
        assert reached(env) == [order]
        env.world.run(1.0)
        assert reached(env) == [order], "and it stays"


def test_a_tower_must_be_straight(env: TabletopEnv) -> None:
    for lean, expected in ((0.009, True), (0.011, False)):
        build(env, (0, 1, 2), lean=lean)
        assert bool(reached(env)) is expected
    build(env, (0, 1, 2), gap=0.01)
    assert not reached(env), "in the air above the other is not on it"


def test_a_tower_must_be_let_go(env: TabletopEnv) -> None:
    sim = env.world.sim
    build(env, (0, 1, 2))
    sim.set_gripper(False)
    assert not reached(env), "the hand is closed"
    sim.set_gripper(True)
    assert reached(env)
    finger = sim.tcp_pose()[:3, 3] + sim.tcp_pose()[:3, 1] * (FINGER_TRAVEL - HALF + 0.001)
    for level, block in enumerate((2, 1, 0)):
        put(env, block, finger - [0.0, 0.0, level * CUBE_EDGE])
    sim.refresh()
    assert env._task.disturbed(env.world, ORDERS.index((0, 1, 2))) and not reached(env), "a finger touches it"


def test_a_falling_tower_is_not_at_rest(env: TabletopEnv) -> None:
    build(env, (0, 1, 2), gap=0.004)
    env.world.run(0.02)
    assert not reached(env)
    env.world.run(0.5)
    assert reached(env) == [(0, 1, 2)]


def test_the_expert_stacks_blocks_of_other_sizes(env: TabletopEnv) -> None:
    spec, task, scenario = new_scene(), StackBlocks(), env.episode.scenario
    task.build(spec)
    scales = dict(zip(task.tower(scenario.goal), (0.8, 1.25, 1.0), strict=True))
    for name, scale in scales.items():
        spec.geom(name).size = [HALF * scale] * 3
    world = World(spec, task.instances, scales=scales)
    world.reset()
    task.arrange(world, scenario)
    world.sim.refresh()
    executor = MotionExecutor(world.sim)
    for _ in range(task.expert_keyframes):
        assert executor.execute(task.expert_action(world, scenario)) is None
    world.run(1.0)
    assert task.reached(world, scenario.goal)


def test_every_sentence_names_its_three_colors_in_a_fixed_order() -> None:
    task = StackBlocks()
    orders = list(permutations(range(len(COLOR_NAMES)), 3))
    assert task.num_variations == len(orders) == 336
    for variation, colors in enumerate(orders):
        base, second, third = (COLOR_NAMES[color] for color in colors)
        assert (
            task.sentences(variation)[0] == f"stack the {second} block on the {base} block, then put the {third} block on top"
        )
        assert (
            task.sentences(variation)[2]
            == f"build a tower with {base} at the bottom, {second} in the middle and {third} on top"
        )


def test_the_hand_has_room_at_every_block_wherever_the_tower_stands() -> None:
    task, rng = StackBlocks(), np.random.default_rng(0)
    for _ in range(100):
        poses = task.draw(rng, 0).poses
        for i, j in permutations(range(5), 2):
            assert rectangle_gap(poses[i], HAND_HALF[:2], poses[j], (HALF, HALF)) >= 0.01


def test_alternatives_at_every_choice(env: TabletopEnv) -> None:
    """At the start other second blocks; with it in the hand other bases; then other third blocks: each another next action."""
    base, second, third = ORDERS[env.episode.scenario.goal]
    rest = {*range(5)} - {base, second, third}
    expected = {
        0: [{base, third, *rest}, 1],
        3: [{base, third, *rest}, 0],
        6: [{third, *rest}, 2],
    }
    for step in range(11):
        rivals = [ORDERS[other] for other in env._task.rivals(env.world, env.episode.scenario)]
        alternatives = [other for other in env.alternatives() if other.action.answer == "move"]
        assert len(alternatives) == len(rivals)
        if step not in expected:
            assert rivals == []
        else:
            blocks, place = expected[step]
            named = ORDERS[env.episode.scenario.goal][place]
            assert {rival[place] for rival in rivals} == (blocks | {base} if place == 0 else blocks) - {named}
            actions = [env.expert().next_action(), *(other.action for other in alternatives)]
            places = np.array([action.position for action in actions])
            apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
            assert apart.min() > 0.05
        expert_steps(env, 1)
    assert env.success_for(env.instruction)


def test_wrong_order_is_the_wrong_object(env: TabletopEnv) -> None:
    task, world = env._task, env.world
    base, second, third = ORDERS[env.episode.scenario.goal]
    other = next(block for block in range(5) if block not in (base, second, third))
    wrong = [(base, third), (second, base), (second, third), (other, second), (base, other), (base, second, other)]
    for order in ((base, second), (base, second, third), *wrong):
        env.begin(seed=1)
        assert not task.wrong_object(world, env.episode.scenario)
        build(env, order)
        assert task.wrong_object(world, env.episode.scenario) is (order in wrong), order


def test_stages_of_the_right_order_are_no_wrong_object(env: TabletopEnv) -> None:
    for _ in range(11):
        env.advance(env.expert().next_action())
        assert not env._task.wrong_object(env.world, env.episode.scenario)


def test_a_toppled_block_is_put_back(env: TabletopEnv) -> None:
    """The second block lies beside its base, on another face, when the third should come."""
    base, second, _ = ORDERS[env.episode.scenario.goal]
    expert_steps(env, 6)
    place = env.world.position(BLOCKS[base])
    place[1] -= 0.06 * np.sign(place[1])
    env.world.sim.set_free_body(BLOCKS[second], place, [0.5, 0.5, 0.5, 0.5])
    env.world.sim.refresh()
    while not env.episode.over:
        env.advance(env.expert().next_action())
    assert env.success_for(env.instruction)


def test_restored_with_a_block_in_the_hand_it_continues_exactly(env: TabletopEnv) -> None:
    expert_steps(env, 9)
    saved = env.save_state()
    ends = []
    for _ in range(2):
        env.load_state(saved)
        expert_steps(env, 2)
        ends.append(env.save_state())
    assert ends[0] == ends[1] and env.success_for(env.instruction)


def test_the_tower_stands_for_ten_seconds(env: TabletopEnv) -> None:
    expert_steps(env, 11)
    before = np.array([env.world.position(block) for block in BLOCKS])
    env.world.run(10.0)
    assert np.abs(np.array([env.world.position(block) for block in BLOCKS]) - before).max() < 1e-3
