"""Predictions from landmarks: against Gaussian closed forms, and of mixed outcomes against a grid of one effect."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line
from scipy import stats

import mefit as mf

TIMES = np.arange(5.0)
KEY = jax.random.key(5)
MODEL = Line(beta=jnp.array([2.0, 0.5]), omega=jnp.array([[1.0, 0.2], [0.2, 0.3]]), sigma=jnp.asarray(0.5))


def growth_data(count=60, seed=1):
    """Straight lines, a fifth of the responses missing."""
    rng = np.random.default_rng(seed)
    b = np.asarray(MODEL.beta) + rng.multivariate_normal([0, 0], np.asarray(MODEL.omega), count)
    y = b[:, :1] + b[:, 1:] * TIMES + 0.5 * rng.standard_normal((count, 5))
    y = np.where(rng.random(y.shape) < 0.2, np.nan, y)
    person, row = np.indices(y.shape)
    return pd.DataFrame({"ID": person.ravel() + 1, "TIME": TIMES[row.ravel()], "DV": y.ravel()})


def exact(frame, at):
    """Mean and SD of each later response, seen or not, given the responses up to `at`."""
    tables = []
    for _, part in frame.groupby("ID"):
        early = part[part.TIME <= at].dropna()
        late = part[part.TIME > at]
        x = np.column_stack([np.ones(len(early)), early.TIME])
        ahead = np.column_stack([np.ones(len(late)), late.TIME])
        covariance = np.linalg.inv(np.linalg.inv(np.asarray(MODEL.omega)) + x.T @ x / 0.25)
        eta = covariance @ x.T @ (early.DV.to_numpy() - x @ np.asarray(MODEL.beta)) / 0.25
        variance = np.sum(ahead @ covariance * ahead, axis=1) + 0.25
        tables.append(pd.DataFrame({"mean": ahead @ (np.asarray(MODEL.beta) + eta), "sd": np.sqrt(variance)}))
    return pd.concat(tables, ignore_index=True)


FRAME = growth_data()
PEOPLE = mf.Population.from_frame(FRAME, drop_unobserved=None)


@pytest.fixture(scope="module")
def ahead():
    return mf.landmark(MODEL, PEOPLE, at=[1.0, 3.0], draws=2000, baselines=True, reference=PEOPLE, above=4.0, key=KEY)


@pytest.mark.parametrize("at", [1.0, 3.0])
def test_predictions_are_the_exact_ones(ahead, at):
    found = ahead.predictions[ahead.predictions.AT == at].reset_index(drop=True)
    truth = exact(FRAME, at)
    came = FRAME[FRAME.TIME > at].reset_index(drop=True)
    np.testing.assert_array_equal(found.ID, came.ID)
    np.testing.assert_array_equal(found.DV, came.DV)
    np.testing.assert_allclose((found["mean"] - truth["mean"]) / truth.sd, 0.0, atol=0.1)  # 4.5 SDs: 2,000 draws
    for column, level in (("q5", 0.05), ("q50", 0.5), ("q95", 0.95)):
        away = (found[column] - stats.norm(truth["mean"], truth.sd).ppf(level)) / truth.sd
        assert np.sqrt(np.mean(away**2)) < 0.08
        assert abs(np.mean(away)) < 0.02
    log_p = stats.norm(truth["mean"], truth.sd).logpdf(came.DV)
    # far out in a tail few draws tell of a density, and its logarithm is known to a tenth only
    np.testing.assert_allclose(found.log_score, log_p, atol=0.3, rtol=0.1)
    np.testing.assert_allclose(found.probability, stats.norm(truth["mean"], truth.sd).sf(4.0), atol=0.06)
    np.testing.assert_allclose(found.place, stats.norm(truth["mean"], truth.sd).cdf(came.DV), atol=0.06)
    row = ahead.table[(ahead.table.AT == at) & (ahead.table.by == "model")].iloc[0]
    assert row.cells == came.DV.notna().sum()
    # one response lies 3.9 SDs out: by its log density alone the mean moves by .013 (SD) from key to key
    assert row.log_score == pytest.approx(np.nanmean(log_p), abs=0.05)
    assert row.rmse == pytest.approx(np.sqrt(np.nanmean((truth["mean"] - came.DV) ** 2)), abs=0.01)


def test_the_table_is_made_of_the_scores(ahead):
    part = ahead.predictions[ahead.predictions.AT == 1.0].dropna(subset="DV")
    row = ahead.table[(ahead.table.AT == 1.0) & (ahead.table.by == "model")].iloc[0]
    happened = part.DV > 4.0
    assert row.auc == pytest.approx(mf.scores.auc(part.probability, happened))
    assert row.brier == pytest.approx(np.mean((part.probability - happened) ** 2))
    assert row.cover90 == pytest.approx(np.mean((part.place >= 0.05) & (part.place <= 0.95)))
    by_tenths = ahead.calibration()
    assert by_tenths.groupby("AT")["count"].sum()[1.0] == len(part)
    assert row.calibration == pytest.approx(
        np.average(
            np.abs(by_tenths.predicted - by_tenths.observed)[by_tenths.AT == 1.0],
            weights=by_tenths["count"][by_tenths.AT == 1.0],
        )
    )
    assert ahead.coverage([0.9]).set_index("AT").loc[1.0, "90%"] == row.cover90


def test_baselines_by_hand(ahead):
    overall = FRAME.DV.mean()
    person = FRAME[(FRAME.ID == 1) & (FRAME.TIME <= 1.0)].DV.dropna()
    rows = ahead.predictions[(ahead.predictions.AT == 1.0) & (ahead.predictions.ID == 1)]
    np.testing.assert_allclose(rows.own_mean, (person.sum() + 2 * overall) / (len(person) + 2))
    by_time = FRAME.groupby("TIME").DV.mean()
    np.testing.assert_allclose(rows.population_mean, by_time[rows.TIME])
    part = ahead.predictions[ahead.predictions.AT == 1.0]
    row = ahead.table[(ahead.table.AT == 1.0) & (ahead.table.by == "own mean so far")].iloc[0]
    assert row.rmse == pytest.approx(np.sqrt(np.nanmean((part.own_mean - part.DV) ** 2)))


def test_nothing_that_came_later_is_looked_at(ahead):
    later = FRAME.assign(DV=np.where(FRAME.TIME > 1.0, FRAME.DV + 3.0, FRAME.DV))
    people = mf.Population.from_frame(later, drop_unobserved=None)
    again = mf.landmark(MODEL, people, at=1.0, draws=2000, key=KEY).predictions
    before = ahead.predictions[ahead.predictions.AT == 1.0]
    np.testing.assert_array_equal(again["mean"], before["mean"])
    np.testing.assert_array_equal(again.q95, before.q95)


class Mixed(mf.Model):
    """One random effect behind a number, a yes or no, a grade, a count and an event."""

    base: Array = mf.real()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), 1.0)

    def observations(self, eta, subject):
        line = jnp.broadcast_to(eta[0], subject.time.shape)
        return {
            "number": dist.Normal(line, 0.7),
            "yes": dist.BernoulliLogits(line - 0.5),
            "grade": dist.OrderedLogistic(line, jnp.array([-1.0, 1.0])),
            "count": dist.Poisson(jnp.exp(0.5 * line)),
            "event": mf.hazard(lambda t: self.base + eta[0], subject, "event"),
        }


MIXED = pd.DataFrame(
    {
        "ID": [1] * 3 + [2] * 3,
        "TIME": [1.0, 2.0, 4.0] * 2,
        "number": [0.9, np.nan, 1.1, -0.5, -0.3, np.nan],
        "yes": [1.0, 1.0, 0.0, np.nan, 0.0, 0.0],
        "grade": [2.0, 1.0, 2.0, 0.0, np.nan, 1.0],
        "count": [2.0, 3.0, 1.0, 0.0, 1.0, 0.0],
        "event": [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    }
)
NAMES = ("number", "yes", "grade", "count", "event")


def weights_of(part, grid):
    """p(eta | what was seen up to time 2) on a grid."""
    log_p = stats.norm.logpdf(grid)
    early = part[part.TIME <= 2.0]
    log_p += sum(stats.norm(grid, 0.7).logpdf(y) for y in early.number.dropna())
    log_p += sum(stats.bernoulli(expit(grid - 0.5)).logpmf(int(y)) for y in early.yes.dropna())
    log_p += sum(np.log(grades_at(grid)[int(y)]) for y in early.grade.dropna())
    log_p += sum(stats.poisson(np.exp(0.5 * grid)).logpmf(int(y)) for y in early["count"].dropna())
    log_p -= 2.0 * np.exp(-1.0 + grid)  # free of the event for two units of time
    weight = np.exp(log_p - log_p.max())
    return weight / weight.sum()


def expit(x):
    return 1.0 / (1.0 + np.exp(-x))


def grades_at(grid):
    low = expit(-1.0 - grid)
    return np.array([low, expit(1.0 - grid) - low, 1.0 - expit(1.0 - grid)])


@pytest.mark.slow
def test_mixed_outcomes_against_a_grid():
    people = mf.Population.from_frame(MIXED, y={name: name for name in NAMES})
    ahead = mf.landmark(Mixed(base=-1.0), people, at=2, draws=8000, above={"count": 1.0}, key=KEY)
    grid = np.linspace(-6, 6, 2001)
    risk = 1.0 - np.exp(-2.0 * np.exp(-1.0 + grid))
    for who, part in MIXED.groupby("ID"):
        found = ahead.predictions[ahead.predictions.ID == who].set_index("OUTCOME")
        weight = weights_of(part, grid)
        grades = grades_at(grid) @ weight
        assert found.loc["number", "mean"] == pytest.approx(grid @ weight, abs=0.02)
        assert found.loc["yes", "probability"] == pytest.approx(expit(grid - 0.5) @ weight, abs=0.01)
        np.testing.assert_allclose(found.loc["grade", ["p0", "p1", "p2"]].astype(float), grades, atol=0.01)
        assert found.loc["grade", "mean"] == pytest.approx(grades @ np.arange(3), abs=0.02)
        assert found.loc["count", "probability"] == pytest.approx(
            stats.poisson(np.exp(0.5 * grid)).sf(1) @ weight, abs=0.015
        )
        assert found.loc["event", "probability"] == pytest.approx(risk @ weight, abs=0.01)
        came = part[part.TIME == 4.0].iloc[0]
        assert found.loc["yes", "log_score"] == pytest.approx(np.log(1.0 - expit(grid - 0.5) @ weight), abs=0.02)
        assert found.loc["grade", "log_score"] == pytest.approx(np.log(grades[int(came.grade)]), abs=0.03)
        assert found.loc["grade", "brier"] == pytest.approx(
            mf.scores.ranked_probability([grades], [came.grade])[0], abs=0.01
        )
        density = np.exp(-2.0 * np.exp(-1.0 + grid)) * np.where(came.event == 1, np.exp(-1.0 + grid), 1.0)
        assert found.loc["event", "log_score"] == pytest.approx(np.log(density @ weight), abs=0.03)
    assert set(ahead.table.OUTCOME) == set(NAMES)
    assert ahead.table.set_index("OUTCOME").loc["number", "cells"] == 1


@pytest.mark.slow
def test_what_cannot_be():
    with pytest.raises(ValueError, match="nobody has a row after 4"):
        mf.landmark(MODEL, PEOPLE, at=4, key=KEY)
    with pytest.raises(ValueError, match="between 0 and 1"):
        mf.landmark(MODEL, PEOPLE, at=1, quantiles=(), key=KEY)
    with pytest.raises(ValueError, match="a model alone has seen nobody"):
        mf.landmark(MODEL, PEOPLE, at=1, baselines=True, key=KEY)
    with pytest.raises(ValueError, match="above= names 'pain'"):
        mf.landmark(MODEL, PEOPLE, at=1, above={"pain": 1.0}, key=KEY)
    mixed = mf.Population.from_frame(MIXED, y={name: name for name in NAMES})
    with pytest.raises(ValueError, match="'yes', which is no number"):
        mf.landmark(Mixed(base=-1.0), mixed, at=2, above={"yes": 1.0}, key=KEY)
