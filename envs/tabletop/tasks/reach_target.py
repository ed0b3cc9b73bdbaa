"""Bring the fingertips to the ball of the named colour."""

from dataclasses import replace

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, distinct_colors
from vla3d.envs.tabletop.expert import Grasp, is_above, over, straight_to
from vla3d.envs.tabletop.objects import BALL_RADIUS, add_marker_ball
from vla3d.envs.tabletop.placement import Footprint, SpawnRange, draw_layout
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask, name_one
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

NUM_BALLS = 3
BALLS: tuple[str, ...] = tuple(f"ball_{index}" for index in range(NUM_BALLS))

SPAWN = SpawnRange(x=(0.36, 0.66), y=(-0.28, 0.28), yaw=np.pi / 4)
HEIGHTS = (0.05, 0.30)
"""Lowest and highest centre of a ball above the table, metres."""

CLEARANCE = 0.10
"""Least gap between two balls, seen from above, metres: none hides another from there."""

TOLERANCE = 0.03


class ReachTarget(TabletopTask):
    """Three balls of different colours in the air; the goal is the fingertips within 3 cm of the named one's centre."""

    name = "reach_target"
    instances = BALLS
    num_candidates = NUM_BALLS
    templates = (
        "reach the {color} ball",
        "touch the {color} ball",
        "move the hand to the {color} ball",
        "go to the {color} sphere",
        "bring the fingertips to the {color} sphere",
        "put the gripper at the {color} target",
    )
    unseen_templates = ("let the fingers meet the {color} sphere", "the hand should end up where the {color} ball is")
    expert_keyframes = 2
    receiving = BALLS
    grasps = False

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the balls."""
        for ball in BALLS:
            add_marker_ball(spec, ball)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw colours, places and heights."""
        poses = draw_layout(rng, [Footprint(half=BALL_RADIUS, spawn=SPAWN)] * NUM_BALLS, CLEARANCE)
        raised = [replace(pose, z=float(rng.uniform(*HEIGHTS))) for pose in poses]
        return name_one(rng, distinct_colors(rng, NUM_BALLS, [variation]), raised)

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Hang the balls in the air and paint them."""
        for ball, pose, color in zip(BALLS, scenario.poses, scenario.colors, strict=True):
            world.fix(ball, pose)
            world.paint(ball, COLORS[COLOR_NAMES[color]])

    def reached(self, world: World, candidate: int) -> bool:
        """Whether the fingertips are within 3 cm of the ball's centre."""
        away = world.sim.tcp_pose()[:3, 3] - world.position(BALLS[candidate])
        return bool(np.linalg.norm(away) < TOLERANCE)

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether the fingertips are at the ball: nothing else can happen to it."""
        return self.reached(world, candidate)

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """Over the ball, straight down to it."""
        target = Grasp(world.position(BALLS[scenario.goal]), yaw=0.0)
        if is_above(world.sim.tcp_pose(), target):
            return straight_to(world, target.position, gripper_open=True)
        return over(target, gripper_open=True)
