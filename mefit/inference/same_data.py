"""Are two fits of the same data? What a likelihood is of, and the conditions that it is under."""

from typing import Any

import numpy as np

from ..data.by_outcome import as_dict
from ..data.doses import DOSE, dose_field
from ..data.population import Population


def same_responses(first: Population, other: Population) -> bool:
    """Are these the same responses of the same subjects: what a likelihood is the probability of?

    Outcomes, subjects and their observed responses must agree, one by one, and so must what is
    known of censored ones. Missing rows and padding do not matter.
    """
    if first.ids != other.ids or first.outcomes != other.outcomes:
        return False
    return all(
        _same_by_subject(_responses(first, outcome), _responses(other, outcome))
        for outcome in as_dict(first.subjects.mask)
    )


def other_conditions(first: Population, other: Population) -> list[str]:
    """What differs in the conditions of the same responses: "times", "doses", "covariate wt" of
    those that both have.

    Times and covariates are compared where a response was observed. A change of units is a
    difference, too.
    """
    different = []
    if not _same_by_subject(_where_observed(first, first.subjects.time), _where_observed(other, other.subjects.time)):
        different.append("times")
    if not _same_by_subject(_doses(first), _doses(other)):
        different.append("doses")
    covariates = first.subjects.covariates
    for name, theirs in other.subjects.covariates.items():
        if name not in covariates:
            continue
        if not _same_by_subject(_where_observed(first, covariates[name]), _where_observed(other, theirs)):
            different.append(f"covariate {name}")
    return different


def already_in(people: Population, fitted: Population) -> np.ndarray:
    """(N,) Which of these people stand in a fitted population by the same id, responses, times and doses."""
    found = np.zeros(len(people), bool)
    if people.outcomes != fitted.outcomes:
        return found
    places = {person: i for i, person in enumerate(fitted.ids)}
    for i, person in enumerate(people.ids):
        if person in places:
            found[i] = _same_record(people[[i]], fitted[[places[person]]])
    return found


def _same_record(one: Population, other: Population) -> bool:
    return same_responses(one, other) and not {"times", "doses"} & set(other_conditions(one, other))


def _same_by_subject(first: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def _responses(population: Population, outcome: str) -> list[np.ndarray]:
    """Of each subject, (observed rows, 3): responses, on which side they are censored, and the
    other end, if any."""
    subjects = population.subjects
    mask = np.asarray(as_dict(subjects.mask)[outcome])
    y = np.asarray(as_dict(subjects.y)[outcome])
    side = np.asarray(as_dict(subjects.censored).get(outcome, np.zeros(mask.shape)))
    limit = np.asarray(as_dict(subjects.limit).get(outcome, np.zeros(mask.shape)))
    columns = np.stack([y, side, np.where(side == 0, 0.0, limit)], axis=-1)
    return [rows[real] for rows, real in zip(columns, mask, strict=True)]


def _where_observed(population: Population, values: Any) -> list[np.ndarray]:
    """Values (N,) or (N, n) of each subject, at its rows with a response of any outcome."""
    masks = [np.asarray(mask) for mask in as_dict(population.subjects.mask).values()]
    observed = np.logical_or.reduce(masks)
    by_row = np.broadcast_to(np.reshape(values, (len(observed), -1)), observed.shape)
    return [rows[real] for rows, real in zip(by_row, observed, strict=True)]


def _doses(population: Population) -> list[np.ndarray]:
    """Of each subject, (doses, fields): all that is known of its doses, those that fill up left
    out."""
    doses = population.subjects.doses
    given = np.asarray(doses.real)
    columns = np.stack([dose_field(doses, field) for field in DOSE], axis=-1)
    return [rows[chosen] for rows, chosen in zip(columns, given, strict=True)]
