"""A posterior that bends away from its mode, to where draws around that mode never look.

One response y = unit (u_2 - 2 u_1^2) + e of standard normal u: given u_1, u_2 is integrated out in closed form, and the
one integral that is left is SciPy's.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line
from scipy.integrate import quad
from scipy.stats import norm

import mefit as mf
from mefit.objectives.evaluation import terms_of
from mefit.objectives.weights import simulation_errors

KEY = jax.random.key(1)
Y = np.linspace(-2.0, 1.5, 40)


class Bent(mf.Model):
    sigma: Array = mf.positive()
    unit: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2))

    def observations(self, eta, subject):
        return dist.Normal(self.unit * (eta[1] - 2.0 * eta[0] ** 2) + 0.0 * subject.time, self.sigma * self.unit)


def bent(sigma, unit=1.0):
    return Bent(sigma=jnp.asarray(sigma), unit=jnp.asarray(unit))


def people(unit=1.0):
    return mf.Population.from_frame(pd.DataFrame({"ID": np.arange(Y.size), "TIME": 0.0, "DV": unit * Y}))


def moments(sigma, power=0):
    """The integral over u_1 of u_1^power p(y, u_1), for each response."""

    def of(y):
        ridge = np.sqrt(max(-y / 2.0, 0.0))

        def density(u):
            return u**power * norm.pdf(u) * norm.pdf(y, -2.0 * u**2, np.hypot(1.0, sigma))

        return quad(density, -9.0, 9.0, points=[-ridge, 0.0, ridge], limit=400, epsabs=0.0)[0]

    return np.array([of(y) for y in Y])


def in_errors(by, unit):
    """How far each log-likelihood is off, in nats, and in the errors that its own draws tell."""
    terms = terms_of(by, bent(0.1, unit), people(unit), KEY)
    off = np.asarray(terms.value) + np.log(unit) - np.log(moments(0.1))
    return off, off / simulation_errors(terms.details["effective_sample_size"], by.samples)


@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_the_log_likelihood_is_right_to_its_own_error(unit):
    off, told = in_errors(mf.ImportanceSampling(4000), unit)
    assert np.max(np.abs(off)) < 0.4
    assert np.mean(np.abs(told) > 3.0) < 0.06
    assert np.mean(told) > -0.5
    _, around_modes_alone = in_errors(mf.ImportanceSampling(4000, prior_share=0.0), unit)
    assert np.mean(around_modes_alone) < -1.0


def slipped(by, terms):
    return (np.asarray(terms.details["nodes"]) < by.fewest_nodes) | (terms.details["turned"] > 0.05)


@pytest.mark.parametrize("unit", [1.0, 1e6])
@pytest.mark.parametrize("nodes", [5, 9, 25])
def test_whose_posterior_slips_through_a_grid_is_refused_and_remarked_on(nodes, unit):
    """Those who are not refused are right to a twentieth or so, whatever the unit; of those who are, half are not."""
    model, population, by = bent(0.5, unit), people(unit), mf.AGQ(nodes)
    terms = terms_of(by, model, population)
    off = np.abs(np.asarray(terms.value) + np.log(unit) - np.log(moments(0.5)))
    slips = slipped(by, terms)
    assert 0 < np.sum(slips) < 0.6 * len(slips)
    assert np.max(off[~slips]) < 0.08
    assert np.median(off[slips]) > 0.04
    with pytest.raises(ValueError, match=rf"is off, by some .* of its {nodes} nodes count. Take more nodes"):
        mf.log_likelihood(model, population, by)
    kept = mf.log_likelihood(model, population[np.flatnonzero(~slips)], by, by_subject=True)
    np.testing.assert_allclose(kept, np.asarray(terms.value)[~slips], atol=1e-9)
    if nodes == 9 and unit == 1.0:
        fit = mf.fit(model, population, by, fixed=("sigma", "unit"), progress=False)
        assert any("nodes count" in remark for remark in fit.remarks)


@pytest.mark.parametrize("unit", [1.0, 1e6])
@pytest.mark.parametrize("sigma, nodes", [(0.2, 15), (0.1, 25)])
def test_a_turn_of_the_grid_tells_who_is_wrong_though_many_nodes_count(sigma, nodes, unit):
    by = mf.AGQ(nodes)
    terms = terms_of(by, bent(sigma, unit), people(unit))
    off = np.abs(np.asarray(terms.value) + np.log(unit) - np.log(moments(sigma)))
    assert np.max(off[np.asarray(terms.details["nodes"]) >= by.fewest_nodes]) > 0.15
    assert np.max(off[~slipped(by, terms)]) < 0.12


def test_a_grid_that_is_fine_may_be_turned():
    """A Gaussian posterior is integrated exactly by any grid; one of several random effects too, and a mixture's."""
    rng = np.random.default_rng(1)
    time = np.tile(np.arange(4.0), 12)
    frame = pd.DataFrame({"ID": np.repeat(np.arange(12), 4), "TIME": time, "DV": rng.normal(size=48)})
    population = mf.Population.from_frame(frame)
    line = Line(beta=jnp.array([0.0, 0.3]), omega=jnp.array([[1.0, 0.3], [0.3, 0.5]]), sigma=jnp.asarray(0.5))
    for model in (line, mf.MixtureOfExperts((line, line))):
        terms = terms_of(mf.AGQ(4), model, population)
        np.testing.assert_allclose(terms.details["turned"], 0.0, atol=1e-9)
        exact = mf.log_likelihood(line, population, mf.FO(), by_subject=True)
        np.testing.assert_allclose(terms.value, exact, atol=1e-9)


