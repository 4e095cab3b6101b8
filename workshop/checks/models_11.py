"""Exercise 11.6, one patient from a table: who they are, what is known, and the dose, against quadrature."""

from typing import Any

import numpy as np

import mefit as mf
from workshop.checks.engine import Wrong
from workshop.studies import exact_patient as exact
from workshop.studies import patients_by_draws as given

DRAWS = 500  # in all: of fewer the shares of a table are too rough
_CLOSE = 0.04  # of the expected loss, to the best that quadrature finds


def judge_who(answer: Any) -> None:
    """`who`: what is known of Bea by `mf.individual`."""
    if isinstance(answer, mf.Population):
        raise Wrong(
            "This is the patient as read. What is known of her comes from mf.individual(model, patient, ...).", 2
        )
    if not isinstance(answer, mf.Individuals):
        raise Wrong(f"`who` is what mf.individual returns; this is a {type(answer).__name__}.", 1)
    if len(answer) != 1:
        raise Wrong(f"Bea is one person, and these are {len(answer)}.", 1)
    rows = answer.population.subjects
    seen = np.asarray(rows.mask)[0]
    times = np.asarray(rows.time)[0][seen]
    if times.size == 0:
        raise Wrong("Her sample is not in it: these draws are from the population. Read the row with DV, too.", 1)
    if np.any(np.asarray(rows.doses.amount)[0].sum() != exact.DOSE):
        raise Wrong("She got 100 mg once. Keep the row with AMT.", 1)
    if not np.allclose(times, given.BEA[0]) or not np.allclose(np.asarray(rows.y)[0][seen], given.BEA[1]):
        raise Wrong("This is another patient than the one of the table.", 1)
    model: Any = answer.model
    if type(model).__name__ != "Oral" or not np.allclose(np.asarray(model.omega), np.diag(given.SD**2)):
        raise Wrong("Another model than `model` was asked.", 2)
    if answer.eta.shape[1] < DRAWS:
        raise Wrong(f"{answer.eta.shape[1]} draws make rough tables: take {DRAWS} or more.", 2)


def shares(dose: float) -> tuple[float, float, float]:
    """Bea's exact chances of an area below and above the window, and of a peak above the limit."""
    mass = exact.masses(*given.BEA)
    log_cl, chance = exact.distribution(mass)
    below = 1.0 - np.interp(np.log(dose / given.WINDOW[0]), log_cl, chance)
    above = np.interp(np.log(dose / given.WINDOW[1]), log_cl, chance)
    peak = dose / exact.DOSE * given.peaks(exact.grid()[0])
    return float(below), float(above), float(mass @ (peak > given.PEAK))


def loss(dose: float) -> float:
    """Her exact expected loss."""
    below, above, _ = shares(dose)
    return given.OVER * above + given.UNDER * below


def judge_choice(answer: Any) -> None:
    """`choice`: her dose, by least expected loss under the ceiling, in steps of 10 mg."""
    if not isinstance(answer, mf.dosing.Choice):
        raise Wrong(f"`choice` is what mf.dosing.find returns; this is a {type(answer).__name__}.", 1)
    _judge_goal(answer.goal)
    (name,) = answer.chosen.values()
    if name is None:
        raise Wrong("No dose that you allowed keeps the ceiling: let `find` search from 20 mg on.", 3)
    dose = float(np.sum(np.asarray(answer.regimens[name].amount)))
    if not np.isclose(dose / given.STEP, round(dose / given.STEP)):
        raise Wrong(f"{name} mg cannot be given: tablets come in steps of 10 mg, step=10.", 2)
    best = min(loss(d) for d in given.possible() if shares(d)[2] <= given.PROBABILITY)
    if loss(dose) > best + _CLOSE:
        raise Wrong("This is not the dose of least expected loss: let mf.dosing.find search from 20 to 200 mg.", 3)


def _judge_goal(goal: Any) -> None:
    if goal.ends != tuple(map(float, given.WINDOW)):
        raise Wrong("The target is another: target=trials.WINDOW.", 1)
    if goal.label != "auc":
        raise Wrong(
            f"The quantity is {goal.label}, and the target is for the area, which is what a Goal begins with.", 1
        )
    if goal.grid[0] != 0.0 or goal.grid[-1] < 72.0:
        raise Wrong("The area goes from 0 to 72 h here: time=np.linspace(0, 72, 145).", 2)
    if np.max(np.diff(goal.grid)) > 1.0:
        raise Wrong("The times of the goal are too far apart for an area: take one every half hour.", 2)
    if not isinstance(goal.loss, mf.dosing.Window) or goal.loss.over / goal.loss.under != given.OVER / given.UNDER:
        raise Wrong("Too much is five times as bad as too little, which is what a Goal begins with.", 2)
    found = [one for one in goal.ceilings if one.quantity == "cmax" and one.above == given.PEAK]
    if not found:
        raise Wrong("The ceiling is missing: mf.dosing.Ceiling of cmax, above trials.PEAK.", 2)
    if found[0].probability != given.PROBABILITY:
        raise Wrong("The ceiling allows another probability than 5%.", 2)
