"""One subject: what was seen of it, its covariates, and the doses it was given."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from . import frames


def _floats(x: Any) -> Float[Array, "..."]:
    return jnp.asarray(x, dtype=float)


def each_outcome(dtype: type) -> Callable[[Any], Any]:
    """A converter of an array, of a dict of arrays by outcome, or of None."""

    def convert(x: Any) -> Any:
        if isinstance(x, Mapping):
            return {str(name): jnp.asarray(value, dtype=dtype) for name, value in x.items()}
        return None if x is None else jnp.asarray(x, dtype=dtype)

    return convert


def _covariates(x: Mapping[str, Any]) -> dict[str, Float[Array, "..."]]:
    return {str(name): _floats(value) for name, value in x.items()}


class Doses(eqx.Module):
    """The doses given to one subject, d of them; rows of zero amount are padding and change nothing.

    A duration of zero is given at once (a bolus, or a tablet); a longer one is an infusion at constant rate.
    Compartments are numbered from 1. A dose at `steady_state` stands for itself and for endlessly many like it before,
    one every `interval`; both are None where no dose is, so that what is compiled need not provide for it.
    In a population every array has the subjects as a leading axis.
    """

    time: Float[Array, "*subjects d"]
    amount: Float[Array, "*subjects d"]
    duration: Float[Array, "*subjects d"]
    compartment: Int[Array, "*subjects d"]
    interval: Float[Array, "*subjects d"] | None
    steady_state: Bool[Array, "*subjects d"] | None

    def __init__(
        self, time: Any, amount: Any, duration: Any, compartment: Any, interval: Any = None, steady_state: Any = None
    ):
        self.time, self.amount, self.duration = _floats(time), _floats(amount), _floats(duration)
        self.compartment = jnp.asarray(compartment, dtype=int)
        if (interval is None) != (steady_state is None):
            raise ValueError("Doses at steady state need both interval= and steady_state=; give both or neither.")
        self.interval = None if interval is None else _floats(interval)
        self.steady_state = None if steady_state is None else jnp.asarray(steady_state, dtype=bool)

    @classmethod
    def none(cls) -> "Doses":
        """No doses: arrays of length zero."""
        return cls(*(jnp.zeros(0) for _ in range(4)))

    @classmethod
    def of(cls, amount: Any, time: Any = 0.0, duration: Any = 0.0, compartment: Any = 1, **steady: Any) -> "Doses":
        """Doses from numbers or lists; single numbers are repeated: `Doses.of([100, 50], time=[0, 12])`.

        `steady` takes interval= and steady_state=.
        """
        given = {"time": time, "amount": amount, "duration": duration, "compartment": compartment} | steady
        columns = np.broadcast_arrays(*(np.atleast_1d(x) for x in given.values()))
        return cls(**{k: jnp.asarray(x) for k, x in zip(given, columns, strict=True)})

    @classmethod
    def together(cls, doses: Sequence["Doses"]) -> "Doses":
        """Doses of several subjects with a leading axis; shorter ones are filled up with amounts of zero."""
        most, steady = max(d.time.size for d in doses), any(d.steady_state is not None for d in doses)

        def column(name: str) -> np.ndarray:
            fill = {"time": lambda x: x[:1].sum(), "compartment": lambda x: 1}.get(name, lambda x: 0)
            parts = [frames.dose_field(d, name) for d in doses]
            return np.stack([np.append(x, np.full(most - x.size, fill(x), x.dtype)) for x in parts])

        return cls(**{k: column(k) for k in (frames.DOSE + frames.STEADY if steady else frames.DOSE)})


class Subject(eqx.Module):
    """What was seen of one subject: n rows of time and response, its covariates and its doses.

    `mask` is true where a row is real and its response was observed; elsewhere `y` holds 0, never a NaN. Where there
    are several outcomes, `y` and `mask` are dicts by outcome name over the same rows.
    A covariate is a scalar, or (n,) where it varies in time. Under a `Population` every array has a leading axis.
    `censored` and `limit` are None where no response is censored. Else, where `censored` is 1 the response lies below
    `y` (and above `limit`, if that is finite); where it is -1, above `y` (and below `limit`); where 0, it is `y`.
    """

    time: Float[Array, "*subjects n"] = eqx.field(converter=_floats)
    y: Any = eqx.field(converter=each_outcome(float))
    mask: Any = eqx.field(converter=each_outcome(bool))
    covariates: dict[str, Float[Array, "..."]] = eqx.field(converter=_covariates, default_factory=dict)
    doses: Doses = eqx.field(default_factory=Doses.none)
    censored: Any = eqx.field(converter=each_outcome(int), default=None)
    limit: Any = eqx.field(converter=each_outcome(float), default=None)

    def with_rows(self, change: Callable[[Any], Any]) -> "Subject":
        """The same subject with `change` done to each of its arrays but the doses."""
        bare = jax.tree.map(change, eqx.tree_at(lambda s: s.doses, self, None))
        return dataclasses.replace(bare, doses=self.doses)
