"""How many draws from the prior a likelihood takes: a law in closed form, and seeded draws that obey it.

d random effects with prior N(0, I), and a likelihood of Gaussian shape that is s prior SDs wide in each of them,
p(y | eta) = exp(-|eta - y|^2 / (2 s^2)); for n measurements s^2 = sigma^2 / (n omega^2). The average of M draws,
(1/M) sum p(y | eta_m), has mean Z and relative variance (r^d - 1) / M, with r = E p(y | eta)^2 / Z^2 in one dimension:

    r = (1 + s^2) / (s sqrt(2 + s^2))       at y = 0, in the middle of the prior: the easiest place
    r = 1 + 1 / s^2                         on average over the y that the model makes

so that a relative error of 10% takes M = 100 (r^d - 1) draws. At y = 0 a draw matters only through |eta|^2, which has a
chi-squared distribution with d degrees of freedom: one number is drawn in place of d.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Move, Stage

REPEATS, MOST_DIMENSIONS, MOST_DRAWS = 60, 20, 10_000
LEAST_DRAWS = 10
_ACCURACY = 0.1
_HIGHEST = 1e14  # draws: what needs more leaves the picture
_ERRORS = (-4.0, 1.0)  # errors in sight; those further left wait at the edge, and are counted
_ETA = np.linspace(-3.0, 3.0, 121)


def ratio_at_centre(s: float) -> float:
    """E p^2 / (E p)^2 in one dimension at y = 0."""
    return (1 + s**2) / (s * np.sqrt(2 + s**2))


def ratio_on_average(s: float) -> float:
    """The same, averaged over the y that the model makes."""
    return 1 + 1 / s**2


def draws_for(ratio: float, d: np.ndarray, accuracy: float = _ACCURACY) -> np.ndarray:
    """M at which the relative error of the likelihood (one SD) is `accuracy`: (ratio^d - 1) / accuracy^2."""
    return (ratio ** np.asarray(d, float) - 1) / accuracy**2


def log_exact(d: int, s: float) -> float:
    """log Z at y = 0: (d/2) log(s^2 / (1 + s^2))."""
    return 0.5 * d * float(np.log(s**2 / (1 + s**2)))


def log_estimates(d: int, s: float, draws: int) -> np.ndarray:
    """(REPEATS,): the logarithm of the average over `draws` draws at y = 0, with other draws each time; seeded."""
    log_p = -0.5 * np.random.default_rng(d).chisquare(d, size=(draws, REPEATS)) / s**2
    top = log_p.max(0)
    return np.log(np.mean(np.exp(log_p - top), 0)) + top


@dataclass(frozen=True)
class Draws:
    """Draws needed at each of `dimension` (20,), and the errors (60,) of the log-likelihood from `draws` draws."""

    d: int
    s: float
    draws: int
    dimension: np.ndarray
    at_centre: np.ndarray
    on_average: np.ndarray
    error: np.ndarray


def compute(d: int, s: float, draws: float) -> Draws:
    """The law at likelihood width `s` (in prior SDs), and what `draws` draws make of it in `d` dimensions."""
    if d < 1 or draws < 1 or not s > 0:
        raise Refused(f"Needs d >= 1, draws >= 1 and a positive width, not {d}, {draws} and {s:g}.")
    draws = round(draws)
    dimension = np.arange(1, MOST_DIMENSIONS + 1)
    at_centre, on_average = draws_for(ratio_at_centre(s), dimension), draws_for(ratio_on_average(s), dimension)
    error = log_estimates(d, s, draws) - log_exact(d, s)
    return Draws(d, s, draws, dimension, at_centre, on_average, error)


def _short(number: float) -> str:
    if number < 100:
        return f"{number:.3g}"
    return f"{number:,.0f}" if number < 1e6 else f"{number:.1e}"


def _about(number: float) -> str:
    return f"about {_short(float(f'{number:.2g}'))}" if number < 1e12 else "over 1e12"


def say(found: Draws) -> str:
    centre, average = (found.at_centre[found.d - 1], found.on_average[found.d - 1])
    short_of = centre / found.draws
    if short_of <= 1:
        what = f"Your {found.draws:,} are enough for it at best"
    elif short_of < 10:
        what = f"Your {found.draws:,} are too few"
    else:
        what = f"With your {found.draws:,} most draws miss the peak, and the likelihood looks far too small"
    return (
        f"A likelihood to within 10% takes {_about(centre)} draws at best, {_about(average)} on average. "
        f"{what}.\n"
        f"Needed: {_short(centre)} draws at best, {_short(average)} on average. With d = {found.d} and "
        f"{found.draws:,} draws, repeated {REPEATS} times at y = 0, the log-likelihood misses by "
        f"{found.error.mean():+.2f} on average, SD {found.error.std():.2f}."
    )


def scene(found: Draws) -> Scene:
    # 1e14 draws are years of computing: no axis has to move for more.
    powers = [(10.0**k, f"1e{k}" if k > 3 else f"{10**k:,}") for k in (0, 3, 6, 9, 12)]
    panels = {
        "needed": Panel(
            Axis(0.5, MOST_DIMENSIONS + 0.5, "random effects, d", ticks=[1, 5, 10, 15, 20]),
            Axis(1, _HIGHEST, "draws", log=True, ticks=powers),
            "Draws needed for 10%: drag your point",
        ),
        "width": Panel(Axis(-3, 3, "one random effect (prior SDs)"), Axis(0, 1.15, ticks=[]), "How wide: drag it"),
        "errors": Panel(
            Axis(*_ERRORS, "error of the log-likelihood"), Axis(0, REPEATS + 1, ticks=[]), f"{REPEATS} repeats, sorted"
        ),
    }
    return Scene(panels, [*_needed(found), *_width(found), *_repeats(found)])


def _needed(found: Draws) -> list[Mark]:
    return [
        Line("needed", "average", "population", found.dimension, found.on_average, "on average over subjects"),
        Line("needed", "centre", "individual", found.dimension, found.at_centre, "at best, in the middle of the prior"),
        Rule("needed", "draws", "guide", "y", found.draws, weight="thin"),
        Dots("needed", "here", "marginal", found.d, found.draws, size=12, drag=Drag(x="d", y="draws")),
    ]


def _width(found: Draws) -> list[Mark]:
    likelihood = np.exp(-0.5 * (_ETA / found.s) ** 2).round(5)
    hold = Drag(x="s", along="likelihood")
    return [
        Line("width", "prior", "prior", _ETA, np.exp(-0.5 * _ETA**2).round(5), "prior"),
        Line("width", "likelihood", "individual", _ETA, likelihood, "likelihood"),
        Dots("width", "here", "individual", found.s, np.exp(-0.5), drag=hold, size=11),
    ]


def _repeats(found: Draws) -> list[Mark]:
    error = np.sort(found.error)
    low = _ERRORS[0]
    rows = np.arange(1, REPEATS + 1)
    out = int(np.sum(error < low))
    marks: list[Mark] = [
        Rule("errors", "exact", "truth", "x", 0.0, "exact"),
        Dots("errors", "estimates", "marginal", np.maximum(error, low), rows, "an estimate", size=6, shape="o"),
        Rule("errors", "mean", "marginal", "x", max(float(error.mean()), low), "their mean", weight="thin"),
    ]
    if out:
        words = f"←  {out} of them further left, the mean at −{abs(error.mean()):.3g}"
        marks.append(Text("errors", "out", "marginal", low + 0.2, 0.1 * REPEATS, words))
    return marks


def draws_needed() -> Stage:
    """The explorer of lesson 03: how many random effects, how much the data say, how many draws."""
    controls: dict[str, Control] = {
        "d": Slider("Random effects d", 1, MOST_DIMENSIONS, 3, 1),
        "s": Slider("Likelihood width s", 0.05, 2.0, 0.3, unit="prior SDs", log=True),
        "draws": Slider("Draws M", float(LEAST_DRAWS), float(MOST_DRAWS), 1000.0, 0.1, log=True),
    }
    alt = (
        "Left: draws needed for a relative error of 10%, on a logarithmic scale, against the number of random effects, "
        "and a point to drag. Right: prior and likelihood; 60 sorted estimates of a log-likelihood and its exact value."
    )
    tries: Sequence[Move] = [
        ("ten random effects", {"d": 10}),
        ("very good data", {"s": 0.1}),
        ("hardly any data", {"s": 1.0, "d": 20}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["needed width", "needed errors"],
        widths=[1.15, 1],
        heights=[1, 1.25],
        size=(900, 440),
        tries=tries,
    )
