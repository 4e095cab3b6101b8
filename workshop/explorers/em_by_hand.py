"""EM for the SD between groups, with pencil and paper: every iteration exact, and the rate at which they converge.

y_ij = eta_i + e_ij, eta_i ~ N(0, w) with w = omega^2, e_ij ~ N(0, 1): SDs are in units of sigma. Group means have
noise of variance a = 1/n, and the mean of their squares is what it is with endless groups, S = omega^2 + a, so that
the marginal likelihood, -2 log L = log(w + a) + S / (w + a) a group and a constant, is highest at w = omega^2. With
B = w / (w + a):

    E-step    eta_i | y ~ N(B ybar_i, w (1 - B))
    M-step    w <- mean of E(eta_i^2 | y) = B^2 S + w (1 - B)        EM; error times 1 - B^2 at the optimum
    modes     w <- mean of the squared modes = B^2 S                 forgets the variance; climbs the joint density

The modes have a fixed point above 0 where B >= 3/4 at the optimum, w = (S - 2a + sqrt(S (S - 4a))) / 2; else w -> 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Move, Stage

EM, MODES = M_STEPS = ("the conditional posterior (EM)", "its mode only")
MOST, START = 60, 4.0  # iterations; where omega^2 starts at first, in units of the optimum
NEAREST = 0.05  # to zero that it may start
_SMALLEST = 1e-8  # error that is still drawn, and below which rounding would spoil a measured rate
_X = np.linspace(0.01, 1.1 * START, 200)
_TOP = 1.0  # of -2 log L in sight: what is higher leaves the picture
_B = np.linspace(0.0, 1.0, 101)


def step(w: float, s: float, a: float, m_step: str = EM) -> float:
    """One E-step and M-step for omega^2 = w, with the mean square s of group means that have variance a."""
    b = w / (w + a)
    return b**2 * s + (w * (1 - b) if m_step == EM else 0.0)


def minus_two_log_likelihood(w: np.ndarray, s: float, a: float) -> np.ndarray:
    """Of a group mean, without its constant."""
    return np.log(w + a) + s / (w + a)


def limit_of_modes(s: float, a: float, start: float = np.inf) -> float:
    """Where the iteration by modes ends: its upper fixed point, or 0, from a `start` below the lower one as well."""
    if s < 4 * a:
        return 0.0
    upper = 0.5 * (s - 2 * a + np.sqrt(s * (s - 4 * a)))
    return float(upper) if start >= a**2 / upper else 0.0  # the product of the two is a^2


@dataclass(frozen=True)
class Path:
    """`path` (MOST + 2,): omega^2 in units of the optimum, from the start; heights are -2 log L above its minimum."""

    n: int
    ratio: float
    iterations: int
    m_step: str
    b: float
    """B at the optimum."""
    rate: float
    path: np.ndarray
    curve: np.ndarray
    """(200,) over `_X`."""
    height: np.ndarray
    """(MOST + 2,) of the path."""
    limit: float
    """Where the path ends, in units of the optimum."""
    measured: float
    """The factor by which EM's next iteration multiplies the error, or where there is none left, by which the last one
    did that had some; NaN of the modes, and where EM starts at the optimum."""


def compute(n: int, ratio: float, iterations: int, m_step: str = EM, start: float = START) -> Path:
    """The path of omega^2 with `n` measurements per group and omega = `ratio` sigma, from `start` times the optimum."""
    if n < 1 or not (ratio > 0 and start > 0) or not 0 <= iterations <= MOST:
        raise Refused(f"Needs n >= 1, a positive SD and 0 to {MOST} iterations, not {n}, {ratio:g}, {iterations}.")
    a, best = 1.0 / n, ratio**2
    s = best + a
    path = [start * best]
    for _ in range(MOST + 1):
        path.append(step(path[-1], s, a, m_step))
    lowest = float(minus_two_log_likelihood(np.array(best), s, a))
    w = np.array(path)
    b, error = best / s, w / best - 1
    left = np.flatnonzero(np.abs(error[: iterations + 1]) > _SMALLEST)
    measured = error[left[-1] + 1] / error[left[-1]] if m_step == EM and left.size else np.nan
    limit = 1.0 if m_step == EM else limit_of_modes(s, a, start * best) / best
    curve = minus_two_log_likelihood(_X * best, s, a) - lowest
    height = minus_two_log_likelihood(w, s, a) - lowest
    return Path(n, ratio, iterations, m_step, b, 1 - b**2, w / best, curve, height, limit, float(measured))


def iterations_per_digit(b: float) -> float:
    """Iterations in which the error becomes a tenth of what it was: log(10) / -log(1 - B^2)."""
    return float(np.log(10) / -np.log1p(-(b**2)))


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%" if share >= 1e-5 else "less than 0.001%"


def _about(number: float) -> str:
    return f"{number:.2g}" if number < 100 else f"{float(f'{number:.2g}'):,.0f}"


def _pace(per_digit: float) -> str:
    if per_digit < 3:
        return "EM is quick, for the groups are well known"
    return "EM crawls, for little is known about each group" if per_digit > 10 else "EM takes its time"


def say(found: Path) -> str:
    now = found.path[found.iterations]
    many = f"After {found.iterations} iteration{'s' * (found.iterations != 1)}"
    if found.m_step == MODES:
        fall = "goes to 0, because " + ("B is below 0.75" if found.b < 0.75 else "it started too near to 0")
        end = f"stops at {_percent(found.limit)}" if found.limit else fall
        text = f"{many} by modes ω² is {_percent(now)} of its maximum-likelihood value; it {end}: "
        return f"{text}modes vary less than the random effects do.\nB = {found.b:.3f}."
    digit = iterations_per_digit(found.b)
    text = f"{many} of EM ω² is {_percent(abs(now - 1))} off its maximum-likelihood value. "
    text += f"{_pace(digit)}: each further digit takes {_about(digit)} iterations.\n"
    text += f"B = {found.b:.3f}: 1 − B² = {found.rate:.4f}, {digit:.3g} iterations per digit."
    return text + (f" The next multiplies the error by {found.measured:.4f}." if np.isfinite(found.measured) else "")


def scene(found: Path) -> Scene:
    # Nothing here moves an axis: where little is known about each group the curve is flat, and is seen to be.
    errors = [(1e-8, "1e−8"), (1e-4, "1e−4"), (1.0, "1")]
    panels = {
        "path": Panel(
            Axis(0, 1.1 * START, "ω², its best value = 1", ticks=[0, 1, 2, 3, 4]),
            Axis(-0.05, _TOP, "above the minimum"),
            "−2 log L per group",
            "marginal",
        ),
        "error": Panel(
            Axis(-1, MOST + 1, "iteration", ticks=[0, 20, 40, 60]),
            Axis(_SMALLEST, 10, log=True, ticks=errors),
            "Error of ω², relative",
        ),
        "rate": Panel(Axis(0, 1, "B", ticks=[0, 0.5, 1]), Axis(0, 1.02, ticks=[0, 0.5, 1]), "Factor per step"),
    }
    meaning = "marginal" if found.m_step == EM else "joint"
    return Scene(panels, [*_path(found, meaning), *_errors(found, meaning), *_rate(found, meaning)])


def _path(found: Path, meaning: str) -> list[Mark]:
    """The curve, the way over it, and its start, which can be taken elsewhere."""
    k, hold = found.iterations, Drag("start", along="curve")
    height = np.minimum(found.height, _TOP)  # one that has left sits on the edge
    return [
        Rule("path", "best", "truth", "x", 1.0, "best ω²", weight="thin"),
        Line("path", "curve", "marginal", _X, found.curve, weight="thin"),
        Dots("path", "iterations", meaning, found.path[: k + 1], height[: k + 1], "iterations", size=7, shape="o"),
        Dots("path", "here", meaning, found.path[k], height[k], size=13, shape="o"),
        Dots("path", "start", "prior", found.path[0], height[0], "start: drag it", hold, size=11),
    ]


def _errors(found: Path, meaning: str) -> list[Mark]:
    k = found.iterations
    error = np.abs(found.path - 1)
    seen = np.flatnonzero(error[: k + 1] >= _SMALLEST)
    marks: list[Mark] = [Dots("error", "errors", meaning, seen, error[seen], size=7, shape="o")]
    if found.m_step == EM:
        ahead = error[k] * found.rate ** np.arange(MOST + 1 - k)
        line = np.where(ahead >= _SMALLEST, ahead, np.nan)
        marks.append(Line("error", "ahead", "truth", np.arange(k, MOST + 1), line, "times 1 − B² each"))
    return [*marks, Rule("error", "now", "guide", "x", k, drag=Drag(x="iterations"), weight="thin")]


def _rate(found: Path, meaning: str) -> list[Mark]:
    marks: list[Mark] = [
        Line("rate", "law", "truth", _B, 1 - _B**2),
        Text("rate", "words", "truth", 0.06, 0.06, "1 − B²"),
    ]
    if np.isfinite(found.measured):
        return [*marks, Dots("rate", "measured", meaning, found.b, found.measured, size=13, shape="o")]
    return [*marks, Rule("rate", "B", meaning, "x", found.b, weight="thin")]


def em_by_hand() -> Stage:
    """The explorer of lesson 04: how many measurements per group, how much groups differ, how many iterations."""
    controls: dict[str, Control] = {
        "n": Slider("Measurements per group n", 1, 30, 2, 1),
        "ratio": Slider("SD between groups ω", 0.1, 3.0, 1.0, unit="in σ", log=True),
        "iterations": Slider("Iterations", 0, MOST, 8, 1, play=True),
        "start": Slider("Start of ω²", NEAREST, 1.1 * START, START, 0.05, unit="times the best"),
        "m_step": Choice("The M-step averages over", M_STEPS, EM),
    }
    alt = (
        "Left: minus two log-likelihood against omega squared, with the iterations of EM on it. Middle: the error of "
        "each iteration on a log scale. Right: the factor between two errors against B, with the curve 1 - B squared."
    )
    tries: Sequence[Move] = [
        ("walk to the end", {"iterations": MOST}),
        ("know much of each group", {"n": 30, "ratio": 1.0}),
        ("know little", {"n": 1, "ratio": 0.3}),
        ("forget the variance", {"m_step": MODES, "iterations": MOST}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["path error rate"],
        widths=[1.3, 1.15, 0.85],
        size=(900, 380),
        tries=tries,
    )
