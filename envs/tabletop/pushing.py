"""Building block of the scripted experts: pushing a round thing along the table with the two open fingers.

The fingers stand side by side across the way, and the thing leans against both of them, so it cannot turn off to a side: one
straight motion takes it where it should be. Before one finger or a closed hand it rolls off, and a square one, met at a corner,
turns until a face lies flat.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.expert import APPROACH_HEIGHT, Grasp, rise, tool_turn, wrap
from vla3d.envs.tabletop.robot import FINGER_TRAVEL, PAD_HALF
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

RUN_UP = 0.025
"""How far behind the thing the fingers are lowered, metres."""

LANE_RADIUS = 0.12
"""How far from the way the middle of a small thing must be so that neither fingers nor block run into it, metres."""

# Wider than where the expert sends the hand: the thing slides into the middle between the fingers.
_ROOM_AROUND = 0.02
_AT_YAW = np.radians(10.0)
_LOW = 0.012


@dataclass(frozen=True)
class Push:
    """A straight push.

    Attributes:
        center: middle of the thing, metres, world; the tool works at its height.
        way: where the thing should go from there, metres along the table; not zero.
        radius: of the thing, metres; more than ``FINGER_TRAVEL``, so that it does not fit between the fingers.
    """

    center: Float[np.ndarray, "3"]
    way: Float[np.ndarray, "2"]
    radius: float

    def next_action(self, world: World) -> KeyframeAction:
        """Over the place behind the thing on a collision-free path, straight down, straight along the way; fingers open.

        A hand that is low anywhere else rises first.
        """
        tool, start = world.sim.tcp_pose(), self.tool(-RUN_UP)
        if world.sim.gripper_open and self._is_behind(tool):
            if tool[2, 3] < self.center[2] + _LOW:
                return _open_handed(self.tool(self._length), ignore_collisions=True)
            return _open_handed(start, ignore_collisions=True)
        if tool[2, 3] < self.center[2] + APPROACH_HEIGHT / 2:
            return rise(world)
        return _open_handed(start, height=APPROACH_HEIGHT)

    def tool(self, progress: float) -> Grasp:
        """Where the tool is when the fingers have come ``progress`` metres along the way; at 0 they touch the thing."""
        yaw = wrap(float(np.arctan2(self.way[1], self.way[0])), np.pi)
        # A circle touches the inner edges of the pads: those are FINGER_TRAVEL beside its middle, PAD_HALF before the tool.
        depth = np.sqrt(self.radius**2 - FINGER_TRAVEL**2) + PAD_HALF
        return Grasp(self.center + (progress - depth) * self._direction, yaw)

    def lane(self) -> Float[np.ndarray, "n 3"]:
        """The table that fingers and thing pass over, as circles of x, y and radius, metres."""
        first, last = self.tool(-RUN_UP).position[:2], self.center[:2] + self.way
        middles = np.linspace(first, last, 2 + int(np.linalg.norm(last - first) / (LANE_RADIUS / 2)))
        return np.column_stack([middles, np.full(len(middles), LANE_RADIUS)])

    def _is_behind(self, tool: Float[np.ndarray, "4 4"]) -> bool:
        """Whether the hand is over the run-up or in it, so placed that a straight motion pushes with both fingers."""
        contact = self.tool(0.0)
        offset = tool[:3, 3] - contact.position
        progress = float(offset @ self._direction)
        beside = float(np.linalg.norm(offset[:2] - progress * self._direction[:2]))
        in_line = beside < _ROOM_AROUND and -RUN_UP - _ROOM_AROUND < progress < _ROOM_AROUND
        return in_line and -_LOW < offset[2] < APPROACH_HEIGHT + _ROOM_AROUND and tool_turn(tool, contact.yaw) < _AT_YAW

    @property
    def _length(self) -> float:
        return float(np.linalg.norm(self.way))

    @property
    def _direction(self) -> Float[np.ndarray, "3"]:
        return np.append(self.way / self._length, 0.0)


def _open_handed(grasp: Grasp, height: float = 0.0, ignore_collisions: bool = False) -> KeyframeAction:
    position, quaternion = grasp.pose(height)
    return KeyframeAction(position=position, quaternion=quaternion, gripper_open=True, ignore_collisions=ignore_collisions)
