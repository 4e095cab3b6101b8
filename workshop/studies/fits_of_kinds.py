"""What exercises of lesson 12 are given: fits of one to three kinds, a class for one person, and labels that switch."""

import numpy as np
from jaxtyping import Float

PEOPLE, ROWS = 212, 1279  # patients and measurements of the fits below
# log-likelihood and number of parameters by the number of kinds, as the lesson fits them
FITS = {1: (-1027.85, 6), 2: (-873.14, 18), 3: (-844.59, 30)}
_RISING, _STEADY = (0.2, 0.27), (0.0, 0.05)  # level and slope
_NOISE = (0.25, 0.03)  # of the estimates
_SEED = 4


def replicates(count: int, seed: int = _SEED) -> tuple[Float[np.ndarray, "R 2 2"], Float[np.ndarray, "R 2"]]:
    """Level and slope of two classes, and their shares, from `count` fits; in half of them the labels are switched."""
    rng = np.random.default_rng(seed)
    truth = np.array([_RISING, _STEADY])
    beta = truth + rng.standard_normal((count, 2, 2)) * np.array(_NOISE)
    first = 0.5 + 0.05 * rng.standard_normal(count)
    share = np.stack([first, 1.0 - first], axis=1)
    switched = rng.permutation(np.arange(count) < count // 2)
    beta[switched] = beta[switched, ::-1]
    share[switched] = share[switched, ::-1]
    return beta, share


def with_an_outlier(count: int = 60, away: float = 7.0) -> Float[np.ndarray, " N"]:
    """One number of each of `count` people of one kind, N(0, 1), and of one more who is far away."""
    return np.append(np.random.default_rng(_SEED).standard_normal(count), away)


def skewed(count: int = 200) -> Float[np.ndarray, " N"]:
    """Areas of people of one kind: log-normal, with an SD of 0.5 on the log scale."""
    return np.exp(0.5 * np.random.default_rng(_SEED).standard_normal(count))


def two_peaks() -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """A grid, and the density 0.6 N(0, 1) + 0.4 N(6, 0.5^2) on it."""
    y = np.linspace(-6.0, 10.0, 3201)
    first = np.exp(-0.5 * y**2) / np.sqrt(2 * np.pi)
    second = np.exp(-0.5 * ((y - 6.0) / 0.5) ** 2) / np.sqrt(2 * np.pi) / 0.5
    return y, 0.6 * first + 0.4 * second
