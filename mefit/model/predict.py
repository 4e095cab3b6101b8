"""Predictions: the mean of each subject's observation density, at its own times or on a grid."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..base.compiling import compiled
from ..data.by_outcome import as_dict, as_given
from ..data.population import Population
from ..data.subject import Subject
from .densities import eta_mean, eta_size, observation_density
from .mixture import MixtureOfExperts
from .model import Model
from .moments import mean_of
from .pitfalls import refuse_other_times, refuse_pitfalls


def means(model: Model, eta: Float[Array, "N K"], subjects: Subject) -> Any:
    """E[y | theta, eta_i, x_i] of every subject, (N, n), a dict of these where there are several outcomes."""
    return jax.vmap(lambda eta, subject: mean_response(model, eta, subject))(eta, subjects)


def mean_response(model: Model, eta: Float[Array, " K"], subject: Subject) -> Any:
    """E[y | theta, eta, x] of one subject, (n,), a dict of these where there are several outcomes."""
    who = f"{type(model).__name__}.observations"
    densities = as_dict(observation_density(model, eta, subject))
    shape = subject.time.shape
    return as_given({k: jnp.broadcast_to(mean_of(density, who), shape) for k, density in densities.items()})


_means = compiled(means)


@compiled
def _typical_of_mixture(model: MixtureOfExperts, subjects: Subject) -> Any:
    """sum_k pi_k(w_i) E[y | theta_k, eta_k at its mean, x_i] of every subject.

    The class in the middle would be another one where the experts are written in another order.
    """

    def typical(subject: Subject) -> Any:
        shares = jnp.exp(model.gate.log_shares(subject))
        each = [mean_response(expert, eta_mean(expert), subject) for expert in model.experts]
        return jax.tree.map(lambda *curves: jnp.tensordot(shares, jnp.stack(curves), axes=1), *each)

    return jax.vmap(typical)(subjects)


def on_grid(population: Population, time: Array | np.ndarray, held: Mapping[str, Any] | None = None) -> Subject:
    """The same subjects, doses and covariates with other times, where no response is known.

    `held` are the values, one for all or (N,), of covariates that change in time, as they hold on the whole grid.
    """
    subjects = population.subjects
    given = {} if held is None else dict(held)
    varying = [name for name, x in subjects.covariates.items() if x.ndim == 2]
    _check_held(given, varying, len(population))
    unsaid = [name for name in varying if name not in given]
    if unsaid:
        raise ValueError(
            f"Covariate {unsaid[0]} varies in time, and its values between a subject's rows are not known: "
            "leave `time` out, to predict at the subjects' own times."
        )
    if time.ndim not in (1, 2) or time.size == 0 or time.shape[:-1] not in ((), (len(population),)):
        raise ValueError(f"time has shape {time.shape}; give (m,) for all, or ({len(population)}, m) for each its own.")
    if not np.all(np.isfinite(time)):
        raise ValueError("time holds a value that is not a number, or is infinite; a prediction needs finite times.")
    grid = jnp.broadcast_to(time, (len(population), time.shape[-1]))
    y = jax.tree.map(lambda _: jnp.zeros(grid.shape), subjects.y)
    mask = jax.tree.map(lambda _: jnp.ones(grid.shape, bool), subjects.y)
    real = jnp.ones(grid.shape, bool)
    covariates = dict(subjects.covariates)
    for name in varying:
        covariates[name] = jnp.broadcast_to(jnp.reshape(jnp.asarray(given[name], float), (-1, 1)), grid.shape)
    seen = {"y": y, "mask": mask, "real": real, "censored": None, "limit": None}
    return dataclasses.replace(subjects, time=grid, covariates=covariates, **seen)


def _check_held(held: dict[str, Any], varying: Sequence[str], count: int) -> None:
    for name, value in held.items():
        if name not in varying:
            raise ValueError(
                f"covariate {name} is given, and those that change in time are {', '.join(varying) or 'none'}: leave "
                "it out, or give people who have another value."
            )
        if np.shape(value) not in ((), (count,)) or not np.all(np.isfinite(np.asarray(value, float))):
            raise ValueError(f"covariate {name} is {value}: give a finite number, or one for each of {count} people.")


def predict(
    model: Model,
    population: Population,
    eta: Float[ArrayLike, "N K"] | Sequence | None = None,
    time: Float[ArrayLike, "..."] | Sequence | None = None,
) -> Float[Array, "N m"] | dict[str, Float[Array, "N m"]]:
    """E[y | theta, eta_i, x_i] of every subject: the mean of `model.observations(eta_i, subject_i)`.

        curves = mf.predict(fit.model, population, fit.eta)

    **Arguments:**

    - `model`: the model at its parameters, for instance `fit.model`.
    - `population`: whose doses and covariates to use.
    - `eta`: random effects (N, K), for instance `fit.eta`, which gives the individual predictions. Left out, it is the
      mean of the random effects: the prediction for a typical subject with these doses and covariates. (That is not
      the mean response of the population, because a curve at the mean eta is not the mean of the curves.) Of a mixture
      of experts it is the mean of such curves over the classes, by their shares.
    - `time`: times to predict at instead of the subjects' own, (m,) for all or (N, m); in the data's unit.

    **Returns:** (N, n) at the subjects' own times, in the order of `population.subjects.time` (padded rows repeat the
    last time), or (N, m) on the grid; in the unit of y. A dict of these by outcome where there are several.

    **Raises:** ValueError where `eta` or `time` has the wrong shape; where `time` is given, and a covariate varies in
    time or a row is predicted from the others; and where responses are categories, which have no mean.
    """
    refuse_pitfalls(model, population)
    count = len(population)
    k = eta_size(model)
    if eta is not None:
        eta = jnp.asarray(eta, float)
        if eta.shape != (count, k):
            raise ValueError(
                f"eta has shape {eta.shape}, but {count} subjects with {k} random effects each need ({count}, {k})."
            )
    subjects = population.subjects
    if time is not None:
        refuse_other_times(model, population)
        subjects = on_grid(population, np.asarray(time, float))
    if eta is None and isinstance(model, MixtureOfExperts):
        return _typical_of_mixture(model, subjects)
    return _means(model, jnp.broadcast_to(eta_mean(model), (count, k)) if eta is None else eta, subjects)
