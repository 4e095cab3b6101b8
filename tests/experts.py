"""Mixtures of straight lines that several tests share, and their likelihood by SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from models import Line
from scipy.stats import multivariate_normal

import mefit as mf

TIMES = np.linspace(0.0, 1.0, 6)
SIGMA = 0.5
SPREAD = np.diag([0.5, 0.25])
UP = np.array([1.0, 2.0])
DOWN = np.array([-1.0, -1.0])


def lines(count: int, seed: int, steepness: float = 2.0, up=UP, down=DOWN) -> tuple[mf.Population, np.ndarray]:
    """People on one of two lines, and who is on the second: P = 1 / (1 + exp(-steepness w)), w ~ N(0, 1)."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=count)
    second = rng.random(count) < 1.0 / (1.0 + np.exp(-steepness * w))
    effects = rng.normal(size=(count, 2)) * np.sqrt(np.diag(SPREAD))
    coefficients = np.where(second[:, None], down, up) + effects
    mean = coefficients[:, :1] + coefficients[:, 1:] * TIMES
    y = mean + SIGMA * rng.normal(size=mean.shape)
    rows = {"ID": np.repeat(np.arange(count), TIMES.size), "TIME": np.tile(TIMES, count), "DV": y.ravel()}
    frame = pd.DataFrame(rows | {"W": np.repeat(w, TIMES.size)})
    return mf.Population.from_frame(frame, covariates={"w": "W"}), second


def line(beta, omega=SPREAD, sigma=SIGMA) -> Line:
    return Line(beta=jnp.asarray(beta), omega=jnp.asarray(omega), sigma=sigma)


@functools.cache
def sixty() -> tuple[mf.Population, np.ndarray]:
    """Sixty people, of whom about half are on each line."""
    return lines(60, seed=0)


def mixture(population: mf.Population, up=UP, down=DOWN, log_odds=((0.2, 1.5),)) -> mf.MixtureOfExperts:
    gate = mf.LinearGate(population, ["w"], log_odds)
    return mf.MixtureOfExperts((line(up), line(down)), gate=gate)


def log_marginal(model: Line, y: np.ndarray, times: np.ndarray = TIMES) -> float:
    """log N(y; X beta, Z Omega Z' + sigma^2 I)."""
    z = np.stack([np.ones(times.size), times], axis=1)
    covariance = z @ np.asarray(model.omega) @ z.T + float(model.sigma) ** 2 * np.eye(times.size)
    return float(multivariate_normal.logpdf(y, z @ np.asarray(model.beta), covariance))


def shares(model: mf.MixtureOfExperts, population: mf.Population) -> np.ndarray:
    """pi_k(w) of the linear gate by NumPy: standardised by mean and SD, divisor N."""
    w = np.asarray(population.subjects.covariates["w"])
    z = (w - model.gate.inputs.centre[0]) / model.gate.inputs.spread[0]
    a, b = np.asarray(model.log_odds)[0]
    second = 1.0 / (1.0 + np.exp(-(a + b * z)))
    return np.stack([1.0 - second, second], axis=1)


def by_class(model: mf.MixtureOfExperts, population: mf.Population) -> np.ndarray:
    """log pi_k + log L_ik of each person and class, by SciPy."""
    each = [[log_marginal(expert, np.asarray(s.y), np.asarray(s.time)) for expert in model.experts] for s in population]
    return np.log(shares(model, population)) + np.array(each)


KEY = jax.random.key(1)
