"""MP4 of an episode: the camera, the virtual views with the policy's heat, the sentence, the action, the outcome."""

import io
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from jaxtyping import UInt8

from vla3d.evaluation.controls import Sentences
from vla3d.evaluation.layout import Scene, VideoLayout
from vla3d.evaluation.results import EpisodeRecord, write_atomic
from vla3d.policies.base import Decision
from vla3d.types import KeyframeAction, Observation

FRAME_RATE = 10
_DECISION_FRAMES = 6
_END_FRAMES = 18
_CODECS: tuple[tuple[str, dict[str, str]], ...] = (
    ("libx264", {"crf": "24", "preset": "veryfast"}),
    ("libopenh264", {}),
    ("mpeg4", {"qscale": "4"}),
)


class Mp4Writer:
    """Collects frames into an MP4: H.264 where PyAV was built with an encoder for it, else MPEG-4."""

    def __init__(self, width: int, height: int, rate: int = FRAME_RATE) -> None:
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, mode="w", format="mp4")
        name, options = next((name, options) for name, options in _CODECS if name in av.codecs_available)
        self._stream = cast(VideoStream, self._container.add_stream(name, rate=Fraction(rate), options=options))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.thread_count = 1  # one worker, one core
        self.codec = name

    def add(self, frame: UInt8[np.ndarray, "H W 3"], times: int = 1) -> None:
        """Append a frame, shown ``times`` times."""
        for _ in range(times):
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

    def finish(self) -> bytes:
        """End the video and return the file's bytes."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._buffer.getvalue()


class EpisodeVideo:
    """Watches an episode and writes its video, 10 frames a simulated second; it pauses at each decision."""

    every_tick = True

    def __init__(self, path: Path, *, task: str, policy: str, control: str) -> None:
        self._path = path
        self._layout = VideoLayout()
        self._scene = Scene(task=task, policy=policy, control=control)
        self._writer = Mp4Writer(self._layout.width, self._layout.height)

    def began(self, observation: Observation, said: Sentences) -> None:
        """Note the sentences."""
        self._scene.said = said

    def decided(self, observation: Observation, decision: Decision, thought: KeyframeAction | None = None) -> None:
        """Show what the policy looks at, concluded and chose, beside what another one would have chosen, and hold."""
        self._scene.decide(observation, decision, thought)
        self._writer.add(self._layout.draw(self._scene, observation), _DECISION_FRAMES)

    def moved(self, observation: Observation, seconds: float) -> None:
        """One frame of motion."""
        self._scene.seconds = seconds
        self._writer.add(self._layout.draw(self._scene, observation))

    def carried_out(self, observation: Observation, failure: str | None) -> None:
        """Say it when a motion was not carried out."""
        if failure is not None:
            self._scene.trouble = failure
            self._writer.add(self._layout.draw(self._scene, observation), _DECISION_FRAMES)

    def ended(self, observation: Observation, record: EpisodeRecord) -> None:
        """Hold the outcome and write the file."""
        self._scene.outcome = record
        self._writer.add(self._layout.draw(self._scene, observation), _END_FRAMES)
        write_atomic(self._path, self._writer.finish())
