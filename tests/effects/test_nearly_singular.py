"""Covariances of random effects that are singular, or nearly so: the likelihood is what it is by its closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

import mefit as mf


class Lines(mf.Model):
    """A line for each subject."""

    mean: Array = mf.real()
    omega: Array = mf.covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        level, slope = self.mean + eta
        return dist.Normal(level + slope * subject.time, self.sigma)


TIMES = np.arange(5.0)
DESIGN = np.column_stack([np.ones(5), TIMES])


def lines(unit: float = 1.0, count: int = 40) -> np.ndarray:
    """Responses of people whose slope is half their level: a covariance of rank one."""
    rng = np.random.default_rng(1)
    level = rng.standard_normal((count, 1))
    return unit * (3.0 + level * (1.0 + 0.5 * TIMES) + rng.standard_normal((count, 5)))


def population_of(y: np.ndarray) -> mf.Population:
    number, place = np.indices(y.shape)
    return mf.Population.from_frame(pd.DataFrame({"ID": number.ravel(), "TIME": TIMES[place.ravel()], "DV": y.ravel()}))


def exact(y: np.ndarray, mean: np.ndarray, omega: np.ndarray, sigma: float) -> float:
    """The log-likelihood by its closed form."""
    law = multivariate_normal(DESIGN @ mean, DESIGN @ omega @ DESIGN.T + sigma**2 * np.eye(5))
    return float(np.sum(law.logpdf(y)))


OBJECTIVES = [
    mf.FO(),
    mf.FOCE(),
    mf.FOCE(interaction=False),
    mf.Laplace(),
    mf.AGQ(nodes=3),
    mf.Variational(nodes=3),
    mf.ImportanceSampling(samples=4000, degrees_of_freedom=30.0),
]


@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e5])
@pytest.mark.parametrize("left", [1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.label)
def test_the_likelihood_is_right_however_narrow_the_covariance(objective, left, unit):
    """`left` of the slope's variance remains beside the level. With Omega^-1, two of these were off by whole units."""
    y = lines(unit, count=10)
    omega = unit**2 * np.array([[1.0, 0.5], [0.5, 0.25 * (1.0 + left)]])
    mean = unit * np.array([3.0, 0.1])
    model = Lines(mean=mean, omega=omega, sigma=unit)
    key = jax.random.key(0) if objective.random else None
    found = mf.log_likelihood(model, population_of(y), objective, key=key)
    close = 0.02 if objective.random else 1e-7
    assert float(found) == pytest.approx(exact(y, mean, omega, unit), abs=close)


@pytest.mark.parametrize("unit", [1.0, 1e4])
@pytest.mark.parametrize("objective", [mf.FOCE(), mf.Laplace()], ids=["FOCE", "Laplace"])
def test_a_singular_maximum_is_found(objective, unit):
    """The maximum over all covariances, by another optimiser of the closed form, has a correlation of one."""
    y = lines(unit)

    def loss(x):
        lower = unit * np.array([[x[2], 0.0], [x[3], x[4]]])
        return -exact(y, unit * x[:2], lower @ lower.T, unit * abs(x[5]))

    best = min(
        (minimize(loss, [3.0, 0.1, 1.0, slope, rest, 1.0], method="BFGS") for slope, rest in [(0.5, 0.0), (0.3, 0.3)]),
        key=lambda result: result.fun,
    )
    assert best.x[4] ** 2 < 1e-6 * best.x[3] ** 2
    start = Lines(mean=unit * np.array([2.0, 0.0]), omega=unit**2 * np.diag([0.5, 0.1]), sigma=2.0 * unit)
    fit = mf.fit(start, population_of(y), objective, progress=False)
    assert fit.converged, fit.message
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-4)
    correlation = fit.model.omega[0, 1] / np.sqrt(fit.model.omega[0, 0] * fit.model.omega[1, 1])
    assert correlation == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.eigvalsh(np.asarray(fit.model.omega))[0] > 0.0
