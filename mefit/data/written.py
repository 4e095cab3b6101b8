"""What a population holds, written out: as an event frame, and as a report for people."""

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .subject import DOSE, STEADY, as_dict, dose_field

if TYPE_CHECKING:
    from .population import Population


class Notes(tuple):
    """Sentences for people. They take no part in comparing populations, nor in what is compiled for them."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notes)

    def __hash__(self) -> int:
        return 0


@dataclass(frozen=True)
class Report:
    """What was read, and what was left out, filled or added: as text, or as a table in a notebook."""

    facts: dict[str, str]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        width = max(len(k) for k in self.facts)
        return "\n".join([f"{k:<{width}}  {v}" for k, v in self.facts.items()] + [f"- {note}" for note in self.notes])

    def _repr_html_(self) -> str:
        left, text = "style='text-align:left'", html.escape
        body = "".join(f"<tr><th {left}>{text(k)}</th><td {left}>{text(v)}</td></tr>" for k, v in self.facts.items())
        notes = "".join(f"<li>{text(note)}</li>" for note in self.notes)
        return f"<table><caption>Population</caption>{body}</table>" + (f"<ul>{notes}</ul>" if notes else "")


def _span(x: np.ndarray) -> str:
    low, high = (f"{float(v):.4g}" for v in (np.min(x), np.max(x))) if x.size else ("none", "none")
    return low if low == high else f"{low} to {high}"


def counts(population: "Population") -> str:
    """The observations: of each outcome, or how many and how many are missing."""
    seen = {k: int(np.asarray(m).sum()) for k, m in as_dict(population.subjects.mask).items()}
    if population.outcomes:
        return f"{sum(seen.values())} observations ({', '.join(f'{n} of {k}' for k, n in seen.items())})"
    return f"{seen['']} observations ({int(population.rows.sum()) - seen['']} missing)"


def facts(population: "Population") -> dict[str, str]:
    """The rows of the report's table."""
    s, doses = population.subjects, population.subjects.doses
    given = np.asarray(doses.amount) != 0
    extra = {"infusions": doses.duration > 0, "at steady state": dose_field(doses, "steady_state")}
    several = [f"{int((np.asarray(x) & given).sum())} {k}" for k, x in extra.items() if (np.asarray(x) & given).any()]
    out = {
        "subjects": f"{len(population)}",
        "observations": counts(population).replace(" observations", ""),
        "rows a subject": _span(population.rows),
        "doses": f"{population.n_doses}" + (f" ({', '.join(several)})" if several else ""),
        population.time_label: _span(np.asarray(s.time)),
    }
    for name, y in as_dict(s.y).items():
        cut = 0 if s.censored is None else int((np.asarray(as_dict(s.censored)[name]) != 0).sum())
        seen = np.asarray(y)[np.asarray(as_dict(s.mask)[name])]
        out[name or population.y_label] = _span(seen) + (f" ({cut} censored)" if cut else "")
    for name, x in s.covariates.items():
        out[f"covariate {name}"] = _span(np.asarray(x)) + (", varies in time" if x.ndim == 2 else "")
    return out


def frame(population: "Population") -> pd.DataFrame:
    """The event frame of a population, sorted by subject and time, doses first."""
    s = population.subjects
    time, doses = np.asarray(s.time), {k: dose_field(s.doses, k) for k in DOSE + STEADY}
    real = np.arange(time.shape[1]) < population.rows[:, None]
    y, mask, censored, limit = (as_dict(x) for x in (s.y, s.mask, s.censored, s.limit))
    # a row for each observed outcome; one without any, missing, stays a row
    rows = [real & np.asarray(m) for m in mask.values()] if population.outcomes else [real]
    cells = [np.nonzero(x) for x in (*rows, real & ~np.any(rows, axis=0))]
    given = np.nonzero(doses["amount"] != 0)
    # a dose shows the covariates that hold at its time: those of the last row that is not later, else the first
    held = (time[given[0]] <= doses["time"][given][:, None]) & real[given[0]]
    cells.append((given[0], np.maximum(held.sum(axis=1) - 1, 0)))
    everyone, at = np.concatenate(cells, axis=1)
    kind = np.repeat(np.arange(len(cells)), [len(i) for i, _ in cells])  # the outcome, then none, then a dose
    dose = kind == len(rows) + 1

    def of_dose(name: str) -> np.ndarray:
        return np.append(np.zeros(np.sum(~dose), doses[name].dtype), doses[name][given])

    def of_outcome(arrays: dict[str, Any], fill: float | int) -> np.ndarray:
        parts = [np.where(m, arrays[k], fill)[cell] for cell, (k, m) in zip(cells, mask.items(), strict=False)]
        return np.concatenate([*parts, np.full((kind >= len(rows)).sum(), fill)])

    response = of_outcome(y, np.nan)
    when, ids = np.where(dose, of_dose("time"), time[everyone, at]), [population.ids[i] for i in everyone]
    columns: dict[str, Any] = {"ID": ids, "TIME": when, "DV": response, "AMT": of_dose("amount")}
    columns |= {"EVID": np.select([dose, kind == len(rows)], [1, 2]), "MDV": np.isnan(response).astype(int)}
    if population.outcomes:
        columns["DVID"] = [[*mask, None, None][k] for k in kind]
    if s.censored is not None:
        end = of_outcome(limit, np.nan)
        columns["CENS"] = of_outcome(censored, 0).astype(int)
        columns["LIMIT"] = np.where((columns["CENS"] != 0) & np.isfinite(end), end, np.nan)
    for name, field in {"CMT": "compartment", "DUR": "duration", "II": "interval", "SS": "steady_state"}.items():
        if (of_dose(field)[dose] != (field == "compartment")).any():
            columns[name] = of_dose(field).astype(int) if field == "steady_state" else of_dose(field)
    for name, x in s.covariates.items():
        value = np.asarray(x)[everyone, at] if x.ndim == 2 else np.asarray(x)[everyone]
        columns["OCC" if name == "occasion" else name] = value + (name == "occasion")
    return pd.DataFrame(columns).iloc[np.lexsort((~dose, when, everyone))].reset_index(drop=True)
