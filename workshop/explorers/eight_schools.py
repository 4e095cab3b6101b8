"""Eight Schools: one model, two joint densities with opposite collapses, and a marginal likelihood that has neither.

y_j ~ N(mu + eta_j, s_j^2), eta_j ~ N(0, tau^2), the standard errors s_j known. For a given tau everything is known in
closed form: with mu the mean of the y_j weighted by 1 / (s_j^2 + tau^2) and Q = sum (y_j - mu)^2 / (s_j^2 + tau^2),

    centred joint       J_c(tau) = k - Q/2 - J log tau           every eta_j at its best value, mu too
    non-centred joint   J_n(tau) = k - Q/2                       the same in z_j = eta_j / tau: J_n = J_c + J log tau
    marginal            l(tau)   = -J/2 log 2 pi - 1/2 sum log(s_j^2 + tau^2) - Q/2

with k = -J log 2 pi - sum log s_j. The slope of -Q/2 in log tau is tau^2 sum (y_j - mu)^2 / (s_j^2 + tau^2)^2 (mu is at
its best, so its own movement adds nothing), and from it come the modes.
Data: Rubin (1981), Journal of Educational Statistics 6, 377-401.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import NullLocator
from scipy.optimize import brentq

from mefit import style
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider

NAMES = tuple("ABCDEFGH")
EFFECT = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])  # points
ERROR = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])  # points
CENTRED, NON_CENTRED = "centred", "non-centred"
LOW, HIGH = 0.01, 100.0
_CONSTANT = float(-EFFECT.size * np.log(2 * np.pi) - np.log(ERROR).sum())
_LARGE: dict[str, Any] = {"markersize": 10.0}
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
_Profile = Callable[[np.ndarray, float], np.ndarray]


def pooled_mean(tau: np.ndarray, c: float = 1.0) -> np.ndarray:
    """The best mu for each tau: the mean of the effects c y, weighted by 1 / (s^2 + tau^2)."""
    weight = 1 / (ERROR**2 + np.square(tau)[..., None])
    return (weight * c * EFFECT).sum(-1) / weight.sum(-1)


def _scaled_residuals(tau: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
    """(c y - mu)^2 / (s^2 + tau^2), and s^2 + tau^2: each (..., 8)."""
    total = ERROR**2 + np.square(tau)[..., None]
    return (c * EFFECT - pooled_mean(tau, c)[..., None]) ** 2 / total, total


def log_non_centred(tau: np.ndarray, c: float = 1.0) -> np.ndarray:
    """log p(y, z | mu, tau) at the best mu and z. Its limit at tau = infinity is the same for every c."""
    return _CONSTANT - 0.5 * _scaled_residuals(tau, c)[0].sum(-1)


def log_centred(tau: np.ndarray, c: float = 1.0) -> np.ndarray:
    """log p(y, eta | mu, tau) at the best mu and eta."""
    return log_non_centred(tau, c) - EFFECT.size * np.log(tau)


def log_marginal(tau: np.ndarray, c: float = 1.0) -> np.ndarray:
    """log p(y | mu, tau) at the best mu."""
    squares, total = _scaled_residuals(tau, c)
    return -0.5 * (EFFECT.size * np.log(2 * np.pi) + np.log(total).sum(-1) + squares.sum(-1))


def slope_non_centred(tau: np.ndarray, c: float = 1.0) -> np.ndarray:
    """d J_n / d log tau: positive everywhere, so there is no mode."""
    squares, total = _scaled_residuals(tau, c)
    return np.square(tau) * (squares / total).sum(-1)


def slope_centred(tau: np.ndarray, c: float = 1.0) -> np.ndarray:
    """d J_c / d log tau: -8 at tau = 0."""
    return slope_non_centred(tau, c) - EFFECT.size


def slope_marginal(tau: np.ndarray, c: float = 1.0) -> np.ndarray:
    """d l / d log tau."""
    return slope_non_centred(tau, c) - np.square(tau) * (1 / _scaled_residuals(tau, c)[1]).sum(-1)


def turning_points(slope: _Profile, c: float) -> tuple[list[float], list[float]]:
    """(modes, valleys) of a profile: the tau > 0 where its slope in log tau changes sign."""
    grid = np.geomspace(0.1, 1000, 4001)
    values = slope(grid, c)
    modes: list[float] = []
    valleys: list[float] = []
    for i in np.flatnonzero(np.sign(values[:-1]) != np.sign(values[1:])):
        root = brentq(lambda tau: float(slope(np.asarray(tau), c)), grid[i], grid[i + 1], xtol=1e-12)
        (modes if values[i] > 0 else valleys).append(root)
    return modes, valleys


def local_joint_mode(c: float) -> float | None:
    """Where the centred joint density has its local mode in tau, or None where it has none."""
    modes, _ = turning_points(slope_centred, c)
    return modes[0] if modes else None


def marginal_maximum(c: float) -> float:
    """The tau at which the marginal likelihood is highest; 0.0 where that is the boundary."""
    return max([0.0, *turning_points(slope_marginal, c)[0]], key=lambda tau: float(log_marginal(np.asarray(tau), c)))


@dataclass(frozen=True)
class Profiles:
    """Profiles over `grid` (g,) of tau, all in log units; the schools' `estimate` (8,) and pooled `mean` at `tau`."""

    tau: float
    form: str
    c: float
    grid: np.ndarray
    joint: np.ndarray
    marginal: np.ndarray
    joint_here: float
    marginal_here: float
    mode: float | None
    valley: float | None
    best: float
    mean: float
    estimate: np.ndarray


