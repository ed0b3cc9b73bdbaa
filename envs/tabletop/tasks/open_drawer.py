"""Pull open the drawer of the named colour."""

import mujoco
import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.colors import distinct_colors
from vla3d.envs.tabletop.objects import NUM_DRAWERS, add_cabinet
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask, name_one
from vla3d.envs.tabletop.tasks.drawers import CABINET, DRAWERS, GOAL_OPENING, SPAWN, drawers_way, opened, pull_open, put_cabinet
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction


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
        put_cabinet(world, scenario.poses[0], scenario.colors)

    def kept_free(self, world: World, scenario: Scenario) -> Float[np.ndarray, "n 3"]:
        """The way of the drawers."""
        return drawers_way(world)

    def reached(self, world: World, candidate: int) -> bool:
        """Whether the drawer is at least 80 % open."""
        return world.joint(DRAWERS[candidate]) >= GOAL_OPENING

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether the drawer's handle is in the hand, or the drawer ajar."""
        return opened(world, DRAWERS[candidate])

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """Over the handle, down and close, pull."""
        return pull_open(world, DRAWERS[scenario.goal], gripper_open=False)
