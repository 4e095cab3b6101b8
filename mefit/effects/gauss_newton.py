"""A few steps of Gauss-Newton towards a mode, from a point close to it."""

import jax
import jax.numpy as jnp

from ..base.newton import Mode, ModeSearch, best_of, hold_constant, posterior_step
from .gaussian import slope_and_information


class GaussNewton(ModeSearch):
    """`max_steps` steps of Gauss-Newton towards a mode, from `start`: enough where the last mode is close.

    A step solves H step = gradient with FOCE's H = Omega^-1 + sum_j [g g'/R + c c'/2], which is positive definite
    wherever it stands and asks for first derivatives only. A step that would lead downhill is not taken, and the next
    is a quarter as long. The derivative of the mode is that of one more step, with H held constant.
    """

    max_steps: int = 3

    def __call__(self, log_density, start, args):
        frozen = hold_constant(args)

        def step(_, at):
            # The first step does not move: its slope is zero, and it only looks at the starting point.
            (eta, value, slope, precision), share = at
            trial = eta + share * posterior_step(precision, slope)
            seen = trial, log_density(trial, frozen), *slope_and_information(frozen[0], trial, frozen[1])
            uphill = seen[1] >= value - 1e-12 * jnp.abs(value)
            return jax.tree.map(lambda a, b: jnp.where(uphill, a, b), (seen, jnp.ones(())), (at[0], 0.25 * share))

        best = best_of(lambda eta: log_density(eta, frozen), start)
        begin = (best, jnp.asarray(-jnp.inf), jnp.zeros(best.size), jnp.eye(best.size)), jnp.ones(())
        (eta, _, slope, precision), _ = jax.lax.fori_loop(0, self.max_steps + 1, step, begin)
        decrement = jnp.sqrt(jnp.abs(slope @ posterior_step(precision, slope)))
        tangent = posterior_step(precision, slope_and_information(args[0], eta, args[1])[0])
        return Mode(eta + tangent - jax.lax.stop_gradient(tangent), precision, decrement < 1e-2)

    def search(self, log_density, start, args):
        return hold_constant(self(log_density, start, hold_constant(args)))
