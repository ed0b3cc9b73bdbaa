"""Where demonstrations come from: one protocol for the store and for other formats, and the door that tells them apart."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from vla3d.data.reader import EpisodeInfo
from vla3d.data.store import EpisodeRef
from vla3d.errors import ConfigError, CorruptEpisodeError, DataError, unknown_name
from vla3d.types import Episode, Step

_FORMATS: dict[str, str] = {
    "vla3d": "vla3d.data.formats.vla3d_store",
    "rlbench": "vla3d.data.formats.rlbench",
    "gembench": "vla3d.data.formats.gembench",
    "bridgevla-real": "vla3d.data.formats.bridgevla_real",
}
"""Format name to the module that reads it, a ``FormatModule``. The first that recognises a folder opens it."""


class DemoSource(Protocol):
    """Demonstrations to learn from and to be judged on, read only."""

    @property
    def path(self) -> Path:
        """The folder they lie in."""
        ...

    @property
    def format(self) -> str:
        """Name of the format, a key of ``format_names``."""
        ...

    @property
    def request(self) -> Mapping[str, Any]:
        """What decides the contents of every episode, JSON; a run remembers it to know its demonstrations again."""
        ...

    @property
    def skipped(self) -> Mapping[EpisodeRef, CorruptEpisodeError]:
        """Damaged episodes that ``on_corrupt="skip"`` left out, and what is wrong with each."""
        ...

    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, sorted."""
        ...

    def episodes(self, tasks: Sequence[str] | None = None) -> list[EpisodeRef]:
        """The episodes, by task as given (default: all, sorted) and by number.

        Raises:
            ConfigError: there is no such task.
        """
        ...

    def failures(self, task: str) -> Mapping[int, str]:
        """Attempts at a task that were not kept, and why; empty where the format does not tell."""
        ...

    def info(self, ref: EpisodeRef) -> EpisodeInfo:
        """What is known of an episode without reading its images.

        Raises:
            CorruptEpisodeError: it is damaged.
            DataError: there is no such episode.
        """
        ...

    def read(self, ref: EpisodeRef, *, cameras: Sequence[str] | None = None) -> Episode:
        """An episode.

        Args:
            ref: which one.
            cameras: read these alone; ``()`` reads no images.

        Raises:
            CorruptEpisodeError: naming the episode and what of it is damaged.
            ConfigError: the episode has no such camera.
        """
        ...

    def read_steps(self, ref: EpisodeRef, indices: Sequence[int], *, cameras: Sequence[str] | None = None) -> list[Step]:
        """Some steps of an episode, in the order asked for; only their images are read.

        Raises:
            CorruptEpisodeError: naming the episode and what of it is damaged.
            DataError: an index lies outside the episode.
            ConfigError: the episode has no such camera.
        """
        ...

    def verify(self, ref: EpisodeRef) -> None:
        """Read every file of an episode as far as it takes to know that it is whole.

        Raises:
            CorruptEpisodeError: naming the episode and what of it is damaged.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How demonstrations are read.

    Attributes:
        on_corrupt: ``"raise"`` meets a damaged episode when it is read; ``"skip"`` verifies the episodes when they are listed
            and leaves the damaged ones out, see ``DemoSource.skipped``.
        keyframe_rule: which steps are keyframes (bear ``Step.action``) where the format does not store them: ``"recorded"`` is
            the rule that the format's own programs use, ``"vla3d"`` and ``"peract"`` are those of ``vla3d.data.keyframes``.
        image_stride: take every n-th row and column of the images of other formats; no pixel is mixed with another.
    """

    on_corrupt: str = "raise"
    keyframe_rule: str = "recorded"
    image_stride: int = 1

    def __post_init__(self) -> None:
        if self.on_corrupt not in ("raise", "skip"):
            raise unknown_name("on_corrupt", self.on_corrupt, ("raise", "skip"))
        if self.keyframe_rule not in ("recorded", "vla3d", "peract"):
            raise unknown_name("keyframe rule", self.keyframe_rule, ("recorded", "vla3d", "peract"))
        if self.image_stride < 1:
            raise ConfigError(f"image_stride: got {self.image_stride}, expected 1 (every pixel) or more.")


class FormatModule(Protocol):
    """What a module of ``vla3d.data.formats`` offers; importing it must not need an optional dependency."""

    LAYOUT: str
    """What such a folder looks like, one clause for messages."""

    def recognise(self, path: Path) -> bool:
        """Whether a folder is of this format, by its names alone. Also true of a damaged one, which ``open_source`` names."""
        ...

    def open_source(self, path: Path, options: SourceOptions) -> DemoSource:
        """Open a folder that was recognised.

        Raises:
            DataError: it is damaged as a whole.
        """
        ...


def format_names() -> tuple[str, ...]:
    """Names of the formats that can be read."""
    return tuple(_FORMATS)


def recognised_format(path: Path) -> str | None:
    """Name of the format a folder is in; None for a folder of something else, or none at all."""
    if not path.is_dir():
        return None
    return next((name for name in _FORMATS if _module(name).recognise(path)), None)


def open_demos(
    path: Path | str,
    *,
    on_corrupt: str = "raise",
    keyframe_rule: str = "recorded",
    image_stride: int = 1,
    format: str | None = None,
) -> DemoSource:
    """Open a folder of demonstrations in whatever format they lie there.

    Args:
        path: the folder.
        on_corrupt: see ``SourceOptions``.
        keyframe_rule: see ``SourceOptions``.
        image_stride: see ``SourceOptions``.
        format: one of ``format_names``; None recognises it.

    Raises:
        DataError: there are no demonstrations here, or the folder as a whole is damaged.
        ConfigError: an unknown format, rule or way to treat damage.
    """
    path = Path(path)
    options = SourceOptions(on_corrupt=on_corrupt, keyframe_rule=keyframe_rule, image_stride=image_stride)
    if format is not None and format not in _FORMATS:
        raise unknown_name("demonstration format", format, _FORMATS)
    name = recognised_format(path) if format is None else format
    if format is not None and not (path.is_dir() and _module(format).recognise(path)):
        raise DataError(f"{path} is no dataset of the format {format}; give a folder of {_module(format).LAYOUT}.")
    if name is None:
        what = "it is empty" if path.is_dir() and not any(path.iterdir()) else "its layout is none of those known"
        found = what if path.is_dir() else "it is a file" if path.exists() else "it does not exist"
        layouts = "; ".join(f"{known}: {_module(known).LAYOUT}" for known in _FORMATS)
        raise DataError(f"{path} is no dataset: {found}. Give a folder of demonstrations ({layouts}).")
    return _module(name).open_source(path, options)


def _module(name: str) -> FormatModule:
    return cast(FormatModule, importlib.import_module(_FORMATS[name]))
