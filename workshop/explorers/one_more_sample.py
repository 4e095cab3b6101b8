"""One person, and one more sample: when it is taken decides what it tells about the clearance.

Posteriors come by quadrature from `workshop.studies.exact_patient`, as does the SD of log clearance that is expected
after a sample at each time: for that nobody has to know what the sample will show.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from workshop.explorers.controls import ANSWER, Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Move, Stage
from workshop.studies import exact_patient as exact

NONE, EARLY, LATE, BOTH = HANDS = ("none", "at 4 h", "at 24 h", "at 2 and 24 h")
TIMES: dict[str, tuple[float, ...]] = {NONE: (), EARLY: (4.0,), LATE: (24.0,), BOTH: (2.0, 24.0)}
PEOPLE = 6
FIRST, LAST = 0.5, 28.0  # h
_WINDOW = float(np.log(1.25))
_AS_GOOD = 1.02  # of the least expected SD
_POSSIBLE = np.arange(FIRST, LAST + 0.25, 0.5)
_SMOOTH = tuple(np.concatenate([[0.05, 0.25, 0.5, 0.75], np.arange(1.0, 30.25, 0.5)]))


@dataclass(frozen=True)
class InHand:
    """What is known of a person by some samples `y` at `times`: the `mass` of each node, mean and SD of log clearance,
    its `density`, the `band` (3, t) of the curve, and what is `expected` (56,) of a sample at each possible time."""

    times: tuple[float, ...]
    y: tuple[float, ...]
    mass: np.ndarray
    mean: float
    sd: float
    density: tuple[np.ndarray, np.ndarray]
    band: np.ndarray


def known(person: int, times: tuple[float, ...]) -> InHand:
    """The posterior of a person, from 0, sampled at `times`."""
    patient = exact.patients(PEOPLE)[person]
    y = tuple(patient.sample(time, turn) for turn, time in enumerate(times))
    mass = exact.masses(times, y)
    mean, sd = exact.log_clearance(mass)
    return InHand(times, y, mass, mean, sd, exact.density(mass), exact.bands(mass, _SMOOTH))


@functools.lru_cache(maxsize=32)
def before(person: int, hand: str) -> tuple[InHand, np.ndarray]:
    """What is in hand, and the SD that is expected after one more sample at each possible time."""
    so_far = known(person, TIMES[hand])
    return so_far, exact.expected_sd(so_far.mass, _POSSIBLE)


@dataclass(frozen=True)
class Sampled:
    """A person, from 0: what was known `before`, the SDs `expected` (56,) after a sample at each time, the one
    `promised` at `hour`, and what is known `after` it."""

    person: int
    hour: float
    before: InHand
    expected: np.ndarray
    promised: float
    after: InHand
    shown: bool

    @property
    def best(self) -> float:
        """The first time at which a sample is as good as at any, to within 2%."""
        return float(_POSSIBLE[np.argmax(self.expected < _AS_GOOD * self.expected.min())])


def compute(hour: float, hand: str = NONE, person: int = 1, answer: bool = False) -> Sampled:
    """The `person`, from 1, with some samples in `hand` and one more at an `hour`."""
    if not (FIRST <= hour <= LAST and 1 <= person <= PEOPLE):
        raise Refused(f"A sample is taken from {FIRST:g} to {LAST:g} h after the dose, of people 1 to {PEOPLE}.")
    so_far, expected = before(person - 1, hand)
    return Sampled(
        person=person - 1,
        hour=hour,
        before=so_far,
        expected=expected,
        promised=float(np.interp(hour, _POSSIBLE, expected)),
        after=known(person - 1, (*so_far.times, hour)),
        shown=answer,
    )


def well_dosed(sd: float) -> float:
    """The chance that an area aimed at the middle of the posterior is within 80 to 125%: 2 Phi(log 1.25 / s) - 1."""
    return float(2 * norm.cdf(_WINDOW / sd) - 1)


def say(found: Sampled) -> str:
    least = float(found.expected.min())
    gained = (found.before.sd - found.promised) / found.before.sd
    if gained < 0.02:
        worth = "is worth next to nothing"
    elif found.promised < _AS_GOOD * least:
        worth = "is worth as much as any"
    else:
        worth = f"narrows the clearance by {gained:.0%}, and at its best time it would by "
        worth += f"{1 - least / found.before.sd:.0%}"
    text = (
        f"One more sample at {found.hour:g} h {worth}.\nSD of log clearance: {found.before.sd:.3f} before, "
        f"{found.promised:.3f} expected after it (least at about {found.best:g} h), {found.after.sd:.3f} after what it "
        f"showed. The plug-in dose then meets 80 to 125% in {well_dosed(found.after.sd):.0%}, before in "
        f"{well_dosed(found.before.sd):.0%}."
    )
    if found.shown:
        truth = np.log(exact.patients(PEOPLE)[found.person].clearance)
        away = abs(truth - found.after.mean) / found.after.sd
        text += f" The true clearance is {np.exp(truth):.2f} L/h, {away:.1f} SDs from the middle."
    return text


def scene(found: Sampled) -> Scene:
    hours = Axis(0.0, 30.0, "time after the dose (h)", ticks=(0, 4, 8, 12, 16, 20, 24, 28))
    panels = {
        "curve": Panel(hours, Axis(0.0, 4.6, "mg/L"), f"Patient {found.person + 1}, 100 mg"),
        "worth": Panel(hours, Axis(0.0, 0.36, "SD of log CL"), "Expected after the next sample", "posterior"),
        "clearance": Panel(
            Axis(1.0, 7.0, "clearance (L/h)", log=True, ticks=(1, 2, 3, 4, 6)), Axis(0.0, 5.6, ticks=()), "Clearance"
        ),
    }
    return Scene(panels, [*_curve(found), *_worth(found), *_clearance(found)])


def _curve(found: Sampled) -> list[Mark]:
    """What is known of the curve, and the samples."""
    prior = before(found.person, NONE)[0].band
    hold = Drag(x="hour")
    marks: list[Mark] = [
        Band("curve", "prior", "prior", _SMOOTH, prior[0], prior[2], "nine in ten, no sample", weight="thin"),
        Band("curve", "band", "posterior", _SMOOTH, found.after.band[0], found.after.band[2], "with the next sample"),
        Line("curve", "middle", "posterior", _SMOOTH, found.after.band[1]),
    ]
    if found.shown:
        eta = exact.patients(PEOPLE)[found.person].eta[None]
        truth = np.exp(exact.log_concentration(eta, np.array(_SMOOTH))[:, 0])
        marks.append(Line("curve", "truth", "truth", _SMOOTH, truth, "truth"))
    if found.before.times:
        marks.append(Dots("curve", "in hand", "data", found.before.times, found.before.y, "in hand", size=9))
    return [
        *marks,
        Rule("curve", "hour", "guide", "x", found.hour, weight="thin"),
        Dots("curve", "next", "data", found.hour, found.after.y[-1], "the next sample", hold, size=13, shape="D"),
    ]


def _worth(found: Sampled) -> list[Mark]:
    """Over the time of the next sample, what is expected, and what became of it."""
    return [
        Rule("worth", "now", "prior", "y", found.before.sd),
        Text("worth", "now, in words", "prior", 29.6, found.before.sd + 0.014, "without it", "end"),
        Line("worth", "expected", "posterior", _POSSIBLE, found.expected),
        Dots("worth", "reached", "data", found.hour, found.after.sd, "what it left", size=7),
        Dots("worth", "here", "posterior", found.hour, found.promised, drag=Drag("hour", along="expected"), size=13),
    ]


def _clearance(found: Sampled) -> list[Mark]:
    """The density of the clearance before any sample, with those in hand, and with the next."""
    none = before(found.person, NONE)[0]
    marks: list[Mark] = [_density("no sample", "prior", none)]
    if found.before.times:
        marks.append(_density("in hand", "individual", found.before, "with those in hand"))
    marks.append(_density("after", "posterior", found.after))
    if found.shown:
        marks.append(Rule("clearance", "truth", "truth", "x", exact.patients(PEOPLE)[found.person].clearance))
    return marks


def _density(name: str, meaning: str, one: InHand, label: str = "") -> Line:
    log_cl, height = one.density
    thinned = slice(None, None, 3)
    return Line("clearance", name, meaning, np.exp(log_cl[thinned]), height[thinned], label)


def one_more_sample() -> Stage:
    """The explorer of lesson 11: the next sample moves along the time axis, and the posterior narrows or does not."""
    controls: dict[str, Control] = {
        "hour": Slider("Time of the next sample", FIRST, LAST, 4.0, 0.5, unit="h"),
        "hand": Choice("Samples in hand", HANDS, NONE),
        "person": Slider("Patient", 1, PEOPLE, 1, 1),
        "answer": ANSWER,
    }
    alt = (
        "Left: what is known of a patient's concentrations, with a sample to drag. Right: the SD of log clearance that "
        "is expected after a sample at each time, and below it the density of the clearance."
    )
    tries: Sequence[Move] = [
        ("go late", {"hour": 24.0}),
        ("one at 4 h in hand", {"hand": EARLY}),
        ("one at 24 h in hand", {"hand": LATE, "hour": 4.0}),
        ("two in hand", {"hand": BOTH}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["curve worth", "curve clearance"],
        widths=[1.35, 1],
        heights=[1.2, 1],
        size=(940, 500),
        tries=tries,
    )
