"""Visual predictive check: percentiles of the data over time, beside those of data sets simulated
from the fit."""

import dataclasses
import html
import operator
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple, SupportsIndex, TypeAlias

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import ArrayLike, Float, PRNGKeyArray
from scipy.spatial.distance import cdist

from ..base.labelled import labelled
from ..data.population import Population, one_outcome
from ..fitting.result import Fit
from ..model.densities import first_density
from ..model.model import Model
from ..model.normals import normal_rows
from ..model.predict import predict
from .residuals import frame_of, is_discrete
from .simulations import simulations

Bins: TypeAlias = SupportsIndex | Sequence[float | int] | np.ndarray  # how many, or their edges


@dataclasses.dataclass(frozen=True)
class VPC:
    """What `vpc` found.

    Both frames have a row for each stratum, bin (counted from 0; `time` is the median in it) and
    statistic ("5%", ... or "mean").
    """

    observed: pd.DataFrame  # of the data: value of the statistic, and count of observations
    simulated: pd.DataFrame  # of the simulated data sets: low, median and high
    points: pd.DataFrame  # the observations as compared
    edges: np.ndarray  # of the bins
    level: float  # the share of the simulated data sets between low and high
    prediction_corrected: bool
    remarks: tuple[str, ...] = ()

    @property
    def inside(self) -> float:
        """The share of the observed statistics that lie within the band of the simulated ones."""
        return float(np.mean(self.observed.value.between(self.simulated.low, self.simulated.high)))

    def __repr__(self) -> str:
        return "\n".join([self._caption, self.table.to_string(float_format="{:.4g}".format), *self.remarks])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(remark)}</p>" for remark in self.remarks)
        return f"<p>{self._caption}</p>{self.table.to_html(float_format='{:.4g}'.format, border=0)}{notes}"

    def to_xarray(self) -> Any:
        """`table` as an `xarray.Dataset`: its columns and `time`, each (stratum, bin, statistic); NaN where a stratum
        has nothing in a bin.

        ImportError where xarray is not installed.
        """
        named = ["stratum", "bin", "statistic"]
        table = self.table.reset_index()
        axes = {name: list(dict.fromkeys(table[name])) for name in named}
        whole = table.set_index(named).reindex(pd.MultiIndex.from_product(axes.values(), names=named))
        shape = tuple(map(len, axes.values()))
        variables = {name: (named, whole[name].to_numpy(float).reshape(shape)) for name in whole}
        return labelled(variables, axes, {"level": f"{self.level:g}"})

    @property
    def _caption(self) -> str:
        total = len(self.observed)
        kind = "VPC, prediction-corrected" if self.prediction_corrected else "VPC"
        within = f"{round(total * self.inside)} of {total} statistics of the data lie inside"
        return f"{kind}: {within} their bands, which hold {100 * self.level:g}% of the simulated ones"

    @property
    def table(self) -> pd.DataFrame:
        """Both frames side by side: of the data `value` and `count`, of the simulated data sets `low`, `median` and
        `high`; and whether the value lies `inside`."""
        named = ["stratum", "bin", "time", "statistic"]
        both = self.observed.merge(self.simulated, on=named)
        return both.assign(inside=both.value.between(both.low, both.high)).set_index(named)


