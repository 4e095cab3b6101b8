"""Exercise 10.5, what a dimension says and what a diagonal q lacks; the fit that cures is judged in models_10.py."""

from collections.abc import Callable

import numpy as np

from workshop.checks.bound_10 import posterior_covariance, precision_of, rows_of_one
from workshop.checks.divergence_10 import a_covariance, divergence, log_det
from workshop.checks.engine import Function, slip


def nats(covariance: np.ndarray, noise: float) -> np.ndarray:
    """KL of each dimension for a decoder of noise SD `noise`: 1/2 log(lambda / noise^2), or 0; the largest first."""
    return np.maximum(0.0, 0.5 * np.log(_eigenvalues(covariance) / noise**2))


def _eigenvalues(covariance: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh(covariance)[::-1]


def _elbow(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    covariance = a_covariance(rng, 5, True) + 0.2 * np.eye(5)
    values = _eigenvalues(covariance)
    return covariance, float(np.sqrt(values[2] * values[3]) ** 0.5)  # three awake, two asleep


NATS = Function(
    "nats",
    truth=nats,
    inputs=_elbow,
    mistakes=[
        slip(
            lambda c, s: 0.5 * np.log(_eigenvalues(c) / s**2),
            2,
            "Some are negative, and no KL is: a direction that varies less than the noise sleeps, at 0.",
        ),
        slip(
            lambda c, s: np.where(_eigenvalues(c) > s**2, 0.5 * np.log(_eigenvalues(c) / s**2), np.nan),
            2,
            "A direction that sleeps says 0 nats, not NaN.",
        ),
        slip(
            lambda c, s: np.maximum(0.0, 0.5 * np.log(_eigenvalues(c) / s)),
            1,
            "noise is an SD. What a variance is held against is its square.",
        ),
        slip(
            lambda c, s: np.maximum(0.0, np.log(_eigenvalues(c) / s**2)),
            1,
            "The half is missing: 1/2 log of a ratio of variances is the log of a ratio of SDs.",
        ),
        slip(
            lambda c, s: nats(c, s)[::-1],
            3,
            "The numbers are right, the smallest first: eigvalsh sorts upwards, so turn it round.",
        ),
        slip(
            lambda c, s: np.maximum(0.0, 0.5 * np.log2(_eigenvalues(c) / s**2)),
            1,
            "These are bits, by the logarithm to base 2. Nats take the natural one, np.log.",
        ),
        slip(
            lambda c, s: 0.5 * np.log1p(_eigenvalues(c) / s**2),
            2,
            "1 + lambda / noise² never falls below 1, so nothing would ever sleep. The noise is in lambda already: "
            "these are the variances of the data.",
        ),
        slip(
            lambda c, s: np.maximum(0.0, 0.5 * np.log(np.sort(np.diagonal(c))[::-1] / s**2)),
            1,
            "The variances at the single times are taken. A decoder may mix times, so the eigenvalues count.",
        ),
        slip(
            lambda c, s: np.maximum(0.0, 0.5 * np.log(np.sqrt(_eigenvalues(c)) / s)),
            1,
            "A ratio of SDs has its half already: 1/2 log of variances is log of SDs.",
        ),
    ],
)


def lost(z: np.ndarray, omega: np.ndarray, sigma: float) -> float:
    """What the best diagonal q lacks of log L: -1/2 log det R, R the correlations of the posterior's precision."""
    precision = precision_of(z, omega, sigma)
    return float(0.5 * (np.sum(np.log(np.diagonal(precision))) - log_det(precision)))


def _lost_by(variances: Callable) -> Callable:
    """KL of N(m, diag(variances of (precision))) from the posterior N(m, precision^-1)."""

    def gap(z, omega, sigma):
        precision = precision_of(z, omega, sigma)
        v = variances(precision)
        return 0.5 * (np.sum(np.diagonal(precision) * v) - len(v) - np.sum(np.log(v)) - log_det(precision))

    return gap


def _correlations(matrix: np.ndarray) -> np.ndarray:
    sd = np.sqrt(np.diagonal(matrix))
    return matrix / np.outer(sd, sd)


LOST = Function(
    "lost",
    truth=lost,
    inputs=lambda rng: rows_of_one(rng)[1:],
    mistakes=[
        slip(
            lambda z, w, s: -lost(z, w, s),
            3,
            "The sign is turned: log det R is negative, and what is lacking is positive.",
        ),
        slip(lambda z, w, s: 2 * lost(z, w, s), 3, "The half in front is missing."),
        slip(
            lambda z, w, s: -0.5 * log_det(_correlations(posterior_covariance(z, w, s))),
            1,
            "These are the correlations of the posterior's covariance. Of three or more random effects those of its "
            "*precision* are others, and they are what counts: the best diagonal q has the variances 1/Λ_jj.",
        ),
        slip(
            _lost_by(lambda p: np.diagonal(np.linalg.inv(p))),
            2,
            "Your q has the posterior's own variances. That is not the best diagonal q: the best is narrower, with one "
            "over the diagonal of the precision.",
        ),
        slip(
            lambda z, w, s: -0.5 * log_det(precision_of(z, w, s)),
            2,
            "This is the log-determinant of the precision. Of R it is, of the precision scaled to a diagonal of ones.",
        ),
        slip(
            lambda z, w, s: -0.5 * log_det(_correlations(z.T @ z / s**2)),
            1,
            "The prior's precision is missing in Λ.",
        ),
        slip(
            lambda z, w, s: -0.5 * log_det(_correlations(z.T @ z / s**2 + w)),
            1,
            "Λ has omega's inverse in it, not omega.",
        ),
        slip(
            lambda z, w, s: lost(z, w, np.sqrt(s)),
            1,
            "sigma is an SD: its square stands in Λ.",
        ),
        slip(
            lambda z, w, s: 1 - np.linalg.det(_correlations(precision_of(z, w, s))),
            3,
            "Take the logarithm of the determinant: nats are logarithms.",
        ),
        slip(
            lambda z, w, s: np.linalg.det(_correlations(precision_of(z, w, s))),
            3,
            "This is det R itself. Asked for is −1/2 of its logarithm.",
        ),
        slip(
            lambda z, w, s: divergence(np.zeros(3), np.diag(1 / np.diagonal(precision_of(z, w, s))), w),
            1,
            "This is the KL of the best diagonal q from the *prior*. What is lacking is its KL from the posterior.",
        ),
    ],
)
