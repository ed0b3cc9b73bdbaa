"""The files of one episode of BridgeVLA's real-robot layout, each turned into checked numbers.

Every function raises ``FileRefusedError`` with one clause that names the file.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8, UInt16
from PIL import Image
from scipy.spatial.transform import Rotation

from vla3d.data.formats.inert_pickle import load_inert_pickle, read_inert_pickle
from vla3d.data.formats.inert_values import PickleRefusedError

POSE_FILE, INSTRUCTION_FILE, EXTRINSIC_FILE, INTRINSIC_FILE = (
    "pose.pkl", "instruction.pkl", "extrinsic_matrix.pkl", "intrinsic.pkl",
)  # fmt: skip
COLOUR_FOLDER, DEPTH_FOLDER, CLOUD_FOLDER = "zed_rgb", "zed_depth", "zed_pcd"

_OPEN_CLAW, _CLOSED_CLAW = 0, 1
_MILLIMETRES = 1e-3
_FARTHEST_CAMERA = 10.0
_ROTATION_TOLERANCE = 1e-2
_MOST_PIXELS = 50_000_000
_PICKLE_START = b"\x80"


class FileRefusedError(ValueError):
    """A file is missing, damaged, or holds something else."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseRow:
    """One line of the pose file.

    Attributes:
        timestamp: as written.
        position: metres, in the robot's base frame.
        quaternion: ``wxyz``.
        gripper_open: whether the claw was open.
        arm: which arm.
    """

    timestamp: str
    position: Float[np.ndarray, "3"]
    quaternion: Float[np.ndarray, "4"]
    gripper_open: bool
    arm: int


def read_poses(path: Path) -> list[PoseRow]:
    """The rows of ``pose.pkl``: a pickled text, or the text itself; its first line is a head."""
    with _refusing(path):
        content = path.read_bytes()
        text = load_inert_pickle(content) if content.startswith(_PICKLE_START) else content.decode("utf-8")
        if not isinstance(text, str):
            raise FileRefusedError(f"{path.name} holds a {type(text).__name__}, expected a text with a line for each image")
        return [_pose(line, number) for number, line in enumerate(text.strip().split("\n")[1:], start=2)]


def _pose(line: str, number: int) -> PoseRow:
    where = f"{POSE_FILE}, line {number}"
    words = line.split()
    if len(words) not in (8, 9):
        raise FileRefusedError(f"{where}: got {len(words)} words, expected timestamp x y z rx ry rz claw, and perhaps an arm")
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        raise FileRefusedError(f"{where}: got {line.strip()!r}, expected numbers after the timestamp") from None
    if not all(map(math.isfinite, numbers)):
        raise FileRefusedError(f"{where}: a number is not finite")
    claw = numbers[6]
    if claw not in (_OPEN_CLAW, _CLOSED_CLAW):
        raise FileRefusedError(f"{where}: got claw {claw:g}, expected {_OPEN_CLAW} (open) or {_CLOSED_CLAW} (closed)")
    return PoseRow(
        timestamp=words[0],
        position=_MILLIMETRES * np.array(numbers[:3]),
        quaternion=quaternion_from_euler_degrees(numbers[3:6]),
        gripper_open=claw == _OPEN_CLAW,
        arm=int(numbers[7]) if len(numbers) > 7 else 0,
    )


def quaternion_from_euler_degrees(angles: Sequence[float]) -> Float[np.ndarray, "4"]:
    """``wxyz`` of rotations about the fixed axes x, then y, then z (extrinsic ``xyz``: ``Rz Ry Rx``), in degrees."""
    return np.roll(Rotation.from_euler("xyz", angles, degrees=True).as_quat(), 1)


def read_instruction(path: Path) -> str:
    """The sentence of ``instruction.pkl``."""
    with _refusing(path):
        sentence = read_inert_pickle(path)
        if not isinstance(sentence, str) or not sentence.strip():
            raise FileRefusedError(f"{path.name} holds {_kind(sentence)}, expected a sentence")
        return sentence.strip()


def read_extrinsic(path: Path) -> Float[np.ndarray, "4 4"]:
    """``T_base_camera`` of ``extrinsic_matrix.pkl``, metres."""
    with _refusing(path):
        matrix = _numbers(read_inert_pickle(path))
        if matrix is None or matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise FileRefusedError(f"{path.name} holds no finite 4x4 matrix")
        rotation = matrix[:3, :3]
        off = np.abs(rotation @ rotation.T - np.eye(3)).max()
        if off > _ROTATION_TOLERANCE or np.linalg.det(rotation) < 0 or not np.allclose(matrix[3], [0, 0, 0, 1]):
            raise FileRefusedError(f"{path.name} holds no rigid transform from the camera to the robot's base")
        if np.abs(matrix[:3, 3]).max() > _FARTHEST_CAMERA:
            raise FileRefusedError(f"{path.name} puts the camera at {matrix[:3, 3].tolist()}, expected metres")
        return matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class Intrinsics:
    """``intrinsic.pkl``.

    Attributes:
        values: ``(fx, fy, cx, cy)`` of each image, or one row for all, with pixel centres at integers.
        depth_scale: units of depth in a metre.
    """

    values: Float[np.ndarray, "N 4"]
    depth_scale: float

    def matrix(self, index: int) -> Float[np.ndarray, "3 3"]:
        """Pinhole matrix of an image, moved to pixel centres at half-integers."""
        fx, fy, cx, cy = self.values[index if len(self.values) > 1 else 0]
        return np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]])


