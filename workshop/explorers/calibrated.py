"""A wrong model, and sets that hold what they promise all the same: split conformal calibration.

The model says N(0, s^2). Its sets at a level are |y| <= z s, and a new response's score is |y| / s. Calibrated on n
people, z becomes the k-th smallest of their scores, k = ceil((n + 1) level). Whatever the truth, the share of new
people that such a set holds is then, over repetitions, Beta(k, n + 1 - k), with mean k / (n + 1) >= level.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, expon, norm
from scipy.stats import t as student

from mefit.decisions.conformal import conformal_quantile
from workshop.explorers.controls import ANSWER, Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span
from workshop.explorers.stage import Move, Stage

NORMAL, TWO, TAILS, SKEW = TRUTHS = ("one normal", "two kinds", "heavy tails", "skewed")
FEWEST, MANIEST = 20, 200  # people to calibrate on
NARROW, WIDE = 0.3, 2.0  # SDs of the model
_APART = 0.95  # half of the distance of two kinds, whose SD is then sqrt(1 - 0.95^2)
_Y = np.linspace(-4.0, 4.0, 241)
_FAR = 8.0  # scores in sight
_SCORES = np.linspace(0.0, _FAR, 161)
_COVERAGE = np.linspace(0.4, 1.0, 181)


@dataclass(frozen=True)
class Law:
    """A truth with mean 0 and SD 1: its density, its distribution function and its quantiles."""

    density: Callable
    below: Callable
    quantile: Callable


def _scaled(law: object, loc: float = 0.0, scale: float = 1.0) -> Law:
    def density(y: np.ndarray) -> np.ndarray:
        return law.pdf((y - loc) / scale) / scale  # type: ignore[attr-defined]

    def below(y: np.ndarray) -> np.ndarray:
        return law.cdf((y - loc) / scale)  # type: ignore[attr-defined]

    def quantile(p: np.ndarray) -> np.ndarray:
        return loc + scale * law.ppf(p)  # type: ignore[attr-defined]

    return Law(density, below, quantile)


def _two_kinds() -> Law:
    sd = np.sqrt(1.0 - _APART**2)
    low = _scaled(norm, -_APART, sd)
    high = _scaled(norm, _APART, sd)

    def density(y: np.ndarray) -> np.ndarray:
        return 0.5 * low.density(y) + 0.5 * high.density(y)

    def below(y: np.ndarray) -> np.ndarray:
        return 0.5 * low.below(y) + 0.5 * high.below(y)

    def quantile(p: np.ndarray) -> np.ndarray:
        fine = np.linspace(-6.0, 6.0, 24_001)
        return np.interp(p, below(fine), fine)

    return Law(density, below, quantile)


LAWS = {
    NORMAL: _scaled(norm),
    TWO: _two_kinds(),
    TAILS: _scaled(student(3), scale=1.0 / np.sqrt(3.0)),
    SKEW: _scaled(expon, loc=-1.0),
}


def coverage(truth: str, half: float) -> float:
    """P(|y| <= half) under the truth."""
    law = LAWS[truth]
    return float(law.below(half) - law.below(-half))


@dataclass(frozen=True)
class Calibrated:
    """Scores (n,) in order, of n people; half widths of the sets `before` and `after`, in SDs of the model; and what
    both hold of new people."""

    truth: str
    sd: float
    people: int
    level: float
    scores: np.ndarray
    before: float
    after: float
    held: tuple[float, float]
    place: int
    shown: bool


def compute(truth: str, sd: float, people: int, level: float, draw: int = 1, answer: bool = False) -> Calibrated:
    """A model with this `sd`, calibrated on so many `people`, the `draw`-th lot of them."""
    if not (NARROW <= sd <= WIDE and FEWEST <= people <= MANIEST and 0.5 <= level <= 0.95):
        raise Refused(f"Take {FEWEST} to {MANIEST} people, an SD of {NARROW:g} to {WIDE:g}, and 50% to 95%.")
    luck = np.random.default_rng(draw).random(people)
    scores = np.sort(np.abs(LAWS[truth].quantile(luck)) / sd)
    before = float(norm.ppf(0.5 * (1.0 + level)))
    after = conformal_quantile(scores, level)
    held = coverage(truth, before * sd), coverage(truth, after * sd)
    place = int(np.searchsorted(scores, after)) + 1
    return Calibrated(truth, sd, people, level, scores, before, after, held, place, answer)


def say(found: Calibrated) -> str:
    way = "less" if found.held[0] < found.level - 0.005 else "more" if found.held[0] > found.level + 0.005 else "just"
    than = "what they promise" if way == "just" else "than they promise"
    widened = "widens" if found.after > found.before else "narrows"
    low, high = beta.ppf([0.05, 0.95], found.place, found.people + 1 - found.place)
    return (
        f"Sets of the model hold {found.held[0]:.0%} of new people, {way} {than}; calibrated they hold "
        f"{found.held[1]:.0%}.\nPromised are {found.level:.0%}. Calibration {widened} them from {found.before:.2f} to "
        f"{found.after:.2f} SDs of the model: score {found.place} of {found.people}. Nine lots of people in ten "
        f"end between {low:.0%} and {high:.0%}."
    )


def scene(found: Calibrated) -> Scene:
    share = [(0.0, "0"), (0.5, "50%"), (1.0, "100%")]
    panels = {
        "model": Panel(
            Axis(-4.0, 4.0, "response, in SDs of the truth", ticks=(-4, -2, 0, 2, 4)),
            Axis(-0.22, 1.36, "density", ticks=(0, 0.5, 1)),
            "The model: drag its SD",
        ),
        "scores": Panel(
            Axis(0.0, _FAR, "distance, in SDs of the model", ticks=(0, 2, 4, 6, 8)),
            Axis(-0.03, 1.03, "share of people below", ticks=share),
            "Drag what is promised",
        ),
        "coverage": Panel(
            Axis(0.4, 1.01, "share of new people held", ticks=[(0.4, "40%"), (0.6, "60%"), (0.8, "80%"), (1, "100%")]),
            Axis(0.0, 1.15, ticks=()),
            "What comes of it",
        ),
    }
    return Scene(panels, [*_model(found), *_scores(found), *_coverage(found)])


def _model(found: Calibrated) -> list[Mark]:
    """Both densities, and the sets below them."""
    marks: list[Mark] = [Line("model", "model", "population", _Y, norm.pdf(_Y, 0.0, found.sd), "the model")]
    if found.shown:
        truth = np.minimum(LAWS[found.truth].density(_Y), 1.36)
        marks.append(Line("model", "truth", "truth", _Y, truth, "truth"))
    ends = np.clip([found.before * found.sd, found.after * found.sd], 0.0, 4.0)
    return [
        *marks,
        Span("model", "before", "prior", -ends[0], -0.07, ends[0], -0.07, "as the model says"),
        Span("model", "after", "posterior", -ends[1], -0.15, ends[1], -0.15, "calibrated", weight="strong"),
        Dots(
            "model",
            "sd",
            "population",
            found.sd,
            float(norm.pdf(found.sd, 0.0, found.sd)),
            drag=Drag("sd"),
            size=14,
        ),
    ]


def _scores(found: Calibrated) -> list[Mark]:
    """The scores' distribution by the model, and that of the people who calibrate."""
    x = np.concatenate([[0.0], np.repeat(np.minimum(found.scores, _FAR), 2), [_FAR]])
    y = np.concatenate([[0.0, 0.0], np.repeat(np.arange(1, found.people + 1) / found.people, 2)])
    return [
        Line("scores", "model", "prior", _SCORES, 2.0 * norm.cdf(_SCORES) - 1.0, "by the model"),
        Line("scores", "people", "data", x, y, "of the people"),
        Rule("scores", "level", "guide", "y", found.level, drag=Drag(y="level")),
        Dots("scores", "before", "prior", min(found.before, _FAR), found.level, size=10),
        Dots("scores", "after", "posterior", min(found.after, _FAR), found.level, size=12),
    ]


