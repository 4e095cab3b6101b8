"""Closed-form concentrations of one and two compartments, for any number of doses.

The system is linear, so the concentration at time t is the sum over the doses given up to t (superposition). Every
function is for one subject: it runs under `jax.vmap`, compiles, and may be differentiated forward, backward and again.
Amount / volume sets the unit of the result: mg and L give mg/L; a dose in mg/kg goes with volumes in L/kg and
clearances in L/h/kg. Rates have the unit 1 / time.

Where a dose goes: in the oral models compartment 1 is the depot and compartment 2 the central one, so that tablets and
injections may be mixed; in the others every dose enters the central compartment, whatever its number. `lag` and
`bioavailability` act on doses into the depot, and on every dose where there is none.

Steady state: a dose marked so acts as if it had been given every `interval` for ever before, and nothing given earlier
counts from its recorded time on. With a lag, what the former doses leave is there from the recorded time.

Source: Gibaldi & Perrier, Pharmacokinetics (2nd edition, 1982), chapters 1 to 3.
"""

from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..data.subject import Doses, Subject

Real: TypeAlias = ArrayLike  # one number
Times: TypeAlias = ArrayLike | None

# Gauss-Legendre nodes and weights on (0, 1)
_NODES, _WEIGHTS = (0.5 * (x + shift) for x, shift in zip(np.polynomial.legendre.leggauss(7), (1, 0), strict=True))


def oral_one_compartment(
    subject: Subject, *, ka: Real, cl: Real, v: Real, lag: Real = 0.0, bioavailability: Real = 1.0, time: Times = None
) -> Float[Array, "..."]:
    """Concentration after oral doses with first-order absorption:

        C(t) = sum over doses   F amount ka / v (exp(-ke s) - exp(-ka s)) / (ka - ke)

    with ke = cl / v, F the bioavailability and s = t - dose time - lag; doses still to come (s < 0) add nothing.
    Where ka = ke the quotient is its limit s exp(-ke s); value and derivatives are accurate there and near it, and for
    ka < ke. A dose counts from its own time on, when its concentration is 0. Doses into compartment 2 are injections
    or, where they have a duration, infusions into the central compartment; durations of the others are not used.

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

    At the very time of a dose the concentration is the one just after it, amount / v higher than just before.
    Arguments, result and errors as in `oral_one_compartment`. Durations are not used.
    """
    cl, v, lag, share = _scalars(cl=cl, v=v, lag=lag, bioavailability=bioavailability)
    return _amount(subject, time, cl / v, lag, share, None, bolus=True) / v


def infusion_one_compartment(
    subject: Subject, *, cl: Real, v: Real, lag: Real = 0.0, bioavailability: Real = 1.0, time: Times = None
) -> Float[Array, "..."]:
    """Concentration during and after infusions at constant rate over `subject.doses.duration` = T:

        C(t) = sum over doses   F amount / (T cl) (1 - exp(-ke u)) exp(-ke (s - u)),   u = min(s, T)

    with ke = cl / v and s = t - dose time - lag. A dose of duration 0 is a bolus, as in `iv_bolus_one_compartment`.
    Arguments, result and errors as in `oral_one_compartment`.
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
    """Concentration in the central compartment after oral doses, with distribution into a peripheral one.

        depot' = -ka depot,   A1' = ka depot - (cl + q) / v1 A1 + q / v2 A2,   A2' = q / v1 A1 - q / v2 A2

    and C = A1 / v1. The solution is that of one compartment for each of the two rates alpha > beta of distribution and
    elimination, weighted (alpha - k21) / (alpha - beta) and (k21 - beta) / (alpha - beta), k21 = q / v2; no two of ka,
    alpha and beta need differ. `q` is the clearance between the compartments (volume/time), positive, and `v2` the
    peripheral volume. Other arguments, result and errors as in `oral_one_compartment`.
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
    """Concentration in the central compartment during and after infusions into it; see `oral_two_compartment`.

    A dose of duration 0 is a bolus.
    """
    cl, v1, q, v2, lag, share = _scalars(cl=cl, v1=v1, q=q, v2=v2, lag=lag, bioavailability=bioavailability)
    return _amount(subject, time, _two_compartments(cl, v1, q, v2), lag, share, None) / v1


def steady_doses(doses: Doses) -> tuple[Array, Array] | None:
    """Interval and mark of the doses given at steady state, (d,) each; None where the data know no steady state.

    A dose of no amount, or without an interval, is not at steady state.
    """
    if doses.interval is None or doses.steady_state is None:
        return None
    marked = doses.steady_state & (doses.interval > 0) & (doses.amount > 0)
    return jnp.where(marked, doses.interval, 1.0), marked


# ---------------------------------------------------------------- the amount in the central compartment


