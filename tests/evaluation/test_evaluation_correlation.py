"""Rank correlation against scipy, and bootstrap intervals of medians against what they mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, spearmanr

from vla3d.evaluation.correlation import rank_correlation
from vla3d.evaluation.statistics import bootstrap_median_interval

numbers = st.lists(st.integers(-5, 5), min_size=3, max_size=12)


def as_many(first: list[int]) -> st.SearchStrategy[tuple[list[int], list[int]]]:
    return st.tuples(st.just(first), st.lists(st.integers(-5, 5), min_size=len(first), max_size=len(first)))


pairs = numbers.flatmap(as_many)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_coefficient_equals_scipy_and_ties_share_ranks(case: tuple[list[int], list[int]]) -> None:
    first, second = case
    found = rank_correlation(first, second, resamples=20)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found is not None and found.rho == pytest.approx(spearmanr(first, second).statistic)


def test_p_value_of_few_pairs_is_exact() -> None:
    first, second = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]
    expected = permutation_test(
        (first,), lambda x: spearmanr(x, second).statistic, permutation_type="pairings", n_resamples=1000
    )
    found = rank_correlation(first, second)
    assert found is not None and found.p_value == pytest.approx(expected.pvalue)
    perfect = rank_correlation([1, 2, 3, 4], [10, 20, 30, 40])
    assert perfect is not None and (perfect.rho, perfect.p_value) == (pytest.approx(1), 2 / 24)


def test_p_value_of_many_pairs_is_about_right() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=30)
    second = first + rng.normal(size=30)
    found = rank_correlation(list(first), list(second))
    assert found is not None and found.p_value == pytest.approx(spearmanr(first, second).pvalue, abs=0.02)
    assert found.interval is not None and found.interval[0] < found.rho < found.interval[1]
    assert found == rank_correlation(list(first), list(second)), "the same seed, the same draws"


def test_only_the_order_counts() -> None:
    first, second = [0.1, 0.5, 0.2, 0.9, 0.4, 0.3, 0.8, 0.7], [3.0, 5.0, 1.0, 9.0, 4.0, 2.0, 7.0, 8.0]
    found = rank_correlation(first, second)
    assert found == rank_correlation([np.exp(value) for value in first], [value**3 for value in second])


def test_nothing_to_correlate() -> None:
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 2, 3], [1, 1, 1]) is None
    with pytest.raises(ValueError, match="got 3 and 2 numbers"):
        rank_correlation([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="finite"):
        rank_correlation([1, 2, np.nan], [1, 2, 3])


# Medians


def test_median_interval_of_one_group_is_unknown() -> None:
    assert bootstrap_median_interval(np.array([1.0, 2.0, 3.0]), np.zeros(3, dtype=np.int64)) is None


def test_median_interval_equals_a_plain_bootstrap() -> None:
    rng = np.random.default_rng(1)
    values, groups = rng.exponential(size=40), np.repeat(np.arange(10), 4)
    drawn = rng.integers(10, size=(4000, 10))
    medians = np.median(values.reshape(10, 4)[drawn].reshape(4000, -1), axis=1)
    found = bootstrap_median_interval(values, groups, resamples=4000)
    assert found == pytest.approx(tuple(np.percentile(medians, (2.5, 97.5))), abs=0.06)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=15), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_copies_within_a_group_teach_nothing(listed: list[float], copies: int) -> None:
    values, groups = np.array(listed), np.arange(len(listed))
    once = bootstrap_median_interval(values, groups, resamples=200)
    assert bootstrap_median_interval(np.tile(values, copies), np.tile(groups, copies), resamples=200) == once
    assert once is not None and min(listed) <= once[0] <= once[1] <= max(listed)
