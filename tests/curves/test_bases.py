"""Natural splines against SciPy's, and the inner products that they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from mefit import networks


@pytest.mark.slow
@pytest.mark.parametrize("df", [1, 2, 5, 8])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 1e6)])
def test_a_basis_holds_every_natural_spline_of_its_knots(df, low, high):
    basis = networks.NaturalSpline(df, low, high)
    knots = np.linspace(low, high, df + 1)
    heights = np.random.default_rng(df).normal(size=df + 1)
    coefficients = np.linalg.solve(np.asarray(basis(knots)), heights)
    inside = np.linspace(low, high, 57)
    curve = np.asarray(basis(inside)) @ coefficients
    expected = CubicSpline(knots, heights, bc_type="natural")(inside) if df > 1 else np.interp(inside, knots, heights)
    np.testing.assert_allclose(curve, expected, atol=1e-9 * np.max(np.abs(heights)))


def test_it_is_orthonormal_and_straight_beyond_its_ends():
    basis = networks.NaturalSpline(6, 2.0, 10.0)
    t = np.linspace(2.0, 10.0, 20_001)
    values = np.asarray(basis(t))
    products = np.trapezoid(values[:, :, None] * values[:, None, :], t, axis=0) / 8.0
    np.testing.assert_allclose(products, np.eye(7), atol=2e-3)
    np.testing.assert_allclose(values[:, 0], 1.0)
    beyond = np.asarray(basis(np.array([10.0, 11.0, 12.0, 20.0])))
    np.testing.assert_allclose(beyond[2] - beyond[1], beyond[1] - beyond[0], atol=1e-9)
    np.testing.assert_allclose(beyond[3] - beyond[0], 10 * (beyond[1] - beyond[0]), atol=1e-8)
    slope = jax.jacfwd(lambda x: basis(x[None])[0])
    np.testing.assert_allclose(slope(jnp.asarray(9.999999)), slope(jnp.asarray(11.0)), atol=1e-4)


def test_what_cannot_be():
    with pytest.raises(ValueError, match="one or more, and high above low"):
        networks.NaturalSpline(0, 0.0, 1.0)
    with pytest.raises(ValueError, match="high above low"):
        networks.NaturalSpline(3, 1.0, 1.0)


def test_rhythms_are_orthonormal_and_return():
    day = networks.TimeOfDay(3, 9.0, 21.0, day=24.0)
    week = networks.Cosines(2, period=168.0)
    hours = np.linspace(9.0, 21.0, 4001)
    of_day = np.asarray(day(hours))
    np.testing.assert_allclose(
        np.trapezoid(of_day[:, :, None] * of_day[:, None, :], hours, axis=0) / 12, np.eye(3), atol=1e-5
    )
    np.testing.assert_allclose(np.trapezoid(of_day, hours, axis=0), 0.0, atol=1e-5)  # nothing of a constant
    np.testing.assert_allclose(day(hours + 10 * 24.0), of_day, atol=1e-9)
    turn = np.linspace(0.0, 168.0, 4001)
    of_week = np.asarray(week(turn))
    np.testing.assert_allclose(
        np.trapezoid(of_week[:, :, None] * of_week[:, None, :], turn, axis=0) / 168, np.eye(4), atol=1e-9
    )
    np.testing.assert_allclose(week(turn + 168.0), of_week, atol=1e-9)


def test_bases_are_joined_by_a_plus():
    parts = networks.NaturalSpline(4, 0.0, 21.0), networks.TimeOfDay(2, 0.375, 0.875), networks.Cosines(1, period=7.0)
    basis = parts[0] + parts[1] + parts[2]
    t = np.linspace(0.0, 20.9, 50)
    assert basis.size == 5 + 2 + 2
    np.testing.assert_array_equal(basis(t), np.column_stack([part(t) for part in parts]))
    with pytest.raises(TypeError):
        basis + 1


def test_rhythms_that_cannot_be():
    with pytest.raises(ValueError, match="positive period"):
        networks.Cosines(1, period=0.0)
    with pytest.raises(ValueError, match="follow each other within a day"):
        networks.TimeOfDay(2, 9.0, 21.0)
