"""Recording an expert's episode: the observations of every tenth of a second, and those of the keyframes exactly."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vla3d.envs.base import KeyframeEnv
from vla3d.types import Alternative, Episode, KeyframeAction, Observation, Step

MOVING_RAD_PER_S = 0.1
"""A joint faster than this counts as moving (PerAct's threshold)."""


def record_expert(env: KeyframeEnv, seed: int, metadata: Mapping[str, Any]) -> tuple[Episode, str | None]:
    """Let the expert attempt an episode.

    A motion that was not carried out leaves no keyframe behind, whatever the expert does next.

    Args:
        env: reset here, to the scene that ``seed`` draws.
        seed: scene seed.
        metadata: kept with the episode.

    Returns:
        The episode, successful or not, and why it failed.
    """
    recorder = _Recorder(env)
    recorder.add(env.reset(seed=seed))
    alternatives: dict[int, tuple[Alternative, ...]] = {}
    expert = env.expert()
    failure = None
    keyframe = 0
    while True:
        alternatives.setdefault(keyframe, tuple(replace(other, keyframe=keyframe) for other in env.alternatives()))
        action = expert.next_action()
        ticks_from = len(recorder.steps)
        result = env.step(action, recorder.tick)
        failure = result.failure or failure
        over = result.terminated or result.truncated
        if over or result.failure is None:
            recorder.replace_ticks_at_the_end(ticks_from)
            recorder.add(result.observation, action)
            keyframe += 1
        if over:
            break
    episode = Episode(
        task=env.task,
        variation=env.variation,
        instruction=env.instruction,
        paraphrases=tuple(env.paraphrases),
        seed=seed,
        success=result.success,
        steps=recorder.steps,
        alternatives=tuple(other for others in alternatives.values() for other in others),
        metadata={
            "instances": {str(number): name for number, name in env.instance_names.items()},
            "workspace": {"low": env.workspace.low, "high": env.workspace.high},
            **metadata,
        },
    )
    return episode, None if result.success else failure or "timeout"


class _Recorder:
    """The steps of a running episode."""

    def __init__(self, env: KeyframeEnv) -> None:
        self._env = env
        self.steps: list[Step] = []

    def tick(self) -> None:
        """Record the present instant."""
        self.add(self._env.observe())

    def add(self, observation: Observation, action: KeyframeAction | None = None) -> None:
        """Record an observation of the present instant; ``action`` if it ended just now."""
        velocities = np.array(self._env.joint_velocities, dtype=np.float64)
        moving = bool((np.abs(velocities) > MOVING_RAD_PER_S).any())
        self.steps.append(
            Step(observation=observation, time=self._env.time, arm_moving=moving, joint_velocities=velocities, action=action)
        )

    def replace_ticks_at_the_end(self, first: int) -> None:
        """Drop ticks, from index ``first`` on, that show the present instant: the keyframe is about to be added."""
        while len(self.steps) > first and self.steps[-1].time >= self._env.time - 1e-9:
            self.steps.pop()
