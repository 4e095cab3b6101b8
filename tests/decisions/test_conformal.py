"""Conformal sets hold what they promise for new people, though the model is wrong."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from scipy.stats import norm

import mefit as mf
from mefit.decisions.conformal import conformal_quantile

ROWS = 3


def people_of(y: np.ndarray) -> mf.Population:
    times = np.arange(float(y.shape[1]))
    subjects = [mf.Subject(time=times, y=one, mask=np.ones(times.size, bool)) for one in y]
    return mf.Population.from_subjects(subjects)


@functools.cache
def nobody(count: int) -> mf.Population:
    return people_of(np.zeros((count, ROWS)))


def sure_of_itself(people: mf.Population) -> mf.Predictive:
    """A model that says N(0, 1) for every response, whatever they are."""
    shape = np.asarray(people.subjects.time).shape
    loc = np.zeros((shape[0], 1, shape[1]))
    return mf.Predictive(
        ids=tuple(people.ids), time=np.asarray(people.subjects.time), loc=loc, scale=np.ones(loc.shape)
    )


def responses(rng, count):
    """Twice too wide for it, skew, and alike within a person."""
    level = rng.exponential(size=(count, 1)) - 1.0
    return 2.0 * (level + 0.5 * rng.normal(size=(count, ROWS)))


def test_the_quantile_is_the_one_that_vouches_for_a_new_score():
    scores = np.arange(1.0, 20.0)  # 19 of them
    assert conformal_quantile(scores, 0.9) == 18.0 and conformal_quantile(scores, 0.95) == 19.0
    assert conformal_quantile(scores[::-1], 0.5) == 10.0
    with pytest.raises(ValueError, match="19 people cannot vouch for 96%: calibrate on 24 or more"):
        conformal_quantile(scores, 0.96)
    with pytest.raises(ValueError, match="not a number"):
        conformal_quantile([1.0, np.nan], 0.5)


@pytest.mark.parametrize("whole", [False, True])
def test_a_new_person_is_covered_as_promised_by_a_wrong_model(whole):
    """With 19 people and 80% the share is 16/20 exactly, over calibrations and new people; 150 of both."""
    rng = np.random.default_rng(11)
    covered = []
    naive = []
    for replicate in range(150):
        people = nobody(19).with_responses(responses(rng, 19))
        key = None if whole else jax.random.key(replicate)
        found = mf.conformal(sure_of_itself, people, 0.8, whole=whole, key=key)
        new = nobody(1).with_responses(responses(rng, 1))
        hit = found.covers(new)[0]
        covered.append(hit.all() if whole else hit[rng.integers(ROWS)])
        inside = np.abs(np.asarray(new.subjects.y)[0]) < norm.ppf(0.9)
        naive.append(inside.all() if whole else inside[0])
    error = np.sqrt(0.16 / 150)
    assert abs(np.mean(covered) - 0.8) < 3.5 * error
    assert np.mean(naive) < 0.8 - 3.5 * error


def test_its_sets_are_those_of_the_level_it_found():
    """One score a person, the level 2 Phi(|y|) - 1: with N(0, 1) the set at the quantile q is |y| <= |y|_(q)."""
    y = np.linspace(0.05, 2.0, 39)[:, None]
    found = mf.conformal(sure_of_itself, people_of(y), 0.9, whole=True)
    largest = np.sort(y[:, 0])[35]  # the 36th of 39
    assert found.level == pytest.approx(2.0 * norm.cdf(largest) - 1.0, abs=2e-3)
    table = found.sets(people_of(np.zeros((2, 1))))
    np.testing.assert_allclose(table[["low", "high"]].to_numpy(), [[-largest, largest]] * 2, atol=0.01)
    assert found.promised == 0.9 and found.scores.shape == (39,)


def test_rows_that_were_seen_do_not_count_and_what_is_missing_neither():
    y = np.tile([50.0, 0.5, np.nan], (30, 1)) + np.linspace(0.0, 0.1, 30)[:, None]
    people = people_of(y)
    found = mf.conformal(sure_of_itself, people, 0.9, after=0.5, whole=True)
    assert found.level < 0.5
    covered = found.covers(people, rows=np.asarray(people.subjects.time) > 0.5)
    assert np.isnan(covered[:, [0, 2]]).all() and covered[:, 1].mean() >= 0.9
    with pytest.raises(ValueError, match="holds for impossible"):
        mf.conformal(sure_of_itself, people, 0.9, whole=True)
    with pytest.raises(ValueError, match="nobody has a response"):
        mf.conformal(sure_of_itself, people, 0.9, after=5.0, whole=True)
    with pytest.raises(ValueError, match="key"):
        mf.conformal(sure_of_itself, people, 0.9, after=0.5)


def test_rows_beyond_a_persons_last_and_those_already_seen_have_no_set():
    """People of one, two and three rows, the first of which `predict` has seen."""
    rows = [mf.Subject(np.arange(float(n)), np.full(n, 0.1 * n), np.ones(n, bool)) for n in (1, 2, 3)] * 13
    people = mf.Population.from_subjects(rows)

    def predict(who):
        told = sure_of_itself(who)
        return dataclasses.replace(told, real=np.asarray(who.subjects.real))

    found = mf.conformal(predict, people, 0.9, after=0.0, whole=True)
    sets = found.sets(people[:3])
    assert sets[["ID", "TIME"]].values.tolist() == [[2, 1.0], [3, 1.0], [3, 2.0]]
    np.testing.assert_array_equal(
        np.isnan(found.covers(people[:3])), [[True] * 3, [True, False, True], [True, False, False]]
    )
    asked = np.array([[np.nan, 0.5, 0.5], [0.5, np.nan, 0.5], [0.5, 0.5, 0.5]])
    levels = predict(people[:3]).level_of(asked)
    np.testing.assert_array_equal(np.isnan(levels), [[True] * 3, [False, True, True], [False] * 3])
    np.testing.assert_allclose(levels[2], 2.0 * norm.cdf(0.5) - 1.0, atol=1e-3)


def test_a_censored_response_has_no_score_and_is_refused():
    """Below a limit, half of the responses would have passed for the limit itself, and the sets been too small."""
    rng = np.random.default_rng(3)
    y = rng.normal(size=(60, ROWS))
    censored = (y < 0.0).astype(float)
    censored[:, 0] = 0.0
    subjects = [
        mf.Subject(
            time=np.arange(float(ROWS)),
            y=np.where(cut > 0, 0.0, one),
            mask=np.ones(ROWS, bool),
            censored=cut,
            limit=np.full(ROWS, -np.inf),
        )
        for one, cut in zip(y, censored, strict=True)
    ]
    people = mf.Population.from_subjects(subjects)
    i, row = np.argwhere(censored)[0]
    count = int(censored.sum())
    told = f"subject {people.ids[i]} in row {row + 1} is censored, one of {count}"
    with pytest.raises(ValueError, match=told):
        mf.conformal(sure_of_itself, people, 0.8, whole=True)
    measured = people_of(y)
    calibrated = mf.conformal(sure_of_itself, measured, 0.8, whole=True)
    with pytest.raises(ValueError, match=told):
        calibrated.covers(people)
    rows = censored == 0
    inside = 2.0 * norm.cdf(np.abs(y)) - 1.0 <= calibrated.level
    np.testing.assert_array_equal(calibrated.covers(people, rows=rows), np.where(rows, inside, np.nan))
