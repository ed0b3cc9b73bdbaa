"""Converting demonstrations: every one by itself, in parallel, so that kills and continuations end at the same bytes.

An episode keeps its task and number. The dataset holds those that could be read; ``conversion.json`` tells of the others, which
are tried again whenever the conversion is run again.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vla3d.conversion import worker
from vla3d.conversion.config import ConvertConfig
from vla3d.conversion.record import RECORD_FILE, read_skipped, write_record
from vla3d.conversion.worker import Conversion
from vla3d.data.formats.base import ForeignSource
from vla3d.data.reader import DemoDataset
from vla3d.data.schema import table_from_steps
from vla3d.data.sources import open_demos
from vla3d.data.store import METADATA, EpisodeRef, read_dataset
from vla3d.data.summary import TaskSummary, summarise_task, task_table
from vla3d.data.writer import DatasetWriter
from vla3d.errors import ConfigError, DataError, unknown_name
from vla3d.evaluation.workers import WorkerPool, available_cores
from vla3d.types import Episode

_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class ConvertReport:
    """What a conversion did, and what the dataset then holds.

    Attributes:
        out: the dataset.
        format: of the demonstrations.
        tasks: everything stored of the tasks asked for.
        new_episodes: demonstrations converted by this run.
        skipped: demonstrations asked for that are not in the dataset, and why.
        camera_frames: images converted by this run.
        seconds: from start to end, processes included.
    """

    out: Path
    format: str
    tasks: tuple[TaskSummary, ...]
    new_episodes: int
    skipped: Mapping[EpisodeRef, str]
    camera_frames: int
    seconds: float

    @property
    def frames_per_second(self) -> float:
        """Converted camera frames per second, everything included."""
        return self.camera_frames / self.seconds if self.seconds else 0.0


def convert_demos(config: ConvertConfig, *, progress: bool = True) -> ConvertReport:
    """Convert what the dataset still lacks.

    Interrupted in any way it can be run again: what is stored stays, and the end is the same.

    Args:
        config: the request.
        progress: show a progress bar.

    Raises:
        ConfigError: an unknown task or camera, or the dataset was made of other demonstrations or with other options.
        CorruptEpisodeError: a demonstration is damaged, and the conversion is strict.
        DataError: there is nothing to convert, or the disk is full.
        DatasetLockedError: another process writes to the dataset.
        WorkerError: a worker process died.
    """
    began = time.perf_counter()
    source = _open(config)
    wanted, damaged = _wanted(source, config)
    _refuse_other_datasets(config.out)
    with DatasetWriter(config.out, config.request(source.format)) as writer:
        run = _Run(config, source, writer, wanted, damaged)
        processes = min(config.num_workers or available_cores(), len(run.todo))
        if processes:
            initargs = (config, source.format, writer.staging)
            with WorkerPool(worker.convert, processes, initializer=worker.start, initargs=initargs) as pool:
                run.to_the_end(pool, progress)
        run.write_record()
        return run.report(began)


def _open(config: ConvertConfig) -> ForeignSource:
    source = open_demos(
        config.path,
        on_corrupt="raise" if config.strict else "skip",
        keyframe_rule=config.keyframe_rule,
        image_stride=config.image_stride,
        format=config.format,
    )
    if not isinstance(source, ForeignSource):
        raise ConfigError(f"{config.path} is a dataset of vla3d already; train on it as it is, or copy the folder.")
    return source


def _wanted(source: ForeignSource, config: ConvertConfig) -> tuple[list[EpisodeRef], dict[EpisodeRef, str]]:
    """The demonstrations asked for, and those of which only damage is left."""
    listed = source.listed()
    for task in config.tasks:
        if task not in listed:
            raise unknown_name(f"task in {config.path}", task, listed)
    tasks = [task for task in listed if not config.tasks or task in config.tasks]
    wanted = [EpisodeRef(task, number) for task in tasks for number in listed[task][: config.episodes]]
    damaged = {ref: error.reason for ref, error in source.skipped.items() if not config.tasks or ref.task in config.tasks}
    if not wanted and not damaged:
        raise DataError(f"{config.path} holds no demonstrations ({source.format}); give a folder that does.")
    return wanted, damaged


def _refuse_other_datasets(out: Path) -> None:
    """Refuse a dataset that no conversion made.

    Raises:
        ConfigError: naming it.
    """
    if (out / METADATA).exists() and "converter" not in read_dataset(out)["request"]:
        raise ConfigError(f"out: {out} was not made by vla3d convert; choose a new or empty folder.")


class _Run:
    """The loop of a conversion, and what it counts."""

    def __init__(
        self,
        config: ConvertConfig,
        source: ForeignSource,
        writer: DatasetWriter,
        wanted: list[EpisodeRef],
        damaged: dict[EpisodeRef, str],
    ) -> None:
        self._config, self._source, self._writer, self._wanted = config, source, writer, wanted
        stored = _stored(writer)
        _check_same_source(source, DemoDataset(config.out), stored)
        self.todo = [ref for ref in wanted if ref not in stored]
        """Demonstrations that the dataset lacks."""
        self._done = len(wanted) - len(self.todo)
        self._new = self._camera_frames = 0
        listed = {EpisodeRef(task, number) for task, numbers in source.listed().items() for number in numbers}
        before = read_skipped(config.out)
        self._skipped = {ref: reason for ref, reason in before.items() if ref in listed - stored} | damaged

    def to_the_end(self, pool: WorkerPool[EpisodeRef, Conversion], progress: bool) -> None:
        """Keep every worker busy until nothing is left to do."""
        waiting = iter(self.todo)
        bar = tqdm(
            total=len(self._wanted), initial=self._done, desc="convert", unit="demo", dynamic_ncols=True, disable=not progress
        )
        with bar:
            began = time.perf_counter()
            while True:
                while pool.free and (ref := next(waiting, None)) is not None:
                    pool.submit(ref)
                if not pool.running:
                    return
                self._keep(pool.next_result()[1])
                rate = self._camera_frames / max(1e-9, time.perf_counter() - began)
                bar.set_postfix_str(f"{rate:.0f} images/s, {len(self._skipped)} left out", refresh=False)
                bar.update()

    def _keep(self, conversion: Conversion) -> None:
        if conversion.staged is None:
            self._skipped[conversion.ref] = conversion.damage or "damaged"
            return
        self._writer.commit(conversion.ref, conversion.staged)
        self._skipped.pop(conversion.ref, None)
        self._new += 1
        self._camera_frames += conversion.camera_frames

    def write_record(self) -> None:
        """Write ``conversion.json``."""
        write_record(self._config.out, self._config.request(self._source.format), self._skipped)

    def report(self, began: float) -> ConvertReport:
        """What was done since ``began``, and what is stored."""
        dataset = DemoDataset(self._config.out)
        asked = {ref.task for ref in self._wanted}
        tasks = [task for task in dataset.tasks() if task in asked]
        return ConvertReport(
            out=self._config.out,
            format=self._source.format,
            tasks=tuple(
                summarise_task(dataset, task, [dataset.info(ref) for ref in dataset.episodes([task])]) for task in tasks
            ),
            new_episodes=self._new,
            skipped={ref: reason for ref, reason in sorted(self._skipped.items())},
            camera_frames=self._camera_frames,
            seconds=time.perf_counter() - began,
        )


def _stored(writer: DatasetWriter) -> set[EpisodeRef]:
    """Episodes that the dataset holds; those that are cut short are taken out."""
    tasks = [entry.name for entry in writer.path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    return {EpisodeRef(task, attempt) for task in tasks for attempt in writer.attempts(task)}


def _check_same_source(source: ForeignSource, dataset: DemoDataset, stored: set[EpisodeRef]) -> None:
    """Refuse to mix demonstrations: every stored one must be the source's, and the first of each task hold the same numbers.

    Raises:
        ConfigError: naming one that differs.
    """
    listed = source.listed()
    seen: set[str] = set()
    for ref in sorted(stored):
        same = ref.attempt in listed.get(ref.task, ())
        if same and ref.task not in seen:
            seen.add(ref.task)
            same = _same_numbers(source.read(ref, cameras=()), dataset.read(ref, cameras=()))
        if not same:
            raise ConfigError(
                f"out: {dataset.path} was made of other demonstrations than {source.path} (they differ in {ref}); "
                "choose another out=DIR."
            )


def _same_numbers(first: Episode, second: Episode) -> bool:
    """Whether two episodes hold the same steps and sentences, images aside."""
    if (first.variation, first.instruction, first.paraphrases) != (second.variation, second.instruction, second.paraphrases):
        return False
    return np.array_equal(table_from_steps(first.steps)[0], table_from_steps(second.steps)[0], equal_nan=True)


def closing_table(report: ConvertReport) -> str:
    """A conversion in plain text: what is stored, how fast it went, and what was left out and why."""
    lines = [f"{report.out}: demonstrations of the format {report.format}", "", *task_table(report.tasks), ""]
    if report.new_episodes:
        lines.append(
            f"This run: {report.new_episodes} demonstrations, {report.camera_frames} images in {report.seconds:.1f} s: "
            f"{report.frames_per_second:.0f} images/s."
        )
    else:
        lines.append("This run: nothing new.")
    if report.skipped:
        lines.append(f"{len(report.skipped)} damaged demonstrations were left out (all of them in {report.out / RECORD_FILE}):")
        lines += [f"  {ref}: {reason}" for ref, reason in list(report.skipped.items())[:_SHOWN]]
    else:
        lines.append("No demonstration was left out.")
    return "\n".join(lines)
