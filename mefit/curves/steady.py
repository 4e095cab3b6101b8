"""The state that a dose at steady state finds: what endlessly many like it have left."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .integration import Events, Inflow, integrate
from .solvers import Solver
from .trains import Train

_PERIODS = 8  # Newton steps to a steady state: one where the system is linear
_ROOTS = 40  # Newton steps to the state under a constant infusion, which need no integration
_SAME = 1e-9  # relative, of slopes that are to be the same


class Recurring(NamedTuple):
    """One dose that is given every `interval` for ever, or an infusion without end."""

    train: Bool[Array, ""]  # whether it is given every `interval`
    constant: Bool[Array, ""] | None  # whether it is an infusion without end; None where no dose can be
    interval: Float[Array, ""]
    record: Float[Array, ""]
    begin: Float[Array, ""]  # after the record, less than an interval
    duration: Float[Array, ""]
    jump: Float[Array, " S"]
    rate: Float[Array, " S"]


def steady_state(solver: Solver, rhs: Callable[[Array, Array], Array], state: Array, dose: Recurring) -> Array:
    """The state at a dose's record that returns after one interval; NaN where there is none.

    Time runs on from the record through the interval where the right-hand side is the same again
    at its end (a rhythm), and stands still at the record where it is not (covariates that change
    are those of the record).
    """
    flow = _at_record(rhs, state, dose)
    settled = jnp.where(dose.train, _periodic(solver, flow, state, dose), state)
    if dose.constant is None:
        return settled
    return jnp.where(dose.constant, _level(flow, state, dose.constant, dose.rate), settled)


def _at_record(rhs: Callable[[Array, Array], Array], state: Array, dose: Recurring) -> Callable[[Array, Array], Array]:
    """The right-hand side by the time since the record."""
    brought = jnp.sum(jnp.abs(dose.jump) + jnp.abs(dose.rate) * dose.interval)
    probe = jnp.abs(state) + brought * (1.0 + 0.1 * jnp.arange(state.size))
    begins = rhs(dose.record, probe)
    ends = rhs(dose.record + dose.interval, probe)
    size = jnp.max(jnp.abs(begins)) + jnp.max(jnp.abs(ends))
    same = jnp.all(jnp.abs(begins - ends) <= _SAME * size)
    runs = jax.lax.stop_gradient(jnp.where(same & dose.train, 1.0, 0.0))
    return lambda since, y: rhs(dose.record + runs * since, y)


def _periodic(solver: Solver, flow: Callable[[Array, Array], Array], state: Array, dose: Recurring) -> Array:
    """Newton's method on the map over an interval, from `state`."""
    now = jnp.zeros_like(dose.interval)
    whole = jnp.floor(dose.duration / dose.interval)  # infusions that run all the time
    part = dose.duration - whole * dose.interval
    wrapped = jnp.maximum(dose.begin + part - dose.interval, 0.0)  # of the dose before, still running
    events = Events(
        record=jnp.stack([now, now, now]),
        turn=jnp.zeros(3, int),
        begin=Train(jnp.stack([dose.begin, now, now])),
        jump=jnp.stack([dose.jump, 0 * dose.jump, 0 * dose.jump]),
        inflow=Inflow(
            end=Train(jnp.stack([dose.begin + part, wrapped, dose.interval])),
            rate=jnp.stack([dose.rate, dose.rate, whole * dose.rate]),
        ),
        times=dose.interval[None],
    )

    def period(y):
        return integrate(solver, flow, jnp.zeros(()), y, events).out[0]

    def period_twice(y):
        after = period(y)
        return after, after

    def newton(y, _):
        jacobian, after = jax.jacfwd(period_twice, has_aux=True)(y)
        slope = jnp.where(dose.train, jnp.eye(y.size) - jacobian, jnp.eye(y.size))
        return y + jnp.linalg.solve(slope, jnp.where(dose.train, after - y, 0.0)), None

    settled, _ = jax.lax.scan(newton, state, None, length=_PERIODS)
    change = jnp.max(jnp.abs(period(settled) - settled))
    size = jnp.max(jnp.abs(settled))
    return jnp.where(change <= 1e-6 * size, settled, jnp.nan)


def _level(flow: Callable[[Array, Array], Array], state: Array, constant: Array, rate: Array) -> Array:
    """The state in which what leaves is what the infusion brings: Newton's method from `state`."""
    now = jnp.zeros(())

    def slope(y):
        return jnp.where(constant, flow(now, y) + rate, 0.0)

    def newton(y, _):
        jacobian = jnp.where(constant, jax.jacfwd(slope)(y), jnp.eye(y.size))
        return y - jnp.linalg.solve(jacobian, slope(y)), None

    level, _ = jax.lax.scan(newton, state, None, length=_ROOTS)
    left = jnp.max(jnp.abs(slope(level)))
    return jnp.where(left <= 1e-9 * jnp.max(jnp.abs(rate)), level, jnp.nan)
