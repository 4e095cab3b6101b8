"""A new patient, measurement by measurement: which kind it is of, where its line goes, and the set of what may come.

Everything is in closed form (`workshop.studies.two_kinds`): the gate at the patient's covariates, then Bayes' rule for
the class, and in each class the Gaussian posterior of level and slope.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import mefit as mf
from workshop.explorers.controls import ANSWER, Control, Refused, Slider, Switch
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span
from workshop.explorers.stage import Move, Stage
from workshop.studies.two_kinds import (
    Cut,
    Kind,
    Mixed,
    ahead,
    kinds_of,
    log_marginal,
    own_line,
    records,
    responsibilities,
    smallest_sets,
)

LAST = 8.0  # years that are followed
AHEAD = 2.0  # years from today to the slice
LEVEL = 0.95
RISING, STEADY = NAMES = ("first", "third")  # of `style.SERIES`
LOWEST, HIGHEST = -2.5, 6.5
_AT = np.arange(0.0, LAST + AHEAD + 0.25, 0.5)
_SLICE = np.linspace(LOWEST, HIGHEST, 181)


@dataclass(frozen=True)
class Prepared:
    """The two kinds, and of each new patient the log shares by the gate, times and responses."""

    kinds: list[Kind]
    log_shares: np.ndarray
    data: list[tuple[np.ndarray, np.ndarray]]


def prepare(model: Any, population: mf.Population) -> Prepared:
    """The numbers of a fitted mixture of two lines, and of patients whom it has not seen."""
    log_shares = np.array([np.asarray(model.gate.log_shares(population[i])) for i in range(len(population))])
    return Prepared(kinds_of(model), log_shares, records(population))


@dataclass(frozen=True)
class Known:
    """Patient `person`, from 0, `today`: how many measurements are `seen`; the `chances` (n + 1, 2) of both kinds
    before and after each of them; `lines` (2, t) of both kinds; and the `sets` of what may come over `_AT`."""

    person: int
    today: float
    time: np.ndarray
    y: np.ndarray
    chances: np.ndarray
    lines: np.ndarray
    sets: list[Cut]
    next: Mixed
    slice: Cut
    imagined: float
    imagine: bool
    shown: bool


def compute(
    prepared: Prepared,
    today: float,
    person: int = 1,
    imagined: float = 1.0,
    imagine: bool = False,
    answer: bool = False,
) -> Known:
    """What is known of a `person`, from 1, by the measurements up to `today`, and by an `imagined` one if it counts."""
    if not (0.0 <= today <= LAST and 1 <= person <= len(prepared.data)):
        raise Refused(f"Days are from 0 to {LAST:g} years, and patients from 1 to {len(prepared.data)}.")
    every_time, every_y = prepared.data[person - 1]
    log_shares = prepared.log_shares[person - 1]
    seen = every_time < today if today > 0 else np.zeros(every_time.size, bool)
    time = every_time[seen]
    y = every_y[seen]
    if imagine:
        time = np.append(time, today)
        y = np.append(y, imagined)
    chances = []
    for n in range(time.size + 1):
        log_l = np.array([log_marginal(kind, time[:n], y[:n]) for kind in prepared.kinds])
        chances.append(responsibilities(log_shares, log_l))
    lines = np.array([own_line(kind, time, y)[0] @ np.array([np.ones(_AT.size), _AT]) for kind in prepared.kinds])
    future = ahead(prepared.kinds, log_shares, time, y, _AT)
    next_one = ahead(prepared.kinds, log_shares, time, y, np.array([today + AHEAD]))
    return Known(
        person=person - 1,
        today=today,
        time=time,
        y=y,
        chances=np.array(chances),
        lines=lines,
        sets=smallest_sets(future, LEVEL),
        next=next_one,
        slice=smallest_sets(next_one, LEVEL)[0],
        imagined=imagined,
        imagine=imagine,
        shown=answer,
    )


def say(found: Known) -> str:
    rising = found.chances[-1, 0]
    count = found.time.size
    after = "Before any measurement" if count == 0 else f"After {count} measurement{'s' * (count > 1)}"
    kind = "rises" if rising > 0.5 else "stays steady"
    chance = max(rising, 1.0 - rising)
    told = f"a chance of {chance:.0%}" if chance < 0.995 else "near certainty"
    parts = len(found.slice.parts)
    ends = " and ".join(f"{low:.1f} to {high:.1f}" for low, high in found.slice.parts)
    return (
        f"{after} this is a patient who {kind}, with {told}.\nIn {AHEAD:g} years log bilirubin is in {ends} with "
        f"{LEVEL:.0%}: {parts} interval{'s' * (parts > 1)}, {found.slice.length:.2f} long. "
        f"By the gate alone the chance to rise was {found.chances[0, 0]:.0%}."
    )


def scene(prepared: Prepared, found: Known) -> Scene:
    years = Axis(-0.4, LAST + AHEAD + 0.3, "time (years)", ticks=(0, 2, 4, 6, 8, 10))
    panels = {
        "curve": Panel(
            years, Axis(LOWEST, HIGHEST, "log bilirubin (mg/dL)"), f"Patient {found.person + 1}: drag today"
        ),
        "kind": Panel(
            Axis(-0.3, 12.3, "measurements seen", ticks=(0, 3, 6, 9, 12)),
            Axis(-0.04, 1.04, ticks=[(0, "0"), (0.5, "50%"), (1, "100%")]),
            "Which kind?",
        ),
        "slice": Panel(
            Axis(LOWEST, HIGHEST, f"log bilirubin {AHEAD:g} years from today"),
            Axis(0.0, 1.3, ticks=()),
            f"What may come, and its {LEVEL:.0%} set",
            "posterior",
        ),
    }
    return Scene(panels, [*_curve(prepared, found), *_kind(found), *_slice(found)])


def _curve(prepared: Prepared, found: Known) -> list[Mark]:
    """Measurements, both kinds' lines for this patient, and the sets of what may come."""
    bars = [(at, *part) for at, cut in zip(_AT, found.sets, strict=True) for part in cut.parts]
    at, low, high = np.array(bars).T
    marks: list[Mark] = [Span("curve", "sets", "posterior", at, low, at, high, f"{LEVEL:.0%} set")]
    for k, (meaning, label) in enumerate(zip(NAMES, ("if rising", "if steady"), strict=True)):
        weight = "strong" if found.chances[-1, k] > 0.5 else "thin"
        marks.append(Line("curve", label, meaning, _AT, found.lines[k], label, weight=weight))
    every_time, every_y = prepared.data[found.person]
    later = (every_time >= found.today) & (every_time <= LAST + AHEAD)
    if found.shown and np.any(later):
        marks.append(Dots("curve", "to come", "truth", every_time[later], every_y[later], "to come", size=11))
    own = found.time < found.today if found.imagine else np.ones(found.time.size, bool)
    if np.any(own):
        marks.append(Dots("curve", "seen", "data", found.time[own], found.y[own], "seen", size=9))
    return [
        *marks,
        Rule("curve", "today", "guide", "x", found.today, "today", Drag(x="today")),
        Dots(
            "curve",
            "imagined",
            "data" if found.imagine else "guide",
            found.today,
            found.imagined,
            "imagined",
            Drag(y="imagined"),
            size=12,
            shape="D",
        ),
    ]


