"""What a dataset holds, for people: the dataset part of ``vla3d info``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla3d.data.reader import DemoDataset, EpisodeInfo
from vla3d.data.schema import SCHEMA_VERSION
from vla3d.data.sources import DemoSource, open_demos
from vla3d.errors import CorruptEpisodeError

MEGABYTE = 1e6


@dataclass(frozen=True, kw_only=True)
class TaskSummary:
    """One task of a dataset.

    Attributes:
        task: its name.
        episodes: sound episodes.
        failures: failed attempts by reason, the most frequent first.
        variations: how many different variations the episodes show.
        sentences: how many different instructions.
        steps: recorded steps of all episodes.
        keyframes: recorded keyframes of all episodes.
        camera_frames: images of all cameras in all steps.
        num_bytes: size on disk.
        largest_bytes: size of the largest episode.
    """

    task: str
    episodes: int
    failures: dict[str, int]
    variations: int
    sentences: int
    steps: int
    keyframes: int
    camera_frames: int
    num_bytes: int
    largest_bytes: int


def summarise_task(dataset: DemoSource, task: str, infos: list[EpisodeInfo]) -> TaskSummary:
    """Count what a task's episodes hold."""
    return TaskSummary(
        task=task,
        episodes=len(infos),
        failures=dict(Counter(dataset.failures(task).values()).most_common()),
        variations=len({info.variation for info in infos}),
        sentences=len({info.instruction for info in infos}),
        steps=sum(info.num_steps for info in infos),
        keyframes=sum(len(info.keyframes) for info in infos),
        camera_frames=sum(info.num_steps * len(info.cameras) for info in infos),
        num_bytes=sum(info.num_bytes for info in infos),
        largest_bytes=max((info.num_bytes for info in infos), default=0),
    )


def describe_dataset(path: Path | str, *, verify: bool = True) -> str:
    """Demonstrations in plain text: their format, what made them, what each task holds and says, which episodes are damaged.

    Args:
        path: the folder, in any format that ``open_demos`` knows.
        verify: read every file and compare what checksums it has (of the store, about a second per gigabyte); else look at the
            numbers and at one image of each camera alone.

    Raises:
        SchemaVersionError: it was written under another schema.
        DataError: there is no dataset.
    """
    dataset = open_demos(path)
    damaged: list[CorruptEpisodeError] = []
    infos: dict[str, list[EpisodeInfo]] = {}
    for task in dataset.tasks():
        infos[task] = []
        for ref in dataset.episodes([task]):
            try:
                if verify:
                    dataset.verify(ref)
                infos[task].append(dataset.info(ref))
            except CorruptEpisodeError as error:
                damaged.append(error)
    everything = [info for listed in infos.values() for info in listed]
    lines = [
        f"{dataset.path}: demonstrations, {_made_by(dataset)}",
        f"cameras: {_cameras(dataset, everything)}",
        "",
        *task_table([summarise_task(dataset, task, listed) for task, listed in infos.items()]),
        "",
        *(_said(task, listed) for task, listed in infos.items() if listed),
    ]
    checked = "all checksums match" if isinstance(dataset, DemoDataset) else "every file is whole"
    state = checked if verify else "files not looked at"
    lines += ["", f"{len(damaged)} damaged episodes" if damaged else f"no damaged episodes ({state})"]
    lines += [f"  {error}" for error in damaged]
    return "\n".join(lines)


def _made_by(dataset: DemoSource) -> str:
    """The format, and for our own what was asked for."""
    if not isinstance(dataset, DemoDataset):
        return f"format {dataset.format}"
    request = ", ".join(f"{key}={value}" for key, value in dataset.request.items())
    return f"schema version {SCHEMA_VERSION}\nrequest: {request}"


def _cameras(dataset: DemoSource, infos: Sequence[EpisodeInfo]) -> str:
    """Names and image sizes, as the first episode that can be read has them, and whether others have other cameras."""
    for info in infos:
        try:
            frames = dataset.read_steps(info.ref, [0])[0].observation.frames
        except CorruptEpisodeError:
            continue
        sizes = (f"{name} {frame.rgb.shape[1]}x{frame.rgb.shape[0]}" for name, frame in frames.items())
        others = sum(other.cameras != info.cameras for other in infos)
        return (", ".join(sizes) or "none") + (f" ({others} episodes have others)" if others else "")
    return "none"


_SENTENCES_SHOWN = 3


def _said(task: str, infos: Sequence[EpisodeInfo]) -> str:
    """A task's most frequent instructions."""
    counted = Counter(info.instruction for info in infos).most_common()
    shown = ", ".join(f"“{sentence}”" for sentence, _ in counted[:_SENTENCES_SHOWN])
    rest = len(counted) - _SENTENCES_SHOWN
    return f"{task}: {shown}" + (f" and {rest} more" if rest > 0 else "")


_HEAD = ("task", "episodes", "failed", "variations", "sentences", "steps", "keyframes", "images", "MB", "MB/demo", "largest")


def task_table(summaries: Sequence[TaskSummary]) -> list[str]:
    """One line per task, then why attempts failed."""
    rows: list[Sequence[str]] = [_HEAD]
    for one in summaries:
        failed = sum(one.failures.values())
        counts = (one.episodes, failed, one.variations, one.sentences, one.steps, one.keyframes, one.camera_frames)
        sizes = (one.num_bytes, one.num_bytes / max(1, one.episodes), one.largest_bytes)
        rows.append([one.task, *(str(count) for count in counts), *(f"{size / MEGABYTE:.2f}" for size in sizes)])
    lines = format_table(rows)
    for one in summaries:
        if one.failures:
            lines.append(f"{one.task} failed: " + ", ".join(f"{reason} {count}" for reason, count in one.failures.items()))
    return lines


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text in columns, the first to the left and the others to the right, with a rule under the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
