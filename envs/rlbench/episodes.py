"""Recorded test episodes: the random state each was made from, and its own keyframes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla3d.data.sources import open_demos
from vla3d.errors import ConfigError, DataError
from vla3d.types import Episode, KeyframeAction


class StoredDemo:
    """As much of a demonstration as RLBench's ``reset_to_demo`` asks for, of either fork.

    Args:
        episode: a demonstration without images, read by ``vla3d.data.formats.rlbench``.

    Raises:
        DataError: it was recorded without its random state.
    """

    num_reset_attempts = None

    def __init__(self, episode: Episode) -> None:
        state = episode.metadata.get("random_state")
        if not isinstance(state, Mapping):
            raise DataError(
                f"A demonstration of {episode.task} was recorded without its random state, so its scene cannot be laid out "
                "again; take another dataset."
            )
        self.variation_number = episode.variation
        self.random_seed = (
            state["algorithm"],
            np.frombuffer(bytes.fromhex(state["key_hex"]), dtype="<u4"),
            state["position"],
            state["has_gauss"],
            state["cached_gaussian"],
        )
        self._observations = [_FirstObservation(episode.variation)]

    def restore_state(self) -> None:
        """Put NumPy's global random state where it was before the scene was laid out: RLBench draws on no other."""
        np.random.set_state(self.random_seed)


class _FirstObservation:
    def __init__(self, variation: int) -> None:
        self.misc = {"variation_index": variation}


class RecordedTests:
    """The test episodes of one task, in the order of their numbers.

    Args:
        folder: RLBench's dataset of test demonstrations.
        task: name of the task's folder.

    Raises:
        DataError: there is no dataset, or no such task in it.
    """

    def __init__(self, folder: Path, task: str) -> None:
        self._source: Any = open_demos(folder, format="rlbench")
        if task not in self._source.tasks():
            raise DataError(
                f"{folder} has no test demonstrations of {task}; it has {', '.join(self._source.tasks()) or 'none'}. "
                "Give the folder of the test split."
            )
        self._refs = self._source.episodes([task])
        self._task = task

    def __len__(self) -> int:
        return len(self._refs)

    def episode(self, number: int) -> Episode:
        """One of them, without images.

        Raises:
            ConfigError: there are not so many.
        """
        if not 0 <= number < len(self):
            raise ConfigError(
                f"episodes: {self._source.path} has {len(self)} test demonstrations of {self._task}, got number {number}; "
                "ask for fewer episodes."
            )
        episode: Episode = self._source.read(self._refs[number], cameras=())
        return episode


class DemoExpert:
    """Carries out a demonstration's own keyframes, which tells how far the planner reproduces it.

    Args:
        episode: the demonstration; None where the scene was not laid out from one.
    """

    def __init__(self, episode: Episode | None) -> None:
        self._actions = None if episode is None else [step.action for step in episode.steps if step.action is not None]
        self._next = 0

    def next_action(self) -> KeyframeAction:
        """The next keyframe; after the last one, ``done``.

        Raises:
            ConfigError: there is no demonstration.
        """
        if self._actions is None:
            raise ConfigError("policy=scripted replays RLBench's test demonstrations; give test_demos=DIR.")
        action = self._actions[min(self._next, len(self._actions) - 1)]
        if self._next >= len(self._actions):
            return KeyframeAction(
                position=action.position, quaternion=action.quaternion, gripper_open=action.gripper_open, answer="done"
            )
        self._next += 1
        return action
