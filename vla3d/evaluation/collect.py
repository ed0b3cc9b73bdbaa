"""Collecting demonstrations: attempts in parallel, kept in an order that no timing can change.

Attempt k of a task has the scene ``scene_seed("train", seed, task, k)``. The dataset holds the first N attempts that succeed,
and notes why the ones between them failed. A new attempt starts only when it is needed whatever the running ones bring, so
nothing is ever made in vain, and any number of workers, kills and continuations ends at the same bytes.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tqdm import tqdm

from vla3d.data.reader import DemoDataset
from vla3d.data.store import EpisodeRef
from vla3d.data.summary import MEGABYTE, TaskSummary, summarise_task, task_table
from vla3d.data.writer import DatasetWriter
from vla3d.envs.base import make_env
from vla3d.envs.registration import task_names
from vla3d.errors import DataError, unknown_name
from vla3d.evaluation import collect_worker
from vla3d.evaluation.collect_config import CollectConfig
from vla3d.evaluation.collect_worker import Attempt, EnvFactory
from vla3d.evaluation.workers import WorkerPool, available_cores


class AttemptPlan:
    """Which attempts a task still needs.

    Args:
        episodes: successes wanted.
        known: outcome of the attempts made before: None for a success, else why it failed.
    """

    def __init__(self, episodes: int, known: Mapping[int, str | None]) -> None:
        self._episodes = episodes
        self._known = dict(known)
        self._running: set[int] = set()

    @property
    def successes(self) -> int:
        """Attempts that succeeded."""
        return sum(failure is None for failure in self._known.values())

    @property
    def missing(self) -> int:
        """Successes still to come."""
        return max(0, self._episodes - self.successes)

    @property
    def gaps(self) -> int:
        """Attempts before the last known one whose outcome is not known."""
        return 1 + max(self._known, default=-1) - len(self._known)

    def start(self) -> int | None:
        """The next attempt to make, now taken as running; None when none is needed before a running one ends.

        Gaps (lost when a collector was killed, or damaged since) are filled first. Beyond the last attempt known, one more is
        needed only if all that are running could succeed and yet not be enough.
        """
        behind = 1 + max([*self._known, *self._running], default=-1)
        unknown = (k for k in range(behind) if k not in self._known and k not in self._running)
        needed = self.successes + len(self._running) < self._episodes
        attempt = next(unknown, behind if needed else None)
        if attempt is not None:
            self._running.add(attempt)
        return attempt

    def finish(self, attempt: int, failure: str | None) -> None:
        """Note how a running attempt ended."""
        self._running.remove(attempt)
        self._known[attempt] = failure

    def recent_failures(self) -> list[str]:
        """Reasons of the failures one behind the other that end the unbroken sequence of attempts made so far."""
        unbroken = next(k for k in range(len(self._known) + 1) if k not in self._known)
        reasons = takewhile(lambda failure: failure is not None, (self._known[k] for k in reversed(range(unbroken))))
        return [reason for reason in reasons if reason is not None]


@dataclass(frozen=True, kw_only=True)
class CollectReport:
    """What a collection did, and what the dataset then holds.

    Attributes:
        out: the dataset.
        tasks: everything stored of the tasks asked for.
        new_episodes: episodes stored by this run.
        new_failures: failed attempts of this run, by reason.
        camera_frames: images stored by this run.
        seconds: from start to end, processes and simulators included.
        startup_seconds: until the first attempt ended.
        over_cap: episodes of this run above ``max_mb_per_demo``.
    """

    out: Path
    tasks: tuple[TaskSummary, ...]
    new_episodes: int
    new_failures: Mapping[str, int]
    camera_frames: int
    seconds: float
    startup_seconds: float
    over_cap: tuple[EpisodeRef, ...]

    @property
    def frames_per_second(self) -> float:
        """Stored camera frames per second, everything included."""
        return self.camera_frames / self.seconds if self.seconds else 0.0


def collect(config: CollectConfig, *, env_factory: EnvFactory = make_env, progress: bool = True) -> CollectReport:
    """Collect what a request still lacks.

    Interrupted in any way it can be run again: what is stored stays, and the end is the same.

    Args:
        config: the request.
        env_factory: makes the environments; it stands at the top level of a module.
        progress: show a progress bar.

    Raises:
        ConfigError: unknown task, or the folder holds another request.
        DatasetLockedError: another collector is at work on the dataset.
        DataError: the disk is full; a task fails over and over; a demonstration is above the cap and ``over_cap`` is "fail".
        WorkerError: a worker process died.
    """
    began = time.perf_counter()
    if env_factory is make_env:
        for task in config.tasks:
            if task not in task_names():
                raise unknown_name("task", task, task_names())
    with DatasetWriter(config.out, config.request) as writer:
        run = _Run(config, writer)
        processes = min(config.num_workers or available_cores(), run.outstanding)
        if processes:
            initargs = (config, writer.staging, env_factory)
            with WorkerPool(collect_worker.attempt, processes, initializer=collect_worker.start, initargs=initargs) as pool:
                run.to_the_end(pool, progress)
        # Still under the lock, so that the report is of what this run left behind.
        return run.report(began)


class _Run:
    """The loop of a collection, and what it counts."""

    def __init__(self, config: CollectConfig, writer: DatasetWriter) -> None:
        self._config = config
        self._writer = writer
        self._plans = {task: AttemptPlan(config.episodes, writer.attempts(task)) for task in config.tasks}
        self._episodes = 0
        self._failures: Counter[str] = Counter()
        self._camera_frames = 0
        self._first_result: float | None = None
        self._first_frames = 0
        self._over_cap: list[EpisodeRef] = []

    @property
    def outstanding(self) -> int:
        """Attempts that are needed at the least."""
        return sum(plan.missing + plan.gaps for plan in self._plans.values())

    def to_the_end(self, pool: WorkerPool[EpisodeRef, Attempt], progress: bool) -> None:
        """Keep every worker busy until nothing is missing."""
        for task in self._plans:
            self._check_task(task)
        total = self._config.episodes * len(self._plans)
        have = total - sum(plan.missing for plan in self._plans.values())
        with tqdm(total=total, initial=have, desc="collect", unit="demo", dynamic_ncols=True, disable=not progress) as bar:
            while True:
                while pool.free and (ref := self._next()) is not None:
                    pool.submit(ref)
                if not pool.running:
                    return
                _, attempt = pool.next_result()
                self._store(attempt)
                bar.set_postfix_str(f"{self._rate(attempt):.0f} images/s, {self._failures.total()} failed", refresh=False)
                missing = sum(plan.missing for plan in self._plans.values())
                bar.update(total - missing - bar.n)

    def report(self, began: float) -> CollectReport:
        """What was done since ``began``, and what is stored."""
        dataset = DemoDataset(self._config.out)
        tasks = [summarise_task(dataset, task, [dataset.info(ref) for ref in dataset.episodes([task])]) for task in self._plans]
        return CollectReport(
            out=self._config.out,
            tasks=tuple(tasks),
            new_episodes=self._episodes,
            new_failures=dict(self._failures.most_common()),
            camera_frames=self._camera_frames,
            seconds=time.perf_counter() - began,
            startup_seconds=0.0 if self._first_result is None else self._first_result - began,
            over_cap=tuple(sorted(self._over_cap)),
        )

    def _next(self) -> EpisodeRef | None:
        for task, plan in self._plans.items():
            attempt = plan.start()
            if attempt is not None:
                return EpisodeRef(task, attempt)
        return None

    def _store(self, attempt: Attempt) -> None:
        if attempt.staged is None:
            reason = attempt.failure or "timeout"
            self._writer.record_failure(attempt.ref, reason)
            self._failures[reason] += 1
        else:
            self._check_size(attempt)
            self._writer.commit(attempt.ref, attempt.staged)
            self._episodes += 1
            self._camera_frames += attempt.camera_frames
        self._plans[attempt.ref.task].finish(attempt.ref.attempt, attempt.failure)
        self._check_task(attempt.ref.task)

    def _rate(self, attempt: Attempt) -> float:
        """Stored camera frames per second since the first attempt ended: what to expect of the rest."""
        now = time.perf_counter()
        if self._first_result is None:
            self._first_result, self._first_frames = now, self._camera_frames
        return (self._camera_frames - self._first_frames) / max(1e-9, now - self._first_result)

    def _check_size(self, attempt: Attempt) -> None:
        size, cap = attempt.num_bytes / MEGABYTE, self._config.max_mb_per_demo
        if size <= cap:
            return
        if self._config.over_cap == "fail":
            raise DataError(
                f"Episode {attempt.ref}: got {size:.2f} MB, expected at most {cap:g}; raise max_mb_per_demo, take smaller "
                "images, or keep such episodes with over_cap=warn."
            )
        self._over_cap.append(attempt.ref)

    def _check_task(self, task: str) -> None:
        plan = self._plans[task]
        reasons = plan.recent_failures()
        if plan.missing and len(reasons) >= self._config.max_failures_in_a_row:
            counted = ", ".join(f"{reason} {count}" for reason, count in Counter(reasons).most_common())
            raise DataError(
                f"{task}: {len(reasons)} attempts in a row failed ({counted}); mend the task or its expert and collect into a "
                "new folder, or go on with a larger max_failures_in_a_row."
            )


def closing_table(report: CollectReport) -> str:
    """A collection in plain text: what is stored, why attempts failed, how fast it went, what is too large."""
    lines = [str(report.out), "", *task_table(report.tasks), ""]
    failed = sum(report.new_failures.values())
    attempts = report.new_episodes + failed
    if not attempts:
        return "\n".join([*lines, "Nothing was missing."])
    lines.append(
        f"This run: {report.new_episodes} demonstrations from {attempts} attempts ({failed} failed), "
        f"{report.camera_frames} images in {report.seconds:.1f} s: {report.frames_per_second:.0f} images/s "
        f"({report.startup_seconds:.1f} s until the first attempt ended included)."
    )
    if report.over_cap:
        names = ", ".join(map(str, report.over_cap[:3])) + (", ..." if len(report.over_cap) > 3 else "")
        lines.append(f"Warning: {len(report.over_cap)} demonstrations are larger than max_mb_per_demo: {names}.")
    return "\n".join(lines)
