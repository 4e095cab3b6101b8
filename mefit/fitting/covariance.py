"""The covariance of the estimates of any fit, or the sentence that says why there is none."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..methods.choice import as_method
from ..objectives.evaluation import information
from ..objectives.information import inverse_information
from .fitted import Estimated


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
