"""The two densities of a model, and the law of its random effects."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.distributions.distribution import validation_enabled

from ..base.compiling import compiled
from ..base.plainly import told
from ..data.subject import Subject, as_dict
from .model import Model
from .outcomes import log_observed


def _asked(model: Model, what: str, *given: Any) -> Any:
    """What a model's own code returns; where it stops on what JAX cannot do, a sentence says so."""
    try:
        return getattr(model, what)(*given)
    except (TypeError, ValueError, IndexError) as error:
        raise told(error, f"{type(model).__name__}.{what}") from error.__cause__


def effects_of(model: Model) -> Any:
    """p(eta | theta) as a distribution: of nothing, where the model has no random effects."""
    with validation_enabled(False):
        effects = _asked(model, "random_effects")
    return dist.Normal(jnp.zeros(0), 1.0, validate_args=False) if effects is None else effects


def eta_shape(model: Model) -> tuple[int, ...]:
    """The shape of one subject's random effects: () or (K,), and (0,) where there are none."""
    return tuple(eqx.filter_eval_shape(effects_of, model).shape())


def eta_size(model: Model) -> int:
    """K, the number of random effects of one subject."""
    return int(np.prod(eta_shape(model)))


@compiled
def eta_mean(model: Model) -> Float[Array, " K"]:
    """The mean of the random effects: zero in most models."""
    effects = effects_of(model)
    return jnp.reshape(jnp.broadcast_to(effects.mean, effects.shape()), -1)


@compiled
def eta_sd(model: Model) -> Float[Array, " K"]:
    """The SD of each random effect in p(eta | theta); infinite where it has none."""
    effects = effects_of(model)
    return jnp.reshape(jnp.broadcast_to(effects.variance**0.5, effects.shape()), -1)


def eta_cov(model: Model) -> Float[Array, "K K"]:
    """The covariance of the random effects in p(eta | theta)."""
    return getattr(effects_of(model), "covariance_matrix", jnp.diag(eta_sd(model) ** 2))


def log_random_effects(model: Model, eta: Float[Array, " K"]) -> Float[Array, ""]:
    """log p(eta | theta), its normalising constant included."""
    effects = effects_of(model)
    return jnp.sum(effects.log_prob(jnp.reshape(eta, effects.shape())))


def observation_density(model: Model, eta: Float[Array, " K"], subject: Subject) -> Any:
    """`model.observations` for eta given as a plain vector: a distribution, or a dict of them by outcome.

    ValueError where its code stops on what JAX cannot do, what it returns is no distribution with an entry for each
    time, or its outcomes are not those of the data.
    """
    who = f"{type(model).__name__}.observations"
    try:
        density = _asked(model, "observations", jnp.reshape(eta, eta_shape(model)), subject)
    except KeyError as error:
        if (name := error.args[0]) in subject.covariates:
            raise
        known = ", ".join(subject.covariates) or "none"
        asks = f"{who} asks for the covariate {name!r}, and the population has {known}"
        raise ValueError(f"{asks}: name it in covariates= when the data are read.") from None
    for one in density.values() if isinstance(density, dict) else [density]:
        if not isinstance(one, dist.Distribution):
            found = "nothing" if one is None else "no distribution"
            raise ValueError(f"{who} returns {found}: end it with one, such as return dist.Normal(mean, sigma).")
        if one.shape() not in ((), (1,), subject.time.shape):
            raise ValueError(f"{who} returns shape {one.shape()} for {subject.time.size} times: give one entry a time.")
    mine, data = (sorted(x) if isinstance(x, dict) else ["one without a name"] for x in (density, subject.y))
    if mine != data:
        names = f"the outcomes {', '.join(mine)}, and the data have {', '.join(data)}"
        advice = "use the same names, or one outcome of the data by population.outcome(name)"
        raise ValueError(f"{who} returns {names}: {advice}.")
    return density


def log_conditional(model: Model, eta: Float[Array, " K"], subject: Subject) -> Float[Array, ""]:
    """log p(y | theta, eta, x) of one subject, summed over its outcomes and over the rows that were observed.

    Rows that are padding or missing are replaced twice: their y by an observed one of the same subject, which is
    inside the support, and their density's parameters by a constant, so that neither the value nor any derivative
    can carry what was computed there. A censored row counts the probability of its interval.
    """
    densities = as_dict(observation_density(model, eta, subject))
    y, mask, censored, limit = (as_dict(x) for x in (subject.y, subject.mask, subject.censored, subject.limit))
    parts = [log_observed(densities[k], y[k], mask[k], censored.get(k), limit.get(k)) for k in sorted(densities)]
    return sum(parts, jnp.zeros(()))


def log_joint(model: Model, eta: Float[Array, " K"], subject: Subject) -> Float[Array, ""]:
    """log p(y | theta, eta, x) + log p(eta | theta) of one subject."""
    return log_conditional(model, eta, subject) + log_random_effects(model, eta)


def sample_random_effects(model: Model, count: int, key: PRNGKeyArray) -> Float[Array, "count K"]:
    """Draws of eta ~ p(eta | theta) for `count` new subjects."""
    return jnp.reshape(effects_of(model).sample(key, (count,)), (count, -1))
