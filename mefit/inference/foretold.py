"""The predictive distribution of each response, by draws of a person's random effects."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from ..base.compiling import compiled
from ..base.parts import in_parts
from ..data.by_outcome import as_dict, as_given
from ..data.subject import Subject
from ..model.categorical import is_categorical
from ..model.densities import observation_density
from ..model.model import Model
from ..model.moments import mean_of
from ..model.normals import correlated_rows, unwrapped
from ..model.outcomes import Event, is_event, log_observed_rows

_NUMBERS_AT_ONCE = 5_000_000  # draws of all responses of the people who are predicted together: 40 MB


class Foretold(NamedTuple):
    """What is predicted of one outcome, every array with a row for each of a person's rows.

    `mean` is E[y]; of yes or no, and of an `Event`, the probability. `log_score` is the log of the predictive density
    of what came, 0 where nothing was seen. Both of an `Event` that ends what it counts are given that the person was
    free of it at the row before: see `_log_free_before`.
    """

    mean: Float[Array, "*N n"]
    log_score: Float[Array, "*N n"]
    grades: Any = None  # (n, G) the probability of each grade, where there are grades
    quantiles: Any = None  # (n, Q) where the response is a number
    place: Any = None  # (n,) P(y < what came) + 1/2 P(y = what came), where the response is a number
    above: Any = None  # (n,) P(y > the threshold asked for), where the response is a number
    effective: Any = None  # (n,) how many draws count among those free of an `Event`, where it comes once


class Asked(NamedTuple):
    """What of a number is asked for besides its mean."""

    quantiles: Float[np.ndarray, " Q"]
    thresholds: dict[str, float]  # by outcome
    at: Any  # the landmark: rows after it are foretold
    recurring: frozenset[str] = frozenset()  # events that may happen to a person again


def foretold(
    model: Model, etas: Float[Array, "N M K"], subjects: Subject, keys: Any, asked: Asked
) -> dict[str, Foretold]:
    """What M draws of each person's random effects say of each of its responses, by outcome.

    ValueError where a density makes rows depend on each other.
    """
    cells = sum(mask.shape[1] for mask in as_dict(subjects.mask).values())
    at_once = min(32, max(1, _NUMBERS_AT_ONCE // (etas.shape[1] * cells)))
    return _foretold(model, etas, subjects, keys, asked, at_once)


@compiled
def _foretold(
    model: Model, etas: Array, subjects: Subject, keys: Any, asked: Asked, at_once: int
) -> dict[str, Foretold]:
    def of_person(one: Any) -> dict[str, Foretold]:
        own_etas, subject, key = one
        return _of_person(model, own_etas, subject, key, asked)

    return in_parts(of_person, (etas, subjects, keys), at_once)


def _of_person(
    model: Model, etas: Float[Array, "M K"], subject: Subject, key: Any, asked: Asked
) -> dict[str, Foretold]:
    def of_draw(eta, key):
        densities = as_dict(observation_density(model, eta, subject))
        drawn = {}
        for place, (name, density) in enumerate(sorted(densities.items())):
            own_key = jax.random.fold_in(key, place)
            drawn[name] = _given_effects(model, density, name, subject, own_key, asked)
            if is_event(density) and name not in asked.recurring:
                log_free = _log_free_before(model, eta, subject, name, density, asked.at)
                drawn[name] = drawn[name]._replace(log_free=log_free)
        return drawn

    drawn = jax.vmap(of_draw)(etas, jax.random.split(key, len(etas)))
    return {name: _averaged(parts, name, subject, asked) for name, parts in drawn.items()}


class _Drawn(NamedTuple):
    """One outcome given one draw of the random effects."""

    mean: Array
    log_p: Array
    grades: Any = None  # (n, G)
    response: Any = None  # (n,) drawn
    log_free: Any = None  # (n,) of an event, log P(free of it where the row's own time begins)


def _given_effects(
    model: Model, density: dist.Distribution, name: str, subject: Subject, key: Any, asked: Asked
) -> _Drawn:
    who = f"{type(model).__name__}.observations"
    if correlated_rows(density) is not None:
        raise ValueError(
            f"{who} makes rows depend on each other, so that what is to come hangs on more than the random effects, "
            "which landmark does not do: give each row a density of its own, and what rows share to random effects."
        )
    shape = subject.time.shape
    y = as_dict(subject.y)[name]
    mask = as_dict(subject.mask)[name]
    censored = as_dict(subject.censored).get(name)
    limit = as_dict(subject.limit).get(name)
    log_p = log_observed_rows(density, y, mask, censored, limit)
    if is_categorical(density):
        grades = unwrapped(density).probs
        grades = jnp.broadcast_to(grades, (*shape, grades.shape[-1]))
        return _Drawn(grades @ jnp.arange(grades.shape[-1]), log_p, grades=grades)
    mean = jnp.broadcast_to(mean_of(density, who), shape)
    if says_yes_or_no(density) or not asked.quantiles.size:
        return _Drawn(mean, log_p)
    return _Drawn(mean, log_p, response=density.expand(shape).sample(key).astype(float))


def _log_free_before(
    model: Model, eta: Float[Array, " K"], subject: Subject, name: str, density: dist.Distribution, at: Any
) -> Float[Array, " n"]:
    """log S, the integral of the hazard from the landmark to where that of each row begins, with the sign turned.

    A row's own integral H_j begins at the row before, or of `hazard` where the event was last seen not to have come.
    Watched at every row from the landmark on, the integrals add up to the row's time: what H_j is not came before.
    """
    later = subject.real & (subject.time > at)
    masks = {other: mask | later if other == name else mask for other, mask in as_dict(subject.mask).items()}
    watched = dataclasses.replace(subject, mask=as_given(masks))
    shape = subject.time.shape
    every = jnp.broadcast_to(_event_of(as_dict(observation_density(model, eta, watched))[name]), shape)
    own = jnp.broadcast_to(_event_of(density), shape)
    order = jnp.argsort(subject.time)
    total = jnp.cumsum(jnp.where(later, every, 0.0)[order])
    until = jnp.zeros(shape).at[order].set(total)
    return -jnp.where(later & jnp.isfinite(own), jnp.maximum(until - own, 0.0), 0.0)


def _event_of(density: Any) -> Array:
    """The integrals of an event's hazard."""
    inner: Any = unwrapped(density)
    return inner.cumulative_hazard


