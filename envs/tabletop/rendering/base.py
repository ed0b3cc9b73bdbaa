"""What a renderer is, the checks that all of them share, and how one is made by name."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import mujoco
import numpy as np
from jaxtyping import Float32, Int32, UInt8

from vla3d.errors import ConfigError, unknown_name

MISS = -1
"""Geom id of a pixel that shows no geom."""

BACKGROUND_COLOR: tuple[int, int, int] = (190, 205, 220)
"""RGB of a pixel that shows no geom, in every renderer."""

RENDERERS: dict[str, str] = {
    "warp": "vla3d.envs.tabletop.rendering.warp:WarpRenderer",
    "raycast": "vla3d.envs.tabletop.rendering.raycast:RaycastRenderer",
    "opengl": "vla3d.envs.tabletop.rendering.opengl:OpenglRenderer",
}
"""Renderers by name. They are imported on demand: a machine without OpenGL can use the other two."""


GEOM_GROUPS: tuple[int, ...] = (0, 1, 2)
"""Geom groups that are drawn: MuJoCo's convention keeps helper geoms in 3 and above."""

POSE_FIELDS: tuple[str, ...] = ("geom_xpos", "geom_xmat", "cam_xpos", "cam_xmat", "light_xpos", "light_xdir")
"""Fields of ``MjData`` that an image depends on."""

APPEARANCE_FIELDS: tuple[str, ...] = (
    "geom_rgba",
    "geom_size",
    "mat_rgba",
    "light_active",
    "light_ambient",
    "light_diffuse",
)
"""Fields of ``MjModel`` that may differ between worlds and between calls."""


@dataclass(frozen=True)
class CameraImage:
    """What one camera sees of one world. The arrays belong to the caller.

    Attributes:
        rgb: colours, row 0 at the top.
        depth: metres along the optical axis (planar, not along the ray); 0 where no geom is seen.
        geom_ids: id of the geom seen; ``MISS`` where there is none.
    """

    rgb: UInt8[np.ndarray, "H W 3"]
    depth: Float32[np.ndarray, "H W"]
    geom_ids: Int32[np.ndarray, "H W"]


@runtime_checkable
class Renderer(Protocol):
    """Renders worlds of one compiled model.

    Poses come from each ``MjData`` (``POSE_FIELDS``), so the caller runs ``mj_forward`` (or ``mj_kinematics`` and
    ``mj_camlight``) after it changed ``qpos`` or a body's place in the model. ``APPEARANCE_FIELDS`` come from the model of
    each ``MjData`` at every call: a reset that changes them needs no new renderer, and each world may have its own copy
    of the model. Everything else about the model, the cameras' lenses included, stays as it was when the renderer was
    made. Shading is Lambert's, without highlights, so that an object keeps its colour whatever the camera.

    Attributes:
        cameras: names, in the order of every answer.
        height: of the images, pixels.
        width: of the images, pixels.
        num_worlds: the most worlds one call can render.
    """

    cameras: tuple[str, ...]
    height: int
    width: int
    num_worlds: int

    def render(self, datas: Sequence[mujoco.MjData]) -> list[dict[str, CameraImage]]:
        """Render every camera of 1 to ``num_worlds`` worlds; nothing in ``datas`` changes.

        Returns:
            One dictionary per world: camera name to image, in the order of ``cameras``.

        Raises:
            ConfigError: when there are no or too many worlds, or a world is not of the renderer's model.
        """
        ...

    def close(self) -> None:
        """Free what the renderer holds; a closed renderer renders no more."""
        ...


def make_renderer(
    name: str,
    model: mujoco.MjModel,
    cameras: Sequence[str],
    *,
    height: int,
    width: int,
    num_worlds: int = 1,
    **options: Any,
) -> Renderer:
    """Make the renderer ``name`` for a model.

    Args:
        name: ``"warp"`` (fast, CPU and CUDA), ``"raycast"`` (exact depth and ids by C MuJoCo, flat colours) or
            ``"opengl"`` (MuJoCo's classic renderer, for a machine with a working ``MUJOCO_GL``).
        model: the compiled scene.
        cameras: names of cameras in the model, at least one.
        height: pixels.
        width: pixels.
        num_worlds: the most worlds one call renders.
        **options: of the renderer, for example ``shadows=True`` or ``device="cuda"`` for ``"warp"``.

    Raises:
        ConfigError: for an unknown renderer or camera, or a size below 1.
        MissingExtraError: when the renderer cannot run on this machine.
    """
    if name not in RENDERERS:
        raise unknown_name("renderer", name, RENDERERS)
    module, cls = RENDERERS[name].split(":")
    factory = getattr(importlib.import_module(module), cls)
    renderer: Renderer = factory(model, cameras, height=height, width=width, num_worlds=num_worlds, **options)
    return renderer


def camera_ids(model: mujoco.MjModel, cameras: Sequence[str]) -> list[int]:
    """Ids of the named cameras.

    Raises:
        ConfigError: when there is none, a name appears twice, the model has no camera of a name, or a camera is not a
            perspective camera given by ``fovy``.
    """
    names = [model.cam(index).name for index in range(model.ncam)]
    for camera in cameras:
        if camera not in names:
            raise unknown_name("camera", camera, names)
    if not cameras or len(set(cameras)) != len(cameras):
        raise ConfigError(f"A renderer needs one or more different cameras; got {list(cameras)}. Choices: {', '.join(names)}.")
    ids = [names.index(camera) for camera in cameras]
    for camera, index in zip(cameras, ids, strict=True):
        if model.cam_projection[index] != mujoco.mjtProjection.mjPROJ_PERSPECTIVE or model.cam_sensorsize[index].any():
            raise ConfigError(
                f"Camera {camera!r} is orthographic or has a sensor size; renderers take perspective cameras given by fovy."
            )
    return ids


def check_size(height: int, width: int, num_worlds: int) -> None:
    """Refuse images without pixels and renderers without worlds.

    Raises:
        ConfigError: when a number is below 1.
    """
    if min(height, width, num_worlds) < 1:
        raise ConfigError(
            f"height, width and num_worlds must be 1 or more; got {height}, {width} and {num_worlds}. Give positive sizes."
        )


def check_worlds(model: mujoco.MjModel, cameras: Sequence[int], datas: Sequence[mujoco.MjData], num_worlds: int) -> None:
    """Refuse worlds that a renderer built for ``model`` would draw wrongly.

    Args:
        model: what the renderer was built from, as it was then.
        cameras: ids of the rendered cameras.
        datas: the worlds.
        num_worlds: the most there may be.

    Raises:
        ConfigError: for a wrong number of worlds, another model, or a camera whose lens changed.
    """
    if not 1 <= len(datas) <= num_worlds:
        raise ConfigError(
            f"render() takes 1 to {num_worlds} worlds here; got {len(datas)}. Make the renderer with num_worlds={len(datas)}."
        )
    for world, data in enumerate(datas):
        other = data.model
        if (other.ngeom, other.ncam, other.nlight, other.nmat) != (model.ngeom, model.ncam, model.nlight, model.nmat):
            raise ConfigError(
                f"World {world} belongs to another model ({other.ngeom} geoms, {other.ncam} cameras) than the renderer "
                f"({model.ngeom} geoms, {model.ncam} cameras). Make one renderer per compiled model."
            )
        if any(other.cam_fovy[camera] != model.cam_fovy[camera] for camera in cameras):
            raise ConfigError(
                f"World {world} has other camera lenses (cam_fovy) than the renderer was made with. Make a new renderer."
            )
