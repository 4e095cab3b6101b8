"""All that moves in a fit as one vector of free coordinates."""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..base.compiling import compiled
from .domains import ScalarCovariance
from .parameters import effect_names, free_parameters, parameters

ModelT = TypeVar("ModelT", bound=eqx.Module)


def unconstrain(model: eqx.Module, fixed: Iterable[str] = ()) -> dict[str, PyTree]:
    """The free values of a model's parameters; those named in `fixed` are left out."""
    return {name: p.domain.free(getattr(model, name)) for name, p in free_parameters(model, fixed).items()}


def with_values(model: ModelT, values: dict[str, PyTree]) -> ModelT:
    """The model with other values of these fields, on the natural scale."""
    return eqx.tree_at(lambda m: [getattr(m, name) for name in values], model, [*values.values()]) if values else model


def constrain(model: ModelT, free: dict[str, PyTree]) -> ModelT:
    """The model with the parameters that `free` holds; the inverse of `unconstrain`."""
    declared = parameters(model)
    return with_values(model, {name: declared[name].domain.value(f, getattr(model, name)) for name, f in free.items()})


def get_free(model: eqx.Module, fixed: Iterable[str] = ()) -> Float[Array, " P"]:
    """The free coordinates of a model's parameters as one vector, in the order of `coordinates`."""
    return ravel_pytree(unconstrain(model, fixed))[0]


def by_name(template: eqx.Module, fixed: Iterable[str], x: Array) -> dict[str, PyTree]:
    """The free values by name, as `unconstrain` gives them, from one vector of all free coordinates."""
    return ravel_pytree(unconstrain(template, fixed))[1](x)


def set_free(template: ModelT, fixed: Iterable[str], x: Array) -> ModelT:
    """The template with these free coordinates: the inverse of `get_free`."""
    return constrain(template, by_name(template, fixed, x))


def log_prior(model: eqx.Module, fixed: Iterable[str] = ()) -> Float[Array, ""]:
    """Sum of the log prior densities, on the natural scale, of the parameters that are not fixed."""
    total = jnp.zeros(())
    for name, parameter in free_parameters(model, fixed).items():
        if parameter.prior is None:
            continue
        value = getattr(model, name)
        if hasattr(parameter.prior, "log_density"):  # of a network as a whole, which chooses among its weights
            total = total + parameter.prior.log_density(value)
            continue
        if parameter.domain.is_covariance and parameter.prior.event_dim == 0:
            variances = jnp.diagonal(value)
            value = variances[:1] if isinstance(parameter.domain, ScalarCovariance) else variances
        for leaf in jax.tree.leaves(eqx.filter(value, eqx.is_inexact_array)):
            log_p = parameter.prior.log_prob(leaf)
            if parameter.prior.event_dim == 0:  # traced, NumPyro does not look at the support
                log_p = jnp.where(parameter.prior.support(leaf), log_p, -jnp.inf)
            total = total + jnp.sum(log_p)
    return total


model_at, prior_of, _vector_of = compiled(set_free), compiled(log_prior), compiled(get_free)


def free_vector(model: eqx.Module, fixed: tuple[str, ...]) -> np.ndarray:
    """`get_free` outside of a program."""
    return np.asarray(_vector_of(model, fixed), float)


def log_jacobian(model: eqx.Module, free: dict[str, PyTree]) -> Float[Array, ""]:
    """log |d natural / d free| of the parameters in `free`: a log density on the natural scale plus this is one of
    the free values. Maximum a posteriori leaves it out; a sampler of the free values needs it."""
    declared = parameters(model)
    found = [declared[name].domain.log_jacobian(f, getattr(model, name)) for name, f in free.items()]
    return sum(found, start=jnp.zeros(()))


def prior_of_free(template: ModelT, fixed: tuple[str, ...], x: Array) -> tuple[ModelT, Float[Array, ""]]:
    """The model at free coordinates x, and their log prior density: that on the natural scale plus log Jacobian."""
    free = by_name(template, fixed, x)
    model = constrain(template, free)
    return model, log_prior(model, fixed) + log_jacobian(template, free)


class Coordinate(NamedTuple):
    """One free number: the entry of the natural scale it belongs to, and whether it is the log of a scale."""

    parameter: str
    label: str
    log_scale: bool


def coordinates(model: eqx.Module, fixed: Iterable[str] = ()) -> list[Coordinate]:
    """One entry for each number of `get_free`, in its order (names sorted)."""
    found = []
    for name, parameter in sorted(free_parameters(model, fixed).items()):
        value, effects = getattr(model, name), parameter.domain.is_covariance
        scales = parameter.domain.log_scale(value)
        entries = effect_names(parameter.names, len(value) if effects else len(scales), first=0)
        labels = [f"SD of {name}[{e}]" if effects else f"{name}[{e}]" for e in entries]
        below = [f"Cholesky factor {i + 1}" for i in range(len(scales) - len(labels))]
        labels = [name] if len(scales) == 1 else below + labels
        found += [Coordinate(name, label, scale) for label, scale in zip(labels, scales, strict=True)]
    return found
