"""What a response can be beside a number that was measured: known only to lie in an interval, or an event in time."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Bool, Float

from .moments import mean_of
from .normals import NormalRows, correlated_rows, normal_rows, unwrapped
from .rows import without_unseen_rows
from .support import log_prob
from .tails import log_between, log_of_interval


class Event(dist.Distribution):
    """Whether an event ended the time up to each row, or was not seen by then (right-censored).

    With the hazard h and its integral H, both arrays (n,), h in 1 / unit of time, a response y is
    - 0 for no event by the row's time: log p = -H;
    - 1 for an event at the row's time: log p = log h - H;
    - 2 for an event at an unknown time before (interval-censored, found at a visit): log p = log(1 - exp(-H)).

    H counts from the row before, from the start of watching in the first: `jnp.diff(h_cumulative, prepend=0.0)`, given
    the integral from the start. Then a subject with y = 0 at a time l and y = 2 at u has S(l) - S(u), S = exp(-H), and
    an event may recur. Where a subject has one row only, both integrals are the same. `mean` is the probability of an
    event by then, 1 - exp(-H). There is nothing to draw: what is random is the time, and a row's time is given; solve
    H(t) = -log(uniform) for it. A response that is itself a time, of a `Weibull` say, is interval-censored by CENS and
    LIMIT instead.
    Source: Kalbfleisch and Prentice (2002), The Statistical Analysis of Failure Time Data, section 3.2.

        rate = 0.1 * jnp.exp(eta[0])
        density = mf.Event(jnp.log(rate), rate * jnp.diff(subject.time, prepend=0.0))
    """

    arg_constraints = {"log_hazard": dist.constraints.real, "cumulative_hazard": dist.constraints.nonnegative}
    support = dist.constraints.integer_interval(0, 2)
    pytree_data_fields = ("log_hazard", "cumulative_hazard")

    def __init__(self, log_hazard: Any, cumulative_hazard: Any, *, validate_args: bool | None = None):
        self.log_hazard, self.cumulative_hazard = jnp.broadcast_arrays(log_hazard, cumulative_hazard)
        super().__init__(batch_shape=jnp.shape(self.log_hazard), validate_args=validate_args)

    def log_prob(self, value: Any) -> Array:
        seen = jnp.where(value == 1, self.log_hazard, 0.0) - self.cumulative_hazard
        return jnp.where(value == 2, log_of_interval(jnp.zeros(()), self.cumulative_hazard), seen)

    @property
    def mean(self) -> Array:
        return -jnp.expm1(-self.cumulative_hazard)

    @property
    def variance(self) -> Array:
        """Refused: 0, 1 and 2 are codes."""
        raise ValueError(
            "the codes 0, 1 and 2 of an Event have no variance, and so no residuals: look at the probabilities that "
            "mf.landmark gives, or take another outcome by fit.outcome(name)."
        )

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Refused: a row's time is given, and an event's time is what is random."""
        raise ValueError(
            "An Event has its time in the data, so it cannot be simulated there; draw its time from the cumulative "
            "hazard, H(t) = -log(uniform), and simulate the other outcomes by population.outcome(name)."
        )


def is_event(density: dist.Distribution) -> bool:
    """Is a density, however wrapped, that of an `Event`?"""
    return isinstance(unwrapped(density), Event)


class CertainRows(NamedTuple):
    """Rows that leave nothing to chance, the value that they take then, and the scale of every row."""

    certain: Bool[Array, " n"]
    value: Float[Array, " n"]
    scale: Float[Array, " n"]


def certain_rows(density: dist.Distribution, shape: tuple[int, ...]) -> CertainRows:
    """Which rows leave nothing to chance, their scale being 0, and the value that they take then.

    So does a proportional error where the prediction is 0; and a log-normal density of a prediction of 0, whose
    logarithm is minus infinity.
    """
    if density.event_shape:  # Gaussian, of all rows together
        return CertainRows(jnp.zeros(shape, bool), mean_of(density, "observations"), jnp.ones(shape))
    normal = normal_rows(density)
    inner = unwrapped(density)
    loc: Any = jnp.zeros(())
    scale: Any = jnp.ones(())  # of a density without one
    if normal is not None:
        loc = normal.loc
        scale = normal.scale
    elif set(inner.reparametrized_params) >= {"loc", "scale"}:
        loc = inner.loc
        scale = inner.scale
    loc = jnp.broadcast_to(loc, shape)
    scale = jnp.broadcast_to(scale, shape)
    value = loc if normal is None or normal.curve is None else normal.curve(loc)
    return CertainRows((scale == 0) | (loc == -jnp.inf), value, scale)


