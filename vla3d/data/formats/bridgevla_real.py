"""Real-robot demonstrations in the layout of BridgeVLA's own recordings, read in place.

Layout (the path is the root, or one task group)::

    <root>/<task_group>/<episode>/pose.pkl              a head, then one line for each image (text, mostly pickled):
                                                        timestamp x_mm y_mm z_mm rx ry rz claw [arm]
                                  instruction.pkl       the sentence
                                  extrinsic_matrix.pkl  4x4, camera to the robot's base
                                  intrinsic.pkl         fx, fy, cx, cy (lists), depth_scale
                                  zed_rgb/<i>.jpg       colours
                                  zed_depth/<i>.png     16-bit depth in 1 / depth_scale metres

The pickles are read by ``inert_pickle``, which calls nothing. Every image is a decision point: from image i the next keyframe
is the pose of line i + 1. ``keyframe_rule`` must be ``"recorded"``.

What the layout leaves open, and what is done here:

- **Angles** are degrees about the fixed axes x, y, z in this order (extrinsic ``xyz``), as the programs that write and read
  these files have them. The world is the robot's base frame.
- **Claw**: 0 is open and 1 is closed, the gripper's own register; a line without it is refused. The fingers' distance was
  not recorded; it is 0.08 m or 0 by the claw.
- **Colours** are those of the JPEG file. BridgeVLA's own loader hands them to its model as blue, green, red: a model that it
  trained expects them swapped.
- **Pixels**: ``cx`` and ``cy`` count pixel centres from 0, so half a pixel is added to them.
- **Collisions** are ignored in every motion. **Joints** were not recorded and are NaN. **Time** counts one second a line,
  because the timestamps are not a clock's in all files. A line's **arm** is kept; an episode of several arms is refused,
  because an action here is of one arm.
- **Numbers**: an episode's is the one its name ends with, if those of a task group all differ; else its place among them.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla3d.data.formats import bridgevla_real_files as files
from vla3d.data.formats.base import ForeignSource, damaged
from vla3d.data.formats.bridgevla_real_files import FileRefusedError, Intrinsics
from vla3d.data.formats.keysteps import Keystep, keystep_outline, require_recorded_keyframes
from vla3d.data.sources import DemoSource, SourceOptions
from vla3d.data.store import EpisodeRef
from vla3d.types import Episode, RgbdFrame

LAYOUT = (
    f"BridgeVLA's real-robot folders <task>/<episode>/{files.POSE_FILE} with {files.COLOUR_FOLDER} and {files.DEPTH_FOLDER}"
)
CAMERA = "zed"
STEP_LIMIT = 25


def recognise(path: Path) -> bool:
    """Whether a folder holds task groups of episodes, or is one."""
    return any(True for _ in _task_groups(path))


def open_source(path: Path, options: SourceOptions) -> DemoSource:
    """Open a folder of real-robot demonstrations.

    Raises:
        ConfigError: a keyframe rule that needs what lies between the images.
    """
    require_recorded_keyframes("bridgevla-real", options)
    return BridgeVLARealSource(path, options)


def _task_groups(path: Path) -> Mapping[str, list[Path]]:
    """Task groups to the folders of their episodes, damaged ones among them, both sorted."""
    own = _episodes(path)
    if own:
        return {path.absolute().name: own}
    below = (folder for folder in sorted(path.iterdir()) if folder.is_dir() and not folder.name.startswith("."))
    return {folder.name: found for folder in below if (found := _episodes(folder))}


def _episodes(group: Path) -> list[Path]:
    """A folder that is closed to us counts as a damaged episode among others, and as none of ours elsewhere."""
    if not os.access(group, os.R_OK | os.X_OK):
        return []
    folders = [folder for folder in sorted(group.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    closed = {folder for folder in folders if not os.access(folder, os.X_OK)}
    found = {folder for folder in folders if folder not in closed and _is_episode(folder)}
    return sorted(found | closed) if found else []


def _is_episode(folder: Path) -> bool:
    return (folder / files.POSE_FILE).is_file() or (folder / files.COLOUR_FOLDER).is_dir()


def _numbered(folders: Sequence[Path]) -> dict[int, Path]:
    ends = [re.search(r"(\d{1,9})$", folder.name) for folder in folders]
    numbers = [int(end[1]) for end in ends if end is not None]
    if len(set(numbers)) < len(folders):
        return dict(enumerate(folders))
    return dict(sorted(zip(numbers, folders, strict=True)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Camera:
    """What the images of an episode share."""

    intrinsics: Intrinsics
    T_world_camera: np.ndarray


class BridgeVLARealSource(ForeignSource):
    """A ``DemoSource`` over BridgeVLA's real-robot layout."""

    format = "bridgevla-real"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        super().__init__(path, options)
        self._folders = {task: _numbered(folders) for task, folders in _task_groups(path).items()}
        self._cameras: dict[EpisodeRef, _Camera] = {}

    def listed(self) -> Mapping[str, Sequence[int]]:
        """See ``ForeignSource``."""
        return {task: list(folders) for task, folders in self._folders.items()}

    def make_outline(self, ref: EpisodeRef) -> Episode:
        """See ``ForeignSource``."""
        folder = self._folder(ref)
        try:
            images = files.count_images(folder)
            poses = files.read_poses(folder / files.POSE_FILE)
            if len(poses) != images or images < 2:
                raise FileRefusedError(
                    f"{files.POSE_FILE} has {len(poses)} poses for {images} images, expected as many, at least 2"
                )
            arms = sorted({pose.arm for pose in poses})
            if len(arms) > 1:
                raise FileRefusedError(f"{files.POSE_FILE} moves the arms {arms}, expected one")
            sentence = files.read_instruction(folder / files.INSTRUCTION_FILE)
            self._camera(ref, images)
        except FileRefusedError as error:
            raise damaged(ref, folder, str(error)) from error
        keysteps = [
            Keystep(position=pose.position, quaternion=pose.quaternion, gripper_open=pose.gripper_open, time=float(index))
            for index, pose in enumerate(poses)
        ]
        return keystep_outline(
            keysteps,
            task=ref.task,
            variation=0,
            sentences=(sentence,),
            step_limit=max(images - 1, min(STEP_LIMIT, 2 * (images - 1))),
            metadata={
                "format": self.format,
                "episode": folder.name,
                "arm": arms[0],
                "timestamps": [pose.timestamp for pose in poses],
            },
        )

    def cameras_of(self, ref: EpisodeRef) -> tuple[str, ...]:
        """See ``ForeignSource``."""
        return (CAMERA,)

    def frames_of(self, ref: EpisodeRef, index: int, cameras: Sequence[str]) -> dict[str, RgbdFrame]:
        """See ``ForeignSource``."""
        folder = self._folder(ref)
        frames = {}
        for name in cameras:
            try:
                camera = self._camera(ref, len(self._outline(ref).steps))
                rgb = files.read_colours(folder / files.COLOUR_FOLDER / f"{index}.jpg")
                units = files.read_depth_units(folder / files.DEPTH_FOLDER / f"{index}.png")
                if units.shape != rgb.shape[:2]:
                    raise FileRefusedError(
                        f"{files.DEPTH_FOLDER}/{index}.png has {units.shape} pixels, the colours {rgb.shape[:2]}"
                    )
            except FileRefusedError as error:
                raise damaged(ref, folder, str(error)) from error
            frames[name] = RgbdFrame(
                rgb=rgb,
                depth=units.astype(np.float32) / np.float32(camera.intrinsics.depth_scale),
                intrinsics=camera.intrinsics.matrix(index),
                T_world_camera=camera.T_world_camera,
            )
        return frames

    def size_of(self, ref: EpisodeRef) -> int:
        """See ``ForeignSource``."""
        return sum(path.stat().st_size for path in self._folder(ref).rglob("*") if path.is_file())

    def verify(self, ref: EpisodeRef) -> None:
        """See ``ForeignSource``: decodes every image."""
        steps = self.make_outline(ref).steps
        sizes = {self.frames_of(ref, index, (CAMERA,))[CAMERA].depth.shape for index in range(len(steps))}
        if len(sizes) > 1:
            raise damaged(ref, self._folder(ref), f"its images have the sizes {sorted(sizes)}, expected one")

    def _folder(self, ref: EpisodeRef) -> Path:
        return self._folders[ref.task][ref.attempt]

    def _camera(self, ref: EpisodeRef, images: int) -> _Camera:
        if ref not in self._cameras:
            folder = self._folder(ref)
            self._cameras[ref] = _Camera(
                intrinsics=files.read_intrinsics(folder / files.INTRINSIC_FILE, images),
                T_world_camera=files.read_extrinsic(folder / files.EXTRINSIC_FILE),
            )
        return self._cameras[ref]
