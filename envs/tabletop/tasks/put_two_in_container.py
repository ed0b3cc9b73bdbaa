"""Put the two cubes of the named colours into the open box."""

from math import comb

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, distinct_colors
from vla3d.envs.tabletop.expert import rise
from vla3d.envs.tabletop.objects import add_open_box, inside_open_box
from vla3d.envs.tabletop.placement import draw_layout
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.tasks.choices import another, subsets
from vla3d.envs.tabletop.tasks.cubes import (
    CARRY_HEIGHT,
    CLEARANCE,
    CUBE_FOOTPRINT,
    add_cubes,
    cube_names,
    let_go,
    lifted,
    pick_up,
    picked_up,
    put_cubes,
    underside,
)
from vla3d.envs.tabletop.tasks.place_in_container import BOX, BOX_FOOTPRINT, let_fall_into_box
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

NUM_CUBES = 4
CUBES = cube_names(NUM_CUBES)

_PAIRS = subsets(NUM_CUBES, 2)
_COLOR_PAIRS = subsets(len(COLOR_NAMES), 2)
# Where the expert lets cubes fall, in the box's frame: side by side.
_PLACES = ((0.035, 0.0), (-0.035, 0.0))


class PutTwoInContainer(TabletopTask):
    """Four cubes and an open box; the goal is two named cubes at rest inside the box's walls, the hand open."""

    name = "put_two_in_container"
    instances = (*CUBES, BOX)
    num_candidates = comb(NUM_CUBES, 2)
    templates = (
        "put the {first} cube and the {second} cube in the box",
        "place the {second} cube and the {first} cube in the container",
        "drop the {first} block and the {second} block into the tray",
        "move the {second} cube and the {first} cube into the bin",
        "the {first} block and the {second} block belong in the box",
        "pick up the {second} cube and the {first} cube and put them into the container",
    )
    unseen_templates = (
        "store both the {first} cube and the {second} cube inside the box",
        "the container is where the {second} block and the {first} block should go",
    )
    expert_keyframes = 9
    held_out = True
    manipulated = CUBES
    receiving = (BOX,)

    @property
    def num_variations(self) -> int:
        """One variation for each two colours."""
        return len(_COLOR_PAIRS)

    def fill(self, template: str, variation: int) -> str:
        """The two colours."""
        first, second = _COLOR_PAIRS[variation]
        return template.format(first=COLOR_NAMES[first], second=COLOR_NAMES[second])

    def candidate(self, scenario: Scenario, variation: int) -> int | None:
        """The two cubes of the variation's colours."""
        painted = scenario.colors[:NUM_CUBES]
        if not set(_COLOR_PAIRS[variation]) <= set(painted):
            return None
        first, second = sorted(painted.index(color) for color in _COLOR_PAIRS[variation])
        return _PAIRS.index((first, second))

    def variation_of(self, scenario: Scenario, candidate: int) -> int:
        """The colours of two cubes."""
        first, second = sorted(scenario.colors[cube] for cube in _PAIRS[candidate])
        return _COLOR_PAIRS.index((first, second))

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the cubes and the box."""
        add_cubes(spec, CUBES)
        add_open_box(spec, BOX)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw colours and places; the box has a colour that no cube has."""
        box, *cubes = draw_layout(rng, [BOX_FOOTPRINT, *[CUBE_FOOTPRINT] * NUM_CUBES], CLEARANCE)
        *colors, box_color = distinct_colors(rng, NUM_CUBES + 1, _COLOR_PAIRS[variation])
        painted = rng.permutation(colors).tolist()
        first, second = sorted(painted.index(color) for color in _COLOR_PAIRS[variation])
        goal = _PAIRS.index((first, second))
        swapped = another(rng, self.num_candidates, goal)
        return Scenario(variation=variation, goal=goal, swapped=swapped, colors=(*painted, box_color), poses=(*cubes, box))

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Put cubes and box on the table."""
        put_cubes(world, scenario.poses, scenario.colors, CUBES)
        world.put(BOX, scenario.poses[NUM_CUBES])
        world.paint(BOX, COLORS[COLOR_NAMES[scenario.colors[NUM_CUBES]]])

    def reached(self, world: World, candidate: int) -> bool:
        """Whether both cubes rest in the box, let go."""
        return self.disturbed(world, candidate) and all(let_go(world, CUBES[cube]) for cube in _PAIRS[candidate])

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether both cubes are in the box."""
        return all(_inside(world, CUBES[cube]) for cube in _PAIRS[candidate])

    def wrong_object(self, world: World, scenario: Scenario) -> bool:
        """Whether a cube that is not named was picked up or put into the box."""
        others = [cube for index, cube in enumerate(CUBES) if index not in _PAIRS[scenario.goal]]
        return any(picked_up(world, cube) or _inside(world, cube) for cube in others)

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """For each cube: over it, down and close, up, over the box and open; straight up before the second."""
        held = world.held()
        named = [CUBES[cube] for cube in _PAIRS[scenario.goal]]
        waiting = [cube for cube in named if held == cube or not _inside(world, cube)]
        if not waiting:
            return rise(world)
        cube = held if held in waiting else waiting[0]
        if held != cube or lifted(world, cube) < CARRY_HEIGHT:
            return pick_up(world, cube)
        return let_fall_into_box(world, cube, _free_place(world, cube))


def _inside(world: World, cube: str) -> bool:
    """Whether a cube is in the box, be it on another one there: its underside is."""
    return inside_open_box(world.to_body(BOX, underside(world, cube)))


def _free_place(world: World, cube: str) -> tuple[float, float]:
    """The place in the box that is farthest from what lies in it."""
    others = [world.to_body(BOX, world.position(other)) for other in CUBES if other != cube and _inside(world, other)]
    return max(_PLACES, key=lambda place: min((np.hypot(*(other[:2] - place)) for other in others), default=0.0))
