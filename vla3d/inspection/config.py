"""What `vla3d view` and `vla3d graph` are asked to do, checked before anything is loaded.

Importing this loads no torch and no simulator.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla3d.errors import ConfigError, unknown_name

FORMATS: tuple[str, ...] = ("auto", "rerun", "mp4", "png", "all")
WAYS: tuple[str, ...] = ("auto", "masks", "clusters", "truth")
EPISODE_WORDS: tuple[str, ...] = ("first", "failures", "all")


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Which episodes to show, and how.

    Attributes:
        path: an episode, a dataset, a rollout, or an episode's file in one.
        out: folder of the pictures.
        episode: ``"first"`` of each task, ``"failures"``, ``"all"``, a number (of each task), ``"task/number"``, or a list of
            these; None takes the first of each task, and of a rollout the first failure where there is one.
        checkpoint: a trained policy that thinks along; without it a rollout's own does.
        format: one of ``FORMATS``; ``"auto"`` writes a video, and a Rerun recording where Rerun is installed.
        device: torch device of the policy; ``"auto"`` takes the GPU when there is one.
    """

    path: Path
    out: Path
    episode: str | int | Sequence[str | int] | None = None
    checkpoint: Path | None = None
    format: str = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise unknown_name("format", self.format, FORMATS)

    @property
    def picks(self) -> tuple[str, ...]:
        """The words of ``episode``, one by one."""
        given = self.episode
        if given is None:
            return ()
        listed = (given,) if isinstance(given, str | int) else tuple(given)
        return tuple(str(word) for word in listed)


@dataclass(frozen=True, kw_only=True)
class CamerasConfig:
    """Which camera set to look at.

    Attributes:
        path: a folder with ``cameras.json``, a dataset, or an episode of one.
        out: folder of the pictures.
        threshold_mm: two cameras whose median depth difference is above this disagree.
        instants: of an episode, at most so many, evenly spaced.
        seed: of the random draws that find the table's plane.
    """

    path: Path
    out: Path
    threshold_mm: float = 5.0
    instants: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold_mm) and self.threshold_mm > 0):
            raise ConfigError(f"threshold_mm: got {self.threshold_mm}, expected millimetres, more than 0.")
        for name, least in (("instants", 1), ("seed", 0)):
            if isinstance(getattr(self, name), bool) or getattr(self, name) < least:
                raise ConfigError(f"{name}: got {getattr(self, name)!r}, expected a whole number of at least {least}.")


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """Which scene to make a graph of, and how.

    Attributes:
        input: a task of the simulator, a dataset or an episode of one, a folder with ``cameras.json``, or a graph's file.
        out: folder of the results.
        seed: of the simulator's scene.
        step: of an episode, the recorded step; of a task, how many actions of the scripted expert come first.
        way: one of ``WAYS``: from instance masks, from clusters of points, or from what the simulator knows; ``"auto"`` takes
            masks where there are any.
        viewpoint: ``"robot"``, or the camera from which left and right are told.
        image_size: height and width of the simulator's images.
        keep_points: points of its surface that each node keeps in the file.
    """

    input: str
    out: Path
    seed: int = 0
    step: int = 0
    way: str = "auto"
    viewpoint: str = "robot"
    image_size: int = 256
    keep_points: int = 0

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise unknown_name("way", self.way, WAYS)
        for name, least in (("seed", 0), ("step", 0), ("image_size", 1), ("keep_points", 0)):
            if isinstance(getattr(self, name), bool) or getattr(self, name) < least:
                raise ConfigError(f"{name}: got {getattr(self, name)!r}, expected a whole number of at least {least}.")
