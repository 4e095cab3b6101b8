"""The field's conventions: text files, clock times and dates, events, doses, outcomes and censoring.

Sources: the NM-TRAN data items (EVID, MDV, CMT, RATE, ADDL, II, SS) of NONMEM's users guides, and the columns CENS,
LIMIT and DVID as Monolix and nlmixr2 take them.
"""

import csv
import datetime
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import frames

if TYPE_CHECKING:
    import pandas as pd

_COMMA, _POINT = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?"), re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_CLOCK, _STAMP = re.compile(r"\d{1,3}:[0-5]\d(:[0-5]\d(\.\d+)?)?"), re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d\S*)?")


# ---------------------------------------------------------------- text


def read_text(path: str | os.PathLike, id: str) -> tuple["pd.DataFrame", np.ndarray, list[str]]:
    """The cells of a file as text, the line of each row, and notes of what was left out."""
    import pandas as pd

    lines = [(i, line) for i, line in enumerate(_decoded(Path(path)).splitlines(), 1) if line.strip(' \t,;"')]
    plain = [(i, s) for i, s in lines if not s.lstrip().startswith("#") and not s.startswith("TABLE NO")]
    if not plain:
        raise ValueError(f"{Path(path).name} has no line of data; it needs a header and a row for each event.")
    names_id = re.compile(rf"[#\s\"]*{re.escape(id)}\s*(\W|$)", re.IGNORECASE)
    hidden = [(i, s.lstrip("# \t")) for i, s in lines if i < plain[0][0] and s.startswith("#") and names_id.match(s)]
    start, header = hidden[-1] if hidden else plain[0]  # a header may be written as a comment: #ID, TIME, ...
    mark = next((d for d in "\t;," if d in header), None)

    def split(i: int, line: str) -> list[str]:
        try:
            cells = (
                next(csv.reader([line], delimiter=mark, skipinitialspace=True, strict=True)) if mark else line.split()
            )
        except csv.Error as error:
            raise ValueError(f"Line {i} has a quotation mark that is not closed; correct it.") from error
        return [c.strip() for c in cells]

    names = split(start, header)
    rows = [(i, split(i, s)) for i, s in plain if i > start]
    again = [cells == names for _, cells in rows]
    remark = [bool(re.fullmatch(r"C(\s.*)?", cells[0])) for _, cells in rows]
    others = [cells[0] for (_, cells), a, b in zip(rows, again, remark, strict=True) if not (a or b)]
    if not all(c == "." or frames.number(c) is not None for c in others):
        remark = [False] * len(rows)  # where ids are words, C is one of them
    left_out = [a or b for a, b in zip(again, remark, strict=True)]
    comments = len(lines) - len(plain) - bool(hidden)
    notes = [f"{comments + sum(left_out)} lines are comments or repeat the header."] if comments + sum(left_out) else []
    rows = [row for row, out in zip(rows, left_out, strict=True) if not out]
    for i, cells in rows:
        if len(cells) != len(names):
            raise ValueError(
                f"Line {i} (beginning with {cells[0]!r}) has {len(cells)} cells and the header has {len(names)}: a "
                f"separator ({mark or ' '!r}) is missing or too many, or a comma is decimal; correct the line."
            )
    if mark != "," and any(_COMMA.fullmatch(c) for _, cells in rows for c in cells):
        for i, cells in rows:
            for c in cells:
                if _POINT.fullmatch(c):
                    raise ValueError(f"Line {i}: {c!r} has a decimal point, other lines a decimal comma; use one.")
        rows = [(i, [c.replace(",", ".") if _COMMA.fullmatch(c) else c for c in cells]) for i, cells in rows]
        notes.append("Commas were read as decimal.")
    for k in range(len(names) - 1, -1, -1):
        if not names[k] and any(cells[k] for _, cells in rows):
            raise ValueError(f"Column {k + 1} has no name in the header; name it or drop it.")
    df = pd.DataFrame([cells for _, cells in rows], columns=names, dtype=object)
    place = frames.Reader(df).find(id)
    if place is not None:  # ids that are numbers become numbers; 007 stays text
        values = [frames.number(c) for c in df.iloc[:, place]]
        if all(v is not None or c.lower() in frames.MISSING for v, c in zip(values, df.iloc[:, place], strict=True)):
            if not any(re.match(r"0\d", c) for c in df.iloc[:, place]):
                df.isetitem(place, pd.Series(values, dtype=float))
    return df, np.array([i for i, _ in rows]), notes


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith(b"PK"):
        raise ValueError(f"{path.name} is a workbook or an archive, not text; save it as a CSV file first.")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


# ---------------------------------------------------------------- times


