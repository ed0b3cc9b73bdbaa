"""Keyframe discovery: which recorded steps a keyframe policy should learn to reach.

Demonstrations that vla3d collects carry their exact keyframes (``Episode.keyframe_indices``); discovery is for those that were
recorded elsewhere, by a person's hand or by another program.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from vla3d.errors import unknown_name
from vla3d.types import Episode

MIN_HOLD = 2
"""A gripper state or a motion that lasts fewer steps than this is a flicker of the signal, not an event."""


def keyframes(episode: Episode, rule: str = "vla3d") -> list[int]:
    """Indices of an episode's keyframes, ascending; never step 0.

    Args:
        episode: recorded at about 10 Hz; its images are not looked at.
        rule: ``"recorded"`` (``Episode.keyframe_indices``), ``"vla3d"`` (``discover_keyframes``) or ``"peract"``
            (``peract_keyframes``).

    Raises:
        ConfigError: unknown rule.
    """
    if rule not in _RULES:
        raise unknown_name("keyframe rule", rule, _RULES)
    return _RULES[rule](episode)


def discover_keyframes(
    arm_moving: Bool[np.ndarray, "T"], gripper_open: Bool[np.ndarray, "T"], *, min_hold: int = MIN_HOLD
) -> list[int]:
    """Our rule: where the arm came to rest, and where the gripper changed.

    Both signals are first rid of flicker. A rest of the arm gives one keyframe, its last step: the motion has ended, the
    fingers too, and what is seen there is what a policy sees when it decides on the next keyframe. If the gripper changes
    during the rest, or just before it, then each change gives one instead: the last step before the next change or the end of
    the rest. A change while the arm moves is a keyframe by itself, and so is always the last step. No index ever wraps around,
    and the rest before the first motion is no keyframe.

    Args:
        arm_moving: whether the arm moved at each step.
        gripper_open: commanded gripper state at each step.
        min_hold: see ``MIN_HOLD``; 1 takes the signals as they are.
    """
    steps = len(arm_moving)
    if steps < 2:
        return []
    moving = _without_flicker(np.asarray(arm_moving, dtype=bool), min_hold, only=True)
    gripper = _without_flicker(np.asarray(gripper_open, dtype=bool), min_hold)
    changes = {start for start, _ in _runs(gripper)[1:]}
    found = {steps - 1}
    for start, end in _runs(moving):
        if moving[start]:
            continue
        here = sorted(change for change in changes if start - min_hold < change < end)
        changes -= set(here)
        if here:
            found |= {following - 1 for following in [*here[1:], end]}
        elif start > 0:
            found.add(end - 1)
    return sorted(found | changes)


def _runs(signal: np.ndarray) -> list[tuple[int, int]]:
    """Half-open ranges of equal values."""
    borders = [0, *(np.flatnonzero(signal[1:] != signal[:-1]) + 1).tolist(), len(signal)]
    return list(pairwise(borders))


def _without_flicker(signal: np.ndarray, min_hold: int, *, only: bool | None = None) -> np.ndarray:
    """The signal with inner runs shorter than ``min_hold`` overwritten by what came before them.

    The first and the last run stay: what lies beyond them was not recorded.

    Args:
        signal: booleans.
        min_hold: shortest run that stays.
        only: overwrite runs of this value alone. A rest of one step is an event (the arm passed through a waypoint), a motion
            of one step between two rests is not.
    """
    clean = signal.copy()
    for start, end in _runs(signal)[1:-1]:
        if end - start < min_hold and (only is None or signal[start] == only):
            clean[start:end] = clean[start - 1]
    return clean


def peract_keyframes(
    joint_velocities: Float[np.ndarray, "T J"], gripper_open: Bool[np.ndarray, "T"] | Sequence[bool]
) -> list[int]:
    """The rule of PerAct (``keypoint_discovery``) exactly, as used by RVT and BridgeVLA to cut RLBench demonstrations.

    A step is a keypoint when the gripper changed, at the end, or when the arm stopped: all joints at most 0.1 rad/s, no stop
    during the four steps before, not one of the last two steps, and the gripper the same at the next and the two previous
    steps. Where "previous" lies before the start it is read from the END of the demonstration, as negative indices do there:
    a demonstration that ends with the gripper it began with can have keypoint 1, and a stop at step 0 (never a keypoint
    itself) silences the next four. Of two adjacent final keypoints the first is dropped.

    Args:
        joint_velocities: rad/s.
        gripper_open: commanded gripper state.
    """
    is_open = [bool(state) for state in gripper_open]
    steps = len(is_open)
    slow: list[bool] = (np.abs(joint_velocities) <= 0.1).all(axis=1).tolist()
    found: list[int] = []
    silence = 0
    for i in range(steps):
        stopped = (
            silence <= 0
            and slow[i]
            and i < steps - 2
            and is_open[i] == is_open[i + 1] == is_open[i - 1]
            and is_open[i - 2] == is_open[i - 1]
        )
        silence = 4 if stopped else silence - 1
        if i != 0 and (is_open[i] != is_open[i - 1] or i == steps - 1 or stopped):
            found.append(i)
    if len(found) > 1 and found[-1] - 1 == found[-2]:
        found.pop(-2)
    return found


def _ours(episode: Episode) -> list[int]:
    moving = np.array([step.arm_moving for step in episode.steps], dtype=bool)
    return discover_keyframes(moving, np.array([step.observation.gripper_open for step in episode.steps], dtype=bool))


def _peract(episode: Episode) -> list[int]:
    velocities = np.array([step.joint_velocities for step in episode.steps], dtype=np.float64)
    return peract_keyframes(velocities, [step.observation.gripper_open for step in episode.steps])


def _recorded(episode: Episode) -> list[int]:
    return [index for index in episode.keyframe_indices if index > 0]


_RULES: dict[str, Callable[[Episode], list[int]]] = {"recorded": _recorded, "vla3d": _ours, "peract": _peract}
