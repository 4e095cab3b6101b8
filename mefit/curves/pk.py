"""Closed-form concentrations of one and two compartments, for any number of doses.

The system is linear, so the concentration at time t is the sum over the doses given up to t
(superposition). Every function is for one subject: it runs under `jax.vmap`, compiles, and may be
differentiated forward, backward and again. Amount / volume sets the unit of the result: mg and L
give mg/L; a dose in mg/kg goes with volumes in L/kg and clearances in L/h/kg. Rates have the unit
1 / time.

Where a dose goes: in the oral models compartment 1 is the depot and compartment 2 the central one,
so that tablets and injections may be mixed; in the others every dose enters the central
compartment, whatever its number. `lag` and `bioavailability` act on doses into the depot, and on
every dose where there is none.

Steady state: a dose marked so acts as if it had been given every `interval` for ever before, and
nothing given earlier counts from its recorded time on. With a lag, what the former doses leave is
there from the recorded time.

Source: Gibaldi & Perrier, Pharmacokinetics (2nd edition, 1982), chapters 1 to 3.
"""

from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..data.subject import Doses, Subject

Real: TypeAlias = ArrayLike  # one number
Times: TypeAlias = ArrayLike | None

# Gauss-Legendre nodes and weights, carried from (-1, 1) to (0, 1)
_nodes, _weights = np.polynomial.legendre.leggauss(7)
_NODES = 0.5 * (_nodes + 1.0)
_WEIGHTS = 0.5 * _weights


def oral_one_compartment(
    subject: Subject, *, ka: Real, cl: Real, v: Real, lag: Real = 0.0, bioavailability: Real = 1.0, time: Times = None
) -> Float[Array, "..."]:
    """Concentration after oral doses with first-order absorption:

        C(t) = sum over doses   F amount ka / v (exp(-ke s) - exp(-ka s)) / (ka - ke)

    with ke = cl / v, F the bioavailability and s = t - dose time - lag; doses still to come (s < 0)
    add nothing. Where ka = ke the quotient is its limit s exp(-ke s); value and derivatives are
    accurate there and near it, and for ka < ke. A dose counts from its own time on, when its
    concentration is 0. Doses into compartment 2 are injections or, where they have a duration,
    infusions into the central compartment; durations of the others are not used.

    Args:
        subject: its `doses` are read, and its `time` unless `time` is given.
        ka, cl, v: scalars, positive: absorption rate (1/time), clearance (volume/time), volume.
        lag: scalar, the time from dose to the start of absorption, 0 or more.
        bioavailability: scalar, the part of the dose that is absorbed.
        time: times (m,) to evaluate at instead of `subject.time`, such as the grid of a plot.

    Returns:
        (n,), or the shape of `time`.

    Raises:
        ValueError: a parameter that is not a scalar.
    """
    ka, cl, v, lag, share = _scalars(ka=ka, cl=cl, v=v, lag=lag, bioavailability=bioavailability)
    return _amount(subject, time, cl / v, lag, share, ka) / v


def iv_bolus_one_compartment(
    subject: Subject, *, cl: Real, v: Real, lag: Real = 0.0, bioavailability: Real = 1.0, time: Times = None
) -> Float[Array, "..."]:
    """Concentration after doses given at once into the compartment:

        C(t) = sum over doses with s >= 0   F amount / v exp(-cl / v s)

    At the very time of a dose the concentration is the one just after it, amount / v higher than
    just before. Arguments, result and errors as in `oral_one_compartment`. Durations are not used.
    """
    cl, v, lag, share = _scalars(cl=cl, v=v, lag=lag, bioavailability=bioavailability)
    return _amount(subject, time, cl / v, lag, share, None, bolus=True) / v


def infusion_one_compartment(
    subject: Subject, *, cl: Real, v: Real, lag: Real = 0.0, bioavailability: Real = 1.0, time: Times = None
) -> Float[Array, "..."]:
    """Concentration during and after infusions at constant rate over `subject.doses.duration` = T:

        C(t) = sum over doses   F amount / (T cl) (1 - exp(-ke u)) exp(-ke (s - u)),   u = min(s, T)

    with ke = cl / v and s = t - dose time - lag. A dose of duration 0 is a bolus, as in
    `iv_bolus_one_compartment`. Arguments, result and errors as in `oral_one_compartment`.
    """
    cl, v, lag, share = _scalars(cl=cl, v=v, lag=lag, bioavailability=bioavailability)
    return _amount(subject, time, cl / v, lag, share, None) / v


