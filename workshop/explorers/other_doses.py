"""Flexible models of curves asked about other doses than those that they were trained on, and about later times.

What is known of a person comes from samples at the person's own dose. Each model then says which curve would follow
another one. All of it is asked once, dose by dose, so that a move is a look into a table; between doses the logarithm
of the concentration is interpolated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

import mefit as mf
from mefit import style
from mefit.fitting.result import Fit
from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene
from workshop.explorers.stage import Move, Stage
from workshop.studies import hard_profiles as study

LEAST, MOST = 15.0, 600.0  # mg: 0.3 times the lowest dose of the trial, and 3 times the highest
DOSES = np.geomspace(LEAST, MOST, 9)
HOURS = np.linspace(0.25, 36.0, 73)
WATCHED = 4
_DRAWS = 40
_SEEN = HOURS <= study.LAST
_FOR_EACH = 100.0  # mg, of which concentrations are shown


@dataclass(frozen=True)
class Answers:
    """Of each model by its name, the mean log-concentration (9, 4, 73) at each dose of four people, and over more of
    them the root mean square error (9,) of the log area to 24 h; the `truth` (9, 4, 73); samples by person."""

    curves: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    truth: np.ndarray
    samples: list[tuple[np.ndarray, np.ndarray]]


def log_area(log_curves: np.ndarray) -> np.ndarray:
    """The logarithm of the area to the last time of the trial."""
    return np.log(np.trapezoid(np.exp(log_curves[..., _SEEN]), HOURS[_SEEN], axis=-1))


def prepare(fits: Mapping[str, Fit], name: str, new: study.Study, key: jax.Array) -> Answers:
    """What models say of `new` people of the truth called `name`, at all doses."""
    truth = np.stack([study.curves(name, new, HOURS, float(dose)) for dose in DOSES])
    curves: dict[str, np.ndarray] = {}
    errors: dict[str, np.ndarray] = {}
    for label, fit in fits.items():
        model: Any = fit.model
        who = mf.individual(model, new.population, draws=_DRAWS, proposed=1000, proposal=fit.encoder, key=key)
        told = [who.curves(HOURS, mf.regimen(float(dose))) for dose in DOSES]
        area = np.stack([log_area(one).mean(axis=1) for one in told])
        errors[label] = np.sqrt(np.mean((area - log_area(truth)) ** 2, axis=1))
        curves[label] = np.stack([one[:WATCHED].mean(axis=1) for one in told])
    records = new.population.subjects
    samples = []
    for k in range(WATCHED):
        given = float(records.doses.amount[k].sum())
        samples.append((np.asarray(records.time[k]), np.asarray(records.y[k]) - np.log(given / _FOR_EACH)))
    return Answers(curves, errors, truth[:, :WATCHED], samples)


@dataclass(frozen=True)
class Asked:
    """A person, from 0, and a dose: the log-concentrations (73,) by the truth and by each model, for each 100 mg, how
    far off each is in the area at this dose, and how far after the last time of the trial (root mean squares)."""

    person: int
    dose: float
    truth: np.ndarray
    curves: dict[str, np.ndarray]
    errors: dict[str, float]
    late: dict[str, float]

    @property
    def beyond(self) -> bool:
        """Whether the dose lies outside of the trial's."""
        return not study.LOWEST <= self.dose <= study.HIGHEST


def _at(table: np.ndarray, dose: float) -> np.ndarray:
    """A table over `DOSES`, interpolated in the logarithm of the dose."""
    place = float(np.interp(np.log(dose), np.log(DOSES), np.arange(DOSES.size)))
    left = min(int(place), DOSES.size - 2)
    part = place - left
    return (1.0 - part) * table[left] + part * table[left + 1]


def compute(answers: Answers, dose: float, person: int = 1) -> Asked:
    """What is said of the `person`, from 1, after a `dose` in mg."""
    if not (LEAST <= dose <= MOST and 1 <= person <= WATCHED):
        raise Refused(f"Doses are {LEAST:g} to {MOST:g} mg, and people 1 to {WATCHED}.")
    k = person - 1
    unit = np.log(dose / _FOR_EACH)
    truth = _at(answers.truth, dose)
    late = {}
    for name, table in answers.curves.items():
        apart = (_at(table, dose) - truth)[:, ~_SEEN]
        late[name] = float(np.sqrt(np.mean(apart**2)))
    return Asked(
        person=k,
        dose=dose,
        truth=truth[k] - unit,
        curves={name: _at(table, dose)[k] - unit for name, table in answers.curves.items()},
        errors={name: float(_at(error, dose)) for name, error in answers.errors.items()},
        late=late,
    )


