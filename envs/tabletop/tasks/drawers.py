"""The cabinet of every task that has drawers to open."""

import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS
from vla3d.envs.tabletop.expert import Grasp, body_yaw, reach, straight_to
from vla3d.envs.tabletop.objects import DRAWER_TRAVEL, drawer_names, handle_position
from vla3d.envs.tabletop.placement import SpawnRange, TablePose
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

CABINET = "cabinet"
DRAWERS = drawer_names(CABINET)
SPAWN = SpawnRange(x=(0.55, 0.69), y=(-0.15, 0.15), yaw=np.radians(20))
"""Where the middle of the cabinet's front stands."""

GOAL_OPENING = 0.8 * DRAWER_TRAVEL
"""A drawer this far out counts as open."""

_AJAR = 0.02
# Short of the stop, so that the hand does not pull against it.
_PULLED_OPENING = DRAWER_TRAVEL - 0.005


def drawers_way(world: World) -> Float[np.ndarray, "n 3"]:
    """Circles (x, y, radius, metres) over the table before the cabinet, where drawers come out and the hand pulls."""
    places = [(x, y) for x in (0.0, -0.10, -0.20) for y in (-0.11, 0.0, 0.11)]
    return np.array([[*world.to_world(CABINET, (x, y, 0.0))[:2], 0.12] for x, y in places])


def put_cabinet(world: World, pose: TablePose, colors: tuple[int, ...]) -> None:
    """Place the cabinet and paint its drawers, all of them shut."""
    world.fix(CABINET, pose)
    for drawer, color in zip(DRAWERS, colors, strict=True):
        world.paint(drawer, COLORS[COLOR_NAMES[color]])


def opened(world: World, drawer: str) -> bool:
    """Whether a drawer's handle is in the hand, or the drawer ajar."""
    return world.held() == drawer or world.joint(drawer) > _AJAR


def pull_open(world: World, drawer: str, *, gripper_open: bool) -> KeyframeAction:
    """The expert's next action towards an open drawer: over the handle, down and close, pull.

    Args:
        world: the present state.
        drawer: the drawer's body.
        gripper_open: whether the hand lets go of the handle after pulling.
    """
    if world.held() != drawer:
        return reach(world, Grasp(world.to_world(drawer, handle_position()), body_yaw(world, CABINET)))
    rest = world.scale(drawer) * (_PULLED_OPENING - world.joint(drawer))
    pull = world.rotation(drawer) @ [-rest, 0.0, 0.0]
    return straight_to(world, world.sim.tcp_pose()[:3, 3] + pull, gripper_open=gripper_open)
