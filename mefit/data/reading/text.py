"""Text files: separators, comments, decimal commas."""

import csv
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .reader import MISSING, Reader, number

_COMMA, _POINT = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?"), re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")


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
    if all(cells[0] == "." or number(cells[0]) is not None for _, cells in others):
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
    place = Reader(df).find(id)
    if place is not None:  # ids that are numbers become numbers; 007 stays text
        values = {c: number(c) for c in df.iloc[:, place]}
        words = [c for c, v in values.items() if v is None and c.lower() not in MISSING]
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
