"""Pinhole cameras in the OpenCV frame (x right, y down, z forward), pixel centres at half-integers.

Pixel in row ``i`` and column ``j`` covers ``[j, j + 1) x [i, i + 1)`` and has its centre at ``(j + 0.5, i + 0.5)``.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vla3d.geometry.transforms import invert_transform, transform_points


def pinhole_intrinsics(fovy: float, height: int, width: int) -> Float[np.ndarray, "3 3"]:
    """Intrinsic matrix of a camera with square pixels and its principal point in the middle.

    Args:
        fovy: vertical field of view, radians, in (0, pi). (MuJoCo writes degrees: convert first.)
        height: image rows.
        width: image columns.

    Returns:
        Float64 NumPy matrix, as `vla3d.types.RgbdFrame` stores it.

    Raises:
        ValueError: when the angle or a size is out of range.
    """
    if not 0 < fovy < math.pi:
        raise ValueError(f"fovy: got {fovy}, expected radians in (0, pi); convert degrees with math.radians.")
    if height < 1 or width < 1:
        raise ValueError(f"image size: got {height} x {width}, expected at least 1 x 1.")
    focal = height / (2 * math.tan(fovy / 2))
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def project(
    points_world: Float[Tensor, "*batch N 3"],
    intrinsics: Float[Tensor, "*batch 3 3"],
    T_world_camera: Float[Tensor, "*batch 4 4"],
) -> tuple[Float[Tensor, "*batch N 2"], Float[Tensor, "*batch N"]]:
    """Where world points fall in an image.

    Args:
        points_world: metres.
        intrinsics: pinhole matrices.
        T_world_camera: camera-to-world transforms.

    Returns:
        Pixel coordinates ``(x right, y down)``, NaN for points that are not in front of the camera, and depth (z in the
        camera frame), metres.
    """
    camera = transform_points(invert_transform(T_world_camera), points_world)
    depth = camera[..., 2]
    in_front = depth > 0
    homogeneous = camera @ intrinsics.transpose(-1, -2)
    pixels = homogeneous[..., :2] / torch.where(in_front, depth, 1.0)[..., None]
    return pixels.masked_fill(~in_front[..., None], math.nan), depth


def unproject(
    depth: Float[Tensor, "*batch H W"],
    intrinsics: Float[Tensor, "*batch 3 3"],
    T_world_camera: Float[Tensor, "*batch 4 4"],
) -> tuple[Float[Tensor, "*batch H W 3"], Bool[Tensor, "*batch H W"]]:
    """World points seen at the pixel centres of depth images.

    Args:
        depth: planar z, metres; 0, negative or non-finite means no measurement.
        intrinsics: pinhole matrices.
        T_world_camera: camera-to-world transforms.

    Returns:
        Points, metres, zero where there is no measurement, and which pixels have one.
    """
    height, width = depth.shape[-2:]
    valid = (depth > 0) & torch.isfinite(depth)
    z = torch.where(valid, depth, 0.0)
    column = torch.arange(width, dtype=depth.dtype, device=depth.device) + 0.5
    row = torch.arange(height, dtype=depth.dtype, device=depth.device) + 0.5
    # A singular matrix is an error where it can be seen without waiting for a GPU.
    inverse, _ = torch.linalg.inv_ex(intrinsics, check_errors=intrinsics.device.type == "cpu")
    to_ray = (T_world_camera[..., :3, :3] @ inverse)[..., None, None]
    # World rays are affine in column and row. One coordinate at a time: an innermost dimension of 3 is slow in torch.
    rays = to_ray[..., 0, :, :] * column + (to_ray[..., 1, :, :] * row[:, None] + to_ray[..., 2, :, :])
    points = rays * z[..., None, :, :] + T_world_camera[..., :3, 3, None, None]
    return torch.where(valid[..., None, :, :], points, 0.0).movedim(-3, -1).contiguous(), valid
