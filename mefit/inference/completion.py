"""What was planned and not seen: completed data sets, and how far an answer hangs on what nobody can know."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..base.asked import require_count
from ..base.chance import require_key
from ..base.compiling import compiled
from ..curves.encoding import AnyEncoder
from ..data.by_outcome import UNNAMED, as_dict, as_given
from ..data.choosing import measured
from ..data.missing import filled, gaps
from ..data.population import Population
from ..data.subject import Subject
from ..data.written import Notes
from ..effects.augmentation import missing_responses, refuse_dependent_rows
from ..fitting.fitted import Estimated
from ..fitting.result import Fit
from ..model.categorical import name_of
from ..model.densities import eta_size, first_density, observation_density
from ..model.model import Model
from ..model.normals import normal_rows
from ..model.outcomes import is_event
from .expected import expected_responses
from .individual import individual

# A number added to each missing response after dropout; or a function of the times and of when a person was last seen
Shift: TypeAlias = float | int | Callable[[np.ndarray, np.ndarray], Any]


def completed(
    fit: Estimated | Model,
    datasets: int,
    *,
    population: Population | None = None,
    shift: Shift | Mapping[str, Shift] = 0.0,
    key: PRNGKeyArray,
) -> list[Population]:
    """Completed data sets: each missing response of a real row drawn from p(u | y, theta), as often as asked for.

    Random effects are drawn from each person's p(eta | y_i, theta) by importance sampling, as `mf.individual` does, and
    then the missing responses from p(u | eta, theta). What was seen stays, and what was censored stays censored. It
    takes no special fit: after `Laplace`, `SAEM`, `Amortised` or `Augmented` alike. Analyse each data set as if it were
    whole and take the mean of the answers; their variance lacks the uncertainty of theta, which is held at its
    estimate. The report of each data set says how many responses were drawn, and of whom the draws are not to be
    trusted.

    **Arguments**

    - `fit`: a fit, or a model at its parameters.
    - `datasets`: how many.
    - `population`: the people; those of the fit, unless given. Rows without a response are those to complete.
    - `shift`: what is added to missing responses after a person's last one was seen, for data that are missing not at
      random: see `delta_adjusted`.
    - `key`: a `jax.random.key`.

    **Raises:** ValueError for no data sets, for rows that depend on each other given eta, and for a shift that is not
    finite or takes a response to where its density gives none, such as a 1 to 0.7.
    Source: Rubin (1987), Multiple Imputation for Nonresponse in Surveys, ch. 3.

        whole, again = mf.completed(fit_with_gaps, 2, key=key)
    """
    require_key(key, "completed")
    require_count(datasets, 1, "completed's datasets")
    case = _case(fit, population)
    refuse_dependent_rows(case.model, case.population, "completed")
    key_eta, key_y = jax.random.split(key)
    known = _known(case, datasets, key_eta)
    moved = _shifts(case.population, shift)
    count = sum(int(np.sum(mask)) for mask in jax.tree.leaves(gaps(case.population.subjects).mask))
    told = Notes((*case.population.notes, f"{count} missing responses were drawn from a fitted model", *known.remarks))
    made = []
    for place in range(datasets):
        keys = jax.random.split(jax.random.fold_in(key_y, place), len(case.population))
        drawn = _drawn(case.model, known.eta[:, place], case.population.subjects, as_given(moved), keys)
        _refuse_impossible(case.population, drawn.possible)
        whole = filled(case.population.subjects, drawn.y)
        made.append(dataclasses.replace(case.population, subjects=whole, notes=told))
    return made


def delta_adjusted(
    fit: Estimated | Model,
    shifts: float | int | Sequence[Any] | Mapping[str, Any],
    *,
    population: Population | None = None,
    draws: int = 400,
    key: PRNGKeyArray,
) -> pd.DataFrame:
    """The mean response at each time had nobody left, if those who left were `shift` away from what the fit expects.

    A pattern mixture: people who left at different times may differ, and no data say by how much, so it is assumed, one
    value after the other. For person i and time t after their last response,

        E u_it = E[E(y_it | eta, theta) | y_i] + shift,

    and what was seen is as it is; what is missing between two that were, as it is expected. A response known only to
    lie between l and u, such as one below the limit of quantification, counts by a draw from its law there,

        p(y_it | eta, theta) / P(l < y_it < u | eta, theta),

    for each draw of eta given y_i, of which it is a part: never by its limit. A shift of 0 is missing at random. Where
    an answer changes only at a shift that nobody believes, it does not hang on why people left.

    **Arguments**

    - `fit`: a fit, or a model at its parameters.
    - `shifts`: one number or several in the unit of y, such as `[0, -0.5, -1]`; or by a name for each row of the table,
      `{"at random": 0.0, "each month lower": lambda time, last: -0.2 * (time - last)}`: a function of the times
      (N, n) and of when each person was last seen (N, 1), a shift for each pattern of dropout; `-inf` is never. Of
      several outcomes, a dict by outcome, in which those left out are not shifted.
    - `population`: the people; those of the fit, unless given. Times that all share make a useful table.
    - `draws`: from each person's p(eta | y_i, theta).
    - `key`: a `jax.random.key`; its draws are the same for all shifts.

    **Returns:** a row for each shift, outcome and time: `mean`, in the unit of y, and `shifted`, the share of the
    planned responses that a shift moves. Theta is held at its estimate. `.attrs["remarks"]` names people whose draws
    are not to be trusted.

    **Raises:** ValueError for a shift that is not finite or of an outcome that is not there; for rows that depend on
    each other given eta, as a missing one then hangs on those beside it; for responses that are categories or events,
    which have no mean; for censored responses whose density is neither normal, log-normal nor logit-normal. A mean
    outside what the density can give is not refused.
    Sources: Little (1993), Pattern-mixture models for multivariate incomplete data, J. Am. Stat. Assoc. 88; Carpenter
    and Kenward (2013), Multiple Imputation and its Application, ch. 10.

        mf.delta_adjusted(fit_with_gaps, shifts=(0.0, -1.0), key=key)
    """
    require_key(key, "delta_adjusted")
    case = _case(fit, population)
    named = _named(shifts)
    refuse_dependent_rows(case.model, case.population, "delta_adjusted")
    _refuse_without_mean(case)
    key_eta, key_y = jax.random.split(key)
    known = _known(case, draws, key_eta)
    subjects = case.population.subjects
    keys = jax.random.split(key_y, known.eta.shape[:2])
    expected = as_dict(expected_responses(case.model, known.eta, subjects, keys))
    joined = pd.concat(
        [table for label, shift in named.items() for table in _tables(case.population, expected, label, shift)],
        ignore_index=True,
    )
    joined.attrs["remarks"] = known.remarks
    return joined


def _tables(population: Population, expected: Mapping[str, Any], label: str, shift: Any) -> list[pd.DataFrame]:
    """The mean response at each time at one shift: a table for each outcome."""
    subjects = population.subjects
    real = np.asarray(subjects.real)
    time = np.asarray(subjects.time)[real]
    moved = _shifts(population, shift)
    tables = []
    for name, values in sorted(expected.items()):
        seen = measured(subjects, name)
        y = np.where(seen, np.asarray(as_dict(subjects.y)[name]), np.asarray(values) + moved[name])
        of_rows = pd.DataFrame({"TIME": time, "mean": y[real], "shifted": _after(population, name)[real]})
        table = of_rows.groupby("TIME", as_index=False).mean()
        if name != UNNAMED:
            table.insert(0, "OUTCOME", name)
        table.insert(0, "shift", label)
        tables.append(table)
    return tables


def _named(shifts: Any) -> Mapping[str, Any]:
    """The shifts by the name that each has in the table; numbers that agree to six digits keep names of their own."""
    if isinstance(shifts, Mapping) and shifts:
        return shifts
    try:
        numbers = list(dict.fromkeys(np.atleast_1d(np.asarray(shifts, float)).tolist()))
    except (TypeError, ValueError):
        numbers = []
    if not numbers:
        raise ValueError(
            "delta_adjusted takes numbers, as shifts=[0, -0.5, -1], or one or more by the name of each row, as "
            'shifts={"each month lower": lambda time, last: -0.2 * (time - last)}.'
        )
    short = [f"{number:g}" for number in numbers]
    distinct = len(set(short)) == len(numbers)
    return dict(zip(short if distinct else map(repr, numbers), numbers, strict=True))


class _Case(NamedTuple):
    """Who is to be completed, and by which model."""

    model: Model
    population: Population
    encoder: AnyEncoder | None  # where one was trained on records with gaps


def _case(fit: Estimated | Model, population: Population | None) -> _Case:
    if isinstance(fit, Model):
        if population is None:
            raise ValueError("a model alone knows no people: give population= as well.")
        return _Case(fit, population, None)
    encoder = fit.encoder if isinstance(fit, Fit) else None
    return _Case(fit.model, fit.population if population is None else population, encoder)


class _Known(NamedTuple):
    """Draws from each person's p(eta | y, theta), and sentences on those who have none to be trusted."""

    eta: Float[np.ndarray, "N M K"]
    remarks: tuple[str, ...]


