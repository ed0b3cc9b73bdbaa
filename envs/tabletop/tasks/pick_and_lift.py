"""Lift the cube of the named colour."""

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import distinct_colors
from vla3d.envs.tabletop.placement import draw_layout
from vla3d.envs.tabletop.tasks.base import Scenario, name_one
from vla3d.envs.tabletop.tasks.cubes import (
    CLEARANCE,
    CUBE_FOOTPRINT,
    CUBES,
    NUM_CUBES,
    add_cubes,
    put_cubes,
)
from vla3d.envs.tabletop.tasks.lifting import LiftingTask
from vla3d.envs.tabletop.world import World


class PickAndLift(LiftingTask):
    """Three cubes of different colours; the goal is the named one's centre 10 cm above where it stood."""

    cubes = CUBES
    name = "pick_and_lift"
    instances = CUBES
    num_candidates = NUM_CUBES
    templates = (
        "pick up the {color} cube",
        "lift the {color} cube",
        "grasp the {color} cube and raise it",
        "take the {color} block and lift it up",
        "raise the {color} block off the table",
        "grab the {color} cube and hold it up",
    )
    unseen_templates = ("hoist the {color} cube into the air", "let the {color} block hover above the table")
    expert_keyframes = 3
    manipulated = CUBES

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the cubes."""
        add_cubes(spec)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw colours and places; which cube is the named one is drawn too."""
        poses = draw_layout(rng, [CUBE_FOOTPRINT] * NUM_CUBES, CLEARANCE)
        return name_one(rng, distinct_colors(rng, NUM_CUBES, [variation]), poses)

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Put the cubes on the table."""
        put_cubes(world, scenario.poses, scenario.colors)
