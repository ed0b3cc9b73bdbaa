"""Demonstrations in BridgeVLA's real-robot layout, made here."""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import analytic_scene
import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from vla3d.types import RgbdFrame

SIZE = (36, 64)
"""Rows and columns: as wide as the ZED's images, and small."""

INTRINSICS = (50.0, 51.0, 31.5, 17.25)
"""``fx, fy, cx, cy`` with pixel centres at integers."""

DEPTH_SCALE = 4000.0
T_BASE_CAMERA = analytic_scene.look_at((1.1, -0.3, 1.7), (0.0, 0.1, 0.8))


def scene() -> RgbdFrame:
    """What the camera sees, in float32 depth."""
    fx, fy, cx, cy = INTRINSICS
    K = np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]])
    return analytic_scene.render(K, T_BASE_CAMERA, SIZE)[0]


def colours(index: int) -> np.ndarray:
    """The scene, a little brighter with every image."""
    return np.minimum(scene().rgb.astype(int) + 3 * index, 255).astype(np.uint8)


def jpeg(image: np.ndarray) -> bytes:
    """An image as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def poses(seed: int, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions in metres, rotation matrices, and claws (0 open, 1 closed)."""
    rng = np.random.default_rng(seed)
    rotations = Rotation.from_quat(rng.normal(size=(images, 4))).as_matrix()
    return rng.uniform(-0.5, 0.5, (images, 3)), rotations, np.arange(images) // 2 % 2


def pose_text(seed: int, images: int, arm: int | None = None) -> str:
    """The lines of the pose file."""
    lines = ["Timestamp Position (X, Y, Z) Orientation (Rx, Ry, Rz)"]
    for position, rotation, claw in zip(*poses(seed, images), strict=True):
        angles = Rotation.from_matrix(rotation).as_euler("xyz", degrees=True)
        words = [*map(str, 1000 * position), *map(str, angles), str(claw), *([] if arm is None else [str(arm)])]
        lines.append(" ".join(["202505300000", *words]))
    return "\n".join(lines)


def write_episode(folder: Path, seed: int = 0, images: int = 4, *, protocol: int = 4, **files: Any) -> Path:
    """One episode; ``files`` replaces what a pickle holds (``pose=...``), None leaves the file out."""
    fx, fy, cx, cy = INTRINSICS
    contents = {
        "pose": pose_text(seed, images),
        "instruction": "put the block on the plate\n",
        "extrinsic_matrix": T_BASE_CAMERA,
        "intrinsic": {
            name: np.full(images, value) for name, value in zip(("fx", "fy", "cx", "cy"), (fx, fy, cx, cy), strict=True)
        }
        | {"depth_scale": DEPTH_SCALE, "shape": SIZE, "num_frames": images, "source": "made here", "err": np.float64(1e-7)},
    } | files
    for name in ("zed_rgb", "zed_depth"):
        (folder / name).mkdir(parents=True)
    for name, content in contents.items():
        if content is not None:
            (folder / f"{name}.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    units = np.rint(scene().depth * DEPTH_SCALE).astype(np.uint16)
    units[0, :3] = 0
    for index in range(images):
        (folder / "zed_rgb" / f"{index}.jpg").write_bytes(jpeg(colours(index)))
        Image.fromarray(units).save(folder / "zed_depth" / f"{index}.png")
    return folder


def write_dataset(
    root: Path, episodes: int = 2, tasks: Sequence[str] = ("plate_tasks", "drawer_tasks"), images: int = 4
) -> Path:
    """Task groups of episodes ``<task>_003``, ``<task>_004``, ..."""
    for number, task in enumerate(tasks):
        for k in range(episodes):
            write_episode(root / task / f"{task}_{3 + k:03d}", seed=10 * number + k, images=images)
    return root