def _kind(found: Known) -> list[Mark]:
    """The chances of both kinds, from the gate on."""
    count = np.arange(len(found.chances))
    marks: list[Mark] = []
    for k, (meaning, label) in enumerate(zip(NAMES, ("rising", "steady"), strict=True)):
        marks.append(Line("kind", f"{label} so far", meaning, count, found.chances[:, k]))
        marks.append(Dots("kind", label, meaning, count, found.chances[:, k], size=8))
    return marks


def _slice(found: Known) -> list[Mark]:
    """The density two years from today, cut where the smallest set ends."""
    p = np.minimum(found.next.density(_SLICE[None])[0], 1.29)
    marks: list[Mark] = [Line("slice", "density", "posterior", _SLICE, p)]
    for part, (low, high) in enumerate(found.slice.parts):
        y = np.linspace(low, high, 60)
        height = np.minimum(found.next.density(y[None])[0], 1.29)
        marks.append(Band("slice", f"part {part + 1}", "posterior", y, 0 * y, height, weight="strong"))
    return [*marks, Rule("slice", "cut", "guide", "y", min(found.slice.height, 1.29), weight="thin")]


def class_by_class(model: Any, population: mf.Population) -> Stage:
    """The explorer of lesson 12: measurements come in one by one, and class, line and set follow.

    **Arguments:** `model`, a fitted mixture of two lines, and patients whom it has not seen.
    """
    prepared = prepare(model, population)
    controls: dict[str, Control] = {
        "today": Slider("Today", 0.0, LAST, 0.0, 0.1, unit="years", play=True),
        "person": Slider("Patient", 1, len(prepared.data), min(15, len(prepared.data)), 1),
        "imagined": Slider("An imagined measurement", -1.5, 3.5, 1.0, 0.1),
        "imagine": Switch("it counts", False),
        "answer": ANSWER,
    }
    alt = (
        "Left: a patient's log bilirubin over years, the line of each kind, and sets of what may come. Right: the "
        "chance of each kind after each measurement, and the density two years from today with its smallest set."
    )
    tries: Sequence[Move] = [
        ("the first visits", {"today": 1.2, "imagine": False}),
        ("a late turn", {"person": min(32, len(prepared.data)), "today": 3.2, "imagine": False}),
        ("if it were high today", {"imagined": 3.0, "imagine": True}),
        ("back to the gate", {"today": 0.0, "imagine": False}),
    ]
    return Stage(
        partial(compute, prepared),
        partial(scene, prepared),
        say,
        controls,
        alt=alt,
        layout=["curve kind", "curve slice"],
        widths=[1.35, 1],
        heights=[1, 1],
        size=(940, 500),
        tries=tries,
    )
