"""The profile likelihood of one number."""

import dataclasses

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize
from scipy.stats import chi2
from tqdm.auto import tqdm

from ..fitting.about import likelihood_of
from ..fitting.result import Fit
from ..model.numbers import entries
from ..model.space import free_vector
from ..objectives.evaluation import batches_of, evaluate
from .standard_errors import _link, _numbers, covariance


@dataclasses.dataclass(frozen=True)
class Profile:
    """The profile likelihood of one number: its interval, and the curve of -2 log L above its minimum.

    `curve` has columns value and difference, -2 [log L_p(value) - log L(estimate)]. Where the profile never climbs to
    the cut, `low` or `high` is the end of the number's domain, and a remark says so.
    """

    parameter: str
    estimate: float
    low: float
    high: float
    level: float
    curve: pd.DataFrame
    remarks: tuple[str, ...] = ()


def profile(fit: Fit, parameter: str, *, level: float = 0.95, points: int = 15, progress: bool = True) -> Profile:
    """Profile likelihood of one number of the table, such as "cl", "omega[ka]" or "corr(cl, v)", and its interval.

    L_p(value) is the maximum over all other parameters; the interval holds the values whose -2 log L_p lies less than
    the `level` quantile of chi-squared with one degree of freedom above the minimum. Each point is a maximisation
    under one constraint by SciPy's SLSQP, from its neighbour, through the program that the fit compiled.
    """
    objective, rows = likelihood_of(fit), entries(fit.model, fit.fixed)
    labels = [entry.label for entry in rows]
    if parameter not in labels:
        raise ValueError(f"{parameter!r} is not a number that this fit estimated: choose from {', '.join(labels)}.")
    row = labels.index(parameter)
    batches = batches_of(objective, fit.model, fit.population, fit.key)
    x, root = free_vector(fit.model, fit.fixed), np.linalg.cholesky(covariance(fit))
    link, origin = _link(fit.model, rows[row]), np.zeros_like(x)

    def loss(u):
        value, gradient, *_ = evaluate(objective, fit.space, x + root @ u, batches)
        slope = -np.asarray(gradient) @ root
        return (best - float(value), slope) if np.all(np.isfinite(slope)) else (1e10, origin)

    def working(u):
        _, w, _, slopes = _numbers(fit.model, fit.fixed, x + root @ u)
        return float(w[row]), np.asarray(slopes[row]) @ root

    best = float(evaluate(objective, fit.space, x, batches)[0])
    centre, ahead = working(origin)
    error, cut = float(np.linalg.norm(ahead)), float(chi2.ppf(level, 1))
    solved = {centre: (origin, 0.0)}

    def difference(w):
        if w not in solved:
            near = min(solved, key=lambda other: abs(other - w))
            held = {"type": "eq", "fun": lambda u: working(u)[0] - w, "jac": lambda u: working(u)[1]}
            about = {"constraints": held, "options": {"ftol": 1e-9, "maxiter": 200}}
            found = minimize(loss, solved[near][0] + (w - near) * ahead / error**2, jac=True, method="SLSQP", **about)
            (reached, along), slope = working(found.x), loss(found.x)[1]
            rest = slope - along * (slope @ along) / (along @ along)
            if abs(reached - w) > 1e-5 * error or np.max(np.abs(rest)) > 0.05:
                where = f"{float(link(w)):.4g}, where the likelihood is rugged"
                advice = "ask for a lower level, or for the bootstrap"
                raise ValueError(f"the profile of {parameter} could not be followed to {where}: {advice}.")
            solved[w] = (found.x, 2.0 * float(found.fun))
            bar.update()
        return solved[w][1]

    def beyond(w):  # nearly straight, so that its root takes few steps
        return np.sqrt(max(difference(w), 0.0)) - np.sqrt(cut)

    ends, edges, remarks = [], [], []
    with tqdm(desc=f"profile of {parameter}", disable=not progress, leave=False) as bar:
        for side in (-1.0, 1.0):
            far = centre + side * np.sqrt(cut) * error * 1.6 ** np.arange(7)
            outside = next((w for w in far if beyond(w) > 0), None)
            edges.append(far[-1] if outside is None else brentq(beyond, centre, outside, xtol=1e-4 * error))
            ends.append(side * np.inf if outside is None else edges[-1])
            if outside is None:
                what = f"the profile stays below the cut of {cut:.2f} as far as {float(link(far[-1])):.3g}"
                remarks.append(f"{what}: the data set no {'lower' if side < 0 else 'upper'} limit at this level.")
        sides = [np.linspace(centre, centre + 1.25 * (edge - centre), points // 2 + 1) for edge in edges]
        where = np.concatenate([sides[0][:0:-1], sides[1]])
        curve = {float(link(w)): difference(w) for w in sorted(where, key=lambda w: abs(w - centre))}
    if min(value for _, value in solved.values()) < -1e-3:
        remarks.append("a point of the profile is better than the fit: fit again from other starting values.")
    frame = pd.DataFrame(sorted(curve.items()), columns=["value", "difference"])
    estimate, low, high = (float(link(np.asarray(w))) for w in (centre, *ends))
    return Profile(parameter, estimate, low, high, level, frame, tuple(remarks))
