"""Reading a data frame of observations and doses with checks: a frame becomes subjects."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..by_outcome import UNNAMED, as_given
from ..doses import Doses
from ..padding import turns
from ..subject import Subject
from .doses import DOSING, OBSERVATION, Columns, given_doses, missing_by_code, read_doses, resets
from .ids import read_ids
from .moments import Moments, moments_of
from .options import Choices, ColumnNames
from .reader import Reader, number, starts
from .responses import NO_OUTCOME, read_censoring, read_outcomes, response_columns
from .times import check_same_times, counted_on, read_times

_DOSE_KIND = -2  # beside the numbers of outcomes, and -1 for none


class _Responses(NamedTuple):
    """What was measured, for every row of the frame."""

    y: Columns  # by outcome, NaN where none was observed
    side: np.ndarray  # 1 below y, -1 above, 0 where it is y
    limit: np.ndarray  # of a censored response the other end


def read_frame(
    reader: Reader, names: ColumnNames, choices: Choices
) -> tuple[Subject, tuple[Any, ...], tuple[str, ...]]:
    """Check a frame and make subjects of it, with their ids, and notes for the report.

    `Population.from_frame` says what is accepted and what is refused.
    """
    if len(reader.df) == 0:
        raise ValueError("The data frame is empty; it needs at least one subject with one observation.")
    remarks = _remarks(reader)
    if remarks.any():
        reader = reader.without(remarks, "Rows with a C in the column C were left out")
        return read_frame(reader, names, choices)
    ids = read_ids(reader, names.id)
    time = _times(reader, names, choices)
    columns = response_columns(names.y)
    measured = {outcome: reader.numbers(column) for outcome, column in columns.items()}
    _refuse_foreign_events(reader)
    event, doses = read_doses(reader, measured, names.amount, names.duration, names.compartment)
    measured, observed = _observed(reader, measured, event)
    for outcome, column in columns.items():
        reader.refuse_missing_codes(column, measured[outcome])
    measured, side, limit = read_censoring(reader, measured, observed, choices.lloq)
    unobserved = _unobserved(reader, measured, ids, columns, choices)
    if unobserved.any():
        reader = reader.without(unobserved, "Subjects without an observation were left out")
        return read_frame(reader, names, choices)
    covariates = _covariates(reader, names, choices)
    y, kind = _by_outcome(reader, names, measured, event)
    check_same_times(reader, time, np.where(event == DOSING, _DOSE_KIND, kind), doses)
    moments = moments_of(reader, time, event, y, _states(names, covariates))
    _refuse_unlike(reader, names, moments, covariates, time, event == DOSING)
    given = Doses.padded(len(ids), **given_doses(reader, time, event == DOSING, doses))
    subjects = _subjects(reader, moments, time, _Responses(y, side, limit), covariates, given)
    unread = reader.unread()
    if unread:
        reader.notes.append(f"Columns not read: {', '.join(unread)}; name those that matter in covariates=.")
    return subjects, ids, tuple(reader.notes)


def _remarks(reader: Reader) -> np.ndarray:
    """The rows to leave out as remarks: C in a first column C that holds numbers besides."""
    none = np.zeros(len(reader.df), bool)
    if reader.columns[:1] != ["C"] or reader.columns.count("C") > 1:
        return none
    cells = reader.cells("C")
    is_remark = [isinstance(cell, str) and cell.strip() == "C" for cell in cells]
    others = [cell for cell, remark in zip(cells, is_remark, strict=True) if not remark and cell is not None]
    return np.array(is_remark) if all(number(cell) is not None for cell in others) else none


def _times(reader: Reader, names: ColumnNames, choices: Choices) -> np.ndarray:
    """The time of each row, in order; the row's number where no column is named."""
    if names.time is None:
        return turns(reader.subject).astype(float)
    time = read_times(reader, names.time, choices)
    column = f"the time in column {names.time!r}"
    reader.refuse(np.isnan(time), f"{column} is missing; fill it in or drop the row.")
    time = counted_on(reader, time, resets(reader))
    earlier = (np.diff(time, prepend=0) < 0) & ~starts(reader.subject)
    reader.refuse(
        earlier,
        f"the time is earlier than in the row before; sort the frame by {names.id!r} and {names.time!r}, "
        "or name the column that tells the day by date=, where times begin again each day.",
    )
    if choices.negative_times:
        reader.note(time < 0, "Times below 0 were kept")
    else:
        reader.refuse(
            time < 0,
            f"{column} is negative; count from the subject's first record, or keep it by negative_times=True.",
        )
    return time


