"""Columns that tell the day: dates in any of the field's orders, and numbers of days.

Source: the NM-TRAN data items DATE, DAT1, DAT2 and DAT3 of NONMEM's users guides.
"""

import datetime
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .reader import Reader, starts

ORDERS = {
    "ymd": "year-month-day",
    "mdy": "month-day-year",
    "dmy": "day-month-year",
    "ydm": "year-day-month",
}
# What each label promises. NM-TRAN's DATE is month-day-year, but the word is everybody's, so that
# other orders are tried and an ambiguous one is refused.
_ANY = ("mdy", "dmy", "ymd")
_PROMISED = {"DAT1": ("dmy",), "DAT2": ("ymd",), "DAT3": ("ydm",)}
LABELS = ("DATE", *_PROMISED)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMBERS = re.compile(r"(\d{1,4})([-/. ])(\d{1,2})\2(\d{1,4})")
_NAMED = re.compile(r"(\d{1,4})[-/. ]?([A-Za-z]{3})[-/. ]?(\d{1,4})")
_LAST_OF_2000 = 50  # a year of two digits up to this is of the 2000s, as NM-TRAN's LAST20 says
_MOST_DAYS = 9999  # a longer number is a date without separators, or a spreadsheet's


class DateParts(NamedTuple):
    """The three parts of a date as written; the middle one may be the name of a month."""

    first: str
    second: str
    third: str


def date_parts(text: str) -> DateParts | None:
    """The parts of a date, or None where a text is none."""
    named = _NAMED.fullmatch(text)
    if named and named[2].lower() in _MONTHS:
        return DateParts(named[1], named[2], named[3])
    match = _NUMBERS.fullmatch(text)
    return DateParts(match[1], match[3], match[4]) if match else None


def orders_of(column: str, date_order: str | None) -> Sequence[str]:
    """The orders in which the dates of this column may be written."""
    if date_order is not None:
        return (date_order,)
    return _PROMISED.get(column.strip().upper(), _ANY)


def _day(parts: DateParts, order: str) -> int | None:
    """The number of the day in the calendar, or None where there is no such day in this order."""
    month_is_named = parts.second.isalpha()
    if month_is_named:
        order = "ymd" if len(parts.first) == 4 else "dmy"
    written = dict(zip(order, parts, strict=True))
    if len(written["d"]) > 2 or len(written["m"]) > 3 or len(written["y"]) not in (2, 4):
        return None
    month = _MONTHS.index(written["m"].lower()) + 1 if month_is_named else int(written["m"])
    year = int(written["y"])
    if len(written["y"]) == 2:
        year += 2000 if year <= _LAST_OF_2000 else 1900
    try:
        return datetime.date(year, month, int(written["d"])).toordinal()
    except ValueError:
        return None


def days_of_dates(reader: Reader, column: str, dates: Sequence[DateParts | None], orders: Sequence[str]) -> np.ndarray:
    """(n,) Days from dates in the one order of `orders` that fits all of them; NaN where None.

    Several orders may fit, as long as the days since each subject's first record are the same.

    Raises:
        ValueError: no order fits, or several that differ.
    """
    days_by_order = {order: _days(dates, order) for order in orders}
    missing = np.array([parts is None for parts in dates])
    unfit = {order: np.isnan(days) & ~missing for order, days in days_by_order.items()}
    best = min(orders, key=lambda order: unfit[order].sum())
    cells = reader.cells(column)
    cell = cells[int(np.argmax(unfit[best]))]
    forms = " or ".join(ORDERS[order] for order in orders)
    reader.refuse(
        unfit[best],
        f"column {column!r} holds {str(cell)!r}, which is not a date of the form {forms}, as the others are; "
        "correct it, or say the order by date_order=.",
    )
    fitting = [order for order in orders if not unfit[order].any()]
    first = np.searchsorted(reader.subject, reader.subject)
    since = {order: days_by_order[order] - days_by_order[order][first] for order in fitting}
    for other in fitting[1:]:
        differ = since[other] != since[fitting[0]]
        differ &= ~missing & ~missing[first]
        cell = cells[int(np.argmax(differ))]
        reader.refuse(
            differ,
            f"column {column!r} holds {str(cell)!r}, which may be {ORDERS[fitting[0]]} or {ORDERS[other]}; "
            f"say which by date_order={fitting[0]!r} or date_order={other!r}.",
        )
    if fitting[0] != "ymd" or len(orders) == 1:
        reader.notes.append(f"Column {column}: dates were read as {' or '.join(ORDERS[order] for order in fitting)}.")
    return days_by_order[fitting[0]]


def _days(dates: Sequence[DateParts | None], order: str) -> np.ndarray:
    numbers = [None if parts is None else _day(parts, order) for parts in dates]
    return np.array([np.nan if number is None else number for number in numbers])


def read_days(reader: Reader, column: str, date_order: str | None) -> np.ndarray:
    """(n,) A column of dates, or of the numbers of days, as days."""
    cells = reader.cells(column)
    reader.refuse(np.array([cell is None for cell in cells]), f"the date in column {column!r} is missing; fill it in.")
    values = reader.values(column)
    if all(value is not None for value in values):
        days = np.array(values, dtype=float)
        strange = (days != np.round(days)) | (np.abs(days) > _MOST_DAYS)
        cell = cells[int(np.argmax(strange))]
        reader.refuse(
            strange,
            f"column {column!r} holds {cell}, neither the number of a day nor a date; "
            "write dates as year-month-day, as in 2024-03-01.",
        )
        return days
    dates = [date_parts(_without_midnight(cell)) for cell in cells]
    strange = np.array([parts is None for parts in dates])
    cell = cells[int(np.argmax(strange))]
    reader.refuse(
        strange,
        f"column {column!r} holds {str(cell)!r}, which is not a date with its year; "
        "write dates as year-month-day, as in 2024-03-01.",
    )
    return days_of_dates(reader, column, dates, orders_of(column, date_order))


def _without_midnight(cell: Any) -> str:
    """The text of a cell, without the 00:00:00 that pandas puts after a date."""
    return re.sub(r"[ T]00:00(:00(\.0+)?)?$", "", str(cell).strip())


def refuse_days_without_name(reader: Reader, time: str) -> None:
    """Refuse clock times beside a column that seems to tell the day under a name of its own."""
    for place, title in enumerate(reader.columns):
        if place in reader.read or not title.strip() or reader.columns.count(title) > 1:
            continue
        cells = reader.cells(title)
        reader.read.discard(place)  # looked at, and not read
        texts = [None if cell is None else str(cell).strip() for cell in cells]
        known = [text for text in texts if text is not None]
        named = re.search(r"^dat|date|day", title, re.IGNORECASE) is not None
        dated = bool(known) and all(date_parts(_without_midnight(text)) is not None for text in known)
        labels = np.array(["" if text is None else text for text in texts], dtype=object)
        changes = (starts(labels) & ~starts(reader.subject)).any()
        if (named or dated) and changes:
            raise ValueError(
                f"Column {time!r} holds clock times, and column {title!r} may tell the day; "
                f"name it by date={title!r}, or drop it."
            )
