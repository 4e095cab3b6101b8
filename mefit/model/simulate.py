"""New responses from a model."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ..base.compiling import compiled
from ..data.by_outcome import as_given
from ..data.population import Population
from ..data.subject import Subject, as_dict
from .densities import eta_size, observation_density, sample_random_effects
from .model import Model


@compiled
def _simulate_responses(model: Model, eta: Array, subjects: Subject, keys: Any) -> Any:
    def one(eta, subject, key):
        densities, masks = (as_dict(x) for x in (observation_density(model, eta, subject), subject.mask))
        keys = {k: key if k == "" else jax.random.fold_in(key, i) for i, k in enumerate(sorted(masks))}
        rows = {k: densities[k].expand(subject.time.shape).sample(keys[k]) for k in masks}
        y = {k: jnp.where(masks[k], x, 0.0) for k, x in rows.items()}
        return as_given(y)

    return jax.vmap(one)(eta, subjects, keys)


def simulate(
    model: Model, population: Population, key: PRNGKeyArray, eta: Float[ArrayLike, "N K"] | None = None
) -> Population:
    """The population with new responses y ~ p(y | theta, eta, x) at its own times, doses and covariates.

    New random effects eta ~ p(eta | theta) are drawn unless `eta` (N, K) is given. Rows without a response stay so;
    a response that was censored is drawn as a number.
    """
    if not isinstance(key, jax.Array):
        raise ValueError("simulate draws at random: give it a key, for instance key=jax.random.key(1).")
    count = len(population)
    key_eta, key_y = jax.random.split(key)
    eta = sample_random_effects(model, count, key_eta) if eta is None else eta
    eta = jnp.reshape(jnp.asarray(eta, float), (count, -1))
    if eta.shape[1] != eta_size(model):
        raise ValueError(f"eta has {eta.shape[1]} columns, but the model has {eta_size(model)} random effects.")
    y = _simulate_responses(model, eta, population.subjects, jax.random.split(key_y, count))
    return population.with_responses(y)
