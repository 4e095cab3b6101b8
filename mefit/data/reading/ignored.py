"""Lines of a text file that are no data: comments, and remarks as NONMEM's IGNORE leaves them out."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from .reader import MISSING, listed, number

_REMARK = re.compile(r"C(\s.*)?")
_SPREADSHEET_ERRORS = ("#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!")


class Line(NamedTuple):
    """A line of a file and its number, from 1."""

    number: int
    text: str


class Row(NamedTuple):
    """The cells of a line."""

    line: int
    cells: list[str]


def is_comment(line: Line) -> bool:
    """Whether a line begins with # or @, or is the title of a table of NONMEM's."""
    text = line.text.lstrip(' \t"')
    for error in _SPREADSHEET_ERRORS:
        if text.upper().startswith(error):
            raise ValueError(f"Line {line.number} begins with {error}, an error of a spreadsheet; correct it.")
    return text.startswith(("#", "@", "TABLE NO"))


def without_remarks(
    rows: Sequence[Row], names: Sequence[str], id: str, ignore: str | None
) -> tuple[list[Row], list[str]]:
    """The rows that are data, and notes of those that are not.

    `ignore` is NONMEM's: "@" leaves out rows that begin with a letter, "#" none, and any other text
    those that begin with it. Where it is None, rows that begin with C are left out of a file of
    numbers.

    Raises:
        ValueError: ids are numbers, and a row begins with a letter, which might be either.
    """
    if ignore is None:
        is_remark = _remarks_by_c(rows)
        said = "C in a file of numbers"
    elif ignore == "@":
        is_remark = [_is_word(row.cells[0]) for row in rows]
        said = "a letter (ignore='@')"
    elif ignore == "#":
        is_remark = [False] * len(rows)
        said = ""
    elif isinstance(ignore, str) and ignore:
        is_remark = [row.cells[0].startswith(ignore) for row in rows]
        said = f"{ignore} (ignore={ignore!r})"
    else:
        raise ValueError(f"ignore={ignore!r} is no text; give '@', '#', or what lines begin with that are no data.")
    kept = [row for row, remark in zip(rows, is_remark, strict=True) if not remark]
    left = [row.line for row, remark in zip(rows, is_remark, strict=True) if remark]
    notes = [f"Lines that begin with {said} were left out (line {listed(left)})."] if left else []
    if ignore is None and names[0].strip().lower() == id.strip().lower():
        _refuse_letters(kept)
    return kept, notes


def _remarks_by_c(rows: Sequence[Row]) -> list[bool]:
    """Which rows begin with C, if no other row begins with a word."""
    is_remark = [_REMARK.fullmatch(row.cells[0]) is not None for row in rows]
    others = {row.cells[0] for row, remark in zip(rows, is_remark, strict=True) if not remark}
    are_numbers = all(number(cell) is not None or cell.lower() in MISSING for cell in others)
    return is_remark if others and are_numbers else [False] * len(rows)


def _is_word(cell: str) -> bool:
    return cell[:1].isalpha() and number(cell) is None and cell.lower() not in MISSING


def _refuse_letters(rows: Sequence[Row]) -> None:
    """Refuse a few rows that begin with a letter, where the id of the others is a number."""
    words = [row for row in rows if _is_word(row.cells[0])]
    numbers = [row for row in rows if number(row.cells[0]) is not None]
    if words and len(words) < len(numbers):
        line, cells = words[0]
        raise ValueError(
            f"Line {line} begins with {cells[0]!r}, where other ids are numbers; leave such lines out by ignore='@', "
            "as NONMEM does, or read them as data by ignore='#'."
        )


def refuse_ids_like_remarks(ids: Sequence[object]) -> None:
    """ValueError for ids that a file would hold, and a reader leave out or change."""
    words = [id for id in ids if isinstance(id, str)]
    for id in words:
        lone = _REMARK.fullmatch(id) and all(other == id or number(other) is not None for other in ids)
        if lone or id != id.strip() or id.startswith(("#", "@", "TABLE NO")):
            raise ValueError(f"Id {id!r} would not be read back from a file; give the subject another id.")
