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
from typing import Any

import numpy as np
import pandas as pd

from . import frames
from .subject import DOSE, STEADY, turns

Columns = dict[str, np.ndarray]
_COMMA, _POINT = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?"), re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_CLOCK, _STAMP = re.compile(r"\d{1,3}:[0-5]\d(:[0-5]\d(\.\d+)?)?"), re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d\S*)?")


# ---------------------------------------------------------------- text


def read_text(path: str | os.PathLike, id: str) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """The cells of a file as text, the line of each row, and notes of what was left out."""
    lines = [(i, line) for i, line in enumerate(_decoded(Path(path)).splitlines(), 1) if line.strip(' \t,;"')]
    plain = [(i, s) for i, s in lines if not s.lstrip().startswith("#") and not s.startswith("TABLE NO")]
    if not plain:
        raise ValueError(f"{Path(path).name} has no line of data; it needs a header and a row for each event.")
    names_id = re.compile(rf"[#\s\"]*{re.escape(id)}\s*(\W|$)", re.IGNORECASE)
    hidden = [(i, s.lstrip("# \t")) for i, s in lines if i < plain[0][0] and s.startswith("#") and names_id.match(s)]
    start, header = hidden[-1] if hidden else plain[0]  # a header may be written as a comment: #ID, TIME, ...
    mark = next((d for d in "\t;," if d in header), None)
    dialect: Any = {"delimiter": mark, "skipinitialspace": True, "strict": True}

    def split(i: int, line: str) -> list[str]:
        try:
            return [c.strip() for c in (next(csv.reader([line], **dialect)) if mark else line.split())]
        except csv.Error as error:
            raise ValueError(f"Line {i} has a quotation mark that is not closed; correct it.") from error

    names = split(start, header)
    rows = [(i, cells) for i, s in plain if i > start and (cells := split(i, s)) != names]
    others = [row for row in rows if not re.fullmatch(r"C(\s.*)?", row[1][0])]
    if all(cells[0] == "." or frames.number(cells[0]) is not None for _, cells in others):
        rows = others  # where ids are words, C is one of them and begins no remark
    left_out = len(lines) - 1 - len(rows)
    notes = [f"{left_out} lines are comments or repeat the header."] if left_out else []
    for i, cells in (row for row in rows if len(row[1]) != len(names)):
        what = f"Line {i} (beginning with {cells[0]!r}) has {len(cells)} cells and the header has {len(names)}"
        why = f"a separator ({mark or ' '!r}) is missing or too many, or a comma is decimal"
        raise ValueError(f"{what}: {why}; correct the line.")
    if mark != "," and any(_COMMA.fullmatch(c) for _, cells in rows for c in cells):
        for i, c in ((i, c) for i, cells in rows for c in cells if _POINT.fullmatch(c)):
            raise ValueError(f"Line {i}: {c!r} has a decimal point, other lines a decimal comma; use one.")
        rows = [(i, [c.replace(",", ".") if _COMMA.fullmatch(c) else c for c in cells]) for i, cells in rows]
        notes.append("Commas were read as decimal.")
    if nameless := [k for k, name in enumerate(names) if not name and any(cells[k] for _, cells in rows)]:
        raise ValueError(f"Column {nameless[-1] + 1} has no name in the header; name it or drop it.")
    df = pd.DataFrame([cells for _, cells in rows], columns=names, dtype=object)
    place = frames.Reader(df).find(id)
    if place is not None:  # ids that are numbers become numbers; 007 stays text
        values = {c: frames.number(c) for c in df.iloc[:, place]}
        words = [c for c, v in values.items() if v is None and c.lower() not in frames.MISSING]
        if not words and not any(re.match(r"0\d", c) for c in values):
            df.isetitem(place, df.iloc[:, place].map(values).astype(float))
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


