"""Wilson intervals against the textbook, scipy, and the equation they solve."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from vla3d.evaluation.statistics import Z_95, SuccessRate, pooled, wilson_interval

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_hand_computed_case() -> None:
    # 8 of 10 with z = 2: p = 0.8, z^2/n = 0.4, centre (0.8 + 0.2) / 1.4, half width 2 sqrt(0.016 + 0.01) / 1.4.
    interval = wilson_interval(8, 10, z=2.0)
    assert interval.low == pytest.approx(1 / 1.4 - 2 * math.sqrt(0.026) / 1.4, abs=1e-15)
    assert interval.high == pytest.approx(1 / 1.4 + 2 * math.sqrt(0.026) / 1.4, abs=1e-15)


@given(counts)
def test_equals_scipy(case: tuple[int, int]) -> None:
    successes, episodes = case
    expected = binomtest(successes, episodes).proportion_ci(confidence_level=0.95, method="wilson")
    interval = wilson_interval(successes, episodes)
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)


@given(counts)
def test_ends_are_where_the_score_test_gives_z(case: tuple[int, int]) -> None:
    """The defining property: at an end p, |rate - p| is z standard deviations of a sample with rate p."""
    successes, episodes = case
    interval = wilson_interval(successes, episodes)
    for end in (interval.low, interval.high):
        assert abs(successes / episodes - end) == pytest.approx(Z_95 * math.sqrt(end * (1 - end) / episodes), abs=1e-7)


@given(counts)
def test_mirrors_and_contains_the_rate(case: tuple[int, int]) -> None:
    successes, episodes = case
    interval, mirrored = wilson_interval(successes, episodes), wilson_interval(episodes - successes, episodes)
    assert 0 <= interval.low <= successes / episodes <= interval.high <= 1
    assert mirrored.low == pytest.approx(1 - interval.high, abs=1e-12)


def test_all_none_and_no_episodes() -> None:
    assert wilson_interval(0, 25).low == 0.0
    assert wilson_interval(25, 25).high == 1.0
    assert wilson_interval(25, 25).low == pytest.approx(25 / (25 + Z_95**2))
    assert (wilson_interval(0, 0).low, wilson_interval(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "episodes", "z"), [(-1, 5, 1.96), (6, 5, 1.96), (1, 5, 0.0), (1, 5, math.nan)])
def test_refuses_what_is_no_count(successes: int, episodes: int, z: float) -> None:
    with pytest.raises(ValueError, match="wilson_interval: got"):
        wilson_interval(successes, episodes, z)


def test_pooling_counts_episodes() -> None:
    together = pooled([SuccessRate(successes=9, episodes=10), SuccessRate(successes=0, episodes=30)])
    assert (together.successes, together.episodes, together.rate) == (9, 40, 0.225)
    assert SuccessRate.of([True, False, True]) == SuccessRate(successes=2, episodes=3)
    assert str(wilson_interval(0, 0)) == "[0, 100] %"
