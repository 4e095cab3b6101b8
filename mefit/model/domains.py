"""Sets of values, and smooth bijections between them and the real numbers."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from numpyro.distributions import biject_to, constraints


class Domain(abc.ABC):
    """A set of values and a smooth bijection between it and the real numbers."""

    is_covariance = False
    is_real = False  # all real numbers: a value is its own free coordinate, and may have a unit

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
