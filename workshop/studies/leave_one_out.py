"""Doses for real people, each left out of the fit: chosen from two of their samples, judged by the others.

Kinetics are taken to be linear, so that c times all doses give c times all concentrations: of what a person would have
had under another dose, the samples that were not shown tell without any model.

    theophylline    12 adults, one oral dose: the dose (mg/kg) for an area to 24 h within 80 to 125% of 100 mg h/L
    phenobarbital   newborn infants with three samples or more: the factor of all doses for 20 to 31 mg/L at the
                    last of their samples
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

import mefit as mf

from . import newborns
from .all_methods import Theophylline

RULES = ("population", "plug-in", "least loss")
_DRAWS = 1000
_SHOWN = (4, 8)  # of the eleven samples after theophylline: near 2 h and 9 h
_LAST = 24.0


def theophylline(seed: int = 0) -> pd.DataFrame:
    """A row for each person and rule: the dose (mg/kg), and the area (mg h/L) that it would have given."""
    people = mf.datasets.theophylline()
    values: dict[str, Any] = {"ka": 1.5, "cl": 0.04, "v": 0.5, "omega": np.diag([0.4, 0.1, 0.05]), "sigma": 0.7}
    start = Theophylline(**values)
    goal = mf.dosing.Goal(time=np.concatenate([[0.0], np.geomspace(0.05, _LAST, 80)]), target=(80.0, 125.0))
    rows = []
    for i in range(len(people)):
        fit = _without(people, i, start)
        person = people[[i]]
        area, given = _area_of_the_others(people[i])

        def asked(shown: mf.Population, fit: mf.Fit = fit) -> Any:
            known = mf.individual(fit, shown, draws=_DRAWS, key=jax.random.key(seed))
            unit = goal.measures(known, [mf.regimen(1.0)], "1 mg/kg")["auc"][0]
            found = mf.dosing.find(known, mf.regimen, (1.0, 20.0), goal)
            return unit, _amount(found)

        for rule, dose, predicted in _by_rule(asked, person, person.keep_rows(_SHOWN), goal):
            row = {"person": person.ids[0], "rule": rule, "dose": dose}
            rows.append(row | {"reached": dose / given * area, "error": np.log(predicted * given / area)})
    return _judged(pd.DataFrame(rows), goal)


def phenobarbital(seed: int = 0) -> pd.DataFrame:
    """A row for each infant and rule: the factor of its doses, and the concentration that it would have given."""
    people = mf.datasets.phenobarbital()
    start = newborns.start((1.0, 1.0))
    rows = []
    goal = mf.dosing.Goal(time=[0.0, 1.0], target=(20.0, 31.25), quantity="trough")
    for i in np.flatnonzero(people.rows >= 3):
        fit = _without(people, int(i), start, fixed=("power",))
        person = people[[int(i)]]
        alone = people[int(i)]
        last = float(alone.time[-1])
        own = mf.dosing.Goal(time=[last - 1.0, last], target=goal.target, quantity="trough")

        def scaled(factor: float, doses: mf.Doses = alone.doses) -> mf.Doses:
            return mf.Doses.of(factor * doses.amount, doses.time)

        def asked(shown: mf.Population, fit: mf.Fit = fit, own: Any = own, scaled: Callable = scaled) -> Any:
            known = mf.individual(fit, shown, draws=_DRAWS, key=jax.random.key(seed))
            unit = own.measures(known, None, "own doses")["trough"][0]
            found = mf.dosing.find(known, scaled, (0.2, 5.0), own)
            return unit, _amount(found)

        seen = float(alone.y[-1])
        for rule, factor, predicted in _by_rule(asked, person, person.keep_rows((0, 1)), own):
            row = {"person": person.ids[0], "rule": rule, "dose": factor}
            rows.append(row | {"reached": factor * seen, "error": np.log(predicted / seen)})
    return _judged(pd.DataFrame(rows), goal)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By rule: people, the shares inside, below and above, the mean loss with its standard error, and the root mean
    square of log(predicted / seen)."""
    grouped = table.groupby("rule", sort=False)
    found = grouped[["inside", "below", "above", "loss"]].mean()
    found.insert(0, "people", grouped.size())
    found["se of loss"] = grouped["loss"].sem()
    found["error"] = grouped["error"].apply(lambda error: float(np.sqrt(np.mean(error**2))))
    return found


def _without(people: mf.Population, i: int, start: mf.Model, **options: Any) -> mf.Fit:
    """The fit of everybody else."""
    others = people[np.delete(np.arange(len(people)), i)]
    fit = mf.fit(start, others, mf.Laplace(), progress=False, **options)
    if not fit.converged:
        raise ValueError(f"the fit without person {people.ids[i]} has not converged: {fit.message}")
    return fit


def _area_of_the_others(person: mf.Subject) -> tuple[float, float]:
    """The area to 24 h by the samples that are not shown, and the dose that gave it."""
    hidden = np.delete(np.arange(person.time.size), _SHOWN)
    time = np.asarray(person.time)[hidden]
    concentration = np.asarray(person.y)[hidden]
    # from the last sample but one the curve falls as an exponential: to where it is at 24 h
    slope = np.log(concentration[-1] / concentration[-2]) / (time[-1] - time[-2])
    at_last = concentration[-2] * np.exp(slope * (_LAST - time[-2]))
    found = mf.exposure(np.append(time[:-1], _LAST), np.append(concentration[:-1], at_last), rule="linear up, log down")
    return float(found["auc"]), float(person.doses.amount[0])


def _amount(found: mf.dosing.Choice) -> float:
    """The amount that was found for the one person who was asked for."""
    (name,) = found.chosen.values()
    assert name is not None, "there are no ceilings that it could break"
    return float(name)


def _by_rule(
    asked: Callable[[mf.Population], tuple[Float[np.ndarray, " M"], float]],
    person: mf.Population,
    shown: mf.Population,
    goal: mf.dosing.Goal,
) -> list[tuple[str, float, float]]:
    """The dose by each rule, and the median of what one unit of it is predicted to give."""
    nothing = person.until(-1.0)
    before, by_population = asked(nothing)
    after, by_loss = asked(shown)
    middle = float(np.sqrt(goal.ends[0] * goal.ends[1]))
    plug_in = middle / float(np.median(after))
    predicted = float(np.median(after))
    return [
        (RULES[0], by_population, float(np.median(before))),
        (RULES[1], plug_in, predicted),
        (RULES[2], by_loss, predicted),
    ]


def _judged(table: pd.DataFrame, goal: mf.dosing.Goal) -> pd.DataFrame:
    low, high = goal.ends
    reached = table.reached.to_numpy()
    below = reached < low
    above = reached > high
    return table.assign(inside=~below & ~above, below=below, above=above, loss=goal.costs(reached))
