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
from scipy.stats import norm

from ..base.compiling import compiled
from ..fitting.about import likelihood_of
from ..fitting.result import Fit
from ..model.model import Model
from ..model.numbers import Entry, entries, numbers
from ..model.parameters import parameters
from ..model.space import coordinates, free_vector, log_prior, set_free
from .pairs import Pairs


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


def covariance(fit: Fit) -> Float[np.ndarray, "P P"]:
    """Inverse observed information in the free coordinates; ValueError where a fit has none."""
    likelihood_of(fit)  # which refuses where there is none
    return _inverse(fit, fit.information)


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


def _prior_information(fit: Fit) -> np.ndarray:
    prior = jax.hessian(lambda x: log_prior(set_free(fit.model, fit.fixed, x), fit.fixed))
    return -np.asarray(compiled(prior)(free_vector(fit.model, fit.fixed)))
