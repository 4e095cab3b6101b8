"""Probabilities of intervals, with all their digits where a difference of distribution functions would lose them."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array

_SYMMETRIC = (dist.StudentT, dist.Cauchy, dist.Laplace, dist.Logistic, dist.SoftLaplace)


def log_between(density: dist.Distribution, lower: Array, upper: Array) -> Array:
    """log P(lower < y <= upper) for each row, where one end may be infinite.

    A survival time has log S(lower) + log(1 - S(upper) / S(lower)), with its survival function S; a symmetric density
    is looked at from its left tail. ValueError for a density whose cumulative distribution function is not known.
    """
    if isinstance(density, dist.Exponential | dist.Weibull | dist.Gompertz):
        return _of_survival(density, lower, upper)
    if isinstance(density, _SYMMETRIC):
        return _of_symmetric(density, lower, upper)
    try:
        below = density.cdf(jnp.where(jnp.isfinite(lower), lower, 0.5))
        above = density.cdf(jnp.where(jnp.isfinite(upper), upper, 0.5))
    except NotImplementedError as error:
        raise ValueError(
            "Censored responses need a cumulative distribution function, which "
            f"{type(density).__name__} does not have; use a density that has one, such as Normal or LogNormal, "
            "or leave the responses missing."
        ) from error
    above = jnp.where(upper == jnp.inf, 1.0, above)
    below = jnp.where(lower == -jnp.inf, 0.0, below)
    return jnp.log(above - below)


def _of_symmetric(density: dist.Distribution, lower: Array, upper: Array) -> Array:
    """Mirrored where the interval lies to the right of the middle, and from the logarithm of the left tail."""
    flip = jnp.where(lower == -jnp.inf, False, (upper == jnp.inf) | (lower + upper > 2.0 * density.loc))
    left = jnp.where(flip, 2.0 * density.loc - upper, lower)
    right = jnp.where(flip, 2.0 * density.loc - lower, upper)
    open_ended = left == -jnp.inf
    whole = open_ended & (right == jnp.inf)
    near = _log_cdf(density, jnp.where(whole, density.loc, right))
    gap = _log_cdf(density, jnp.where(open_ended, density.loc, left)) - near
    log_p = near + jnp.where(open_ended, 0.0, jnp.log(-jnp.expm1(jnp.where(open_ended, -1.0, gap))))
    return jnp.where(whole, 0.0, log_p)


def _log_cdf(density: dist.Distribution, y: Array) -> Array:
    """log P(Y <= y), with its digits far out on the left."""
    z = (y - density.loc) / density.scale
    if isinstance(density, dist.Logistic):
        return jax.nn.log_sigmoid(z)
    if isinstance(density, dist.Laplace):
        tail = -jnp.log(2.0) - jnp.abs(z)
        return jnp.where(z < 0, tail, jnp.log1p(-jnp.exp(tail)))
    return jnp.log(density.cdf(y))


def _of_survival(density: dist.Distribution, lower: Array, upper: Array) -> Array:
    """From the integrated hazard H, S = exp(-H), which has all digits at both ends."""
    open_ended = upper == jnp.inf
    begin = cumulative_hazard(density, jnp.maximum(lower, 0.0))
    end = cumulative_hazard(density, jnp.where(open_ended, 1.0, jnp.maximum(upper, 0.0)))
    return jnp.where(open_ended, -begin, log_of_interval(begin, end))


def cumulative_hazard(density: dist.Distribution, t: Array) -> Array:
    """H(t) = -log S(t) of a survival time, at t >= 0."""
    if isinstance(density, dist.Exponential):
        return density.rate * t
    if isinstance(density, dist.Weibull):
        inside = jnp.where(t > 0, t, 1.0)  # a power at 0 has no derivative in its exponent
        return jnp.where(t > 0, (inside / density.scale) ** density.concentration, 0.0)
    return density.concentration * jnp.expm1(density.rate * t)


def log_of_interval(begin: Array, end: Array) -> Array:
    """log(exp(-begin) - exp(-end)): that an event falls between two times, by its integrated hazards there."""
    passed = end - begin
    some = jnp.where(passed > 0, passed, 1.0)
    return jnp.where(passed > 0, -begin + jnp.log(-jnp.expm1(-some)), -jnp.inf)
