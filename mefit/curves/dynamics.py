"""Ordinary differential equations of any right-hand side, with doses as jumps and infusions.

One integration runs through all that happens to a subject: it stops exactly at each dose, end of an infusion and
requested time, in whatever order they come; padding costs nothing. The formulas are Diffrax's, the loop is the kit's:
it has to compile quickly under second derivatives, and to run forward and in reverse. To derivatives the length of a
step is a constant, but the place of a stop is not, so that a lag has its derivative.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, ArrayLike, Bool, Float

from ..data.subject import Subject
from .pk import steady_doses

_CHUNK = 8  # steps between two looks at whether all subjects of a batch have arrived
_PERIODS = 8  # Newton steps to a steady state: one where the system is linear


class _Adaptive(eqx.Module):
    """What the solvers with error control share: h <- 0.9 h (error / allowed)^(-1/5), by a factor of 1/5 to 5.

    A solver has a `formula` for the state after a step and its error, and a rule: `begin` makes the first plan,
    `length` the next step, and whether it gets to the stop `gap` away, `judge` whether it counts, and the next plan.
    """

    rtol: float = 1e-7
    atol: float = 1e-9
    max_steps: int = 1000
    shortest: ClassVar[float] = 1e-13  # of all the time; where the slope is not finite no step is short enough

    def begin(self, span):
        return 1e-3 * span

    def length(self, plan, gap):
        hit = gap <= 1.0000001 * plan
        return jnp.where(hit, gap, plan), hit

    def judge(self, plan, h, hit, y, new, error):
        scale = self.atol + self.rtol * jnp.maximum(jnp.abs(y), jnp.abs(new))
        ratio = jnp.sqrt(jnp.mean((error / scale) ** 2))
        factor = jnp.where(jnp.isfinite(ratio), jnp.clip(0.9 * jnp.maximum(ratio, 1e-10) ** -0.2, 0.2, 5.0), 0.2)
        counts = ratio <= 1.0
        # A step cut short by a stop says little about how long the next one may be.
        return counts, jnp.where(counts & hit, jnp.maximum(h * factor, plan), h * factor)

    def most(self, stops):
        return self.max_steps + 20 * stops


class Tsit5(_Adaptive):
    """Tsitouras's explicit method of order 5, for systems that are not stiff: the error of each step stays within
    `atol` + `rtol` |state|, and more than `max_steps` of them, and 20 for each dose and time, are given up.

    Source: Tsitouras (2011), Comput. Math. Appl. 62.
    """

    def formula(self, rhs, t, y, h):
        import diffrax  # here and not above, where it would be a sixth of the time that `import mefit` takes

        tableau = diffrax.Tsit5.tableau
        slopes = [rhs(t, y)]
        for row, c in zip(tableau.a_lower, tableau.c, strict=True):
            move = sum(float(a) * k for a, k in zip(row, slopes, strict=True) if a)
            slopes.append(rhs(t + float(c) * h, y + h * move))
        weigh = (tableau.b_sol, tableau.b_error)
        move, error = (sum(float(b) * k for b, k in zip(w, slopes, strict=True) if b) for w in weigh)
        return y + h * move, h * error


class Kvaerno5(_Adaptive):
    """Kvaerno's implicit method of order 5, for stiff systems; a step solves equations, which takes its time.

    Source: Kvaerno (2004), BIT Numer. Math. 44.
    """

    def formula(self, rhs, t, y, h):
        import diffrax
        import optimistix

        # With Diffrax's default, VeryChord, Robertson's problem takes 15 times as many steps: most do not converge.
        newton: Any = optimistix.Newton(rtol=self.rtol, atol=self.atol)
        method = diffrax.Kvaerno5(scan_kind="bounded", root_finder=newton)
        term = diffrax.ODETerm(lambda t, y, args: rhs(t, y))
        memory = method.init(term, t, t + h, y, None)  # type: ignore[arg-type]
        new, error, _, _, result = method.step(term, t, t + h, y, None, memory, False)  # type: ignore[arg-type]
        return new, jnp.where(result == diffrax.RESULTS.successful, error, jnp.inf)  # type: ignore[arg-type]


class RK4(eqx.Module):
    """The classical method of order 4 with `steps` equal steps from one stop to the next, and no look at the error.

    A step longer than 2.7 / the fastest rate explodes. Source: Kutta (1901), Z. Math. Phys. 46."""

    steps: int = 20
    shortest: ClassVar[float] = 0.0

    def formula(self, rhs, t, y, h):
        a = rhs(t, y)
        b = rhs(t + h / 2, y + h / 2 * a)
        c = rhs(t + h / 2, y + h / 2 * b)
        d = rhs(t + h, y + h * c)
        return y + h / 6 * (a + 2 * b + 2 * c + d), jnp.zeros_like(y)

    def begin(self, span):
        return float(self.steps)

    def length(self, plan, gap):
        return gap / plan, plan < 1.5

    def judge(self, plan, h, hit, y, new, error):
        return jnp.asarray(True), jnp.where(hit, float(self.steps), plan - 1.0)

    def most(self, stops):
        return self.steps * stops


Solver = Tsit5 | Kvaerno5 | RK4


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
    """The states y of  dy/dt = rhs(t, y) + infusions  at the subject's times, with boluses as jumps of y:

        def rhs(t, y):
            depot, central = y
            return [-ka * depot, ka * depot - cl / v * central]
        amounts = mf.dynamics.solve(rhs, [0.0, 0.0], subject)        # (n, 2)

    A dose into compartment k adds F amount to state k (from 1) at its time + lag, or from then on at the rate F amount
    / duration; at its very time the state is the one just after. A dose at steady state first sets the state to what
    the same dose, every `interval` for ever before, has left; lag and duration must not be longer than the interval.

    Args:
        rhs: the right-hand side in plain JAX; it may use parameters, covariates and networks from around it.
        initial: the S states at `start`, which may depend on parameters.
        subject: its `doses` are read, and its `time` unless `time` is given.
        lag, bioavailability: a number for all doses, or one for each of the S compartments.
        solver: `Tsit5()` unless given, `Kvaerno5()` where the system is stiff, or `RK4()`.
        time: times (m,) instead of `subject.time`, in any order.
        start: when `initial` holds, the subject's first record unless given; what is before is not looked at.

    Returns:
        (n, S). Where the solver fails the states are NaN, so that a fit steps back from there. Outside of a compiled
        program, where a fit looks at its start, that raises a ValueError, as does a dose into a missing compartment.
    """
    solver, state = solver or Tsit5(), jnp.asarray(initial, float)
    doses, size = subject.doses, state.shape[0]
    times = subject.time if time is None else jnp.asarray(time, float)
    first = jnp.min(jnp.where(doses.amount != 0, doses.time, jnp.inf), initial=jnp.inf)
    start = jnp.minimum(first, jnp.min(subject.time)) if start is None else jnp.asarray(start, float)

    def flow(t, y):
        slope = jnp.asarray(rhs(t, y), float)
        if slope.shape != y.shape:
            raise ValueError(f"rhs returned {slope.shape} for a state {y.shape}: give one derivative for each state.")
        return slope

    place = (doses.compartment[:, None] == jnp.arange(1, size + 1)).astype(float)
    delay, share = (place @ jnp.broadcast_to(jnp.asarray(x, float), (size,)) for x in (lag, bioavailability))
    lost = (doses.amount != 0) & (place.sum(1) == 0)
    amount = jnp.where(lost, jnp.nan, doses.amount * share)[:, None] * jnp.where(lost[:, None], 1.0, place)
    lasting = (doses.duration > 0)[:, None]
    rate = jnp.where(lasting, amount / jnp.where(lasting, doses.duration[:, None], 1.0), 0.0)
    jump = jnp.where(lasting, 0.0, amount)
    events = _Events(doses.time, doses.time + delay, doses.time + delay + doses.duration, jump, rate, times)
    train = steady_doses(doses)
    if train is not None and doses.time.size:
        interval, steady = train
        before = (jnp.zeros_like(interval), delay, delay + doses.duration, jump, rate, interval)
        left = jax.vmap(lambda *dose: _steady(solver, flow, state, *dose))(steady, *before)
        # The dose before may still be running: from the record of this one on, for what is left of it.
        tail = jnp.where(steady, jnp.maximum(doses.time, events.end - interval), doses.time)
        more = _Events(doses.time, doses.time, tail, 0.0 * jump, rate, times)
        joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), events._replace(times=times[:0]), more)
        events = joined._replace(resets=jnp.concatenate([steady, steady & False]), left=jnp.concatenate([left, left]))
    end = _integrate(solver, flow, start, state, events)
    if not isinstance(end.out, jax.core.Tracer) and not bool(jnp.all(jnp.isfinite(end.out))):
        raise ValueError(_why(solver, end, bool(jnp.any(lost)), size))
    return end.out


def _why(solver: Solver, end: "_Progress", misplaced: bool, size: int) -> str:
    if misplaced:
        return f"a dose goes into a compartment beyond the {size} states of the system: give `initial` one for each."
    name, reached = type(solver).__name__, f"{float(end.time):.4g}"
    if isinstance(solver, RK4):
        return f"the states are not finite after time {reached}: give {name} more steps, or use mf.dynamics.Tsit5()."
    needed = "steps too short to go on" if float(end.plan) < 1e-12 else f"more than {solver.max_steps} steps"
    told = f"the ODE solver {name} needed {needed} and stopped at time {reached}"
    return f"{told}: look for a value far off or a state that runs away, use mf.dynamics.Kvaerno5(), or allow more."


class _Events(NamedTuple):
    """Of every dose its record, beginning and end (d,), what it adds at once and at which rate (d, S), whether it sets
    the state at its record, and to what; and the times (n,) asked for."""

    record: Float[Array, " d"]
    begin: Float[Array, " d"]
    end: Float[Array, " d"]
    jump: Float[Array, "d S"]
    rate: Float[Array, "d S"]
    times: Float[Array, " n"]
    resets: Bool[Array, " d"] | None = None
    left: Float[Array, "d S"] | None = None


class _Progress(NamedTuple):
    """Where an integration is: time and state, up to where doses and times were seen to, the last reset, the plan."""

    time: Float[Array, ""]
    state: Float[Array, " S"]
    dosed: Float[Array, ""]
    seen: Float[Array, ""]
    reset: Float[Array, ""]
    plan: Float[Array, ""]
    out: Any = None  # (n, S), of the last


def _integrate(solver: Solver, rhs: Callable, start: Array, state: Array, events: _Events) -> _Progress:
    sets = [] if events.resets is None else [events.record]
    switches = jnp.concatenate([events.begin, events.end, *sets, jnp.full(1, jnp.inf)])
    fixed, here, times = stop_gradient((switches, start, events.times))
    last = jnp.max(times, initial=-jnp.inf)
    begin, end, record = stop_gradient((events.begin, events.end, events.record))

    def arrive(state, reset, after, now):
        """What the doses of the times in (after, now] do to the state."""
        if events.resets is not None and events.left is not None:
            due = events.resets & (after < record) & (record <= now)
            latest = jnp.max(jnp.where(due, record, -jnp.inf), initial=-jnp.inf)
            there = jnp.sum(jnp.where((due & (record == latest))[:, None], events.left, 0.0), 0)
            state, reset = jnp.where(jnp.any(due), there, state), jnp.maximum(reset, latest)
        given = (after < begin) & (begin <= now) & (record >= reset)
        return state + jnp.sum(jnp.where(given[:, None], events.jump, 0.0), 0), reset

    def step(p):
        on = (begin <= p.dosed) & (p.dosed < end) & (record >= p.reset)
        rate = jnp.sum(jnp.where(on[:, None], events.rate, 0.0), 0)
        next_time = jnp.min(jnp.where(times > p.seen, times, jnp.inf))
        later = jnp.where(fixed > p.dosed, fixed, jnp.inf)
        which = jnp.argmin(later)
        dose = later[which] <= next_time
        stop = jnp.where(p.seen < last, jnp.where(dose, switches[which], next_time), p.time)  # never infinite
        h, hit = solver.length(p.plan, stop - p.time)
        new, error = solver.formula(lambda t, y: rhs(t, y) + rate, p.time, p.state, h)
        counts, plan = solver.judge(*stop_gradient((p.plan, h, hit, p.state, new, error)))
        dosed, seen, value = counts & hit & dose, counts & hit & ~dose, stop_gradient(stop)
        given, reset = arrive(new, p.reset, p.dosed, value)
        time = jnp.where(counts, jnp.where(hit, stop, p.time + h), p.time)
        state = jnp.where(dosed, given, jnp.where(counts, new, p.state))
        until = jnp.where(dosed, value, p.dosed), jnp.where(seen, value, p.seen), jnp.where(dosed, reset, p.reset)
        place = jnp.where(seen, jnp.sum(distinct & (ordered < value)), times.size)
        return _Progress(time, state, *until, plan), (new, place)

    dosed, reset = arrive(state, -jnp.asarray(jnp.inf), here - 1e-9, here)
    span = jnp.maximum(last - here, 1e-300)
    plan = jnp.asarray(solver.begin(span))
    progress = _Progress(start, dosed, here, here, reset, plan)
    # A row for each distinct time; rows of states are put in after every chunk of steps, for there may be many.
    ordered = jnp.sort(times)
    distinct = jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])[: times.size]
    rows = jnp.full((times.size, state.size), jnp.nan)

    def going(p):
        return (p.seen < last) & (p.plan > solver.shortest * span)

    def one(p, _):
        after, (state, place) = step(p)
        kept = jax.tree.map(lambda a, b: jnp.where(going(p), a, b), after, p)
        return kept, (state, jnp.where(going(p), place, times.size))

    def steps(carry):
        p, (states, places) = jax.lax.scan(one, carry[0], None, length=_CHUNK)
        return p, carry[1].at[places].set(states, mode="drop")

    def chunk(carry, _):
        return jax.lax.cond(eqxi.unvmap_any(going(carry[0])), steps, lambda same: same, carry), None

    most = -(-solver.most(switches.size + times.size) // _CHUNK)
    arrived, rows = jax.lax.scan(chunk, (progress, rows), None, length=most)[0]
    at, of_row = times[:, None], (jnp.cumsum(distinct) - 1)[jnp.searchsorted(ordered, times)]
    return arrived._replace(out=jnp.where(at < here, state, jnp.where(at == here, dosed, rows[of_row])))


def _steady(solver: Solver, rhs: Callable, state: Array, steady: Array, *dose: Array) -> Array:
    """The state at a dose's record that returns after one interval: Newton's method on the map over an interval."""
    record, begin, end, jump, rate, interval = dose
    wrapped = jnp.maximum(end - interval, 0.0)  # of the dose before, still running

    def period(y):
        pairs = (record, record), (begin, record), (end, wrapped), (jump, 0 * jump), (rate, rate)
        events = _Events(*[jnp.stack(pair) for pair in pairs], *[interval[None]])
        return _integrate(solver, rhs, jnp.zeros(()), y, events).out[0]

    def newton(y, _):
        jacobian, after = jax.jacfwd(lambda y: (period(y),) * 2, has_aux=True)(y)
        slope = jnp.where(steady, jnp.eye(y.size) - jacobian, jnp.eye(y.size))
        return y + jnp.linalg.solve(slope, jnp.where(steady, after - y, 0.0)), None

    found = jax.lax.scan(newton, state, None, length=_PERIODS)[0]
    off = jnp.max(jnp.abs(period(found) - found)) > 1e-6 * jnp.max(jnp.abs(found)) + 1e-9
    return jnp.where(steady & (off | (begin > interval) | (end - begin > interval)), jnp.nan, found)
