"""What comes after a fit, asked of other people than those that were fitted."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from models import Line

import mefit as mf
from mefit.diagnosis.individuals import individuals
from mefit.diagnosis.simulations import simulations

BETA = np.array([250.0, 10.0])
OMEGA = np.array([[600.0, 20.0], [20.0, 60.0]])
SIGMA = 15.0
TIMES = np.arange(4.0)
DESIGN = np.stack([np.ones(4), TIMES], axis=1)


def at_truth(model, population, method):
    """A fit with every parameter held at its value."""
    return mf.fit(model, population, method, fixed=tuple(mf.parameters(model)), progress=False)


@pytest.fixture(scope="module")
def model():
    return Line(beta=BETA, omega=OMEGA, sigma=SIGMA)


@pytest.fixture(scope="module")
def others(model):
    """Seven people whom no fit has seen, with a covariate; the first has no response at the last time."""
    people = []
    for i in range(7):
        mask = jnp.array([True, True, True, i > 0])
        people.append(mf.Subject(jnp.asarray(TIMES), jnp.zeros(4), mask, covariates={"wt": 60.0 + i}))
    return mf.simulate(model, mf.Population.from_subjects(people), jax.random.key(1))


@pytest.fixture(scope="module")
def fit(model, linear_population):
    return at_truth(model, linear_population, mf.Laplace())


def posterior(population, i):
    """Mean and covariance of eta_i in closed form: linear and Gaussian."""
    seen = np.asarray(population.subjects.mask)[i]
    z = DESIGN[seen]
    y = np.asarray(population.subjects.y)[i][seen]
    covariance = np.linalg.inv(np.linalg.inv(OMEGA) + z.T @ z / SIGMA**2)
    return covariance @ z.T @ (y - z @ BETA) / SIGMA**2, covariance


@pytest.mark.parametrize("method", [mf.Laplace(), mf.FO()], ids=lambda method: method.label)
def test_random_effects_of_others_are_those_of_the_closed_form(model, linear_population, others, method):
    people = individuals(at_truth(model, linear_population, method), others)
    table = mf.random_effects_table(at_truth(model, linear_population, method), population=others)
    assert list(table.ID) == [*others.ids] and list(table.wt) == [60.0 + i for i in range(7)]
    for i in range(7):
        mean, covariance = posterior(others, i)
        np.testing.assert_allclose(people.eta[i], mean, rtol=1e-6)
        np.testing.assert_allclose(people.covariance[i], covariance, rtol=1e-6)
        np.testing.assert_allclose(table.loc[i, ["intercept", "slope"]].astype(float), mean, rtol=1e-6)
        sd = table.loc[i, ["intercept_sd", "slope_sd"]].astype(float)
        np.testing.assert_allclose(sd, np.sqrt(np.diagonal(covariance)), rtol=1e-6)


@pytest.mark.slow
def test_others_are_looked_at_as_if_they_had_been_fitted(fit, model, others):
    own = at_truth(model, others, mf.Laplace())
    key = jax.random.key(2)
    looks = {
        "residuals": lambda fit, **who: mf.residuals(fit, key=key, samples=100, **who),
        "predictions": mf.predictions,
        "shrinkage": mf.shrinkage,
        "random effects": mf.random_effects_table,
    }
    for name, look in looks.items():
        expected = look(own)
        pd.testing.assert_frame_equal(look(fit, population=others), expected, rtol=1e-7, obj=name)
        assert len(look(fit)) != len(expected) or name == "shrinkage"
    np.testing.assert_array_equal(simulations(fit, 3, key, population=others), simulations(own, 3, key))
    np.testing.assert_allclose(
        mf.conditional_draws(fit, 20, population=others, key=key), mf.conditional_draws(own, 20, key=key), rtol=1e-7
    )
    check = mf.vpc(fit, population=others, key=key, samples=20, bins=2, stratify="wt")
    expected = mf.vpc(own, key=key, samples=20, bins=2, stratify="wt")
    pd.testing.assert_frame_equal(check.observed, expected.observed)
    pd.testing.assert_frame_equal(check.simulated, expected.simulated)


def test_the_fitted_subjects_keep_the_fits_own_estimates(fit):
    people = individuals(fit)
    assert people.population is fit.population and individuals(fit, fit.population).eta is people.eta
    np.testing.assert_array_equal(people.eta, fit.eta)


def test_after_naive_pooling_others_are_typical_too(fitted, theophylline):
    fit = fitted(mf.NaivePooled())
    frame = mf.predictions(fit, population=theophylline[:3])
    np.testing.assert_array_equal(frame.PRED, frame.IPRED)
    np.testing.assert_array_equal(individuals(fit, theophylline[:3]).covariance, np.zeros((3, 3, 3)))


def test_two_stage_shrinks_those_it_has_not_seen(fitted, theophylline):
    """Its own subjects keep their separate estimates; of others, empirical Bayes is what there is."""
    fit = fitted(mf.TwoStage())
    eta = individuals(fit, theophylline[[0, 1]]).eta
    expected, _ = mf.empirical_bayes(fit.model, theophylline)
    np.testing.assert_allclose(eta, np.asarray(expected)[:2], atol=1e-7)


@pytest.mark.slow
def test_what_cannot_be_told_of_others_is_a_sentence(fit, fitted, theophylline, others):
    with pytest.raises(ValueError, match=r"Joint maximum likelihood has not estimated SD of omega\[ka\]"):
        mf.predictions(fitted(mf.JointMLE()), population=theophylline[:3])
    y = {"pk": jnp.ones(2), "pd": jnp.ones(2)}
    both = mf.Subject(jnp.arange(2.0), y, {name: jnp.ones(2, bool) for name in y})
    several = mf.Population.from_subjects([both, both])
    key = jax.random.key(3)
    for look in (
        mf.predictions,
        mf.residuals,
        mf.shrinkage,
        mf.random_effects_table,
        lambda fit, population: mf.conditional_draws(fit, population=population, key=key),
        lambda fit, population: mf.vpc(fit, population=population, key=key),
    ):
        with pytest.raises(ValueError, match="There are several outcomes .pd, pk."):
            look(fit, population=several)
    wrong = {"censored": jnp.array([1, 0, 0, 1]), "limit": jnp.full(4, -jnp.inf)}
    people = [mf.Subject(jnp.asarray(TIMES), jnp.array([240.0, 250, 260, 241]), jnp.ones(4, bool), **wrong)] * 2
    censored = mf.Population.from_subjects(people)
    assert len(mf.residuals(fit, population=censored)) == 4
    with pytest.raises(ValueError, match=r"censored below several limits \(240 to 241\)"):
        mf.vpc(fit, population=censored, key=key, samples=5)