def compute(tau: float, form: str = CENTRED, c: float = 1.0) -> Profiles:
    """The profiles of the joint density in the chosen `form` and of the marginal likelihood, all effects times `c`."""
    if not (tau > 0 and c > 0):
        raise Refused(f"tau and c must be positive, not {tau:g} and {c:g}.")
    joint = log_centred if form == CENTRED else log_non_centred
    modes, valleys = turning_points(slope_centred, c) if form == CENTRED else ([], [])
    grid, here = np.geomspace(LOW, HIGH, 401), np.asarray(tau)
    mean = float(pooled_mean(here, c))
    profiles = (joint(grid, c), log_marginal(grid, c), float(joint(here, c)), float(log_marginal(here, c)))
    mode, valley = (found[0] if found else None for found in (modes, valleys))
    estimate = mean + tau**2 / (tau**2 + ERROR**2) * (c * EFFECT - mean)
    return Profiles(tau, form, c, grid, *profiles, mode, valley, marginal_maximum(c), mean, estimate)


def say(found: Profiles) -> str:
    if found.form == NON_CENTRED:
        joint = "climbing towards τ = ∞, no pooling: it has no mode"
    elif found.mode is None or found.valley is None:
        joint = "climbing towards τ = 0, complete pooling: it has no mode"
    elif found.tau > found.valley:
        joint = f"climbing towards a local mode at τ = {found.mode:.2f} (but below τ = {found.valley:.1f} towards 0)"
    else:
        joint = f"climbing towards τ = 0, complete pooling, past its local mode at τ = {found.mode:.2f}"
    kept = found.tau**2 / (found.tau**2 + ERROR**2)
    where = "0, the boundary" if found.best == 0 else f"{found.best:.2f}"
    low, high = (f"{100 * k:.2g}" if k < 0.995 else "100" for k in (kept.min(), kept.max()))
    return (
        f"At τ = {found.tau:.3g} the {found.form} joint log density is {found.joint_here:.2f}, {joint}. "
        f"Marginal: {found.marginal_here:.2f}, maximum at τ = {where}. "
        f"Schools keep {low} to {high}% of their distance from the mean."
    )


