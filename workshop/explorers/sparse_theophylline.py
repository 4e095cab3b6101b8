"""Theophylline with two samples a subject: joint and marginal profiles over the spread between subjects.

Everyone keeps the samples at about 2 and 12 hours; clearance and volume have random effects. The SDs of log CL and
log V are `s` times those that all 132 samples give, and for each s the typical CL and V are fitted again by each
objective. ka and the residual SD are held at what all samples say: with as many random effects as samples a subject,
a free residual SD would go to zero as well.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike
from matplotlib.ticker import NullLocator
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

import mefit as mf
from mefit import style
from mefit.base.progress import progress_line
from mefit.objectives.objective import Objective
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider

CENTRED, NON_CENTRED = "centred", "non-centred"
ROWS = (4, 9)  # of each subject's 11 samples: about 2 h and 12 h after the dose
KA, SIGMA = 1.58, 0.691  # 1/h and mg/L: Laplace's estimates from all 132 samples, as are the SDs
SD = np.array([0.265, 0.134])  # of log CL and log V
LOW, HIGH = 0.1, 10.0
GRID = np.geomspace(LOW, HIGH, 21)
_HELD = ("ka", "omega", "sigma")
_TIME = np.linspace(0, 25, 76)
_COLUMNS = 4
_LARGE: dict[str, Any] = {"markersize": 10.0}
_THIN: dict[str, Any] = {"linewidth": 1.8}
_THICK: dict[str, Any] = {"linewidth": 2.6}
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


class TwoSamples(mf.Model):
    """One compartment, first-order absorption, log-normal CL and V, additive error."""

    ka: Array = mf.positive(unit="1/h")
    cl: Array = mf.positive(unit="L/h/kg")
    v: Array = mf.positive(unit="L/kg")
    omega: Array = mf.diagonal_covariance(names=("cl", "v"))
    sigma: Array = mf.positive(unit="mg/L")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        cl, v = self.cl * jnp.exp(eta[0]), self.v * jnp.exp(eta[1])
        return dist.Normal(mf.pk.oral_one_compartment(subject, ka=self.ka, cl=cl, v=v), self.sigma)


def model_at(s: float, cl: ArrayLike = 0.038, v: ArrayLike = 0.5) -> TwoSamples:
    """The model with the SDs of its random effects at s times those of the full data."""
    values: dict[str, Any] = {"ka": KA, "cl": cl, "v": v, "omega": np.diag((s * SD) ** 2), "sigma": SIGMA}
    return TwoSamples(**values)


@dataclass(frozen=True)
class Table:
    """Profiles at `GRID` (g,) in log units, and what goes with them; `typical` (g, 2) and `own` (g, N, 2) hold the
    logarithms of CL and V: typical, and each subject's empirical Bayes estimate, by the marginal fit."""

    centred: np.ndarray
    non_centred: np.ndarray
    marginal: np.ndarray
    typical: np.ndarray
    own: np.ndarray
    best: float
    """The s at which the marginal likelihood is highest."""
    highest: float
    subjects: tuple[str, ...]
    dose: np.ndarray
    time: np.ndarray
    y: np.ndarray


@functools.cache
def table() -> Table:
    """Fit CL and V at every s of the grid, by joint maximum a posteriori and by the marginal likelihood (AGQ, 9 nodes).

    With omega held, the two forms of the joint density differ by the constant N sum log(s SD), so one fit serves both.
    """
    full = mf.datasets.theophylline()
    two = full.keep_rows(ROWS)

    def fit(s: float, method: Objective, start: Any) -> mf.Fit:
        return mf.fit(model_at(s, start.cl, start.v), two, method, fixed=_HELD, progress=False)

    fits: dict[str, list[mf.Fit]] = {"joint": [], "marginal": []}
    methods = {"joint": mf.JointMAP(), "marginal": mf.AGQ(nodes=9)}
    with progress_line("Fitting the profiles, once (the first fits compile)", 2 * len(GRID)) as bar:
        for name, method in methods.items():
            start: Any = model_at(1.0)
            for s in GRID:
                fits[name].append(fit(s, method, start))
                start = fits[name][-1].model
                bar.update()
    joint, marginal = (np.array([f.log_likelihood for f in fits[name]]) for name in methods)
    top = int(np.argmax(marginal))
    nearby: Any = fits["marginal"][top].model

    def loss(log_s: float) -> float:
        return -fit(float(np.exp(log_s)), methods["marginal"], nearby).log_likelihood

    between = np.log(GRID[[top - 1, top + 1]])
    found: Any = minimize_scalar(loss, bounds=between, method="bounded", options={"xatol": 1e-4})
    ends: list[Any] = [f.model for f in fits["marginal"]]
    typical = np.log([[float(model.cl), float(model.v)] for model in ends])
    profiles = (joint, joint + len(two) * np.log(GRID[:, None] * SD).sum(1), marginal)
    own = typical[:, None, :] + np.array([f.eta for f in fits["marginal"]])
    dose, time, y = (np.asarray(a) for a in (full.subjects.doses.amount[:, 0], full.subjects.time, full.subjects.y))
    ids = tuple(map(str, full.ids))
    return Table(*profiles, typical, own, float(np.exp(found.x)), float(-found.fun), ids, dose, time, y)


