"""All that moves in a fit as one vector of free coordinates."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, PyTree

from ..base.compiling import compiled
from ..base.scales import Sizes
from .domains import Domain, ScalarCovariance, Weights
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
    has_unit: bool = False


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
        with_unit = effects or parameter.domain.is_real
        for label, scale in zip(labels, scales, strict=True):
            found.append(Coordinate(name, label, scale, has_unit=with_unit and not scale))
    return found


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

    def at(self, x: Float[Array, " P"]) -> Any:
        """The model at x."""
        return constrain(self.template, self._unpack(x)[0])

    def guide_at(self, x: Float[Array, " P"]) -> PyTree:
        """The guide at x."""
        return eqx.combine(self._unpack(x)[1], self.guide)

    def model_at(self, x: Float[ArrayLike, " P"]) -> Any:
        """`at` outside of a program."""
        return _model_at(self, jnp.asarray(x))

    def log_prior(self, x: Float[Array, " P"]) -> Float[Array, ""]:
        """Log prior density of the parameters at x, on their natural scale."""
        return log_prior(self.at(x), self.fixed)

    def log_jacobian(self, x: Float[Array, " P"]) -> Float[Array, ""]:
        """log |d natural / d x|, which a sampler of x adds to the log prior."""
        return log_jacobian(self.template, self._unpack(x)[0])

    @property
    def size(self) -> int:
        """P, the number of coordinates."""
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter_eval_shape(Space.pack, self)))

    @property
    def coordinates(self) -> list[Coordinate]:
        """One entry for each coordinate."""
        moving = coordinates(self.template, self.fixed)
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

    def _unpack(self, x: Array) -> tuple[dict[str, PyTree], PyTree]:
        return ravel_pytree((unconstrain(self.template, self.fixed), self._guide_arrays()))[1](x)


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
