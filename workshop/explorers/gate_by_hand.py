"""A gate that is turned by hand: from one covariate to the share of each class, and what the measurements say of it.

The experts are held as they were fitted, so L_i1 and L_i2 are two numbers per patient. The gate is a straight line of
log odds through two shares, those at the ends of the axis: P(kind 1 | w) = 1 / (1 + exp(-(a + b w))). Then

    log L = sum_i log(pi_i1 L_i1 + pi_i2 L_i2),    r_i1 = pi_i1 L_i1 / (pi_i1 L_i1 + pi_i2 L_i2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

import mefit as mf
from workshop.explorers.controls import ANSWER, Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span
from workshop.explorers.stage import Move, Stage
from workshop.studies.two_kinds import kinds_of, log_marginal, records

COVARIATE = "albumin"
ENDS = (2.0, 4.6)  # g/dL, where the hands are
GATE, BOTH = KINDS = ("what the gate says", "gate and measurements")
RISING, STEADY = "first", "third"  # of `style.SERIES`
LEAST, MOST = 0.02, 0.98
SURE = 0.8  # above it a patient counts as of this kind
_CURVES = 60  # patients whose measurements are drawn
_WORST = 50.0  # log-likelihood below the best in sight
_GRID = np.linspace(*ENDS, 53)


@dataclass(frozen=True)
class Prepared:
    """Of N patients the covariate `w`, what both experts say of their measurements, `log_l` (N, 2), and the `curves`
    of some; over all gates the `best` log-likelihood, its shares at the `ends`, and the best that is the same for all.
    """

    w: np.ndarray
    log_l: np.ndarray
    curves: list[tuple[np.ndarray, np.ndarray]]
    best: float
    ends: tuple[float, float]
    flat: float


def prepare(model: Any, population: mf.Population) -> Prepared:
    """The numbers of a fitted mixture of two lines and its patients."""
    kinds = kinds_of(model)
    data = records(population)
    log_l = np.array([[log_marginal(kind, *one) for kind in kinds] for one in data])
    first = [float(np.ravel(population[i].covariates[COVARIATE])[0]) for i in range(len(population))]
    w = np.array(first)
    found = minimize(lambda x: -log_likelihood(x, w, log_l), np.zeros(2), method="BFGS", options={"gtol": 1e-6})
    same = minimize(lambda x: -log_likelihood(np.repeat(x, 2), w, log_l), np.zeros(1), method="BFGS")
    left, right = expit(found.x)
    return Prepared(w, log_l, data[:_CURVES], -float(found.fun), (float(left), float(right)), -float(same.fun))


def shares(log_odds: np.ndarray, w: np.ndarray) -> np.ndarray:
    """P(kind 1 | w) (N,) of a gate with these log odds at the two ends."""
    along = (w - ENDS[0]) / (ENDS[1] - ENDS[0])
    return expit(log_odds[0] + (log_odds[1] - log_odds[0]) * along)


def _each(log_odds: np.ndarray, w: np.ndarray, log_l: np.ndarray) -> np.ndarray:
    """log pi_k L_k (N, 2)."""
    along = (w - ENDS[0]) / (ENDS[1] - ENDS[0])
    line = log_odds[0] + (log_odds[1] - log_odds[0]) * along
    return np.stack([-np.logaddexp(0.0, -line), -np.logaddexp(0.0, line)], axis=1) + log_l


def log_likelihood(log_odds: np.ndarray, w: np.ndarray, log_l: np.ndarray) -> float:
    """sum_i log(pi_i1 L_i1 + pi_i2 L_i2)."""
    return float(np.sum(np.logaddexp.reduce(_each(log_odds, w, log_l), axis=1)))


@dataclass(frozen=True)
class Turned:
    """A gate with the shares `left` and `right`: its `curve` over the axis, the `chance` (N,) of kind 1 that is shown
    of each patient, and how far its log-likelihood lies `below` the best, and that of one share for all, `flat`."""

    left: float
    right: float
    kind: str
    curve: np.ndarray
    chance: np.ndarray
    below: float
    flat: float
    best: tuple[float, float]
    shown: bool


def compute(prepared: Prepared, left: float, right: float, kind: str = BOTH, answer: bool = False) -> Turned:
    """The gate with these shares of kind 1 at the two ends of the axis."""
    if not (LEAST <= left <= MOST and LEAST <= right <= MOST):
        raise Refused(f"A share is from {LEAST:g} to {MOST:g}.")
    log_odds = logit(np.array([left, right]))
    chance = shares(log_odds, prepared.w)
    if kind == BOTH:
        each = _each(log_odds, prepared.w, prepared.log_l)
        chance = np.exp(each[:, 0] - np.logaddexp.reduce(each, axis=1))
    below = prepared.best - log_likelihood(log_odds, prepared.w, prepared.log_l)
    flat = prepared.best - prepared.flat
    return Turned(left, right, kind, shares(log_odds, _GRID), chance, below, flat, prepared.ends, answer)


def _sides(chance: np.ndarray) -> dict[str, np.ndarray]:
    rising = chance >= SURE
    steady = chance <= 1.0 - SURE
    return {RISING: rising, "guide": ~(rising | steady), STEADY: steady}


def say(found: Turned) -> str:
    sides = _sides(found.chance)
    undecided = int(np.sum(sides["guide"]))
    if found.below < 1.0:
        judged = "Close to the best gate"
    elif found.below < found.flat:
        judged = "Better than one share for all"
    elif found.below < 1.5 * found.flat:
        judged = "No better than one share for all"
    elif (found.right <= found.left) == (found.best[1] <= found.best[0]):
        judged = "Worse than one share for all: too sure of itself"
    else:
        judged = "A gate that says the opposite of the data"
    text = (
        f"{judged}: the log-likelihood lies {found.below:.1f} below the best gate's. "
        f"{undecided} of {found.chance.size} patients are undecided.\n"
        f"One share for all lies {found.flat:.1f} below. "
        f"{int(np.sum(sides[RISING]))} patients are counted as rising, {int(np.sum(sides[STEADY]))} as steady."
    )
    if found.shown:
        text += f" The best gate has {found.best[0]:.2f} at the left end and {found.best[1]:.2f} at the right."
    return text


def scene(prepared: Prepared, found: Turned) -> Scene:
    percent = [(0.0, "0"), (0.5, "50%"), (1.0, "100%")]
    panels = {
        "gate": Panel(
            Axis(1.9, 4.7, "albumin at entry (g/dL)", ticks=(2, 2.5, 3, 3.5, 4, 4.5)),
            Axis(-0.03, 1.03, "share that rises", ticks=percent),
            "Drag the two ends of the gate",
        ),
        "curves": Panel(
            Axis(0.0, 12.5, "time (years)", ticks=(0, 3, 6, 9, 12)),
            Axis(-1.6, 4.0, "log bilirubin (mg/dL)"),
            f"{len(prepared.curves)} of the patients",
        ),
        "fit": Panel(
            Axis(-_WORST, 4.0, "log-likelihood, below the best", ticks=(-40, -30, -20, -10, 0)),
            Axis(0.0, 1.0, ticks=()),
            "How well it does",
            "marginal",
        ),
    }
    return Scene(panels, [*_gate(prepared, found), *_curves(prepared, found), *_fit(prepared, found)])


def _gate(prepared: Prepared, found: Turned) -> list[Mark]:
    """The gate, its two handles, and every patient at the chance that is given to it."""
    marks: list[Mark] = []
    labels = {RISING: "rising", "guide": "undecided", STEADY: "steady"}
    for meaning, own in _sides(found.chance).items():
        where = np.where(own, found.chance, np.nan)
        marks.append(Dots("gate", labels[meaning], meaning, prepared.w, where, labels[meaning], size=7, shape="o"))
    if found.shown:
        best = shares(logit(np.array(prepared.ends)), _GRID)
        marks.append(Line("gate", "best", "truth", _GRID, best, "the best gate"))
    return [
        *marks,
        Line("gate", "hand", "population", _GRID, found.curve, "the gate"),
        Dots("gate", "left", "population", ENDS[0], found.left, drag=Drag(y="left"), size=15),
        Dots("gate", "right", "population", ENDS[1], found.right, drag=Drag(y="right"), size=15),
    ]


def _curves(prepared: Prepared, found: Turned) -> list[Mark]:
    """Patients' measurements, joined; a gap between any two patients."""
    time = np.concatenate([np.append(t, t[-1]) for t, _ in prepared.curves])
    y = np.concatenate([np.append(values, np.nan) for _, values in prepared.curves])
    whose = np.repeat(np.arange(len(prepared.curves)), [len(t) + 1 for t, _ in prepared.curves])
    marks: list[Mark] = []
    for meaning, own in _sides(found.chance).items():
        marks.append(Line("curves", meaning, meaning, time, np.where(own[whose], y, np.nan), weight="thin"))
    return marks


