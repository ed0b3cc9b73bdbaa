"""Means over a part of a batch."""

from typing import Self

from torch import Tensor


class MeanOf(float):
    """The mean of what some samples of a batch were measured to have; validation weighs it by their number.

    A metric that is not about every sample of a batch, such as errors of motion beside samples that ask for none, is given as
    one of these. A plain float counts for all samples.

    Args:
        values: of those samples, flat; at least one.

    Attributes:
        samples: how many there are.
    """

    samples: int

    def __new__(cls, values: Tensor) -> Self:
        """The mean, in single precision."""
        mean = super().__new__(cls, float(values.float().mean()))
        mean.samples = len(values)
        return mean
