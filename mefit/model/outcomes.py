"""What a response can be beside a number that was measured: known only to lie in an interval, or an event in time."""

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float

from .categorical import log_prob
from .rows import without_unseen_rows


class Event(dist.Distribution):
    """Whether an event ended the time up to each row, or was not seen by then (right-censored).

    log p(y) = y log h(t) - H(t), with the hazard h, its integral H from the start of watching to the row's time (or,
    for an event that can recur, from the row before), y = 1 for an event and 0 for none. Both are arrays (n,), h in
    1 / unit of time. `mean` is the probability of an event by then, 1 - exp(-H). There is nothing to draw: what is
    random is the time, and a row's time is given; solve H(t) = -log(uniform) for it.
    Source: Kalbfleisch and Prentice (2002), The Statistical Analysis of Failure Time Data, section 3.2.
    """

    arg_constraints = {"log_hazard": dist.constraints.real, "cumulative_hazard": dist.constraints.nonnegative}
    support = dist.constraints.boolean
    pytree_data_fields = ("log_hazard", "cumulative_hazard")

    def __init__(self, log_hazard: Any, cumulative_hazard: Any, *, validate_args: bool | None = None):
        self.log_hazard, self.cumulative_hazard = jnp.broadcast_arrays(log_hazard, cumulative_hazard)
        super().__init__(batch_shape=jnp.shape(self.log_hazard), validate_args=validate_args)

    def log_prob(self, value: Any) -> Array:
        return value * self.log_hazard - self.cumulative_hazard

    @property
    def mean(self) -> Array:
        return -jnp.expm1(-self.cumulative_hazard)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Refused: a row's time is given, and an event's time is what is random."""
        raise ValueError(
            "An Event has its time in the data, so it cannot be simulated there; draw its time from the cumulative "
            "hazard, H(t) = -log(uniform), and simulate the other outcomes by population.outcome(name)."
        )


def unwrapped(density: dist.Distribution) -> dist.Distribution:
    """The density of one row, without wrappers that only say its shape."""
    while isinstance(density, dist.Independent | dist.ExpandedDistribution):
        density = density.base_dist
    return density


def log_interval(density: dist.Distribution, lower: Array, upper: Array) -> Array:
    """log P(lower < y < upper) for each row, where one end may be infinite.

    It is accurate far out in a Gaussian's tails. ValueError for a density whose cumulative distribution function is
    not known.
    """
    density = unwrapped(density)
    if isinstance(density, dist.LogNormal):
        floor = jnp.where(lower > 0, lower, 0.0)  # log of the ends, with a finite stand-in where there is none
        low = jnp.where(floor > 0, jnp.log(jnp.where(floor > 0, floor, 1.0)), -jnp.inf)
        return _log_gaussian_interval(dist.Normal(density.loc, density.scale), low, jnp.log(upper))
    if isinstance(density, dist.Normal):
        return _log_gaussian_interval(density, lower, upper)
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


def _log_gaussian_interval(density: dist.Normal, lower: Array, upper: Array) -> Array:
    """log P(lower < y < upper) of a Gaussian, from the logarithm of its distribution function."""
    low_open = lower == -jnp.inf
    high_open = upper == jnp.inf
    one_sided = low_open | high_open
    a = (jnp.where(low_open, density.loc, lower) - density.loc) / density.scale
    b = (jnp.where(high_open, density.loc, upper) - density.loc) / density.scale
    # both ends on the left, where the difference of two probabilities keeps its digits
    flip = (a + b > 0) & ~one_sided
    left = jnp.where(flip, -b, a)
    right = jnp.where(flip, -a, b)
    near = log_ndtr(jnp.where(one_sided, jnp.where(low_open, b, -a), right))
    gap = jnp.where(one_sided, -1.0, log_ndtr(jnp.where(one_sided, 0.0, left)) - near)
    return jnp.where(one_sided, near, near + jnp.log1p(-jnp.exp(gap)))


def log_observed(
    density: dist.Distribution,
    y: Array,
    mask: Array,
    censored: Array | None,
    limit: Array | None,
) -> Float[Array, ""]:
    """log p of one outcome of one subject, summed over its observed rows: a density, or an interval's probability.

    Source for responses below the limit of quantification: Beal (2001), J. Pharmacokinet. Pharmacodyn. 28, method M3;
    with 0 as the interval's lower end, M4.
    """
    density = without_unseen_rows(density, mask)
    stand_in = y[jnp.argmax(mask)]
    if density.support is not dist.constraints.real:
        # a subject may lack one of several outcomes altogether: then any value inside the support does
        inside = jnp.mean(density.support.feasible_like(y))
        stand_in = jnp.where(jnp.any(mask), stand_in, inside)
    y = jnp.where(mask, y, stand_in)
    if censored is None or limit is None:
        return jnp.sum(jnp.where(mask, log_prob(density, y), 0.0))
    cut = mask & (censored != 0)
    lower = jnp.where(censored > 0, limit, y)
    upper = jnp.where(censored > 0, y, limit)
    inside = log_interval(density, jnp.where(cut, lower, -jnp.inf), jnp.where(cut, upper, y))
    return jnp.sum(jnp.where(cut, inside, jnp.where(mask, log_prob(density, y), 0.0)))
