"""Gaussian random effects and observations, and their linearisation in eta."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Bool, Float

from ..data.subject import Subject, as_dict
from ..model.densities import eta_mean, observation_density
from ..model.model import Model
from ..model.outcomes import unwrapped

LOG_2PI = float(np.log(2.0 * np.pi))


def gaussian_effects(model: Model) -> tuple[Float[Array, " K"], Float[Array, "K K"]]:
    """Mean and Cholesky factor L (covariance L L') of Gaussian random effects; ValueError where they are not."""
    effects = model.random_effects()
    if effects is None:
        return jnp.zeros(0), jnp.zeros((0, 0))
    if isinstance(effects, dist.MultivariateNormal):
        return effects.loc, effects.scale_tril
    normal = unwrapped(effects)
    if isinstance(normal, dist.Normal):
        scale = jnp.broadcast_to(normal.scale, effects.shape())
        return eta_mean(model), jnp.diag(jnp.reshape(scale, -1))
    raise ValueError(
        f"FO and FOCE need Gaussian random effects, but {type(model).__name__}.random_effects returns "
        f"{type(effects).__name__}: use Laplace or AGQ, or a Normal or MultivariateNormal."
    )


def stacked(subject: Subject) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Responses and mask of a subject, several outcomes one after the other in the order of their names."""
    y = as_dict(subject.y)
    mask = as_dict(subject.mask)
    names = sorted(y)
    return jnp.concatenate([y[k] for k in names]), jnp.concatenate([mask[k] for k in names])


def gaussian_moments(
    model: Model, eta: Float[Array, " K"], subject: Subject
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Mean f and variance R of Gaussian observations, (n,) each, several outcomes stacked.

    Rows without a response get mean y and variance 1. ValueError where an outcome is not Gaussian, or is censored.
    """
    shape = subject.time.shape
    means = []
    variances = []
    for name, density in sorted(as_dict(observation_density(model, eta, subject)).items()):
        normal = unwrapped(density)
        if not isinstance(normal, dist.Normal):
            of_outcome = f" for {name}" if name else ""
            raise ValueError(
                f"FO and FOCE linearise a Gaussian observation, but {type(model).__name__}.observations returns "
                f"{type(normal).__name__}{of_outcome}: use Laplace, AGQ or ImportanceSampling."
            )
        means.append(jnp.broadcast_to(normal.loc, shape))
        variances.append(jnp.broadcast_to(normal.scale**2, shape))
    if subject.censored is not None:
        raise ValueError(
            "FO and FOCE linearise a Gaussian observation, and a censored one is none: use Laplace or AGQ."
        )
    y, mask = stacked(subject)
    f = jnp.where(mask, jnp.concatenate(means), y)
    return f, jnp.where(mask, jnp.concatenate(variances), 1.0)


def gaussian_marginal(residual: Array, jacobian: Array, chol: Array, variance: Array, mask: Array) -> Array:
    """log N(residual; 0, G L L' G' + R) over the observed rows, by the K x K form, which never inverts L L'."""
    m = jacobian @ chol
    a = jnp.eye(chol.shape[0]) + m.T @ (m / variance[:, None])
    lower = jnp.linalg.cholesky(a)
    c = jax.scipy.linalg.solve_triangular(lower, m.T @ (residual / variance), lower=True)
    log_det = jnp.sum(jnp.log(variance)) + 2.0 * half_log_det(lower)
    return -0.5 * (jnp.sum(mask) * LOG_2PI + log_det + jnp.sum(residual**2 / variance) - c @ c)


def linearised(model: Model, eta: Array, subject: Subject) -> tuple[Array, Array, Array, Array]:
    """Mean f and variance R of Gaussian observations, and the derivatives of f and of log R in eta."""

    def moments(eta):
        f, variance = gaussian_moments(model, eta, subject)
        return (f, jnp.log(variance)), (f, variance)

    (jacobian, relative), (f, variance) = jax.jacfwd(moments, has_aux=True)(eta)
    return f, variance, jacobian, relative


def half_log_det(lower: Array) -> Array:
    """(1/2) log|L L'| of a lower triangular L with a positive diagonal."""
    return jnp.sum(jnp.log(jnp.diagonal(lower)))


def slope_and_information(
    model: Model, eta: Float[Array, " K"], subject: Subject
) -> tuple[Float[Array, " K"], Float[Array, "K K"]]:
    """The gradient of the log joint density in eta, and H = Omega^-1 + sum_j [g g'/R + c c'/2]; see `FOCE`."""
    mean, chol = gaussian_effects(model)
    f, variance, g, c = linearised(model, eta, subject)
    residual = stacked(subject)[0] - f
    prior = jax.scipy.linalg.cho_solve((chol, True), jnp.eye(eta.size))
    slope = g.T @ (residual / variance) + 0.5 * c.T @ (residual**2 / variance - 1.0) - prior @ (eta - mean)
    return slope, prior + g.T @ (g / variance[:, None]) + 0.5 * c.T @ c
