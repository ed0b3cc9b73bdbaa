"""Verification in the simulator: what images say of goals is what is so, and a rollout under it leaves its verdicts behind."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.scene_nodes import SLIDES, scene_nodes
from vla3d.errors import ObservationError
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.episode import EpisodeJob, run_episode
from vla3d.evaluation.report import write_report
from vla3d.evaluation.results import RolloutFolder
from vla3d.evaluation.rollout import shared_settings
from vla3d.evaluation.summary import summarise
from vla3d.evaluation.worker import FilmJob, Worker
from vla3d.policies.base import Policy
from vla3d.policies.scripted import ScriptedPolicy
from vla3d.policies.verified.config import VerifyConfig
from vla3d.policies.verified.policy import VerifiedPolicy
from vla3d.policies.verified.watching import Watcher
from vla3d.scene_graphs.building.builder import BuilderConfig
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.goals.goal import facts_of
from vla3d.scene_graphs.goals.phrasebook import read_goal
from vla3d.scene_graphs.predicates.truth import TRUE
from vla3d.seeding import scene_seed
from vla3d.types import Expert, KeyframeAction, Observation

VERIFY = VerifyConfig(enabled=True)
TASKS = [task for task in BUILT_IN if task != "push_buttons"]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_goals_are_seen_as_they_are(task: str) -> None:
    """After every keyframe of the expert no wish is seen to hold that does not, or the other way round; at its end all hold."""
    env = BUILT_IN[task].load()()
    watcher, seen = Watcher(BuilderConfig(slides=SLIDES)), env.reset(seed=scene_seed("validation", 5, task, 0))
    goal = read_goal(seen.instruction)
    assert goal is not None
    sight, truth = watcher.look(seen), graph_of(scene_nodes(env))
    assert not goal.missing(sight.graph)
    bound = goal.bind(sight.graph)
    assert bound.meant == goal.bind(truth).meant and all(len(ids) == 1 for ids in bound.meant.values())
    expert, result = env.expert(), None
    while result is None or not (result.terminated or result.truncated):
        result = env.step(expert.next_action())
        sight, known = watcher.look(result.observation), facts_of(graph_of(scene_nodes(env)))
        contradicted = [w.words() for w in goal.wishes if bound.truth(w, sight.facts) * bound.truth(w, known) < 0]
        assert not contradicted
    assert result.success and bound.holds(sight.graph) == TRUE
    env.close()


class ClosesBeside(Policy):
    """The expert, but the first time that the hand closes it is 6 cm beside the thing."""

    def __init__(self) -> None:
        self._expert, self._missed = ScriptedPolicy(), False

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        self._expert.reset(seed, expert)

    def act(self, observation: Observation) -> KeyframeAction:
        action = self._expert.act(observation)
        if action.gripper_open or self._missed:
            return action
        self._missed = True
        return KeyframeAction(
            position=action.position + np.array([0.06, 0, 0]), quaternion=action.quaternion, gripper_open=False,
            ignore_collisions=True,
        )  # fmt: skip


def test_a_missed_grasp_is_seen_and_mended() -> None:
    env = TabletopEnv(BUILT_IN["place_in_container"].load()()._task, renderer="raycast")
    policy = VerifiedPolicy(ClosesBeside(), VERIFY, workspace=env.workspace)
    record = run_episode(env, policy, EpisodeJob(task=env.task, index=0, seed=scene_seed("validation", 0, env.task, 0)))
    env.close()
    assert record.success
    assert [str(action.verdict).partition(";")[0] for action in record.actions[1:4]] == [
        "the hand is where it was sent",
        "the hand closed on nothing",
        "the hand is where it was sent",
    ]


def test_a_rollout_keeps_and_shows_its_verdicts(tmp_path: Path) -> None:
    settings = RolloutConfig(
        tasks=["pick_and_lift"], out=tmp_path, policy="scripted", verify=VERIFY, renderer="raycast", videos=0
    )
    worker, folder = Worker(settings), RolloutFolder(tmp_path)
    job = EpisodeJob(task="pick_and_lift", index=0, seed=scene_seed("test", 1000, "pick_and_lift", 0))
    record = worker.run(job)
    assert record.success and folder.read("pick_and_lift", 0) == record
    assert str(record.actions[0].verdict).startswith("to come: ") and str(record.actions[2].verdict).startswith("holds the ")
    assert worker.film(FilmJob(job=job, record=record)), "filmed, it takes the same course"
    worker.close()
    shared = shared_settings(settings)
    assert shared["verify"] == asdict(VERIFY) and "verify" not in shared_settings(replace(settings, verify=VerifyConfig()))
    summary = {**summarise({"pick_and_lift": [record]}, shared), "checkpoint": None, "finished": "now"}
    (tmp_path / "rollout.json").write_text(json.dumps(summary))
    page = write_report(tmp_path).read_text()
    assert "scripted, verified" in page and str(record.actions[2].verdict) in page


def test_without_masks_verification_is_refused() -> None:
    env = TabletopEnv(BUILT_IN["pick_and_lift"].load()()._task, renderer=None)
    policy = VerifiedPolicy(ScriptedPolicy(), VERIFY, workspace=env.workspace)
    with pytest.raises(ObservationError, match="verify=false"):
        run_episode(env, policy, EpisodeJob(task=env.task, index=0, seed=0))
    env.close()
