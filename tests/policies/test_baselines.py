"""The baselines: a seeded random hand, and the expert as a policy."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla3d.policies.random import RandomPolicy, top_down_quaternion
from vla3d.policies.registry import policy_class
from vla3d.policies.scripted import ScriptedPolicy
from vla3d.types import KeyframeAction, Observation, Workspace

WORKSPACE = Workspace.from_bounds([0.2, -0.4, 0.0], [0.8, 0.4, 0.6])
UNSEEN: Observation = None  # type: ignore[assignment]  # neither baseline looks at it


def draws(seed: int, number: int) -> list[KeyframeAction]:
    policy = RandomPolicy(workspace=WORKSPACE)
    policy.reset(seed)
    return [policy.act(UNSEEN) for _ in range(number)]


def test_random_is_seeded() -> None:
    first, again, other = draws(7, 5), draws(7, 5), draws(8, 5)
    np.testing.assert_array_equal([a.position for a in first], [a.position for a in again])
    assert [a.gripper_open for a in first] == [a.gripper_open for a in again]
    assert not np.allclose([a.position for a in first], [a.position for a in other])


def test_random_fills_the_workspace_pointing_down() -> None:
    actions = draws(0, 2000)
    positions = np.array([a.position for a in actions])
    assert WORKSPACE.contains(positions).all()
    np.testing.assert_allclose(positions.mean(axis=0), WORKSPACE.center, atol=0.03 * WORKSPACE.extent.max())
    np.testing.assert_allclose(positions.std(axis=0), WORKSPACE.extent / np.sqrt(12), rtol=0.06)
    turns = Rotation.from_quat([a.quaternion for a in actions], scalar_first=True)
    np.testing.assert_allclose(turns.apply([0, 0, 1]), np.tile([0, 0, -1], (2000, 1)), atol=1e-12)
    heading = turns.apply([1, 0, 0])
    yaw = np.degrees(np.arctan2(heading[:, 1], heading[:, 0]))
    assert yaw.min() >= -90 and yaw.max() < 90 and np.ptp(yaw) > 170
    for flags in ([a.gripper_open for a in actions], [a.ignore_collisions for a in actions]):
        assert 0.45 < np.mean(flags) < 0.55


@pytest.mark.parametrize("yaw", [-1.5, -0.3, 0.0, 0.7, 1.5])
def test_top_down_is_a_half_turn_then_yaw(yaw: float) -> None:
    expected = Rotation.from_euler("z", yaw) * Rotation.from_euler("x", np.pi)
    got = Rotation.from_quat(top_down_quaternion(yaw), scalar_first=True)
    assert (expected.inv() * got).magnitude() < 1e-12


def test_random_yaw_is_canonical() -> None:
    torch = pytest.importorskip("torch")
    rotations = pytest.importorskip("vla3d.geometry.rotations")
    quaternions = torch.tensor(np.array([a.quaternion for a in draws(1, 200)]))
    same = (quaternions * rotations.canonical_gripper_quaternion(quaternions)).sum(-1).abs()
    torch.testing.assert_close(same, torch.ones_like(same))


def test_scripted_hands_on_the_expert() -> None:
    class Counting:
        def __init__(self) -> None:
            self.calls = 0

        def next_action(self) -> KeyframeAction:
            self.calls += 1
            return KeyframeAction(
                position=np.full(3, float(self.calls)), quaternion=np.array([0, 1.0, 0, 0]), gripper_open=True
            )

    policy, expert = ScriptedPolicy(), Counting()
    policy.reset(0, expert)
    assert [policy.act(UNSEEN).position[0] for _ in range(3)] == [1, 2, 3]
    assert policy.explain() is None


def test_scripted_asks_its_expert_what_is_absent_and_nothing_else() -> None:
    class Knowing:
        def next_action(self) -> KeyframeAction:
            return KeyframeAction(position=np.ones(3), quaternion=np.array([0, 1.0, 0, 0]), gripper_open=True)

        def is_absent(self, sentence: str) -> bool:
            return "unicorn" in sentence

    seen = Observation(
        frames={},
        instruction="lift the cube",
        gripper_position=np.array([0.3, 0.0, 0.4]),
        gripper_quaternion=np.array([0, 1.0, 0, 0]),
        gripper_width=0.0,
        gripper_open=False,
        joint_positions=np.zeros(7),
    )
    policy = ScriptedPolicy()
    policy.reset(0, Knowing())
    assert policy.act(seen).answer == "move"
    gone = policy.act(seen.with_instruction("lift the unicorn"))
    assert gone.answer == "absent" and not gone.gripper_open
    np.testing.assert_array_equal(gone.position, seen.gripper_position)


def test_baselines_say_what_they_miss() -> None:
    with pytest.raises(ValueError, match=r"expert=env\.expert"):
        ScriptedPolicy().reset(0)
    with pytest.raises(ValueError, match="reset"):
        ScriptedPolicy().act(UNSEEN)
    with pytest.raises(ValueError, match="reset"):
        RandomPolicy(workspace=WORKSPACE).act(UNSEEN)


def test_registry_finds_them() -> None:
    assert policy_class("random") is RandomPolicy
    assert policy_class("scripted") is ScriptedPolicy