def test_too_few_draws_for_it_are_refused():
    with pytest.raises(ValueError, match=r"falls short.*fewer than 10 count.*more samples"):
        mf.log_likelihood(bent(0.02), people(), mf.ImportanceSampling(1000), key=KEY)


def test_what_is_drawn_of_a_person_lies_along_the_bend():
    drawn = mf.individual(bent(0.1), people(), draws=1000, proposed=20_000, key=KEY)
    right = moments(0.1, 2) / moments(0.1)
    found = np.mean(drawn.eta[:, :, 0] ** 2, axis=1)
    np.testing.assert_allclose(found, right, atol=0.2)
    assert np.mean(found - right) == pytest.approx(0.0, abs=0.02)


def test_a_share_of_the_prior_that_is_none_is_refused():
    for share in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="prior_share of 0 or more and below 1"):
            mf.log_likelihood(bent(0.1), people(), mf.ImportanceSampling(prior_share=share), key=KEY)


class Volume(mf.Model):
    """A volume that is Gaussian, so that some of it would be below zero, where its logarithm is no number."""

    mean: Array = mf.positive()
    sd: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(self.mean, self.sd).expand([1]).to_event(1)

    def observations(self, eta, subject):
        return dist.Normal(jnp.log(eta[0]) + 0.0 * subject.time, self.sigma)


@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_draws_where_the_density_is_no_number_count_nothing(unit):
    rng = np.random.default_rng(0)
    volume = unit * (10.0 + np.clip(rng.normal(0.0, 5.0, 30), -8.0, None))
    number, time = np.indices((30, 4))
    log_y = np.log(volume)[:, None] + 0.1 * rng.standard_normal((30, 4))
    frame = pd.DataFrame({"ID": number.ravel(), "TIME": time.ravel(), "DV": log_y.ravel()})
    population = mf.Population.from_frame(frame)
    model = Volume(mean=jnp.asarray(10.0 * unit), sd=jnp.asarray(5.0 * unit), sigma=jnp.asarray(0.1))
    by = mf.ImportanceSampling(4000)
    found = mf.log_likelihood(model, population, by, key=KEY, by_subject=True)

    def log_integral(y, guess):
        def density(v):
            return norm.pdf(v, 10.0, 5.0) * np.prod(norm.pdf(y, np.log(v * unit), 0.1))

        return np.log(quad(density, 1e-9, 60.0, points=[guess], limit=400, epsabs=0.0)[0])

    right = [log_integral(y, np.exp(np.mean(y)) / unit) for y in log_y]
    np.testing.assert_allclose(found, right, atol=0.1)
    assert np.sum(found) == pytest.approx(np.sum(right), abs=0.2)
    fit = mf.fit(model, population, mf.ImportanceSampling(200), key=KEY, progress=False)
    assert fit.converged
    assert np.all(np.isfinite(fit.table.se))
    drawn = mf.individual(model, population, draws=500, key=KEY)
    assert not drawn.remarks
    assert np.all(drawn.eta > 0.0)
