"""The trainer learns, validates, chooses and records."""

import json
import signal
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from toy_model import ToyData, ToyModel, toy_config, toy_trainer

from vla3d.errors import ConfigError, DataError, TrainingError
from vla3d.policies.batch_mean import MeanOf
from vla3d.training.checkpoint import policy_directory
from vla3d.training.engine import autocast_dtype, step_seed
from vla3d.training.trainer import Trainer


def exported(folder: Path) -> ToyModel:
    model = ToyModel(**json.loads((folder / "config.json").read_text()))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


def test_it_learns_and_the_best_export_is_as_good_as_reported(tmp_path: Path) -> None:
    held_out = ToyData(13, seed=9)
    torch.manual_seed(0)
    model = ToyModel(width=32, dropout=0.0)
    before = model.eval().metrics(model.collate([held_out[i] for i in range(13)]))["error"]
    config = toy_config(steps=300, lr=1e-2, validate_every=50, save_every=0, weight_decay=0.0)
    result = Trainer(config, model, ToyData(200), held_out, out=tmp_path).train()
    assert result.stopped_by == "steps" and result.step == 300 and result.best_metric is not None
    assert result.best_metric < 0.1 * before
    assert result.policy == policy_directory(tmp_path)
    again = exported(result.policy)
    measured = again.metrics(again.collate([held_out[i] for i in range(13)]))["error"]
    assert measured == pytest.approx(result.best_metric, rel=1e-5)


class Scripted(ToyModel):
    """Validates to a given series."""

    series = (3.0, 1.0, float("nan"), 2.0)

    def metrics(self, batch: dict[str, Tensor]) -> dict[str, float]:
        self.calls = getattr(self, "calls", -1) + 1
        return {"error": self.series[self.calls]}


def test_the_lowest_metric_picks_the_best_checkpoint(tmp_path: Path) -> None:
    config = toy_config(steps=40, validate_every=10, save_every=0, batch_size=13, keep_checkpoints=1)
    result = Trainer(config, Scripted(), ToyData(50), ToyData(13), out=tmp_path).train()
    assert (result.best_step, result.best_metric) == (20, 1.0)
    assert result.policy.parent.name == "step-00000020"
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*")) == ["step-00000020", "step-00000040"]


def test_without_validation_the_last_is_the_best(tmp_path: Path) -> None:
    result = Trainer(toy_config(steps=20), ToyModel(), ToyData(50), out=tmp_path).train()
    assert result.best_step == 20 and result.best_metric is None and result.policy.parent.name == "step-00000020"


def test_validation_weighs_samples_not_batches(tmp_path: Path) -> None:
    """13 samples in batches of 8 and 5: the mean over samples, with dropout off and the averaged weights in place."""
    held_out = ToyData(13, seed=9)
    result = Trainer(toy_config(steps=10), ToyModel(), ToyData(50), held_out, out=tmp_path).train()
    assert result.metrics["first_x"] == pytest.approx(float(held_out.inputs[:, 0].mean()), rel=1e-5)


def test_a_batch_that_leaves_out_a_metric_does_not_count_there(tmp_path: Path) -> None:
    class Selective(ToyModel):
        def metrics(self, batch: dict[str, Tensor]) -> dict[str, float]:
            return {"error": 1.0} | ({"seldom": 4.0} if 0 in batch["index"].tolist() else {})

    result = Trainer(toy_config(steps=10), Selective(), ToyData(50), ToyData(40), out=tmp_path).train()
    assert (result.metrics["error"], result.metrics["seldom"]) == (1.0, 4.0)


def test_a_mean_over_some_samples_weighs_by_their_number(tmp_path: Path) -> None:
    """14 samples in batches of 8 and 6, of which a metric is about samples 0, 1 and 13."""

    class Selective(ToyModel):
        def metrics(self, batch: dict[str, Tensor]) -> dict[str, float]:
            index = batch["index"]
            return {"error": 1.0, "about_three": MeanOf(index[(index < 2) | (index == 13)])}

    result = Trainer(toy_config(steps=10, batch_size=8), Selective(), ToyData(50), ToyData(14), out=tmp_path).train()
    assert result.metrics["about_three"] == pytest.approx(14 / 3)


