"""Any policy with eyes: each keyframe is checked against the scene graph, and what failed is tried again or given up."""

from dataclasses import dataclass, field, replace

import numpy as np

from vla3d.errors import ConfigError
from vla3d.policies.base import Policy, PolicyExplanation, terminal_answer
from vla3d.policies.verified.config import VerifyConfig
from vla3d.policies.verified.judging import judge
from vla3d.policies.verified.watching import Sight, Watcher
from vla3d.scene_graphs.building.builder import BuilderConfig
from vla3d.scene_graphs.goals.goal import BoundGoal, called
from vla3d.scene_graphs.goals.phrasebook import read_goal
from vla3d.scene_graphs.predicates.truth import TRUE, word
from vla3d.types import Answer, Expert, KeyframeAction, Observation, Workspace


@dataclass(kw_only=True)
class _Episode:
    """What is remembered between decisions.

    Attributes:
        seed: of the episode.
        expert: offered to the wrapped policy whenever it begins.
        watcher: keeps the graph.
        goal: what was asked for; None where the sentence could not be read.
        before: the scene at the last decision; None before the first one.
        sent: the last keyframe.
        recovery: keyframes that come before the wrapped policy is asked again.
        retries: how often it began anew.
        stuck: motions in a row that did not happen.
        reached: whether the goal held at the last decision.
        began: decisions made before the wrapped policy last began.
    """

    seed: int
    expert: Expert | None
    watcher: Watcher
    goal: BoundGoal | None = None
    before: Sight | None = None
    sent: KeyframeAction | None = None
    recovery: list[KeyframeAction] = field(default_factory=list)
    retries: int = 0
    stuck: int = 0
    reached: bool = False
    began: int = 0


