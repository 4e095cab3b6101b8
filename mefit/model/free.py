"""Parameters as free values, in which nothing is bounded, and the priors of both."""

from collections.abc import Iterable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..base.compiling import compiled
from .domains import ScalarCovariance
from .parameters import free_parameters, parameters

ModelT = TypeVar("ModelT", bound=eqx.Module)


def unconstrain(model: eqx.Module, fixed: Iterable[str] = ()) -> dict[str, PyTree]:
    """The free values of a model's parameters; those named in `fixed` are left out.

    ```python
    mf.unconstrain(model)["cl"]  # the logarithm of the clearance
    ```
    """
    return {name: p.domain.free(getattr(model, name)) for name, p in free_parameters(model, fixed).items()}


def with_values(model: ModelT, values: dict[str, PyTree]) -> ModelT:
    """The model with other values of these fields, on the natural scale."""
    if not values:
        return model
    # a field of weights may be None, where a model does without a network
    return eqx.tree_at(
        lambda m: [getattr(m, name) for name in values], model, [*values.values()], is_leaf=lambda x: x is None
    )


def constrain(model: ModelT, free: dict[str, PyTree]) -> ModelT:
    """The model with the parameters that `free` holds; the inverse of `unconstrain`.

    ```python
    free = mf.unconstrain(model)
    faster = mf.constrain(model, free | {"cl": free["cl"] + 0.1})  # clearance times exp(0.1)
    ```
    """
    declared = parameters(model)
    values = {name: declared[name].domain.value(value, getattr(model, name)) for name, value in free.items()}
    return with_values(model, values)


def log_prior(model: eqx.Module, fixed: Iterable[str] = ()) -> Float[Array, ""]:
    """Sum of the log prior densities, on the natural scale, of the parameters that are not fixed.

    ```python
    mf.log_prior(model)  # 0 where no prior is declared
    ```
    """
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


prior_of = compiled(log_prior)


def log_jacobian(model: eqx.Module, free: dict[str, PyTree]) -> Float[Array, ""]:
    """log |d natural / d free| of the parameters in `free`: a log density on the natural scale plus this is one of
    the free values. Maximum a posteriori leaves it out; a sampler of the free values needs it."""
    declared = parameters(model)
    parts = [declared[name].domain.log_jacobian(value, getattr(model, name)) for name, value in free.items()]
    return sum(parts, start=jnp.zeros(()))
