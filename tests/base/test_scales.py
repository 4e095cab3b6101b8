"""Scales and second derivatives by differences: of functions whose derivatives are known."""

import numpy as np
import pytest

from mefit.base.bfgs import BFGS
from mefit.base.scales import Sizes, measure_curvature


def known(guess, most=np.inf):
    guess = np.atleast_1d(np.asarray(guess, float))
    return Sizes(guess, np.full(guess.shape, most), np.ones(guess.shape, bool))


def parabola(hessian, centre):
    def function(x):
        move = x - centre
        return 0.5 * move @ hessian @ move, hessian @ move

    return function


@pytest.mark.parametrize("guess", [1e-9, 1e-5, 1e-3, 1.0, 1e4, 0.0])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e7])
def test_the_hessian_of_a_parabola_in_any_unit_and_from_any_guess(unit, guess):
    hessian = np.array([[4.0, 1.0], [1.0, 9.0]]) / unit**2
    function = parabola(hessian, np.zeros(2))
    x = np.array([0.3, -0.2]) * unit
    measured = measure_curvature(function, x, function(x)[1], known([guess * unit] * 2), central=True)
    np.testing.assert_allclose(measured.matrix, hessian, rtol=1e-6)
    slope = function(x)[1]
    np.testing.assert_allclose(measured.scale, 1 / np.hypot(np.sqrt(np.diagonal(hessian)), 0.01 * slope), rtol=1e-6)


def test_a_coordinate_that_the_function_does_not_use_has_no_curvature():
    function = parabola(np.diag([2.0, 0.0]), np.zeros(2))
    x = np.array([1.0, 5.0])
    measured = measure_curvature(function, x, function(x)[1], known([1.0, 5.0]))
    assert np.all(measured.matrix[1] == 0.0) and np.all(measured.matrix[:, 1] == 0.0)
    assert measured.matrix[0, 0] == pytest.approx(2.0, rel=1e-6)


def test_the_errors_of_an_inner_search_are_not_taken_for_a_bend():
    rng = np.random.default_rng(0)

    def function(x):  # flat along the second coordinate, but for errors of 1e-9
        return 0.5 * x[0] ** 2, np.array([x[0], 1e-9 * rng.standard_normal()])

    x = np.array([0.3, 250.0])
    for guess in (1e-3, 1.0, 250.0):
        measured = measure_curvature(function, x, function(x)[1], known([1.0, guess]), central=True)
        assert measured.matrix[1, 1] * guess**2 < 1e-3 and measured.matrix[0, 0] == pytest.approx(1.0, rel=1e-6)


def test_a_coordinate_that_is_not_to_be_measured_costs_nothing():
    calls = []

    def function(x):
        calls.append(x)
        return 0.5 * x @ x, x

    sizes = Sizes(np.ones(3), np.full(3, np.inf), np.array([True, False, False]))
    measured = measure_curvature(function, np.ones(3), np.ones(3), sizes)
    assert len(calls) == measured.evaluations == 1 and np.all(measured.scale[1:] == 1.0)


def rosenbrock(unit):
    def function(x):
        a, b = x / unit
        value = (1 - a) ** 2 + 100 * (b - a**2) ** 2
        return value, np.array([-2 * (1 - a) - 400 * a * (b - a**2), 200 * (b - a**2)]) / unit

    return function


def run(function, x, sizes):
    from scipy.optimize import Bounds

    optimiser = BFGS()
    point = optimiser.init(function, x, sizes)
    steps = 0
    while not point.done:
        point = optimiser.step(function, point, Bounds(-np.inf, np.inf))
        steps += 1
    return point, steps


def test_bfgs_takes_the_same_way_in_every_unit():
    unit = np.array([1e-6, 1e7])
    point, steps = run(rosenbrock(np.ones(2)), np.array([-1.2, 1.0]), known([1.2, 1.0]))
    other, others = run(rosenbrock(unit), np.array([-1.2, 1.0]) * unit, known(np.array([1.2, 1.0]) * unit))
    assert point.converged and other.converged and steps == others
    np.testing.assert_allclose(point.x, 1.0, atol=1e-5)
    np.testing.assert_allclose(other.x / unit, point.x, rtol=1e-8)


def test_bfgs_measures_again_after_a_long_way():
    """Where it starts, the function bends a million times as much as at its minimum."""

    def function(x):
        return float(np.logaddexp(x, -x).sum()), np.tanh(x)

    point, _ = run(lambda x: (1e-3 * function(x)[0], 1e-3 * function(x)[1]), np.array([9.0]), known([9.0]))
    assert point.converged and abs(point.x[0]) < 1e-3


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize(("strength", "start"), [(1e160, 6.0), (1e300, 1.0), (1.0, 1e100), (1e300, 1e3)])
def test_bfgs_calls_nothing_a_minimum_that_is_too_steep_to_be_squared(strength, start, measured):
    """The decrement of such a slope is no number. (A warning is an error in these tests.)"""

    def function(x):
        with np.errstate(over="ignore"):
            value = strength * np.sum(x**4)
            slope = 4.0 * strength * x**3
        if not (np.isfinite(value) and np.all(np.isfinite(slope))):
            return np.inf, np.zeros(x.size)
        return float(value), slope

    x = np.full(3, start)
    sizes = Sizes(np.ones(3), np.full(3, np.inf), np.full(3, measured))
    assert not BFGS().init(function, x, sizes).converged
    point, _ = run(function, x, sizes)
    assert not point.converged or point.value < 1e-6
