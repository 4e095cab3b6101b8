"""Simulated longitudinal studies for autoencoders, whose true likelihood is known, and the models tried on them.

The truth, with b ~ N(0, diag(1, 1, 1/2)), e ~ N(0, 1/4), 20 times on [0, 1]:

    nearly linear in b   y = 2 + 1.5 cos(2 pi t) exp(0.3 b2) + (1 + b1) t + sin(3 t) b3 + e
    bent in b            y = 2 + 1.5 cos(2 pi (t - 0.1 b2)) + (1 + b1) t + sin(3 t) b3 + e

Given b2 everything is Gaussian, so the likelihood and the best prediction of a curve are sums over a grid of b2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array, Float
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import mefit as mf

TIMES = np.linspace(0.0, 1.0, 20)
SIGMA = 0.5
MEAN_AT_THE_END = 2 + 1.5 * np.exp(0.3**2 / 2) + 1  # of y at t = 1, in the nearly linear truth
_NODES = 401  # of a sum that is right to all digits
_DROPOUT = -7.335
_TYPICAL = 2.5  # of y, about which `strength` turns


class Study(NamedTuple):
    """Simulated people, and their true curves (N, 20)."""

    population: mf.Population
    curves: Float[np.ndarray, "N 20"]


def bent_part(b2: Float[np.ndarray, "*N 1"], bent: bool) -> Float[np.ndarray, "*N 20"]:
    """What is not linear in the random effects."""
    if bent:
        return 1.5 * np.cos(2 * np.pi * (TIMES - 0.1 * b2))
    return 1.5 * np.cos(2 * np.pi * TIMES) * np.exp(0.3 * b2)


def simulate_curves(count: int, seed: int, bent: bool = False) -> Study:
    """`count` people, each seen at all 20 times."""
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((count, 3)) * np.sqrt([1.0, 1.0, 0.5])
    curves = 2 + bent_part(b[:, 1:2], bent) + (1 + b[:, :1]) * TIMES + b[:, 2:] * np.sin(3 * TIMES)
    y = curves + SIGMA * rng.standard_normal(curves.shape)
    return Study(population_of(y), curves)


def simulate_dropout(
    count: int, seed: int, strength: float = 1.0
) -> tuple[Float[np.ndarray, "N 20"], Float[np.ndarray, "N 20"]]:
    """Responses of `count` people with nearly linear curves; and the same with NaN from where a person dropped out.

    After visit j - 1 a person is gone from visit j on with logit P = -7.335 + y_{j-1}: missing at random, since the
    chance hangs on what was seen. `strength` multiplies how far it hangs on y; at 0 it is as large for everybody.
    """
    rng = np.random.default_rng(1000 + seed)
    y = np.asarray(simulate_curves(count, seed).population.subjects.y)
    logit = _DROPOUT + _TYPICAL + strength * (y[:, :-1] - _TYPICAL)
    goes = rng.random(logit.shape) < 1.0 / (1.0 + np.exp(-logit))
    gone = np.column_stack([np.zeros(count, bool), np.logical_or.accumulate(goes, axis=1)])
    return y, np.where(gone, np.nan, y)


def population_of(y: Float[np.ndarray, "N 20"]) -> mf.Population:
    """People with these responses; NaN where one is missing."""
    number, place = np.indices(y.shape)
    frame = pd.DataFrame({"ID": number.ravel() + 1, "TIME": TIMES[place.ravel()], "DV": y.ravel()})
    return mf.Population.from_frame(frame, time_label="time", y_label="response")


class Oracle(NamedTuple):
    """What the true model says: each person's log-likelihood, and the mean of their curve given the data."""

    log_likelihood: Float[np.ndarray, " N"]
    curves: Float[np.ndarray, "N 20"]


def oracle(population: mf.Population, bent: bool = False) -> Oracle:
    """The true model's answers, by a sum over a fine grid of b2."""
    nodes = np.linspace(-8.0, 8.0, _NODES)
    weights = np.exp(-0.5 * nodes**2)
    y = np.asarray(population.subjects.y)
    loadings = np.column_stack([TIMES, np.sin(3 * TIMES)]) * np.sqrt([1.0, 0.5])
    spread = loadings @ loadings.T
    total = spread + SIGMA**2 * np.eye(20)
    means = 2 + bent_part(nodes[:, None], bent) + TIMES
    log_p = np.stack([multivariate_normal(mean, total).logpdf(y) for mean in means])
    log_joint = log_p + np.log(weights / weights.sum())[:, None]
    log_likelihood = logsumexp(log_joint, axis=0)
    share = np.exp(log_joint - log_likelihood)
    shrink = spread @ np.linalg.inv(total)
    given = np.stack([mean + (y - mean) @ shrink.T for mean in means])
    return Oracle(log_likelihood, np.einsum("mn,mnj->nj", share, given))


class CoefficientModel(mf.Model):
    """A deep mixed model: random effects through a straight line and a network to the coefficients of a spline.

    E y(t) = B(t)' (mean + b loadings + net(b)), b ~ N(0, I).
    """

    basis: mf.networks.NaturalSpline
    mean: Array = mf.real()
    loadings: Array = mf.real()
    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(8.0))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(self.loadings.shape[0]), 1.0)

    def curve(self, eta: Float[Array, " K"], time: Float[Array, " n"]) -> Float[Array, " n"]:
        """The person's curve."""
        return self.basis(time) @ (self.mean + eta @ self.loadings + self.net(eta))

    def observations(self, eta, subject):
        return dist.Normal(self.curve(eta, subject.time), self.sigma)


def coefficient_model(df: int = 8, effects: int = 3, units: int = 16, seed: int = 0) -> CoefficientModel:
    """The deep mixed model at its start: small random loadings, a network that claims nothing."""
    rng = np.random.default_rng(seed)
    return CoefficientModel(
        basis=mf.networks.NaturalSpline(df, 0.0, 1.0),
        mean=jnp.zeros(df + 1),
        loadings=jnp.asarray(0.3 * rng.standard_normal((effects, df + 1))),
        net=mf.networks.MLP(effects, (units,), df + 1, seed=seed),
        sigma=jnp.asarray(1.0),
    )


class SplineModel(mf.Model):
    """The linear mixed model of the same basis: E y(t) = B(t)' (mean + b), b ~ N(0, Omega), Omega full."""

    basis: mf.networks.NaturalSpline
    mean: Array = mf.real()
    omega: Array = mf.covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(self.mean.size), self.omega)

    def curve(self, eta: Float[Array, " K"], time: Float[Array, " n"]) -> Float[Array, " n"]:
        """The person's curve."""
        return self.basis(time) @ (self.mean + eta)

    def observations(self, eta, subject):
        return dist.Normal(self.curve(eta, subject.time), self.sigma)


def spline_model(df: int = 8) -> SplineModel:
    """The linear mixed model at its start."""
    return SplineModel(
        basis=mf.networks.NaturalSpline(df, 0.0, 1.0),
        mean=jnp.zeros(df + 1),
        omega=0.3 * jnp.eye(df + 1),
        sigma=jnp.asarray(1.0),
    )


def curve_error(model: CoefficientModel | SplineModel, etas: Float[Array, "N K"], study: Study) -> float:
    """Root mean square distance of the people's curves at these random effects from the true ones."""
    curves = jax.vmap(lambda eta: model.curve(eta, jnp.asarray(TIMES)))(etas)
    return float(np.sqrt(np.mean((np.asarray(curves) - study.curves) ** 2)))
