"""Ordinary differential equations of any right-hand side, with doses as jumps and infusions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from ..data.doses import Doses, PerDose
from ..data.subject import Subject
from .dosing import Given, PerDoseOrNumber, Steady, given_doses, number_per_dose
from .integration import Events, Inflow, Progress, Resets, integrate
from .jumps import jumps_between_stops
from .solvers import RK4, Kvaerno5, Solver, Tsit5
from .steady import Recurring, steady_state
from .trains import Train

__all__ = ["RK4", "Kvaerno5", "Solver", "Tsit5", "solve"]


def solve(
    rhs: Callable[[Array, Array], Any],
    initial: ArrayLike | list | tuple,
    subject: Subject,
    *,
    lag: PerDoseOrNumber = 0.0,
    bioavailability: PerDoseOrNumber = 1.0,
    rate: PerDoseOrNumber | None = None,
    duration: PerDoseOrNumber | None = None,
    solver: Solver | None = None,
    time: ArrayLike | list | None = None,
    start: ArrayLike | None = None,
    stops: ArrayLike | list | None = None,
) -> Float[Array, "n S"]:
    """The states y of  dy/dt = rhs(t, y) + infusions  at the subject's times; boluses are jumps of y:

        def rhs(t, y):
            depot, central = y
            return [-ka * depot, ka * depot - cl / v * central]
        amounts = mf.dynamics.solve(rhs, [0.0, 0.0], subject)        # (n, 2)

    A dose into compartment k adds F amount to state k (from 1) at its time + lag. With a duration it
    enters from then on at the rate F amount / duration; `mf.Doses` says what each kind
    of record means. At the very time of a dose the state is the one just after it. A dose at steady
    state first sets the state to what the same dose, every `interval` for ever before, has left. A
    reset sets it to `initial`.

    While a steady state is looked for, time runs on from the dose's record through one interval,
    if the right-hand side is then the same again; if it is not, time stands still at the record, so
    that covariates are those of the record.

    Args:
        rhs: the right-hand side in plain JAX, with parameters, covariates, networks from around it.
        initial: the S states at `start`, which may depend on parameters.
        subject: its `doses` are read, and its `time` unless `time` is given.
        lag, bioavailability: a number for all doses, one for each of the S compartments, or where
            they differ between doses `subject.at_doses(...)` or `mf.PerDose(...)`.
        rate, duration: the same, of infusions that leave them to the model (RATE -1, -2).
        solver: `Tsit5()` unless given, `Kvaerno5()` where the system is stiff, or `RK4()`.
        time: times (m,) instead of `subject.time`, in any order.
        start: when `initial` holds, unless given the subject's first record. Earlier doses are lost.
        stops: times (k,) at which an input of your own in `rhs` jumps, so that no step passes over
            it. Records and doses are stops already.

    Returns:
        (n, S). Where the solver fails the states are NaN, so that a fit steps back from there.

    Raises:
        ValueError: outside of a compiled program, where a fit looks at its start, if the solver
            fails, there is no steady state, a dose goes into a missing compartment, or `rhs` jumps
            where no step stops.
    """
    solver = solver or Tsit5()
    state = jnp.asarray(initial, float)
    doses = subject.doses
    times = subject.time if time is None else jnp.asarray(time, float)
    if start is None:
        first_dose = jnp.min(jnp.where(doses.real, doses.time, jnp.inf), initial=jnp.inf)
        start = jnp.minimum(first_dose, jnp.min(subject.time))
    flow = _flow(rhs)
    given = given_doses(
        doses,
        lag=_by_dose("lag", lag, doses, state.size),
        share=_by_dose("bioavailability", bioavailability, doses, state.size),
        rate=None if rate is None else _by_dose("rate", rate, doses, state.size),
        duration=None if duration is None else _by_dose("duration", duration, doses, state.size),
        function="mf.dynamics.solve",
    )
    inputs = _inputs(doses, given, state.size)
    stops = None if stops is None else jnp.ravel(jnp.asarray(stops, float))
    events = _events(solver, flow, state, given, inputs, times)._replace(stops=stops)
    end = integrate(solver, flow, jnp.asarray(start, float), state, events)
    if not isinstance(end.out, jax.core.Tracer):
        if not bool(jnp.all(jnp.isfinite(end.out))):
            raise ValueError(_why(solver, end, inputs, events, state.size))
        _refuse_jumps(flow, state, float(jnp.asarray(start)), events)
    return end.out


def _refuse_jumps(flow: Callable[[Array, Array], Array], state: Array, start: float, events: Events) -> None:
    """ValueError where the right-hand side jumps at times that no step stops at."""
    known = [events.times, events.record, events.begin.first]
    brought = jnp.sum(jnp.abs(events.jump)) + 1.0
    if events.stops is not None:
        known.append(events.stops)
    if events.inflow is not None:
        known.append(events.inflow.end.first)
        brought = brought + jnp.max(jnp.abs(events.inflow.rate), initial=0.0)
    stops = np.concatenate([np.ravel(np.asarray(times)) for times in known])
    end = float(np.max(np.asarray(events.times), initial=start))
    jumps = jumps_between_stops(flow, jnp.abs(state) + brought, start, end, stops)
    if jumps.size:
        told = ", ".join(f"{time:.6g}" for time in jumps[:6])
        raise ValueError(
            f"rhs jumps at time {told}, where no record and no dose is, and steps may pass over it: "
            f"name such times, as in stops=[{told}]."
        )


def _flow(rhs: Callable[[Array, Array], Any]) -> Callable[[Array, Array], Array]:
    """The right-hand side as one array (S,), which is checked."""

    def flow(t: Array, y: Array) -> Array:
        slope = jnp.asarray(rhs(t, y), float)
        if slope.shape != y.shape:
            raise ValueError(f"rhs returned {slope.shape} for a state {y.shape}: give one derivative for each state.")
        return slope

    return flow


def _by_dose(name: str, value: PerDoseOrNumber, doses: Doses, size: int) -> Float[Array, " d"]:
    """A number for each dose, from one for all, one for each of the compartments, or a `PerDose`."""
    if not isinstance(value, PerDose):
        by_compartment: Any = value
        if jnp.shape(by_compartment) == (size,):
            return _places(doses, size) @ jnp.asarray(by_compartment, float)
    return number_per_dose(name, value, doses)


def _places(doses: Doses, size: int) -> Float[Array, "d S"]:
    return (doses.compartment[:, None] == jnp.arange(1, size + 1)).astype(float)


class _Inputs(NamedTuple):
    """What d doses do to S states."""

    jump: Float[Array, "d S"]  # at once
    rate: Float[Array, "d S"] | None  # in a unit of time, while an infusion runs; None where none does
    duration: Float[Array, " d"]
    lost: Bool[Array, " d"]  # whether it goes into a compartment that is no state


def _inputs(doses: Doses, given: Given, size: int) -> _Inputs:
    place = _places(doses, size)
    lost = (place.sum(1) == 0) & doses.real
    place = jnp.where(lost[:, None], jnp.nan, place)
    amount = given.amount[:, None] * place
    if given.infusions is None:
        return _Inputs(jump=amount, rate=None, duration=jnp.zeros_like(given.amount), lost=lost)
    rate = given.infusions.rate[:, None]
    return _Inputs(
        jump=jnp.where(rate == 0, amount, 0.0),
        rate=jnp.where(rate == 0, 0.0, rate * place),
        duration=given.infusions.duration,
        lost=lost,
    )


def _events(
    solver: Solver,
    flow: Callable[[Array, Array], Array],
    state: Array,
    given: Given,
    inputs: _Inputs,
    times: Array,
) -> Events:
    """What happens to the state, doses at steady state included."""
    begin = Train(given.record + given.lag)
    inflow = None
    if inputs.rate is not None:
        rate = inputs.rate
        if given.steady is not None:
            # an infusion that ends at its record is in the state that it leaves
            rate = jnp.where(given.steady.constant[:, None], 0.0, rate)
        inflow = Inflow(end=begin.later(inputs.duration), rate=rate)
    events = Events(record=given.record, turn=given.turn, begin=begin, jump=inputs.jump, inflow=inflow, times=times)
    if given.steady is not None and given.record.size > 0:
        left = _left_by_former(solver, flow, state, given, given.steady, inputs)
        return _with_former(events, given, given.steady, inputs, left, state)
    if given.resets is not None:
        same = jnp.broadcast_to(state, inputs.jump.shape)
        return events._replace(resets=Resets(given.resets, state=same, more=jnp.zeros_like(same)))
    return events


def _left_by_former(
    solver: Solver,
    flow: Callable[[Array, Array], Array],
    state: Array,
    given: Given,
    steady: Steady,
    inputs: _Inputs,
) -> Float[Array, "d S"]:
    """The state that each dose at steady state sets, or adds.

    What is added is the difference that the dose makes, so that a baseline is not added again.
    """
    recurring = Recurring(
        train=steady.train,
        constant=None if inputs.rate is None else steady.constant,
        interval=steady.interval,
        record=given.record,
        begin=given.lag - jnp.floor(given.lag / steady.interval) * steady.interval,
        duration=inputs.duration,
        jump=inputs.jump,
        rate=jnp.zeros_like(inputs.jump) if inputs.rate is None else inputs.rate,
    )
    without = recurring._replace(jump=0.0 * recurring.jump, rate=0.0 * recurring.rate)
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), recurring, without)
    one = jax.vmap(lambda dose: steady_state(solver, flow, state, dose))
    with_dose, without_dose = jax.vmap(one)(both)
    return jnp.where(steady.adds[:, None], with_dose - without_dose, with_dose)


def _with_former(events: Events, given: Given, steady: Steady, inputs: _Inputs, left: Array, state: Array) -> Events:
    """The events of doses that may be at steady state: what those before them have left, and still
    add.

    Of the doses before a steady one some may still be running, and with a lag longer than the
    interval some are still to come. They stand as a train of their own, from the record on.
    """
    whole = given.lag + inputs.duration
    coming = jnp.floor(given.lag / steady.interval)
    running = jnp.ceil(whole / steady.interval) - 1.0
    former = jnp.where(inputs.duration > 0, jnp.maximum(running, coming), coming)
    former = jax.lax.stop_gradient(jnp.where(steady.train, former, 0.0))
    first = given.record + given.lag - former * steady.interval
    both = jnp.concatenate
    begin = Train(
        first=both([events.begin.first, first]),
        step=both([steady.interval, steady.interval]),
        number=both([jnp.ones_like(former), former]),
    )
    inflow = events.inflow
    if inflow is not None:
        twice = both([inputs.duration, inputs.duration])
        inflow = Inflow(end=begin.later(twice), rate=both([inflow.rate, inflow.rate]))
    acts = steady.train | steady.constant
    none = jnp.zeros_like(acts)
    replaces = none if given.resets is None else given.resets
    there = jnp.where((acts & ~steady.adds)[:, None], left, state)
    more = jnp.where((acts & steady.adds)[:, None], left, 0.0)
    return events._replace(
        record=both([events.record, events.record]),
        turn=both([events.turn, events.turn]),
        begin=begin,
        jump=both([events.jump, events.jump]),
        inflow=inflow,
        resets=Resets(both([replaces, none]), state=both([there, there]), more=both([more, 0.0 * more])),
    )


def _has_gaps(resets: Resets) -> bool:
    return not bool(jnp.all(jnp.isfinite(resets.state)) & jnp.all(jnp.isfinite(resets.more)))


def _why(solver: Solver, end: Progress, inputs: _Inputs, events: Events, size: int) -> str:
    """Why an integration has failed, and what to do."""
    if bool(jnp.any(inputs.lost)):
        return f"a dose goes into a compartment beyond the {size} states of the system: give `initial` one for each."
    if events.resets is not None and _has_gaps(events.resets):
        return (
            "there is no steady state for a dose that is marked to be at one (SS): more is given in an interval "
            "than the system can lose, or a state only grows, such as an area. Look at the parameters, or "
            "write the doses one by one."
        )
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