def _fit(prepared: Prepared, found: Turned) -> list[Mark]:
    """The log-likelihood as a distance from the best."""
    reached = max(-found.below, -_WORST + 1.0)
    return [
        Span("fit", "way", "marginal", reached, 0.5, 0.0, 0.5),
        Rule("fit", "flat", "prior", "x", prepared.flat - prepared.best, "one share for all"),
        Dots("fit", "best", "truth", 0.0, 0.5, size=14),
        Dots("fit", "hand", "marginal", reached, 0.5, size=12, shape="o" if reached == -found.below else "D"),
    ]


def gate_by_hand(model: Any, population: mf.Population) -> Stage:
    """The explorer of lesson 12: the two ends of a gate are dragged, and patients change sides.

    **Arguments:** `model`, a fitted mixture of two lines, and its patients.
    """
    prepared = prepare(model, population)
    controls: dict[str, Control] = {
        "left": Slider("Share that rises at 2.0 g/dL", LEAST, MOST, 0.5, 0.01),
        "right": Slider("Share that rises at 4.6 g/dL", LEAST, MOST, 0.5, 0.01),
        "kind": Choice("Patients stand at", KINDS, BOTH),
        "answer": ANSWER,
    }
    alt = (
        "Left: the share of patients whose bilirubin rises, against albumin, with two ends to drag, and every patient. "
        "Right: the patients' measurements in the colour of their kind, and the log-likelihood below the best."
    )
    tries: Sequence[Move] = [
        ("one share for all", {"left": 0.56, "right": 0.56}),
        ("the gate alone", {"kind": GATE}),
        ("a cliff", {"left": 0.98, "right": 0.02}),
        ("the wrong way", {"left": 0.1, "right": 0.9}),
    ]
    return Stage(
        partial(compute, prepared),
        partial(scene, prepared),
        say,
        controls,
        alt=alt,
        layout=["gate curves", "gate fit"],
        widths=[1.15, 1],
        heights=[1, 0.36],
        size=(940, 480),
        tries=tries,
    )
