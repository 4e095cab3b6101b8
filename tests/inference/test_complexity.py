"""Complexity of data and of profiles: held-out log-likelihoods by SciPy, and people of two kinds told apart."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy.special import expit
from scipy.stats import multivariate_normal

import mefit as mf

TIMES = np.linspace(-1.0, 1.0, 8)
KEY = jax.random.key(3)


class Polynomial(mf.Model):
    """Random coefficients of 1, t, ... , independent, all of mean zero."""

    sds: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(self.sds.shape[0]), self.sds)

    def observations(self, eta, subject):
        return dist.Normal(eta @ subject.time ** jnp.arange(eta.size)[:, None], self.sigma)


def start(degree, unit=1.0):
    return Polynomial(sds=unit * jnp.ones(degree + 1), sigma=jnp.asarray(0.5 * unit)), mf.FO()


def people(bent, unit=1.0, straight=90):
    """`straight` people on lines, and `bent` ones on parabolas."""
    rng = np.random.default_rng(5)
    b = rng.standard_normal((straight + bent, 3)) * [1.0, 1.0, 3.0]
    b[:straight, 2] = 0.0
    y = unit * (b @ TIMES ** np.arange(3)[:, None] + 0.3 * rng.standard_normal((len(b), TIMES.size)))
    number, place = np.indices(y.shape)
    frame = pd.DataFrame({"ID": number.ravel(), "TIME": TIMES[place.ravel()], "DV": y.ravel()})
    return mf.Population.from_frame(frame, negative_times=True)


def found_in(population, unit=1.0, **options):
    templates = {"constant": start(0, unit), "line": start(1, unit)}
    return mf.complexity(templates, start(2, unit), population, by=mf.FO(), key=jax.random.key(3), **options)


@pytest.fixture(scope="module")
def mixed():
    return found_in(people(60))


@pytest.mark.slow
def test_held_out_likelihoods_are_those_of_fits_without_the_person():
    """One person to a fold: the density of each by SciPy, at the fit of the others."""
    few = people(3, straight=3)
    found = mf.complexity({"line": start(1)}, start(2), few, folds=6, by=mf.FO(), key=jax.random.key(3))
    powers = TIMES ** np.arange(3)[:, None]
    for name, degree in (("line", 1), ("flexible", 2)):
        model, method = start(degree)
        for i in range(6):
            fitted = mf.fit(model, few[np.arange(6) != i], method, progress=False).model
            design = powers[: degree + 1]
            cov = design.T * np.asarray(fitted.sds) ** 2 @ design + float(fitted.sigma) ** 2 * np.eye(8)
            log_p = multivariate_normal(np.zeros(8), cov).logpdf(np.asarray(few.subjects.y)[i])
            assert found.profiles[name][i] == pytest.approx(log_p, abs=1e-6)
    assert found.profiles.measurements.tolist() == [8] * 6
    gain = found.profiles["flexible"] - found.profiles["line"]
    assert found.score == pytest.approx(gain.sum() / 48)
    np.testing.assert_allclose(found.profiles.gain, gain / 8)


@pytest.mark.slow
def test_the_template_compared_with_is_the_best(mixed):
    assert mixed.best == "line"
    assert mixed.score > 5 * mixed.error > 0.0
    assert "line" in repr(mixed) and "held out" in repr(mixed)


def test_profiles_are_told_apart(mixed):
    """The people on parabolas come first, but for those whose parabola is all but a line."""
    bent = mixed.profiles.index >= 90
    assert np.all(bent[:20])
    assert mf.scores.auc(mixed.profiles.gain, bent) > 0.75
    assert np.all(np.diff(mixed.profiles.gain) <= 0.0)
    difference = mixed.profiles["flexible"] - mixed.profiles["line"]
    assert mixed.score == pytest.approx(difference.sum() / (150 * 8), rel=1e-9)
    assert mixed.error == pytest.approx(difference.std() * np.sqrt(150) / (150 * 8), rel=1e-9)


@pytest.mark.slow
def test_who_needs_the_flexible_model_is_told_by_a_mixture_of_both():
    """Held against Bayes's rule at the parameters that people were made with, by SciPy."""
    population = people(60)
    line = start(1)[0]
    parabola = Polynomial(sds=jnp.array([1.0, 1.0, 2.0]), sigma=jnp.asarray(0.5))
    mixture = mf.MixtureOfExperts((line, parabola), shared="sigma")
    fit = mf.fit(mixture, population, mf.Laplace(), progress=False)
    powers = TIMES ** np.arange(3)[:, None]
    log_p = []
    for share, sds in ((0.6, [1.0, 1.0]), (0.4, [1.0, 1.0, 3.0])):
        design = powers[: len(sds)]
        covariance = design.T * np.array(sds) ** 2 @ design + 0.09 * np.eye(8)
        log_p.append(np.log(share) + multivariate_normal(np.zeros(8), covariance).logpdf(population.subjects.y))
    exact = expit(log_p[1] - log_p[0])
    assert exact[90:].mean() > 0.6 > 0.4 > exact[:90].mean()  # the data do tell
    np.testing.assert_allclose(mf.responsibilities(fit)[2], exact, atol=0.25)
    assert np.mean(np.abs(mf.responsibilities(fit)[2] - exact)) < 0.06


@pytest.mark.slow
def test_where_the_template_is_right_nothing_is_gained():
    straight = found_in(people(0))
    assert straight.score < 2 * straight.error
    assert abs(straight.score) < 0.01


def test_no_unit_matters(mixed):
    other = found_in(people(60, unit=1e5), unit=1e5)
    assert other.score == pytest.approx(mixed.score, rel=1e-3)


def test_what_is_refused():
    population = people(3, straight=3)
    with pytest.raises(ValueError, match="templates by name"):
        mf.complexity({}, start(1), population, key=jax.random.key(0))
    with pytest.raises(ValueError, match="one person each at least"):
        found_in(population, folds=7)


def test_fits_that_did_not_converge_are_said():
    model, _ = start(1)
    stopped = mf.FO(optimiser=mf.BFGS(max_iterations=1))
    found = mf.complexity({"stopped": (model, stopped)}, start(1), people(3, straight=3), folds=2, by=mf.FO(), key=KEY)
    assert len(found.remarks) == 1
    assert "2 of 2 fits of 'stopped' did not converge" in found.remarks[0]
    assert found.remarks[0] in repr(found)
