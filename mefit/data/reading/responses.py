"""Several outcomes and censored responses, as Monolix and nlmixr2 write CENS, LIMIT and DVID."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..by_outcome import UNNAMED
from .doses import OBSERVATION, Columns
from .reader import Reader, plain

NO_OUTCOME = -1
_BLQ = ("BLQ", "BQL", "BLOQ")
_LLOQ = ("LLOQ", "LOQ")


def response_columns(y: str | Mapping[str, str | int | float]) -> dict[str, str]:
    """The column of each outcome's responses: one for all of them where `y` names no columns."""
    if isinstance(y, str):
        return {UNNAMED: y}
    columns = {name: column for name, column in y.items() if isinstance(column, str)}
    return columns or {UNNAMED: "DV"}


def read_outcomes(
    reader: Reader,
    y: str | Mapping[str, str | int | float],
    outcome: str,
    compartment: str,
    response: np.ndarray,
    event: np.ndarray,
    used: Collection[str],
) -> tuple[np.ndarray, list[str]]:
    """The number of each row's outcome, `NO_OUTCOME` where it has none, and the names of all.

    The outcomes are told apart by the column `outcome`, unless it is among the columns `used` as
    covariates. Without it there is one, `UNNAMED`, and then `compartment` must not tell of others.
    """
    observed = ~np.isnan(response)
    kind = np.where(event == OBSERVATION, 0, NO_OUTCOME)
    name_of = {code: name for name, code in y.items()} if isinstance(y, Mapping) else {}
    if name_of or (outcome not in used and reader.find(outcome) is not None):
        codes = _codes(reader, outcome)
        told = np.array([code is not None and (code != 0 or 0 in name_of) for code in codes])
        present = {codes[i] for i in np.flatnonzero(observed & told)}
        if len(present) > 1 or name_of or (present and (observed & ~told).any()):
            _refuse_untold(reader, outcome, observed, told, codes, name_of)
            order = list(name_of) or sorted(present, key=lambda code: (isinstance(code, str), code))
            number = np.array([order.index(code) if code in order else NO_OUTCOME for code in codes])
            return np.where(kind == 0, number, kind), [str(name_of.get(code, code)) for code in order]
    if compartment not in used:
        place = reader.optional(compartment)
        other = observed & (place != 0)
        other &= place != place[np.argmax(other)]
        reader.refuse(
            other,
            f"{compartment} marks a second kind of response; name its kinds with outcome={compartment!r}, or drop it.",
        )
    return kind, [UNNAMED]


def _codes(reader: Reader, outcome: str) -> list[Any]:
    """The cells of the column that tells the outcome: numbers, words, or None."""

    def code(cell: Any, value: float | None) -> Any:
        if cell is None:
            return None
        if value is not None:
            return plain(value)
        return cell.strip() if isinstance(cell, str) else None

    pairs = zip(reader.cells(outcome), reader.values(outcome), strict=True)
    return [code(cell, value) for cell, value in pairs]


def _refuse_untold(
    reader: Reader,
    outcome: str,
    observed: np.ndarray,
    told: np.ndarray,
    codes: list[Any],
    name_of: Mapping[Any, str],
) -> None:
    """Refuse responses whose outcome is not told, or is none of those that have names."""
    reader.refuse(
        observed & ~told,
        f"{outcome} is missing or 0, and does not say which outcome this is; fill it in, or name the outcomes by y=.",
    )
    if name_of:
        strange = np.array([code not in name_of for code in codes])
        names = ", ".join(str(code) for code in name_of)
        reader.refuse(observed & strange, f"{outcome} is none of {names}; name it in y=.")