@functools.cache
def _splines() -> dict[str, CubicSpline]:
    found = table()
    return {
        name: CubicSpline(np.log(GRID), getattr(found, name))
        for name in ("centred", "non_centred", "marginal", "typical", "own")
    }


def concentration(time: np.ndarray, dose: np.ndarray, log_cl_v: np.ndarray) -> np.ndarray:
    """One dose by mouth: time (..., t) in h, dose (N,) in mg/kg, log CL and log V (N, 2) or (2,); (N, t) in mg/L."""
    cl, v = np.exp(np.broadcast_to(log_cl_v, (len(dose), 2))).T[..., None]
    ke = cl / v
    return dose[:, None] * KA / (v * (KA - ke)) * (np.exp(-ke * time) - np.exp(-KA * time))


@dataclass(frozen=True)
class Sparse:
    """`joint` and `marginal` (g,) over `GRID` and at `s`; curves (12, t) in mg/L: `individual` and `typical`."""

    s: float
    form: str
    joint: np.ndarray
    marginal: np.ndarray
    joint_here: float
    marginal_here: float
    best: float
    highest: float
    individual: np.ndarray
    typical: np.ndarray
    clearance: np.ndarray
    """Each subject's CL (12,) in L/h/kg."""


def compute(s: float, form: str = CENTRED) -> Sparse:
    """Profiles and individual curves at `s`; between the points of the grid, by cubic splines in log s."""
    if not LOW <= s <= HIGH:
        raise Refused(f"The profiles were computed for s from {LOW:g} to {HIGH:g}, not for {s:g}.")
    found, at = table(), {name: spline(np.log(s)) for name, spline in _splines().items()}
    name = "centred" if form == CENTRED else "non_centred"
    profiles = (getattr(found, name), found.marginal, float(at[name]), float(at["marginal"]))
    own, typical = (concentration(_TIME, found.dose, at[whose]) for whose in ("own", "typical"))
    return Sparse(s, form, *profiles, found.best, found.highest, own, typical, np.exp(at["own"][:, 0]))


def say(found: Sparse) -> str:
    end = "s = 0, everyone the same" if found.form == CENTRED else "s = ∞, everyone fitted alone"
    return (
        f"At s = {found.s:.3g} the {found.form} joint log density is {found.joint_here:.2f}, climbing towards {end}. "
        f"Marginal log-likelihood {found.marginal_here:.2f}, maximum {found.highest:.2f} at s = {found.best:.2f}. "
        f"The 12 clearances run from {found.clearance.min():.3f} to {found.clearance.max():.3f} L/h/kg."
    )


