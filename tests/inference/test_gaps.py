"""What an encoder lacks of the log-likelihood: closed forms of a linear model, brute force in one dimension."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm, poisson

import mefit as mf

TIMES = np.arange(5.0)
DESIGN = np.column_stack([np.ones(5), TIMES])
KEY = jax.random.key(2)


def line_fit(unit=1.0):
    """Forty lines, and an encoder that is far from trained."""
    rng = np.random.default_rng(1)
    b = np.array([2.0, 0.5]) + rng.multivariate_normal([0, 0], [[1.0, 0.2], [0.2, 0.3]], 40)
    y = unit * (b @ DESIGN.T + 0.5 * rng.standard_normal((40, 5)))
    number, place = np.indices(y.shape)
    frame = pd.DataFrame({"ID": number.ravel(), "TIME": TIMES[place.ravel()], "DV": y.ravel()})
    people = mf.Population.from_frame(frame)
    start = Line(beta=jnp.array([2.0, 0.5]) * unit, omega=jnp.diag(jnp.array([1.0, 0.3])) * unit**2, sigma=0.5 * unit)
    method = mf.Adam(
        mf.Amortised(mf.networks.Encoder(people, 2, hidden=(4,)), samples=50), steps=100, learning_rate=0.03
    )
    return mf.fit(start, people, method, key=KEY, progress=False)


@pytest.fixture(scope="module")
def fitted():
    return line_fit()


@pytest.fixture(scope="module")
def found(fitted):
    return mf.gaps(fitted, by=mf.AGQ(3), key=KEY)


@pytest.mark.slow
def test_of_a_linear_model_all_that_lacks_is_the_networks(fitted, found):
    """There the posterior is Gaussian: nothing lacks of its own bound, and of any other its divergence."""
    omega, sigma = np.asarray(fitted.model.omega), float(fitted.model.sigma)
    precision = np.linalg.inv(omega) + DESIGN.T @ DESIGN / sigma**2
    marginal = DESIGN @ omega @ DESIGN.T + sigma**2 * np.eye(5)
    for i, (y, row) in enumerate(zip(np.asarray(fitted.population.subjects.y), found.table.itertuples(), strict=True)):
        residual = y - DESIGN @ np.asarray(fitted.model.beta)
        log_l = multivariate_normal(np.zeros(5), marginal).logpdf(residual)
        q = fitted.encoder(fitted.population[i])
        cov = np.asarray(q.lower @ q.lower.T)
        away = np.asarray(q.mean) - np.linalg.solve(precision, DESIGN.T @ residual) / sigma**2
        size = np.log(np.linalg.det(precision @ cov))
        divergence = 0.5 * (np.trace(precision @ cov) + away @ precision @ away - 2 - size)
        assert row.log_likelihood == pytest.approx(log_l, abs=1e-8)
        assert row.best_gaussian == pytest.approx(log_l, abs=1e-8)
        assert row.amortisation == pytest.approx(divergence, abs=1e-7)
    assert found.approximation == pytest.approx(0.0, abs=1e-8)
    assert found.amortisation > 0.01
    assert found.error == 0.0 and found.remarks == ()
    assert found.active == 2 and "active dimensions: 2 of 2" in repr(found)
    np.testing.assert_allclose(found.divergence, fitted.amortised.divergence)


@pytest.mark.slow
def test_by_draws_the_likelihood_has_an_error_and_says_it(fitted, found):
    drawn = mf.gaps(fitted, by=mf.ImportanceSampling(samples=400), key=KEY)
    distance = drawn.table.log_likelihood - found.table.log_likelihood
    z = distance / drawn.table.error
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.6
    assert drawn.error == pytest.approx(np.sqrt(np.mean(drawn.table.error**2) / 40))


def test_no_unit_matters(found):
    other = mf.gaps(line_fit(unit=1e6), by=mf.AGQ(3), key=KEY)
    np.testing.assert_allclose(other.table.amortisation, found.table.amortisation, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(other.divergence, found.divergence, rtol=1e-3)


class Counts(mf.Model):
    """Counts with a wide random intercept: of small ones the posterior leans."""

    level: Array = mf.real()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), 1.5)

    def observations(self, eta, subject):
        return dist.Poisson(jnp.exp(self.level + eta[0]) * jnp.ones(subject.time.shape))


@pytest.mark.slow
def test_of_counts_against_brute_force():
    y = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 1.0], [9.0, 6.0]])
    subjects = [mf.Subject(jnp.arange(2.0), row, np.ones(2, bool)) for row in y]
    people = mf.Population.from_subjects(subjects)
    encoder = mf.networks.Encoder(people, 1, hidden=(4,))
    method = mf.Adam(mf.Amortised(encoder, samples=50), steps=50)
    fit = mf.fit(Counts(level=0.2), people, method, key=KEY, progress=False, fixed="level")
    found = mf.gaps(fit, by=mf.AGQ(40), nodes=40, key=KEY)
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()

    def log_joint(eta, row):
        rate = np.exp(0.2 + eta)
        return poisson.logpmf(row[0], rate) + poisson.logpmf(row[1], rate) + norm.logpdf(eta, 0.0, 1.5)

    def bound(x, row):
        m, log_s = x
        return weights @ log_joint(m + np.exp(log_s) * nodes, row) + log_s + 0.5 * (1.0 + np.log(2.0 * np.pi))

    for i, row in enumerate(y):
        log_l = np.log(
            quad(lambda eta, row=row: np.exp(log_joint(eta, row)), -12.0, 6.0, epsabs=1e-14, epsrel=1e-12)[0]
        )
        best = minimize(
            lambda x, row=row: -bound(x, row), [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}
        )
        q = fit.encoder(people[i])
        told = found.table.iloc[i]
        assert told.log_likelihood == pytest.approx(log_l, abs=1e-6)
        assert told.best_gaussian == pytest.approx(-best.fun, abs=1e-6)
        assert told.encoder == pytest.approx(bound((float(q.mean[0]), np.log(float(q.lower[0, 0]))), row), abs=1e-6)
    assert np.all(found.table.approximation > 1e-4) and np.all(found.table.amortisation > 0.0)


@pytest.mark.slow
def test_other_people_and_what_is_refused(fitted):
    three = mf.gaps(fitted, fitted.population[:3], by=mf.AGQ(3), key=KEY)
    assert len(three.table) == 3
    with pytest.raises(ValueError, match="Laplace has trained no encoder"):
        mf.gaps(mf.fit(fitted.model, fitted.population, mf.Laplace(), progress=False), key=KEY)
    elsewhere = fitted.population.to_frame()
    elsewhere["TIME"] += 0.5
    with pytest.raises(ValueError, match="which is none of them"):
        mf.gaps(fitted, mf.Population.from_frame(elsewhere), key=KEY)
