"""Pictures for judging a fit: axes in, axes out, in the manner of `mefit.plots`, which offers them
too."""

import math
import re
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.special import chdtri, ndtri

from ..decisions.regimens import Regimens
from ..diagnosis.residuals import random_effects_table, residuals
from ..diagnosis.vpc import VPC
from ..fitting.result import Fit
from ..inference.profile import Profile
from ..inference.standard_errors import Uncertainty, observed_information
from ..model.numbers import eta_names
from . import style

__all__ = [
    "convergence",
    "correlation",
    "discrepancies",
    "effects_against_covariates",
    "goodness_of_fit",
    "histogram",
    "profile",
    "regimens",
    "vpc",
]
_THIN = style.LINE["prior"] | {"linewidth": 1.5}
_ABOVE: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}  # not over the points


def goodness_of_fit(fit_or_residuals: Fit | pd.DataFrame, axes: Any = None) -> list[Axes]:
    """Six panels: y against PRED and IPRED, and one residual against time and PRED, its quantiles,
    its histogram.

    The residual is NPDE where the frame of `mefit.residuals` has it, else CWRES: N(0, 1), 95% of it
    in the band, where the model is right. The running mean is over tenths of the observations.
    """
    frame = residuals(fit_or_residuals) if isinstance(fit_or_residuals, Fit) else fit_or_residuals
    name = "NPDE" if "NPDE" in frame else "CWRES"
    z = frame[name].to_numpy()
    time = frame.attrs.get("time_label", "time")
    y = frame.attrs.get("y_label", "y")
    unit = re.search(r" \([^()]*\)$", y)
    measured = f"measured{unit[0]}" if unit else "measured"
    alt = f"{y} against predictions; {name} against time and prediction, against normal quantiles, and counted."
    with style.drawing(axes, alt, 6, 960, 600, 2) as panels:
        for ax, column, meaning in zip(panels, ("PRED", "IPRED"), ("population", "individual"), strict=False):
            ax.axline((frame.DV.median(), frame.DV.median()), slope=1.0, **style.LINE[meaning])
            ax.plot(frame[column], frame.DV, **_dots(len(z)))
            ax.set(xlabel=f"{column}: {y}", ylabel=measured)
        _against(frame.TIME.to_numpy(), z, panels[2], time, name)
        _against(frame.PRED.to_numpy(), z, panels[3], f"PRED: {y}", name)
        panels[2].legend(**_ABOVE)
        expected = ndtri((np.arange(len(z)) + 0.5) / len(z))
        panels[4].plot(expected, expected, **style.LINE["prior"])
        panels[4].plot(expected, np.sort(z), **_dots(len(z)))
        panels[4].set(xlabel="quantile of N(0, 1)", ylabel=f"quantile of {name}")
        histogram(z, panels[5], name)
        return panels


def discrepancies(frame: pd.DataFrame, axes: Any = None) -> list[Axes]:
    """Four panels of the NPDE of `mefit.residuals`: against time and PRED, their quantiles, and their histogram.

    N(0, 1), 95% of them in the band, where the model is right. ValueError for a frame without NPDE.
    """
    if "NPDE" not in frame:
        raise ValueError("these residuals have no NPDE: ask for them by mf.residuals(fit, key=...).")
    z = frame.NPDE.to_numpy()
    time = frame.attrs.get("time_label", "time")
    y = frame.attrs.get("y_label", "y")
    alt = f"{z.size} NPDE of {y} against time and prediction, against normal quantiles, and counted."
    with style.drawing(axes, alt, 4, 960, 560, 2) as panels:
        _against(frame.TIME.to_numpy(), z, panels[0], time, "NPDE")
        _against(frame.PRED.to_numpy(), z, panels[1], f"PRED: {y}", "NPDE")
        panels[0].legend(**_ABOVE)
        expected = ndtri((np.arange(z.size) + 0.5) / z.size)
        panels[2].plot(expected, expected, **style.LINE["prior"])
        panels[2].plot(expected, np.sort(z), **_dots(z.size))
        panels[2].set(xlabel="quantile of N(0, 1)", ylabel="quantile of NPDE")
        histogram(z, panels[3], "NPDE")
        return panels


