"""A model: log p(y | theta, eta, x) + log p(eta | theta), written for one subject."""

import abc
import dataclasses
import functools
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray
from numpyro.distributions.distribution import validation_enabled

from .compiling import compiled
from .outcomes import log_observed
from .parameters import parameters
from .plainly import told
from .population import Population
from .subject import Subject, as_dict


def check_values(model: eqx.Module) -> None:
    """Raise ValueError, naming the field, for a value outside its domain, or a network not declared."""
    for field in dataclasses.fields(model):
        value, bare = getattr(model, field.name), getattr(field.default, "__module__", "") == parameters.__module__
        network = isinstance(value, eqx.Module) and jax.tree.leaves(eqx.filter(value, eqx.is_inexact_array))
        if (network or bare) and field.name not in parameters(model):
            how = f"{field.name}: ... = mf.{getattr(field.default, '__name__', 'weights')}(), and fixed= to hold it"
            raise ValueError(f"{type(model).__name__}.{field.name} is not declared, and no fit moves it: write {how}.")
    for name, parameter in parameters(model).items():
        value = getattr(model, name)
        leaves = jax.tree.leaves(eqx.filter(value, eqx.is_array))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            continue
        where = f"{type(model).__name__}.{name}"
        if not all(np.all(np.isfinite(leaf)) for leaf in leaves):
            raise ValueError(f"{where} is not finite: give a number to start from.")
        problem = parameter.domain.problem(jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, value))
        if problem:
            shown = " ".join(np.array2string(np.asarray(value), precision=4, threshold=20).split())
            raise ValueError(f"{where} {problem}; it is {shown}.")


class Model(eqx.Module):
    """Base of every model. A subclass declares its parameters as fields and says two things:

    - `random_effects()`: the distribution p(eta | theta), for instance
      `dist.MultivariateNormal(jnp.zeros(3), self.omega)`; leave it out for a model without random effects.
    - `observations(eta, subject)`: the distribution p(y | theta, eta, x) of the responses of one subject, with one
      entry for each time of `subject.time`; any density of `numpyro.distributions` whose entries are independent.
      Where there are several outcomes, a dict of such distributions by the names that the data give them.

    Parameters outside their domain raise ValueError when the model is made.
    """

    def random_effects(self) -> dist.Distribution | None:
        """p(eta | theta), or None where the model has no random effects."""
        return None

    @abc.abstractmethod
    def observations(self, eta: Array, subject: Subject) -> dist.Distribution | dict[str, dist.Distribution]:
        """p(y | theta, eta, x) for one subject."""

    def __check_init__(self):
        check_values(self)


ModelT = TypeVar("ModelT", bound=Model)


@functools.cache  # one class for each, or every call would compile anew
def _restricted(kind: type[Model], outcome: str) -> type[Model]:
    def observations(self, eta, subject):
        return kind.observations(self, eta, subject)[outcome]

    return type(kind.__name__, (kind,), {"observations": observations, "__doc__": kind.__doc__})


def outcome_of(model: ModelT, outcome: str) -> ModelT:
    """The model of one of several outcomes, by name: the same parameters and random effects."""
    view = object.__new__(_restricted(type(model), outcome))
    for field in dataclasses.fields(model):
        object.__setattr__(view, field.name, getattr(model, field.name))
    return view  # type: ignore[return-value]


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


@eqx.filter_jit
def eta_mean(model: Model) -> Float[Array, " K"]:
    """The mean of the random effects: zero in most models."""
    effects = effects_of(model)
    return jnp.reshape(jnp.broadcast_to(effects.mean, effects.shape()), -1)


@eqx.filter_jit
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


@compiled
def _simulate_responses(model: Model, eta: Array, subjects: Subject, keys: Any) -> Any:
    def one(eta, subject, key):
        densities, masks = (as_dict(x) for x in (observation_density(model, eta, subject), subject.mask))
        keys = {k: key if k == "" else jax.random.fold_in(key, i) for i, k in enumerate(sorted(masks))}
        rows = {k: densities[k].expand(subject.time.shape).sample(keys[k]) for k in masks}
        y = {k: jnp.where(masks[k], x, 0.0) for k, x in rows.items()}
        return y.get("", y)

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
