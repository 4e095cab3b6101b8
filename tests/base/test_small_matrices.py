"""Equations with small positive definite matrices, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mefit.base.small_matrices import solve_positive_definite


def definite(count, seed):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((count, count)) * 10.0 ** rng.uniform(-3, 3, (count, 1))
    return root @ root.T + np.diag(1e-3 * np.diag(root @ root.T)), rng.standard_normal(count)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_solutions_are_those_of_numpy(count, seed):
    matrix, vector = definite(count, seed)
    solved = solve_positive_definite(jnp.asarray(matrix), jnp.asarray(vector))
    np.testing.assert_allclose(solved, np.linalg.solve(matrix, vector), rtol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_derivatives_are_those_of_the_inverse(count):
    matrix, vector = definite(count, 3)
    scale = np.sqrt(np.diag(matrix))
    matrix = jnp.asarray(matrix / np.outer(scale, scale))

    def quadratic(solve):
        return jax.grad(lambda m, v: v @ solve(m, v), argnums=(0, 1))(matrix, jnp.asarray(vector))

    found = quadratic(lambda m, v: solve_positive_definite(0.5 * (m + m.T), v))
    expected = quadratic(lambda m, v: jnp.linalg.solve(0.5 * (m + m.T), v))
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("lowest", [0.0, -1.0, np.nan])
def test_a_matrix_that_is_not_positive_definite_is_refused(count, lowest):
    matrix = np.diag([1.0] * (count - 1) + [lowest])
    assert np.all(np.isnan(solve_positive_definite(jnp.asarray(matrix), jnp.ones(count))))


def test_of_no_equation_there_is_no_solution():
    assert solve_positive_definite(jnp.zeros((0, 0)), jnp.zeros(0)).shape == (0,)
