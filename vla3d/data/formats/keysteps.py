"""What formats that store decision points alone have in common: every recorded step is a keyframe, and nothing lies between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from vla3d.data.sources import SourceOptions
from vla3d.errors import ConfigError
from vla3d.types import Episode, KeyframeAction, Observation, Step

FULL_GRIPPER_WIDTH = 0.08
"""Fingers' distance in metres of an open gripper, by ``Observation.gripper_width``."""

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Keystep:
    """The robot at one decision point.

    Attributes:
        position: tool centre point in the world, metres.
        quaternion: tool orientation, ``wxyz``.
        gripper_open: state of the gripper.
        time: seconds.
    """

    position: Float[np.ndarray, "3"]
    quaternion: Float[np.ndarray, "4"]
    gripper_open: bool
    time: float


def require_recorded_keyframes(format: str, options: SourceOptions) -> None:
    """Refuse a rule that looks for keyframes between those that are stored.

    Raises:
        ConfigError: naming the one rule that makes sense.
    """
    if options.keyframe_rule != "recorded":
        raise ConfigError(
            f"keyframe_rule: got {options.keyframe_rule!r}, but {format} stores keyframes alone; expected 'recorded'."
        )


def keystep_outline(
    keysteps: Sequence[Keystep],
    *,
    task: str,
    variation: int,
    sentences: Sequence[str],
    step_limit: int,
    metadata: Mapping[str, Any],
) -> Episode:
    """An episode without images whose every step after the first ended a keyframe action that ignores collisions.

    Raises:
        ValueError: a number is not finite, or a quaternion has not unit length.
    """
    return Episode(
        task=task,
        variation=variation,
        instruction=sentences[0],
        paraphrases=tuple(sentences),
        seed=0,
        success=True,
        steps=[_step(keystep, index, sentences[0], step_limit) for index, keystep in enumerate(keysteps)],
        metadata=metadata,
    )


def _step(keystep: Keystep, index: int, sentence: str, step_limit: int) -> Step:
    if not (np.isfinite(keystep.position).all() and np.isfinite(keystep.quaternion).all() and np.isfinite(keystep.time)):
        raise ValueError(f"keystep {index} holds a number that is not finite")
    length = float(np.linalg.norm(keystep.quaternion))
    if abs(length - 1) > _UNIT_TOLERANCE:
        raise ValueError(f"the quaternion of keystep {index} has length {length:.3g}, expected 1")
    quaternion = keystep.quaternion / length
    unknown = np.full(7, np.nan)
    return Step(
        observation=Observation(
            frames={},
            instruction=sentence,
            gripper_position=keystep.position,
            gripper_quaternion=quaternion,
            gripper_width=FULL_GRIPPER_WIDTH if keystep.gripper_open else 0.0,
            gripper_open=keystep.gripper_open,
            joint_positions=unknown,
            step=index,
            step_limit=step_limit,
        ),
        time=keystep.time,
        arm_moving=False,
        joint_velocities=unknown,
        action=None
        if index == 0
        else KeyframeAction(
            position=keystep.position,
            quaternion=quaternion,
            gripper_open=keystep.gripper_open,
            ignore_collisions=True,
        ),
    )
