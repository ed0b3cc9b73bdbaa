"""A collector to interrupt, run as ``python collect_program.py OUT EPISODES WORKERS FACTORY``."""

import sys
from pathlib import Path

import fake_keyframe_env

from vla3d.evaluation.collect import collect
from vla3d.evaluation.collect_config import CollectConfig

if __name__ == "__main__":
    out, episodes, workers, factory = sys.argv[1:]
    config = CollectConfig(
        tasks=["lift", "draw"], out=Path(out), episodes=int(episodes), num_workers=int(workers), image_size=16
    )
    collect(config, env_factory=getattr(fake_keyframe_env, factory), progress=False)
