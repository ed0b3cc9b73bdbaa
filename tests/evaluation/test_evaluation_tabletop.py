"""The embedded simulator under evaluation: controls score real goals, spawned workers can be interrupted and continued."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vla3d.envs.base import KeyframeEnv
from vla3d.envs.registration import BUILT_IN, find_task
from vla3d.evaluation.episode import EpisodeJob, Replay, recorded_actions, run_episode
from vla3d.policies.scripted import ScriptedPolicy
from vla3d.seeding import scene_seed
from vla3d.types import KeyframeAction, Observation


@pytest.fixture(params=sorted(BUILT_IN))
def env(request: pytest.FixtureRequest) -> Any:
    made = find_task(request.param)(renderer=None)  # goals and experts need no images
    yield made
    made.close()


def job(env: KeyframeEnv, index: int = 0) -> EpisodeJob:
    return EpisodeJob(task=env.task, index=index, seed=scene_seed("test", 4, env.task, index))


def test_swap_counts_the_named_goal(env: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expert that goes for the object the swapped sentence names succeeds; one that keeps to its own does not."""
    deaf = run_episode(env, ScriptedPolicy(), job(env), "swap")
    assert (deaf.success, deaf.old_goal, deaf.failure) == (False, True, "wrong_object")

    def obedient(of: Any = env, real: Any = env.expert) -> Any:
        expert = real()
        return type(expert)(of._task, of.world, replace(of.episode.scenario, goal=of.episode.scenario.swapped))

    monkeypatch.setattr(env, "expert", obedient)
    hearing = run_episode(env, ScriptedPolicy(), job(env), "swap")
    assert (hearing.success, hearing.old_goal, hearing.failure) == (True, False, None)
    assert hearing.shown != hearing.instruction
    assert run_episode(env, ScriptedPolicy(), job(env)).failure == "wrong_object"


def test_the_expert_says_what_is_absent_and_a_deaf_one_meddles_with_the_wrong_thing(env: Any) -> None:
    record = run_episode(env, ScriptedPolicy(), job(env), "absent")
    assert (record.success, record.failure, record.answer, len(record.actions)) == (True, None, "absent", 1)
    assert record.shown != record.instruction and not record.old_goal
    assert run_episode(env, Deaf(), job(env), "absent").failure == "wrong_object"


class Deaf(ScriptedPolicy):
    """Does what the episode asks for, whatever is said."""

    def act(self, observation: Observation) -> KeyframeAction:
        assert self._expert is not None
        return self._expert.next_action()


def test_replay_takes_the_same_course(env: Any) -> None:
    first = run_episode(env, ScriptedPolicy(), job(env))
    again = run_episode(env, Replay(recorded_actions(first), ScriptedPolicy()), job(env))
    assert first.success and (again.actions, again.success) == (first.actions, first.success)


ROLLOUT = """
import sys
from vla3d.commands.rollout import rollout
from vla3d.evaluation.config import RolloutConfig
if __name__ == "__main__":
    rollout(RolloutConfig(tasks=["pick_and_lift"], out=sys.argv[1], policy="random", episodes=int(sys.argv[2]), videos=1,
                          image_size=32, renderer="raycast", num_workers=2))
"""


@pytest.mark.slow
def test_interrupted_and_continued_equals_undisturbed(tmp_path: Path) -> None:
    script = tmp_path / "rollout_script.py"
    script.write_text(ROLLOUT)

    def command(out: str) -> list[str]:
        return [sys.executable, str(script), str(tmp_path / out), "12"]

    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    cut = subprocess.Popen(command("cut"), env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "cut").rglob("0*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    cut.send_signal(signal.SIGINT)
    assert cut.wait(60) != 0
    finished = len(list((tmp_path / "cut").rglob("0*.json")))
    assert 3 <= finished < 12 and not (tmp_path / "cut/rollout.json").exists()
    for out in ("cut", "whole"):
        subprocess.run(command(out), env=environment, check=True, capture_output=True)
    both = [json.loads((tmp_path / out / "rollout.json").read_text()) for out in ("cut", "whole")]
    for summary in both:
        del summary["finished"], summary["decision_milliseconds"]
    assert both[0] == both[1]
    assert len(list((tmp_path / "cut").rglob("*.mp4"))) == 1
    assert not [path for path in (tmp_path / "cut").rglob(".*") if path.is_file() and path.name != ".lock"], "litter"
