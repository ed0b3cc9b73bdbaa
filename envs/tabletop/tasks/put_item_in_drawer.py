"""Open the drawer of the named colour and put the cube of the named colour into it."""

from collections.abc import Sequence
from typing import ClassVar

import mujoco
import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.colors import COLOR_NAMES, distinct_colors
from vla3d.envs.tabletop.expert import body_yaw, rise
from vla3d.envs.tabletop.objects import (
    CABINET_DEPTH,
    CABINET_WIDTH,
    CUBE_EDGE,
    DRAWER_TRAVEL,
    HANDLE_CLEARANCE,
    HANDLE_RADIUS,
    HANDLE_TOP,
    NUM_DRAWERS,
    add_cabinet,
    inside_drawer,
)
from vla3d.envs.tabletop.placement import Footprint, SpawnRange, TablePose, draw_layout
from vla3d.envs.tabletop.robot import HAND_BOTTOM
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.tasks.choices import another, subsets
from vla3d.envs.tabletop.tasks.cubes import (
    CLEARANCE,
    CUBES,
    HAND_CLEARANCE,
    NUM_CUBES,
    add_cubes,
    carry,
    let_go,
    picked_up,
    put_cubes,
    room_for_hand,
)
from vla3d.envs.tabletop.tasks.drawers import (
    CABINET,
    DRAWERS,
    GOAL_OPENING,
    SPAWN,
    drawers_way,
    opened,
    pull_open,
    put_cabinet,
)
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

CUBE_SPAWN = SpawnRange(x=(0.31, 0.66), y=(-0.30, 0.30), yaw=np.pi / 4)
"""Where cubes stand: 0.35 m by 0.60 m, less what the episode's cabinet, its drawers and the hand beside them take of it.

Any nearer to the robot and the elbow is folded up."""

DROP_HEIGHT = HANDLE_TOP + HAND_CLEARANCE - HAND_BOTTOM
"""From where the expert lets a cube fall, in the drawer's frame: the hand passes over the handles of the other drawers."""

_NUM_COLORS = len(COLOR_NAMES)
# A drawer that a cube fits into.
_PASSAGE = 1.5 * CUBE_EDGE
# Suites change the cabinet's size. Room for their very largest would leave too little for the cubes.
_LARGEST = 1.1
_CUBE_FOOTPRINT = Footprint(half=CUBE_EDGE / 2, spawn=CUBE_SPAWN)
_CABINET_FRONT = Footprint(half=0.0, spawn=SPAWN)


