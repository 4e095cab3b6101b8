"""Two kinds of people, one prediction: the smallest set that holds it, which falls into two intervals.

The density is p(y) = share N(y; 0, 1) + (1 - share) N(y; distance, 0.7^2). The smallest set with probability `level`
is {y: p(y) >= c}; the central interval leaves half of the rest on either side, and has the gap inside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span, Text
from workshop.explorers.stage import Move, Stage
from workshop.studies.two_kinds import Cut, Mixed, smallest_sets

SDS = (1.0, 0.7)
FARTHEST = 7.0
_Y = np.linspace(-4.0, 10.0, 281)
_ALONG = np.linspace(0.0, FARTHEST, 36)
_SHARES = np.linspace(0.05, 0.95, 31)
_HIGHEST = 0.56


def mixed(distance: np.ndarray | float, share: np.ndarray | float) -> Mixed:
    """The density at each of several distances, or shares."""
    far, first = np.broadcast_arrays(np.atleast_1d(distance).astype(float), np.atleast_1d(share).astype(float))
    weight = np.stack([first, 1.0 - first], axis=1)[:, None, :]
    return Mixed(weight, np.stack([0.0 * far, far], axis=1), np.broadcast_to(SDS, (far.size, 2)))


def central(several: Mixed, level: float) -> np.ndarray:
    """The ends (m, 2) between the quantiles (1 - level) / 2 and (1 + level) / 2, by halving intervals."""
    wanted = np.array([0.5 * (1.0 - level), 0.5 * (1.0 + level)])
    low = np.full((len(several.mean), 2), -12.0)
    high = np.full(low.shape, 20.0)
    for _ in range(50):
        middle = 0.5 * (low + high)
        below = several.below(middle) < wanted
        low = np.where(below, middle, low)
        high = np.where(below, high, middle)
    return 0.5 * (low + high)


@dataclass(frozen=True)
class Split:
    """The density, its smallest set and its central interval; `lengths` (2, 36) of both over the distance."""

    distance: float
    share: float
    level: float
    now: Mixed
    smallest: Cut
    central: tuple[float, float]
    lengths: np.ndarray
    over_share: np.ndarray

    @property
    def width(self) -> float:
        """Of the central interval."""
        return self.central[1] - self.central[0]


def compute(distance: float, share: float, level: float) -> Split:
    """Two kinds whose middles are `distance` apart, the first with this `share`, and sets of this `level`."""
    if not (0.0 <= distance <= FARTHEST and 0.0 < share < 1.0 and 0.5 <= level < 1.0):
        raise Refused(f"Distances go from 0 to {FARTHEST:g}, shares and levels stay below 1.")
    now = mixed(distance, share)
    along = mixed(_ALONG, share)
    smallest = [cut.length for cut in smallest_sets(along, level)]
    over_share = [cut.length for cut in smallest_sets(mixed(distance, _SHARES), level)]
    low, high = central(now, level)[0]
    return Split(
        distance=distance,
        share=share,
        level=level,
        now=now,
        smallest=smallest_sets(now, level)[0],
        central=(float(low), float(high)),
        lengths=np.array([smallest, np.diff(central(along, level))[:, 0]]),
        over_share=np.array(over_share),
    )


def say(found: Split) -> str:
    parts = len(found.smallest.parts)
    saved = 1.0 - found.smallest.length / found.width
    first = f"The smallest {found.level:.0%} set is one interval" if parts == 1 else "The smallest set has split in two"
    rest = f"{saved:.0%} shorter than the central one" if saved > 0.005 else "as long as the central one"
    ends = " and ".join(f"{low:.2f} to {high:.2f}" for low, high in found.smallest.parts)
    gap = ""
    if parts > 1:
        between = found.smallest.parts[:, 1][0], found.smallest.parts[:, 0][1]
        held = float(np.diff(found.now.below(np.array([between]))[0])[0])
        gap = f" In the gap, {between[1] - between[0]:.2f} wide, there is {held:.1%} of the probability."
    return (
        f"{first}, {rest}.\nIt goes from {ends}, {found.smallest.length:.2f} in all; the central interval from "
        f"{found.central[0]:.2f} to {found.central[1]:.2f}, {found.width:.2f}.{gap}"
    )


def scene(found: Split) -> Scene:
    length = Axis(2.0, 11.0, "length of the set")
    panels = {
        "density": Panel(
            Axis(-4.0, 10.0, "response, in SDs of the first kind", ticks=(-4, -2, 0, 2, 4, 6, 8)),
            Axis(-0.09, _HIGHEST, "density", ticks=(0, 0.2, 0.4)),
            "Drag the second kind",
        ),
        "distance": Panel(
            Axis(-0.2, FARTHEST + 0.2, "distance of the kinds", ticks=(0, 2, 4, 6)), length, "How long both sets are"
        ),
        "share": Panel(
            Axis(0.0, 1.0, "share of the first kind", ticks=[(0.1, "10%"), (0.5, "50%"), (0.9, "90%")]), length, ""
        ),
    }
    return Scene(panels, [*_density(found), *_lengths(found)])


def _density(found: Split) -> list[Mark]:
    """Both kinds, their sum, the part that is held, and below it the central interval."""
    p = found.now.density(_Y[None])[0]
    alone = [mixed(found.distance, share).density(_Y[None])[0] for share in (1.0, 0.0)]
    marks: list[Mark] = []
    for part, (low, high) in enumerate(found.smallest.parts):
        y = np.linspace(low, high, 70)
        height = found.now.density(y[None])[0]
        marks.append(Band("density", f"part {part + 1}", "posterior", y, 0 * y, height, weight="strong"))
    weights = (found.share, 1.0 - found.share)
    for meaning, weight, own, label in zip(("first", "third"), weights, alone, ("first", "second"), strict=True):
        marks.append(Line("density", label, meaning, _Y, weight * own, f"{label} kind", weight="thin"))
    peak = float(np.interp(found.distance, _Y, p))
    return [
        *marks,
        Line("density", "both", "posterior", _Y, p),
        Rule("density", "cut", "guide", "y", found.smallest.height, weight="thin"),
        Span("density", "central", "prior", found.central[0], -0.045, found.central[1], -0.045),
        Text("density", "central, in words", "prior", found.central[1] + 0.2, -0.055, "central"),
        Dots("density", "second kind", "third", found.distance, peak, drag=Drag(x="distance"), size=14),
    ]


def _lengths(found: Split) -> list[Mark]:
    """Lengths over the distance and over the share."""
    return [
        Line("distance", "central", "prior", _ALONG, found.lengths[1], "central interval"),
        Line("distance", "smallest", "posterior", _ALONG, found.lengths[0], "smallest set"),
        Dots("distance", "central now", "prior", found.distance, found.width, size=8),
        Dots(
            "distance",
            "here",
            "posterior",
            found.distance,
            found.smallest.length,
            drag=Drag("distance", along="smallest"),
            size=13,
        ),
        Line("share", "smallest", "posterior", _SHARES, found.over_share),
        Dots(
            "share",
            "here",
            "posterior",
            found.share,
            found.smallest.length,
            drag=Drag("share", along="smallest"),
            size=13,
        ),
    ]


def split_set() -> Stage:
    """The explorer of lesson 12: two kinds move apart, and the smallest set that holds the next response splits."""
    controls: dict[str, Control] = {
        "distance": Slider("Distance of the kinds", 0.0, FARTHEST, 2.0, 0.1, unit="SDs", play=True),
        "share": Slider("Share of the first kind", 0.05, 0.95, 0.56, 0.01),
        "level": Slider("Probability held", 0.5, 0.99, 0.95, 0.01),
    }
    alt = (
        "Left: the density of a response of two kinds, with the smallest set that holds it shaded and the central "
        "interval below. Right: the lengths of both against the distance of the kinds and against their shares."
    )
    tries: Sequence[Move] = [
        ("two peaks, one set", {"distance": 3.0, "level": 0.95}),
        ("apart", {"distance": 5.0}),
        ("hold less", {"distance": 3.0, "level": 0.8}),
        ("a rare kind", {"distance": 5.0, "share": 0.95, "level": 0.95}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["density distance", "density share"],
        widths=[1.35, 1],
        size=(940, 470),
        tries=tries,
    )