def times(reader: "frames.Reader", name: str) -> np.ndarray:
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
    reader: "frames.Reader", response: Columns, amount: str | None, duration: str | None, compartment: str
) -> tuple[np.ndarray, Columns]:
    """What each row is (0 an observation, 1 a dose, 2 neither), and the fields of a dose for every row."""
    # only the default name may be absent: such a frame has no doses
    name = None if amount == "AMT" and reader.find("AMT") is None else amount
    cells = np.full(len(reader.df), np.nan) if name is None else reader.numbers(name)
    given = np.nan_to_num(cells)
    reader.refuse(given < 0, f"the dose in column {amount!r} is negative; correct it.")
    if reader.find("EVID") is not None:
        event = reader.numbers("EVID")
    else:
        answered = np.any([~np.isnan(x) & (x != 0) for x in response.values()], axis=0)
        both = (given > 0) & answered & (reader.code("MDV", (0, 1), "neither 0 (observed) nor 1 (missing)") == 0)
        reader.refuse(both, "it has an amount and a response; write the dose and the observation as two rows.")
        event = (given > 0).astype(float)
    reader.refuse(np.isnan(event), "EVID is missing; use 0 for an observation and 1 for a dose.")
    resets = "a reset, which is not read: give the subject another id from here on, with times from 0"
    reader.refuse(np.isin(event, (3, 4)), f"EVID 3 or 4 means {resets}.")
    reader.refuse(~np.isin(event, (0, 1, 2)), "EVID is neither 0 (observation) nor 1 (dose) nor 2 (other); correct it.")
    dose = event == 1
    reader.refuse(dose & (name is None), "EVID says dose, but there is no column of amounts; name it by amount=.")
    reader.refuse(~dose & (given > 0), "EVID says observation, but there is an amount; use EVID 1 or empty it.")
    reader.refuse(dose & np.isnan(cells), "it is a dose but its amount is missing; fill it in or drop the row.")
    reader.note(dose & (given == 0), "Doses of zero amount were left out")
    more = np.where(dose, reader.optional("ADDL"), 0.0)
    bad = (more < 0) | (more != np.round(more)) | (more > 10_000)
    reader.refuse(bad, "ADDL is not a whole number of additional doses; correct it.")
    steady = dose & (reader.code("SS", (0, 1), "neither 0 nor 1 (steady state), and other codes are not read") == 1)
    interval = reader.optional("II")
    needs = (steady | (more > 0)) & (interval <= 0)
    reader.refuse(needs, "ADDL or SS needs the interval between doses; give it in a column II, above 0.")
    place = np.where(dose, reader.optional(compartment), 0.0)
    place[place == 0] = 1.0
    reader.refuse((place < 1) | (place != np.round(place)), "the compartment is not 1, 2, 3, ...; correct it.")
    length = _durations(reader, duration, given, dose)
    fields = {"amount": given, "duration": length, "compartment": place.astype(int), "more": more.astype(int)}
    return event, fields | {"interval": np.where(steady, interval, 0.0), "steady_state": steady, "every": interval}


