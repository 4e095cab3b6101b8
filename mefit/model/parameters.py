"""Parameters: which fields of a model may vary, over which domain, in which unit, and with which prior.

A parameter is a plain array on its natural scale. What is known about it is declared once, on the class:

    class Decay(mf.Model):
        rate: Array = mf.positive(unit="1/h", prior=dist.LogNormal(0.0, 1.0))

Fields without a declaration are constants. An optimiser works on *free* values, which may be any real number;
`unconstrain` and `constrain` carry a model to its free values and back.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro.distributions import constraints

from .domains import Bijected, DiagonalCovariance, Domain, FullCovariance, ScalarCovariance, Weights

_KEY = "mefit"  # the place of a declaration in a dataclass field's metadata


class Parameter(NamedTuple):
    """What is declared about one field of a model."""

    domain: Domain
    unit: str
    prior: Any  # a NumPyro distribution, a penalty of a network as a whole, or None
    names: tuple[str, ...]  # of the entries of an array, or of the random effects of a covariance


def _as_array(value: Any) -> Array:
    """A float64 array. By way of NumPy, which compiles nothing, unless the value is being traced."""
    if not isinstance(value, jax.core.Tracer):
        value = np.asarray(value, float)
    return jnp.asarray(value, float)


def _declare(domain: Domain, unit: str, prior: Any, names: Iterable[str]) -> Any:
    return eqx.field(converter=_as_array, metadata={_KEY: Parameter(domain, unit, prior, tuple(names))})


def real(unit: str = "", prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A field that may be any real number, or an array of them.

    `prior` is a NumPyro distribution: a density on the natural scale, taken elementwise and summed; maximum a
    posteriori adds it as it stands, with no Jacobian. `names` label the entries of an array in tables.

        slope: Array = mf.real(unit="ms/day", prior=dist.Normal(0.0, 20.0))
    """
    return _declare(Bijected(constraints.real, "a finite number"), unit, prior, names)


def positive(unit: str = "", prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A field of positive numbers, free as their logarithm. `prior` and `names` as in `real`."""
    return _declare(Bijected(constraints.positive, "positive"), unit, prior, names)


def interval(low: float, high: float, unit: str = "", prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A field of numbers strictly between `low` and `high`, free as a scaled logit. `prior` as in `real`.

    ```python
    bioavailability: Array = mf.interval(0.0, 1.0)
    ```
    """
    if not low < high:
        raise ValueError(f"interval({low}, {high}) is empty: give the lower end first.")
    constraint = constraints.open_interval(low, high)
    domain = Bijected(constraint, f"strictly between {low:g} and {high:g}", bounded=True)
    return _declare(domain, unit, prior, names)


def simplex(prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A vector of positive shares that sum to one, free by stick breaking. `prior` as in `real`.

    ```python
    share: Array = mf.simplex(names=("slow", "fast"))
    ```
    """
    domain = Bijected(constraints.simplex, "a vector of positive shares that sum to 1", bounded=True)
    return _declare(domain, "", prior, names)


def covariance(prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A full covariance matrix (K, K), free as its Cholesky factor with logarithms on the diagonal.

    `prior` is a distribution over matrices, such as `dist.InverseWishart`; a univariate one applies to each
    variance. `names` name the random effects in tables.

        omega: Array = mf.covariance(names=("ka", "cl", "v"))
    """
    return _declare(FullCovariance(), "", prior, names)


def diagonal_covariance(prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A diagonal covariance matrix (K, K): independent random effects. `prior` and `names` as in `covariance`.

    ```python
    omega: Array = mf.diagonal_covariance(names=("ka", "cl", "v"))
    ```
    """
    return _declare(DiagonalCovariance(), "", prior, names)


def scalar_covariance(prior: Any = None, names: Iterable[str] = ()) -> Any:
    """One variance times the identity (K, K). `prior` and `names` as in `covariance`.

    ```python
    omega: Array = mf.scalar_covariance()
    ```
    """
    return _declare(ScalarCovariance(), "", prior, names)


def weights(prior: Any = None) -> Any:
    """A pytree of real arrays, such as a network.

    `prior` applies to every single weight; or it is a penalty of the whole, such as `mf.networks.L2(1.0)`.
    """
    return eqx.field(metadata={_KEY: Parameter(Weights(), "", prior, ())})


def parameters(model: eqx.Module) -> dict[str, Parameter]:
    """The declared parameters of a model, by field name, in the order of declaration; those of its parts follow.

    ```python
    mf.parameters(model)["cl"].unit
    ```
    """
    own = {f.name: f.metadata[_KEY] for f in dataclasses.fields(model) if _KEY in f.metadata}
    of_parts = getattr(type(model), "parameters_of_parts", None)
    return own if of_parts is None else own | of_parts(model)


def as_names(fixed: str | Iterable[str]) -> tuple[str, ...]:
    """Names of parameters, of which a single one may be given as it is."""
    return (fixed,) if isinstance(fixed, str) else tuple(fixed)


def free_parameters(model: eqx.Module, fixed: Iterable[str] = ()) -> dict[str, Parameter]:
    """The parameters that are not held fixed. Raises ValueError where a name in `fixed` is not a parameter."""
    fixed = as_names(fixed)
    declared = parameters(model)
    for name in fixed:
        if name not in declared:
            known = ", ".join(declared) or "none, the model declares no parameters"
            raise ValueError(
                f"fixed names {name!r}, which is not a parameter of {type(model).__name__}: choose from {known}."
            )
    return {name: parameter for name, parameter in declared.items() if name not in fixed}


def has_network(model: eqx.Module, fixed: Iterable[str] = ()) -> bool:
    """Does one of the model's parameters that are not held fixed declare weights?"""
    return any(isinstance(parameter.domain, Weights) for parameter in free_parameters(model, fixed).values())


def has_prior(model: eqx.Module, fixed: Iterable[str] = ()) -> bool:
    """Does any parameter that is not fixed declare a prior?"""
    return any(parameter.prior is not None for parameter in free_parameters(model, fixed).values())


def effect_names(names: tuple[str, ...], count: int, first: int = 1) -> tuple[str, ...]:
    """The declared names of `count` random effects, or of an array's entries; else their numbers from `first`."""
    return names if len(names) == count else tuple(str(k + first) for k in range(count))


def declared_effect_names(model: eqx.Module) -> tuple[str, ...]:
    """The names that the first covariance among a model's parameters declares; empty where there are none."""
    for parameter in parameters(model).values():
        if parameter.domain.is_covariance:
            return parameter.names
    return ()