def vpc(
    fit: Fit,
    *,
    population: Population | None = None,
    key: PRNGKeyArray | None = None,
    samples: int = 500,
    bins: Bins = 8,
    stratify: str | None = None,
    prediction_corrected: bool = False,
    log_data: bool | None = None,
    percentiles: Sequence[float | int] = (5, 50, 95),
    level: float = 0.9,
) -> VPC:
    """Percentiles of the observations in bins of time, with bands that hold `level` of those of
    simulated data sets.

        check = mf.vpc(fit, key=jax.random.key(1), samples=200)
        plots.vpc(check)

    The observations are those of `population`, or (None) those that were fitted. Censored responses
    stand at their limit, and what is simulated beyond it is put there, too.

    - `samples`: how many data sets. All have new random effects, and each another theta where the
      fit has draws of it.
    - `bins`: how many, of equal counts as far as ties allow; or their edges.
    - `stratify`: a covariate. Each of its values is a stratum where there are five or fewer; else
      it is cut at its median.
    - `prediction_corrected` multiplies y and its simulations by (median PRED of bin and stratum) /
      PRED, so that doses and covariates do not blur a bin. Rows with PRED = 0 are left out, with a
      remark. Where y are logarithms (`log_data`), it adds the median PRED less PRED, which is the
      same on the natural scale. Left out, `log_data` is what the model itself tells: logarithms
      lie below zero, or at minus infinity, where no dose is given; a remark says what was found,
      and what could not be told.
    - `percentiles` are followed of numbers; of counts the mean too; of outcomes of 0 or 1 the mean
      alone.

    ValueError for a negative PRED where a ratio is to correct, several limits of censoring,
    edges that leave out a time, or an unknown covariate.
    Interrupting takes the data sets that are done, with a remark.
    Sources: Holford (2005), PAGE 14; Bergstrand, Hooker, Wallin and Karlsson (2011), AAPS J. 13.
    """
    _check_request(bins, percentiles, level)
    population = one_outcome(fit.population if population is None else population)
    subjects = population.subjects
    time = np.asarray(subjects.time)
    pred = np.asarray(predict(fit.model, population))
    mask = np.asarray(subjects.mask)
    remarks: tuple[str, ...] = ()
    adds = False
    if prediction_corrected:
        scale = _scale_of_responses(fit.model, population, log_data)
        adds = scale.logarithms
        mask, remarks = _correctable(population, pred, adds)
        remarks = (*scale.remarks, *remarks)
    edges = _edges(time[mask], bins if np.ndim(bins) else operator.index(bins))  # type: ignore[arg-type]
    number = np.clip(np.searchsorted(edges, time, side="right") - 1, 0, len(edges) - 2)
    strata = _strata(population, stratify)
    drawn = simulations(fit, samples, key, posterior=True, population=population, fewer=True)
    simulated = _cut(population, drawn)[:, mask]
    columns = {"TIME": time, "DV": subjects.y, "PRED": pred, "stratum": strata.number, "bin": number}
    points = frame_of(population, mask, **columns)
    y = points.DV.to_numpy(copy=True)
    statistics = _statistics(y, simulated, percentiles, is_discrete(fit.model, population))
    cells = points.groupby(["stratum", "bin"]).indices
    if prediction_corrected:
        for rows in cells.values():
            predicted = points.PRED.to_numpy()[rows]
            y[rows] = _corrected(y[rows], predicted, adds)
            simulated[:, rows] = _corrected(simulated[:, rows], predicted, adds)
    tails = (50.0 * (1.0 - level), 50.0, 50.0 * (1.0 + level))
    observed = []
    bands = []
    for (stratum, place), rows in cells.items():
        middle = points.TIME.iloc[rows].median()
        for name, statistic in statistics.items():
            cell = {"stratum": strata.names[stratum], "bin": place, "time": middle, "statistic": name}
            low, median, high = np.percentile(statistic(simulated[:, rows]), tails)
            observed.append(cell | {"value": float(statistic(y[rows])), "count": len(rows)})
            bands.append(cell | {"low": low, "median": median, "high": high})
    return VPC(
        observed=pd.DataFrame(observed),
        simulated=pd.DataFrame(bands),
        points=points.drop(columns="PRED").assign(DV=y, stratum=np.array(strata.names)[points.stratum]),
        edges=edges,
        level=level,
        prediction_corrected=prediction_corrected,
        remarks=(*remarks, *_interrupted(len(drawn), samples)),
    )


def _interrupted(done: int, asked: int) -> tuple[str, ...]:
    return () if done == asked else (f"interrupted: {done} of {asked} data sets were simulated.",)