def _refuse_foreign_events(reader: Reader) -> None:
    """Refuse EVID as RxODE wrote it, compartment and all: 101, 201, 10101."""
    event = reader.optional("EVID")
    reader.refuse(
        event > 100,
        "EVID is a code of RxODE's, as 101 for a dose into compartment 1; "
        "say what it means by codes={'EVID': {101: 1}}, and the compartment in CMT.",
    )


def _observed(reader: Reader, measured: Columns, event: np.ndarray) -> tuple[Columns, np.ndarray]:
    """The responses of observations, and which rows are observations that MDV does not call
    missing.
    """
    missing = missing_by_code(reader)
    is_observation = event == OBSERVATION
    answered = np.any([~np.isnan(y) & (y != 0) for y in measured.values()], axis=0)
    reader.note(answered & ~is_observation, "A response on a row that is no observation was not read")
    reader.note(answered & is_observation & missing, "A response that MDV calls missing was not read")
    observed = is_observation & ~missing
    return {outcome: np.where(observed, y, np.nan) for outcome, y in measured.items()}, observed


def _covariates(reader: Reader, names: ColumnNames, choices: Choices) -> Columns:
    """The covariates of every row by name; where there is a column of occasions, those from 0."""
    columns = names.covariate_columns
    values = {name: _carried(reader, column, choices) for name, column in columns.items()}
    if names.occasion not in columns.values() and reader.find(names.occasion) is not None:
        written, number = np.unique(_carried(reader, names.occasion, choices), return_inverse=True)
        if not np.array_equal(written, np.arange(1, len(written) + 1)):
            listed = ", ".join(f"{occasion:g}" for occasion in written)
            reader.notes.append(f"Occasions {listed} in column {names.occasion} became 0 to {len(written) - 1}.")
        values["occasion"] = number.astype(float)
    return values


def _carried(reader: Reader, column: str, choices: Choices) -> np.ndarray:
    """A covariate, with the last value carried forward where one is missing; before the first one,
    that carried back where it was asked for.
    """
    values = reader.numbers(column, covariate=True)
    reader.refuse_missing_codes(column, values)
    filled = pd.Series(values).groupby(reader.subject).ffill().to_numpy()
    reader.refuse(
        pd.Series(np.isnan(filled)).groupby(reader.subject).transform("all").to_numpy(),
        f"covariate {column!r} is missing in every row of the subject; fill it in, or write a number that nobody has, "
        f"where the model takes that for missing, as a gate does by missing={{{column!r}: {_nobodys(values):g}}}.",
    )
    reader.note(
        np.isnan(values) & ~np.isnan(filled),
        f"Covariate {column} was missing and has the last value before it, carried forward",
    )
    if choices.backfill:
        reader.note(
            np.isnan(filled),
            f"Covariate {column} was missing and has the first value after it, carried back",
        )
        filled = pd.Series(filled).groupby(reader.subject).bfill().to_numpy()
    reader.refuse(
        np.isnan(filled),
        f"covariate {column!r} is missing with no value before it; fill in the subject's first one, "
        "or take the next one by backfill=True.",
    )
    return filled


def _nobodys(values: np.ndarray) -> float:
    """A number below all that are there: -1 where none is negative."""
    return min(-1.0, np.floor(np.nanmin(values)) - 1.0) if np.any(np.isfinite(values)) else -1.0


