"""What is right in the exercises of lesson 03, and the random cases that they are tried on.

Written in NumPy, with derivatives by hand, so that neither JAX nor the library can hide an error of theirs. Shapes come
in few sizes: whatever a learner writes with JAX is compiled once for each. Where an answer must be stable, every other
case is one that underflows.
"""

import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from scipy.special import logsumexp

import mefit as mf

LOG_2PI = float(np.log(2 * np.pi))

# ------------------------------------------------------------------------------------ a subject in the centre


def second_moment(s: float) -> float:
    """E w^2 / (E w)^2 in one dimension, for y = 0: w = N(0; eta, s^2), eta ~ N(0, 1)."""
    return (1 + s**2) / (s * np.sqrt(2 + s**2))


def draws_needed(s: float, d: int) -> float:
    """Prior draws for a relative error (SD over mean) of 10% in the likelihood of a subject with y = 0."""
    return 100 * (second_moment(s) ** d - 1)


_dimensions = itertools.cycle(((60, 2), (80, 120)))  # in 120 dimensions every weight underflows


def a_run(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Draws (M, d) from the prior, and s."""
    return rng.normal(size=next(_dimensions)), rng.uniform(0.15, 0.25)


def centre_weights(draws: np.ndarray, s: float) -> np.ndarray:
    """log p(y = 0 | eta) of every draw, (M,)."""
    return -0.5 * np.sum(draws**2, 1) / s**2 - draws.shape[1] * (np.log(s) + 0.5 * LOG_2PI)


def centre_exact(draws: np.ndarray, s: float) -> float:
    """log p(y = 0) in as many dimensions as the draws have."""
    return -0.5 * draws.shape[1] * (LOG_2PI + np.log(1 + s**2))


def error_and_size(log_weight: np.ndarray, exact: float) -> np.ndarray:
    """Error of the log of the mean weight, and effective sample size."""
    size = np.exp(2 * logsumexp(log_weight) - logsumexp(2 * log_weight))
    return np.array([logsumexp(log_weight) - np.log(len(log_weight)) - exact, size])


def one_run(draws: np.ndarray, s: float) -> np.ndarray:
    """What exercise 03.3 asks for."""
    return error_and_size(centre_weights(draws, s), centre_exact(draws, s))


# ------------------------------------------------------------------------------------ a nonlinear subject


class Decay(mf.Model):
    """A decaying concentration above a baseline, with three log-normal parameters and an additive error."""

    size: Array = mf.positive()
    rate: Array = mf.positive()
    base: Array = mf.positive()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        size, rate, base = self.size * jnp.exp(eta[0]), self.rate * jnp.exp(eta[1]), self.base * jnp.exp(eta[2])
        return dist.Normal(base + size * jnp.exp(-rate * subject.time), self.sigma)


def _a_decay(rng: np.random.Generator, rows: int, omega: np.ndarray) -> tuple[Decay, mf.Subject]:
    size, rate, base = rng.uniform(5, 9), rng.uniform(0.2, 0.5), rng.uniform(0.5, 1.5)
    values: dict[str, Any] = dict(size=size, rate=rate, base=base, omega=omega, sigma=rng.uniform(1.0, 1.8))
    model = Decay(**{name: jnp.asarray(value) for name, value in values.items()})
    time, (a, b, c) = np.linspace(0, 10, rows), np.exp(omega * rng.normal(size=3))
    y = base * c + size * a * np.exp(-rate * b * time) + rng.normal(0, model.sigma, rows)
    return model, mf.Subject(time=jnp.asarray(time), y=jnp.asarray(y), mask=jnp.ones(rows, bool))


def _mean(model: Decay, subject: mf.Subject, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The decaying part, the baseline, and rate times time, for eta (..., 3)."""
    size, rate, base = (float(x) * np.exp(eta[..., k]) for k, x in enumerate((model.size, model.rate, model.base)))
    exponent = rate[..., None] * np.asarray(subject.time)
    return size[..., None] * np.exp(-exponent), base[..., None], exponent


def log_weights(model: Decay, subject: mf.Subject, draws: Any) -> np.ndarray:
    """log p(y | eta) at every draw (M, 3)."""
    falling, base, _ = _mean(model, subject, np.asarray(draws))
    residual = (np.asarray(subject.y) - falling - base) / float(model.sigma)
    return -0.5 * np.sum(residual**2, -1) - subject.y.size * (np.log(float(model.sigma)) + 0.5 * LOG_2PI)


def log_prior(model: Decay, draws: Any) -> np.ndarray:
    """log p(eta) at every draw (M, 3)."""
    omega = np.asarray(model.omega)
    return -np.sum(0.5 * (np.asarray(draws) / omega) ** 2 + np.log(omega) + 0.5 * LOG_2PI, -1)


_rows = itertools.cycle(((6, 100), (1500, 150)))  # the likelihood of 1500 rows underflows


def a_subject_and_draws(rng: np.random.Generator) -> tuple[Decay, mf.Subject, Array]:
    """A model, a subject, and draws (M, 3) from its prior."""
    rows, count = next(_rows)
    omega = rng.uniform(0.2, 0.5, 3)
    return *_a_decay(rng, rows, omega), jnp.asarray(omega * rng.normal(size=(count, 3)))


def monte_carlo(model: Decay, subject: mf.Subject, draws: Array) -> float:
    """log of the mean of p(y | eta_m) over draws from the prior."""
    weights = log_weights(model, subject, draws)
    return float(logsumexp(weights) - np.log(len(weights)))


def bend(model: Decay, subject: mf.Subject, eta: Any, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of log p(y, eta), and minus its Hessian, by hand; without the second derivatives of the mean if not
    `exact`."""
    falling, base, exponent = _mean(model, subject, np.asarray(eta))
    prior, variance = np.asarray(model.omega) ** -2.0, float(model.sigma) ** 2
    residual = (np.asarray(subject.y) - falling - base) / variance
    slope = np.stack([falling, -exponent * falling, np.broadcast_to(base, falling.shape)], 1)
    precision = slope.T @ slope / variance + np.diag(prior)
    if exact:
        second = np.zeros((3, 3))
        second[0, 0] = residual @ falling
        second[0, 1] = second[1, 0] = residual @ (-exponent * falling)
        second[1, 1] = residual @ ((exponent**2 - exponent) * falling)
        second[2, 2] = np.sum(residual) * base[0]
        precision -= second
    return slope.T @ residual - prior * np.asarray(eta), precision


def a_subject_and_mode(rng: np.random.Generator) -> tuple[Decay, mf.Subject, Array]:
    """A model, a subject, and the mode of its random effects: three, so that a determinant shows a wrong sign."""
    while True:
        model, subject = _a_decay(rng, 6, rng.uniform(0.3, 0.6, 3))
        eta = np.zeros(3)
        for step in range(100):  # Gauss-Newton towards the mode, then Newton into it
            slope, precision = bend(model, subject, eta, exact=step > 60)
            move = np.linalg.solve(precision, slope)
            eta = eta + move / max(1.0, 2 * np.max(np.abs(move)))
        slope, precision = bend(model, subject, eta)
        if np.max(np.abs(slope)) < 1e-9 and np.min(np.linalg.eigvalsh(precision)) > 0:
            return model, subject, jnp.asarray(eta)


def laplace(model: Decay, subject: mf.Subject, mode: Any) -> float:
    """log p(y, mode) + (K/2) log 2 pi - (1/2) log|P|."""
    height = log_weights(model, subject, mode) + log_prior(model, mode)
    return float(height + 1.5 * LOG_2PI - 0.5 * np.linalg.slogdet(bend(model, subject, mode)[1])[1])


# ------------------------------------------------------------------------------------ k times yes in n visits


def log_joint(eta: Any, n: int, k: int, omega: float, math: Any = np) -> Any:
    """log of p(yes)^k p(no)^(n - k) and the density of eta: logit p(yes) = eta, eta ~ N(0, omega^2)."""
    prior = -0.5 * (eta / omega) ** 2 - np.log(omega) - 0.5 * LOG_2PI
    return k * eta - n * math.logaddexp(0.0, eta) + prior


def peak(n: int, k: int, omega: float) -> tuple[float, float]:
    """Mode and precision of that density, by Newton's method."""
    eta, precision = 0.0, 1.0
    for _ in range(60):
        p = 1 / (1 + np.exp(-eta))
        precision = n * p * (1 - p) + 1 / omega**2
        step = (k - n * p - eta / omega**2) / precision
        eta += step / max(1.0, abs(step))
    return float(eta), float(precision)


_GRID = np.linspace(-40, 40, 8001)


def areas(n: int, k: int, omega: float, precision: Callable | None = None) -> tuple[float, float]:
    """The area by Laplace and by a fine grid; `precision(data, prior)` may put the two curvatures together wrongly."""
    mode, full = peak(n, k, omega)
    prior = 1 / omega**2
    used = precision(full - prior, prior) if precision else full
    by_laplace = np.exp(log_joint(mode, n, k, omega)) * np.sqrt(2 * np.pi / used)
    return float(by_laplace), float(np.trapezoid(np.exp(log_joint(_GRID, n, k, omega)), _GRID))


def some_visits(rng: np.random.Generator) -> tuple[int, int, float]:
    """n, k and omega."""
    n = int(rng.integers(2, 20))
    return n, int(rng.integers(0, n // 2 + 1)), rng.uniform(0.8, 3.0)


_visits = itertools.cycle((None, 4000))  # the likelihood of 4000 visits underflows
_nodes = itertools.cycle((3, 3, 6, 6))


def a_peak(rng: np.random.Generator) -> tuple[Callable, float, float, int]:
    """A log density of one random effect, its mode, its precision there, and how many nodes."""
    n, omega = next(_visits) or int(rng.integers(3, 12)), rng.uniform(1.0, 3.0)
    k = int(rng.integers(1200, 1800)) if n > 100 else int(rng.integers(0, n // 3 + 1))
    return lambda eta: log_joint(eta, n, k, omega, jnp), *peak(n, k, omega), next(_nodes)


def rule(
    nodes: Callable = np.polynomial.hermite_e.hermegauss,
    correct: Callable = lambda z: 0.5 * z**2,
    scale: Callable = lambda precision: precision**-0.5,
    width: Callable | None = None,
    centred: bool = True,
    total: Callable = logsumexp,
) -> Callable:
    """Gauss-Hermite quadrature around a mode, of which every piece can be replaced by a wrong one.

    The nodes are mode + scale z; `width` is the factor of the change of variables, `scale` too unless it is given.
    """

    def quadrature(log_density, mode, precision, count):
        z, w = nodes(count)
        eta = mode * centred + scale(precision) * z
        terms = np.log(w) + correct(z) + np.asarray(log_density(jnp.asarray(eta)))
        return float(total(terms) + np.log((width or scale)(precision)))

    return quadrature