def _coverage(found: Calibrated) -> list[Mark]:
    """Where the coverage of calibrated sets falls, over lots of people, and where it fell."""
    height = beta.pdf(_COVERAGE, found.place, found.people + 1 - found.place)
    height = height / height.max()
    x = np.clip(found.held, 0.4, 1.0)
    return [
        Band("coverage", "lots", "posterior", _COVERAGE, 0 * _COVERAGE, height, "over all lots"),
        Rule("coverage", "promised", "guide", "x", found.level, "promised"),
        Dots("coverage", "before", "prior", x[0], 0.25, "before", size=13),
        Dots("coverage", "after", "posterior", x[1], 0.5, "after", size=13),
    ]


def calibrated() -> Stage:
    """The explorer of lesson 12: coverage before and after conformal calibration, on a model that is wrong."""
    controls: dict[str, Control] = {
        "sd": Slider("SD of the model", NARROW, WIDE, 0.6, 0.02),
        "level": Slider("Promised", 0.5, 0.95, 0.9, 0.01),
        "people": Slider("People to calibrate on", FEWEST, MANIEST, 50, 1),
        "truth": Choice("Truth", TRUTHS, NORMAL),
        "draw": Slider("Lot of people", 1, 40, 1, 1, play=True),
        "answer": ANSWER,
    }
    alt = (
        "Left: the density of a model and its sets before and after calibration; below it the share of people held. "
        "Right: the distribution of the scores of those who calibrate, and by the model."
    )
    tries: Sequence[Move] = [
        ("too sure", {"sd": 0.5, "truth": NORMAL}),
        ("too careful", {"sd": 1.6, "truth": NORMAL}),
        ("two kinds", {"sd": 1.0, "truth": TWO}),
        ("twenty people only", {"people": 20}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["model scores", "coverage scores"],
        heights=[1, 0.72],
        size=(940, 490),
        tries=tries,
    )
