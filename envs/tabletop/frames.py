"""From rendered images to calibrated RGB-D frames."""

from collections.abc import Mapping

import mujoco
import numpy as np
from jaxtyping import Float, Float32, Int16

from vla3d.envs.tabletop.rendering.base import CameraImage
from vla3d.types import RgbdFrame

DEPTH_UNIT = 1e-4
"""Depth is a whole number of these (metres), like a sensor's, so that 16 bits store it without loss."""

MAX_DEPTH = 65535 * DEPTH_UNIT
"""Farther surfaces give no measurement, metres."""

# MuJoCo cameras look along -z with +y up; ours look along +z with +y down.
_OPENCV_FROM_MUJOCO = np.diag([1.0, -1.0, -1.0])


def make_frames(
    data: mujoco.MjData, images: Mapping[str, CameraImage], geom_instances: Int16[np.ndarray, "geoms"]
) -> dict[str, RgbdFrame]:
    """Frames of one world, in the order of ``images``.

    Args:
        data: the world, as it was rendered.
        images: what each camera sees.
        geom_instances: instance id of every geom.
    """
    return {name: _frame(data, name, image, geom_instances) for name, image in images.items()}


def quantize_depth(depth: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Round to ``DEPTH_UNIT``; what is too far, or no measurement, becomes 0."""
    measured = np.isfinite(depth) & (depth > 0) & (depth <= MAX_DEPTH)
    units = np.rint(np.where(measured, depth, 0.0).astype(np.float64) / DEPTH_UNIT)
    return (units * DEPTH_UNIT).astype(np.float32)


def intrinsic_matrix(fovy: float, height: int, width: int) -> Float[np.ndarray, "3 3"]:
    """Pinhole matrix of square pixels, pixel centres at half-integers.

    Args:
        fovy: vertical field of view, degrees.
        height: pixels.
        width: pixels.
    """
    focal = height / 2 / np.tan(np.radians(fovy) / 2)
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def _frame(data: mujoco.MjData, name: str, image: CameraImage, geom_instances: Int16[np.ndarray, "geoms"]) -> RgbdFrame:
    camera = data.model.camera(name).id
    pose = np.eye(4)
    pose[:3, :3] = data.cam_xmat[camera].reshape(3, 3) @ _OPENCV_FROM_MUJOCO
    pose[:3, 3] = data.cam_xpos[camera]
    height, width = image.depth.shape
    # A miss is -1: the appended background entry is then what indexing finds.
    instances = np.append(geom_instances, np.int16(0))
    return RgbdFrame(
        rgb=image.rgb,
        depth=quantize_depth(image.depth),
        intrinsics=intrinsic_matrix(float(data.model.cam_fovy[camera]), height, width),
        T_world_camera=pose,
        segmentation=instances[image.geom_ids],
    )
