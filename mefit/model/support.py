"""Which responses a density can give, and what is said of one that it cannot.

The densities of NumPyro do not ask: an exponential density is finite below zero, a truncated one beyond its ends.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions import constraints
from numpyro.distributions.distribution import validation_enabled

from .categorical import is_discrete, log_prob_of_grades, name_of
from .normals import unwrapped


def log_prob(density: dist.Distribution, y: Float[Array, " n"]) -> Float[Array, " n"]:
    """log p(y) of each row, for responses that the data hold as floating-point numbers.

    A discrete density is given integers, which NumPyro's categories need. Where a response is no whole number, or
    lies outside the support, it is minus infinity.
    """
    with validation_enabled(False):
        if _takes_everything(density):
            return density.log_prob(y)
        if not is_discrete(density):
            return jnp.where(_possible(density, y, closed=True), density.log_prob(y), -jnp.inf)
        whole = jnp.round(y).astype(int)
        possible = (whole == y) & _possible(density, whole, closed=True)
        inner = unwrapped(density)
        graded = isinstance(inner, dist.OrderedLogistic)
        log_p = log_prob_of_grades(inner, whole) if graded else density.log_prob(whole)
        return jnp.where(possible, log_p, -jnp.inf)


def _takes_everything(density: dist.Distribution) -> bool:
    if isinstance(density, dist.TransformedDistribution) and not _takes_everything(density.base_dist):
        return False
    return density.support is constraints.real


def _possible(density: dist.Distribution, y: Array, closed: bool) -> Any:
    """Can the density give y? With `closed`, also at the very end of its support, where a density may be finite."""
    if isinstance(density, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        return _possible(density.base_dist, y, closed)
    if isinstance(density, dist.MixtureSameFamily):
        return jnp.any(_possible(density.component_distribution, y[..., None], closed), axis=-1)
    if isinstance(density, dist.MixtureGeneral):
        parts = [_possible(part, y, closed) for part in density.component_distributions]
        return jnp.any(jnp.stack(jnp.broadcast_arrays(*parts)), axis=0)
    if isinstance(density, dist.TransformedDistribution):
        return _possible_behind(density, y, closed)
    return _within(density.support, y, closed)


def _possible_behind(density: dist.TransformedDistribution, y: Array, closed: bool) -> Any:
    """Has y come through the transforms from something that the density behind them can give?"""
    possible: Any = True
    for step in reversed(density.transforms):
        possible = possible & _within(step.codomain, y, closed=False)
        y = step.inv(y)
    return possible & _possible(density.base_dist, y, closed)


def _within(support: Any, y: Array, closed: bool) -> Any:
    lower = getattr(support, "lower_bound", None)
    upper = getattr(support, "upper_bound", jnp.inf)
    if lower is None or support.is_discrete:
        return support(y)
    if closed:
        return (y >= lower) & (y <= upper)
    return support(y) & (y < upper) & ((y > lower) | (upper == jnp.inf))


def impossible_response(density: dist.Distribution, y: Float[Array, " n"], observed: Any) -> tuple[int, str] | None:
    """The first observed row whose response a density cannot give, and what it can; None where all are fine.

    Of values, outside of a compiled program.
    """
    if _takes_everything(density):
        return None
    responses = np.asarray(y)
    shown = jnp.round(responses).astype(int) if is_discrete(density) else jnp.asarray(responses)
    inside = np.broadcast_to(np.asarray(_possible(density, shown, closed=False)), responses.shape)
    finite = np.isfinite(np.asarray(jnp.broadcast_to(log_prob(density, jnp.asarray(responses)), responses.shape)))
    wrong = np.flatnonzero(np.asarray(observed) & ~finite & ~(inside & (np.asarray(shown) == responses)))
    if not wrong.size:
        return None
    row = int(wrong[0])
    return row, f"{name_of(density)} takes {_in_words(density, responses.shape, row)}"


def _in_words(density: dist.Distribution, shape: tuple[int, ...], row: int) -> str:
    """The values that the support of a density holds for one row."""
    support: Any = density.support
    if support is constraints.boolean:
        return "0 or 1"
    whole = is_discrete(density)
    kind = "whole numbers" if whole else "numbers"
    low = _bound(support, "lower_bound", shape, row, whole)
    high = _bound(support, "upper_bound", shape, row, whole)
    if low and high:
        return f"{kind} from {low} to {high}" if whole else f"{kind} between {low} and {high}"
    if low:
        above = isinstance(support, constraints.greater_than) and not isinstance(support, constraints.greater_than_eq)
        return f"{kind} above {low}" if above else f"{kind} from {low} on"
    return f"{kind} up to {high}" if high else f"{kind} of its support"


def _bound(support: Any, name: str, shape: tuple[int, ...], row: int, whole: bool) -> str:
    """One end of a support in one row; empty where it has none."""
    if not hasattr(support, name):
        return ""
    ends = np.asarray(getattr(support, name), float)
    if ends.ndim > len(shape):  # of the components of a mixture
        ends = ends.min(axis=-1) if name == "lower_bound" else ends.max(axis=-1)
    end = float(np.broadcast_to(ends, shape)[row])
    return f"{end:.0f}" if whole else f"{end:g}"
