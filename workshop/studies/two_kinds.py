"""Patients of two kinds: straight lines in closed form, sets of their mixtures, and normals mixed by EM.

A kind has a line with random level and slope, b ~ N(beta, Omega), and an error of SD sigma. With z = (1, t),

    y ~ N(Z beta, V),                                   V = Z Omega Z' + sigma^2 I,
    b | y ~ N(beta + G (y - Z beta), Omega - G Z Omega),  G = Omega Z' V^-1.

It is quick enough for a hand, and a referee of the library, whose mixtures are those of the lesson.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.linalg import cho_factor, cho_solve
from scipy.special import logsumexp
from scipy.stats import norm

import mefit as mf

_POINTS = 480  # of the grid on which a density is cut
_REACH = 5.0  # SDs beyond the outermost middle


class Kind(NamedTuple):
    """One class: a typical line, how lines differ, and the error about them."""

    beta: Float[np.ndarray, " 2"]
    omega: Float[np.ndarray, "2 2"]
    sigma: float


def kinds_of(model: Any) -> list[Kind]:
    """The classes of a mixture of lines with the parameters `beta`, `omega` and `sigma`."""
    return [Kind(np.asarray(one.beta), np.asarray(one.omega), float(one.sigma)) for one in model.experts]


def records(population: mf.Population) -> list[tuple[np.ndarray, np.ndarray]]:
    """The times and responses that each person has."""
    found = []
    for i in range(len(population)):
        subject = population[i]
        seen = np.asarray(subject.mask)
        found.append((np.asarray(subject.time)[seen], np.asarray(subject.y)[seen]))
    return found


def _design(time: Float[ArrayLike, " n"]) -> Float[np.ndarray, "n 2"]:
    time = np.asarray(time, float)
    return np.stack([np.ones(time.size), time], axis=1)


def log_marginal(kind: Kind, time: Float[ArrayLike, " n"], y: Float[ArrayLike, " n"]) -> float:
    """log N(y; Z beta, V); 0 without a measurement."""
    z = _design(time)
    left = np.asarray(y, float) - z @ kind.beta
    factor = cho_factor(z @ kind.omega @ z.T + kind.sigma**2 * np.eye(left.size), lower=True)
    log_det = 2.0 * np.sum(np.log(np.diag(factor[0])))
    return float(-0.5 * (left @ cho_solve(factor, left) + log_det + left.size * np.log(2 * np.pi)))


def own_line(
    kind: Kind, time: Float[ArrayLike, " n"], y: Float[ArrayLike, " n"]
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
    """Mean and covariance of a person's level and slope, if they are of this kind and gave these measurements."""
    z = _design(time)
    left = np.asarray(y, float) - z @ kind.beta
    v = z @ kind.omega @ z.T + kind.sigma**2 * np.eye(left.size)
    gain = np.linalg.solve(v, z @ kind.omega).T
    return kind.beta + gain @ left, kind.omega - gain @ z @ kind.omega


def responsibilities(log_shares: Float[ArrayLike, " K"], log_l: Float[ArrayLike, " K"]) -> Float[np.ndarray, " K"]:
    """pi_k L_k over its sum."""
    each = np.asarray(log_shares) + np.asarray(log_l)
    return np.exp(each - logsumexp(each))


class Mixed(NamedTuple):
    """Of m times a mixture of K normals: the weights (K,), or (m, 1, K), the middles and SDs (m, K)."""

    weight: Float[np.ndarray, "*m K"]
    mean: Float[np.ndarray, "m K"]
    sd: Float[np.ndarray, "m K"]

    def density(self, y: Float[ArrayLike, "m G"]) -> Float[np.ndarray, "m G"]:
        """p(y) at points for each time."""
        away = (np.asarray(y)[:, :, None] - self.mean[:, None, :]) / self.sd[:, None, :]
        return np.sum(self.weight * norm.pdf(away) / self.sd[:, None, :], axis=2)

    def below(self, y: Float[ArrayLike, "m G"]) -> Float[np.ndarray, "m G"]:
        """P(response < y)."""
        away = (np.asarray(y)[:, :, None] - self.mean[:, None, :]) / self.sd[:, None, :]
        return np.sum(self.weight * norm.cdf(away), axis=2)


