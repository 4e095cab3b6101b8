"""Completed data sets and shifts after dropout, against closed forms of a linear Gaussian model."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line, Logistic, Means
from scipy import integrate, stats

import mefit as mf
from mefit.inference.expected import normal_between
from mefit.model.normals import NormalRows

TIMES = np.arange(5.0)
DESIGN = np.column_stack([np.ones(5), TIMES])


def leaving(count, seed=0, after=0.0):
    """Straight lines; three in ten are gone from some visit on, by chance, and then their responses are moved."""
    rng = np.random.default_rng(seed)
    b = np.array([2.0, 0.5]) + rng.multivariate_normal([0, 0], [[1.0, 0.2], [0.2, 0.3]], count)
    y = b @ DESIGN.T + 0.5 * rng.standard_normal((count, 5))
    leaves = np.where(rng.random(count) < 0.3, rng.integers(1, 5, count), 9)
    gone = np.arange(5) >= leaves[:, None]
    y = y + after * gone
    rows = [(i, t, np.nan if gone[i, j] else y[i, j]) for i in range(count) for j, t in enumerate(TIMES)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"])), y, gone


@pytest.fixture(scope="module")
def people():
    return leaving(200)[0]


@pytest.fixture(scope="module")
def model():
    return Line(beta=jnp.array([2.0, 0.5]), omega=jnp.array([[1.0, 0.2], [0.2, 0.3]]), sigma=0.5)


def expected(model, people):
    """Mean (N, 5) and variance of every response given what was seen of the person, by linear regression."""
    y, seen = np.asarray(people.subjects.y), np.asarray(people.subjects.mask)
    omega, noise = np.asarray(model.omega), float(model.sigma) ** 2
    means, variances = [], []
    for values, mask in zip(y, seen, strict=True):
        x = DESIGN[mask]
        covariance = np.linalg.inv(np.linalg.inv(omega) + x.T @ x / noise)
        eta = covariance @ x.T @ (values[mask] - x @ np.asarray(model.beta)) / noise
        means.append(np.where(mask, values, DESIGN @ (np.asarray(model.beta) + eta)))
        variances.append(np.where(mask, 0.0, np.diagonal(DESIGN @ covariance @ DESIGN.T) + noise))
    return np.array(means), np.array(variances)


@pytest.mark.slow
def test_completed_data_sets(model, people):
    sets = mf.completed(model, 200, population=people, key=jax.random.key(1))
    y = np.stack([np.asarray(whole.subjects.y) for whole in sets])
    mean, variance = expected(model, people)
    seen = np.asarray(people.subjects.mask)
    assert all(np.all(np.asarray(whole.subjects.mask)) for whole in sets)
    assert sets[0].report.notes[-1].startswith(f"{np.sum(~seen)} missing responses were drawn from a fitted model")
    assert np.all(y[:, seen] == np.asarray(people.subjects.y)[seen])
    away = (y.mean(0) - mean)[~seen] / np.sqrt(variance[~seen] / 200)
    assert np.sqrt(np.mean(away**2)) == pytest.approx(1.0, abs=0.25)
    np.testing.assert_allclose(np.mean(y.var(0)[~seen] / variance[~seen]), 1.0, atol=0.05)


@pytest.mark.slow
def test_a_fit_is_completed_as_its_model_is(people, model):
    fit = mf.fit(model, people, mf.FOCE(), progress=False)
    by_fit = mf.completed(fit, 1, key=jax.random.key(1))
    by_model = mf.completed(fit.model, 1, population=people, key=jax.random.key(1))
    np.testing.assert_array_equal(by_fit[0].subjects.y, by_model[0].subjects.y)


def test_shifts_after_dropout(model, people):
    """In closed form: the mean of what was seen, and of what is expected of the others plus the shift."""
    shifts = {"none": 0.0, "lower": -1.5, "by pattern": lambda time, last: -0.5 * (time - last)}
    table = mf.delta_adjusted(model, shifts, population=people, key=jax.random.key(2))
    mean, _ = expected(model, people)
    seen = np.asarray(people.subjects.mask)
    last = np.where(seen, TIMES, -1.0).max(1, keepdims=True)
    moved = {"none": 0.0 * mean, "lower": -1.5 + 0.0 * mean, "by pattern": -0.5 * (TIMES - last)}
    assert list(table.columns) == ["shift", "TIME", "mean", "shifted"]
    for label, values in moved.items():
        rows = table[table["shift"] == label]
        np.testing.assert_allclose(rows["mean"], (mean + np.where(seen, 0.0, values)).mean(0), atol=0.01)
        np.testing.assert_allclose(rows["shifted"], 1.0 - seen.mean(0), atol=1e-12)


@pytest.mark.slow
def test_the_right_shift_mends_what_leaving_hid(model):
    """People whose responses sink by 2 from where they leave: the fit is right about those who stayed only."""
    people, y, gone = leaving(2000, seed=4, after=-2.0)
    table = mf.delta_adjusted(model, [0.0, -2.0], population=people, key=jax.random.key(2)).set_index("shift")
    truth = y.mean(0)
    np.testing.assert_allclose(table.loc["-2", "mean"], truth, atol=0.05)
    np.testing.assert_allclose(table.loc["0", "mean"] - truth, 2.0 * gone.mean(0), atol=0.05)


def test_shifts_that_agree_to_six_digits_stay_apart(model, people):
    """In units in which a shift has seven digits, no row of the table is lost."""
    shifts = [0.0, -1000000.0, -1000000.5]
    table = mf.delta_adjusted(model, shifts, population=people, draws=20, key=jax.random.key(2))
    means = table.groupby("shift", sort=False)["mean"].mean()
    assert len(means) == 3
    np.testing.assert_allclose(means.iloc[2] - means.iloc[1], -0.5 * table.shifted.mean(), rtol=1e-6)


def test_completed_sets_are_shifted_too(model, people):
    key = jax.random.key(5)
    plain = mf.completed(model, 1, population=people, key=key)[0]
    moved = mf.completed(model, 1, population=people, shift=-1.0, key=key)[0]
    difference = np.asarray(moved.subjects.y) - np.asarray(plain.subjects.y)
    np.testing.assert_allclose(difference, np.where(np.asarray(people.subjects.mask), 0.0, -1.0), atol=1e-12)


def test_a_gap_between_two_visits_is_not_shifted(model):
    frame = pd.DataFrame({"ID": 1, "TIME": TIMES, "DV": [1.0, np.nan, 3.0, np.nan, np.nan]})
    people = mf.Population.from_frame(frame)
    table = mf.delta_adjusted(model, [0.0, -1.0], population=people, key=jax.random.key(0)).set_index("shift")
    difference = table.loc["0", "mean"].to_numpy() - table.loc["-1", "mean"].to_numpy()
    np.testing.assert_allclose(difference, [0, 0, 0, 1, 1], atol=1e-12)
    alone = mf.delta_adjusted(model, -1, population=people, key=jax.random.key(0))
    np.testing.assert_array_equal(alone["mean"], table.loc["-1", "mean"])


class Both(mf.Model):
    """A level and a yes or no that share a random effect."""

    base: Array = mf.real()

    def random_effects(self):
        return dist.Normal(0.0, 1.0)

    def observations(self, eta, subject):
        level = jnp.broadcast_to(self.base + eta, subject.time.shape)
        return {"level": dist.Normal(level, 0.1), "yes": dist.Bernoulli(logits=level)}


def test_several_outcomes():
    nan = np.nan
    times = [0.0, 1.0, 2.0] * 2
    frame = pd.DataFrame({"ID": [1, 1, 1, 2, 2, 2], "TIME": times, "A": [0.1, nan, nan, 1.0, 1.1, 1.2]})
    frame["B"] = [0, 1, nan] * 2
    people = mf.Population.from_frame(frame, y={"level": "A", "yes": "B"})
    model = Both(base=0.5)
    whole = mf.completed(model, 3, population=people, shift={"level": 2.0}, key=jax.random.key(0))
    for each in whole:
        assert np.all(np.asarray(each.subjects.mask["level"])) and np.all(np.asarray(each.subjects.mask["yes"]))
        assert set(np.unique(each.subjects.y["yes"])) <= {0.0, 1.0}
        assert np.all(np.asarray(each.subjects.y["level"])[0, 1:] > 1.0)
    table = mf.delta_adjusted(model, {"up": {"level": 2.0}}, population=people, key=jax.random.key(0))
    assert list(table["OUTCOME"]) == ["level"] * 3 + ["yes"] * 3
    assert np.all(table["mean"][3:].between(0.0, 1.0))


class Drifting(Both):
    """Residuals that follow each other."""

    def observations(self, eta, subject):
        apart = jnp.abs(subject.time[:, None] - subject.time)
        return dist.MultivariateNormal(self.base + eta + 0.0 * subject.time, 0.2 * jnp.exp(-apart))


def test_rows_that_depend_on_each_other_are_refused(people):
    """A missing one is expected from those beside it, and not from the random effects alone."""
    with pytest.raises(ValueError, match="delta_adjusted .* rows of this model depend on each other"):
        mf.delta_adjusted(Drifting(base=0.0), [0.0], population=people, key=jax.random.key(0))


@pytest.mark.parametrize("shifts", [[lambda time, last: time], ["lower"], [[0.0], [1.0, 2.0]], [], {}])
def test_shifts_are_numbers_or_have_names(model, people, shifts):
    with pytest.raises(ValueError, match=r"takes numbers, as shifts=\[0, -0\.5, -1\], or one or more by the name"):
        mf.delta_adjusted(model, shifts, population=people, key=jax.random.key(0))


@pytest.mark.slow
def test_what_is_refused(model, people):
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="datasets is a whole number, 1 or more"):
        mf.completed(model, 0, population=people, key=key)
    with pytest.raises(ValueError, match="give population="):
        mf.completed(model, 1, key=key)
    with pytest.raises(ValueError, match="a shift is given for 'pk'"):
        mf.delta_adjusted(model, {"all": {"pk": 1.0}}, population=people, key=key)
    frame = pd.DataFrame({"ID": [1, 1, 2], "TIME": [0.0, 1.0, 0.0], "DV": [1.0, 0.0, np.nan]})
    unseen = mf.Population.from_frame(frame, drop_unobserved=None)
    with pytest.raises(ValueError, match="subject 2 at time 0 is not finite"):
        mf.delta_adjusted(model, {"a": lambda time, last: time - last}, population=unseen, key=key)
    with pytest.raises(ValueError, match="its density does not give"):
        mf.completed(Logistic(b0=0.0, omega=1.0), 1, population=unseen, shift=0.3, key=key)


class Concentrations(Means):
    """The same of logarithms."""

    def observations(self, eta, subject):
        return dist.LogNormal(jnp.broadcast_to(self.mu + eta, subject.time.shape), self.sigma)


class Durations(Means):
    """Times of a Weibull."""

    def observations(self, eta, subject):
        return dist.Weibull(jnp.exp(self.mu + eta), jnp.broadcast_to(self.sigma, subject.time.shape))


LIMITED = Means(mu=0.3, omega=1.0, sigma=0.7)


def limited(curve, copies=60):
    """People of a measured response, and one known to lie below -0.2, above 1, or in (-0.5, 0.4), on another scale."""
    rows = []
    for kind, (y, cens, limit) in enumerate([(-0.2, 1, np.nan), (1.0, -1, np.nan), (0.4, 1, -0.5)]):
        for copy in range(copies):
            who = kind * copies + copy
            rows.append((who, 0.0, curve(0.5), 0, np.nan))
            rows.append((who, 1.0 + kind, curve(y), cens, curve(limit)))
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV", "CENS", "LIMIT"]))


@pytest.mark.parametrize(
    ("kind", "curve"), [(Means, lambda w: w), pytest.param(Concentrations, np.exp, marks=pytest.mark.slow)]
)
def test_a_censored_response_counts_by_its_law_beyond_the_limit(kind, curve):
    """Given the response that was measured the other is normal, and given its interval a part of that: quadrature."""
    model = kind(mu=LIMITED.mu, omega=LIMITED.omega, sigma=LIMITED.sigma)
    table = mf.delta_adjusted(model, [0.0, -1.0], population=limited(curve), key=jax.random.key(3))
    mean = 0.3 + (0.5 - 0.3) / (1.0 + 0.49)
    law = stats.norm(mean, np.sqrt(0.49 / 1.49 + 0.49))
    truth = []
    for low, high in [(-np.inf, -0.2), (1.0, np.inf), (-0.5, 0.4)]:
        ends = (max(low, mean - 9.0), min(high, mean + 9.0))
        total = integrate.quad(lambda w: curve(w) * law.pdf(w), *ends)[0]
        truth.append(total / (law.cdf(high) - law.cdf(low)))
    for _, part in table.groupby("shift"):  # none is after a person's last: seen within a limit is seen
        np.testing.assert_allclose(part["mean"], [curve(0.5), *truth], rtol=0.02, atol=0.015)
        np.testing.assert_array_equal(part["shifted"], 0.0)


def test_a_normal_between_limits_however_far_out():
    """Quantiles of a truncated normal law, against SciPy; and the limit itself where no number is that small."""
    low = np.array([-np.inf, 1.0, -0.5, 20.0, -np.inf, -31.0])
    high = np.array([-0.2, np.inf, 0.4, np.inf, -25.0, -30.0])
    standard = NormalRows(jnp.zeros(()), jnp.ones(()))
    for u in (0.1, 0.5, 0.9):
        found = normal_between(standard, jnp.asarray(low), jnp.asarray(high), jnp.full(6, u))
        rising = np.where(low + high > 0, 1.0 - u, u)  # the reflected law is taken from the other end
        np.testing.assert_allclose(found, stats.truncnorm.ppf(rising, low, high), rtol=1e-7)
    nothing = normal_between(standard, jnp.full(1, -jnp.inf), jnp.full(1, jnp.inf), jnp.full(1, 0.3))
    np.testing.assert_allclose(nothing, stats.norm.ppf(0.3), rtol=1e-12)
    low = jnp.array([90.0, -jnp.inf])
    high = jnp.array([jnp.inf, -90.0])
    far = normal_between(NormalRows(jnp.zeros(2), jnp.ones(2)), low, high, jnp.full(2, 0.5))
    np.testing.assert_array_equal(far, [90.0, -90.0])
    certain = NormalRows(jnp.full(1, 0.3), jnp.zeros(1))
    np.testing.assert_array_equal(normal_between(certain, jnp.zeros(1), jnp.ones(1), jnp.full(1, 0.5)), [0.3])


class Watched(mf.Model):
    """A level, and a visit that finds what had come."""

    def random_effects(self):
        return dist.Normal(0.0, 1.0)

    def observations(self, eta, subject):
        level = dist.Normal(jnp.broadcast_to(eta, subject.time.shape), 1.0)
        return {"level": level, "relapse": mf.hazard(lambda t: eta + 0.0 * t, subject, "relapse")}


def test_events_and_censored_times_have_no_mean():
    key = jax.random.key(0)
    frame = pd.DataFrame({"ID": 1, "TIME": [1.0, 2.0], "level": [0.1, 0.2], "relapse": [0.0, 2.0]})
    people = mf.Population.from_frame(frame, y={"level": "level", "relapse": "relapse"})
    with pytest.raises(ValueError, match="the codes 0, 1 and 2 of an event have no mean"):
        mf.delta_adjusted(Watched(), [0.0], population=people, key=key)
    frame = pd.DataFrame({"ID": 8, "TIME": [1.0, 2.0], "DV": [1.0, 2.0], "CENS": [0, -1]})
    with pytest.raises(ValueError, match="Weibull, and the response of subject 8 in row 2 is censored"):
        people = mf.Population.from_frame(frame)
        mf.delta_adjusted(Durations(mu=0.0, omega=0.3, sigma=1.0), [0.0], population=people, key=key)
