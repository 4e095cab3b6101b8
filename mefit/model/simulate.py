"""New people from a model: random effects, responses, and the means that responses scatter about."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ..base.chance import require_key
from ..base.compiling import compiled
from ..data.by_outcome import UNNAMED, as_dict, as_given
from ..data.population import Population
from ..data.subject import Subject
from .densities import eta_mean, eta_size, observation_density, sample_random_effects
from .model import Model, model_at
from .normals import correlated_rows
from .pitfalls import refuse_new_responses, refuse_pitfalls
from .predict import means


def responses(model: Model, eta: Float[Array, "N K"], subjects: Subject, keys: Any) -> Any:
    """y ~ p(y | theta, eta_i, x_i) of every subject, (N, n), a dict of these where there are several outcomes.

    Each subject has its own key; a row without a response has 0.
    """
    return jax.vmap(lambda eta, subject, key: respond(model, eta, subject, key))(eta, subjects, keys)


def respond(model: Model, eta: Float[Array, " K"], subject: Subject, key: PRNGKeyArray) -> Any:
    """y ~ p(y | theta, eta, x) of one subject, (n,), a dict of these where there are several outcomes."""
    densities = as_dict(observation_density(model, eta, subject))
    masks = as_dict(subject.mask)
    y = {}
    for i, name in enumerate(sorted(masks)):
        own_key = key if name == UNNAMED else jax.random.fold_in(key, i)
        together = correlated_rows(densities[name])
        if together is not None:
            drawn = together.sample(own_key, masks[name])
        else:
            drawn = densities[name].expand(subject.time.shape).sample(own_key)
        y[name] = jnp.where(masks[name], drawn, 0.0)
    return as_given(y)


def random_effects_of(model: Model, count: int, key: PRNGKeyArray, at_mean: bool = False) -> Float[Array, "count K"]:
    """New eta ~ p(eta | theta) of `count` people, or the mean of p(eta | theta) for each."""
    if at_mean:
        return jnp.tile(eta_mean(model), (count, 1))
    return sample_random_effects(model, count, key)


def new_people(
    models: Model,
    draw: Any,
    subjects: Subject,
    key_effects: PRNGKeyArray,
    key_responses: PRNGKeyArray | None,
    *,
    at_mean: bool,
) -> Any:
    """One replicate of `subjects` with new random effects: their responses, or the means of these.

    **Arguments:**

    - `models`: a model; or, with the number `draw`, a stack of models, whose arrays have a leading axis of draws.
    - `subjects`: N of them, whose times, doses and covariates to use.
    - `key_effects`: draws the random effects; with `at_mean` they are at their mean instead.
    - `key_responses`: draws the responses; without it the result is E[y | theta, eta, x].

    **Returns:** (N, n), or a dict of these by outcome. It is to be traced: the caller compiles it, under `vmap` over
    replicates with a draw and keys of their own.
    """
    count = subjects.time.shape[0]
    model = model_at(models, draw)
    eta = random_effects_of(model, count, key_effects, at_mean)
    if key_responses is None:
        return means(model, eta, subjects)
    return responses(model, eta, subjects, jax.random.split(key_responses, count))


simulate_responses = compiled(responses)


def simulate(
    model: Model, population: Population, key: PRNGKeyArray, eta: Float[ArrayLike, "N K"] | Sequence | None = None
) -> Population:
    """The population with new responses y ~ p(y | theta, eta, x) at its own times, doses and covariates.

        again = mf.simulate(fit.model, population, jax.random.key(1))

    New random effects eta ~ p(eta | theta) are drawn unless `eta` (N, K) is given. Rows without a response stay so;
    a response that was censored is drawn as a number.
    """
    require_key(key, "simulate")
    refuse_pitfalls(model, population)
    refuse_new_responses(model, population)
    count = len(population)
    if eta is not None:
        eta = jnp.reshape(jnp.asarray(eta, float), (count, -1))
        if eta.shape[1] != eta_size(model):
            raise ValueError(f"eta has {eta.shape[1]} columns, but the model has {eta_size(model)} random effects.")
    return population.with_responses(_simulated(model, eta, population.subjects, key))


@compiled
def _simulated(model: Model, eta: Any, subjects: Subject, key: PRNGKeyArray) -> Any:
    """The responses of every subject, with new random effects where eta is None."""
    count = subjects.time.shape[0]
    key_eta, key_y = jax.random.split(key)
    if eta is None:
        eta = jnp.reshape(random_effects_of(model, count, key_eta), (count, -1))
    return responses(model, eta, subjects, jax.random.split(key_y, count))
