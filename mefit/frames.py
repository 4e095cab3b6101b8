"""Reading a data frame of observations and doses with checks, and writing one back.

Every check raises a ValueError of one sentence that names the subject, the row, the column and the remedy. Row 1 is
the first row of data, as a person counts below the header.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from .population import Population

# columns of the field's convention that change the meaning of a row and are not read: better refused than misread
UNREAD = {
    "ADDL": "additional doses; write each dose as a row of its own",
    "SS": "doses at steady state; write the earlier doses as rows of their own",
    "CENS": "censored responses; leave these responses empty or drop the column",
    "BLQ": "censored responses; leave these responses empty or drop the column",
}


@dataclass(frozen=True)
class Table:
    """The rows of a frame as flat arrays, observations and doses apart; `subject` counts subjects from 0.

    `y` is NaN where a response is missing. `varying[name]` says whether a covariate changes within any subject.
    """

    ids: tuple[Any, ...]
    subject: np.ndarray
    time: np.ndarray
    y: np.ndarray
    covariates: dict[str, np.ndarray]
    varying: dict[str, bool]
    dose_subject: np.ndarray
    dose_time: np.ndarray
    amount: np.ndarray
    duration: np.ndarray
    compartment: np.ndarray


def positions(subject: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For sorted subject numbers: the count of rows of each subject, and each row's place within its subject."""
    count = np.bincount(subject, minlength=size)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    return count, np.arange(len(subject)) - start[subject]


class _Reader:
    """Looks up columns of one frame and turns them into numbers, knowing how to name a row in a sentence."""

    def __init__(self, df: "pd.DataFrame"):
        self.df = df
        self.columns = [str(c) for c in df.columns]
        self.labels: list[Any] = []  # the id of each row, once read

    def where(self, row: int) -> str:
        return f"Subject {self.labels[row]}, row {row + 1}" if self.labels else f"Row {row + 1}"

    def refuse(self, bad: np.ndarray, what: str) -> None:
        """Raise for the first row that is bad: its subject and row, then what is wrong and what to do."""
        if bad.any():
            raise ValueError(f"{self.where(int(np.argmax(bad)))}: {what}")

    def find(self, name: str) -> int | None:
        """The place of a column by exact name, then by name without case; None where there is no such column."""
        for same in (lambda c: c == name, lambda c: c.strip().lower() == name.strip().lower()):
            places = [i for i, c in enumerate(self.columns) if same(c)]
            if len(places) > 1:
                found = " and ".join(repr(self.columns[i]) for i in places)
                raise ValueError(f"Column {name!r} could be any of {found}; rename or drop all but one.")
            if places:
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

    def numbers(self, name: str, *, covariate: bool = False) -> np.ndarray:
        """A column as floats, NaN where empty; text, dates and infinite values are refused."""
        import pandas as pd

        place = self.place(name)
        column, title = self.df.iloc[:, place], self.columns[place]
        types = pd.api.types
        if (
            types.is_datetime64_any_dtype(column)
            or types.is_timedelta64_dtype(column)
            or types.is_complex_dtype(column)
        ):
            raise ValueError(f"Column {title!r} holds {column.dtype}; turn it into plain numbers, such as hours.")
        if types.is_numeric_dtype(column):
            out = column.to_numpy(dtype=float, na_value=np.nan)
        else:
            # an empty or blank cell is missing; every other cell that is not a number is text
            cells = column.astype(object).where(column.notna(), None).tolist()
            cells = [None if isinstance(c, str) and not c.strip() else c for c in cells]
            values = [math.nan if c is None else _number(c) for c in cells]
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


def _number(cell: Any) -> float | None:
    """A cell as a float, or None where it is not a number."""
    if isinstance(cell, str) and "_" in cell:  # Python would read "1_0" as ten
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _plain(label: Any) -> Any:
    """An id as a Python int or str where it is one: 308.0, which pandas makes of 308 beside a gap, is 308."""
    label = label.item() if isinstance(label, np.generic) else label
    return int(label) if isinstance(label, float) and label.is_integer() else label


def _ids(reader: _Reader, name: str) -> tuple[tuple[Any, ...], np.ndarray]:
    """The ids in order of appearance and the subject number of every row."""
    column = reader.df.iloc[:, reader.place(name)]
    labels = [_plain(x) for x in column.tolist()]
    blank = column.isna().to_numpy() | np.array([isinstance(x, str) and not x.strip() for x in labels])
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


