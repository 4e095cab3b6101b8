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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span, Text
from workshop.explorers.stage import Move, Stage

NAMES = tuple("ABCDEFGH")
EFFECT = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])  # points
ERROR = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])  # points
CENTRED, NON_CENTRED = "centred", "non-centred"
LOW, HIGH = 0.01, 100.0
_CONSTANT = float(-EFFECT.size * np.log(2 * np.pi) - np.log(ERROR).sum())
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


def _per_cent(share: float) -> str:
    """Two digits, and none where nothing is left."""
    if share < 0.0005:
        return "0"
    return f"{100 * share:.2g}" if share < 0.995 else "100"


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
    low, high = (_per_cent(share) for share in (kept.min(), kept.max()))
    share = low if low == high else f"{low} to {high}"
    return (
        f"The {found.form} joint density is {joint}. The marginal likelihood has its maximum at τ = {where}.\n"
        f"At τ = {found.tau:.3g}: {found.form} joint log density {found.joint_here:.2f}, marginal log-likelihood "
        f"{found.marginal_here:.2f}. Schools keep {share}% of their distance from the mean."
    )


def scene(found: Profiles) -> Scene:
    x = Axis(LOW, HIGH, "τ, SD between schools (points; log scale)", log=True)
    rows = np.arange(EFFECT.size)
    y = found.c * EFFECT
    spread = (float((y - ERROR).min()) - 2, float((y + ERROR).max()) + 2)
    joint = Panel(replace(x, label=""), _level(found.joint), f"Joint log density, {found.form}", "joint")
    marginal = Panel(x, _level(found.marginal), "Marginal log-likelihood", "marginal")
    names = list(zip(map(float, rows), NAMES, strict=True))
    schools = Panel(Axis(*spread, "effect of coaching (points)"), Axis(7.6, -0.6, ticks=names))
    marks = [
        *_profile("joint", found, found.joint, found.joint_here),
        *_joint_notes(found, joint.y),
        *_profile("marginal", found, found.marginal, found.marginal_here),
        *_top("marginal", found.best, float(log_marginal(np.asarray(found.best), found.c)), marginal.y, "maximum"),
        Span("schools", "standard errors", "guide", y - ERROR, rows, y + ERROR, rows),
        Rule("schools", "pooled mean", "population", "x", found.mean, label="pooled mean"),
        Span("schools", "pulls", "individual", y, rows, found.estimate, rows, weight="strong"),
        Dots("schools", "observed", "data", y, rows, label="observed ± SE", size=8),
        Dots("schools", "estimates", "individual", found.estimate, rows, label="estimate", size=12),
    ]
    return Scene({"joint": joint, "marginal": marginal, "schools": schools}, marks)


def _level(profile: np.ndarray) -> Axis:
    """An axis with room above the profile for words. It depends on the form and on c, and stands still under tau."""
    low, high = float(profile.min()), float(profile.max())
    return Axis(low - 0.1 * (high - low), high + 0.33 * (high - low))


def _profile(meaning: str, found: Profiles, values: np.ndarray, here: float) -> list[Mark]:
    """The curve, a line at the present tau, and the point that is taken hold of."""
    hold = Drag(x="tau", along="profile")
    return [
        Rule(meaning, "now", "guide", "x", found.tau, weight="thin"),
        Line(meaning, "profile", meaning, found.grid[::2], values[::2]),
        Dots(meaning, "here", meaning, found.tau, here, drag=hold, size=11),
    ]


def _joint_notes(found: Profiles, axis: Axis) -> list[Mark]:
    """Where the joint density climbs to, and its local mode if it has one."""
    reach = axis.high - axis.low
    if found.form == NON_CENTRED:
        end = float(found.joint.max()) + 0.05 * reach
        return [Text("joint", "climbs", "joint", HIGH, end, "no mode: climbs towards τ = ∞  →", "end")]
    words = "←  climbs to ∞ at τ = 0" if found.mode else "←  no mode: climbs to ∞ at τ = 0"
    climbs = Text("joint", "climbs", "joint", LOW * 1.15, float(found.joint[0]) + 0.05 * reach, words)
    height = float(log_centred(np.asarray(found.mode or 1.0), found.c))
    return [climbs, *_top("joint", found.mode, height, axis, "local mode")]


def _top(meaning: str, at: float | None, height: float, axis: Axis, words: str) -> list[Mark]:
    """A triangle over a mode, so that the point at the present tau never hides it, and words beside it."""
    if at is None:
        return []
    reach = axis.high - axis.low
    left = at < 0.1
    text = f"{words}, τ = {at:.1f}" if at > 0 else f"{words} at τ = 0"
    return [
        Dots(meaning, "top", meaning, max(at, LOW * 1.12), height + 0.07 * reach, shape="v"),
        Text(meaning, "at the top", meaning, LOW * 1.5 if left else HIGH, height + 0.13 * reach, text, _side(left)),
    ]


def _side(left: bool) -> str:
    return "start" if left else "end"


def eight_schools() -> Stage:
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
    tries: Sequence[Move] = [
        ("pool the schools", {"tau": LOW}),
        ("leave them alone", {"tau": HIGH}),
        ("make them differ more", {"c": 4.0, "form": CENTRED}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["joint schools", "marginal schools"],
        widths=[1.15, 1],
        heights=[1, 1.16],
        size=(860, 440),
        tries=tries,
    )
