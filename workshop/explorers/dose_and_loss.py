"""A dose for one person: the chances of too little and too much, and what they cost.

The area after a dose D is D / CL, so that its logarithm has the posterior of -log CL, moved by log D. For a Gaussian
posterior of log CL with mean m and SD s the least expected loss lies at

    log D = m + (log low + log high) / 2 - s^2 log(over / under) / (log high - log low).

Posteriors come by quadrature from `workshop.studies.exact_patient`.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import ANSWER, Choice, Control, Refused, Slider
from workshop.explorers.one_more_sample import HANDS, LATE, NONE, PEOPLE, TIMES, known
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Move, Stage
from workshop.studies import exact_patient as exact
from workshop.studies.one_person import AIM, TARGET

LEAST = 30.0  # mg
MOST = 200.0
DOSES = np.geomspace(LEAST, MOST, 96)
_AREAS = (8.0, 140.0)  # mg h/L, in sight
_COSTLY = 10.0
_PARTS = (("below", "prior", "too little"), ("inside", "posterior", "80 to 125%"), ("above", "joint", "too much"))
_HIGHEST = 2.9  # expected loss in sight


@functools.lru_cache(maxsize=32)
def clearance(person: int, hand: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log CL (f,), its density, and its distribution function, of a person, from 0."""
    one = known(person, TIMES[hand])
    return *one.density, exact.distribution(one.mass)[1]


@dataclass(frozen=True)
class Dosed:
    """A person, from 0, and a dose: over `DOSES` the chances (96,) of an area `below` and `above` the target, and the
    expected `loss`; the dose of `least` loss, and the one that aims at the middle, `likely`. `here` has the same three
    numbers at the dose."""

    person: int
    hand: str
    dose: float
    over: float
    below: np.ndarray
    above: np.ndarray
    loss: np.ndarray
    here: tuple[float, float, float]
    least: float
    likely: float
    shown: bool


def chances(dose: np.ndarray | float, person: int, hand: str) -> tuple[np.ndarray, np.ndarray]:
    """P(area below the target) and P(area above it) at these doses."""
    log_cl, _, distribution = clearance(person, hand)
    log_dose = np.log(dose)
    below = 1.0 - np.interp(log_dose - np.log(TARGET[0]), log_cl, distribution)
    above = np.interp(log_dose - np.log(TARGET[1]), log_cl, distribution)
    return below, above


def best_dose(over: float, person: int, hand: str) -> float:
    """The dose, of all that are in sight, with the least expected loss."""
    fine = np.geomspace(LEAST, MOST, 2000)
    below, above = chances(fine, person, hand)
    return float(fine[np.argmin(below + over * above)])


def compute(dose: float, over: float = 5.0, hand: str = NONE, person: int = 1, answer: bool = False) -> Dosed:
    """A `dose` in mg for a `person`, from 1, where an overdose is `over` times as bad as too little."""
    if not (LEAST <= dose <= MOST and 0.0 < over <= _COSTLY and 1 <= person <= PEOPLE):
        raise Refused(
            f"A dose is from {LEAST:g} to {MOST:g} mg, a cost up to {_COSTLY:g}, a person from 1 to {PEOPLE}."
        )
    k = person - 1
    below, above = chances(DOSES, k, hand)
    low, high = chances(dose, k, hand)
    log_cl, _, distribution = clearance(k, hand)
    return Dosed(
        person=k,
        hand=hand,
        dose=dose,
        over=over,
        below=below,
        above=above,
        loss=below + over * above,
        here=(float(low), float(high), float(low + over * high)),
        least=best_dose(over, k, hand),
        likely=float(AIM * np.exp(np.interp(0.5, distribution, log_cl))),
        shown=answer,
    )


def area(found: Dosed) -> float:
    """The true area at this dose."""
    return found.dose / exact.patients(PEOPLE)[found.person].clearance


def say(found: Dosed) -> str:
    low, high, loss = found.here
    text = (
        f"{found.dose:.3g} mg: too little with a chance of {low:.0%}, too much with {high:.0%}.\nThe expected loss is "
        f"{loss:.2f}; it is least, {found.loss.min():.2f}, at {found.least:.0f} mg. The plug-in dose is "
        f"{found.likely:.0f} mg, with {np.interp(found.likely, DOSES, found.loss):.2f}."
    )
    if found.shown:
        true = area(found)
        what = "too little" if true < TARGET[0] else "too much" if true > TARGET[1] else "within the target"
        text += f" In truth the area is {true:.1f} mg h/L: {what}."
    return text


