"""A prior on weights is a prior on curves: curves drawn from it, and what a few noisy points make of it.

A network of time with one hidden layer, fitted to the rough measurements of patient A
(`workshop.studies.small_network`):

    prior     every weight N(0, 1 / (2 strength)), which is what the penalty  strength sum w^2  says
    MAP fit   the weights of highest posterior density, given the points

The data end at 15 h and the curves go on to 22 h, where nothing but the prior speaks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mefit import style
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider
from workshop.studies import small_network as small

GRID = np.linspace(0.0, 22.0, 89)
END, DRAWS, Y = 15.0, 12, (-0.5, 2.5)
SHOWN = GRID <= END


@dataclass(frozen=True)
class Prior:
    """Curves from the prior (12, 89) and the MAP curve (89,) on `GRID`, and root mean squared errors of that: at the
    points, at the 30 held-out ones, and from the truth up to 15 h; `size` is the typical weight, a root mean square."""

    strength: float
    given: small.Data
    drawn: np.ndarray
    fitted: np.ndarray
    trained: float
    held_out: float
    missed: float
    size: float

    @property
    def later(self) -> float:
        """What the fit says of hour 22; the truth is back at its baseline by then."""
        return float(self.fitted[-1])


def compute(strength: float, units: int, points: int, activation: str) -> Prior:
    """The prior's curves and the MAP fit of `points` points by a network of `units` units."""
    if not (strength > 0 and units >= 1 and points >= 2):
        raise Refused("A fit needs a positive strength, one unit or more, and two points or more.")
    given = small.data(points)
    w = small.fit(given, strength, units, activation)
    drawn = small.curve(small.from_prior(strength, units, DRAWS), GRID, activation)
    fitted = small.curve(w, GRID, activation)
    missed = float(np.sqrt(np.mean((fitted - small.at(GRID))[SHOWN] ** 2)))
    size = float(np.sqrt(np.mean(w**2)))
    return Prior(strength, given, drawn, fitted, *small.errors(w, given, activation), missed, size)


def say(found: Prior) -> str:
    points, sd = found.given.time.size, 1 / np.sqrt(2 * found.strength)
    return (
        f"L2 strength {found.strength:.3g}: a prior SD of {sd:.2g} for every weight. Errors of the MAP fit: "
        f"{found.trained:.3f} at its {points} points, {found.held_out:.3f} at the 30 held out, {found.missed:.3f} "
        f"from the truth. At 22 h it says {found.later:.2f}."
    )


def paint(picture: style.Picture, found: Prior) -> Callable[[Prior], None]:
    titles = f"{DRAWS} curves from the prior", "the most probable curve"
    panes = [picture.add_axes((x, 0.14, 0.435, 0.69), xlim=(0, 22), ylim=Y, yticks=[0, 1, 2]) for x in (0.06, 0.55)]
    for axes, title in zip(panes, titles, strict=True):
        axes.set(xlabel="time (h)", xticks=[0, 5, 10, 15, 20])
        axes.set_title(title, pad=30)
        axes.axvspan(END, 22, color="#EEEEEE", linewidth=0, zorder=0.5)
        axes.text(18.5, Y[0] + 0.06, "no data", ha="center", size=12, color="#555555")
    left, right = panes
    left.set_ylabel("response")
    drawn = [left.plot([], [], **style.LINE["prior"] | {"linewidth": 1.3, "linestyle": "-"})[0] for _ in range(DRAWS)]
    right.plot(GRID[SHOWN], small.at(GRID)[SHOWN], **style.LINE["truth"], label="truth")
    (curve,) = right.plot([], [], **style.LINE["population"], label="fit")
    (held,) = right.plot([], [], "x", color="#777777", markersize=6, zorder=2.2, label="held out")
    (dots,) = right.plot([], [], **style.POINT["data"], label="training")
    right.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=4, columnspacing=0.9, handletextpad=0.4, handlelength=1.5
    )

    def update(found: Prior) -> None:
        for line, each in zip(drawn, found.drawn, strict=True):
            line.set_data(GRID, each)
        curve.set_data(GRID, found.fitted)
        dots.set_data(found.given.time, found.given.y)
        held.set_data(found.given.held_out_time, found.given.held_out_y)

    update(found)
    return update


def prior_of_curves() -> Explorer:
    """The explorer of lesson 07: L2 strength, width, activation and number of points."""
    controls: dict[str, Control] = {
        "strength": Slider("L2 strength", 0.001, 100.0, 0.001, 0.1, log=True),
        "units": Slider("Units", 1, 30, 24, 1, unit="in the hidden layer"),
        "points": Slider("Points", 4, 40, 16, 1, unit="to train on"),
        "activation": Choice("Activation", tuple(small.ACTIVATIONS), "tanh"),
    }
    alt = (
        "Left: twelve curves drawn from the prior over a network's weights. Right: the noisy points of one patient, "
        "training and held out, with the true curve and the most probable one, to 22 hours, the last 7 without data."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=400)
