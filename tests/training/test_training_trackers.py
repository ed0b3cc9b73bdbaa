"""Records go where they should, and go on in the same place after a resume."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_model import toy_trainer

from vla3d.errors import ConfigError, MissingExtraError, TrainingError
from vla3d.training.trackers import JsonlTracker, TensorboardTracker, WandbTracker, make_trackers


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_jsonl_drops_what_came_after_the_resumed_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = JsonlTracker(path)
    first.start(0, {}, {})
    for step in (1, 2, 3):
        first.log(step, "train", {"loss": 1.0 / step})
    first.close()
    with path.open("a") as file:
        file.write('{"step": 2, "ki')  # torn by a kill
    second = JsonlTracker(path)
    second.start(2, {}, {})
    second.log(3, "validation", {"error": float("nan")})
    second.close()
    assert read(path) == [
        {"step": 1, "kind": "train", "loss": 1.0},
        {"step": 2, "kind": "train", "loss": 0.5},
        {"step": 3, "kind": "validation", "error": None},
    ]


def test_jsonl_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Cannot write the log .*resume=true"):
        JsonlTracker(tmp_path / "missing" / "metrics.jsonl").start(0, {}, {})


def test_a_run_logs_means_over_the_interval(tmp_path: Path) -> None:
    toy_trainer(tmp_path, steps=20, log_every=10).train()
    records = read(tmp_path / "metrics.jsonl")
    assert [(record["step"], record["kind"]) for record in records] == [(10, "train"), (20, "train"), (20, "validation")]
    train = records[0]
    assert train.keys() == {"step", "kind", "loss", "scale", "gradient_norm", "learning_rate", "epoch", "steps_per_second"}
    assert 1.0 < train["scale"] < 1.02  # the mean of ten draws from [1, 1.02)
    assert train["epoch"] == pytest.approx(10 * 8 / 50)


def test_tensorboard_holds_the_same_numbers(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    toy_trainer(tmp_path, steps=20, log_every=10, trackers=["jsonl", "tensorboard"]).train()
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = {event.step: event.value for event in events.Scalars("train/loss")}
    expected = {record["step"]: record["loss"] for record in read(tmp_path / "metrics.jsonl") if record["kind"] == "train"}
    assert losses == pytest.approx(expected)
    assert [event.step for event in events.Scalars("validation/error")] == [20]


@pytest.mark.parametrize(("name", "tracker"), [("tensorboard", TensorboardTracker), ("wandb", WandbTracker)])
def test_a_missing_package_says_how_to_install_it(name: str, tracker: type, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'vla3d\[{name}\]'"):
        tracker(tmp_path)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Stands in for the service: remembers how it was called."""
    fake = SimpleNamespace(begun=[], logged=[], finished=0)

    def finish() -> None:
        fake.finished += 1

    def init(**options: Any) -> SimpleNamespace:
        fake.begun.append(options)
        run_id = options["id"] or "new-id"
        return SimpleNamespace(id=run_id, define_metric=lambda *a, **k: None, log=fake.logged.append, finish=finish)

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    yield fake


def test_wandb_goes_on_with_the_same_run(wandb: SimpleNamespace, tmp_path: Path) -> None:
    toy_trainer(tmp_path, steps=20, log_every=10, trackers=["wandb"]).train()
    toy_trainer(tmp_path, steps=30, log_every=10, trackers=["wandb"], resume=True).train()
    assert [options["id"] for options in wandb.begun] == [None, "new-id"]
    assert [record["step"] for record in wandb.logged] == [10, 20, 20, 30, 30]
    assert wandb.finished == 2 and wandb.begun[0]["config"]["train_samples"] == 50


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'wandb'"):
        make_trackers(["wanbd"], tmp_path)
