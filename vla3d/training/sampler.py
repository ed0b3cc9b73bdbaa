"""Which samples each update sees: a pure function of the seed and the step, so any position can be restored."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Int64

from vla3d.errors import CheckpointError, DataError

_MEANINGS = {
    "length": "number of training samples",
    "world_size": "number of processes",
    "task_sizes": "number of samples of each task",
}


class EpochSampler:
    """Endless shuffled epochs, cut into full batches.

    The epochs' permutations are laid end to end; update ``step`` takes the next ``batch_size * world_size`` positions of that
    line and each rank its own slice of them. So every sample is seen once per epoch, ranks never share one within an epoch, a
    batch may reach from one epoch into the next, and no state but the step has to be stored.

    Args:
        length: number of samples.
        batch_size: samples per update and rank.
        seed: of the order.
        rank: this process.
        world_size: number of processes.

    Raises:
        DataError: when there are no samples.
    """

    def __init__(self, *, length: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if length < 1:
            raise DataError("The training data is empty: no sample to draw. Collect demos first, or check the tasks chosen.")
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._orders: dict[int, Int64[np.ndarray, " N"]] = {}

    def batch(self, step: int) -> list[int]:
        """Indices of update ``step`` (from 0) on this rank."""
        start = (step * self.world_size + self.rank) * self.batch_size
        return [self._at(position) for position in range(start, start + self.batch_size)]

    def batches(self, start: int, stop: int) -> Iterator[list[int]]:
        """Indices of the updates from ``start`` up to but without ``stop``."""
        return (self.batch(step) for step in range(start, stop))

    def epoch(self, step: int) -> float:
        """Passes over the data done before update ``step``."""
        return step * self.world_size * self.batch_size / self.length

    def state(self, step: int) -> dict[str, Any]:
        """The position before update ``step``, and what it depends on."""
        return {
            "length": self.length,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
            "seed": self.seed,
            "position": step * self.world_size * self.batch_size,
        }

    def check(self, step: int, stored: dict[str, Any]) -> None:
        """Refuse a stored position that this sampler would not continue.

        Raises:
            CheckpointError: naming what differs.
        """
        for key, value in self.state(step).items():
            if stored.get(key) != value:
                raise CheckpointError(
                    f"Cannot resume: the {_MEANINGS.get(key, key)} was {stored.get(key)} and is now {value}. "
                    f"Resume with the data and settings of the first start, or begin a new run in another out folder."
                )

    def _at(self, position: int) -> int:
        epoch, offset = divmod(position, self.length)
        if epoch not in self._orders:
            if len(self._orders) > 2:  # a batch reaches over at most a few epochs; older orders are not needed again
                self._orders.clear()
            self._orders[epoch] = self._order(epoch)
        return int(self._orders[epoch][offset])

    def _order(self, epoch: int) -> Int64[np.ndarray, " N"]:
        """The samples of an epoch, in the order in which they are seen."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.length)
