"""Standard errors where a search for a mode ends, for a small step of theta, on another and far lower peak."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array

import mefit as mf
from mefit.objectives.evaluation import _without_jumps
from workshop.studies import precision

HESSIAN = np.array([[2.0, 0.3], [0.3, 1.0]])


def smooth(x):
    return 0.5 * x @ HESSIAN @ x, HESSIAN @ x


def jumps(x):
    """The same, but for a strip, in which one subject is lost."""
    value, slope = smooth(x)
    return (value + 0.5, slope + 9.0) if 1e-4 < x[0] < 2e-3 else (value, slope)


def test_a_step_that_jumps_is_taken_again_from_elsewhere():
    calls = []

    def other(x):
        calls.append(x)
        return smooth(x)

    origin = np.zeros(2)
    loss = _without_jumps([jumps, other], origin, *smooth(origin), 1e-4)
    for step in ([1e-3, 0.0], [1e-2, 0.0], [0.0, 1e-3]):
        np.testing.assert_array_equal(loss(np.array(step))[1], HESSIAN @ step)
    assert len(calls) == 1  # where nothing jumps nothing is done twice
    lost = _without_jumps([jumps], origin, *smooth(origin), 1e-4)(np.array([1e-3, 0.0]))
    np.testing.assert_array_equal(lost[1], jumps(np.array([1e-3, 0.0]))[1])  # nothing is made up


class Drug(mf.Model):
    """One compartment by mouth; clearance grows with a power of weight."""

    ka: Array = mf.positive()
    cl: Array = mf.positive()
    v: Array = mf.positive()
    power: Array = mf.real()
    omega: Array = mf.diagonal_covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        size = subject.covariates["wt"] / 70.0
        ka, cl, v = jnp.stack([self.ka, self.cl * size**self.power, self.v * size]) * jnp.exp(eta)
        return dist.LogNormal(jnp.log(mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v)), self.sigma)


@pytest.mark.slow
def test_samples_ten_half_lives_late_leave_a_model_identified(monkeypatch):
    """At 72 h a concentration is 13 SDs of its error from the typical person's, and Newton's first step is long: beside
    the estimates one person's search ends on a peak that is 25 nats lower."""
    monkeypatch.setattr(precision, "PLANNED", np.append(precision.PLANNED, 72.0))
    start = Drug(ka=1.0, cl=2.0, v=40.0, power=1.0, omega=0.1 * jnp.eye(3), sigma=0.3)
    fit = mf.fit(start, precision.trial(), mf.FOCE(), progress=False)
    assert "not identified" not in repr(fit)
    errors = mf.observed_information(fit).table
    assert np.all(np.isfinite(errors.se))
    # of a clearance that each person's samples show well: omega / sqrt(N), and a little more
    least = float(jnp.sqrt(fit.model.omega[1, 1])) / np.sqrt(120)
    assert 1.0 < errors.se["cl"] / errors.estimate["cl"] / least < 1.3
