"""Keyframe samples: which instants, which target, and the alternatives."""

from dataclasses import replace

import numpy as np
import pytest

from vla3d.data.samples import PreparedSamples, keyframe_samples, sample_instants, target_action


@pytest.mark.parametrize(
    ("keyframes", "stride", "expected"),
    [
        ([4, 10], 0, [(0, 0), (4, 1)]),
        ([4, 10], 3, [(0, 0), (3, 0), (4, 1), (7, 1)]),
        ([4, 10], 100, [(0, 0), (4, 1)]),
        ([1], 1, [(0, 0)]),
        ([], 5, []),
    ],
)
def test_instants(keyframes: list[int], stride: int, expected: list[tuple[int, int]]) -> None:
    assert sample_instants(keyframes, stride) == expected


@pytest.mark.parametrize(
    ("keyframes", "stride", "expected"),
    [
        # Starts 0, 10, 20 before keyframe 25: two samples each. Start 30 before keyframe 40: one.
        ([25, 40], 10, [(0, 0), (25, 1), (10, 0), (25, 1), (20, 0), (25, 1), (30, 1)]),
        # A start that is itself a keyframe aims at the next one; the last keyframe is no start.
        ([10, 20], 10, [(0, 0), (10, 1), (10, 1)]),
        ([4, 10], 0, [(0, 0), (4, 1)]),
        ([4, 10], 100, [(0, 0), (4, 1)]),
        ([], 5, []),
    ],
)
def test_chains_of_all_remaining_keyframes(keyframes: list[int], stride: int, expected: list[tuple[int, int]]) -> None:
    assert sample_instants(keyframes, stride, chain_duplicates=True) == expected


def test_chained_samples_hold_their_own_pictures_and_targets(build_episode) -> None:  # type: ignore[no-untyped-def]
    episode = build_episode()
    samples = list(keyframe_samples(episode, [4, 10], stride=3, alternatives=False, chain_duplicates=True))
    # Starts 0 and 3 give two samples each, 6 and 9 one each.
    assert [sample.step for sample in samples] == [0, 4, 3, 4, 6, 9]
    assert [sample.action for sample in samples] == [episode.steps[index].action for index in (4, 10, 4, 10, 10, 10)]
    assert all(sample.observation is episode.steps[sample.step].observation for sample in samples)


def test_every_sample_aims_at_the_next_keyframe(build_episode) -> None:  # type: ignore[no-untyped-def]
    episode = build_episode()
    samples = list(keyframe_samples(episode, [4, 10], stride=3, alternatives=False))
    assert [sample.action for sample in samples] == [episode.steps[index].action for index in (4, 4, 10, 10)]
    assert [sample.keyframe for sample in samples] == [0, 0, 1, 1]
    assert [sample.from_keyframe for sample in samples] == [True, False, True, False]
    assert samples[0].paraphrases == ("lift the réd block", "raise it")


def test_alternatives_come_with_the_picture_before_their_keyframe(build_episode) -> None:  # type: ignore[no-untyped-def]
    episode = build_episode()
    *first, last = episode.alternatives
    episode = replace(episode, alternatives=(*first, replace(last, keyframe=1)))
    samples = list(keyframe_samples(episode, [4, 10], stride=0, answers=True))
    assert [sample.keyframe for sample in samples] == [0, 0, 1, 1]
    others = [samples[1], samples[3]]
    for own, sample, alternative in zip(samples[::2], others, episode.alternatives, strict=True):
        assert sample.observation is own.observation
        assert sample.action is alternative.action
        assert sample.paraphrases == alternative.sentences


def test_terminal_answers_are_left_out_unless_asked_for(build_episode) -> None:  # type: ignore[no-untyped-def]
    samples = [list(keyframe_samples(build_episode(), [4, 10], stride=0, answers=answers)) for answers in (False, True)]
    assert [[sample.action.answer for sample in kept] for kept in samples] == [
        ["move", "move", "done"],
        ["move", "move", "absent", "done"],
    ]


def test_without_a_recorded_action_the_reached_pose_is_the_target(build_episode) -> None:  # type: ignore[no-untyped-def]
    steps = build_episode().steps
    reached = replace(steps[5], action=None)
    action = target_action(reached, steps[4])
    np.testing.assert_array_equal(action.position, reached.observation.gripper_position)
    assert action.gripper_open == reached.observation.gripper_open
    assert action.ignore_collisions == steps[4].action.ignore_collisions


def test_prepared_samples_are_prepared_once(build_episode) -> None:  # type: ignore[no-untyped-def]
    calls: list[int] = []
    prepared = PreparedSamples(
        keyframe_samples(build_episode(), [4, 10], 0, alternatives=False), lambda sample: calls.append(sample.keyframe)
    )
    assert len(prepared) == len(calls) == 2
    assert [prepared[0], prepared[1], prepared[0]] == [None] * 3
    assert calls == [0, 1]