def _check_request(bins: Bins, percentiles: Sequence[float | int], level: float) -> None:
    sound = 0 < level < 1 and all(0 <= p <= 100 for p in percentiles)
    if not sound or (isinstance(bins, Integral) and int(bins) < 1) or isinstance(bins, float):
        raise ValueError("vpc needs a level between 0 and 1, percentiles between 0 and 100, and one bin or more.")


class _Scale(NamedTuple):
    """What the responses are: logarithms or not, and what is to be said of how that is known."""

    logarithms: bool
    remarks: tuple[str, ...] = ()


def _scale_of_responses(model: Model, population: Population, log_data: bool | None) -> _Scale:
    """Are responses logarithms? As told; else the model is asked what it predicts where nothing was given."""
    if log_data is not None:
        return _Scale(bool(log_data))
    normal = normal_rows(first_density(model, population))
    if normal is None or normal.curve is not None:
        return _Scale(False)  # its support says that these are no logarithms
    doses = population.subjects.doses
    given = bool(np.any(np.asarray(doses.amount) != 0))
    mask = np.asarray(population.subjects.mask)
    if given:
        none = dataclasses.replace(doses, amount=jnp.zeros_like(doses.amount))
        without = np.asarray(predict(model, population.with_doses(none)))[mask]
        if np.all(without < 0):
            found = "without doses the model predicts values below 0, as of logarithms, so the correction adds"
            return _Scale(True, (f"{found}; log_data=False would multiply.",))
        if np.all(without == 0):
            return _Scale(False)
    remark = "the correction multiplies, for responses that are no logarithms: where they are, say log_data=True."
    return _Scale(False, (remark,))


def _corrected(values: np.ndarray, predicted: np.ndarray, adds: bool) -> np.ndarray:
    """Values (..., rows) as they would be at the median prediction."""
    middle = np.median(predicted)
    return values + (middle - predicted) if adds else values * (middle / predicted)


