"""Small worlds around the arm, and top-down actions, for the tests of its motion."""

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from vla3d.envs.tabletop.robot import add_panda, configure_physics
from vla3d.types import KeyframeAction

BOX = mujoco.mjtGeom.mjGEOM_BOX


def base_spec() -> mujoco.MjSpec:
    """The arm at a bare table."""
    spec = mujoco.MjSpec()
    configure_physics(spec)
    add_panda(spec)
    spec.worldbody.add_geom(name="table", type=BOX, pos=[0.4, 0, -0.02], size=[0.6, 0.8, 0.02])
    return spec


def bare_model() -> mujoco.MjModel:
    return base_spec().compile()


def cube_model(half: float = 0.02) -> mujoco.MjModel:
    """A free cube on the table."""
    spec = base_spec()
    cube = spec.worldbody.add_body(name="cube", pos=[0.5, 0, half])
    cube.add_freejoint()
    cube.add_geom(type=BOX, size=[half] * 3, mass=0.06, condim=4, solref=[0.01, 1])
    return spec.compile()


def wall_model(height: float = 0.3, with_cube: bool = False) -> mujoco.MjModel:
    """A wall along x that parts the table in a left and a right half."""
    spec = base_spec()
    spec.worldbody.add_geom(name="wall", type=BOX, pos=[0.5, 0, height / 2], size=[0.25, 0.02, height / 2])
    if with_cube:
        cube = spec.worldbody.add_body(name="cube", pos=[0.5, 0.25, 0.02])
        cube.add_freejoint()
        cube.add_geom(type=BOX, size=[0.02] * 3, mass=0.06, condim=4, solref=[0.01, 1])
    return spec.compile()


def drawer_model() -> mujoco.MjModel:
    """A sliding block with an upright post 6 cm before its face, towards the robot."""
    spec = base_spec()
    drawer = spec.worldbody.add_body(name="drawer", pos=[0.72, 0, 0.06])
    drawer.add_joint(
        name="slide",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[-1, 0, 0],
        range=[0, 0.15],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        damping=[5, 0, 0],
        frictionloss=1.0,
    )
    drawer.add_geom(type=BOX, size=[0.1, 0.05, 0.04], mass=0.5)
    drawer.add_geom(type=BOX, pos=[-0.13, 0, -0.03], size=[0.03, 0.005, 0.005], mass=0.02)
    drawer.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[-0.16, 0, -0.03, -0.16, 0, 0.04], size=[0.008, 0, 0], mass=0.02)
    return spec.compile()


def top_down_quaternion(yaw: float = 0.0) -> np.ndarray:
    return Rotation.from_euler("xz", [np.pi, yaw]).as_quat(scalar_first=True)


def top_down(
    x: float, y: float, z: float, *, yaw: float = 0.0, gripper_open: bool = True, ignore: bool = False
) -> KeyframeAction:
    """The hand pointing straight down with the tool centre at ``(x, y, z)``."""
    return KeyframeAction(
        position=np.array([x, y, z]),
        quaternion=top_down_quaternion(yaw),
        gripper_open=gripper_open,
        ignore_collisions=ignore,
    )
