"""Solvers of ordinary differential equations: one step, and how long the next one may be.

A solver has a `formula` for the state after a step and its error, and a rule for the length of
steps, which keeps a plan (one number) from step to step:

- `begin(span)` makes the first plan for an integration over `span`;
- `length(plan, gap)` is the length of the next step, and whether it arrives at the stop `gap` away;
- `floor(highest, size)` is the error allowed to each state where it is zero, from the highest value
  that it has had and the size of all that enters;
- `judge(plan, h, hit, y, new, error, floor)` says whether a step from `y` to `new` is accepted, and
  the plan after it;
- `most(stops)` is how many steps an integration with so many stops may take.

The formulas are Diffrax's.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

# The error allowed where a state is near zero: this part of the highest value that it has had, and
# of the largest dose or initial state, for a state that begins at zero.
_OF_STATE = 1e-11
_OF_ALL = 1e-14
_CLOSE = 1.0000001  # a stop a rounding error beyond the step is reached by it


class _Adaptive(eqx.Module):
    """What the solvers with error control share: the length of the next step,

        h <- 0.9 h (error / allowed)^(-1/5),  by a factor of 1/5 to 5.

    The plan is the length of the step to come.
    """

    rtol: float = 1e-7
    atol: float | None = None
    max_steps: int = 1000
    # of all the time; where the slope is not finite no step is short enough
    shortest: ClassVar[float] = 1e-13

    def begin(self, span):
        return 1e-3 * span

    def length(self, plan, gap):
        hit = gap <= _CLOSE * plan
        return jnp.where(hit, gap, plan), hit

    def floor(self, highest, size):
        if self.atol is not None:
            return jnp.full_like(highest, self.atol)
        return _OF_STATE * highest + _OF_ALL * size + jnp.finfo(float).tiny

    def judge(self, plan, h, hit, y, new, error, floor):
        scale = floor + self.rtol * jnp.maximum(jnp.abs(y), jnp.abs(new))
        ratio = jnp.sqrt(jnp.mean((error / scale) ** 2))
        better = jnp.clip(0.9 * jnp.maximum(ratio, 1e-10) ** -0.2, 0.2, 5.0)
        factor = jnp.where(jnp.isfinite(ratio), better, 0.2)
        accepted = ratio <= 1.0
        # A step cut short by a stop says little about how long the next one may be.
        longer = jnp.maximum(h * factor, plan)
        return accepted, jnp.where(accepted & hit, longer, h * factor)

    def most(self, stops):
        return self.max_steps + 20 * stops


class Tsit5(_Adaptive):
    """Tsitouras's explicit method of order 5, for systems that are not stiff.

    The error of each step stays within `rtol` |state| + `atol`; where `atol` is not given it follows
    the sizes of states and doses, so that no unit matters. An integration is given up after
    `max_steps` steps, and 20 more for each dose and time.

    Source: Tsitouras (2011), Comput. Math. Appl. 62.
    """

    def formula(self, rhs, t, y, h, floor):
        import diffrax  # here and not above, where it would be a sixth of the time that `import mefit` takes

        tableau = diffrax.Tsit5.tableau
        slopes = [rhs(t, y)]
        for row, c in zip(tableau.a_lower, tableau.c, strict=True):
            move = sum(float(a) * k for a, k in zip(row, slopes, strict=True) if a)
            slopes.append(rhs(t + float(c) * h, y + h * move))
        move = sum(float(b) * k for b, k in zip(tableau.b_sol, slopes, strict=True) if b)
        error = sum(float(b) * k for b, k in zip(tableau.b_error, slopes, strict=True) if b)
        return y + h * move, h * error


class Kvaerno5(_Adaptive):
    """Kvaerno's implicit method of order 5, for stiff systems; a step solves equations, which takes
    its time.

    Source: Kvaerno (2004), BIT Numer. Math. 44.
    """

    def formula(self, rhs, t, y, h, floor):
        import diffrax
        import optimistix

        # With Diffrax's default, VeryChord, Robertson's problem takes 15 times as many steps: most
        # do not converge.
        lowest: Any = jnp.min(floor)
        newton: Any = optimistix.Newton(rtol=self.rtol, atol=lowest)
        method = diffrax.Kvaerno5(scan_kind="bounded", root_finder=newton)
        term = diffrax.ODETerm(lambda t, y, args: rhs(t, y))
        memory = method.init(term, t, t + h, y, None)  # type: ignore[arg-type]
        new, error, _, _, result = method.step(term, t, t + h, y, None, memory, False)  # type: ignore[arg-type]
        return new, jnp.where(result == diffrax.RESULTS.successful, error, jnp.inf)  # type: ignore[arg-type]


class RK4(eqx.Module):
    """The classical method of order 4 with `steps` equal steps from one stop to the next, and no
    look at the error.

    A step longer than 2.785 / the fastest rate explodes.

    Source: Kutta (1901), Z. Math. Phys. 46.
    """

    steps: int = 20
    shortest: ClassVar[float] = 0.0

    def formula(self, rhs, t, y, h, floor):
        first = rhs(t, y)
        second = rhs(t + h / 2, y + h / 2 * first)
        third = rhs(t + h / 2, y + h / 2 * second)
        fourth = rhs(t + h, y + h * third)
        return y + h / 6 * (first + 2 * second + 2 * third + fourth), jnp.zeros_like(y)

    def begin(self, span):
        return float(self.steps)

    def length(self, plan, gap):
        return gap / plan, plan < 1.5

    def floor(self, highest, size):
        return jnp.zeros_like(highest)

    def judge(self, plan, h, hit, y, new, error, floor):
        return jnp.asarray(True), jnp.where(hit, float(self.steps), plan - 1.0)

    def most(self, stops):
        return self.steps * stops


Solver = Tsit5 | Kvaerno5 | RK4
