"""A camera set of one's own: a folder with ``cameras.json`` beside the images (docs/your_own_cameras.md describes it)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, UnidentifiedImageError

from vla3d.calibration.camera_set import CameraSet, check_calibration
from vla3d.errors import DataError, unknown_name
from vla3d.types import RgbdFrame

CAMERAS_FILE = "cameras.json"
_NEEDED = ("intrinsics", "T_world_camera", "rgb", "depth")
_KEYS = (*_NEEDED, "depth_scale")
_MILLIMETRES = 0.001


def read_camera_folder(folder: Path) -> CameraSet:
    """Read ``cameras.json`` and the images that it names.

    Raises:
        DataError: a file is missing, cut off, or holds something else; names the camera and the file.
        ObservationError: an image or a calibration cannot be right.
    """
    described = _read_description(folder / CAMERAS_FILE)
    frames = {name: _Camera(folder, name, values).frames() for name, values in described.items()}
    counts = {name: len(found) for name, found in frames.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"{folder / CAMERAS_FILE}: got {counts} images, expected as many of each camera.")
    return CameraSet(
        instants=[{name: found[at] for name, found in frames.items()} for at in range(next(iter(counts.values())))]
    )


def _read_description(path: Path) -> Mapping[str, Any]:
    try:
        described = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected JSON as in docs/your_own_cameras.md.") from error
    if not isinstance(described, dict) or not described:
        raise DataError(f"{path} names no camera; expected an object {{camera: {{intrinsics, T_world_camera, rgb, depth}}}}.")
    return described


class _Camera:
    """One entry of ``cameras.json``."""

    def __init__(self, folder: Path, name: str, values: object) -> None:
        self._folder, self._name = folder, name
        if not isinstance(values, dict):
            raise self._wrong(f"got {values!r}, expected an object with {', '.join(_NEEDED)}")
        for key in values:
            if key not in _KEYS:
                raise unknown_name(f"key of camera {name!r} in {CAMERAS_FILE}", key, _KEYS)
        missing = [key for key in _NEEDED if key not in values]
        if missing:
            raise self._wrong(f"{missing[0]} is missing, expected {', '.join(_NEEDED)} and perhaps depth_scale")
        self._values = values

    def frames(self) -> list[RgbdFrame]:
        """One frame for each image."""
        intrinsics = self._numbers("intrinsics", self._values["intrinsics"])
        colors, depths = self._paths("rgb"), self._paths("depth")
        poses = self._poses(len(colors))
        if len(colors) != len(depths):
            raise self._wrong(f"got {len(colors)} rgb and {len(depths)} depth files, expected as many")
        for pose in poses:
            check_calibration(self._name, intrinsics, pose)
        return [
            RgbdFrame(rgb=self._color(color), depth=self._depth(depth), intrinsics=intrinsics, T_world_camera=pose)
            for color, depth, pose in zip(colors, depths, poses, strict=True)
        ]

    def _poses(self, count: int) -> list[np.ndarray]:
        poses = self._numbers("T_world_camera", self._values["T_world_camera"])
        if poses.ndim == 2:
            return [poses] * count
        if len(poses) != count:
            raise self._wrong(f"got {len(poses)} transforms for {count} images, expected one, or one for each image")
        return list(poses)

    def _numbers(self, key: str, values: object) -> np.ndarray:
        size = 3 if key == "intrinsics" else 4
        dimensions = (2,) if key == "intrinsics" else (2, 3)
        try:
            numbers = np.array(values, dtype=np.float64)
        except (ValueError, TypeError):
            numbers = np.empty(0)
        if numbers.ndim not in dimensions or numbers.shape[-2:] != (size, size):
            raise self._wrong(f"{key} is no matrix of {size} rows of {size} numbers, expected [[...], ...]")
        return numbers

    def _paths(self, key: str) -> list[Path]:
        value = self._values[key]
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
            raise self._wrong(f"{key} is {value!r}, expected a file's name, or a list of them")
        for name in names:
            if not (self._folder / name).is_file():
                raise self._wrong(f"{key} file {self._folder / name} does not exist, expected an image there")
        return [self._folder / name for name in names]

    def _color(self, path: Path) -> UInt8[np.ndarray, "H W 3"]:
        return np.asarray(self._image(path).convert("RGB"))

    def _depth(self, path: Path) -> Float32[np.ndarray, "H W"]:
        if path.suffix == ".npy":
            try:
                raw = np.load(path, allow_pickle=False)
            except (ValueError, OSError, EOFError) as error:
                raise self._wrong(f"{path} cannot be read ({error}), expected a NumPy array of depth") from error
            scale = self._scale(1.0)
        else:
            image = self._image(path)
            if not image.mode.startswith("I"):
                raise self._wrong(f"{path} has {image.mode} pixels, expected a 16-bit PNG of depth (or .npy)")
            raw, scale = np.asarray(image), self._scale(_MILLIMETRES)
        if raw.ndim != 2 or raw.dtype.kind not in "uif":
            raise self._wrong(f"{path} has shape {raw.shape} of {raw.dtype}, expected numbers (H, W)")
        return (raw.astype(np.float64) * scale).astype(np.float32)

    def _scale(self, default: float) -> float:
        scale = self._values.get("depth_scale", default)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < float("inf"):
            raise self._wrong(f"depth_scale is {scale!r}, expected metres for one unit of depth, for example 0.001")
        return float(scale)

    def _image(self, path: Path) -> Image.Image:
        try:
            with Image.open(path) as image:
                image.load()
                return image
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise self._wrong(f"{path} cannot be read ({error}), expected a whole image file; copy it again") from error

    def _wrong(self, what: str) -> DataError:
        return DataError(f"Camera {self._name!r} in {self._folder / CAMERAS_FILE}: {what}.")
