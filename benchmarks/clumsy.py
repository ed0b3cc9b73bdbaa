"""A policy that plays a plan back blindly, with mistakes at the grasps: what verification is measured with."""

from dataclasses import replace
from typing import Literal

import numpy as np

from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.expert import ScriptedExpert, stay
from vla3d.policies.base import Policy
from vla3d.types import Expert, KeyframeAction, Observation

Mistake = Literal["beside", "above", "other"]
MISTAKES: tuple[Mistake, ...] = ("beside", "above", "other")
BESIDE, ABOVE = 0.06, 0.07
"""How far from the thing the hand closes, metres."""


class BlindPolicy(Policy):
    """Plans with the scripted expert when it begins, and then carries the plan out without looking, as learned policies do
    that have only seen success. With some probability a plan has one mistake: the first grasp closes beside the thing or above
    it, or the plan is for another of the scene's goals.

    Args:
        env: the episode's environment; plans are made in it and undone.
        mistakes: probability that a plan has one.
    """

    def __init__(self, env: TabletopEnv, mistakes: float) -> None:
        self._env, self._mistakes = env, mistakes
        self._plan: list[KeyframeAction] | None = None
        self._rng = np.random.default_rng(0)

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        """Begin: the plan is made at the next decision, from the state that is then."""
        self._rng = np.random.default_rng([seed, 17])
        self._plan = None

    def act(self, observation: Observation) -> KeyframeAction:
        """The plan's next keyframe; stay when it is over."""
        if self._plan is None:
            self._plan = self._planned()
        if not self._plan:
            return stay(self._env.world, gripper_open=observation.gripper_open)
        return self._plan.pop(0)

    def _planned(self) -> list[KeyframeAction]:
        wrong = bool(self._rng.random() < self._mistakes)
        mistake = MISTAKES[int(self._rng.integers(len(MISTAKES)))]
        if not wrong:
            return self._rehearsed(swapped=False)
        if mistake == "other":
            return self._rehearsed(swapped=True)
        return missed(self._rehearsed(swapped=False), mistake)

    def _rehearsed(self, swapped: bool) -> list[KeyframeAction]:
        """What the expert does from now on, found by letting it do so in the world, which is then put back."""
        env, state = self._env, self._env.save_state()
        scenario = env.episode.scenario
        goal = replace(scenario, goal=scenario.swapped if swapped else scenario.goal)
        expert = ScriptedExpert(env._task, env.world, goal)
        plan: list[KeyframeAction] = []
        while True:
            plan.append(expert.next_action())
            result = env.advance(plan[-1])
            if result.terminated or result.truncated:
                env.load_state(state)
                return plan


def missed(plan: list[KeyframeAction], mistake: Mistake) -> list[KeyframeAction]:
    """The plan with its first grasp, and the approach to it, beside the thing or above it."""
    grasp = next((place for place, action in enumerate(plan) if not action.gripper_open), None)
    if grasp is None:
        return plan
    # The fingers open along y of the tool, so that along x the closed hand stays clear of the thing.
    w, x, y, z = plan[grasp].quaternion
    along = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 0.0])
    shift = BESIDE * along / np.linalg.norm(along) if mistake == "beside" else np.array([0.0, 0.0, ABOVE])
    moved = replace(plan[grasp], position=plan[grasp].position + shift)
    return [*plan[:grasp], moved, *plan[grasp + 1 :]]
