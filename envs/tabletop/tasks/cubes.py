"""The cubes that pick_and_lift and place_in_container share."""

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS
from vla3d.envs.tabletop.expert import cube_grasp, reach, straight_to
from vla3d.envs.tabletop.objects import CUBE_EDGE, add_cube
from vla3d.envs.tabletop.placement import Footprint, SpawnRange, TablePose
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

NUM_CUBES = 3
CUBES: tuple[str, ...] = tuple(f"cube_{index}" for index in range(NUM_CUBES))

SPAWN = SpawnRange(x=(0.36, 0.66), y=(-0.28, 0.28), yaw=np.pi / 4)
"""Where cubes and boxes stand. 0.30 m by 0.56 m; a cube turned by up to 45 degrees to either side has every orientation."""

CLEARANCE = 0.05
"""Least gap between any two things, metres. An open finger reaches 0.039 m beyond the face of the cube it is about to grip."""

CUBE_FOOTPRINT = Footprint(half=CUBE_EDGE / 2, spawn=SPAWN)

LIFT = 0.14
"""How far the expert lifts, metres."""


def add_cubes(spec: mujoco.MjSpec) -> None:
    """Add the cubes."""
    for cube in CUBES:
        add_cube(spec, cube)


def put_cubes(world: World, poses: tuple[TablePose, ...], colors: tuple[int, ...]) -> None:
    """Stand the cubes on the table; further poses and colours belong to other things."""
    for cube, pose, color in zip(CUBES, poses, colors, strict=False):
        world.put(cube, pose, CUBE_EDGE / 2)
        world.paint(cube, COLORS[COLOR_NAMES[color]])


def lifted(world: World, cube: str) -> float:
    """How far a cube is above where it stood on the table, metres."""
    return float(world.position(cube)[2] - world.scale(cube) * CUBE_EDGE / 2)


def pick_up(world: World, cube: str) -> KeyframeAction:
    """The expert's next action towards a cube in the air."""
    if world.held() != cube:
        return reach(world, cube_grasp(world, cube))
    rise = LIFT - lifted(world, cube)
    return straight_to(world, np.add(world.sim.tcp_pose()[:3, 3], (0.0, 0.0, rise)), gripper_open=False)