def _states(names: ColumnNames, covariates: Columns) -> list[np.ndarray]:
    """The covariates that tell how a subject changes, not what a row is."""
    of_rows = (names.outcome, names.compartment)
    columns = names.covariate_columns
    return [values for name, values in covariates.items() if columns.get(name) not in of_rows]


def _by_outcome(reader: Reader, names: ColumnNames, measured: Columns, event: np.ndarray) -> tuple[Columns, np.ndarray]:
    """The responses by outcome, and the number of each row's outcome.

    Where each outcome has a column of its own, a row may hold several, and its number is 0.
    """
    if UNNAMED not in measured:
        return measured, np.where(event == OBSERVATION, 0, NO_OUTCOME)
    response = measured[UNNAMED]
    used = tuple(names.covariate_columns.values())
    kind, outcomes = read_outcomes(reader, names.y, names.outcome, names.compartment, response, event, used)
    y = {name: np.where(kind == i, response, np.nan) for i, name in enumerate(outcomes)}
    return y, kind


def _unobserved(
    reader: Reader, y: Columns, ids: tuple[Any, ...], columns: Mapping[str, str], choices: Choices
) -> np.ndarray:
    """The rows of subjects without any observation, to be left out; refused unless `choices` say what to do."""
    if choices.drop_unobserved is None:
        return np.zeros(len(reader.subject), bool)
    answered = np.any([~np.isnan(response) for response in y.values()], axis=0)
    without = np.bincount(reader.subject[answered], minlength=len(ids)) == 0
    if without.all() or (without.any() and not choices.drop_unobserved):
        places = " or ".join(repr(column) for column in columns.values())
        advice = "" if choices.drop_unobserved else ", by drop_unobserved=True, or keep it, by drop_unobserved=None"
        raise ValueError(
            f"Subject {ids[int(np.argmax(without))]} has no observation in column {places}; "
            f"add one or leave the subject out{advice}."
        )
    return without[reader.subject]


def _refuse_unlike(
    reader: Reader, names: ColumnNames, moments: Moments, covariates: Columns, time: np.ndarray, is_dose: np.ndarray
) -> None:
    """Refuse rows of one subject and time whose covariates differ, those of doses included."""
    moment = np.cumsum(starts(reader.subject, time))
    dosed = pd.Series(is_dose).groupby(moment).transform("any").to_numpy()
    for name, values in covariates.items():
        column = names.covariate_columns.get(name, name)
        own = pd.Series(values[moments.kept])
        unlike = dosed & (values != pd.Series(values).groupby(moment).transform("first").to_numpy())
        if column in (names.outcome, names.compartment):  # what a dose has there is no state of a person
            unlike[:] = False
        unlike[moments.kept] |= (own != own.groupby(moments.alike).transform("first")).to_numpy()
        reader.refuse(unlike, f"covariate {column!r} differs from the row of the same time; make them alike.")


def _subjects(
    reader: Reader,
    moments: Moments,
    time: np.ndarray,
    responses: _Responses,
    covariates: Columns,
    doses: Doses,
) -> Subject:
    """The subjects with a leading axis, a row for each moment."""
    y = {name: responses.y[name] for name in sorted(responses.y)}
    rows: dict[str, Any] = {
        "time": moments.merged(time),
        "y": as_given({name: moments.responses(name, response) for name, response in y.items()}),
        "covariates": {name: moments.merged(values) for name, values in covariates.items()},
    }
    if responses.side.any():
        for field, values in {"censored": responses.side, "limit": responses.limit}.items():
            own = {name: np.where(np.isnan(response), np.nan, values) for name, response in y.items()}
            rows[field] = as_given({name: moments.responses(name, own[name], 0.0) for name in own})
    subject = moments.merged(reader.subject)
    varying = {name for name, values in rows["covariates"].items() if (starts(values) & ~starts(subject)).any()}
    return Subject.padded(subject, rows, varying, doses)