def paint(picture: style.Picture, found: Profiles) -> Callable[[Profiles], None]:
    left = picture.add_gridspec(2, 1, left=0.08, right=0.53, top=0.93, bottom=0.12, hspace=0.32)
    panels = []
    for i, meaning in enumerate(("joint", "marginal")):
        axes = picture.add_subplot(left[i], xscale="log", xlim=(LOW, HIGH))
        (curve,) = axes.plot([], [], **style.LINE[meaning])
        now = axes.axvline(1.0, color="#777777", linewidth=1.2, zorder=1)
        (here,) = axes.plot([], [], **style.POINT[meaning] | _LARGE, clip_on=False)
        # The top is marked with a triangle above the curve, so that the point at the present tau never hides it.
        (top,) = axes.plot([], [], color=style.COLOUR[meaning], linestyle="none", marker="v", markersize=9, zorder=4)
        note = axes.text(0, 0, "", color=style.COLOUR[meaning], size=12, va="bottom", bbox=_PAPER)
        axes.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"] if i else [])
        axes.xaxis.set_minor_locator(NullLocator())
        panels.append((axes, curve, now, here, top, note))
    title = panels[0][0].set_title("", color=style.COLOUR["joint"], size=13)
    panels[1][0].set_title("Marginal log-likelihood", color=style.COLOUR["marginal"], size=13)
    climbs = panels[0][0].text(0, 0, "", color=style.COLOUR["joint"], size=12, va="bottom", bbox=_PAPER)
    panels[1][0].set_xlabel("τ, SD between schools (points; log scale)")

    schools = picture.add_axes((0.61, 0.12, 0.365, 0.73), ylim=(7.6, -0.6), xlabel="effect of coaching (points)")
    rows = np.arange(EFFECT.size)
    errors = schools.hlines(rows, 0, 1, color="#C4C4C4", linewidth=1.6, zorder=1)
    pulls = schools.hlines(rows, 0, 1, color=style.COLOUR["individual"], linewidth=3.2, zorder=2)
    mean = schools.axvline(0, **style.LINE["population"], label="pooled mean")
    (raw,) = schools.plot([], [], **style.POINT["data"], label="observed ± SE")
    (estimates,) = schools.plot([], [], **style.POINT["individual"] | _LARGE, label="estimate")
    schools.set_yticks(rows, NAMES)
    schools.tick_params(axis="y", length=0)
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.1, 0.99), "ncols": 2}
    schools.legend(handles=[raw, estimates, mean], columnspacing=1.0, handletextpad=0.4, **place)

    def level(axes: Axes, values: np.ndarray) -> None:
        low, high = values.min(), values.max()
        axes.set_ylim(low - 0.1 * (high - low), high + 0.33 * (high - low))

    def update(found: Profiles) -> None:
        shown = ((found.joint, found.joint_here), (found.marginal, found.marginal_here))
        for (axes, curve, now, here, _, _), (values, value) in zip(panels, shown, strict=True):
            curve.set_data(found.grid, values)
            now.set_xdata([found.tau, found.tau])
            here.set_data([found.tau], [value])
            level(axes, values)
        title.set_text(f"Joint log density, {found.form}")
        axes, _, _, _, top, note = panels[0]
        reach = np.ptp(axes.get_ylim())
        end = found.joint.max() + 0.05 * reach
        if found.form == NON_CENTRED:
            _place(climbs, HIGH, end, "no mode: climbs towards τ = ∞  →", "right")
        else:
            words = "←  climbs to ∞ at τ = 0" if found.mode else "←  no mode: climbs to ∞ at τ = 0"
            _place(climbs, LOW * 1.15, found.joint[0] + 0.05 * reach, words, "left")
        height = float(log_centred(np.asarray(found.mode or 1.0), found.c))
        _mark(top, note, found.mode, height, reach, "local mode")
        axes, _, _, _, top, note = panels[1]
        height = float(log_marginal(np.asarray(found.best), found.c))
        _mark(top, note, found.best, height, np.ptp(axes.get_ylim()), "maximum")

        y = found.c * EFFECT
        errors.set_segments([[(a, r), (b, r)] for a, b, r in zip(y - ERROR, y + ERROR, rows, strict=True)])
        pulls.set_segments([[(a, r), (b, r)] for a, b, r in zip(y, found.estimate, rows, strict=True)])
        raw.set_data(y, rows)
        estimates.set_data(found.estimate, rows)
        mean.set_xdata([found.mean, found.mean])
        schools.set_xlim((y - ERROR).min() - 2, (y + ERROR).max() + 2)

    update(found)
    return update


def _place(note: Text, x: float, y: float, words: str, side: str) -> None:
    note.set(x=x, y=y, text=words, ha=side)


def _mark(top: Line2D, note: Text, at: float | None, height: float, reach: float, words: str) -> None:
    """A triangle over a mode, with words beside it that stay inside the picture; nothing where there is no mode."""
    if at is None:
        top.set_data([], [])
        _place(note, 1.0, 0.0, "", "left")
        return
    top.set_data([max(at, LOW * 1.12)], [height + 0.06 * reach])
    left = at < 0.1
    text = f"{words}, τ = {at:.1f}" if at > 0 else f"{words} at τ = 0"
    _place(note, LOW * 1.5 if left else HIGH, height + 0.13 * reach, text, "left" if left else "right")


def eight_schools() -> Explorer:
    """The explorer of lesson 02: tau under a slider, the joint density in two forms, the effects multiplied by c."""
    controls: dict[str, Control] = {
        "tau": Slider("SD between schools τ", LOW, HIGH, 5.0, unit="points", log=True),
        "form": Choice("Joint density", (CENTRED, NON_CENTRED), CENTRED),
        "c": Slider("Effects multiplied by c", 1.0, 6.0, 1.0, 0.05),
    }
    alt = (
        "Left: joint and marginal profiles over the SD between schools. "
        "Right: each school's observed effect and its estimate, pulled towards the pooled mean."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=860, height=500)
