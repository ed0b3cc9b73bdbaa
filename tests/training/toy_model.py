"""A small model and data for the trainer's tests, and a program that trains them for the tests that need a process to kill."""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vla3d.training.config import TrainerConfig
from vla3d.training.trainer import Trainer


class ToyData:
    """Points and what a fixed function makes of them; item ``poison`` is not finite."""

    def __init__(self, count: int, seed: int = 0, poison: int | None = None) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.rand(count, 4, generator=generator) * 2 - 1
        if poison is not None:
            self.inputs[poison] = float("nan")

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        point = self.inputs[index]
        return {"x": point, "y": torch.stack([point.prod(), point.sin().sum()]), "index": index}


class ToyModel(nn.Module):
    """Uses every source of randomness a real model might: the generator, dropout, NumPy's and Python's global state."""

    selection_metric = "error"

    def __init__(self, width: int = 16, dropout: float = 0.1) -> None:
        super().__init__()
        self.width = width
        self.position_embedding = nn.Parameter(torch.zeros(1, 4))
        self.table = nn.Embedding(3, width)
        self.layers = nn.Sequential(nn.Linear(4, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout))
        self.batch_norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 2)
        self.trained_on: list[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.batch_norm(self.layers(x + self.position_embedding))
        return self.head(hidden + self.table.weight.mean(0))

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        self.trained_on.append(batch["index"].tolist())
        noise = torch.randn(batch["x"].shape, generator=generator, device=generator.device) * 0.05
        scale = 1.0 + 0.01 * (np.random.random() + random.random())
        error = (self((batch["x"] + noise) * scale) - batch["y"]).square().mean()
        return {"loss": error, "scale": torch.tensor(scale, device=error.device)}

    def metrics(self, batch: dict[str, Tensor]) -> dict[str, float]:
        return {"error": (self(batch["x"]) - batch["y"]).square().mean().item(), "first_x": float(batch["x"][:, 0].mean())}

    def collate(self, samples: Sequence[dict[str, Tensor | int]]) -> dict[str, Tensor]:
        columns = {key: torch.stack([torch.as_tensor(sample[key]) for sample in samples]) for key in ("x", "y", "index")}
        return columns

    def architecture(self) -> dict[str, object]:
        return {"model": {"width": self.width}, "outputs": 2}

    def save_pretrained(self, save_directory: Path) -> None:
        save_directory.mkdir()
        (save_directory / "config.json").write_text(json.dumps({"width": self.width}))
        save_file({key: value.contiguous() for key, value in self.state_dict().items()}, save_directory / "model.safetensors")


class PlainModel(ToyModel):
    """Computes the same gradient however its batch is cut up."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.batch_norm = nn.Identity()  # type: ignore[assignment]

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": (self(batch["x"]) - batch["y"]).square().mean()}


class WaitingModel(PlainModel):
    """Names layers that are to wait."""

    def frozen_first(self) -> list[str]:
        return [name for name, _ in self.named_parameters() if name.startswith(("layers.", "table."))]


class DyingModel(ToyModel):
    """Kills its process in the middle of update 25."""

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        if len(self.trained_on) == 25:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(batch, generator)


class SlowModel(ToyModel):
    """Leaves a killer time to strike."""

    def loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        time.sleep(0.01)
        return super().loss(batch, generator)


def toy_config(**changes: object) -> TrainerConfig:
    """Settings under which an epoch (50 samples, batches of 8) ends between two steps' worth of anything."""
    settings: dict[str, object] = {
        "steps": 60,
        "batch_size": 8,
        "lr": 3e-3,
        "warmup_steps": 5,
        "ema_decay": 0.9,
        "validate_every": 20,
        "save_every": 10,
        "log_every": 7,
        "precision": "fp32",
        "progress": False,
    }
    return TrainerConfig.from_mapping({**settings, **changes})


def toy_trainer(out: Path, *, resume: bool = False, model: type[ToyModel] = ToyModel, **changes: object) -> Trainer:
    """A trainer whose model has the same initial weights every time."""
    torch.manual_seed(1)
    np.random.seed(2)
    random.seed(3)
    return Trainer(toy_config(**changes), model(), ToyData(50), ToyData(13, seed=9), out=out, resume=resume)


def main() -> None:
    """Train, announcing every step; exit code 130 after Ctrl-C."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--slow", dest="model", action="store_const", const=SlowModel, default=ToyModel)
    parser.add_argument("--dying", dest="model", action="store_const", const=DyingModel)
    parser.add_argument("--plain", dest="model", action="store_const", const=PlainModel)
    parser.add_argument("--waiting", dest="model", action="store_const", const=WaitingModel)
    parser.add_argument("--set", type=json.loads, default={})
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trainer = toy_trainer(arguments.out, resume=arguments.resume, model=arguments.model, **arguments.set)
    try:
        trainer.train()
    except KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
