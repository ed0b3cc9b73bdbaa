"""The training loop: updates, records, validation, checkpoints, and going on exactly where a run stopped."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

import vla3d
from vla3d.errors import CheckpointError, ConfigError, DataError, TrainingError
from vla3d.training.checkpoint import FOLDER, POLICY, CheckpointStore, run_lock
from vla3d.training.config import TrainerConfig
from vla3d.training.engine import Engine
from vla3d.training.interfaces import SizedDataset, TrainableModel
from vla3d.training.loader import open_batches, to_device
from vla3d.training.optim import learning_rate
from vla3d.training.processes import Processes
from vla3d.training.progress import Progress
from vla3d.training.sampler import EpochSampler
from vla3d.training.signals import StopRequest
from vla3d.training.snapshot import Position, gather_rank_states, read_snapshot, write_snapshot
from vla3d.training.task_sampler import TaskSampler
from vla3d.training.trackers import Kind, Tracker, make_trackers
from vla3d.training.validation import validate

SETTINGS_FILE = "trainer.json"
Ending = Literal["steps", "time", "signal"]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended.

    Attributes:
        out: the run's folder.
        policy: the best model, a folder for ``from_pretrained``.
        step: updates done.
        best_step: update of the best validation (the last update when nothing was validated).
        best_metric: selection metric there.
        metrics: the last validation of this call.
        stopped_by: ``"steps"`` when complete, ``"time"`` when ``max_minutes`` ran out.
        seconds: time of this call.
    """

    out: Path
    policy: Path
    step: int
    best_step: int
    best_metric: float | None
    metrics: dict[str, float]
    stopped_by: Ending
    seconds: float