def _known(case: _Case, draws: int, key: PRNGKeyArray) -> _Known:
    if eta_size(case.model) == 0:
        return _Known(np.zeros((len(case.population), draws, 0)), ())
    found = individual(case.model, case.population, draws=draws, proposal=case.encoder, key=key)
    return _Known(found.eta, found.remarks)


def _after(population: Population, name: str) -> Bool[np.ndarray, "N n"]:
    """The real rows after a person's last response of one outcome."""
    subjects = population.subjects
    return np.asarray(subjects.real) & (np.asarray(subjects.time) > _last_seen(population, name))


def _last_seen(population: Population, name: str) -> Float[np.ndarray, "N 1"]:
    """When each person was last seen; minus infinity where never."""
    seen = np.asarray(as_dict(population.subjects.mask)[name])
    time = np.asarray(population.subjects.time)
    return np.where(seen, time, -np.inf).max(axis=1, keepdims=True)


def _shifts(population: Population, shift: Any) -> dict[str, Float[np.ndarray, "N n"]]:
    """What is added to each response, by outcome: nothing to one that was seen, or missing between two that were."""
    names = list(as_dict(population.subjects.y))
    asked = shift if isinstance(shift, Mapping) else dict.fromkeys(names, shift)
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise ValueError(
            f"a shift is given for {unknown[0]!r}, and the population has {', '.join(filter(None, names)) or 'one'}."
        )
    time = np.asarray(population.subjects.time, float)
    found = {}
    for name in names:
        of_outcome = asked.get(name, 0.0)
        value = of_outcome(time, _last_seen(population, name)) if callable(of_outcome) else of_outcome
        after = _after(population, name)
        moved = np.where(after, np.broadcast_to(np.asarray(value, float), time.shape), 0.0)
        if not np.all(np.isfinite(moved)):
            i, row = np.argwhere(~np.isfinite(moved))[0]
            raise ValueError(
                f"the shift of subject {population.ids[i]} at time {time[i, row]:g} is not finite: a person who was "
                "never seen has last = -inf, for which the function needs a value of its own."
            )
        found[name] = moved
    return found


