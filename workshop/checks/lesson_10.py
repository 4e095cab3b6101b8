"""Exercises of lesson 10, variational autoencoders: what people take for right, and what each mistake is called.

The fits of 10.4 to 10.6 are judged in models_10.py.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from workshop.checks import models_10
from workshop.checks.engine import Exercise, Function, Judged, Parts, StillOpen, Wrong, called, slip

LOG_2PI = float(np.log(2 * np.pi))

# ------------------------------------------------------------------------------------ 1: a divergence


def divergence(mean: np.ndarray, covariance: np.ndarray, omega: np.ndarray) -> float:
    """KL(N(mean, covariance) || N(0, omega))."""
    return _kl(mean, covariance, omega)


def _log_det(matrix: np.ndarray) -> float:
    return float(np.linalg.slogdet(matrix)[1])


def _kl(
    m: np.ndarray,
    s: np.ndarray,
    w: np.ndarray,
    trace: Callable = lambda s, w: np.trace(np.linalg.solve(w, s)),
    away: Callable = lambda m, w: m @ np.linalg.solve(w, m),
    size: Callable = lambda k: -k,
    logs: Callable = lambda s, w: _log_det(w) - _log_det(s),
    half_logs: float = 0.5,
) -> float:
    """The divergence, of which every piece can be replaced by a wrong one."""
    return float(0.5 * (trace(s, w) + away(m, w) + size(len(m))) + half_logs * logs(s, w))


def _other_kl(**parts: Any) -> Callable:
    return lambda m, s, w: _kl(m, s, w, **parts)


def _backwards(m: np.ndarray, s: np.ndarray, w: np.ndarray) -> float:
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


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diag(np.diagonal(matrix))


_DIVERGENCE = Function(
    "KL of two Gaussians",
    truth=divergence,
    inputs=_two_gaussians,
    praise="It is zero only where q is the prior, and never negative: the price, in nats, of saying more of a person.",
    mistakes=[
        slip(
            _backwards,
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
            _other_kl(logs=lambda s, w: -_log_det(s)),
            2,
            "The log-determinant of omega is missing: right only for a prior whose determinant is one.",
        ),
        slip(
            _other_kl(logs=lambda s, w: _log_det(w)),
            2,
            "The log-determinant of q's covariance is missing, the only term that keeps q from shrinking to a point.",
        ),
        slip(
            _other_kl(logs=lambda s, w: _log_det(s) - _log_det(w)),
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
            lambda m, s, w: _kl(m, _diagonal(s), _diagonal(w)),
            2,
            "You took the diagonals only. That is right for independent random effects, half of the cases here, and "
            "not where q or the prior is correlated.",
        ),
        slip(
            _other_kl(logs=lambda s, w: _log_det(w) - np.sum(np.log(np.diagonal(s)))),
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
            _other_kl(size=lambda k: k * LOG_2PI, logs=lambda s, w: _log_det(w)),
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

# ------------------------------------------------------------------------------------ 2: the bound of one person


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


def _log_normal(residual: np.ndarray, sigma: float) -> np.ndarray:
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
    density: Callable = _log_normal,
    rows: Callable = lambda log: log.sum(1),
    over: Callable = np.mean,
    cost: Callable = lambda mean, lower, omega, e: divergence(mean, lower @ lower.T, omega),
    sign: float = -1.0,
) -> float:
    etas = draw(mean, lower, normal)
    log_p = rows(density(y - etas @ z.T, sigma))
    return float(over(log_p) + sign * cost(mean, lower, omega, normal))


def _other_bound(**parts: Any) -> Callable:
    return lambda *given: _bound(*given, **parts)


def _by_draws(mean: np.ndarray, lower: np.ndarray, omega: np.ndarray, e: np.ndarray) -> float:
    """The KL as the mean over the draws of log q - log p."""
    etas = mean + e @ lower.T
    log_q = -0.5 * np.sum(e**2, 1) - np.log(np.diagonal(lower)).sum()
    log_p = -0.5 * np.sum(etas * np.linalg.solve(omega, etas.T).T, 1) - 0.5 * _log_det(omega)
    return float(np.mean(log_q - log_p))


def _rows_of_one(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
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
    return *_rows_of_one(rng), rng.normal(size=k), lower, rng.normal(size=(7, k))


_BOUND = Function(
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
            lambda *given: -_bound(*given, sign=1.0),
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
            _other_bound(density=lambda r, s: _log_normal(r, np.sqrt(s))),
            2,
            "sigma is taken for a variance. It is an SD.",
        ),
        slip(
            _other_bound(cost=lambda mean, lower, omega, e: divergence(mean, lower @ lower.T, np.eye(3))),
            2,
            "The KL is the one from N(0, I). The prior is N(0, omega).",
        ),
        slip(
            _other_bound(cost=lambda mean, lower, omega, e: _backwards(mean, lower @ lower.T, omega)),
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
            lambda y, *given: _bound(y, *given, cost=lambda m, lower, w, e: len(y) * divergence(m, lower @ lower.T, w)),
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
    return np.linalg.inv(_precision(z, omega, sigma))


def _precision(z: np.ndarray, omega: np.ndarray, sigma: float) -> np.ndarray:
    return z.T @ z / sigma**2 + np.linalg.inv(omega)


_COVARIANCE = Function(
    "posterior_covariance",
    truth=posterior_covariance,
    inputs=lambda rng: _rows_of_one(rng)[1:],
    mistakes=[
        slip(_precision, 2, "This is the precision. The covariance is its inverse."),
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
            lambda z, w, s: np.diag(1 / np.diagonal(_precision(z, w, s))),
            2,
            "This is the best *diagonal* q, one over the diagonal of the precision. Here a full one is asked for, the "
            "posterior itself: invert the whole matrix.",
        ),
        slip(
            lambda z, w, s: _diagonal(posterior_covariance(z, w, s)),
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


_MEAN = Function(
    "posterior_mean",
    truth=posterior_mean,
    inputs=_rows_of_one,
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
            lambda y, z, w, s: _precision(z, w, s) @ z.T @ y / s**2,
            2,
            "Multiplied by the precision. It is its inverse, the covariance, that belongs there.",
        ),
        slip(
            lambda y, z, w, s: w @ z.T @ y / s**2,
            3,
            "Multiplied by the prior's covariance. It is the posterior's that belongs there.",
        ),
        slip(
            lambda y, z, w, s: np.diag(1 / np.diagonal(_precision(z, w, s))) @ z.T @ y / s**2,
            2,
            "Multiplied by a diagonal covariance. The mean of the best q, a diagonal one too, needs the whole one.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 3: a mask


def masked(mean: Any, sigma: Any, y: Any, mask: Any) -> float:
    """log density of the rows that were seen."""
    seen = np.asarray(mask, bool)
    residual = np.asarray(y)[seen] - np.asarray(mean)[seen]
    return float(np.sum(_log_normal(residual, float(sigma))))


_fillers = itertools.cycle((np.nan, 0.0))


def _with_gaps(rng: np.random.Generator) -> tuple:
    n = 8
    mask = np.ones(n, bool)
    mask[rng.choice(n, int(rng.integers(2, 5)), replace=False)] = False
    mean = rng.uniform(1.0, 6.0, n)
    y = mean + rng.normal(size=n)
    filled = np.where(mask, y, next(_fillers))
    return jnp.asarray(mean), jnp.asarray(rng.uniform(0.5, 0.9)), jnp.asarray(filled), jnp.asarray(mask)


def _numbers_of(f: Callable) -> Callable:
    """f of NumPy arrays and a float, for arguments of JAX."""
    return lambda m, s, y, mask: f(np.asarray(m), float(s), np.asarray(y), np.asarray(mask))


def _filled_by(fill: Callable) -> Callable:
    """All cells count, those that are missing with y = fill(m, y, mask)."""
    return _numbers_of(lambda m, s, y, mask: np.sum(_log_normal(np.where(mask, y, fill(m, y, mask)) - m, s)))


def _derived_and_vmapped(answer: Callable) -> None:
    """The value is right; now its derivative, and one program for people with other gaps."""
    rng = np.random.default_rng(3)
    mean = jnp.asarray(rng.normal(size=(2, 5)))
    mask = jnp.asarray([[True, True, False, True, False], [False, True, True, True, True]])
    y = jnp.where(mask, mean + 0.3, jnp.nan)
    try:
        slopes = jax.vmap(jax.grad(answer, (0, 1)), (0, None, 0, 0))(mean, jnp.asarray(0.7), y, mask)
    except jax.errors.NonConcreteBooleanIndexError:
        raise Wrong(
            "The value is right, but `y[mask]` has another length for everybody, so there is no one program for all "
            "(jax.vmap refuses it). Keep all rows, and choose with jnp.where.",
            1,
        ) from None
    except jax.errors.TracerArrayConversionError:
        raise Wrong("The value is right, but NumPy takes no derivatives: write jnp in place of np.", None) from None
    except Exception:
        called("Its derivative for two people at once (jax.vmap, jax.grad)", _slopes, answer, mean, y, mask)
        raise
    wanted = jnp.where(mask, 0.3 / 0.7**2, 0.0)
    if not np.all(np.isfinite(np.asarray(slopes[0]))):
        raise Wrong(
            "The value is right, and its derivative is not a number: where y is NaN the density is still computed, and "
            "zero times NaN is NaN. Put a number in the place of y *before* the density, by a first jnp.where.",
            3,
        )
    if not np.allclose(slopes[0], wanted):
        raise Wrong("The value is right, and its derivative with respect to the mean is not.", 3)


def _slopes(answer: Callable, mean: Any, y: Any, mask: Any) -> Any:
    return jax.vmap(jax.grad(answer, (0, 1)), (0, None, 0, 0))(mean, jnp.asarray(0.7), y, mask)


@dataclass(frozen=True)
class Derived(Function):
    """A function whose value is judged first; then `afterwards(answer)` tries its derivatives."""

    afterwards: Callable[[Callable], None] | None = None

    def judge(self, answer: Any) -> None:
        super().judge(answer)
        if self.afterwards is not None:
            self.afterwards(answer)


_MASKED = Derived(
    "A cell that counts nothing",
    truth=masked,
    inputs=_with_gaps,
    afterwards=_derived_and_vmapped,
    praise="What was not seen is in neither the value nor any slope: nothing was filled in, and nothing was assumed.",
    mistakes=[
        slip(
            _numbers_of(lambda m, s, y, mask: np.sum(_log_normal(y - m, s))),
            1,
            "The mask is not used. Where a missing cell holds NaN all is NaN; where it holds a 0, that counts as a "
            "measurement of zero.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: np.nansum(_log_normal(y - m, s))),
            1,
            "It leaves out NaN, not what the mask says: a missing cell may hold any number, such as 0.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: np.sum(mask * _log_normal(y - m, s))),
            2,
            "Multiplied by the mask: 0 times NaN is NaN. Choose with jnp.where in place of multiplying.",
        ),
        slip(
            _filled_by(lambda m, y, mask: 0.0),
            2,
            "Missing cells are filled with 0, and then count as measurements of zero. Fill them, and leave their "
            "density out as well: two jnp.where.",
        ),
        slip(
            _filled_by(lambda m, y, mask: m),
            2,
            "The distance of a missing cell is zero, but its constant still counts: as if it had been measured, and "
            "exactly on the curve. That is imputation by the model's mean, and makes sigma too small.",
        ),
        slip(
            _filled_by(lambda m, y, mask: np.mean(y[mask])),
            2,
            "Missing cells are filled with the mean of the others and then count as measured: that is mean imputation.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, mask) / np.sum(mask)),
            1,
            "The mean over the cells that were seen is taken. A log-likelihood is their sum.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, mask) / len(mask)),
            1,
            "The mean over all cells is taken. A log-likelihood is a sum.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, mask) * len(mask) / np.sum(mask)),
            1,
            "Scaled up to the number of planned cells, as if those missing were like the others. They say nothing.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, ~mask)),
            1,
            "The mask is turned round: True means that the cell was seen.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: -0.5 * np.sum(((y - m)[mask] / s) ** 2)),
            3,
            "The constants of the normal density are missing: log sigma and log 2π / 2 for each cell that was seen.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, np.sqrt(s), y, mask)),
            3,
            "sigma is taken for a variance. It is an SD.",
        ),
        slip(
            _numbers_of(lambda m, s, y, mask: masked(m, s, y, mask) + 0.5 * LOG_2PI * np.sum(mask)),
            3,
            "log 2π / 2 is missing for each cell that was seen.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 5: collapse


def nats(covariance: np.ndarray, noise: float) -> np.ndarray:
    """KL of each dimension for a decoder of noise SD `noise`: 1/2 log(lambda / noise^2), or 0; the largest first."""
    return np.maximum(0.0, 0.5 * np.log(_eigenvalues(covariance) / noise**2))


def _eigenvalues(covariance: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh(covariance)[::-1]


def _elbow(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    covariance = a_covariance(rng, 5, True) + 0.2 * np.eye(5)
    values = _eigenvalues(covariance)
    return covariance, float(np.sqrt(values[2] * values[3]) ** 0.5)  # three awake, two asleep


_NATS = Function(
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
    precision = _precision(z, omega, sigma)
    return float(0.5 * (np.sum(np.log(np.diagonal(precision))) - _log_det(precision)))


def _lost_by(variances: Callable) -> Callable:
    """KL of N(m, diag(variances of (precision))) from the posterior N(m, precision^-1)."""

    def gap(z, omega, sigma):
        precision = _precision(z, omega, sigma)
        v = variances(precision)
        return 0.5 * (np.sum(np.diagonal(precision) * v) - len(v) - np.sum(np.log(v)) - _log_det(precision))

    return gap


def _correlations(matrix: np.ndarray) -> np.ndarray:
    sd = np.sqrt(np.diagonal(matrix))
    return matrix / np.outer(sd, sd)


_LOST = Function(
    "lost",
    truth=lost,
    inputs=lambda rng: _rows_of_one(rng)[1:],
    mistakes=[
        slip(
            lambda z, w, s: -lost(z, w, s),
            3,
            "The sign is turned: log det R is negative, and what is lacking is positive.",
        ),
        slip(lambda z, w, s: 2 * lost(z, w, s), 3, "The half in front is missing."),
        slip(
            lambda z, w, s: -0.5 * _log_det(_correlations(posterior_covariance(z, w, s))),
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
            lambda z, w, s: -0.5 * _log_det(_precision(z, w, s)),
            2,
            "This is the log-determinant of the precision. Of R it is, of the precision scaled to a diagonal of ones.",
        ),
        slip(
            lambda z, w, s: -0.5 * _log_det(_correlations(z.T @ z / s**2)),
            1,
            "The prior's precision is missing in Λ.",
        ),
        slip(
            lambda z, w, s: -0.5 * _log_det(_correlations(z.T @ z / s**2 + w)),
            1,
            "Λ has omega's inverse in it, not omega.",
        ),
        slip(
            lambda z, w, s: lost(z, w, np.sqrt(s)),
            1,
            "sigma is an SD: its square stands in Λ.",
        ),
        slip(
            lambda z, w, s: 1 - np.linalg.det(_correlations(_precision(z, w, s))),
            3,
            "Take the logarithm of the determinant: nats are logarithms.",
        ),
        slip(
            lambda z, w, s: np.linalg.det(_correlations(_precision(z, w, s))),
            3,
            "This is det R itself. Asked for is −1/2 of its logarithm.",
        ),
        slip(
            lambda z, w, s: divergence(np.zeros(3), np.diag(1 / np.diagonal(_precision(z, w, s))), w),
            1,
            "This is the KL of the best diagonal q from the *prior*. What is lacking is its KL from the posterior.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 6: missing at random

WAYS = {  # what each estimate of the mean at the last visit is, and why
    "available cases": ("too low", "Those who are left are the ones with little pain. Their mean is theirs alone."),
    "last value carried forward": (
        "too high",
        "Scores fall from week to week, and those who left did so early, with a high score that is then kept.",
    ),
    "mean imputation": (
        "too low",
        "Filling in the mean of those who are left gives the mean of those who are left, once more.",
    ),
    "available cases, leaving by lot": (
        "right",
        "Where a lot decides who leaves, those who stay are a random half of all.",
    ),
    "last value carried forward, leaving by lot": (
        "too high",
        "Even where a lot decides, a score of week 2 is no score of week 5: pain falls meanwhile.",
    ),
    "the bound, leaving by the score that is missed": (
        "too low",
        "If people leave because of a score that nobody saw, then no method that looks at what was seen can know it: "
        "the high scores are missing, so it errs to the same side as those who stay.",
    ),
}
SAID = ("too low", "right", "too high")


def judge_ways(answer: Any) -> None:
    """`misled`: "too low", "right" or "too high" for each way."""
    if hasattr(answer, "to_dict"):  # a pandas Series
        answer = answer.to_dict()
    if not isinstance(answer, dict) or set(answer) != set(WAYS):
        raise Wrong("Keep the six names of `misled`, and put one of the three words after each.", None)
    given = {name: value if value is ... else " ".join(str(value).lower().split()) for name, value in answer.items()}
    if any(value is ... for value in given.values()):
        raise StillOpen
    for name, value in given.items():
        if value not in SAID:
            raise Wrong(f"{value!r}, for {name}, is none of {', '.join(map(repr, SAID))}.", None)
    wrong = [name for name, (truth, _) in WAYS.items() if given[name] != truth]
    if wrong:
        right = len(WAYS) - len(wrong)
        raise Wrong(f"{right} of {len(WAYS)} are right. Not so *{wrong[0]}*: {WAYS[wrong[0]][1]}", 3)


# ------------------------------------------------------------------------------------ 7: weights


def log_weights(theta: Any, y: Any, time: Any, mean: Any, lower: Any, normal: Any) -> np.ndarray:
    """log p(y, eta) - log q(eta) at each draw, (M,), for y = theta0 eta0 + theta1 eta1 t + e with SD theta2."""
    return _weights(*(np.asarray(x, float) for x in (theta, y, time, mean, lower, normal)))


def _weights(
    theta: np.ndarray,
    y: np.ndarray,
    time: np.ndarray,
    mean: np.ndarray,
    lower: np.ndarray,
    e: np.ndarray,
    draw: Callable = lambda mean, lower, e: mean + e @ lower.T,
    likelihood: Callable = lambda log: log.sum(1),
    prior: Callable = lambda etas: -0.5 * np.sum(etas**2, 1) - LOG_2PI,
    proposal: Callable = lambda e, lower, etas, mean: (
        -0.5 * np.sum(e**2, 1) - LOG_2PI - np.log(np.diagonal(lower)).sum()
    ),
) -> np.ndarray:
    etas = draw(mean, lower, e)
    curve = theta[0] * etas[:, :1] + theta[1] * etas[:, 1:] * time
    log_p = likelihood(_log_normal(y - curve, theta[2]))
    return log_p + prior(etas) - proposal(e, lower, etas, mean)


def _other_weights(**parts: Any) -> Callable:
    return lambda *given: _weights(*(np.asarray(x, float) for x in given), **parts)


def _a_guess(rng: np.random.Generator) -> tuple:
    time = np.arange(5.0)
    theta = rng.uniform(0.6, 1.5, 3)
    y = theta[0] * rng.normal() + theta[1] * rng.normal() * time + theta[2] * rng.normal(size=5)
    lower = np.array([[rng.uniform(0.4, 0.8), 0.0], [rng.uniform(-0.4, -0.2), rng.uniform(0.2, 0.5)]])
    guess = (theta, y, time, rng.normal(size=2), lower, rng.normal(size=(9, 2)))
    return tuple(jnp.asarray(x) for x in guess)


def _weights_derived(answer: Callable) -> None:
    given = _a_guess(np.random.default_rng(5))
    try:
        slope = called("Its derivative (jax.grad)", jax.grad(lambda theta: answer(theta, *given[1:]).sum()), given[0])
    except Wrong as wrong:
        raise Wrong(f"The numbers are right. {wrong.reason} Write jnp in place of np: theta is traced.", None) from None
    if not np.all(np.isfinite(np.asarray(slope))):
        raise Wrong("The numbers are right, and their derivative with respect to theta is not a number.", None)


_WEIGHTS = Derived(
    "log_weights",
    truth=log_weights,
    inputs=_a_guess,
    afterwards=_weights_derived,
    mistakes=[
        slip(
            _other_weights(proposal=lambda *given: 0.0),
            1,
            "The density of q is not divided out: draws that q favours would count twice over.",
        ),
        slip(
            _other_weights(prior=lambda etas: 0.0),
            1,
            "The prior p(eta) is missing: the joint density is p(y | eta) times p(eta).",
        ),
        slip(
            lambda *given: _other_weights(likelihood=lambda log: np.zeros(len(log)))(*given),
            1,
            "The likelihood of y is missing: this is the prior over q.",
        ),
        slip(
            _other_weights(
                proposal=lambda e, lower, etas, mean: -0.5 * np.sum(e**2, 1) - LOG_2PI,
            ),
            3,
            "The log-determinant of q's factor is missing in log q: a narrow q has a high density.",
        ),
        slip(
            _other_weights(
                proposal=lambda e, lower, etas, mean: (
                    -0.5 * np.sum(e**2, 1) - LOG_2PI + np.log(np.diagonal(lower)).sum()
                )
            ),
            3,
            "The log-determinant in log q has the wrong sign: a narrow q has a *high* density.",
        ),
        slip(
            _other_weights(
                proposal=lambda e, lower, etas, mean: (
                    -0.5 * np.sum(e**2, 1) - LOG_2PI - 2 * np.log(np.diagonal(lower)).sum()
                )
            ),
            3,
            "log q has half the log-determinant of the covariance: that of the factor, once.",
        ),
        slip(
            _other_weights(
                proposal=lambda e, lower, etas, mean: (
                    -0.5 * np.sum(((etas - mean) / np.diagonal(lower)) ** 2, 1)
                    - LOG_2PI
                    - np.log(np.diagonal(lower)).sum()
                )
            ),
            2,
            "log q is that of independent draws. They are correlated: in terms of `normal` it is that of N(0, I), less "
            "the log-determinant of the factor.",
        ),
        slip(
            _other_weights(draw=lambda mean, lower, e: mean + e @ lower),
            2,
            "The draws have another covariance, lower' lower: with a draw in each row it is `normal @ lower.T`.",
        ),
        slip(
            _other_weights(draw=lambda mean, lower, e: mean + e),
            2,
            "The draws have the covariance I: multiply them by the factor of q.",
        ),
        slip(
            _other_weights(likelihood=lambda log: log.mean(1)),
            2,
            "The mean over the rows of y is taken. Their log densities add up.",
        ),
        slip(
            lambda *given: np.exp(log_weights(*given)),
            1,
            "These are the weights. Asked for are their logarithms, which do not underflow.",
        ),
        slip(
            lambda theta, *given: _other_weights()(np.asarray(theta) ** np.array([1, 1, 0.5]), *given),
            2,
            "theta[2] is taken for a variance. It is an SD.",
        ),
        slip(
            _other_weights(
                prior=lambda etas: -0.5 * np.sum(etas**2, 1),
                proposal=lambda e, lower, etas, mean: (
                    -0.5 * np.sum(e**2, 1) - LOG_2PI - np.log(np.diagonal(lower)).sum()
                ),
            ),
            3,
            "log 2π stands in log q and not in log p(eta): both are densities of two numbers.",
        ),
        slip(
            _other_weights(
                proposal=lambda e, lower, etas, mean: -0.5 * np.sum(etas**2, 1) - LOG_2PI,
                prior=lambda etas: -0.5 * np.sum(etas**2, 1) - LOG_2PI,
            ),
            1,
            "The prior is divided out in place of q. The draws are from q.",
        ),
    ],
)


def forecast(log_weight: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Posterior mean and SD of a quantity, from its values at the draws."""
    return _forecast(log_weight, value)