def oral_two_compartment(
    subject: Subject,
    *,
    ka: Real,
    cl: Real,
    v1: Real,
    q: Real,
    v2: Real,
    lag: Real = 0.0,
    bioavailability: Real = 1.0,
    time: Times = None,
) -> Float[Array, "..."]:
    """Concentration after oral doses, with distribution from the central into a peripheral one:

        depot' = -ka depot
        A1'    = ka depot - (cl + q) / v1 A1 + q / v2 A2
        A2'    = q / v1 A1 - q / v2 A2

    and C = A1 / v1. The solution is that of one compartment for each of the two rates alpha > beta
    of distribution and elimination, weighted (alpha - k21) / (alpha - beta) and (k21 - beta) /
    (alpha - beta), k21 = q / v2; no two of ka, alpha and beta need differ. `q` is the clearance
    between the compartments (volume/time), positive, and `v2` the peripheral volume. Other
    arguments, result and errors as in `oral_one_compartment`.
    """
    ka, cl, v1, q, v2, lag, share = _scalars(ka=ka, cl=cl, v1=v1, q=q, v2=v2, lag=lag, bioavailability=bioavailability)
    return _amount(subject, time, _two_compartments(cl, v1, q, v2), lag, share, ka) / v1


def infusion_two_compartment(
    subject: Subject,
    *,
    cl: Real,
    v1: Real,
    q: Real,
    v2: Real,
    lag: Real = 0.0,
    bioavailability: Real = 1.0,
    time: Times = None,
) -> Float[Array, "..."]:
    """Concentration in the central compartment during and after infusions into it.

    The model is that of `oral_two_compartment`. A dose of duration 0 is a bolus.
    """
    cl, v1, q, v2, lag, share = _scalars(cl=cl, v1=v1, q=q, v2=v2, lag=lag, bioavailability=bioavailability)
    return _amount(subject, time, _two_compartments(cl, v1, q, v2), lag, share, None) / v1


def steady_doses(doses: Doses) -> tuple[Array, Array] | None:
    """Interval and mark of the doses given at steady state, (d,) each; None where there are none.

    A dose of no amount, or without an interval, is not at steady state.
    """
    if doses.interval is None or doses.steady_state is None:
        return None
    marked = doses.steady_state & (doses.interval > 0) & (doses.amount > 0)
    return jnp.where(marked, doses.interval, 1.0), marked


# ---------------------------------------------------------------- the amount in the central compartment


class _Given(NamedTuple):
    """The doses (d,), and what every time (...) is to them."""

    since: Float[Array, "... d"]  # the time since the dose has begun, 0 before
    duration: Float[Array, "..."]  # of its infusion, 0 where it is given at once
    depot: Array  # (d,) whether it goes into the depot; true for all where there is none


def _amount(
    subject: Subject,
    time: Times,
    modes: Array | tuple[Array, Array],
    lag: Array,
    share: Array,
    ka: Array | None,
    bolus: bool = False,
) -> Array:
    """The amount in the central compartment: the sum over doses.

    `modes` is the rate at which a unit leaves, or the weights and rates where it leaves at several.
    """
    doses = subject.doses
    depot = doses.compartment != 2 if ka is not None else jnp.ones(doses.amount.shape, bool)
    lag = jnp.where(depot, lag, 0.0)
    share = jnp.where(depot, share, 1.0)
    moment = (subject.time if time is None else jnp.asarray(time, dtype=float))[..., None]
    train = steady_doses(doses)
    since, counts = _since(moment, doses, lag, train)
    given = _Given(since, jnp.zeros(()) if bolus else doses.duration, depot)

    def remains(rate: Array) -> Array:
        return _remains(rate, ka, given, train)

    if isinstance(modes, tuple):
        weights, rates = modes
        left = jnp.tensordot(weights, jax.vmap(remains)(rates), axes=1)
    else:
        left = remains(modes)
    return jnp.sum(jnp.where(counts, left, 0.0) * (doses.amount * share), axis=-1)


def _since(moment: Array, doses: Doses, lag: Array, train: tuple[Array, Array] | None) -> tuple[Array, Array]:
    """Of every time and dose (..., d): the time since the dose, 0 before it, and whether it
    counts.
    """
    since = moment - doses.time - lag
    counts = jnp.ones((), bool)
    if train is not None:
        interval, steady = train
        acts = steady & (moment >= doses.time)
        reset = jnp.max(jnp.where(acts, doses.time, -jnp.inf), axis=-1, keepdims=True, initial=-jnp.inf)
        # From the record of a dose at steady state to the end of its lag, the last of the doses
        # before it is the one that acts.
        late = jnp.ceil(jnp.maximum(-since, 0.0) / interval)
        since = since + jnp.where(acts, late * interval, 0.0)
        counts = doses.time >= reset
    return jnp.maximum(since, 0.0), counts & (since >= 0)


def _remains(rate: Array, ka: Array | None, given: _Given, train: tuple[Array, Array] | None) -> Array:
    """What is in the central compartment of a unit of each dose, which leaves there at `rate`."""
    rates = None if ka is None else _two_rates(ka, rate)
    single = _single(rate, rates, given)
    if train is None:
        return single
    interval, steady = train
    return jnp.where(steady, _series(rate, rates, given, interval, single), single)


