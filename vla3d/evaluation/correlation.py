"""Rank correlation with its uncertainty: does one figure order policies as another does?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.stats import rankdata

_MOST_EXACT = 7  # 5,040 orders; beyond, orders are drawn


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's rank correlation of two lists of numbers.

    Attributes:
        rho: the coefficient, in [-1, 1].
        p_value: share of orders of the second list that correlate as much or more, in either direction.
        interval: percentile 95 % bootstrap interval over pairs; None when hardly a resample has two different values.
        count: number of pairs.
    """

    rho: float
    p_value: float
    interval: tuple[float, float] | None
    count: int


def rank_correlation(
    first: Sequence[float], second: Sequence[float], *, seed: int = 0, resamples: int = 9999
) -> RankCorrelation | None:
    """Spearman's coefficient (ties share their mean rank), a permutation test of it, and a bootstrap interval.

    The permutation test is exact up to 7 pairs; beyond, it draws ``resamples`` orders and counts the observed one as one more.

    Args:
        first: finite numbers.
        second: as many finite numbers.
        seed: of the draws.
        resamples: orders and bootstrap samples drawn.

    Returns:
        None with fewer than three pairs, or when all numbers of a list are equal: then there is nothing to correlate.

    Raises:
        ValueError: lists of different lengths, or a number that is not finite.
    """
    pairs = np.array([first, second], dtype=np.float64) if len(first) == len(second) else np.full((2, 0), np.nan)
    if len(first) != len(second) or not np.isfinite(pairs).all():
        raise ValueError(f"rank_correlation: got {len(first)} and {len(second)} numbers, expected as many, all of them finite.")
    count = pairs.shape[1]
    if count < 3 or (pairs == pairs[:, :1]).all(axis=1).any():
        return None
    rng = np.random.default_rng(seed)
    ranks = rankdata(pairs, axis=1)
    rho = float(_pearson(ranks[0], ranks[1]))
    interval = _interval(pairs, rng, resamples)
    return RankCorrelation(rho=rho, p_value=_p_value(ranks, rho, rng, resamples), interval=interval, count=count)


def _pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation along the last axis; NaN where either side is constant."""
    first = first - first.mean(axis=-1, keepdims=True)
    second = second - second.mean(axis=-1, keepdims=True)
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    product = (first * second).sum(axis=-1)
    return np.asarray(np.divide(product, scale, out=np.full_like(product, np.nan), where=scale > 0))


def _p_value(ranks: np.ndarray, rho: float, rng: np.random.Generator, resamples: int) -> float:
    count = ranks.shape[1]
    exact = count <= _MOST_EXACT
    if exact:
        orders = ranks[1][np.array(list(permutations(range(count))))]
    else:
        orders = rng.permuted(np.tile(ranks[1], (resamples, 1)), axis=1)
    as_extreme = int((np.abs(_pearson(ranks[0], orders)) >= abs(rho) - 1e-12).sum())
    return as_extreme / math.factorial(count) if exact else (as_extreme + 1) / (resamples + 1)


def _interval(pairs: np.ndarray, rng: np.random.Generator, resamples: int) -> tuple[float, float] | None:
    drawn = pairs[:, rng.integers(pairs.shape[1], size=(resamples, pairs.shape[1]))]
    coefficients = _pearson(*rankdata(drawn, axis=-1))
    known = coefficients[np.isfinite(coefficients)]
    if len(known) < resamples / 2:
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
