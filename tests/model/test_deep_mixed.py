"""Generalised mixed models from a description: each family's density by SciPy, and fits against known likelihoods."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mefit as mf
from mefit import families

LINEAR = jnp.array([-1.0, 0.2, 2.5])


def beta_density(y, low, high, mean, precision):
    width = high - low
    return stats.beta(mean * precision, (1 - mean) * precision).logpdf((y - low) / width) - np.log(width)


def expit(x):
    return 1 / (1 + np.exp(-np.asarray(x)))


CASES = {
    "gaussian": (families.Gaussian(), [0.7], [], [0.0, 1.0, 2.0], lambda y: stats.norm(LINEAR, 0.7).logpdf(y)),
    "bernoulli": (families.Bernoulli(), [], [], [0.0, 1.0, 1.0], lambda y: stats.bernoulli(expit(LINEAR)).logpmf(y)),
    "poisson": (families.Poisson(), [], [], [0.0, 3.0, 9.0], lambda y: stats.poisson(np.exp(LINEAR)).logpmf(y)),
    "negative binomial": (
        families.NegativeBinomial(),
        [1.7],
        [],
        [0.0, 3.0, 9.0],
        lambda y: stats.nbinom(1.7, 1.7 / (1.7 + np.exp(LINEAR))).logpmf(y),
    ),
    "ordinal": (
        families.Ordinal(3),
        [],
        [-0.5, 1.0],
        [0.0, 1.0, 2.0],
        lambda y: np.log([expit(-0.5 + 1.0), expit(1.0 - 0.2) - expit(-0.5 - 0.2), 1 - expit(1.0 - 2.5)]),
    ),
    "scaled beta": (
        families.ScaledBeta(1, 7),
        [9.0],
        [],
        [1.5, 4.0, 6.9],
        lambda y: beta_density(np.asarray(y), 1, 7, expit(LINEAR), 9.0),
    ),
}


@pytest.mark.parametrize(("family", "dispersion", "cuts", "y", "expected"), CASES.values(), ids=CASES)
def test_density(family, dispersion, cuts, y, expected):
    density = family.density(LINEAR, jnp.asarray(dispersion), jnp.asarray(cuts))
    y = np.asarray(y)
    value = density.log_prob(y.astype(int) if density.support.is_discrete else y)
    np.testing.assert_allclose(value, expected(y), rtol=1e-6)  # NumPyro writes the negative binomial by beta functions


def test_moments_and_draws_of_a_scaled_beta():
    density = families.ScaledBeta(1, 7).density(LINEAR, jnp.array([9.0]), jnp.zeros(0))
    law = stats.beta(9.0 * expit(LINEAR), 9.0 * (1 - expit(LINEAR)), loc=1, scale=6)
    np.testing.assert_allclose(density.mean, law.mean(), rtol=1e-12)
    np.testing.assert_allclose(density.variance, law.var(), rtol=1e-12)
    draws = np.asarray(density.sample(jax.random.key(0), (20_000,)))
    np.testing.assert_allclose(draws.mean(axis=0), law.mean(), atol=0.05)
    middle = stats.beta(9.0 * expit(0.2), 9.0 * (1 - expit(0.2)), loc=1, scale=6)
    assert stats.kstest(draws[:, 1], middle.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("family", "y", "words"),
    [
        (families.Bernoulli(), [0.0, 2.0], "responses of 0 and 1, and the data hold 2"),
        (families.Poisson(), [1.0, 1.5], "Poisson is for counts, and the data hold 1.5"),
        (families.NegativeBinomial(), [-1.0], "NegativeBinomial is for counts"),
        (families.Ordinal(3), [1.0, 3.0], "grades 0 to 2, and the data hold 3: count grades from 0, which is here 1"),
        (families.Ordinal(3), [0.0, 1.0, 4.0], r"the data hold 4: take Ordinal\(5\)"),
        (families.Ordinal(3), [0.0, 1.5], "the data hold 1.5: choose another family"),
        (families.ScaledBeta(1, 7), [7.0, 3.0], "strictly between 1 and 7, and the data hold 7"),
    ],
)
def test_responses_that_a_family_cannot_give(family, y, words):
    with pytest.raises(ValueError, match=words):
        family.linked(np.asarray(y))


@pytest.mark.parametrize("family", [families.Gaussian(), families.Ordinal(3), families.Poisson()])
def test_an_outcome_that_nobody_has_is_named(family):
    rows = [(i, float(t), float(i + t), np.nan) for i in range(6) for t in range(4)]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "mood", "pain"])
    population = mf.Population.from_frame(frame, y={"mood": "mood", "pain": "pain"})
    with pytest.raises(ValueError, match="nothing was observed of pain, so no model can be made for it"):
        mf.deep_mixed_model(population, {"mood": families.Gaussian(), "pain": family}, effects=1)


def test_an_empty_scale_is_refused():
    with pytest.raises(ValueError, match="is empty"):
        families.ScaledBeta(3, 3)


def mixed_data(count=60, seed=2):
    """Three outcomes over five times, one in five of the cells missing."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        b = rng.standard_normal(2)
        age = 40 + 10 * rng.standard_normal()
        for t in range(5):
            x = b[0] + 0.4 * b[1] * (t - 2) + 0.02 * (age - 40)
            mood = 1 + 6 * rng.beta(8 * expit(x), 8 * (1 - expit(x)))
            values = {"mood": mood, "lonely": float(rng.random() < expit(-0.5 + x)), "pain": float(rng.integers(4))}
            rows += [(i, float(t), name, y, age) for name, y in values.items() if rng.random() > 0.2]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DVID", "DV", "AGE"])
    table = frame.pivot_table(index=["ID", "TIME", "AGE"], columns="DVID", values="DV").reset_index()
    return mf.Population.from_frame(table, y={"mood": "mood", "lonely": "lonely", "pain": "pain"}, covariates=["AGE"])


