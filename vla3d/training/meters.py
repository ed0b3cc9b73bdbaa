"""Sums of what is logged, kept on the device so that a step never waits for a number."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vla3d.errors import TrainingError


class Meter:
    """Running means of scalars that come with the same keys every time."""

    def __init__(self) -> None:
        self._keys: tuple[str, ...] = ()
        self._sums: Tensor | None = None
        self.count = 0

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Take in one step's scalars.

        Raises:
            TrainingError: when the keys differ from those of earlier steps.
        """
        stacked = torch.stack([value.detach().to(torch.float32).reshape(()) for value in values.values()]).double()
        if self._sums is None:
            self._keys, self._sums = tuple(values), stacked
        elif tuple(values) != self._keys:
            raise TrainingError(
                f"loss() returned the keys {list(values)}, expected {list(self._keys)} as before: keep them the same."
            )
        else:
            self._sums += stacked
        self.count += 1

    def take(self) -> dict[str, float]:
        """The means so far, and start again."""
        if self._sums is None:
            return {}
        means = dict(zip(self._keys, (self._sums / self.count).tolist(), strict=True))
        self._keys, self._sums, self.count = (), None, 0
        return means

    def state(self) -> dict[str, Any]:
        """What has been summed, JSON-able and exact."""
        return {"keys": list(self._keys), "sums": [] if self._sums is None else self._sums.tolist(), "count": self.count}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore ``state``."""
        self._keys, self.count = tuple(state["keys"]), state["count"]
        self._sums = torch.tensor(state["sums"], dtype=torch.float64, device=device) if state["count"] else None
