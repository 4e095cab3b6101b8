"""The covariance of the estimates of any fit, or the sentence that says why there is none."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..methods.choice import as_method
from ..objectives.evaluation import batches_of, information, mean_loss
from ..objectives.information import inverse_information
from .fitted import Estimated

_AWAY = 0.1  # standard errors


class Covariance(NamedTuple):
    """Covariance of the free coordinates: NaN for what was not estimated, or everywhere, and then a
    `remark`."""

    matrix: Float[np.ndarray, "P P"]
    remark: str  # why there is none; empty where there is


def information_of(fit: Estimated) -> Float[np.ndarray, "P P"]:
    """Observed information at the estimates: minus the Hessian of log-likelihood plus log prior,
    free coordinates."""
    objective = as_method(fit.method, fit.population).likelihood_by
    return information(objective, fit.space, fit.population, fit.key)


def covariance_of(fit: Estimated) -> Covariance:
    """Inverse observed information of the coordinates that were estimated.

    Raises ValueError for a method whose objective is not a likelihood of theta.
    """
    if not fit.method.likelihood:
        raise ValueError(f"{fit.method.label} has no likelihood of theta, so it has no standard errors.")
    observed = information_of(fit)
    estimated = [i for i, status in enumerate(fit.status) if not status]
    block = np.ix_(estimated, estimated)
    labels = fit.space.labels
    matrix = np.full(observed.shape, np.nan)
    try:
        matrix[block] = inverse_information(observed[block], [labels[i] for i in estimated])
    except ValueError as error:
        if not fit.converged:
            return Covariance(matrix, "no standard errors: the fit has not converged, and this is not a maximum.")
        return Covariance(matrix, f"no standard errors: {error}")
    return Covariance(matrix, "")


def behind_the_maximum(fit: Estimated, matrix: Float[np.ndarray, "P P"]) -> str:
    """A sentence where SAEM, which sees no likelihood, stopped so many standard errors before its maximum; else empty.

    I^-1 g is the way there, with I^-1 the covariance `matrix` and g the gradient of the likelihood at the estimates.
    """
    estimated = np.flatnonzero(np.isfinite(np.diagonal(matrix)))
    if getattr(fit, "saem", None) is None or not fit.converged or not estimated.size:
        return ""
    objective = as_method(fit.method, fit.population).likelihood_by
    space = fit.space
    count = len(fit.population)
    batches = batches_of(objective, space.template, fit.population, fit.key)
    gradient = -count * mean_loss(objective, space, batches, count)(space.vector())[1][estimated]
    covariance = matrix[np.ix_(estimated, estimated)]
    away = np.abs(covariance @ gradient) / np.sqrt(np.diagonal(covariance))
    if not np.max(away) > _AWAY:
        return ""
    worst = space.labels[estimated[int(np.argmax(away))]]
    return (
        f"the maximum is {np.max(away):.1g} standard errors away in {worst}, by {objective.label}: EM is slow where "
        "the data say little; SAEM(polish=True) goes on until it is there."
    )
