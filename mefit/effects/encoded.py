"""A subject's random effects as an encoder sees them: the Gaussian q(eta | y), beside the prior p(eta | theta)."""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ..base.small_matrices import half_log_det
from ..curves.encoding import AnyEncoder, Gaussian
from ..model.densities import eta_size, gaussian_law_of, log_random_effects
from ..model.model import Model
from .gaussian import LOG_2PI


def log_prior_of(model: Model, etas: Float[Array, "M K"]) -> Float[Array, " M"]:
    """log p(eta | theta) of each row."""
    return jax.vmap(lambda eta: log_random_effects(model, eta))(etas)


def log_q(q: Gaussian, normal: Float[Array, "M K"]) -> Float[Array, " M"]:
    """log q at mean + C e, for each row e."""
    return -0.5 * jnp.sum(normal**2, axis=-1) - 0.5 * q.mean.size * LOG_2PI - half_log_det(q.lower)


def divergence(model: Model, q: Gaussian, normal: Float[Array, "M K"]) -> Float[Array, ""]:
    """KL(q || p(eta | theta)): in closed form where p(eta) is Gaussian, else the mean over draws of log q - log p."""
    law = gaussian_law_of(model)
    if law is None:
        return jnp.mean(log_q(q, normal) - log_prior_of(model, q.mean + normal @ q.lower.T))
    return gaussian_divergence(q, law.mean, law.lower)


def gaussian_divergence(q: Gaussian, mean: Float[Array, " K"], lower: Float[Array, "K K"]) -> Float[Array, ""]:
    """KL(N(m, C C') || N(mean, lower lower'))."""
    root = solve_triangular(lower, q.lower, lower=True)
    away = solve_triangular(lower, q.mean - mean, lower=True)
    return 0.5 * (jnp.sum(root**2) + away @ away - q.mean.size) + half_log_det(lower) - half_log_det(q.lower)


def precision_of(q: Gaussian) -> Float[Array, "K K"]:
    """(C C')^-1."""
    root = solve_triangular(q.lower, jnp.eye(q.mean.size), lower=True)
    return root.T @ root


def refuse_another_size(encoder: AnyEncoder, model: Model) -> None:
    """ValueError for an encoder of another number of random effects than the model's."""
    if encoder.effects != eta_size(model):
        raise ValueError(
            f"the encoder answers for {encoder.effects} random effects, and {type(model).__name__} has "
            f"{eta_size(model)}: build it with effects={eta_size(model)}."
        )
