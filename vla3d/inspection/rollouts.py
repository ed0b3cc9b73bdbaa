"""Showing an episode of a rollout: its record holds the scene's seed and the actions, so it is run again and watched."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from vla3d.envs.registration import simulator_of, task_names
from vla3d.errors import ConfigError, DataError, Vla3dError
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.episode import EpisodeJob, Replay, recorded_actions, run_episode
from vla3d.evaluation.policies import checkpoint_digest
from vla3d.evaluation.results import EpisodeRecord, RolloutFolder
from vla3d.evaluation.worker import Worker
from vla3d.inspection.viewers import Audience, Viewer
from vla3d.policies.base import Policy
from vla3d.types import Workspace

_CONFIG_FILE = "config.yaml"
_STAND_IN = "random"  # never asked: the actions are recorded
# What was concluded is in the records; the policy that thinks along is shown as it is.
_OWN = {"tasks", "out", "checkpoint", "policy", "states", "save_states", "compare", "graph", "verify"}


def records(folder: Path) -> dict[str, list[EpisodeRecord]]:
    """The finished episodes of a rollout, by task.

    Raises:
        DataError: a record is damaged.
    """
    store = RolloutFolder(folder)
    found: dict[str, list[EpisodeRecord]] = {}
    for path in sorted(folder.glob("episodes/*/*.json")):
        record = store.read(path.parent.name, int(path.stem)) if path.stem.isdecimal() else None
        if record is not None:
            found.setdefault(record.task, []).append(record)
    return found


class RolloutTheatre:
    """Runs the episodes of a rollout again.

    Args:
        folder: the rollout's.
        checkpoint: another policy, which thinks along instead of the rollout's own.
        device: torch device of the policy.

    Attributes:
        note: why there is nothing of the policy's own to show; None when there is.
        policy: name of the rollout's policy.
        control: of the rollout.

    Raises:
        DataError: the rollout's settings are damaged.
    """

    def __init__(self, folder: Path, *, checkpoint: Path | None = None, device: str = "auto") -> None:
        settings = RolloutFolder(folder).settings()
        if settings is None or "policy" not in settings or "control" not in settings:
            raise DataError(f"{folder / 'settings.json'} is not a rollout's settings; expected policy and control in it.")
        self.folder = folder
        self.policy = str(settings["policy"])
        self.control = str(settings["control"])
        self.note: str | None = None
        self._settings = settings
        self._composed = _composed_config(folder)
        self._states = settings.get("states_sha256") is not None
        self._another = checkpoint is not None
        self._config = self._make_config(checkpoint, device)
        self._worker = self._make_worker()

    def workspace(self, task: str) -> Workspace:
        """The box that a task happens in."""
        return self._worker.equipment(task)[0].workspace

    def check_task(self, task: str) -> None:
        """Refuse a task that is not there any more.

        Raises:
            ConfigError: it is not installed here.
        """
        if task not in task_names() and simulator_of(task) is None:
            raise ConfigError(
                f"{self.folder} has episodes of the task {task!r}, which is not installed here, so they cannot be run again; "
                f"install the package that offers it. Installed: {', '.join(task_names())}."
            )

    def show(self, record: EpisodeRecord, viewers: Sequence[Viewer]) -> bool:
        """Run an episode again before viewers; returns whether it took the same course.

        Args:
            record: of a task that is installed.
            viewers: who looks on.
        """
        env, policy = self._worker.equipment(record.task)
        thinking: Policy | None = policy if self.note is None or self._another else None
        replay = Replay(recorded_actions(record), thinking, [action.verdict for action in record.actions])
        if thinking is not None:
            thinking.mask_text = self.control == "mask_text"
            thinking.graph_control = self._settings.get("graph", "none") if thinking.reads_graph else "none"
        # With repeats, a recorded episode's number starts over in each.
        number = record.index % int(self._settings.get("episodes", record.index + 1))
        job = EpisodeJob(task=record.task, index=record.index, seed=record.seed, state=self._state(record), number=number)
        audience = Audience(viewers, env.workspace, replay if self._another else None)
        try:
            again = run_episode(env, replay, job, self.control, [audience])
        except IndexError:  # it went on where the recorded one had ended
            return False
        return (again.success, again.old_goal, again.actions) == (record.success, record.old_goal, record.actions)

    def close(self) -> None:
        """Release the simulators."""
        self._worker.close()

    def _make_config(self, checkpoint: Path | None, device: str) -> RolloutConfig:
        """The rollout's own configuration, as far as it decides what happens: its scenes, factors, images and control."""
        known = {field.name for field in fields(RolloutConfig)} - _OWN
        values = {key: value for key, value in self._settings.items() if key in known}
        values |= {"tasks": ["-"], "out": self.folder, "device": device, "policy": None, "checkpoint": checkpoint}
        if checkpoint is None and self._settings.get("checkpoint_sha256") is not None:
            values["checkpoint"] = self._own_checkpoint()
        if values["checkpoint"] is None:
            values["policy"] = _STAND_IN if self._settings.get("checkpoint_sha256") is not None else self.policy
        return RolloutConfig(**values)

    def _make_worker(self) -> Worker:
        worker = Worker(self._config)
        if self._config.checkpoint is not None or self._config.policy == _STAND_IN:
            return worker
        from vla3d.policies.registry import policy_class

        try:
            policy_class(self.policy)
        except Vla3dError:
            self.note = f"The policy {self.policy!r} is not installed: what was carried out is shown, without heatmaps."
            worker = Worker(replace(self._config, policy=_STAND_IN))
        return worker

    def _own_checkpoint(self) -> Path | None:
        """The rollout's checkpoint if it is where it was, or where it would be had the rollout been moved with it."""
        named = [self._summary().get("checkpoint"), self._composed.get("checkpoint")]
        digest = self._settings["checkpoint_sha256"]
        places = [Path(), *self.folder.absolute().parents]
        for path in (base / str(name) for name in named if name for base in places):
            policy = _policy_folder(path)
            if policy is not None and checkpoint_digest(policy) == digest:
                return policy
        name = next((str(name) for name in named if name), "its checkpoint")
        self.note = (
            f"The rollout's checkpoint is gone or was trained on ({name}): what was carried out is shown, without heatmaps; "
            "give checkpoint=RUN to let another policy think along."
        )
        return None

    def _summary(self) -> Mapping[str, Any]:
        try:
            return RolloutFolder(self.folder).summary()
        except DataError:
            return {}

    def _state(self, record: EpisodeRecord) -> Path | None:
        """The recorded initial state that the episode began from."""
        if not self._states:
            return None
        named = self._composed.get("states")
        for base in (Path(), *self.folder.absolute().parents) if named else ():
            path = base / str(named) / record.task / f"{record.index:04d}_{record.seed}.state"
            if path.is_file():
                return path
        raise DataError(
            f"{self.folder} began from recorded states ({named or 'of an unknown folder'}), and that of {record.task} "
            f"{record.index} is not there; put it back."
        )


def _composed_config(folder: Path) -> dict[str, Any]:
    """What was composed for the rollout; empty when it was run from a program."""
    from omegaconf import DictConfig, OmegaConf

    if not (folder / _CONFIG_FILE).is_file():
        return {}
    try:
        config = OmegaConf.load(folder / _CONFIG_FILE)
    except Exception as error:  # YAML's own errors have no common base that is ours to name
        raise DataError(
            f"{folder / _CONFIG_FILE} cannot be read ({' '.join(str(error).split())}); delete it or mend it."
        ) from error
    values = OmegaConf.to_container(config) if isinstance(config, DictConfig) else {}
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}


def _policy_folder(path: Path) -> Path | None:
    from vla3d.training.checkpoint import policy_directory

    try:
        return policy_directory(path) if os.path.isdir(path) else None
    except Vla3dError:
        return None