MIXED = {"mood": families.ScaledBeta(1, 7), "lonely": families.Bernoulli(), "pain": families.Ordinal(4)}


def test_a_linear_one_is_the_linear_mixed_model():
    """Reaction times of 18 people over ten days, intercept and slope: lme4's maximum, -2 log L = 1751.9393."""
    sleep = mf.datasets.sleepstudy()
    model = mf.deep_mixed_model(sleep, families.Gaussian(), effects=2, basis=1, hidden=None)
    fit = mf.fit(model, sleep, mf.Laplace(), progress=False)
    assert fit.minus_two_log_likelihood == pytest.approx(1751.9393445, abs=1e-6)
    lme4 = np.array([[565.477, 11.055], [11.055, 32.682]])  # of intercept and slope, by maximum likelihood
    days = np.column_stack([np.ones(2), [0.0, 1.0]])
    curves = model.scale[0] * np.asarray(fit.model.basis(np.array([0.0, 1.0])))
    roots = np.asarray(fit.model.loadings)[:, 0]
    at_days = curves @ roots.T @ roots @ curves.T
    np.testing.assert_allclose(at_days, days @ lme4 @ days.T, rtol=2e-3)


@pytest.mark.slow
def test_three_outcomes_with_gaps():
    population = mixed_data()
    model = mf.deep_mixed_model(population, MIXED, effects=2, basis=2, hidden=(8,), covariates=["AGE"])
    encoder = mf.networks.Encoder(population, effects=2, hidden=(16,), covariates=["AGE"])
    before = mf.log_likelihood(model, population, mf.Laplace())
    method = mf.Adam(mf.Amortised(encoder, samples=200), steps=600, learning_rate=0.01, batch=30)
    fit = mf.fit(model, population, method, key=jax.random.key(1), progress=False)
    assert fit.log_likelihood > before + 30
    by_quadrature = mf.log_likelihood(fit.model, population, mf.AGQ(9))  # Laplace is 3 lower: two outcomes are discrete
    assert fit.log_likelihood == pytest.approx(by_quadrature, abs=0.02 * len(population))
    # a new person, some cells missing
    new = mixed_data(3, seed=9)
    mean, lower = fit.encoder(new[0])
    assert mean.shape == (2,) and np.all(np.isfinite(lower))
    densities = fit.model.observations(mean, new[0])
    assert set(densities) == set(MIXED)
    assert {"mean[lonely 0]", "loadings[eta2 pain 1]", "dispersion[mood]", "first_cut[pain]"} <= set(fit.table.index)
    assert "18 numbers, in fit.table" in str(fit) and "loadings[" not in str(fit)


def test_numbers_bear_the_names_of_their_outcomes():
    model = mf.deep_mixed_model(mixed_data(8), MIXED, effects=2, basis=1, hidden=None)
    names = {field: model.names_within(field) for field in ("mean", "loadings", "dispersion", "first_cut", "cut_steps")}
    assert names["mean"] == ("lonely 0", "lonely 1", "mood 0", "mood 1", "pain 0", "pain 1")
    assert names["loadings"][:6] == tuple(f"eta1 {one}" for one in names["mean"])
    assert names["dispersion"] == ("mood",)
    assert names["first_cut"] == ("pain",) and names["cut_steps"] == ("pain 1", "pain 2")
    for field, told in names.items():
        assert len(told) == np.size(getattr(model, field))


def test_what_does_not_go_with_the_data_is_refused():
    population = mixed_data(8)
    with pytest.raises(ValueError, match="for each outcome of the data: lonely, mood, pain"):
        mf.deep_mixed_model(population, families.Gaussian(), effects=2)
    with pytest.raises(ValueError, match="grades 0 to 1"):
        mf.deep_mixed_model(population, MIXED | {"pain": families.Ordinal(2)}, effects=2)
    with pytest.raises(ValueError, match="covariate 'WT'"):
        mf.deep_mixed_model(population, MIXED, effects=2, covariates=["WT"])


@pytest.mark.parametrize("unit", [1e-6, 1e7])
def test_units_do_not_matter(unit):
    sleep = mf.datasets.sleepstudy()
    model = mf.deep_mixed_model(sleep, families.Gaussian(), effects=2, basis=3, hidden=(4,))
    other = sleep.with_responses(np.asarray(sleep.subjects.y) * unit)
    scaled = mf.deep_mixed_model(other, families.Gaussian(), effects=2, basis=3, hidden=(4,))
    value = mf.log_likelihood(model, sleep, mf.Laplace())
    constant = sleep.n_observations * np.log(unit)
    assert mf.log_likelihood(scaled, other, mf.Laplace()) + constant == pytest.approx(value, rel=1e-10)


@pytest.mark.slow
def test_a_basis_of_ones_own():
    sleep = mf.datasets.sleepstudy()

    def quadratic(time):
        return jnp.stack([jnp.ones_like(time), time / 9.0, (time / 9.0) ** 2], axis=1)

    model = mf.deep_mixed_model(sleep, families.Gaussian(), effects=2, basis=quadratic, hidden=(4,))
    method = mf.Adam(mf.Amortised(cut_records=True, samples=20), steps=20, block=20)
    fit = mf.fit(model, sleep, method, key=jax.random.key(0), progress=False)
    assert np.isfinite(fit.log_likelihood)
