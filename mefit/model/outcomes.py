"""What a response can be beside a number that was measured: known only to lie in an interval, or an event in time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float


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
        remedy = "draw its time from the cumulative hazard, H(t) = -log(uniform), and simulate the other outcomes by"
        what = "An Event has its time in the data, so it cannot be simulated there"
        raise ValueError(f"{what}; {remedy} population.outcome(name).")


def plain(density: dist.Distribution) -> dist.Distribution:
    """The density of one row, without wrappers that only say its shape."""
    while isinstance(density, dist.Independent | dist.ExpandedDistribution):
        density = density.base_dist
    return density


def log_interval(density: dist.Distribution, lower: Array, upper: Array) -> Array:
    """log P(lower < y < upper) for each row, where one end may be infinite; accurate far out in a Gaussian's tails.

    ValueError for a density whose cumulative distribution function is not known.
    """
    density = plain(density)
    if isinstance(density, dist.LogNormal):
        floor = jnp.where(lower > 0, lower, 0.0)  # log of the ends, with a finite stand-in where there is none
        low = jnp.where(floor > 0, jnp.log(jnp.where(floor > 0, floor, 1.0)), -jnp.inf)
        return log_interval(dist.Normal(density.loc, density.scale), low, jnp.log(upper))
    if not isinstance(density, dist.Normal):
        try:
            below, above = (density.cdf(jnp.where(jnp.isfinite(x), x, 0.5)) for x in (lower, upper))
        except NotImplementedError as error:
            needs = f"Censored responses need a cumulative distribution function, which {type(density).__name__} does"
            remedy = "use a density that has one, such as Normal or LogNormal, or leave the responses missing"
            raise ValueError(f"{needs} not have; {remedy}.") from error
        return jnp.log(jnp.where(upper == jnp.inf, 1.0, above) - jnp.where(lower == -jnp.inf, 0.0, below))
    low_open, high_open = lower == -jnp.inf, upper == jnp.inf
    ends = ((low_open, lower), (high_open, upper))
    a, b = ((jnp.where(no_end, density.loc, x) - density.loc) / density.scale for no_end, x in ends)
    one_sided = low_open | high_open
    # both ends on the left, where the difference of two probabilities keeps its digits
    flip = (a + b > 0) & ~one_sided
    left, right = jnp.where(flip, -b, a), jnp.where(flip, -a, b)
    near = log_ndtr(jnp.where(one_sided, jnp.where(low_open, b, -a), right))
    gap = jnp.where(one_sided, -1.0, log_ndtr(jnp.where(one_sided, 0.0, left)) - near)
    return jnp.where(one_sided, near, near + jnp.log1p(-jnp.exp(gap)))


def log_observed(
    density: dist.Distribution, y: Array, mask: Array, censored: Array | None, limit: Array | None
) -> Float[Array, ""]:
    """log p of one outcome of one subject, summed over its observed rows: a density, or an interval's probability.

    Source for responses below the limit of quantification: Beal (2001), J. Pharmacokinet. Pharmacodyn. 28, method M3;
    with 0 as the interval's lower end, M4.
    """

    def mask_leaf(leaf: Any) -> Any:
        is_row_wise = jnp.ndim(leaf) == 1 and jnp.shape(leaf) == mask.shape and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.where(mask, leaf, 0.5) if is_row_wise else leaf

    density = jax.tree.map(mask_leaf, density)
    stand_in = y[jnp.argmax(mask)]
    if density.support is not dist.constraints.real:
        # a subject may lack one of several outcomes altogether: then any value inside the support does
        stand_in = jnp.where(jnp.any(mask), stand_in, jnp.mean(density.support.feasible_like(y)))
    y = jnp.where(mask, y, stand_in)
    if censored is None or limit is None:
        return jnp.sum(jnp.where(mask, density.log_prob(y), 0.0))
    cut = mask & (censored != 0)
    lower, upper = jnp.where(censored > 0, limit, y), jnp.where(censored > 0, y, limit)
    inside = log_interval(density, jnp.where(cut, lower, -jnp.inf), jnp.where(cut, upper, y))
    return jnp.sum(jnp.where(cut, inside, jnp.where(mask, density.log_prob(y), 0.0)))
