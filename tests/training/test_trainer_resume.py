"""A run that was stopped, however it was stopped, ends as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_model import SlowModel, ToyData, ToyModel, toy_config, toy_trainer

from vla3d.errors import CheckpointError, ConfigError
from vla3d.training.checkpoint import CheckpointStore, step_name
from vla3d.training.trainer import Trainer

PROGRAM = Path(__file__).with_name("toy_model.py")
ROOT = Path(__file__).parents[2]


def final_files(out: Path, step: int = 60) -> dict[str, bytes]:
    """Every byte of the last checkpoint."""
    folder = out / "checkpoints" / step_name(step)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def records(out: Path) -> list[dict[str, object]]:
    """The log without the one column that is a measurement."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "steps_per_second"} for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    toy_trainer(out).train()
    return out


def start(out: Path, *options: str, **popen: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(out), *options]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, **popen)  # type: ignore[call-overload, no-any-return]


def wait_for_step(out: Path, step: int) -> None:
    """Until the log shows ``step``."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        log = out / "metrics.jsonl"
        if log.exists() and any(
            json.loads(line)["step"] >= step for line in log.read_text().splitlines() if line.endswith("}")
        ):
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was never reached")


def test_same_seed_gives_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    toy_trainer(tmp_path / "again").train()
    assert final_files(tmp_path / "again") == final_files(undisturbed)


def test_another_seed_gives_other_weights(undisturbed: Path, tmp_path: Path) -> None:
    toy_trainer(tmp_path / "other", seed=5).train()
    assert final_files(tmp_path / "other")["policy/model.safetensors"] != final_files(undisturbed)["policy/model.safetensors"]


@pytest.mark.parametrize("loading", [{"prefetch": 0}, {"prefetch": 5}])
def test_prefetching_changes_nothing(undisturbed: Path, tmp_path: Path, loading: dict[str, int]) -> None:
    toy_trainer(tmp_path / "run", **loading).train()
    tensors = final_files(tmp_path / "run")
    tensors.pop("state/state.json")  # it records the setting
    assert tensors.items() <= final_files(undisturbed).items()


class StopAt:
    """A tracker that breaks off the run once it hears of a step."""

    name = "stop"

    def __init__(self, step: int) -> None:
        self.at = step

    def start(self, step: int, state: object, settings: object) -> None: ...

    def log(self, step: int, kind: str, values: object) -> None:
        if step >= self.at:
            raise RuntimeError("broken off")

    def state(self) -> dict[str, object]:
        return {}

    def close(self) -> None: ...


def test_resumes_exactly_after_an_error_between_checkpoints(undisturbed: Path, tmp_path: Path) -> None:
    from vla3d.training.trackers import JsonlTracker

    out = tmp_path / "run"
    trainer = toy_trainer(out)
    trainer._trackers = [JsonlTracker(out / "metrics.jsonl"), StopAt(35)]
    with pytest.raises(RuntimeError, match="broken off"):
        trainer.train()
    assert CheckpointStore(out / "checkpoints", 2).last() == out / "checkpoints" / step_name(30)
    assert records(out)[-1]["step"] == 35  # past the checkpoint: must not appear twice

    toy_trainer(out, resume=True).train()
    assert final_files(out) == final_files(undisturbed)
    assert records(out) == records(undisturbed)


def test_resuming_a_finished_run_changes_nothing(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    toy_trainer(out).train()
    result = toy_trainer(out, resume=True).train()
    assert (result.step, result.stopped_by) == (60, "steps")
    assert final_files(out) == final_files(undisturbed)
    assert records(out) == records(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("step", [14, 49])
def test_resumes_exactly_after_sigkill(undisturbed: Path, tmp_path: Path, step: int) -> None:
    out = tmp_path / "run"
    process = start(out, "--slow")
    wait_for_step(out, step)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (out / "checkpoints" / step_name(60)).exists(), "killed too late to prove anything"

    assert start(out, "--resume").wait(timeout=60) == 0
    assert final_files(out) == final_files(undisturbed)
    assert records(out) == records(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_where_it_strikes(undisturbed: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    out = tmp_path / "run"
    process = start(out, "--slow", "--set", '{"save_every": 0, "validate_every": 0}')
    wait_for_step(out, 21)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    saved = CheckpointStore(out / "checkpoints", 2).steps()
    assert len(saved) == 1 and 21 <= saved[0] < 60

    assert start(out, "--resume", "--set", '{"save_every": 0, "validate_every": 0}').wait(timeout=60) == 0
    assert load_all(out) == load_all(undisturbed)


def load_all(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in final_files(out).items() if name.endswith(".safetensors")}


def test_ctrl_c_during_validation_repeats_it_on_resume(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    trainer = toy_trainer(out)
    original = ToyModel.metrics

    def interrupted(self: ToyModel, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        if trainer._position.step == 40:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch)

    monkeypatch.setattr(ToyModel, "metrics", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    monkeypatch.setattr(ToyModel, "metrics", original)
    assert trainer._store.steps()[-1] == 40
    assert not any(record["step"] == 40 and record["kind"] == "validation" for record in records(out))

    toy_trainer(out, resume=True).train()
    assert final_files(out) == final_files(undisturbed)
    assert records(out) == records(undisturbed)


def test_a_time_limit_stops_early_and_can_be_resumed(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = toy_trainer(out, model=SlowModel, max_minutes=0.2 / 60).train()
    assert result.stopped_by == "time" and 0 < result.step < 60
    assert result.metrics.keys() == {"error", "first_x"}  # it was validated
    assert toy_trainer(out, resume=True).train().stopped_by == "steps"
    assert load_all(out) == load_all(undisturbed)


def test_a_run_killed_before_its_first_checkpoint_starts_over(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    trainer = toy_trainer(out)
    trainer._trackers = [StopAt(7)]
    with pytest.raises(RuntimeError, match="broken off"):
        trainer.train()
    toy_trainer(out, resume=True).train()
    assert final_files(out) == final_files(undisturbed)


def test_a_longer_run_goes_on_from_a_finished_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    toy_trainer(out, steps=20).train()
    assert toy_trainer(out, resume=True, steps=40).train().step == 40


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 1e-4}, "lr: was 0.003, now 0.0001"),
        ({"batch_size": 4}, "batch_size: was 8, now 4"),
        ({"seed": 4, "ema_decay": 0.5}, "ema_decay: was 0.9, now 0.5; seed: was 0, now 4"),
    ],
)
def test_other_settings_are_refused(undisturbed: Path, changes: dict[str, object], words: str) -> None:
    before = final_files(undisturbed)
    with pytest.raises(CheckpointError, match=words):
        toy_trainer(undisturbed, resume=True, **changes).train()
    assert final_files(undisturbed) == before


def test_another_architecture_is_refused_by_name(undisturbed: Path) -> None:
    trainer = Trainer(toy_config(), ToyModel(width=24), ToyData(50), ToyData(13), out=undisturbed, resume=True)
    with pytest.raises(CheckpointError, match=r"model\.width: stored 16, now 24"):
        trainer.train()


def test_weights_of_other_shapes_are_refused_by_name(undisturbed: Path) -> None:
    class Liar(ToyModel):
        def architecture(self) -> dict[str, object]:
            return {"model": {"width": 16}, "outputs": 2}

    trainer = Trainer(toy_config(), Liar(width=24), ToyData(50), ToyData(13), out=undisturbed, resume=True)
    with pytest.raises(CheckpointError, match=r"batch_norm.bias: stored \(16,\), expected \(24,\)"):
        trainer.train()


def test_other_data_is_refused(undisturbed: Path) -> None:
    trainer = Trainer(toy_config(), ToyModel(), ToyData(51), ToyData(13), out=undisturbed, resume=True)
    with pytest.raises(CheckpointError, match="number of training samples was 50 and is now 51"):
        trainer.train()


def test_a_folder_with_a_run_is_not_overwritten(undisturbed: Path) -> None:
    with pytest.raises(ConfigError, match=r"already holds a run.*resume=true"):
        toy_trainer(undisturbed).train()


def test_nothing_to_resume_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Nothing to resume"):
        toy_trainer(tmp_path / "run", resume=True).train()


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named(undisturbed: Path, tmp_path: Path, name: str) -> None:
    import shutil

    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    path = out / "checkpoints" / step_name(60) / "state" / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CheckpointError, match=name):
        toy_trainer(out, resume=True).train()


def test_the_exported_model_holds_the_averaged_weights(undisturbed: Path) -> None:
    folder = undisturbed / "checkpoints" / step_name(60)
    exported = load_file(folder / "policy" / "model.safetensors")
    average = load_file(folder / "state" / "ema.safetensors")
    live = load_file(folder / "state" / "weights.safetensors")
    assert average.keys() == {name for name in exported if not name.startswith("batch_norm.") or "running" not in name} - {
        "batch_norm.num_batches_tracked"
    }
    for name, tensor in average.items():
        assert torch.equal(exported[name], tensor)
    assert not torch.equal(exported["head.weight"], live["head.weight"])
