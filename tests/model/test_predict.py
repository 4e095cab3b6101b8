"""Predictions: against the closed form, on a grid, and what they refuse."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line, Logistic, theophylline_model

import mefit as mf


def test_at_the_typical_subject_and_at_given_random_effects(theophylline):
    model = theophylline_model()
    subject = theophylline.subjects
    time, dose = np.asarray(subject.time), np.asarray(subject.doses.amount).sum(1, keepdims=True)

    def curve(ka, cl, v, time=time):
        ke = cl / v
        return dose * ka / (v * (ka - ke)) * (np.exp(-ke * time) - np.exp(-ka * time))

    np.testing.assert_allclose(mf.predict(model, theophylline), curve(1.5, 0.04, 0.5), rtol=1e-12, atol=1e-12)
    eta = np.random.default_rng(3).normal(0, 0.3, (12, 3))
    own = (x[:, None] for x in np.array([1.5, 0.04, 0.5])[:, None] * np.exp(eta.T))
    np.testing.assert_allclose(mf.predict(model, theophylline, eta), curve(*own), rtol=1e-10, atol=1e-10)
    grid = np.linspace(0, 30, 7)
    on_grid = mf.predict(model, theophylline, time=grid)
    np.testing.assert_allclose(on_grid, curve(1.5, 0.04, 0.5, grid), rtol=1e-12, atol=1e-12)
    each = mf.predict(model, theophylline, time=grid + np.arange(12)[:, None])
    np.testing.assert_allclose(each[4], mf.predict(model, theophylline, time=grid + 4)[4], rtol=1e-12)


class CountsRows(mf.Model):
    """Its mean is how many rows a subject has."""

    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), 1.0)

    def observations(self, eta, subject):
        count = jnp.sum(subject.real.astype(float))
        return dist.Normal(jnp.full(subject.time.shape, count), self.sigma)


def test_every_time_of_a_grid_is_a_row(linear_population):
    model = CountsRows(sigma=1.0)
    own = mf.predict(model, linear_population)
    assert own[:, 0].tolist() == [4, 5, 6, 7, 8]  # of 8 columns
    for size in (3, 8):
        on_grid = mf.predict(model, linear_population, time=np.arange(float(size)))
        assert on_grid.shape == (5, size) and bool(jnp.all(on_grid == size))


def test_left_out_eta_is_the_mean_of_the_random_effects_and_not_zero(linear_population, line_model):
    import numpyro.distributions as dist

    class Shifted(Line):
        def random_effects(self):
            return dist.MultivariateNormal(jnp.array([100.0, 0.0]), self.omega)

    shifted = Shifted(beta=line_model.beta, omega=line_model.omega, sigma=line_model.sigma)
    difference = mf.predict(shifted, linear_population) - mf.predict(line_model, linear_population)
    np.testing.assert_allclose(difference, 100.0)


def test_the_mean_of_any_observation_density():
    population = mf.Population.from_frame(pd.DataFrame({"ID": [1, 1, 2], "TIME": [0, 1, 0], "DV": [0, 1, 1]}))
    means = mf.predict(Logistic(b0=0.3, omega=1.0), population, eta=[[0.0], [1.0]])
    np.testing.assert_allclose(means, 1 / (1 + np.exp(-np.array([[0.3, 0.3], [1.3, 1.3]]))))


def test_what_cannot_be_predicted_is_a_sentence(theophylline, line_model):
    model = theophylline_model()
    with pytest.raises(ValueError, match=r"eta has shape \(3,\), but 12 subjects with 3 random effects"):
        mf.predict(model, theophylline, eta=[0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"time has shape \(5, 2\); give \(m,\) for all, or \(12, m\)"):
        mf.predict(model, theophylline, time=np.ones((5, 2)))
    with pytest.raises(ValueError, match="finite times"):
        mf.predict(model, theophylline, time=[0.0, np.nan])
    frame = pd.DataFrame({"ID": [1, 1, 2], "TIME": [0, 1, 0], "DV": [0.0, 1, 1], "WT": [60, 61, 70]})
    growing = mf.Population.from_frame(frame, covariates="WT")
    assert mf.predict(line_model, growing).shape == (2, 2)
    with pytest.raises(ValueError, match="Covariate WT varies in time, .* leave `time` out"):
        mf.predict(line_model, growing, time=[0.0, 0.5])


def test_a_covariate_that_is_not_there_and_a_covariance_of_another_size_are_sentences(theophylline, linear_population):
    class Heavy(mf.Model):
        slope: Array = mf.real()
        omega: Array = mf.covariance()

        def random_effects(self):
            return dist.MultivariateNormal(jnp.zeros(3), self.omega)

        def observations(self, eta, subject):
            return dist.Normal(self.slope * subject.covariates["age"] + eta[0], 1.0)

    with pytest.raises(ValueError, match=r"Heavy.observations asks for the covariate 'age', and the population has wt"):
        mf.predict(Heavy(1.0, jnp.eye(3)), theophylline)
    for use in (mf.predict, lambda model, data: mf.fit(model, data, mf.FOCE(), progress=False)):
        with pytest.raises(ValueError, match=r"Heavy.random_effects stopped at `.*`: arrays of shapes .* do not go"):
            use(Heavy(1.0, jnp.eye(2)), linear_population)
