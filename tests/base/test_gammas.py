"""The gamma function and draws from the Beta distribution, against SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mefit.base.gammas import beta_draws, log_beta, log_gamma


def test_the_logarithm_of_the_gamma_function_and_its_derivatives():
    x = np.concatenate([np.logspace(-9, 9, 4001), np.linspace(0.9, 2.1, 501), [99.999, 100.0, 100.001, 1e40]])
    exact = special.gammaln(x)
    np.testing.assert_allclose(
        log_gamma(jnp.asarray(x)) / np.maximum(1, np.abs(exact)), exact / np.maximum(1, np.abs(exact)), atol=2e-14
    )
    slope = jax.vmap(jax.grad(log_gamma))(jnp.asarray(x))
    np.testing.assert_allclose(slope, special.digamma(x), rtol=1e-11, atol=1e-11)
    bend = jax.vmap(jax.grad(jax.grad(log_gamma)))(jnp.linspace(0.05, 300.0, 400))
    np.testing.assert_allclose(bend, special.polygamma(1, np.linspace(0.05, 300.0, 400)), rtol=1e-9)


def test_the_logarithm_of_the_beta_function():
    a, b = np.meshgrid(np.logspace(-3, 4, 30), np.logspace(-3, 4, 30))
    np.testing.assert_allclose(log_beta(jnp.asarray(a), jnp.asarray(b)), special.betaln(a, b), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("a", "b"), [(3.0, 9.0), (0.3, 4.0), (0.2, 0.3), (1.0, 1.0), (400.0, 30.0)])
def test_draws_of_shares(a, b):
    """By the test of Kolmogorov and Smirnov; of draws this close to 0 or 1 the digits run out."""
    draws = np.asarray(beta_draws(jax.random.key(3), jnp.full(20_000, a), jnp.full(20_000, b)))
    assert np.all((draws >= 0.0) & (draws <= 1.0))
    assert stats.kstest(draws, stats.beta(a, b).cdf).pvalue > 0.01


@pytest.mark.slow
def test_each_element_has_its_own_law():
    a = jnp.array([2.0, 20.0, 0.5])
    draws = jax.vmap(lambda key: beta_draws(key, a, jnp.array([8.0, 5.0, 0.5])))(
        jax.random.split(jax.random.key(1), 20_000)
    )
    np.testing.assert_allclose(np.mean(draws, axis=0), [0.2, 0.8, 0.5], atol=0.01)
    np.testing.assert_allclose(np.var(draws, axis=0), [0.16 / 11, 0.16 / 26, 0.25 / 2], rtol=0.05)
