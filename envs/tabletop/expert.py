"""Building blocks of the scripted experts: top-down grasps, and telling from the state how far a grasp has come."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

APPROACH_HEIGHT = 0.09
"""How far above a grasp the hand stops first, metres."""

RETREAT_HEIGHT = 0.25
"""Height of the tool above the table where the hand is clear of everything, metres."""

_AT_POSITION = 0.012
_AT_YAW = np.radians(5.0)
_LOW = 0.18


@dataclass(frozen=True)
class ScriptedExpert:
    """Asks the task for its next action from the present state; it remembers nothing, so it also recovers.

    Attributes:
        task: what is to be done.
        world: where.
        scenario: the episode's.
        absent: sentences that ask for something that is not there.
    """

    task: TabletopTask
    world: World
    scenario: Scenario
    absent: frozenset[str] = frozenset()

    def next_action(self) -> KeyframeAction:
        """The action to execute now."""
        return self.task.expert_action(self.world, self.scenario)

    def is_absent(self, sentence: str) -> bool:
        """Whether a sentence asks for something that is not there."""
        return sentence in self.absent


@dataclass(frozen=True)
class Grasp:
    """A top-down grasp: where the tool is when the fingers close (metres, world), and the hand's turn about the vertical."""

    position: Float[np.ndarray, "3"]
    yaw: float

    def pose(self, rise: float = 0.0) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "4"]]:
        """Tool pose ``rise`` metres above the grasp."""
        return np.add(self.position, (0.0, 0.0, rise)), top_down(self.yaw)


def top_down(yaw: float) -> Float[np.ndarray, "4"]:
    """Tool orientation (``wxyz``) with the fingers straight down, opening along the world's y turned by ``yaw``.

    ``Rz(yaw) Rx(pi)``: at yaw 0 the tool's x points along the world's x and its y along -y.
    """
    return np.array([0.0, np.cos(yaw / 2), np.sin(yaw / 2), 0.0])


def wrap(angle: float, period: float) -> float:
    """The equivalent angle in ``[-period / 2, period / 2)``."""
    return float((angle + period / 2) % period - period / 2)


def body_yaw(world: World, body: str) -> float:
    """A body's turn about the vertical, radians."""
    rotation = world.rotation(body)
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def cube_grasp(world: World, body: str) -> Grasp:
    """Grasp a cube at its centre; of its four equivalent grasps the one turned least."""
    return Grasp(world.position(body), cube_yaw(world, body))


def cube_yaw(world: World, body: str) -> float:
    """A cube's turn about the vertical in [-45, 45) degrees, whichever face it lies on."""
    rotation = world.rotation(body)
    level = 0 if abs(rotation[2, 0]) < 0.7 else 1
    return wrap(float(np.arctan2(rotation[1, level], rotation[0, level])), np.pi / 2)


def set_down(world: World, body: str, position: Float[np.ndarray, "3"], yaw: float) -> KeyframeAction:
    """The next action towards the held cube let go with its centre at ``position`` (metres, world), turned by ``yaw``.

    Over the place on a collision-free path, then straight down and open. The cube's centre counts, not the tool's: however it
    sits between the fingers, it arrives at its place.
    """
    tool = world.sim.tcp_pose()
    hand = tool_yaw(tool)
    least_turned = hand + wrap(yaw - cube_yaw(world, body), np.pi / 2)
    release = _release(world, body, position, wrap(least_turned, np.pi))
    if is_above(tool, release):
        target, quaternion = release.pose()
        return KeyframeAction(position=target, quaternion=quaternion, gripper_open=True, ignore_collisions=True)
    return over(_release(world, body, position, wrap(least_turned, np.pi / 2)), gripper_open=False)


def _release(world: World, body: str, position: Float[np.ndarray, "3"], hand_yaw: float) -> Grasp:
    """Where the hand that holds a body has to be, turned by ``hand_yaw``, for the body to be at ``position``."""
    tool = world.sim.tcp_pose()
    turn = wrap(hand_yaw - tool_yaw(tool), np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    x, y, z = tool[:3, 3] - world.position(body)
    return Grasp(np.add(position, (cos * x - sin * y, sin * x + cos * y, z)), hand_yaw)


def reach(world: World, grasp: Grasp) -> KeyframeAction:
    """The next action towards a closed hand at ``grasp``, from wherever the hand is now.

    Above the grasp and open: straight down and close. Otherwise: over it, on a collision-free path; before that, when the
    hand is closed on something or low among things, open and rise out of them.
    """
    tool = world.sim.tcp_pose()
    if is_above(tool, grasp) and world.sim.gripper_open:
        position, quaternion = grasp.pose()
        return KeyframeAction(position=position, quaternion=quaternion, gripper_open=False, ignore_collisions=True)
    if world.held() is not None:
        return stay(world, gripper_open=True)
    if tool[2, 3] < _LOW and not is_above(tool, grasp):
        return rise(world)
    return over(grasp, gripper_open=True)


def over(grasp: Grasp, *, gripper_open: bool) -> KeyframeAction:
    """Over a place, on a collision-free path."""
    position, quaternion = grasp.pose(APPROACH_HEIGHT)
    return KeyframeAction(position=position, quaternion=quaternion, gripper_open=gripper_open)


def is_above(tool: Float[np.ndarray, "4 4"], grasp: Grasp) -> bool:
    """Whether the tool is over the grasp, turned like it, and not below it."""
    across = float(np.linalg.norm(tool[:2, 3] - grasp.position[:2]))
    height = tool[2, 3] - grasp.position[2]
    turned = tool_turn(tool, grasp.yaw)
    return across < _AT_POSITION and turned < _AT_YAW and -_AT_POSITION < height < APPROACH_HEIGHT + 0.03


def tool_yaw(tool: Float[np.ndarray, "4 4"]) -> float:
    """Turn about the vertical of a hand that points down: the inverse of ``top_down``."""
    # Column 1 of Rz(yaw) Rx(pi) is (sin, -cos, 0).
    return float(np.arctan2(tool[0, 1], -tool[1, 1]))


def tool_turn(tool: Float[np.ndarray, "4 4"], yaw: float) -> float:
    """How far a hand that points down is turned from ``yaw``, radians; the gripper is symmetric under half a turn."""
    return abs(wrap(tool_yaw(tool) - yaw, np.pi))


def stay(world: World, gripper_open: bool) -> KeyframeAction:
    """Only move the fingers."""
    tool = world.sim.tcp_pose()
    return KeyframeAction(
        position=tool[:3, 3].copy(), quaternion=world.sim.tcp_quaternion(), gripper_open=gripper_open, ignore_collisions=True
    )


def rise(world: World) -> KeyframeAction:
    """Straight up, fingers open, until the hand is clear of everything on the table."""
    tool = world.sim.tcp_pose()
    position = np.array([tool[0, 3], tool[1, 3], RETREAT_HEIGHT])
    return KeyframeAction(position=position, quaternion=world.sim.tcp_quaternion(), gripper_open=True, ignore_collisions=True)


def straight_to(world: World, position: Float[np.ndarray, "3"], *, gripper_open: bool) -> KeyframeAction:
    """Straight to a position with the hand's present orientation."""
    return KeyframeAction(
        position=position, quaternion=world.sim.tcp_quaternion(), gripper_open=gripper_open, ignore_collisions=True
    )
