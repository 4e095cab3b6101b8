"""Twice the logarithm of a likelihood ratio, of fits that hold each other."""

import dataclasses

import numpy as np
from jaxtyping import Float

from ..fitting.about import final_objective
from ..fitting.result import Fit

MISSED = -0.01  # a larger model that ends further below a smaller one has not found its maximum
_ROUNDING = 1e-9  # of the numbers that are subtracted; fits end no closer to their maxima


def twice_log_ratio(small: Float[np.ndarray, "*R"] | float, large: Float[np.ndarray, "*R"] | float) -> np.ndarray:
    """2 (log L_large - log L_small); 0 where that is no more than rounding.

    At a boundary zero is a value of its own, half of all statistics where the small model is right, and what rounding
    leaves of it would be taken for a gain.
    """
    ratio = 2.0 * np.subtract(large, small)
    size = 1.0 + np.abs(large) + np.abs(small)
    return np.where(np.abs(ratio) <= _ROUNDING * size, 0.0, ratio)


def ruler_of(fit: Fit) -> str:
    """What measured the likelihood of a fit: its objective, with the options that change the number."""
    objective = final_objective(fit.method)
    if objective is None:
        return fit.method.label
    told = []
    for field in dataclasses.fields(objective):
        value = getattr(objective, field.name)
        if not field.kw_only and isinstance(value, bool | int | float):
            told.append(f"{field.name}={value}")
    return f"{objective.label} ({', '.join(told)})" if told else objective.label
