"""The numbers of a model that a person reads: values, standard deviations, correlations."""

from collections.abc import Iterable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .densities import eta_size
from .domains import Weights
from .model import Model
from .parameters import Parameter, declared_effect_names, effect_names, free_parameters


class Entry(NamedTuple):
    """One number of the table."""

    parameter: str  # the field it belongs to
    kind: str  # "value", "sd" or "correlation"
    place: tuple[int, ...]  # where it stands in the flattened field, or in the covariance
    label: str
    unit: str

    def value(self, model: Model) -> Array:
        """The number itself, on the natural scale; differentiable."""
        array = getattr(model, self.parameter)
        if self.kind == "value":
            return jnp.reshape(array, -1)[self.place]
        variances = jnp.diagonal(array)
        if self.kind == "sd":
            return jnp.sqrt(variances[self.place])
        i, j = self.place
        return array[i, j] / jnp.sqrt(variances[i] * variances[j])


def entries(model: Model, fixed: Iterable[str] = ()) -> list[Entry]:
    """The numbers a person reads, in the order of declaration: values, standard deviations, correlations.

    Those of parameters that are held fixed are left out.
    """
    out = []
    for name, parameter in free_parameters(model, fixed).items():
        value = getattr(model, name)
        if parameter.domain.is_covariance:
            out += _entries_of_covariance(name, parameter, len(value))
        elif not isinstance(parameter.domain, Weights):
            names = parameter.names or model.names_within(name)
            out += _entries_of_array(name, names, parameter.unit, value)
    return out


def _entries_of_covariance(name: str, parameter: Parameter, size: int) -> list[Entry]:
    effects = effect_names(parameter.names, size)
    out = []
    for k, effect in enumerate(effects):
        out.append(Entry(name, kind="sd", place=(k,), label=f"{name}[{effect}]", unit=""))
    if not parameter.domain.has_correlations:
        return out
    for i, j in np.argwhere(np.tri(size, k=-1)).tolist():
        label = f"corr({effects[j]}, {effects[i]})"
        out.append(Entry(name, kind="correlation", place=(i, j), label=label, unit=""))
    return out


def _entries_of_array(name: str, names: tuple[str, ...], unit: str, value: Array) -> list[Entry]:
    out = []
    for k, entry in enumerate(effect_names(names, value.size, first=0)):
        label = name if value.ndim == 0 else f"{name}[{entry}]"
        out.append(Entry(name, kind="value", place=(k,), label=label, unit=unit))
    return out


def eta_names(model: Model) -> tuple[str, ...]:
    """Names of the random effects: as declared, else eta1, eta2, ..."""
    count = eta_size(model)
    declared = declared_effect_names(model)
    return declared if len(declared) == count else tuple(f"eta{j + 1}" for j in range(count))


def labels_of(model: Model, fixed: Iterable[str] = ()) -> list[str]:
    """The names of `entries`."""
    return [entry.label for entry in entries(model, fixed)]


def numbers(model: Model, fixed: Iterable[str] = ()) -> Float[Array, " E"]:
    """The values of `entries`."""
    return jnp.array([entry.value(model) for entry in entries(model, fixed)], float)
