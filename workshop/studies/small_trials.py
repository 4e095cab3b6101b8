"""Small simulated trials for the exercises of lesson 10: growth, straight lines, and a trial of pain with dropout."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array, Float
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

import mefit as mf

# ------------------------------------------------------------------------------------ growth towards a plateau

GROWTH_TIMES = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 12.0])


def growth(count: int = 200, seed: int = 1) -> mf.Population:
    """`count` people who grow towards a plateau of their own, at a rate of their own.

    y = 10 e^{eta1} (1 - exp(-0.4 e^{eta2} t)) + e, eta ~ N(0, diag(0.3^2, 0.4^2)), e ~ N(0, 0.5^2), six times.
    """
    rng = np.random.default_rng(seed)
    eta = rng.standard_normal((count, 2)) * [0.3, 0.4]
    rate = 0.4 * np.exp(eta[:, 1:])
    curves = 10 * np.exp(eta[:, :1]) * (1 - np.exp(-rate * GROWTH_TIMES))
    return population_of(curves + 0.5 * rng.standard_normal(curves.shape), GROWTH_TIMES)


# ------------------------------------------------------------------------------------ straight lines

VISITS = np.arange(5.0)


class Lines(mf.Model):
    """y = scale1 eta1 + scale2 eta2 t + e: two independent random effects, N(0, 1) each, and no mean."""

    scale: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(2), 1.0)

    def observations(self, eta, subject):
        return dist.Normal(self.scale[0] * eta[0] + self.scale[1] * eta[1] * subject.time, self.sigma)


def lines(count: int = 600, seed: int = 11) -> mf.Population:
    """`count` people with lines of their own: both scales 1, sigma 1, seen at t = 0 to 4."""
    rng = np.random.default_rng(seed)
    eta = rng.standard_normal((count, 2))
    y = eta[:, :1] + eta[:, 1:] * VISITS + rng.standard_normal((count, VISITS.size))
    return population_of(y, VISITS)


def lines_start() -> Lines:
    """The model at the truth, where its fits begin."""
    return Lines(scale=jnp.ones(2), sigma=jnp.asarray(1.0))


# ------------------------------------------------------------------------------------ a trial of pain

WEEKS = np.arange(6.0)
PAIN_AT_THE_END = 6.0 - 0.6 * 5  # the mean of all, had nobody left
MECHANISMS = ("seen", "lot", "unseen")  # what decides who leaves: the last score seen, chance, or the next one


class Pain(mf.Model):
    """A score that falls along a line of everybody's own: y = beta1 + eta1 + (beta2 + eta2) t + e."""

    beta: Array = mf.real()
    omega: Array = mf.diagonal_covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        level = self.beta[0] + eta[0]
        slope = self.beta[1] + eta[1]
        return dist.Normal(level + slope * subject.time, self.sigma)


def pain_start() -> Pain:
    """The model where its fits begin."""
    return Pain(beta=jnp.array([5.0, 0.0]), omega=jnp.diag(jnp.array([1.0, 0.2])), sigma=jnp.asarray(1.0))


def pain(count: int = 600, seed: int = 3, leaves_by: str = "seen") -> Float[np.ndarray, "N 6"]:
    """Scores of `count` people in six weekly visits, NaN from where a person has left.

    y = 6 + b1 + (-0.6 + b2) t + e with SDs 1.2, 0.3 and 0.8. After each visit a person leaves with
    logit P = -2 + 1.5 (score - 5.5), the score that was just seen; by "lot" with P = 0.16; by "unseen" the score is
    that of the visit that is then missed.
    """
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((count, 2)) * [1.2, 0.3]
    y = 6 + b[:, :1] + (b[:, 1:] - 0.6) * WEEKS + 0.8 * rng.standard_normal((count, WEEKS.size))
    logit = -2 + 1.5 * (y - 5.5)
    by = {"seen": logit[:, :-1], "lot": np.full((count, 5), -1.66), "unseen": logit[:, 1:]}[leaves_by]
    leaves = rng.random((count, 5)) < 1 / (1 + np.exp(-by))
    gone = np.column_stack([np.zeros(count, bool), np.logical_or.accumulate(leaves, axis=1)])
    return np.where(gone, np.nan, y)


def available(y: Float[np.ndarray, "N 6"]) -> float:
    """The mean at the last visit of those who are still there."""
    return float(np.nanmean(y[:, -1]))


def carried_forward(y: Float[np.ndarray, "N 6"]) -> float:
    """The mean at the last visit where a person's last score takes the place of those that are missing."""
    return float(np.mean(pd.DataFrame(y).ffill(axis=1).to_numpy()[:, -1]))


def imputed_by_means(y: Float[np.ndarray, "N 6"]) -> float:
    """The same where the mean of all others at the visit takes their place."""
    return float(np.mean(np.where(np.isnan(y), np.nanmean(y, axis=0), y)[:, -1]))


def pooled_line(y: Float[np.ndarray, "N 6"]) -> float:
    """The end of one straight line through all rows that were seen, whoever they belong to."""
    row, visit = np.nonzero(~np.isnan(y))
    slope, level = np.polyfit(WEEKS[visit], y[row, visit], 1)
    return float(level + slope * WEEKS[-1])


def most_likely_end(y: Float[np.ndarray, "N 6"]) -> float:
    """The mean at the last visit by the exact likelihood of what was seen: NumPy and SciPy, by patterns of dropout."""
    design = np.column_stack([np.ones(WEEKS.size), WEEKS])
    count = np.sum(~np.isnan(y), axis=1)
    groups = [(design[:n], y[count == n, :n]) for n in np.unique(count)]

    def minus_log_likelihood(x: np.ndarray) -> float:
        omega = np.diag(np.exp(2 * x[2:4]))
        total = 0.0
        for z, seen in groups:
            law = multivariate_normal(z @ x[:2], z @ omega @ z.T + np.exp(2 * x[4]) * np.eye(len(z)))
            total -= float(np.sum(law.logpdf(seen)))
        return total

    best = minimize(minus_log_likelihood, np.array([5.0, 0.0, 0.0, -1.0, 0.0]), method="BFGS")
    return float(best.x[0] + best.x[1] * WEEKS[-1])


def population_of(y: Float[np.ndarray, "N J"], times: Float[np.ndarray, " J"]) -> mf.Population:
    """People with these responses; NaN where one is missing."""
    number, place = np.indices(y.shape)
    frame = pd.DataFrame({"ID": number.ravel() + 1, "TIME": times[place.ravel()], "DV": y.ravel()})
    return mf.Population.from_frame(frame)
