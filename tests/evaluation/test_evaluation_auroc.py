"""The area under the ROC curve against cases computed by hand, scipy, and the laws it obeys."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from vla3d.evaluation.statistics import Z_95, auroc, wilson_interval

scores = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0]), min_size=1, max_size=8)


def test_hand_computed_case() -> None:
    # Of 6 pairs 4 are in order and one is a tie. Shares of beaten negatives 1, 1/4, 1 (variance 3/16); of higher positives 2/3,
    # 5/6 (variance 1/72). DeLong: 3/16/3 + 1/72/2 = 5/72.
    found = auroc([0.9, 0.4, 0.6], [0.5, 0.4])
    assert found.area == pytest.approx(0.75, abs=1e-15)
    assert found.interval.low == pytest.approx(0.75 - Z_95 * math.sqrt(5 / 72), abs=1e-12)
    assert found.interval.high == 1.0


def test_complete_separation_and_single_scores_still_have_an_interval_with_a_width() -> None:
    apart = auroc([3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 2.5])
    assert (apart.area, apart.interval) == (1.0, wilson_interval(3, 3))
    assert auroc([0.0, 0.5], [1.0, 2.0, 3.0]).interval == wilson_interval(0, 2)
    alone = auroc([1.0], [0.0, 1.0, 2.0, 3.0])
    assert alone.area == 1.5 / 4 and alone.interval.low < 0.1 and alone.interval.high > 0.8


@given(scores, scores)
def test_is_the_mann_whitney_statistic_whatever_the_order(high: list[float], low: list[float]) -> None:
    found = auroc(high, low)
    assert found.area == pytest.approx(mannwhitneyu(high, low).statistic / (len(high) * len(low)), abs=1e-12)
    assert 0 <= found.interval.low <= found.area <= found.interval.high <= 1
    again = auroc(high[::-1], sorted(low))
    assert again.area == pytest.approx(found.area, abs=1e-12)


@given(scores, scores)
def test_exchanging_the_sides_mirrors_and_monotone_scales_change_nothing(high: list[float], low: list[float]) -> None:
    found, mirrored = auroc(high, low), auroc(low, high)
    assert mirrored.area == pytest.approx(1 - found.area, abs=1e-12)
    assert mirrored.interval.low == pytest.approx(1 - found.interval.high, abs=1e-9)
    assert auroc(np.exp(high).tolist(), np.exp(low).tolist()) == found


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = 0.5 * (1 + math.erf(1 / 2))  # two unit normals one apart: Phi(1 / sqrt 2)
    covered = 0
    for _ in range(400):
        interval = auroc(rng.normal(1, 1, 40).tolist(), rng.normal(0, 1, 60).tolist()).interval
        covered += interval.low <= truth <= interval.high
    assert 0.91 < covered / 400 < 0.98


@pytest.mark.parametrize(("high", "low"), [([], [1.0]), ([1.0], []), ([math.nan], [1.0]), ([1.0], [math.nan])])
def test_refuses_what_is_no_score(high: list[float], low: list[float]) -> None:
    with pytest.raises(ValueError, match="auroc: got"):
        auroc(high, low)
