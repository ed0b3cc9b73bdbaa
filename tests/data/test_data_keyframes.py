"""Both keyframe rules on sequences whose answer was worked out by hand.

Sequences are written as text: ``M`` the arm moves, ``.`` it rests; ``o`` the gripper is open, ``c`` it is closed.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla3d.data.keyframes import discover_keyframes, keyframes, peract_keyframes
from vla3d.errors import ConfigError
from vla3d.types import Episode


def signals(motion: str, gripper: str) -> tuple[np.ndarray, np.ndarray]:
    assert len(motion) == len(gripper)
    return np.array([c == "M" for c in motion], dtype=bool), np.array([c == "o" for c in gripper], dtype=bool)


OURS = {
    "rest in the middle": ("..MMM...MMM.", "oooooooooooo", [7, 11]),
    "rest of a single step": ("MMM.MMMM", "oooooooo", [3, 7]),
    "moving to the end": ("MMMMM", "ooooo", [4]),
    "never moved": (".....", "ooooo", [4]),
    "gripper closes during a rest": ("MMM.....MMM.", "oooooccccccc", [7, 11]),
    "gripper closes at the first step of a rest": ("MMM...MMM", "ooocccccc", [5, 8]),
    "gripper closes at the last step of a rest": ("MMM...MMM", "ooooocccc", [5, 8]),
    "gripper closes just before the rest": ("MMMM...MMM", "oooccccccc", [6, 9]),
    "gripper closes well before the rest": ("MMMMM..MMM", "oooccccccc", [3, 6, 9]),
    "gripper closes while moving": ("MMMMMMMMMM", "oooooccccc", [5, 9]),
    "closes and opens in one rest": ("MM........MM", "ooooccccoooo", [7, 9, 11]),
    "release, then the end": ("MMMM......", "cccccccooo", [9]),
    "two changes in the last rest": ("MMMM........", "ccccoooocccc", [7, 11]),
    "gripper signal flickers": ("MMMMMMMMMM", "oooocooooo", [9]),
    "motion signal flickers": ("MMM..M..MMMM", "oooooooooooo", [7, 11]),
    "change at the first step": ("MMMMM", "occcc", [1, 4]),
    "change at the last step": ("MMMMM", "ooooc", [4]),
    "starts at rest, gripper closes before it moves": ("......MMM", "ooocccccc", [5, 8]),
    "one step": (".", "o", []),
    "nothing": ("", "", []),
    "two steps": ("M.", "oo", [1]),
}


@pytest.mark.parametrize("name", OURS)
def test_our_rule(name: str) -> None:
    motion, gripper, expected = OURS[name]
    assert discover_keyframes(*signals(motion, gripper)) == expected


def test_without_debounce_flicker_counts() -> None:
    assert discover_keyframes(*signals("MMMMMMMMMM", "oooocooooo"), min_hold=1) == [4, 5, 9]
    assert discover_keyframes(*signals("MMM..M..MMMM", "oooooooooooo"), min_hold=1) == [4, 7, 11]


def test_our_rule_never_looks_at_the_end_from_the_start() -> None:
    """PerAct's rule answers these two differently at step 1; ours sees the same beginning."""
    for end in "oc":
        motion, gripper = signals("M.MMMMMMMM", "ooooooooo" + end)
        assert discover_keyframes(motion, gripper) == [1, 9]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40), st.integers(1, 4))
def test_our_rule_laws(steps: list[tuple[bool, bool]], min_hold: int) -> None:
    motion = np.array([moving for moving, _ in steps], dtype=bool)
    gripper = np.array([state for _, state in steps], dtype=bool)
    found = discover_keyframes(motion, gripper, min_hold=min_hold)
    assert found == sorted(set(found))
    assert 0 not in found
    assert len(steps) < 2 or found[-1] == len(steps) - 1
    # Opening and closing are alike.
    assert found == discover_keyframes(motion, ~gripper, min_hold=min_hold)
    # Waiting longer at the end moves the last keyframe along and adds none.
    if len(steps) > 1 and not motion[-1]:
        longer = discover_keyframes(np.append(motion, [False]), np.append(gripper, gripper[-1]), min_hold=min_hold)
        assert len(longer) == len(found)


PERACT = {
    "moving throughout": ("MMMMMMMMMM", "oooooooooo", [9]),
    "gripper change": ("MMMMMMMMMM", "oooocccccc", [4, 9]),
    "a stop silences the next four steps": ("MMMMM.........", "oooooooooooooo", [5, 10, 13]),
    "a stop at step 0 silences steps 1 to 4": (".MM.MMMMMM", "oooooooooo", [9]),
    "no stop at 0 when the demo ends otherwise": (".MM.MMMMMM", "oooooooocc", [3, 9]),
    "step 1 sees the end: same gripper": ("M.MMMMMMMM", "oooooooooo", [1, 9]),
    "step 1 sees the end: other gripper": ("M.MMMMMMMM", "oooooooocc", [9]),
    "step 2 does not": ("MM.MMMMMMM", "oooooooccc", [2, 7, 9]),
    "stop three before the end": ("MMMMMMM.MM", "oooooooooo", [7, 9]),
    "no stop two before the end": ("MMMMMMMM.M", "oooooooooo", [9]),
    "no stop within two steps of a change": ("MMM...MMMM", "oooocccccc", [4, 9]),
    "stop two steps after a change": ("MMM....MMM", "oooocccccc", [4, 6, 9]),
    "of two adjacent at the end the last stays": ("MMMMMMMMMM", "oooooooocc", [9]),
    "only the final pair is thinned": ("MMMMMMMMMM", "oococcccoc", [2, 3, 4, 9]),
    "gripper flicker counts": ("MMMMMMMMMM", "oooocooooo", [4, 5, 9]),
    "three steps": ("...", "ooo", [2]),
    "two steps": ("..", "oo", [1]),
    "two steps, change": ("..", "oc", [1]),
    "one step": (".", "o", []),
    "nothing": ("", "", []),
}


@pytest.mark.parametrize("name", PERACT)
def test_peract_rule(name: str) -> None:
    motion, gripper, expected = PERACT[name]
    moving, is_open = signals(motion, gripper)
    velocities = np.where(moving[:, None], 0.3, 0.05) * np.array([[1, -1, 0, 1, 0, 0, 1]])
    assert peract_keyframes(velocities, is_open) == expected


@pytest.mark.parametrize(("speed", "stopped"), [(0.1, True), (-0.1, True), (0.1000001, False), (-0.11, False)])
def test_peract_stop_is_at_most_a_tenth_in_every_joint(speed: float, stopped: bool) -> None:
    velocities = np.full((10, 7), 0.5)
    velocities[5] = 0.0
    velocities[5, 3] = speed
    assert peract_keyframes(velocities, [True] * 10) == ([5, 9] if stopped else [9])


def test_rules_by_name(build_episode) -> None:
    episode: Episode = build_episode(num_steps=10, keyframes=(9,), sizes=(), segmented=())
    steps = [
        replace(
            step,
            arm_moving=index != 1,
            joint_velocities=np.full(7, 0.0 if index == 1 else 1.0),
            observation=replace(step.observation, gripper_open=index < 9),
        )
        for index, step in enumerate(episode.steps)
    ]
    episode = replace(episode, steps=steps)
    assert keyframes(episode) == keyframes(episode, "vla3d") == [1, 9]
    assert keyframes(episode, rule="peract") == [9]
    with pytest.raises(ConfigError, match="Did you mean 'peract'"):
        keyframes(episode, rule="perakt")