def _averaged(drawn: _Drawn, name: str, subject: Subject, asked: Asked) -> Foretold:
    """Over the draws of the random effects, the leading axis."""
    if drawn.log_free is not None:
        return _of_those_free(drawn)
    mean = jnp.mean(drawn.mean, axis=0)
    log_score = logsumexp(drawn.log_p, axis=0) - np.log(len(drawn.log_p))
    grades = None if drawn.grades is None else jnp.mean(drawn.grades, axis=0)
    if drawn.response is None:
        return Foretold(mean, log_score, grades)
    y = as_dict(subject.y)[name]
    place = jnp.mean((drawn.response < y) + 0.5 * (drawn.response == y), axis=0)
    quantiles = jnp.quantile(drawn.response, asked.quantiles, axis=0).T
    above = None
    if name in asked.thresholds:
        above = jnp.mean(drawn.response > asked.thresholds[name], axis=0)
    return Foretold(mean, log_score, grades, quantiles, place, above)


def _of_those_free(drawn: _Drawn) -> Foretold:
    """An event, over the draws as they weigh for a person who is free of it at the row before,

        E[S (1 - exp(-H))] / E[S],    log E[S p(y)] / E[S],

    so that the log scores of all of a person's rows add up to the log of the mean of their joint density.
    """
    most = jnp.max(drawn.log_free, axis=0)
    # where no draw lets anyone be free, all count alike
    log_free = jnp.where(jnp.isfinite(most), drawn.log_free, 0.0)
    log_weight = log_free - logsumexp(log_free, axis=0)
    mean = jnp.sum(jnp.exp(log_weight) * drawn.mean, axis=0)
    effective = jnp.exp(-logsumexp(2.0 * log_weight, axis=0))
    return Foretold(mean, logsumexp(log_weight + drawn.log_p, axis=0), effective=effective)


def says_yes_or_no(density: dist.Distribution) -> bool:
    """Is the mean of the response the probability that something happens?"""
    kinds = Event | dist.BernoulliProbs | dist.BernoulliLogits
    return isinstance(unwrapped(density), kinds) or isinstance(density, kinds)
