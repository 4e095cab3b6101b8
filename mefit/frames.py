"""Reading a data frame of observations and doses with checks.

Every check raises a ValueError of one sentence that names the subject, the row, the column and the remedy. Row 1 is
the first row of data, as a person counts below the header; in a file, lines are counted instead.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from . import events
from .subject import Doses, Subject, turns

MISSING = ("", ".", "na", "nan")


def starts(*columns: np.ndarray) -> np.ndarray:
    """True for the first row, and for every row that differs from the one before in any of these columns."""
    return np.concatenate([[True], np.any([x[1:] != x[:-1] for x in columns], axis=0)])


class Reader:
    """Looks up columns of one frame and turns them into numbers, knowing how to name a row in a sentence."""

    def __init__(self, df: pd.DataFrame, lines: np.ndarray | None = None, notes: Sequence[str] = ()):
        self.df = df
        self.columns = [str(c) for c in df.columns]
        self.labels: list[Any] = []  # the id of each row, once read, and the number of its subject, from 0
        self.subject: np.ndarray = np.zeros(len(df), int)
        self.word = "row" if lines is None else "line"
        self.numbers_of_rows: np.ndarray = np.arange(1, len(df) + 1) if lines is None else lines
        self.notes = [*notes]
        self.read: set[int] = set()

    def refuse(self, bad: np.ndarray, what: str) -> None:
        """Raise for the first row that is bad: its subject and row, then what is wrong and what to do."""
        if bad.any():
            row = int(np.argmax(bad))
            who = f"Subject {self.labels[row]}, {self.word}" if self.labels else self.word.capitalize()
            raise ValueError(f"{who} {self.numbers_of_rows[row]}: {what}")

    def note(self, rows: np.ndarray, what: str) -> None:
        """Tell in the report what was done with these rows."""
        if rows.any():
            shown = self.numbers_of_rows[rows]
            more = f" and {len(shown) - 6} more" if len(shown) > 6 else ""
            self.notes.append(f"{what} ({self.word} {', '.join(map(str, shown[:6]))}{more}).")

    def find(self, name: str) -> int | None:
        """The place of a column by exact name, then by name without case; None where there is no such column."""
        places = [i for i, c in enumerate(self.columns) if c == name]
        places = places or [i for i, c in enumerate(self.columns) if c.strip().lower() == name.strip().lower()]
        if len(places) > 1:
            found = " and ".join(repr(self.columns[i]) for i in places)
            raise ValueError(f"Column {name!r} could be any of {found}; rename or drop all but one.")
        self.read.update(places)
        return places[0] if places else None

    def place(self, name: str) -> int:
        """The place of a column that must be there."""
        place = self.find(name)
        if place is None:
            lower = {c.lower(): c for c in self.columns}
            close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.7)
            hint = f"did you mean {lower[close[0]]!r}?" if close else f"there are {', '.join(self.columns)}."
            raise ValueError(f"Column {name!r} is missing; name the right one (id=, time=, y=, ...), {hint}")
        return place

    def optional(self, name: str, empty: float = 0.0) -> np.ndarray:
        """A column as floats, `empty` where a cell is missing or there is no such column."""
        values = np.full(len(self.df), np.nan) if self.find(name) is None else self.numbers(name)
        return np.where(np.isnan(values), empty, values)

    def code(self, name: str, allowed: Any, what: str) -> np.ndarray:
        """A column of whole-number codes, 0 where it is empty or there is no such column; others are refused."""
        values = self.optional(name)
        self.refuse(~np.isin(values, allowed), f"{name} is {what}.")
        return values

    def cells(self, name: str) -> list[Any]:
        """A column's cells, None where one is missing."""
        column = self.df.iloc[:, self.place(name)]
        cells = column.astype(object).where(column.notna(), None).tolist()
        return [None if isinstance(c, str) and c.strip().lower() in MISSING else c for c in cells]

    def numbers(self, name: str, *, covariate: bool = False) -> np.ndarray:
        """A column as floats, NaN where missing; text, dates and infinite values are refused."""
        place = self.place(name)
        column, title, types = self.df.iloc[:, place], self.columns[place], pd.api.types
        if types.is_datetime64_any_dtype(column) or column.dtype.kind in "mc":
            raise ValueError(f"Column {title!r} holds {column.dtype}; turn it into plain numbers, such as hours.")
        if types.is_numeric_dtype(column):
            out = column.to_numpy(dtype=float, na_value=np.nan)
        else:
            cells = self.cells(name)
            values = [math.nan if c is None else number(c) for c in cells]
            text, out = np.array([v is None for v in values]), np.array(values, dtype=float)
            words = list(dict.fromkeys(str(c) for c, v in zip(cells, values, strict=True) if v is None))
            if covariate and words and np.isnan(out).all():
                held, code = ", ".join(map(repr, words[:4])), f"(df[{title!r}] == {words[0]!r}).astype(float)"
                example = f"code them as numbers first, for example df[{title!r}] = {code}"
                raise ValueError(f"Covariate {title!r} holds words ({held}); {example}.")
            cell = words[0] if words else ""
            self.refuse(text, f"column {title!r} holds {cell!r}, not a number; correct it or leave it empty.")
        self.refuse(np.isinf(out), f"column {title!r} is infinite; correct it or leave it empty.")
        return out


