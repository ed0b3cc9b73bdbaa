"""Where RLBench's convention for cameras becomes ours."""

import numpy as np
from jaxtyping import Float

_RIGID = 1e-4
"""Deviation from orthonormal columns that single-precision poses may show."""


def opencv_camera_from_rlbench(
    intrinsics: Float[np.ndarray, "*batch 3 3"], T_world_camera: Float[np.ndarray, "*batch 4 4"]
) -> tuple[Float[np.ndarray, "*batch 3 3"], Float[np.ndarray, "*batch 4 4"]]:
    """Cameras as RLBench stores them, in our convention.

    RLBench's points are ``T (K^-1 (u, v, 1) depth)`` at whole-numbered pixels ``u, v``, where ``K`` has negative focal lengths:
    its camera's x axis points to the left and its y axis up. Turning the camera's frame by half a turn about its z axis makes
    the focal lengths positive, and moving the principal point by half a pixel puts the pixels' centres at half-integers.
    Neither moves a point.

    Args:
        intrinsics: RLBench's pinhole matrices.
        T_world_camera: RLBench's camera-to-world matrices (it calls them extrinsics).

    Returns:
        Intrinsics and transforms of OpenCV cameras that give the same points.

    Raises:
        ValueError: a focal length is 0, they differ in sign (the camera would be a mirror), there is skew, or a transform is
            not rigid.
    """
    focal = np.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], axis=-1)
    sign = np.sign(focal)
    if not (sign[..., 0] * sign[..., 1] > 0).all():
        raise ValueError("the focal lengths are zero or of two signs")
    if intrinsics[..., 0, 1].any() or intrinsics[..., 1, 0].any() or (intrinsics[..., 2, :] != (0, 0, 1)).any():
        raise ValueError("the intrinsics are no pinhole matrix without skew")
    rotation = T_world_camera[..., :3, :3]
    turned_back = rotation @ np.swapaxes(rotation, -1, -2)
    rigid = np.allclose(turned_back, np.eye(3), atol=_RIGID) and (np.linalg.det(rotation) > 0).all()
    if not rigid or (T_world_camera[..., 3, :] != (0, 0, 0, 1)).any():
        raise ValueError("the extrinsics are no rigid transform")
    converted = np.array(intrinsics, dtype=np.float64)
    converted[..., 0, 0], converted[..., 1, 1] = np.abs(focal[..., 0]), np.abs(focal[..., 1])
    converted[..., :2, 2] += 0.5
    turned = np.array(T_world_camera, dtype=np.float64)
    turned[..., :, :2] *= sign[..., None, :]
    return converted, turned
