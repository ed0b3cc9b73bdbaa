"""Calibrated RGB-D cameras at one or several instants, checked at the door."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vla3d.errors import ObservationError
from vla3d.types import RgbdFrame

_ROTATION_TOLERANCE = 1e-2
_FARTHEST_MEDIAN = 50.0
_NEAREST_MEDIAN = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraSet:
    """What several cameras saw at the same instants.

    Attributes:
        instants: camera name to image, the same cameras in the same order at each instant.

    Raises:
        ObservationError: there is nothing, or a camera's image or calibration cannot be right; names the camera.
    """

    instants: Sequence[Mapping[str, RgbdFrame]]

    def __post_init__(self) -> None:
        if not self.instants or not self.instants[0]:
            raise ObservationError("Got no camera image, expected at least one; give a recorded RGB-D set.")
        for frames in self.instants:
            if tuple(frames) != self.names:
                raise ObservationError(f"Got the cameras {list(frames)} after {list(self.names)}, expected the same ones.")
            for name, frame in frames.items():
                check_calibration(name, frame.intrinsics, frame.T_world_camera)
                check_images(name, frame)
        for name in self.names:
            check_depth(name, [frames[name].depth for frames in self.instants])

    @property
    def names(self) -> tuple[str, ...]:
        """The cameras, in order."""
        return tuple(self.instants[0])


def check_calibration(name: str, intrinsics: np.ndarray, T_world_camera: np.ndarray) -> None:
    """Refuse matrices that no pinhole camera has.

    Raises:
        ObservationError: with what is wrong about them.
    """
    for key, matrix, shape in (("intrinsics", intrinsics, (3, 3)), ("T_world_camera", T_world_camera, (4, 4))):
        if matrix.shape != shape or not np.isfinite(matrix).all():
            raise ObservationError(
                f"Camera {name!r}: {key} has shape {matrix.shape} or a number that is not finite, expected {shape[0]} rows of "
                f"{shape[1]} finite numbers."
            )
    if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0 or not np.allclose(intrinsics[2], (0, 0, 1)):
        raise ObservationError(
            f"Camera {name!r}: got intrinsics {intrinsics.tolist()}, expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels."
        )
    rotation = T_world_camera[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=_ROTATION_TOLERANCE) or not np.allclose(
        T_world_camera[3], (0, 0, 0, 1)
    ):
        raise ObservationError(
            f"Camera {name!r}: the upper left 3x3 of T_world_camera is no rotation or its last row is not 0 0 0 1, expected "
            "camera-to-world in metres; normalise the quaternion it comes from."
        )
    if np.linalg.det(rotation) < 0:
        raise ObservationError(
            f"Camera {name!r}: T_world_camera mirrors (determinant -1), expected a rotation; an axis was negated alone: camera "
            "frames are x right, y down, z forward."
        )


def check_images(name: str, frame: RgbdFrame) -> None:
    """Refuse images whose shapes or types do not fit.

    Raises:
        ObservationError: with the shapes.
    """
    if frame.depth.ndim != 2 or frame.rgb.shape != (*frame.depth.shape, 3):
        raise ObservationError(
            f"Camera {name!r}: got rgb of shape {frame.rgb.shape} and depth of shape {frame.depth.shape}, expected "
            "(H, W, 3) and (H, W) of one size; align depth to colour."
        )


def check_depth(name: str, depths: Sequence[Float[np.ndarray, "H W"]]) -> None:
    """Refuse depth without a measurement, or in another unit than metres.

    Raises:
        ObservationError: with the scale that would probably be right.
    """
    measured = np.concatenate([depth[np.isfinite(depth) & (depth > 0)] for depth in depths])
    if not len(measured):
        value = "NaN" if any(np.isnan(depth).any() for depth in depths) else "0"
        raise ObservationError(
            f"Camera {name!r}: no pixel has a depth (all are {value}), expected metres; 0 and non-finite mean no measurement."
        )
    median = float(np.median(measured))
    if median > _FARTHEST_MEDIAN:
        raise ObservationError(
            f"Camera {name!r}: the median depth is {median:.0f} m, expected metres; it is probably in millimetres: multiply "
            "depth_scale by 0.001."
        )
    if median < _NEAREST_MEDIAN:
        raise ObservationError(
            f"Camera {name!r}: the median depth is {median:.6f} m, expected metres; it was probably scaled twice: multiply "
            "depth_scale by 1000."
        )
