"""A population of curves: how much of what is measured differs between people, and how much within one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mefit import style
from workshop.explorers.panel import Control, Explorer, Refused, Slider

DOSE, ABSORPTION, CLEARANCE, VOLUME = 320.0, 1.5, 2.8, 32.0  # mg, 1/h, L/h, L: much like theophylline
SAMPLES = np.array([0.5, 1.0, 2.0, 3.5, 5.0, 7.0, 9.0, 12.0, 16.0, 24.0])  # hours after the dose
MOST = 40
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
    time = np.linspace(0, 24, 121)
    effects = omega * _CROWD[:subjects]
    # Copies of one subject have a variance of zero only up to rounding.
    variance = np.var(concentration(SAMPLES, omega * _CROWD), axis=0).mean() if omega > 0 else 0.0
    total = variance + sigma**2
    return Curves(
        time=time,
        typical=concentration(time, np.zeros(3)),
        individual=concentration(time, effects),
        data=concentration(SAMPLES, effects) + sigma * _NOISE[:subjects],
        between=float(variance / total) if total > 0 else float("nan"),
    )


def say(found: Curves) -> str:
    n = len(found.data)
    who = f"{n} subject{'s' * (n != 1)}, {found.data.size} measurements. "
    if np.isnan(found.between):
        return who + "Everyone is the typical subject, measured without error: nothing varies."
    return who + (
        f"In the whole population, of the variance of a measurement at a given time {found.between:.0%} is between "
        f"subjects and {1 - found.between:.0%} is residual (averaged over the {SAMPLES.size} sampling times)."
    )


def paint(picture: style.Picture, found: Curves) -> Callable[[Curves], None]:
    axes = picture.subplots()
    picture.subplots_adjust(left=0.1, right=0.98, top=0.9, bottom=0.14)
    (typical,) = axes.plot(found.time, found.typical, **style.LINE["population"], label="typical subject")
    curves = [axes.plot([], [], **style.LINE["individual"])[0] for _ in range(MOST)]
    curves[0].set_label("each subject")
    (points,) = axes.plot([], [], **style.POINT["data"], label="measured")
    axes.axhline(0, color="#BBBBBB", linewidth=1, zorder=1)
    axes.set(xlim=(-0.4, 24.4), xlabel="time after the dose (h)", ylabel="concentration (mg/L)", xticks=range(0, 25, 4))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=3)
    axes.locator_params(axis="y", nbins=7, steps=[1, 2, 4, 5, 10])

    def update(found: Curves) -> None:
        n = len(found.individual)
        for i, curve in enumerate(curves):
            curve.set_visible(i < n or i == 0)
            if i < n:
                curve.set_data(found.time, found.individual[i])
        points.set_data(np.tile(SAMPLES, n), found.data.ravel())
        points.set_markersize(7 if n <= 12 else 5)
        highest = max(found.individual.max(), found.data.max())
        # In steps, so that the axis stands still while a slider moves a little.
        axes.set_ylim(-1.5, 4 * np.ceil(max(highest, 11.5) / 4) + 0.5)

    update(found)
    return update


def welcome() -> Explorer:
    """The explorer of lesson 00: a population of curves, spread by two kinds of variability."""
    controls: dict[str, Control] = {
        "omega": Slider("Between-subject SD ω", 0.0, 0.8, 0.3, 0.02, unit="log scale"),
        "sigma": Slider("Residual SD σ", 0.0, 2.0, 0.4, 0.05, unit="mg/L"),
        "subjects": Slider("Subjects shown", 1, MOST, 8, 1),
    }
    return Explorer(compute, paint, say, controls, alt="Concentration against time for each subject of a population.")
