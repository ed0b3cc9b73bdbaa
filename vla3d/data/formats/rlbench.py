"""Demonstrations of RLBench, PerAct's fork of it and COLOSSEUM, read where they lie.

A root of tasks or a single task is opened; an episode folder holds PNG images and ``low_dim_obs.pkl``, which is read without
Python's unpickler (``inert_pickle``). Whole demonstrations are there, so keyframes are found by rule.

This was written from the format's published facts and checked against files made in that format, never against a demonstration
that RLBench itself recorded, whose licence forbids passing them on.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from vla3d.data.formats.base import ForeignSource, damaged
from vla3d.data.formats.rlbench_episode import VARIATION_DESCRIPTIONS, EpisodeRefusedError, RLBenchEpisode
from vla3d.data.formats.rlbench_layout import closed_folders, episode_folders, task_folders
from vla3d.data.formats.rlbench_outline import FROM_TASK, outline
from vla3d.data.sources import DemoSource, SourceOptions
from vla3d.data.store import EpisodeRef
from vla3d.types import Episode, RgbdFrame

logger = logging.getLogger(__name__)

LAYOUT = "TASK/all_variations/episodes/episode0 or TASK/variation0/episodes/episode0, or such a TASK alone"

_EPISODES_KEPT = 4


def recognise(path: Path) -> bool:
    """Whether a folder is an RLBench task or holds some."""
    return bool(task_folders(path))


def open_source(path: Path, options: SourceOptions) -> DemoSource:
    """Open a root of tasks or a single task."""
    return RLBenchDemos(path, options)


class RLBenchDemos(ForeignSource):
    """RLBench demonstrations; the folders are listed once, when first asked for."""

    format = "rlbench"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        super().__init__(path, options)
        self._unsaid: set[str] = set()
        self._episodes: OrderedDict[EpisodeRef, RLBenchEpisode] = OrderedDict()

    @cached_property
    def _folders(self) -> dict[str, dict[int, Path]]:
        for folder in closed_folders(self.path):
            logger.warning("%s may not be read; it is left out.", folder)
        return {task: episode_folders(folder) for task, folder in task_folders(self.path).items()}

    def listed(self) -> Mapping[str, Sequence[int]]:
        """See ``ForeignSource``."""
        return {task: tuple(episodes) for task, episodes in self._folders.items()}

    def make_outline(self, ref: EpisodeRef) -> Episode:
        """See ``ForeignSource``."""
        with self._named(ref) as episode:
            made = outline(episode, ref.task, self._options.keyframe_rule)
        if made.metadata["instruction_from"] == FROM_TASK and ref.task not in self._unsaid:
            self._unsaid.add(ref.task)
            logger.warning(
                "Episode %s (%s) has no list of sentences in %s; its instruction is %r, after the task, as is that of others "
                "of the task that have none.",
                ref,
                self._folders[ref.task][ref.attempt],
                VARIATION_DESCRIPTIONS,
                made.instruction,
            )
        return made

    def cameras_of(self, ref: EpisodeRef) -> tuple[str, ...]:
        """See ``ForeignSource``."""
        with self._named(ref) as episode:
            return episode.cameras

    def frames_of(self, ref: EpisodeRef, index: int, cameras: Sequence[str]) -> dict[str, RgbdFrame]:
        """See ``ForeignSource``."""
        with self._named(ref) as episode:
            return {name: episode.frame(index, name) for name in cameras}

    def size_of(self, ref: EpisodeRef) -> int:
        """See ``ForeignSource``."""
        with self._named(ref) as episode:
            return episode.num_bytes

    def verify(self, ref: EpisodeRef) -> None:
        """See ``ForeignSource``."""
        with self._named(ref) as episode:
            outline(episode, ref.task, self._options.keyframe_rule)
            episode.verify()

    @contextmanager
    def _named(self, ref: EpisodeRef) -> Iterator[RLBenchEpisode]:
        """An episode's folder; what is wrong with it is told with the episode's name."""
        if ref not in self._episodes:
            self._episodes[ref] = RLBenchEpisode(self._folders[ref.task][ref.attempt])
            if len(self._episodes) > _EPISODES_KEPT:
                self._episodes.popitem(last=False)
        episode = self._episodes[ref]
        try:
            yield episode
        except EpisodeRefusedError as error:
            raise damaged(ref, episode.folder, str(error)) from error