def _normalised(log_weight: np.ndarray) -> np.ndarray:
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum()


def _forecast(
    log_weight: np.ndarray,
    value: np.ndarray,
    share: Callable = _normalised,
    spread: Callable = lambda w, v, m: np.sqrt(np.sum(w * (v - m) ** 2)),
) -> np.ndarray:
    w = share(log_weight)
    mean = np.sum(w * value)
    return np.array([mean, spread(w, value, mean)])


def _other_forecast(**parts: Any) -> Callable:
    return lambda log_weight, value: _forecast(np.asarray(log_weight), np.asarray(value), **parts)


_levels = itertools.cycle((0.0, -2000.0))  # every other case underflows


def _draws(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return next(_levels) + rng.normal(size=20), rng.normal(3.0, 1.0, 20)


_FORECAST = Function(
    "forecast",
    truth=forecast,
    inputs=_draws,
    mistakes=[
        slip(
            lambda w, v: _forecast(w, v, share=lambda w: np.exp(w) / np.exp(w).sum()),
            3,
            "It is 0/0 where all weights are tiny, as after many rows: take the largest log weight off before exp. "
            "Otherwise it is right.",
        ),
        slip(
            _other_forecast(share=lambda w: np.full(len(w), 1 / len(w))),
            1,
            "All draws count the same: this is what the encoder guessed. The weights put its guess right.",
        ),
        slip(
            _other_forecast(share=lambda w: np.exp(w)),
            2,
            "The weights do not add up to one: divide them by their sum.",
        ),
        slip(
            _other_forecast(share=lambda w: np.exp(w - w.max())),
            2,
            "The weights do not add up to one: divide them by their sum.",
        ),
        slip(
            _other_forecast(share=lambda w: w / w.sum()),
            1,
            "Weighted with the logarithms. Take their exponential first.",
        ),
        slip(
            _other_forecast(spread=lambda w, v, m: np.sum(w * (v - m) ** 2)),
            3,
            "The mean is right. The second number is the variance; asked for is the SD.",
        ),
        slip(
            _other_forecast(spread=lambda w, v, m: np.sqrt(np.sum(w * v**2))),
            3,
            "The mean is right. In the SD it is not taken off: the values are squared as they are.",
        ),
        slip(
            _other_forecast(spread=lambda w, v, m: np.std(v)),
            3,
            "The mean is right. The SD is that of the draws as they came, without weights.",
        ),
        slip(
            _other_forecast(spread=lambda w, v, m: np.sqrt(np.sum(w * (v - v.mean()) ** 2))),
            3,
            "The mean is right. The SD goes around the mean of the draws as they came, not around the weighted one.",
        ),
        slip(
            _other_forecast(spread=lambda w, v, m: np.sqrt(np.sum(w**2 * (v - m) ** 2))),
            3,
            "The mean is right. The second number says how sure the *mean* is, after so many draws; asked for is how "
            "far the quantity itself may lie.",
        ),
        slip(
            lambda w, v: np.array([v[np.argmax(w)], forecast(w, v)[1]]),
            2,
            "The first number is the value at the draw that counts most. All of them count, by their weights.",
        ),
    ],
)


def errors(log_weights_of: Callable, theta: Any) -> np.ndarray:
    """Standard errors by the Hessian of the importance-sampling log-likelihood."""
    return _errors(log_weights_of, theta)


def _log_mean(w: Any) -> Any:
    return jnp.sum(logsumexp(w, axis=1) - jnp.log(w.shape[1]))


def _errors(
    log_weights_of: Callable,
    theta: Any,
    total: Callable = _log_mean,
    end: Callable = lambda h: np.sqrt(np.diagonal(np.linalg.inv(-h))),
) -> np.ndarray:
    return np.asarray(end(np.asarray(jax.hessian(lambda t: total(log_weights_of(t)))(theta))))


def _other_errors(**parts: Any) -> Callable:
    return lambda log_weights_of, theta: _errors(log_weights_of, theta, **parts)


def _cross_products(log_weights_of: Callable, theta: Any) -> np.ndarray:
    scores = jax.jacobian(lambda t: logsumexp(log_weights_of(t), axis=1))(theta)
    return np.sqrt(np.diagonal(np.linalg.inv(np.asarray(scores.T @ scores))))


def _people_and_draws(rng: np.random.Generator) -> tuple[Callable, Any]:
    people, draws = 6, 8
    centre = jnp.asarray(0.55 * rng.normal(size=(people, draws, 3)))
    root = jnp.asarray(np.linalg.cholesky(np.linalg.inv(a_covariance(rng, 3, True) + 0.3 * np.eye(3))))

    def log_weights_of(theta):
        return -0.5 * jnp.sum(((theta - centre) @ root) ** 2, axis=-1) - 3.0

    return log_weights_of, jnp.asarray(0.2 * rng.normal(size=3))


_ERRORS = Function(
    "errors",
    truth=errors,
    inputs=_people_and_draws,
    mistakes=[
        slip(
            _other_errors(total=lambda w: jnp.sum(jnp.mean(w, axis=1))),
            1,
            "This is the curvature of the *bound*, the mean of the log weights. With q held fixed it counts eta as if "
            "it had been seen, so these errors are too small. Take the log of the mean weight, for every person.",
        ),
        slip(
            _other_errors(total=lambda w: logsumexp(w) - jnp.log(w.size)),
            2,
            "All people's draws are thrown into one mean. Each person has a likelihood of their own, and their "
            "logarithms add up.",
        ),
        slip(
            _other_errors(total=lambda w: logsumexp(jnp.sum(w, axis=0))),
            2,
            "The people's log weights are added up draw by draw first. Every person is averaged over their own draws.",
        ),
        slip(
            _other_errors(total=lambda w: _log_mean(w) / w.shape[0]),
            2,
            "This is the curvature of the mean over people. Information adds up: take the sum.",
        ),
        slip(
            _other_errors(end=lambda h: np.sqrt(np.diagonal(np.linalg.inv(h)))),
            3,
            "At a maximum the Hessian is negative: without its minus the variances are negative, and have no root.",
        ),
        slip(
            _other_errors(end=lambda h: np.diagonal(np.linalg.inv(-h))),
            3,
            "These are the variances. A standard error is the root.",
        ),
        slip(
            _other_errors(end=lambda h: 1 / np.sqrt(np.diagonal(-h))),
            3,
            "One over the diagonal: that is how sure a parameter were if all others were known. Invert the whole "
            "matrix first.",
        ),
        slip(
            _other_errors(end=lambda h: np.sqrt(np.diagonal(-h))),
            3,
            "This is the root of the information. The covariance is its inverse.",
        ),
        slip(
            _cross_products,
            2,
            "These come from the products of the scores, which estimate the same matrix where the model is right and "
            "people are many. Asked for is the Hessian.",
        ),
    ],
)

EXERCISES: dict[str, Exercise] = {
    "10.1": _DIVERGENCE,
    "10.2": Parts(
        "The bound of one person",
        [_BOUND, _COVARIANCE, _MEAN],
        praise="With q at the posterior nothing is lacking: log L = bound + KL, and that KL is 0.",
    ),
    "10.3": _MASKED,
    "10.4": Judged(
        "An encoder for everybody",
        models_10.judge_encoder,
        praise="One network answers for everybody, a new person too, and the weights of its draws say how well.",
    ),
    "10.5": Parts(
        "A random effect that sleeps",
        [_NATS, _LOST, Judged("cured", models_10.judge_cured)],
        praise="The gap did not warn, for at the collapsed end it is nearly zero. The KL of a dimension does, and so does "
        "the likelihood.",
    ),
    "10.6": Parts(
        "Missing at random",
        [Judged("at_the_end", models_10.judge_end), Judged("misled", judge_ways)],
        praise="Right under MAR: what was seen says who leaves, and the likelihood has seen it. No mean of those who "
        "stay has.",
    ),
    "10.7": Parts(
        "Weigh the guesses",
        [_WEIGHTS, _FORECAST, _ERRORS],
        praise="One set of weights serves a new person's future and the errors of theta, as long as enough draws count.",
    ),
}