def say(found: Asked) -> str:
    worst = max(found.errors, key=lambda name: found.errors[name])
    best = min(found.errors, key=lambda name: found.errors[name])
    where = "outside of the trial's doses" if found.beyond else "within the trial's doses"
    each = ", ".join(f"{name} {error:.2f}" for name, error in found.errors.items())
    late = ", ".join(f"{error:.2f}" for error in found.late.values())
    return (
        f"At {found.dose:.3g} mg, {where}, the area is off by {np.expm1(found.errors[worst]):.0%} for the {worst}, and "
        f"by {np.expm1(found.errors[best]):.0%} for the {best}.\nErrors of the log area: {each}. After 24 h, of log C "
        f"in the same order: {late}."
    )


def scene(answers: Answers, found: Asked) -> Scene:
    hours = Axis(0.0, 36.5, "time after the dose (h)", ticks=(0, 6, 12, 18, 24, 30, 36))
    top = max(float(error.max()) for error in answers.errors.values())
    panels = {
        "curve": Panel(
            hours,
            Axis(0.03, 8.0, "mg/L for each 100 mg", log=True, ticks=(0.03, 0.1, 0.3, 1, 3)),
            f"Person {found.person + 1}, asked about another dose",
        ),
        "error": Panel(
            Axis(LEAST, MOST, "dose that is asked about (mg)", log=True, ticks=(15, 50, 100, 200, 600)),
            Axis(0.0, 1.1 * top, "error of the log area"),
            "How far off the area is",
        ),
    }
    time, y = answers.samples[found.person]
    hold = Drag(x="dose")
    marks: list[Mark] = [
        Rule("curve", "last", "guide", "x", study.LAST, weight="thin"),
        Line("curve", "truth", "truth", HOURS, np.exp(found.truth), "truth"),
        Band("error", "trial", "guide", [study.LOWEST, study.HIGHEST], [0, 0], [1.1 * top] * 2, "trial"),
        Rule("error", "dose", "guide", "x", found.dose, drag=hold),
    ]
    for meaning, (name, error) in zip(style.SERIES, answers.errors.items(), strict=False):
        marks += [
            Line("curve", name, meaning, HOURS, np.exp(found.curves[name]), name),
            Line("error", name, meaning, DOSES, error),
            Dots("error", f"{name} here", meaning, found.dose, found.errors[name], drag=hold, size=11),
        ]
    marks.append(Dots("curve", "samples", "data", time, np.exp(y), "samples", size=8))
    return Scene(panels, marks)


def other_doses(fits: Mapping[str, Fit], name: str, new: study.Study, key: jax.Array) -> Stage:
    """The explorer of lesson 11: flexible models of curves, inside and outside of the doses that they saw.

    **Arguments**

    - `fits`: up to four, by their names, of models of log-concentrations; an encoder of theirs is the proposal.
    - `name`: of the truth, out of `hard_profiles.TRUTHS`.
    - `new`: people of that truth who were in no fit, four or more.
    - `key`: a `jax.random.key`.
    """
    answers = prepare(fits, name, new, key)
    controls: dict[str, Control] = {
        "dose": Slider("Dose that is asked about", LEAST, MOST, 100.0, unit="mg", log=True),
        "person": Slider("Person", 1, WATCHED, 1, 1),
    }
    alt = (
        "Left: a person's curve for each 100 mg, in truth and by each model, with the samples; the line is the last "
        "time of the trial. Right: the error of each model's area against the dose that is asked about."
    )
    tries: Sequence[Move] = [
        ("three times the highest", {"dose": MOST}),
        ("a third of the lowest", {"dose": LEAST}),
        ("back within", {"dose": 100.0}),
    ]
    return Stage(
        partial(compute, answers),
        partial(scene, answers),
        say,
        controls,
        alt=alt,
        layout=["curve error"],
        widths=[1.3, 1],
        size=(940, 440),
        tries=tries,
    )