def read_censoring(
    reader: Reader, response: Columns, observed: np.ndarray, lloq: float | int | None
) -> tuple[Columns, np.ndarray, np.ndarray]:
    """The responses; 1 where one lies below it, -1 where above, 0 where it is the number; and the
    limit.

    The limit is the interval's other end. The limit of quantification becomes the response where
    that is empty or 0: it is LLOQ, or LIMIT where BLQ is 1, or else `lloq`. Codes count where a row
    is `observed`.
    """
    cens = reader.code("CENS", (-1, 0, 1), "neither 1 (below DV) nor -1 (above DV) nor 0; correct it")
    blq = reader.code(
        _first_of(reader, _BLQ), (0, 1), "neither 0 nor 1 (below the limit of quantification); correct it"
    )
    none = np.zeros(len(observed))
    if not (observed & ((cens != 0) | (blq == 1))).any():
        return response, none, none
    if list(response) != [UNNAMED]:
        raise ValueError("CENS and BLQ do not say which of several columns is censored; write a row for each outcome.")
    reader.refuse((blq == 1) & (cens != 0), "CENS and BLQ are both set; keep one of the two columns.")
    below = (blq == 1) & observed
    cens = np.where(observed, cens, 0.0)
    limit = reader.optional("LIMIT", np.nan)
    known = reader.optional(_first_of(reader, _LLOQ), np.nan)
    known = np.where(np.isnan(known) & below, limit, known)
    if lloq is not None:  # where DV holds the limit of a row by CENS, that counts
        told = (cens != 0) & ~_is_empty(response[UNNAMED])
        known = np.where(np.isnan(known) & ~told, lloq, known)
    y = _at_the_limit(reader, response[UNNAMED], below | (cens == 1), known)
    _refuse_unknown(reader, y, cens, below, limit, known, lloq)
    side = np.where(below, 1.0, cens)
    reader.note(side > 0, "Responses below a limit (DV) are read as censored")
    reader.note(side < 0, "Responses above a limit (DV) are read as censored")
    unbounded = np.where(side > 0, -np.inf, np.inf)
    other_end = np.where(~np.isnan(limit) & ~below, limit, unbounded)
    return {UNNAMED: y}, side, np.where(side == 0, 0.0, other_end)


def _first_of(reader: Reader, names: Sequence[str]) -> str:
    """The first of several names that is a column, or the first of all."""
    return next((name for name in names if reader.find(name) is not None), names[0])


def _is_empty(response: np.ndarray) -> np.ndarray:
    """Whether nothing stands there, or the 0 that is often written for it."""
    return np.isnan(response) | (response == 0)


def _at_the_limit(reader: Reader, response: np.ndarray, below: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The responses, at the `known` limit of quantification where they are `below` it."""
    below = below & ~np.isnan(known)
    empty = _is_empty(response)
    reader.refuse(
        below & ~empty & (response != known),
        "it is below the limit (CENS or BLQ), but DV is neither empty, nor 0, nor the limit; correct it.",
    )
    reader.note(
        below & empty & (response != known),
        "Responses below the limit of quantification were empty or 0, and have the limit in their place",
    )
    return np.where(below, known, response)


def _refuse_unknown(
    reader: Reader,
    y: np.ndarray,
    cens: np.ndarray,
    below: np.ndarray,
    limit: np.ndarray,
    known: np.ndarray,
    lloq: float | int | None,
) -> None:
    """Refuse what is censored at a limit that nothing tells, or that cannot be one."""
    reader.refuse(
        below & np.isnan(known),
        "it is below the limit of quantification (BLQ), which nothing tells; give it in a column LLOQ, or by lloq=.",
    )
    reader.refuse(
        (cens != 0) & np.isnan(y),
        "it is censored, but at an unknown limit; write the limit in DV or in LLOQ, or give it by lloq=.",
    )
    is_meant = (known == 0) | ~np.isnan(limit) | (lloq == 0)
    reader.refuse(
        (cens != 0) & (y == 0) & ~is_meant,
        "it is censored (CENS), and 0 as its limit (DV) is more likely a gap; write the limit in DV or in LLOQ, "
        "or give it by lloq=, lloq=0 where it is 0 indeed, as of logarithms.",
    )
    reader.refuse(
        ((cens == 1) & (limit >= y)) | ((cens == -1) & (limit <= y)),
        "LIMIT is on the wrong side of DV: with CENS 1 it lies below DV, with CENS -1 above.",
    )
