"""One frame, its columns looked up and its rows named in sentences.

Every check raises a ValueError of one sentence that names the subject, the row, the column and the
remedy. Row 1 is the first row of data, as a person counts below the header; in a file, lines are
counted instead.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

MISSING = ("", ".", "na", "nan")
_MISSING_CODES = (-99, -999, -9999)
Codes = Mapping[str, Mapping[Any, Any]]


def starts(*columns: np.ndarray) -> np.ndarray:
    """True for the first row, and for each that differs from the one before in any of the
    columns.
    """
    changed = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.concatenate([[True], changed])


def listed(things: Sequence[Any] | np.ndarray) -> str:
    """The first few of some things, and how many more there are."""
    first = ", ".join(str(thing) for thing in things[:6])
    return first + (f" and {len(things) - 6} more" if len(things) > 6 else "")


class Reader:
    """Looks up columns of one frame and turns them into numbers, knowing how to name a row."""

    def __init__(
        self,
        df: pd.DataFrame,
        lines: np.ndarray | None = None,
        notes: Sequence[str] = (),
        codes: Codes | None = None,
    ):
        if not isinstance(df, pd.DataFrame):
            raise TypeError(
                f"A population is read from a data frame of pandas, and this is a {type(df).__name__}: make one by "
                "pd.DataFrame(...) or .to_pandas(), or read a file by Population.read_csv."
            )
        self.df = df
        self.columns = [str(name) for name in df.columns]
        # the id of each row, once read, and the number of its subject, from 0
        self.labels: list[Any] = []
        self.subject: np.ndarray = np.zeros(len(df), int)
        # how a sentence names a row
        self.word = "row" if lines is None else "line"
        self.numbers_of_rows: np.ndarray = np.arange(1, len(df) + 1) if lines is None else lines
        # for the report
        self.notes = [*notes]
        self._first_notes = tuple(notes)
        self.read: set[int] = set()
        # by place, so that each cell is parsed once, however often its column is asked for
        self._cells: dict[int, list[Any]] = {}
        self._values: dict[int, list[float | None]] = {}
        # by place, which number stands for what is written there
        self._codes_given = codes or {}
        self._codes = self._by_place(self._codes_given)

    def without(self, rows: np.ndarray, deed: str) -> "Reader":
        """A new reader of the other rows, that begins again, and tells in the report why."""
        self.notes = [*self._first_notes]
        self.note(rows, deed)
        rest = Reader(self.df[~rows], self.numbers_of_rows[~rows], self.notes, self._codes_given)
        rest.word = self.word
        return rest

    # ---------------------------------------------------------------- telling

    def refuse(self, bad: np.ndarray, reason: str) -> None:
        """Raise for the first row that is bad: its subject and row, then what is wrong and what to
        do.
        """
        if bad.any():
            row = int(np.argmax(bad))
            who = f"Subject {self.labels[row]}, {self.word}" if self.labels else self.word.capitalize()
            raise ValueError(f"{who} {self.numbers_of_rows[row]}: {reason}")

    def note(self, rows: np.ndarray, deed: str) -> None:
        """Tell in the report what was done with these rows."""
        if rows.any():
            self.notes.append(f"{deed} ({self.word} {listed(self.numbers_of_rows[rows])}).")

    # ---------------------------------------------------------------- columns

    def find(self, name: str) -> int | None:
        """The place of a column by exact name, then by name without case; None where there is
        none.
        """
        places = [i for i, column in enumerate(self.columns) if column == name]
        if not places:
            wanted = name.strip().lower()
            places = [i for i, column in enumerate(self.columns) if column.strip().lower() == wanted]
        if len(places) > 1:
            candidates = " and ".join(repr(self.columns[i]) for i in places)
            raise ValueError(f"Column {name!r} could be any of {candidates}; rename or drop all but one.")
        self.read.update(places)
        return places[0] if places else None

    def place(self, name: str) -> int:
        """The place of a column that must be there."""
        place = self.find(name)
        if place is None:
            lower = {column.lower(): column for column in self.columns}
            close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.7)
            hint = f"did you mean {lower[close[0]]!r}?" if close else f"there are {', '.join(self.columns)}."
            raise ValueError(f"Column {name!r} is missing; name the right one (id=, time=, y=, ...), {hint}")
        return place

    def unread(self) -> list[str]:
        """The names of the columns that nobody looked up."""
        return [name for i, name in enumerate(self.columns) if i not in self.read and name]

    def cells(self, name: str) -> list[Any]:
        """A column's cells, None where one is missing."""
        place = self.place(name)
        if place not in self._cells:
            column = self.df.iloc[:, place]
            cells = column.astype(object).where(column.notna(), None).tolist()
            cells = [None if _is_missing(cell) else cell for cell in cells]
            self._cells[place] = self._decoded(place, cells) if place in self._codes else cells
        return self._cells[place]

    def _by_place(self, codes: Codes) -> dict[int, dict[Any, float | None]]:
        """The codes of each column; what is written counts as text and, where it is one, as a
        number.
        """
        by_place: dict[int, dict[Any, float | None]] = {}
        for name, meanings in codes.items():
            place = self.place(name)
            self.read.discard(place)  # so far it is only known
            by_place[place] = {}
            if not isinstance(meanings, Mapping):
                raise ValueError(f"codes={{{name!r}: {meanings!r}}} is no mapping; give {{what is written: number}}.")
            for written, meaning in meanings.items():
                value = math.nan if meaning is None else number(meaning)
                if value is None:
                    raise ValueError(f"codes={{{name!r}: ...}} gives {meaning!r} for {written!r}; give a number.")
                for form in _forms(written):
                    by_place[place][form] = None if math.isnan(value) else value
        return by_place

    def _decoded(self, place: int, cells: list[Any]) -> list[Any]:
        """The cells of a column with the numbers that stand for some of them, and a note of each."""
        codes = self._codes[place]
        rows_of: dict[Any, list[int]] = {}
        decoded = []
        for row, cell in enumerate(cells):
            form = None if cell is None else next((form for form in _forms(cell) if form in codes), None)
            if form is not None:
                rows_of.setdefault(form, []).append(row)
            decoded.append(cell if form is None else codes[form])
        for form, rows in rows_of.items():
            meaning = "missing" if codes[form] is None else f"{codes[form]:g}"
            self.note(
                np.isin(np.arange(len(cells)), rows),
                f"Column {self.columns[place]}: {plain(form)} was read as {meaning}",
            )
        return decoded

    def values(self, name: str) -> list[float | None]:
        """A column's cells as floats: NaN where one is missing, None where it is not a number."""
        place = self.place(name)
        if place not in self._values:
            cells = self.cells(name)
            self._values[place] = [math.nan if cell is None else number(cell) for cell in cells]
        return self._values[place]

    def numbers(self, name: str, *, covariate: bool = False) -> np.ndarray:
        """A column as floats, NaN where missing; text, dates and infinite values are refused."""
        place = self.place(name)
        column = self.df.iloc[:, place]
        title = self.columns[place]
        if pd.api.types.is_datetime64_any_dtype(column) or column.dtype.kind in "mc":
            raise ValueError(f"Column {title!r} holds {column.dtype}; turn it into plain numbers, such as hours.")
        if pd.api.types.is_numeric_dtype(column) and place not in self._codes:
            out = column.to_numpy(dtype=float, na_value=np.nan)
        else:
            out = np.array(self.values(name), dtype=float)
            self._refuse_words(title, self.cells(name), self.values(name), covariate)
        self.refuse(np.isinf(out), f"column {title!r} is infinite; correct it or leave it empty.")
        return out

    def _refuse_words(self, title: str, cells: list[Any], values: list[float | None], covariate: bool) -> None:
        """Refuse cells that are no numbers; a covariate all in words gets the advice to code
        them.
        """
        words = [str(cell) for cell, value in zip(cells, values, strict=True) if value is None]
        if not words:
            return
        distinct = list(dict.fromkeys(words))
        if covariate and all(value is None or math.isnan(value) for value in values):
            numbered = ", ".join(f"{word!r}: {place}" for place, word in enumerate(distinct[:4]))
            more = ", ..." if len(distinct) > 4 else ""
            raise ValueError(
                f"Covariate {title!r} holds words ({', '.join(map(repr, distinct[:4]))}{more}); "
                f"say the number of each, for example codes={{{title!r}: {{{numbered}{more}}}}}."
            )
        self.refuse(
            np.array([value is None for value in values]),
            f"column {title!r} holds {distinct[0]!r}, not a number; correct it, leave it empty, "
            f"or say what it means by codes={{{title!r}: {{{distinct[0]!r}: ...}}}}.",
        )

    def refuse_missing_codes(self, name: str, values: np.ndarray) -> None:
        """Refuse -99 and the like where nothing else is negative, unless `codes` says what it is."""
        negative = values < 0
        is_code = np.isin(values, _MISSING_CODES)
        if self.place(name) in self._codes or (negative & ~is_code).any():
            return
        code = f"{values[int(np.argmax(is_code))]:g}"
        self.refuse(
            is_code,
            f"column {name!r} holds {code}, which often stands for missing; say so by codes={{{name!r}: "
            f"{{{code}: None}}}}, or that it is a number by {code} in place of None.",
        )

    def optional(self, name: str, empty: float = 0.0) -> np.ndarray:
        """A column as floats, `empty` where a cell is missing or there is no such column."""
        if self.find(name) is None:
            return np.full(len(self.df), empty)
        values = self.numbers(name)
        return np.where(np.isnan(values), empty, values)

    def code(self, name: str, allowed: Sequence[int], otherwise: str) -> np.ndarray:
        """A column of whole-number codes, 0 where it is empty or there is no such column.

        Codes that are not `allowed` are refused: `otherwise` says what such a one is.
        """
        values = self.optional(name)
        self.refuse(~np.isin(values, allowed), f"{name} is {otherwise}.")
        return values


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING)


def _forms(written: Any) -> list[Any]:
    """What is written as a text, and as a number where it is one."""
    value = number(written)
    return [str(written).strip()] + ([] if value is None else [value])


def number(cell: Any) -> float | None:
    """A cell as a float, or None where it is not a number."""
    if isinstance(cell, str) and "_" in cell:  # Python would read "1_0" as ten
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def plain(label: Any) -> Any:
    """An id as a Python int or str where it is one: pandas makes 308.0 of 308 beside a gap."""
    if isinstance(label, np.generic):
        label = label.item()
    return int(label) if isinstance(label, float) and label.is_integer() else label