def log_interval(density: dist.Distribution, lower: Array, upper: Array) -> Array:
    """log P(lower < y < upper) for each row, where one end may be infinite.

    It is accurate far out in a Gaussian's tails, and in the upper tail of survival times. Where nothing is left to
    chance, it is 0 or minus infinity. ValueError for a density whose cumulative distribution function is not known.
    """
    certain, value, _ = certain_rows(density, lower.shape)
    inside = jnp.where((lower <= value) & (value <= upper), 0.0, -jnp.inf)
    density = without_unseen_rows(density, ~certain)
    normal = normal_rows(density)
    if normal is None:
        return jnp.where(certain, inside, log_between(unwrapped(density), lower, upper))
    return jnp.where(certain, inside, _log_gaussian_interval(normal, normal.bound(lower), normal.bound(upper)))


def _log_gaussian_interval(normal: NormalRows, lower: Array, upper: Array) -> Array:
    """log P(lower < w < upper) of a Gaussian, from the logarithm of its distribution function."""
    low_open = lower == -jnp.inf
    high_open = upper == jnp.inf
    one_sided = low_open | high_open
    a = (jnp.where(low_open, normal.loc, lower) - normal.loc) / normal.scale
    b = (jnp.where(high_open, normal.loc, upper) - normal.loc) / normal.scale
    # both ends on the left, where the difference of two probabilities keeps its digits
    flip = (a + b > 0) & ~one_sided
    left = jnp.where(flip, -b, a)
    right = jnp.where(flip, -a, b)
    near = log_ndtr(jnp.where(one_sided, jnp.where(low_open, b, -a), right))
    gap = jnp.where(one_sided, -1.0, log_ndtr(jnp.where(one_sided, 0.0, left)) - near)
    log_p = jnp.where(one_sided, near, near + jnp.log1p(-jnp.exp(gap)))
    empty = (upper == -jnp.inf) | (lower == jnp.inf)  # beyond the end of what a log-normal response can be
    return jnp.where(empty, -jnp.inf, jnp.where(low_open & high_open, 0.0, log_p))


def log_observed(
    density: dist.Distribution,
    y: Array,
    mask: Array,
    censored: Array | None,
    limit: Array | None,
) -> Float[Array, ""]:
    """log p of one outcome of one subject, summed over its observed rows."""
    correlated = correlated_rows(density)
    if correlated is None:
        return jnp.sum(log_observed_rows(density, y, mask, censored, limit))
    if censored is not None:
        raise ValueError(
            f"{type(density).__name__} makes rows depend on each other, and censored responses need rows that are "
            "independent given the random effects: give each row a density of its own."
        )
    return correlated.log_prob(y, mask)


def log_observed_rows(
    density: dist.Distribution,
    y: Array,
    mask: Array,
    censored: Array | None,
    limit: Array | None,
) -> Float[Array, " n"]:
    """log p of each row, 0 where nothing was observed: a density, or an interval's probability.

    Source for responses below the limit of quantification: Beal (2001), J. Pharmacokinet. Pharmacodyn. 28, method M3;
    with 0 as the interval's lower end, M4.
    """
    if censored is None or limit is None:
        return _log_exact(density, y, mask)
    cut = mask & (censored != 0)
    lower = jnp.where(censored > 0, limit, y)
    upper = jnp.where(censored > 0, y, limit)
    lower = jnp.where(cut, lower, -jnp.inf)
    upper = jnp.where(cut, upper, jnp.inf)
    inside = log_interval(without_unseen_rows(density, cut), lower, upper)
    return _log_exact(density, y, mask & ~cut) + jnp.where(cut, inside, 0.0)


def _log_exact(density: dist.Distribution, y: Array, exact: Array) -> Float[Array, " n"]:
    """log p of the rows that were measured as numbers, 0 in others."""
    density = without_unseen_rows(density, exact)
    stand_in = y[jnp.argmax(exact)]
    if density.support is not dist.constraints.real:
        # a subject may lack one of several outcomes altogether: then any value inside the support does
        inside = jnp.mean(density.support.feasible_like(y))
        stand_in = jnp.where(jnp.any(exact), stand_in, inside)
    y = jnp.where(exact, y, stand_in)
    return jnp.where(exact, log_prob(density, y), 0.0)