def _against(x: np.ndarray, z: np.ndarray, ax: Axes, label: str, name: str) -> None:
    """Residuals against something, with the band of 95% and a running mean over tenths of them."""
    ax.axhspan(-1.96, 1.96, **style.AREA["prior"])
    ax.axhline(0.0, **_THIN)
    ax.plot(x, z, **_dots(len(z)))
    tenths = np.array_split(np.argsort(x, kind="stable"), min(10, len(z)))
    middle = [np.mean(x[rows]) for rows in tenths]
    mean = [np.mean(z[rows]) for rows in tenths]
    ax.plot(middle, mean, **style.LINE["marginal"], label="running mean")
    ax.set(xlabel=label, ylabel=name)


def histogram(values: Any, ax: Axes | None = None, label: str = "residual") -> Axes:
    """Histogram of residuals (NPDE, CWRES, IWRES), its area 1, and the density of N(0, 1)."""
    z = np.asarray(values, float)
    x = np.linspace(-3.5, 3.5, 201)
    title = f"mean {z.mean():.2f}, SD {z.std(ddof=1):.2f}"
    with style.drawing(ax, f"Histogram of {z.size} {label}, {title}, with N(0, 1).", 1, 560, 380) as (ax,):
        ax.hist(z, bins=int(np.clip(2 * z.size ** (1 / 3), 8, 40)), density=True, **style.AREA["data"])
        ax.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi), **style.LINE["prior"])
        ax.set(xlabel=label, ylabel="density", title=title)
        return ax


def vpc(check: VPC, axes: Any = None) -> list[Axes]:
    """A panel a stratum: observations, their percentiles joined by lines, and the bands of the
    simulated ones."""
    points = check.points
    strata = list(dict.fromkeys(check.observed.stratum))
    statistics = list(dict.fromkeys(check.observed.statistic))
    time = points.attrs.get("time_label", "time")
    y = points.attrs.get("y_label", "y")
    alt = f"Visual predictive check of {y} against {time}: {', '.join(statistics)} of the data, in simulated bands."
    with style.drawing(axes, alt, len(strata), min(960, 200 + 420 * len(strata)), 420, sharey=True) as panels:
        for ax, stratum in zip(panels, strata, strict=True):
            x, dv = points.loc[points.stratum == stratum, ["TIME", "DV"]].to_numpy().T
            ax.plot(x, dv, **_dots(4 * len(points)))
            for statistic in statistics:
                _band(check, stratum, statistic, statistics, ax)
            ax.set(xlabel=time, title="" if strata == ["all"] else stratum)
        panels[0].set_ylabel(f"prediction-corrected {y}" if check.prediction_corrected else y)
        panels[0].legend()
        return panels


