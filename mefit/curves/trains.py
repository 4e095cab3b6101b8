"""Times that repeat: first, first + step, ..., `count` of them."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

_SAME = 1e-9  # of a step: how far apart two reckonings of one time may be


class Train(NamedTuple):
    """Times of d doses, `count` each, `step` apart. Where step and count are None each has one."""

    first: Float[Array, " d"]
    step: Float[Array, " d"] | None = None
    count: Float[Array, " d"] | None = None

    def later(self, delay: Array) -> "Train":
        """The same times, each `delay` later."""
        return self._replace(first=self.first + delay)

    def passed(self, now: Array) -> Float[Array, " d"]:
        """How many of the times are not later than `now`; without a derivative."""
        first = stop_gradient(self.first)
        if self.step is None or self.count is None:
            return (first <= now).astype(float)
        turns = jnp.floor((now - first) / stop_gradient(self.step) + _SAME)
        more_than_one = jnp.clip(turns + 1.0, 0.0, stop_gradient(self.count))
        return jnp.where(self.count > 1, more_than_one, (first <= now) * stop_gradient(self.count))

    def passed_before(self, now: Array) -> Float[Array, " d"]:
        """How many of the times are earlier than `now`; without a derivative."""
        first = stop_gradient(self.first)
        if self.step is None or self.count is None:
            return (first < now).astype(float)
        turns = jnp.ceil((now - first) / stop_gradient(self.step) - _SAME)
        more_than_one = jnp.clip(turns, 0.0, stop_gradient(self.count))
        return jnp.where(self.count > 1, more_than_one, (first < now) * stop_gradient(self.count))

    def following(self, now: Array) -> Float[Array, " d"]:
        """The first time after `now`, infinite where there is none; differentiable."""
        passed = self.passed(now)
        if self.step is None or self.count is None:
            return jnp.where(passed > 0, jnp.inf, self.first)
        more = passed < stop_gradient(self.count)
        return jnp.where(more, self.first + jnp.where(more, passed, 0.0) * self.step, jnp.inf)
