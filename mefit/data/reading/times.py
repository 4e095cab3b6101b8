"""Clock times and dates with clock times become hours."""

import re
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..doses import DOSE
from .dates import LABELS, DateParts, date_parts, days_of_dates, orders_of, read_days, refuse_days_without_name
from .doses import Columns
from .options import Choices
from .reader import Reader, starts

_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(:[0-5]\d(?:\.\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?)?")
_BEFORE_CLOCK = re.compile(r"(?<=\d)[ T]+(?=\d{1,2}:)")
_HOUR = 3600  # seconds
_DAY = 24 * _HOUR


class _Instant(NamedTuple):
    """What a cell of a time column is: its date, and its seconds since midnight or since the
    start.
    """

    kind: str  # "number", "text", "clock time", "date", "date with clock time", or "" where missing
    date: DateParts | None = None
    seconds: float = np.nan


def read_times(reader: Reader, name: str, choices: Choices) -> np.ndarray:
    """A column of times as numbers; clock times and dates as hours since the subject's first
    record.
    """
    place = reader.place(name)
    is_numeric = reader.df.iloc[:, place].dtype.kind in "iuf"
    instants = [] if is_numeric else _instants(reader, name)
    kinds = Counter(instant.kind for instant in instants if instant.kind)
    kind = kinds.most_common(1)[0][0] if kinds else "number"
    if kind in ("number", "text"):
        return _numeric_times(reader, name, choices)
    other = np.array([instant.kind not in (kind, "") for instant in instants])
    cell = reader.cells(name)[int(np.argmax(other))]
    reader.refuse(other, f"column {name!r} holds {cell!r}, where the others are {kind}s; write all alike.")
    seconds = np.array([instant.seconds for instant in instants])
    if kind == "clock time":
        days, told = _days_beside(reader, name, seconds, choices)
    else:
        if choices.date is not None:
            raise ValueError(f"Column {name!r} holds dates, and so does date={choices.date!r}; drop one of the two.")
        dates = [instant.date for instant in instants]
        days = days_of_dates(reader, name, dates, orders_of(name, choices.date_order))
        told = ""
    reader.notes.append(f"Column {name}: {kind}s became hours since each subject's first record{told}.")
    return _since_first(reader, days * _DAY + seconds) / _HOUR


def _since_first(reader: Reader, time: np.ndarray) -> np.ndarray:
    """The same times since each subject's first record."""
    first = np.searchsorted(reader.subject, reader.subject)
    return time - time[first]


def _numeric_times(reader: Reader, name: str, choices: Choices) -> np.ndarray:
    """Numbers as they are; where a column of days was named, the hours of those days."""
    if choices.date is not None:
        hours = reader.numbers(name)
        reader.refuse(
            (hours < 0) | (hours >= 24),
            f"the time in column {name!r} is not an hour of the day, from 0 to 24, beside date={choices.date!r}; "
            "correct it, or leave out date=.",
        )
        days = read_days(reader, choices.date, choices.date_order)
        reader.notes.append(f"Column {name}: hours of the day in {choices.date} became hours since the first record.")
        return _since_first(reader, 24.0 * days + hours)
    place = reader.place(name)
    for label in LABELS:
        if reader.find(label) not in (None, place):
            raise ValueError(
                f"Column {name!r} holds numbers beside a column {label}; name it by date={label!r} if they are hours "
                f"of the day, or drop {label} if they count from the subject's first record."
            )
    return reader.numbers(name)


def _days_beside(reader: Reader, name: str, seconds: np.ndarray, choices: Choices) -> tuple[np.ndarray, str]:
    """The days that belong to clock times, 0 where no column tells them, and what to say of that."""
    place = reader.place(name)
    labels = (*LABELS, "DAY") if choices.date is None else (choices.date,)
    columns = [label for label in labels if reader.find(label) not in (None, place)]
    if choices.date is not None:
        reader.place(choices.date)  # a column that was named must be there
    if len(columns) > 1:
        raise ValueError(f"Columns {' and '.join(columns)} all tell the day; name the right one by date=.")
    if not columns:
        refuse_days_without_name(reader, name)
        return np.zeros(len(seconds)), "; no column tells the day, so that those of a subject are all of one day"
    reader.refuse(seconds >= _DAY, f"the time in column {name!r} is past 24:00, beside a date; correct it.")
    return read_days(reader, columns[0], choices.date_order), f", by the day in {columns[0]}"


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
    seconds = _clock(text)
    if seconds is not None:
        return _Instant("clock time", seconds=seconds)
    day, *clock = _BEFORE_CLOCK.split(text, maxsplit=1)
    date = date_parts(day)
    if date is None:
        return _Instant("text")
    if not clock:
        return _Instant("date", date, 0.0)
    seconds = _clock(clock[0])
    if seconds is None or seconds >= _DAY:  # no such time, or a time zone
        return _Instant("text")
    return _Instant("date with clock time", date, seconds)


def _clock(text: str) -> float | None:
    """The seconds of a clock time since midnight, or None where a text is none."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hours = int(match[1])
    half = match[4]
    if half is not None:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half in "Pp" else 0)
    return hours * _HOUR + int(match[2]) * 60 + float((match[3] or ":0")[1:])


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
    """Refuse a dose that occurs twice, and a sample written before the dose of the same time.

    `kind` is the number of the outcome, -1 for none, -2 for a dose; doses that differ in a field
    may share a time.
    """
    is_dose = kind == -2
    rows = pd.DataFrame({"subject": reader.subject, "time": time, "kind": kind})
    for name in DOSE[1:]:
        rows[name] = fields[name]
    twice = rows.duplicated().to_numpy() & is_dose
    reader.refuse(twice, "the same dose is written twice; keep one, or add the amounts up if two were given.")
    rows["sampled"] = kind >= 0
    sampled_before = rows.groupby(["subject", "time"])["sampled"].cummax().to_numpy()
    reader.refuse(
        is_dose & sampled_before,
        "this dose comes after an observation of the same time, but would be read as given before it; "
        "write the dose first, or the sample a little earlier if it was taken before the dose.",
    )