def _durations(reader: "frames.Reader", name: str | None, amount: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """Length of every infusion: from a column of durations, or amount / RATE; 0 where given at once."""
    by_rate_only = name is not None and name.lower() == "rate"
    if name is not None:  # a column that was named must be there
        reader.place("RATE" if by_rate_only else name)
    duration = np.where(dose, 0.0 if by_rate_only else reader.optional(name or "DUR"), 0.0)
    rate = np.where(dose, reader.optional("RATE") if by_rate_only or name is None else 0.0, 0.0)
    reader.refuse(duration < 0, "the duration of the dose is negative; correct it, or use 0 for one given at once.")
    coded = "RATE is negative, a code for a rate or duration to be estimated, which is not read; give it in DUR."
    reader.refuse(rate < 0, coded)
    by_rate = np.divide(amount, rate, out=np.zeros(len(dose)), where=rate > 0)
    clash = (rate > 0) & (duration > 0) & (np.abs(by_rate - duration) > 1e-6 * duration)
    reader.refuse(clash, "the duration is not amount / RATE; correct one of them or drop its column.")
    return np.where(duration > 0, duration, by_rate)


def given(reader: "frames.Reader", time: np.ndarray, dose: np.ndarray, fields: Columns) -> Columns:
    """The doses one by one, ADDL written out, sorted by subject and time: their fields, and whose they are."""
    dose = dose & (fields["amount"] > 0)
    more = fields["more"] * dose
    reader.note(more > 0, f"{more.sum()} doses were added from ADDL and II")
    table = pd.DataFrame({"subject": reader.subject, "time": time, **fields})
    table = table.loc[table.index.repeat(np.where(dose, 1 + more, 0))]
    turn = turns(table.index.to_numpy())
    table = table.assign(
        time=table["time"] + turn * table["every"],
        interval=table["interval"].where(turn == 0, 0.0),
        steady_state=table["steady_state"] & (turn == 0),
    ).sort_values(["subject", "time"], kind="stable")
    twice = table.index[table.duplicated(["subject", "time", "amount", "duration", "compartment"])]
    bad = np.isin(np.arange(len(dose)), twice)
    reader.refuse(bad, "this dose is also one of the additional doses (ADDL) of another; lower ADDL or drop it.")
    return {k: table[k].to_numpy() for k in ("subject", *DOSE, *STEADY)}


def check_same_times(reader: "frames.Reader", time: np.ndarray, kind: np.ndarray, fields: Columns) -> None:
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


# ---------------------------------------------------------------- outcomes and censoring


def outcomes(
    reader: "frames.Reader", y: Any, outcome: str, compartment: str, response: np.ndarray, kind: np.ndarray, used: Any
) -> tuple[np.ndarray, list[str]]:
    """The number of each row's outcome, -1 for none, and the names of all; the name "" where there is one."""
    seen = ~np.isnan(response)
    named = {v: k for k, v in y.items()} if isinstance(y, Mapping) else {}
    if named or (outcome not in used and reader.find(outcome) is not None):
        cells = [_label(c) for c in reader.cells(outcome)]
        told = np.array([c is not None and (c != 0 or 0 in named) for c in cells])
        found = sorted({cells[i] for i in np.flatnonzero(seen & told)}, key=lambda c: (isinstance(c, str), c))
        if len(found) > 1 or named:
            reader.refuse(seen & ~told, f"{outcome} is missing, and does not say which outcome this is; fill it in.")
            strange = seen & np.array([bool(named) and c not in named for c in cells])
            reader.refuse(strange, f"{outcome} is none of {', '.join(str(v) for v in named)}; name it in y=.")
            found = list(named) or found
            number = np.array([found.index(c) if c in found else -1 for c in cells])
            return np.where(kind == 0, number, kind), [str(named.get(c, c)) for c in found]
    if compartment not in used:
        place = reader.optional(compartment)
        other = seen & (place != 0)
        other &= place != place[np.argmax(other)]
        remedy = f"name its kinds with outcome={compartment!r}, or drop it"
        reader.refuse(other, f"{compartment} marks a second kind of response; {remedy}.")
    return kind, [""]


def _label(cell: Any) -> Any:
    value = None if cell is None else frames.number(cell)
    return cell.strip() if value is None and isinstance(cell, str) else None if value is None else frames.plain(value)


def censoring(reader: "frames.Reader", response: Columns, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row 1 where the response lies below DV, -1 where above, 0 where it is DV; and the interval's other end.

    Where BLQ is 1 the limit of quantification, from LLOQ, LIMIT or DV, becomes the response.
    """
    cens = reader.code("CENS", (-1, 0, 1), "neither 1 (below DV) nor -1 (above DV) nor 0; correct it")
    below = reader.code("BLQ", (0, 1), "neither 0 nor 1 (below the limit of quantification); correct it") == 1
    if not (seen & ((cens != 0) | below)).any():
        return np.zeros(len(seen)), np.zeros(len(seen))
    if list(response) != [""]:
        raise ValueError("CENS and BLQ do not say which of several columns is censored; write a row for each outcome.")
    reader.refuse(below & (cens != 0), "CENS and BLQ are both set; keep one of the two columns.")
    y, limit, lloq = response[""], reader.optional("LIMIT", np.nan), reader.optional("LLOQ", np.nan)
    lloq = np.where(np.isnan(lloq), limit, lloq)
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
