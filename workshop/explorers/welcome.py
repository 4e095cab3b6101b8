"""A population of curves: how much of what is measured differs between people, and how much within one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Panel, Rule, Scene, Span
from workshop.explorers.stage import Move, Stage

DOSE, ABSORPTION, CLEARANCE, VOLUME = 320.0, 1.5, 2.8, 32.0  # mg, 1/h, L/h, L: much like theophylline
SAMPLES = np.array([0.5, 1.0, 2.0, 3.5, 5.0, 7.0, 9.0, 12.0, 16.0, 24.0])  # hours after the dose
MOST = 40
MOST_OMEGA, MOST_SIGMA = 0.8, 2.0
HIGHEST, RARE = 24.0, 40.0  # mg/L, of the picture, and where a rare person among many needs more room
# Drawn once: moving omega then stretches the same people apart instead of swapping them for others.
_CROWD = np.random.default_rng(2026).standard_normal((2000, 3))
_NOISE = np.random.default_rng(1845).standard_normal((MOST, SAMPLES.size))


@dataclass(frozen=True)
class Curves:
    """`time` (t,) in hours; `typical` (t,), `individual` (n, t) and `data` (n, 10) in mg/L."""

    time: np.ndarray
    typical: np.ndarray
    individual: np.ndarray
    data: np.ndarray
    omega: float
    sigma: float
    between: float
    """Share of a measurement's variance that lies between subjects (both averaged over time); NaN if nothing varies."""


def concentration(time: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """One dose by mouth into one compartment: time (t,) in h, effects (..., 3) on log ka, CL, V; (..., t) in mg/L."""
    ka, cl, v = (np.array([ABSORPTION, CLEARANCE, VOLUME]) * np.exp(effects)).T[..., None]
    rate = cl / v
    return DOSE * ka / (v * (ka - rate)) * (np.exp(-rate * time) - np.exp(-ka * time))


def compute(omega: float, sigma: float, subjects: int) -> Curves:
    """`omega`: SD of log ka, CL and V between subjects; `sigma`: residual SD in mg/L; `subjects`: how many to draw."""
    if omega < 0 or sigma < 0:
        raise Refused("A standard deviation is zero or positive.")
    time = np.linspace(0, 24, 97)
    effects = omega * _CROWD[:subjects]
    # Copies of one subject have a variance of zero only up to rounding.
    variance = np.var(concentration(SAMPLES, omega * _CROWD), axis=0).mean() if omega > 0 else 0.0
    total = variance + sigma**2
    return Curves(
        time=time,
        typical=concentration(time, np.zeros(3)),
        individual=concentration(time, effects),
        data=concentration(SAMPLES, effects) + sigma * _NOISE[:subjects],
        omega=omega,
        sigma=sigma,
        between=float(variance / total) if total > 0 else float("nan"),
    )


def say(found: Curves) -> str:
    n = len(found.data)
    shown = f"Shown are {n} subject{'s' * (n != 1)} with {found.data.size} measurements."
    if np.isnan(found.between):
        return f"Everyone is the typical subject, measured without error: nothing varies.\n{shown}"
    return (
        f"Of the variance of a measurement at a given time, {_parts(found.between)}.\n"
        f"That is of the whole population, averaged over the {SAMPLES.size} sampling times. {shown}"
    )


def _parts(between: float) -> str:
    """Which share is whose; what is not quite all, or not quite nothing, is not rounded to it."""
    if between in (0.0, 1.0):
        return "all is between subjects, and none residual" if between else "none is between subjects, and all residual"
    share = f"{between:.0%}"
    if share in ("0%", "100%"):
        share = "more than 99%" if between > 0.5 else "less than 1%"
    return f"{share} is between subjects; the rest is residual"


def scene(found: Curves) -> Scene:
    n = len(found.individual)
    # The axes stand still, so that the spread that one asks for is the spread that one sees.
    most = max(float(found.individual.max()), float(found.data.max()))
    level = Axis(-1.5, HIGHEST if most < HIGHEST else RARE, "concentration (mg/L)")
    curves = Panel(Axis(-0.4, 24.4, "time after the dose (h)", ticks=range(0, 25, 4)), level)
    spreads = Panel(
        Axis(-0.02, MOST_OMEGA, "between subjects, ω (log scale)", ticks=(0, 0.2, 0.4, 0.6, 0.8)),
        Axis(-0.05, MOST_SIGMA, "residual, σ (mg/L)", ticks=(0, 0.5, 1, 1.5, 2)),
        "Two SDs: drag the point",
    )
    marks = [
        Rule("curves", "zero", "guide", "y", 0.0, weight="thin"),
        Line("curves", "each subject", "individual", found.time, found.individual, label="each subject"),
        Line("curves", "typical subject", "population", found.time, found.typical, label="typical subject"),
        Dots("curves", "measured", "data", np.tile(SAMPLES, n), found.data, label="measured", size=8 if n <= 12 else 6),
        Span("spreads", "omega", "individual", 0.0, 0.0, found.omega, 0.0, weight="strong"),
        Span("spreads", "to omega", "guide", found.omega, 0.0, found.omega, found.sigma, weight="thin"),
        Span("spreads", "sigma", "data", 0.0, 0.0, 0.0, found.sigma, weight="strong"),
        Span("spreads", "to sigma", "guide", 0.0, found.sigma, found.omega, found.sigma, weight="thin"),
        Dots("spreads", "here", "population", found.omega, found.sigma, size=12, drag=Drag(x="omega", y="sigma")),
    ]
    return Scene({"curves": curves, "spreads": spreads}, marks)


def welcome() -> Stage:
    """The explorer of lesson 00: a population of curves, spread by two kinds of variability."""
    controls: dict[str, Control] = {
        "omega": Slider("Between-subject SD ω", 0.0, MOST_OMEGA, 0.3, 0.02, unit="log scale"),
        "sigma": Slider("Residual SD σ", 0.0, MOST_SIGMA, 0.4, 0.05, unit="mg/L"),
        "subjects": Slider("Subjects shown", 1, MOST, 8, 1),
    }
    alt = (
        "Left, concentration against time for each subject of a population. "
        "Right, a point to drag: the SD between subjects across, the residual SD upwards."
    )
    # Each says where both SDs go, so that none shows an empty picture after another.
    tries: Sequence[Move] = [
        ("measure without error", {"omega": 0.3, "sigma": 0.0}),
        ("make everyone alike", {"omega": 0.0, "sigma": 1.0}),
        ("ask forty people", {"omega": 0.3, "sigma": 0.4, "subjects": MOST}),
    ]
    return Stage(
        compute, scene, say, controls, alt=alt, layout=["curves spreads"], widths=[2, 1], size=(860, 380), tries=tries
    )
