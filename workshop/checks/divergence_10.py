"""Exercise 10.1, the KL of two Gaussians: what is right, and what each mistake is called."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from workshop.checks.engine import Function, slip

LOG_2PI = float(np.log(2 * np.pi))


def divergence(mean: np.ndarray, covariance: np.ndarray, omega: np.ndarray) -> float:
    """KL(N(mean, covariance) || N(0, omega))."""
    return _kl(mean, covariance, omega)


def log_det(matrix: np.ndarray) -> float:
    return float(np.linalg.slogdet(matrix)[1])


def _kl(
    m: np.ndarray,
    s: np.ndarray,
    w: np.ndarray,
    trace: Callable = lambda s, w: np.trace(np.linalg.solve(w, s)),
    away: Callable = lambda m, w: m @ np.linalg.solve(w, m),
    size: Callable = lambda k: -k,
    logs: Callable = lambda s, w: log_det(w) - log_det(s),
    half_logs: float = 0.5,
) -> float:
    """The divergence, of which every piece can be replaced by a wrong one."""
    return float(0.5 * (trace(s, w) + away(m, w) + size(len(m))) + half_logs * logs(s, w))


def _other_kl(**parts: Any) -> Callable:
    return lambda m, s, w: _kl(m, s, w, **parts)


def backwards(m: np.ndarray, s: np.ndarray, w: np.ndarray) -> float:
    """KL(N(0, w) || N(m, s))."""
    return _kl(m, w, s)


_full = itertools.cycle((True, False))
_sizes = itertools.cycle((2, 3, 3, 2))


def a_covariance(rng: np.random.Generator, k: int, full: bool) -> np.ndarray:
    """A covariance with SDs about 0.6 to 1.4, and correlations if `full`."""
    lower = np.diag(rng.uniform(0.6, 1.4, k))
    if full:
        lower += np.tril(rng.normal(0, 0.7, (k, k)), -1)
    return lower @ lower.T


def _two_gaussians(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    k = next(_sizes)
    full = next(_full)
    return rng.normal(size=k), a_covariance(rng, k, full), 1.5 * a_covariance(rng, k, full)


def diagonal_of(matrix: np.ndarray) -> np.ndarray:
    return np.diag(np.diagonal(matrix))


DIVERGENCE = Function(
    "KL of two Gaussians",
    truth=divergence,
    inputs=_two_gaussians,
    praise="It is zero only where q is the prior, and never negative: the price, in nats, of saying more of a person.",
    mistakes=[
        slip(
            backwards,
            1,
            "This is the KL the other way round, of the prior from q. The average of the log ratio is taken over q, so "
            "q's covariance stands in the trace and omega is inverted.",
        ),
        slip(
            _other_kl(logs=lambda s, w: 0.0),
            2,
            "The log-determinants are missing: without them the best q would have no width at all.",
        ),
        slip(
            _other_kl(logs=lambda s, w: -log_det(s)),
            2,
            "The log-determinant of omega is missing: right only for a prior whose determinant is one.",
        ),
        slip(
            _other_kl(logs=lambda s, w: log_det(w)),
            2,
            "The log-determinant of q's covariance is missing, the only term that keeps q from shrinking to a point.",
        ),
        slip(
            _other_kl(logs=lambda s, w: log_det(s) - log_det(w)),
            2,
            "The log-determinants have each other's sign: omega's is added, that of q's covariance taken off.",
        ),
        slip(
            _other_kl(size=lambda k: 0),
            3,
            "K is not taken off: for q equal to the prior your KL is half the number of dimensions, and should be 0.",
        ),
        slip(_other_kl(size=lambda k: k), 3, "K is added, and should be taken off."),
        slip(_other_kl(size=lambda k: -1), 3, "A one is taken off, and it should be one for each dimension: K."),
        slip(
            _other_kl(half_logs=1.0),
            3,
            "The half stands in front of everything, the log-determinants too. (Of Cholesky factors they would be "
            "right without it, for these have half the log-determinant.)",
        ),
        slip(
            lambda m, s, w: _kl(m, diagonal_of(s), diagonal_of(w)),
            2,
            "You took the diagonals only. That is right for independent random effects, half of the cases here, and "
            "not where q or the prior is correlated.",
        ),
        slip(
            _other_kl(logs=lambda s, w: log_det(w) - np.sum(np.log(np.diagonal(s)))),
            2,
            "The determinant of q's covariance is taken for the product of its diagonal: so it is only where nothing "
            "is correlated.",
        ),
        slip(
            _other_kl(logs=lambda s, w: np.sum(np.log(np.diagonal(w)) - np.log(np.diagonal(s)))),
            2,
            "A determinant is the product of the diagonal only where nothing is correlated: np.linalg.slogdet.",
        ),
        slip(
            lambda m, s, w: _kl(m, s, np.eye(len(m))),
            1,
            "This is the KL from N(0, I). The prior here is N(0, omega).",
        ),
        slip(
            _other_kl(trace=lambda s, w: np.trace(s)),
            1,
            "In the trace q's covariance is measured against the prior's: trace of omega's inverse times it.",
        ),
        slip(
            _other_kl(away=lambda m, w: m @ m),
            1,
            "The mean is measured in the prior's unit: mean' times omega's inverse times mean.",
        ),
        slip(_other_kl(away=lambda m, w: 0.0), 1, "The mean does not count: a q that sits far off costs as well."),
        slip(
            _other_kl(away=lambda m, w: m @ w @ m),
            1,
            "The mean's term has omega where its inverse belongs: far off in a narrow prior costs most.",
        ),
        slip(
            _other_kl(
                trace=lambda s, w: np.sum(np.diagonal(s) / np.diagonal(w)),
                away=lambda m, w: np.sum(m**2 / np.diagonal(w)),
            ),
            2,
            "omega was inverted entry by entry. Of a matrix with correlations the inverse is another: np.linalg.inv.",
        ),
        slip(
            _other_kl(size=lambda k: k * LOG_2PI, logs=lambda s, w: log_det(w)),
            1,
            "This is minus the average of log p alone. The KL has the average of log q in it, too.",
        ),
        slip(
            lambda m, s, w: 2 * _kl(m, s, w),
            3,
            "This is twice what is asked for: the half in front is missing.",
        ),
    ],
)
