"""Scores of predictions, against SciPy's Mann-Whitney statistic and numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats

import mefit as mf


def test_the_area_under_the_curve_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(1)
    happened = rng.integers(0, 2, 300)
    predicted = np.round(rng.normal(0.7 * happened, 1.0), 1)  # with ties
    u = stats.mannwhitneyu(predicted[happened == 1], predicted[happened == 0]).statistic
    pairs = happened.sum() * (1 - happened).sum()
    assert mf.scores.auc(predicted, happened) == pytest.approx(u / pairs, rel=1e-12)


def test_areas_by_hand():
    assert mf.scores.auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == 0.75  # of four pairs, one is the wrong way round
    assert mf.scores.auc([0.2, 0.2, 0.2], [0, 1, 0]) == 0.5
    assert mf.scores.auc([0.9, 0.1, np.nan], [1, 0, 0]) == 1.0
    assert np.isnan(mf.scores.auc([0.9, 0.1], [1, 1]))


def test_squared_distances_by_hand():
    assert mf.scores.brier([0.9, 0.2, 0.5], [1, 0, np.nan]) == pytest.approx((0.01 + 0.04) / 2)
    assert np.isnan(mf.scores.brier([], []))
    # grade 1 of three: P(y <= 0) = .2 for 0, P(y <= 1) = .7 for 1
    score = mf.scores.ranked_probability([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]], [1.0, np.nan])
    assert score[0] == pytest.approx((0.2**2 + 0.3**2) / 2)
    assert np.isnan(score[1])
    two = mf.scores.ranked_probability([[0.3, 0.7]], [1.0])  # of two grades it is the Brier score
    assert two[0] == pytest.approx(mf.scores.brier([0.7], [1]))


@pytest.mark.parametrize("score", [mf.scores.brier, mf.scores.calibration])
def test_a_probability_lies_between_0_and_1(score):
    for wrong in (1.2, -0.1):
        with pytest.raises(ValueError, match=f"lies between 0 and 1, and here is {wrong}"):
            score([0.5] * 9 + [wrong], [0, 1] * 5)


def test_calibration_by_tenths():
    p = np.linspace(0.05, 0.95, 1000)
    happened = np.random.default_rng(2).random(1000) < p**2
    table = mf.scores.calibration(p, happened)
    assert table["count"].tolist() == [100] * 10
    np.testing.assert_allclose(table.predicted, p.reshape(10, 100).mean(axis=1))
    np.testing.assert_allclose(table.observed, happened.reshape(10, 100).mean(axis=1))
    distance = np.abs(table.predicted - table.observed).mean()
    assert mf.scores.calibration_error(p, happened) == pytest.approx(distance)
    assert distance == pytest.approx(np.mean(p - p**2), abs=0.05)
    with pytest.raises(ValueError, match="in 10 groups needs that many"):
        mf.scores.calibration([0.5], [1])


@pytest.mark.parametrize("order", ["as they came", "by outcome", "the other way"])
def test_calibration_does_not_hang_on_the_order_of_equal_predictions(order):
    """A constant prediction of .3, which comes true in three of ten: every tenth has its part of them."""
    happened = np.random.default_rng(3).permutation(np.arange(200) % 10 < 3).astype(float)
    happened = {"by outcome": np.sort(happened), "the other way": -np.sort(-happened)}.get(order, happened)
    table = mf.scores.calibration(np.full(200, 0.3), happened)
    np.testing.assert_allclose(table.observed, 0.3)
    assert mf.scores.calibration_error(np.full(200, 0.3), happened) == pytest.approx(0.0, abs=1e-12)
    half = np.r_[np.full(100, 0.2), np.full(100, 0.6)]
    assert mf.scores.calibration(half, happened).observed[:5].std() == pytest.approx(0.0, abs=1e-12)


def test_coverage_of_central_intervals():
    place = (np.arange(1000) + 0.5) / 1000
    assert mf.scores.coverage(place, 0.9) == 0.9
    assert mf.scores.coverage([0.04, 0.06, np.nan, 0.5, 0.97], 0.9) == 0.5
    assert np.isnan(mf.scores.coverage([], 0.5))


def test_what_is_no_outcome_is_refused():
    with pytest.raises(ValueError, match="here is 2"):
        mf.scores.auc([0.1, 0.2], [0, 2])
    with pytest.raises(ValueError, match="3 predictions for 2 outcomes"):
        mf.scores.brier([0.1, 0.2, 0.3], [0, 1])


def test_grades_that_cannot_be_are_refused():
    thirds = [[0.2, 0.5, 0.3], [1 / 3, 1 / 3, 1 / 3]]
    assert mf.scores.ranked_probability(thirds, [np.nan, 2.0])[1] == pytest.approx((1 / 9 + 4 / 9) / 2)
    for grade in (7.0, -1.0, 0.5):
        with pytest.raises(ValueError, match=f"counted from 0 to 2, and here is {grade:g}"):
            mf.scores.ranked_probability(thirds, [1.0, grade])
    with pytest.raises(ValueError, match="here they sum to 10"):
        mf.scores.ranked_probability([[2.0, 5.0, 3.0]], [1.0])
    with pytest.raises(ValueError, match="0 or more and sum to 1"):
        mf.scores.ranked_probability([[-0.2, 0.9, 0.3]], [1.0])
    assert np.isnan(mf.scores.ranked_probability([[np.nan, 0.5, 0.5]], [1.0])[0])
