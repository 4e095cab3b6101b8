"""Responses that a model cannot give, and rows at which it leaves nothing to chance: found, told, and left out."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpyro.distributions.distribution import validation_enabled

from ..base.compiling import compiled
from ..data.by_outcome import as_dict, as_given
from ..data.choosing import measured, only_seen
from ..data.population import Population
from ..data.subject import Subject
from .categorical import is_categorical
from .densities import eta_mean, observation_density
from .model import Model
from .outcomes import certain_rows
from .support import impossible_response

_HAIR = 1e-5  # of a subject's largest error: a smaller one, about a smaller prediction, was lifted above 0 by hand


def refuse_impossible(model: Model, subject: Subject, who: Any) -> None:
    """Raise ValueError, naming subject `who` and row, for a response that its density cannot give.

    That is one outside its support, or any response where the model leaves nothing to chance, its residual error being
    zero. For one subject with its own rows, outside of a compiled program.
    """
    with validation_enabled(False):
        _refuse(model, subject, who)


def _refuse(model: Model, subject: Subject, who: Any) -> None:
    densities = as_dict(observation_density(model, eta_mean(model), subject))
    for name, density in sorted(densities.items()):
        if density.event_shape:  # Gaussian, of all rows together
            continue
        y = as_dict(subject.y)[name]
        exact = measured(subject, name)
        of_outcome = _of(name)
        wrong = impossible_response(density, y, exact)
        if wrong is not None:
            row, takes = wrong
            counted = ", with categories counted from 0" if is_categorical(density) else ""
            raise ValueError(
                f"the response{of_outcome} of subject {who} in its row {row + 1} is {float(y[row]):g}, "
                f"and {takes}: correct or recode the data{counted}, or choose another density."
            )
        certain, place, _ = certain_rows(density, subject.time.shape)
        stuck = np.flatnonzero(exact & np.asarray(certain))
        if stuck.size:
            row = int(stuck[0])
            raise ValueError(_of_certain_row(who, of_outcome, row, float(y[row]), float(place[row])))


def _of(name: str) -> str:
    return f" of {name}" if name else ""


def _of_certain_row(who: Any, of_outcome: str, row: int, y: float, place: float, error: float = 0.0) -> str:
    """What is said of a measured response where the residual error is zero, or next to it."""
    where = f"the model predicts {place:.3g}{of_outcome} for subject {who} in its row {row + 1}, with an error of "
    where = f"{where}{error:.3g}, and {y:g} was measured"
    if y == place or error > 0:
        return (
            f"{where}: such a row tells nothing, so leave it out, "
            "by mf.without_certain_rows(model, population), or give the error an additive part."
        )
    return (
        f"{where}, which is impossible then: give the error an additive part, "
        "or look whether the times of dose and sample are right."
    )


def refuse_lifted(model: Model, population: Population) -> None:
    """Raise ValueError for zeros before the first dose whose predictions were lifted a hair above zero.

    Under a proportional error each of these counts as a residual of 1 / sigma, and a fit widens sigma for it. It is
    looked for only where there are such zeros.
    """
    early = _zeros_before_doses(population)
    if not any(np.any(zero) for zero in early.values()):
        return
    for name, found in _certain_of(model, population, early).items():
        for i, row in np.argwhere(found.lifted)[:1]:
            place = float(found.place[i, row])
            raise ValueError(
                _of_certain_row(population.ids[i], _of(name), int(row), 0.0, place, float(found.scale[i, row]))
            )


def without_certain_rows(model: Model, population: Population) -> Population:
    """The population without the responses at which the model leaves nothing to chance, as if they were missing.

    Under an error that is proportional to the prediction, a sample before the first dose is predicted to be 0 with an
    error of 0 (or next to it, where the prediction was kept above 0 by hand). Where 0 was measured the row tells
    nothing of any parameter, and has no density. Censored responses stay: a prediction of 0 lies below any limit, with
    probability 1.

    ValueError where something else was measured in such a row, which the model makes impossible.

        people = mf.without_certain_rows(model, population)
    """
    subjects = population.subjects
    kept = {}
    for name, found in _certain_of(model, population, _zeros_before_doses(population)).items():
        exact = measured(subjects, name)
        y = np.asarray(as_dict(subjects.y)[name])
        for i, row in np.argwhere(exact & found.certain & (y != found.place))[:1]:
            place = float(found.place[i, row])
            raise ValueError(_of_certain_row(population.ids[i], _of(name), int(row), float(y[i, row]), place))
        kept[name] = jnp.asarray(~(exact & (found.certain | found.lifted)))
    return dataclasses.replace(population, subjects=only_seen(subjects, as_given(kept)))


class _Certain(NamedTuple):
    """Of one outcome: where a row leaves nothing to chance, and what is predicted there."""

    certain: Bool[np.ndarray, "N n"]
    lifted: Bool[np.ndarray, "N n"]  # next to nothing, in a row where 0 was measured before the first dose
    place: Float[np.ndarray, "N n"]
    scale: Float[np.ndarray, "N n"]


def _certain_of(model: Model, population: Population, early: dict[str, Any]) -> dict[str, _Certain]:
    masks = as_dict(population.subjects.mask)
    found = {}
    for name, laid in as_dict(_laid(model, population.subjects)).items():
        rows = jax.tree.map(np.asarray, laid)
        seen = np.asarray(masks[name]) & np.isfinite(rows.scale)
        least = _HAIR * np.max(np.where(seen, rows.scale, 0.0), axis=1, keepdims=True)
        lifted = early[name] & ~rows.certain & (rows.scale < least) & (np.abs(rows.value) < least)
        found[name] = _Certain(rows.certain, lifted, rows.value, rows.scale)
    return found


def _zeros_before_doses(population: Population) -> dict[str, Any]:
    """The rows before the subject's first dose in which 0 was measured, by outcome."""
    subjects = population.subjects
    given = np.asarray(subjects.doses.amount) != 0
    first = np.min(np.asarray(subjects.doses.time), axis=1, initial=np.inf, where=given)
    early = np.asarray(subjects.time) < np.where(np.isfinite(first), first, -np.inf)[:, None]
    masks = as_dict(subjects.mask)
    return {name: early & np.asarray(masks[name]) & (np.asarray(y) == 0) for name, y in as_dict(subjects.y).items()}


@compiled
def _laid(model: Model, subjects: Subject) -> Any:
    """Which rows leave nothing to chance, what is predicted in each, and the scale of its error, by outcome."""

    def of_subject(subject: Subject) -> Any:
        densities = as_dict(observation_density(model, eta_mean(model), subject))
        return {name: certain_rows(density, subject.time.shape) for name, density in densities.items()}

    return jax.vmap(of_subject)(subjects)
