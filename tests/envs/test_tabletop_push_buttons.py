"""push_buttons: exactly the three named, in their order; a pressed button stays, looks pressed, and is saved."""

from dataclasses import replace

import numpy as np
import pytest

from vla3d.envs.base import make_env
from vla3d.envs.tabletop.buttons import BUTTON_PRESSED_TOP, BUTTON_TRAVEL
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.expert import top_down
from vla3d.envs.tabletop.factors.objects import Scaled
from vla3d.envs.tabletop.motion import MotionExecutor
from vla3d.envs.tabletop.scene import new_scene
from vla3d.envs.tabletop.tasks.push_buttons import BUTTONS, CAPS, ORDERS, PushButtons, press_pose, pressed
from vla3d.envs.tabletop.world import World
from vla3d.seeding import scene_seed
from vla3d.types import KeyframeAction, StepResult


@pytest.fixture(scope="module")
def env() -> TabletopEnv:
    made = make_env("push_buttons", renderer=None)
    assert isinstance(made, TabletopEnv)
    return made


def go_for(env: TabletopEnv, order: tuple[int, ...]) -> list[StepResult]:
    """Press buttons in an order as the expert would; stop when the episode is over."""
    results: list[StepResult] = []
    for count in range(1, len(order) + 1):
        while len(pressed(env.world)) < count and not env.episode.over:
            following = press_pose(env.world, order[count - 1])
            down = len(results) % 2 == 1
            position = np.add(following.position, (0.0, 0.0, 0.0 if down else 0.09))
            action = KeyframeAction(position=position, quaternion=top_down(0.0), gripper_open=False, ignore_collisions=down)
            results.append(env.step(action))
    return results


def other_buttons(env: TabletopEnv) -> list[int]:
    return [button for button in range(len(BUTTONS)) if button not in ORDERS[env.episode.scenario.goal]]


def test_only_the_named_order_succeeds(env: TabletopEnv) -> None:
    env.begin(seed=1)
    a, b, c = ORDERS[env.episode.scenario.goal]
    other, _ = other_buttons(env)
    for order in ((a, b, c), (b, a, c), (a, c, b), (a, b, other), (other, b, c)):
        env.begin(seed=1)
        results = go_for(env, order)
        assert pressed(env.world) == order and results[-1].terminated
        assert [result.terminated for result in results] == [False] * 5 + [True]
        assert results[-1].success is (order == (a, b, c))
        assert results[-1].failure == (None if order == (a, b, c) else "wrong_object")


def test_why_an_unfinished_episode_failed(env: TabletopEnv) -> None:
    env.begin(seed=2)
    a, b, _ = ORDERS[env.episode.scenario.goal]
    for order, reason in (((), "timeout"), ((a,), "timeout"), ((a, b), "timeout"), ((b,), "wrong_object")):
        env.begin(seed=2)
        go_for(env, order)
        high = KeyframeAction(position=np.array([0.4, 0.0, 0.4]), quaternion=top_down(0.0), gripper_open=False)
        while not env.episode.over:
            result = env.step(high)
        assert result.truncated and result.failure == reason, order


def test_pressed_stays_and_neighbours_are_untouched(env: TabletopEnv) -> None:
    env.begin(seed=3)
    order = ORDERS[env.episode.scenario.goal]
    go_for(env, order)
    env.world.run(2.0)
    for index, cap in enumerate(CAPS):
        expected = BUTTON_TRAVEL if index in order else 0.0
        assert env.world.joint(cap) == pytest.approx(expected, abs=5e-4)


def test_half_a_press_springs_back(env: TabletopEnv) -> None:
    env.begin(seed=3)
    button = ORDERS[env.episode.scenario.goal][0]
    press = press_pose(env.world, button)
    for rise, down in ((0.09, False), (0.65 * BUTTON_TRAVEL, True), (0.09, True)):
        action = KeyframeAction(
            position=np.add(press.position, (0.0, 0.0, rise)),
            quaternion=top_down(0.0),
            gripper_open=False,
            ignore_collisions=down,
        )
        env.step(action)
    env.world.run(0.5)
    assert pressed(env.world) == () and env.world.joint(CAPS[button]) == pytest.approx(0.0, abs=2e-4)


@pytest.mark.parametrize(
    "offset", [(0.012, 0.0, 0.0), (0.0, -0.012, 0.0), (0.0, 0.0, 0.003), (0.0, 0.0, -0.004), (0.0, 0.0, -0.015)]
)
def test_a_press_may_be_off_by_some_millimetres(env: TabletopEnv, offset: tuple[float, float, float]) -> None:
    """Also a press that goes too deep: the way on is planned from where the servos press, not from where the cap stops them."""
    env.begin(seed=4)
    for count in range(1, 4):
        for _ in range(2):
            action = env.expert().next_action()
            if action.ignore_collisions:
                action = replace(action, position=action.position + offset)
            assert env.step(action).failure is None
        assert len(pressed(env.world)) == count
    assert env.episode.over and env.episode.held[env.episode.scenario.goal]


