"""How sure is a fit? Standard errors in three ways, and the profile likelihood.

Every function takes a `Fit` of a method that ends at a maximum of a likelihood of theta. All work
in the free coordinates x, where nothing is bounded. Intervals keep to the domain of each number:
they are made on an unbounded scale of its own (the logarithm of a positive number, a logit of a
correlation) and carried back.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from scipy.special import ndtri

from ..base.asked import require_share
from ..base.chance import require_key
from ..base.compiling import compiled
from ..fitting.about import likelihood_of
from ..fitting.covariance import information_of
from ..fitting.result import Fit
from ..model.links import link_of
from ..model.numbers import entries, numbers
from ..model.space import Space
from ..objectives import mixture
from ..objectives.information import inverse_information
from ..objectives.objective import Objective
from .pairs import Pairs


@dataclasses.dataclass(frozen=True)
class Uncertainty:
    """What one way of measuring uncertainty says.

    - `table`: a row for each number estimated: estimate, unit, se, rse (in percent), and its interval, low and high.
    - `covariance`: of the same numbers.
    - `draws`: a row for each bootstrap replicate or resampled vector; None for other ways.
    - `remarks`: what to heed. `details`: numbers about the computation.
    """

    method: str
    table: pd.DataFrame
    covariance: pd.DataFrame  # of the same numbers
    draws: pd.DataFrame | None = None  # a row for each bootstrap replicate or resampled vector
    remarks: tuple[str, ...] = ()  # what to heed
    # Numbers about the computation
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join([self.method, self.table.to_string(float_format="{:.4g}".format), *self.remarks])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{remark}</p>" for remark in self.remarks)
        return f"<b>{self.method}</b>{self.table.to_html(float_format='{:.4g}'.format)}{notes}"


def observed_information(fit: Fit, *, by: Objective | None = None, level: float | int = 0.95) -> Uncertainty:
    """Standard errors from A^-1, A = minus the Hessian of the objective at the estimates: right
    where the model is.

    `by` is the likelihood that is derived, the fit's own unless given: one with more draws, say, or
    `mf.AGQ(9)` at the estimates of another method. Of a fit by `Amortised` it is importance
    sampling with the encoder's draws, the same for every theta, derived by automatic
    differentiation. The bound itself is refused: with q held still its curvature is that of data
    with the random effects seen, and intervals by it are far too short.

        mf.observed_information(fit).table
    """
    require_share(level)
    return wald(fit, "Observed information", covariance(_seen_by(fit, by)), level)


def cross_products(fit: Fit, *, level: float | int = 0.95) -> Uncertainty:
    """Standard errors from B^-1, B = sum_i s_i s_i', s_i the score of subject i; a prior adds its
    own curvature.

    Estimates the same matrix as the observed information where the model is right and subjects are
    many.
    Source: Berndt, Hall, Hall and Hausman (1974), Ann. Econ. Soc. Meas. 3.

        mf.cross_products(fit).table
    """
    require_share(level)
    scores = subject_scores(fit)
    information = scores.T @ scores + _prior_information(fit)
    labels = fit.space.labels
    try:
        inverse = inverse_information(information, labels)
    except ValueError as error:
        if len(scores) > len(labels):
            raise
        raise ValueError(
            f"cross-products of the scores of {len(scores)} subjects cannot tell {len(labels)} parameters apart, "
            "which takes more subjects than parameters: use mf.observed_information."
        ) from error
    return wald(fit, "Cross-products of scores", inverse, level)


def sandwich(fit: Fit, *, by: Objective | None = None, level: float | int = 0.95) -> Uncertainty:
    """Standard errors from A^-1 B A^-1, which hold for many subjects even where the model's
    densities are wrong.

    They are then the errors around the parameters that come closest to the truth in
    Kullback-Leibler divergence. With no more subjects than parameters they are too small, and a
    remark says so. `by` is the likelihood that is derived, as in `observed_information`. ValueError
    for a single subject, whose score is zero at its own estimates.
    Source: White (1982), Maximum likelihood estimation of misspecified models, Econometrica 50.

        mf.sandwich(fit).table
    """
    require_share(level)
    refuse_one_subject(fit, "its score is zero at its own estimates, and the sandwich would be zero everywhere")
    fit = _seen_by(fit, by)
    bread = covariance(fit)
    scores = subject_scores(fit)
    found = wald(fit, "Sandwich", bread @ (scores.T @ scores) @ bread, level)
    count = len(scores)
    parameters = len(fit.space.labels)
    if count > parameters:
        return found
    remark = (
        f"{count} subjects for {parameters} parameters: the scores sum to zero, so a combination of parameters looks "
        "certain that is not, and these errors are too small."
    )
    return dataclasses.replace(found, remarks=(*found.remarks, remark))


def _seen_by(fit: Fit, by: Objective | None) -> Fit:
    """The fit as if this objective had made it."""
    if by is None:
        return fit
    if by.random:
        require_key(fit.key, by.label)
    mixture.check(by.reported, fit.model, fit.population)
    return dataclasses.replace(fit, method=by)


def refuse_one_subject(fit: Fit, why: str) -> None:
    """Raise ValueError for a fit of a single subject, for what measures how subjects differ."""
    if len(fit.population) == 1:
        raise ValueError(f"there is one subject, and {why}: take several subjects, or mf.observed_information.")


def subject_scores(fit: Fit) -> Float[np.ndarray, "N P"]:
    """Derivative of each subject's log-likelihood in the free coordinates; without a prior the rows
    sum to zero.

        mf.subject_scores(fit).sum(axis=0)  # next to zero: a fit is a stationary point
    """
    every = np.arange(len(fit.population))
    estimates = fit.space.vector()[None]
    return Pairs(fit)(estimates, np.zeros_like(every), every).score


def covariance(fit: Fit) -> Float[np.ndarray, "P P"]:
    """Inverse observed information in the free coordinates; ValueError, with the reason, where a
    fit has none."""
    likelihood_of(fit)
    return inverse_information(information_of(fit), fit.space.labels)


# ---------------------------------------------------------------- the numbers of the table, and their unbounded scales


class LinkedNumbers(NamedTuple):
    """The estimated numbers of the table, or their derivatives in the free coordinates (E, P)."""

    natural: Float[Array, "E ..."]
    working: Float[Array, "E ..."]  # on the unbounded scale of each


def _linked(space: Space, x: Array) -> LinkedNumbers:
    values = numbers(space.at(x), space.fixed)
    links = [link_of(space.template, entry) for entry in entries(space.template, space.fixed)]
    working = [link.inv(value) for link, value in zip(links, values, strict=True)]
    return LinkedNumbers(values, jnp.stack(working))


@compiled
def numbers_and_slopes(space: Space, x: Array) -> tuple[LinkedNumbers, LinkedNumbers]:
    """The estimated numbers of the table on both scales at x (P,), and their derivatives."""
    return _linked(space, x), jax.jacfwd(lambda x: _linked(space, x))(x)


@compiled
def natural(space: Space, x: Array) -> Array:
    """The estimated numbers of the table at each x (R, P)."""
    return jax.vmap(lambda x: numbers(space.at(x), space.fixed))(x)


def wald(fit: Fit, method: str, covariance: np.ndarray, level: float | int) -> Uncertainty:
    """Standard errors by the delta method; intervals on the unbounded scales, carried back."""
    values, slopes = numbers_and_slopes(fit.space, fit.space.vector())
    links = [link_of(fit.model, entry) for entry in entries(fit.model, fit.fixed)]

    def carried_back(working: np.ndarray) -> np.ndarray:
        return np.array([float(link(value)) for link, value in zip(links, working, strict=True)])

    variance = np.einsum("ep,pq,eq->e", slopes.working, covariance, slopes.working)
    half = ndtri(0.5 + 0.5 * level) * np.sqrt(variance)
    slope = np.asarray(slopes.natural)
    working = np.asarray(values.working)
    return tabulate(
        fit,
        method,
        estimate=np.asarray(values.natural),
        covariance=slope @ covariance @ slope.T,
        low=carried_back(working - half),
        high=carried_back(working + half),
    )


def tabulate(
    fit: Fit,
    method: str,
    *,
    estimate: Float[np.ndarray, " E"],
    covariance: Float[np.ndarray, "E E"],
    low: Float[np.ndarray, " E"],
    high: Float[np.ndarray, " E"],
    **facts: Any,
) -> Uncertainty:
    """The result, from the estimates, their covariance and their intervals; `facts` are its other
    fields."""
    rows = entries(fit.model, fit.fixed)
    labels = pd.Index([entry.label for entry in rows], name="parameter")
    se = np.sqrt(np.diagonal(covariance))
    with np.errstate(divide="ignore"):
        rse = 100 * se / np.abs(estimate)
    columns = {"estimate": estimate, "unit": [entry.unit for entry in rows], "se": se, "rse": rse}
    table = pd.DataFrame(columns | {"low": low, "high": high}, index=labels)
    return Uncertainty(method, table, pd.DataFrame(covariance, labels, labels), **facts)


def _prior_information(fit: Fit) -> Float[np.ndarray, "P P"]:
    """Minus the Hessian of the log prior in the free coordinates."""
    return -np.asarray(prior_hessian(fit.space, fit.space.vector()))


@compiled
def prior_hessian(space: Space, x: Array) -> Array:
    """The Hessian (P, P) of the log prior in the free coordinates."""
    return jax.hessian(space.log_prior)(x)
