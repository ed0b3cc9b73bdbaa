"""Numbering goals that several things make up: orders and sets of them."""

from functools import lru_cache
from itertools import combinations, permutations

import numpy as np


@lru_cache
def orders(things: int, length: int) -> tuple[tuple[int, ...], ...]:
    """Every order of ``length`` of the things."""
    return tuple(permutations(range(things), length))


@lru_cache
def subsets(things: int, size: int) -> tuple[tuple[int, ...], ...]:
    """Every set of ``size`` of the things, each in rising order."""
    return tuple(combinations(range(things), size))


def another(rng: np.random.Generator, count: int, index: int) -> int:
    """Draw one of ``count`` that is not ``index``."""
    return int(rng.choice([other for other in range(count) if other != index]))
