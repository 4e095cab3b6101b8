"""How sure is a fit? Standard errors in three ways, and the profile likelihood.

Every function takes a `Fit` of a method that maximises a likelihood of theta (of SAEM, its `marginal`), and works in
the free coordinates x, where nothing is bounded. Intervals keep to the domain of each number: they are made on an
unbounded scale of its own (the logarithm of a positive number, a logit of a correlation) and carried back.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from numpyro.distributions import biject_to, constraints
from scipy.optimize import brentq, minimize
from scipy.stats import chi2, norm
from tqdm.auto import tqdm

from .compiling import compiled
from .fit import Fit
from .method import Problem
from .model import Model
from .objective import Objective, evaluate
from .parameters import coordinates, free_vector, has_prior, log_prior, parameters, set_free
from .report import Entry, entries, numbers

_PAIRS = 64  # (theta, subject) pairs evaluated at once: measured fastest, 27 microseconds a pair by Laplace
_BLOCKS = 32  # and so many times in one call of the program, at most


@dataclasses.dataclass(frozen=True)
class Uncertainty:
    """What one way of measuring uncertainty says.

    `table` has a row for each number of the fit's table that was estimated: estimate, unit, se, rse (in percent), and
    the interval from low to high. `covariance` is that of the same numbers. `draws` holds one row for each bootstrap
    replicate or resampled vector, else None. `details` are numbers about the computation; `remarks` say what to heed.
    """

    method: str
    table: pd.DataFrame
    covariance: pd.DataFrame
    draws: pd.DataFrame | None = None
    remarks: tuple[str, ...] = ()
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join([self.method, self.table.to_string(float_format="{:.4g}".format), *self.remarks])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{remark}</p>" for remark in self.remarks)
        return f"<b>{self.method}</b>{self.table.to_html(float_format='{:.4g}'.format)}{notes}"


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


def observed_information(fit: Fit, *, level: float = 0.95) -> Uncertainty:
    """Standard errors from A^-1, A = minus the Hessian of the objective at the estimates: right where the model is."""
    return _wald(fit, "Observed information", covariance(fit), level)


def cross_products(fit: Fit, *, level: float = 0.95) -> Uncertainty:
    """Standard errors from B^-1, B = sum_i s_i s_i', s_i the score of subject i; a prior adds its own curvature.

    Estimates the same matrix as the observed information where the model is right and subjects are many.
    Source: Berndt, Hall, Hall and Hausman (1974), Ann. Econ. Soc. Meas. 3.
    """
    scores = subject_scores(fit)
    return _wald(fit, "Cross-products of scores", _inverse(fit, scores.T @ scores + _prior_information(fit)), level)


def sandwich(fit: Fit, *, level: float = 0.95) -> Uncertainty:
    """Standard errors from A^-1 B A^-1, which hold for many subjects even where the model's densities are wrong.

    They are then the errors around the parameters that come closest to the truth in Kullback-Leibler divergence.
    Source: White (1982), Maximum likelihood estimation of misspecified models, Econometrica 50.
    """
    bread, scores = covariance(fit), subject_scores(fit)
    return _wald(fit, "Sandwich", bread @ (scores.T @ scores) @ bread, level)


def subject_scores(fit: Fit) -> Float[np.ndarray, "N P"]:
    """Derivative of each subject's log-likelihood in the free coordinates; without a prior the rows sum to zero."""
    every = np.arange(len(fit.population))
    return Pairs(fit)(free_vector(fit.model, fit.fixed)[None], np.zeros_like(every), every)[1]


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
    row, batches = labels.index(parameter), objective.batches(fit.model, fit.population, fit.key)
    x, root = free_vector(fit.model, fit.fixed), np.linalg.cholesky(covariance(fit))
    link, origin = _link(fit.model, rows[row]), np.zeros_like(x)

    def loss(u):
        value, gradient, *_ = evaluate(objective, fit.model, fit.fixed, x + root @ u, batches)
        slope = -np.asarray(gradient) @ root
        return (best - float(value), slope) if np.all(np.isfinite(slope)) else (1e10, origin)

    def working(u):
        _, w, _, slopes = _numbers(fit.model, fit.fixed, x + root @ u)
        return float(w[row]), np.asarray(slopes[row]) @ root

    best = float(evaluate(objective, fit.model, fit.fixed, x, batches)[0])
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


