"""How sure the estimates of an autoencoder are: intervals from the likelihood, and from the curvature of its bound.

People of six visits follow straight lines with a random intercept and slope that are correlated, so the likelihood, and
how sure anybody can be, are known exactly.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array, Float

import mefit as mf
from mefit.base.compiling import compiled
from mefit.inference.standard_errors import wald
from mefit.model.numbers import numbers
from mefit.model.space import Space
from mefit.objectives.information import inverse_information

TIMES = np.linspace(0.0, 1.0, 6)
LEVEL = 1.0
SLOPE = 0.5
OMEGA = np.array([[1.0, 0.3], [0.3, 0.8]])
SIGMA = 0.5


class Growth(mf.Model):
    """y = level + eta1 + (slope + eta2) t + e, with a full covariance of the random effects."""

    level: Array = mf.real()
    slope: Array = mf.real()
    omega: Array = mf.covariance(names=("level", "slope"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.level + eta[0] + (self.slope + eta[1]) * subject.time, self.sigma)


def true_model() -> Growth:
    """The model that `simulate_growth` draws from."""
    return Growth(
        level=jnp.asarray(LEVEL), slope=jnp.asarray(SLOPE), omega=jnp.asarray(OMEGA), sigma=jnp.asarray(SIGMA)
    )


def simulate_growth(seed: int, count: int = 200) -> mf.Population:
    """`count` people of the true model, each seen six times."""
    rng = np.random.default_rng(seed)
    b = rng.multivariate_normal([LEVEL, SLOPE], OMEGA, count)
    y = b[:, :1] + b[:, 1:] * TIMES + SIGMA * rng.standard_normal((count, 6))
    number, visit = np.indices(y.shape)
    frame = pd.DataFrame({"ID": number.ravel() + 1, "TIME": TIMES[visit.ravel()], "DV": y.ravel()})
    return mf.Population.from_frame(frame)


def fit_by_encoder(population: mf.Population, seed: int, samples: int = 1000) -> mf.Fit:
    """The growth model by an autoencoder: 1500 steps of Adam on a bound of four draws."""
    start = Growth(level=jnp.zeros(()), slope=jnp.zeros(()), omega=jnp.eye(2), sigma=jnp.ones(()))
    encoder = mf.networks.Encoder(population, effects=2, hidden=(32,))
    bound = mf.Amortised(encoder, draws=4, samples=samples)
    method = mf.Adam(bound, steps=1500, learning_rate=1e-2, batch=100, block=500)
    return mf.fit(start, population, method, key=jax.random.key(seed), progress=False)


def by_the_bound(fit: mf.Fit, draws: int = 300, level: float = 0.95) -> mf.Uncertainty:
    """Standard errors and intervals from the curvature of the bound in theta, the encoder held still.

    **Why it is wrong.** The bound follows the likelihood only if the encoder follows theta. Held still, its draws count
    as random effects that were seen, so that all doubt about them is left out: minus the Hessian of
    sum_i E_q log p(y_i, eta | theta) is the information of complete data. It would be right only if every random effect
    were known.
    """
    curvature = np.asarray(_curvature_of_bound(fit.space, fit.encoder, fit.population.subjects, fit.key, draws))
    return wald(fit, "Curvature of the bound", inverse_information(-curvature, fit.space.labels), level)


@compiled
def _curvature_of_bound(space: Space, encoder: Any, subjects: mf.Subject, key: Any, draws: int) -> Array:
    def bound(x: Array) -> Array:
        model = space.at(x)

        def of_subject(subject: mf.Subject, key: Any) -> Array:
            q = encoder(subject)
            etas = q.mean + jax.random.normal(key, (draws, q.mean.size)) @ q.lower.T
            return jnp.mean(jax.vmap(lambda eta: mf.log_joint(model, eta, subject))(etas))

        return jnp.sum(jax.vmap(of_subject)(subjects, jax.random.split(key, subjects.time.shape[0])))

    return jax.hessian(bound)(space.pack())


class Replicate(NamedTuple):
    """One study: where its estimates ended, and which 95% intervals hold the truth, for each number of the table."""

    estimate: Float[np.ndarray, " E"]
    se: Float[np.ndarray, " E"]
    holds: np.ndarray
    se_by_the_bound: Float[np.ndarray, " E"]
    holds_by_the_bound: np.ndarray


def replicate(seed: int) -> Replicate:
    """Simulate a study, fit it, and ask both ways how sure the estimates are."""
    fit = fit_by_encoder(simulate_growth(seed), seed)
    right = mf.observed_information(fit).table
    wrong = by_the_bound(fit).table
    truth = np.asarray(numbers(true_model()))
    return Replicate(
        estimate=right["estimate"].to_numpy(),
        se=right["se"].to_numpy(),
        holds=((right["low"] <= truth) & (truth <= right["high"])).to_numpy(),
        se_by_the_bound=wrong["se"].to_numpy(),
        holds_by_the_bound=((wrong["low"] <= truth) & (truth <= wrong["high"])).to_numpy(),
    )
