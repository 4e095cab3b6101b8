"""Doses for people whose random effects are known by draws: what each regimen risks, and which is best."""

import dataclasses
import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..data.doses import Doses
from ..inference.individual import Individuals
from .beyond import covariates_beyond, doses_beyond, times_beyond
from .goal import Goal
from .losses import Ceiling

_UNKNOWN = "what lies beyond the data of the fit cannot be told, for a model was given and no fit."
_GUESSES = "rows that say what lies beyond the fit are guesses: nothing that was seen speaks for them."
_CAPTION = "For teaching and research; no medical advice."


@dataclasses.dataclass(frozen=True)
class Choice:
    """What each regimen comes to for each person, and the one with the least expected loss.

    `table` has a row for each person and regimen: the shares of the posterior inside, below and above the target; the
    median and 90% interval of the quantity; the expected loss; one column for each ceiling with its risk; and in
    `beyond` why the answer is a guess. `chosen` gives the regimen of each person, None where all break a ceiling.
    """

    table: pd.DataFrame
    chosen: dict[Any, str | None]
    goal: Goal = dataclasses.field(repr=False)
    regimens: dict[str, Doses] = dataclasses.field(repr=False)
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        told = [f"{person}: {name or 'none that keeps the ceilings'}" for person, name in self.chosen.items()]
        lines = [f"{self._title}. {_CAPTION}", self._rounded.to_string(index=False)]
        return "\n".join([*lines, "chosen: " + "; ".join(told), *self.remarks])

    def _repr_html_(self) -> str:
        best = [self.chosen[row.ID] == row.regimen for row in self.table.itertuples()]
        table = self._rounded.assign(chosen=np.where(best, "\u2713", "")).to_html(index=False, border=0)
        remarks = "".join(f"<p>{html.escape(remark)}</p>" for remark in self.remarks)
        return f"<p>{html.escape(self._title)}. {_CAPTION}</p>{table}{remarks}"

    @property
    def _title(self) -> str:
        low, high = self.goal.ends
        if np.isinf(high):
            return f"{self.goal.label} of {low:.4g} or more"
        return (
            f"{self.goal.label} of {high:.4g} or less"
            if np.isinf(low)
            else f"{self.goal.label} of {low:.4g} to {high:.4g}"
        )

    @property
    def _rounded(self) -> pd.DataFrame:
        shown = self.table.drop(columns=[] if np.any(self.table.beyond != "") else "beyond")
        numbers = [name for name in shown.select_dtypes("number").columns if name != "ID"]
        return shown.assign(**{name: shown[name].map("{:.3g}".format) for name in numbers})


def choose(people: Individuals, regimens: Mapping[str, Doses], goal: Goal) -> Choice:
    """The regimen with the least expected loss for each of `people`, who come from `mf.individual`.

        goal = mf.dosing.Goal(time=np.linspace(0, 24, 97), target=(80, 125))
        mf.dosing.choose(people, {f"{dose} mg": mf.regimen(dose) for dose in (50, 100, 200)}, goal)

    For draws eta_m from p(eta | y_i) the expected loss of regimen r is (1/M) sum_m loss(q(eta_m, r)), q the quantity of
    the curve. The best dose for the most likely curve ignores what is not known, and doses too high where an overdose
    is worse than too little. What lies beyond the doses, times and covariates of the fit is said in each row.

    **Returns:** a `Choice`.

    **Raises:** ValueError for regimens that cannot be, an outcome that is not said, or curves that are not finite.
    Source: Berger (1985), Statistical Decision Theory and Bayesian Analysis, 4.4.
    """
    fitted = people.fitted_on
    ids = people.population.ids
    amounts = {} if fitted is None else doses_beyond(fitted, regimens)
    strange = {} if fitted is None else covariates_beyond(fitted, people.population)
    late = "" if fitted is None else times_beyond(fitted, goal.grid)
    rows: dict[Any, list[dict[str, Any]]] = {person: [] for person in ids}
    for name, doses in goal.doses(people, regimens).items():
        measures = goal.measures(people, doses, f"regimen {name}")
        exposure = measures[goal.label]
        costs = goal.costs(exposure)
        for i, person in enumerate(ids):
            row = {"ID": person, "regimen": name, **_shares(exposure[i], goal.ends), "loss": float(costs[i].mean())}
            for ceiling in goal.ceilings:
                row[str(ceiling)] = float(np.mean(measures[ceiling.quantity][i] > ceiling.above))
            row["beyond"] = "; ".join(filter(None, (amounts.get(name), late, strange.get(person))))
            rows[person].append(row)
    table = pd.DataFrame([row for own in rows.values() for row in own])
    remarks = [*people.remarks]
    if fitted is None:
        remarks.append(_UNKNOWN)
    if np.any(table.beyond != ""):
        remarks.append(_GUESSES)
    chosen = _best(table, goal.ceilings, ids)
    return Choice(table=table, chosen=chosen, goal=goal, regimens=dict(regimens), remarks=tuple(remarks))


def _shares(exposure: Float[np.ndarray, " M"], ends: tuple[float, float]) -> dict[str, float]:
    below = float(np.mean(exposure < ends[0]))
    above = float(np.mean(exposure > ends[1]))
    low, middle, high = np.quantile(exposure, (0.05, 0.5, 0.95))
    shares = {"inside": 1.0 - below - above, "below": below, "above": above}
    return shares | {"q5": float(low), "median": float(middle), "q95": float(high)}


def _best(table: pd.DataFrame, ceilings: Sequence[Ceiling], ids: Sequence[Any]) -> dict[Any, str | None]:
    """The regimen of least loss of those that keep every ceiling; the first of those that are as good."""
    allowed = np.ones(len(table), bool)
    for ceiling in ceilings:
        allowed &= (table[str(ceiling)] <= ceiling.probability).to_numpy()
    left = table[allowed]
    best = left.loc[left.groupby("ID", sort=False).loss.idxmin()].set_index("ID").regimen
    return {person: best.get(person) for person in ids}
