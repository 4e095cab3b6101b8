"""`mf.log_density`: what `fit` maximises, to derive through."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from models import Line
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

import mefit as mf


class Shrunk(mf.Model):
    """A line with a prior on its level."""

    level: Array = mf.real(prior=dist.Normal(240.0, 10.0))
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.level + eta[0] + 0.0 * subject.time, self.sigma)


def closed_form(level, omega, sigma, population):
    total = norm.logpdf(level, 240.0, 10.0)
    for subject in population:
        seen = np.asarray(subject.mask)
        y = np.asarray(subject.y)[seen]
        covariance = omega**2 + sigma**2 * np.eye(y.size)
        total += multivariate_normal.logpdf(y, np.full(y.size, level), covariance)
    return total


@pytest.mark.slow
@pytest.mark.parametrize("method", [mf.FO(), mf.Laplace()], ids=lambda m: m.label)
def test_it_is_likelihood_plus_prior_and_its_derivative_is_right(method, linear_population):
    model = Shrunk(level=250.0, omega=30.0, sigma=20.0)
    value, slope = eqx.filter_value_and_grad(lambda m: mf.log_density(m, linear_population, method))(model)
    assert float(value) == pytest.approx(closed_form(250.0, 30.0, 20.0, linear_population), rel=1e-10)
    step = 1e-4
    for name, at in (("level", 250.0), ("omega", 30.0), ("sigma", 20.0)):
        where = {"level": 250.0, "omega": 30.0, "sigma": 20.0}
        up = closed_form(**where | {name: at + step}, population=linear_population)
        down = closed_form(**where | {name: at - step}, population=linear_population)
        assert float(getattr(slope, name)) == pytest.approx((up - down) / (2 * step), rel=1e-6)


@pytest.mark.slow
def test_it_stands_inside_another_optimiser(linear_population):
    """SciPy's own search over a compiled function of it ends where the kit's does."""
    start = Line(beta=jnp.array([245.0, 9.0]), omega=jnp.array([[400.0, 20.0], [20.0, 30.0]]), sigma=14.0)

    @jax.jit
    def loss(log_sigma):
        model = eqx.tree_at(lambda m: m.sigma, start, jnp.exp(log_sigma))
        return -mf.log_density(model, linear_population, mf.Laplace())

    best = minimize(lambda x: float(loss(x[0])), [2.0], jac=lambda x: np.asarray(jax.grad(loss)(x[0]))[None])
    fit = mf.fit(start, linear_population, mf.Laplace(), fixed=("beta", "omega"), progress=False)
    assert np.exp(best.x[0]) == pytest.approx(float(fit.model.sigma), rel=1e-4)


@pytest.mark.slow
def test_a_second_derivative_is_right_or_refused(linear_population):
    model = Line(beta=jnp.array([245.0, 9.0]), omega=jnp.array([[400.0, 20.0], [20.0, 30.0]]), sigma=14.0)

    def of_sigma(sigma, method):
        return mf.log_density(eqx.tree_at(lambda m: m.sigma, model, sigma), linear_population, method)

    sigma = jnp.asarray(14.0)
    exact = float(jax.grad(jax.grad(of_sigma))(sigma, mf.FO()))
    slopes = [float(jax.grad(of_sigma)(sigma + step, mf.Laplace())) for step in (1e-3, -1e-3)]
    assert exact == pytest.approx((slopes[0] - slopes[1]) / 2e-3, rel=1e-5)
    for derive in (lambda: jax.grad(jax.grad(of_sigma)), lambda: jax.hessian(of_sigma)):
        with pytest.raises(ValueError, match="a second derivative of Laplace's log density is not to be had"):
            derive()(sigma, mf.Laplace())


def test_a_method_without_an_objective_is_refused(linear_population, line_model):
    with pytest.raises(ValueError, match="no log-likelihood to evaluate"):
        mf.log_density(line_model, linear_population, mf.TwoStage())
