"""The profile likelihood of one number."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import brentq, minimize
from scipy.special import chdtri

from ..base.asked import require_share
from ..base.stopping import Bar, is_interrupt, why_stopped
from ..fitting.about import likelihood_of
from ..fitting.result import Fit
from ..model.numbers import entries, labels_of
from ..objectives.evaluation import batches_of, evaluate
from .standard_errors import covariance, link_of, numbers_and_slopes

# Steps outwards in search of the cut, each 1.6 times the one before: up to 17 standard errors at
# 95%
_FARTHEST = 7


@dataclasses.dataclass(frozen=True)
class Profile:
    """The profile likelihood of one number: its interval, and the curve of -2 log L above its
    minimum.

    `curve` has columns value and difference, -2 [log L_p(value) - log L(estimate)]. Where the
    profile never climbs to the cut, `low` or `high` is the end of the number's domain, and a remark
    says so. What was not found, since it was interrupted, is NaN.
    """

    parameter: str
    estimate: float
    low: float
    high: float
    level: float
    curve: pd.DataFrame
    remarks: tuple[str, ...] = ()


def profile(fit: Fit, parameter: str, *, level: float | int = 0.95, points: int = 15, progress: bool = True) -> Profile:
    """Profile likelihood of one number of the table, such as "cl", "omega[ka]" or "corr(cl, v)",
    and its interval.

        curve = mf.profile(fit, "cl", points=5)
        plots.profile(curve)

    L_p(value) is the maximum over all other parameters; the interval holds the values whose -2 log
    L_p lies less than the `level` quantile of chi-squared with one degree of freedom above the
    minimum. Each point is a maximisation under one constraint by SciPy's SLSQP, from its neighbour,
    through the program that the fit compiled.

    Interrupting returns the points that are done, and the ends that are found.
    ValueError for a fit that is no maximum of a likelihood, a number that it did not estimate, or a
    profile that could not be followed as far as to its ends.
    """
    require_share(level)
    likelihood_of(fit)
    labels = labels_of(fit.model, fit.fixed)
    if parameter not in labels:
        raise ValueError(f"{parameter!r} is not a number that this fit estimated: choose from {', '.join(labels)}.")
    cut = float(chdtri(1, 1.0 - level))
    with Bar(f"profile of {parameter}", shown=progress) as bar:
        walk = _Walk(fit, labels.index(parameter), bar.update)
        way = _walked(walk, cut, points)
    remarks = list(way.remarks)
    for end, word in ((way.below, "lower"), (way.above, "upper")):
        if end and not end.reached:
            remarks.append(
                f"the profile stays below the cut of {cut:.2f} as far as {walk.value(end.working):.3g}: "
                f"the data set no {word} limit at this level."
            )
    if walk.least < -1e-3:
        remarks.append("a point of the profile is better than the fit: fit again from other starting values.")
    curve = {walk.value(w): walk.difference(w) for w in way.places}
    return Profile(
        parameter=parameter,
        estimate=walk.value(walk.centre),
        low=_limit(walk, way.below, -np.inf),
        high=_limit(walk, way.above, np.inf),
        level=level,
        curve=pd.DataFrame(sorted(curve.items()), columns=["value", "difference"]),
        remarks=tuple(remarks),
    )


class _End(NamedTuple):
    """Where the profile meets the cut; or, where it was not `reached`, how far it was followed."""

    working: float
    reached: bool


class _Way(NamedTuple):
    """What was found of a profile: its ends, and the places of the points of its curve."""

    below: _End | None
    above: _End | None
    places: list[float]
    remarks: tuple[str, ...] = ()


def _walked(walk: "_Walk", cut: float, points: int) -> _Way:
    """The way along the profile; where it is interrupted, as far as it went."""
    ends: list[_End | None] = []
    try:
        for side in (-1.0, 1.0):
            ends.append(walk.end(side, cut))
        working = _grid(walk.centre, ends[0].working, ends[1].working, points)  # type: ignore[union-attr]
        places = sorted(working.tolist(), key=lambda w: abs(w - walk.centre))
        for w in places:
            walk.difference(w)
    except (KeyboardInterrupt, Exception) as error:
        if len(ends) < 2 and not is_interrupt(error):
            raise  # the interval is what was asked for
        if len(walk.done) < 2:
            raise KeyboardInterrupt("interrupted before the first point: there is no result yet") from None
        below, above = (*ends, None, None)[:2]
        places = walk.done
        return _Way(below, above, places, (f"{why_stopped(error)}: {len(places)} points of the profile were done.",))
    return _Way(ends[0], ends[1], places)


def _limit(walk: "_Walk", end: _End | None, end_of_domain: float) -> float:
    if end is None:
        return np.nan
    return walk.value(end.working if end.reached else end_of_domain)


def _grid(centre: float, low: float, high: float, points: int) -> Float[np.ndarray, " points"]:
    """Places from a quarter beyond one end of the interval to a quarter beyond the other."""
    half = points // 2 + 1
    left = np.linspace(centre, centre + 1.25 * (low - centre), half)
    right = np.linspace(centre, centre + 1.25 * (high - centre), half)
    return np.concatenate([left[:0:-1], right])


class _Solved(NamedTuple):
    """One point of the profile."""

    u: Float[np.ndarray, " P"]
    difference: float  # of -2 log L from the fit's


class _Walk:
    """The profile of one number, point after point from the estimate outwards.

    w is the number on its unbounded scale. The other parameters are searched in u, x = estimates +
    root u, where a step of one is one standard error; each search begins at the solved point that
    is nearest.
    """

    def __init__(self, fit: Fit, row: int, one_more: Callable[[], object]):
        self._fit = fit
        self._objective = likelihood_of(fit)
        self._batches = batches_of(self._objective, fit.model, fit.population, fit.key)
        self._estimates = fit.space.vector()
        self._root = np.linalg.cholesky(covariance(fit))
        self._row = row
        self._link = link_of(fit.model, entries(fit.model, fit.fixed)[row])
        self._one_more = one_more
        origin = np.zeros_like(self._estimates)
        self._best = float(self._evaluate(origin)[0])
        self.centre, self._ahead = self._working(origin)
        self._error = float(np.linalg.norm(self._ahead))
        self._solved = {self.centre: _Solved(origin, 0.0)}

    @property
    def least(self) -> float:
        """The lowest difference met: below zero where a point is better than the fit."""
        return min(point.difference for point in self._solved.values())

    @property
    def done(self) -> list[float]:
        """The points that are solved."""
        return list(self._solved)

    def value(self, w: float) -> float:
        """The number on its natural scale."""
        return float(self._link(np.asarray(w)))

    def difference(self, w: float) -> float:
        """-2 log L_p at w, above that of the fit."""
        if w not in self._solved:
            self._solved[w] = self._solve(w)
            self._one_more()
        return self._solved[w].difference

    def end(self, side: float, cut: float) -> _End:
        """Where the profile meets the cut on one side: -1 below the estimate, 1 above it."""

        def beyond(w: float) -> float:  # nearly straight, so that its root takes few steps
            return np.sqrt(max(self.difference(w), 0.0)) - np.sqrt(cut)

        far = self.centre + side * np.sqrt(cut) * self._error * 1.6 ** np.arange(_FARTHEST)
        for w in far:
            if beyond(w) > 0:
                return _End(brentq(beyond, self.centre, w, xtol=1e-4 * self._error), True)
        return _End(far[-1], False)

    def _solve(self, w: float) -> _Solved:
        """The minimum of the loss where the number is w."""
        nearest = min(self._solved, key=lambda other: abs(other - w))
        start = self._solved[nearest].u + (w - nearest) * self._ahead / self._error**2
        held = {
            "type": "eq",
            "fun": lambda u: self._working(u)[0] - w,
            "jac": lambda u: self._working(u)[1],
        }
        options = {"ftol": 1e-9, "maxiter": 200}
        minimum = minimize(self._loss, start, jac=True, method="SLSQP", constraints=held, options=options)
        reached, along = self._working(minimum.x)
        slope = self._loss(minimum.x)[1]
        rest = slope - along * (slope @ along) / (along @ along)
        if abs(reached - w) > 1e-5 * self._error or np.max(np.abs(rest)) > 0.05:
            label = labels_of(self._fit.model, self._fit.fixed)[self._row]
            raise ValueError(
                f"the profile of {label} could not be followed to {self.value(w):.4g}, where the likelihood is rugged: "
                "ask for a lower level, or for the bootstrap."
            )
        return _Solved(minimum.x, 2.0 * float(minimum.fun))

    def _evaluate(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective at u, and its derivative in x."""
        fit = self._fit
        x = self._estimates + self._root @ u
        value, gradient, *_ = evaluate(self._objective, fit.space, x, self._batches)
        return float(value), np.asarray(gradient)

    def _loss(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        """How far the objective is below its value at the estimates, and the derivative in u."""
        value, gradient = self._evaluate(u)
        slope = -gradient @ self._root
        if not np.all(np.isfinite(slope)):
            return 1e10, np.zeros_like(u)
        return self._best - value, slope

    def _working(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        """The number on its unbounded scale, and its derivative in u."""
        x = self._estimates + self._root @ u
        values, slopes = numbers_and_slopes(self._fit.space, x)
        return float(values.working[self._row]), np.asarray(slopes.working[self._row]) @ self._root
