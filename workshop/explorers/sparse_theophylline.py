"""Theophylline with two samples a subject: joint and marginal profiles over the spread between subjects.

Everyone keeps the samples at about 2 and 12 hours; clearance and volume have random effects. The SDs of log CL and
log V are `s` times those that all 132 samples give, and for each s the typical CL and V are fitted again by each
objective. ka and the residual SD are held at what all samples say: with as many random effects as samples a subject,
a free residual SD would go to zero as well.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

import mefit as mf
from mefit.base.progress import progress_line
from mefit.objectives.objective import Objective
from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span, Text
from workshop.explorers.stage import Move, Stage

CENTRED, NON_CENTRED = "centred", "non-centred"
ROWS = (4, 9)  # of each subject's 11 samples: about 2 h and 12 h after the dose
KA, SIGMA = 1.58, 0.691  # 1/h and mg/L: Laplace's estimates from all 132 samples, as are the SDs
SD = np.array([0.265, 0.134])  # of log CL and log V
LOW, HIGH = 0.1, 10.0
GRID = np.geomspace(LOW, HIGH, 21)
_HELD = ("ka", "omega", "sigma")
_TIME = np.linspace(0, 25, 76)


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
    """`joint` and `marginal` (g,) over `GRID` and at `s`; of the chosen subject, in row `i`, curves (t,) in mg/L; in
    L/h/kg and L/kg everyone's CL and V (12, 2), the typical ones (2,), and (12, 2) where each is `alone` at s = 10."""

    s: float
    form: str
    i: int
    joint: np.ndarray
    marginal: np.ndarray
    joint_here: float
    marginal_here: float
    best: float
    highest: float
    individual: np.ndarray
    typical: np.ndarray
    own: np.ndarray
    middle: np.ndarray
    alone: np.ndarray


def compute(s: float, form: str = CENTRED, subject: int = 1) -> Sparse:
    """Profiles and individual curves at `s`; between the points of the grid, by cubic splines in log s."""
    if not LOW <= s <= HIGH:
        raise Refused(f"The profiles were computed for s from {LOW:g} to {HIGH:g}, not for {s:g}.")
    found, at = table(), {name: spline(np.log(s)) for name, spline in _splines().items()}
    i = subject - 1
    name = "centred" if form == CENTRED else "non_centred"
    profiles = (getattr(found, name), found.marginal, float(at[name]), float(at["marginal"]), found.best, found.highest)
    dose = found.dose[[i]]
    curves = (concentration(_TIME, dose, where)[0] for where in (at["own"][[i]], at["typical"]))
    return Sparse(s, form, i, *profiles, *curves, *(np.exp(a) for a in (at["own"], at["typical"], found.own[-1])))


def say(found: Sparse) -> str:
    end = "s = 0, everyone the same" if found.form == CENTRED else "s = ∞, everyone fitted alone"
    clearance = found.own[:, 0]
    return (
        f"The {found.form} joint density has no mode, climbing towards {end}; "
        f"the marginal likelihood has its maximum at s = {found.best:.2f}.\n"
        f"At s = {found.s:.3g}: {found.form} joint log density {found.joint_here:.2f}, marginal log-likelihood "
        f"{found.marginal_here:.2f}, {found.highest:.2f} at its maximum. "
        f"The 12 clearances run from {clearance.min():.3f} to {clearance.max():.3f} L/h/kg."
    )


def scene(found: Sparse) -> Scene:
    data = table()
    factor = Axis(LOW, HIGH, "s, factor on the SDs of η", log=True, ticks=[0.1, 0.3, 1, 3, 10])
    low, top = float(found.joint.min()), float(found.joint.max())
    reach = top - low
    cl, v = (_around(np.exp(data.own[..., k])) for k in range(2))
    panels = {
        "joint": Panel(
            replace(factor, label=""),
            Axis(low - 0.08 * reach, top + 0.27 * reach),
            f"Joint log density, {found.form}",
            "joint",
        ),
        "marginal": Panel(
            factor, Axis(found.marginal.min() - 3, found.highest + 11), "Marginal log-likelihood", "marginal"
        ),
        "curve": Panel(
            Axis(-0.5, 25, "time after the dose (h)", ticks=[0, 6, 12, 18, 24]),
            Axis(0, 13, "theophylline (mg/L)"),
            f"Subject {data.subjects[found.i]}",
        ),
        "people": Panel(
            Axis(*cl, "CL (L/h/kg; log scale)", log=True, ticks=[0.02, 0.03, 0.04, 0.06]),
            Axis(*v, "V (L/kg; log scale)", log=True, ticks=[0.4, 0.5, 0.6, 0.7]),
            "All twelve",
        ),
    }
    return Scene(panels, [*_profiles(found, panels), *_curve(found, data), *_people(found)])


