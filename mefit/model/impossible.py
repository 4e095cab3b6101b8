"""Responses that a model cannot give, and rows at which it leaves nothing to chance: found, told, and left out."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions.distribution import validation_enabled

from ..base.compiling import compiled
from ..data.by_outcome import as_dict, as_given
from ..data.choosing import only_seen
from ..data.population import Population
from ..data.subject import Subject
from .densities import eta_mean, observation_density
from .model import Model
from .outcomes import certain_rows
from .support import impossible_response


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
        y = as_dict(subject.y)[name]
        exact = np.asarray(as_dict(subject.mask)[name])
        if subject.censored is not None:
            exact = exact & (np.asarray(as_dict(subject.censored)[name]) == 0)
        of_outcome = f" of {name}" if name else ""
        wrong = impossible_response(density, y, exact)
        if wrong is not None:
            row, takes = wrong
            raise ValueError(
                f"the response{of_outcome} of subject {who} in its row {row + 1} is {float(y[row]):g}, "
                f"and {takes}: correct or recode the data, with categories counted from 0, or choose another density."
            )
        certain, place = certain_rows(density, subject.time.shape)
        stuck = np.flatnonzero(exact & np.asarray(certain))
        if stuck.size:
            row = int(stuck[0])
            raise ValueError(_of_certain_row(who, of_outcome, row, float(y[row]), float(place[row])))


def _of_certain_row(who: Any, of_outcome: str, row: int, y: float, place: float) -> str:
    """What is said of a measured response where the residual error is zero."""
    where = f"the model predicts {place:g}{of_outcome} for subject {who} in its row {row + 1}, with an error of 0"
    if y == place:
        return (
            f"{where}, and {y:g} was measured: such a row tells nothing, so leave it out, "
            "by mf.without_certain_rows(model, population), or give the error an additive part."
        )
    return (
        f"{where}, and {y:g} was measured, which is impossible then: give the error an additive part, "
        "or look whether the times of dose and sample are right."
    )


def without_certain_rows(model: Model, population: Population) -> Population:
    """The population without the responses at which the model leaves nothing to chance, as if they were missing.

    Under an error that is proportional to the prediction, a sample before the first dose is predicted to be 0 with an
    error of 0. Where 0 was measured the row tells nothing of any parameter, and has no density. Censored responses
    stay: a prediction of 0 lies below any limit, with probability 1.

    ValueError where something else was measured in such a row, which the model makes impossible.
    """
    subjects = population.subjects
    certain, place = jax.tree.map(np.asarray, _certain(model, subjects))
    kept = {}
    for name, mask in as_dict(subjects.mask).items():
        stuck = np.asarray(mask) & as_dict(certain)[name]
        if subjects.censored is not None:
            stuck = stuck & (np.asarray(as_dict(subjects.censored)[name]) == 0)
        y = np.asarray(as_dict(subjects.y)[name])
        for i, row in np.argwhere(stuck & (y != as_dict(place)[name])):
            of_outcome = f" of {name}" if name else ""
            expected = float(as_dict(place)[name][i, row])
            raise ValueError(_of_certain_row(population.ids[i], of_outcome, row, float(y[i, row]), expected))
        kept[name] = jnp.asarray(~stuck)
    return dataclasses.replace(population, subjects=only_seen(subjects, as_given(kept)))


@compiled
def _certain(model: Model, subjects: Subject) -> tuple[Any, Any]:
    """Which rows leave nothing to chance, and what is predicted there, by outcome."""

    def of_subject(subject: Subject) -> tuple[Any, Any]:
        densities = as_dict(observation_density(model, eta_mean(model), subject))
        found = {name: certain_rows(density, subject.time.shape) for name, density in densities.items()}
        return as_given({k: v[0] for k, v in found.items()}), as_given({k: v[1] for k, v in found.items()})

    return jax.vmap(of_subject)(subjects)
