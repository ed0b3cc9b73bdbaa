"""Pull open the drawer of the named colour."""

import mujoco
import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, distinct_colors
from vla3d.envs.tabletop.expert import Grasp, body_yaw, reach, straight_to
from vla3d.envs.tabletop.objects import DRAWER_TRAVEL, NUM_DRAWERS, add_cabinet, drawer_names, handle_position
from vla3d.envs.tabletop.placement import SpawnRange
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask, name_one
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

CABINET = "cabinet"
DRAWERS = drawer_names(CABINET)
SPAWN = SpawnRange(x=(0.55, 0.69), y=(-0.15, 0.15), yaw=np.radians(20))
"""Where the middle of the cabinet's front stands."""

GOAL_OPENING = 0.8 * DRAWER_TRAVEL
_AJAR = 0.02
# Short of the stop, so that the hand does not pull against it.
_PULLED_OPENING = DRAWER_TRAVEL - 0.005


def drawers_way(world: World) -> Float[np.ndarray, "n 3"]:
    """Circles (x, y, radius, metres) over the table before the cabinet, where drawers come out and the hand pulls."""
    places = [(x, y) for x in (0.0, -0.10, -0.20) for y in (-0.11, 0.0, 0.11)]
    return np.array([[*world.to_world(CABINET, (x, y, 0.0))[:2], 0.12] for x, y in places])


class OpenDrawer(TabletopTask):
    """A cabinet with three drawers side by side; the goal is the named one at least 80 % open."""

    name = "open_drawer"
    instances = (*DRAWERS, CABINET)
    num_candidates = NUM_DRAWERS
    templates = (
        "open the {color} drawer",
        "pull the {color} drawer open",
        "slide out the {color} drawer",
        "pull the {color} handle",
        "open the drawer with the {color} handle",
        "grasp the {color} handle and pull the drawer out",
    )
    unseen_templates = ("get the {color} drawer out of the cabinet", "unshut the drawer that is {color}")
    expert_keyframes = 3
    manipulated = (CABINET, *DRAWERS)

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the cabinet."""
        add_cabinet(spec, CABINET)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw the drawers' colours and the cabinet's place."""
        return name_one(rng, distinct_colors(rng, NUM_DRAWERS, [variation]), [SPAWN.draw(rng)])

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Place and paint the cabinet, all drawers shut."""
        world.fix(CABINET, scenario.poses[0])
        for drawer, color in zip(DRAWERS, scenario.colors, strict=True):
            world.paint(drawer, COLORS[COLOR_NAMES[color]])

    def kept_free(self, world: World, scenario: Scenario) -> Float[np.ndarray, "n 3"]:
        """The way of the drawers."""
        return drawers_way(world)

    def reached(self, world: World, candidate: int) -> bool:
        """Whether the drawer is at least 80 % open."""
        return world.joint(DRAWERS[candidate]) >= GOAL_OPENING

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether the drawer's handle is in the hand, or the drawer ajar."""
        drawer = DRAWERS[candidate]
        return world.held() == drawer or world.joint(drawer) > _AJAR

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """Over the handle, down and close, pull."""
        drawer = DRAWERS[scenario.goal]
        if world.held() != drawer:
            return reach(world, Grasp(world.to_world(drawer, handle_position()), body_yaw(world, CABINET)))
        rest = world.scale(drawer) * (_PULLED_OPENING - world.joint(drawer))
        pull = world.rotation(drawer) @ [-rest, 0.0, 0.0]
        return straight_to(world, world.sim.tcp_pose()[:3, 3] + pull, gripper_open=False)
