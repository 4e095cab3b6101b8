"""A visual predictive check by hand: one study, four models of it, and what each simulates.

The study is simulated once: 150 people, one dose of 50, 100 or 200 mg by mouth, eight samples, kidney function (mL/min)
as a covariate. Absorption has two equal steps, clearance is proportional to kidney function:

    ka = 1.5 exp(eta_1), CL = 4 (kidney / 90) exp(eta_2), V = 40 exp(eta_3)    SDs of eta 0.4, 0.25, 0.2
    y ~ N(C, (0.15 C)^2 + 0.03^2)

The right model has the values above. Each wrong one has one thing wrong, and was fitted to the study by Laplace's
method (the tests fit them again). Percentiles 10, 50 and 90 at each sampling time are those of the study and, as bands
from the 5th to the 95th percentile over simulated studies, those of the model. The prediction-corrected form divides
each response by the model's typical prediction for its subject and multiplies by the median prediction at that time.
Source: Bergstrand, Hooker, Wallin and Karlsson (2011), AAPS Journal 13, 143-151.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Choice, Control, Refused, Slider, Switch
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene
from workshop.explorers.stage import Move, Stage

SUBJECTS, MOST_STUDIES = 150, 400
TIMES = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0])
PERCENTILES, BAND = (10, 50, 90), (5, 95)
RIGHT, ERROR, ABSORPTION, KIDNEY = "right", "error additive", "absorption in one step", "kidneys ignored"
WEAKEST, STRONGEST, MIDDLE = 25, 130, 55  # kidney function (mL/min); half of the people are below the middle
FEWEST = 20  # people, of whom a 10th percentile still says something


@dataclass(frozen=True)
class Candidate:
    """A model of the study: typical values, SDs of the random effects, error, and how it is built."""

    ka: float
    cl: float
    v: float
    omega: tuple[float, float, float]
    additive: float
    proportional: float
    steps: int = 2
    kidney: float = 1.0  # the exponent of kidney function in CL


MODELS = {
    RIGHT: Candidate(1.5, 4.0, 40.0, (0.4, 0.25, 0.2), 0.03, 0.15),
    ERROR: Candidate(1.487, 4.12, 39.5, (0.447, 0.229, 0.205), 0.236, 0.0),
    ABSORPTION: Candidate(0.441, 4.29, 34.8, (0.488, 0.185, 0.137), 0.104, 0.224, steps=1),
    KIDNEY: Candidate(1.504, 2.48, 39.6, (0.442, 0.506, 0.201), 0.0323, 0.147, kidney=0.0),
}


def concentration(model: Candidate, dose: np.ndarray, kidney: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """At `TIMES`, for dose (N,), kidney (N,) and eta (..., N, 3): (..., N, 8) in mg/L."""
    ka, cl, v = np.moveaxis(np.array([model.ka, model.cl, model.v]) * np.exp(eta), -1, 0)[..., None]
    ke = cl * (kidney[:, None] / 90) ** model.kidney / v
    gap = ka - ke
    if model.steps == 1:
        inside = ka / gap * -np.expm1(-gap * TIMES)
    else:
        inside = (ka / gap) ** 2 * (1 - (1 + gap * TIMES) * np.exp(-gap * TIMES))
    return dose[:, None] / v * inside * np.exp(-ke * TIMES)


@functools.cache
def study() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dose (N,), kidney function (N,) and responses (N, 8) of the study."""
    rng = np.random.default_rng(11)
    dose = rng.permutation(np.repeat([50.0, 100.0, 200.0], SUBJECTS // 3))
    kidney = np.exp(rng.uniform(np.log(25), np.log(130), SUBJECTS))
    return dose, kidney, _responses(MODELS[RIGHT], dose, kidney, rng, 1)[0]


def _responses(
    model: Candidate, dose: np.ndarray, kidney: np.ndarray, rng: np.random.Generator, studies: int
) -> np.ndarray:
    eta = np.array(model.omega) * rng.normal(size=(studies, len(dose), 3))
    f = concentration(model, dose, kidney, eta)
    return f + np.hypot(model.additive, model.proportional * f) * rng.normal(size=f.shape)


@functools.cache
def _simulated(name: str) -> np.ndarray:
    dose, kidney, _ = study()
    return _responses(MODELS[name], dose, kidney, np.random.default_rng(12), MOST_STUDIES)


@functools.lru_cache(maxsize=32)
def _percentiles(
    name: str, low: float, high: float, corrected: bool, studies: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, 8), and percentiles of the study (3, 8) and of every simulated study (S, 3, 8)."""
    dose, kidney, y = study()
    kept = (kidney >= low) & (kidney <= high)
    factor = np.ones((kept.sum(), TIMES.size))
    if corrected:
        typical = concentration(MODELS[name], dose[kept], kidney[kept], np.zeros((kept.sum(), 3)))
        factor = np.median(typical, 0) / typical
    points, simulated = y[kept] * factor, _simulated(name)[:studies, kept] * factor
    return points, _three(points), _three(simulated)


def _three(values: np.ndarray) -> np.ndarray:
    """Percentiles (..., 3, 8) over people of values (..., N, 8); by a sort, ten times as quick as `np.percentile`."""
    ordered = np.sort(np.moveaxis(values, -2, -1), axis=-1)
    place = np.array(PERCENTILES) / 100 * (values.shape[-2] - 1)
    below = np.floor(place).astype(int)
    low, high = ordered[..., below], ordered[..., below + 1]
    return np.moveaxis(low + (place - below) * (high - low), -1, -2)


@dataclass(frozen=True)
class Check:
    """Percentiles 10, 50, 90 in rows, sampling times in columns; `low`, `middle`, `high` are those of the band."""

    model: str
    kidneys: tuple[float, float]
    corrected: bool
    points: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray

    @property
    def outside(self) -> np.ndarray:
        """Which of the study's percentiles (3, 8) lie outside their band."""
        return (self.observed < self.low) | (self.observed > self.high)


def compute(model: str, low: float, high: float, corrected: bool, studies: int = MOST_STUDIES) -> Check:
    """The check of one model, among people with a kidney function from `low` to `high`, from `studies` simulations."""
    if studies < 10:
        raise Refused(f"A band from 5% to 95% needs ten studies at least, not {studies}.")
    kidney = study()[1]
    people = int(np.sum((kidney >= low) & (kidney <= high)))
    if people < FEWEST:
        raise Refused(
            f"Only {people} people have a kidney function from {low:g} to {high:g} mL/min: take a wider range."
        )
    points, observed, simulated = _percentiles(model, low, high, corrected, studies)
    bounds = np.percentile(simulated, (BAND[0], 50, BAND[1]), axis=0)
    return Check(model, (low, high), corrected, points, observed, *bounds)


def say(found: Check) -> str:
    out, total = found.outside, found.outside.size
    count = int(out.sum())
    lie = "lies outside its band" if count == 1 else "lie outside their bands"
    # Simulated studies that are checked against their own model have five or more in one of eight, seven or more in
    # three of a hundred: the percentiles of one study go together.
    verdict = "far more than chance would put there"
    if count < 7:
        verdict = "more than chance usually puts there" if count > 4 else "no more than chance would put there"
    rows = ", ".join(f"{p}th: {n}" for p, n in zip(PERCENTILES, out.sum(1), strict=True))
    form = ", prediction-corrected" if found.corrected else ""
    low, high = found.kidneys
    return (
        f"{count} of the {total} percentiles of the data {lie}, {verdict}.\n"
        f"Model: {found.model}{form}; {len(found.points)} people, kidney function from {low:g} to {high:g} mL/min. "
        f"Outside are {rows}, of {TIMES.size} each; bands hold 90%, so by chance alone about {total / 10:.0f} would be."
    )


_PLACE = np.arange(TIMES.size)
_JITTER = np.random.default_rng(0).uniform(-0.16, 0.16, (SUBJECTS, TIMES.size)).round(2)
_LOWEST, _LATE = 1e-3, 6  # mg/L, far below the picture; the place of 12 h


def scene(found: Check) -> Scene:
    hours = Axis(
        -0.4, 7.4, "time after the dose (h), not to scale", ticks=[(float(k), f"{t:g}") for k, t in enumerate(TIMES)]
    )
    level = "prediction-corrected concentration (mg/L)" if found.corrected else "concentration (mg/L)"
    across = (_PLACE + _JITTER[: len(found.points)]).ravel()
    marks: list[Mark] = [Dots("check", "points", "guide", across, found.points.ravel(), size=3.5, label="data")]
    for row, name in enumerate(PERCENTILES):
        middle = row == 1
        low, high = np.maximum(found.low[row], _LOWEST), np.maximum(found.high[row], _LOWEST)
        observed = np.maximum(found.observed[row], _LOWEST)
        marks += [
            Band("check", f"band {name}", "marginal", _PLACE, low, high, weight="strong" if middle else "normal",
                 label="simulated, 90%" if middle else ""),
            Line("check", f"observed {name}", "data", _PLACE, observed, weight="strong" if middle else "normal",
                 label="observed 10, 50, 90%" if middle else ""),
        ]  # fmt: skip
    rows, columns = np.nonzero(found.outside)
    there = found.observed[rows, columns]
    marks.append(Dots("check", "outside", "data", columns, there, size=11, shape="D", label="outside its band"))
    panels = {
        "check": Panel(hours, Axis(0.02, 12, level, log=True)),
        "who": Panel(
            Axis(20, 135, "kidney function (mL/min)", ticks=(25, 50, 75, 100, 125)),
            Axis(0.1, 5, "12 h after 100 mg (mg/L)", log=True, ticks=(0.1, 0.3, 1, 3)),
            "Who is looked at: drag",
        ),
    }
    return Scene(panels, marks + _who(*found.kidneys))


def _who(low: float, high: float) -> list[Mark]:
    """Everyone by kidney function and by the concentration after 12 h for the same dose; two lines cut some out."""
    dose, kidney, y = study()
    kept = (kidney >= low) & (kidney <= high)
    late = y[:, _LATE] * 100 / dose
    return [
        Dots("who", "others", "guide", kidney[~kept], late[~kept], size=5),
        Dots("who", "kept", "data", kidney[kept], late[kept], size=6),
        Rule("who", "low", "prior", "x", low, drag=Drag("low")),
        Rule("who", "high", "prior", "x", high, drag=Drag("high")),
    ]


def vpc_by_hand() -> Stage:
    """The explorer of lesson 05: which model simulates, who is looked at, and in which form."""
    for name in MODELS:
        _simulated(name)
    controls: dict[str, Control] = {
        "model": Choice("Model", tuple(MODELS), RIGHT),
        "low": Slider("Kidney function from", WEAKEST, 90, WEAKEST, 1, unit="mL/min"),
        "high": Slider("to", 40, STRONGEST, STRONGEST, 1, unit="mL/min"),
        "studies": Slider("Simulated studies", 10, MOST_STUDIES, 200, 10),
        "corrected": Switch("prediction-corrected", False),
    }
    alt = (
        "Left, concentrations of a study at eight times, their 10th, 50th and 90th percentiles, and the bands in which "
        "the model's own simulations have them. Right, everyone's kidney function, with two lines to drag."
    )
    tries: Sequence[Move] = [
        ("everyone", {"low": WEAKEST, "high": STRONGEST}),
        ("weak kidneys", {"low": WEAKEST, "high": MIDDLE}),
        ("strong kidneys", {"low": MIDDLE, "high": STRONGEST}),
    ]
    return Stage(
        compute, scene, say, controls, alt=alt, layout=["check who"], widths=[1.9, 1], size=(900, 440), tries=tries
    )
