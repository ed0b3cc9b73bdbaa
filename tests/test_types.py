"""The values that cross room borders."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla3d import types
from vla3d.types import ANSWERS, Episode, KeyframeAction, Observation, Step, Workspace


def observation(**changes: Any) -> Observation:
    return Observation(
        **{
            "frames": {},
            "instruction": "lift the red cube",
            "gripper_position": np.zeros(3),
            "gripper_quaternion": np.array([1.0, 0, 0, 0]),
            "gripper_width": 0.08,
            "gripper_open": True,
            "joint_positions": np.zeros(7),
            **changes,
        }
    )


def action() -> KeyframeAction:
    return KeyframeAction(position=np.zeros(3), quaternion=np.array([0, 1.0, 0, 0]), gripper_open=False)


@pytest.mark.parametrize("cls", [value for value in vars(types).values() if dataclasses.is_dataclass(value)])
def test_values_are_frozen_and_keyword_only(cls: Any) -> None:
    assert cls.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(cls))


@given(st.integers(0, 100), st.integers(1, 50))
def test_step_fraction_is_a_share(step: int, limit: int) -> None:
    fraction = observation(step=step, step_limit=limit).step_fraction
    assert 0 <= fraction <= 1
    assert fraction == 1 or fraction == step / limit


def test_another_sentence_changes_nothing_else() -> None:
    one = observation()
    other = one.with_instruction("open the drawer")
    assert other.instruction == "open the drawer" and one.instruction == "lift the red cube"
    assert other.joint_positions is one.joint_positions


def test_an_action_moves_unless_it_answers() -> None:
    assert action().answer == "move" and not action().ignore_collisions
    assert ANSWERS == ("move", "absent", "cannot", "done")


def test_keyframes_are_the_steps_that_carry_an_action() -> None:
    steps = [
        Step(
            observation=observation(),
            time=t / 10,
            arm_moving=False,
            joint_velocities=np.zeros(7),
            action=action() if t in (2, 5) else None,
        )
        for t in range(6)
    ]
    episode = Episode(task="t", variation=0, instruction="i", paraphrases=("i",), seed=0, success=True, steps=steps)
    assert episode.keyframe_indices == (2, 5)


def test_workspace() -> None:
    box = Workspace.from_bounds([0.2, -0.4, 0.0], [0.8, 0.4, 0.6])
    np.testing.assert_allclose(box.center, [0.5, 0, 0.3])
    np.testing.assert_allclose(box.extent, [0.6, 0.8, 0.6])
    points = np.array([[0.2, -0.4, 0.0], [0.8, 0.4, 0.6], [0.5, 0.0, 0.61], [np.nan, 0, 0]])
    np.testing.assert_array_equal(box.contains(points), [True, True, False, False])


@pytest.mark.parametrize(
    ("low", "high"), [([0, 0, 0], [1, 0, 1]), ([1, 0, 0], [0, 1, 1]), ([0, 0, np.nan], [1, 1, 1]), ([0, 0, 0], [1, 1, np.inf])]
)
def test_workspace_must_be_a_box(low: list[float], high: list[float]) -> None:
    with pytest.raises(ValueError, match="expected finite low < high"):
        Workspace.from_bounds(low, high)
