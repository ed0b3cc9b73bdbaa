"""Open the drawer of the named colour and put the cube of the named colour into it."""

from collections.abc import Sequence

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

DROP = (0.07, 0.0, HANDLE_TOP + HAND_CLEARANCE - HAND_BOTTOM)
"""Where the expert lets a cube fall, in the drawer's frame: the hand passes over the handles of the other drawers."""

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

    @property
    def num_variations(self) -> int:
        """One variation for each colour of a cube with each of a drawer."""
        return _NUM_COLORS**2

    def fill(self, template: str, variation: int) -> str:
        """The colours of cube and drawer."""
        item, drawer = divmod(variation, _NUM_COLORS)
        return template.format(item=COLOR_NAMES[item], drawer=COLOR_NAMES[drawer])

    def candidate(self, scenario: Scenario, variation: int) -> int | None:
        """The cube and the drawer of the variation's colours."""
        item, drawer = divmod(variation, _NUM_COLORS)
        items, drawers = scenario.colors[:NUM_CUBES], scenario.colors[NUM_CUBES:]
        if item not in items or drawer not in drawers:
            return None
        return NUM_DRAWERS * items.index(item) + drawers.index(drawer)

    def variation_of(self, scenario: Scenario, candidate: int) -> int:
        """The colours of a candidate's cube and drawer."""
        item, drawer = divmod(candidate, NUM_DRAWERS)
        return _NUM_COLORS * scenario.colors[item] + scenario.colors[NUM_CUBES + drawer]

    def rivals(self, world: World, scenario: Scenario) -> Sequence[int]:
        """Before the first motion the other drawers; when the drawer is open and the hand about to travel the other cubes."""
        item, drawer = divmod(scenario.goal, NUM_DRAWERS)
        if world.untouched:
            return [NUM_DRAWERS * item + other for other in range(NUM_DRAWERS) if other != drawer]
        travels = not self.expert_action(world, scenario).ignore_collisions
        if travels and world.held() is None and world.joint(DRAWERS[drawer]) >= GOAL_OPENING:
            return [NUM_DRAWERS * other + drawer for other in range(NUM_CUBES) if other != item]
        return []

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the cubes and the cabinet."""
        add_cubes(spec)
        add_cabinet(spec, CABINET)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw colours and places: the cubes' first, then the drawers' and the cabinet's."""
        cabinet, *cubes = draw_layout(rng, [_CABINET_FRONT, *[_CUBE_FOOTPRINT] * NUM_CUBES], CLEARANCE, fits=_beside_cabinet)
        item, drawer = divmod(variation, _NUM_COLORS)
        items = rng.permutation(distinct_colors(rng, NUM_CUBES, [item])).tolist()
        drawers = rng.permutation(distinct_colors(rng, NUM_DRAWERS, [drawer])).tolist()
        goal = NUM_DRAWERS * items.index(item) + drawers.index(drawer)
        swapped = int(rng.choice([index for index in range(self.num_candidates) if index != goal]))
        return Scenario(variation=variation, goal=goal, swapped=swapped, colors=(*items, *drawers), poses=(*cubes, cabinet))

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Put the cubes on the table and the cabinet beside them, all drawers shut."""
        put_cubes(world, scenario.poses, scenario.colors)
        put_cabinet(world, scenario.poses[NUM_CUBES], scenario.colors[NUM_CUBES:])

    def kept_free(self, world: World, scenario: Scenario) -> Float[np.ndarray, "n 3"]:
        """The way of the drawers."""
        return drawers_way(world)

    def reached(self, world: World, candidate: int) -> bool:
        """Whether the cube rests in the drawer, let go, the drawer no nearer to shut than where the cube fits in."""
        cube, drawer = cube_and_drawer(candidate)
        return self.disturbed(world, candidate) and world.joint(drawer) >= _PASSAGE and let_go(world, cube)

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether the cube is in the drawer."""
        cube, drawer = cube_and_drawer(candidate)
        return inside_drawer(world.to_body(drawer, world.position(cube)))

    def wrong_object(self, world: World, scenario: Scenario) -> bool:
        """Whether another cube was picked up or another drawer opened."""
        cube, drawer = cube_and_drawer(scenario.goal)
        others = (picked_up(world, other) for other in CUBES if other != cube)
        return any(others) or any(opened(world, other) for other in DRAWERS if other != drawer)

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """Over the handle, down and close, pull and let go, up; over the cube, down and close, up, over the drawer, open."""
        cube, drawer = cube_and_drawer(scenario.goal)
        if world.joint(drawer) < GOAL_OPENING:
            return pull_open(world, drawer, gripper_open=True)
        if world.held() != cube and self.disturbed(world, scenario.goal):
            return rise(world)
        return carry(world, cube, world.to_world(drawer, DROP), body_yaw(world, drawer))


def cube_and_drawer(candidate: int) -> tuple[str, str]:
    """Bodies of a candidate's cube and drawer."""
    item, drawer = divmod(candidate, NUM_DRAWERS)
    return CUBES[item], DRAWERS[drawer]


def taken_by_cabinet(cabinet: TablePose) -> tuple[TablePose, tuple[float, float]]:
    """The rectangle of table that a cabinet and its drawers, shut or open, stand on: centre, and half of its edges, metres."""
    front, back = -_LARGEST * (DRAWER_TRAVEL + HANDLE_CLEARANCE + HANDLE_RADIUS), _LARGEST * CABINET_DEPTH
    middle = (front + back) / 2
    center = TablePose(cabinet.x + middle * np.cos(cabinet.yaw), cabinet.y + middle * np.sin(cabinet.yaw), cabinet.yaw)
    return center, ((back - front) / 2, _LARGEST * CABINET_WIDTH / 2)


def _beside_cabinet(pose: TablePose, placed: Sequence[TablePose]) -> bool:
    """Whether the hand has room at a cube, whichever drawer is open; the cabinet is placed first, anywhere."""
    return not placed or room_for_hand(pose, *taken_by_cabinet(placed[0]))
