"""Clock times and dates."""

import datetime
import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from .doses import Columns
from .reader import Reader, number

_CLOCK, _STAMP = re.compile(r"\d{1,3}:[0-5]\d(:[0-5]\d(\.\d+)?)?"), re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d\S*)?")


def read_times(reader: Reader, name: str) -> np.ndarray:
    """A column of times as numbers; clock times and dates as hours since the subject's first record."""
    place, date = reader.place(name), reader.find("DATE")
    cells = [] if reader.df.iloc[:, place].dtype.kind in "iuf" else reader.cells(name)
    instants = [_instant(c) for c in cells]
    found = Counter(kind for kind, _ in instants if kind).most_common(1)
    what = found[0][0] if found else "number"
    if what in ("number", "text"):
        if date not in (None, place):
            beside = f"Column {name!r} holds numbers beside a column DATE; write clock times (hh:mm)"
            raise ValueError(f"{beside}, or drop DATE if {name!r} counts from the subject's first record.")
        return reader.numbers(name)
    other = np.array([kind not in (what, "") for kind, _ in instants])
    cell = cells[int(np.argmax(other))]
    reader.refuse(other, f"column {name!r} holds {cell!r}, where the others are {what}s; write all alike.")
    total = np.array([seconds for _, seconds in instants])
    if what == "clock time" and date is not None:
        days = [_instant(c) for c in reader.cells("DATE")]
        bad = np.array([not kind.startswith("date") or seconds % 86400 != 0 for kind, seconds in days])
        reader.refuse(bad, "DATE is not a date of the form year-month-day, as in 2024-03-01; correct it.")
        reader.refuse(total >= 86400, f"the time in column {name!r} is past 24:00, beside a date; correct it.")
        total += np.array([seconds for _, seconds in days])
    reader.notes.append(f"Column {name}: {what}s became hours since each subject's first record.")
    return (total - total[np.searchsorted(reader.subject, reader.subject)]) / 3600.0


def _instant(cell: Any) -> tuple[str, float]:
    """What a cell of a time column is, and its seconds since midnight or since the year 2000."""
    text = "" if cell is None else str(cell).strip()
    if not text or number(cell) is not None:
        return "number" if text else "", np.nan
    if _CLOCK.fullmatch(text):
        return "clock time", sum(float(x) * unit for x, unit in zip(text.split(":"), (3600, 60, 1), strict=False))
    try:
        since = datetime.datetime.fromisoformat(text if _STAMP.fullmatch(text) else "") - datetime.datetime(2000, 1, 1)
    except (ValueError, TypeError):  # no such day, or a time zone
        return "text", np.nan
    return "date" if len(text) == 10 else "date with clock time", since.total_seconds()


def check_same_times(reader: Reader, time: np.ndarray, kind: np.ndarray, fields: Columns) -> None:
    """Refuse a row that occurs twice, and a sample written before the dose of the same time.

    `kind` is the number of the outcome, -1 for none, -2 for a dose; doses that differ in a field may share a time.
    """
    dose, details = kind == -2, {k: fields[k] for k in ("amount", "duration", "compartment")}
    rows = pd.DataFrame({"subject": reader.subject, "time": time, "kind": kind, **details, "seen": kind >= 0})
    twice = rows.duplicated().to_numpy() & (kind != -1)
    reader.refuse(twice & ~dose, "a second observation at the same time; keep one, or give the two different times.")
    reader.refuse(twice, "the same dose is written twice; keep one, or add the amounts up if two were given.")
    before = rows.groupby(["subject", "time"])["seen"].cummax().to_numpy()
    order = "write the dose first, or the sample a little earlier if it was taken before the dose"
    what = f"this dose comes after an observation of the same time, but would be read as given before it; {order}."
    reader.refuse(dose & before, what)