def _band(check: VPC, stratum: str, statistic: str, statistics: list[str], ax: Axes) -> None:
    """One statistic of one stratum: that of the data, in the band of the simulated ones. The middle
    one stands out."""
    middle = "50%" if "50%" in statistics else statistics[len(statistics) // 2]
    rows = (check.observed.stratum == stratum) & (check.observed.statistic == statistic)
    observed = check.observed[rows]
    simulated = check.simulated[rows]
    shade: dict[str, Any] = {"alpha": 0.2}
    line: dict[str, Any] = {}
    if statistic == middle:
        shade = {"alpha": 0.4, "label": f"simulated, {100 * check.level:g}%"}
        line = {"linewidth": 2.6, "label": f"observed {', '.join(statistics)}"}
    ax.fill_between(simulated.time, simulated.low, simulated.high, **(style.AREA["marginal"] | shade))
    ax.plot(observed.time, observed.value, **(style.LINE["data"] | line))


def regimens(result: Regimens, axes: Any = None, window: tuple[float, float] | None = None) -> list[Axes]:
    """A panel a regimen: the middle percentile of the virtual subjects, bands from the outer ones
    inwards, and behind them the therapeutic `window`, low and high.
    """
    if window is not None and not window[0] < window[1]:
        raise ValueError(f"window is {window}; give its low end, then its high end.")
    names = list(dict.fromkeys(result.curves.regimen))
    percentiles = sorted(result.curves.columns[2:], key=lambda name: float(name[:-1]))
    rows = math.ceil(len(names) / 3)
    columns = math.ceil(len(names) / rows)
    alt = (
        f"{result.y_label} against {result.time_label} of virtual subjects, {', '.join(percentiles)}, "
        f"by regimen: {', '.join(names)}."
    )
    width = min(960, 200 + 360 * columns)
    with style.drawing(axes, alt, len(names), width, 90 + 330 * rows, rows, sharex=True, sharey=True) as panels:
        for ax, name in zip(panels, names, strict=True):
            _percentile_bands(result.curves[result.curves.regimen == name], percentiles, window, ax)
            is_lowest = name in names[-columns:]
            is_leftmost = name in names[::columns]
            ax.set(
                title=name,
                xlabel=result.time_label if is_lowest else "",
                ylabel=result.y_label if is_leftmost else "",
            )
        if axes is None:
            panels[0].figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
        else:
            panels[0].legend()
        return panels


def _percentile_bands(
    curve: pd.DataFrame, percentiles: list[str], window: tuple[float, float] | None, ax: Axes
) -> None:
    """The curves of one regimen: bands between percentiles from the outer ones inwards, and the
    middle one."""
    if window is not None:
        label = f"window {window[0]:g} to {window[1]:g}"
        ax.axhspan(*window, **(style.AREA["prior"] | {"alpha": 0.18}), label=label)
    half = len(percentiles) // 2
    for k in range(half):
        low = percentiles[k]
        high = percentiles[-1 - k]
        band = {"alpha": 0.25 + 0.15 * k, "label": f"{low} to {high}"}
        ax.fill_between(curve.TIME, curve[low], curve[high], **(style.AREA["marginal"] | band))
    for middle in percentiles[half : len(percentiles) - half]:
        ax.plot(curve.TIME, curve[middle], **style.LINE["marginal"], label=middle)


def effects_against_covariates(fit: Fit, axes: Any = None) -> list[Axes]:
    """A panel for each random effect and covariate: the subjects' estimates, with a line and r, or,
    where there are five values or fewer, the mean of each. Shrinkage, in the label, hides
    relations, or makes them up.
    """
    frame = random_effects_table(fit)
    names = eta_names(fit.model)
    covariates = list(fit.population.subjects.covariates)
    if not covariates:
        raise ValueError("this population has no covariates: name them in Population.from_frame(..., covariates=...).")
    pairs = [(j, covariate) for j in range(len(names)) for covariate in covariates]
    rows = len(names) if len(covariates) > 1 else 1
    width = min(960, 340 * len(pairs) // rows)
    alt = f"Estimates of {', '.join(names)} of {len(frame)} subjects against {', '.join(covariates)}."
    with style.drawing(axes, alt, len(pairs), width, 60 + 270 * rows, rows) as panels:
        for ax, (j, covariate) in zip(panels, pairs, strict=True):
            _effect_against(frame[covariate].to_numpy(), frame[names[j]].to_numpy(), ax)
            ax.set(xlabel=covariate, ylabel=f"η of {names[j]} (shrinkage {100 * fit.shrinkage[j]:.0f}%)")
        return panels


def _effect_against(x: np.ndarray, eta: np.ndarray, ax: Axes) -> None:
    """Estimates against a covariate, with a line, or with means where it has five values or
    fewer."""
    values, place = np.unique(x, return_inverse=True)
    ax.axhline(0.0, **_THIN)
    if len(values) > 5:
        line = np.polyfit(x, eta, 1)
        ax.plot(np.sort(x), np.polyval(line, np.sort(x)), **style.LINE["population"])
        ax.set_title(f"r = {np.corrcoef(x, eta)[0, 1]:.2f}", fontsize=13)
    else:
        for i in range(len(values)):
            mean = eta[place == i].mean()
            ax.plot([i - 0.3, i + 0.3], [mean, mean], **style.LINE["population"])
        ax.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        # Side by side, not on top of each other
        x = place + 0.4 * (np.argsort(np.argsort(eta)) % 5 / 4 - 0.5)
    ax.plot(x, eta, **style.POINT["individual"])


def correlation(fit: Fit | Uncertainty, ax: Axes | None = None) -> Axes:
    """Heat map of the correlations between estimates: by the observed information, or by an
    `Uncertainty` given."""
    uncertainty = observed_information(fit) if isinstance(fit, Fit) else fit
    covariance = uncertainty.covariance.to_numpy()
    labels = list(uncertainty.covariance)
    sd = np.sqrt(np.diagonal(covariance))
    matrix = covariance / np.outer(sd, sd)
    size = 62 * len(labels)
    alt = f"Correlations of {len(labels)} estimates, {np.abs(np.tril(matrix, -1)).max():.2f} the strongest."
    with style.drawing(ax, alt, 1, 330 + size, 170 + size) as (ax,):
        image = ax.imshow(matrix, vmin=-1, vmax=1, cmap="PuOr_r", aspect="auto")
        ax.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(labels)), labels)
        for (i, j), r in np.ndenumerate(matrix):
            ax.text(j, i, f"{r:.2f}", ha="center", va="center", fontsize=11, color="white" if abs(r) > 0.7 else "black")
        ax.figure.colorbar(image, ax=ax, shrink=0.8, label="correlation of estimates")
        return ax


