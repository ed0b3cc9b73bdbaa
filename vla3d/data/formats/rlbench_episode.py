"""One RLBench episode folder: its files found, counted and read."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from vla3d.data.formats.inert_pickle import read_inert_pickle
from vla3d.data.formats.inert_values import PickleRefusedError
from vla3d.data.formats.png import ImageRefusedError, check_png, png_size, read_rgb_png
from vla3d.data.formats.rlbench_images import depth_from_rgb, handles_from_rgb, segmentation_from_handles
from vla3d.data.formats.rlbench_recording import RECORDS, CameraTrack, Recording, RecordingRefusedError, recording_from_demo
from vla3d.types import RgbdFrame

LOW_DIM = "low_dim_obs.pkl"
VARIATION_NUMBER = "variation_number.pkl"
VARIATION_DESCRIPTIONS = "variation_descriptions.pkl"
CAMERAS = ("front", "left_shoulder", "right_shoulder", "wrist", "overhead")
"""RLBench's cameras, in our order; others follow by name."""


class EpisodeRefusedError(ValueError):
    """An episode cannot be used; the message is one clause that names the file at fault."""


class RLBenchEpisode:
    """An episode's folder, read lazily. Every member raises ``EpisodeRefusedError`` for damage.

    Args:
        folder: with the file ``low_dim_obs.pkl`` and the images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tracks: dict[str, CameraTrack] = {}

    @cached_property
    def recording(self) -> Recording:
        """What ``low_dim_obs.pkl`` holds."""
        demo = self.pickled(self.folder / LOW_DIM)
        try:
            return recording_from_demo(demo)
        except RecordingRefusedError as error:
            raise EpisodeRefusedError(f"{LOW_DIM}: {error}") from error

    @cached_property
    def num_frames(self) -> int:
        """Recorded instants."""
        return len(self.recording.gripper_open)

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that have images; checks that no image of theirs is missing."""
        try:
            return self._cameras()
        except OSError as error:
            raise EpisodeRefusedError(f"{Path(error.filename).name} cannot be read ({error.strerror})") from error

    def _cameras(self) -> tuple[str, ...]:
        kinds: dict[str, set[str]] = {}
        for entry in self.folder.iterdir():
            name, _, kind = entry.name.rpartition("_")
            if name and kind in ("rgb", "depth", "mask") and entry.is_dir():
                kinds.setdefault(name, set()).add(kind)
        for name, found in sorted(kinds.items()):
            for kind in ("rgb", "depth"):
                if kind not in found:
                    raise EpisodeRefusedError(f"the folder {name}_{kind} is missing beside {name}_{min(found)}")
            for kind in sorted(found):
                self._check_names(f"{name}_{kind}")
        ranks = {name: rank for rank, name in enumerate(CAMERAS)}
        return tuple(sorted(kinds, key=lambda name: (ranks.get(name, len(ranks)), name)))

    def _check_names(self, folder: str) -> None:
        found = {entry.name for entry in (self.folder / folder).iterdir() if entry.suffix == ".png"}
        if len(found) != self.num_frames:
            raise EpisodeRefusedError(f"{folder} has {len(found)} images, but {LOW_DIM} has {self.num_frames} frames")
        for index in range(self.num_frames):
            if f"{index}.png" not in found:
                raise EpisodeRefusedError(f"{folder}/{index}.png is missing")

    @cached_property
    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Rows and columns of each camera's images, as its first one has them."""
        return {name: self._guarded(f"{name}_rgb/0.png", png_size) for name in self.cameras}

    @cached_property
    def num_bytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def track(self, camera: str) -> CameraTrack:
        """A camera's calibration over the episode."""
        if camera not in self._tracks:
            try:
                self._tracks[camera] = self.recording.camera(camera)
            except RecordingRefusedError as error:
                raise EpisodeRefusedError(f"{LOW_DIM}: {error}") from error
        return self._tracks[camera]

    def frame(self, index: int, camera: str) -> RgbdFrame:
        """One camera's images at one instant."""
        size, track = self.sizes[camera], self.track(camera)

        def pixels(kind: str) -> np.ndarray:
            return self._guarded(f"{camera}_{kind}/{index}.png", partial(read_rgb_png, size=size))

        segmentation = None
        if self._has_masks(camera):
            segmentation = segmentation_from_handles(handles_from_rgb(pixels("mask")))
        return RgbdFrame(
            rgb=pixels("rgb"),
            depth=depth_from_rgb(pixels("depth"), float(track.near[index]), float(track.far[index])),
            intrinsics=track.intrinsics[index],
            T_world_camera=track.T_world_camera[index],
            segmentation=segmentation,
        )

    def _has_masks(self, camera: str) -> bool:
        return (self.folder / f"{camera}_mask").is_dir()

    def verify(self) -> None:
        """Check the numbers, the calibration and every chunk of every image."""
        for camera in self.cameras:
            self.track(camera)
            size = self.sizes[camera]
            for kind in ("rgb", "depth", *(["mask"] if self._has_masks(camera) else [])):
                for index in range(self.num_frames):
                    self._guarded(f"{camera}_{kind}/{index}.png", partial(check_png, size=size))

    def pickled(self, path: Path) -> Any:
        """What a pickle file of the episode or its variation holds."""
        try:
            return read_inert_pickle(path, RECORDS)
        except FileNotFoundError:
            raise EpisodeRefusedError(f"{path.name} is missing") from None
        except OSError as error:
            raise EpisodeRefusedError(f"{path.name} cannot be read ({error.strerror or error})") from error
        except PickleRefusedError as error:
            raise EpisodeRefusedError(f"{path.name}: {error}") from error

    def _guarded(self, name: str, read: Callable[[Path], Any]) -> Any:
        try:
            return read(self.folder / name)
        except OSError as error:
            raise EpisodeRefusedError(f"{name} cannot be read ({error.strerror or error})") from error
        except ImageRefusedError as error:
            raise EpisodeRefusedError(f"{name}: {error}") from error