def likelihood_of(fit: Fit) -> Objective:
    """The objective of a fit at an inner maximum of a likelihood; ValueError, with the reason, for any other."""
    objective = getattr(fit.method, "marginal", fit.method)
    if not (isinstance(objective, Objective) and objective.likelihood):
        what = f"{fit.method.label} maximises no likelihood of theta, so its uncertainty cannot be had this way"
        raise ValueError(f"{what}: fit again from fit.model by Laplace, AGQ or FOCE.")
    if not fit.converged:
        raise ValueError(f"the fit has not converged ({fit.message}): its uncertainty means nothing until it has.")
    for coordinate, status in zip(coordinates(fit.model, fit.fixed), fit.status, strict=True):
        if status:
            what = f"{coordinate.label} is {status}, where standard errors and their relatives do not hold"
            raise ValueError(f"{what}: leave it out of the model, or fit again with fixed=({coordinate.parameter!r},).")
    if not fit.status:
        raise ValueError("every parameter was held fixed, so there is no uncertainty to measure.")
    return objective


def covariance(fit: Fit) -> Float[np.ndarray, "P P"]:
    """Inverse observed information in the free coordinates; ValueError where a fit has none."""
    problem = Problem(fit.model, fit.population, fit.key, fit.fixed)
    return _inverse(fit, likelihood_of(fit).information(problem, fit.model))


def _inverse(fit: Fit, information: np.ndarray) -> np.ndarray:
    """The inverse; ValueError, naming the parameters, where the data do not tell them apart."""
    scale = np.sqrt(np.abs(np.diagonal(information)))
    scale = np.where(scale > 0, scale, 1.0)
    strength, axes = np.linalg.eigh(np.nan_to_num(information / np.outer(scale, scale)))
    if not strength[0] > 1e-7:
        labels = np.array([c.label for c in coordinates(fit.model, fit.fixed)])
        what = f"the likelihood hardly changes as {', '.join(labels[np.abs(axes[:, 0]) > 0.3])} move together"
        advice = "fix one of them, simplify the model, or give a prior"
        raise ValueError(f"not identified: {what}, so their covariance does not exist; {advice}.")
    return (axes / strength) @ axes.T / np.outer(scale, scale)


def _link(model: Model, entry: Entry) -> Any:
    """The bijection from the real numbers to the domain of one number of the table."""
    if entry.kind != "value":
        return biject_to(constraints.positive if entry.kind == "sd" else constraints.open_interval(-1.0, 1.0))
    constraint = parameters(model)[entry.parameter].domain.constraint  # type: ignore[attr-defined]
    return biject_to(constraints.open_interval(0.0, 1.0) if constraint is constraints.simplex else constraint)


def _both(template: Model, fixed: tuple[str, ...], x: Array) -> tuple[Array, Array]:
    """The estimated numbers of the table, on the natural scale and on an unbounded one."""
    values = numbers(set_free(template, fixed, x), fixed)
    links = [_link(template, entry) for entry in entries(template, fixed)]
    return values, jnp.stack([link.inv(value) for link, value in zip(links, values, strict=True)])


@compiled
def _numbers(template: Model, fixed: tuple[str, ...], x: Array) -> tuple[Array, Array, Array, Array]:
    """Both of `_both`, and their derivatives."""
    return (*_both(template, fixed, x), *jax.jacfwd(lambda x: _both(template, fixed, x))(x))


@compiled
def natural(template: Model, fixed: tuple[str, ...], x: Array) -> Array:
    """The estimated numbers of the table at each x (R, P)."""
    return jax.vmap(lambda x: numbers(set_free(template, fixed, x), fixed))(x)


def _wald(fit: Fit, method: str, covariance: np.ndarray, level: float) -> Uncertainty:
    estimate, working, slope, working_slope = _numbers(fit.model, fit.fixed, free_vector(fit.model, fit.fixed))
    natural = np.asarray(slope) @ covariance @ np.asarray(slope).T
    half = norm.ppf(0.5 + 0.5 * level) * np.sqrt(np.einsum("ep,pq,eq->e", working_slope, covariance, working_slope))
    links = [_link(fit.model, entry) for entry in entries(fit.model, fit.fixed)]
    low, high = ([float(t(w)) for t, w in zip(links, working + s * half, strict=True)] for s in (-1.0, 1.0))
    return tabulate(fit, method, np.asarray(estimate), natural, low, high)


