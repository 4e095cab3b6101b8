"""Reading a data frame of observations and doses with checks: a frame becomes subjects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..by_outcome import UNNAMED, as_given
from ..doses import Doses
from ..padding import turns
from ..subject import Subject
from .doses import DOSING, OBSERVATION, Columns, given_doses, missing_by_code, read_doses, resets
from .reader import Reader, plain, starts
from .responses import NO_OUTCOME, read_censoring, read_outcomes, response_columns
from .times import check_same_times, counted_on, read_times

_DOSE_KIND = -2  # beside the numbers of outcomes, and -1 for none


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """Which columns to read; `Population.from_frame` says what each may be."""

    id: str
    time: str | None  # None numbers the rows
    y: str | Mapping[str, str | int | float]
    amount: str | None
    duration: str | None
    compartment: str
    outcome: str
    occasion: str
    covariates: str | Sequence[str] | Mapping[str, str]

    @property
    def covariate_columns(self) -> dict[str, str]:
        """The column of each covariate, by the name that a model uses."""
        if isinstance(self.covariates, Mapping):
            return dict(self.covariates)
        listed = (self.covariates,) if isinstance(self.covariates, str) else self.covariates
        return {column: column for column in listed}


class _Responses(NamedTuple):
    """What was measured, for every row of the frame."""

    y: Columns  # by outcome, NaN where none was observed
    kind: np.ndarray  # the number of the row's outcome, or -1
    side: np.ndarray  # 1 below y, -1 above, 0 where it is y
    limit: np.ndarray  # of a censored response the other end


class _Moments(NamedTuple):
    """The rows that are kept, those of one subject and time together."""

    kept: np.ndarray  # true or false for every row of the frame
    number: np.ndarray  # of each row kept, its moment, from 0

    def merged(self, column: np.ndarray, empty: float = np.nan) -> np.ndarray:
        """A column by moment: the first value that is not missing."""
        first = pd.Series(column[self.kept]).groupby(self.number).first()
        return first.fillna(empty).to_numpy()


def read_frame(reader: Reader, names: ColumnNames) -> tuple[Subject, tuple[Any, ...], tuple[str, ...]]:
    """Check a frame and make subjects of it, with their ids, and notes for the report.

    `Population.from_frame` says what is accepted and what is refused.
    """
    if len(reader.df) == 0:
        raise ValueError("The data frame is empty; it needs at least one subject with one observation.")
    ids = _ids(reader, names.id)
    time = _times(reader, names)
    columns = response_columns(names.y)
    measured = {outcome: reader.numbers(column) for outcome, column in columns.items()}
    event, doses = read_doses(reader, measured, names.amount, names.duration, names.compartment)
    observed = (event == OBSERVATION) & ~missing_by_code(reader)
    measured = {outcome: np.where(observed, y, np.nan) for outcome, y in measured.items()}
    measured, side, limit = read_censoring(reader, measured, observed)
    covariates = _covariates(reader, names)
    y, kind = _by_outcome(reader, names, measured, event)
    check_same_times(reader, time, np.where(event == DOSING, _DOSE_KIND, kind), doses)
    _refuse_unobserved(reader, y, ids, columns)
    moments = _moments(reader, names, time, event, covariates)
    _refuse_unlike(reader, names, moments, covariates)
    given = Doses.padded(len(ids), **given_doses(reader, time, event == DOSING, doses))
    subjects = _subjects(reader, moments, time, _Responses(y, kind, side, limit), covariates, given)
    unread = reader.unread()
    if unread:
        reader.notes.append(f"Columns not read: {', '.join(unread)}; name those that matter in covariates=.")
    return subjects, ids, tuple(reader.notes)


def _ids(reader: Reader, name: str) -> tuple[Any, ...]:
    """The ids in order of appearance; the reader takes down whose every row is."""
    labels = pd.Series([plain(cell) for cell in reader.cells(name)], dtype=object)
    reader.refuse(labels.isna().to_numpy(), f"the id in column {name!r} is missing; fill it in or drop the row.")
    reader.subject, ids = pd.factorize(labels.to_numpy())
    reader.labels = labels.tolist()
    reader.refuse(
        np.diff(reader.subject, prepend=0) < 0,
        f"this id came before, with other subjects between; sort the frame by {name!r} and time.",
    )
    return tuple(ids)


def _times(reader: Reader, names: ColumnNames) -> np.ndarray:
    """The time of each row, from 0 and in order; the row's number where no column is named."""
    if names.time is None:
        return turns(reader.subject).astype(float)
    time = read_times(reader, names.time)
    column = f"the time in column {names.time!r}"
    reader.refuse(np.isnan(time), f"{column} is missing; fill it in or drop the row.")
    time = counted_on(reader, time, resets(reader))
    earlier = (np.diff(time, prepend=0) < 0) & ~starts(reader.subject)
    reader.refuse(
        earlier,
        f"the time is earlier than in the row before; sort the frame by {names.id!r} and {names.time!r}.",
    )
    reader.refuse(time < 0, f"{column} is negative; count from the subject's first record.")
    return time


