"""Push the block along the table onto the target of the named colour."""

from dataclasses import replace

import mujoco
import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, distinct_colors
from vla3d.envs.tabletop.expert import stay
from vla3d.envs.tabletop.objects import ROUND_BLOCK_HEIGHT, ROUND_BLOCK_RADIUS, add_round_block, add_target
from vla3d.envs.tabletop.placement import SpawnRange, TablePose
from vla3d.envs.tabletop.pushing import Push
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask, name_one
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

NUM_TARGETS = 3
TARGETS: tuple[str, ...] = tuple(f"target_{index}" for index in range(NUM_TARGETS))
BLOCK = "round_block"

SPAWN = SpawnRange(x=(0.30, 0.70), y=(-0.28, 0.28), yaw=np.pi / 4)
"""Where the middles of block and targets are: a target's corners, too, stay in the workspace."""

DISTANCE = (0.14, 0.19)
"""From the block's middle to a target's, metres; at the least of it there are 2.5 cm between the two."""

_BLOCK_SPAWN = SpawnRange(x=(0.36, 0.64), y=(-0.22, 0.22), yaw=SPAWN.yaw)
_MAX_LAYOUTS = 10_000
GOAL_DISTANCE = 0.02
_NEAR = 0.03
_RESTING_SPEED = 0.02
_ON_THE_TABLE = 0.003


class SlideBlockToTarget(TabletopTask):
    """A block too wide to be gripped and three flat targets; the goal is the block at rest within 2 cm of the named one.

    The targets lie on three of the four sides of the block, as in RLBench's task of this name, at distances of their own; the
    whole is turned and shifted.
    """

    name = "slide_block_to_target"
    instances = (*TARGETS, BLOCK)
    num_candidates = NUM_TARGETS
    templates = (
        "slide the block to the {color} target",
        "push the block onto the {color} square",
        "move the block to the {color} target by pushing it",
        "shove the block over to the {color} square",
        "slide the round block along the table onto the {color} target",
        "the block belongs on the {color} square: push it there",
    )
    unseen_templates = ("nudge the block until it covers the {color} target", "get the round block to the {color} patch")
    expert_keyframes = 3
    manipulated = (BLOCK,)
    receiving = TARGETS

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the block and the targets."""
        add_round_block(spec, BLOCK)
        for target in TARGETS:
            add_target(spec, target)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw colours and places; the block has a colour that no target has."""
        block, *targets = draw_cross(rng)
        *colors, block_color = distinct_colors(rng, NUM_TARGETS + 1, [variation])
        named = name_one(rng, colors, [*targets, block])
        return replace(named, colors=(*named.colors, block_color))

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Lay the targets out and put the block on the table."""
        *targets, block = scenario.poses
        for target, pose in zip(TARGETS, targets, strict=True):
            world.fix(target, pose)
        world.put(BLOCK, block, ROUND_BLOCK_HEIGHT / 2)
        for body, color in zip((*TARGETS, BLOCK), scenario.colors, strict=True):
            world.paint(body, COLORS[COLOR_NAMES[color]])

    def kept_free(self, world: World, scenario: Scenario) -> Float[np.ndarray, "n 3"]:
        """The ways to all targets: those to the named one alone would tell which it is."""
        return np.concatenate([self._push(world, candidate).lane() for candidate in range(NUM_TARGETS)])

    def reached(self, world: World, candidate: int) -> bool:
        """Whether the block rests on the table within 2 cm of the target."""
        near = np.linalg.norm(self._way(world, candidate)) <= GOAL_DISTANCE
        height = world.position(BLOCK)[2] - world.scale(BLOCK) * ROUND_BLOCK_HEIGHT / 2
        return bool(near and abs(height) <= _ON_THE_TABLE and world.speed(BLOCK) < _RESTING_SPEED)

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether the block was brought to the target, or nearly."""
        return bool(np.linalg.norm(self._way(world, candidate)) < _NEAR)

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """Behind the block and over it, down, straight to the target with the block between the open fingers."""
        if self.reached(world, scenario.goal):
            return stay(world, gripper_open=True)
        return self._push(world, scenario.goal).next_action(world)

    @classmethod
    def _push(cls, world: World, candidate: int) -> Push:
        return Push(world.position(BLOCK), cls._way(world, candidate), world.scale(BLOCK) * ROUND_BLOCK_RADIUS)

    @staticmethod
    def _way(world: World, candidate: int) -> Float[np.ndarray, "2"]:
        """From the block's centre to the target's, metres along the table."""
        return world.position(TARGETS[candidate])[:2] - world.position(BLOCK)[:2]


def draw_cross(rng: np.random.Generator) -> list[TablePose]:
    """Poses of the block and of targets on sides of it, each turned as the whole is."""
    for _ in range(_MAX_LAYOUTS):
        block = _BLOCK_SPAWN.draw(rng)
        sides = block.yaw + np.pi / 2 * rng.permutation(4)[:NUM_TARGETS]
        away = rng.uniform(*DISTANCE, size=NUM_TARGETS)
        places = np.array([block.x, block.y]) + away[:, None] * np.column_stack([np.cos(sides), np.sin(sides)])
        if all(SPAWN.x[0] <= x <= SPAWN.x[1] and SPAWN.y[0] <= y <= SPAWN.y[1] for x, y in places):
            return [block, *(TablePose(float(x), float(y), block.yaw) for x, y in places)]
    raise RuntimeError(f"no place for {NUM_TARGETS} targets around the block: the spawn ranges are too small")
