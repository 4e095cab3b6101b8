"""Reading a data frame of observations and doses with checks.

Every check raises a ValueError of one sentence that names the subject, the row, the column and the remedy. Row 1 is
the first row of data, as a person counts below the header; in a file, lines are counted instead.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import events

if TYPE_CHECKING:
    import pandas as pd

    from .subject import Doses, Subject

MISSING = ("", ".", "na", "nan")
DOSE, STEADY = ("time", "amount", "duration", "compartment"), ("interval", "steady_state")


@dataclass(frozen=True)
class Table:
    """The rows of a frame as flat arrays, observations and doses apart; `subject` counts subjects from 0.

    `y`, `censored` and `limit` are by outcome, "" where there is one; `y` is NaN where missing, the others are empty
    where no response is censored. `varying[name]` says whether a covariate changes within any subject.
    """

    ids: tuple[Any, ...]
    subject: np.ndarray
    time: np.ndarray
    y: dict[str, np.ndarray]
    censored: dict[str, np.ndarray]
    limit: dict[str, np.ndarray]
    covariates: dict[str, np.ndarray]
    varying: dict[str, bool]
    dose_subject: np.ndarray
    doses: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


def as_dict(x: Any) -> dict[str, Any]:
    """By outcome, under the name "" where there is one only."""
    return x if isinstance(x, dict) else {} if x is None else {"": x}


def positions(subject: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For sorted subject numbers: the count of rows of each subject, and each row's place within its subject."""
    count = np.bincount(subject, minlength=size)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    return count, np.arange(len(subject)) - start[subject]


class Reader:
    """Looks up columns of one frame and turns them into numbers, knowing how to name a row in a sentence."""

    def __init__(self, df: "pd.DataFrame", lines: np.ndarray | None = None):
        self.df = df
        self.columns = [str(c) for c in df.columns]
        self.labels: list[Any] = []  # the id of each row, once read
        self.word = "row" if lines is None else "line"
        self.numbers_of_rows: np.ndarray = np.arange(1, len(df) + 1) if lines is None else lines
        self.notes: list[str] = []
        self.read: set[int] = set()

    def where(self, row: int) -> str:
        who = f"Subject {self.labels[row]}, {self.word}" if self.labels else self.word.capitalize()
        return f"{who} {self.numbers_of_rows[row]}"

    def refuse(self, bad: np.ndarray, what: str) -> None:
        """Raise for the first row that is bad: its subject and row, then what is wrong and what to do."""
        if bad.any():
            raise ValueError(f"{self.where(int(np.argmax(bad)))}: {what}")

    def note(self, rows: np.ndarray, what: str) -> None:
        """Tell in the report what was done with these rows."""
        if rows.any():
            shown = self.numbers_of_rows[rows]
            more = f" and {len(shown) - 6} more" if len(shown) > 6 else ""
            self.notes.append(f"{what} ({self.word} {', '.join(map(str, shown[:6]))}{more}).")

    def find(self, name: str) -> int | None:
        """The place of a column by exact name, then by name without case; None where there is no such column."""
        for same in (lambda c: c == name, lambda c: c.strip().lower() == name.strip().lower()):
            places = [i for i, c in enumerate(self.columns) if same(c)]
            if len(places) > 1:
                found = " and ".join(repr(self.columns[i]) for i in places)
                raise ValueError(f"Column {name!r} could be any of {found}; rename or drop all but one.")
            if places:
                self.read.add(places[0])
                return places[0]
        return None

    def place(self, name: str) -> int:
        """The place of a column that must be there."""
        place = self.find(name)
        if place is None:
            lower = {c.lower(): c for c in self.columns}
            close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
            hint = f"did you mean {lower[close[0]]!r}?" if close else f"the frame has {', '.join(self.columns)}."
            raise ValueError(f"Column {name!r} is missing; name the right one in from_frame, {hint}")
        return place

    def optional(self, name: str) -> np.ndarray | None:
        """A column as floats, or None where there is no such column."""
        return None if self.find(name) is None else self.numbers(name)

    def code(self, name: str, allowed: Any, what: str) -> np.ndarray:
        """A column of whole-number codes, 0 where it is empty or there is no such column; others are refused."""
        values = self.optional(name)
        values = np.zeros(len(self.df)) if values is None else np.nan_to_num(values)
        self.refuse(~np.isin(values, allowed), f"{name} is {what}.")
        return values

    def cells(self, name: str) -> list[Any]:
        """A column's cells, None where one is missing."""
        column = self.df.iloc[:, self.place(name)]
        cells = column.astype(object).where(column.notna(), None).tolist()
        return [None if isinstance(c, str) and c.strip().lower() in MISSING else c for c in cells]

    def numbers(self, name: str, *, covariate: bool = False) -> np.ndarray:
        """A column as floats, NaN where missing; text, dates and infinite values are refused."""
        import pandas as pd

        place = self.place(name)
        column, title, types = self.df.iloc[:, place], self.columns[place], pd.api.types
        if types.is_datetime64_any_dtype(column) or column.dtype.kind in "mc":
            raise ValueError(f"Column {title!r} holds {column.dtype}; turn it into plain numbers, such as hours.")
        if types.is_numeric_dtype(column):
            out = column.to_numpy(dtype=float, na_value=np.nan)
        else:
            cells = self.cells(name)
            values = [math.nan if c is None else number(c) for c in cells]
            words = {str(c): None for c, v in zip(cells, values, strict=True) if v is None}
            if covariate and words and all(v is None or math.isnan(v) for v in values):
                seen, first = ", ".join(repr(w) for w in list(words)[:4]), next(iter(words))
                raise ValueError(
                    f"Covariate {title!r} holds words ({seen}); code them as numbers first, for example "
                    f"df[{title!r}] = (df[{title!r}] == {first!r}).astype(float)."
                )
            text = np.array([v is None for v in values])
            cell = str(cells[int(np.argmax(text))])
            self.refuse(text, f"column {title!r} holds {cell!r}, not a number; correct it or leave it empty.")
            out = np.array(values, dtype=float)
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


