"""Gaussian random effects and observations, and their linearisation in eta."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from ..base.small_matrices import half_log_det
from ..data.subject import Subject, as_dict
from ..model.densities import gaussian_law_of, observation_density
from ..model.model import Model
from ..model.normals import GaussianLaw, correlated_rows, normal_rows, unwrapped

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
    what turns their density into that of the responses. Rows without a response have mean y and variance 1. The
    variances are R = `lower` `lower`': a vector of SDs where rows are independent given eta, else a Cholesky factor.
    """

    y: Float[Array, " n"]
    mask: Bool[Array, " n"]
    mean: Float[Array, " n"]
    lower: Float[Array, " n"] | Float[Array, "n n"]
    log_jacobian: Float[Array, ""]

    def whitened(self, x: Array) -> Array:
        """R^(-1/2) x, of a vector or of the columns of a matrix."""
        if self.lower.ndim == 2:
            return solve_triangular(self.lower, x, lower=True)
        return x / (self.lower if x.ndim == 1 else self.lower[:, None])

    @property
    def half_log_det(self) -> Float[Array, ""]:
        """(1/2) log|R|."""
        return half_log_det(self.lower) if self.lower.ndim == 2 else jnp.sum(jnp.log(self.lower))


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
        part = _moments_of(density, responses[name], masks[name])
        if part is None:
            of_outcome = f" for {name}" if name else ""
            raise ValueError(
                f"FO and FOCE linearise a Gaussian observation, but {type(model).__name__}.observations returns "
                f"{type(unwrapped(density)).__name__}{of_outcome}: use Laplace, AGQ or ImportanceSampling."
            )
        parts.append(part)
    if any(part.lower.ndim == 2 for part in parts):
        blocks = [part.lower if part.lower.ndim == 2 else jnp.diag(part.lower) for part in parts]
        lower = jax.scipy.linalg.block_diag(*blocks)
    else:
        lower = jnp.concatenate([part.lower for part in parts])
    return Moments(
        y=jnp.concatenate([part.y for part in parts]),
        mask=jnp.concatenate([part.mask for part in parts]),
        mean=jnp.concatenate([part.mean for part in parts]),
        lower=lower,
        log_jacobian=jnp.sum(jnp.stack([part.log_jacobian for part in parts])),
    )


def has_gaussian_rows(model: Model, eta: Float[Array, " K"], subject: Subject) -> bool:
    """Are all responses of a subject Gaussian, perhaps as logarithms or logits, and none of them censored?"""
    if subject.censored is not None:
        return False
    densities = as_dict(observation_density(model, eta, subject)).values()
    return all(correlated_rows(density) is not None or normal_rows(density) is not None for density in densities)


def _moments_of(density: dist.Distribution, y: Array, mask: Array) -> Moments | None:
    """Those of one outcome; None where it is not Gaussian."""
    correlated = correlated_rows(density)
    if correlated is not None:
        y, mean, lower = correlated.seen(y, mask)
        return Moments(y, mask, mean, lower, jnp.zeros(()))
    normal = normal_rows(density)
    if normal is None:
        return None
    y, log_jacobian = normal.working(y, mask)
    return Moments(y, mask, jnp.where(mask, normal.loc, y), jnp.where(mask, normal.scale, 1.0), log_jacobian)


def gaussian_marginal(at: Moments, residual: Array, jacobian: Array, chol: Array) -> Array:
    """log N(residual; 0, G L L' G' + R) of the responses, R that of `at`, by the K x K form, which never inverts L L'.

    Of log-normal and logit-normal responses it is the density of these, not of their logarithms and logits.
    """
    r = at.whitened(residual)
    m = at.whitened(jacobian @ chol)
    lower = jnp.linalg.cholesky(jnp.eye(chol.shape[0]) + m.T @ m)
    c = solve_triangular(lower, m.T @ r, lower=True)
    log_det = 2.0 * (at.half_log_det + half_log_det(lower))
    return at.log_jacobian - 0.5 * (jnp.sum(at.mask) * LOG_2PI + log_det + r @ r - c @ c)


class Linearised(NamedTuple):
    """Gaussian responses, and how they follow the random effects."""

    at: Moments
    jacobian: Float[Array, "n K"]  # df / deta
    # R^(-1/2) dR/deta R^(-T/2): d log R / deta of each row, or all entries of the matrix
    relative: Float[Array, "m K"]


def linearised(model: Model, eta: Float[Array, " K"], subject: Subject) -> Linearised:
    """The moments at eta, and their derivatives in eta."""

    def moments(eta):
        at = gaussian_moments(model, eta, subject)
        spread = at.lower @ at.lower.T if at.lower.ndim == 2 else 2.0 * jnp.log(at.lower)
        return (at.mean, spread), at

    (jacobian, relative), at = jax.jacfwd(moments, has_aux=True)(eta)
    if at.lower.ndim == 2:
        both_sides = jax.vmap(lambda change: at.whitened(at.whitened(change).T), in_axes=2, out_axes=2)(relative)
        relative = both_sides.reshape(-1, eta.size)
    return Linearised(at, jacobian, relative)


def slope_and_information(
    model: Model, u: Float[Array, " K"], subject: Subject
) -> tuple[Float[Array, " K"], Float[Array, "K K"]]:
    """The gradient of log p(y, u) in u, eta = mean + L u, and L'H L, H = Omega^-1 + sum_j [g g'/R + c c'/2] of `FOCE`.

    So Omega^-1, in which all digits are lost where Omega is nearly singular, is not needed.
    """
    law = gaussian_effects(model)
    at, jacobian, relative = linearised(model, law.mean + law.lower @ u, subject)
    r = at.whitened(at.y - at.mean)
    g = at.whitened(jacobian @ law.lower)
    c = relative @ law.lower
    surprise = jnp.ravel(jnp.outer(r, r) - jnp.eye(r.size)) if at.lower.ndim == 2 else r**2 - 1.0
    slope = g.T @ r + 0.5 * c.T @ surprise - u
    return slope, jnp.eye(u.size) + g.T @ g + 0.5 * c.T @ c
