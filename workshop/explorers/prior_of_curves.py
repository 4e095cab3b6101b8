"""A prior on weights is a prior on curves: curves drawn from it, and what a few noisy points make of it.

A network of time with one hidden layer, fitted to the rough measurements of patient A
(`workshop.studies.small_network`):

    prior     every weight N(0, 1 / (2 strength)), which is what the penalty  strength sum w^2  says
    MAP fit   the weights of highest posterior density, given the points

The data end at 15 h and the curves go on to 22 h, where nothing but the prior speaks.
"""

from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Stage
from workshop.studies import small_network as small

GRID = np.linspace(0.0, 22.0, 89)
END, DRAWS, Y = 15.0, 12, (-0.5, 2.5)
LOW, HIGH, MOST_ERROR = 0.001, 100.0, 0.6  # of the strength, and of the errors that are drawn
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
        f"L2 strength {found.strength:.3g}: a prior SD of {sd:.2g} for every weight. The most probable curve misses "
        f"the truth by {found.missed:.3f} while there are data.\n"
        f"Errors: {found.trained:.3f} at its {points} points, {found.held_out:.3f} at the 30 held out, "
        f"{found.missed:.3f} from the truth. At 22 h it says {found.later:.2f}."
    )


def scene(found: Prior) -> Scene:
    time = Axis(0, 22, "time (h)", ticks=range(0, 21, 5))
    drawn = Panel(time, Axis(*Y, "response", ticks=(0, 1, 2)), f"{DRAWS} curves from the prior")
    fit = Panel(time, Axis(*Y, ticks=(0, 1, 2)), "The most probable curve")
    strength = Axis(LOW, HIGH, "L2 strength", log=True, ticks=(0.001, 0.1, 10.0))
    errors = Panel(strength, Axis(0, MOST_ERROR, ticks=(0, 0.2, 0.4, 0.6)), "Errors: drag the line")
    given = found.given
    marks: list[Mark] = [
        *_nothing("drawn"),
        Line("drawn", "draws", "prior", GRID, _inside(found.drawn), weight="thin", label="drawn from the prior"),
        *_nothing("fit"),
        Line("fit", "truth", "truth", GRID[SHOWN], small.at(GRID)[SHOWN], "truth"),
        Line("fit", "fit", "population", GRID, _inside(found.fitted), "most probable curve", ghost=True),
        Dots("fit", "held out", "guide", given.held_out_time, given.held_out_y, "held out", shape="D", size=5),
        Dots("fit", "points", "data", given.time, given.y, "to train on", size=7),
        Rule("errors", "noise", "guide", "y", small.SIGMA, "SD of the noise", weight="thin"),
        Rule("errors", "strength", "prior", "x", found.strength, drag=Drag(x="strength"), weight="thin"),
        Dots("errors", "held out", "guide", found.strength, min(found.held_out, MOST_ERROR), shape="D", ghost=True),
        Dots("errors", "trained", "data", found.strength, min(found.trained, MOST_ERROR), ghost=True),
    ]
    return Scene({"drawn": drawn, "fit": fit, "errors": errors}, marks)


def _nothing(panel: str) -> list[Mark]:
    """Where there are no data."""
    ends = np.array([END, GRID[-1]])
    words = Text(panel, "no data", "guide", ends.mean(), Y[0] + 0.06, "no data", "middle")
    return [Band(panel, "later", "guide", ends, np.full(2, Y[0]), np.full(2, Y[1])), words]


def _inside(curves: np.ndarray) -> np.ndarray:
    """Curves cut a little beyond the picture, so that what is far outside adds no strokes."""
    reach = Y[1] - Y[0]
    return np.clip(curves, Y[0] - reach, Y[1] + reach)


def prior_of_curves() -> Stage:
    """The explorer of lesson 07: L2 strength, width, activation and number of points."""
    controls: dict[str, Control] = {
        "strength": Slider("L2 strength", LOW, HIGH, LOW, 0.1, log=True),
        "units": Slider("Units", 1, 30, 24, 1, unit="in the hidden layer"),
        "points": Slider("Points", 4, 40, 16, 1, unit="to train on"),
        "activation": Choice("Activation", tuple(small.ACTIVATIONS), "tanh"),
    }
    alt = (
        "Left: twelve curves drawn from the prior over a network's weights. Middle: the noisy points of one patient, "
        "training and held out, with the true curve and the most probable one, to 22 hours, the last 7 without data. "
        "Right: the errors of that curve at both kinds of points, over the strength."
    )
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["drawn fit errors"],
        widths=[1.2, 1.2, 0.8],
        size=(940, 380),
        tries=[
            ("hold the weights back", {"strength": HIGH}),
            ("allow anything", {"strength": LOW}),
            ("give it forty points", {"points": 40}),
        ],
    )