def _is_dose(reader: _Reader, given: np.ndarray | None, y: np.ndarray, mdv: np.ndarray | None) -> np.ndarray:
    """Which rows are doses: by EVID where the frame has it, else by a positive amount."""
    amount = np.zeros(len(y)) if given is None else np.nan_to_num(given)
    evid = reader.optional("EVID")
    if evid is None:
        both = (amount > 0) & ~np.isnan(y) & (y != 0)
        both &= True if mdv is None else mdv == 0
        reader.refuse(both, "it has an amount and a response; write the dose and the observation as two rows.")
        return amount > 0
    reader.refuse(np.isnan(evid), "EVID is missing; use 0 for an observation and 1 for a dose.")
    other = (evid != 0) & (evid != 1)
    reader.refuse(other, "EVID is neither 0 (observation) nor 1 (dose), and no other event is read; drop the row.")
    if given is None:
        reader.refuse(evid == 1, "EVID says dose, but there is no column of amounts; name it by amount=.")
        return evid == 1
    reader.refuse((evid == 0) & (amount > 0), "EVID says observation, but there is an amount; use EVID 1 or empty it.")
    reader.refuse((evid == 1) & np.isnan(given), "it is a dose but its amount is missing; fill it in or drop the row.")
    return evid == 1


def _durations(reader: _Reader, name: str | None, amount: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """Length of every infusion: from a column of durations, or amount / RATE; 0 where given at once."""
    by_rate_only = name is not None and name.lower() == "rate"
    given = None if by_rate_only else reader.numbers(name) if name else reader.optional("DUR")
    rate = reader.numbers("RATE") if by_rate_only else reader.optional("RATE") if name is None else None
    duration, rate = (
        np.zeros(len(dose)) if x is None else np.where(dose, np.nan_to_num(x), 0.0) for x in (given, rate)
    )
    reader.refuse(duration < 0, "the duration of the dose is negative; correct it, or use 0 for one given at once.")
    reader.refuse(rate < 0, "RATE is negative, a code that is not read; give the duration of the infusion in DUR.")
    by_rate = np.divide(amount, rate, out=np.zeros(len(dose)), where=rate > 0)
    clash = (rate > 0) & (duration > 0) & (np.abs(by_rate - duration) > 1e-6 * duration)
    reader.refuse(clash, "the duration is not amount / RATE; correct one of them or drop its column.")
    return np.where(duration > 0, duration, by_rate)


def read(
    df: "pd.DataFrame",
    *,
    id: str,
    time: str | None,
    y: str,
    amount: str | None,
    duration: str | None,
    compartment: str,
    covariates: str | Sequence[str] | Mapping[str, str],
) -> Table:
    """Check a frame and take it apart; `Population.from_frame` says what is accepted and what is refused."""
    if len(df) == 0:
        raise ValueError("The data frame is empty; it needs at least one subject with one observation.")
    reader = _Reader(df)
    ids, subject = _ids(reader, id)
    for name, meaning in UNREAD.items():
        flag = reader.optional(name)
        if flag is not None:
            reader.refuse(np.nan_to_num(flag) != 0, f"{name}, which is not read, marks {meaning}.")

    when = positions(subject, len(ids))[1].astype(float) if time is None else reader.numbers(time)
    reader.refuse(np.isnan(when), f"the time in column {time!r} is missing; fill it in or drop the row.")
    reader.refuse(when < 0, f"the time in column {time!r} is negative; count from the subject's first record.")
    back = np.concatenate([[False], (np.diff(when) < 0) & (np.diff(subject) == 0)])
    reader.refuse(back, f"the time is earlier than in the row before; sort the frame by {id!r} and {time!r}.")

    response = reader.numbers(y)
    # only the default name may be absent: such a frame has no doses
    given = None if amount is None else reader.optional(amount) if amount == "AMT" else reader.numbers(amount)
    doses = np.zeros(len(df)) if given is None else np.nan_to_num(given)
    reader.refuse(doses < 0, f"the dose in column {amount!r} is negative; correct it.")
    mdv = reader.optional("MDV")
    if mdv is not None:
        reader.refuse((mdv != 0) & (mdv != 1), "MDV is neither 0 (observed) nor 1 (missing); correct it.")
    dose = _is_dose(reader, given, response, mdv)
    seen = ~dose if mdv is None else ~dose & (mdv == 0)
    response = np.where(seen, response, np.nan)
    length = _durations(reader, duration, doses, dose)
    number = reader.optional(compartment)
    place = np.ones(len(df)) if number is None else np.where(dose & (np.nan_to_num(number) != 0), number, 1.0)
    reader.refuse((place < 1) | (place != np.round(place)), "the compartment is not 1, 2, 3, ...; correct it.")

    _check_same_times(reader, subject, when, dose, (doses, length, place))
    without = np.bincount(subject[~np.isnan(response)], minlength=len(ids)) == 0
    if without.any():
        who = ids[int(np.argmax(without))]
        raise ValueError(f"Subject {who} has no observation in column {y!r}; add one or leave the subject out.")

    if isinstance(covariates, str):
        covariates = (covariates,)
    names = dict(covariates) if isinstance(covariates, Mapping) else {c: c for c in covariates}
    values = _read_covariates(reader, names)
    for name in {"DVID", compartment}.difference(names.values()):
        kind = reader.optional(name)
        if kind is not None:  # 0 and empty stand for the usual one
            other = ~np.isnan(response) & (np.nan_to_num(kind) != 0)
            other &= kind != kind[np.argmax(other)]
            reader.refuse(other, f"{name} marks a second kind of response, which is not read; keep one kind of rows.")
    changes = {k: bool(((np.diff(x) != 0) & (np.diff(subject) == 0)).any()) for k, x in values.items()}
    return Table(
        ids=ids,
        subject=subject[~dose],
        time=when[~dose],
        y=response[~dose],
        covariates={k: x[~dose] for k, x in values.items()},
        varying=changes,
        dose_subject=subject[dose],
        dose_time=when[dose],
        amount=doses[dose],
        duration=length[dose],
        compartment=place[dose].astype(int),
    )


def _check_same_times(
    reader: _Reader, subject: np.ndarray, time: np.ndarray, dose: np.ndarray, details: tuple[np.ndarray, ...]
) -> None:
    """Refuse a row that occurs twice, and a sample written before the dose of the same time.

    `details` are the amounts, durations and compartments: doses that differ in one of them may share a time.
    """
    order = np.lexsort((*details, dose, time, subject))  # brings the rows to compare side by side

    def same(x: np.ndarray) -> np.ndarray:
        return x[order][1:] == x[order][:-1]

    double = same(subject) & same(time) & same(dose)
    double &= ~dose[order][1:] | np.logical_and.reduce([same(x) for x in details])
    twice = np.zeros(len(time), dtype=bool)
    twice[np.maximum(order[1:], order[:-1])[double]] = True
    reader.refuse(twice & ~dose, "a second observation at the same time; keep one, or give the two different times.")
    reader.refuse(twice, "the same dose is written twice; keep one, or add the amounts up if two were given.")
    moment = np.cumsum(np.concatenate([[True], (np.diff(time) != 0) | (np.diff(subject) != 0)]))
    observed_before = np.concatenate([[False], (np.diff(moment) == 0) & ~dose[:-1]])
    reader.refuse(
        dose & observed_before,
        "this dose comes after an observation of the same time, but would be read as given before it; "
        "write the dose first, or the sample a little earlier if it was taken before the dose.",
    )


def _read_covariates(reader: _Reader, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    values = {}
    for name, column in names.items():
        values[name] = reader.numbers(column, covariate=True)
        missing = np.isnan(values[name])
        reader.refuse(missing, f"covariate {column!r} is missing; fill it in, for example with the value before.")
    return values


def write(population: "Population") -> "pd.DataFrame":
    """The event frame of a population, sorted by subject and time, doses first."""
    import pandas as pd

    s = population.subjects
    time, y, mask = np.asarray(s.time), np.asarray(s.y), np.asarray(s.mask)
    real = np.arange(time.shape[1]) < population.rows[:, None]
    who, at = np.nonzero(real)
    amount = np.asarray(s.doses.amount)
    dose_who, dose_at = np.nonzero(amount != 0)
    dose_time = np.asarray(s.doses.time)[dose_who, dose_at]
    # the observation whose covariates a dose row shows: the first that is not earlier, else the last
    following = (time[dose_who] < dose_time[:, None]) & real[dose_who]
    next_at = np.minimum(following.sum(axis=1), population.rows[dose_who] - 1)

    def both(doses: Any, observations: Any) -> np.ndarray:
        return np.concatenate([np.broadcast_to(doses, dose_who.shape), np.broadcast_to(observations, who.shape)])

    everyone, evid = both(dose_who, who), both(1, 0)
    duration, compartment = (np.asarray(x)[dose_who, dose_at] for x in (s.doses.duration, s.doses.compartment))
    columns: dict[str, Any] = {
        "ID": [population.ids[i] for i in everyone],
        "TIME": both(dose_time, time[who, at]),
        "DV": both(np.nan, np.where(mask, y, np.nan)[who, at]),
        "AMT": both(amount[dose_who, dose_at], 0.0),
        "EVID": evid,
        "MDV": both(1, ~mask[who, at]),
    }
    if (compartment != 1).any():
        columns["CMT"] = both(compartment, 0)
    if (duration > 0).any():
        columns["DUR"] = both(duration, 0.0)
    for name, x in s.covariates.items():
        value = np.asarray(x)
        columns[name] = both(value[dose_who, next_at], value[who, at]) if value.ndim == 2 else value[everyone]
    order = np.lexsort((1 - evid, columns["TIME"], everyone))
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True)
