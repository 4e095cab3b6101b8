"""Gaussian random effects and observations, and their linearisation in eta."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..data.subject import Subject, as_dict
from ..model.densities import gaussian_law_of, observation_density
from ..model.model import Model
from ..model.normals import GaussianLaw, normal_rows, unwrapped

LOG_2PI = float(np.log(2.0 * np.pi))


def gaussian_effects(model: Model) -> GaussianLaw:
    """Mean and Cholesky factor L (covariance L L') of Gaussian random effects; ValueError where they are not."""
    law = gaussian_law_of(model)
    if law is None:
        raise ValueError(
            f"FO and FOCE need Gaussian random effects, but {type(model).__name__}.random_effects returns "
            f"{type(model.random_effects()).__name__}: use Laplace or AGQ, or a Normal or MultivariateNormal."
        )
    return law


class Moments(NamedTuple):
    """Gaussian responses, several outcomes one after the other in the order of their names.

    Log-normal responses are Gaussian as logarithms, logit-normal ones as logits: `y` are these, and `log_jacobian` is
    what turns their density into that of the responses. Rows without a response have mean y and variance 1.
    """

    y: Float[Array, " n"]
    mask: Bool[Array, " n"]
    mean: Float[Array, " n"]
    variance: Float[Array, " n"]
    log_jacobian: Float[Array, ""]


def gaussian_moments(model: Model, eta: Float[Array, " K"], subject: Subject) -> Moments:
    """Mean f and variance R of Gaussian observations. ValueError where an outcome is not Gaussian, or is censored."""
    if subject.censored is not None:
        raise ValueError(
            "FO and FOCE linearise a Gaussian observation, and a censored one is none: use Laplace or AGQ."
        )
    responses = as_dict(subject.y)
    masks = as_dict(subject.mask)
    parts = []
    for name, density in sorted(as_dict(observation_density(model, eta, subject)).items()):
        normal = normal_rows(density)
        if normal is None:
            of_outcome = f" for {name}" if name else ""
            raise ValueError(
                f"FO and FOCE linearise a Gaussian observation, but {type(model).__name__}.observations returns "
                f"{type(unwrapped(density)).__name__}{of_outcome}: use Laplace, AGQ or ImportanceSampling."
            )
        mask = masks[name]
        y, log_jacobian = normal.working(responses[name], mask)
        mean = jnp.where(mask, normal.loc, y)
        parts.append(Moments(y, mask, mean, jnp.where(mask, normal.scale**2, 1.0), log_jacobian))
    return Moments(
        y=jnp.concatenate([part.y for part in parts]),
        mask=jnp.concatenate([part.mask for part in parts]),
        mean=jnp.concatenate([part.mean for part in parts]),
        variance=jnp.concatenate([part.variance for part in parts]),
        log_jacobian=jnp.sum(jnp.stack([part.log_jacobian for part in parts])),
    )


def gaussian_marginal(residual: Array, jacobian: Array, chol: Array, variance: Array, mask: Array) -> Array:
    """log N(residual; 0, G L L' G' + R) over the observed rows, by the K x K form, which never inverts L L'."""
    m = jacobian @ chol
    a = jnp.eye(chol.shape[0]) + m.T @ (m / variance[:, None])
    lower = jnp.linalg.cholesky(a)
    c = jax.scipy.linalg.solve_triangular(lower, m.T @ (residual / variance), lower=True)
    log_det = jnp.sum(jnp.log(variance)) + 2.0 * half_log_det(lower)
    return -0.5 * (jnp.sum(mask) * LOG_2PI + log_det + jnp.sum(residual**2 / variance) - c @ c)


class Linearised(NamedTuple):
    """Gaussian responses, and how they follow the random effects."""

    at: Moments
    jacobian: Float[Array, "n K"]  # df / deta
    relative: Float[Array, "n K"]  # d log R / deta


def linearised(model: Model, eta: Float[Array, " K"], subject: Subject) -> Linearised:
    """The moments at eta, and their derivatives in eta."""

    def moments(eta):
        at = gaussian_moments(model, eta, subject)
        return (at.mean, jnp.log(at.variance)), at

    (jacobian, relative), at = jax.jacfwd(moments, has_aux=True)(eta)
    return Linearised(at, jacobian, relative)


def half_log_det(lower: Array) -> Array:
    """(1/2) log|L L'| of a lower triangular L with a positive diagonal."""
    return jnp.sum(jnp.log(jnp.diagonal(lower)))


def slope_and_information(
    model: Model, eta: Float[Array, " K"], subject: Subject
) -> tuple[Float[Array, " K"], Float[Array, "K K"]]:
    """The gradient of the log joint density in eta, and H = Omega^-1 + sum_j [g g'/R + c c'/2]; see `FOCE`."""
    law = gaussian_effects(model)
    at, g, c = linearised(model, eta, subject)
    residual = at.y - at.mean
    prior = jax.scipy.linalg.cho_solve((law.lower, True), jnp.eye(eta.size))
    slope = g.T @ (residual / at.variance) - prior @ (eta - law.mean)
    slope = slope + 0.5 * c.T @ (residual**2 / at.variance - 1.0)
    return slope, prior + g.T @ (g / at.variance[:, None]) + 0.5 * c.T @ c
