"""Exercise 10.7, log weights of draws, and the forecast that they give; standard errors are in errors_10.py."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from workshop.checks.bound_10 import log_normal
from workshop.checks.derived import Derived
from workshop.checks.divergence_10 import LOG_2PI
from workshop.checks.engine import Function, Wrong, called, slip


def log_weights(theta: Any, y: Any, time: Any, mean: Any, lower: Any, normal: Any) -> np.ndarray:
    """log p(y, eta) - log q(eta) at each draw, (M,), for y = theta0 eta0 + theta1 eta1 t + e with SD theta2."""
    return _other_weights()(theta, y, time, mean, lower, normal)


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
    log_p = likelihood(log_normal(y - curve, theta[2]))
    return log_p + prior(etas) - proposal(e, lower, etas, mean)


def _other_weights(**parts: Any) -> Callable:
    ways = partial(_weights, **parts)
    return lambda *given: ways(*[np.asarray(x, float) for x in given])


def a_guess(rng: np.random.Generator) -> tuple:
    time = np.arange(5.0)
    theta = rng.uniform(0.6, 1.5, 3)
    y = theta[0] * rng.normal() + theta[1] * rng.normal() * time + theta[2] * rng.normal(size=5)
    lower = np.array([[rng.uniform(0.4, 0.8), 0.0], [rng.uniform(-0.4, -0.2), rng.uniform(0.2, 0.5)]])
    guess = (theta, y, time, rng.normal(size=2), lower, rng.normal(size=(9, 2)))
    return tuple(jnp.asarray(x) for x in guess)


def _weights_derived(answer: Callable) -> None:
    given = a_guess(np.random.default_rng(5))
    try:
        slope = called("Its derivative (jax.grad)", jax.grad(lambda theta: answer(theta, *given[1:]).sum()), given[0])
    except Wrong as wrong:
        raise Wrong(f"The numbers are right. {wrong.reason}", None) from None
    if not np.all(np.isfinite(np.asarray(slope))):
        raise Wrong("The numbers are right, and their derivative with respect to theta is not a number.", None)


WEIGHTS = Derived(
    "log_weights",
    truth=log_weights,
    inputs=a_guess,
    afterwards=_weights_derived,
    trials=2,
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


FORECAST = Function(
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