def read_intrinsics(path: Path, images: int) -> Intrinsics:
    """``intrinsic.pkl`` of an episode with so many images."""
    with _refusing(path):
        stored = read_inert_pickle(path)
        needed = ("fx", "fy", "cx", "cy", "depth_scale")
        if not isinstance(stored, dict) or any(name not in stored for name in needed):
            raise FileRefusedError(f"{path.name} holds {_kind(stored)}, expected a mapping with {', '.join(needed)}")
        columns = [_numbers(stored[name]) for name in needed]
        if any(column is None for column in columns):
            raise FileRefusedError(f"{path.name} holds something else than numbers")
        *rows, scale = (np.atleast_1d(column) for column in columns if column is not None)
        lengths = {row.size for row in rows}
        if len(lengths) != 1 or not lengths <= {1, images} or any(row.ndim > 1 for row in rows) or scale.size != 1:
            raise FileRefusedError(f"{path.name} holds {sorted(lengths)} values of fx, fy, cx and cy, expected 1 or {images}")
        values = np.stack(rows, axis=1)
        if not np.isfinite(values).all() or (values[:, :2] <= 0).any():
            raise FileRefusedError(f"{path.name} holds a focal length that is not above 0, or a number that is not finite")
        depth_scale = float(scale.reshape(-1)[0])
        if not 1 <= depth_scale < math.inf:
            raise FileRefusedError(f"{path.name} has depth_scale {depth_scale:g}, expected units in a metre, such as 4000")
        return Intrinsics(values=values, depth_scale=depth_scale)


def count_images(folder: Path) -> int:
    """How many images an episode has, numbered from 0 without gaps."""
    numbers = {stem: sorted(_numbered(folder / name, suffix)) for stem, name, suffix in (
        ("colour", COLOUR_FOLDER, ".jpg"), ("depth", DEPTH_FOLDER, ".png"))}  # fmt: skip
    if not numbers["depth"] and (folder / CLOUD_FOLDER).is_dir():
        raise FileRefusedError(f"it holds pickled clouds ({CLOUD_FOLDER}), expected {DEPTH_FOLDER}/*.png and {INTRINSIC_FILE}")
    for kind, name in (("colour", COLOUR_FOLDER), ("depth", DEPTH_FOLDER)):
        expected = list(range(max(len(numbers["colour"]), len(numbers["depth"]))))
        if not numbers[kind] or numbers[kind] != expected:
            lacking = sorted(set(expected) - set(numbers[kind]))
            what = f"image {lacking[0]} is missing" if lacking else "there are no images"
            raise FileRefusedError(f"{name}: {what}; expected 0 to {max(0, len(expected) - 1)}")
    return len(numbers["colour"])


def _numbered(folder: Path, suffix: str) -> Iterator[int]:
    with _refusing(folder):
        if not folder.is_dir():
            return
        yield from (int(path.stem) for path in folder.iterdir() if path.suffix == suffix and path.stem.isdecimal())


def read_colours(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of a JPEG file as any viewer shows them: red, green, blue."""
    return _image(path, "JPEG", "RGB")


def read_depth_units(path: Path) -> UInt16[np.ndarray, "H W"]:
    """Pixels of a 16-bit PNG file."""
    return _image(path, "PNG", "I;16")


def _image(path: Path, kind: str, mode: str) -> np.ndarray:
    name = f"{path.parent.name}/{path.name}"
    with _refusing(path, name), path.open("rb") as file, Image.open(file, formats=(kind,)) as image:
        if image.mode != mode:
            raise FileRefusedError(f"{name} is a {kind} of mode {image.mode}, expected {mode}")
        if image.width * image.height > _MOST_PIXELS:
            raise FileRefusedError(f"{name} has {image.width} x {image.height} pixels, expected a camera image")
        return np.array(image)


def _numbers(value: Any) -> np.ndarray | None:
    """A number, an array, or lists of numbers as a float64 array; None for anything else."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


@contextmanager
def _refusing(path: Path, name: str = "") -> Iterator[None]:
    """Say which file it was, whatever reading it raises."""
    name = name or path.name
    try:
        yield
    except FileRefusedError:
        raise
    except FileNotFoundError:
        raise FileRefusedError(f"{name} is missing") from None
    except PickleRefusedError as error:
        raise FileRefusedError(f"{name}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and others on damage
        raise FileRefusedError(f"{name} cannot be read ({str(error) or type(error).__name__})") from error
