"""The two densities of a model, and the law of its random effects."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.distributions.distribution import validation_enabled

from ..base.compiling import compiled
from ..base.inlined import inlined
from ..base.outlines import of_outline
from ..base.plainly import told
from ..data.population import Population
from ..data.subject import Subject, as_dict
from .covariances import joint_covariance
from .model import Model, OneDensity
from .moments import mean_of, variance_of
from .normals import GaussianLaw, correlated_rows, gaussian_law
from .outcomes import log_observed
from .rows import with_own_batch


def _asked(model: Model, method: str, *given: Any) -> Any:
    """What a model's own code returns; where it stops on what JAX cannot do, a sentence says so."""
    try:
        return getattr(model, method)(*given)
    except (TypeError, ValueError, IndexError) as error:
        raise told(error, f"{type(model).__name__}.{method}") from error.__cause__


def effects_of(model: Model) -> Any:
    """p(eta | theta) as a distribution: of nothing, where the model has no random effects."""
    with validation_enabled(False):
        effects = _asked(model, "random_effects")
    if effects is None:
        return dist.Normal(jnp.zeros(0), 1.0, validate_args=False)
    if not isinstance(effects, dist.Distribution):
        raise ValueError(f"{_law_of(model)} returns no distribution: end it with return dist.Normal(0.0, sd), say.")
    return with_own_batch(effects)


def _law_of(model: Model) -> str:
    return f"{type(model).__name__}.random_effects"


def gaussian_law_of(model: Model) -> GaussianLaw | None:
    """Mean (K,) and Cholesky factor (K, K) of Gaussian random effects, however written; None where they are not."""
    return gaussian_law(effects_of(model))


@of_outline  # to trace a model takes a millisecond
def eta_shape(model: Model) -> tuple[int, ...]:
    """The shape of one subject's random effects: () or (K,), and (0,) where there are none."""
    return tuple(eqx.filter_eval_shape(effects_of, model).shape())


def eta_size(model: Model) -> int:
    """K, the number of random effects of one subject."""
    return int(np.prod(eta_shape(model)))


@compiled
def eta_mean(model: Model) -> Float[Array, " K"]:
    """The mean of the random effects: zero in most models."""
    return jnp.reshape(mean_of(effects_of(model), _law_of(model)), -1)


@compiled
def eta_sd(model: Model) -> Float[Array, " K"]:
    """The SD of each random effect in p(eta | theta); infinite where it has none."""
    return jnp.reshape(variance_of(effects_of(model), _law_of(model)) ** 0.5, -1)


def eta_cov(model: Model) -> Float[Array, "K K"]:
    """The covariance of the random effects in p(eta | theta).

    ValueError for a law whose covariance is not known in closed form.
    """
    return joint_covariance(effects_of(model), _law_of(model))


def log_random_effects(model: Model, eta: Float[Array, " K"]) -> Float[Array, ""]:
    """log p(eta | theta), its normalising constant included.

    ```python
    mf.log_random_effects(model, eta)
    ```
    """
    effects = effects_of(model)
    return jnp.sum(effects.log_prob(jnp.reshape(eta, effects.shape())))


def observation_density(model: Model, eta: Float[Array, " K"], subject: Subject) -> Any:
    """`model.observations` for eta given as a plain vector: a distribution, or a dict of them by outcome.

    ValueError where its code stops on what JAX cannot do, what it returns is no distribution with an independent entry
    for each time, or its outcomes are not those of the data.
    """
    who = f"{type(model).__name__}.observations"
    try:
        density = _asked(model, "observations", jnp.reshape(eta, eta_shape(model)), subject)
    except KeyError as error:
        name = error.args[0]
        if name in subject.covariates:
            raise
        known = ", ".join(subject.covariates) or "none"
        raise ValueError(
            f"{who} asks for the covariate {name!r}, and the population has {known}: "
            "name it in covariates= when the data are read."
        ) from None
    if isinstance(density, dict):
        density = {name: _row_by_row(part, subject, who) for name, part in density.items()}
    else:
        density = _row_by_row(density, subject, who)
    if _outcomes_of(density) != _outcomes_of(subject.y):
        raise ValueError(
            f"{who} returns the outcomes {', '.join(_outcomes_of(density))}, and the data have "
            f"{', '.join(_outcomes_of(subject.y))}: "
            "use the same names, or one outcome of the data by population.outcome(name)."
        )
    return density


