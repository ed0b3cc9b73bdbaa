"""One update: loss, gradient, clipping, optimiser, average."""

import struct
from collections.abc import Mapping
from contextlib import AbstractContextManager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vla3d.errors import ConfigError, TrainingError
from vla3d.training.config import TrainerConfig
from vla3d.training.ema import Ema
from vla3d.training.freezing import Freeze
from vla3d.training.guard import FiniteGuard
from vla3d.training.interfaces import TrainableModel, as_module
from vla3d.training.meters import Meter
from vla3d.training.optim import (
    build_optimizer,
    clip_gradients,
    gradient_norm,
    gradients,
    learning_rate,
    set_learning_rate,
    trainable,
)
from vla3d.training.processes import Processes


class _Loss(nn.Module):
    """The loss as ``forward``: the only call whose gradients DistributedDataParallel synchronises."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.model.loss(batch, generator)  # type: ignore[operator]
        return losses


class Engine:
    """A model on its device with everything that an update changes.

    Args:
        model: is moved to the device.
        config: how to train.
        dumps: folder for the batch of a non-finite step.

    Raises:
        ConfigError: when the model or the way of launching cannot be trained.
    """

    def __init__(self, model: TrainableModel, config: TrainerConfig, dumps: Path) -> None:
        self.model = model
        self.module = as_module(model)
        self.config = config
        self.processes = Processes(find_unused_parameters=config.find_unused_parameters)
        self.device = self.processes.device
        self.module.to(self.device)
        self.optimizer = build_optimizer(self.module, config)
        self.ema = Ema(self.module, config.ema_decay)
        self.meter = Meter()
        self.guard = FiniteGuard(dumps, self.processes.rank)
        self._parameters = list(trainable(self.module).values())
        self.freeze = Freeze(self.module, config.freeze_steps)
        self._loss: nn.Module | None = None  # made by the first update, for the weights that train then
        self._generator = torch.Generator(device=self.device)
        self._dtype = autocast_dtype(config.precision, self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of forward passes."""
        return torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not None)

    def update(self, batch: Any, step: int) -> None:
        """Do update ``step`` (from 0) with ``batch``, which lies on the device.

        Raises:
            TrainingError: when the loss or a gradient is not finite.
        """
        rank = self.processes.rank
        self._generator.manual_seed(step_seed(self.config.seed, step, rank, "generator"))
        seed_default_generator(step_seed(self.config.seed, step, rank, "global"), self.device)  # dropout draws on it
        set_learning_rate(self.optimizer, learning_rate(self.config, step))
        replicas = self._replicas(step)
        with self.autocast():
            losses = replicas(batch, self._generator)
        if "loss" not in losses:
            raise TrainingError(f"loss() returned {sorted(losses)}, expected the key 'loss' among them.")
        self.processes.backward(losses["loss"])
        losses = {key: value.detach() for key, value in losses.items()}
        grads = gradients(self._parameters)
        norm = gradient_norm(grads)
        self.guard.check(step, batch, losses["loss"], norm, lambda: self._details(losses))
        if self.config.clip_norm is not None:
            clip_gradients(grads, norm, self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update()
        self.meter.add({**losses, "gradient_norm": norm})

    def _replicas(self, step: int) -> nn.Module:
        """The loss of update ``step``, with the weights that train then."""
        if self.freeze.enter(step) and self._loss is not None:
            self._loss = None
            self.processes.release()
        if self._loss is None:  # replicas agree once, when they are made, on the gradients they average
            self._loss = self.processes.replicate(_Loss(self.module))
        return self._loss

    def _details(self, losses: Mapping[str, Tensor]) -> dict[str, Any]:
        bad = [
            name
            for name, parameter in trainable(self.module).items()
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all())
        ]
        return {
            "losses": {key: repr(value.item()) for key, value in losses.items()},
            "seed": self.config.seed,
            "rank": self.processes.rank,
            "parameters_with_nonfinite_gradient": bad,
        }


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The reduced precision to compute in, or None for none.

    Raises:
        ConfigError: when bf16 was asked for and the GPU lacks it.
    """
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bf16":
        if not has_bf16:
            raise ConfigError("precision=bf16, but this GPU cannot compute in bfloat16. Use precision=fp32 or auto.")
        return torch.bfloat16
    # On CPU bf16 pays only for large matrices on some processors, so it is left to whoever measures it.
    return torch.bfloat16 if precision == "auto" and device.type == "cuda" and has_bf16 else None


def seed_default_generator(seed: int, device: torch.device) -> None:
    """Seed torch's default generators in use, without the millisecond ``torch.manual_seed`` takes to visit every backend."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def step_seed(seed: int, step: int, rank: int, stream: str) -> int:
    """Seed of one step's randomness; unrelated for any two of (seed, step, rank, stream)."""
    digest = blake2b(struct.pack("<QQQ", seed, step, rank), digest_size=8, person=stream.encode()).digest()
    return int.from_bytes(digest, "little") >> 1
