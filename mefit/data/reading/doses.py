"""The field's conventions for events and doses.

Source: the NM-TRAN data items (EVID, MDV, CMT, RATE, ADDL, II, SS) of NONMEM's users guides.
"""

import numpy as np
import pandas as pd

from ..padding import turns
from ..subject import DOSE, STEADY
from .reader import Reader

Columns = dict[str, np.ndarray]

# The values of EVID that are read
OBSERVATION = 0
DOSING = 1
OTHER = 2
_MOST_ADDITIONAL = 10_000


def missing_by_code(reader: Reader) -> np.ndarray:
    """True where MDV says that a response is missing."""
    return reader.code("MDV", (0, 1), "neither 0 (observed) nor 1 (missing); correct it") == 1


def read_doses(
    reader: Reader, response: Columns, amount: str | None, duration: str | None, compartment: str
) -> tuple[np.ndarray, Columns]:
    """What each row is (an `OBSERVATION`, a `DOSING`, or `OTHER`), and the fields of a dose for it.

    `response` holds the responses by outcome, `amount`, `duration` and `compartment` are columns.
    """
    # only the default name may be absent: such a frame has no doses
    absent = amount is None or (amount == "AMT" and reader.find("AMT") is None)
    cells = np.full(len(reader.df), np.nan) if absent else reader.numbers(str(amount))
    given = np.nan_to_num(cells)
    reader.refuse(given < 0, f"the dose in column {amount!r} is negative; correct it.")
    event = _events(reader, given, response)
    dose = event == DOSING
    if absent:
        reader.refuse(dose, "EVID says dose, but there is no column of amounts; name it by amount=.")
    reader.refuse(~dose & (given > 0), "EVID says observation, but there is an amount; use EVID 1 or empty it.")
    reader.refuse(dose & np.isnan(cells), "it is a dose but its amount is missing; fill it in or drop the row.")
    reader.note(dose & (given == 0), "Doses of zero amount were left out")
    more = _additional(reader, dose)
    steady = dose & (reader.code("SS", (0, 1), "neither 0 nor 1 (steady state), and other codes are not read") == 1)
    every = reader.optional("II")
    reader.refuse(
        (steady | (more > 0)) & (every <= 0),
        "ADDL or SS needs the interval between doses; give it in a column II, above 0.",
    )
    place = _compartments(reader, compartment, dose)
    fields = {
        "amount": given,
        "duration": _durations(reader, duration, given, dose),
        "compartment": place,
        "interval": np.where(steady, every, 0.0),
        "steady_state": steady,
        "more": more,
        "every": every,
    }
    return event, fields


def _events(reader: Reader, amount: np.ndarray, response: Columns) -> np.ndarray:
    """EVID of each row; where there is no such column, a positive amount makes a dose."""
    if reader.find("EVID") is not None:
        event = reader.numbers("EVID")
    else:
        answered = np.any([~np.isnan(y) & (y != 0) for y in response.values()], axis=0)
        reader.refuse(
            (amount > 0) & answered & ~missing_by_code(reader),
            "it has an amount and a response; write the dose and the observation as two rows.",
        )
        event = np.where(amount > 0, DOSING, OBSERVATION).astype(float)
    reader.refuse(np.isnan(event), "EVID is missing; use 0 for an observation and 1 for a dose.")
    reader.refuse(
        np.isin(event, (3, 4)),
        "EVID 3 or 4 means a reset, which is not read: give the subject another id from here on, with times from 0.",
    )
    reader.refuse(
        ~np.isin(event, (OBSERVATION, DOSING, OTHER)),
        "EVID is neither 0 (observation) nor 1 (dose) nor 2 (other); correct it.",
    )
    return event


def _additional(reader: Reader, dose: np.ndarray) -> np.ndarray:
    """ADDL: how many doses like it follow each dose."""
    more = np.where(dose, reader.optional("ADDL"), 0.0)
    bad = (more < 0) | (more != np.round(more)) | (more > _MOST_ADDITIONAL)
    reader.refuse(bad, "ADDL is not a whole number of additional doses; correct it.")
    return more.astype(int)


def _compartments(reader: Reader, name: str, dose: np.ndarray) -> np.ndarray:
    """The compartment of each dose, 1 where none is given."""
    place = np.where(dose, reader.optional(name), 0.0)
    place = np.where(place == 0, 1.0, place)
    bad = (place < 1) | (place != np.round(place))
    reader.refuse(bad, "the compartment is not 1, 2, 3, ...; correct it.")
    return place.astype(int)


def _durations(reader: Reader, name: str | None, amount: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """Length of every infusion, from a column of durations or as amount / RATE; 0 for others.

    A column RATE may be named in place of one of durations; where no column is named both are read.
    """
    none = np.zeros(len(dose))
    by_rate_only = name is not None and name.lower() == "rate"
    if name is not None:  # a column that was named must be there
        reader.place("RATE" if by_rate_only else name)
    duration = none if by_rate_only else np.where(dose, reader.optional(name or "DUR"), 0.0)
    reads_rate = by_rate_only or name is None
    rate = np.where(dose, reader.optional("RATE"), 0.0) if reads_rate else none
    reader.refuse(duration < 0, "the duration of the dose is negative; correct it, or use 0 for one given at once.")
    reader.refuse(
        rate < 0,
        "RATE is negative, a code for a rate or duration to be estimated, which is not read; give it in DUR.",
    )
    by_rate = np.divide(amount, rate, out=np.zeros(len(dose)), where=rate > 0)
    both = (rate > 0) & (duration > 0)
    clash = both & (np.abs(by_rate - duration) > 1e-6 * duration)
    reader.refuse(clash, "the duration is not amount / RATE; correct one of them or drop its column.")
    return np.where(duration > 0, duration, by_rate)


def given_doses(reader: Reader, time: np.ndarray, dose: np.ndarray, fields: Columns) -> Columns:
    """The doses one by one, ADDL written out, sorted by subject and time: their fields and
    `subject`.

    Each row that is a `dose` of an amount above 0 is repeated as often as ADDL asks, `every` apart.
    Only the first of them is at steady state.
    """
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
    reader.refuse(
        np.isin(np.arange(len(dose)), twice),
        "this dose is also one of the additional doses (ADDL) of another; lower ADDL or drop it.",
    )
    return {name: table[name].to_numpy() for name in ("subject", *DOSE, *STEADY)}