def times(reader: "frames.Reader", name: str, subject: np.ndarray) -> np.ndarray:
    """A column of times as numbers; clock times and dates as hours since the subject's first record."""
    place, date = reader.place(name), reader.find("DATE")
    if reader.df.iloc[:, place].dtype.kind in "iuf":
        what = "number"
    else:
        cells = reader.cells(name)
        kinds, seconds = zip(*(_instant(c) for c in cells), strict=True)
        what = Counter(k for k in kinds if k).most_common(1)[0][0] if any(kinds) else "number"
    if what in ("number", "text"):
        if date not in (None, place):
            raise ValueError(
                f"Column {name!r} holds numbers beside a column DATE; write clock times (hh:mm), or drop DATE if "
                f"{name!r} counts from the subject's first record."
            )
        return reader.numbers(name)
    other = np.array([k not in (what, "") for k in kinds])
    cell = cells[int(np.argmax(other))]
    reader.refuse(other, f"column {name!r} holds {cell!r}, where the others are {what}s; write all alike.")
    total = np.array(seconds)
    if what == "clock time" and date is not None:
        days = [_instant(c) for c in reader.cells("DATE")]
        bad = np.array([not k.startswith("date") or t % 86400 != 0 for k, t in days])
        reader.refuse(bad, "DATE is not a date of the form year-month-day, as in 2024-03-01; correct it.")
        reader.refuse(total >= 86400, f"the time in column {name!r} is past 24:00, beside a date; correct it.")
        total += np.array([t for _, t in days])
    reader.notes.append(f"Column {name}: {what}s became hours since each subject's first record.")
    return (total - total[np.searchsorted(subject, subject)]) / 3600.0


def _instant(cell: Any) -> tuple[str, float]:
    """What a cell of a time column is, and its seconds since midnight or since the year 2000."""
    text = "" if cell is None else str(cell).strip()
    if not text or frames.number(cell) is not None:
        return "number" if text else "", np.nan
    if _CLOCK.fullmatch(text):
        return "clock time", sum(float(x) * unit for x, unit in zip(text.split(":"), (3600, 60, 1), strict=False))
    try:
        since = datetime.datetime.fromisoformat(text if _STAMP.fullmatch(text) else "") - datetime.datetime(2000, 1, 1)
    except (ValueError, TypeError):  # no such day, or a time zone
        return "text", np.nan
    return "date" if len(text) == 10 else "date with clock time", since.total_seconds()


# ---------------------------------------------------------------- doses


