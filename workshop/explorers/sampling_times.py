"""Shrinkage by sampling times: what each sample says about absorption, clearance and volume.

One compartment, one dose of 100 mg by mouth, parameters held at what the 1,000 virtual subjects were made with:

    ka = 1.2 exp(eta_1), CL = 3 exp(eta_2), V = 30 exp(eta_3)     SDs of eta 0.4, 0.3, 0.2, independent
    log y = log C(t) + e                                          SD of e 0.2

For the chosen times the explorer finds every subject's empirical Bayes estimate and its Gaussian approximation, and
sets the estimates, or a draw from each approximation, against the eta that the subject was made with.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

import mefit as mf
from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Scene
from workshop.explorers.stage import Move, Stage

NAMES = ("ka", "CL", "V")
TYPICAL, SD, ERROR = (1.2, 3.0, 30.0), np.array([0.4, 0.3, 0.2]), 0.2
SUBJECTS, _SHOWN, DOSE = 1000, 300, 100.0
TWELVE, SIX, THREE, ONE = "12 samples", "6 samples", "3 samples", "one sample"
TIMES = {  # each with the sample at 4 h, which is the one that can be moved
    TWELVE: (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 24.0),
    SIX: (0.5, 1.0, 2.0, 4.0, 8.0, 24.0),
    THREE: (1.0, 4.0, 24.0),
    ONE: (4.0,),
}
HOUR = 4.0
ESTIMATE, DRAW = "estimates (EBEs)", "a posterior draw each"
_GRID = np.linspace(0.0, 25.0, 101)
_REACH = 1.2
_SHAPES = (1, 6, 12)  # rows of a subject: a shape is a program, and few rows are found quicker


class OralLog(mf.Model):
    """The model above, for log concentrations."""

    omega: Array = mf.diagonal_covariance(names=("ka", "cl", "v"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        ka, cl, v = jnp.array(TYPICAL) * jnp.exp(eta)
        return dist.Normal(jnp.log(mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v)), self.sigma)


def truth() -> OralLog:
    """The model that makes the subjects, and with which they are looked at."""
    values: dict[str, Any] = {"omega": np.diag(SD**2), "sigma": ERROR}
    return OralLog(**values)


def times_of(design: str, hour: float) -> tuple[float, ...]:
    """The sampling times (h) of a design, with the sample of hour 4 moved to `hour`."""
    return tuple(sorted((*(t for t in TIMES[design] if t != HOUR), hour)))


def concentration(eta: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Concentrations (N, t) in mg/L for eta (N, 3), as the model has them, without compiling."""
    ka, cl, v = (np.array(TYPICAL) * np.exp(eta)).T[..., None]
    return DOSE * ka / (v * ka - cl) * (np.exp(-cl / v * time) - np.exp(-ka * time))


def virtual(times: tuple[float, ...], subjects: int = SUBJECTS) -> tuple[mf.Population, np.ndarray]:
    """Virtual subjects sampled at these times, and their eta (N, 3), whose SDs are made exact.

    The same people whatever the times."""
    key_eta, key_error = jax.random.split(jax.random.key(5))
    normal = jax.random.normal(key_eta, (subjects, 3))
    eta = SD * (normal - normal.mean(0)) / normal.std(0, ddof=1)
    width = next(rows for rows in _SHAPES if rows >= len(times))
    error = ERROR * jax.random.normal(key_error, (subjects, _SHAPES[-1]))[:, :width]
    rows = jnp.arange(width) < len(times)
    time = jnp.asarray([*times, *times[-1:] * (width - len(times))])
    n = (subjects, width)
    doses = mf.Doses(*(jnp.full((subjects, 1), value) for value in (0.0, DOSE, 0.0, 1.0)))
    rows = jnp.broadcast_to(rows, n)
    blank = mf.Subject(jnp.broadcast_to(time, n), jnp.zeros(n), rows, {}, doses, real=rows)
    ids = tuple(range(1, subjects + 1))
    people = mf.Population(blank, ids, time_label="time (h)", y_label="log mg/L")
    return people.with_responses(np.log(concentration(np.asarray(eta), np.asarray(time))) + error), np.asarray(eta)


@dataclass(frozen=True)
class Design:
    """Columns are ka, CL, V. `shown` (N, 3) holds estimates, or posterior draws; `eta` (N, 3) the truth."""

    times: tuple[float, ...]
    hour: float
    """The one of them that is moved."""
    show: str
    eta: np.ndarray
    shown: np.ndarray
    shrinkage: np.ndarray
    """1 - SD(shown) / omega (3,)."""
    posterior_sd: np.ndarray
    """Root of the mean posterior variance (3,), by the Gaussian approximation."""
    total: np.ndarray
    """sqrt(Var(estimates) + mean posterior variance) (3,), which is omega where the approximation is good."""


