"""The field's conventions for events and doses.

Source: the NM-TRAN data items (EVID, MDV, CMT, RATE, ADDL, II, SS) of NONMEM's users guides.
"""

import numpy as np
import pandas as pd

from ..subject import DOSE, STEADY, turns
from .reader import Reader

Columns = dict[str, np.ndarray]


def read_doses(
    reader: Reader, response: Columns, amount: str | None, duration: str | None, compartment: str
) -> tuple[np.ndarray, Columns]:
    """What each row is (0 an observation, 1 a dose, 2 neither), and the fields of a dose for every row."""
    # only the default name may be absent: such a frame has no doses
    name = None if amount == "AMT" and reader.find("AMT") is None else amount
    cells = np.full(len(reader.df), np.nan) if name is None else reader.numbers(name)
    given = np.nan_to_num(cells)
    reader.refuse(given < 0, f"the dose in column {amount!r} is negative; correct it.")
    if reader.find("EVID") is not None:
        event = reader.numbers("EVID")
    else:
        answered = np.any([~np.isnan(x) & (x != 0) for x in response.values()], axis=0)
        both = (given > 0) & answered & (reader.code("MDV", (0, 1), "neither 0 (observed) nor 1 (missing)") == 0)
        reader.refuse(both, "it has an amount and a response; write the dose and the observation as two rows.")
        event = (given > 0).astype(float)
    reader.refuse(np.isnan(event), "EVID is missing; use 0 for an observation and 1 for a dose.")
    resets = "a reset, which is not read: give the subject another id from here on, with times from 0"
    reader.refuse(np.isin(event, (3, 4)), f"EVID 3 or 4 means {resets}.")
    reader.refuse(~np.isin(event, (0, 1, 2)), "EVID is neither 0 (observation) nor 1 (dose) nor 2 (other); correct it.")
    dose = event == 1
    reader.refuse(dose & (name is None), "EVID says dose, but there is no column of amounts; name it by amount=.")
    reader.refuse(~dose & (given > 0), "EVID says observation, but there is an amount; use EVID 1 or empty it.")
    reader.refuse(dose & np.isnan(cells), "it is a dose but its amount is missing; fill it in or drop the row.")
    reader.note(dose & (given == 0), "Doses of zero amount were left out")
    more = np.where(dose, reader.optional("ADDL"), 0.0)
    bad = (more < 0) | (more != np.round(more)) | (more > 10_000)
    reader.refuse(bad, "ADDL is not a whole number of additional doses; correct it.")
    steady = dose & (reader.code("SS", (0, 1), "neither 0 nor 1 (steady state), and other codes are not read") == 1)
    interval = reader.optional("II")
    needs = (steady | (more > 0)) & (interval <= 0)
    reader.refuse(needs, "ADDL or SS needs the interval between doses; give it in a column II, above 0.")
    place = np.where(dose, reader.optional(compartment), 0.0)
    place[place == 0] = 1.0
    reader.refuse((place < 1) | (place != np.round(place)), "the compartment is not 1, 2, 3, ...; correct it.")
    length = _durations(reader, duration, given, dose)
    fields = {"amount": given, "duration": length, "compartment": place.astype(int), "more": more.astype(int)}
    return event, fields | {"interval": np.where(steady, interval, 0.0), "steady_state": steady, "every": interval}


def _durations(reader: Reader, name: str | None, amount: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """Length of every infusion: from a column of durations, or amount / RATE; 0 where given at once."""
    by_rate_only = name is not None and name.lower() == "rate"
    if name is not None:  # a column that was named must be there
        reader.place("RATE" if by_rate_only else name)
    duration = np.where(dose, 0.0 if by_rate_only else reader.optional(name or "DUR"), 0.0)
    rate = np.where(dose, reader.optional("RATE") if by_rate_only or name is None else 0.0, 0.0)
    reader.refuse(duration < 0, "the duration of the dose is negative; correct it, or use 0 for one given at once.")
    coded = "RATE is negative, a code for a rate or duration to be estimated, which is not read; give it in DUR."
    reader.refuse(rate < 0, coded)
    by_rate = np.divide(amount, rate, out=np.zeros(len(dose)), where=rate > 0)
    clash = (rate > 0) & (duration > 0) & (np.abs(by_rate - duration) > 1e-6 * duration)
    reader.refuse(clash, "the duration is not amount / RATE; correct one of them or drop its column.")
    return np.where(duration > 0, duration, by_rate)


def given_doses(reader: Reader, time: np.ndarray, dose: np.ndarray, fields: Columns) -> Columns:
    """The doses one by one, ADDL written out, sorted by subject and time: their fields, and whose they are."""
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
    bad = np.isin(np.arange(len(dose)), twice)
    reader.refuse(bad, "this dose is also one of the additional doses (ADDL) of another; lower ADDL or drop it.")
    return {k: table[k].to_numpy() for k in ("subject", *DOSE, *STEADY)}
