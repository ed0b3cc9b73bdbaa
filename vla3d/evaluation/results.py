"""What an evaluation leaves on disk: one record per episode, the settings they share, and the summary.

Layout of a rollout's folder::

    settings.json                     what decides the outcome of an episode; a run with other settings is refused
    episodes/<task>/<index>.json      one finished episode
    episodes/<task>/<index>.jpg       its key frames, side by side
    episodes/<task>/<index>.mp4|.rrd  its recording, when it was filmed
    rollout.json, report.html         the summary
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from vla3d.errors import ConfigError, DataError
from vla3d.types import KeyframeAction


@dataclass(frozen=True, kw_only=True)
class ActionRecord:
    """One decision: the action, why its motion was not carried out (None when it was), and what a verified policy concluded
    about the keyframe before it. Two are equal when the same was carried out, whatever was thought of it."""

    position: tuple[float, ...]
    quaternion: tuple[float, ...]
    gripper_open: bool
    ignore_collisions: bool
    answer: str
    failure: str | None
    verdict: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, action: KeyframeAction, failure: str | None, verdict: str | None = None) -> Self:
        """Record an action."""
        return cls(
            position=tuple(float(v) for v in action.position),
            quaternion=tuple(float(v) for v in action.quaternion),
            gripper_open=bool(action.gripper_open),
            ignore_collisions=bool(action.ignore_collisions),
            answer=action.answer,
            failure=failure,
            verdict=verdict,
        )


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One finished episode.

    Attributes:
        task: task name.
        index: number of the episode within its task.
        seed: scene seed.
        variation: variation of the task.
        instruction: the episode's own sentence.
        shown: what the policy read; empty when its text was masked.
        success: whether the goal that counts was reached (the named one when the sentence was swapped), or the policy answered
            ``absent`` when the sentence asked for something that was not there.
        old_goal: whether the episode's own goal was reached; differs from ``success`` only under ``swap`` and ``absent``.
        failure: why the episode failed; None on success.
        answer: the terminal answer that ended it (``absent``, ``cannot``, ``done``), or None.
        actions: every decision.
        decision_seconds: mean wall time of one decision.
        seconds: wall time of the episode.
        absence: how probable the policy held it at its first decision that what the sentence asks for is not there; None where
            it did not tell.
    """

    task: str
    index: int
    seed: int
    variation: int
    instruction: str
    shown: str
    success: bool
    old_goal: bool
    failure: str | None
    answer: str | None
    actions: tuple[ActionRecord, ...]
    decision_seconds: float
    seconds: float
    absence: float | None = None

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote, or an older version of it did.

        Raises:
            ValueError: when it is something else.
        """
        stored = json.loads(text)
        known = {own.name for own in fields(cls)}
        needed = {own.name for own in fields(cls) if own.default is MISSING}
        if not isinstance(stored, dict) or not needed <= stored.keys() <= known:
            raise ValueError(f"expected exactly the keys {', '.join(sorted(known))}")
        actions = tuple(
            ActionRecord(**{**action, "position": tuple(action["position"]), "quaternion": tuple(action["quaternion"])})
            for action in stored["actions"]
        )
        return cls(**{**stored, "actions": actions})


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a run killed midway, sees it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


class RolloutFolder:
    """The folder of one evaluation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Take the folder for these settings, or find it already theirs.

        Args:
            settings: what decides an episode's outcome, JSON-able.

        Raises:
            ConfigError: when it holds episodes of a rollout with other settings.
        """
        asked = json.loads(json.dumps(dict(settings)))
        stored = self.settings()
        if stored is None or not any(self.path.glob("episodes/*/*.json")):  # a rollout that failed to start claims nothing
            write_atomic(self.path / "settings.json", (json.dumps(asked, indent=2, sort_keys=True) + "\n").encode())
            return
        other = [key for key in sorted(stored.keys() | asked.keys()) if stored.get(key) != asked.get(key)]
        if other:
            what = "; ".join(f"{key} was {stored.get(key)!r} and is now {asked.get(key)!r}" for key in other)
            raise ConfigError(
                f"{self.path} holds a rollout with other settings ({what}). Choose another out, or delete the folder."
            )

    def settings(self) -> dict[str, Any] | None:
        """The settings of the rollout in the folder, None when there is none.

        Raises:
            DataError: when they cannot be read.
        """
        path = self.path / "settings.json"
        if not path.exists():
            return None
        return _read_object(path)

    def file(self, task: str, index: int, suffix: str) -> Path:
        """Path of an episode's file, for example with the suffix ``".mp4"``."""
        return self.path / "episodes" / task / f"{index:04d}{suffix}"

    def write(self, record: EpisodeRecord) -> None:
        """Keep a finished episode."""
        write_atomic(self.file(record.task, record.index, ".json"), record.to_json().encode())

    def read(self, task: str, index: int) -> EpisodeRecord | None:
        """A finished episode, None when it is not there yet.

        Raises:
            DataError: when its record is damaged.
        """
        path = self.file(task, index, ".json")
        if not path.exists():
            return None
        try:
            return EpisodeRecord.from_json(path.read_text())
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{path} is not an episode record ({error}). Delete it, and the same command runs the episode again."
            ) from error

    def summary(self) -> dict[str, Any]:
        """The summary in ``rollout.json``.

        Raises:
            DataError: when it is missing or damaged.
        """
        return _read_object(self.path / "rollout.json")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected a rollout's {path.name}.") from error
    if not isinstance(stored, dict):
        raise DataError(f"{path} is not a rollout's {path.name}: expected one JSON object.")
    return stored