class VerifiedPolicy(Policy):
    """Wraps a policy. Where the sentence is one that `read_goal` reads, it

    - answers ``absent`` at the first decision when something that was named is certainly not there;
    - tries again when a keyframe certainly failed: the hand opens and rises, and the wrapped policy begins anew, with a step
      counter that begins anew as well; after ``retries`` of that it answers ``cannot``;
    - answers ``cannot`` when the hand several times in a row is not where it was sent;
    - answers ``done`` when the goal holds at two decisions in a row.

    Otherwise, and under ``mask_text``, it hands on what the wrapped policy decides.

    Args:
        policy: decides the keyframes.
        config: how it is checked.
        workspace: where the hand may go.
        builder: how views become a graph; it names the parts that slide open.

    Raises:
        ConfigError: the configuration says not to verify.

    Attributes:
        goal: what was asked for in this episode; None where the sentence could not be read.
    """

    def __init__(
        self, policy: Policy, config: VerifyConfig, *, workspace: Workspace, builder: BuilderConfig | None = None
    ) -> None:
        if not config.enabled:
            raise ConfigError("verify.enabled: got false for a policy that is to be verified; use the policy as it is.")
        self._policy, self._config, self._workspace, self._builder = policy, config, workspace, builder
        self._episode: _Episode | None = None
        self._verdict: str | None = None
        self._asked = False

    @property
    def mask_text(self) -> bool:
        """Whether the wrapped policy must not read, and so neither must this one."""
        return self._policy.mask_text

    @mask_text.setter
    def mask_text(self, value: bool) -> None:
        self._policy.mask_text = value

    @property
    def graph_control(self) -> str:
        """What is done to what the wrapped policy takes from its own scene graph."""
        return self._policy.graph_control

    @graph_control.setter
    def graph_control(self, value: str) -> None:
        self._policy.graph_control = value

    @property
    def reads_graph(self) -> bool:
        """Whether the wrapped policy does."""
        return self._policy.reads_graph

    @property
    def terminal_answers(self) -> tuple[str, ...]:
        """All of them, whatever the wrapped policy says by itself."""
        return ("absent", "cannot", "done")

    @property
    def goal(self) -> BoundGoal | None:
        """What was asked for in this episode; None where the sentence could not be read."""
        return None if self._episode is None else self._episode.goal

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        """Begin an episode. See ``Policy.reset``."""
        self._policy.reset(seed, expert)
        self._episode = _Episode(seed=seed, expert=expert, watcher=Watcher(self._builder))
        self._verdict = None

    def act(self, observation: Observation) -> KeyframeAction:
        """The next action: the wrapped policy's, a recovery, or a terminal answer.

        Raises:
            ObservationError: the images have no instance masks, or the wrapped policy cannot use them.
        """
        if self._episode is None:
            raise ValueError("VerifiedPolicy.act: got no episode, expected reset(seed) first; call it per episode.")
        episode = self._episode
        sight = episode.watcher.look(observation)
        answer = (
            self._began(episode, observation, sight) if episode.before is None else self._judged(episode, observation, sight)
        )
        self._asked = answer is None and not episode.recovery
        action = self._next(episode, observation) if answer is None else terminal_answer(observation, answer)
        episode.before, episode.sent = sight, action
        return action

    def verdict(self) -> str | None:
        """What became of the last keyframe, and what was concluded."""
        return self._verdict

    def explain(self) -> PolicyExplanation | None:
        """What the wrapped policy looked at, where it was asked for the last action."""
        return self._policy.explain() if self._asked else None

    def _began(self, episode: _Episode, observation: Observation, sight: Sight) -> Answer | None:
        """Read the sentence and bind it to what is there."""
        goal = None if self.mask_text else read_goal(observation.instruction)
        if goal is None:
            self._verdict = "not verified: the sentence is not one that can be read"
            return None
        missing = goal.missing(sight.graph)
        episode.goal = goal.bind(sight.graph)
        to_come = "; ".join(wish.words() for wish in episode.goal.expected_delta(sight.graph))
        self._verdict = f"to come: {to_come}" if to_come else "all is as it was asked for"
        if missing:
            self._verdict = f"absent: {' and '.join(map(called, missing))} {'is' if len(missing) == 1 else 'are'} not there"
            return "absent"
        episode.reached = not to_come
        return None

    def _judged(self, episode: _Episode, observation: Observation, sight: Sight) -> Answer | None:
        """Judge the last keyframe, and prepare for another try where it failed."""
        goal, before, sent = episode.goal, episode.before, episode.sent
        if goal is None or before is None or sent is None:
            return None
        truth = goal.holds(sight.graph)
        verdict = judge(sent, observation, before, sight, goal, self._config.tolerance)
        self._verdict = f"{verdict.words}; the goal is {word(truth)}"
        if truth == TRUE and episode.reached:
            return "done"
        episode.reached = truth == TRUE
        episode.stuck = episode.stuck + 1 if verdict.outcome == "stuck" else 0
        if episode.stuck >= self._config.stuck:
            self._verdict += f"; {episode.stuck} motions in a row did not happen"
            return "cannot"
        failed = verdict.outcome == "failed" and truth != TRUE and not episode.recovery
        return self._again(episode, observation, sight) if failed else None

    def _again(self, episode: _Episode, observation: Observation, sight: Sight) -> Answer | None:
        """Let the wrapped policy begin anew from an open hand above."""
        if episode.retries >= self._config.retries:
            self._verdict = f"{self._verdict}; given up after {episode.retries} retries"
            return "cannot"
        episode.retries += 1
        self._verdict = f"{self._verdict}; retry {episode.retries} of {self._config.retries}"
        episode.recovery = self._recovery(observation, holding=not sight.empty_handed)
        episode.began = observation.step + len(episode.recovery)
        # Another seed: with the same one a policy that draws would draw the same again.
        self._policy.reset(episode.seed + episode.retries, episode.expert)
        return None

    def _recovery(self, observation: Observation, holding: bool) -> list[KeyframeAction]:
        """Open the hand where it is, if it holds something, and rise."""
        here = replace(_here(observation), gripper_open=True)
        up = np.add(here.position, (0.0, 0.0, self._config.rise)).clip(self._workspace.low, self._workspace.high)
        return [*([here] if holding else []), replace(here, position=up)]

    def _next(self, episode: _Episode, observation: Observation) -> KeyframeAction:
        """A recovery that is due, or what the wrapped policy decides with the steps that are left to it."""
        if episode.recovery:
            return episode.recovery.pop(0)
        fresh = replace(
            observation, step=observation.step - episode.began, step_limit=max(1, observation.step_limit - episode.began)
        )
        return self._policy.act(fresh)


def _here(observation: Observation) -> KeyframeAction:
    """Stay, the fingers as they are."""
    return KeyframeAction(
        position=np.array(observation.gripper_position, dtype=np.float64),
        quaternion=np.array(observation.gripper_quaternion, dtype=np.float64),
        gripper_open=observation.gripper_open,
        ignore_collisions=True,
    )