class _Drawn(NamedTuple):
    y: Any  # (N, n) by outcome
    possible: Any  # whether the density gives such a response


@compiled
def _drawn(model: Model, etas: Array, subjects: Subject, shift: Any, keys: Array) -> _Drawn:
    """Missing responses, shifted, and whether each of them is one that its density gives."""
    drawn = missing_responses(model, etas, subjects, keys)
    y = jax.tree.map(jnp.add, drawn, jax.tree.map(jnp.asarray, shift))
    missing = gaps(subjects).mask

    def of_subject(eta, subject, y, missing):
        densities = as_dict(observation_density(model, eta, subject))
        inside = {name: densities[name].support(value) for name, value in as_dict(y).items()}
        return jax.tree.map(lambda ok, gone: ok | ~gone, as_given(inside), missing)

    return _Drawn(y, jax.vmap(of_subject)(etas, subjects, y, missing))


def _refuse_impossible(population: Population, possible: Any) -> None:
    for name, ok in as_dict(possible).items():
        if np.all(ok):
            continue
        i, row = np.argwhere(~np.asarray(ok))[0]
        of_outcome = f" of {name}" if name else ""
        raise ValueError(
            f"the shift takes the response{of_outcome} of subject {population.ids[i]} in row {row + 1} to a value that "
            "its density does not give: shift less, or shift the linear predictor in a model of its own."
        )


def _refuse_without_mean(case: _Case) -> None:
    """ValueError for events, whose codes are names, and for censored responses that nothing here can draw."""
    who = f"{type(case.model).__name__}.observations"
    subjects = case.population.subjects
    for name, density in sorted(as_dict(first_density(case.model, case.population)).items()):
        of_outcome = f" for {name}" if name else ""
        if is_event(density):
            raise ValueError(
                f"{who} returns Event{of_outcome}, and the codes 0, 1 and 2 of an event have no mean: look at the "
                "probabilities that mf.landmark gives, or take another outcome alone by fit.outcome(name)."
            )
        cut = np.asarray(as_dict(subjects.mask)[name]) & ~measured(subjects, name)
        if cut.any() and normal_rows(density) is None:
            i, row = np.argwhere(cut)[0]
            raise ValueError(
                f"{who} returns {name_of(density)}{of_outcome}, and the response of subject {case.population.ids[i]} "
                f"in row {row + 1} is censored, which delta_adjusted draws beyond its limit of normal, log-normal and "
                "logit-normal densities only: give it one of these, or take another outcome alone by fit.outcome(name)."
            )
