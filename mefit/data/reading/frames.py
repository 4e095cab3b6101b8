"""Reading a data frame of observations and doses with checks: a frame becomes subjects."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..subject import Doses, Subject, turns
from .doses import given_doses, read_doses
from .reader import Reader, plain, starts
from .responses import read_censoring, read_outcomes
from .times import check_same_times, read_times


def _ids(reader: Reader, name: str) -> tuple[Any, ...]:
    """The ids in order of appearance; the reader takes down whose every row is."""
    labels = pd.Series([plain(x) for x in reader.cells(name)], dtype=object)
    reader.refuse(labels.isna().to_numpy(), f"the id in column {name!r} is missing; fill it in or drop the row.")
    reader.subject, ids = pd.factorize(labels.to_numpy())
    reader.labels = labels.tolist()
    again = np.diff(reader.subject, prepend=0) < 0
    reader.refuse(again, f"this id came before, with other subjects between; sort the frame by {name!r} and time.")
    return tuple(ids)


def read_frame(
    reader: Reader, *, id: str, time: str | None, y: Any, outcome: str, occasion: str, covariates: Any, **dose: Any
) -> tuple[Subject, tuple[Any, ...], np.ndarray, tuple[str, ...]]:
    """Check a frame and make subjects of it, with their ids and counts of rows, and notes.

    `Population.from_frame` says what is accepted and what is refused.
    """
    if len(reader.df) == 0:
        raise ValueError("The data frame is empty; it needs at least one subject with one observation.")
    ids = _ids(reader, id)
    subject = reader.subject
    when = turns(subject).astype(float) if time is None else read_times(reader, time)
    reader.refuse(np.isnan(when), f"the time in column {time!r} is missing; fill it in or drop the row.")
    back = (np.diff(when, prepend=0) < 0) & ~starts(subject)
    reader.refuse(back, f"the time is earlier than in the row before; sort the frame by {id!r} and {time!r}.")
    reader.refuse(when < 0, f"the time in column {time!r} is negative; count from the subject's first record.")

    columns = {"": y} if isinstance(y, str) else {k: c for k, c in y.items() if isinstance(c, str)} or {"": "DV"}
    response = {k: reader.numbers(c) for k, c in columns.items()}
    event, doses = read_doses(reader, response, **dose)
    seen = (event == 0) & (reader.code("MDV", (0, 1), "neither 0 (observed) nor 1 (missing); correct it") == 0)
    response = {k: np.where(seen, x, np.nan) for k, x in response.items()}
    censored, limit = read_censoring(reader, response, seen)

    listed = (covariates,) if isinstance(covariates, str) else covariates
    names = dict(listed) if isinstance(listed, Mapping) else {c: c for c in listed}
    values = {k: _carried(reader, c) for k, c in names.items()}
    if occasion not in names.values() and reader.find(occasion) is not None:
        values["occasion"] = np.unique(_carried(reader, occasion), return_inverse=True)[1].astype(float)
    kind = np.where(event == 0, 0, -1)
    if list(response) == [""]:
        kind, labels = read_outcomes(reader, y, outcome, dose["compartment"], response[""], kind, names.values())
        response = {k: np.where(kind == i, response[""], np.nan) for i, k in enumerate(labels)}
    check_same_times(reader, when, np.where(event == 1, -2, kind), doses)
    answered = ~np.all([np.isnan(x) for x in response.values()], axis=0)
    without = np.bincount(subject[answered], minlength=len(ids)) == 0
    if without.any():
        who, where = ids[int(np.argmax(without))], " or ".join(repr(c) for c in columns.values())
        raise ValueError(f"Subject {who} has no observation in column {where}; add one or leave the subject out.")

    states = [x for k, x in values.items() if names.get(k) not in (outcome, dose["compartment"])]
    kept = _kept(reader, when, event != 1, states)
    moment = np.cumsum(starts(subject[kept], when[kept])) - 1

    def merged(x: np.ndarray, empty: float = np.nan) -> np.ndarray:
        """Rows of one and the same time as one row: the first value that is not missing."""
        return pd.Series(x[kept]).groupby(moment).first().fillna(empty).to_numpy()

    for k, x in values.items():
        unlike = np.zeros(len(subject), bool)
        unlike[kept] = x[kept] != merged(x)[moment]
        reader.refuse(unlike, f"covariate {names.get(k, k)!r} differs from the row of the same time; make them alike.")
    rows: dict[str, Any] = {"y": {k: merged(x) for k, x in sorted(response.items())}}
    if censored.any():
        for name, x in {"censored": censored, "limit": limit}.items():
            rows[name] = {k: merged(np.where(np.isnan(response[k]), np.nan, x), 0.0) for k in rows["y"]}
    rows = {name: x.get("", x) for name, x in rows.items()}
    rows |= {"time": merged(when), "covariates": {k: merged(x) for k, x in values.items()}}
    varying = {k for k, x in values.items() if (starts(x[kept]) & ~starts(subject[kept])).any()}
    given = Doses.padded(len(ids), **given_doses(reader, when, event == 1, doses))
    unread = [c for i, c in enumerate(reader.columns) if i not in reader.read and c]
    if unread:
        reader.notes.append(f"Columns not read: {', '.join(unread)}; name those that matter in covariates=.")
    whose = merged(subject)
    return Subject.padded(whose, rows, varying, given), ids, np.bincount(whose), tuple(reader.notes)


def _carried(reader: Reader, column: str) -> np.ndarray:
    """A covariate, with the last value carried forward where one is missing."""
    values = reader.numbers(column, covariate=True)
    filled = pd.Series(values).groupby(reader.subject).ffill().to_numpy()
    first = np.isnan(filled)
    reader.refuse(first, f"covariate {column!r} is missing with no value before it; fill in the subject's first one.")
    reader.note(np.isnan(values), f"Covariate {column} was missing and has the last value before it, carried forward")
    return filled


def _kept(reader: Reader, when: np.ndarray, seen: np.ndarray, values: list[np.ndarray]) -> np.ndarray:
    """The rows to keep: all but doses, and those doses at which a covariate changes, where a row follows."""
    rows, subject = np.arange(len(when)), reader.subject
    following = np.minimum.accumulate(np.where(seen, rows, len(rows) - 1)[::-1])[::-1]
    before = ~seen & seen[following] & (subject[following] == subject) & (when[following] > when)
    leading = before & (following == following[np.searchsorted(subject, subject)])
    extra = np.zeros(len(rows), bool)
    for x in values:
        extra |= (leading & (x != x[following])) | (before & ~starts(subject) & starts(x))
    reader.note(extra, "A covariate changes at a dose: its time is kept as a row without a response")
    return seen | extra
