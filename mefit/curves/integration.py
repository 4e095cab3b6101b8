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
from jaxtyping import Array, Bool, Float, Int

from ..base.places import place_among
from .solvers import Solver
from .trains import Train

MOST_FORMER = 40  # doses before those at steady state that may still be to come, or still run
_CHUNK = 8  # steps between two looks at whether all subjects of a batch have arrived


class Resets(NamedTuple):
    """Records (d,) that set the state, or add to it."""

    replaces: Bool[Array, " d"]  # whether it does away with the state, and with all doses before it
    state: Float[Array, "d S"]  # what it sets the state to, if so
    more: Float[Array, "d S"]  # what it adds to the state at its record


class Inflow(NamedTuple):
    """What d doses add in a unit of time, from when they enter on."""

    end: Train  # until when; a dose's own beginning where it is no infusion
    rate: Float[Array, "d S"]


class Events(NamedTuple):
    """What happens to the state: d doses into S states, and the n times asked for."""

    record: Float[Array, " d"]  # the time a dose is written at
    turn: Int[Array, " d"]  # its place in the order of the records
    begin: Train  # when it enters: its lag later
    jump: Float[Array, "d S"]  # what it adds to the state at once, at `begin`
    times: Float[Array, " n"]  # at which the state is asked for, in any order
    inflow: Inflow | None = None  # None where no dose is an infusion
    resets: Resets | None = None  # None where no record can be one
    stops: Float[Array, " k"] | None = None  # where the right-hand side may jump


class Progress(NamedTuple):
    """Where an integration is."""

    time: Float[Array, ""]
    state: Float[Array, " S"]
    highest: Float[Array, " S"]  # the largest size that each state has had
    dosed: Float[Array, ""]  # up to when doses have been seen to
    seen: Float[Array, ""]  # up to when the times asked for have been
    reset: Int[Array, ""]  # the turn of the last record that did away with what was before
    plan: Float[Array, ""]  # the solver's
    out: Any = None  # at the end, the states (n, S) at the times asked for


