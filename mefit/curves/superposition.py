"""Amounts of linear compartments as sums over doses.

What a unit of a dose leaves in the central compartment is a weighted sum of terms, one for each
rate r at which the central compartment empties. A term is that of a one-compartment system; it is
written for a dose that goes there directly, and for one that comes through a depot.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .dosing import Given, Steady

# Gauss-Legendre nodes and weights, carried from (-1, 1) to (0, 1)
_nodes, _weights = np.polynomial.legendre.leggauss(7)
_NODES = 0.5 * (_nodes + 1.0)
_WEIGHTS = 0.5 * _weights


class Disposition(NamedTuple):
    """How the central compartment empties: weights and rates (r,) of what a unit leaves there."""

    rates: Float[Array, " r"]
    direct: Float[Array, " r"]  # of a unit that enters it, directly or from the depot
    peripheral: Float[Array, " r"] | None = None  # of a unit that enters the peripheral one


class Places(NamedTuple):
    """Where each of d doses goes."""

    depot: Bool[Array, " d"]
    peripheral: Bool[Array, " d"]


def one_compartment(rate: Float[Array, ""]) -> Disposition:
    """A single rate, cl / v."""
    return Disposition(rates=rate[None], direct=jnp.ones(1))


def two_compartments(cl: Array, v1: Array, q: Array, v2: Array) -> Disposition:
    """The rates alpha > beta, without cancellation, in value and derivatives."""
    found = _exchange(cl, v1, q, v2)
    return Disposition(rates=found.rates, direct=found.direct, peripheral=found.peripheral)


_SIGNS = np.array([1.0, -1.0])  # of alpha and of beta


class _Exchange(NamedTuple):
    """What cl, v1, q and v2 say of two compartments."""

    k10: Array  # cl / v1
    k12: Array  # q / v1
    k21: Array  # q / v2
    per_v1: Array
    per_v2: Array
    per_gap: Array  # 1 / (alpha - beta)
    rates: Array  # (alpha, beta)
    # (alpha - k21, k21 - beta) / (alpha - beta), what a unit in the central compartment leaves there
    direct: Array
    peripheral: Array  # (-k21, k21) / (alpha - beta), and one in the peripheral compartment


@jax.custom_jvp
def _exchange(cl: Array, v1: Array, q: Array, v2: Array) -> _Exchange:
    """Left to automatic derivatives these few numbers made a third of a fit's program, and most of
    what a second compartment cost it.
    """
    per_v1 = 1.0 / v1
    per_v2 = 1.0 / v2
    k10 = cl * per_v1
    k12 = q * per_v1
    k21 = q * per_v2
    half = 0.5 * (k10 + k12 - k21)
    product = k12 * k21
    root = jnp.sqrt(half * half + product)
    large = jnp.abs(half) + root
    alpha = 0.5 * (k10 + k12 + k21) + root
    per_gap = 0.5 / root
    first = _SIGNS > 0
    return _Exchange(
        k10=k10,
        k12=k12,
        k21=k21,
        per_v1=per_v1,
        per_v2=per_v2,
        per_gap=per_gap,
        rates=jnp.where(first, alpha, k10 * k21 / alpha),
        direct=jnp.where(first == (half >= 0), large, product / large) * per_gap,
        peripheral=(k21 * per_gap) * -_SIGNS,
    )


@_exchange.defjvp
def _exchange_jvp(primals, tangents):
    """Of lambda^2 - (k10 + k12 + k21) lambda + k10 k21 = 0, and of the gap's square, u^2 + 4 k12 k21
    with u = k10 + k12 - k21: sums and products of what is known already.
    """
    at = _exchange(*primals)
    d_cl, d_v1, d_q, d_v2 = tangents
    d_k10 = at.per_v1 * (d_cl - at.k10 * d_v1)
    d_k12 = at.per_v1 * (d_q - at.k12 * d_v1)
    d_k21 = at.per_v2 * (d_q - at.k21 * d_v2)
    product = at.k12 * at.k21
    d_product = at.k12 * d_k21 + at.k21 * d_k12
    u = at.k10 + at.k12 - at.k21
    d_u = d_k10 + d_k12 - d_k21
    cubed = at.per_gap * at.per_gap * at.per_gap
    d_per_gap = -cubed * (u * d_u + 2.0 * d_product)
    moved = at.per_gap * (at.rates * (d_k12 + d_k21) - at.k10 * d_k21)
    return at, _Exchange(
        k10=d_k10,
        k12=d_k12,
        k21=d_k21,
        per_v1=-at.per_v1 * at.per_v1 * d_v1,
        per_v2=-at.per_v2 * at.per_v2 * d_v2,
        per_gap=d_per_gap,
        rates=at.direct * d_k10 + _SIGNS * moved,
        direct=_SIGNS * (cubed * (2.0 * product * d_u - u * d_product)),
        peripheral=-_SIGNS * (at.k21 * d_per_gap + at.per_gap * d_k21),
    )


def central_amount(
    moment: Float[Array, "..."], given: Given, places: Places, disposition: Disposition, ka: Array | None
) -> Float[Array, "..."]:
    """The amount in the central compartment at some moments; `ka` is the depot's rate, None where
    there is none.
    """
    since, counts = time_since(moment[..., None], given)

    def of_rate(rate: Array) -> Array:
        return _remains(_Term(rate, ka, since, places.depot), given)

    terms = jax.vmap(of_rate)(disposition.rates)
    weights = disposition.direct[:, None]
    if disposition.peripheral is not None:
        weights = jnp.where(places.peripheral, disposition.peripheral[:, None], weights)
    remains = jnp.einsum("rd,r...d->...d", jnp.broadcast_to(weights, (len(weights), since.shape[-1])), terms)
    return jnp.sum(jnp.where(counts, remains, 0.0), axis=-1)


def time_since(moment: Array, given: Given) -> tuple[Array, Array]:
    """Of every moment (..., 1) and dose (..., d): the time since the dose has begun, 0 before, and whether
    it counts.
    """
    since = moment - given.record - given.lag
    counts: Array = jnp.ones((), bool)
    steady = given.steady
    if given.resets is not None:
        acts = given.resets & (moment >= given.record)
        last = jnp.max(jnp.where(acts, given.turn, -1), axis=-1, keepdims=True, initial=-1)
        counts = given.turn >= last
    if steady is not None:
        begun = moment >= given.record
        # From the record of a dose at steady state to the end of its lag, the last of the doses
        # before it is the one that acts.
        late = jnp.ceil(jnp.maximum(-since, 0.0) / steady.interval)
        since = since + jnp.where(steady.train & begun, late * steady.interval, 0.0)
        since = jnp.where(steady.constant, moment - given.record, since)
    return jnp.maximum(since, 0.0), counts & (since >= 0)


class _Term(NamedTuple):
    """One rate of disposition, and the times (..., d) since each dose."""

    rate: Array
    ka: Any  # of the depot, None where there is none
    since: Array
    depot: Array

    @property
    def slow(self) -> Array:
        """The lower of the two rates; where they are equal, the choice has derivatives of any order."""
        return jnp.where(self.ka < self.rate, self.ka, self.rate)

    @property
    def gap(self) -> Array:
        return jnp.where(self.ka < self.rate, self.rate - self.ka, self.ka - self.rate)

    def through_depot(self, since: Array) -> Array:
        """ka (exp(-rate s) - exp(-ka s)) / (ka - rate), without any cancellation: of a unit given
        at once into the depot.
        """
        return self.ka * since * jnp.exp(-self.slow * since) * moment_exp(0, self.gap * since)


def _remains(term: _Term, given: Given) -> Array:
    """What is in the central compartment of each dose."""
    steady = given.steady
    remains = _of_one(term, given)
    if steady is None:
        return remains
    remains = jnp.where(steady.train, _of_train(term, given, steady), remains)
    if given.infusions is None:
        return remains
    return jnp.where(steady.constant, _of_constant(term) * given.infusions.rate, remains)


def _of_one(term: _Term, given: Given) -> Array:
    """Of a dose that stands for itself.

    - Given at once:  exp(-rate s), or from the depot `through_depot`.
    - Infused for T, of which u = min(s, T) has passed:  R u exp(-rate (s - u)) m(rate u), with
      m(x) = (1 - exp(-x)) / x and the rate R.
    - Infused into the depot: what had come to the central compartment and to the depot by u, and
      what these leave s - u later.
    """
    if given.infusions is None:
        return given.amount * _of_unit(term, term.since)
    passed = jnp.minimum(term.since, given.infusions.duration)
    rest = term.since - passed
    lasting = given.infusions.duration > 0
    entered = _entered(term, passed)
    central = jnp.where(lasting, given.infusions.rate * entered.central, jnp.where(term.depot, 0.0, given.amount))
    remains = central * jnp.exp(-term.rate * rest)
    if term.ka is None:
        return remains
    depot = jnp.where(lasting, given.infusions.rate * entered.depot, given.amount)
    return remains + jnp.where(term.depot, depot * term.through_depot(rest), 0.0)


def _of_unit(term: _Term, since: Array) -> Array:
    """Of a unit given at once."""
    direct = jnp.exp(-term.rate * since)
    return direct if term.ka is None else jnp.where(term.depot, term.through_depot(since), direct)


class _Entered(NamedTuple):
    """Of a unit a time, infused for some time, the amounts at its end."""

    central: Array
    depot: Any  # None where there is no depot


def _entered(term: _Term, passed: Array) -> _Entered:
    """(1 - exp(-rate u)) / rate where it goes directly; else (1 - exp(-ka u)) / ka in the depot, and
    in the central compartment the integral of `through_depot` from 0 to u.
    """
    directly = moment_exp(0, term.rate * passed)
    if term.ka is None:
        return _Entered(central=passed * directly, depot=None)
    in_depot = moment_exp(0, term.ka * passed)
    absorbed = term.ka * passed**2 * _moment_between(term, passed, directly, in_depot)
    return _Entered(central=jnp.where(term.depot, absorbed, passed * directly), depot=passed * in_depot)


def _moment_between(term: _Term, passed: Array, directly: Array, in_depot: Array) -> Array:
    """The mean over w in (0, 1) of the integral of x exp(-(low + gap w) x) over x in (0, 1), where
    low and low + gap are the two rates times u.

    It is the divided difference (m(rate u) - m(ka u)) / (ka u - rate u), m(x) = (1 - exp(-x)) / x,
    taken by Gauss-Legendre's rule where the two rates are close.
    """
    low = term.slow * passed
    gap = term.gap * passed
    near = gap < 1.0 + 0.25 * low
    apart = (term.ka - term.rate) * passed
    far = (directly - in_depot) / jnp.where(near, 1.0, apart)
    inside = low[..., None] + jnp.where(near, gap, 0.0)[..., None] * _NODES
    return jnp.where(near, moment_exp(1, inside) @ _WEIGHTS, far)


def _of_constant(term: _Term) -> Array:
    """Of a unit a time, infused for ever until s ago."""
    direct = jnp.exp(-term.rate * term.since) / term.rate
    if term.ka is None:
        return direct
    return direct + jnp.where(term.depot, term.through_depot(term.since) / term.ka, 0.0)


def _of_train(term: _Term, given: Given, steady: Steady) -> Array:
    """Of a dose and of all like it before, every `interval`.

    Doses that leave exponentially make a geometric series. Of the infusions that still run the sum
    is what infusions without end would hold, less what is missing from before each began.
    """
    since = term.since
    interval = steady.interval
    rate = term.rate
    echo = -1.0 / jnp.expm1(-rate * interval)
    decayed = jnp.exp(-rate * since)
    at_once = given.amount * decayed * echo
    oral = partial(_train_through_depot, term, interval, echo)
    if term.ka is not None:
        at_once = jnp.where(term.depot, given.amount * oral(since), at_once)
    if given.infusions is None:
        return at_once
    duration = given.infusions.duration
    still = jnp.ceil(jnp.maximum(duration - since, 0.0) / interval)  # how many infusions run
    ended_since = since + still * interval - duration
    entered = _entered(term, duration)
    infused = (still + decayed * jnp.expm1(-rate * still * interval) * echo) / rate
    infused = infused + entered.central * jnp.exp(-rate * ended_since) * echo
    if term.ka is not None:
        missing = (oral(since) - oral(since + still * interval)) / term.ka
        infused = infused + jnp.where(term.depot, entered.depot * oral(ended_since) - missing, 0.0)
    return jnp.where(duration > 0, given.infusions.rate * infused, at_once)


def _train_through_depot(term: _Term, interval: Array, echo: Array, since: Array) -> Array:
    """The sum of `through_depot` over s, s + interval, s + 2 interval, ..."""
    ka = term.ka
    former = interval * jnp.exp(-term.slow * interval) * moment_exp(0, term.gap * interval)
    left_in_depot = ka * former * jnp.exp(-ka * since) / -jnp.expm1(-ka * interval)
    return (term.through_depot(since) + left_in_depot) * echo


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def moment_exp(k: int, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The integral of u^k exp(-x u) over u in (0, 1), for x >= 0; (1 - exp(-x)) / x at k = 0.

    Its derivative is minus the one of k + 1, so that derivatives of any order are as accurate, and
    as short to compile, as the function. The recurrence loses nothing beyond x = 1;
    Gauss-Legendre's rule is exact to rounding below.
    """
    near = x < 1.0
    apart = jnp.where(near, 1.0, x)
    end = jnp.exp(-apart)
    far = (1.0 - end) / apart
    for j in range(1, k + 1):
        far = (j * far - end) / apart
    return jnp.where(near, jnp.exp(-x[..., None] * _NODES) @ (_WEIGHTS * _NODES**k), far)


@moment_exp.defjvp
def _moment_exp_jvp(k, primals, tangents):
    (x,) = primals
    (dx,) = tangents
    return moment_exp(k, x), -moment_exp(k + 1, x) * dx