def test_the_model_trains_on_the_samplers_order(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, steps=14)
    trainer.train()
    assert trainer._engine.model.trained_on == list(trainer._sampler.batches(0, 14))
    first_epoch = [index for batch in trainer._engine.model.trained_on for index in batch][:50]
    assert sorted(first_epoch) == list(range(50))


def test_a_model_is_left_training_mode_and_signals_as_before(tmp_path: Path) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    deterministic = torch.are_deterministic_algorithms_enabled()
    trainer = toy_trainer(tmp_path, steps=5, deterministic=True)
    trainer.train()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert trainer._engine.module.training


def test_it_runs_outside_the_main_thread(tmp_path: Path) -> None:
    steps: list[int] = []
    trainer = toy_trainer(tmp_path, steps=5)
    thread = threading.Thread(target=lambda: steps.append(trainer.train().step))
    thread.start()
    thread.join()
    assert steps == [5]


def test_bf16_computes_in_bf16_and_keeps_fp32_weights(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []

    class Watched(ToyModel):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            seen.append(out.dtype)
            return out

    result = Trainer(toy_config(steps=5, precision="bf16"), Watched(), ToyData(50), ToyData(5), out=tmp_path).train()
    assert set(seen) == {torch.bfloat16}
    assert load_file(result.policy / "model.safetensors")["head.weight"].dtype == torch.float32


def test_auto_precision_is_fp32_on_cpu() -> None:
    assert autocast_dtype("auto", torch.device("cpu")) is None
    assert autocast_dtype("fp32", torch.device("cpu")) is None
    assert autocast_dtype("bf16", torch.device("cpu")) is torch.bfloat16


def test_step_seeds_are_unrelated() -> None:
    seeds = {
        step_seed(s, t, r, name) for s in range(4) for t in range(50) for r in range(3) for name in ("generator", "global")
    }
    assert len(seeds) == 4 * 50 * 3 * 2
    assert len({seed & 0xFFFFFFFF for seed in seeds}) == len(seeds)  # torch's CPU generator keeps 32 bits
    assert max(seeds) < 2**63


def test_the_run_is_recorded(tmp_path: Path) -> None:
    Trainer(toy_config(steps=5), ToyModel(), ToyData(50), ToyData(5), out=tmp_path, settings={"data": "demos"}).train()
    record = json.loads((tmp_path / "trainer.json").read_text())
    assert record["config"]["steps"] == 5 and record["settings"] == {"data": "demos"} and record["train_samples"] == 50
    assert record["parameters"] == sum(parameter.numel() for parameter in ToyModel().parameters())


def test_frozen_weights_stay_and_are_exported(tmp_path: Path) -> None:
    model = ToyModel()
    model.head.requires_grad_(False)
    before = model.head.weight.clone()
    result = Trainer(toy_config(steps=5), model, ToyData(50), out=tmp_path).train()
    assert torch.equal(exported(result.policy).head.weight, before)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot train Linear: it lacks loss, metrics, collate"):
        Trainer(toy_config(), nn.Linear(1, 1), ToyData(5), out=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(("train", "held_out", "words"), [(0, 3, "training data is empty"), (3, 0, "validation data is empty")])
def test_empty_data_is_refused(train: int, held_out: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        Trainer(toy_config(), ToyModel(), ToyData(train), ToyData(held_out), out=tmp_path)


def test_a_missing_selection_metric_is_named(tmp_path: Path) -> None:
    model = ToyModel()
    model.selection_metric = "errror"  # type: ignore[misc]
    with pytest.raises(TrainingError, match=r"reports \['error', 'first_x'\], expected the selection metric 'errror'"):
        Trainer(toy_config(steps=5), model, ToyData(50), ToyData(5), out=tmp_path).train()


class Fickle(ToyModel):
    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        losses = super().loss(batch, generator)
        return losses if len(self.trained_on) < 3 else {"loss": losses["loss"]}


def test_changing_loss_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="keep them the same"):
        Trainer(toy_config(), Fickle(), ToyData(50), out=tmp_path).train()
