"""Boxes on a table, ray cast by the tests themselves: images whose every pixel is known, in a few milliseconds."""

from collections.abc import Mapping

import numpy as np

from vla3d.geometry import pinhole_intrinsics
from vla3d.scene_graphs.node import SceneNode
from vla3d.types import RgbdFrame

CAMERAS = {
    "front": ((1.3, 0.0, 0.8), (0.5, 0.0, 0.0)),
    "left": ((0.1, 0.7, 0.8), (0.5, 0.0, 0.0)),
    "right": ((0.1, -0.7, 0.8), (0.5, 0.0, 0.0)),
}
_GRAY = (140, 135, 130)


def pose(position: tuple[float, ...], target: tuple[float, ...]) -> np.ndarray:
    """``T_world_camera`` of a camera that looks at a point, its picture's top up."""
    forward = np.subtract(target, position).astype(float)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    result = np.eye(4)
    result[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    result[:3, 3] = position
    return result


def frame(nodes: list[SceneNode], T_world_camera: np.ndarray, size: int = 96, table: bool = True) -> RgbdFrame:
    """What a camera sees of boxes (ids are those of the nodes) on a table at height 0."""
    intrinsics = pinhole_intrinsics(np.radians(45), size, size)
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    rays = np.stack([column, row, np.ones_like(row)], axis=-1) @ np.linalg.inv(intrinsics).T
    directions, origin = rays @ T_world_camera[:3, :3].T, T_world_camera[:3, 3]
    with np.errstate(divide="ignore"):
        depth = -origin[2] / directions[..., 2] if table else np.full(row.shape, np.inf)
    depth = np.where(depth > 0, depth, np.inf)
    segmentation = np.zeros((size, size), dtype=np.int16)
    rgb = np.full((size, size, 3), _GRAY, dtype=np.uint8)
    for node in nodes:
        box = node.box
        start, along = (origin - box.center) @ box.rotation, directions @ box.rotation
        with np.errstate(divide="ignore", invalid="ignore"):
            near, far = (-box.size / 2 - start) / along, (box.size / 2 - start) / along
        enter, leave = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
        hit = (enter <= leave) & (enter > 0) & (enter < depth)
        depth = np.where(hit, enter, depth)
        segmentation[hit] = node.id
        rgb[hit] = np.rint(255 * (np.full(3, 0.5) if node.rgb is None else node.rgb))
    depth = np.where(np.isfinite(depth), depth, 0).astype(np.float32)
    return RgbdFrame(rgb=rgb, depth=depth, intrinsics=intrinsics, T_world_camera=T_world_camera, segmentation=segmentation)


def frames(nodes: list[SceneNode], size: int = 96) -> dict[str, RgbdFrame]:
    """What three cameras around the table see."""
    return {name: frame(nodes, pose(*camera), size) for name, camera in CAMERAS.items()}


def names(nodes: list[SceneNode]) -> Mapping[int, str]:
    return {node.id: f"{node.label}_{node.id}" for node in nodes}
