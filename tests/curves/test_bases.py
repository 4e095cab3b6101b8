"""Natural splines against SciPy's, and the inner products that they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from mefit import networks


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
