"""What is recorded: ten times a simulated second, and every keyframe exactly."""

from itertools import pairwise

import numpy as np
import pytest
from fake_keyframe_env import FakeEnv, outcome

from vla3d.evaluation.recorder import record_expert

SUCCESS = next(seed for seed in range(100) if outcome(seed) is None)


def failing(reason: str) -> int:
    return next(seed for seed in range(500) if outcome(seed) == reason)


def times(waypoint: float) -> tuple[list[float], tuple[int, ...], list[bool]]:
    episode, failure = record_expert(FakeEnv("t", 8, "warp", waypoint=waypoint), SUCCESS, {"attempt": 3})
    assert failure is None
    assert episode.success
    moving = [step.arm_moving for step in episode.steps]
    return [round(step.time, 6) for step in episode.steps], episode.keyframe_indices, moving


def test_ticks_and_exact_keyframes() -> None:
    instants, keyframes, moving = times(0.25)
    assert instants == [0, 0.1, 0.2, 0.25, 0.35, 0.45, 0.5, 0.6, 0.7, 0.75, 0.85, 0.95, 1.0]
    assert keyframes == (3, 6, 9, 12)
    assert moving == [False, *([True, True, False] * 4)]


def test_a_tick_at_the_keyframe_is_the_keyframe() -> None:
    instants, keyframes, moving = times(0.2)
    assert instants == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert keyframes == (2, 4, 6, 8)
    assert moving == [False, *([True, False] * 4)]


def test_episode_carries_what_training_needs() -> None:
    env = FakeEnv("t", 8, "warp")
    episode, _ = record_expert(env, SUCCESS, {"attempt": 3})
    assert (episode.task, episode.seed, episode.variation) == ("t", SUCCESS, SUCCESS % 3)
    assert episode.paraphrases == ("lift the block", "raise the block")
    assert episode.metadata["attempt"] == 3
    assert episode.metadata["instances"] == {"1": "block"}
    np.testing.assert_array_equal(episode.metadata["workspace"]["high"], env.workspace.high)
    positions = [episode.steps[index].action.position[0] for index in episode.keyframe_indices]  # type: ignore[union-attr]
    assert positions == [0, 1, 2, 3]


@pytest.mark.parametrize("reason", ["missed_grasp", "collision", "unreachable", "timeout"])
def test_failures_keep_their_reason(reason: str) -> None:
    episode, failure = record_expert(FakeEnv("t", 8, "warp"), failing(reason), {})
    assert failure == reason
    assert not episode.success


def test_a_motion_that_was_not_carried_out_is_no_keyframe() -> None:
    episode, _ = record_expert(FakeEnv("t", 8, "warp"), failing("unreachable"), {})
    actions = [episode.steps[index].action.position[0] for index in episode.keyframe_indices]  # type: ignore[union-attr]
    assert actions == [0, 2, 3, 4, 5]
    instants = [step.time for step in episode.steps]
    assert all(later > earlier for earlier, later in pairwise(instants))
