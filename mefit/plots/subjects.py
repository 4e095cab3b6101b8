"""What each subject does to the estimates, and what covariates do."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..decisions.covariate_search import CovariateSearch
from ..inference.influence import Influence
from . import style

_NAMED = 5  # subjects with their name beside the point


def influence(result: Influence, axes: Any = None) -> list[Axes]:
    """Two panels: each subject's Cook score beside its covariance ratio, and the shift of each number, in standard
    errors, without each subject; the subjects with the largest scores bear their names."""
    table = result.table.dropna()
    alt = f"Cook scores and covariance ratios of {len(table)} subjects, and the shifts of the estimates without each."
    with style.drawing(axes, alt, 2, 960, 400) as panels:
        first, second = panels
        first.axhline(1.0, **(style.LINE["prior"] | {"linewidth": 1.5}))
        first.plot(table.cook, table.covariance_ratio, **style.POINT["individual"])
        first.set(xlabel="Cook score (standard errors)", ylabel="covariance ratio", xlim=(0.0, None))
        for name, row in table.sort_values("cook").tail(_NAMED).iterrows():
            first.annotate(str(name), (row.cook, row.covariance_ratio), (5, 4), textcoords="offset points", fontsize=11)
        shifts = result.shifts.dropna()
        heavy = list(table.sort_values("cook").tail(_NAMED).index)
        for k, label in enumerate(shifts):
            values = shifts[label]
            second.plot(values, np.full(len(values), k), **(style.POINT["individual"] | {"markersize": 5}))
            extreme = values.abs().idxmax()
            if extreme in heavy and abs(values[extreme]) > 0.1:
                second.annotate(str(extreme), (values[extreme], k), (0, 6), textcoords="offset points", fontsize=10)
        second.axvline(0.0, **(style.LINE["prior"] | {"linewidth": 1.5}))
        second.set_yticks(range(shifts.shape[1]), list(shifts))
        second.set(xlabel="shift without the subject (standard errors)", ylim=(shifts.shape[1] - 0.4, -0.6))
        return panels


def forest(search: CovariateSearch, ax: Axes | None = None) -> Axes:
    """The factor exp(b z) of each chosen relation at two values of its covariate, with its interval, on a logarithmic
    axis; the line is no effect, and the band 0.8 to 1.25, within which bioequivalence calls two exposures alike. It is
    a factor where the parameter is theta exp(eta); where eta is added to it, read the coefficients in the table.

    ValueError where nothing was chosen, or the search was interrupted.
    """
    rows = search.forest
    if not len(rows):
        raise ValueError("there is no effect to draw: the search chose none, or was interrupted.")
    alt = f"Factors of {rows.relation.nunique()} covariate effects, with intervals, around no effect."
    height = 150 + 42 * len(rows)
    with style.drawing(ax, alt, 1, 760, height) as (ax,):
        ax.axvspan(0.8, 1.25, **(style.AREA["prior"] | {"alpha": 0.15}))
        ax.axvline(1.0, **(style.LINE["prior"] | {"linewidth": 1.5}))
        place = np.arange(len(rows))
        errors = np.stack([rows.factor - rows.low, rows.high - rows.factor])
        ax.errorbar(rows.factor, place, xerr=errors, **style.POINT["population"], elinewidth=2.2)
        labels = [f"{row.relation}: {row.value:.4g} (against {row.reference:.4g})" for row in rows.itertuples()]
        ax.set_xscale("log")
        low = min(0.7, 0.9 * float(rows.low.min()))
        high = max(1.4, 1.1 * float(rows.high.max()))
        marks: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0)
        if high < 4.0 * low:
            marks = (0.3, 0.5, 0.8, 1.0, 1.25, 2.0, 3.0)
        elif high < 40.0 * low:
            marks = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
        ticks = [mark for mark in marks if low <= mark <= high]
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.set_xticks([], minor=True)
        ax.set_yticks(place, labels)
        ax.set(xlabel="exp(b z), the factor on a log-normal parameter", xlim=(low, high), ylim=(len(rows) - 0.4, -0.6))
        return ax
