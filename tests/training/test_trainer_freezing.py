"""Weights that wait: untouched until their time, then trained like the rest, however often the run was stopped."""

import io
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy_model import ToyData, ToyModel, WaitingModel, toy_config, toy_trainer

from vla3d.errors import CheckpointError, ConfigError
from vla3d.training.progress import Progress
from vla3d.training.trackers import Kind, Tracker
from vla3d.training.trainer import Trainer

FREEZE = 20
WAITING = {"table.weight", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"}


class Snapshots(Tracker):
    """Keeps the weights at every record, and raises at a step."""

    name = "snapshots"

    def __init__(self, model: ToyModel, stop: int = -1) -> None:
        self.model, self.stop = model, stop
        self.weights: dict[int, dict[str, Tensor]] = {}
        self.rates: dict[int, float] = {}

    def start(self, step: int, state: dict[str, object], record: dict[str, object]) -> None:
        self.weights[step] = self.copy()

    def log(self, step: int, kind: Kind, values: dict[str, float]) -> None:
        if kind != "train":
            return
        self.weights[step] = self.copy()
        self.rates[step] = values["learning_rate"]
        if step == self.stop:
            raise RuntimeError("broken off")

    def copy(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def state(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        pass


def waiting_trainer(out: Path, *, resume: bool = False, model: type[ToyModel] = WaitingModel, **changes: object) -> Trainer:
    changes = {"freeze_steps": FREEZE, "log_every": 1, **changes}
    return toy_trainer(out, resume=resume, model=model, **changes)


def watched(trainer: Trainer, stop: int = -1) -> Snapshots:
    model = trainer._engine.module
    assert isinstance(model, ToyModel)
    watcher = Snapshots(model, stop)
    trainer._trackers = [watcher]
    return watcher


def state_files(out: Path, step: int = 60) -> dict[str, bytes]:
    folder = out / "checkpoints" / f"step-{step:08d}"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Snapshots]:
    out = tmp_path_factory.mktemp("waiting") / "run"
    trainer = waiting_trainer(out)
    watcher = watched(trainer)
    trainer.train()
    return out, watcher


def test_waiting_weights_stay_bit_for_bit_and_then_train(undisturbed: tuple[Path, Snapshots]) -> None:
    _, watcher = undisturbed
    first = watcher.weights[0]
    for step in range(1, FREEZE + 1):
        for name, weight in watcher.weights[step].items():
            assert torch.equal(weight, first[name]) == (name in WAITING), (step, name)
    for name, weight in watcher.weights[FREEZE + 1].items():
        assert not torch.equal(weight, watcher.weights[FREEZE][name]), name


def test_the_warm_up_is_walked_twice(undisturbed: tuple[Path, Snapshots]) -> None:
    rates = undisturbed[1].rates
    assert rates[1] < rates[5] and rates[FREEZE + 1] < rates[FREEZE + 5]
    assert rates[FREEZE + 1] < 0.3 * rates[FREEZE]


def test_until_then_it_is_a_run_whose_weights_never_train(undisturbed: tuple[Path, Snapshots], tmp_path: Path) -> None:
    class Never(WaitingModel):
        def __init__(self) -> None:
            super().__init__()
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(name not in WAITING)

    trainer = waiting_trainer(tmp_path / "never", model=Never, freeze_steps=0)
    watcher = watched(trainer)
    trainer.train()
    for step in (1, 7, FREEZE):
        assert all(torch.equal(weight, undisturbed[1].weights[step][name]) for name, weight in watcher.weights[step].items())
    last = watcher.weights[60]
    assert all(torch.equal(last[name], watcher.weights[0][name]) for name in WAITING)
    stored = load_file(tmp_path / "never" / "checkpoints" / "step-00000060" / "state" / "ema.safetensors")
    assert not WAITING & stored.keys()


def test_the_optimiser_knows_waiting_weights_only_once_they_train(undisturbed: tuple[Path, Snapshots]) -> None:
    out, _ = undisturbed
    trainer = waiting_trainer(out.parent / "short", save_every=10, keep_checkpoints=9)
    trainer.train()
    folder = out.parent / "short" / "checkpoints"
    for step, knows in ((10, False), (FREEZE, False), (30, True)):
        moments = load_file(folder / f"step-{step:08d}" / "state" / "optimizer.safetensors")
        assert all((f"exp_avg/{name}" in moments) == knows for name in WAITING)
    late = load_file(folder / "step-00000060" / "state" / "optimizer.safetensors")
    assert late["step/layers.0.weight"].item() == 60 - FREEZE and late["step/head.weight"].item() == 60


def test_the_average_of_waiting_weights_is_themselves(undisturbed: tuple[Path, Snapshots], tmp_path: Path) -> None:
    waiting_trainer(tmp_path / "run", keep_checkpoints=9).train()
    folder = tmp_path / "run" / "checkpoints"
    average = load_file(folder / f"step-{FREEZE:08d}" / "state" / "ema.safetensors")
    live = load_file(folder / f"step-{FREEZE:08d}" / "state" / "weights.safetensors")
    assert average.keys() > WAITING
    for name, weight in average.items():
        assert torch.equal(weight, live[name]) == (name in WAITING)
    later = load_file(folder / "step-00000040" / "state" / "ema.safetensors")
    assert not any(torch.equal(later[name], average[name]) for name in WAITING)


@pytest.mark.parametrize("stop", [FREEZE - 3, FREEZE, FREEZE + 1, FREEZE + 13])
def test_a_resume_near_the_border_changes_nothing(undisturbed: tuple[Path, Snapshots], tmp_path: Path, stop: int) -> None:
    out = tmp_path / "run"
    trainer = waiting_trainer(out, save_every=1)
    watched(trainer, stop)
    with pytest.raises(RuntimeError, match="broken off"):
        trainer.train()
    waiting_trainer(out, resume=True, save_every=1).train()
    assert state_files(out) == state_files(undisturbed[0])


def test_other_freezing_is_refused_on_resume(undisturbed: tuple[Path, Snapshots]) -> None:
    with pytest.raises(CheckpointError, match="freeze_steps: was 20, now 21"):
        waiting_trainer(undisturbed[0], resume=True, freeze_steps=21).train()


def test_a_run_of_a_version_without_the_setting_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    toy_trainer(out, model=WaitingModel, steps=20).train()
    path = out / "checkpoints" / "step-00000020" / "state" / "state.json"
    stored = json.loads(path.read_text())
    for key in ("freeze_steps", "task_alpha"):
        del stored["config"][key]
    path.write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match="freeze_steps: was 0, now 3"):
        waiting_trainer(out, resume=True, steps=30, freeze_steps=3, log_every=7).train()
    assert toy_trainer(out, model=WaitingModel, resume=True, steps=30).train().step == 30


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "names no weights to freeze first"),
        (["layer.weight"], r"frozen_first\(\) names parameters Named does not have: layer\.weight"),
        (None, "would freeze all its weights"),
    ],
)
def test_what_cannot_wait_is_refused(tmp_path: Path, names: list[str] | None, words: str) -> None:
    class Named(ToyModel):
        def frozen_first(self) -> list[str]:
            return [name for name, _ in self.named_parameters()] if names is None else names

    with pytest.raises(ConfigError, match=words):
        Trainer(toy_config(freeze_steps=3), Named(), ToyData(50), out=tmp_path)