def scene(found: Dosed) -> Scene:
    doses = Axis(LEAST, MOST, "dose (mg)", log=True, ticks=(30, 50, 75, 100, 150, 200))
    share = Axis(-0.02, 1.02, ticks=[(0, "0"), (0.5, "50%"), (1, "100%")])
    panels = {
        "area": Panel(
            Axis(*_AREAS, "area under the curve (mg h/L)", log=True, ticks=(10, 20, 27, 42, 60, 100)),
            Axis(0.0, 4.4, ticks=()),
            f"Patient {found.person + 1}: area after the dose",
        ),
        "cost": Panel(
            Axis(*_AREAS, "area under the curve (mg h/L)", log=True, ticks=(10, 20, 27, 42, 60, 100)),
            Axis(-0.4, _COSTLY + 2.0, "loss", ticks=(1, 5, 10)),
            "What it costs: drag it",
        ),
        "chance": Panel(Axis(LEAST, MOST, log=True, ticks=doses.ticks), share, "Too little, and too much"),
        "loss": Panel(doses, Axis(-0.05, _HIGHEST, "expected loss"), "Expected loss", "posterior"),
    }
    return Scene(panels, [*_area(found), *_cost(found), *_over_doses(found)])


def _area(found: Dosed) -> list[Mark]:
    """The density of the area in three parts."""
    log_cl, height, _ = clearance(found.person, found.hand)
    x = found.dose / np.exp(log_cl[::-1])
    y = height[::-1]
    marks: list[Mark] = []
    ends = (0.0, TARGET[0], TARGET[1], np.inf)
    for k, (name, meaning, label) in enumerate(_PARTS):
        low = max(ends[k], _AREAS[0])
        high = min(ends[k + 1], _AREAS[1])
        own = np.geomspace(low, high, 60)
        marks.append(Band("area", name, meaning, own, 0 * own, np.interp(own, x, y, 0.0, 0.0), label, weight="strong"))
    marks.append(Rule("area", "ends", "guide", "x", TARGET, weight="thin"))
    if found.shown:
        marks.append(Rule("area", "truth", "truth", "x", area(found), "truth"))
    return marks


def _cost(found: Dosed) -> list[Mark]:
    """The loss over the area; its right part is the lever."""
    x = np.array([_AREAS[0], TARGET[0], TARGET[0], TARGET[1], TARGET[1], _AREAS[1]])
    y = np.array([1.0, 1.0, 0.0, 0.0, found.over, found.over])
    lever = float(np.sqrt(TARGET[1] * _AREAS[1]))
    times = "as bad" if found.over == 1 else f"{found.over:.3g} times as bad"
    words = found.over + (2.2 if found.over <= 0.75 * _COSTLY else -4.2)  # clear of the ring, above it or below
    return [
        Line("cost", "loss", "data", x, y),
        Dots("cost", "lever", "joint", lever, found.over, drag=Drag(y="over"), size=14),
        Text("cost", "times", "joint", lever, words, times, "middle"),
    ]


def _over_doses(found: Dosed) -> list[Mark]:
    """Chances and expected loss over the dose."""
    hold = Drag(x="dose")
    low, high, loss = found.here
    bottom = np.interp([found.least, found.likely], DOSES, found.loss)
    visible = np.where(found.loss <= _HIGHEST, found.loss, np.nan)
    marks: list[Mark] = [
        Rule("chance", "dose", "guide", "x", found.dose, drag=hold),
        Line("chance", "below", "prior", DOSES, found.below),
        Line("chance", "inside", "posterior", DOSES, 1.0 - found.below - found.above),
        Line("chance", "above", "joint", DOSES, found.above),
        Dots("chance", "too little", "prior", found.dose, low, size=9),
        Dots("chance", "too much", "joint", found.dose, high, size=9),
        Line("loss", "expected", "posterior", DOSES, visible),
        Dots("loss", "likely", "individual", found.likely, bottom[1], "plug-in dose", size=10, shape="s"),
        Dots("loss", "least", "truth", found.least, bottom[0], "least expected loss", size=15),
    ]
    if loss <= _HIGHEST:
        marks.append(Dots("loss", "here", "data", found.dose, loss, drag=Drag("dose", along="expected"), size=12))
    else:
        marks.append(Dots("loss", "here", "data", found.dose, _HIGHEST - 0.06, drag=hold, size=12, shape="^"))
    return marks


def dose_and_loss() -> Stage:
    """The explorer of lesson 11: a dose, its two risks, and the loss as a lever on the choice."""
    controls: dict[str, Control] = {
        "dose": Slider("Dose", LEAST, MOST, 100.0, unit="mg", log=True),
        "over": Slider("Too much is worse than too little", 0.5, _COSTLY, 5.0, 0.5, unit="times"),
        "hand": Choice("Samples in hand", HANDS, NONE),
        "person": Slider("Patient", 1, PEOPLE, 1, 1),
        "answer": ANSWER,
    }
    alt = (
        "Left: the density of a patient's area in its parts below, within and above the target, and the loss of each "
        "area, to drag. Right: the chances of too little and too much, and the expected loss, against the dose."
    )
    tries: Sequence[Move] = [
        ("all misses alike", {"over": 1.0}),
        ("five times as bad", {"over": 5.0, "dose": 69.0}),
        ("one sample at 24 h", {"hand": LATE}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["area chance", "cost loss"],
        heights=[1, 0.95],
        size=(940, 520),
        tries=tries,
    )