@pytest.mark.parametrize("index", [11, 62, 63])
def test_the_hand_leaves_a_pressed_button_without_jamming(env: TabletopEnv, index: int) -> None:
    """Scenes in which the fingertips stuck on caps as rough as the pads, on the way to the next button."""
    env.begin(seed=scene_seed("test", 2, "push_buttons", index))
    expert = env.expert()
    results = [env.step(expert.next_action()) for _ in range(6)]
    assert results[-1].success and all(result.info["motion_failure"] is None for result in results)


def test_uncovered_base_shows_what_is_pressed() -> None:
    """By shape alone: the dark collar is above the white base before, and below it once pressed."""
    env = make_env("push_buttons", renderer="raycast")
    assert isinstance(env, TabletopEnv)
    before = env.reset(seed=5)
    order = ORDERS[env.episode.scenario.goal]
    go_for(env, order[:2])
    away = KeyframeAction(position=np.array([0.3, 0.0, 0.45]), quaternion=top_down(0.0), gripper_open=False)
    after = env.step(away).observation
    white = {True: [], False: []}
    for index, button in enumerate(BUTTONS):
        number = next(key for key, name in env.instance_names.items() if name == button)
        for observation in (before, after):
            seen = np.concatenate([f.rgb[f.segmentation == number] for f in observation.frames.values()])
            white[observation is after and index in order[:2]].append(float((seen.min(axis=-1) > 200).mean()))
    assert max(white[False]) < 0.02 and min(white[True]) > 0.25
    env.close()


def test_rivals_begin_at_each_stage_and_differ_in_the_next_button(env: TabletopEnv) -> None:
    for seed in range(5):
        env.begin(seed=seed)
        goal, expert = ORDERS[env.episode.scenario.goal], env.expert()
        for count in range(3):
            rivals = [ORDERS[index] for index in env._task.rivals(env.world, env.episode.scenario)]
            assert len(rivals) == 4 - count and {rival[:count] for rival in rivals} == {goal[:count]}
            assert len({rival[count] for rival in rivals} | {goal[count]}) == 5 - count
            targets = [tuple(other.action.position) for other in env.alternatives() if other.action.answer == "move"]
            assert len({*targets, tuple(expert.next_action().position)}) == 5 - count
            env.step(expert.next_action())
            assert env.alternatives() == (), "the hand has gone to the next button"
            env.step(expert.next_action())
        assert env.alternatives() == ()


def test_every_moment_of_a_press_is_saved_exactly(env: TabletopEnv) -> None:
    env.begin(seed=6)
    expert = env.expert()
    for _ in range(3):
        env.step(expert.next_action())
    press = expert.next_action()
    moments: list[bytes] = []
    env.step(press, lambda: moments.append(env.world.sim.save()))
    assert len(pressed(env.world)) == 2 and len(moments) >= 3
    for moment in moments:
        ends = []
        for _ in range(2):
            env.world.sim.load(moment)
            env.world.run(0.3)
            ends.append(env.world.sim.save())
        assert ends[0] == ends[1]
    state = env.save_state()
    fresh = make_env("push_buttons", renderer=None)
    assert isinstance(fresh, TabletopEnv)
    fresh.load_state(state)
    assert pressed(fresh.world) == pressed(env.world) and fresh.save_state() == state


def test_a_lost_expert_finds_back(env: TabletopEnv) -> None:
    env.begin(seed=7)
    expert = env.expert()
    env.step(expert.next_action())
    aside = env.world.sim.tcp_pose()[:3, 3] + [0.04, 0.03, -0.04]
    env.step(KeyframeAction(position=aside, quaternion=top_down(0.5), gripper_open=True, ignore_collisions=True))
    while not env.episode.over:
        result = env.step(expert.next_action())
    assert result.success


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_smaller_and_larger_buttons_work(scale: float) -> None:
    task = PushButtons()
    spec = new_scene()
    task.build(spec)
    scaled = Scaled(tuple(task.manipulated), scale)
    scaled.edit(spec)
    world = World(spec, task.instances, scales=scaled.scales())
    executor = MotionExecutor(world.sim)
    for seed in range(2):
        scenario = task.draw(np.random.default_rng(seed), 0)
        world.reset()
        task.arrange(world, scenario)
        world.sim.refresh()
        for _ in range(task.expert_keyframes):
            assert executor.execute(task.expert_action(world, scenario)) is None
        world.run(0.2)
        assert task.reached(world, scenario.goal)
        button = ORDERS[scenario.goal][0]
        assert world.joint(CAPS[button]) == pytest.approx(BUTTON_TRAVEL, abs=5e-4)
        top = press_pose(world, button).position[2]
        assert top == pytest.approx(scale * BUTTON_PRESSED_TOP + 0.0105)