class _TwoRates(NamedTuple):
    """The rates of absorption and elimination."""

    absorption: Array
    slow: Array  # the lower one
    gap: Array  # from there to the higher one


def _two_rates(ka: Array, rate: Array) -> _TwoRates:
    swap = ka < rate
    return _TwoRates(
        absorption=ka,
        slow=jnp.where(swap, ka, rate),
        gap=jnp.where(swap, rate - ka, ka - rate),
    )


def _single(rate: Array, rates: _TwoRates | None, given: _Given) -> Array:
    """What is left of a unit of a single dose:  factor exp(-gone) m(spread),  m(x) = (1 - exp(-x))
    / x.

    - Given at once:  exp(-rate s).
    - Infusion over T, of which u = min(s, T) has passed:  u / T exp(-rate (s - u)) m(rate u).
    - From the depot:  ka s exp(-slow s) m(gap s), which is ka (exp(-rate s) - exp(-ka s)) / (ka -
      rate) without any cancellation.
    """
    since = given.since
    running = jnp.minimum(since, given.duration)
    over = jnp.where(given.duration > 0, given.duration, 1.0)
    factor = jnp.where(given.duration > 0, running / over, 1.0)
    gone = rate * (since - running)
    spread = rate * running
    at_once = given.duration == 0
    if rates is not None:
        factor = jnp.where(given.depot, rates.absorption * since, factor)
        gone = jnp.where(given.depot, rates.slow * since, gone)
        spread = jnp.where(given.depot, rates.gap * since, spread)
        at_once = at_once & ~given.depot
    return factor * jnp.exp(-gone) * jnp.where(at_once, 1.0, _moment_exp(0, spread))


def _series(
    rate: Array,
    rates: _TwoRates | None,
    given: _Given,
    interval: Array,
    single: Array,
) -> Array:
    """What is left of a unit of a dose and of all like it before, every `interval`.

    Doses that leave exponentially make a geometric series, so they count 1 / (1 - exp(-rate
    interval)) times; the doses whose infusion is still running do not, and are summed apart.
    """
    since = given.since
    duration = given.duration
    over = jnp.where(duration > 0, duration, 1.0)
    echo = -1.0 / jnp.expm1(-rate * interval)
    running = jnp.ceil(jnp.maximum(duration - since, 0.0) / interval)  # how many infusions still do
    grown = running + jnp.exp(-rate * since) * jnp.expm1(-rate * running * interval) * echo
    ended_since = since + running * interval - duration
    ended = _moment_exp(0, rate * duration) * jnp.exp(-rate * ended_since) * echo
    series = jnp.where(duration > 0, grown / (rate * over) + ended, single * echo)
    if rates is not None:
        # what the former doses left in the depot: its own series
        former = interval * jnp.exp(-rates.slow * interval) * _moment_exp(0, rates.gap * interval)
        ka = rates.absorption
        former = ka * former * jnp.exp(-ka * since) / -jnp.expm1(-ka * interval)
        series = jnp.where(given.depot, (single + former) * echo, series)
    return series


def _two_compartments(cl: Array, v1: Array, q: Array, v2: Array) -> tuple[Array, Array]:
    """Weights and rates (alpha, beta) of what a unit in the central compartment leaves there,
    without cancellation.
    """
    k10 = cl / v1
    k12 = q / v1
    k21 = q / v2
    half = 0.5 * (k10 + k12 - k21)
    root = jnp.sqrt(half**2 + k12 * k21)
    positive = half >= 0
    large = jnp.where(positive, half, -half) + root
    small = k12 * k21 / large
    alpha = 0.5 * (k10 + k12 + k21) + root
    alpha_above = jnp.where(positive, large, small)  # alpha - k21
    beta_below = jnp.where(positive, small, large)  # k21 - beta
    weights = jnp.stack([alpha_above, beta_below]) / (2.0 * root)
    return weights, jnp.stack([alpha, k10 * k21 / alpha])


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moment_exp(k: int, x: Float[Array, "..."]) -> Float[Array, "..."]:
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


@_moment_exp.defjvp
def _moment_exp_jvp(k, primals, tangents):
    (x,) = primals
    (dx,) = tangents
    return _moment_exp(k, x), -_moment_exp(k + 1, x) * dx


def _scalars(**parameters: ArrayLike) -> list[Float[Array, ""]]:
    for name, value in parameters.items():
        if jnp.ndim(value):
            raise ValueError(
                f"Parameter {name} has shape {jnp.shape(value)}; a closed form needs one number for the "
                "whole curve, since superposition does not hold for parameters that change in time."
            )
    return [jnp.asarray(value, dtype=float) for value in parameters.values()]
