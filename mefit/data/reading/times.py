"""Clock times and dates."""

import datetime
import re
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..doses import DOSE
from .doses import Columns
from .reader import Reader, starts

_CLOCK = re.compile(r"\d{1,3}:[0-5]\d(:[0-5]\d(\.\d+)?)?")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d\S*)?")
_DAY = 86400  # seconds


class _Instant(NamedTuple):
    """What a cell of a time column is, and its seconds since midnight or since the year 2000."""

    kind: str  # "number", "text", "clock time", "date", "date with clock time", or "" where missing
    seconds: float = np.nan


def read_times(reader: Reader, name: str) -> np.ndarray:
    """A column of times as numbers; clock times and dates as hours since the subject's first
    record.
    """
    place = reader.place(name)
    date = reader.find("DATE")
    is_numeric = reader.df.iloc[:, place].dtype.kind in "iuf"
    instants = [] if is_numeric else _instants(reader, name)
    kinds = Counter(instant.kind for instant in instants if instant.kind)
    kind = kinds.most_common(1)[0][0] if kinds else "number"
    if kind in ("number", "text"):
        if date not in (None, place):
            raise ValueError(
                f"Column {name!r} holds numbers beside a column DATE; write clock times (hh:mm), "
                f"or drop DATE if {name!r} counts from the subject's first record."
            )
        return reader.numbers(name)
    other = np.array([instant.kind not in (kind, "") for instant in instants])
    cell = reader.cells(name)[int(np.argmax(other))]
    reader.refuse(other, f"column {name!r} holds {cell!r}, where the others are {kind}s; write all alike.")
    seconds = np.array([instant.seconds for instant in instants])
    if kind == "clock time" and date is not None:
        days = _days(reader)
        reader.refuse(seconds >= _DAY, f"the time in column {name!r} is past 24:00, beside a date; correct it.")
        seconds = seconds + days
    reader.notes.append(f"Column {name}: {kind}s became hours since each subject's first record.")
    first = np.searchsorted(reader.subject, reader.subject)
    return (seconds - seconds[first]) / 3600.0


def _days(reader: Reader) -> np.ndarray:
    """The column DATE in seconds."""
    dates = _instants(reader, "DATE")
    bad = [not date.kind.startswith("date") or date.seconds % _DAY != 0 for date in dates]
    reader.refuse(np.array(bad), "DATE is not a date of the form year-month-day, as in 2024-03-01; correct it.")
    return np.array([date.seconds for date in dates])


def _instants(reader: Reader, name: str) -> list[_Instant]:
    pairs = zip(reader.cells(name), reader.values(name), strict=True)
    return [_instant(cell, value) for cell, value in pairs]


def _instant(cell: Any, value: float | None) -> _Instant:
    """What a cell of this value is; the value is None where it is no number."""
    if cell is None:
        return _Instant("")
    if value is not None:
        return _Instant("number")
    text = str(cell).strip()
    if _CLOCK.fullmatch(text):
        parts = [float(part) for part in text.split(":")]
        seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
        return _Instant("clock time", seconds)
    if not _STAMP.fullmatch(text):
        return _Instant("text")
    try:
        since = datetime.datetime.fromisoformat(text) - datetime.datetime(2000, 1, 1)
    except (ValueError, TypeError):  # no such day, or a time zone
        return _Instant("text")
    kind = "date" if len(text) == len("2000-01-01") else "date with clock time"
    return _Instant(kind, since.total_seconds())


def counted_on(reader: Reader, time: np.ndarray, reset: np.ndarray) -> np.ndarray:
    """Times that go on rising where a clock starts again at a `reset`.

    The record of the reset comes as long after the row before it as the shortest time between two
    rows of the subject; what was before a reset has no effect on what follows, so that any length
    would do.
    """
    restarts = reset & (np.diff(time, prepend=time[:1]) < 0) & ~starts(reader.subject)
    if not restarts.any():
        return time
    counted = time.copy()
    for row in np.flatnonzero(restarts):
        own = reader.subject == reader.subject[row]
        steps = np.diff(time[own])
        gap = np.min(steps[steps > 0], initial=np.inf)
        gap = gap if np.isfinite(gap) else 1.0
        later = own & (np.arange(len(time)) >= row)
        counted[later] += counted[row - 1] + gap - counted[row]
    reader.note(restarts, "The clock starts again at a reset: times from here on are counted on from the row before")
    return counted


def check_same_times(reader: Reader, time: np.ndarray, kind: np.ndarray, fields: Columns) -> None:
    """Refuse a row that occurs twice, and a sample written before the dose of the same time.

    `kind` is the number of the outcome, -1 for none, -2 for a dose; doses that differ in a field
    may share a time.
    """
    is_dose = kind == -2
    rows = pd.DataFrame({"subject": reader.subject, "time": time, "kind": kind})
    for name in DOSE[1:]:
        rows[name] = fields[name]
    twice = rows.duplicated().to_numpy() & (kind != -1)
    reader.refuse(
        twice & ~is_dose,
        "a second observation at the same time; keep one, or give the two different times.",
    )
    reader.refuse(twice, "the same dose is written twice; keep one, or add the amounts up if two were given.")
    rows["sampled"] = kind >= 0
    sampled_before = rows.groupby(["subject", "time"])["sampled"].cummax().to_numpy()
    reader.refuse(
        is_dose & sampled_before,
        "this dose comes after an observation of the same time, but would be read as given before it; "
        "write the dose first, or the sample a little earlier if it was taken before the dose.",
    )
