"""The room every task happens in: robot, table, light, four cameras, and the workspace box."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import FLOOR, TABLE
from vla3d.envs.tabletop.robot import PANDA, add_panda, configure_physics
from vla3d.types import Workspace

WORKSPACE = Workspace.from_bounds([0.20, -0.36, -0.03], [0.92, 0.36, 0.69])
"""One cube for all tasks. It holds the table where things stand and the room above it that the hand works in."""

START_Q = np.array([0.0, -0.812, 0.0, -2.389, 0.0, 1.577, np.pi / 4])
"""Arm joints when an episode begins, radians: hand down and drawn back to (0.30, 0, 0.48), so it hides nothing from above."""

TABLE_CENTER = (0.45, 0.0)
TABLE_SIZE = (1.2, 1.6)
TABLE_THICKNESS = 0.04
FLOOR_HEIGHT = -0.75
GROUND: tuple[str, ...] = ("table", "floor")
"""Geoms that things stand on."""


@dataclass(frozen=True)
class SceneCamera:
    """A fixed camera: where it stands, what it looks at (metres, world), and its vertical field of view (degrees)."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fovy: float


FIXED_CAMERAS: dict[str, SceneCamera] = {
    "front": SceneCamera((1.45, 0.0, 0.80), (0.50, 0.0, 0.08), 34.0),
    "left_shoulder": SceneCamera((-0.05, 0.60, 0.90), (0.54, -0.02, 0.05), 39.0),
    "right_shoulder": SceneCamera((-0.05, -0.60, 0.90), (0.54, 0.02, 0.05), 39.0),
}
WRIST_CAMERA = "wrist"
CAMERA_NAMES: tuple[str, ...] = (*FIXED_CAMERAS, WRIST_CAMERA)

# In the hand's frame: before the palm, looking along the fingers; the finger tips are at the lower edge of the picture.
_WRIST_POSITION = (0.075, 0.0, 0.02)
_WRIST_TARGET = (0.06, 0.0, 0.20)
_WRIST_FOVY = 84.0


def new_scene() -> mujoco.MjSpec:
    """A scene with the robot at its table, ready for a task to add its objects."""
    spec = mujoco.MjSpec()
    configure_physics(spec)
    add_panda(spec)
    _add_room(spec)
    _add_cameras(spec)
    return spec


def look_at(position: Sequence[float], target: Sequence[float], up: Sequence[float]) -> np.ndarray:
    """Orientation (``wxyz``) of a MuJoCo camera, which looks along its -z with +y up."""
    backward = np.subtract(position, target).astype(np.float64)
    backward /= np.linalg.norm(backward)
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(backward, right), backward], axis=1)
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    return quaternion


def _add_room(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[*TABLE_CENTER, -TABLE_THICKNESS / 2],
        size=[TABLE_SIZE[0] / 2, TABLE_SIZE[1] / 2, TABLE_THICKNESS / 2],
        rgba=[*TABLE, 1],
    )
    world.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, pos=[0, 0, FLOOR_HEIGHT], size=[4, 4, 0.1], rgba=[*FLOOR, 1])
    world.add_light(
        name="ceiling",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.4, 0.3, 2.5],
        dir=[0.12, -0.18, -1.0],
        diffuse=[0.55, 0.55, 0.55],
        specular=[0.1, 0.1, 0.1],
        castshadow=True,
    )
    spec.visual.headlight.ambient = [0.45, 0.45, 0.45]
    spec.visual.headlight.diffuse = [0.25, 0.25, 0.25]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]


def _add_cameras(spec: mujoco.MjSpec) -> None:
    for name, camera in FIXED_CAMERAS.items():
        quaternion = look_at(camera.position, camera.target, up=(0, 0, 1))
        spec.worldbody.add_camera(name=name, pos=camera.position, quat=quaternion, fovy=camera.fovy)
    quaternion = look_at(_WRIST_POSITION, _WRIST_TARGET, up=(1, 0, 0))
    spec.body(PANDA.hand).add_camera(name=WRIST_CAMERA, pos=_WRIST_POSITION, quat=quaternion, fovy=_WRIST_FOVY)
