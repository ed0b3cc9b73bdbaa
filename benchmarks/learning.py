"""What the benchmarks of success share: running commands that go on where they were stopped, and saying on what machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from vla3d.evaluation.statistics import SuccessRate

BIN = Path(sys.executable).parent
PROCESSES = 2
TOTAL_BATCH = 16


def vla3d(*arguments: str, launcher: tuple[str, ...] = ()) -> None:
    """Run a command on one thread a process; stop with it when it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, str(BIN / "vla3d"), *arguments], check=True, env=environment)


def train(out: Path, experiment: str, data: Path, seed: int, *changes: str) -> None:
    """Train, or go on training, with two processes."""
    vla3d(
        "train",
        f"experiment={experiment}",
        f"data={data}",
        f"out={out}",
        f"seed={seed}",
        f"trainer.batch_size={TOTAL_BATCH // PROCESSES}",
        f"resume={str((out / 'trainer.json').exists()).lower()}",
        *changes,
        launcher=(str(BIN / "torchrun"), f"--nproc-per-node={PROCESSES}", "--no-python"),
    )


def total(parts: list[dict]) -> SuccessRate:
    """Several counts as one."""
    return SuccessRate(successes=sum(part["successes"] for part in parts), episodes=sum(part["episodes"] for part in parts))


def line(rate: SuccessRate) -> str:
    """A rate with its interval."""
    interval = rate.interval
    return f"{rate.successes:>4}/{rate.episodes:<4} {rate.rate:6.1%}  [{interval.low:.1%}, {interval.high:.1%}]"


def machine() -> str:
    """Where this runs."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
