"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vla3d.training.optim import trainable


class Ema:
    """Averages the trained parameters; buffers and frozen weights are the model's own.

    The decay of update ``n`` is ``min(decay, (1 + n) / (10 + n))``, so that short runs do not drag their initial weights along.
    With ``decay=0`` nothing is kept and the average is the model itself.

    Args:
        model: the model that is trained.
        decay: share of the old average that an update keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._names = list(trainable(model))
        self._live = [parameter.detach() for parameter in trainable(model).values()]
        self._average = [tensor.clone() for tensor in self._live] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model's present weights."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._average, self._live, 1.0 - decay)
        self.updates += 1

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Let the model hold the averaged weights for a while; its own come back exactly."""
        if not self.decay:
            yield
            return
        backup = [tensor.clone() for tensor in self._live]
        with torch.no_grad():
            torch._foreach_copy_(self._live, self._average)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._live, backup)

    def tensors(self) -> dict[str, Tensor]:
        """Name to averaged weight, the tensors themselves; empty when averaging is off."""
        return dict(zip(self._names, self._average, strict=True)) if self.decay else {}
