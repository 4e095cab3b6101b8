"""A few steps of Gauss-Newton towards a mode, from a point close to it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..base.newton import ModeSearch, best_of, hold_constant, posterior_step
from ..base.peaks import Mode
from .gaussian import slope_and_information


class _Place(NamedTuple):
    """A point, and the log density there."""

    eta: Float[Array, " K"]
    value: Array
    slope: Float[Array, " K"]
    information: Float[Array, "K K"]


class GaussNewton(ModeSearch):
    """`max_steps` steps of Gauss-Newton towards a mode, from `start`: enough where the last mode is close.

    A step solves L'H L step = gradient, in random effects u in SDs of their law, with FOCE's H = Omega^-1 + sum_j
    [g g'/R + c c'/2], which is positive definite wherever it stands and asks for first derivatives only. A step that
    would lead downhill is not taken, and the next is a quarter as long. The derivative of the mode is that of one more
    step, with H held constant.
    """

    max_steps: int = 3

    def __call__(self, log_density, start, args):
        frozen = hold_constant(args)

        def look(u):
            slope, information = slope_and_information(frozen[0], u, frozen[1])
            return _Place(u, log_density(u, frozen), slope, information)

        def step(_, state):
            place, share = state
            trial = look(place.eta + share * posterior_step(place.information, place.slope))
            uphill = trial.value >= place.value - 1e-12 * jnp.abs(place.value)
            onward = (trial, jnp.ones(()))
            back = (place, 0.25 * share)
            return jax.tree.map(lambda taken, kept: jnp.where(uphill, taken, kept), onward, back)

        # The first step does not move: its slope is zero, and it only looks at the starting point.
        best = best_of(lambda eta: log_density(eta, frozen), start)
        begin = _Place(best, jnp.asarray(-jnp.inf), jnp.zeros(best.size), jnp.eye(best.size))
        place, _ = jax.lax.fori_loop(0, self.max_steps + 1, step, (begin, jnp.ones(())))
        decrement = jnp.sqrt(jnp.abs(place.slope @ posterior_step(place.information, place.slope)))
        slope = slope_and_information(args[0], place.eta, args[1])[0]
        tangent = posterior_step(place.information, slope)
        return Mode(place.eta + tangent - jax.lax.stop_gradient(tangent), place.information, decrement < 1e-2)

    def search(self, log_density, start, args):
        return hold_constant(self(log_density, start, hold_constant(args)))
