"""What JAX does quietly with a model's own code, and would give wrong numbers: found beforehand, and refused.

A place that an array has not is taken for the nearest. A subject's rows are filled up to as many as others have: what
a model makes of all rows together, as their mean, would count those too. And a response that is missing stands as 0.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ..base.compiling import compiled, is_followed
from ..base.jaxprs import lines_that_join, lines_that_read
from ..base.lookups import Beyond, Lookups
from ..base.outlines import of_outline
from ..base.plainly import Refusal
from ..data.by_outcome import as_dict, as_given
from ..data.population import Population
from ..data.subject import Subject
from .densities import eta_mean, eta_sd, eta_size, log_joint
from .model import Model
from .space import Space

_ASIDE = 0.1  # of a free coordinate, and of the SD of a random effect: how far from the start a model is looked at
_SAME = 1e-5  # of a log density: a smaller difference is rounding
_NEAR = 1e-3  # of a log density: a smaller difference is that of a solver whose steps end at other times
_SHIFT = 0.1  # of the way between two rows, by which one is moved away from the other


def refuse_pitfalls(model: Model, population: Population) -> None:
    """Raise ValueError where a model's own code reads what is not there.

    That is a place beyond an array, such as `eta[3]` of three random effects, which are counted from 0, or an occasion
    of the data beyond those that the model has effects for; rows that are padding, as in `jnp.mean(subject.time)` where
    subjects have different numbers of rows; and responses that are missing, as `subject.y[0]` may be.
    """
    if is_followed(population):
        return
    read = _read((model, population.subjects))
    name = type(model).__name__
    beyond = read.lookups.beyond(jax.tree.leaves(population.subjects)) if read.lookups else None
    if beyond is not None:
        raise Refusal(_of_beyond(name, beyond, population))
    if is_followed(model):
        return
    joining = [*read.joining_rows, *read.joining_doses]
    for i in _shortest(population) if joining else ():
        if _differ(model, population[i], _row_of(population.subjects, i)):
            raise Refusal(
                f"{name} joins the rows or doses of subject {population.ids[i]} at `{joining[0]}`, and counts "
                "those that fill them up to as many as others have: leave these out, as by "
                "jnp.mean(x, where=subject.real) or subject.doses.real, or make it a covariate of the data."
            )
    for i in _with_gaps(population) if read.responding else ():
        subject = _row_of(population.subjects, i)
        if _differ(model, subject, _with_other_gaps(subject, population)):
            raise Refusal(
                f"{name} reads responses of subject {population.ids[i]} that are missing, and stand as 0, at "
                f"`{read.responding[0]}`: ask subject.mask which were seen, or make it a covariate of the data."
            )


def refuse_other_times(model: Model, population: Population) -> None:
    """Raise ValueError where what a model predicts for one row hangs on a person's other rows.

    Over other times than the person's own, as of a curve, it would be another prediction.
    """
    if is_followed((model, population)):
        return
    read = _read((model, population.subjects))
    line = next(iter(read.responding), None)
    if line is None and read.joining_rows and _hang_together(model, population[int(np.argmax(population.rows))]):
        line = read.joining_rows[0]
    if line is not None:
        raise Refusal(
            f"{type(model).__name__} predicts a row from a person's other rows, at `{line}`, so that it has no curve "
            "over other times: make what it takes from them a covariate of the data, or leave `time` out."
        )


def refuse_new_responses(model: Model, population: Population) -> None:
    """Raise ValueError where a model's own code reads responses: a simulation would read the old ones."""
    read = _read((model, population.subjects))
    if read.responding:
        raise Refusal(
            f"{type(model).__name__} reads responses, at `{read.responding[0]}`, and a simulation draws each row "
            "without knowing the others: make what it takes from them a covariate of the data."
        )


def _hang_together(model: Model, subject: Subject) -> bool:
    """Is the first row's density, or the last one's, another one where the other rows are moved away from it?"""
    for kept in (0, -1):
        only = np.zeros(subject.time.size, bool)
        only[kept] = True
        alone = dataclasses.replace(subject, mask=jax.tree.map(lambda mask, only=only: only, subject.mask))
        moved = dataclasses.replace(alone, time=subject.time + _SHIFT * (subject.time - subject.time[kept]))
        if _differ(model, alone, moved, _NEAR):
            return True
    return False