class Trainer:
    """Trains one model in one folder.

    The same program runs on CPU, on a GPU when there is one, and on several under ``torchrun`` or ``accelerate launch``. The
    folder gets ``trainer.json`` (settings), ``metrics.jsonl`` and ``checkpoints/``: in each, ``policy`` holds the averaged
    weights for ``from_pretrained`` and ``state`` everything needed to resume; the files ``last`` and ``best`` name one each.

    Args:
        config: how to train.
        model: what to train.
        train_data: samples to learn from.
        validation_data: held-out samples; without them the last checkpoint counts as the best.
        out: the run's folder.
        resume: go on from its last checkpoint; a run killed before its first checkpoint starts over.
        trackers: instead of those that ``config.trackers`` names.
        settings: further JSON-able facts to record with the run (dataset, tasks).
        tasks: the task of each training sample; ``config.task_alpha`` below 1 needs them.

    Raises:
        ConfigError: when the model or the way of launching cannot be trained, or the tasks are needed and missing.
        DataError: when a dataset is empty.
    """

    def __init__(
        self,
        config: TrainerConfig,
        model: TrainableModel,
        train_data: SizedDataset[Any],
        validation_data: SizedDataset[Any] | None = None,
        *,
        out: Path | str,
        resume: bool = False,
        trackers: Sequence[Tracker] | None = None,
        settings: Mapping[str, Any] | None = None,
        tasks: Sequence[str] | None = None,
    ) -> None:
        if validation_data is not None and len(validation_data) == 0:
            raise DataError("The validation data is empty. Hold out at least one demo, or pass None to go without validation.")
        self.config = config
        self.out = Path(out)
        self._facts = {"settings": dict(settings or {})}
        self._resume = resume
        self._train_data = train_data
        self._validation_data = validation_data
        self._engine = Engine(model, config, self.out)
        self._processes = self._engine.processes
        self._sampler = _sampler(config, self._processes, len(train_data), tasks)
        self._store = CheckpointStore(self.out / FOLDER, config.keep_checkpoints)
        self._trackers: list[Tracker] = []
        if self._processes.main:
            self._trackers = list(trackers) if trackers is not None else make_trackers(config.trackers, self.out)
        self._position = Position()
        self._saved: Position | None = None
        self._metrics: dict[str, float] = {}

    def train(self) -> TrainResult:
        """Run to the end, to the time limit or to the first error.

        Raises:
            TrainingError: another run holds the folder, or a loss or gradient is not finite.
            CheckpointError: there is nothing to resume, it does not fit, or a checkpoint cannot be written.
            ConfigError: the folder holds a run and ``resume`` is not set.
            KeyboardInterrupt: on Ctrl-C, after saving.
        """
        began = time.monotonic()
        with ExitStack() as stack:
            if self._processes.main:
                stack.enter_context(run_lock(self.out))
                self._store.recover()
            self._processes.wait()
            stack.enter_context(_deterministic(self.config.deterministic))
            stack.callback(self._engine.freeze.leave)
            stored = self._open_run()
            for tracker in self._trackers:
                stack.callback(tracker.close)
                tracker.start(self._position.step, stored.get("trackers", {}).get(tracker.name, {}), self._record())
            shown = self.config.progress and self._processes.main
            frozen = self.config.freeze_steps
            progress = stack.enter_context(Progress(self.config.steps, self._position.step, enabled=shown, frozen=frozen))
            stop = stack.enter_context(StopRequest())
            ending = self._loop(progress, stop, began)
            stop.raise_if_received()
        best = self._store.best() or self._store.last()
        assert best is not None, "a run ends with a checkpoint"
        return TrainResult(
            out=self.out,
            policy=best / POLICY,
            step=self._position.step,
            best_step=self._position.best_step if self._position.best_step >= 0 else self._position.step,
            best_metric=self._position.best_metric,
            metrics=self._metrics,
            stopped_by=ending,
            seconds=time.monotonic() - began,
        )

    def _loop(self, progress: Progress, stop: StopRequest, began: float) -> Ending:
        config, engine, position = self.config, self._engine, self._position
        engine.module.train()
        indices = self._sampler.batches(position.step, config.steps)
        source = open_batches(
            self._train_data, indices, engine.model.collate, num_workers=config.num_workers, prefetch=config.prefetch
        )
        with source:
            batches = iter(source)
            ending = self._ending(stop, began)
            logged, logged_at = position.step, time.monotonic()
            while True:
                paused = time.monotonic()
                ending = self._between_updates(ending, progress, stop)
                logged_at += time.monotonic() - paused  # the rate that is logged is that of updates alone
                if ending is not None:
                    return ending
                engine.update(to_device(next(batches), engine.device), position.step)
                position.step += 1
                progress.advance()
                if position.step % config.log_every == 0 or position.step == config.steps:
                    now = time.monotonic()
                    self._log_updates((position.step - logged) / max(now - logged_at, 1e-9), progress)
                    logged, logged_at = position.step, now
                ending = self._ending(stop, began)

    def _ending(self, stop: StopRequest, began: float) -> Ending | None:
        """Why to stop now, the same on every process."""
        if self._position.step >= self.config.steps:
            return "steps"
        limit = self.config.max_minutes
        late = limit is not None and time.monotonic() - began > 60 * limit
        code = 2 if stop.received is not None else 1 if late else 0
        if self._processes.count > 1:
            if self._position.step % self.config.log_every:  # agreeing costs a round trip, so not at every step
                return None
            code = max(self._processes.gather(code))
        return (None, "time", "signal")[code]

    def _between_updates(self, ending: Ending | None, progress: Progress, stop: StopRequest) -> Ending | None:
        """Validate and save what is due; the ending, which a signal during validation may bring."""
        config, position = self.config, self._position
        data, improved = self._validation_data, False
        fresh = position.step > 0 and position.validated != position.step
        if (
            data is not None
            and fresh
            and ending != "signal"
            and (ending is not None or _every(config.validate_every, position.step))
        ):
            self._engine.guard.flush()
            metrics = validate(self._engine, data, lambda: self._processes.count == 1 and stop.received is not None)
            if metrics is None:
                ending = "signal"
            else:
                improved = self._take_validation(metrics, progress)
        if (ending is not None or improved or _every(config.save_every, position.step)) and self._saved != position:
            self._engine.guard.flush()
            self._save()
        if ending == "signal":
            progress.message(f"Saved step {position.step} in {self.out}; go on with resume=true.")
            stop.raise_if_received()
            raise KeyboardInterrupt  # another process received it
        return ending

    def _take_validation(self, metrics: dict[str, float], progress: Progress) -> bool:
        position, name = self._position, self._engine.model.selection_metric
        value = metrics[name]
        improved = math.isfinite(value) and (position.best_metric is None or value < position.best_metric)
        position.validated = position.step
        if improved:
            position.best_step, position.best_metric = position.step, value
        self._metrics = metrics
        self._log("validation", metrics)
        if self._processes.main:
            progress.message(f"step {position.step}: {_in_words(metrics)}{' (best)' if improved else ''}")
        return improved

    def _log_updates(self, rate: float, progress: Progress) -> None:
        means = self._engine.meter.take()
        if self._processes.count > 1:
            parts = self._processes.gather(means)
            means = {key: sum(part[key] for part in parts) / len(parts) for key in means}
        step = self._position.step
        progress.show_loss(means["loss"])
        means["learning_rate"] = learning_rate(self.config, step - 1)
        means["epoch"] = self._sampler.epoch(step)
        means["steps_per_second"] = rate
        self._log("train", means)

    def _log(self, kind: Kind, values: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(self._position.step, kind, values)

    def _save(self) -> None:
        position = self._position
        ranks = gather_rank_states(self._engine)
        if self._processes.main:
            facts = {**self._facts, "trackers": {tracker.name: tracker.state() for tracker in self._trackers}}
            best = position.step if self._validation_data is None or position.best_step == position.step else None
            self._store.save(
                position.step,
                lambda folder: write_snapshot(folder, self._engine, self._sampler, position, ranks, facts),
                best,
            )
        self._saved = replace(position)
        self._processes.wait()

    def _open_run(self) -> dict[str, Any]:
        """Start in an empty folder or restore the last checkpoint; what that one stored."""
        checkpoint, settings = self._store.last(), self.out / SETTINGS_FILE
        check_folder(self.out, self._resume)
        stored: dict[str, Any] = {}
        if checkpoint is not None:
            self._position, stored = read_snapshot(checkpoint, self._engine, self._sampler)
            self._saved = replace(self._position)
        self._processes.wait()
        if self._processes.main:
            if self._position.best_step >= 0:  # a kill may have come between the checkpoint and its pointer
                self._store.point_best(self._position.best_step)
            try:
                settings.write_text(json.dumps(self._record(), indent=2) + "\n")
            except OSError as error:
                raise TrainingError(f"Cannot write {settings}: {error}. Mend the cause and run again.") from error
        return stored

    def _record(self) -> dict[str, Any]:
        """Facts for ``trainer.json`` and the trackers."""
        engine = self._engine
        return {
            "config": self.config.as_dict(),
            "architecture": engine.model.architecture(),
            "parameters": sum(parameter.numel() for parameter in engine.module.parameters()),
            "train_samples": len(self._train_data),
            "validation_samples": 0 if self._validation_data is None else len(self._validation_data),
            "device": str(engine.device),
            "processes": self._processes.count,
            "versions": {"vla3d": vla3d.__version__, "torch": torch.__version__},
            **self._facts,
        }


def _sampler(config: TrainerConfig, processes: Processes, length: int, tasks: Sequence[str] | None) -> EpochSampler:
    place = {
        "batch_size": config.batch_size,
        "seed": config.seed,
        "rank": processes.rank,
        "world_size": processes.count,
    }
    if config.task_alpha == 1:  # every sample equally often: whole epochs
        return EpochSampler(length=length, **place)
    if tasks is None or len(tasks) != length:
        got = "no tasks" if tasks is None else f"{len(tasks)} tasks"
        raise ConfigError(
            f"task_alpha={config.task_alpha} needs the task of each of the {length} training samples, got {got}. "
            f"Pass them to the Trainer, or set task_alpha=1."
        )
    return TaskSampler(tasks, config.task_alpha, **place)


def _every(period: int, step: int) -> bool:
    return period > 0 and step > 0 and step % period == 0


def _in_words(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())


def check_folder(out: Path, resume: bool) -> None:
    """Refuse a folder that a run may not begin in, or not go on in.

    Raises:
        ConfigError: the folder holds a run and ``resume`` is not set.
        CheckpointError: there is nothing to resume.
    """
    checkpoint = CheckpointStore(out / FOLDER, keep=1).last()
    if checkpoint is not None and not resume:
        raise ConfigError(f"{out} already holds a run ({checkpoint.name}). Set resume=true to go on, or choose another out.")
    if checkpoint is None and resume and not (out / SETTINGS_FILE).exists():
        raise CheckpointError(f"Nothing to resume in {out}: it holds no run. Check out, or start without resume=true.")


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Allow only deterministic kernels for a while."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if wanted:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
