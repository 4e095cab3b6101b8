"""The field's conventions for events and doses.

Source: the NM-TRAN data items (EVID, MDV, CMT, RATE, ADDL, II, SS) of NONMEM's users guides.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..doses import DOSE, DURATION_BY_MODEL, RATE_BY_MODEL, repeated_times
from ..padding import turns
from .reader import Reader

Columns = dict[str, np.ndarray]

# The kinds of rows; EVID 3 and 4 are doses that begin with a reset.
OBSERVATION = 0
DOSING = 1
OTHER = 2
_RESET = 3
_RESET_AND_DOSE = 4
_MOST_ADDITIONAL = 10_000


class _Infusions(NamedTuple):
    """Of every row."""

    duration: np.ndarray  # 0 for what is no infusion
    rate: np.ndarray  # as in `Doses.rate`


def resets(reader: Reader) -> np.ndarray:
    """True where EVID says that a row begins with a reset, and the clock may start again."""
    if reader.find("EVID") is None:
        return np.zeros(len(reader.df), bool)
    return np.isin(reader.numbers("EVID"), (_RESET, _RESET_AND_DOSE))


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
    steady = reader.code("SS", (0, 1, 2), "neither 0 nor 1 nor 2 (steady state), and other codes are not read")
    rate = _rates(reader, duration)
    endless = (steady > 0) & (given == 0) & (rate != 0)  # an infusion without end at steady state
    event = _events(reader, (given > 0) | endless, response)
    reset = resets(reader)
    only_reset = reset & (event == _RESET)
    event = np.where(reset, DOSING, event)
    dose = event == DOSING
    if absent:
        reader.refuse(dose & ~only_reset, "EVID says dose, but there is no column of amounts; name it by amount=.")
    reader.refuse(~dose & (given > 0), "EVID says observation, but there is an amount; use EVID 1 or empty it.")
    reader.refuse(only_reset & (given > 0), "EVID 3 is a reset alone, but there is an amount; use EVID 4 for both.")
    unknown = dose & np.isnan(cells) & ~only_reset & ~endless
    reader.refuse(unknown, "it is a dose but its amount is missing; fill it in or drop the row.")
    reader.note(dose & (given == 0) & ~reset & ~endless, "Doses of zero amount were left out")
    more = _additional(reader, dose & ~only_reset)
    steady = np.where(dose & ~only_reset, steady, 0).astype(int)
    every = reader.optional("II")
    repeats = (steady > 0) | (more > 0)
    _refuse_intervals(reader, endless & dose, repeats & (given > 0), more, every)
    infusions = _infusions(reader, duration, rate, given, dose)
    fields = {
        "amount": np.where(dose, given, 0.0),
        "duration": infusions.duration,
        "compartment": _compartments(reader, compartment, dose),
        "interval": np.where((steady > 0) & ~endless, every, 0.0),
        "steady_state": np.where((given > 0) | endless, steady, 0),
        "rate": np.where((given > 0) | endless, infusions.rate, 0.0),
        "reset": reset,
        "more": np.where(given > 0, more, 0),
        "every": every,
    }
    return event, fields


def _refuse_intervals(
    reader: Reader, endless: np.ndarray, repeats: np.ndarray, more: np.ndarray, every: np.ndarray
) -> None:
    """Refuse doses that repeat without an interval, and infusions without end that have one."""
    reader.refuse(
        repeats & (every <= 0),
        "ADDL or SS needs the interval between doses; give it in a column II, above 0.",
    )
    reader.refuse(
        endless & ((every != 0) | (more > 0)),
        "an amount of 0 with RATE and SS is an infusion that has run for ever and ends here; "
        "II and ADDL have no meaning there: empty them, or give the amount.",
    )


def _events(reader: Reader, given: np.ndarray, response: Columns) -> np.ndarray:
    """EVID of each row; where there is no such column, what is `given` makes a dose."""
    if reader.find("EVID") is not None:
        event = reader.numbers("EVID")
    else:
        answered = np.any([~np.isnan(y) & (y != 0) for y in response.values()], axis=0)
        reader.refuse(
            given & answered & ~missing_by_code(reader),
            "it has an amount and a response; write the dose and the observation as two rows.",
        )
        event = np.where(given, DOSING, OBSERVATION).astype(float)
    reader.refuse(np.isnan(event), "EVID is missing; use 0 for an observation and 1 for a dose.")
    reader.refuse(
        ~np.isin(event, (OBSERVATION, DOSING, OTHER, _RESET, _RESET_AND_DOSE)),
        "EVID is neither 0 (observation) nor 1 (dose) nor 2 (other) nor 3 or 4 (reset, reset and dose); correct it.",
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
    place = reader.optional(name)
    reader.refuse(
        place < 0,
        f"{name} is negative, which turns a compartment off from here on; that is not read. "
        "Use EVID 3 where everything is washed out, or leave the row out.",
    )
    place = np.where(dose, place, 0.0)
    place = np.where(place == 0, 1.0, place)
    bad = (place < 1) | (place != np.round(place))
    reader.refuse(bad, "the compartment is not 1, 2, 3, ...; correct it.")
    return place.astype(int)


def _rates(reader: Reader, duration: str | None) -> np.ndarray:
    """RATE of every row: read where no column of durations is named, or where RATE itself is."""
    if duration is not None and duration.lower() != "rate":
        return np.zeros(len(reader.df))
    if duration is not None:  # a column that was named must be there
        reader.place("RATE")
    rate = reader.optional("RATE")
    reader.refuse(
        (rate < 0) & ~np.isin(rate, (RATE_BY_MODEL, DURATION_BY_MODEL)),
        "RATE is negative, and neither -1 (the model gives the rate) nor -2 (the duration); correct it.",
    )
    return rate


def _infusions(reader: Reader, name: str | None, rate: np.ndarray, amount: np.ndarray, dose: np.ndarray) -> _Infusions:
    """The infusions, from a column of durations or from `rate`."""
    none = np.zeros(len(dose))
    by_rate_only = name is not None and name.lower() == "rate"
    if name is not None and not by_rate_only:
        reader.place(name)
    duration = none if by_rate_only else np.where(dose, reader.optional(name or "DUR"), 0.0)
    rate = np.where(dose, rate, 0.0)
    reader.refuse(duration < 0, "the duration of the dose is negative; correct it, or use 0 for one given at once.")
    reader.refuse(
        (rate < 0) & (duration > 0),
        "RATE leaves the infusion to the model, and there is a duration, too; keep one of the two.",
    )
    by_rate = np.divide(amount, rate, out=np.zeros(len(dose)), where=rate > 0)
    both = (rate > 0) & (duration > 0)
    clash = both & (np.abs(by_rate - duration) > 1e-6 * duration)
    reader.refuse(clash, "the duration is not amount / RATE; correct one of them or drop its column.")
    return _Infusions(np.where(duration > 0, duration, by_rate), rate)


def given_doses(reader: Reader, time: np.ndarray, dose: np.ndarray, fields: Columns) -> Columns:
    """The records of doses one by one, ADDL written out, sorted by subject and time: their fields
    and `subject`. At one time they keep the order of the rows that they come from.

    Each row that is a `dose` is repeated as often as ADDL asks, `every` apart; only the first of
    them is at steady state, or a reset. Rows that do nothing are left out.
    """
    endless = (fields["steady_state"] > 0) & (fields["rate"] != 0)
    dose = dose & ((fields["amount"] > 0) | fields["reset"] | endless)
    more = fields["more"] * dose
    reader.note(more > 0, f"{more.sum()} doses were added from ADDL and II")
    table = pd.DataFrame({"subject": reader.subject, "time": time, **fields})
    table = table.loc[table.index.repeat(np.where(dose, 1 + more, 0))]
    turn = turns(table.index.to_numpy())
    table = table.assign(
        row=table.index,
        turn=turn,
        time=repeated_times(table["time"].to_numpy(), table["every"].to_numpy(), turn),
        interval=table["interval"].where(turn == 0, 0.0),
        steady_state=table["steady_state"].where(turn == 0, 0),
        reset=table["reset"] & (turn == 0),
    )
    table = _without_cancelled(reader, table)
    table = table.sort_values(["subject", "time"], kind="stable")
    twice = table.index[table.duplicated(["subject", *DOSE])]
    reader.refuse(
        np.isin(np.arange(len(dose)), twice),
        "this dose is also one of the additional doses (ADDL) of another; lower ADDL or drop it.",
    )
    return {name: table[name].to_numpy() for name in ("subject", *DOSE)}


def _without_cancelled(reader: Reader, table: pd.DataFrame) -> pd.DataFrame:
    """The doses without the additional ones that a later reset, or dose at steady state, does away
    with: those of rows before it, from its time on.
    """
    cancels = table["reset"] | (table["steady_state"] == 1)
    cancelled = np.zeros(len(table), bool)
    for row, subject, time in table.loc[cancels, ["row", "subject", "time"]].itertuples(index=False):
        pending = (table["subject"] == subject) & (table["row"] < row) & (table["turn"] > 0) & (table["time"] >= time)
        cancelled |= pending.to_numpy()
    origin = np.zeros(len(reader.df), bool)
    origin[table.loc[cancelled, "row"]] = True
    reader.note(
        origin,
        f"{cancelled.sum()} additional doses were left out, since a reset or a dose at steady state comes before them",
    )
    return table.loc[~cancelled]
