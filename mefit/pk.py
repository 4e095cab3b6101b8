"""Closed-form concentrations of one-compartment kinetics, for any number of doses.

The system is linear, so the concentration at time t is the sum over the doses given up to t (superposition). Every
function is for one subject: it runs under `jax.vmap`, compiles, and may be differentiated forward, backward and again.
Amount / volume sets the unit of the result: mg and L give mg/L; a dose in mg/kg goes with volumes in L/kg and
clearances in L/h/kg. Rates have the unit 1 / time.

Source: Gibaldi & Perrier, Pharmacokinetics (2nd edition, 1982), chapter 1.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .population import Subject

# Gauss-Legendre nodes and weights on (0, 1)
_NODES, _WEIGHTS = (0.5 * (x + shift) for x, shift in zip(np.polynomial.legendre.leggauss(7), (1, 0), strict=True))


def oral_one_compartment(
    subject: Subject, *, ka: ArrayLike, cl: ArrayLike, v: ArrayLike, time: ArrayLike | None = None
) -> Float[Array, "..."]:
    """Concentration after oral doses with first-order absorption:

        C(t) = sum over doses   amount ka / v (exp(-ke s) - exp(-ka s)) / (ka - ke)

    with ke = cl / v and s = t - dose time; doses still to come (s < 0) add nothing.
    Where ka = ke the quotient is its limit s exp(-ke s); value and derivatives are accurate there and near it, and for
    ka < ke. A dose counts from its own time on, when its concentration is 0. Durations are not used.

    Args:
        subject: its `doses` are read, and its `time` unless `time` is given.
        ka, cl, v: scalars, positive: absorption rate (1/time), clearance (volume/time), volume.
        time: times (m,) to evaluate at instead of `subject.time`, such as the grid of a plot.

    Returns:
        (n,), or the shape of `time`.

    Raises:
        ValueError: a parameter that is not a scalar.
    """
    ka, cl, v = _scalars(ka=ka, cl=cl, v=v)
    ke = cl / v
    since = jnp.maximum(_since_dose(subject, time), 0.0)
    # The quotient is s exp(-slow s) times the mean of exp(-gap s u), whichever rate is slower: nothing cancels.
    swap = ka < ke
    slow, gap = jnp.where(swap, ka, ke), jnp.where(swap, ke - ka, ka - ke)
    absorbed = since * jnp.exp(-slow * since) * _moment_exp(0, gap * since)
    return jnp.sum(subject.doses.amount * absorbed, axis=-1) * (ka / v)


def iv_bolus_one_compartment(
    subject: Subject, *, cl: ArrayLike, v: ArrayLike, time: ArrayLike | None = None
) -> Float[Array, "..."]:
    """Concentration after doses given at once into the compartment:

        C(t) = sum over doses with dose time <= t   amount / v exp(-cl / v (t - dose time))

    At the very time of a dose the concentration is the one just after it, amount / v higher than just before.
    Arguments, result and errors as in `oral_one_compartment`. Durations are not used.
    """
    cl, v = _scalars(cl=cl, v=v)
    since = _since_dose(subject, time)
    left = jnp.where(since >= 0, jnp.exp(-(cl / v) * jnp.maximum(since, 0.0)), 0.0)
    return jnp.sum(subject.doses.amount * left, axis=-1) / v


def infusion_one_compartment(
    subject: Subject, *, cl: ArrayLike, v: ArrayLike, time: ArrayLike | None = None
) -> Float[Array, "..."]:
    """Concentration during and after infusions at constant rate over `subject.doses.duration` = T:

        C(t) = sum over doses   amount / (T cl) (1 - exp(-ke u)) exp(-ke (s - u)),   s = t - dose time,   u = min(s, T)

    with ke = cl / v. A dose of duration 0 is a bolus, as in `iv_bolus_one_compartment`.
    Arguments, result and errors as in `oral_one_compartment`.
    """
    cl, v = _scalars(cl=cl, v=v)
    ke, since, duration = cl / v, _since_dose(subject, time), subject.doses.duration
    running = jnp.clip(since, 0.0, duration)
    after = jnp.maximum(since - duration, 0.0)
    share = running / jnp.where(duration > 0, duration, 1.0) * _moment_exp(0, ke * running)
    left = jnp.where(duration > 0, share, since >= 0) * jnp.exp(-ke * after)
    return jnp.sum(subject.doses.amount * left, axis=-1) / v


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


def _since_dose(subject: Subject, time: ArrayLike | None) -> Float[Array, "... d"]:
    """Time since every dose, negative before it: one column for each dose."""
    at = subject.time if time is None else jnp.asarray(time, dtype=float)
    return at[..., None] - subject.doses.time


def _scalars(**parameters: ArrayLike) -> list[Float[Array, ""]]:
    for name, value in parameters.items():
        if jnp.ndim(value):
            raise ValueError(
                f"Parameter {name} has shape {jnp.shape(value)}; a closed form needs one number for the whole curve, "
                "since superposition does not hold for parameters that change in time."
            )
    return [jnp.asarray(value, dtype=float) for value in parameters.values()]
