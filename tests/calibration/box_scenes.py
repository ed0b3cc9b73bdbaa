"""A table with boxes on it, ray-traced exactly: what calibrated cameras of any number would see."""

from collections.abc import Mapping, Sequence

import numpy as np

from vla3d.calibration.camera_set import CameraSet
from vla3d.geometry import pinhole_intrinsics
from vla3d.types import RgbdFrame

SIZE = 96
# Corners of axis-aligned boxes, metres: the table first.
BOXES = (
    ((-0.6, -0.7, -0.05), (0.7, 0.7, 0.0)),
    ((0.0, 0.05, 0.0), (0.10, 0.15, 0.12)),
    ((-0.20, -0.25, 0.0), (-0.08, -0.05, 0.07)),
    ((0.15, -0.20, 0.0), (0.30, -0.12, 0.09)),
)
PLACES = {"front": (0.9, 0.05, 0.7), "left": (-0.5, 0.7, 0.8), "right": (-0.4, -0.8, 0.7), "over": (0.1, 0.05, 1.0)}


def look_at(position: Sequence[float], target: Sequence[float] = (0.03, 0.0, 0.03)) -> np.ndarray:
    """OpenCV camera pose with its image upright."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def seen(pose: np.ndarray, noise: float = 0.0, seed: int = 0) -> RgbdFrame:
    """What a camera measures; ``noise`` is the standard deviation of its depth at a metre, metres."""
    intrinsics = pinhole_intrinsics(0.8, SIZE, SIZE)
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(intrinsics).T @ pose[:3, :3].T
    depth, which = np.full((SIZE, SIZE), np.inf), np.zeros((SIZE, SIZE), dtype=int)
    for number, (low, high) in enumerate(BOXES):
        with np.errstate(divide="ignore"):
            to_low, to_high = (low - pose[:3, 3]) / rays, (high - pose[:3, 3]) / rays
        enter, leave = np.minimum(to_low, to_high).max(-1), np.maximum(to_low, to_high).min(-1)
        hit = (enter < leave) & (enter > 0) & (enter < depth)
        depth[hit], which[hit] = enter[hit], number + 1
    depth = np.where(np.isfinite(depth), depth, 0)
    depth = depth * (1 + noise * depth * np.random.default_rng(seed).normal(size=depth.shape))
    palette = np.array([(0, 0, 0), (190, 180, 170), (220, 60, 50), (60, 160, 80), (60, 90, 210)], dtype=np.uint8)
    return RgbdFrame(rgb=palette[which], depth=depth.astype(np.float32), intrinsics=intrinsics, T_world_camera=pose)


def scene(names: Sequence[str] = tuple(PLACES), moved: Mapping[str, np.ndarray] | None = None, noise: float = 0.0) -> CameraSet:
    """The cameras; ``moved`` says by how much the recorded pose of some is off, in the camera's own frame."""
    frames = {}
    for number, name in enumerate(names):
        frame = seen(look_at(PLACES[name]), noise, seed=number)
        pose = frame.T_world_camera @ (moved or {}).get(name, np.eye(4))
        frames[name] = RgbdFrame(rgb=frame.rgb, depth=frame.depth, intrinsics=frame.intrinsics, T_world_camera=pose)
    return CameraSet(instants=[frames])


def off_by(seed: int, metres: float = 0.02, degrees: float = 3.0) -> np.ndarray:
    """A rigid move of given length and angle in a random direction, about a random axis."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    shift, axis = rng.normal(size=(2, 3))
    move = np.eye(4)
    move[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    move[:3, 3] = metres * shift / np.linalg.norm(shift)
    return move
