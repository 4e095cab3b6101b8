"""Shrinkage by sampling times: what each sample says about absorption, clearance and volume.

One compartment, one dose of 100 mg by mouth, parameters held at what the 1,000 virtual subjects were made with:

    ka = 1.2 exp(eta_1), CL = 3 exp(eta_2), V = 30 exp(eta_3)     SDs of eta 0.4, 0.3, 0.2, independent
    log y = log C(t) + e                                          SD of e 0.2

For the chosen times the explorer finds every subject's empirical Bayes estimate and its Gaussian approximation, and
sets the estimates, or a draw from each approximation, against the eta that the subject was made with.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

import mefit as mf
from mefit import style
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider

NAMES = ("ka", "CL", "V")
TYPICAL, SD, ERROR = (1.2, 3.0, 30.0), np.array([0.4, 0.3, 0.2]), 0.2
SUBJECTS, _SHOWN, DOSE = 1000, 300, 100.0
TWELVE, SIX, THREE, ONE = "12 samples", "6 samples", "3 samples", "one sample"
TIMES = {
    TWELVE: (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 24.0),
    SIX: (0.5, 1.0, 2.0, 4.0, 8.0, 24.0),
    THREE: (1.0, 4.0, 24.0),
}
ESTIMATE, DRAW = "estimates (EBEs)", "a posterior draw each"
_GRID = np.linspace(0.0, 26.0, 105)
_ROWS = 12


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
    """The sampling times (h) of a design; `hour` is that of its only sample where there is one."""
    return TIMES.get(design, (hour,))


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
    width = 1 if len(times) == 1 else _ROWS  # two shapes, so two programs: one sample is found ten times quicker
    error = ERROR * jax.random.normal(key_error, (subjects, _ROWS))[:, :width]
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
    return Design(times, show, eta, shown, 1 - shown.std(0, ddof=1) / SD, np.sqrt(variance), total)


def say(found: Design) -> str:
    what = "estimates" if found.show == ESTIMATE else "posterior draws"
    each = ", ".join(f"{name} {s:.1%}" for name, s in zip(NAMES, found.shrinkage, strict=True))
    total = ", ".join(f"{t:.3f}" for t in found.total)
    hours = "hour" if len(found.times) == 1 else "hours"
    times = " ".join(f"{t:g}" for t in found.times)
    return f"Sampled at {hours} {times}. Shrinkage of the {what}: {each}. √(Var(EBE) + posterior variance): {total}."


def paint(picture: style.Picture, found: Design) -> Callable[[Design], None]:
    top = picture.add_axes((0.065, 0.62, 0.925, 0.29), xlim=(0, 26), ylim=(0, 4.2), yticks=[0, 2, 4])
    top.set(xlabel="time after the dose (h)", ylabel="mg/L", xticks=[0, 2, 4, 8, 12, 24])
    curves = concentration(SD * np.random.default_rng(7).normal(size=(1000, 3)), _GRID)
    top.fill_between(_GRID, *np.percentile(curves, [5, 95], axis=0), **style.AREA["prior"], label="9 of 10 people")
    top.plot(_GRID, concentration(np.zeros((1, 3)), _GRID)[0], **style.LINE["population"], label="typical person")
    (samples,) = top.plot([], [], **style.POINT["data"] | {"markersize": 10}, label="sampling times", clip_on=False)
    top.legend(loc="upper right", ncols=3, columnspacing=1.0, bbox_to_anchor=(1.0, 1.22))

    panels = []
    for j, name in enumerate(NAMES):
        axes = picture.add_axes((0.065 + 0.325 * j, 0.1, 0.275, 0.36), xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
        axes.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlabel=f"true η of {name}")
        axes.plot([-1.2, 1.2], [-1.2, 1.2], **style.LINE["truth"] | {"linewidth": 1.6})
        (dots,) = axes.plot([], [], linestyle="none", marker="o", markersize=3.5, markeredgewidth=0, zorder=2)
        panels.append((dots, axes.set_title("", size=13)))
        if j == 0:
            label = axes.set_ylabel("")

    def update(found: Design) -> None:
        samples.set_data(found.times, np.zeros(len(found.times)))
        colour = style.COLOUR["individual" if found.show == ESTIMATE else "posterior"]
        for j, (dots, title) in enumerate(panels):
            dots.set_data(found.eta[:_SHOWN, j], found.shown[:_SHOWN, j])
            dots.set_color(colour)
            title.set_text(f"{NAMES[j]}: shrinkage {found.shrinkage[j]:.0%}".replace("-0%", "0%"))
        label.set_text("estimate of η" if found.show == ESTIMATE else "drawn η")

    update(found)
    return update


def sampling_times() -> Explorer:
    """The explorer of lesson 05: which samples are taken, and what they say about each random effect."""
    controls: dict[str, Control] = {
        "design": Choice("Everyone gives", (TWELVE, SIX, THREE, ONE), ONE),
        "hour": Slider("The one sample at", 0.25, 24.0, 4.0, 0.25, unit="h"),
        "show": Choice("Show", (ESTIMATE, DRAW), ESTIMATE),
    }
    alt = (
        "Top: the typical concentration curve with its sampling times. Below, for ka, CL and V: each subject's "
        "estimate of its random effect, or a posterior draw, against the true one."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=520)