def doses(
    reader: "frames.Reader", response: dict[str, np.ndarray], amount: str | None, duration: str | None, compartment: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What each row is (0 an observation, 1 a dose, 2 neither), and the fields of a dose for every row."""
    rows = len(reader.df)
    # only the default name may be absent: such a frame has no doses
    cells = None if amount is None else reader.optional(amount) if amount == "AMT" else reader.numbers(amount)
    given = np.zeros(rows) if cells is None else np.nan_to_num(cells)
    reader.refuse(given < 0, f"the dose in column {amount!r} is negative; correct it.")
    event = reader.optional("EVID")
    if event is None:
        answered = np.any([~np.isnan(x) & (x != 0) for x in response.values()], axis=0)
        both = (given > 0) & answered & (reader.code("MDV", (0, 1), "neither 0 (observed) nor 1 (missing)") == 0)
        reader.refuse(both, "it has an amount and a response; write the dose and the observation as two rows.")
        event = (given > 0).astype(float)
    reader.refuse(np.isnan(event), "EVID is missing; use 0 for an observation and 1 for a dose.")
    resets = "a reset, which is not read: give the subject another id from here on, with times from 0"
    reader.refuse(np.isin(event, (3, 4)), f"EVID 3 or 4 means {resets}.")
    reader.refuse(~np.isin(event, (0, 1, 2)), "EVID is neither 0 (observation) nor 1 (dose) nor 2 (other); correct it.")
    dose = event == 1
    if cells is None:
        reader.refuse(dose, "EVID says dose, but there is no column of amounts; name it by amount=.")
    else:
        reader.refuse(~dose & (given > 0), "EVID says observation, but there is an amount; use EVID 1 or empty it.")
        reader.refuse(dose & np.isnan(cells), "it is a dose but its amount is missing; fill it in or drop the row.")
        reader.note(dose & (given == 0), "Doses of zero amount were left out")
    more = reader.optional("ADDL")
    more = np.zeros(rows) if more is None else np.where(dose, np.nan_to_num(more), 0.0)
    bad = (more < 0) | (more != np.round(more)) | (more > 10_000)
    reader.refuse(bad, "ADDL is not a whole number of additional doses; correct it.")
    steady = dose & (reader.code("SS", (0, 1), "neither 0 nor 1 (steady state), and other codes are not read") == 1)
    interval = reader.optional("II")
    interval = np.zeros(rows) if interval is None else np.nan_to_num(interval)
    needs = (steady | (more > 0)) & (interval <= 0)
    reader.refuse(needs, "ADDL or SS needs the interval between doses; give it in a column II, above 0.")
    number = reader.optional(compartment)
    place = np.ones(rows) if number is None else np.where(dose & (np.nan_to_num(number) != 0), number, 1.0)
    reader.refuse((place < 1) | (place != np.round(place)), "the compartment is not 1, 2, 3, ...; correct it.")
    length = _durations(reader, duration, given, dose)
    fields = {"amount": given, "duration": length, "compartment": place.astype(int), "more": more.astype(int)}
    return event, fields | {"interval": np.where(steady, interval, 0.0), "steady_state": steady, "every": interval}


def _durations(reader: "frames.Reader", name: str | None, amount: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """Length of every infusion: from a column of durations, or amount / RATE; 0 where given at once."""
    by_rate_only = name is not None and name.lower() == "rate"
    given = None if by_rate_only else reader.numbers(name) if name else reader.optional("DUR")
    rate = reader.numbers("RATE") if by_rate_only else reader.optional("RATE") if name is None else None
    duration, rate = (
        np.zeros(len(dose)) if x is None else np.where(dose, np.nan_to_num(x), 0.0) for x in (given, rate)
    )
    reader.refuse(duration < 0, "the duration of the dose is negative; correct it, or use 0 for one given at once.")
    reader.refuse(
        rate < 0, "RATE is negative, a code for a rate or duration to be estimated, which is not read; give it in DUR."
    )
    by_rate = np.divide(amount, rate, out=np.zeros(len(dose)), where=rate > 0)
    clash = (rate > 0) & (duration > 0) & (np.abs(by_rate - duration) > 1e-6 * duration)
    reader.refuse(clash, "the duration is not amount / RATE; correct one of them or drop its column.")
    return np.where(duration > 0, duration, by_rate)


def given(
    reader: "frames.Reader", subject: np.ndarray, time: np.ndarray, dose: np.ndarray, fields: dict[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The doses one by one, ADDL written out, sorted by subject and time: whose they are, and their fields."""
    dose = dose & (fields["amount"] > 0)
    row = np.repeat(np.flatnonzero(dose), 1 + fields["more"][dose])
    turn = frames.positions(np.repeat(np.arange(dose.sum()), 1 + fields["more"][dose]), int(dose.sum()))[1]
    when = time[row] + turn * fields["every"][row]
    out = {"time": when} | {k: fields[k][row] for k in ("amount", "duration", "compartment", "interval")}
    out["steady_state"] = fields["steady_state"][row] & (turn == 0)
    out["interval"] = np.where(turn == 0, out["interval"], 0.0)
    order = np.lexsort((row, when, subject[row]))
    same = np.diff(subject[row][order]) == 0
    for k in ("time", "amount", "duration", "compartment"):
        same &= np.diff(out[k][order]) == 0
    twice = np.zeros(len(dose), bool)
    twice[np.maximum(row[order][1:], row[order][:-1])[same]] = True
    reader.refuse(twice, "this dose is also one of the additional doses (ADDL) of another; lower ADDL or drop it.")
    reader.note(fields["more"] * dose > 0, f"{int((turn > 0).sum())} doses were added from ADDL and II")
    return subject[row][order], {k: x[order] for k, x in out.items()}


def check_same_times(
    reader: "frames.Reader", subject: np.ndarray, time: np.ndarray, kind: np.ndarray, fields: dict[str, np.ndarray]
) -> None:
    """Refuse a row that occurs twice, and a sample written before the dose of the same time.

    `kind` is the number of the outcome, -1 for none, -2 for a dose; doses that differ in a field may share a time.
    """
    dose, details = kind == -2, [fields[k] for k in ("amount", "duration", "compartment")]
    order = np.lexsort((*details, kind, time, subject))  # brings the rows to compare side by side

    def same(x: np.ndarray) -> np.ndarray:
        return x[order][1:] == x[order][:-1]

    double = same(subject) & same(time) & same(kind) & (kind[order][1:] != -1)
    double &= ~dose[order][1:] | np.logical_and.reduce([same(x) for x in details])
    twice = np.zeros(len(time), dtype=bool)
    twice[np.maximum(order[1:], order[:-1])[double]] = True
    reader.refuse(twice & ~dose, "a second observation at the same time; keep one, or give the two different times.")
    reader.refuse(twice, "the same dose is written twice; keep one, or add the amounts up if two were given.")
    moment = np.cumsum(np.concatenate([[True], (np.diff(time) != 0) | (np.diff(subject) != 0)]))
    seen = kind >= 0
    before = np.cumsum(seen) - np.cumsum(seen)[np.searchsorted(moment, moment)] + seen[np.searchsorted(moment, moment)]
    reader.refuse(
        dose & (before > 0),
        "this dose comes after an observation of the same time, but would be read as given before it; "
        "write the dose first, or the sample a little earlier if it was taken before the dose.",
    )


# ---------------------------------------------------------------- outcomes and censoring


def outcomes(
    reader: "frames.Reader", y: Any, outcome: str, compartment: str, response: np.ndarray, kind: np.ndarray, used: Any
) -> tuple[np.ndarray, list[str]]:
    """The number of each row's outcome, -1 for none, and the names of all; the name "" where there is one."""
    seen = ~np.isnan(response)
    named = {v: k for k, v in y.items()} if isinstance(y, Mapping) else {}
    if named or (outcome not in used and reader.find(outcome) is not None):
        cells = np.array([_label(c) for c in reader.cells(outcome)], dtype=object)
        given = np.array([c not in (None, 0) for c in cells]) | (cells == 0) & bool(0 in named)
        found = sorted(
            {c for c, s in zip(cells, seen & given, strict=True) if s}, key=lambda c: (isinstance(c, str), c)
        )
        if len(found) > 1 or named:
            reader.refuse(seen & ~given, f"{outcome} is missing, and does not say which outcome this is; fill it in.")
            strange = seen & np.array([bool(named) and c not in named for c in cells])
            reader.refuse(strange, f"{outcome} is none of {', '.join(str(v) for v in named)}; name it in y=.")
            found = list(named) or found
            where = {c: i for i, c in enumerate(found)}
            return np.array([where.get(c, -1) if k == 0 else k for c, k in zip(cells, kind, strict=True)]), [
                str(named.get(c, c)) for c in found
            ]
    if compartment not in used and (place := reader.optional(compartment)) is not None:
        other = seen & (np.nan_to_num(place) != 0)
        other &= place != place[np.argmax(other)]
        what = (
            f"{compartment} marks a second kind of response; name its kinds with outcome={compartment!r}, or drop it."
        )
        reader.refuse(other, what)
    return kind, [""]


def _label(cell: Any) -> Any:
    value = None if cell is None else frames.number(cell)
    return cell.strip() if value is None and isinstance(cell, str) else None if value is None else frames.plain(value)


def censoring(
    reader: "frames.Reader", response: dict[str, np.ndarray], seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each row 1 where the response lies below DV, -1 where above, 0 where it is DV; and the interval's other end.

    Where BLQ is 1 the limit of quantification, from LLOQ, LIMIT or DV, becomes the response.
    """
    cens = reader.code("CENS", (-1, 0, 1), "neither 1 (below DV) nor -1 (above DV) nor 0; correct it")
    below = reader.code("BLQ", (0, 1), "neither 0 nor 1 (below the limit of quantification); correct it") == 1
    marked = seen & ((cens != 0) | below)
    if not marked.any():
        return np.zeros(len(seen)), np.zeros(len(seen))
    if list(response) != [""]:
        raise ValueError("CENS and BLQ do not say which of several columns is censored; write a row for each outcome.")
    reader.refuse(below & (cens != 0), "CENS and BLQ are both set; keep one of the two columns.")
    y, limit = response[""], reader.optional("LIMIT")
    limit = np.full(len(y), np.nan) if limit is None else limit
    lloq = reader.optional("LLOQ")
    lloq = limit if lloq is None else np.where(np.isnan(lloq), limit, lloq)
    below, cens = below & seen, np.where(seen, cens, 0.0)
    other = below & ~np.isnan(lloq) & ~np.isnan(y) & (y != 0) & (y != lloq)
    reader.refuse(other, "it is below the limit (BLQ), but DV is neither empty, nor 0, nor the limit; correct it.")
    y[:] = np.where(below & ~np.isnan(lloq), lloq, y)
    unknown = (below | (cens != 0)) & np.isnan(y)
    reader.refuse(unknown, "it is censored, but at an unknown limit; write the limit in DV, or in LLOQ for BLQ.")
    wrong = ((cens == 1) & (limit >= y)) | ((cens == -1) & (limit <= y))
    reader.refuse(wrong, "LIMIT is on the wrong side of DV: with CENS 1 it lies below DV, with CENS -1 above.")
    sign = np.where(below, 1.0, cens)
    reader.note(sign > 0, "Responses below a limit (DV) are read as censored")
    reader.note(sign < 0, "Responses above a limit (DV) are read as censored")
    return sign, np.select([sign == 0, ~np.isnan(limit) & ~below, sign > 0], [0.0, limit, -np.inf], np.inf)
