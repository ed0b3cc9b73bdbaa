"""Success rates, medians and areas under a curve with their uncertainty."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

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
    return _wilson(successes / episodes, episodes, z)


def _wilson(rate: float, trials: int, z: float) -> Interval:
    weight = z * z / trials
    center = (rate + weight / 2) / (1 + weight)
    half = z * math.sqrt(rate * (1 - rate) / trials + weight / (4 * trials)) / (1 + weight)
    # The exact ends at rates of 0 and 1 are 0 and 1; rounding may miss them by an ulp.
    low = 0.0 if rate == 0 else max(0.0, center - half)
    high = 1.0 if rate == 1 else min(1.0, center + half)
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


_AT_ONCE = 100  # resamples held in memory together


def bootstrap_median_interval(
    values: Float[np.ndarray, " N"], groups: Int[np.ndarray, " N"], *, seed: int = 0, resamples: int = 2000
) -> tuple[float, float] | None:
    """Percentile 95 % bootstrap interval of a median (Efron and Tibshirani 1993, chapter 13).

    Whole groups are drawn with replacement (a cluster bootstrap): what comes from one demonstration varies less than what comes
    from different ones, and drawing values one by one would make the interval too narrow.

    Args:
        values: finite numbers.
        groups: which group each value comes from, numbers from 0.
        seed: of the draws.
        resamples: how many medians the interval is read from.

    Returns:
        Lower and upper end; None with fewer than two groups, where nothing is known of how they vary.
    """
    names, members = np.unique(groups, return_inverse=True)
    count = len(names)
    if count < 2:
        return None
    order = np.argsort(values, kind="stable")
    ordered, members = np.asarray(values, dtype=np.float64)[order], members[order]
    rng = np.random.default_rng(seed)
    medians: list[np.ndarray] = []
    for start in range(0, resamples, _AT_ONCE):
        draws = rng.multinomial(count, np.full(count, 1 / count), size=min(_AT_ONCE, resamples - start))
        last = np.cumsum(draws[:, members], axis=1)  # ordered value i fills the places before last[:, i]
        total = last[:, -1]
        lower = (last > ((total - 1) // 2)[:, None]).argmax(axis=1)
        upper = (last > (total // 2)[:, None]).argmax(axis=1)
        medians.append((ordered[lower] + ordered[upper]) / 2)
    low, high = np.percentile(np.concatenate(medians), (2.5, 97.5))
    return float(low), float(high)


_NO_VARIANCE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Auroc:
    """How well a score tells positives from negatives: the area under the receiver operating characteristic.

    Attributes:
        area: probability that a positive scores higher than a negative; ties count half.
        interval: 95 % interval.
    """

    area: float
    interval: Interval


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> Auroc:
    """Area under the ROC curve (the Mann-Whitney statistic) with DeLong's interval (DeLong et al. 1988).

    The variance is that of each positive's share of beaten negatives, and of each negative's share of higher positives. Where
    that is 0 (complete separation, or a single score on a side) it says nothing; the interval then is Wilson's for as many
    trials as the smaller side has scores, since no variance exceeds ``area (1 - area) / min(m, n)`` (Birnbaum and Klose 1957).

    Args:
        positives: scores of those that should score high.
        negatives: scores of those that should score low.

    Raises:
        ValueError: a side without scores, or a score that is not a number.
    """
    high, low = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    if not (high.ndim == low.ndim == 1 and len(high) and len(low)) or np.isnan(high).any() or np.isnan(low).any():
        raise ValueError(
            f"auroc: got {high.shape} positives and {low.shape} negatives, expected two lists of numbers, none empty."
        )
    ordered_low, ordered_high = np.sort(low), np.sort(high)
    beaten = (np.searchsorted(ordered_low, high, "left") + np.searchsorted(ordered_low, high, "right")) / (2 * len(low))
    higher = 1 - (np.searchsorted(ordered_high, low, "left") + np.searchsorted(ordered_high, low, "right")) / (2 * len(high))
    area = float(beaten.mean())
    fewest = min(len(high), len(low))
    variance = 0.0 if fewest == 1 else float(beaten.var(ddof=1) / len(high) + higher.var(ddof=1) / len(low))
    if variance < _NO_VARIANCE:
        return Auroc(area=area, interval=_wilson(area, fewest, Z_95))
    half = Z_95 * math.sqrt(variance)
    return Auroc(area=area, interval=Interval(max(0.0, area - half), min(1.0, area + half)))
