"""One episode: the loop, its controls, failure reasons, replay."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_fakes import COLORS, TOP_DOWN, FakeEnv, Obedient, Stubborn, sentence

from vla3d.errors import ConfigError
from vla3d.evaluation.controls import sentences
from vla3d.evaluation.episode import EpisodeJob, Replay, recorded_actions, run_episode
from vla3d.evaluation.results import EpisodeRecord
from vla3d.policies.base import Policy, PolicyExplanation
from vla3d.policies.scripted import ScriptedPolicy
from vla3d.types import KeyframeAction, Observation

SEEDS = range(12)


def job(seed: int, **kwargs: Any) -> EpisodeJob:
    return EpisodeJob(task="fake", index=0, seed=seed, **kwargs)


class Fixed(Policy):
    """Says the same thing at every step."""

    def __init__(self, **action: Any) -> None:
        self.action = KeyframeAction(
            **{"position": np.array([0.5, 0, 0.3]), "quaternion": TOP_DOWN, "gripper_open": True, **action}
        )

    def act(self, observation: Observation) -> KeyframeAction:
        return self.action


def test_expert_succeeds_and_is_recorded() -> None:
    record = run_episode(FakeEnv(), ScriptedPolicy(), job(3))
    assert record.success and record.old_goal and record.failure is None and record.answer is None
    assert len(record.actions) == 2 and not record.actions[1].gripper_open and record.actions[1].ignore_collisions
    assert record.instruction == record.shown
    assert EpisodeRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("seed", SEEDS)
def test_swap_scores_both_goals(seed: int) -> None:
    listening = run_episode(FakeEnv(), Obedient(), job(seed), "swap")
    assert listening.success and not listening.old_goal and listening.failure is None
    assert listening.shown != listening.instruction
    stubborn = run_episode(FakeEnv(), Stubborn(), job(seed), "swap")
    assert not stubborn.success and stubborn.old_goal and stubborn.failure == "wrong_object"
    assert len(stubborn.actions) == 2, "the episode must end at the old goal"


def test_swap_forgets_the_verdict_about_the_old_goal() -> None:
    """The third ball is neither goal: for the environment a wrong object, but it knows nothing of the named one."""
    for seed in SEEDS:
        env = FakeEnv()
        env.reset(seed=seed)
        third = next(c for c in COLORS if sentence(c) not in (env.instruction, env.swap_instruction()))
        blind = Obedient(third)
        blind.act = lambda observation, blind=blind, third=third: Obedient.act(  # type: ignore[method-assign]
            blind, observation.with_instruction(sentence(third))
        )
        assert run_episode(FakeEnv(), blind, job(seed), "swap").failure == "timeout"
        assert run_episode(FakeEnv(), blind, job(seed), "none").failure == "wrong_object"


def test_masked_text_reaches_the_policy_and_is_lifted_again() -> None:
    env, policy = FakeEnv(), Obedient("blue")
    masked = [run_episode(env, policy, job(seed), "mask_text") for seed in SEEDS]
    assert [r.success for r in masked] == [r.instruction == sentence("blue") for r in masked]
    assert {r.shown for r in masked} == {""}
    assert all(run_episode(env, policy, job(seed)).success for seed in SEEDS)


@pytest.mark.parametrize(
    ("action", "failure", "answer", "steps"),
    [
        ({}, "timeout", None, 4),
        ({"position": np.array([5.0, 0, 0])}, "unreachable", None, 4),
        ({"answer": "absent"}, "gave_up", "absent", 1),
    ],
)
def test_failures_are_named(action: dict[str, Any], failure: str, answer: str | None, steps: int) -> None:
    record = run_episode(FakeEnv(), Fixed(**action), job(0))
    assert (record.success, record.failure, record.answer, len(record.actions)) == (False, failure, answer, steps)


@pytest.mark.parametrize(
    ("action", "success", "failure", "steps"),
    [
        ({"answer": "absent"}, True, None, 1),
        ({"answer": "cannot"}, False, "gave_up", 1),
        ({"answer": "done"}, False, "gave_up", 1),
        ({}, False, "timeout", 4),
        ({"position": np.array([5.0, 0, 0])}, False, "unreachable", 4),
    ],
)
def test_to_what_is_absent_only_that_answer_is_right(
    action: dict[str, Any], success: bool, failure: str | None, steps: int
) -> None:
    record = run_episode(FakeEnv(), Fixed(**action), job(0), "absent")
    assert (record.success, record.failure, len(record.actions)) == (success, failure, steps)
    assert record.shown == sentence("black") != record.instruction and not record.old_goal


def test_reaching_any_goal_where_an_absent_one_was_asked_for_is_the_wrong_object() -> None:
    for seed in SEEDS:
        record = run_episode(FakeEnv(), Stubborn(), job(seed), "absent")
        assert (record.success, record.old_goal, record.failure) == (False, True, "wrong_object")
        assert len(record.actions) == 2, "the episode must end at the goal"


class Sure(Obedient):
    """Says how sure it is, another number at each decision."""

    def reset(self, seed: int, expert: Any = None) -> None:
        super().reset(seed, expert)
        self.said = iter((0.75, 0.5))

    def explain(self) -> PolicyExplanation:
        return replace(super().explain(), absence=next(self.said))


def test_what_the_policy_held_of_absence_at_its_first_decision_is_recorded() -> None:
    assert run_episode(FakeEnv(), Sure(), job(0)).absence == 0.75
    assert run_episode(FakeEnv(), Obedient(), job(0)).absence is None
    assert run_episode(FakeEnv(), ScriptedPolicy(), job(0)).absence is None


def test_an_environment_that_forgets_its_limit_is_stopped() -> None:
    class Endless(FakeEnv):
        def step(self, action: KeyframeAction, on_tick: Any = None) -> Any:
            self.steps = 0
            return super().step(action, on_tick)

    assert len(run_episode(Endless(), Fixed(), job(0)).actions) == FakeEnv.step_limit


def test_initial_states_are_recorded_and_begun_from(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "0000_3.state"
    first = run_episode(FakeEnv(), ScriptedPolicy(), job(3, save_state=state))
    assert json.loads(state.read_bytes())[1] in COLORS
    again = run_episode(FakeEnv(), ScriptedPolicy(), job(99, state=state))
    assert (again.actions, again.instruction) == (first.actions, first.instruction)
    assert again.actions != run_episode(FakeEnv(), ScriptedPolicy(), job(99)).actions


def test_replay_repeats_an_episode_exactly() -> None:
    first = run_episode(FakeEnv(), Obedient(), job(5), "swap")
    stored = EpisodeRecord.from_json(first.to_json())
    again = run_episode(FakeEnv(), Replay(recorded_actions(stored), Obedient()), job(5), "swap")
    verdicts = [f"verdict {number}" for number in range(len(stored.actions))]
    noted = run_episode(FakeEnv(), Replay(recorded_actions(stored), None, verdicts), job(5), "swap")
    assert [action.verdict for action in noted.actions] == verdicts
    assert (again.actions, again.success, again.old_goal) == (first.actions, first.success, first.old_goal)
    with pytest.raises(IndexError):
        run_episode(FakeEnv(), Replay(recorded_actions(stored)[:1], Obedient()), job(5), "swap")


def test_unknown_control() -> None:
    env = FakeEnv()
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="Did you mean 'swap'"):
        sentences("swop", env)
