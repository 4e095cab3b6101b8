"""One hidden layer on one curve, in NumPy: draws from the prior of its weights, and the MAP fit to a few points.

    f(t) = 0.9 + 0.4 (b + sum_j v_j a(u_j x + c_j)),    x = (t - 7.5) / 4.3          3 H + 1 numbers w for H units

With every weight N(0, 1 / (2 strength)), the MAP estimate minimises  sum_i (y_i - f(t_i))^2 / (2 sigma^2) + strength
sum w^2. That is a sum of squares, so Levenberg and Marquardt's method finds it, from the same start every time.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

import mefit as mf
from workshop.studies import indirect_response as study

CENTRE, SPREAD, SHIFT, SCALE = 7.5, 4.3, 0.9, 0.4
SIGMA = 0.2  # a rough assay: SD of the response
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {  # each with its derivative
    "tanh": (np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
    "ReLU": (lambda z: np.maximum(z, 0.0), lambda z: (z > 0).astype(float)),
    "sine": (np.sin, np.cos),
}


@dataclass(frozen=True)
class Data:
    """Points to train on, points held out, and the truth's values at both."""

    time: np.ndarray
    y: np.ndarray
    held_out_time: np.ndarray
    held_out_y: np.ndarray


def data(points: int = 16, seed: int = 4) -> Data:
    """Noisy responses of patient A: `points` of them spread over 15 hours to train on, and 30 others."""
    rng = np.random.default_rng(seed)
    every = SIGMA * rng.normal(size=(2, 100))
    time, held_out = np.linspace(0.0, 15.0, points), np.linspace(0.25, 14.75, 30)
    return Data(time, at(time) + every[0, :points], held_out, at(held_out) + every[1, :30])


def populations(given: Data) -> tuple[mf.Population, mf.Population]:
    """The points to train on and those held out, each as a population of one."""
    pairs = (given.time, given.y), (given.held_out_time, given.held_out_y)
    trained, held_out = (mf.Population.from_subjects([mf.Subject(jnp.asarray(t), y, t >= 0)]) for t, y in pairs)
    return trained, held_out


def at(time: np.ndarray) -> np.ndarray:
    """The true response of patient A."""
    return np.interp(time, study.FINE, _exact())


@functools.cache
def _exact() -> np.ndarray:
    return study.truth([1.0])[0]


def curve(weights: np.ndarray, time: np.ndarray, activation: str) -> np.ndarray:
    """f (..., n) of weights (..., 3 H + 1), in the order u, c, v, b."""
    u, c, v, b = _parts(weights)
    x = (time - CENTRE) / SPREAD
    hidden = ACTIVATIONS[activation][0](u[..., None, :] * x[:, None] + c[..., None, :])
    return SHIFT + SCALE * (b[..., None] + (hidden @ v[..., None])[..., 0])


def _parts(weights):
    h = (weights.shape[-1] - 1) // 3
    return weights[..., :h], weights[..., h : 2 * h], weights[..., 2 * h : 3 * h], weights[..., -1]


def _slope(weights: np.ndarray, time: np.ndarray, activation: str) -> np.ndarray:
    u, c, v, _ = _parts(weights)
    x = ((time - CENTRE) / SPREAD)[:, None]
    value, derivative = ACTIVATIONS[activation]
    z = u * x + c
    inner = v * derivative(z)
    return SCALE * np.concatenate([inner * x, inner, value(z), np.ones_like(x)], 1)


def from_prior(strength: float, units: int, draws: int, seed: int = 1) -> np.ndarray:
    """Weights (draws, 3 H + 1) from N(0, 1 / (2 strength)): the same normal numbers for every strength."""
    normal = np.random.default_rng(seed).normal(size=(draws, 3 * units + 1))
    return normal / np.sqrt(2.0 * strength)


def start(units: int, seed: int = 1) -> np.ndarray:
    """Steep units with their bends spread over the data, and a last layer near zero."""
    rng = np.random.default_rng(seed)
    u, place, v = 3.0 * rng.normal(size=units), rng.uniform(-1.7, 1.7, units), 0.1 * rng.normal(size=units)
    return np.concatenate([u, -u * place, v, [0.0]])


def _misfit(weights: np.ndarray, given: Data, strength: float, activation: str) -> tuple[np.ndarray, float]:
    """How far the curve is from each point, in SDs of the noise, and minus the log posterior without its constants."""
    gap = (given.y - curve(weights, given.time, activation)) / SIGMA
    return gap, float(0.5 * gap @ gap + strength * weights @ weights)


def penalised(weights: np.ndarray, given: Data, strength: float, activation: str) -> float:
    """Minus the log posterior, without its constants."""
    return _misfit(weights, given, strength, activation)[1]


def fit(given: Data, strength: float, units: int, activation: str = "tanh", steps: int = 80) -> np.ndarray:
    """The MAP estimate of the weights, at most `steps` damped Gauss-Newton steps from `start`."""
    w, damping = start(units), 1e-2
    gap, value = _misfit(w, given, strength, activation)
    for _ in range(steps):
        slope = _slope(w, given.time, activation) / SIGMA
        downhill = slope.T @ gap - 2.0 * strength * w
        # (slope' slope + d I)^-1 downhill by way of the matrix of points, which is smaller than that of weights.
        d = 2.0 * strength + damping
        small = slope @ slope.T
        small[np.diag_indices_from(small)] += d
        trial = w + (downhill - slope.T @ np.linalg.solve(small, slope @ downhill)) / d
        trial_gap, found = _misfit(trial, given, strength, activation)
        if found < value:
            done = value - found < 1e-7 * value
            w, gap, value, damping = trial, trial_gap, found, max(damping / 5.0, 1e-9)
            if done:
                break
        else:
            damping *= 5.0
            if damping > 1e9:
                break
    return w


def errors(weights: np.ndarray, given: Data, activation: str = "tanh") -> tuple[float, float]:
    """Root mean squared errors at the training points and at those held out."""
    pairs = (given.time, given.y), (given.held_out_time, given.held_out_y)
    trained, held_out = (float(np.sqrt(np.mean((curve(weights, t, activation) - y) ** 2))) for t, y in pairs)
    return trained, held_out
