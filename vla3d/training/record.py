"""What a finished or running training run tells of its demonstrations: ``trainer.json``, read back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla3d.data.sources import DemoSource
from vla3d.data.store import EpisodeRef
from vla3d.errors import CheckpointError, DataError
from vla3d.training.trainer import SETTINGS_FILE

_LEVELS = 4  # RUN, RUN/checkpoints, RUN/checkpoints/step-..., RUN/checkpoints/step-.../policy


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Which demonstrations a run learned from and which it held out.

    Attributes:
        path: the file this was read from.
        data: the dataset as the run was given it.
        request: what the dataset was made by; None in runs of vla3d before this was recorded.
        keyframe_rule: how keyframes were found, see ``DemosConfig``.
        train: demonstrations learned from.
        validation: demonstrations held out.
    """

    path: Path
    data: Path
    request: Mapping[str, Any] | None
    keyframe_rule: str
    train: tuple[EpisodeRef, ...]
    validation: tuple[EpisodeRef, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that were learned."""
        return tuple(dict.fromkeys(ref.task for ref in self.train))

    def check_dataset(self, dataset: DemoSource) -> None:
        """Refuse a dataset whose demonstrations bear the same names but are others.

        Raises:
            DataError: naming what differs.
        """
        asked = json.loads(json.dumps(dict(dataset.request)))
        differing = [] if self.request is None else [key for key in asked if asked[key] != self.request.get(key)]
        if differing:
            key = differing[0]
            raise DataError(
                f"{dataset.path} is not the dataset of the run {self.path.parent}: {key} is {asked[key]!r}, expected "
                f"{(self.request or {}).get(key)!r}; give data={self.data}, or demos=all to take any demonstrations."
            )


def recorded_run(checkpoint: Path) -> RunRecord | None:
    """The run that a checkpoint belongs to.

    Args:
        checkpoint: a run's ``out`` folder, one of its checkpoints, or the policy inside.

    Returns:
        None when the checkpoint lies in no run's folder (an exported policy).

    Raises:
        CheckpointError: the record is damaged.
    """
    folder = checkpoint.absolute()
    for path in [candidate / SETTINGS_FILE for candidate in (folder, *folder.parents[: _LEVELS - 1])]:
        if path.is_file():
            return _read(path)
    return None


def _read(path: Path) -> RunRecord | None:
    try:
        settings = json.loads(path.read_text())["settings"]
        if "train_episodes" not in settings:  # trained on something else than demonstrations
            return None
        return RunRecord(
            path=path,
            data=Path(settings["data"]),
            request=settings.get("request"),
            keyframe_rule=settings["demos"]["keyframe_rule"],
            train=tuple(EpisodeRef.parse(name) for name in settings["train_episodes"]),
            validation=tuple(EpisodeRef.parse(name) for name in settings["validation_episodes"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error!r}), expected what vla3d train records with a run.") from error
