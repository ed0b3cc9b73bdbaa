"""Put the cube of the named colour into the open box."""

from dataclasses import replace

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, distinct_colors
from vla3d.envs.tabletop.expert import body_yaw, top_down, wrap
from vla3d.envs.tabletop.objects import BOX_OUTER, BOX_RIM, add_open_box, inside_open_box
from vla3d.envs.tabletop.placement import Footprint, SpawnRange, draw_layout
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask, name_one
from vla3d.envs.tabletop.tasks.cubes import (
    CARRY_HEIGHT,
    CLEARANCE,
    CUBE_FOOTPRINT,
    CUBES,
    NUM_CUBES,
    RESTING_SPEED,
    SPAWN,
    add_cubes,
    half_edge,
    lifted,
    pick_up,
    put_cubes,
)
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

BOX = "box"
BOX_SPAWN = SpawnRange(x=SPAWN.x, y=(-0.25, 0.25), yaw=SPAWN.yaw)
"""Where the middle of the box stands: its corners, too, stay in the workspace."""

BOX_FOOTPRINT = Footprint(half=BOX_OUTER / 2, spawn=BOX_SPAWN)
_DROP_CLEARANCE = 0.01


class PlaceInContainer(TabletopTask):
    """Three cubes and an open box; the goal is the named cube at rest inside the box's walls, the hand open."""

    name = "place_in_container"
    instances = (*CUBES, BOX)
    num_candidates = NUM_CUBES
    templates = (
        "put the {color} cube in the box",
        "place the {color} cube in the container",
        "drop the {color} block into the tray",
        "move the {color} cube into the bin",
        "the {color} block belongs in the box",
        "pick up the {color} cube and put it into the container",
    )
    unseen_templates = ("store the {color} cube inside the box", "the container is where the {color} block should go")
    expert_keyframes = 4
    manipulated = CUBES
    receiving = (BOX,)

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the cubes and the box."""
        add_cubes(spec)
        add_open_box(spec, BOX)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw colours and places; the box has a colour that no cube has."""
        box, *cubes = draw_layout(rng, [BOX_FOOTPRINT, *[CUBE_FOOTPRINT] * NUM_CUBES], CLEARANCE)
        *colors, box_color = distinct_colors(rng, NUM_CUBES + 1, [variation])
        named = name_one(rng, colors, [*cubes, box])
        return replace(named, colors=(*named.colors, box_color))

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Put cubes and box on the table."""
        put_cubes(world, scenario.poses, scenario.colors)
        world.put(BOX, scenario.poses[NUM_CUBES])
        world.paint(BOX, COLORS[COLOR_NAMES[scenario.colors[NUM_CUBES]]])

    def reached(self, world: World, candidate: int) -> bool:
        """Whether the cube rests inside the walls, below the rim, and the hand is open."""
        cube = CUBES[candidate]
        inside = inside_open_box(world.to_body(BOX, world.position(cube)))
        return world.sim.gripper_open and inside and world.speed(cube) < RESTING_SPEED

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether the cube is in the hand or in the box."""
        cube = CUBES[candidate]
        return world.held() == cube or inside_open_box(world.to_body(BOX, world.position(cube)))

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """Over the cube, down and close, up, over the box and open."""
        cube = CUBES[scenario.goal]
        if world.held() != cube or lifted(world, cube) < CARRY_HEIGHT:
            return pick_up(world, cube)
        return let_fall_into_box(world, cube)


def let_fall_into_box(world: World, cube: str, place: tuple[float, float] = (0.0, 0.0)) -> KeyframeAction:
    """Bring the held cube over a place of the box, its faces parallel to the walls, and open the hand.

    Args:
        world: the present state.
        cube: the cube's body.
        place: x and y in the box's frame.
    """
    yaw = wrap(body_yaw(world, BOX), np.pi / 2)
    # The cube's underside goes over the rim, wherever the fingers hold it.
    grip = world.sim.tcp_pose()[2, 3] - world.position(cube)[2]
    height = _DROP_CLEARANCE + half_edge(world, cube) + grip
    target = np.add(world.to_world(BOX, (*place, BOX_RIM)), (0.0, 0.0, height))
    return KeyframeAction(position=target, quaternion=top_down(yaw), gripper_open=True)
