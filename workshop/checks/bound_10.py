"""Exercise 10.2, the bound of one person and the posterior where it is the log-likelihood."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workshop.checks.divergence_10 import LOG_2PI, a_covariance, backwards, diagonal_of, divergence, log_det
from workshop.checks.engine import Function, slip


def bound(
    y: np.ndarray,
    z: np.ndarray,
    omega: np.ndarray,
    sigma: float,
    mean: np.ndarray,
    lower: np.ndarray,
    normal: np.ndarray,
) -> float:
    """The bound of y = z eta + e with q = N(mean, lower lower'), the first part by the draws."""
    return _bound(y, z, omega, sigma, mean, lower, normal)


def log_normal(residual: np.ndarray, sigma: float) -> np.ndarray:
    """log density of the rows of each draw, (M, n)."""
    return -0.5 * (residual / sigma) ** 2 - np.log(sigma) - 0.5 * LOG_2PI


def _bound(
    y: np.ndarray,
    z: np.ndarray,
    omega: np.ndarray,
    sigma: float,
    mean: np.ndarray,
    lower: np.ndarray,
    normal: np.ndarray,
    draw: Callable = lambda mean, lower, e: mean + e @ lower.T,
    density: Callable = log_normal,
    rows: Callable = lambda log: log.sum(1),
    over: Callable = np.mean,
    cost: Callable = lambda mean, lower, omega, e: divergence(mean, lower @ lower.T, omega),
    sign: float = -1.0,
) -> float:
    etas = draw(mean, lower, normal)
    log_p = rows(density(y - etas @ z.T, sigma))
    return float(over(log_p) + sign * cost(mean, lower, omega, normal))


def _bound_paid_for_each_row(y: np.ndarray, *given: Any) -> Any:
    def cost(mean: np.ndarray, lower: np.ndarray, omega: np.ndarray, e: np.ndarray) -> Any:
        return len(y) * divergence(mean, lower @ lower.T, omega)

    return _other_bound(cost=cost)(y, *given)


def _other_bound(**parts: Any) -> Callable:
    return lambda *given: _bound(*given, **parts)


def _by_draws(mean: np.ndarray, lower: np.ndarray, omega: np.ndarray, e: np.ndarray) -> float:
    """The KL as the mean over the draws of log q - log p."""
    etas = mean + e @ lower.T
    log_q = -0.5 * np.sum(e**2, 1) - np.log(np.diagonal(lower)).sum()
    log_p = -0.5 * np.sum(etas * np.linalg.solve(omega, etas.T).T, 1) - 0.5 * log_det(omega)
    return float(np.mean(log_q - log_p))


def rows_of_one(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """y, z, omega and sigma of one person with three random effects."""
    n = int(rng.integers(5, 8))
    z = np.column_stack([np.ones(n), np.sort(rng.uniform(0, 4, n)), rng.normal(size=n)])
    omega = a_covariance(rng, 3, True)
    sigma = float(rng.choice([0.5, 0.7, 1.3]))
    y = z @ np.linalg.cholesky(omega) @ rng.normal(size=3) + sigma * rng.normal(size=n)
    return y, z, omega, sigma


def _one_person(rng: np.random.Generator) -> tuple:
    k = 3
    lower = np.linalg.cholesky(0.5 * a_covariance(rng, k, True))
    return *rows_of_one(rng), rng.normal(size=k), lower, rng.normal(size=(7, k))


BOUND = Function(
    "bound",
    truth=bound,
    inputs=_one_person,
    mistakes=[
        slip(
            _other_bound(sign=1.0),
            1,
            "The KL is added, the slip of a slide in the talk: in a loss −(…) both signs turn, so there it "
            "is −E log p + KL. The bound itself has the KL with a minus.",
        ),
        slip(
            lambda *given: -_other_bound(sign=1.0)(*given),
            1,
            "This is the loss as one slide prints it, minus the sum of both. Its KL has the wrong sign, so training "
            "would carry q as far from the prior as it can. The bound is E log p minus KL.",
        ),
        slip(
            lambda *given: -_bound(*given),
            1,
            "This is the loss that a program minimises: the bound with its sign turned.",
        ),
        slip(
            _other_bound(cost=lambda *given: 0.0),
            1,
            "The KL is missing. Without it the best q is a point at the highest likelihood.",
        ),
        slip(
            _other_bound(over=lambda log: float(np.log(np.mean(np.exp(log))))),
            2,
            "The mean is taken of the densities, and then its logarithm. In the bound the logarithm comes first: that "
            "is the step of Jensen's inequality.",
        ),
        slip(_other_bound(over=np.sum), 2, "The draws are added up: the expectation under q is their mean."),
        slip(
            _other_bound(rows=lambda log: log.mean(1)),
            2,
            "The mean over the rows of y is taken. Independent rows multiply, so their logarithms add up.",
        ),
        slip(
            _other_bound(draw=lambda mean, lower, e: mean + e),
            1,
            "The draws have the covariance I: a standard normal draw is to be multiplied by the Cholesky factor.",
        ),
        slip(
            _other_bound(draw=lambda mean, lower, e: e @ lower.T),
            1,
            "The draws stand around zero: q stands around its mean.",
        ),
        slip(
            _other_bound(draw=lambda mean, lower, e: mean + e @ lower),
            3,
            "The draws have another covariance, lower' lower. With a draw in each row it is `normal @ lower.T`.",
        ),
        slip(
            _other_bound(draw=lambda mean, lower, e: mean + e * np.diagonal(lower)),
            2,
            "Only the diagonal of the factor was used: so the draws are independent, and those of q are not.",
        ),
        slip(
            _other_bound(draw=lambda mean, lower, e: mean + e @ (lower @ lower.T)),
            1,
            "The draws are multiplied by the covariance. It is its factor that belongs there, `lower`.",
        ),
        slip(
            lambda y, z, omega, sigma, mean, lower, e: _bound(
                y, z, omega, sigma, mean, lower, e, draw=lambda *_: e @ np.linalg.cholesky(omega).T
            ),
            1,
            "The draws are from the prior. In the bound the average is over q.",
        ),
        slip(
            _other_bound(draw=lambda mean, lower, e: mean[None, :]),
            1,
            "The likelihood is taken at the mean of q alone, without any draw: it does not see how wide q is.",
        ),
        slip(
            _other_bound(density=lambda r, s: -0.5 * (r / s) ** 2 - np.log(s)),
            3,
            "The constant of the normal density is missing, log 2π / 2 for every row: then no bound is near log L.",
        ),
        slip(
            _other_bound(density=lambda r, s: -0.5 * (r / s) ** 2),
            3,
            "The normalising constant of the normal density is missing: log sigma and log 2π / 2 for every row.",
        ),
        slip(
            _other_bound(density=lambda r, s: log_normal(r, np.sqrt(s))),
            2,
            "sigma is taken for a variance. It is an SD.",
        ),
        slip(
            _other_bound(cost=lambda mean, lower, omega, e: divergence(mean, lower @ lower.T, np.eye(3))),
            2,
            "The KL is the one from N(0, I). The prior is N(0, omega).",
        ),
        slip(
            _other_bound(cost=lambda mean, lower, omega, e: backwards(mean, lower @ lower.T, omega)),
            2,
            "The KL is the one the other way round, of the prior from q.",
        ),
        slip(
            _other_bound(cost=lambda mean, lower, omega, e: divergence(mean, lower, omega)),
            3,
            "The KL got the Cholesky factor in place of the covariance: lower @ lower.T.",
        ),
        slip(
            _other_bound(cost=lambda mean, lower, omega, e: divergence(mean, lower.T @ lower, omega)),
            3,
            "The KL got lower' lower. The covariance of q is lower @ lower.T.",
        ),
        slip(
            _other_bound(cost=lambda mean, lower, omega, e: len(e) * divergence(mean, lower @ lower.T, omega)),
            2,
            "The KL is counted once for every draw. There is one q, and it is paid for once.",
        ),
        slip(
            _bound_paid_for_each_row,
            2,
            "The KL is counted once for every row of y. There is one q for the whole person.",
        ),
        slip(
            _other_bound(cost=_by_draws),
            2,
            "The KL is taken by the draws as well. On average that is right, and noisier than need be: asked for is "
            "its closed form, your `divergence`.",
        ),
    ],
)


def posterior_covariance(z: np.ndarray, omega: np.ndarray, sigma: float) -> np.ndarray:
    """Cov(eta | y)."""
    return np.linalg.inv(precision_of(z, omega, sigma))


def precision_of(z: np.ndarray, omega: np.ndarray, sigma: float) -> np.ndarray:
    return z.T @ z / sigma**2 + np.linalg.inv(omega)


COVARIANCE = Function(
    "posterior_covariance",
    truth=posterior_covariance,
    inputs=lambda rng: rows_of_one(rng)[1:],
    mistakes=[
        slip(precision_of, 2, "This is the precision. The covariance is its inverse."),
        slip(
            lambda z, w, s: np.linalg.inv(z.T @ z / s**2),
            1,
            "The prior is missing: its precision is added to that of the data before anything is inverted.",
        ),
        slip(
            lambda z, w, s: np.linalg.inv(z.T @ z / s**2 + w),
            1,
            "Precisions add up: omega is a covariance, so its inverse is what is added.",
        ),
        slip(
            lambda z, w, s: np.linalg.inv(z.T @ z / s + np.linalg.inv(w)),
            2,
            "sigma is an SD: its square is the variance of a row.",
        ),
        slip(
            lambda z, w, s: np.linalg.inv(z.T @ z * s**2 + np.linalg.inv(w)),
            2,
            "The data's precision is *divided* by the variance of a row: noisier rows say less.",
        ),
        slip(
            lambda z, w, s: np.linalg.inv(z.T @ z + np.linalg.inv(w)),
            2,
            "sigma does not appear: noisier rows say less.",
        ),
        slip(
            lambda z, w, s: np.diag(1 / np.diagonal(precision_of(z, w, s))),
            2,
            "This is the best *diagonal* q, one over the diagonal of the precision. Here a full one is asked for, the "
            "posterior itself: invert the whole matrix.",
        ),
        slip(
            lambda z, w, s: diagonal_of(posterior_covariance(z, w, s)),
            2,
            "The covariances are cut off. In the posterior the random effects are correlated.",
        ),
        slip(
            lambda z, w, s: np.linalg.cholesky(posterior_covariance(z, w, s)),
            2,
            "This is its Cholesky factor. Asked for is the covariance.",
        ),
        slip(
            lambda z, w, s: np.linalg.inv(z.T @ z / s**2) + w,
            1,
            "Two covariances are added. It is precisions that add up when two sources say something of one thing.",
        ),
    ],
)


def posterior_mean(y: np.ndarray, z: np.ndarray, omega: np.ndarray, sigma: float) -> np.ndarray:
    """E(eta | y)."""
    return posterior_covariance(z, omega, sigma) @ z.T @ y / sigma**2


MEAN = Function(
    "posterior_mean",
    truth=posterior_mean,
    inputs=rows_of_one,
    mistakes=[
        slip(
            lambda y, z, w, s: posterior_covariance(z, w, s) @ z.T @ y,
            3,
            "The covariance and z' y are right; the variance sigma squared, by which they are divided, is missing.",
        ),
        slip(
            lambda y, z, w, s: np.linalg.lstsq(z, y, rcond=None)[0],
            1,
            "This is least squares, the person alone. The prior pulls it towards zero.",
        ),
        slip(
            lambda y, z, w, s: z.T @ y / s**2,
            3,
            "Multiply by the posterior covariance: this is what the data say, in units of precision.",
        ),
        slip(
            lambda y, z, w, s: posterior_covariance(z, w, s) @ z.T @ y / s,
            3,
            "sigma is an SD: divide by its square.",
        ),
        slip(
            lambda y, z, w, s: precision_of(z, w, s) @ z.T @ y / s**2,
            2,
            "Multiplied by the precision. It is its inverse, the covariance, that belongs there.",
        ),
        slip(
            lambda y, z, w, s: w @ z.T @ y / s**2,
            3,
            "Multiplied by the prior's covariance. It is the posterior's that belongs there.",
        ),
        slip(
            lambda y, z, w, s: np.diag(1 / np.diagonal(precision_of(z, w, s))) @ z.T @ y / s**2,
            2,
            "Multiplied by a diagonal covariance. The mean of the best q, a diagonal one too, needs the whole one.",
        ),
    ],
)