class PutItemInDrawer(TabletopTask):
    """A cabinet with three drawers and three cubes; the goal is the named cube at rest in the named drawer, the hand open.

    A candidate is ``NUM_DRAWERS * cube + drawer``; a variation likewise of the colours, which may be the same.
    Cubes stand clear of the ways of all drawers, so none stands in the middle before the cabinet. Over the episodes they are
    everywhere in ``CUBE_SPAWN``.

    Attributes:
        cubes: bodies of the cubes.
        num_items: how many of them the sentence names.
        drops: how deep in the drawer the expert lets them fall: x in the drawer's frame.
    """

    name = "put_item_in_drawer"
    instances = (*CUBES, *DRAWERS, CABINET)
    num_candidates = NUM_CUBES * NUM_DRAWERS
    templates = (
        "open the {drawer} drawer and put the {item} cube in it",
        "put the {item} cube in the {drawer} drawer",
        "place the {item} block inside the {drawer} drawer",
        "pull out the {drawer} drawer and drop the {item} block into it",
        "the {item} cube belongs in the drawer with the {drawer} handle",
        "store the {item} cube in the {drawer} drawer",
    )
    unseen_templates = (
        "hide the {item} block in the {drawer} drawer",
        "get the {drawer} drawer open, then let the {item} cube fall into it",
    )
    expert_keyframes = 9
    manipulated = CUBES
    receiving = (CABINET, *DRAWERS)
    cubes: ClassVar[tuple[str, ...]] = CUBES
    num_items: ClassVar[int] = 1
    drops: ClassVar[tuple[float, ...]] = (0.07,)

    @property
    def num_variations(self) -> int:
        """One variation for each colour of the cubes with each of a drawer."""
        return len(self._color_sets) * _NUM_COLORS

    def fill(self, template: str, variation: int) -> str:
        """The colours of cubes and drawer."""
        items, drawer = divmod(variation, _NUM_COLORS)
        names = dict(zip(("item", "other"), (COLOR_NAMES[color] for color in self._color_sets[items]), strict=False))
        return template.format(**names, drawer=COLOR_NAMES[drawer])

    def candidate(self, scenario: Scenario, variation: int) -> int | None:
        """The cubes and the drawer of the variation's colours."""
        items, drawer = divmod(variation, _NUM_COLORS)
        painted, drawers = scenario.colors[: len(self.cubes)], scenario.colors[len(self.cubes) :]
        if not set(self._color_sets[items]) <= set(painted) or drawer not in drawers:
            return None
        named = tuple(sorted(painted.index(color) for color in self._color_sets[items]))
        return NUM_DRAWERS * self._cube_sets.index(named) + drawers.index(drawer)

    def variation_of(self, scenario: Scenario, candidate: int) -> int:
        """The colours of a candidate's cubes and drawer."""
        cubes, drawer = divmod(candidate, NUM_DRAWERS)
        colors = tuple(sorted(scenario.colors[cube] for cube in self._cube_sets[cubes]))
        return _NUM_COLORS * self._color_sets.index(colors) + scenario.colors[len(self.cubes) + drawer]

    def rivals(self, world: World, scenario: Scenario) -> Sequence[int]:
        """Before the first motion the other drawers; when the drawer is open and the hand about to travel the other cubes."""
        cubes, drawer = divmod(scenario.goal, NUM_DRAWERS)
        if world.untouched:
            return [NUM_DRAWERS * cubes + other for other in range(NUM_DRAWERS) if other != drawer]
        travels = not self.expert_action(world, scenario).ignore_collisions
        if not travels or world.held() is not None or world.joint(DRAWERS[drawer]) < GOAL_OPENING:
            return []
        same_drawer = (NUM_DRAWERS * other + drawer for other in range(len(self._cube_sets)))
        waiting = self._waiting(world, scenario.goal)
        return [other for other in same_drawer if self._waiting(world, other)[:1] != waiting[:1]]

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the cubes and the cabinet."""
        add_cubes(spec, self.cubes)
        add_cabinet(spec, CABINET)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw colours and places: the cubes' first, then the drawers' and the cabinet's."""
        count = len(self.cubes)
        cabinet, *cubes = draw_layout(rng, [_CABINET_FRONT, *[_CUBE_FOOTPRINT] * count], CLEARANCE, fits=_beside_cabinet)
        items, drawer = divmod(variation, _NUM_COLORS)
        painted = rng.permutation(distinct_colors(rng, count, self._color_sets[items])).tolist()
        drawers = rng.permutation(distinct_colors(rng, NUM_DRAWERS, [drawer])).tolist()
        named = tuple(sorted(painted.index(color) for color in self._color_sets[items]))
        goal = NUM_DRAWERS * self._cube_sets.index(named) + drawers.index(drawer)
        swapped = another(rng, self.num_candidates, goal)
        return Scenario(variation=variation, goal=goal, swapped=swapped, colors=(*painted, *drawers), poses=(*cubes, cabinet))

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Put the cubes on the table and the cabinet beside them, all drawers shut."""
        put_cubes(world, scenario.poses, scenario.colors, self.cubes)
        put_cabinet(world, scenario.poses[len(self.cubes)], scenario.colors[len(self.cubes) :])

    def kept_free(self, world: World, scenario: Scenario) -> Float[np.ndarray, "n 3"]:
        """The way of the drawers."""
        return drawers_way(world)

    def reached(self, world: World, candidate: int) -> bool:
        """Whether the cubes rest in the drawer, let go, the drawer no nearer to shut than where a cube fits in."""
        cubes, drawer = self.cubes_and_drawer(candidate)
        inside = self.disturbed(world, candidate) and world.joint(drawer) >= _PASSAGE
        return inside and all(let_go(world, cube) for cube in cubes)

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether the cubes are in the drawer."""
        cubes, drawer = self.cubes_and_drawer(candidate)
        return all(self.inside(world, cube, drawer) for cube in cubes)

    def wrong_object(self, world: World, scenario: Scenario) -> bool:
        """Whether another cube was picked up or put into the drawer, or another drawer opened."""
        cubes, drawer = self.cubes_and_drawer(scenario.goal)
        others = [other for other in self.cubes if other not in cubes]
        if any(picked_up(world, other) or self.inside(world, other, drawer) for other in others):
            return True
        return any(opened(world, other) for other in DRAWERS if other != drawer)

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """Over the handle, down and close, pull and let go, up; over the cube, down and close, up, over the drawer, open."""
        _, drawer = self.cubes_and_drawer(scenario.goal)
        if world.joint(drawer) < GOAL_OPENING:
            return pull_open(world, drawer, gripper_open=True)
        waiting = self._waiting(world, scenario.goal)
        if not waiting:
            return rise(world)
        held = world.held()
        cube = held if held in waiting else waiting[0]
        return carry(world, cube, self._drop(world, cube, drawer), body_yaw(world, drawer))

    def cubes_and_drawer(self, candidate: int) -> tuple[tuple[str, ...], str]:
        """Bodies of a candidate's cubes and drawer."""
        cubes, drawer = divmod(candidate, NUM_DRAWERS)
        return tuple(self.cubes[cube] for cube in self._cube_sets[cubes]), DRAWERS[drawer]

    def inside(self, world: World, cube: str, drawer: str) -> bool:
        """Whether a cube is in a drawer."""
        return inside_drawer(world.to_body(drawer, world.position(cube)))

    def _waiting(self, world: World, candidate: int) -> list[str]:
        """The candidate's cubes that are not let go in the drawer yet."""
        cubes, drawer = self.cubes_and_drawer(candidate)
        return [cube for cube in cubes if world.held() == cube or not self.inside(world, cube, drawer)]

    def _drop(self, world: World, cube: str, drawer: str) -> Float[np.ndarray, "3"]:
        """Where the expert lets a cube fall: the place in the drawer that is farthest from what lies in it."""
        others = [other for other in self.cubes if other != cube and self.inside(world, other, drawer)]
        depths = [world.to_body(drawer, world.position(other))[0] for other in others]
        free = max(self.drops, key=lambda drop: min((abs(drop - depth) for depth in depths), default=0.0))
        return world.to_world(drawer, (free, 0.0, DROP_HEIGHT))

    @property
    def _cube_sets(self) -> tuple[tuple[int, ...], ...]:
        return subsets(len(self.cubes), self.num_items)

    @property
    def _color_sets(self) -> tuple[tuple[int, ...], ...]:
        return subsets(_NUM_COLORS, self.num_items)


def taken_by_cabinet(cabinet: TablePose) -> tuple[TablePose, tuple[float, float]]:
    """The rectangle of table that a cabinet and its drawers, shut or open, stand on: centre, and half of its edges, metres."""
    front, back = -_LARGEST * (DRAWER_TRAVEL + HANDLE_CLEARANCE + HANDLE_RADIUS), _LARGEST * CABINET_DEPTH
    middle = (front + back) / 2
    center = TablePose(cabinet.x + middle * np.cos(cabinet.yaw), cabinet.y + middle * np.sin(cabinet.yaw), cabinet.yaw)
    return center, ((back - front) / 2, _LARGEST * CABINET_WIDTH / 2)


def _beside_cabinet(pose: TablePose, placed: Sequence[TablePose]) -> bool:
    """Whether the hand has room at a cube, whichever drawer is open; the cabinet is placed first, anywhere."""
    return not placed or room_for_hand(pose, *taken_by_cabinet(placed[0]))
