"""What the trainer needs from a model and from data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn

from vla3d.errors import ConfigError

Sample = TypeVar("Sample", covariant=True)


@runtime_checkable
class TrainableModel(Protocol):
    """A ``torch.nn.Module`` that can be trained. ``policies.learned.LearnedPolicy`` is one.

    It may also offer ``no_weight_decay() -> Iterable[str]``, names of further parameters that must not decay, and
    ``frozen_first() -> Iterable[str]``, names of those that stay as they are for the first ``freeze_steps`` updates.

    Attributes:
        selection_metric: the key of ``metrics`` that picks the best checkpoint; lower is better.
    """

    @property
    def selection_metric(self) -> str: ...

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalar losses with the same keys at every step; ``"loss"`` is minimised, the others are logged.

        All randomness comes from ``generator`` (on the model's device) or torch's default one: both are seeded anew for each
        step, which makes a resumed run equal an uninterrupted one.
        """

    def metrics(self, batch: Any) -> dict[str, float]:
        """Means over the batch of what validation reports; deterministic. What a batch tells nothing about is left out.

        A mean over some of its samples is a `vla3d.policies.batch_mean.MeanOf`, which knows of how many.
        """

    def collate(self, samples: Sequence[Any]) -> Any:
        """Stack samples into a batch; deterministic, and runs in a background thread or process."""

    def architecture(self) -> dict[str, Any]:
        """What must agree for weights to fit, JSON-able."""

    def save_pretrained(self, save_directory: Path) -> Any:
        """Write everything needed to use the model, without pickle."""


class SizedDataset(Protocol[Sample]):
    """A map-style dataset; item ``index`` must be the same every time (augmentation belongs in ``model.loss``)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def as_module(model: TrainableModel) -> nn.Module:
    """The model as the ``nn.Module`` it must be.

    Raises:
        ConfigError: when it is something else, or lacks a method.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"Cannot train a {type(model).__name__}: expected a torch.nn.Module with loss, metrics and collate.")
    needed = ("loss", "metrics", "collate", "architecture", "save_pretrained", "selection_metric")
    missing = [name for name in needed if not hasattr(model, name)]
    if missing:
        raise ConfigError(
            f"Cannot train {type(model).__name__}: it lacks {', '.join(missing)}. See vla3d.training.interfaces.TrainableModel."
        )
    return cast(nn.Module, model)
