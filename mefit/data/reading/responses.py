"""Several outcomes and censored responses, as Monolix and nlmixr2 write CENS, LIMIT and DVID."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .doses import Columns
from .reader import Reader, number, plain


def read_outcomes(
    reader: Reader, y: Any, outcome: str, compartment: str, response: np.ndarray, kind: np.ndarray, used: Any
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
    value = None if cell is None else number(cell)
    return cell.strip() if value is None and isinstance(cell, str) else None if value is None else plain(value)


def read_censoring(reader: Reader, response: Columns, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
