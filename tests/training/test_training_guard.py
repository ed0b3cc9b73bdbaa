"""A run stops at the first non-finite loss or gradient and leaves what caused it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy_model import ToyData, ToyModel, toy_config

from vla3d.errors import TrainingError
from vla3d.training.guard import dump_batch
from vla3d.training.trainer import Trainer


def test_a_bad_sample_stops_the_run_with_its_batch_on_disk(tmp_path: Path) -> None:
    trainer = Trainer(toy_config(clip_norm=None), ToyModel(), ToyData(50, poison=17), out=tmp_path)
    with pytest.raises(TrainingError, match=r"The loss is not finite at step \d.*the last checkpoint is sound"):
        trainer.train()
    (folder,) = tmp_path.glob("nonfinite-step-*")
    step = int(folder.name.removeprefix("nonfinite-step-"))
    batch = load_file(folder / "rank0.safetensors")
    assert batch["batch.index"].tolist() == trainer._sampler.batch(step) and 17 in batch["batch.index"]
    assert batch["batch.x"].isnan().any()
    facts = json.loads((folder / "rank0.json").read_text())
    assert facts["step"] == step and facts["loss"] == "nan" and facts["seed"] == 0
    assert "head.weight" in facts["parameters_with_nonfinite_gradient"]
    if trainer._engine.device.type == "cpu":
        assert all(parameter.isfinite().all() for parameter in trainer._engine.module.parameters()), "the update was not made"


class Exploding(ToyModel):
    """A finite loss whose gradient is not."""

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": (self.head.weight - self.head.weight.detach()).abs().sum().sqrt()}


def test_a_nonfinite_gradient_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="The gradient norm is not finite at step 0"):
        Trainer(toy_config(), Exploding(), ToyData(50), out=tmp_path).train()
    facts = json.loads((tmp_path / "nonfinite-step-00000000" / "rank0.json").read_text())
    assert facts["parameters_with_nonfinite_gradient"] == ["head.weight"]


@dataclass(frozen=True)
class Batch:
    points: Tensor
    sentences: list[str]
    extra: dict[str, object]


def test_a_nested_batch_is_written_completely(tmp_path: Path) -> None:
    shared = torch.arange(6).reshape(2, 3).T
    batch = Batch(shared, ["pick it up", "öffne"], {"depth": np.ones((2, 2), np.float32), "pair": (shared, None), "odd": {1}})
    dump_batch(batch, tmp_path, "rank0", {"step": 3})
    tensors = load_file(tmp_path / "rank0.safetensors")
    assert tensors.keys() == {"batch.points", "batch.extra.depth", "batch.extra.pair.0"}
    assert torch.equal(tensors["batch.points"], shared)
    assert json.loads((tmp_path / "rank0.json").read_text()) == {
        "step": 3,
        "values": {
            "batch.sentences.0": "pick it up",
            "batch.sentences.1": "öffne",
            "batch.extra.pair.1": None,
            "batch.extra.odd": "{1}",
        },
    }


def test_the_run_stops_with_its_error_even_when_the_dump_fails(tmp_path: Path) -> None:
    (tmp_path / "nonfinite-step-00000000").write_text("a file where the folder should be")
    with pytest.raises(TrainingError, match=r"The batch could not be written .*the last checkpoint is sound"):
        Trainer(toy_config(), Exploding(), ToyData(50), out=tmp_path).train()
