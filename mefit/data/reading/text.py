"""Text files: separators, comments, decimal commas, codings."""

import csv
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .reader import MISSING, Reader, number

_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_REMARK = re.compile(r"C(\s.*)?")


class _Line(NamedTuple):
    """A line of a file and its number, from 1."""

    number: int
    text: str


class _Row(NamedTuple):
    """The cells of a line."""

    line: int
    cells: list[str]


def read_text(path: str | os.PathLike, id: str) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """The cells of a file as text, the line of each row, and notes of what was left out or guessed.

    `Population.read_csv` says what is accepted and what is refused.
    """
    text, notes = _decoded(Path(path))
    lines = _lines(text)
    content = [line for line in lines if not _is_comment(line)]
    if not content:
        raise ValueError(f"{Path(path).name} has no line of data; it needs a header and a row for each event.")
    header = _header(lines, content[0], id)
    separator = next((mark for mark in "\t;," if mark in header.text), None)
    names = _cells(header, separator)
    rows = _rows([line for line in content if line.number > header.number], names, separator)
    left_out = len(lines) - 1 - len(rows)
    if left_out:
        notes.append(f"{left_out} lines are comments or repeat the header.")
    _refuse_uneven(rows, names, separator)
    if separator != "," and any(_COMMA.fullmatch(cell) for row in rows for cell in row.cells):
        rows = _with_points(rows)
        notes.append("Commas were read as decimal.")
    _refuse_nameless(rows, names)
    df = pd.DataFrame([row.cells for row in rows], columns=names, dtype=object)
    _make_ids_numbers(df, id)
    return df, np.array([row.line for row in rows]), notes


def _decoded(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and a note where its coding is a guess."""
    raw = path.read_bytes()
    if raw.startswith(b"PK"):
        raise ValueError(f"{path.name} is a workbook or an archive, not text; save it as a CSV file first.")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16"), []
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        guess = (
            "The file is not UTF-8, and its coding was guessed: it was read as Latin-1. "
            "Letters beyond a to z may be wrong; if they are, save it as UTF-8."
        )
        return raw.decode("latin-1"), [guess]


def _lines(text: str) -> list[_Line]:
    """The lines that hold more than separators."""
    numbered = [_Line(number, line) for number, line in enumerate(text.splitlines(), 1)]
    return [line for line in numbered if line.text.strip(' \t,;"')]


def _is_comment(line: _Line) -> bool:
    return line.text.lstrip().startswith("#") or line.text.startswith("TABLE NO")


def _header(lines: list[_Line], first: _Line, id: str) -> _Line:
    """The first line of content, or the last comment before it that begins with the id: #ID, TIME,
    ...
    """
    names_id = re.compile(rf"[#\s\"]*{re.escape(id)}\s*(\W|$)", re.IGNORECASE)
    header = first
    for line in lines:
        if line.number < first.number and line.text.startswith("#") and names_id.match(line.text):
            header = _Line(line.number, line.text.lstrip("# \t"))
    return header


def _cells(line: _Line, separator: str | None) -> list[str]:
    """The cells of a line, stripped; spaces separate where nothing else does."""
    if separator is None:
        return line.text.split()
    dialect: Any = {"delimiter": separator, "skipinitialspace": True, "strict": True}
    try:
        cells = next(csv.reader([line.text], **dialect))
    except csv.Error as error:
        raise ValueError(f"Line {line.number} has a quotation mark that is not closed; correct it.") from error
    return [cell.strip() for cell in cells]


def _rows(lines: list[_Line], names: list[str], separator: str | None) -> list[_Row]:
    """The rows of data; lines that repeat the header, and remarks that begin with C, are left
    out.
    """
    rows = [_Row(line.number, _cells(line, separator)) for line in lines]
    rows = [row for row in rows if row.cells != names]
    others = [row for row in rows if not _REMARK.fullmatch(row.cells[0])]
    if len(others) < len(rows):
        # where ids are words, C is one of them and begins no remark
        first_cells = {row.cells[0] for row in others}
        if all(cell == "." or number(cell) is not None for cell in first_cells):
            return others
    return rows


def _refuse_uneven(rows: list[_Row], names: list[str], separator: str | None) -> None:
    uneven = [row for row in rows if len(row.cells) != len(names)]
    if uneven:
        line, cells = uneven[0]
        raise ValueError(
            f"Line {line} (beginning with {cells[0]!r}) has {len(cells)} cells and the header has "
            f"{len(names)}: a separator ({separator or ' '!r}) is missing or too many, "
            "or a comma is decimal; correct the line."
        )


def _with_points(rows: list[_Row]) -> list[_Row]:
    """The same rows, with points for decimal commas; ValueError where there are points already."""
    for line, cells in rows:
        for cell in cells:
            if _POINT.fullmatch(cell):
                raise ValueError(f"Line {line}: {cell!r} has a decimal point, other lines a decimal comma; use one.")

    def with_point(cell: str) -> str:
        return cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell

    return [_Row(line, [with_point(cell) for cell in cells]) for line, cells in rows]


def _refuse_nameless(rows: list[_Row], names: list[str]) -> None:
    for place in reversed(range(len(names))):
        if not names[place] and any(row.cells[place] for row in rows):
            raise ValueError(f"Column {place + 1} has no name in the header; name it or drop it.")


def _make_ids_numbers(df: pd.DataFrame, id: str) -> None:
    """Ids that are numbers become numbers; 007 stays text, and so do all where one is a word."""
    place = Reader(df).find(id)
    if place is None:
        return
    column = df.iloc[:, place]
    values = {cell: number(cell) for cell in column.unique()}
    for cell, value in values.items():
        is_word = value is None and cell.lower() not in MISSING
        if is_word or re.match(r"0\d", cell):
            return
    df.isetitem(place, column.map(values).astype(float))
