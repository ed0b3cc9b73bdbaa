"""What verification by the scene graph is worth: success of a clumsy policy with and without it, and honest answers.

    python benchmarks/verification.py [--episodes 20] [--kinds clumsy ...] [--mistakes 0.5] [--out runs/verification.jsonl]

The clumsy policy plays an expert's plan back blindly; with probability ``--mistakes`` a plan closes the hand beside the thing,
above it, or goes for another goal of the scene. ``careful`` makes no mistakes: whatever verification does to it is an error.
``absent`` asks for colours that the scene does not have, ``present`` says the scene's own sentences; ``cannot`` asks for a cube
that lies out of reach. A line of ``--out`` holds one episode; episodes that it holds are not run again.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from clumsy import BlindPolicy
from learning import line, machine

from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.placement import TablePose
from vla3d.envs.tabletop.scene_nodes import SLIDES
from vla3d.envs.tabletop.tasks.cubes import CUBES
from vla3d.evaluation.episode import EpisodeJob, run_episode
from vla3d.evaluation.statistics import SuccessRate
from vla3d.policies.base import Policy
from vla3d.policies.scripted import ScriptedPolicy
from vla3d.policies.verified.config import VerifyConfig
from vla3d.policies.verified.policy import VerifiedPolicy
from vla3d.scene_graphs.building.builder import BuilderConfig
from vla3d.seeding import scene_seed

ACTING = ("pick_and_lift", "place_in_container", "open_drawer", "put_item_in_drawer", "stack_blocks")
SHORT = ACTING[:3]
"""Tasks whose step limit leaves room for hardly more than one other try: they are also run with twice the steps."""
ASKING = (*ACTING, "reach_target", "slide_block_to_target")
LONGER = "twice the steps"
OUT_OF_REACH = TablePose(0.60, 0.58, 0.0)
Row = dict[str, Any]
Kinds = dict[str, tuple[tuple[str, ...], Callable[[TabletopEnv, int], Row]]]


def verified(policy: Policy, env: TabletopEnv) -> VerifiedPolicy:
    """A policy under verification, as a rollout builds it."""
    config = VerifyConfig(enabled=True)
    return VerifiedPolicy(policy, config, workspace=env.workspace, builder=BuilderConfig(slides=SLIDES))


def acted(env: TabletopEnv, seed: int, policy: Policy) -> Row:
    """An episode."""
    record = run_episode(env, policy, EpisodeJob(task=env.task, index=0, seed=seed))
    retries = sum("; retry " in (action.verdict or "") for action in record.actions)
    return {"good": record.success, "answer": record.answer, "failure": record.failure, "retries": retries}


def asked_for_absent(env: TabletopEnv, seed: int) -> Row:
    """The first answer to a sentence whose colours are not all there."""
    task = env._task
    env.begin(seed=seed)
    scenario, rng = env.episode.scenario, np.random.default_rng(seed)
    absent = [number for number in range(task.num_variations) if task.candidate(scenario, number) is None]
    sentences = task.sentences(int(rng.choice(absent)))
    return first_answer(env, seed, sentences[int(rng.integers(len(sentences)))])


def first_answer(env: TabletopEnv, seed: int, sentence: str) -> Row:
    """What a verified policy answers at once."""
    policy = verified(ScriptedPolicy(), env)
    policy.reset(seed, env.expert())
    action = policy.act(env.observe().with_instruction(sentence))
    return {"good": action.answer == "absent", "answer": action.answer, "sentence": sentence, "verdict": policy.verdict()}


def asked_for_present(env: TabletopEnv, seed: int) -> Row:
    """The first answer to the episode's own sentence."""
    return first_answer(env, seed, env.reset(seed=seed).instruction)


def out_of_reach(env: TabletopEnv, seed: int) -> Row:
    """What is answered about a cube that the arm does not reach."""
    env.begin(seed=seed)
    env.world.put(CUBES[env.episode.scenario.goal], OUT_OF_REACH, 0.02)
    env.world.sim.refresh()
    seen, policy = env.observe(), verified(ScriptedPolicy(), env)
    policy.reset(seed, env.expert())
    while True:
        action = policy.act(seen)
        result = env.step(action)
        if result.terminated or result.truncated:
            answer = None if action.answer == "move" else action.answer
            return {"good": answer == "cannot", "answer": answer, "verdict": policy.verdict()}
        seen = result.observation


