"""Predictions while the data come in: what a person's records so far say of what is to come, and how true it was."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray

from ..base.chance import require_key
from ..curves.encoding import AnyEncoder
from ..data.by_outcome import UNNAMED, as_dict
from ..data.population import Population
from ..fitting.fitted import Estimated
from ..model.densities import first_density
from ..model.model import Model
from ..model.outcomes import is_event
from ..objectives.objective import name_subjects
from . import scores
from .foretold import Asked, Foretold, foretold
from .individual import Individuals, individual
from .later import add_baselines, keys_of, later_rows, scored, together

_TENTHS = 10
_FEWEST = 20.0  # draws that count: of fewer a probability is off by tenths of itself


@dataclasses.dataclass(frozen=True)
class Landmark:
    """Predictions from landmarks, and their scores.

    `predictions` has a row for each landmark (`AT`), person, outcome and later row: what came (`DV`, empty where
    nothing was seen or it was censored), `mean`, the quantiles of a response that is a number (`q5` ...), the
    `probability` of a yes, of an event since the row before for a person who was free of it there, or of a number above
    the threshold asked for, and whether it `happened`; of grades the probability of each (`p0` ...). `log_score` is the
    log of the predictive density, `place` is P(y < DV) + 1/2 P(y = DV), `brier` the squared distance of probability and
    outcome, of grades the ranked probability score over the number of cut points. `table` are the scores, means over
    the responses that were seen.
    `individuals` are, by landmark, the draws of each person's random effects, for curves and any other quantity.
    """

    table: pd.DataFrame
    predictions: pd.DataFrame = dataclasses.field(repr=False)
    individuals: dict[float, Individuals] = dataclasses.field(repr=False)
    remarks: tuple[str, ...] = ()

    def calibration(self, groups: int = _TENTHS) -> pd.DataFrame:
        """Predicted probabilities against observed shares, in `groups` of one size, by landmark and outcome."""
        tables = []
        for place, part in self._parts():
            if part.happened.notna().sum() >= groups:
                table = scores.calibration(part.probability, part.happened, groups)
                tables.append(self._placed(table, place))
        if not tables:
            raise ValueError(
                "no outcome is yes or no, or none was seen often enough: ask for the probability of a number above a "
                "threshold by landmark(..., above=)."
            )
        return pd.concat(tables, ignore_index=True)

    def coverage(self, levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95)) -> pd.DataFrame:
        """The share of responses inside central predictive intervals, by landmark and outcome that is a number."""
        rows = []
        for place, part in self._parts():
            found = {f"{100 * level:g}%": scores.coverage(part.place, level) for level in levels}
            rows.append(self._placed(pd.DataFrame([found]), place))
        return pd.concat(rows).dropna().reset_index(drop=True)

    def _parts(self) -> Any:
        """Landmark (and outcome), and the predictions there."""
        return self.predictions.groupby(keys_of(self.predictions), sort=False)

    def _placed(self, table: pd.DataFrame, place: tuple) -> pd.DataFrame:
        """The table with columns before its own that say where it belongs."""
        for i, (name, value) in enumerate(zip(keys_of(self.predictions), place, strict=True)):
            table.insert(i, name, value)
        return table

    def _repr_html_(self) -> str:
        return self.table.round(3).to_html(index=False)


def landmark(
    fit: Estimated | Model,
    population: Population,
    at: float | int | Sequence[float | int],
    *,
    draws: int = 200,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    above: Mapping[str, float | int] | float | int | None = None,
    baselines: bool = False,
    reference: Population | None = None,
    proposal: AnyEncoder | None = None,
    proposed: int = 1000,
    key: PRNGKeyArray,
) -> Landmark:
    """Predict each person's later responses from the records up to each time of `at`, and score the predictions.

        p(y_later | y_early, theta) = integral p(y_later | eta, theta) p(eta | y_early, theta) d eta,

    by `draws` of the random effects of each person, as `individual` makes them, from the records with time <= `at`.
    An event that ends the watch is foretold row by row, of those who are still free of it at the row before (of
    `mf.hazard`, the last row at which that was seen), with H_j the integral of the hazard over row j's own time and
    S_j that up to its end, from the landmark on:

        P(event in row j | free before, y_early) = E[S_{j-1} (1 - exp(-H_j))] / E[S_{j-1}],    S_j = exp(-sum_k<=j H_k),

    the means over eta given y_early; the log scores of a person's rows add up to log E[their product]. `remarks` names
    those of whom few draws of eta are likely to be free for so long. Where anybody has rows after an event it may come
    again, which a remark then tells, and each row is foretold from the landmark alone, E[1 - exp(-H_j)].
    The other outcomes of a model with an event are foretold from the landmark alone too, whether or not the event
    comes before them; they can be scored of those only to whom it did not.

    Nothing that came later is looked at but by the scores, and for whether an event may come again. It serves people
    whom the fit has not seen; those whom it has seen are predicted too well.

        ahead = mf.landmark(fit, new_people, at=[3, 7, 14], above=5.0, baselines=True, key=key)
        ahead.table             # log score, RMSE, AUC, Brier score, calibration
        ahead.predictions       # person by person
        ahead.calibration()     # predicted and observed shares of what is above, or of what is yes or no

    **Arguments**

    - `fit`: a fit, or a model at its parameters. Theta is taken as known.
    - `population`: the people, with what came later where it is known. Rows without a response are predicted too.
    - `at`: one landmark or several, in the unit of time of the data.
    - `draws`: M, of each person. A number's quantiles come from one response for each draw.
    - `quantiles`: which quantiles of a response that is a number, one or more.
    - `above`: a threshold, or by outcome, whose exceeding is predicted as a probability.
    - `baselines`: scores also the person's own mean so far (with two pseudo-observations of the overall mean), and the
      mean at that time (or, where people have times of their own, in that twentieth of all times), both of
      `reference`, by default those whom the fit has seen. Of numbers they have no log score.
    - `proposal`: an encoder; by default that of the fit, if it has one, which is best trained on
      `Amortised(cut_records=True)`; else a mode is searched for each person.
    - `proposed`: draws from the proposal, of which `draws` are picked by their weights.
    - `key`: a `jax.random.key`.

    **Returns:** `Landmark`. Its table has, for each landmark and outcome: `cells`, how many responses were scored; the
    mean `log_score` of a cell; `rmse` of numbers and grades; `auc`, `brier`, and `calibration`, the mean distance of
    predicted and observed shares over tenths, of what happens or not; `cover90` of numbers.

    **Raises:** ValueError for a landmark after which nobody has a row, a model whose rows depend on each other, a
    threshold of an unknown outcome, or no one to take the baselines from.
    """
    require_key(key, "landmark")
    landmarks = _landmarks(at, population)
    levels = _levels(quantiles)
    thresholds = _thresholds(above, population)
    recurring = _recurring(population)
    encoder = proposal if proposal is not None else getattr(fit, "encoder", None)
    people = {}
    tables = []
    remarks = []
    for place, time in enumerate(landmarks):
        key_effects, key_later = jax.random.split(jax.random.fold_in(key, place))
        early = population.until(time)
        one = individual(fit, early, draws=draws, proposal=encoder, proposed=proposed, thetas=0, key=key_effects)
        keys = jax.random.split(key_later, len(population))
        people[time] = dataclasses.replace(one, population=population)
        asked = Asked(levels, thresholds, jnp.asarray(time), frozenset(recurring))
        told = foretold(one.model, jnp.asarray(one.eta), population.subjects, keys, asked)
        _refuse_thresholds_of_chances(told, asked)
        doubts = (*one.remarks, *_few_free(population, time, told, draws))
        remarks += [f"from {time:g} on: {doubt}" for doubt in doubts]
        tables += [later_rows(population, time, name, told[name], asked) for name in sorted(told)]
    predictions = together(tables)
    if baselines:
        chances = {name for name, one in told.items() if one.quantiles is None and one.grades is None}
        add_baselines(predictions, population, reference or getattr(fit, "population", None), chances)
    remarks += _of_recurring(one.model, population, recurring)
    return Landmark(scored(predictions), predictions, people, tuple(remarks))


def _few_free(population: Population, at: float, told: dict[str, Foretold], draws: int) -> list[str]:
    """On people of whom next to no draw of the random effects is likely to be free of an event for so long."""
    time = np.asarray(population.subjects.time)
    later = np.asarray(population.subjects.real) & (time > at)
    fewest = min(_FEWEST, draws / 2)
    found = []
    for name, one in sorted(told.items()):
        if one.effective is None:
            continue
        few = later & (np.asarray(one.effective) < fewest)
        who = np.any(few, axis=1)
        if not who.any():
            continue
        first = time[who][0][few[who][0]].min()
        of_outcome = f" of {name}" if name else ""
        found.append(
            f"the chances{of_outcome} told for {name_subjects(population, who)} (of the first from time {first:g} on) "
            f"rest on fewer than {fewest:g} of {draws} draws, for who is still free then is unlike most draws: "
            "take more draws."
        )
    return found


def _landmarks(at: Any, population: Population) -> list[float]:
    times = [float(time) for time in np.unique(np.asarray(at, float))]
    last = float(np.asarray(population.subjects.time)[np.asarray(population.subjects.real)].max())
    if not times or not np.all(np.isfinite(times)):
        raise ValueError("landmark needs one time or more, all finite: at=7, or at=[3, 7, 14].")
    if times[-1] >= last:
        raise ValueError(f"nobody has a row after {times[-1]:g}; the last is at {last:g}: give an earlier landmark.")
    return times


def _levels(quantiles: Sequence[float]) -> np.ndarray:
    levels = np.asarray(quantiles, float)
    if levels.ndim != 1 or not levels.size or np.any((levels <= 0) | (levels >= 1)):
        raise ValueError("landmark's quantiles are one number or more between 0 and 1, such as (0.05, 0.5, 0.95).")
    return levels


def _thresholds(above: Any, population: Population) -> dict[str, float]:
    if above is None:
        return {}
    thresholds = {str(name): float(value) for name, value in as_dict(above).items()}
    names = population.outcomes or (UNNAMED,)
    for name in thresholds:
        if name not in names:
            raise ValueError(f"above= names {name or 'no outcome'!r}, and the outcomes are {', '.join(names)}.")
    return thresholds


def _recurring(population: Population) -> dict[str, int]:
    """The outcomes of which somebody was watched on after a response that was not 0, and who that is first.

    Such an event may come again.
    """
    time = np.asarray(population.subjects.time)
    found = {}
    for name, y in as_dict(population.subjects.y).items():
        seen = np.asarray(as_dict(population.subjects.mask)[name], bool)
        first = np.where(seen & (np.asarray(y) != 0), time, np.inf).min(axis=1, keepdims=True)
        watched_on = np.any(seen & (time > first), axis=1)
        if watched_on.any():
            found[name] = int(np.argmax(watched_on))
    return found


def _of_recurring(model: Model, population: Population, recurring: Mapping[str, int]) -> list[str]:
    """On events that are taken to come again, which changes what is foretold of everybody."""
    densities = as_dict(first_density(model, population))
    return [
        f"the event{f' of {name}' if name else ''} is taken to come again, since subject {population.ids[who]} has "
        "rows after one: of an event that ends the watch leave out the rows after it."
        for name, who in sorted(recurring.items())
        if is_event(densities[name])
    ]


def _refuse_thresholds_of_chances(told: dict[str, Foretold], asked: Asked) -> None:
    for name in asked.thresholds:
        if told[name].quantiles is None:
            raise ValueError(f"above= gives a threshold for {name!r}, which is no number: leave it out there.")
