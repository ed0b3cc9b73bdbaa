"""Stack blocks of the named colours in the named order."""

from collections.abc import Sequence
from itertools import pairwise
from math import perm
from typing import ClassVar

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import COLOR_NAMES, distinct_colors
from vla3d.envs.tabletop.expert import cube_yaw, rise
from vla3d.envs.tabletop.objects import CUBE_EDGE
from vla3d.envs.tabletop.placement import TablePose, draw_layout
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.tasks.choices import another, orders
from vla3d.envs.tabletop.tasks.cubes import (
    CLEARANCE,
    CUBE_FOOTPRINT,
    add_cubes,
    carry,
    cube_names,
    half_edge,
    let_go,
    picked_up,
    put_cubes,
    room_for_hand,
    stacked,
)
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

NUM_BLOCKS = 5
BLOCKS = cube_names(NUM_BLOCKS)

_PLACES = ("base", "second", "third", "fourth")
_CUBE_HALF = (CUBE_EDGE / 2, CUBE_EDGE / 2)
# Just above contact: the block neither presses on the one below nor falls far enough to tip.
_RELEASE_GAP = 0.002


class StackBlocks(TabletopTask):
    """Five cubes; the goal is the second named one at rest on the first and the third on the second, within 1 cm, let go.

    A candidate is an order of as many of the blocks as the tower is high, from the bottom up; a variation is such an order of
    the colours.

    Attributes:
        tower_height: how many blocks the sentence names.
    """

    name = "stack_blocks"
    tower_height: ClassVar[int] = 3
    instances = BLOCKS
    num_candidates = perm(NUM_BLOCKS, 3)
    templates = (
        "stack the {second} block on the {base} block, then put the {third} block on top",
        "put the {second} cube on the {base} cube and the {third} cube on the {second} cube",
        "build a tower with {base} at the bottom, {second} in the middle and {third} on top",
        "place the {second} block on the {base} one, then the {third} block on the {second} one",
        "make a stack of three: {base} below, then {second}, then {third}",
        "set the {second} cube on top of the {base} cube, then add the {third} cube",
    )
    unseen_templates = (
        "pile up three blocks from the table upwards, first {base}, next {second}, last {third}",
        "the {third} block belongs on the {second} one, which belongs on the {base} one",
    )
    expert_keyframes = 11
    manipulated = BLOCKS

    @property
    def num_variations(self) -> int:
        """One variation for each order of different colours."""
        return len(self._color_orders)

    def fill(self, template: str, variation: int) -> str:
        """The colours in the order of the tower, from the bottom up."""
        colors = self._color_orders[variation]
        return template.format(**{place: COLOR_NAMES[color] for place, color in zip(_PLACES, colors, strict=False)})

    def candidate(self, scenario: Scenario, variation: int) -> int | None:
        """The tower of the blocks that have the variation's colours."""
        colors = self._color_orders[variation]
        if not set(colors) <= set(scenario.colors):
            return None
        return self._block_orders.index(tuple(scenario.colors.index(color) for color in colors))

    def variation_of(self, scenario: Scenario, candidate: int) -> int:
        """The order of a tower's colours."""
        return self._color_orders.index(tuple(scenario.colors[block] for block in self._block_orders[candidate]))

    def rivals(self, world: World, scenario: Scenario) -> Sequence[int]:
        """Wherever the hand is about to travel: to other blocks next, or with the first one to other bases."""
        if self.expert_action(world, scenario).ignore_collisions:
            return []
        order = self._block_orders[scenario.goal]
        height = self._built(world, self.tower(scenario.goal))
        place, used = height, order[:height] if height > 1 else ()
        if world.held() is not None:
            if height > 1:
                return []
            place, used = 0, order[1:2]
        others = [block for block in range(NUM_BLOCKS) if block != order[place] and block not in used]
        return [self._block_orders.index(_exchange(order, place, block)) for block in others]

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the blocks."""
        add_cubes(spec, BLOCKS)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw colours and places; the hand has room at each block wherever the tower stands."""
        poses = draw_layout(rng, [CUBE_FOOTPRINT] * NUM_BLOCKS, CLEARANCE, fits=_hand_passes_towers)
        colors = distinct_colors(rng, NUM_BLOCKS, self._color_orders[variation])
        shuffled = tuple(int(color) for color in rng.permutation(colors))
        order = tuple(shuffled.index(color) for color in self._color_orders[variation])
        goal = self._block_orders.index(order)
        swapped = another(rng, self.num_candidates, goal)
        return Scenario(variation=variation, goal=goal, swapped=swapped, colors=shuffled, poses=tuple(poses))

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Put the blocks on the table."""
        put_cubes(world, scenario.poses, scenario.colors, BLOCKS)

    def reached(self, world: World, candidate: int) -> bool:
        """Whether the tower stands, at rest and let go."""
        return self.disturbed(world, candidate) and all(let_go(world, block) for block in self.tower(candidate))

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether every block of the tower is in its place."""
        tower = self.tower(candidate)
        return self._built(world, tower) == len(tower)

    def wrong_object(self, world: World, scenario: Scenario) -> bool:
        """Whether a block was picked up whose turn it was not, or lies on a wrong one."""
        tower = self.tower(scenario.goal)
        height = self._built(world, tower)
        right = {*tower[1:height]}
        if height < len(tower) and world.held() == tower[height]:
            right.add(tower[height])
        return any(picked_up(world, block) for block in BLOCKS if block not in right)

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """For each block: over it, down and close, up, over the tower, down and open; straight up before the next."""
        tower = self.tower(scenario.goal)
        height = self._built(world, tower)
        if height == len(tower):
            return rise(world)
        block, below = tower[height], tower[height - 1]
        gap = half_edge(world, below) + half_edge(world, block) + _RELEASE_GAP
        return carry(world, block, np.add(world.position(below), (0.0, 0.0, gap)), cube_yaw(world, below))

    def tower(self, candidate: int) -> tuple[str, ...]:
        """A candidate's blocks, from the bottom up."""
        return tuple(BLOCKS[block] for block in self._block_orders[candidate])

    @property
    def _block_orders(self) -> tuple[tuple[int, ...], ...]:
        return orders(NUM_BLOCKS, self.tower_height)

    @property
    def _color_orders(self) -> tuple[tuple[int, ...], ...]:
        return orders(len(COLOR_NAMES), self.tower_height)

    @staticmethod
    def _built(world: World, tower: tuple[str, ...]) -> int:
        """How many blocks are in their places, from the bottom up; the base is wherever it stands."""
        for height, (lower, upper) in enumerate(pairwise(tower), start=1):
            if not stacked(world, upper, lower) or world.held() == upper:
                return height
        return len(tower)


def _exchange(order: tuple[int, ...], place: int, block: int) -> tuple[int, ...]:
    """The order with ``block`` at a place; where it was before comes the one that was there."""
    swap = {order[place]: block, block: order[place]}
    return tuple(swap.get(other, other) for other in order)


def _hand_passes_towers(pose: TablePose, placed: Sequence[TablePose]) -> bool:
    """Whether the hand reaches each of two blocks beside a tower on the other."""
    return all(room_for_hand(pose, other, _CUBE_HALF) and room_for_hand(other, pose, _CUBE_HALF) for other in placed)