def test_the_progress_says_it() -> None:
    stream = io.StringIO()
    with Progress(4, 0, enabled=True, frozen=2, stream=stream) as progress:
        progress._printed = -1e9
        progress.advance()
        progress._printed = -1e9
        progress.advance()
    first, second = stream.getvalue().splitlines()
    assert first.startswith("train (part frozen until 2) 1/4 steps") and second.startswith("train 2/4 steps")


def test_tasks_are_drawn_by_temperature(tmp_path: Path) -> None:
    tasks = ["rare"] * 5 + ["common"] * 45
    torch.manual_seed(1)
    model = ToyModel()
    Trainer(toy_config(task_alpha=0.0), model, ToyData(50), ToyData(13), out=tmp_path / "run", tasks=tasks).train()
    seen = [index for batch in model.trained_on for index in batch]
    assert sum(index < 5 for index in seen) / len(seen) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ConfigError, match=r"task_alpha=0\.3 needs the task of each of the 50 training samples, got no tasks"):
        Trainer(toy_config(task_alpha=0.3), ToyModel(), ToyData(50), out=tmp_path / "other")


def test_a_run_that_ends_before_the_weights_train_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    trainer = waiting_trainer(tmp_path / "run", max_minutes=1e-9)
    assert trainer.train().stopped_by == "time"
    assert all(parameter.requires_grad for parameter in trainer._engine.module.parameters())
    second = waiting_trainer(tmp_path / "second")
    watched(second, stop=3)
    with pytest.raises(RuntimeError, match="broken off"):
        second.train()
    assert all(parameter.requires_grad for parameter in second._engine.module.parameters())
