"""How many draws from the prior a likelihood takes: a law in closed form, and seeded draws that obey it.

d random effects with prior N(0, I), and a likelihood of Gaussian shape that is s prior SDs wide in each of them,
p(y | eta) = exp(-|eta - y|^2 / (2 s^2)); for n measurements s^2 = sigma^2 / (n omega^2). The average of M draws,
(1/M) sum p(y | eta_m), has mean Z and relative variance (r^d - 1) / M, with r = E p(y | eta)^2 / Z^2 in one dimension:

    r = (1 + s^2) / (s sqrt(2 + s^2))       at y = 0, in the middle of the prior: the easiest place
    r = 1 + 1 / s^2                         on average over the y that the model makes

so that a relative error of 10% takes M = 100 (r^d - 1) draws. At y = 0 a draw matters only through |eta|^2, which has a
chi-squared distribution with d degrees of freedom: one number is drawn in place of d.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from mefit import style
from workshop.explorers.panel import Control, Explorer, Refused, Slider

REPEATS, MOST_DIMENSIONS, MOST_DRAWS = 60, 20, 10_000
_ACCURACY = 0.1


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


def compute(d: int, s: float, draws: int) -> Draws:
    """The law at likelihood width `s` (in prior SDs), and what `draws` draws make of it in `d` dimensions."""
    if d < 1 or draws < 1 or not s > 0:
        raise Refused(f"Needs d >= 1, draws >= 1 and a positive width, not {d}, {draws} and {s:g}.")
    dimension = np.arange(1, MOST_DIMENSIONS + 1)
    at_centre, on_average = draws_for(ratio_at_centre(s), dimension), draws_for(ratio_on_average(s), dimension)
    error = log_estimates(d, s, draws) - log_exact(d, s)
    return Draws(d, s, draws, dimension, at_centre, on_average, error)


def _short(number: float) -> str:
    if number < 100:
        return f"{number:.3g}"
    return f"{number:,.0f}" if number < 1e6 else f"{number:.1e}"


def say(found: Draws) -> str:
    centre, average = (found.at_centre[found.d - 1], found.on_average[found.d - 1])
    return (
        f"With d = {found.d}, an error of 10% takes {_short(centre)} draws at best, {_short(average)} on average. "
        f"With {found.draws:,} draws, repeated {REPEATS} times at y = 0, the log-likelihood misses by "
        f"{found.error.mean():+.2f} on average, SD {found.error.std():.2f}."
    )


def paint(picture: style.Picture, found: Draws) -> Callable[[Draws], None]:
    left = picture.add_axes((0.085, 0.13, 0.43, 0.68), yscale="log", xlim=(0.5, MOST_DIMENSIONS + 0.5), ylim=(1, 1e20))
    left.set(xlabel="random effects, d", ylabel="draws needed for 10% error", xticks=[1, 5, 10, 15, 20])
    left.yaxis.set_major_locator(LogLocator(numticks=6))
    left.yaxis.set_minor_locator(NullLocator())
    small = {"markersize": 5.0}
    (average,) = left.plot([], [], **style.LINE["data"] | {"marker": "o"} | small, label="on average over data")
    (centre,) = left.plot([], [], **style.LINE["prior"] | {"marker": "^"} | small, label="at best (y = 0)")
    here = left.axhline(1, **style.LINE["population"] | {"linewidth": 1.6}, label="your draws")
    now = left.axvline(1, color="#999999", linewidth=1.2, zorder=1)
    left.legend(loc="lower left", bbox_to_anchor=(-0.03, 1.0), ncols=2, columnspacing=1.0)

    right = picture.add_axes((0.575, 0.13, 0.4, 0.68), ylim=(0, REPEATS + 1), yticks=[])
    right.set(xlabel="error of the log-likelihood", ylabel=f"{REPEATS} repeats, sorted")
    right.axvline(0, **style.LINE["truth"], label="exact")
    (dots,) = right.plot([], [], **style.POINT["population"] | {"markersize": 5.0}, label="an estimate")
    mean = right.axvline(0, color=style.COLOUR["population"], linewidth=1.6, linestyle=(0, (2, 2)), label="their mean")
    right.legend(loc="lower left", bbox_to_anchor=(-0.03, 1.0), ncols=2, columnspacing=1.0)

    def update(found: Draws) -> None:
        average.set_data(found.dimension, found.on_average)
        centre.set_data(found.dimension, found.at_centre)
        here.set_ydata([found.draws] * 2)
        now.set_xdata([found.d] * 2)
        dots.set_data(np.sort(found.error), np.arange(1, REPEATS + 1))
        mean.set_xdata([found.error.mean()] * 2)
        wide = max(0.25, float(np.ptp(np.r_[found.error, 0.0])))
        middle = 0.5 * (min(found.error.min(), 0.0) + max(found.error.max(), 0.0))
        right.set_xlim(middle - 0.56 * wide, middle + 0.56 * wide)

    update(found)
    return update


def draws_needed() -> Explorer:
    """The explorer of lesson 03: how many random effects, how much the data say, how many draws."""
    controls: dict[str, Control] = {
        "d": Slider("Random effects d", 1, MOST_DIMENSIONS, 3, 1),
        "s": Slider("Likelihood width s", 0.05, 2.0, 0.3, unit="prior SDs", log=True),
        "draws": Slider("Draws M", 100, MOST_DRAWS, 1000, 100),
    }
    alt = (
        "Left: draws needed for a relative error of 10%, on a logarithmic scale, against the number of random effects. "
        "Right: 60 repeated estimates of a log-likelihood, sorted, and its exact value."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=430)