def tabulate(fit: Fit, method: str, estimate: Any, covariance: Any, low: Any, high: Any, **facts: Any) -> Uncertainty:
    """The result, from the estimates, their covariance and their intervals."""
    rows, se = entries(fit.model, fit.fixed), np.sqrt(np.diagonal(covariance))
    labels = pd.Index([entry.label for entry in rows], name="parameter")
    with np.errstate(divide="ignore"):
        columns = {"estimate": estimate, "unit": [e.unit for e in rows], "se": se, "rse": 100 * se / np.abs(estimate)}
    table = pd.DataFrame(columns | {"low": low, "high": high}, index=labels)
    return Uncertainty(method, table, pd.DataFrame(covariance, labels, labels), **facts)


@compiled
def _pair_scores(about: tuple[Any, ...], blocks: Array, x: Array, subject: Array, data: Any) -> tuple[Array, Array]:
    """Value and score of pairs, a vector of free coordinates and the number of a subject, block after block."""
    (objective, template, fixed), size = about, x.shape[0] // _BLOCKS

    def one(x, data):
        return objective.subject(set_free(template, fixed, x), *data).value

    def block(k, found):
        at, i = (jax.lax.dynamic_slice_in_dim(a, k * size, size) for a in (x, subject))
        part = jax.vmap(jax.value_and_grad(one))(at, jax.tree.map(lambda leaf: leaf[i], data))
        return tuple(jax.lax.dynamic_update_slice_in_dim(a, p, k * size, 0) for a, p in zip(found, part, strict=True))

    return jax.lax.fori_loop(0, blocks, block, (jnp.zeros(len(x)), jnp.zeros(x.shape)))


@compiled
def _priors(template: Model, fixed: tuple[str, ...], x: Array) -> tuple[Array, Array]:
    return jax.vmap(jax.value_and_grad(lambda x: log_prior(set_free(template, fixed, x), fixed)))(x)


def _prior_information(fit: Fit) -> np.ndarray:
    prior = jax.hessian(lambda x: log_prior(set_free(fit.model, fit.fixed, x), fit.fixed))
    return -np.asarray(jax.jit(prior)(free_vector(fit.model, fit.fixed)))


class Pairs:
    """Values and scores for any pairs of theta and subject, through one program of fixed size."""

    def __init__(self, fit: Fit):
        self.fit = fit
        self.objective = likelihood_of(fit)
        self.prior = has_prior(fit.model, fit.fixed)
        self.data = (fit.population.subjects, self.objective.extras(fit.model, fit.population, fit.key))
        self.size = max(1, _PAIRS // max(1, self.objective.evaluations(fit.model) // 2000))

    def __call__(self, x: np.ndarray, which: np.ndarray, subject: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value (M,) and score (M, P) of the pairs (x[which], subject)."""
        found, most = [], self.size * _BLOCKS
        for begin in range(0, len(which), most):
            count = min(most, len(which) - begin)
            some = begin + np.minimum(np.arange(most), count - 1)  # filled up with the last pair
            about, blocks = (self.objective, self.fit.model, self.fit.fixed), np.asarray(-(-count // self.size))
            both = _pair_scores(about, blocks, x[which[some]], subject[some], self.data)
            found.append([np.asarray(part)[:count] for part in both])
        values, scores = map(np.concatenate, zip(*found, strict=True))
        return values, scores

    def total(self, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the weighted objective (R,) and its gradient (R, P) at x (R, P)."""
        which, subject = np.nonzero(weights)  # a subject of weight zero costs nothing
        (value, score), weight = self(x, which, subject), weights[which, subject]
        total, slope = np.zeros(len(x)), np.zeros(x.shape)
        np.add.at(total, which, -weight * value)
        np.add.at(slope, which, -weight[:, None] * score)
        if self.prior:
            prior, prior_slope = _priors(self.fit.model, self.fit.fixed, x)
            total, slope = total - np.asarray(prior), slope - np.asarray(prior_slope)
        return total, slope
