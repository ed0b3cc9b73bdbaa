"""What an RLBench demonstration says and does: its sentences, its variation and its steps, without images.

The gripper's frame is kept as recorded. RLBench records the frame of the gripper's tip: its origin lies between the fingertips,
its z axis points out of the fingers and its y axis is the one along which they open, which is ``KeyframeAction``'s convention.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vla3d.data.formats.rlbench_episode import (
    VARIATION_DESCRIPTIONS,
    VARIATION_NUMBER,
    EpisodeRefusedError,
    RLBenchEpisode,
)
from vla3d.data.formats.rlbench_layout import EPISODES, variation_of
from vla3d.data.formats.rlbench_recording import Recording
from vla3d.data.keyframes import discover_keyframes, peract_keyframes
from vla3d.types import Episode, KeyframeAction, Observation, Step

SECONDS_PER_FRAME = 0.05
"""RLBench's control and recording step."""

STEP_LIMIT = 25
"""Keyframes that RLBench's own evaluations allow."""

WORKSPACE = {"low": [-0.3, -0.5, 0.6], "high": [0.7, 0.5, 1.6]}
"""The box over RLBench's table in which policies for it act, metres."""

FROM_TASK = "the task's name"
"""Where the instruction of an episode comes from that has no sentences."""

MOVING = 0.1
"""rad/s; see ``vla3d.types.Step``."""


def outline(episode: RLBenchEpisode, task: str, keyframe_rule: str) -> Episode:
    """An episode without images.

    Args:
        episode: its folder.
        task: name of the task.
        keyframe_rule: ``"recorded"`` and ``"peract"`` are the rule of PerAct, ``"vla3d"`` is ours.

    Raises:
        EpisodeRefusedError: damage.
    """
    recording = episode.recording
    sentences, where = _sentences(episode, task)
    variation = _variation(episode)
    return Episode(
        task=task,
        variation=variation,
        instruction=sentences[0],
        paraphrases=tuple(sentences),
        seed=0,  # RLBench keeps a random state instead, see the metadata
        success=True,  # it keeps no failures
        steps=_steps(recording, sentences[0], keyframes_of(recording, keyframe_rule)),
        metadata={
            "format": "rlbench",
            "episode_folder": episode.folder.name,
            "instruction_from": where,
            "workspace": dict(WORKSPACE),
            "random_state": recording.random_state,
        },
    )


def keyframes_of(recording: Recording, rule: str) -> list[int]:
    """Indices of the keyframes under a rule; see ``outline``."""
    if rule == "vla3d":
        return discover_keyframes(_moving(recording), recording.gripper_open)
    return peract_keyframes(recording.joint_velocities, recording.gripper_open)


def _moving(recording: Recording) -> np.ndarray:
    return np.asarray((np.abs(recording.joint_velocities) > MOVING).any(axis=1))


def _steps(recording: Recording, instruction: str, keyframes: Sequence[int]) -> list[Step]:
    moving = _moving(recording)
    decided = np.searchsorted(keyframes, np.arange(len(moving)), side="right")
    actions = {index: _action(recording, index) for index in keyframes}
    return [
        Step(
            observation=Observation(
                frames={},
                instruction=instruction,
                gripper_position=recording.gripper_positions[index],
                gripper_quaternion=recording.gripper_quaternions[index],
                gripper_width=float(recording.gripper_widths[index]),
                gripper_open=bool(recording.gripper_open[index]),
                joint_positions=recording.joint_positions[index],
                step=int(decided[index]),
                step_limit=STEP_LIMIT,
            ),
            time=index * SECONDS_PER_FRAME,
            arm_moving=bool(moving[index]),
            joint_velocities=recording.joint_velocities[index],
            action=actions.get(index),
        )
        for index in range(len(moving))
    ]


def _action(recording: Recording, index: int) -> KeyframeAction:
    """What was done to reach a keyframe. Whether collisions were ignored on the way is recorded one frame before its end."""
    return KeyframeAction(
        position=recording.gripper_positions[index],
        quaternion=recording.gripper_quaternions[index],
        gripper_open=bool(recording.gripper_open[index]),
        ignore_collisions=bool(recording.ignore_collisions[index - 1]),
    )


def _variation(episode: RLBenchEpisode) -> int:
    """From the file, else the folder's name, else the demonstration itself, else 0."""
    path = episode.folder / VARIATION_NUMBER
    if path.exists():
        number = episode.pickled(path)
        if not (isinstance(number, int | np.integer) and not isinstance(number, bool) and number >= 0):
            raise EpisodeRefusedError(f"{VARIATION_NUMBER} holds a {type(number).__name__}, expected a number from 0")
        return int(number)
    told = variation_of(episode.folder)
    return (episode.recording.variation or 0) if told is None else told


def _sentences(episode: RLBenchEpisode, task: str) -> tuple[list[str], str]:
    """Sentences that ask for the episode, the said one first, and where they stand: with the episode or with its variation.

    Files of other content are known to exist; the task's name, read as words, stands in then.
    """
    above = episode.folder.parent
    places = [episode.folder, *([above.parent] if above.name == EPISODES else [])]
    for place in places:
        path = place / VARIATION_DESCRIPTIONS
        if not path.exists():
            continue
        found = _texts(episode.pickled(path))
        if found:
            return found, "the episode" if place == episode.folder else "the variation"
    return [task.replace("_", " ").strip()], FROM_TASK


def _texts(value: Any) -> list[str]:
    """The sentences in a list of them; empty for anything else."""
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) and text.strip() for text in value):
        return []
    return list(dict.fromkeys(value))
