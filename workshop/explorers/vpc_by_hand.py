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
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import NullLocator

from mefit import style
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider, Switch

SUBJECTS, MOST_STUDIES = 150, 400
TIMES = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0])
PERCENTILES, BAND = (10, 50, 90), (5, 95)
RIGHT, ERROR, ABSORPTION, KIDNEY = "right", "error additive", "absorption in one step", "kidneys ignored"
EVERYONE, WEAK, STRONG = "everyone", "weak kidneys", "strong kidneys"


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


def _chosen(who: str) -> np.ndarray:
    kidney = study()[1]
    return {EVERYONE: kidney > 0, WEAK: kidney <= np.median(kidney), STRONG: kidney > np.median(kidney)}[who]


@functools.lru_cache(maxsize=32)
def _percentiles(name: str, who: str, corrected: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, 8), and percentiles of the study (3, 8) and of every simulated study (S, 3, 8)."""
    dose, kidney, y = study()
    kept = _chosen(who)
    factor = np.ones((kept.sum(), TIMES.size))
    if corrected:
        typical = concentration(MODELS[name], dose[kept], kidney[kept], np.zeros((kept.sum(), 3)))
        factor = np.median(typical, 0) / typical
    points, simulated = y[kept] * factor, _simulated(name)[:, kept] * factor
    found = np.percentile(simulated, PERCENTILES, axis=1, overwrite_input=True)
    return points, np.percentile(points, PERCENTILES, axis=0), np.moveaxis(found, 0, 1)


@dataclass(frozen=True)
class Check:
    """Percentiles 10, 50, 90 in rows, sampling times in columns; `low`, `middle`, `high` are those of the band."""

    model: str
    who: str
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


def compute(model: str, who: str, corrected: bool, studies: int = MOST_STUDIES) -> Check:
    """The check of one model, among `who`, from `studies` simulated studies."""
    if studies < 10:
        raise Refused(f"A band from 5% to 95% needs ten studies at least, not {studies}.")
    points, observed, simulated = _percentiles(model, who, corrected)
    bounds = np.percentile(simulated[:studies], (BAND[0], 50, BAND[1]), axis=0)
    return Check(model, who, corrected, points, observed, *bounds)


def say(found: Check) -> str:
    out, total = found.outside, found.outside.size
    rows = ", ".join(f"{p}th: {n}" for p, n in zip(PERCENTILES, out.sum(1), strict=True))
    form = "prediction-corrected, " if found.corrected else ""
    return (
        f"Model: {found.model}; {form}{found.who}. Of {total} percentiles of the data {out.sum()} lie outside "
        f"their 90% band ({rows} of {TIMES.size} each); by chance alone it would be about {total / 10:.0f}."
    )


def paint(picture: style.Picture, found: Check) -> Callable[[Check], None]:
    axes = picture.add_axes((0.085, 0.13, 0.9, 0.7), yscale="log", xlim=(-0.4, 7.4), ylim=(0.02, 12))
    place = np.arange(TIMES.size)
    axes.set(xlabel="time after the dose (h), not to scale", ylabel="concentration (mg/L)")
    axes.set_xticks(place, [f"{t:g}" for t in TIMES])
    axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.yaxis.set_minor_locator(NullLocator())
    (points,) = axes.plot([], [], linestyle="none", marker="o", markersize=3, color="#9A9A9A", zorder=1, label="data")
    bands, lines = [], []
    for row in range(len(PERCENTILES)):
        meaning = "population" if row == 1 else "marginal"
        label = "model: median" if row == 1 else "model: 10th, 90th percentile" if row == 0 else None
        bands.append(axes.fill_between(place, 1.0, 2.0, **style.AREA[meaning] | {"zorder": 2}, label=label))
        (line,) = axes.plot([], [], **style.LINE["data"] | {"linewidth": 1.8})
        lines.append(line)
    lines[0].set_label("percentiles of the data")
    (out,) = axes.plot([], [], **style.POINT["joint"] | {"markersize": 9}, label="outside")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, columnspacing=1.2)
    jitter = np.random.default_rng(0).uniform(-0.16, 0.16, (SUBJECTS, TIMES.size))

    def update(found: Check) -> None:
        shift = jitter[: len(found.points)]
        points.set_data((place + shift).ravel(), np.maximum(found.points, 1e-3).ravel())
        for row, (band, line) in enumerate(zip(bands, lines, strict=True)):
            band.set_data(place, np.maximum(found.low[row], 1e-3), np.maximum(found.high[row], 1e-3))
            line.set_data(place, np.maximum(found.observed[row], 1e-3))
        rows, columns = np.nonzero(found.outside)
        out.set_data(columns, np.maximum(found.observed[rows, columns], 1e-3))

    update(found)
    return update


def vpc_by_hand() -> Explorer:
    """The explorer of lesson 05: which model simulates, who is looked at, and in which form."""
    for name in MODELS:
        _simulated(name)
    controls: dict[str, Control] = {
        "model": Choice("Model", tuple(MODELS), RIGHT),
        "who": Choice("Look at", (EVERYONE, WEAK, STRONG), EVERYONE),
        "corrected": Switch("prediction-corrected", False),
        "studies": Slider("Simulated studies", 10, MOST_STUDIES, 200, 10),
    }
    alt = (
        "Concentrations of a study at eight times, their 10th, 50th and 90th percentiles, and the bands in which the "
        "model's own simulations have them."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=460)
