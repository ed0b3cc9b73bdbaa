"""Functions that test workers run; spawned processes import them by name."""

import os
import signal
import time

from vla3d.errors import ConfigError

_offset = 0


def start(offset: int) -> None:
    global _offset
    _offset = offset


def start_badly() -> None:
    raise ConfigError("no such policy")


def add(job: int) -> int:
    return job + _offset


def sleepy(job: float) -> int:
    time.sleep(job)
    return os.getpid()


def threads(job: int) -> tuple[int, str]:
    import torch

    return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]


def trouble(job: str) -> str:
    if job == "user":
        raise ConfigError("a wrong value")
    if job == "bug":
        raise ZeroDivisionError("an honest bug")
    if job == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "exit":
        os._exit(3)
    return job