def _covariates(reader: Reader, names: ColumnNames) -> Columns:
    """The covariates of every row by name; where there is a column of occasions, those from 0."""
    columns = names.covariate_columns
    values = {name: _carried(reader, column) for name, column in columns.items()}
    if names.occasion not in columns.values() and reader.find(names.occasion) is not None:
        _, number = np.unique(_carried(reader, names.occasion), return_inverse=True)
        values["occasion"] = number.astype(float)
    return values


def _carried(reader: Reader, column: str) -> np.ndarray:
    """A covariate, with the last value carried forward where one is missing."""
    values = reader.numbers(column, covariate=True)
    filled = pd.Series(values).groupby(reader.subject).ffill().to_numpy()
    reader.refuse(
        np.isnan(filled),
        f"covariate {column!r} is missing with no value before it; fill in the subject's first one.",
    )
    reader.note(
        np.isnan(values),
        f"Covariate {column} was missing and has the last value before it, carried forward",
    )
    return filled


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


def _refuse_unobserved(reader: Reader, y: Columns, ids: tuple[Any, ...], columns: Mapping[str, str]) -> None:
    """Refuse a subject without any observation."""
    answered = np.any([~np.isnan(response) for response in y.values()], axis=0)
    without = np.bincount(reader.subject[answered], minlength=len(ids)) == 0
    if without.any():
        places = " or ".join(repr(column) for column in columns.values())
        raise ValueError(
            f"Subject {ids[int(np.argmax(without))]} has no observation in column {places}; "
            "add one or leave the subject out."
        )


def _moments(reader: Reader, names: ColumnNames, time: np.ndarray, event: np.ndarray, covariates: Columns) -> _Moments:
    """The rows to keep, and which of them belong to one subject and time."""
    of_rows = (names.outcome, names.compartment)  # they tell what a row is, not how a subject changes
    columns = names.covariate_columns
    states = [values for name, values in covariates.items() if columns.get(name) not in of_rows]
    kept = _kept(reader, time, event != DOSING, states)
    return _Moments(kept, np.cumsum(starts(reader.subject[kept], time[kept])) - 1)


def _kept(reader: Reader, time: np.ndarray, is_row: np.ndarray, states: list[np.ndarray]) -> np.ndarray:
    """The rows to keep: all but doses, and those doses at which a covariate changes, where a row
    follows.

    Before a subject's first row a dose is kept where its covariates differ from those of that row;
    after it, where they differ from those of the row before.
    """
    subject = reader.subject
    place = np.arange(len(time))
    # the next row that is no dose; the last of all where none follows
    following = np.minimum.accumulate(np.where(is_row, place, len(place) - 1)[::-1])[::-1]
    same_subject = is_row[following] & (subject[following] == subject)
    before = ~is_row & same_subject & (time[following] > time)
    first_of_subject = following[np.searchsorted(subject, subject)]
    leading = before & (following == first_of_subject)
    changes = np.zeros(len(time), bool)
    for values in states:
        changes |= leading & (values != values[following])
        changes |= before & ~starts(subject) & starts(values)
    reader.note(changes, "A covariate changes at a dose: its time is kept as a row without a response")
    return is_row | changes


def _refuse_unlike(reader: Reader, names: ColumnNames, moments: _Moments, covariates: Columns) -> None:
    """Refuse rows of one subject and time whose covariates differ."""
    for name, values in covariates.items():
        column = names.covariate_columns.get(name, name)
        unlike = np.zeros(len(values), bool)
        unlike[moments.kept] = values[moments.kept] != moments.merged(values)[moments.number]
        reader.refuse(unlike, f"covariate {column!r} differs from the row of the same time; make them alike.")


def _subjects(
    reader: Reader,
    moments: _Moments,
    time: np.ndarray,
    responses: _Responses,
    covariates: Columns,
    doses: Doses,
) -> Subject:
    """The subjects with a leading axis, a row for each moment."""
    y = {name: responses.y[name] for name in sorted(responses.y)}
    rows: dict[str, Any] = {
        "time": moments.merged(time),
        "y": as_given({name: moments.merged(response) for name, response in y.items()}),
        "covariates": {name: moments.merged(values) for name, values in covariates.items()},
    }
    if responses.side.any():
        for field, values in {"censored": responses.side, "limit": responses.limit}.items():
            own = {name: np.where(np.isnan(response), np.nan, values) for name, response in y.items()}
            rows[field] = as_given({name: moments.merged(own[name], 0.0) for name in own})
    subject = reader.subject[moments.kept]
    varying = {name for name, values in covariates.items() if (starts(values[moments.kept]) & ~starts(subject)).any()}
    return Subject.padded(moments.merged(reader.subject), rows, varying, doses)
