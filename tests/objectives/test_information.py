"""The inverse of an information matrix: right where there is one, a sentence with names where there is none."""

import numpy as np
import pytest

from mefit.objectives.information import inverse_information, spectrum, stand_in_the_way

UNITS = np.diag([1e-8, 1.0, 1e9])


def test_the_inverse_in_any_units():
    """[[2, 1], [1, 1]] has the inverse [[1, -1], [-1, 2]]; a third is apart, with information 4."""
    matrix = np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]])
    exact = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, 0.0], [0.0, 0.0, 0.25]])
    np.testing.assert_allclose(inverse_information(matrix, "abc"), exact, atol=1e-14)
    back = np.linalg.inv(UNITS)
    found = inverse_information(UNITS @ matrix @ UNITS, "abc")
    np.testing.assert_allclose(np.linalg.inv(back) @ found @ np.linalg.inv(back), exact, atol=1e-12)
    np.testing.assert_array_equal(inverse_information(np.zeros((0, 0)), ()), np.zeros((0, 0)))


def test_eigenvalues_are_of_the_standardised_matrix():
    """Correlation r gives 1 - r and 1 + r, whatever the scales."""
    matrix = np.array([[4.0, 0.6 * 2e5], [0.6 * 2e5, 1e10]])
    scale, strength, _ = spectrum(matrix)
    np.testing.assert_allclose(scale, [2.0, 1e5])
    np.testing.assert_allclose(strength, [0.4, 1.6])


@pytest.mark.parametrize("units", [np.eye(3), UNITS])
def test_those_that_move_together_are_named(units):
    matrix = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # a and b enter as their sum
    assert stand_in_the_way(units @ matrix @ units, "abc") == ["a", "b"]
    with pytest.raises(ValueError, match="^not identified: the likelihood hardly changes as a, b move together, so "):
        inverse_information(units @ matrix @ units, "abc")
    with pytest.raises(ValueError, match="hardly changes as c moves, so their covariance does not exist; fix one"):
        inverse_information(np.diag([1.0, 2.0, 0.0]), "abc")
    with pytest.raises(ValueError, match="as b moves"):
        inverse_information(np.diag([1.0, -2.0, 1.0]), "abc")


def test_twenty_that_enter_as_their_sum_are_all_named():
    labels = [f"b{i}" for i in range(20)]
    contrast = np.eye(20) - np.full((20, 20), 1.0 / 20.0)  # their mean is not told
    assert stand_in_the_way(contrast, labels) == labels


def test_what_is_not_finite_is_named():
    matrix = np.diag([1.0, np.nan, 2.0])
    matrix[0, 1] = matrix[1, 0] = np.nan
    with pytest.raises(ValueError, match="the curvature of the likelihood is not finite in b, so"):
        inverse_information(matrix, "abc")
    matrix = np.eye(3)
    matrix[0, 2] = matrix[2, 0] = np.inf
    with pytest.raises(ValueError, match="not finite in a, c, so"):
        inverse_information(matrix, "abc")
