"""Visual predictive check: percentiles of the data over time, beside those of data sets simulated from the fit."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import ArrayLike, Float, PRNGKeyArray
from scipy.spatial.distance import cdist

from ..data.population import Population, one_outcome
from ..fitting.result import Fit
from ..model.predict import predict
from .residuals import frame_of, is_discrete
from .simulations import simulations


@dataclasses.dataclass(frozen=True)
class VPC:
    """What `vpc` found. A row a stratum, bin (from 0, `time` the median in it) and statistic ("5%", ... or "mean") have
    `observed`, value and count of observations, and `simulated`, low, median and high, with `level` of the simulated
    data sets between low and high. `points` are the observations as compared, `edges` those of the bins.
    """

    observed: pd.DataFrame
    simulated: pd.DataFrame
    points: pd.DataFrame
    edges: np.ndarray
    level: float
    prediction_corrected: bool
    remarks: tuple[str, ...] = ()

    @property
    def inside(self) -> float:
        """The share of the observed statistics that lie within the band of the simulated ones."""
        return float(np.mean(self.observed.value.between(self.simulated.low, self.simulated.high)))


def vpc(
    fit: Fit,
    *,
    key: PRNGKeyArray | None = None,
    samples: int = 500,
    bins: int | Sequence[float | int] = 8,
    stratify: str | None = None,
    prediction_corrected: bool = False,
    percentiles: Sequence[float | int] = (5, 50, 95),
    level: float = 0.9,
) -> VPC:
    """Percentiles of the observations in bins of time, with bands that hold `level` of those of simulated data sets.

    `samples` data sets have new random effects, and each another theta where the fit has draws of it. `bins`: how many,
    of equal counts as far as ties allow, or edges. `stratify` names a covariate: each value is a stratum where there
    are five or fewer, else it is cut at its median. Outcomes of 0 or 1 have their mean followed, counts the mean too.
    `prediction_corrected` multiplies y and its simulations by (median PRED of bin and stratum) / PRED, so that doses
    and covariates do not blur a bin; rows with PRED = 0 are left out, with a remark. ValueError for a negative PRED.
    Censored responses stand at their limit, and what is simulated beyond it is put there, too.
    Sources: Holford (2005), PAGE 14; Bergstrand, Hooker, Wallin and Karlsson (2011), AAPS J. 13.
    """
    if not (0 < level < 1 and all(0 <= p <= 100 for p in percentiles) and (not isinstance(bins, int) or bins > 0)):
        raise ValueError("vpc needs a level between 0 and 1, percentiles between 0 and 100, and one bin or more.")
    population = one_outcome(fit.population)
    subjects = population.subjects
    remarks: tuple[str, ...] = ()
    mask, time, pred = (np.asarray(a) for a in (subjects.mask, subjects.time, predict(fit.model, fit.population)))
    if prediction_corrected and np.any(pred[mask] < 0):
        who = population.ids[int(np.argmax((mask & (pred < 0)).any(1)))]
        raise ValueError(f"a prediction of subject {who} is negative, and the correction is a ratio: leave it out.")
    if prediction_corrected and np.any(pred[mask] == 0):
        remarks = (f"{np.sum(pred[mask] == 0)} observations with PRED = 0 cannot be corrected and are left out.",)
        mask = mask & (pred > 0)
    edges = _edges(time[mask], bins)
    bin_ = np.clip(np.searchsorted(edges, time, side="right") - 1, 0, len(edges) - 2)
    names, stratum = _strata(fit, stratify)
    simulated = _cut(population, simulations(fit, samples, key, posterior=True))[:, mask]
    points = frame_of(population, mask, TIME=time, DV=subjects.y, PRED=pred, stratum=stratum, bin=bin_)
    y, discrete = points.DV.to_numpy(copy=True), is_discrete(fit)
    followed = () if discrete and np.isin(y, (0, 1)).all() and np.isin(simulated, (0, 1)).all() else percentiles
    statistics: dict[str, Any] = {f"{p:g}%": partial(np.percentile, q=p, axis=-1) for p in followed}
    statistics |= {"mean": partial(np.mean, axis=-1)} if discrete else {}
    tails = (50.0 * (1.0 - level), 50.0, 50.0 * (1.0 + level))
    observed, bands = [], []
    for (s, b), rows in points.groupby(["stratum", "bin"]).indices.items():
        if prediction_corrected:
            factor = np.median(points.PRED.iloc[rows]) / points.PRED.to_numpy()[rows]
            y[rows] *= factor
            simulated[:, rows] *= factor
        about = {"stratum": names[s], "bin": b, "time": points.TIME.iloc[rows].median()}
        for name, statistic in statistics.items():
            observed.append(about | {"statistic": name, "value": float(statistic(y[rows])), "count": len(rows)})
            low, median, high = np.percentile(statistic(simulated[:, rows]), tails)
            bands.append(about | {"statistic": name, "low": low, "median": median, "high": high})
    points = points.drop(columns="PRED").assign(DV=y, stratum=np.array(names)[points.stratum])
    return VPC(pd.DataFrame(observed), pd.DataFrame(bands), points, edges, level, prediction_corrected, remarks)


def _cut(population: Population, simulated: np.ndarray) -> np.ndarray:
    """Simulations cut at the limit at which responses are censored, which needs to be the same for all."""
    if population.subjects.censored is None:
        return simulated
    for side, cut, word in ((1, np.maximum, "below"), (-1, np.minimum, "above")):
        limits = np.unique(np.asarray(population.subjects.y)[np.asarray(population.subjects.censored) == side])
        if limits.size > 1:
            several = f"responses are censored {word} several limits ({limits[0]:.4g} to {limits[-1]:.4g})"
            raise ValueError(f"{several}, so it is not known where to cut simulations: choose subjects of one limit.")
        simulated = cut(simulated, limits) if limits.size else simulated
    return simulated


def _edges(time: np.ndarray, bins: int | Sequence[float | int]) -> np.ndarray:
    """Edges of bins that hold every time: as given, or between times, where the counts come closest to equal."""
    if not isinstance(bins, int):
        edges = np.asarray(bins, float)
        if len(edges) < 2 or np.any(np.diff(edges) <= 0) or time.min() < edges[0] or time.max() > edges[-1]:
            raise ValueError(f"edges of bins must rise and hold all times, from {time.min():g} to {time.max():g}.")
        return edges
    times, count = np.unique(time, return_counts=True)
    between, below = 0.5 * (times[1:] + times[:-1]), np.cumsum(count)[:-1]
    wanted = np.arange(1, bins) * len(time) / bins
    chosen = np.unique(np.argmin(np.abs(below - wanted[:, None]), axis=1)) if len(below) >= bins else slice(None)
    return np.concatenate([times[:1], between[chosen], times[-1:]])


def _strata(fit: Fit, name: str | None) -> tuple[list[str], np.ndarray]:
    """The names of the strata, and the number of the one that each row (N, n) is in."""
    shape, covariates = fit.population.subjects.mask.shape, fit.population.subjects.covariates
    if name is None:
        return ["all"], np.zeros(shape, int)
    if name not in covariates:
        raise ValueError(f"{name!r} is not a covariate: choose from {', '.join(covariates) or 'none'}.")
    x = np.asarray(covariates[name]).reshape(shape[0], -1)
    values, cut = np.unique(x), float(np.median(x))
    names, number = [f"{name} ≤ {cut:g}", f"{name} > {cut:g}"], (x > cut).astype(int)
    if len(values) <= 5:
        names, number = [f"{name} = {value:g}" for value in values], np.searchsorted(values, x)
    return names, np.broadcast_to(number, shape)


def energy_distance(one: Float[ArrayLike, "..."], other: Float[ArrayLike, "..."]) -> float:
    """How far apart two sets of curves, (N, m) and (M, m), are: 2 E|X - Y| - E|X - X'| - E|Y - Y'|, 0 or more.

    X and Y are rows, |.| is the Euclidean norm, so it is in the unit of the curves. It sees the shapes of whole curves,
    which bands of percentiles at each time do not. Zero only for the same distribution; between two samples of one it
    is about (1/N + 1/M) E|X - X'|. Source: Székely and Rizzo (2013), J. Stat. Plan. Inference 143.
    ValueError for curves of different lengths, or a value that is not finite.
    """
    x, y = np.atleast_2d(np.asarray(one, float)), np.atleast_2d(np.asarray(other, float))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"energy_distance needs finite curves at the same times; got {x.shape} and {y.shape}.")
    return float(2.0 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())
