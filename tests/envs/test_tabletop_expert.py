"""The experts' keyframes: their flags, their canonical orientation, and how they get out of trouble."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla3d.envs.base import make_env
from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.expert import RETREAT_HEIGHT, top_down, wrap
from vla3d.types import KeyframeAction

_CARRY = [(False, True), (True, False), (True, False), (False, False), (True, True)]
_RISE = (True, True)
_INTO_BOX = [(False, True), (True, False), (True, False), (False, True)]
_OPEN = [(False, True), (True, False), (True, True)]
FLAGS = {  # (ignore_collisions, gripper_open) of each keyframe
    "pick_and_lift": [(False, True), (True, False), (True, False)],
    "place_in_container": _INTO_BOX,
    "open_drawer": [(False, True), (True, False), (True, False)],
    "push_buttons": [(False, False), (True, False)] * 3,
    "reach_target": [(False, True), (True, True)],
    "stack_blocks": [*_CARRY, _RISE, *_CARRY],
    "put_item_in_drawer": [*_OPEN, _RISE, *_CARRY],
    "put_two_in_container": [*_INTO_BOX, _RISE, *_INTO_BOX],
    "put_two_in_drawer": [*_OPEN, _RISE, *_CARRY, _RISE, *_CARRY],
    "stack_four_blocks": [*_CARRY, _RISE, *_CARRY, _RISE, *_CARRY],
    "slide_block_to_target": [(False, True), (True, True), (True, True)],
    "lift_by_relation": [(False, True), (True, False), (True, False)],
}


def tabletop(task: str) -> TabletopEnv:
    env = make_env(task, renderer=None)
    assert isinstance(env, TabletopEnv)
    return env


def tool_yaw(quaternion: np.ndarray) -> float:
    """Turn of a hand that points down, by the tool's x axis (scipy: an outside reading of the convention)."""
    x, _, z = Rotation.from_quat(quaternion, scalar_first=True).as_matrix().T
    np.testing.assert_allclose(z, [0, 0, -1], atol=5e-3)
    return float(np.arctan2(x[1], x[0]))


@pytest.mark.parametrize("yaw", [-1.5, -0.7, 0.0, 0.3, 1.5])
def test_top_down(yaw: float) -> None:
    expected = Rotation.from_euler("z", yaw) * Rotation.from_euler("x", np.pi)
    got = Rotation.from_quat(top_down(yaw), scalar_first=True)
    assert (expected.inv() * got).magnitude() < 1e-9
    assert tool_yaw(top_down(yaw)) == pytest.approx(yaw)


def test_wrap() -> None:
    for angle in np.linspace(-7, 7, 57):
        turned = wrap(float(angle), np.pi / 2)
        assert -np.pi / 4 <= turned < np.pi / 4
        assert abs(np.sin(2 * (turned - angle))) < 1e-9 and np.cos(4 * (turned - angle)) > 0


@pytest.mark.parametrize("task", sorted(BUILT_IN))
def test_keyframes(task: str) -> None:
    env = tabletop(task)
    limit = np.radians({"open_drawer": 20.5, "slide_block_to_target": 90.5}.get(task, 45.5))
    for seed in range(4):
        env.reset(seed=seed)
        expert, flags = env.expert(), []
        for _ in FLAGS[task]:
            action = expert.next_action()
            flags.append((action.ignore_collisions, action.gripper_open))
            assert abs(tool_yaw(action.quaternion)) <= limit
            assert env.workspace.contains(action.position)
            env.step(action)
        assert flags == FLAGS[task]


def test_a_closed_hand_is_opened_where_it_holds_the_wrong_thing() -> None:
    env = tabletop("pick_and_lift")
    env.reset(seed=1)
    scenario = env.episode.scenario
    wrong = env._task.instances[scenario.swapped]
    position = env.world.position(wrong)
    yaw = wrap(float(np.arctan2(*env.world.rotation(wrong)[[1, 0], 0])), np.pi / 2)
    over = KeyframeAction(position=position + np.array([0, 0, 0.09]), quaternion=top_down(yaw), gripper_open=True)
    down = KeyframeAction(position=position, quaternion=top_down(yaw), gripper_open=False, ignore_collisions=True)
    for action in (over, down):
        env.step(action)
    assert env.world.held() == wrong
    release = env.expert().next_action()
    assert release.gripper_open
    np.testing.assert_allclose(release.position, env.world.sim.tcp_pose()[:3, 3])
    env.step(release)
    assert env.world.held() is None
    rise = env.expert().next_action()
    assert rise.ignore_collisions and rise.position[2] == RETREAT_HEIGHT


def test_a_dropped_cube_is_picked_up_again() -> None:
    env = tabletop("place_in_container")
    env.reset(seed=2)
    expert = env.expert()
    for _ in range(3):
        env.step(expert.next_action())
    cube = env._task.instances[env.episode.scenario.goal]
    assert env.world.held() == cube
    env.world.sim.set_gripper(True)
    env.world.run(0.6)
    result = None
    while result is None or not (result.terminated or result.truncated):
        result = env.step(expert.next_action())
    assert result.success
