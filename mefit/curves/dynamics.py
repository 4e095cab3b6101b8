"""Ordinary differential equations of any right-hand side, with doses as jumps and infusions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from ..data.subject import Doses, Subject
from .integration import Events, Progress, Recurring, integrate, steady_state
from .pk import steady_doses
from .solvers import RK4, Kvaerno5, Solver, Tsit5

__all__ = ["RK4", "Kvaerno5", "Solver", "Tsit5", "solve"]


def solve(
    rhs: Callable[[Array, Array], Any],
    initial: ArrayLike | list | tuple,
    subject: Subject,
    *,
    lag: ArrayLike = 0.0,
    bioavailability: ArrayLike = 1.0,
    solver: Solver | None = None,
    time: ArrayLike | list | None = None,
    start: ArrayLike | None = None,
) -> Float[Array, "n S"]:
    """The states y of  dy/dt = rhs(t, y) + infusions  at the subject's times; boluses are jumps of y:

        def rhs(t, y):
            depot, central = y
            return [-ka * depot, ka * depot - cl / v * central]
        amounts = mf.dynamics.solve(rhs, [0.0, 0.0], subject)        # (n, 2)

    A dose into compartment k adds F amount to state k (from 1) at its time + lag. With a duration it
    enters from then on at the rate F amount / duration. At the very time of a dose the state is the
    one just after it. A dose at steady state first sets the state to what the same dose, every
    `interval` for ever before, has left; lag and duration must not be longer than the interval.

    Args:
        rhs: the right-hand side in plain JAX, with parameters, covariates, networks from around it.
        initial: the S states at `start`, which may depend on parameters.
        subject: its `doses` are read, and its `time` unless `time` is given.
        lag, bioavailability: a number for all doses, or one for each of the S compartments.
        solver: `Tsit5()` unless given, `Kvaerno5()` where the system is stiff, or `RK4()`.
        time: times (m,) instead of `subject.time`, in any order.
        start: when `initial` holds, unless given the subject's first record. Earlier doses are lost.

    Returns:
        (n, S). Where the solver fails the states are NaN, so that a fit steps back from there.

    Raises:
        ValueError: outside of a compiled program, where a fit looks at its start, if the solver
            fails or a dose goes into a missing compartment.
    """
    solver = solver or Tsit5()
    state = jnp.asarray(initial, float)
    doses = subject.doses
    times = subject.time if time is None else jnp.asarray(time, float)
    if start is None:
        first_dose = jnp.min(jnp.where(doses.amount != 0, doses.time, jnp.inf), initial=jnp.inf)
        start = jnp.minimum(first_dose, jnp.min(subject.time))
    flow = _flow(rhs)
    inputs = _inputs(doses, state.size, lag, bioavailability)
    events = _events(solver, flow, state, doses, inputs, times)
    end = integrate(solver, flow, jnp.asarray(start, float), state, events)
    if not isinstance(end.out, jax.core.Tracer) and not bool(jnp.all(jnp.isfinite(end.out))):
        raise ValueError(_why(solver, end, bool(jnp.any(inputs.lost)), state.size))
    return end.out


def _flow(rhs: Callable[[Array, Array], Any]) -> Callable[[Array, Array], Array]:
    """The right-hand side as one array (S,), which is checked."""

    def flow(t: Array, y: Array) -> Array:
        slope = jnp.asarray(rhs(t, y), float)
        if slope.shape != y.shape:
            raise ValueError(f"rhs returned {slope.shape} for a state {y.shape}: give one derivative for each state.")
        return slope

    return flow


class _Inputs(NamedTuple):
    """What d doses do to S states."""

    delay: Float[Array, " d"]
    jump: Float[Array, "d S"]  # at once
    rate: Float[Array, "d S"]  # in a unit of time, while an infusion runs
    lost: Bool[Array, " d"]  # whether it goes into a compartment that is no state


def _inputs(doses: Doses, size: int, lag: ArrayLike, bioavailability: ArrayLike) -> _Inputs:
    place = (doses.compartment[:, None] == jnp.arange(1, size + 1)).astype(float)
    delay = place @ jnp.broadcast_to(jnp.asarray(lag, float), (size,))
    share = place @ jnp.broadcast_to(jnp.asarray(bioavailability, float), (size,))
    lost = (doses.amount != 0) & (place.sum(1) == 0)
    amount = jnp.where(lost, jnp.nan, doses.amount * share)[:, None]
    amount = amount * jnp.where(lost[:, None], 1.0, place)
    lasting = (doses.duration > 0)[:, None]
    duration = jnp.where(lasting, doses.duration[:, None], 1.0)
    return _Inputs(
        delay=delay,
        jump=jnp.where(lasting, 0.0, amount),
        rate=jnp.where(lasting, amount / duration, 0.0),
        lost=lost,
    )


def _events(
    solver: Solver,
    flow: Callable[[Array, Array], Array],
    state: Array,
    doses: Doses,
    inputs: _Inputs,
    times: Array,
) -> Events:
    """What happens to the state, doses at steady state included."""
    events = Events(
        record=doses.time,
        begin=doses.time + inputs.delay,
        end=doses.time + inputs.delay + doses.duration,
        jump=inputs.jump,
        rate=inputs.rate,
        times=times,
    )
    train = steady_doses(doses)
    if train is None or doses.time.size == 0:
        return events
    interval, steady = train
    recurring = Recurring(
        steady=steady,
        interval=interval,
        begin=inputs.delay,
        end=inputs.delay + doses.duration,
        jump=inputs.jump,
        rate=inputs.rate,
    )
    left = jax.vmap(lambda dose: steady_state(solver, flow, state, dose))(recurring)
    return _with_former_doses(events, interval, steady, left)


def _with_former_doses(events: Events, interval: Array, steady: Array, left: Array) -> Events:
    """The events of doses that may be at steady state: what those before them have left, and still
    add.

    The dose before a steady one may still be running. It stands as a dose of its own, from the
    record of the steady one on, for what is left of it.
    """
    record = events.record
    tail = Events(
        record=record,
        begin=record,
        end=jnp.where(steady, jnp.maximum(record, events.end - interval), record),
        jump=0.0 * events.jump,
        rate=events.rate,
        times=events.times,
    )
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), events, tail)
    return both._replace(
        times=events.times,
        resets=jnp.concatenate([steady, jnp.zeros_like(steady)]),
        left=jnp.concatenate([left, left]),
    )


def _why(solver: Solver, end: Progress, misplaced: bool, size: int) -> str:
    """Why an integration has failed, and what to do."""
    if misplaced:
        return f"a dose goes into a compartment beyond the {size} states of the system: give `initial` one for each."
    name = type(solver).__name__
    reached = f"{float(end.time):.4g}"
    if isinstance(solver, RK4):
        return f"the states are not finite after time {reached}: give {name} more steps, or use mf.dynamics.Tsit5()."
    too_short = float(end.plan) < 1e-12
    needed = "steps too short to go on" if too_short else f"more than {solver.max_steps} steps"
    return (
        f"the ODE solver {name} needed {needed} and stopped at time {reached}: look for a value far off "
        "or a state that runs away, use mf.dynamics.Kvaerno5(), or allow more."
    )