def kinds(mistakes: float) -> Kinds:
    """Kinds of episodes: their tasks, and what runs one."""

    def clumsy(env: TabletopEnv, seed: int) -> Row:
        return acted(env, seed, BlindPolicy(env, mistakes))

    def clumsy_verified(env: TabletopEnv, seed: int) -> Row:
        return acted(env, seed, verified(BlindPolicy(env, mistakes), env))

    return {
        "absent": (ASKING, asked_for_absent),
        "present": (ASKING, asked_for_present),
        "cannot": (SHORT[:2], out_of_reach),
        "clumsy": (ACTING, clumsy),
        "clumsy, verified": (ACTING, clumsy_verified),
        f"clumsy, {LONGER}": (SHORT, clumsy),
        f"clumsy, verified, {LONGER}": (SHORT, clumsy_verified),
        "careful, verified": (ASKING, lambda env, seed: acted(env, seed, verified(ScriptedPolicy(), env))),
    }


def read_rows(path: Path) -> dict[tuple[str, str, int], Row]:
    """Episodes that are done; a line that was cut off is not."""
    found = {}
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(text)
            found[row["kind"], row["task"], row["index"]] = row
        except (ValueError, KeyError):
            continue
    return found


def run_missing(path: Path, chosen: Kinds, episodes: int, seed: int) -> None:
    """Run what the file does not hold yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for kind, (tasks, run) in chosen.items():
        for task in tasks:
            done = read_rows(path)
            todo = [index for index in range(episodes) if (kind, task, index) not in done]
            if not todo:
                continue
            looks = "verified" in kind or "clumsy" not in kind
            env = BUILT_IN[task].load()(renderer="warp" if looks else None)
            env.step_limit *= 2 if LONGER in kind else 1
            for index in todo:
                row = run(env, scene_seed("test", seed, task, index))
                text = "" if not path.exists() or path.read_text().endswith("\n") else "\n"
                with path.open("a") as file:
                    file.write(f"{text}{json.dumps({'kind': kind, 'task': task, 'index': index, **row})}\n")
            env.close()


def rate(rows: Iterable[Row]) -> SuccessRate:
    """How many are as they should be."""
    return SuccessRate.of(row["good"] for row in rows)


def report(rows: Mapping[tuple[str, str, int], Row], chosen: Kinds, episodes: int, mistakes: float) -> str:
    """The tables."""
    good = {"absent": "answered absent", "present": "answered absent (should be none)", "cannot": "answered cannot"}
    lines = [f"{mistakes:.0%} of the clumsy plans have a mistake; {date.today()}, {machine()}"]
    for kind, (tasks, _) in chosen.items():
        mine = [row for (name, _, index), row in rows.items() if name == kind and index < episodes]
        lines += ["", f"{kind}: {good.get(kind, 'succeeded')}"]
        for task in tasks:
            lines.append(f"  {task:<22} {line(rate(row for row in mine if row['task'] == task))}")
        lines.append(f"  {'all':<22} {line(rate(mine))}")
        answers = [str(row["answer"]) for row in mine if row["answer"] not in (None, "move")]
        counted = ", ".join(f"{name} {answers.count(name)}" for name in sorted(set(answers))) or "none"
        retries = sum(row.get("retries", 0) for row in mine)
        lines.append(f"  answers: {counted}" + (f"; retries: {retries}" if "verified" in kind else ""))
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--mistakes", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/verification.jsonl"))
    parser.add_argument("--kinds", nargs="+", choices=[*kinds(0.0)], default=[*kinds(0.0)])
    options = parser.parse_args()
    chosen = {name: kind for name, kind in kinds(options.mistakes).items() if name in options.kinds}
    run_missing(options.out, chosen, options.episodes, options.seed)
    print(report(read_rows(options.out), chosen, options.episodes, options.mistakes))


if __name__ == "__main__":
    main()
