"""A world without physics: cubes on a table, a hand that is where it is sent, and plans to play back in it."""

from collections.abc import Sequence

import numpy as np
from graph_scenes import cube
from seen_scenes import frames

from vla3d.policies.base import Policy
from vla3d.types import Expert, KeyframeAction, Observation, StepResult, Workspace

WORKSPACE = Workspace.from_bounds([0.2, -0.4, 0.0], [0.8, 0.4, 0.45])
TOP_DOWN = np.array([0.0, 1.0, 0.0, 0.0])
RED, BLUE = np.array([0.40, 0.10, 0.02]), np.array([0.55, -0.10, 0.02])
RED_ID, BLUE_ID = 2, 3
_GRASP, _WIDTH, _EDGE = 0.012, 0.04, 0.04


def go(place: Sequence[float] | np.ndarray, gripper_open: bool, rise: float = 0.0) -> KeyframeAction:
    """A keyframe above a place."""
    return KeyframeAction(position=np.add(place, (0, 0, rise)), quaternion=TOP_DOWN, gripper_open=gripper_open)


class TeleportWorld:
    """A red and a blue cube. A closing hand grips what it is at; what is let go falls onto what is below.

    Args:
        instruction: what is said.
        slippery: the cubes slip out of the hand when it rises.
    """

    step_limit = 12

    def __init__(self, instruction: str, slippery: bool = False) -> None:
        self.instruction, self.slippery = instruction, slippery
        self.cubes = {RED_ID: RED.copy(), BLUE_ID: BLUE.copy()}
        self.hand, self.open, self.held, self.steps = np.array([0.5, 0.0, 0.3]), True, None, 0  # type: ignore[var-annotated]

    def observe(self) -> Observation:
        nodes = [
            cube(number, *place, color=color)
            for (number, place), color in zip(self.cubes.items(), ("red", "blue"), strict=True)
        ]
        width = 0.08 if self.open else _WIDTH if self.held else 0.0
        return Observation(
            frames=frames(nodes), instruction=self.instruction, gripper_position=self.hand.copy(), gripper_quaternion=TOP_DOWN,
            gripper_width=width, gripper_open=self.open, joint_positions=np.zeros(7), step=self.steps,
            step_limit=self.step_limit, instance_names={RED_ID: "cube_0", BLUE_ID: "cube_1"},
        )  # fmt: skip

    def step(self, action: KeyframeAction) -> StepResult:
        self.steps += 1
        if action.answer == "move" and WORKSPACE.contains(action.position):
            self._move(action)
        return StepResult(observation=self.observe(), success=False, terminated=False, truncated=False, failure=None)

    def _move(self, action: KeyframeAction) -> None:
        if self.held is not None:
            if self.slippery and action.position[2] > self.hand[2]:
                self.held = None
            else:
                self.cubes[self.held] = self.cubes[self.held] + action.position - self.hand
        self.hand = np.array(action.position)
        if action.gripper_open and self.held is not None:
            self._fall(self.held)
            self.held = None
        if not action.gripper_open and self.open:
            at = [number for number, place in self.cubes.items() if np.linalg.norm(place - self.hand) < _GRASP]
            self.held = at[0] if at else None
        self.open = action.gripper_open

    def _fall(self, number: int) -> None:
        x, y, _ = self.cubes[number]
        below = [place for other, place in self.cubes.items() if other != number and np.abs(place[:2] - (x, y)).max() < _EDGE]
        self.cubes[number] = np.array([x, y, _EDGE / 2 + _EDGE * len(below)])


class Plans(Policy):
    """Plays a plan back at each attempt, the last one again and again; stays when it is over.

    Attributes:
        seen: step and step limit of every observation that it was shown.
        attempts: how often it began.
    """

    def __init__(self, *plans: Sequence[KeyframeAction]) -> None:
        self._plans = plans
        self.attempts = 0
        self.seen: list[tuple[int, int]] = []

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        self._left = list(self._plans[min(self.attempts, len(self._plans) - 1)])
        self.attempts += 1

    def act(self, observation: Observation) -> KeyframeAction:
        self.seen.append((observation.step, observation.step_limit))
        return self._left.pop(0) if self._left else go(observation.gripper_position, observation.gripper_open)


def lift(place: np.ndarray, beside: float = 0.0) -> list[KeyframeAction]:
    """Over a place, down and close, up."""
    shifted = np.add(place, (beside, 0, 0))
    return [go(shifted, True, 0.1), go(shifted, False), go(shifted, False, 0.15)]


def stack(beside: float = 0.0) -> list[KeyframeAction]:
    """The red cube onto the blue one, or beside it, and up."""
    top = np.add(BLUE, (beside, 0, 0.042))
    return [*lift(RED), go(top, False, 0.1), go(top, True), go(top, True, 0.1)]
