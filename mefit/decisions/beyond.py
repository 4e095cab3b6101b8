"""Where a question goes beyond what a model was fitted to: doses, times, covariates. An answer there is a guess."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data.doses import Doses
from ..data.population import Population

_ROUNDING = 1e-9  # of a value: as far beyond is as far as it goes


def doses_beyond(fitted: Population, regimens: Mapping[str, Doses]) -> dict[str, str]:
    """For each regimen with an amount outside of those that the fitted population got, a sentence."""
    doses = fitted.subjects.doses
    known = np.asarray(doses.amount)[np.asarray(doses.amount) > 0.0]
    sentences = {}
    for name, regimen in regimens.items():
        amounts = np.asarray(regimen.amount)[np.asarray(regimen.amount) > 0.0]
        if known.size and amounts.size:
            outside = _outside(amounts, known)
            if outside is not None:
                sentences[name] = f"a dose of {outside:g} lies beyond those fitted, {_range(known)}"
    return sentences


def times_beyond(fitted: Population, time: np.ndarray) -> str:
    """A sentence, if a time lies after the last one that the fitted population was seen at; else nothing."""
    rows = np.asarray(fitted.subjects.real, bool)
    known = np.asarray(fitted.subjects.time)[rows]
    last = float(np.max(time, initial=-np.inf))
    if known.size == 0 or last <= known.max() + _ROUNDING * abs(known.max()):
        return ""
    return f"the time {last:g} lies after the last that was fitted, {known.max():g}"


def covariates_beyond(fitted: Population, people: Population) -> dict[Any, str]:
    """For each person with a covariate outside of the fitted population's range, a sentence."""
    sentences: dict[Any, list[str]] = {}
    for name, values in fitted.subjects.covariates.items():
        known = _seen(np.asarray(values, float), fitted)
        if name not in people.subjects.covariates or known.size == 0:
            continue
        own = np.asarray(people.subjects.covariates[name], float).reshape(len(people), -1)
        for person, row in zip(people.ids, own, strict=True):
            outside = _outside(row, known)
            if outside is not None:
                told = f"{name} of {outside:g} lies beyond those fitted, {_range(known)}"
                sentences.setdefault(person, []).append(told)
    return {person: "; ".join(told) for person, told in sentences.items()}


def _seen(values: np.ndarray, population: Population) -> np.ndarray:
    """A covariate's values, of one that changes in time those of real rows."""
    if values.ndim == 1:
        return values
    return values[np.asarray(population.subjects.real, bool)]


def _outside(values: Sequence[float] | np.ndarray, known: np.ndarray) -> float | None:
    """The value that lies furthest outside of what is known, if any."""
    low = known.min()
    high = known.max()
    slack = _ROUNDING * max(abs(low), abs(high))
    above = float(np.max(values)) - high
    below = low - float(np.min(values))
    if max(above, below) <= slack:
        return None
    return float(np.max(values)) if above >= below else float(np.min(values))


def _range(known: np.ndarray) -> str:
    return f"{known.min():g} to {known.max():g}" if known.min() < known.max() else f"{known.min():g}"
