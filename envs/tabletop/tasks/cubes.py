"""The cubes of every task that has some."""

import mujoco
import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS
from vla3d.envs.tabletop.expert import cube_grasp, reach, set_down, straight_to
from vla3d.envs.tabletop.objects import CUBE_EDGE, add_cube
from vla3d.envs.tabletop.placement import Footprint, SpawnRange, TablePose, rectangle_gap
from vla3d.envs.tabletop.robot import HAND_HALF, PANDA
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction


def cube_names(count: int) -> tuple[str, ...]:
    """Bodies of that many cubes."""
    return tuple(f"cube_{index}" for index in range(count))


NUM_CUBES = 3
CUBES = cube_names(NUM_CUBES)

SPAWN = SpawnRange(x=(0.36, 0.66), y=(-0.28, 0.28), yaw=np.pi / 4)
"""Where cubes and boxes stand. 0.30 m by 0.56 m; a cube turned by up to 45 degrees to either side has every orientation."""

CLEARANCE = 0.05
"""Least gap between any two things, metres. An open finger reaches 0.039 m beyond the face of the cube it is about to grip."""

HAND_CLEARANCE = 0.015
"""Least gap between the hand and what is tall enough to meet it, metres."""

CUBE_FOOTPRINT = Footprint(half=CUBE_EDGE / 2, spawn=SPAWN)

LIFT = 0.14
"""How far the expert lifts, metres."""

CARRY_HEIGHT = 0.10
"""How far up a cube is lifted before the expert carries it elsewhere, metres."""

OFF_THE_TABLE = 0.02
"""A cube this far above where it stood was picked up, metres."""

RESTING_SPEED = 0.02
"""A cube slower than this is at rest, m/s."""

STACKED_WITHIN = 0.01
"""Largest distance across between the centres of two cubes of which one stands on the other, metres."""

_STACKED_HEIGHT_WITHIN = 0.005


def add_cubes(spec: mujoco.MjSpec, cubes: tuple[str, ...] = CUBES) -> None:
    """Add the cubes."""
    for cube in cubes:
        add_cube(spec, cube)


def put_cubes(world: World, poses: tuple[TablePose, ...], colors: tuple[int, ...], cubes: tuple[str, ...] = CUBES) -> None:
    """Stand the cubes on the table; further poses and colours belong to other things."""
    for cube, pose, color in zip(cubes, poses, colors, strict=False):
        world.put(cube, pose, CUBE_EDGE / 2)
        world.paint(cube, COLORS[COLOR_NAMES[color]])


def room_for_hand(cube: TablePose, other: TablePose, other_half: tuple[float, float]) -> bool:
    """Whether the hand that grips a cube on the table stays clear of something taller than a cube.

    The hand's body is ``HAND_BOTTOM`` above the tool: over another cube, but not over two.

    Args:
        cube: pose of the cube that is gripped.
        other: centre of the taller thing.
        other_half: half of its edges along its own x and y, metres.
    """
    return rectangle_gap(cube, HAND_HALF[:2], other, other_half) >= HAND_CLEARANCE


def lifted(world: World, cube: str) -> float:
    """How far a cube is above where it stood on the table, metres."""
    return float(world.position(cube)[2] - half_edge(world, cube))


def half_edge(world: World, cube: str) -> float:
    """Half of a cube's edge as it was built, metres."""
    return world.scale(cube) * CUBE_EDGE / 2


def underside(world: World, cube: str) -> Float[np.ndarray, "3"]:
    """The point that is half an edge below a cube's centre, metres: the middle of the face it lies on."""
    return world.position(cube) - [0.0, 0.0, half_edge(world, cube)]


def picked_up(world: World, cube: str) -> bool:
    """Whether a cube is in the hand, or off the table."""
    return world.held() == cube or lifted(world, cube) > OFF_THE_TABLE


def stacked(world: World, upper: str, lower: str) -> bool:
    """Whether a cube is where it stands on another: centre over centre."""
    x, y, z = world.position(upper) - world.position(lower)
    height = half_edge(world, upper) + half_edge(world, lower)
    return bool(np.hypot(x, y) <= STACKED_WITHIN and abs(z - height) <= _STACKED_HEIGHT_WITHIN)


def let_go(world: World, cube: str) -> bool:
    """Whether the hand is open, touches the cube with neither finger, and the cube is at rest."""
    sim = world.sim
    if not sim.gripper_open or any(sim.in_contact(cube, finger) for finger in PANDA.fingers):
        return False
    return world.speed(cube) < RESTING_SPEED


def pick_up(world: World, cube: str) -> KeyframeAction:
    """The expert's next action towards a cube in the air."""
    if world.held() != cube:
        return reach(world, cube_grasp(world, cube))
    rise = LIFT - lifted(world, cube)
    return straight_to(world, np.add(world.sim.tcp_pose()[:3, 3], (0.0, 0.0, rise)), gripper_open=False)


def carry(world: World, cube: str, position: Float[np.ndarray, "3"], yaw: float) -> KeyframeAction:
    """The expert's next action towards a cube let go with its centre at ``position`` (metres, world), turned by ``yaw``.

    Over the cube, down and close, up, over the place, down and open.
    """
    if world.held() != cube:
        return pick_up(world, cube)
    action = set_down(world, cube, position, yaw)
    over_the_place = action.gripper_open
    return action if over_the_place or lifted(world, cube) >= CARRY_HEIGHT else pick_up(world, cube)
