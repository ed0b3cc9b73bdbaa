"""AdamW with decay only where it belongs, the learning-rate schedule, and clipping."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vla3d.errors import ConfigError
from vla3d.training.config import TrainerConfig

_NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.modules.batchnorm._NormBase,  # every batch and instance norm
)


def undecayed_names(model: nn.Module) -> set[str]:
    """Names of the parameters that must not decay: norms, biases and other vectors, embeddings, and what the model names.

    Norm classes of other libraries are caught by their parameters being vectors. A plain parameter counts as an embedding when
    the last part of its name says so (``pos_embed``, ``position_embedding``).
    """
    names = set(getattr(model, "no_weight_decay", lambda: ())())
    known = {name for name, _ in model.named_parameters()}
    if names - known:
        raise ConfigError(f"no_weight_decay() names parameters the model does not have: {', '.join(sorted(names - known))}.")
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            exempt = isinstance(module, (*_NORMS, nn.Embedding, nn.EmbeddingBag)) or parameter.ndim < 2
            if exempt or "embed" in name.rsplit(".", 1)[-1]:
                names.add(name)
    return names & known  # named_parameters() lists a tied weight once


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name to parameter, of those that are trained.

    Raises:
        ConfigError: when there is none.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not parameters:
        raise ConfigError(f"{type(model).__name__} has no trainable parameters: all of them are frozen.")
    return parameters


def build_optimizer(model: nn.Module, config: TrainerConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with a decayed and an undecayed group, in one fused kernel per group."""
    parameters = trainable(model)
    exempt = undecayed_names(model)
    decayed = [parameter for name, parameter in parameters.items() if name not in exempt]
    undecayed = [parameter for name, parameter in parameters.items() if name in exempt]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr, betas=config.betas, fused=True)


def learning_rate(config: TrainerConfig, step: int) -> float:
    """Learning rate of update ``step`` (from 0): linear warm-up, then half a cosine down to ``final_lr`` (or constant).

    Where weights were frozen at first, they begin to train at ``freeze_steps`` with an empty optimiser state, and the rate
    warms up anew from there: the linear warm-up multiplies what the schedule has reached.
    """
    scheduled = _scheduled(config, step)
    thawed = step - config.freeze_steps
    if config.freeze_steps and 0 <= thawed < config.warmup:
        return scheduled * ((thawed + 1) / config.warmup)
    return scheduled


def _scheduled(config: TrainerConfig, step: int) -> float:
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.lr * (config.final_lr + (1.0 - config.final_lr) * 0.5 * (1.0 + math.cos(math.pi * done)))


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use ``lr`` in every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The gradients that exist."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def gradient_norm(grads: list[Tensor]) -> Tensor:
    """L2 norm of all gradients together, a scalar tensor."""
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack([norm.float() for norm in torch._foreach_norm(grads)]))


def clip_gradients(grads: list[Tensor], norm: Tensor, limit: float) -> None:
    """Scale ``grads`` in place so that their ``norm`` does not exceed ``limit``."""
    if norm.device.type == "cpu":  # reading the norm is free there, and most steps need no scaling
        value = norm.item()
        if value > limit:
            torch._foreach_mul_(grads, limit / value)
        return
    torch._foreach_mul_(grads, (limit / norm).clamp(max=1.0))