def number(cell: Any) -> float | None:
    """A cell as a float, or None where it is not a number."""
    if isinstance(cell, str) and "_" in cell:  # Python would read "1_0" as ten
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def plain(label: Any) -> Any:
    """An id as a Python int or str where it is one: 308.0, which pandas makes of 308 beside a gap, is 308."""
    label = label.item() if isinstance(label, np.generic) else label
    return int(label) if isinstance(label, float) and label.is_integer() else label


def _ids(reader: Reader, name: str) -> tuple[Any, ...]:
    """The ids in order of appearance; the reader takes down whose every row is."""
    labels = pd.Series([plain(x) for x in reader.cells(name)], dtype=object)
    reader.refuse(labels.isna().to_numpy(), f"the id in column {name!r} is missing; fill it in or drop the row.")
    reader.subject, ids = pd.factorize(labels.to_numpy())
    reader.labels = labels.tolist()
    again = np.diff(reader.subject, prepend=0) < 0
    reader.refuse(again, f"this id came before, with other subjects between; sort the frame by {name!r} and time.")
    return tuple(ids)


def read(
    reader: Reader, *, id: str, time: str | None, y: Any, outcome: str, occasion: str, covariates: Any, **dose: Any
) -> tuple[Subject, tuple[Any, ...], np.ndarray, tuple[str, ...]]:
    """Check a frame and make subjects of it, with their ids and counts of rows, and notes.

    `Population.from_frame` says what is accepted and what is refused.
    """
    if len(reader.df) == 0:
        raise ValueError("The data frame is empty; it needs at least one subject with one observation.")
    ids = _ids(reader, id)
    subject = reader.subject
    when = turns(subject).astype(float) if time is None else events.times(reader, time)
    reader.refuse(np.isnan(when), f"the time in column {time!r} is missing; fill it in or drop the row.")
    back = (np.diff(when, prepend=0) < 0) & ~starts(subject)
    reader.refuse(back, f"the time is earlier than in the row before; sort the frame by {id!r} and {time!r}.")
    reader.refuse(when < 0, f"the time in column {time!r} is negative; count from the subject's first record.")

    columns = {"": y} if isinstance(y, str) else {k: c for k, c in y.items() if isinstance(c, str)} or {"": "DV"}
    response = {k: reader.numbers(c) for k, c in columns.items()}
    event, doses = events.doses(reader, response, **dose)
    seen = (event == 0) & (reader.code("MDV", (0, 1), "neither 0 (observed) nor 1 (missing); correct it") == 0)
    response = {k: np.where(seen, x, np.nan) for k, x in response.items()}
    censored, limit = events.censoring(reader, response, seen)

    listed = (covariates,) if isinstance(covariates, str) else covariates
    names = dict(listed) if isinstance(listed, Mapping) else {c: c for c in listed}
    values = {k: _carried(reader, c) for k, c in names.items()}
    if occasion not in names.values() and reader.find(occasion) is not None:
        values["occasion"] = np.unique(_carried(reader, occasion), return_inverse=True)[1].astype(float)
    kind = np.where(event == 0, 0, -1)
    if list(response) == [""]:
        kind, labels = events.outcomes(reader, y, outcome, dose["compartment"], response[""], kind, names.values())
        response = {k: np.where(kind == i, response[""], np.nan) for i, k in enumerate(labels)}
    events.check_same_times(reader, when, np.where(event == 1, -2, kind), doses)
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
    given = Doses.padded(len(ids), **events.given(reader, when, event == 1, doses))
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
