"""Exercise 10.7, standard errors by the curvature of the log mean weight, and not by that of the bound."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from workshop.checks.divergence_10 import a_covariance
from workshop.checks.engine import Function, slip


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


ERRORS = Function(
    "errors",
    truth=errors,
    inputs=_people_and_draws,
    trials=2,  # each is differentiated anew
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
