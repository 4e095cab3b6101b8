"""The unbounded scale of each number of the table, on which intervals are made."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpyro.distributions import biject_to, constraints
from scipy.special import ndtri

from .model import Model
from .numbers import Entry, entries
from .parameters import parameters


def link_of(model: Model, entry: Entry) -> Any:
    """The bijection from the real numbers to the domain of one number of the table."""
    if entry.kind == "sd":
        return biject_to(constraints.positive)
    if entry.kind == "correlation":
        return biject_to(constraints.open_interval(-1.0, 1.0))
    constraint = parameters(model)[entry.parameter].domain.constraint  # type: ignore[attr-defined]
    if constraint is constraints.simplex:  # one share of it
        constraint = constraints.open_interval(0.0, 1.0)
    return biject_to(constraint)


def intervals(
    model: Model, value: Float[np.ndarray, " E"], se: Float[np.ndarray, " E"], level: float | int
) -> Float[np.ndarray, "2 E"]:
    """The lower and upper ends of g(w -+ z se / g'(w)), with g the link of each number and g(w) its value.

    They keep to the domain: those of a positive number are above zero. NaN where the standard error is.
    """
    ends = np.full((2, len(value)), np.nan)
    z = ndtri(0.5 + 0.5 * level)
    for k, entry in enumerate(entries(model)):
        if not np.isfinite(se[k]):
            continue
        link = link_of(model, entry)
        working = float(link.inv(value[k]))
        slope = float(np.exp(link.log_abs_det_jacobian(working, value[k])))
        ends[:, k] = [float(link(working - z * se[k] / slope)), float(link(working + z * se[k] / slope))]
    return ends
