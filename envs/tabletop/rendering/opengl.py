"""MuJoCo's classic OpenGL renderer, for machines that have it."""

from collections.abc import Sequence
from contextlib import suppress

import mujoco
import numpy as np

from vla3d.envs.tabletop.rendering.base import (
    APPEARANCE_FIELDS,
    BACKGROUND_COLOR,
    GEOM_GROUPS,
    MISS,
    CameraImage,
    camera_ids,
    check_size,
    check_worlds,
)
from vla3d.errors import MissingExtraError

_SHADOW_MAP_SIZE = 1024
"""Pixels. MuJoCo's default of 4096 is several times slower in software OpenGL and looks the same at camera sizes."""


class OpenglRenderer:
    """Images by ``mujoco.Renderer``: three passes (colour, depth, ids) per camera.

    Needs an OpenGL that works without a screen: ``MUJOCO_GL=egl`` or ``MUJOCO_GL=osmesa`` in the environment before
    ``mujoco`` is imported. Objects beyond the model's far plane (``vis.map.zfar``) are not seen.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[str],
        *,
        height: int,
        width: int,
        num_worlds: int = 1,
        shadows: bool = False,
    ) -> None:
        """Open an OpenGL context and upload the scene; arguments as for ``make_renderer``.

        Raises:
            ConfigError: for an unknown camera or a size below 1.
            MissingExtraError: when no OpenGL context can be opened.
        """
        check_size(height, width, num_worlds)
        self.cameras = tuple(cameras)
        self.height, self.width, self.num_worlds = height, width, num_worlds
        self._camera_ids = camera_ids(model, cameras)
        self._model = model.__copy__()
        self._model.vis.global_.offheight, self._model.vis.global_.offwidth = height, width
        self._model.vis.quality.shadowsize = _SHADOW_MAP_SIZE
        # No multisampling: a blended edge pixel would mix the colours of two geoms but carry the depth of one.
        self._model.vis.quality.offsamples = 0
        self._model.light_specular[:] = 0.0
        self._model.vis.headlight.specular[:] = 0.0
        self._options = _geoms_only()
        try:
            self._renderer = mujoco.Renderer(self._model, height=height, width=width)
        except Exception as error:  # each OpenGL binding fails in its own way
            raise MissingExtraError(
                f"MuJoCo could not open an OpenGL context ({error}). Install libegl1 and set MUJOCO_GL=egl, or install "
                "libosmesa6 and set MUJOCO_GL=osmesa, or use the renderer 'warp', which needs no OpenGL."
            ) from error
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False

    def render(self, datas: Sequence[mujoco.MjData]) -> list[dict[str, CameraImage]]:
        """Render every camera of each world; see ``Renderer.render``."""
        check_worlds(self._model, self._camera_ids, datas, self.num_worlds)
        images = []
        for data in datas:
            for field in APPEARANCE_FIELDS:
                getattr(self._model, field)[:] = getattr(data.model, field)
            images.append(
                {name: self._image(data, camera) for name, camera in zip(self.cameras, self._camera_ids, strict=True)}
            )
        return images

    def _image(self, data: mujoco.MjData, camera: int) -> CameraImage:
        renderer = self._renderer
        renderer.update_scene(data, camera=camera, scene_option=self._options)
        rgb = renderer.render()
        renderer.enable_depth_rendering()
        depth = renderer.render()
        renderer.enable_segmentation_rendering()
        ids, kinds = np.moveaxis(renderer.render(), -1, 0)
        renderer.disable_segmentation_rendering()
        geom_ids = np.where(kinds == mujoco.mjtObj.mjOBJ_GEOM, ids, MISS).astype(np.int32)
        missed = geom_ids == MISS
        rgb[missed] = BACKGROUND_COLOR
        depth[missed] = 0.0
        return CameraImage(rgb=rgb, depth=depth, geom_ids=geom_ids)

    def close(self) -> None:
        """Close the OpenGL context."""
        with suppress(AttributeError):  # the context is already gone when the interpreter shuts down
            self._renderer.close()


def _geoms_only() -> mujoco.MjvOption:
    """Draw geoms and nothing else: no sites, joints or other helpers."""
    options = mujoco.MjvOption()
    for groups in (options.sitegroup, options.jointgroup, options.tendongroup, options.actuatorgroup, options.skingroup):
        groups[:] = 0
    options.geomgroup[:] = np.isin(np.arange(mujoco.mjNGROUP), GEOM_GROUPS)
    options.flags[:] = 0
    options.flags[mujoco.mjtVisFlag.mjVIS_STATIC] = 1
    return options
