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
