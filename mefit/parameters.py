"""Parameters: which fields of a model may vary, over which domain, in which unit, and with which prior.

A parameter is a plain array on its natural scale. What is known about it is declared once, on the class:

    class Decay(mf.Model):
        rate: Array = mf.positive(unit="1/h", prior=dist.LogNormal(0.0, 1.0))

Fields without a declaration are constants. An optimiser works on *free* values, which may be any real number;
`unconstrain` and `constrain` carry a model to its free values and back.
"""

import abc
import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree
from numpyro.distributions import biject_to, constraints

from .compiling import compiled

ModelT = TypeVar("ModelT", bound=eqx.Module)
_KEY = "mefit"  # the place of a declaration in a dataclass field's metadata


class Domain(abc.ABC):
    """A set of values and a smooth bijection between it and the real numbers."""

    is_covariance = False

    @abc.abstractmethod
    def free(self, value: PyTree) -> PyTree:
        """Natural value to free value."""

    @abc.abstractmethod
    def value(self, free: PyTree, like: PyTree) -> PyTree:
        """Free value to natural value; `like` is a natural value of the same shape."""

    def problem(self, value: PyTree) -> str | None:
        """Why a value, of finite numbers in NumPy arrays, lies outside the domain, or None where it does not."""
        return None

    @abc.abstractmethod
    def log_jacobian(self, free: PyTree, like: PyTree) -> Float[Array, ""]:
        """log |d value / d free|, over the numbers of a value that can move independently of each other."""

    def log_scale(self, value: PyTree) -> list[bool]:
        """For every free coordinate: is it the logarithm of a scale, so that minus infinity means zero?"""
        return [False] * self.size(value)

    def size(self, value: PyTree) -> int:
        """How many free coordinates a value has."""
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter_eval_shape(self.free, value)))


class Bijected(Domain):
    """A domain given by a NumPyro constraint; NumPyro supplies the bijection."""

    def __init__(self, constraint: constraints.Constraint, words: str):
        self.constraint, self.words = constraint, words

    def free(self, value):
        return biject_to(self.constraint).inv(value)

    def value(self, free, like):
        return biject_to(self.constraint)(free)

    def log_jacobian(self, free, like):
        return jnp.sum(biject_to(self.constraint).log_abs_det_jacobian(free, self.value(free, like)))

    def problem(self, value):
        return None if bool(np.all(self.constraint(value))) else f"must be {self.words}"

    def log_scale(self, value):
        return [self.constraint is constraints.positive] * self.size(value)


class FullCovariance(Bijected):
    """Symmetric positive definite (K, K) matrices, free as the K(K-1)/2 entries of the Cholesky factor below its
    diagonal, followed by the K logarithms of its diagonal. The Jacobian is measured over the K(K+1)/2 entries of the
    matrix on and below its diagonal."""

    is_covariance = True

    def __init__(self):
        words = "positive definite: every variance above zero, every correlation between -1 and 1"
        super().__init__(constraints.positive_definite, words)

    def problem(self, value):
        if value.ndim != 2 or value.shape[0] != value.shape[1]:
            return f"must be a square matrix, not an array of shape {value.shape}"
        if not np.allclose(value, value.T):
            return "must be symmetric"
        if not np.all(np.linalg.eigvalsh(value) > 0):
            return f"must be {self.words}"
        return None

    def log_scale(self, value):
        size, k = self.size(value), len(value)  # the scales come last, one for each effect or for all
        return [False] * (size - k) + [True] * min(size, k)


class DiagonalCovariance(FullCovariance):
    """Diagonal (K, K) covariance matrices, free as the K logarithms of the standard deviations."""

    def free(self, value):
        return 0.5 * jnp.log(jnp.diagonal(value))

    def value(self, free, like):
        return jnp.diag(jnp.exp(2.0 * free))

    def log_jacobian(self, free, like):
        """Measured over the variances: K of them, or the one that all share."""
        return jnp.sum(jnp.log(2.0) + 2.0 * free)

    def problem(self, value):
        if value.ndim == 2 and np.any(value != np.diag(np.diagonal(value))):
            return "is declared diagonal, so every entry off the diagonal must be zero"
        return super().problem(value)


class ScalarCovariance(DiagonalCovariance):
    """One variance times the identity (K, K), free as the logarithm of the standard deviation."""

    def free(self, value):
        return 0.5 * jnp.log(value[0, 0])

    def value(self, free, like):
        return jnp.exp(2.0 * free) * jnp.eye(len(like))

    def problem(self, value):
        problem = super().problem(value)
        if problem is None and np.ptp(np.diagonal(value)) > 0:
            return "is declared as one variance times the identity, so all its variances must be equal"
        return problem


