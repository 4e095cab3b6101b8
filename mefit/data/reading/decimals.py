"""Decimal commas of a text file, told from commas that set thousands apart."""

import re
from collections.abc import Iterator, Sequence

from .ignored import Row

_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
# such a one may be a thousand as well: 1,000
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def with_points(
    rows: Sequence[Row], id_place: int | None, separator: str | None, decimal: str | None
) -> tuple[list[Row], list[str]]:
    """The same rows with points for decimal commas, but in the column of ids; and a note of that.

    Commas are decimal where `decimal` says so, or where they do not separate the cells and one of
    them at least cannot set thousands apart: nobody writes both 0,5 and 1,000 for a thousand.

    Raises:
        ValueError: some numbers have a point, or every comma may set thousands apart.
    """
    if decimal == "." or (decimal is None and separator == ","):
        return list(rows), []
    commas = [(line, cell) for line, cell in _cells(rows, id_place) if _COMMA.fullmatch(cell)]
    if not commas:
        return list(rows), []
    for line, cell in _cells(rows, id_place):
        if _POINT.fullmatch(cell):
            raise ValueError(f"Line {line}: {cell!r} has a decimal point, other lines a decimal comma; use one.")
    if decimal is None and all(_THOUSANDS.fullmatch(cell) for _, cell in commas):
        line, cell = commas[0]
        raise ValueError(
            f"Line {line}: the comma in {cell!r} may be decimal or set thousands apart; "
            "write thousands without it, or say that it is decimal by decimal=','."
        )

    def with_point(place: int, cell: str) -> str:
        is_decimal = place != id_place and _COMMA.fullmatch(cell)
        return cell.replace(",", ".") if is_decimal else cell

    changed = [Row(line, [with_point(place, cell) for place, cell in enumerate(cells)]) for line, cells in rows]
    return changed, ["Commas were read as decimal."]


def _cells(rows: Sequence[Row], id_place: int | None) -> Iterator[tuple[int, str]]:
    """Every cell with its line, but for ids."""
    for line, cells in rows:
        for place, cell in enumerate(cells):
            if place != id_place:
                yield line, cell
