"""Arrays by outcome.

A subject with several outcomes holds a dict of arrays by their names; one with a single outcome
holds the array itself, because that is what a model writes. So that one loop does for both, the
library gives the outcome without a name the name `UNNAMED`: `as_dict` puts it on, and `as_given`
takes it away again.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax.numpy as jnp

UNNAMED = ""


@runtime_checkable
class _WithOutcomes(Protocol):
    """What knows the names of its outcomes, such as a population."""

    @property
    def outcomes(self) -> tuple[str, ...]: ...


_Known = TypeVar("_Known", bound=_WithOutcomes)


def one_outcome(population: _Known) -> _Known:
    """The population itself; ValueError where it has several outcomes, for what looks at one."""
    names = population.outcomes
    if names:
        raise ValueError(
            f"There are several outcomes ({', '.join(names)}), and this looks at one: "
            f"take one by fit.outcome({names[0]!r}), or of data alone by population.outcome({names[0]!r})."
        )
    return population


def as_dict(x: Any) -> dict[str, Any]:
    """By outcome: `x` itself where it is a dict, empty where it is None, else `x` under the name
    `UNNAMED`.
    """
    if isinstance(x, dict):
        return x
    return {} if x is None else {UNNAMED: x}


def as_given(by_outcome: Mapping[str, Any]) -> Any:
    """The inverse of `as_dict`: the dict of several outcomes, or the array of a single one."""
    return by_outcome.get(UNNAMED, by_outcome)


def each_outcome(dtype: type) -> Callable[[Any], Any]:
    """A converter of an array, of a dict of arrays by outcome, or of None."""

    def convert(x: Any) -> Any:
        if isinstance(x, Mapping):
            return {str(name): jnp.asarray(value, dtype=dtype) for name, value in x.items()}
        return None if x is None else jnp.asarray(x, dtype=dtype)

    return convert
