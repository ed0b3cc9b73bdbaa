"""A room that is known in closed form: a floor, two walls and a box, seen by pinhole cameras, ray by ray."""

import numpy as np

from vla3d.types import RgbdFrame

FLOOR = 0.75
"""Height of the floor, as of RLBench's table."""

_WALLS = ((0, -1.2), (1, 1.4))
_BOX = (np.array([0.1, -0.1, FLOOR]), np.array([0.35, 0.1, FLOOR + 0.2]))


def look_at(eye: tuple[float, float, float], target: tuple[float, float, float]) -> np.ndarray:
    """``T_world_camera`` of an OpenCV camera whose image is upright; straight down, world x is up in the image."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = np.array([0.0, -1.0, 0.0]) if np.linalg.norm(right) < 1e-9 else right / np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    T[:3, 3] = eye
    return T


def render(intrinsics: np.ndarray, T_world_camera: np.ndarray, size: tuple[int, int]) -> tuple[RgbdFrame, np.ndarray]:
    """What a camera sees, and the world point of every pixel in float64."""
    columns, rows = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    rays = np.stack([columns, rows, np.ones(size)], axis=-1) @ np.linalg.inv(intrinsics).T
    directions, origin = rays @ T_world_camera[:3, :3].T, T_world_camera[:3, 3]
    depth, surface = np.full(size, np.inf), np.zeros(size, dtype=int)
    for number, (axis, value) in enumerate(((2, FLOOR), *_WALLS)):
        depth, surface = _nearer(depth, surface, _plane(directions, origin, axis, value), number)
    depth, surface = _nearer(depth, surface, _box(directions, origin), len(_WALLS) + 1)
    assert np.isfinite(depth).all(), "a ray leaves the room"
    points = origin + directions * depth[..., None]
    colours = np.array([[120, 110, 100], [60, 90, 160], [90, 150, 70], [200, 40, 30]], dtype=np.int64)
    checks = (np.floor(points * 8).sum(axis=-1) % 2).astype(int)
    frame = RgbdFrame(
        rgb=(colours[surface] + 30 * checks[..., None]).astype(np.uint8),
        depth=depth.astype(np.float32),
        intrinsics=np.array(intrinsics, dtype=np.float64),
        T_world_camera=np.array(T_world_camera, dtype=np.float64),
    )
    return frame, points


def _nearer(depth: np.ndarray, surface: np.ndarray, other: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(depth, other), np.where(other < depth, number, surface)


def _plane(directions: np.ndarray, origin: np.ndarray, axis: int, value: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        depth = (value - origin[axis]) / directions[..., axis]
    return np.where(depth > 0, depth, np.inf)


def _box(directions: np.ndarray, origin: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        ends = np.stack([(corner - origin) / directions for corner in _BOX])
    enter, leave = ends.min(axis=0).max(axis=-1), ends.max(axis=0).min(axis=-1)
    return np.where((enter <= leave) & (enter > 0), enter, np.inf)
