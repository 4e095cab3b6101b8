"""What a population holds, written out: as an event frame, and as a report for people."""

import html
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pandas as pd

from .by_outcome import UNNAMED, as_dict
from .doses import DOSE, dose_field
from .subject import Subject

Columns = dict[str, np.ndarray]


class Notes(tuple):
    """Sentences for people.

    They take no part in comparing populations, nor in what is compiled for them.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notes)

    def __hash__(self) -> int:
        return 0


@dataclass(frozen=True)
class Report:
    """What was read, and what was left out, filled or added: as text, or as a table in a
    notebook.
    """

    facts: dict[str, str]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        width = max(len(name) for name in self.facts)
        facts = [f"{name:<{width}}  {value}" for name, value in self.facts.items()]
        notes = [f"- {note}" for note in self.notes]
        return "\n".join(facts + notes)

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = [
            f"<tr><th {left}>{html.escape(name)}</th><td {left}>{html.escape(value)}</td></tr>"
            for name, value in self.facts.items()
        ]
        table = f"<table><caption>Population</caption>{''.join(rows)}</table>"
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return table + (f"<ul>{notes}</ul>" if notes else "")


def _span(x: np.ndarray) -> str:
    """The lowest and the highest of some numbers."""
    if x.size == 0:
        return "none"
    low = f"{float(np.min(x)):.4g}"
    high = f"{float(np.max(x)):.4g}"
    return low if low == high else f"{low} to {high}"


def counts(subjects: Subject) -> str:
    """The observations: of each outcome, or how many and how many are missing."""
    observed = {name: int(np.asarray(mask).sum()) for name, mask in as_dict(subjects.mask).items()}
    if UNNAMED in observed:
        missing = int(np.asarray(subjects.real).sum()) - observed[UNNAMED]
        return f"{observed[UNNAMED]} observations ({missing} missing)"
    by_name = ", ".join(f"{count} of {name}" for name, count in observed.items())
    return f"{sum(observed.values())} observations ({by_name})"


def facts(subjects: Subject, time_label: str, y_label: str) -> dict[str, str]:
    """The rows of the report's table, for subjects with a leading axis."""
    out = {
        "subjects": f"{len(subjects.time)}",
        "observations": counts(subjects).replace(" observations", ""),
        "rows per subject": _span(np.asarray(subjects.real).sum(axis=1)),
        "doses": _doses_told(subjects),
        time_label: _span(np.asarray(subjects.time)),
    }
    censored = as_dict(subjects.censored)
    masks = as_dict(subjects.mask)
    for name, y in as_dict(subjects.y).items():
        out[name or y_label] = _span(np.asarray(y)[np.asarray(masks[name])])
        cut = int((np.asarray(censored[name]) != 0).sum()) if name in censored else 0
        if cut:
            out[name or y_label] += f" ({cut} censored)"
    for name, values in subjects.covariates.items():
        out[f"covariate {name}"] = _span(np.asarray(values)) + (", varies in time" if values.ndim == 2 else "")
    return out


def _doses_told(subjects: Subject) -> str:
    """How many doses there are, and how many of them are of a kind of their own."""
    doses = subjects.doses
    given = np.asarray(doses.real) & ((np.asarray(doses.amount) != 0) | ~dose_field(doses, "reset"))
    kinds = {
        "infusions": (np.asarray(doses.duration) > 0) | (dose_field(doses, "rate") != 0),
        "at steady state": dose_field(doses, "steady_state") > 0,
        "with a reset": dose_field(doses, "reset"),
    }
    number = {kind: int((given & those).sum()) for kind, those in kinds.items()}
    told = ", ".join(f"{count} {kind}" for kind, count in number.items() if count)
    return f"{given.sum()}" + (f" ({told})" if told else "")


# ---------------------------------------------------------------- the event frame

# Of a dose: its column, its field, and the value that needs no column.
_DOSE_COLUMNS = {
    "CMT": ("compartment", 1),
    "DUR": ("duration", 0),
    "II": ("interval", 0),
    "SS": ("steady_state", 0),
    "RATE": ("rate", 0),
}


