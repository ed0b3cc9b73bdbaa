"""Where the numbers of a run go."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from vla3d.errors import TrainingError, unknown_name
from vla3d.optional import require
from vla3d.training.config import TRACKERS

Kind = Literal["train", "validation"]


class Tracker(Protocol):
    """Records scalars. Only the main process has trackers."""

    name: str

    def start(self, step: int, state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Begin, or go on after ``step`` with what ``state()`` gave then; later records are dropped."""

    def log(self, step: int, kind: Kind, values: Mapping[str, float]) -> None:
        """Record scalars after ``step`` updates."""

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to go on in the same place, JSON-able."""

    def close(self) -> None:
        """Write out what is pending; harmless when called twice or before ``start``."""


class JsonlTracker:
    """One JSON object per line in ``metrics.jsonl``: ``step``, ``kind`` and the values; a non-finite value is null.

    Args:
        path: the file.
    """

    name = "jsonl"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def start(self, step: int, state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        kept = [line for line in self._lines() if _step_of(line) <= step] if step else []
        new = self._path.with_suffix(".new")
        try:
            new.write_text("".join(f"{line}\n" for line in kept))
            new.replace(self._path)
            self._file = self._path.open("a", buffering=1)
        except OSError as error:
            raise self._cannot_write(error) from error

    def log(self, step: int, kind: Kind, values: Mapping[str, float]) -> None:
        assert self._file is not None, "start() comes first"
        record = {"step": step, "kind": kind, **{key: value if math.isfinite(value) else None for key, value in values.items()}}
        try:
            self._file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise self._cannot_write(error) from error

    def state(self) -> dict[str, Any]:
        return {}  # the records carry their step

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []

    def _cannot_write(self, error: OSError) -> TrainingError:
        return TrainingError(
            f"Cannot write the log {self._path}: {error}. Training stopped; mend the cause and run again with resume=true."
        )


class TensorboardTracker:
    """TensorBoard event files.

    Args:
        directory: their folder.

    Raises:
        MissingExtraError: when TensorBoard is not installed.
    """

    name = "tensorboard"

    def __init__(self, directory: Path) -> None:
        require("tensorboard")
        self._directory = directory
        self._writer: Any = None

    def start(self, step: int, state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._directory), purge_step=step + 1 if step else None)

    def log(self, step: int, kind: Kind, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(f"{kind}/{key}", value, step)

    def state(self) -> dict[str, Any]:
        self._writer.flush()
        return {}

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WandbTracker:
    """Weights & Biases; ``WANDB_MODE=offline`` keeps it off the network. Not run against the service by the test suite.

    Args:
        directory: folder for its files.

    Raises:
        MissingExtraError: when wandb is not installed.
    """

    name = "wandb"

    def __init__(self, directory: Path) -> None:
        self._wandb: Any = require("wandb")
        self._directory = directory
        self._run: Any = None

    def start(self, step: int, state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "vla3d"),
            dir=str(self._directory),
            id=state.get("id"),
            resume="allow",
            config=dict(settings),
        )
        # Our own step axis: wandb drops records whose internal step is behind, as those of a resumed run are.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, kind: Kind, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **{f"{kind}/{key}": value for key, value in values.items()}})

    def state(self) -> dict[str, Any]:
        return {"id": self._run.id}

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None


def make_trackers(names: Sequence[str], out: Path) -> list[Tracker]:
    """The trackers of a run in ``out``.

    Raises:
        ConfigError: for an unknown name.
        MissingExtraError: when a tracker's package is not installed.
    """
    trackers: list[Tracker] = []
    for name in names:
        if name == "jsonl":
            trackers.append(JsonlTracker(out / "metrics.jsonl"))
        elif name == "tensorboard":
            trackers.append(TensorboardTracker(out / "tensorboard"))
        elif name == "wandb":
            trackers.append(WandbTracker(out))
        else:
            raise unknown_name("tracker", name, TRACKERS)
    return trackers


def _step_of(line: str) -> float:
    """Step of a record; a torn line counts as after everything."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
