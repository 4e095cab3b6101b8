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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mefit import style
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider

EM, MODES = M_STEPS = ("the conditional posterior (EM)", "its mode only")
MOST, START = 60, 4.0  # iterations; where omega^2 starts, in units of the optimum
_SMALLEST = 1e-8  # error that is still drawn, and below which rounding would spoil a measured rate
_X = np.linspace(0.0, 1.1 * START, 200)
_B = np.linspace(0.0, 1.0, 101)


def step(w: float, s: float, a: float, m_step: str = EM) -> float:
    """One E-step and M-step for omega^2 = w, with the mean square s of group means that have variance a."""
    b = w / (w + a)
    return b**2 * s + (w * (1 - b) if m_step == EM else 0.0)


def minus_two_log_likelihood(w: np.ndarray, s: float, a: float) -> np.ndarray:
    """Of a group mean, without its constant."""
    return np.log(w + a) + s / (w + a)


def limit_of_modes(s: float, a: float) -> float:
    """Where the iteration by modes ends from above: its upper fixed point, or 0."""
    return 0.5 * (s - 2 * a + np.sqrt(s * (s - 4 * a))) if s >= 4 * a else 0.0


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
    """The factor by which the next iteration multiplies the error; NaN where there is none left to measure."""


def compute(n: int, ratio: float, iterations: int, m_step: str = EM) -> Path:
    """The path of omega^2 with `n` measurements a group and omega = `ratio` sigma."""
    if n < 1 or not ratio > 0 or not 0 <= iterations <= MOST:
        raise Refused(f"Needs n >= 1, a positive SD and 0 to {MOST} iterations, not {n}, {ratio:g}, {iterations}.")
    a, best = 1.0 / n, ratio**2
    s = best + a
    path = [START * best]
    for _ in range(MOST + 1):
        path.append(step(path[-1], s, a, m_step))
    lowest = float(minus_two_log_likelihood(np.array(best), s, a))
    w = np.array(path)
    b, error = best / s, w / best - 1
    here, there = error[iterations : iterations + 2]
    measured = there / here if m_step == EM and abs(here) > _SMALLEST else np.nan
    limit = 1.0 if m_step == EM else limit_of_modes(s, a) / best
    curve = minus_two_log_likelihood(_X * best, s, a) - lowest
    height = minus_two_log_likelihood(w, s, a) - lowest
    return Path(n, ratio, iterations, m_step, b, 1 - b**2, w / best, curve, height, limit, float(measured))


def iterations_a_digit(b: float) -> float:
    """Iterations in which the error becomes a tenth of what it was: log(10) / -log(1 - B^2)."""
    return float(np.log(10) / -np.log1p(-(b**2)))


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%" if share >= 1e-5 else "less than 0.001%"


def say(found: Path) -> str:
    now = found.path[found.iterations]
    many = f"After {found.iterations} iteration{'s' * (found.iterations != 1)}"
    if found.m_step == MODES:
        end = f"stops at {_percent(found.limit)}" if found.limit else "goes to 0, because B is below 0.75"
        return f"B = {found.b:.3f}. {many} by modes ω² is {_percent(now)} of its maximum-likelihood value; it {end}."
    text = f"B = {found.b:.3f}: 1 − B² = {found.rate:.4f}, {iterations_a_digit(found.b):.3g} iterations a digit. "
    text += f"{many} of EM ω² is {_percent(abs(now - 1))} off its maximum-likelihood value."
    if np.isfinite(found.measured):
        text += f" The next multiplies this by {found.measured:.4f}."
    return text


def _tick(height: float, place: int) -> str:
    """Short enough to leave room for the label beside it, where the curve is nearly flat."""
    return f"{height:.0e}".replace("e-0", "e−") if 0 < height < 0.01 else f"{height:g}"


