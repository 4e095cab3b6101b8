"""Equations with a positive definite matrix, written out where it is small.

A factorisation by LAPACK is a call for each matrix, with copies about it, between what XLA makes one piece of; in a
search for a mode by three random effects these calls took a third of the time.
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float

_WRITTEN_OUT = 4  # rows: the formulas of more are long to follow and to compile


def solve_positive_definite(matrix: Float[Array, "K K"], vector: Float[Array, " K"]) -> Float[Array, " K"]:
    """matrix^-1 vector by Cholesky's factor; NaN where the matrix is not positive definite."""
    count = vector.size
    if not 0 < count <= _WRITTEN_OUT:
        return cho_solve((jnp.linalg.cholesky(matrix), True), vector)
    entries = jnp.unstack(jnp.reshape(matrix, -1))
    lower = _factor([entries[i * count : (i + 1) * count] for i in range(count)])
    half: list[Array] = []
    for i, value in enumerate(jnp.unstack(vector)):
        half.append(_less(value, lower[i], half) / lower[i][i])
    solved: list[Array] = []
    for i in reversed(range(count)):
        below = [lower[j][i] for j in range(i + 1, count)]
        solved.insert(0, _less(half[i], below, solved) / lower[i][i])
    return jnp.stack(solved)


def _factor(rows: list[tuple[Array, ...]]) -> list[list[Array]]:
    """The rows of L, each up to its diagonal; L L' is the matrix."""
    lower: list[list[Array]] = []
    for i, row in enumerate(rows):
        found: list[Array] = []
        for j in range(i):
            found.append(_less(row[j], found, lower[j]) / lower[j][j])
        pivot = _less(row[i], found, found)
        found.append(jnp.sqrt(jnp.where(pivot > 0.0, pivot, jnp.nan)))
        lower.append(found)
    return lower


def _less(value: Array, left: list[Array], right: list[Array]) -> Array:
    """value - sum of products, as far as both lists go."""
    for a, b in zip(left, right, strict=False):
        value = value - a * b
    return value


def half_log_det(lower: Array) -> Array:
    """(1/2) log|L L'| of a lower triangular L with a positive diagonal."""
    diagonal = jnp.sum(jnp.where(np.eye(len(lower), dtype=bool), lower, 0.0), axis=-1)  # whose derivative is no loop
    return jnp.sum(jnp.log(diagonal))


def inverse_precision(precision: Float[np.ndarray, "N K K"]) -> Float[np.ndarray, "N K K"]:
    """Inverse of each matrix; where one is singular, infinite variance: the subject's data say nothing there."""
    try:
        return np.linalg.inv(precision)
    except np.linalg.LinAlgError:  # of one of them at least
        pass
    inverse = np.full(precision.shape, np.nan)
    for i, matrix in enumerate(precision):
        try:
            inverse[i] = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            inverse[i] = np.diag(np.full(len(matrix), np.inf))
    return inverse