def _around(values: np.ndarray) -> tuple[float, float]:
    return 0.95 * float(values.min()), 1.05 * float(values.max())


def _profiles(found: Sparse, panels: dict[str, Panel]) -> list[Mark]:
    marks: list[Mark] = []
    heights = {"joint": (found.joint, found.joint_here), "marginal": (found.marginal, found.marginal_here)}
    for name, (profile, here) in heights.items():
        marks += [
            Rule(name, "now", "guide", "x", found.s, weight="thin"),
            Line(name, "profile", name, GRID, profile),
            Dots(name, "here", name, found.s, here, drag=Drag(x="s", along="profile"), size=11),
        ]
    left = found.form == CENTRED
    words = "←  climbs to ∞ at s = 0" if left else "climbs towards s = ∞  →"
    height = 0.85 * panels["joint"].y.high + 0.15 * panels["joint"].y.low
    climbs = Text("joint", "climbs", "joint", LOW * 1.05 if left else HIGH, height, words, "start" if left else "end")
    top = f"maximum at s = {found.best:.2f}"
    return [
        *marks,
        climbs,
        Dots("marginal", "top", "marginal", found.best, found.highest + 2.5, shape="v"),
        Text("marginal", "at the top", "marginal", found.best, found.highest + 5, top, "middle"),
    ]


def _curve(found: Sparse, data: Table) -> list[Mark]:
    """The chosen subject's two samples, those that were left out, and the two curves."""
    time, y = data.time[found.i], data.y[found.i]
    kept = np.isin(np.arange(y.size), ROWS)
    return [
        Line("curve", "typical", "population", _TIME, found.typical, "typical curve"),
        Line("curve", "own", "individual", _TIME, found.individual, "own curve", weight="strong"),
        Dots("curve", "left out", "guide", time[~kept], y[~kept], "left out", size=7),
        Dots("curve", "fitted", "data", time[kept], y[kept], "two samples, fitted", size=10),
    ]


def _people(found: Sparse) -> list[Mark]:
    """Where everyone is, on the way from the place that each has when fitted alone to the typical one."""
    (cl, v), (far_cl, far_v) = found.own.T, found.alone.T
    names = list(table().subjects)
    return [
        Span("people", "pulls", "individual", far_cl, far_v, cl, v, weight="thin"),
        Dots("people", "alone", "guide", far_cl, far_v, "fitted alone", size=5),
        Dots("people", "typical", "population", *found.middle, "typical subject", size=11),
        Dots("people", "own", "individual", cl, v, "each subject", size=9),
        Dots("people", "chosen", "individual", cl[found.i], v[found.i], size=15),
        Text("people", "names", "guide", far_cl * 1.015, far_v, names),
    ]


def sparse_theophylline() -> Stage:
    """The explorer of lesson 02: the SDs of the random effects in hand, with two samples from each subject."""
    subjects = table().subjects
    controls: dict[str, Control] = {
        "s": Slider("Factor s on the SDs", LOW, HIGH, 1.0, log=True),
        "form": Choice("Joint density", (CENTRED, NON_CENTRED), CENTRED),
        "subject": Slider("Curve of subject", 1, len(subjects), 1, 1),
    }
    alt = (
        "Left: joint and marginal profiles over the factor on the SDs of the random effects. Middle: one subject's two "
        "samples with its own and the typical curve. Right: the clearances and volumes of all twelve."
    )
    tries: Sequence[Move] = [
        ("make everyone the same", {"s": LOW}),
        ("fit everyone alone", {"s": HIGH}),
        ("the other form", {"form": NON_CENTRED}),
        ("back to 1", {"s": 1.0, "form": CENTRED}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["joint curve people", "marginal curve people"],
        widths=[1, 1, 1],
        heights=[1, 1.2],
        size=(980, 430),
        tries=tries,
    )
