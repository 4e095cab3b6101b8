"""Probabilities of intervals, with all their digits where a difference of distribution functions would lose them."""

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
        flip = jnp.where(lower == -jnp.inf, False, (upper == jnp.inf) | (lower + upper > 2.0 * density.loc))
        mirrored = 2.0 * density.loc - upper
        upper = jnp.where(flip, 2.0 * density.loc - lower, upper)
        lower = jnp.where(flip, mirrored, lower)
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
