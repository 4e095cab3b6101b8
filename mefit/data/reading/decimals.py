"""Decimal commas of a text file, told from commas that set thousands apart."""

import re
from collections.abc import Iterator, Sequence

from .ignored import Row

_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
# such a one may be a thousand as well: 1,000 or 1.000
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[,.]\d{3}")


def with_points(
    rows: Sequence[Row], id_place: int | None, separator: str | None, decimal: str | None
) -> tuple[list[Row], list[str]]:
    """The same rows with points for decimal commas, but in the column of ids; and a note of that.

    Commas are decimal where `decimal` says so, or where they do not separate the cells and one of
    them at least cannot set thousands apart: nobody writes both 0,5 and 1,000 for a thousand.

    Raises:
        ValueError: some numbers have a comma and some a point, or every comma may set thousands
            apart, or every point where semicolons separate the cells.
    """
    if decimal == "." or (decimal is None and separator == ","):
        return list(rows), []
    commas = [(line, cell) for line, cell in _cells(rows, id_place) if _COMMA.fullmatch(cell)]
    points = [(line, cell) for line, cell in _cells(rows, id_place) if _POINT.fullmatch(cell)]
    if commas and points:
        line, cell = points[0]
        raise ValueError(f"Line {line}: {cell!r} has a decimal point, other lines a decimal comma; use one.")
    if decimal is None:
        _refuse_thousands(commas, "comma", ",")
        if separator == ";":  # which is what separates where the comma is decimal
            _refuse_thousands(points, "point", ".")
    if not commas:
        return list(rows), []

    def with_point(place: int, cell: str) -> str:
        is_decimal = place != id_place and _COMMA.fullmatch(cell)
        return cell.replace(",", ".") if is_decimal else cell

    changed = [Row(line, [with_point(place, cell) for place, cell in enumerate(cells)]) for line, cells in rows]
    return changed, ["Commas were read as decimal."]


def _refuse_thousands(numbers: Sequence[tuple[int, str]], name: str, mark: str) -> None:
    """Refuse numbers with a mark that may set thousands apart in every one of them."""
    if numbers and all(_THOUSANDS.fullmatch(cell) for _, cell in numbers):
        line, cell = numbers[0]
        raise ValueError(
            f"Line {line}: the {name} in {cell!r} may be decimal or set thousands apart; "
            f"write thousands without it, or say that it is decimal by decimal={mark!r}."
        )


def _cells(rows: Sequence[Row], id_place: int | None) -> Iterator[tuple[int, str]]:
    """Every cell with its line, but for ids."""
    for line, cells in rows:
        for place, cell in enumerate(cells):
            if place != id_place:
                yield line, cell
