"""The strip of key frames that every episode leaves behind: one small camera image per decision, and the last one."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from vla3d.evaluation.controls import Sentences
from vla3d.evaluation.results import EpisodeRecord, write_atomic
from vla3d.policies.base import Decision
from vla3d.types import Observation

_TILE = 128
_MOST_TILES = 10
_GAP = 2


def main_camera(observation: Observation) -> str:
    """The camera to show large: the front one, else the first."""
    return "front" if "front" in observation.frames else next(iter(observation.frames))


class KeyframeStrip:
    """Watches an episode and writes its key frames as one JPEG of a few kilobytes."""

    every_tick = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: list[np.ndarray] = []

    def began(self, observation: Observation, said: Sentences) -> None:
        """Start a new strip."""
        self._frames = []

    def decided(self, observation: Observation, decision: Decision) -> None:
        """Keep what was seen at a decision."""
        self._frames.append(observation.frames[main_camera(observation)].rgb)

    def moved(self, observation: Observation, seconds: float) -> None:
        """Nothing is kept between decisions."""

    def carried_out(self, observation: Observation, failure: str | None) -> None:
        """Nothing is kept here: the next decision sees the same."""

    def ended(self, observation: Observation, record: EpisodeRecord) -> None:
        """Keep the last image and write the strip."""
        self._frames.append(observation.frames[main_camera(observation)].rgb)
        buffer = io.BytesIO()
        join_frames(self._frames).save(buffer, format="JPEG", quality=82, optimize=True)
        write_atomic(self._path, buffer.getvalue())


def join_frames(frames: list[np.ndarray]) -> Image.Image:
    """Images side by side on white; of a long episode the first, the last, and evenly spaced ones between."""
    kept = sorted({round(i) for i in np.linspace(0, len(frames) - 1, min(len(frames), _MOST_TILES))})
    strip = Image.new("RGB", (len(kept) * (_TILE + _GAP) - _GAP, _TILE), "white")
    for place, index in enumerate(kept):
        tile = Image.fromarray(np.ascontiguousarray(frames[index])).resize((_TILE, _TILE), Image.Resampling.BICUBIC)
        strip.paste(tile, (place * (_TILE + _GAP), 0))
    return strip