def _of_beyond(name: str, beyond: Beyond, population: Population) -> str:
    """What is said of a look-up beyond an array."""
    asked = f"place {beyond.place}" if beyond.place >= 0 else "a place before the first"
    whose = remedy = ""
    if beyond.who is not None:
        whose = f" for subject {population.ids[beyond.who]}"
        remedy = "; look at the data, or give the array as many places as they need"
    return (
        f"{name} asks{whose} for {asked} of an array of {beyond.size}, at `{beyond.line}`: places are counted from 0, "
        f"so that the last is {beyond.size - 1}{remedy}."
    )


class _Read(NamedTuple):
    """What was read of a model's code."""

    lookups: Lookups | None = None
    joining_rows: Sequence[str] = ()  # the lines that may
    joining_doses: Sequence[str] = ()
    responding: Sequence[str] = ()  # the lines that take responses


@of_outline
def _read(model_and_subjects: Any) -> _Read:
    """What a model's own code does, for one subject."""
    model, subjects = model_and_subjects
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), subjects)
    eta: Any = jax.ShapeDtypeStruct((eta_size(model),), float)
    try:
        closed, _, _ = eqx.filter_make_jaxpr(log_joint)(model, eta, one)
    except Exception:  # whatever needs the density says what is wrong with it, in better words or in the same
        return _Read()
    nothing = jax.tree.map(lambda leaf: False, one)
    is_y = jax.tree.leaves(eqx.tree_at(lambda s: s.y, nothing, jax.tree.map(lambda leaf: True, one.y)))
    inputs = closed.jaxpr.invars
    y = {var for var, its in zip(inputs[len(inputs) - len(is_y) :], is_y, strict=True) if its}
    return _Read(
        lookups=Lookups(closed, [False] * (len(inputs) - len(is_y)) + [True] * len(is_y)),
        joining_rows=lines_that_join(closed, one.time.shape[0]),
        joining_doses=lines_that_join(closed, one.doses.time.shape[0]),
        responding=lines_that_read(closed, y),
    )


def _shortest(population: Population) -> Iterator[int]:
    """Who has the fewest rows, and who the fewest doses, of those that have fewer than others."""
    subjects = population.subjects
    for real in (subjects.real, subjects.doses.real):
        counts = np.asarray(real).sum(axis=1)
        if counts.size and counts.min() < np.shape(real)[1]:
            yield int(np.argmin(counts))


def _with_gaps(population: Population) -> Iterator[int]:
    """Who has the most responses that were not seen, of each outcome."""
    for mask in as_dict(population.subjects.mask).values():
        gaps = np.sum(~np.asarray(mask), axis=1)
        if gaps.max() > 0:
            yield int(np.argmax(gaps))


def _row_of(subjects: Subject, i: int) -> Subject:
    """One subject with its padding."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[i], subjects)


def _with_other_gaps(subject: Subject, population: Population) -> Subject:
    """The subject with other numbers, as large as the largest of all, where no response was seen."""
    masks = as_dict(subject.mask)
    largest = {name: np.max(np.abs(y)) or 1.0 for name, y in as_dict(population.subjects.y).items()}
    y = {name: np.where(masks[name], y, largest[name]) for name, y in as_dict(subject.y).items()}
    return dataclasses.replace(subject, y=as_given(y))


def _differ(model: Model, one: Subject, other: Subject, same: float = _SAME) -> bool:
    """Are the densities of what should be the same subject two? Not at the start, where much may be 0."""
    space = Space(model)
    x = space.vector()
    sd = np.asarray(eta_sd(model))
    eta = np.asarray(eta_mean(model)) + _ASIDE * np.where(np.isfinite(sd), sd, 0.0)
    sizes = space.sizes.guess
    if np.any(sizes == 0.0):  # of a number with a unit that begins at 0: what moves the density by about 1
        slope = np.abs(np.asarray(_slope(space, x, eta, one)))
        sizes = np.where(sizes == 0.0, np.divide(1.0, slope, out=np.zeros(x.size), where=slope > 0.0), sizes)
    x = x + _ASIDE * sizes * np.cos(np.arange(x.size))
    here = float(_density(space, x, eta, one))
    there = float(_density(space, x, eta, other))
    return abs(here - there) > same * (1.0 + abs(here))  # of what is not finite nothing is said here


@compiled
def _density(space: Space, x: Array, eta: Array, subject: Subject) -> Array:
    return log_joint(space.at(x), eta, subject)


@compiled
def _slope(space: Space, x: Array, eta: Array, subject: Subject) -> Array:
    return jax.grad(lambda x: log_joint(space.at(x), eta, subject))(x)
