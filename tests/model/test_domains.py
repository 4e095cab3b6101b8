"""Domains: abstract or final, and what each says of itself."""

import inspect

import numpy as np
import pytest
from scipy import optimize, stats

import mefit as mf
from mefit.model import domains


def of(field):
    return field.metadata["mefit"].domain


DECLARED = {  # bounded, covariance, with correlations
    "real": (mf.real(), False, False, False),
    "positive": (mf.positive(), False, False, False),
    "interval": (mf.interval(0.0, 1.0), True, False, False),
    "simplex": (mf.simplex(), True, False, False),
    "covariance": (mf.covariance(), False, True, True),
    "diagonal": (mf.diagonal_covariance(), False, True, False),
    "scalar": (mf.scalar_covariance(), False, True, False),
    "weights": (mf.weights(), False, False, False),
}


@pytest.mark.parametrize("name", DECLARED)
def test_a_domain_says_what_it_is(name):
    declared, bounded, is_covariance, has_correlations = DECLARED[name]
    domain = of(declared)
    assert domain.bounded is bounded
    assert domain.is_covariance is is_covariance
    assert domain.has_correlations is has_correlations


def test_domains_are_abstract_or_final():
    classes = [c for _, c in inspect.getmembers(domains, inspect.isclass) if issubclass(c, domains.Domain)]
    assert len(classes) == 7
    for kind in classes:
        assert all(inspect.isabstract(base) for base in kind.__mro__[1:] if issubclass(base, domains.Domain)), kind


MOMENTS = np.array([[2.0, 0.6, -0.2], [0.6, 1.0, 0.3], [-0.2, 0.3, 0.5]])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["covariance", "diagonal", "scalar"])
def test_the_closest_covariance_maximises_the_likelihood(name):
    """Against a search over the free values of -(log|S| + tr(S^-1 M)) / 2."""
    domain = of(DECLARED[name][0])

    def loss(free):
        covariance = np.asarray(domain.value(free if name != "scalar" else free[0], np.eye(3)))
        return np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, MOMENTS))

    start = np.ravel(np.asarray(domain.free(np.eye(3)))).round(9)  # a first step is a share of what is not zero
    best = optimize.minimize(loss, start, method="Nelder-Mead", options={"maxfev": 5000, "xatol": 1e-7, "fatol": 1e-12})
    expected = np.asarray(domain.value(best.x if name != "scalar" else best.x[0], np.eye(3)))
    np.testing.assert_allclose(domain.closest(MOMENTS), expected, atol=2e-5)
    assert loss(np.ravel(np.asarray(domain.free(np.asarray(domain.closest(MOMENTS)))))) <= best.fun + 1e-10


def test_the_likelihood_of_that_test_is_the_gaussian():
    y = np.random.default_rng(1).normal(size=(50, 3))
    moments = y.T @ y / 50
    minus_two = -2 * np.sum(stats.multivariate_normal(np.zeros(3), MOMENTS).logpdf(y)) / 50
    by_moments = np.linalg.slogdet(MOMENTS)[1] + np.trace(np.linalg.solve(MOMENTS, moments)) + 3 * np.log(2 * np.pi)
    assert minus_two == pytest.approx(by_moments, rel=1e-12)
