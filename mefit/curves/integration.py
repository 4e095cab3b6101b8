"""One integration through all that happens to a subject.

It stops exactly at each dose, end of an infusion and requested time, in whatever order they come;
padding costs nothing. The loop is the kit's own: it has to compile quickly under second
derivatives, and to run forward and in reverse. To derivatives the length of a step is a constant,
but the place of a stop is not, so that a lag has its derivative.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from .solvers import Solver

_CHUNK = 8  # steps between two looks at whether all subjects of a batch have arrived
_PERIODS = 8  # Newton steps to a steady state: one where the system is linear


class Events(NamedTuple):
    """What happens to the state: d doses into S states, and the n times asked for."""

    record: Float[Array, " d"]  # the time a dose is written at
    begin: Float[Array, " d"]  # when it enters: its lag later
    end: Float[Array, " d"]  # when its infusion ends; `begin` where it has none
    jump: Float[Array, "d S"]  # what it adds to the state at once, at `begin`
    rate: Float[Array, "d S"]  # what it adds in a unit of time, from `begin` to `end`
    times: Float[Array, " n"]  # at which the state is asked for, in any order
    # at steady state; None where no dose is
    resets: Bool[Array, " d"] | None = None  # whether the dose sets the state at its record
    left: Float[Array, "d S"] | None = None  # the state that it sets


class Progress(NamedTuple):
    """Where an integration is."""

    time: Float[Array, ""]
    state: Float[Array, " S"]
    dosed: Float[Array, ""]  # up to when doses have been seen to
    seen: Float[Array, ""]  # up to when the times asked for have been
    reset: Float[Array, ""]  # the record of the last dose that set the state
    plan: Float[Array, ""]  # the solver's
    out: Any = None  # at the end, the states (n, S) at the times asked for


@dataclasses.dataclass(frozen=True)
class _Course:
    """What stays the same from step to step. Times without a derivative are constants to it."""

    solver: Solver
    rhs: Callable[[Array, Array], Array]
    events: Events
    switches: Array  # when a dose begins, ends or sets the state, then infinity
    switches_fixed: Array  # the same without a derivative, and so are all below
    begin: Array
    end: Array
    record: Array
    times: Array
    last: Array  # of the times asked for
    span: Array  # from the start to the last
    ordered: Array  # the times asked for, sorted
    distinct: Array  # whether each of those differs from the one before

    def arrive(self, state: Array, reset: Array, after: Array, now: Array) -> tuple[Array, Array]:
        """State and last reset, once the doses of the times in (after, now] are seen to."""
        events = self.events
        if events.resets is not None and events.left is not None:
            due = events.resets & (after < self.record) & (self.record <= now)
            latest = jnp.max(jnp.where(due, self.record, -jnp.inf), initial=-jnp.inf)
            sets = due & (self.record == latest)
            there = jnp.sum(jnp.where(sets[:, None], events.left, 0.0), 0)
            state = jnp.where(jnp.any(due), there, state)
            reset = jnp.maximum(reset, latest)
        given = (after < self.begin) & (self.begin <= now) & (self.record >= reset)
        return state + jnp.sum(jnp.where(given[:, None], events.jump, 0.0), 0), reset

    def going(self, p: Progress) -> Array:
        """Whether there is a way to go, and steps of a length to go it."""
        return (p.seen < self.last) & (p.plan > self.solver.shortest * self.span)

    def step(self, p: Progress) -> tuple[Progress, tuple[Array, Array]]:
        """One step towards the next stop; and the state there, with the row it belongs to.

        The row is that of the distinct times, or beyond all rows where the step does not arrive at
        one.
        """
        on = (self.begin <= p.dosed) & (p.dosed < self.end) & (self.record >= p.reset)
        rate = jnp.sum(jnp.where(on[:, None], self.events.rate, 0.0), 0)
        next_time = jnp.min(jnp.where(self.times > p.seen, self.times, jnp.inf))
        later = jnp.where(self.switches_fixed > p.dosed, self.switches_fixed, jnp.inf)
        which = jnp.argmin(later)
        dose_first = later[which] <= next_time
        stop = jnp.where(dose_first, self.switches[which], next_time)
        stop = jnp.where(p.seen < self.last, stop, p.time)  # never infinite
        h, hit = self.solver.length(p.plan, stop - p.time)
        new, error = self.solver.formula(lambda t, y: self.rhs(t, y) + rate, p.time, p.state, h)
        constants = stop_gradient((p.plan, h, hit, p.state, new, error))
        accepted, plan = self.solver.judge(*constants)
        at_dose = accepted & hit & dose_first
        at_time = accepted & hit & ~dose_first
        now = stop_gradient(stop)
        given, reset = self.arrive(new, p.reset, p.dosed, now)
        moved = Progress(
            time=jnp.where(accepted, jnp.where(hit, stop, p.time + h), p.time),
            state=jnp.where(at_dose, given, jnp.where(accepted, new, p.state)),
            dosed=jnp.where(at_dose, now, p.dosed),
            seen=jnp.where(at_time, now, p.seen),
            reset=jnp.where(at_dose, reset, p.reset),
            plan=plan,
        )
        row = jnp.where(at_time, jnp.sum(self.distinct & (self.ordered < now)), self.times.size)
        return moved, (new, row)

    def run(self, progress: Progress) -> tuple[Progress, Array]:
        """Steps until the last time; and the states at the distinct times (n, S), then NaN.

        Rows of states are put in after every chunk of steps, for there may be many.
        """

        def step_or_stay(p, _):
            moved, (state, row) = self.step(p)
            kept = jax.tree.map(lambda new, old: jnp.where(self.going(p), new, old), moved, p)
            return kept, (state, jnp.where(self.going(p), row, self.times.size))

        def steps(carry):
            p, rows = carry
            p, (states, places) = jax.lax.scan(step_or_stay, p, None, length=_CHUNK)
            return p, rows.at[places].set(states, mode="drop")

        def chunk(carry, _):
            p, _ = carry
            any_going = eqxi.unvmap_any(self.going(p))
            return jax.lax.cond(any_going, steps, lambda same: same, carry), None

        rows = jnp.full((self.times.size, progress.state.size), jnp.nan)
        most = self.solver.most(self.switches.size + self.times.size)
        carry, _ = jax.lax.scan(chunk, (progress, rows), None, length=math.ceil(most / _CHUNK))
        return carry


def _course(solver: Solver, rhs: Callable[[Array, Array], Array], start: Array, events: Events) -> _Course:
    sets = [] if events.resets is None else [events.record]
    switches = jnp.concatenate([events.begin, events.end, *sets, jnp.full(1, jnp.inf)])
    times = stop_gradient(events.times)
    last = jnp.max(times, initial=-jnp.inf)
    ordered = jnp.sort(times)
    return _Course(
        solver=solver,
        rhs=rhs,
        events=events,
        switches=switches,
        switches_fixed=stop_gradient(switches),
        begin=stop_gradient(events.begin),
        end=stop_gradient(events.end),
        record=stop_gradient(events.record),
        times=times,
        last=last,
        span=jnp.maximum(last - stop_gradient(start), 1e-300),
        ordered=ordered,
        distinct=jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])[: times.size],
    )


def integrate(
    solver: Solver, rhs: Callable[[Array, Array], Array], start: Array, state: Array, events: Events
) -> Progress:
    """The states y of  dy/dt = rhs(t, y) + infusions  from `state` at `start`, doses as jumps.

    Times before the start have the state given; those at the start the one after the doses of then.
    """
    course = _course(solver, rhs, start, events)
    here = stop_gradient(start)
    dosed, reset = course.arrive(state, -jnp.asarray(jnp.inf), here - 1e-9, here)
    progress = Progress(
        time=start,
        state=dosed,
        dosed=here,
        seen=here,
        reset=reset,
        plan=jnp.asarray(solver.begin(course.span)),
    )
    arrived, rows = course.run(progress)
    row = (jnp.cumsum(course.distinct) - 1)[jnp.searchsorted(course.ordered, course.times)]
    moment = course.times[:, None]
    later = jnp.where(moment == here, dosed, rows[row])
    return arrived._replace(out=jnp.where(moment < here, state, later))


class Recurring(NamedTuple):
    """A dose that is given every `interval` for ever, in times since its record."""

    steady: Bool[Array, ""]  # whether it is: other doses may stand beside it
    interval: Float[Array, ""]
    begin: Float[Array, ""]
    end: Float[Array, ""]
    jump: Float[Array, " S"]
    rate: Float[Array, " S"]


def steady_state(solver: Solver, rhs: Callable[[Array, Array], Array], state: Array, dose: Recurring) -> Array:
    """The state at a dose's record that returns after one interval.

    Newton's method on the map over an interval, from `state`. NaN where it has not settled, and
    where lag or duration are longer than the interval.
    """
    record = jnp.zeros_like(dose.interval)
    wrapped = jnp.maximum(dose.end - dose.interval, 0.0)  # of the dose before, still running
    events = Events(
        record=jnp.stack([record, record]),
        begin=jnp.stack([dose.begin, record]),
        end=jnp.stack([dose.end, wrapped]),
        jump=jnp.stack([dose.jump, 0 * dose.jump]),
        rate=jnp.stack([dose.rate, dose.rate]),
        times=dose.interval[None],
    )

    def period(y):
        return integrate(solver, rhs, jnp.zeros(()), y, events).out[0]

    def period_twice(y):
        after = period(y)
        return after, after

    def newton(y, _):
        jacobian, after = jax.jacfwd(period_twice, has_aux=True)(y)
        slope = jnp.where(dose.steady, jnp.eye(y.size) - jacobian, jnp.eye(y.size))
        return y + jnp.linalg.solve(slope, jnp.where(dose.steady, after - y, 0.0)), None

    settled, _ = jax.lax.scan(newton, state, None, length=_PERIODS)
    change = jnp.max(jnp.abs(period(settled) - settled))
    unsettled = change > 1e-6 * jnp.max(jnp.abs(settled)) + 1e-9
    too_long = (dose.begin > dose.interval) | (dose.end - dose.begin > dose.interval)
    return jnp.where(dose.steady & (unsettled | too_long), jnp.nan, settled)
