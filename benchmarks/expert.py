"""Success of the scripted experts over many scenes, without cameras.

    python benchmarks/expert.py [--tasks pick_and_lift,open_drawer] [--episodes 100] [--seed 0] [--workers 2] [--policy random]

Prints a table with Wilson 95 % intervals, the failure reasons, the failed scenes, and the simulated and real time.
"""

import argparse
import datetime
import os
import platform
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import mujoco
import numpy as np

from vla3d.envs.base import KeyframeEnv, make_env
from vla3d.envs.registration import BUILT_IN
from vla3d.evaluation.statistics import wilson_interval
from vla3d.seeding import scene_seed
from vla3d.types import KeyframeAction


@dataclass(frozen=True)
class Outcome:
    """One episode: its scene, whether it succeeded, why not, decisions, and seconds simulated and spent."""

    seed: int
    success: bool
    failure: str | None
    steps: int
    simulated: float
    spent: float


def run_episodes(task: str, seeds: list[int], policy: str) -> list[Outcome]:
    """Run one episode per seed."""
    env = make_env(task, renderer=None)
    outcomes = []
    for seed in seeds:
        start = time.perf_counter()
        env.reset(seed=seed)
        expert, rng = env.expert(), np.random.default_rng(seed)
        result, steps = None, 0
        while result is None or not (result.terminated or result.truncated):
            result = env.step(expert.next_action() if policy == "expert" else random_action(env, rng))
            steps += 1
        outcomes.append(Outcome(seed, result.success, result.failure, steps, env.time, time.perf_counter() - start))
    env.close()
    return outcomes


def random_action(env: KeyframeEnv, rng: np.random.Generator) -> KeyframeAction:
    """A uniform position in the workspace, any orientation, coin flips for the rest."""
    quaternion = rng.normal(size=4)
    return KeyframeAction(
        position=rng.uniform(env.workspace.low, env.workspace.high),
        quaternion=quaternion / np.linalg.norm(quaternion),
        gripper_open=bool(rng.integers(2)),
        ignore_collisions=bool(rng.integers(2)),
    )


def report(task: str, outcomes: list[Outcome]) -> None:
    """Print one task's line."""
    successes = sum(outcome.success for outcome in outcomes)
    interval = wilson_interval(successes, len(outcomes))
    failures = Counter(str(outcome.failure) for outcome in outcomes if not outcome.success)
    steps = np.mean([outcome.steps for outcome in outcomes])
    simulated = np.mean([outcome.simulated for outcome in outcomes])
    spent = np.mean([outcome.spent for outcome in outcomes])
    print(
        f"{task:20s} {successes:4d}/{len(outcomes):<4d} {100 * successes / len(outcomes):5.1f} %  "
        f"[{100 * interval.low:5.1f}, {100 * interval.high:5.1f}]  "
        f"{steps:5.2f} {simulated:7.2f} s {spent:8.3f} s  {dict(failures)}",
        flush=True,
    )
    failed = [outcome.seed for outcome in outcomes if not outcome.success]
    if failed:
        print(f"{'':20s} failed scenes: {failed[:20]}")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", default=",".join(BUILT_IN))
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--policy", choices=("expert", "random"), default="expert")
    args = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, MuJoCo {mujoco.__version__}"
    print(f"{args.policy}, test scenes of seed {args.seed}; {datetime.date.today().isoformat()}, {machine}")
    columns = f"{'steps':>6s} {'simulated':>9s} {'real':>10s}  failures"
    print(f"{'task':20s} {'success':>9s} {'':7s}  {'Wilson 95 %':14s} {columns}")
    with ProcessPoolExecutor(args.workers) as pool:
        for task in args.tasks.split(","):
            seeds = [scene_seed("test", args.seed, task, index) for index in range(args.episodes)]
            parts = [seeds[worker :: args.workers] for worker in range(args.workers)]
            jobs = [pool.submit(run_episodes, task, part, args.policy) for part in parts if part]
            report(task, [outcome for job in jobs for outcome in job.result()])


if __name__ == "__main__":
    main()
