"""Ids: as they were written, with spellings that may be one person told."""

import re
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd

from .reader import MISSING, Reader, listed, number, plain

_EXACT = 2**53  # from here on, floating-point numbers leave whole ones out
_MOST_DIGITS = 30
# a spreadsheet shows six digits of a long number, and may have written only those
_ROUNDED = re.compile(r"[+-]?\d\.\d{5}[eE][+-]?\d+")


def ids_as_written(cells: Sequence[str]) -> tuple[list[Any], list[str]]:
    """The ids of a text file, and notes of those that are spelled otherwise than written.

    They become numbers only if no two of them become the same: whole ones an `int` of every digit,
    others a `float` that is printed as it was written. Where one cannot, as A7, 007 or 1.10, all
    stay text.

    Raises:
        ValueError: an id such as 1.23457E+16, which may stand for several.
    """
    distinct = [cell for cell in dict.fromkeys(cells) if cell.lower() not in MISSING]
    for cell in distinct:
        if _ROUNDED.fullmatch(cell):
            raise ValueError(
                f"Id {cell!r} looks rounded by a spreadsheet, and may stand for several subjects; "
                "save the column of ids as text."
            )
    numbers = {cell: _as_number(cell) for cell in distinct}
    if None in numbers.values() or len(set(numbers.values())) < len(numbers):
        return list(cells), []
    spelled = [f"{cell} as {value}" for cell, value in numbers.items() if str(value) != cell]
    notes = [f"Ids were read as numbers: {listed(spelled)}."] if spelled else []
    return [numbers.get(cell, cell) for cell in cells], notes


def _as_number(cell: str) -> int | float | None:
    """The number that a text is, where nothing of it gets lost."""
    # 1E2 is more likely a code; what programs write as 100000 has a sign, 1e+05
    if re.match(r"[+-]?0\d", cell) or re.search(r"[eE]\d", cell):
        return None
    value = _decimal(cell)
    if value is None or abs(value.adjusted()) > _MOST_DIGITS:
        return None
    if value == value.to_integral_value():
        return int(value)
    return float(cell) if repr(float(cell)) == cell else None


def _decimal(text: str) -> Decimal | None:
    """A text as a number of all its digits, or None where it is none."""
    if "_" in text:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def read_ids(reader: Reader, name: str) -> tuple[Any, ...]:
    """The ids in order of appearance; the reader takes down whose every row is."""
    labels = pd.Series([plain(cell) for cell in reader.cells(name)], dtype=object)
    reader.refuse(labels.isna().to_numpy(), f"the id in column {name!r} is missing; fill it in or drop the row.")
    if reader.df.iloc[:, reader.place(name)].dtype.kind == "f":
        reader.refuse(
            np.array([abs(label) >= _EXACT for label in labels]),
            f"the id in column {name!r} has more digits than a floating-point number keeps, and others may have "
            "become the same; read the column as text, by dtype=str.",
        )
    reader.subject, distinct = pd.factorize(labels.to_numpy())
    reader.labels = labels.tolist()
    ids = tuple(distinct)
    _refuse_apart(reader, name, ids)
    _tell_spellings(reader, name, ids)
    return ids


def _refuse_apart(reader: Reader, name: str, ids: Sequence[Any]) -> None:
    """Refuse an id that comes back; where a word came between numbers, that is said."""
    apart = np.diff(reader.subject, prepend=0) < 0
    words = [id for id in ids if number(id) is None]
    between = reader.labels[int(np.argmax(apart)) - 1]
    if between in words and 2 * len(words) <= len(ids):
        reader.refuse(
            apart,
            f"this id came before, and the row between has the id {between!r}, where other ids are numbers; "
            "leave that row out if it is a remark, or sort the frame.",
        )
    reader.refuse(
        apart,
        f"this id came before, with other subjects between; sort the frame by {name!r} and time.",
    )
    if words and 2 * len(words) <= len(ids):
        reader.notes.append(f"Ids are numbers and words: {listed(words)} were read as subjects like the others.")


def _tell_spellings(reader: Reader, name: str, ids: Sequence[Any]) -> None:
    """Refuse ids that differ by a space, a plus or .0 only, and note others that may be one person's."""
    for alike in _groups(ids, lambda text: re.sub(r"^\+|[.,]0*$", "", text)):
        raise ValueError(
            f"Ids {' and '.join(map(repr, alike))} in column {name!r} may be one subject; "
            "spell them alike, or so that they differ by more."
        )
    for alike in _groups(ids, _loosely):
        reader.notes.append(
            f"Ids {' and '.join(map(str, alike))} were read as {len(alike)} subjects; "
            "if they are one, spell them alike."
        )


def _groups(ids: Sequence[Any], spelled: Any) -> list[list[Any]]:
    """Ids that are spelled alike once `spelled` has made them plainer."""
    groups = defaultdict(list)
    for id in ids:
        groups[spelled(str(id).strip())].append(id)
    return [alike for alike in groups.values() if len(alike) > 1]


def _loosely(text: str) -> str:
    """A number whatever its form, a word without spaces, capitals and leading zeros."""
    value = _decimal(text)
    if value is not None:
        return str(value.normalize())
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"\s", "", text.casefold()))