def convergence(fit: Fit, axes: Any = None) -> list[Axes]:
    """SAEM, iteration by iteration: a panel a number, exploration shaded, the estimate dotted;
    above, why it ended."""
    if fit.saem is None:
        raise ValueError(f"{fit.method.label} keeps no trajectory of the parameters: draw plots.history(fit).")
    table = fit.saem.trajectory
    explored = fit.saem.explored
    table = table.loc[:, np.ptp(table.to_numpy(), axis=0) > 0]
    count = table.shape[1]
    rows = math.ceil(count / 3)
    alt = f"{count} numbers over {len(table) - 1} iterations, the first {explored} exploring: {fit.message}."
    with style.drawing(axes, alt, count, 920, 110 + 165 * rows, rows, sharex=True) as panels:
        for ax, label in zip(panels, table, strict=True):
            ax.axvspan(0, explored, **(style.AREA["prior"] | {"alpha": 0.15}))
            ax.axhline(table[label].iloc[-1], **_THIN)
            ax.plot(table.index, table[label], **style.LINE["SAEM"])
            is_lowest = label in table.columns[-3:]
            unit = fit.table.unit[label]
            ax.set(title=f"{label} ({unit})" if unit else label, xlabel="iteration" if is_lowest else "")
        if axes is None:
            panels[0].figure.suptitle(textwrap.fill(f"SAEM {fit.message}.", 105), fontsize=12, x=0.01, ha="left")
        return panels


def profile(curve: Profile, ax: Axes | None = None) -> Axes:
    """-2 log profile likelihood above its minimum, the cut, and the interval between where the two
    cross."""
    cut = float(chdtri(1, 1.0 - curve.level))
    value = curve.curve.value
    alt = f"Profile likelihood of {curve.parameter}: {curve.low:.4g} to {curve.high:.4g} at {100 * curve.level:g}%."
    with style.drawing(ax, alt, 1, 620, 400) as (ax,):
        ax.axhline(cut, **_THIN, label=f"cut {cut:.3f} ({100 * curve.level:g}%)")
        interval = np.clip((curve.low, curve.high), value.min(), value.max())
        ax.fill_between(interval, 0.0, cut, **style.AREA["marginal"])
        ax.plot(value, curve.curve.difference, **style.LINE["marginal"], label="profile likelihood")
        ax.plot(curve.estimate, 0.0, **style.POINT["marginal"], clip_on=False)
        ax.set(xlabel=curve.parameter, ylabel="−2 log L above its minimum", ylim=(0.0, None))
        ax.legend(loc="upper center")
        return ax


def _dots(count: int) -> dict[str, Any]:
    """Points of the data, the fainter the more there are."""
    return style.POINT["data"] | {"markersize": 4.5, "markeredgewidth": 0.4, "alpha": min(0.8, 9.0 / count**0.5)}