def _tiles(values: np.ndarray, step: float, along: str) -> np.ndarray:
    """Values (12, t) moved to the place of each subject's tile, a NaN after each so that lines do not run on."""
    place = np.arange(len(values))
    shift = place % _COLUMNS if along == "x" else -(place // _COLUMNS)
    return np.pad(values + step * shift[:, None], ((0, 0), (0, 1)), constant_values=np.nan).ravel()


def paint(picture: style.Picture, found: Sparse) -> Callable[[Sparse], None]:
    data = table()
    left = picture.add_gridspec(2, 1, left=0.075, right=0.45, top=0.93, bottom=0.12, hspace=0.3)
    panels = []
    for i, meaning in enumerate(("joint", "marginal")):
        axes = picture.add_subplot(left[i], xscale="log", xlim=(LOW, HIGH))
        (curve,) = axes.plot([], [], **style.LINE[meaning])
        now = axes.axvline(1.0, color="#777777", linewidth=1.2, zorder=1)
        (here,) = axes.plot([], [], **style.POINT[meaning] | _LARGE, clip_on=False)
        note = axes.text(0, 0, "", color=style.COLOUR[meaning], size=12, va="bottom", bbox=_PAPER)
        axes.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"] if i else [])
        axes.xaxis.set_minor_locator(NullLocator())
        panels.append((axes, curve, now, here, note))
    title = panels[0][0].set_title("", color=style.COLOUR["joint"], size=13)
    axes, curve, _, _, note = panels[1]
    axes.set_title("Marginal log-likelihood", color=style.COLOUR["marginal"], size=13)
    axes.set_xlabel("s, factor on the SDs of η (log scale)")
    axes.plot([found.best], [found.highest + 2.5], color=style.COLOUR["marginal"], marker="v", markersize=9, zorder=4)
    note.set(x=found.best, y=found.highest + 4.5, text=f"maximum at s = {found.best:.2f}", ha="center")
    curve.set_data(GRID, found.marginal)
    axes.set_ylim(found.marginal.min() - 3, found.highest + 11)

    # One pair of axes carries all twelve small pictures: twelve pairs would take a slider's patience to draw.
    tiles = picture.add_axes((0.535, 0.12, 0.455, 0.76))
    wide, high = 30.0, 15.0
    across, down = functools.partial(_tiles, step=wide, along="x"), functools.partial(_tiles, step=high, along="y")
    time = across(np.tile(_TIME, (len(data.y), 1)))
    kept = np.isin(np.arange(data.y.shape[1]), ROWS)
    grey: dict[str, Any] = {"markersize": 4.5, "markerfacecolor": "white", "markeredgecolor": "#8A8A8A"}
    hollow = style.POINT["data"] | grey
    tiles.plot(time, down(np.zeros((len(data.y), _TIME.size))), color="#BBBBBB", linewidth=1, zorder=1)
    left_out = tiles.plot(across(data.time[:, ~kept]), down(data.y[:, ~kept]), **hollow)[0]
    (typical,) = tiles.plot([], [], **style.LINE["population"] | _THIN)
    (own,) = tiles.plot([], [], **style.LINE["individual"] | _THICK)
    fitted = tiles.plot(across(data.time[:, kept]), down(data.y[:, kept]), **style.POINT["data"])[0]
    for i, subject in enumerate(data.subjects):
        x, y = wide * (i % _COLUMNS) + 25, 8.4 - high * (i // _COLUMNS)
        tiles.text(x, y, subject, size=12, ha="right", weight="bold")
    tiles.set(xlim=(-2, 3 * wide + 26), ylim=(-2 * high - 0.5, 12.5), xlabel="time after the dose (h)")
    tiles.set_xticks([wide * i + t for i in range(_COLUMNS) for t in (0, 20)], ["0", "20"] * _COLUMNS)
    tiles.set_yticks([c - high * i for i in range(3) for c in (0, 10)], ["0", "10"] * 3)
    tiles.set_ylabel("theophylline (mg/L)", labelpad=2)
    tiles.spines[["left", "bottom"]].set_visible(False)
    names = ("two samples, fitted", "left out", "own curve", "typical curve")
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.03, 0.985), "ncols": 2}
    tiles.legend([fitted, left_out, own, typical], names, columnspacing=1.0, handletextpad=0.5, **place)

    def update(found: Sparse) -> None:
        heights = (found.joint_here, found.marginal_here)
        for (_, _, now, here, _), value in zip(panels, heights, strict=True):
            now.set_xdata([found.s, found.s])
            here.set_data([found.s], [value])
        axes, curve, _, _, note = panels[0]
        low, top = found.joint.min(), found.joint.max()
        curve.set_data(GRID, found.joint)
        axes.set_ylim(low - 0.08 * (top - low), top + 0.27 * (top - low))
        title.set_text(f"Joint log density, {found.form}")
        if found.form == CENTRED:
            note.set(x=LOW * 1.03, ha="left", text="←  no mode: climbs to ∞ at s = 0")
        else:
            note.set(x=HIGH, ha="right", text="no mode: climbs towards s = ∞  →")
        note.set_y(top + 0.07 * (top - low))
        own.set_data(time, down(found.individual))
        typical.set_data(time, down(found.typical))

    update(found)
    return update


def sparse_theophylline() -> Explorer:
    """The explorer of lesson 02: the SDs of the random effects under a slider, with two samples from each subject."""
    table()
    controls: dict[str, Control] = {
        "s": Slider("Factor s on the SDs", LOW, HIGH, 1.0, 0.1, log=True),
        "form": Choice("Joint density", (CENTRED, NON_CENTRED), CENTRED),
    }
    alt = (
        "Left: joint and marginal profiles over the factor on the SDs of the random effects. "
        "Right: the twelve subjects, two samples each, with their own and the typical curve."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=500)
