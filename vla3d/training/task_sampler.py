"""Drawing tasks by temperature: small tasks more often than their share of the samples, large ones less often."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from vla3d.training.sampler import EpochSampler

_BITS = 32
_GOLDEN = 2654435769  # 2**32 divided by the golden ratio, odd: its multiples modulo 2**32 fill the circle evenly


class TaskSampler(EpochSampler):
    """Endless epochs in which a task of n samples gets a share in proportion to ``n ** alpha``.

    A sample's own weight is then ``n ** (alpha - 1)``. With ``alpha=1`` every sample is drawn equally often, with ``alpha=0``
    every task.

    An epoch is as many draws as there are samples; a sample of a large task may be missing from it, one of a small task comes
    several times. In each epoch a task's count is its exact share rounded up or down, and over many epochs the rounding evens
    out. Within a task the samples come in endless shuffled rounds: none is drawn again before all others of its task were drawn
    (within a round; a batch may reach from one round into the next). So ranks share a sample of a round never, and of a batch
    only where the batch asks for more of a task than it has. The order is a pure function of the seed and the step.

    Args:
        tasks: the task of each sample.
        alpha: from 0 to 1.
        batch_size: samples per update and rank.
        seed: of the order.
        rank: this process.
        world_size: number of processes.

    Raises:
        DataError: when there are no samples.
    """

    def __init__(
        self,
        tasks: Sequence[Hashable],
        alpha: float,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(length=len(tasks), batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        members: dict[Hashable, list[int]] = {}
        for index, task in enumerate(tasks):
            members.setdefault(task, []).append(index)
        self._members = [np.array(indices) for indices in members.values()]
        shares = task_shares([len(indices) for indices in self._members], alpha)
        # Whole numbers from here on: where a share is cut must not depend on a machine's rounding.
        self._cuts = np.round(np.cumsum(shares) * 2**_BITS).astype(np.uint64)
        self._cuts[-1] = 2**_BITS

    def state(self, step: int) -> dict[str, Any]:
        """See ``EpochSampler.state``."""
        return {**super().state(step), "task_sizes": [len(indices) for indices in self._members]}

    def counts(self, epochs: Int64[np.ndarray, " E"]) -> Int64[np.ndarray, "E T"]:
        """Draws of each task in some epochs.

        Systematic sampling: the tasks' shares lie end to end on a line as long as the epoch, and a task gets the whole numbers
        that fall into its stretch. The line begins at an offset that moves on by the golden ratio from epoch to epoch.
        """
        half = np.uint64(2 ** (_BITS - 1))  # at 0, a share that is whole would be cut by the rounding of its ends
        offsets = (epochs.astype(np.uint64) * np.uint64(_GOLDEN) + half) % np.uint64(2**_BITS)
        ends = (np.uint64(self.length) * self._cuts + offsets[:, None]) >> np.uint64(_BITS)
        return np.diff(ends.astype(np.int64), axis=1, prepend=0)

    def _order(self, epoch: int) -> Int64[np.ndarray, " N"]:
        """The samples of an epoch: a shuffled line of tasks, each place filled by the next sample of its task's rounds."""
        before = self.counts(np.arange(epoch)).sum(axis=0) if epoch else np.zeros(len(self._members), dtype=np.int64)
        counts = self.counts(np.array([epoch]))[0]
        line = np.random.default_rng([self.seed, epoch]).permutation(np.repeat(np.arange(len(counts)), counts))
        order = np.empty(self.length, dtype=np.int64)
        for task, (start, count) in enumerate(zip(before.tolist(), counts.tolist(), strict=True)):
            order[line == task] = self._rounds(task, start, count)
        return order

    def _rounds(self, task: int, start: int, count: int) -> Int64[np.ndarray, " C"]:
        """Draws ``start`` up to ``start + count`` of one task."""
        members = self._members[task]
        first, last = start // len(members), (start + count - 1) // len(members)
        # task + 1, since NumPy seeds [a, b] and [a, b, 0] alike, and [seed, epoch] is taken.
        rounds = [
            np.random.default_rng([self.seed, number, task + 1]).permutation(members) for number in range(first, last + 1)
        ]
        line = np.concatenate([members[:0], *rounds])
        return line[start - first * len(members) :][:count]


def task_shares(sizes: Sequence[int], alpha: float) -> Float64[np.ndarray, " T"]:
    """Share of each task among all draws: ``n ** alpha``, normalised."""
    weights = np.asarray(sizes, dtype=np.float64) ** alpha
    return weights / weights.sum()