@functools.lru_cache(maxsize=64)
def _estimates(times: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    people, eta = virtual(times)
    found, covariance = mf.empirical_bayes(truth(), people, mf.Newton(tolerance=1e-3))
    return eta, np.asarray(found), np.asarray(covariance)


def compute(design: str, hour: float, show: str = ESTIMATE) -> Design:
    """Estimates or posterior draws of 1,000 subjects sampled at the times of `design`."""
    times = times_of(design, hour)
    if min(times) <= 0:
        raise Refused(f"A sample at {min(times):g} h is not possible: there is no concentration yet to take a log of.")
    eta, estimate, covariance = _estimates(times)
    normal = np.random.default_rng(6).normal(size=estimate.shape)
    shown = estimate
    if show == DRAW:
        shown = estimate + np.einsum("nij,nj->ni", np.linalg.cholesky(covariance), normal)
    variance = np.mean(np.diagonal(covariance, axis1=1, axis2=2), 0)
    total = np.sqrt(estimate.var(0, ddof=1) + variance)
    return Design(times, hour, show, eta, shown, 1 - shown.std(0, ddof=1) / SD, np.sqrt(variance), total)


def _tells(shrinkage: float) -> str:
    """How much the data tell about a random effect, in words."""
    for most, words in ((0.15, "much"), (0.4, "something"), (0.75, "little")):
        if shrinkage < most:
            return words
    return "next to nothing"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def say(found: Design) -> str:
    each = ", ".join(f"{name} {max(s, 0):.0%}" for name, s in zip(NAMES, found.shrinkage, strict=True))
    if found.show == DRAW:
        text = f"Draws from the posteriors have the spread of the people again. Shrinkage: {each}."
    else:
        said: dict[str, list[str]] = {}
        for name, s in zip(NAMES, found.shrinkage, strict=True):
            said.setdefault(_tells(s), []).append(name)
        words = ", ".join(f"{what} about {_listed(names)}" for what, names in said.items())
        text = f"The data tell {words}. Shrinkage: {each}."
    times = ", ".join(f"{t:g}" for t in found.times)
    total = ", ".join(f"{t:.2f}" for t in found.total)
    return (
        f"{text}\nEveryone is sampled at {times} h. √(variance of the estimates + mean posterior variance): {total}, "
        f"close to the ω of {', '.join(f'{w:g}' for w in SD)}."
    )


@functools.cache
def _people() -> tuple[np.ndarray, np.ndarray]:
    """Concentrations on the grid: between which nine in ten people are (2, n), and of the typical one (n,)."""
    curves = concentration(SD * np.random.default_rng(7).normal(size=(1000, 3)), _GRID)
    return np.percentile(curves, [5, 95], axis=0), concentration(np.zeros((1, 3)), _GRID)[0]


def scene(found: Design) -> Scene:
    people, typical = _people()
    hours = Axis(0, 25, "time after the dose (h)", ticks=(0, 2, 4, 8, 12, 16, 20, 24))
    panels = {"curve": Panel(hours, Axis(0, 4.2, "mg/L", ticks=(0, 2, 4)), "Drag the sample")}
    others = np.array([t for t in found.times if t != found.hour])
    heights = concentration(np.zeros((1, 3)), np.append(others, found.hour))[0]
    yours = Drag("hour", along="typical")
    marks: list[Mark] = [
        Band("curve", "people", "individual", _GRID, people[0], people[1], label="9 of 10 people", weight="thin"),
        Line("curve", "typical", "population", _GRID, typical, label="typical person"),
        Dots("curve", "others", "data", others, heights[:-1], size=8),
        Dots("curve", "yours", "data", found.hour, heights[-1], drag=yours, size=12, label="sample"),
    ]
    meaning = "individual" if found.show == ESTIMATE else "posterior"
    label = "estimate of η" if found.show == ESTIMATE else "η drawn from the posterior"
    ends = np.array([-_REACH, _REACH])
    for j, name in enumerate(NAMES):
        up = Axis(-_REACH, _REACH, label if j == 0 else "", ticks=(-1, 0, 1))
        across = Axis(-_REACH, _REACH, f"true η of {name}", ticks=(-1, 0, 1))
        panels[name] = Panel(across, up, f"{name}: shrinkage {max(found.shrinkage[j], 0):.0%}")
        eta, shown = found.eta[:_SHOWN, j], found.shown[:_SHOWN, j]
        told = label if j == 0 else ""
        marks += [
            Line(name, "as it is", "truth", ends, ends, label="estimate = truth" if j == 0 else ""),
            Dots(name, "each", meaning, eta.round(2), shown.round(2), size=5, shape="o", label=told),
        ]
    return Scene(panels, marks)


def sampling_times() -> Stage:
    """The explorer of lesson 05: which samples are taken, and what they say about each random effect."""
    controls: dict[str, Control] = {
        "hour": Slider("Time of the sample that you move", 0.25, 24.0, HOUR, 0.25, unit="h"),
        "design": Choice("Everyone gives", (ONE, THREE, SIX, TWELVE), ONE),
        "show": Choice("Show", (ESTIMATE, DRAW), ESTIMATE),
    }
    alt = (
        "Top: the typical concentration curve with its sampling times, one of them to drag. Below, for ka, CL and V: "
        "each subject's estimate of its random effect, or a posterior draw, against the true one."
    )
    tries: Sequence[Move] = [
        ("sample late", {"hour": 24.0, "design": ONE}),
        ("sample early", {"hour": 0.5, "design": ONE}),
        ("draw instead", {"show": DRAW}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["curve curve curve", " ".join(NAMES)],
        heights=[0.8, 1],
        size=(900, 480),
        tries=tries,
    )