def paint(picture: style.Picture, found: Path) -> Callable[[Path], None]:
    left = picture.add_axes((0.095, 0.14, 0.255, 0.74), xlim=(0, _X[-1]), xticks=[0, 1, 4])
    left.set(xlabel="ω², its best value = 1", ylabel="−2 log L a group, above its minimum")
    left.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    left.yaxis.set_major_formatter(FuncFormatter(_tick))
    left.yaxis.set_label_coords(-0.25, 0.5)
    left.axvline(1, **style.LINE["truth"], label="best ω²")
    (curve,) = left.plot(_X, 0 * _X, **style.LINE["marginal"], label="−2 log L")
    (dots,) = left.plot([], [], **style.POINT["population"] | {"markersize": 6.0}, label="iterations")
    (here,) = left.plot([], [], **style.POINT["population"] | {"markersize": 12.0}, clip_on=False)
    picture.legend(
        *left.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0.08, 1.0), ncols=3, columnspacing=1.2
    )

    middle = picture.add_axes((0.455, 0.14, 0.25, 0.74), yscale="log", xlim=(-1, MOST + 1), ylim=(_SMALLEST, 10))
    middle.set(xlabel="iteration", ylabel="error of ω², relative", xticks=[0, 30, 60])
    middle.set_yticks([1e-8, 1e-4, 1], ["1e−8", "1e−4", "1"])
    middle.yaxis.set_label_coords(-0.26, 0.5)
    middle.minorticks_off()
    (ahead,) = middle.plot([], [], **style.LINE["truth"])
    (errors,) = middle.plot([], [], **style.POINT["population"] | {"markersize": 6.0}, clip_on=False)

    right = picture.add_axes((0.79, 0.14, 0.19, 0.74), xlim=(0, 1), ylim=(0, 1.02))
    right.set(xlabel="B", ylabel="error, next / this", xticks=[0, 1], yticks=[0, 1])
    right.plot(_B, 1 - _B**2, **style.LINE["truth"])
    right.text(0.06, 0.06, "dashed: 1 − B²", color=style.COLOUR["truth"], size=12)
    (rate,) = right.plot([], [], **style.POINT["population"] | {"markersize": 12.0}, clip_on=False)

    def update(found: Path) -> None:
        k = found.iterations
        colour = style.COLOUR["population" if found.m_step == EM else "joint"]
        for artist in (dots, here, errors):
            artist.set_color(colour)
            artist.set_markeredgecolor("white")
        curve.set_ydata(found.curve)
        top = 1.5 * found.height[0]
        left.set_ylim(-0.04 * top, top)
        dots.set_data(found.path[: k + 1], found.height[: k + 1])
        here.set_data(found.path[[k]], np.minimum(found.height[[k]], top))  # one that has left sits on the edge
        error = np.abs(found.path - 1)
        seen = np.flatnonzero(error[: k + 1] >= _SMALLEST)
        errors.set_data(seen, error[seen])
        future = np.arange(k, MOST + 1)
        predicted = np.maximum(error[k] * found.rate ** (future - k), 1e-300)
        shown = (predicted >= _SMALLEST) & (found.m_step == EM)
        ahead.set_data(future[shown], predicted[shown])
        rate.set_data([found.b], [found.measured])

    update(found)
    return update


def em_by_hand() -> Explorer:
    """The explorer of lesson 04: how many measurements a group, how much groups differ, how many iterations."""
    controls: dict[str, Control] = {
        "n": Slider("Measurements a group n", 1, 30, 2, 1),
        "ratio": Slider("SD between groups ω", 0.1, 3.0, 1.0, unit="in σ", log=True),
        "iterations": Slider("Iterations", 0, MOST, 8, 1, play=True),
        "m_step": Choice("The M-step averages over", M_STEPS, EM),
    }
    alt = (
        "Left: minus two log-likelihood against omega squared, with the iterations of EM on it. Middle: the error of "
        "each iteration on a log scale. Right: the factor between two errors against B, with the curve 1 - B squared."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=400)
