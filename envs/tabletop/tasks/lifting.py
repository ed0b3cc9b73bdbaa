"""Tasks in which one of several cubes has to be in the air."""

from collections.abc import Sequence
from typing import ClassVar

from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.tasks.cubes import lifted, pick_up, picked_up
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

GOAL_RISE = 0.10


class LiftingTask(TabletopTask):
    """The goal is the centre of the named cube 10 cm above where it stood; subclasses say how it is named.

    Attributes:
        cubes: bodies of the cubes, in the order of the candidates.
    """

    cubes: ClassVar[Sequence[str]]

    def reached(self, world: World, candidate: int) -> bool:
        """Whether the cube is 10 cm above where it stood."""
        return lifted(world, self.cubes[candidate]) >= GOAL_RISE

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether the cube is in the hand, or off the table."""
        return picked_up(world, self.cubes[candidate])

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """Over the cube, down and close, up."""
        return pick_up(world, self.cubes[scenario.goal])
