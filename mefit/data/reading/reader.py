"""One frame, its columns looked up and its rows named in sentences.

Every check raises a ValueError of one sentence that names the subject, the row, the column and the remedy. Row 1 is
the first row of data, as a person counts below the header; in a file, lines are counted instead.
"""

import difflib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

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
