"""Several processes train one model: the same gradients, one writer, exact resume."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vla3d.training.checkpoint import CheckpointStore

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("toy_model.py")
ROOT = Path(__file__).parents[2]
SETTINGS = {"steps": 30, "validate_every": 10, "save_every": 10, "log_every": 5}


def launch(out: Path, processes: int, *options: str, fails: bool = False, **settings: object) -> None:
    """Run the toy program under torchrun."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={processes}",
        str(PROGRAM),
        str(out),
    ]
    command += [*options, "--set", json.dumps({**SETTINGS, **settings})]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert (done.returncode != 0) == fails, done.stderr[-3000:]


def weights(out: Path, step: int = 30) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoints" / f"step-{step:08d}" / "state" / "weights.safetensors")


def records(out: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("steps_per_second", "kind")} for line in lines]


def test_two_processes_equal_one_with_twice_the_batch(tmp_path: Path) -> None:
    launch(tmp_path / "one", 1, "--plain", batch_size=8)
    launch(tmp_path / "two", 2, "--plain", batch_size=4)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-5)
    for first, second in zip(records(tmp_path / "one"), records(tmp_path / "two"), strict=True):
        assert first == pytest.approx(second, rel=1e-3)


def test_two_processes_thaw_weights_like_one(tmp_path: Path) -> None:
    """The gradients of weights that train later are averaged from then on, also after a resume."""
    settings = {"freeze_steps": 15, "schedule": "constant"}
    launch(tmp_path / "one", 1, "--waiting", batch_size=8, **settings)
    launch(tmp_path / "two", 2, "--waiting", batch_size=4, **settings)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-5)
    launch(tmp_path / "parts", 2, "--waiting", batch_size=4, steps=16, **settings)
    launch(tmp_path / "parts", 2, "--waiting", "--resume", batch_size=4, **settings)
    parts = weights(tmp_path / "parts")
    assert all(torch.equal(parts[name], two[name]) for name in two)


def test_two_processes_resume_exactly(tmp_path: Path) -> None:
    launch(tmp_path / "whole", 2)
    store = CheckpointStore(tmp_path / "parts" / "checkpoints", keep=2)
    launch(tmp_path / "parts", 2, max_minutes=1e-6)  # stops where the processes first agree on it
    assert store.steps() == [0]
    launch(tmp_path / "parts", 2, "--resume", "--dying", fails=True)
    assert store.steps() == [10, 20]
    launch(tmp_path / "parts", 2, "--resume")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert records(tmp_path / "whole") == records(tmp_path / "parts")
    assert not list(tmp_path.glob("*/checkpoints/.*"))