def first_density(model: Model, population: Population) -> Any:
    """`observation_density` of the first subject at the mean of the random effects.

    It is for what kind a density is, and how it may be treated, which is the same at any eta and for everybody.
    """
    with validation_enabled(False):
        return observation_density(model, eta_mean(model), population[0])


def _outcomes_of(x: Any) -> list[str]:
    return sorted(x) if isinstance(x, dict) else ["one without a name"]


def _row_by_row(density: Any, subject: Subject, who: str) -> dist.Distribution:
    """One density with an entry a row, or a Gaussian law of all rows together; ValueError for anything else."""
    if not isinstance(density, dist.Distribution):
        returned = "nothing" if density is None else "no distribution"
        raise ValueError(f"{who} returns {returned}: end it with one, such as return dist.Normal(mean, sigma).")
    density = with_own_batch(density)
    if density.shape() not in ((), (1,), subject.time.shape):
        raise ValueError(f"{who} returns shape {density.shape()} for {subject.time.size} times: give one entry a time.")
    while isinstance(density, dist.Independent):  # its entries are rows as well, though their sum is asked for
        density = density.base_dist
    if density.event_shape and correlated_rows(density) is None:
        raise ValueError(
            f"{who} returns {type(density).__name__}, whose entries depend on each other, so that a row cannot be "
            "left out: give each time a density of its own, and what rows share to the random effects."
        )
    return density


def log_conditional(model: Model, eta: Float[Array, " K"], subject: Subject) -> Float[Array, ""]:
    """log p(y | theta, eta, x) of one subject, summed over its outcomes and over the rows that were observed.

    Rows that are padding or missing are replaced twice: their y by an observed one of the same subject, which is
    inside the support, and their density's parameters by constants, so that neither the value nor any derivative can
    carry what was computed there. A censored row counts the probability of its interval.

        mf.log_conditional(model, eta, subject)
    """
    return inlined(_log_conditional, model, eta, subject)


def _log_conditional(model: Model, eta: Float[Array, " K"], subject: Subject) -> Float[Array, ""]:
    if isinstance(model, OneDensity):
        return model.log_conditional(eta, subject)
    densities = as_dict(observation_density(model, eta, subject))
    y = as_dict(subject.y)
    mask = as_dict(subject.mask)
    censored = as_dict(subject.censored)
    limit = as_dict(subject.limit)
    total = jnp.zeros(())
    for name in sorted(densities):
        given = (y[name], mask[name], censored.get(name), limit.get(name))
        total = total + log_observed(densities[name], *given)
    return total


def log_joint(model: Model, eta: Float[Array, " K"], subject: Subject) -> Float[Array, ""]:
    """log p(y | theta, eta, x) + log p(eta | theta) of one subject.

    ```python
    mf.log_joint(model, eta, subject)
    ```
    """
    return inlined(_log_joint, model, eta, subject)


def _log_joint(model: Model, eta: Float[Array, " K"], subject: Subject) -> Float[Array, ""]:
    return _log_conditional(model, eta, subject) + log_random_effects(model, eta)


def sample_random_effects(model: Model, count: int, key: PRNGKeyArray) -> Float[Array, "count K"]:
    """Draws of eta ~ p(eta | theta) for `count` new subjects.

    ```python
    mf.sample_random_effects(model, 100, key)  # (100, K)
    ```
    """
    return jnp.reshape(effects_of(model).sample(key, (count,)), (count, -1))


def shrinkage_of(model: Model, eta: Float[np.ndarray, "N K"]) -> Float[np.ndarray, " K"]:
    """1 - SD(eta) / omega of each random effect, with the SD over subjects (divisor N - 1); NaN for
    one subject."""
    if len(eta) < 2:
        return np.full(eta.shape[1], np.nan)
    return 1.0 - np.std(eta, axis=0, ddof=1) / np.asarray(eta_sd(model))
