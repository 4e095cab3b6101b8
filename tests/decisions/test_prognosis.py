"""Covariates and random effects in two stages, and the numbers that read a network or compare two sets of curves."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array

import mefit as mf
from mefit.curves.networks import L2, MLP
from mefit.decisions.covariates import _evidence


class Lines(mf.Model):
    """y = eta_0 + eta_1 t + e: linear and Gaussian, so that every step has an exact answer."""

    mean: Array = mf.real()
    omega: Array = mf.covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.mean + eta[0] + eta[1] * subject.time, self.sigma)


class LinesWith(Lines):
    """The same with a linear network of two covariates in the mean of the random effects."""

    net: MLP = mf.weights(prior=L2(0.01))

    def observations(self, eta, subject):
        shift = self.net(subject.covariates["a"], subject.covariates["b"])
        return super().observations(eta + shift, subject)


def linear_net(**changes):
    return MLP(2, (), 2, **changes)


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(5)
    n, t = 60, np.array([0.0, 1.0, 2.0])
    a, b = rng.normal(size=n), rng.normal(size=n)
    eta = np.stack([1.0 * a, 0.5 * a - 0.7 * b], 1) + 0.3 * rng.normal(size=(n, 2))
    y = 2.0 + eta[:, :1] + eta[:, 1:] * t + 0.5 * rng.normal(size=(n, 3))
    rows = {"ID": np.repeat(np.arange(n), 3), "TIME": np.tile(t, n), "DV": y.ravel()}
    frame = pd.DataFrame(rows | {"a": np.repeat(a, 3), "b": np.repeat(b, 3)})
    return mf.Population.from_frame(frame, covariates=["a", "b"])


@pytest.fixture(scope="module")
def first(study):
    return mf.fit(Lines(mean=2.0, omega=jnp.eye(2), sigma=0.5), study, mf.FOCE(), progress=False)


@pytest.fixture(scope="module")
def learned(first):
    return mf.learn_effects(first, linear_net(), ["a", "b"], prior=L2(0.01), progress=False)


@pytest.mark.slow
def test_the_second_stage_finds_the_effects_and_what_is_left(learned):
    found = np.asarray(learned.model.network.weights[0])
    np.testing.assert_allclose(found, [[1.0, 0.0], [0.5, -0.7]], atol=0.15)
    np.testing.assert_allclose(np.sqrt(np.diagonal(learned.model.omega)), 0.3, atol=0.12)
    assert learned.converged and np.all(np.isfinite(learned.eta))


@pytest.mark.slow
def test_on_a_linear_model_the_second_stage_is_the_joint_fit_at_the_first_stages_theta(study, first, learned):
    """Its Gaussian summaries are exact there, so its maximum is that of the whole model with mean and sigma held."""
    whole = LinesWith(
        mean=first.model.mean, sigma=first.model.sigma, omega=learned.model.omega, net=learned.model.network
    )
    joint = mf.fit(whole, study, mf.FOCE(), fixed=("mean", "sigma"), progress=False)
    np.testing.assert_allclose(joint.model.net.weights[0], learned.model.network.weights[0], atol=1e-3)
    np.testing.assert_allclose(joint.model.omega, learned.model.omega, atol=1e-3)
    np.testing.assert_allclose(joint.eta, learned.eta, atol=1e-3)
    before = mf.log_likelihood(first.model, study, mf.FOCE())
    assert joint.log_likelihood > before + 20


def test_shrunken_modes_are_not_small_effects(study, first, learned):
    """A regression of the modes, which ignores how sure they are, finds less than there is."""
    inputs = np.stack([np.asarray(study.subjects.covariates[k]) for k in "ab"], 1)
    naive = np.linalg.lstsq(inputs, np.asarray(first.eta), rcond=None)[0].T
    assert abs(naive[1, 1]) < abs(float(learned.model.network.weights[0][1, 1]))


def test_a_diagonal_prior_stays_diagonal(study):
    class Independent(Lines):
        omega: Array = mf.diagonal_covariance()

        def random_effects(self):
            return dist.Normal(jnp.zeros(2), jnp.sqrt(jnp.diagonal(self.omega))).to_event(1)

    fit = mf.fit(Independent(mean=2.0, omega=jnp.eye(2), sigma=0.5), study, mf.FOCE(), progress=False)
    learned = mf.learn_effects(fit, linear_net(), ["a", "b"], prior=L2(0.01), progress=False)
    assert float(learned.model.omega[0, 1]) == 0.0


@pytest.mark.parametrize(
    ("network", "names", "words"),
    [
        (linear_net(), ["a", "weight"], "'weight' is not one of the population's: a, b"),
        (linear_net(), [], "names of one or more covariates"),
        (MLP(2, (), 3), ["a", "b"], "3 outputs for 2 random effects"),
        (linear_net(), ["a"], "takes 2 numbers, and was given 1"),
    ],
)
def test_what_does_not_fit_is_said(first, network, names, words):
    with pytest.raises(ValueError, match=words):
        mf.learn_effects(first, network, names, progress=False)


def test_subjects_whose_posterior_is_wider_than_the_prior_are_said(first):
    """Twice the prior as posterior: S would be -Omega^-1 / 2, and is taken for zero, in any units."""
    wide = np.array(first.eta_covariance)
    wide[[3, 8]] = 2.0 * np.asarray(first.model.omega)
    wider = dataclasses.replace(first, eta_covariance=wide)
    learned = mf.learn_effects(wider, linear_net(), ["a", "b"], prior=L2(0.01), progress=False)
    ids = [str(first.population.ids[i]) for i in (3, 8)]
    assert learned.remarks[-1].startswith(f"the posterior of subject {ids[0]}, {ids[1]} is wider than the prior")
    root = np.linalg.cholesky(np.asarray(first.model.omega))
    evidence = _evidence(wider, np.zeros(2), root)
    np.testing.assert_allclose(evidence.strength[[3, 8]], 0.0, atol=1e-12)
    design = np.stack([np.ones(3), np.arange(3.0)], axis=1)
    exact = design.T @ design / float(first.model.sigma) ** 2  # what the data alone say of a line
    np.testing.assert_allclose(evidence.strength[0], exact, rtol=1e-6)
    assert not mf.learn_effects(first, linear_net(), ["a", "b"], prior=L2(0.01), progress=False).remarks


def test_a_prior_or_a_posterior_without_a_density_is_a_sentence(first):
    flat = dataclasses.replace(first, eta_covariance=np.full((60, 2, 2), np.inf))
    with pytest.raises(ValueError, match="the posterior of subject 0 has no finite, positive variance in eta1, eta2"):
        mf.learn_effects(flat, linear_net(), ["a", "b"], progress=False)
    one = np.array([[1.0, 2.0], [2.0, 4.0]])
    degenerate = dataclasses.replace(first, eta_covariance=np.broadcast_to(one, (60, 2, 2)))
    with pytest.raises(ValueError, match="the posterior of subject 0 .* in eta1, eta2, which learn_effects needs"):
        mf.learn_effects(degenerate, linear_net(), ["a", "b"], progress=False)


def test_permutation_importance_is_sobols_index(key):
    x = np.random.default_rng(2).normal(size=(2000, 3))
    linear = mf.permutation_importance(lambda v: 3.0 * v[0] + 1.0 * v[1], x, key)
    np.testing.assert_allclose(linear[:, 0], [0.9, 0.1, 0.0], atol=0.02)
    together = mf.permutation_importance(lambda v: jnp.stack([v[0] * v[1], v[2]]), x, key)
    np.testing.assert_allclose(together, [[1, 0], [1, 0], [0, 1]], atol=0.08)
    with pytest.raises(ValueError, match="same for all subjects"):
        mf.permutation_importance(lambda v: 1.0, x, key)


def test_energy_distance_of_gaussians():
    """For N(0, 1) and N(d, 1): 2 E|X - Y| - 2 E|X - X'|, where E|N(m, 2)| is known."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(4000, 1)), 1.5 + rng.normal(size=(4000, 1))

    def mean_abs(m):
        folded = np.sqrt(2.0) * np.sqrt(2 / np.pi) * np.exp(-(m**2) / 4)
        return folded + m * (1 - 2 * dist.Normal(0.0, 1.0).cdf(-m / np.sqrt(2.0)))

    np.testing.assert_allclose(mf.energy_distance(x, y), 2 * mean_abs(1.5) - 2 * mean_abs(0.0), rtol=0.05)
    assert mf.energy_distance(x, x) == 0.0 and mf.energy_distance(x, rng.normal(size=(4000, 1))) < 0.002
    for a, b in ((x, np.full((3, 1), np.nan)), (x, np.zeros((3, 2))), (np.zeros((3, 1, 1)), x)):
        with pytest.raises(ValueError, match="finite curves at the same times"):
            mf.energy_distance(a, b)


def test_a_horizon_leaves_out_what_comes_later(theophylline):
    short = theophylline.until(2.0)
    assert short.n_observations == int((theophylline.to_frame().query("EVID == 0").TIME <= 2.0).sum())
    assert theophylline.until(1e9).n_observations == theophylline.n_observations
    assert short.subjects.time.shape == theophylline.subjects.time.shape  # the same program fits both