def event_frame(subjects: Subject, ids: tuple[Any, ...]) -> pd.DataFrame:
    """The event frame of subjects with a leading axis, sorted by subject and time, doses first."""
    local = jax.tree.map(np.asarray, subjects)
    doses = _dose_rows(local)
    parts = [*_observation_rows(local), doses]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in doses}
    order = np.lexsort((~np.isin(columns["EVID"], (1, 3, 4)), columns["TIME"], columns["subject"]))
    columns = {name: column[order] for name, column in columns.items()}
    subject = columns["subject"]

    shown = ["TIME", "DV", "AMT", "EVID", "MDV"]
    if UNNAMED not in as_dict(local.y):
        shown.append("DVID")
    if local.censored is not None:
        shown += ["CENS", "LIMIT"]
    shown += [name for name, (_, usual) in _DOSE_COLUMNS.items() if (doses[name] != usual).any()]
    table: dict[str, Any] = {"ID": [ids[i] for i in subject]} | {name: columns[name] for name in shown}
    for name in subjects.covariates:  # in their own order, which a tree does not keep
        values = local.covariates[name]
        column = values[subject, columns["row"]] if values.ndim == 2 else values[subject]
        if name == "occasion":  # counted from 0 in the model, from 1 in a file
            table["OCC"] = column + 1
        else:
            table[name] = column
    return pd.DataFrame(table)


def _event_rows(subject: np.ndarray, row: np.ndarray, time: np.ndarray, **columns: Any) -> Columns:
    """The columns of events that belong to these subjects and rows; what is not given is empty.

    The columns are those of the event frame, and `subject` and `row`.
    """
    size = len(subject)
    empty: Columns = {
        "subject": subject,
        "row": row,
        "TIME": time,
        "DV": np.full(size, np.nan),
        "AMT": np.zeros(size),
        "EVID": np.full(size, 2),
        "DVID": np.full(size, None),
        "CENS": np.zeros(size, int),
        "LIMIT": np.full(size, np.nan),
        "CMT": np.zeros(size, int),
        "DUR": np.zeros(size),
        "II": np.zeros(size),
        "SS": np.zeros(size, int),
        "RATE": np.zeros(size),
    }
    events = empty | columns
    events["MDV"] = np.isnan(events["DV"]).astype(int)
    return events


def _observation_rows(subjects: Subject) -> list[Columns]:
    """The observations of each outcome, then the real rows that have none.

    With one outcome every real row is an observation, seen or missing; with several only those
    that were seen are.
    """
    time = np.asarray(subjects.time)
    masks = as_dict(subjects.mask)
    rows = {name: subjects.real & (mask | (name == UNNAMED)) for name, mask in masks.items()}
    parts = []
    for name, mask in masks.items():
        subject, row = np.nonzero(rows[name])
        cells = (subject, row)
        columns = {"EVID": np.full(len(row), 0), "DVID": np.full(len(row), name, object)}
        columns["DV"] = np.where(mask, as_dict(subjects.y)[name], np.nan)[cells]
        if name in as_dict(subjects.censored):
            side = np.where(mask, as_dict(subjects.censored)[name], 0)[cells]
            limit = as_dict(subjects.limit)[name][cells]
            columns["CENS"] = side.astype(int)
            columns["LIMIT"] = np.where((side != 0) & np.isfinite(limit), limit, np.nan)
        parts.append(_event_rows(subject, row, time[cells], **columns))
    subject, row = np.nonzero(subjects.real & ~np.any(list(rows.values()), axis=0))
    return [*parts, _event_rows(subject, row, time[subject, row])]


def _dose_rows(subjects: Subject) -> Columns:
    """The doses; each shows the covariates that hold at its time: of the last row not later, else
    of the first.
    """
    fields = {name: dose_field(subjects.doses, name) for name in DOSE}
    given = np.nonzero(np.asarray(subjects.doses.real))
    doses = {name: values[given] for name, values in fields.items()}
    subject = given[0]
    real = subjects.real[subject]
    first = np.argmax(real, axis=1)
    begun = real & (subjects.time[subject] <= doses["time"][:, None])
    row = np.where(begun, np.arange(begun.shape[1]), first[:, None]).max(axis=1)
    columns = {name: doses[field] for name, (field, _) in _DOSE_COLUMNS.items()}
    # where the rate is what is known, the duration follows from it
    columns["DUR"] = np.where(doses["rate"] != 0, 0.0, doses["duration"])
    event = np.where(doses["reset"], np.where(doses["amount"] > 0, 4, 3), 1)
    return _event_rows(subject, row, doses["time"], AMT=doses["amount"], EVID=event, **columns)
