"""What readers of other programs' demonstrations have in common.

Such a reader tells four things of an episode: its numbers (an ``Episode`` without images), its cameras, the images of one step,
and whether its files are whole. The rest of ``DemoSource`` follows from these.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla3d.data.reader import EpisodeInfo
from vla3d.data.soundness import Soundness
from vla3d.data.sources import SourceOptions
from vla3d.data.store import EpisodeRef
from vla3d.errors import CorruptEpisodeError, DataError, unknown_name
from vla3d.types import Episode, RgbdFrame, Step

_OUTLINES_KEPT = 4
"""Outlines in memory: describing an episode, choosing its instants and reading them come one after the other."""


def damaged(ref: EpisodeRef, path: Path, reason: str) -> CorruptEpisodeError:
    """The error for an episode that cannot be used.

    Args:
        ref: names the episode.
        path: its folder or file.
        reason: one clause that names the file at fault.
    """
    return CorruptEpisodeError(
        f"Episode {ref} ({path}): {reason}. Mend it or take it away, or leave damaged episodes out with on_corrupt=skip "
        "(vla3d train: demos.on_corrupt=skip; vla3d convert: strict=false).",
        reason,
    )


class ForeignSource(ABC):
    """A ``DemoSource`` over another program's files.

    Args:
        path: the folder.
        options: how it is read.
    """

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self.path = path
        self._sound = Soundness(self.verify)
        self.skipped = self._sound.skipped
        self._options = options
        self._outlines: OrderedDict[EpisodeRef, Episode] = OrderedDict()
        self._infos: dict[EpisodeRef, EpisodeInfo] = {}

    @property
    @abstractmethod
    def format(self) -> str:
        """Name of the format."""

    @property
    def request(self) -> Mapping[str, Any]:
        """What is remembered with a run: the format alone, since nobody wrote down how the episodes were made."""
        return {"format": self.format}

    @abstractmethod
    def listed(self) -> Mapping[str, Sequence[int]]:
        """Numbers of the episodes of each task, both sorted, damaged ones among them."""

    @abstractmethod
    def make_outline(self, ref: EpisodeRef) -> Episode:
        """An episode without images: ``Observation.frames`` is empty.

        Raises:
            CorruptEpisodeError: its numbers are damaged; see ``damaged``.
        """

    @abstractmethod
    def cameras_of(self, ref: EpisodeRef) -> tuple[str, ...]:
        """Names of the cameras of an episode."""

    @abstractmethod
    def frames_of(self, ref: EpisodeRef, index: int, cameras: Sequence[str]) -> dict[str, RgbdFrame]:
        """The images of some cameras at one step.

        Args:
            ref: the episode.
            index: the step; it exists.
            cameras: they exist, and stand in the order of ``cameras_of``.

        Raises:
            CorruptEpisodeError: a damaged image.
        """

    @abstractmethod
    def size_of(self, ref: EpisodeRef) -> int:
        """Bytes that an episode takes on disk."""

    @abstractmethod
    def verify(self, ref: EpisodeRef) -> None:
        """Read every file as far as it takes to know that it is whole; see ``DemoSource``."""

    def tasks(self) -> tuple[str, ...]:
        """See ``DemoSource``."""
        return tuple(self.listed())

    def episodes(self, tasks: Sequence[str] | None = None) -> list[EpisodeRef]:
        """See ``DemoSource``."""
        listed = self.listed()
        refs = []
        for task in listed if tasks is None else tasks:
            if task not in listed:
                raise unknown_name(f"task in {self.path}", task, listed)
            refs += [EpisodeRef(task, number) for number in listed[task]]
        return [ref for ref in refs if self._options.on_corrupt == "raise" or ref in self._sound]

    def failures(self, task: str) -> Mapping[int, str]:
        """See ``DemoSource``: other formats keep no failed attempts."""
        return {}

    def info(self, ref: EpisodeRef) -> EpisodeInfo:
        """See ``DemoSource``."""
        if ref not in self._infos:
            outline = self._outline(ref)
            self._infos[ref] = EpisodeInfo(
                ref=ref,
                variation=outline.variation,
                instruction=outline.instruction,
                paraphrases=outline.paraphrases,
                seed=outline.seed,
                success=outline.success,
                cameras=self.cameras_of(ref),
                num_steps=len(outline.steps),
                keyframes=outline.keyframe_indices,
                num_bytes=self.size_of(ref),
                alternatives=outline.alternatives,
                metadata=outline.metadata,
            )
        return self._infos[ref]

    def read(self, ref: EpisodeRef, *, cameras: Sequence[str] | None = None) -> Episode:
        """See ``DemoSource``."""
        outline = self._outline(ref)
        return replace(outline, steps=self.read_steps(ref, range(len(outline.steps)), cameras=cameras))

    def read_steps(self, ref: EpisodeRef, indices: Sequence[int], *, cameras: Sequence[str] | None = None) -> list[Step]:
        """See ``DemoSource``."""
        steps = self._outline(ref).steps
        outside = [index for index in indices if not 0 <= index < len(steps)]
        if outside:
            raise DataError(f"Episode {ref}: got step {outside[0]}, expected 0 to {len(steps) - 1}.")
        selected = self._selected(ref, cameras)
        wanted = {}
        for index in dict.fromkeys(indices):
            frames = self.frames_of(ref, index, selected)
            wanted[index] = _with_frames(
                steps[index], {name: every_nth_pixel(frame, self._options.image_stride) for name, frame in frames.items()}
            )
        return [wanted[index] for index in indices]

    def _selected(self, ref: EpisodeRef, cameras: Sequence[str] | None) -> tuple[str, ...]:
        if cameras is not None and not cameras:
            return ()
        present = self.cameras_of(ref)
        for name in cameras or ():
            if name not in present:
                raise unknown_name(f"camera of episode {ref}", name, present)
        return tuple(name for name in present if cameras is None or name in cameras)

    def _outline(self, ref: EpisodeRef) -> Episode:
        if ref not in self._outlines:
            if ref.attempt not in self.listed().get(ref.task, ()):
                raise DataError(f"{self.path} has no episode {ref}; its episodes() lists those it has.")
            self._outlines[ref] = self.make_outline(ref)
            if len(self._outlines) > _OUTLINES_KEPT:
                self._outlines.popitem(last=False)
        return self._outlines[ref]


def every_nth_pixel(frame: RgbdFrame, stride: int) -> RgbdFrame:
    """A smaller image made of every n-th row and column, whose points are among those of the large one.

    Pixel ``(i, j)`` of the result is pixel ``(n i, n j)`` of the frame: its centre ``n j + 0.5`` becomes ``j + 0.5``.
    """
    if stride == 1:
        return frame
    intrinsics = frame.intrinsics.copy()
    intrinsics[:2] /= stride
    intrinsics[:2, 2] += 0.5 - 0.5 / stride
    segmentation = frame.segmentation
    return replace(
        frame,
        rgb=frame.rgb[::stride, ::stride],
        depth=frame.depth[::stride, ::stride],
        intrinsics=intrinsics,
        segmentation=None if segmentation is None else segmentation[::stride, ::stride],
    )


def _with_frames(step: Step, frames: dict[str, RgbdFrame]) -> Step:
    return replace(step, observation=replace(step.observation, frames=frames))
