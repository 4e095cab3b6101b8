"""All that moves in a fit as one vector of free coordinates."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, PyTree

from ..base.compiling import compiled
from ..base.scales import Sizes
from .domains import Domain, Weights
from .free import constrain, log_jacobian, log_prior, unconstrain
from .parameters import effect_names, free_parameters


class Coordinate(NamedTuple):
    """One free number."""

    parameter: str  # the field that it belongs to
    label: str
    log_scale: bool  # is it the logarithm of a scale, so that minus infinity means zero?
    has_unit: bool = False  # does it change by a factor where the data's units do?
    is_rest: bool = False  # of a covariance: is it the SD that the random effects before it leave?

    @property
    def told(self) -> str:
        """What a sentence calls it that says where it is."""
        return f"what the random effects before it leave of {self.label}" if self.is_rest else self.label


def _coordinates(model: eqx.Module, fixed: Iterable[str] = ()) -> list[Coordinate]:
    """One entry for each free number, in the order of the names."""
    entries_of_all = []
    for name, parameter in sorted(free_parameters(model, fixed).items()):
        value = getattr(model, name)
        effects = parameter.domain.is_covariance
        scales = parameter.domain.log_scale(value)
        entries = effect_names(parameter.names, len(value) if effects else len(scales), first=0)
        labels = [f"SD of {name}[{e}]" if effects else f"{name}[{e}]" for e in entries]
        below = [f"Cholesky factor {i + 1}" for i in range(len(scales) - len(labels))]
        labels = [name] if len(scales) == 1 else below + labels
        with_unit = effects or parameter.domain.is_real
        for place, (label, scale) in enumerate(zip(labels, scales, strict=True)):
            rest = bool(below) and place > len(below)
            entries_of_all.append(Coordinate(name, label, scale, with_unit and not scale, rest))
    return entries_of_all


class Space(eqx.Module):
    """All that moves in a fit: the free parameters of a model, and whatever else is learned beside them.

    Everything that moves is one vector x (P,) of free coordinates, in which nothing is bounded: the parameters in the
    order of their names, then the arrays of `guide`.
    """

    template: Any  # the model: its other fields, and its parameters' values where they are held fixed
    fixed: tuple[str, ...] = eqx.field(static=True, default=())  # names of parameters that do not move
    guide: PyTree = None  # what else moves, such as the weights of an encoder

    def pack(self) -> Float[Array, " P"]:
        """The coordinates of the template and the guide."""
        return ravel_pytree((unconstrain(self.template, self.fixed), self._guide_arrays()))[0]

    def vector(self) -> np.ndarray:
        """`pack` outside of a program."""
        return np.asarray(_packed(self), float)

    def at(self, x: Float[Array | np.ndarray, " P"]) -> Any:
        """The model at x."""
        return constrain(self.template, self._unpack(x)[0])

    def guide_at(self, x: Float[Array | np.ndarray, " P"]) -> PyTree:
        """The guide at x."""
        return eqx.combine(self._unpack(x)[1], self.guide)

    def model_at(self, x: Float[ArrayLike, " P"]) -> Any:
        """`at` outside of a program."""
        return _model_at(self, jnp.asarray(x))

    def log_prior(self, x: Float[Array | np.ndarray, " P"]) -> Float[Array, ""]:
        """Log prior density of the parameters at x, on their natural scale."""
        return log_prior(self.at(x), self.fixed)

    def log_jacobian(self, x: Float[Array | np.ndarray, " P"]) -> Float[Array, ""]:
        """log |d natural / d x|, which a sampler of x adds to the log prior."""
        return log_jacobian(self.template, self._unpack(x)[0])

    @property
    def size(self) -> int:
        """P, the number of coordinates."""
        declared = free_parameters(self.template, self.fixed).items()
        own = sum(parameter.domain.size(getattr(self.template, name)) for name, parameter in declared)
        return own + sum(leaf.size for leaf in jax.tree.leaves(self._guide_arrays()))

    @property
    def coordinates(self) -> list[Coordinate]:
        """One entry for each coordinate."""
        moving = _coordinates(self.template, self.fixed)
        weights = sum(leaf.size for leaf in jax.tree.leaves(self._guide_arrays()))
        return moving + [Coordinate("guide", "a weight of the guide", False)] * weights

    @property
    def labels(self) -> list[str]:
        """The names of the coordinates."""
        return [coordinate.label for coordinate in self.coordinates]

    @property
    def sizes(self) -> Sizes:
        """What is known of the scales of the coordinates at the template, before any data are looked at."""
        guess: list[np.ndarray] = []
        for name, parameter in sorted(free_parameters(self.template, self.fixed).items()):
            guess.append(_sizes_of(parameter.domain, getattr(self.template, name)))
        weights = sum(leaf.size for leaf in jax.tree.leaves(self._guide_arrays()))
        sizes = np.concatenate([*guess, np.full(weights, np.nan)])
        with_unit = np.array([c.has_unit for c in self.coordinates], bool)
        measured = ~np.isnan(sizes)
        return Sizes(np.where(measured, sizes, 1.0), np.where(with_unit, np.inf, _LONGEST), measured)

    def _guide_arrays(self) -> PyTree:
        return eqx.filter(self.guide, eqx.is_inexact_array)

    def _unpack(self, x: Array | np.ndarray) -> tuple[dict[str, PyTree], PyTree]:
        return ravel_pytree((unconstrain(self.template, self.fixed), self._guide_arrays()))[1](jnp.asarray(x))


_LONGEST = 3.0  # the longest scale of a logarithm or a logit


def _sizes_of(domain: Domain, value: Any) -> np.ndarray:
    """How large each free coordinate is by its own account: NaN for a weight, which has no unit."""
    if isinstance(domain, Weights):
        return np.full(domain.size(value), np.nan)
    scales = np.array(domain.log_scale(value), bool)
    sizes = np.ones(len(scales))
    if domain.is_covariance:
        below = ~scales  # entries of the Cholesky factor below its diagonal, row by row: in the unit of their row
        sd = np.sqrt(np.diagonal(np.asarray(value)))
        sizes[below] = sd[np.tril_indices(len(sd), -1)[0]][: below.sum()]
    elif domain.is_real:
        sizes = np.abs(np.ravel(np.asarray(value, float)))
    return sizes


@compiled
def _packed(space: Space) -> Array:
    return space.pack()


@compiled
def _model_at(space: Space, x: Array) -> Any:
    return space.at(x)