def _correctable(population: Population, pred: np.ndarray, adds: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """The observations (N, n) that their predictions can correct, and a remark on those that they cannot."""
    mask = np.asarray(population.subjects.mask)
    if adds:
        lost = np.sum(~np.isfinite(pred[mask]))
        remark = f"{lost} observations whose PRED has no logarithm cannot be corrected and are left out."
        return mask & np.isfinite(pred), ((remark,) if lost else ())
    if np.any(pred[mask] < 0):
        first = int(np.argmax((mask & (pred < 0)).any(1)))
        raise ValueError(
            f"a prediction of subject {population.ids[first]} is negative, and the correction is a ratio: "
            "where responses are logarithms say log_data=True, which adds; else leave it out."
        )
    zeros = np.sum(pred[mask] == 0)
    if not zeros:
        return mask, ()
    return mask & (pred > 0), (f"{zeros} observations with PRED = 0 cannot be corrected and are left out.",)


def _statistics(
    y: np.ndarray, simulated: np.ndarray, percentiles: Sequence[float | int], discrete: bool
) -> dict[str, Callable[..., Any]]:
    """What is followed, by name: percentiles, of counts the mean too, and of outcomes of 0 or 1 the
    mean alone."""
    statistics: dict[str, Callable[..., Any]] = {}
    binary = discrete and np.isin(y, (0, 1)).all() and np.isin(simulated, (0, 1)).all()
    if not binary:
        statistics |= {f"{p:g}%": partial(np.percentile, q=p, axis=-1) for p in percentiles}
    if discrete:
        statistics["mean"] = partial(np.mean, axis=-1)
    if not statistics:
        raise ValueError("vpc follows percentiles of responses that are numbers: give one or more, as (5, 50, 95).")
    return statistics


def _cut(population: Population, simulated: np.ndarray) -> np.ndarray:
    """Simulations cut at the limit at which responses are censored, which needs to be the same for
    all."""
    if population.subjects.censored is None:
        return simulated
    y = np.asarray(population.subjects.y)
    censored = np.asarray(population.subjects.censored)
    for side, cut, word in ((1, np.maximum, "below"), (-1, np.minimum, "above")):
        limits = np.unique(y[censored == side])
        if limits.size > 1:
            raise ValueError(
                f"responses are censored {word} several limits ({limits[0]:.4g} to {limits[-1]:.4g}), "
                "so it is not known where to cut simulations: choose subjects of one limit."
            )
        if limits.size:
            simulated = cut(simulated, limits)
    return simulated


def _edges(time: np.ndarray, bins: Bins) -> np.ndarray:
    """Edges of bins that hold every time: as given, or between times, where the counts come closest
    to equal."""
    if not isinstance(bins, int):
        edges = np.asarray(bins, float)
        rising = len(edges) >= 2 and np.all(np.diff(edges) > 0)
        if not rising or time.min() < edges[0] or time.max() > edges[-1]:
            raise ValueError(f"edges of bins must rise and hold all times, from {time.min():g} to {time.max():g}.")
        return edges
    times, count = np.unique(time, return_counts=True)
    between = 0.5 * (times[1:] + times[:-1])
    if len(between) >= bins:
        below = np.cumsum(count)[:-1]
        wanted = np.arange(1, bins) * len(time) / bins
        between = between[np.unique(np.argmin(np.abs(below - wanted[:, None]), axis=1))]
    return np.concatenate([times[:1], between, times[-1:]])


class _Strata(NamedTuple):
    names: list[str]
    number: np.ndarray  # (N, n), of the stratum that each row is in


def _strata(population: Population, covariate: str | None) -> _Strata:
    """Everyone together; or a stratum for each value of a covariate, for its halves where it has
    more than five."""
    shape = population.subjects.mask.shape
    covariates = population.subjects.covariates
    if covariate is None:
        return _Strata(["all"], np.zeros(shape, int))
    if covariate not in covariates:
        raise ValueError(f"{covariate!r} is not a covariate: choose from {', '.join(covariates) or 'none'}.")
    given = np.asarray(covariates[covariate])
    x = given.reshape(shape[0], -1)
    # padding repeats a subject's last value, and would count it again and again
    told = given[np.asarray(population.subjects.real)] if given.ndim == 2 else given
    values = np.unique(told)
    if len(values) <= 5:
        names = [f"{covariate} = {value:g}" for value in values]
        number = np.searchsorted(values, x)
    else:
        cut = float(np.median(told))
        names = [f"{covariate} ≤ {cut:g}", f"{covariate} > {cut:g}"]
        number = (x > cut).astype(int)
    return _Strata(names, np.broadcast_to(number, shape))


def energy_distance(one: Float[ArrayLike, "..."], other: Float[ArrayLike, "..."]) -> float:
    """How far apart two sets of curves, (N, m) and (M, m), are: 2 E|X - Y| - E|X - X'| - E|Y - Y'|,
    0 or more.

    X and Y are rows, |.| is the Euclidean norm, so it is in the unit of the curves. It sees the
    shapes of whole curves, which bands of percentiles at each time do not. Zero only for the same
    distribution; between two samples of one it is about (1/N + 1/M) E|X - X'|.
    Source: Székely and Rizzo (2013), J. Stat. Plan. Inference 143.
    ValueError for curves of different lengths, or a value that is not finite.

        mf.energy_distance(np.array([[0.0, 1.0], [0.0, 2.0]]), np.array([[0.0, 1.5], [0.0, 2.5], [0.0, 3.5]]))
    """
    x = np.atleast_2d(np.asarray(one, float))
    y = np.atleast_2d(np.asarray(other, float))
    same_times = x.ndim == 2 and y.ndim == 2 and x.shape[1] == y.shape[1]
    if not (same_times and np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"energy_distance needs finite curves at the same times; got {x.shape} and {y.shape}.")
    return float(2.0 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())
