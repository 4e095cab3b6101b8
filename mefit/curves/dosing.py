"""What dose records come to under a model's lag, bioavailability, rate and duration.

One meaning for closed forms and differential equations alike:

- At once, where a record has neither rate nor duration: F amount enters at time + lag.
- A record with a duration: F amount / duration enters in a unit of time, for this duration.
- A record with a rate above 0: the rate is kept, and lasts F amount / rate.
- Rate -1 (or -2): the same with the rate (or duration) that the model gives.
- Records count in order of time, and of position where times are the same. One at steady state (1)
  or a reset does away with those before it, whatever of them is still to come.
- A constant infusion at steady state (amount 0, a rate, an interval of 0) has run for ever and ends
  at its record; lag and bioavailability do not act on it.

Source: the NM-TRAN data items RATE, SS, II and EVID, and the PK parameters F, ALAG, R and D, of
NONMEM's users guides.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ..data.doses import DURATION_BY_MODEL, RATE_BY_MODEL, Doses, PerDose

PerDoseOrNumber = ArrayLike | PerDose | list | tuple


class Steady(NamedTuple):
    """Which of d doses are at steady state."""

    train: Bool[Array, " d"]  # one that has been given every `interval` for ever
    constant: Bool[Array, " d"]  # an infusion that has run for ever, and ends at its record
    adds: Bool[Array, " d"]  # whether it is added to what is there, in place of replacing it
    interval: Float[Array, " d"]  # 1 where it is not one of a train


class Infusions(NamedTuple):
    """How d doses enter that do not enter at once."""

    duration: Float[Array, " d"]  # 0 where all enters at once
    rate: Float[Array, " d"]  # while it lasts; 0 where all enters at once


class Given(NamedTuple):
    """What d dose records come to."""

    record: Float[Array, " d"]
    lag: Float[Array, " d"]
    amount: Float[Array, " d"]  # with bioavailability
    infusions: Infusions | None  # None where all doses enter at once
    steady: Steady | None  # None where the records cannot hold such a dose
    resets: Bool[Array, " d"] | None  # whether it does away with all before it; None as above
    turn: Int[Array, " d"]  # its place in the order of the records


def given_doses(
    doses: Doses,
    lag: Float[Array, " d"],
    share: Float[Array, " d"],
    rate: Float[Array, " d"] | None,
    duration: Float[Array, " d"] | None,
    function: str,
) -> Given:
    """The doses under a model's numbers for each; rate and duration are None where the model has
    none.

    Raises:
        ValueError: outside of compiled programs, a dose that asks for a rate or duration which the
            model does not give; inside of them its amount is not a number.
    """
    amount = doses.amount * share
    if doses.rate is not None:
        amount = _refuse_unmet(doses.rate, amount, rate, duration, function)
    if not doses.has_infusions:
        amount = refused(
            doses.duration > 0,
            "a duration was put into doses that were made without one; make the doses anew, as by "
            "dataclasses.replace(doses, duration=...).",
            amount,
        )
    kept_rate = _kept_rates(doses, rate)
    steady = _steady(doses, kept_rate)
    resets = doses.reset
    if steady is not None:
        replaces = (steady.train | steady.constant) & ~steady.adds
        resets = replaces if resets is None else resets | replaces
    return Given(
        record=doses.time,
        lag=lag,
        amount=amount,
        infusions=_infusions(doses, amount, kept_rate, duration, steady) if doses.has_infusions else None,
        steady=steady,
        resets=resets,
        turn=_turns(doses) if resets is not None else jnp.arange(doses.time.size),
    )


def _refuse_unmet(codes: Array, amount: Array, rate: Any, duration: Any, function: str) -> Array:
    if rate is None:
        sentence = f"a dose leaves its rate to the model (RATE -1): give rate= to {function}."
        amount = refused(codes == RATE_BY_MODEL, sentence, amount)
    if duration is None:
        sentence = f"a dose leaves its duration to the model (RATE -2): give duration= to {function}."
        amount = refused(codes == DURATION_BY_MODEL, sentence, amount)
    return amount


def _kept_rates(doses: Doses, rate: Float[Array, " d"] | None) -> Array:
    """The rate of each dose where it is the rate that is known, 0 or a code where it is not."""
    if doses.rate is None:
        return jnp.zeros(doses.time.shape)
    if rate is None:
        return jnp.asarray(doses.rate)
    return jnp.where(doses.rate == RATE_BY_MODEL, rate, doses.rate)


def _infusions(
    doses: Doses, amount: Array, kept_rate: Array, duration: Float[Array, " d"] | None, steady: Steady | None
) -> Infusions:
    lasts = jnp.asarray(doses.duration)
    if doses.rate is not None:
        by_rate = kept_rate > 0
        lasts = jnp.where(by_rate, amount / jnp.where(by_rate, kept_rate, 1.0), lasts)
        if duration is not None:
            lasts = jnp.where(doses.rate == DURATION_BY_MODEL, duration, lasts)
    if steady is not None:
        lasts = jnp.where(steady.constant, 0.0, lasts)
    lasting = lasts > 0
    speed = jnp.where(lasting, amount / jnp.where(lasting, lasts, 1.0), 0.0)
    if steady is not None:
        speed = jnp.where(steady.constant, kept_rate, speed)
    return Infusions(duration=jnp.where(lasting, lasts, 0.0), rate=speed)


def _turns(doses: Doses) -> Int[Array, " d"]:
    """The place of each record in the order of times, and of positions at one time."""
    earlier = doses.time[:, None] > doses.time
    before = jnp.tri(doses.time.size, k=-1, dtype=bool) & (doses.time[:, None] == doses.time)
    return jnp.sum(earlier | before, axis=1)


def _steady(doses: Doses, rate: Array) -> Steady | None:
    if doses.interval is None or doses.steady_state is None:
        return None
    steady = doses.steady_state > 0
    train = steady & (doses.interval > 0) & (doses.amount > 0)
    return Steady(
        train=train,
        constant=steady & (doses.interval == 0) & (doses.amount == 0) & (rate > 0),
        adds=doses.steady_state == 2,
        interval=jnp.where(train, doses.interval, 1.0),
    )


def number_per_dose(name: str, value: PerDoseOrNumber, doses: Doses, others: Float[Array, ""] | None = None) -> Array:
    """One number for each dose (d,), from a single number or a `PerDose`.

    `others` is what a single number leaves to doses that do not go into compartment 1; None where
    it acts on all.

    Raises:
        ValueError: an array that is neither.
    """
    count = doses.time.shape
    if isinstance(value, PerDose):
        if value.values.shape != count:
            raise ValueError(
                f"{name} is a PerDose of shape {value.values.shape}, and the subject has {count[0]} doses; "
                "give one number for each of subject.doses."
            )
        return value.values
    single: Any = value
    if jnp.ndim(single):
        raise ValueError(
            f"{name} has shape {jnp.shape(single)}; give one number, or where it differs from dose to dose "
            "subject.at_doses(values of rows) or mf.PerDose(values of doses)."
        )
    number = jnp.asarray(single, float)
    if others is None:
        return jnp.broadcast_to(number, count)
    return jnp.where(doses.compartment == 1, number, others)


def refused(bad: Bool[Array | np.ndarray, "..."], sentence: str, value: Array) -> Array:
    """The value; where something is bad a ValueError with this sentence, or in a compiled program,
    which cannot raise one, values that are not numbers.
    """
    if not isinstance(bad, jax.core.Tracer) and bool(jnp.any(bad)):
        raise ValueError(sentence)
    return jnp.where(jnp.any(bad), jnp.nan, value)
