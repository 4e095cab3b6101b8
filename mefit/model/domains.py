"""Sets of values, and smooth bijections between them and the real numbers."""

import abc
import functools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from numpyro.distributions import biject_to, constraints

_NOT_POSITIVE = "must be positive definite: every variance above zero, every correlation between -1 and 1"

# Of each variance: what is always left of it beside the other random effects. With less, the Cholesky factor of the
# matrix has lost its digits, its derivatives first, and a search for a singular maximum ended where rounding left it.
_LEAST = 1e-12


class Domain(abc.ABC):
    """A set of values and a smooth bijection between it and the real numbers."""

    is_covariance: ClassVar[bool] = False
    has_correlations: ClassVar[bool] = False  # does a covariance have free entries off its diagonal?
    bounded: bool = False  # do the values lie between finite ends, so that even a flat prior is proper?
    is_real: bool = False  # all real numbers: a value is its own free coordinate, and may have a unit

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
        shape = getattr(value, "shape", None)
        return _counted(self, value) if shape is None else _size_of_array(self, tuple(shape))


def _counted(domain: Domain, value: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter_eval_shape(domain.free, value)))


@functools.lru_cache(maxsize=4096)
def _size_of_array(domain: Domain, shape: tuple[int, ...]) -> int:
    """That of an array, which is asked for some forty times in a fit: a third of the time of a refit of few people."""
    return _counted(domain, jax.ShapeDtypeStruct(shape, jnp.dtype(float)))


class Bijected(Domain):
    """A domain given by a NumPyro constraint; NumPyro supplies the bijection."""

    def __init__(self, constraint: constraints.Constraint, words: str, bounded: bool = False):
        self.constraint = constraint
        self.words = words
        self.bounded = bounded
        self.is_real = constraint is constraints.real

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


class Covariance(Domain):
    """Symmetric positive definite (K, K) matrices, or those of them that have a certain form."""

    is_covariance = True

    @abc.abstractmethod
    def closest(self, moments: Float[Array, "K K"]) -> Float[Array, "K K"]:
        """The matrix of this form that maximises the Gaussian likelihood for these second moments."""

    def problem(self, value):
        if value.ndim != 2 or value.shape[0] != value.shape[1]:
            return f"must be a square matrix, not an array of shape {value.shape}"
        if not np.allclose(value, value.T):
            return "must be symmetric"
        variances = np.diagonal(value)
        if np.any(variances <= 0):
            return _NOT_POSITIVE
        # Of the correlations: among variances of very different sizes, a small one would be lost in rounding.
        if not np.all(np.linalg.eigvalsh(value / np.sqrt(np.outer(variances, variances))) > 0):
            return _NOT_POSITIVE
        return None

    def log_scale(self, value):
        size = self.size(value)
        scales = min(size, len(value))  # they come last, one for each effect or one for all
        return [False] * (size - scales) + [True] * scales


class FullCovariance(Covariance):
    """Symmetric positive definite (K, K) matrices.

    They are free as the K(K-1)/2 entries of the Cholesky factor below its diagonal, followed by the K logarithms of
    its diagonal; every variance is larger by a part in 10^12 than they say, so that none is singular to rounding. The
    Jacobian is measured over the K(K+1)/2 entries of the matrix on and below its diagonal.
    """

    has_correlations = True

    def free(self, value):
        inverse = biject_to(constraints.positive_definite).inv
        free = inverse(value - _LEAST / (1.0 + _LEAST) * jnp.diag(jnp.diagonal(value)))
        return jnp.where(jnp.all(jnp.isfinite(free)), free, inverse(value))

    def value(self, free, like):
        matrix = biject_to(constraints.positive_definite)(free)
        return matrix + _LEAST * jnp.diag(jnp.diagonal(matrix))

    def log_jacobian(self, free, like):
        bijection = biject_to(constraints.positive_definite)
        return jnp.sum(bijection.log_abs_det_jacobian(free, bijection(free)))

    def closest(self, moments):
        return moments


class DiagonalCovariance(Covariance):
    """Diagonal (K, K) covariance matrices, free as the K logarithms of the standard deviations."""

    def free(self, value):
        return 0.5 * jnp.log(jnp.diagonal(value))

    def value(self, free, like):
        return jnp.diag(jnp.exp(2.0 * free))

    def log_jacobian(self, free, like):
        """Measured over the K variances."""
        return _log_jacobian_of_variances(free)

    def closest(self, moments):
        return jnp.diag(jnp.diagonal(moments))

    def problem(self, value):
        return _problem_off_the_diagonal(value) or super().problem(value)


class ScalarCovariance(Covariance):
    """One variance times the identity (K, K), free as the logarithm of the standard deviation."""

    def free(self, value):
        return 0.5 * jnp.log(value[0, 0])

    def value(self, free, like):
        return jnp.exp(2.0 * free) * jnp.eye(len(like))

    def log_jacobian(self, free, like):
        """Measured over the one variance that all share."""
        return _log_jacobian_of_variances(free)

    def closest(self, moments):
        return jnp.trace(moments) / len(moments) * jnp.eye(len(moments))

    def problem(self, value):
        problem = _problem_off_the_diagonal(value) or super().problem(value)
        if problem is None and np.ptp(np.diagonal(value)) > 0:
            return "is declared as one variance times the identity, so all its variances must be equal"
        return problem


def _log_jacobian_of_variances(log_sd: Array) -> Float[Array, ""]:
    """log |d variance / d log SD| = log 2 + 2 log SD, summed."""
    return jnp.sum(jnp.log(2.0) + 2.0 * log_sd)


def _problem_off_the_diagonal(value: np.ndarray) -> str | None:
    if value.ndim == 2 and np.any(value != np.diag(np.diagonal(value))):
        return "is declared diagonal, so every entry off the diagonal must be zero"
    return None


class Weights(Domain):
    """Every array of real numbers in a pytree, such as a network."""

    def free(self, value):
        return eqx.filter(value, eqx.is_inexact_array)

    def value(self, free, like):
        return eqx.combine(free, like)

    def log_jacobian(self, free, like):
        return jnp.zeros(())
