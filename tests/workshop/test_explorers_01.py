"""The explorer of lesson 01: its ends, its middle, and the closed form of shrinkage."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import test_stage
from jaxtyping import Array
from models import Means

import mefit as mf
from mefit.base.newton import Newton
from mefit.objectives.joint import separate_mode
from workshop import explorers

module = sys.modules["workshop.explorers.pooling"]  # the explorer has the module's name


class Intercepts(mf.Model):
    """A line with a random intercept: the model in which shrinkage is a closed form."""

    beta: Array = mf.real(names=("intercept", "slope"))
    omega: Array = mf.positive(unit="ms")
    sigma: Array = mf.positive(unit="ms")

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.beta[0] + eta + self.beta[1] * subject.time, self.sigma)


@pytest.fixture(scope="module")
def fit(fitted):
    return fitted(mf.Laplace())


@pytest.fixture(scope="module")
def fixed(fit):
    return module.prepare(fit)


@pytest.fixture(scope="module")
def intercepts():
    start = Intercepts(beta=[250.0, 10.0], omega=30.0, sigma=30.0)
    return mf.fit(start, mf.datasets.sleepstudy(), mf.Laplace(), progress=False)


def test_factor_one_is_the_fit(fit, fixed):
    found = module.compute(fixed, 1.0)
    np.testing.assert_allclose(found.eta, fit.eta, atol=1e-7)
    np.testing.assert_allclose(found.curves, mf.predict(fit.model, fit.population, fit.eta, fixed.time), atol=1e-6)


def test_the_lower_end_is_the_population_curve(fit, fixed):
    found = module.compute(fixed, 1e-3)
    assert np.abs(found.eta / np.sqrt(np.diagonal(fit.model.omega))).max() < 1e-3
    np.testing.assert_allclose(found.curves, fixed.typical, atol=1e-3)
    np.testing.assert_allclose(fixed.typical, mf.predict(fit.model, fit.population, time=fixed.time))
    np.testing.assert_allclose(found.pull, 1.0, atol=1e-3)


def test_the_upper_end_is_the_separate_fits(fit, fixed):
    alone = jax.vmap(lambda subject: separate_mode(fit.model, subject, Newton()))(fit.population.subjects)
    assert np.all(alone.converged)
    found = module.compute(fixed, 1e3)
    np.testing.assert_allclose(found.eta, alone.eta, atol=1e-3)
    np.testing.assert_allclose(found.pull, 0.0, atol=1e-6)
    np.testing.assert_allclose(found.curves, fixed.separate, atol=1e-6)


def test_a_wider_prior_pulls_less(fixed):
    pull = np.stack([module.compute(fixed, factor).pull for factor in np.logspace(-3, 3, 25)])
    assert np.all(np.diff(pull, axis=0) < 1e-6)
    assert np.all((pull > -1e-6) & (pull < 1 + 1e-6))


@pytest.mark.parametrize("factor", [0.01, 0.2, 1.0, 5.0])
def test_one_random_effect_in_closed_form(intercepts, factor):
    model, n = intercepts.model, 10
    ratio = n * (factor * float(model.omega) / float(model.sigma)) ** 2
    weight = ratio / (ratio + 1)
    found = module.compute(module.prepare(intercepts), factor)
    subjects = intercepts.population.subjects
    residual = np.mean(subjects.y - (model.beta[0] + model.beta[1] * subjects.time), axis=1)
    np.testing.assert_allclose(found.eta[:, 0], weight * residual, rtol=1e-9)
    assert found.pull[0] == pytest.approx(1 - weight, rel=1e-4, abs=1e-6)
    if factor == 1.0:  # at the estimates the SD of the EBEs is sqrt(B) omega; the fit divides by N - 1
        assert 1 - (1 - intercepts.shrinkage[0]) * np.sqrt(17 / 18) == pytest.approx(1 - np.sqrt(weight), abs=1e-6)


@pytest.mark.parametrize(("ratio", "shrinkage"), [(0.25, 0.5528), (1.0, 0.2929), (5.0, 0.0871), (20.0, 0.0241)])
def test_shrinkage_of_the_sd_in_a_large_population(ratio, shrinkage):
    """1 - sqrt(B), B = r / (1 + r), r = n omega^2 / sigma^2, for a population that follows the model."""
    population = mf.datasets.neyman_scott(jax.random.key(4), groups=40_000, size=5, mean_sd=jnp.sqrt(ratio / 5))
    eta, _ = mf.empirical_bayes(Means(mu=0.0, omega=jnp.sqrt(ratio / 5), sigma=1.0), population)
    assert 1 - np.std(eta) / np.sqrt(ratio / 5) == pytest.approx(shrinkage, abs=0.006)


def held(fit, rows):
    """The same parameters with only these rows of every subject."""
    names = ("ka", "cl", "v", "omega", "sigma")
    return mf.fit(fit.model, fit.population.keep_rows(rows), mf.FOCE(), fixed=names, progress=False)


def test_subjects_with_less_data_are_pulled_further(fit, fixed):
    sparse = module.prepare(held(fit, [1, 3, 5, 8, 10]))
    assert sparse.undetermined == fixed.undetermined == ()
    assert np.all(module.compute(sparse, 1.0).pull > module.compute(fixed, 1.0).pull)


def test_two_measurements_do_not_determine_three_random_effects(fit):
    sparse = module.prepare(held(fit, [4, 10]))
    # A few cannot be met exactly by any curve: then the misfit itself bends the ridge, and there is a best point on it.
    assert len(sparse.undetermined) >= 8
    found = module.compute(sparse, 1.0)
    assert np.all(np.isnan(found.pull)) and np.all(np.isfinite(found.eta))
    first = ", ".join(sparse.undetermined[:5])
    many = f"For {len(sparse.undetermined)} of 12 subjects their own data do not determine a separate fit.\n"
    assert many in module.say(found)
    assert module.say(found).endswith(f"The data of subject {first}, ... alone do not determine a separate fit.")


def test_what_it_says(fixed):
    assert module.say(module.compute(fixed, 1.0)).startswith("The mixed fit. The estimates are pulled 10 to 13% of the")
    assert "everyone is the typical subject. The estimates are pulled 100% of" in module.say(
        module.compute(fixed, 1e-3)
    )
    assert "nobody knows of the others. The estimates are pulled 0% of" in module.say(module.compute(fixed, 1e3))
    assert module.say(module.compute(fixed, 2.0)).startswith("Between separate and mixed")
    assert module.say(module.compute(fixed, 0.5)).startswith("Between mixed and pooled")
    assert "Between mixed and pooled. The estimates are pulled more than 99% of" in module.say(
        module.compute(fixed, 0.01)
    )


def test_what_it_refuses(fit):
    with pytest.raises(ValueError, match="no parameter 'tau'; there are ka, cl, v, omega, sigma"):
        explorers.pooling(fit, spread="tau")
    with pytest.raises(ValueError, match="must be positive, not 0"):
        module.estimates(fit, 0.0)
    with pytest.raises(ValueError, match="one to six subjects, not 7"):
        explorers.pooling(fit, subjects=range(7))


@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_pooling_as_every_stage(check, fit):
    check(lambda: explorers.pooling(fit))


def test_the_axes_stand_still_under_the_factor(fit):
    explorer = explorers.pooling(fit)
    start = test_stage.shown(explorer)["scene"]["panels"]
    for factor in (1e-3, 30.0, 1e3):
        assert test_stage.shown(explorer.set(factor=factor))["scene"]["panels"] == start


@pytest.mark.parametrize(
    ("subjects", "layout"),
    [
        ([0], ["s0 eta"]),
        ([0, 3], ["s0 s1 eta"]),
        (range(4), ["s0 s1 s2 eta", "s3 . . eta"]),
    ],
)
def test_any_number_of_subjects_up_to_six_is_shown(subjects, layout, intercepts):
    explorer = explorers.pooling(intercepts, subjects=subjects)
    assert explorer.view.setup["layout"] == layout and explorer.png
    assert list(explorers.pooling(intercepts, subjects=[0, 3]).controls) == ["factor"]
