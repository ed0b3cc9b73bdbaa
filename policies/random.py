"""The random baseline: what success rate chance alone reaches."""

import math

import numpy as np

from vla3d.policies.base import Policy
from vla3d.types import Expert, KeyframeAction, Observation, Workspace


class RandomPolicy(Policy):
    """Moves the hand, pointing straight down, to a uniformly drawn place in the workspace.

    Position is uniform in the box, yaw uniform over the gripper's canonical half turn, gripper and collision flag are coin
    flips. Two policies that were reset with the same seed act alike, whatever they see.
    """

    def __init__(self, *, workspace: Workspace) -> None:
        self.workspace = workspace
        self._rng: np.random.Generator | None = None

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        """Begin an episode; ``expert`` is not looked at."""
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation) -> KeyframeAction:
        """Draw the next action; of the observation nothing is used."""
        if self._rng is None:
            raise ValueError(
                "RandomPolicy.act: got no seed, expected reset(seed) first; call reset at the start of an episode."
            )
        yaw = self._rng.uniform(-math.pi / 2, math.pi / 2)
        return KeyframeAction(
            position=self._rng.uniform(self.workspace.low, self.workspace.high),
            quaternion=top_down_quaternion(yaw),
            gripper_open=bool(self._rng.integers(2)),
            ignore_collisions=bool(self._rng.integers(2)),
        )


def top_down_quaternion(yaw: float) -> np.ndarray:
    """Tool orientation with the fingers pointing down, turned by ``yaw`` radians about the world's z axis: ``wxyz``.

    It is Rz(yaw) after a half turn about x, which lays the tool's z axis along the world's -z.
    """
    return np.array([0.0, math.cos(yaw / 2), math.sin(yaw / 2), 0.0])
