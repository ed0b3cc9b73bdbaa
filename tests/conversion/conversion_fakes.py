"""A format of small files of our own, and a pool that converts in this process: what the converter's loop is tested with.

The folder of this format holds ``<task>/<number>.txt``; the text is the seed of the episode, or ``damaged``.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

import data_episodes

from vla3d.conversion import convert as conversion
from vla3d.conversion.config import ConvertConfig
from vla3d.data import sources
from vla3d.data.formats.base import ForeignSource, damaged
from vla3d.data.sources import DemoSource, SourceOptions
from vla3d.data.store import EpisodeRef
from vla3d.types import Episode, RgbdFrame

LAYOUT = "small texts"
DAMAGED = "damaged"


def recognise(path: Path) -> bool:
    return any(path.glob("*/*.txt"))


def open_source(path: Path, options: SourceOptions) -> DemoSource:
    return FakeSource(path, options)


class FakeSource(ForeignSource):
    format = "fake"

    def listed(self) -> Mapping[str, Sequence[int]]:
        tasks = sorted(folder for folder in self.path.iterdir() if folder.is_dir())
        return {task.name: sorted(int(file.stem) for file in task.glob("*.txt")) for task in tasks}

    def make_outline(self, ref: EpisodeRef) -> Episode:
        text = (self.path / ref.task / f"{ref.attempt}.txt").read_text()
        if text == DAMAGED:
            raise damaged(ref, self.path / ref.task, f"{ref.attempt}.txt is damaged")
        episode = data_episodes.build(seed=int(text), task=ref.task, sizes=(), num_steps=3, keyframes=(1, 2))
        return episode

    def cameras_of(self, ref: EpisodeRef) -> tuple[str, ...]:
        return ()

    def frames_of(self, ref: EpisodeRef, index: int, cameras: Sequence[str]) -> dict[str, RgbdFrame]:
        return {}

    def size_of(self, ref: EpisodeRef) -> int:
        return 1

    def verify(self, ref: EpisodeRef) -> None:
        self.make_outline(ref)


def write_demos(root: Path, seeds: Mapping[str, Sequence[int | str]]) -> Path:
    """A folder of the fake format: seeds, or ``DAMAGED``, of each task's episodes 0, 1, ..."""
    for task, values in seeds.items():
        (root / task).mkdir(parents=True)
        for number, value in enumerate(values):
            (root / task / f"{number}.txt").write_text(str(value))
    return root


class InProcessPool:
    """Like ``WorkerPool``, in this process; the last job submitted is the first that ends."""

    def __init__(
        self, function: Callable[[Any], Any], num_workers: int, *, initializer: Callable[..., None], initargs: tuple[Any, ...]
    ) -> None:
        self._function, self._number, self._start = function, num_workers, lambda: initializer(*initargs)
        self._jobs: deque[Any] = deque()

    @property
    def free(self) -> int:
        return self._number - len(self._jobs)

    @property
    def running(self) -> int:
        return len(self._jobs)

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._jobs.clear()

    def submit(self, job: Any) -> int:
        self._jobs.append(job)
        return 0

    def next_result(self) -> tuple[int, Any]:
        return 0, self._function(self._jobs.pop())


@contextmanager
def fakes() -> Iterator[None]:
    """Let the converter know the fake format, and work in this process."""
    pool = conversion.WorkerPool
    sources._FORMATS["fake"] = __name__
    conversion.WorkerPool = InProcessPool  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        del sources._FORMATS["fake"]
        conversion.WorkerPool = pool  # type: ignore[misc]


def run(path: Path, out: Path, **options: Any) -> conversion.ConvertReport:
    """Convert with three workers."""
    with fakes():
        return conversion.convert_demos(
            ConvertConfig(path=path, out=out, **{"num_workers": 3, "format": "fake", **options}), progress=False
        )