def ahead(
    kinds: list[Kind],
    log_shares: Float[ArrayLike, " K"],
    time: Float[ArrayLike, " n"],
    y: Float[ArrayLike, " n"],
    at: Float[ArrayLike, " m"],
) -> Mixed:
    """What a person's next responses may be at times `at`, after measurements `y` at `time`."""
    z = _design(at)
    log_l = np.array([log_marginal(kind, time, y) for kind in kinds])
    weight = responsibilities(log_shares, log_l)
    middles = []
    spreads = []
    for kind in kinds:
        mean, covariance = own_line(kind, time, y)
        middles.append(z @ mean)
        spreads.append(np.sqrt(np.sum((z @ covariance) * z, axis=1) + kind.sigma**2))
    return Mixed(weight, np.stack(middles, axis=1), np.stack(spreads, axis=1))


class Cut(NamedTuple):
    """The smallest set at one time: its density at the `height` of the cut, and its intervals (parts, 2)."""

    height: float
    parts: Float[np.ndarray, "parts 2"]

    @property
    def length(self) -> float:
        """Of all intervals together."""
        return float(np.sum(self.parts[:, 1] - self.parts[:, 0]))


def smallest_sets(mixed: Mixed, level: float) -> list[Cut]:
    """{y: p(y) >= c} with probability `level`, at each time, by a fine grid. Source: Hyndman (1996), Am. Stat. 50."""
    low = np.min(mixed.mean - _REACH * mixed.sd, axis=1)
    high = np.max(mixed.mean + _REACH * mixed.sd, axis=1)
    y = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, _POINTS)
    p = mixed.density(y)
    found = []
    for grid, height in zip(y, p, strict=True):
        step = grid[1] - grid[0]
        falling = np.sort(height)[::-1]
        held = (np.cumsum(falling) - 0.5 * falling) * step
        cut = float(np.interp(level, held, falling))
        found.append(Cut(cut, _parts(grid, height, cut)))
    return found


def _parts(y: np.ndarray, p: np.ndarray, cut: float) -> np.ndarray:
    """Where p crosses the cut, on straight lines between points, two by two."""
    turns = np.flatnonzero(np.diff((p >= cut).astype(int)))
    ends = y[turns] + (cut - p[turns]) / (p[turns + 1] - p[turns]) * (y[turns + 1] - y[turns])
    return ends.reshape(-1, 2)


class Normals(NamedTuple):
    """A mixture of K normals for one number per person, its log-likelihood, BIC, and responsibilities (N, K)."""

    share: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    log_likelihood: float
    bic: float
    responsibilities: np.ndarray


def normals(y: Float[ArrayLike, " N"], classes: int, steps: int = 400, least: float = 0.0) -> Normals:
    """K normals by EM, from quantiles of y; the lowest class first. `least` is the smallest SD that is allowed."""
    y = np.asarray(y, float)
    mean = np.quantile(y, (np.arange(classes) + 0.5) / classes)
    sd = np.full(classes, np.std(y) / classes)
    share = np.full(classes, 1.0 / classes)
    for _ in range(steps):
        each = np.log(share) + norm.logpdf(y[:, None], mean, sd)
        r = np.exp(each - logsumexp(each, axis=1, keepdims=True))
        weight = np.sum(r, axis=0)
        share = weight / y.size
        mean = r.T @ y / weight
        sd = np.maximum(np.sqrt(np.sum(r * (y[:, None] - mean) ** 2, axis=0) / weight), least)
    each = np.log(share) + norm.logpdf(y[:, None], mean, sd)
    value = float(np.sum(logsumexp(each, axis=1)))
    order = np.argsort(mean)
    r = np.exp(each - logsumexp(each, axis=1, keepdims=True))
    bic = -2.0 * value + (3 * classes - 1) * np.log(y.size)
    return Normals(share[order], mean[order], sd[order], value, bic, r[:, order])
