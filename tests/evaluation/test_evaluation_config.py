"""The rollout's configuration refuses what cannot be meant, in one sentence that says what to do."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vla3d.errors import ConfigError
from vla3d.evaluation.config import RolloutConfig


def config(**changes: Any) -> RolloutConfig:
    return RolloutConfig(**{"tasks": ["pick_and_lift"], "out": "x", "policy": "random", **changes})


def test_lists_and_strings_become_what_they_are_typed() -> None:
    made = config(tasks=["a", "b"], compare=["r1"], states="s")
    assert (made.tasks, made.compare, made.out, made.states) == (("a", "b"), (Path("r1"),), Path("x"), Path("s"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": []}, "tasks: got none"),
        ({"tasks": ["a", "b", "a"]}, "got a more than once"),
        ({"policy": None}, "checkpoint=RUN"),
        ({"checkpoint": "r"}, "give one of the two"),
        ({"episodes": 0}, "episodes: got 0"),
        ({"episodes": True}, "episodes: got True"),
        ({"episodes": 2.5}, r"episodes: got 2\.5"),
        ({"num_workers": -1}, "num_workers: got -1"),
        ({"seed": -5}, "seed: got -5"),
        ({"image_size": 4}, "image_size: got 4"),
        ({"control": "swapp"}, "Did you mean 'swap'"),
        ({"videos": "fail"}, "Did you mean 'failures'"),
        ({"videos": -1}, "videos: got -1"),
        ({"videos": 1.5}, r"videos: got 1\.5"),
        ({"states": "s", "save_states": "s"}, "got s for both"),
    ],
)
def test_bad_values(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**changes)


def test_importing_it_loads_neither_torch_nor_a_simulator() -> None:
    modules = "import sys, vla3d.evaluation.config, vla3d.commands.rollout"
    code = f"{modules}; print({{'torch', 'mujoco', 'warp', 'av'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