class Weights(Domain):
    """Every array of real numbers in a pytree, such as a network."""

    def free(self, value):
        return eqx.filter(value, eqx.is_inexact_array)

    def value(self, free, like):
        return eqx.combine(free, like)

    def log_jacobian(self, free, like):
        return jnp.zeros(())


class Parameter(NamedTuple):
    """What is declared about one field of a model."""

    domain: Domain
    unit: str
    prior: Any
    names: tuple[str, ...]


def _as_array(value: Any) -> Array:
    """A float64 array. By way of NumPy, which compiles nothing, unless the value is being traced."""
    return jnp.asarray(value, float) if isinstance(value, jax.core.Tracer) else jnp.asarray(np.asarray(value, float))


def _declare(domain: Domain, unit: str, prior: Any, names: Iterable[str]) -> Any:
    return eqx.field(converter=_as_array, metadata={_KEY: Parameter(domain, unit, prior, tuple(names))})


def real(unit: str = "", prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A field that may be any real number, or an array of them.

    `prior` is a NumPyro distribution: a density on the natural scale, taken elementwise and summed; maximum a
    posteriori adds it as it stands, with no Jacobian. `names` label the entries of an array in tables.
    """
    return _declare(Bijected(constraints.real, "a finite number"), unit, prior, names)


def positive(unit: str = "", prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A field of positive numbers, free as their logarithm. `prior` and `names` as in `real`."""
    return _declare(Bijected(constraints.positive, "positive"), unit, prior, names)


def interval(low: float, high: float, unit: str = "", prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A field of numbers strictly between `low` and `high`, free as a scaled logit. `prior` as in `real`."""
    if not low < high:
        raise ValueError(f"interval({low}, {high}) is empty: give the lower end first.")
    constraint = constraints.open_interval(low, high)
    return _declare(Bijected(constraint, f"strictly between {low:g} and {high:g}"), unit, prior, names)


def simplex(prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A vector of positive shares that sum to one, free by stick breaking. `prior` as in `real`."""
    return _declare(Bijected(constraints.simplex, "a vector of positive shares that sum to 1"), "", prior, names)


def covariance(prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A full covariance matrix (K, K), free as its Cholesky factor with logarithms on the diagonal.

    `prior` is a distribution over matrices, such as `dist.InverseWishart`; a univariate one applies to each
    variance. `names` name the random effects in tables.
    """
    return _declare(FullCovariance(), "", prior, names)


def diagonal_covariance(prior: Any = None, names: Iterable[str] = ()) -> Any:
    """A diagonal covariance matrix (K, K): independent random effects. `prior` and `names` as in `covariance`."""
    return _declare(DiagonalCovariance(), "", prior, names)


def scalar_covariance(prior: Any = None, names: Iterable[str] = ()) -> Any:
    """One variance times the identity (K, K). `prior` and `names` as in `covariance`."""
    return _declare(ScalarCovariance(), "", prior, names)


def weights(prior: Any = None) -> Any:
    """A pytree of real arrays, such as a network.

    `prior` applies to every single weight; or it is a penalty of the whole, such as `mf.networks.L2(1.0)`.
    """
    return eqx.field(metadata={_KEY: Parameter(Weights(), "", prior, ())})


def parameters(model: eqx.Module) -> dict[str, Parameter]:
    """The declared parameters of a model, by field name, in the order of declaration."""
    return {f.name: f.metadata[_KEY] for f in dataclasses.fields(model) if _KEY in f.metadata}


def free_parameters(model: eqx.Module, fixed: Iterable[str] = ()) -> dict[str, Parameter]:
    """The parameters that are not held fixed. Raises ValueError where a name in `fixed` is not a parameter."""
    fixed = (fixed,) if isinstance(fixed, str) else tuple(fixed)
    declared = parameters(model)
    if strange := [name for name in fixed if name not in declared]:
        kind, known = type(model).__name__, ", ".join(declared) or "none, the model declares no parameters"
        raise ValueError(f"fixed names {strange[0]!r}, which is not a parameter of {kind}: choose from {known}.")
    return {name: parameter for name, parameter in declared.items() if name not in fixed}


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


def has_network(model: eqx.Module, fixed: Iterable[str] = ()) -> bool:
    """Does one of the model's parameters that are not held fixed declare weights?"""
    return any(isinstance(parameter.domain, Weights) for parameter in free_parameters(model, fixed).values())


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


def has_prior(model: eqx.Module, fixed: Iterable[str] = ()) -> bool:
    """Does any parameter that is not fixed declare a prior?"""
    return any(p.prior is not None for p in free_parameters(model, fixed).values())


def effect_names(names: tuple[str, ...], count: int, first: int = 1) -> tuple[str, ...]:
    """The declared names of the random effects, or of an array's entries; else their numbers from `first`."""
    return names if len(names) == count else tuple(str(k + first) for k in range(count))


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
