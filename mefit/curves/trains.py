"""Times that repeat: first, first + step, ..., `number` of them."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

_SAME = 1e-9  # of a step: how far apart two reckonings of one time may be


class Train(NamedTuple):
    """Times of d doses, `number` each, `step` apart. Where step and number are None each has one."""

    first: Float[Array, " d"]
    step: Float[Array, " d"] | None = None
    number: Float[Array, " d"] | None = None

    def later(self, delay: Array) -> "Train":
        """The same times, each `delay` later."""
        return self._replace(first=self.first + delay)

    def passed(self, now: Array) -> Float[Array, " d"]:
        """How many of the times are not later than `now`; without a derivative."""
        first = stop_gradient(self.first)
        if self.step is None or self.number is None:
            return (first <= now).astype(float)
        turns = jnp.floor((now - first) / stop_gradient(self.step) + _SAME)
        more_than_one = jnp.clip(turns + 1.0, 0.0, stop_gradient(self.number))
        return jnp.where(self.number > 1, more_than_one, (first <= now) * stop_gradient(self.number))

    def passed_before(self, now: Array) -> Float[Array, " d"]:
        """How many of the times are earlier than `now`; without a derivative."""
        first = stop_gradient(self.first)
        if self.step is None or self.number is None:
            return (first < now).astype(float)
        turns = jnp.ceil((now - first) / stop_gradient(self.step) - _SAME)
        more_than_one = jnp.clip(turns, 0.0, stop_gradient(self.number))
        return jnp.where(self.number > 1, more_than_one, (first < now) * stop_gradient(self.number))

    def following(self, now: Array) -> Float[Array, " d"]:
        """The first time after `now`, infinite where there is none; differentiable."""
        passed = self.passed(now)
        if self.step is None or self.number is None:
            return jnp.where(passed > 0, jnp.inf, self.first)
        more = passed < stop_gradient(self.number)
        return jnp.where(more, self.first + jnp.where(more, passed, 0.0) * self.step, jnp.inf)