def _ids(reader: Reader, name: str) -> tuple[tuple[Any, ...], np.ndarray]:
    """The ids in order of appearance and the subject number of every row."""
    labels = [plain(x) for x in reader.cells(name)]
    blank = np.array([x is None for x in labels])
    reader.refuse(blank, f"the id in column {name!r} is missing; fill it in or drop the row.")
    reader.labels = labels
    starts = np.array([True, *(a != b for a, b in zip(labels[1:], labels[:-1], strict=True))])
    subject = np.cumsum(starts) - 1
    ids = tuple(labels[i] for i in np.flatnonzero(starts))
    if len(set(ids)) != len(ids):
        first = {label: i for i, label in reversed(list(enumerate(ids)))}
        again = starts & np.array([first[label] != i for i, label in enumerate(ids)])[subject]
        reader.refuse(again, f"this id came before, with other subjects between; sort the frame by {name!r} and time.")
    return ids, subject


def read(
    df: "pd.DataFrame",
    *,
    id: str,
    time: str | None,
    y: str | Mapping[str, str | int | float],
    outcome: str,
    occasion: str,
    covariates: str | Sequence[str] | Mapping[str, str],
    lines: np.ndarray | None = None,
    notes: Sequence[str] = (),
    **dose: Any,
) -> Table:
    """Check a frame and take it apart; `Population.from_frame` says what is accepted and what is refused."""
    if len(df) == 0:
        raise ValueError("The data frame is empty; it needs at least one subject with one observation.")
    reader = Reader(df, lines)
    ids, subject = _ids(reader, id)
    when = positions(subject, len(ids))[1].astype(float) if time is None else events.times(reader, time, subject)
    reader.refuse(np.isnan(when), f"the time in column {time!r} is missing; fill it in or drop the row.")
    back = np.concatenate([[False], (np.diff(when) < 0) & (np.diff(subject) == 0)])
    reader.refuse(back, f"the time is earlier than in the row before; sort the frame by {id!r} and {time!r}.")
    reader.refuse(when < 0, f"the time in column {time!r} is negative; count from the subject's first record.")

    wide = {k: c for k, c in y.items() if isinstance(c, str)} if isinstance(y, Mapping) else {"": y}
    columns = wide or {"": "DV"}
    response = {k: reader.numbers(c) for k, c in columns.items()}
    event, doses = events.doses(reader, response, **dose)
    mdv = reader.code("MDV", (0, 1), "neither 0 (observed) nor 1 (missing); correct it")
    seen = (event == 0) & (mdv == 0)
    response = {k: np.where(seen, x, np.nan) for k, x in response.items()}
    censored, limit = events.censoring(reader, response, seen)

    if isinstance(covariates, str):
        covariates = (covariates,)
    names = dict(covariates) if isinstance(covariates, Mapping) else {c: c for c in covariates}
    values = {k: _carried(reader, subject, c) for k, c in names.items()}
    if occasion not in names.values() and reader.find(occasion) is not None:
        values["occasion"] = np.unique(_carried(reader, subject, occasion), return_inverse=True)[1].astype(float)
    kind = np.where(event == 0, 0, -1)
    if list(response) == [""]:
        kind, labels = events.outcomes(reader, y, outcome, dose["compartment"], response[""], kind, names.values())
        response = {k: np.where(kind == i, response[""], np.nan) for i, k in enumerate(labels)}
    events.check_same_times(reader, subject, when, np.where(event == 1, -2, kind), doses)
    without = np.bincount(subject[~np.all([np.isnan(x) for x in response.values()], axis=0)], minlength=len(ids)) == 0
    if without.any():
        who, where = ids[int(np.argmax(without))], " or ".join(repr(c) for c in columns.values())
        raise ValueError(f"Subject {who} has no observation in column {where}; add one or leave the subject out.")

    states = [x for k, x in values.items() if names.get(k) not in (outcome, dose["compartment"])]
    kept = _kept(reader, subject, when, event != 1, states)
    first = np.concatenate([[True], (np.diff(when[kept]) != 0) | (np.diff(subject[kept]) != 0)])
    at = np.cumsum(first) - 1  # rows of one and the same time are one row
    for k, x in values.items():
        unlike = np.zeros(len(df), bool)
        unlike[kept] = x[kept] != x[kept][first][at]
        reader.refuse(unlike, f"covariate {names.get(k, k)!r} differs from the row of the same time; make them alike.")

    def together(x: np.ndarray, given: np.ndarray, fill: float) -> np.ndarray:
        out = np.full(int(first.sum()), fill)
        out[at[given[kept]]] = x[kept][given[kept]]
        return out

    has = {k: ~np.isnan(x) for k, x in response.items()}
    some_censored = bool(censored.any())
    dose_subject, given = events.given(reader, subject, when, event == 1, doses)
    unread = [c for i, c in enumerate(reader.columns) if i not in reader.read and c]
    if unread:
        reader.notes.append(f"Columns not read: {', '.join(unread)}; name those that matter in covariates=.")
    return Table(
        ids=ids,
        subject=subject[kept][first],
        time=when[kept][first],
        y={k: together(x, has[k], np.nan) for k, x in response.items()},
        censored={k: together(censored, has[k], 0.0) for k in response} if some_censored else {},
        limit={k: together(limit, has[k], 0.0) for k in response} if some_censored else {},
        covariates={k: x[kept][first] for k, x in values.items()},
        varying={k: bool(((np.diff(x[kept]) != 0) & (np.diff(subject[kept]) == 0)).any()) for k, x in values.items()},
        dose_subject=dose_subject,
        doses=given,
        notes=(*notes, *reader.notes),
    )


