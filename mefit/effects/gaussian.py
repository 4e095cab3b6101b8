"""Gaussian random effects and observations, and their linearisation in eta."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Bool, Float

from ..data.subject import Subject, as_dict
from ..model.densities import eta_mean, observation_density
from ..model.model import Model
from ..model.outcomes import plain

LOG_2PI = float(np.log(2.0 * np.pi))


def gaussian_effects(model: Model) -> tuple[Float[Array, " K"], Float[Array, "K K"]]:
    """Mean and Cholesky factor L (covariance L L') of Gaussian random effects; ValueError where they are not."""
    effects = model.random_effects()
    if effects is None:
        return jnp.zeros(0), jnp.zeros((0, 0))
    if isinstance(effects, dist.MultivariateNormal):
        return effects.loc, effects.scale_tril
    if isinstance(normal := plain(effects), dist.Normal):
        return eta_mean(model), jnp.diag(jnp.reshape(jnp.broadcast_to(normal.scale, effects.shape()), -1))
    what = f"{type(model).__name__}.random_effects returns {type(effects).__name__}"
    advice = "use Laplace or AGQ, or a Normal or MultivariateNormal"
    raise ValueError(f"FO and FOCE need Gaussian random effects, but {what}: {advice}.")


def stacked(subject: Subject) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Responses and mask of a subject, several outcomes one after the other in the order of their names."""
    y, mask = (as_dict(x) for x in (subject.y, subject.mask))
    return tuple(jnp.concatenate([x[k] for k in sorted(x)]) for x in (y, mask))  # type: ignore[return-value]


def gaussian_moments(
    model: Model, eta: Float[Array, " K"], subject: Subject
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Mean f and variance R of Gaussian observations, (n,) each, several outcomes stacked.

    Rows without a response get mean y and variance 1. ValueError where an outcome is not Gaussian, or is censored.
    """
    refusal, means, variances = "FO and FOCE linearise a Gaussian observation", [], []
    for name, density in sorted(as_dict(observation_density(model, eta, subject)).items()):
        density, shape = plain(density), subject.time.shape
        if not isinstance(density, dist.Normal):
            what = f"{type(model).__name__}.observations returns {type(density).__name__}" + f" for {name}" * bool(name)
            raise ValueError(f"{refusal}, but {what}: use Laplace, AGQ or ImportanceSampling.")
        means.append(jnp.broadcast_to(density.loc, shape))
        variances.append(jnp.broadcast_to(density.scale**2, shape))
    if subject.censored is not None:
        raise ValueError(f"{refusal}, and a censored one is none: use Laplace or AGQ.")
    y, mask = stacked(subject)
    return jnp.where(mask, jnp.concatenate(means), y), jnp.where(mask, jnp.concatenate(variances), 1.0)


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
