"""The pictures of lesson 05b: what several ways say of the same uncertainty, and how far methods are from the best."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mefit import style
from mefit.inference.profile import Profile
from mefit.inference.standard_errors import Uncertainty

Way = Uncertainty | Profile
_WIDE = 3.0  # half-widths of the widest interval that still fits, in those of the first way
_FLOOR = 0.01  # units of -2LL; what is nearer to the best is drawn here


def intervals(ways: Mapping[str, Way]) -> style.Picture:
    """A panel for each parameter of the first way, and in it an interval for each way; an arrow where one goes on."""
    first = next(way.table for way in ways.values() if isinstance(way, Uncertainty))
    rows = -(-len(first) // 4)
    picture = style.figure(920, 30 + 210 * rows)
    picture.alt = f"95% intervals of {len(first)} parameters, each by {len(ways)} ways: {', '.join(ways)}."
    with style.use():
        grid = picture.subplots(rows, 4, sharey=True, squeeze=False)
        for axes, (parameter, row) in zip(grid.flat, first.iterrows(), strict=False):
            reach = _WIDE * max(row.estimate - row.low, row.high - row.estimate)
            axes.axvline(row.estimate, color="#999999", linewidth=1)
            axes.set_xlim(row.estimate - reach, row.estimate + reach)
            for place, way in enumerate(ways.values()):
                _interval(axes, place, *_ends(way, str(parameter)))
            axes.set_yticks(range(len(ways)), list(ways), fontsize=11)
            axes.tick_params(axis="x", labelsize=10)
            axes.locator_params(axis="x", nbins=4)
            axes.set_title(f"{parameter} ({row.unit})" if row.unit else parameter, fontsize=12)
        for axes in grid.flat[len(first) :]:
            axes.set_visible(False)
        grid[0, 0].invert_yaxis()
    return picture


def _ends(way: Way, parameter: str) -> tuple[float, float]:
    """Of the interval for a parameter; not a number where the way says nothing of it."""
    if isinstance(way, Profile):
        return (way.low, way.high) if way.parameter == parameter else (np.nan, np.nan)
    low, high = way.table.loc[parameter, ["low", "high"]]
    return float(low), float(high)


def _interval(axes: Axes, place: int, low: float, high: float) -> None:
    left, right = axes.get_xlim()
    colour = style.COLOUR["marginal"]
    axes.plot([max(low, left), min(high, right)], [place, place], color=colour, linewidth=4, solid_capstyle="butt")
    for beyond, edge, arrow in ((low < left, left, "<"), (high > right, right, ">")):
        if beyond:
            axes.plot(edge, place, marker=arrow, color=colour, markersize=9, clip_on=False)


def scoreboard(scores: Mapping[str, pd.DataFrame]) -> style.Picture:
    """A panel for each data set: how far each method's estimates are above the best, by the referee's -2LL."""
    picture = style.figure(920, 420)
    picture.alt = f"How far methods are from the best on {', '.join(scores)}, in units of minus two log-likelihood."
    with style.use():
        panels = picture.subplots(1, len(scores), sharey=True)
        for axes, (data, table) in zip(panels, scores.items(), strict=True):
            exact = table["exact -2LL"]
            above = exact - exact.drop("naive pooled").min()
            place = np.arange(len(table))
            axes.axvspan(_FLOOR / 2, 0.1, color="#EEEEEE", linewidth=0, zorder=0)
            axes.plot(np.maximum(above, _FLOOR), place, **style.POINT["marginal"] | {"marker": "o", "markersize": 9})
            for row in place[above.isna()]:
                axes.text(_FLOOR, row, "no score", va="center", fontsize=11)
            axes.set(xscale="log", xlim=(_FLOOR / 2, 3e4), title=data, xlabel="−2LL above the best")
            axes.set_xticks([0.01, 1, 100, 10_000], ["≤ 0.01", "1", "100", "10,000"])
            axes.grid(axis="y")
        panels[0].set_yticks(range(len(table)), list(table.index))
        panels[0].invert_yaxis()
    return picture