def _amount(
    subject: Subject, time: Times, modes: Array | tuple, lag: Array, share: Array, ka: Array | None, bolus: bool = False
) -> Array:
    """Sum over doses. `modes` is the rate at which a unit leaves, or weights and rates where it leaves at several."""
    doses = subject.doses
    depot = doses.compartment != 2 if ka is not None else jnp.ones(doses.amount.shape, bool)
    lag, share = jnp.where(depot, lag, 0.0), jnp.where(depot, share, 1.0)
    # of every time and dose (..., d): time since the dose, 0 before it, and whether it counts
    at = (subject.time if time is None else jnp.asarray(time, dtype=float))[..., None]
    since, counts, train = at - doses.time - lag, jnp.ones((), bool), steady_doses(doses)
    if train is not None:
        interval, steady = train
        recorded = at >= doses.time
        reset = jnp.max(jnp.where(steady & recorded, doses.time, -jnp.inf), axis=-1, keepdims=True, initial=-jnp.inf)
        # Between a steady dose's record and the end of its lag, the last of the doses before it is the one that acts.
        late = jnp.ceil(jnp.maximum(-since, 0.0) / interval)
        since, counts = since + jnp.where(steady & recorded, late * interval, 0.0), doses.time >= reset
    counts, since = counts & (since >= 0), jnp.maximum(since, 0.0)
    duration = jnp.zeros(()) if bolus else doses.duration

    def remains(rate: Array) -> Array:
        """What is there of a unit dose that leaves at `rate`: a factor, an exponential, and the mean of another."""
        running = jnp.minimum(since, duration)
        over = jnp.where(duration > 0, duration, 1.0)
        factor, gone, spread = jnp.where(duration > 0, running / over, 1.0), rate * (since - running), rate * running
        if ka is not None:
            # ka times the divided difference (exp(-rate s) - exp(-ka s)) / (ka - rate), from the slower of the two
            # rates and the gap between them: nothing cancels.
            swap = ka < rate
            slow, gap = jnp.where(swap, ka, rate), jnp.where(swap, rate - ka, ka - rate)
            factor = jnp.where(depot, ka * since, factor)
            gone, spread = jnp.where(depot, slow * since, gone), jnp.where(depot, gap * since, spread)
        at_once = (duration == 0) & (True if ka is None else ~depot)
        here = factor * jnp.exp(-gone) * jnp.where(at_once, 1.0, _moment_exp(0, spread))
        if train is None:
            return here
        # The doses before it make a geometric series, but for those of which an infusion is still running, so `many`.
        echo = -1.0 / jnp.expm1(-rate * interval)
        many = jnp.ceil(jnp.maximum(duration - since, 0.0) / interval)
        grown = many + jnp.exp(-rate * since) * jnp.expm1(-rate * many * interval) * echo
        ended = _moment_exp(0, rate * duration) * jnp.exp(-rate * (since + many * interval - duration)) * echo
        series = jnp.where(duration > 0, grown / (rate * over) + ended, here * echo)
        if ka is not None:
            former = interval * jnp.exp(-slow * interval) * _moment_exp(0, gap * interval)
            former = ka * former * jnp.exp(-ka * since) / -jnp.expm1(-ka * interval)
            series = jnp.where(depot, (here + former) * echo, series)
        return jnp.where(steady, series, here)

    left = jnp.tensordot(modes[0], jax.vmap(remains)(modes[1]), axes=1) if isinstance(modes, tuple) else remains(modes)
    return jnp.sum(jnp.where(counts, left, 0.0) * (doses.amount * share), axis=-1)


def _two_compartments(cl: Array, v1: Array, q: Array, v2: Array) -> tuple[Array, Array]:
    """Weights and rates (alpha, beta) of what a unit in the central compartment leaves there, without cancellation."""
    k10, k12, k21 = cl / v1, q / v1, q / v2
    half = 0.5 * (k10 + k12 - k21)
    root = jnp.sqrt(half**2 + k12 * k21)
    more = half >= 0
    large = jnp.where(more, half, -half) + root
    small = k12 * k21 / large
    alpha = 0.5 * (k10 + k12 + k21) + root
    # alpha - k21 and k21 - beta
    above, below = jnp.where(more, large, small), jnp.where(more, small, large)
    return jnp.stack([above, below]) / (2.0 * root), jnp.stack([alpha, k10 * k21 / alpha])


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moment_exp(k: int, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The integral of u^k exp(-x u) over u in (0, 1), for x >= 0; (1 - exp(-x)) / x at k = 0.

    Its derivative is minus the one of k + 1, so that derivatives of any order are as accurate, and as short to compile,
    as the function. The recurrence loses nothing beyond x = 1; Gauss-Legendre's rule is exact to rounding below.
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
    (x,), (dx,) = primals, tangents
    return _moment_exp(k, x), -_moment_exp(k + 1, x) * dx


def _scalars(**parameters: ArrayLike) -> list[Float[Array, ""]]:
    for name, value in parameters.items():
        if jnp.ndim(value):
            what = f"Parameter {name} has shape {jnp.shape(value)}; a closed form needs one number for the whole curve"
            raise ValueError(f"{what}, since superposition does not hold for parameters that change in time.")
    return [jnp.asarray(value, dtype=float) for value in parameters.values()]