def _carried(reader: Reader, subject: np.ndarray, column: str) -> np.ndarray:
    """A covariate, with the last value carried forward where one is missing."""
    values = reader.numbers(column, covariate=True)
    missing = np.isnan(values)
    last = np.maximum.accumulate(np.where(missing, 0, np.arange(len(values))))
    before = missing & (np.isnan(values[last]) | (subject[last] != subject))
    reader.refuse(before, f"covariate {column!r} is missing with no value before it; fill in the subject's first one.")
    reader.note(missing, f"Covariate {column} was missing and has the last value before it, carried forward")
    return values[last]


def _kept(
    reader: Reader, subject: np.ndarray, when: np.ndarray, seen: np.ndarray, values: list[np.ndarray]
) -> np.ndarray:
    """The rows to keep: all but doses, and those doses at which a covariate changes, where a row follows."""
    rows = np.arange(len(subject))
    following = np.minimum.accumulate(np.where(seen, rows, len(rows) - 1)[::-1])[::-1]
    before = ~seen & seen[following] & (subject[following] == subject) & (when[following] > when)
    start = np.searchsorted(subject, subject)
    leading = before & (following == following[start])
    extra = np.zeros(len(rows), bool)
    for x in values:
        extra |= (leading & (x != x[following])) | (before & (start < rows) & (x != np.roll(x, 1)))
    reader.note(extra, "A covariate changes at a dose: its time is kept as a row without a response")
    return seen | extra


def together(ids: tuple[Any, ...], subjects: Sequence["Subject"]) -> Table:
    """The rows of subjects, each with arrays of its own length, as one table."""

    def joined(of: Callable[["Subject"], dict[str, Any]]) -> dict[str, np.ndarray]:
        parts = [of(s) for s in subjects]
        return {
            k: np.concatenate([np.broadcast_to(x[k], s.time.shape) for x, s in zip(parts, subjects, strict=True)])
            for k in parts[0]
        }

    def gaps(s: "Subject") -> dict[str, Any]:
        return {k: np.where(as_dict(s.mask)[k], v, np.nan) for k, v in as_dict(s.y).items()}

    def censoring(name: str, fill: int | float) -> dict[str, np.ndarray]:
        if all(s.censored is None for s in subjects):
            return {}
        return joined(lambda s: as_dict(getattr(s, name)) or dict.fromkeys(as_dict(s.y), fill))

    number = np.arange(len(subjects))
    return Table(
        ids=ids,
        subject=np.repeat(number, [s.time.size for s in subjects]),
        time=np.concatenate([s.time for s in subjects]),
        y=joined(gaps),
        censored=censoring("censored", 0),
        limit=censoring("limit", 0.0),
        covariates=joined(lambda s: s.covariates),
        varying={k: any(np.ndim(s.covariates[k]) for s in subjects) for k in subjects[0].covariates},
        dose_subject=np.repeat(number, [s.doses.time.size for s in subjects]),
        doses={k: np.concatenate([dose_field(s.doses, k) for s in subjects]) for k in DOSE + STEADY},
    )


def dose_field(doses: "Doses", name: str) -> np.ndarray:
    """A field of doses; 0 or false for what steady state needs, where no dose is at steady state."""
    value = getattr(doses, name)
    return np.zeros(doses.time.shape, bool if name == "steady_state" else float) if value is None else np.asarray(value)
