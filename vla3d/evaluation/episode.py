"""One episode: an environment and a policy meet, step by step, under a control."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from vla3d.envs.base import KeyframeEnv, RecordedEpisodes
from vla3d.evaluation.controls import Sentences, sentences
from vla3d.evaluation.results import ActionRecord, EpisodeRecord, write_atomic
from vla3d.policies.base import Decision, Policy, PolicyExplanation
from vla3d.types import Expert, KeyframeAction, Observation, StepResult


@dataclass(frozen=True, kw_only=True)
class EpisodeJob:
    """Which episode to run.

    Attributes:
        task: task name.
        index: number of the episode within its task.
        seed: scene seed; also the policy's.
        state: recorded initial state to begin from, instead of the scene that the seed draws.
        save_state: where to record the initial state.
        number: which of an environment's recorded episodes to begin from, where it has such; None is ``index``.
    """

    task: str
    index: int
    seed: int
    state: Path | None = None
    save_state: Path | None = None
    number: int | None = None


class Watcher(Protocol):
    """Somebody who looks on: a video, a recording, a strip of key frames.

    Attributes:
        every_tick: whether ``moved`` is wanted; rendering ten times a simulated second is most of the cost of an episode.
    """

    every_tick: bool

    def began(self, observation: Observation, said: Sentences) -> None:
        """The episode begins; ``observation`` holds the sentence that the policy reads."""

    def decided(self, observation: Observation, decision: Decision) -> None:
        """The policy saw ``observation`` and decided on an action, which is about to be carried out."""

    def moved(self, observation: Observation, seconds: float) -> None:
        """A tenth of a simulated second passed; ``seconds`` since the episode began."""

    def carried_out(self, observation: Observation, failure: str | None) -> None:
        """The action is done; ``failure`` says why its motion was not carried out."""

    def ended(self, observation: Observation, record: EpisodeRecord) -> None:
        """The episode is over."""


class Replay(Policy):
    """Carries out recorded actions; another policy may think along, so that its explanations can be shown.

    Attributes:
        thought: what the other policy would have done at the last decision.
    """

    def __init__(
        self, actions: Sequence[KeyframeAction], thinking: Policy | None = None, verdicts: Sequence[str | None] = ()
    ) -> None:
        self._actions, self._verdicts = list(actions), list(verdicts)
        self._thinking = thinking
        self._next = 0
        self.thought: KeyframeAction | None = None

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        """Begin at the first recorded action."""
        self._next = 0
        if self._thinking is not None:
            self._thinking.reset(seed, expert)

    def act(self, observation: Observation) -> KeyframeAction:
        """The next recorded action.

        Raises:
            IndexError: after the last one: the episode took another course than the recorded one.
        """
        self.thought = None if self._thinking is None else self._thinking.act(observation)
        action = self._actions[self._next]
        self._next += 1
        return action

    def verdict(self) -> str | None:
        """What the other policy concluded, or else what the record says."""
        thought = None if self._thinking is None else self._thinking.verdict()
        recorded = self._verdicts[self._next - 1] if 0 < self._next <= len(self._verdicts) else None
        return recorded if thought is None else thought

    def explain(self) -> PolicyExplanation | None:
        """What the other policy looked at."""
        return None if self._thinking is None else self._thinking.explain()


def recorded_actions(record: EpisodeRecord) -> list[KeyframeAction]:
    """The actions of a record; floats survive JSON exactly."""
    return [
        KeyframeAction(
            position=np.array(action.position),
            quaternion=np.array(action.quaternion),
            gripper_open=action.gripper_open,
            ignore_collisions=action.ignore_collisions,
            answer=action.answer,  # type: ignore[arg-type]
        )
        for action in record.actions
    ]


def run_episode(
    env: KeyframeEnv,
    policy: Policy,
    job: EpisodeJob,
    control: str = "none",
    watchers: Sequence[Watcher] = (),
    graph: str = "none",
) -> EpisodeRecord:
    """Run one episode to its end.

    Under ``swap`` it ends as soon as the named goal or the old one is reached, whichever comes first; under ``absent`` at the
    policy's answer, or as soon as any goal is reached.

    Args:
        env: environment of the job's task; it is reset here.
        policy: reset here, with the environment's expert.
        job: which episode.
        control: see ``controls``.
        watchers: told of everything that happens.
        graph: what is done to the policy's scene graph, see ``RolloutConfig``.
    """
    started = time.perf_counter()
    observation = _begun(env, job)
    if job.save_state is not None:
        write_atomic(job.save_state, env.save_state())
    said = sentences(control, env)
    policy.mask_text = control == "mask_text"
    policy.graph_control = graph
    policy.reset(job.seed, env.expert())
    course = _Course(env, said, watchers)
    course.run(policy, observation)
    record = EpisodeRecord(
        task=job.task,
        index=job.index,
        seed=job.seed,
        variation=env.variation,
        instruction=said.own,
        shown=said.shown,
        success=course.success,
        old_goal=course.old_goal,
        failure=course.failure(),
        answer=course.answer,
        actions=tuple(course.actions),
        absence=course.absence,
        decision_seconds=course.thinking / max(1, len(course.actions)),
        seconds=time.perf_counter() - started,
    )
    for watcher in watchers:
        watcher.ended(course.seen, record)
    return record


def _begun(env: KeyframeEnv, job: EpisodeJob) -> Observation:
    if job.state is not None:
        return env.reset_to(job.state.read_bytes())
    if isinstance(env, RecordedEpisodes) and env.recorded_episodes:
        return env.reset_to_episode(job.index if job.number is None else job.number)
    return env.reset(seed=job.seed)


class _Course:
    """The loop of one episode and what it notes down."""

    def __init__(self, env: KeyframeEnv, said: Sentences, watchers: Sequence[Watcher]) -> None:
        self.env = env
        self.said = said
        self.watchers = watchers
        self.success = False
        self.old_goal = False
        self.answer: str | None = None
        self.absence: float | None = None
        self.actions: list[ActionRecord] = []
        self.thinking = 0.0
        self._swapped = said.scored != said.own and not said.absent
        self._goal_reached = False
        self._reasons: list[str] = []

    def run(self, policy: Policy, observation: Observation) -> None:
        """Decide and move until the episode ends."""
        self.seen = self._shown(observation)
        for watcher in self.watchers:
            watcher.began(self.seen, self.said)
        for _ in range(self.env.step_limit):
            started = time.perf_counter()
            action = policy.act(self.seen)
            self.thinking += time.perf_counter() - started
            explanation = policy.explain() if self.watchers or not self.actions else None
            if explanation is not None and not self.actions:
                self.absence = explanation.absence
            decision = Decision(action=action, explanation=explanation, verdict=policy.verdict())
            for watcher in self.watchers:
                watcher.decided(self.seen, decision)
            result = self.env.step(action, self._tick if any(w.every_tick for w in self.watchers) else None)
            if self._note(action, result, decision.verdict):
                return

    def failure(self) -> str | None:
        """Why the episode failed, None when it did not."""
        if self.success:
            return None
        if self._goal_reached and (self._swapped or self.said.absent):
            # An end before the step limit without a terminal answer means that some goal was reached, and it was not asked for.
            return "wrong_object"
        if self._swapped:
            # The environment judges objects by the goal that was not asked for.
            self._reasons = [reason for reason in self._reasons if reason != "wrong_object"]
        return self._reasons[-1] if self._reasons else "timeout"

    def _note(self, action: KeyframeAction, result: StepResult, verdict: str | None) -> bool:
        """Take in one result; returns whether the episode is over."""
        self.answer = None if action.answer == "move" else action.answer
        self.old_goal = bool(result.success)
        self.success = self._succeeded(self.old_goal)
        self._goal_reached = self.old_goal or (result.terminated and self.answer is None)
        over = self.success or self.old_goal or result.terminated or result.truncated
        # At the end the result tells why the episode failed, and what became of the last motion is in its info.
        motion = result.info.get("motion_failure") if over else result.failure
        self.actions.append(ActionRecord.of(action, motion, verdict))
        if result.failure is not None:
            self._reasons.append(result.failure)
        self.seen = self._shown(result.observation)
        for watcher in self.watchers:
            watcher.carried_out(self.seen, motion)
        return over

    def _succeeded(self, own_goal: bool) -> bool:
        """Whether what the scored sentence asks for was done."""
        if self.said.absent:
            return self.answer == "absent"
        return self.env.success_for(self.said.scored) if self._swapped else own_goal

    def _tick(self) -> None:
        observation, seconds = self._shown(self.env.observe()), self.env.time
        for watcher in self.watchers:
            if watcher.every_tick:
                watcher.moved(observation, seconds)

    def _shown(self, observation: Observation) -> Observation:
        """What the policy is given. A masked sentence stays in: the policy itself must be blind to it."""
        if self.said.shown in ("", observation.instruction):
            return observation
        return observation.with_instruction(self.said.shown)
