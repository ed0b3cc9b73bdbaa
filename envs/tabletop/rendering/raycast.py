"""The reference renderer: one C MuJoCo ray per pixel."""

from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Float, Int32, UInt8

from vla3d.envs.tabletop.rendering.base import (
    BACKGROUND_COLOR,
    GEOM_GROUPS,
    MISS,
    CameraImage,
    camera_ids,
    check_size,
    check_worlds,
)

_DEFAULT_RGBA = np.array([0.5, 0.5, 0.5, 1.0], dtype=np.float32)
"""A geom of this colour takes its material's colour: MuJoCo's rule."""


class RaycastRenderer:
    """Depth and geom ids by ``mj_multiRay`` in double precision; colours are flat, without light or texture.

    Independent of every graphics library: what the other renderers are tested against.
    """

    def __init__(self, model: mujoco.MjModel, cameras: Sequence[str], *, height: int, width: int, num_worlds: int = 1) -> None:
        """Compute the rays of every camera; arguments as for ``make_renderer``.

        Raises:
            ConfigError: for an unknown camera or a size below 1.
        """
        check_size(height, width, num_worlds)
        self.cameras = tuple(cameras)
        self.height, self.width, self.num_worlds = height, width, num_worlds
        self._camera_ids = camera_ids(model, cameras)
        self._model = model.__copy__()
        self._rays = [_pixel_rays(float(model.cam_fovy[camera]), height, width) for camera in self._camera_ids]

    def render(self, datas: Sequence[mujoco.MjData]) -> list[dict[str, CameraImage]]:
        """Render every camera of each world; see ``Renderer.render``."""
        check_worlds(self._model, self._camera_ids, datas, self.num_worlds)
        return [
            {
                name: self._image(data, camera, rays)
                for name, camera, rays in zip(self.cameras, self._camera_ids, self._rays, strict=True)
            }
            for data in datas
        ]

    def _image(self, data: mujoco.MjData, camera: int, rays: Float[np.ndarray, "HW 3"]) -> CameraImage:
        groups = np.isin(np.arange(mujoco.mjNGROUP), GEOM_GROUPS).astype(np.uint8)
        directions = (rays @ data.cam_xmat[camera].reshape(3, 3).T).reshape(-1)
        ids = np.empty(len(rays), dtype=np.int32)
        distance = np.empty(len(rays))
        mujoco.mj_multiRay(
            data.model,
            data,
            data.cam_xpos[camera],
            directions,
            groups,
            True,
            -1,
            ids,
            distance,
            None,
            len(rays),
            mujoco.mjMAXVAL,
        )
        # Camera frames look along -z, so -z of the unit ray is the cosine between the ray and the optical axis.
        depth = np.where(ids == MISS, 0.0, distance * -rays[:, 2])
        return CameraImage(
            rgb=_flat_colors(data.model, ids).reshape(self.height, self.width, 3),
            depth=depth.astype(np.float32).reshape(self.height, self.width),
            geom_ids=ids.reshape(self.height, self.width),
        )

    def close(self) -> None:
        """Nothing to free."""


def _pixel_rays(fovy: float, height: int, width: int) -> Float[np.ndarray, "HW 3"]:
    """Unit rays through the pixels' centres in MuJoCo's camera frame (x right, y up, looking along -z)."""
    half = np.tan(np.deg2rad(fovy) / 2)
    x = (2 * (np.arange(width) + 0.5) / width - 1) * half * width / height
    y = (1 - 2 * (np.arange(height) + 0.5) / height) * half
    rays = np.stack([*np.meshgrid(x, y), np.full((height, width), -1.0)], axis=-1).reshape(-1, 3)
    unit: Float[np.ndarray, "HW 3"] = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return unit


def _flat_colors(model: mujoco.MjModel, ids: Int32[np.ndarray, "HW"]) -> UInt8[np.ndarray, "HW 3"]:
    """Colour of the geom in each pixel."""
    rgba = model.geom_rgba.copy()
    from_material = (rgba == _DEFAULT_RGBA).all(axis=1) & (model.geom_matid >= 0)
    rgba[from_material] = model.mat_rgba[model.geom_matid[from_material]]
    palette = np.concatenate([np.rint(rgba[:, :3] * 255), [BACKGROUND_COLOR]]).astype(np.uint8)
    # MISS is -1: the background sits last.
    colors: UInt8[np.ndarray, "HW 3"] = palette[ids]
    return colors
