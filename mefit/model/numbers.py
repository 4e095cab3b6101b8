"""The numbers of a model that a person reads: values, standard deviations, correlations."""

from collections.abc import Iterable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .domains import DiagonalCovariance, Weights
from .model import Model
from .parameters import effect_names, free_parameters


class Entry(NamedTuple):
    """One number of the table: the parameter it belongs to, what it is, where it stands, its name and unit."""

    parameter: str
    kind: str  # "value", "sd" or "correlation"
    place: tuple[int, ...]
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
    found = []
    for name, parameter in free_parameters(model, fixed).items():
        value = getattr(model, name)
        if parameter.domain.is_covariance:
            effects = effect_names(parameter.names, len(value))
            found += [Entry(name, "sd", (k,), f"{name}[{e}]", "") for k, e in enumerate(effects)]
            if not isinstance(parameter.domain, DiagonalCovariance):
                for i, j in np.argwhere(np.tri(len(value), k=-1)).tolist():
                    found.append(Entry(name, "correlation", (i, j), f"corr({effects[j]}, {effects[i]})", ""))
        elif not isinstance(parameter.domain, Weights):
            for k, entry in enumerate(effect_names(parameter.names, value.size, first=0)):
                label = name if value.ndim == 0 else f"{name}[{entry}]"
                found.append(Entry(name, "value", (k,), label, parameter.unit))
    return found


def labels_of(model: Model, fixed: Iterable[str] = ()) -> list[str]:
    """The names of `entries`."""
    return [entry.label for entry in entries(model, fixed)]


def numbers(model: Model, fixed: Iterable[str] = ()) -> Float[Array, " E"]:
    """The values of `entries`."""
    return jnp.array([entry.value(model) for entry in entries(model, fixed)], float)
