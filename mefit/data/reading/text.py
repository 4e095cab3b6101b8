"""Text files: codings, separators, headers, cells."""

import csv
import gzip
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .decimals import with_points
from .ids import ids_as_written
from .ignored import Line, Row, is_comment, without_remarks
from .reader import Reader, listed

_SEPARATOR_TOLD = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n?|\n")
_FORMULA = re.compile(r'="(.*)"')


def read_text(
    path: str | os.PathLike, id: str, ignore: str | None = None, decimal: str | None = None
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """The cells of a file as text, the line of each row, and notes of what was left out or guessed.

    `Population.read_csv` says what is accepted and what is refused.
    """
    if decimal not in (None, ",", "."):
        raise ValueError(f"decimal={decimal!r} is neither ',' nor '.'; give the mark of decimals.")
    text, notes = _decoded(Path(path))
    lines, separator = _lines(text)
    content = [line for line in lines if not is_comment(line)]
    if not content:
        raise ValueError(f"{Path(path).name} has no line of data; it needs a header and a row for each event.")
    header = _header(lines, content[0], id)
    if separator is None:
        separator = next((mark for mark in "\t;," if mark in header.text), None)
    names = _cells(header, separator)
    rows = [Row(line.number, _cells(line, separator)) for line in content if line.number > header.number]
    rows = [row for row in rows if row.cells != names]
    data_lines = {header.number, *(row.line for row in rows)}
    comments = [line.number for line in lines if line.number not in data_lines]
    if comments:
        notes.append(f"Comments, and repeats of the header, were left out (line {listed(comments)}).")
    rows, remarks = without_remarks(rows, names, id, ignore)
    rows, shortened = _without_empty_ends(rows, names)
    _refuse_uneven(rows, names, separator)
    id_place = Reader(pd.DataFrame(columns=names)).find(id)
    rows, commas = with_points(rows, id_place, separator, decimal)
    _refuse_nameless(rows, names)
    df = pd.DataFrame([row.cells for row in rows], columns=names, dtype=object)
    notes += remarks + shortened + commas
    if id_place is not None:
        ids, spelled = ids_as_written(df.iloc[:, id_place].tolist())
        df.isetitem(id_place, pd.Series(ids, dtype=object))
        notes += spelled
    return df, np.array([row.line for row in rows]), notes


def _decoded(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and a note where its coding is a guess."""
    raw = path.read_bytes()
    if raw.startswith(b"\x1f\x8b"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise ValueError(f"{path.name} is compressed, but damaged or cut short; fetch it again.") from error
    if raw.startswith(b"PK"):
        raise ValueError(f"{path.name} is a workbook or an archive, not text; save it as a CSV file first.")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16"), []
    if b"\0" in raw:
        raise ValueError(f"{path.name} is not text, or text in a coding that it does not tell; save it as UTF-8.")
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        guess = (
            "The file is not UTF-8, and its coding was guessed: it was read as Latin-1. "
            "Letters beyond a to z may be wrong; if they are, save it as UTF-8."
        )
        return raw.decode("latin-1"), [guess]


def _lines(text: str) -> tuple[list[Line], str | None]:
    """The lines that hold more than separators, and the separator where a first line sep=; says
    it.
    """
    # not splitlines, which also breaks at marks such as the \x85 that a guessed coding makes of an ellipsis
    numbered = [Line(number, line) for number, line in enumerate(_LINE_END.split(text), 1)]
    told = _SEPARATOR_TOLD.match(numbered[0].text)
    if told:
        numbered = numbered[1:]
    return [line for line in numbered if line.text.strip(' \t,;"')], told[1] if told else None


def _header(lines: Sequence[Line], first: Line, id: str) -> Line:
    """The first line of content, or the last comment before it that begins with the id: #ID, TIME,
    ... or with a column C, and then the id.
    """
    names_id = re.compile(rf"[#@\s\"]*(C\s*[,;\t]\s*)?{re.escape(id)}\s*(\W|$)", re.IGNORECASE)
    header = first
    for line in lines:
        if line.number < first.number and is_comment(line) and names_id.match(line.text):
            header = Line(line.number, line.text.lstrip("#@ \t"))
    return header


def _cells(line: Line, separator: str | None) -> list[str]:
    """The cells of a line, stripped; spaces separate where nothing else does."""
    if separator is None:
        return line.text.split()
    dialect: Any = {"delimiter": separator, "skipinitialspace": True, "strict": True}
    try:
        cells = next(csv.reader([line.text], **dialect))
    except csv.Error as error:
        raise ValueError(f"Line {line.number} has a quotation mark that is not closed; correct it.") from error
    # a spreadsheet keeps "007" from becoming a number by ="007"
    return [_FORMULA.sub(r"\1", cell.strip()) for cell in cells]


def _without_empty_ends(rows: Sequence[Row], names: Sequence[str]) -> tuple[list[Row], list[str]]:
    """The same rows without the empty cells that a spreadsheet puts at the end of every one."""
    width = len(names)
    has_ends = bool(rows) and all(len(row.cells) > width and not any(row.cells[width:]) for row in rows)
    if not has_ends or len({len(row.cells) for row in rows}) > 1 or len(rows) < 2:
        return list(rows), []
    return [Row(line, cells[:width]) for line, cells in rows], ["Empty cells at the end of every line were left out."]


def _refuse_uneven(rows: Sequence[Row], names: Sequence[str], separator: str | None) -> None:
    uneven = [row for row in rows if len(row.cells) != len(names)]
    if uneven:
        line, cells = uneven[0]
        raise ValueError(
            f"Line {line} (beginning with {cells[0]!r}) has {len(cells)} cells and the header has "
            f"{len(names)}: a separator ({separator or ' '!r}) is missing or too many, "
            "or a comma is decimal; correct the line."
        )


def _refuse_nameless(rows: Sequence[Row], names: Sequence[str]) -> None:
    for place in reversed(range(len(names))):
        if not names[place] and any(row.cells[place] for row in rows):
            raise ValueError(f"Column {place + 1} has no name in the header; name it or drop it.")
