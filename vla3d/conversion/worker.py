"""What one process of the converter does: read a demonstration, and write it down beside the dataset."""

from dataclasses import dataclass
from pathlib import Path

from vla3d.conversion.config import ConvertConfig
from vla3d.data.sources import DemoSource, open_demos
from vla3d.data.store import EpisodeRef
from vla3d.data.writer import staged_path, write_episode
from vla3d.errors import CorruptEpisodeError, DataError


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What became of a demonstration.

    Attributes:
        ref: its task and number.
        damage: why it was left out, or None.
        staged: where it was written, if it was.
        camera_frames: images converted.
    """

    ref: EpisodeRef
    damage: str | None
    staged: Path | None
    camera_frames: int


class ConvertWorker:
    """Keeps the source of one process open between demonstrations."""

    def __init__(self, config: ConvertConfig, format: str, staging: Path) -> None:
        self._config = config
        self._staging = staging
        self._source: DemoSource = open_demos(
            config.path, keyframe_rule=config.keyframe_rule, image_stride=config.image_stride, format=format
        )

    def convert(self, ref: EpisodeRef) -> Conversion:
        """Convert one demonstration.

        Raises:
            CorruptEpisodeError: it is damaged, and the conversion is strict.
            DataError: the disk is full.
            ConfigError: it has no such camera.
        """
        try:
            episode = self._source.read(ref, cameras=self._config.cameras or None)
            staged = staged_path(self._staging, ref)
            write_episode(episode, staged)
        except DataError as error:
            if isinstance(error.__cause__, OSError) and not isinstance(error, CorruptEpisodeError):
                raise  # the disk's fault, not the demonstration's
            if self._config.strict:
                raise
            reason = error.reason if isinstance(error, CorruptEpisodeError) else str(error)
            return Conversion(ref=ref, damage=reason, staged=None, camera_frames=0)
        frames = sum(len(step.observation.frames) for step in episode.steps)
        return Conversion(ref=ref, damage=None, staged=staged, camera_frames=frames)


_worker: ConvertWorker | None = None


def start(config: ConvertConfig, format: str, staging: Path) -> None:
    """Make this process's worker; called once when the process starts."""
    global _worker
    _worker = ConvertWorker(config, format, staging)


def convert(ref: EpisodeRef) -> Conversion:
    """Convert a demonstration in this process's worker."""
    assert _worker is not None, "start() was not called"
    return _worker.convert(ref)