@dataclasses.dataclass(frozen=True)
class _Course:
    """What stays the same from step to step. Times without a derivative are constants to it."""

    solver: Solver
    rhs: Callable[[Array, Array], Array]
    events: Events
    record: Array
    times: Array
    last: Array  # of the times asked for
    span: Array  # from the start to the last
    size: Array  # the largest number among the initial states and what doses bring
    ordered: Array  # the times asked for, sorted
    distinct: Array  # whether each of those differs from the one before

    def begin(self, state: Array, now: Array) -> tuple[Array, Array]:
        """State and last reset, once the doses of the very start are seen to; earlier ones are lost."""
        before = self.events.begin.passed_before(now)
        nothing_yet = jnp.asarray(-1, self.events.turn.dtype)
        return self._arrive(state, nothing_yet, before, self.record == now, now)

    def arrive(self, p: Progress, state: Array, now: Array) -> tuple[Array, Array]:
        """State and last reset, once the doses of the times since `p` up to now are seen to."""
        due = (p.dosed < self.record) & (self.record <= now)
        return self._arrive(state, p.reset, self.events.begin.passed(p.dosed), due, now)

    def _arrive(self, state: Array, reset: Array, before: Array, due: Array, now: Array) -> tuple[Array, Array]:
        events = self.events
        if events.resets is not None:
            replaces = due & events.resets.replaces
            latest = jnp.max(jnp.where(replaces, events.turn, -1), initial=-1)
            sets = replaces & (events.turn == latest)
            there = jnp.sum(jnp.where(sets[:, None], events.resets.state, 0.0), 0)
            state = jnp.where(jnp.any(replaces), there, state)
            reset = jnp.maximum(reset, latest)
            adds = due & (events.turn >= reset)
            state = state + jnp.sum(jnp.where(adds[:, None], events.resets.more, 0.0), 0)
        entered = events.begin.passed(now) - before
        entered = jnp.where(events.turn >= reset, entered, 0.0)[:, None]
        return state + jnp.sum(jnp.where(entered > 0, entered * events.jump, 0.0), 0), reset

    def inflow(self, p: Progress) -> Array:
        """What the infusions that run add to the states in a unit of time."""
        inflow = self.events.inflow
        if inflow is None:
            return jnp.zeros_like(p.state)
        running = self.events.begin.passed(p.dosed) - inflow.end.passed(p.dosed)
        # Infusions from before a record at steady state are in its state until then.
        counts = (self.events.turn >= p.reset) & (self.record <= p.dosed)
        running = jnp.where(counts, running, 0.0)[:, None]
        return jnp.sum(jnp.where(running > 0, running * inflow.rate, 0.0), 0)

    def inside(self, opening: Array, closing: Array) -> Callable[[Array], Array]:
        """Times as a step from opening to closing sees them: what jumps at a stop, such as a
        covariate, jumps before a step or after it.
        """
        hair = 4e-16 * jnp.maximum(jnp.maximum(jnp.abs(opening), jnp.abs(closing)), self.span)

        def seen(t):
            within = jnp.clip(t, opening + hair, closing - hair)
            return t + stop_gradient(within - t)

        return seen

    def following(self, now: Array) -> Array:
        """The next time at which something happens to the state, infinite where nothing does."""
        events = self.events
        coming = [events.begin.following(now)]
        if events.inflow is not None:
            coming.append(events.inflow.end.following(now))
        if events.resets is not None:
            coming.append(jnp.where(self.record > now, events.record, jnp.inf))
        if events.stops is not None:
            coming.append(jnp.where(events.stops > now, events.stops, jnp.inf))
        later = jnp.concatenate([*coming, jnp.full(1, jnp.inf)])
        return later[jnp.argmin(stop_gradient(later))]

    def going(self, p: Progress) -> Array:
        """Whether there is a way to go, and steps of a length to go it."""
        return (p.seen < self.last) & (p.plan > self.solver.shortest * self.span)

    def step(self, p: Progress) -> tuple[Progress, tuple[Array, Array]]:
        """One step towards the next stop; and the state there, with the row it belongs to.

        The row is that of the distinct times, or beyond all rows where the step does not arrive at
        one.
        """
        rate = self.inflow(p)
        next_time = jnp.min(jnp.where(self.times > p.seen, self.times, jnp.inf))
        switch = self.following(p.dosed)
        dose_first = stop_gradient(switch) <= next_time
        stop = jnp.where(dose_first, switch, next_time)
        stop = jnp.where(p.seen < self.last, stop, p.time)  # never infinite
        h, hit = self.solver.length(p.plan, stop - p.time)
        inside = self.inside(stop_gradient(p.time), stop_gradient(stop))

        def rhs(t, y):
            return self.rhs(inside(t), y) + rate

        floor = self.solver.floor(p.highest, self.size)
        new, error = self.solver.formula(rhs, p.time, p.state, h, stop_gradient(floor))
        constants = stop_gradient((p.plan, h, hit, p.state, new, error, floor))
        accepted, plan = self.solver.judge(*constants)
        at_dose = accepted & hit & dose_first
        at_time = accepted & hit & ~dose_first
        now = stop_gradient(stop)
        given, reset = self.arrive(p, new, now)
        state = jnp.where(at_dose, given, jnp.where(accepted, new, p.state))
        moved = Progress(
            time=jnp.where(accepted, jnp.where(hit, stop, p.time + h), p.time),
            state=state,
            highest=jnp.maximum(p.highest, jnp.abs(stop_gradient(state))),
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
        most = self.solver.most(self._switches + self.times.size)
        carry, _ = jax.lax.scan(chunk, (progress, rows), None, length=math.ceil(most / _CHUNK))
        return carry

    @property
    def _switches(self) -> int:
        """How many times at which something happens to the state there may be."""
        events = self.events
        doses = events.record.size + (0 if events.begin.step is None else MOST_FORMER)
        records = 0 if events.resets is None else events.record.size
        stops = 0 if events.stops is None else events.stops.size
        each = 1 if events.inflow is None else 2
        return each * doses + records + stops + 1


def _course(
    solver: Solver, rhs: Callable[[Array, Array], Array], start: Array, state: Array, events: Events
) -> _Course:
    times = stop_gradient(events.times)
    last = jnp.max(times, initial=-jnp.inf)
    ordered = jnp.sort(times)
    brought = [state, events.jump.ravel()]
    if events.inflow is not None:
        lasts = (events.inflow.end.first - events.begin.first)[:, None]
        brought.append((events.inflow.rate * lasts).ravel())
    if events.resets is not None:
        brought += [events.resets.state.ravel(), events.resets.more.ravel()]
    sizes = jnp.abs(stop_gradient(jnp.concatenate(brought)))
    return _Course(
        solver=solver,
        rhs=rhs,
        events=events,
        record=stop_gradient(events.record),
        times=times,
        last=last,
        span=jnp.maximum(last - stop_gradient(start), 1e-300),
        size=jnp.max(sizes, initial=0.0, where=jnp.isfinite(sizes)),
        ordered=ordered,
        distinct=jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])[: times.size],
    )


def integrate(
    solver: Solver, rhs: Callable[[Array, Array], Array], start: Array, state: Array, events: Events
) -> Progress:
    """The states y of  dy/dt = rhs(t, y) + infusions  from `state` at `start`, doses as jumps.

    Times before the start have the state given; those at the start the one after the doses of then.
    """
    course = _course(solver, rhs, start, state, events)
    here = stop_gradient(start)
    dosed, reset = course.begin(state, here)
    progress = Progress(
        time=start,
        state=dosed,
        highest=jnp.maximum(jnp.abs(stop_gradient(state)), jnp.abs(stop_gradient(dosed))),
        dosed=here,
        seen=here,
        reset=reset,
        plan=jnp.asarray(solver.begin(course.span)),
    )
    arrived, rows = course.run(progress)
    row = (jnp.cumsum(course.distinct) - 1)[place_among(course.ordered, course.times)]
    moment = course.times[:, None]
    later = jnp.where(moment == here, dosed, rows[row])
    return arrived._replace(out=jnp.where(moment < here, state, later))
