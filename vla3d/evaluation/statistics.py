"""Success rates with their uncertainty."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Interval:
    """A closed interval of success rates within [0, 1]."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"[{100 * self.low:.0f}, {100 * self.high:.0f}] %"


def wilson_interval(successes: int, episodes: int, z: float = Z_95) -> Interval:
    """Wilson score interval of a success rate (Wilson 1927, equation 4).

    Unlike the normal approximation it stays within [0, 1] and does not shrink to a point at 0 or all successes.

    Args:
        successes: episodes that succeeded.
        episodes: episodes run; with none, nothing is known and the interval is [0, 1].
        z: normal quantile of the wanted confidence.

    Raises:
        ValueError: unless 0 <= successes <= episodes and z is positive and finite.
    """
    if not 0 <= successes <= episodes:
        raise ValueError(f"wilson_interval: got {successes} successes of {episodes}, expected 0 <= successes <= episodes.")
    if not (math.isfinite(z) and z > 0):
        raise ValueError(f"wilson_interval: got z={z}, expected a positive finite quantile; 95 % is {Z_95:.4f}.")
    if episodes == 0:
        return Interval(0.0, 1.0)
    rate = successes / episodes
    weight = z * z / episodes
    center = (rate + weight / 2) / (1 + weight)
    half = z * math.sqrt(rate * (1 - rate) / episodes + weight / (4 * episodes)) / (1 + weight)
    # The exact ends at 0 and n successes are 0 and 1; rounding may miss them by an ulp.
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == episodes else min(1.0, center + half)
    return Interval(low, high)


@dataclass(frozen=True, kw_only=True)
class SuccessRate:
    """Successes among episodes, with the Wilson 95 % interval."""

    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        """Share of successes; NaN without episodes."""
        return self.successes / self.episodes if self.episodes else math.nan

    @property
    def interval(self) -> Interval:
        """Wilson 95 % interval."""
        return wilson_interval(self.successes, self.episodes)

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> "SuccessRate":
        """Count outcomes."""
        listed = list(outcomes)
        return cls(successes=sum(listed), episodes=len(listed))


def pooled(rates: Iterable[SuccessRate]) -> SuccessRate:
    """All episodes counted as one sample; every episode weighs the same, so longer tasks' lists weigh more."""
    listed = list(rates)
    return SuccessRate(successes=sum(r.successes for r in listed), episodes=sum(r.episodes for r in listed))
