"""How long a policy thinks: ``act`` on one core, from four RGB-D images to an action.

python benchmarks/act.py [checkpoint]        # without one: the nano configuration with fresh weights
"""

import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

from vla3d.envs.base import make_env
from vla3d.policies.learned import LearnedPolicy, load_policy
from vla3d.training.checkpoint import policy_directory

TASKS = ("pick_and_lift", "place_in_container", "open_drawer")
REPEATS = 20


def fresh_policy(sentences: list[str]) -> LearnedPolicy:
    """The nano configuration of ``vla3d train``, untrained."""
    from vla3d.commands.composition import compose
    from vla3d.policies.bridgevla import BridgeVLA

    values = compose("train", "train", [])
    assert values is not None
    policy = {key: value for key, value in values["policy"].items() if key != "name"}
    return BridgeVLA.from_config(policy, sentences=sentences, seed=0).eval()


def main() -> None:
    """Print the median and the 95th percentile for each task."""
    torch.set_num_threads(1)
    envs = {task: make_env(task) for task in TASKS}
    observations = {task: env.reset(seed=1) for task, env in envs.items()}
    if len(sys.argv) > 1:
        policy = load_policy(policy_directory(Path(sys.argv[1])))
    else:
        policy = fresh_policy([observation.instruction for observation in observations.values()])
    print(f"act, one thread; {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}")
    for task, observation in observations.items():
        policy.act(observation)
        times = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            policy.act(observation)
            times.append(1000 * (time.perf_counter() - begin))
        print(f"  {task:<20} median {np.median(times):6.1f} ms   95th percentile {np.percentile(times, 95):6.1f} ms")


if __name__ == "__main__":
    main()
