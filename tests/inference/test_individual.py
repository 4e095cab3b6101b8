"""One person's posterior: against Gaussian closed forms, and against the known worth of a sample's time."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line
from scipy import stats

import mefit as mf
from mefit.base.pareto import pareto_k
from mefit.inference import own_records

TIMES = np.arange(5.0)


MODEL = Line(beta=jnp.array([2.0, 0.5]), omega=jnp.array([[1.0, 0.2], [0.2, 0.3]]), sigma=jnp.asarray(0.5))
FRAME = pd.DataFrame(
    {
        "ID": [1] * 5 + [2] * 5 + [3] * 5,
        "TIME": [*TIMES] * 3,
        "DV": [1.2, 2.4, 3.1, 3.9, 5.2, 4.0, np.nan, np.nan, np.nan, np.nan, 2.0, 1.0, np.nan, np.nan, 0.2],
    }
)
PEOPLE = mf.Population.from_frame(FRAME)
KEY = jax.random.key(5)


def exact(person):
    """Mean and covariance of eta given the responses that were seen."""
    rows = FRAME[FRAME.ID == person].dropna()
    x = np.column_stack([np.ones(len(rows)), rows.TIME])
    omega = np.asarray(MODEL.omega)
    covariance = np.linalg.inv(np.linalg.inv(omega) + x.T @ x / 0.25)
    return covariance @ x.T @ (rows.DV.to_numpy() - x @ np.asarray(MODEL.beta)) / 0.25, covariance


@pytest.fixture(scope="module")
def people():
    return mf.individual(MODEL, PEOPLE, draws=4000, key=KEY)


def test_the_posterior_is_the_exact_one(people):
    for i, person in enumerate((1, 2, 3)):
        mean, covariance = exact(person)
        sd = np.sqrt(np.diagonal(covariance))
        np.testing.assert_allclose(people.mean[i], mean, atol=0.06 * sd.max())
        np.testing.assert_allclose(np.cov(people.eta[i], rowvar=False), covariance, atol=0.08 * sd.max() ** 2)
    assert people.remarks == ()
    assert np.all(people.effective_sample_size > 3000)


@pytest.mark.slow
def test_many_people_are_drawn_some_at_a_time(monkeypatch):
    whole = mf.individual(MODEL, PEOPLE, draws=50, proposed=100, key=KEY)
    monkeypatch.setattr(own_records, "_AT_ONCE", 2)
    monkeypatch.setattr(own_records, "_DRAWN_AT_ONCE", 1)
    parts = mf.individual(MODEL, PEOPLE, draws=50, proposed=100, key=KEY)
    np.testing.assert_allclose(parts.eta, whole.eta, rtol=1e-9)
    np.testing.assert_allclose(parts.effective_sample_size, whole.effective_sample_size, rtol=1e-9)
    np.testing.assert_allclose(parts.pareto_k, whole.pareto_k, rtol=1e-6)


def test_bands_of_curves_and_of_responses(people):
    later = np.array([5.0, 8.0])
    curves = people.bands(later)
    seen = people.bands(later, error=True)
    x = np.column_stack([np.ones(2), later])
    for person in (1, 2, 3):
        mean, covariance = exact(person)
        centre = x @ (np.asarray(MODEL.beta) + mean)
        spread = np.sqrt(np.einsum("ij,jk,ik->i", x, covariance, x))
        own = curves[curves.ID == person]
        np.testing.assert_allclose(own.q50, centre, atol=0.1 * spread.max())
        np.testing.assert_allclose(own.q95 - own.q5, 2 * 1.645 * spread, rtol=0.08)
        with_error = seen[seen.ID == person]
        np.testing.assert_allclose(with_error.q95 - with_error.q5, 2 * 1.645 * np.sqrt(spread**2 + 0.25), rtol=0.08)


def test_any_quantity(people):
    ends = people.of(lambda model, eta, subject: model.beta[1] + eta[1])
    np.testing.assert_allclose(ends, 0.5 + people.eta[:, :, 1], rtol=1e-12)


def test_who_was_never_seen_is_known_by_the_prior():
    nobody = mf.Population.from_frame(FRAME.assign(DV=np.nan), drop_unobserved=None)
    people = mf.individual(MODEL, nobody, draws=4000, key=KEY)
    np.testing.assert_allclose(np.cov(people.eta[0], rowvar=False), MODEL.omega, atol=0.08)
    np.testing.assert_allclose(people.mean, 0.0, atol=0.06)


class Oral(mf.Model):
    """The one-compartment model of the numbers below: log-normal residuals of SD 0.2."""

    omega: Array = mf.diagonal_covariance()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        curve = mf.pk.oral_one_compartment(
            subject, ka=1.2 * jnp.exp(eta[0]), cl=3.0 * jnp.exp(eta[1]), v=30.0 * jnp.exp(eta[2])
        )
        return dist.LogNormal(jnp.log(curve), 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "sd"),
    [
        ([4.0], 0.278),
        pytest.param([24.0], 0.134, marks=pytest.mark.slow),
        pytest.param([2.0, 24.0], 0.115, marks=pytest.mark.slow),
        ([1.0, 4.0, 24.0], 0.107),
    ],
)
def test_what_a_sample_is_worth(times, sd):
    """The posterior SD of log clearance, averaged over 400 people, by when they were sampled: computed elsewhere, by
    importance sampling too. A single sample at 4 h says almost nothing of clearance (the prior SD is 0.3)."""
    model = Oral(omega=jnp.diag(jnp.array([0.4, 0.3, 0.2]) ** 2))
    rows = [(i, t, 100.0 if t == 0 else 0.0, np.nan if t == 0 else 1.0) for i in range(400) for t in (0.0, *times)]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "AMT", "DV"])
    population = mf.simulate(model, mf.Population.from_frame(frame), jax.random.key(1))
    people = mf.individual(model, population, draws=400, key=KEY)
    assert np.mean(people.sd[:, 1]) == pytest.approx(sd, abs=0.008)
    assert people.remarks == ()


@pytest.mark.slow
def test_other_doses():
    model = Oral(omega=jnp.diag(jnp.array([0.4, 0.3, 0.2]) ** 2))
    frame = pd.DataFrame({"ID": 1, "TIME": [0.0, 2.0], "AMT": [100.0, 0.0], "DV": [np.nan, 2.0]})
    people = mf.individual(model, mf.Population.from_frame(frame), draws=50, key=KEY)
    twice = mf.Doses.of(200.0)
    once = people.curves([1.0, 4.0])
    np.testing.assert_allclose(people.curves([1.0, 4.0], twice), 2 * once, rtol=1e-9)


@pytest.mark.slow
def test_an_encoder_may_propose():
    rng = np.random.default_rng(1)
    b = np.array([2.0, 0.5]) + rng.multivariate_normal([0, 0], np.asarray(MODEL.omega), 150)
    y = b[:, :1] + b[:, 1:] * TIMES + 0.5 * rng.standard_normal((150, 5))
    rows = [(i, t, y[i, j]) for i in range(150) for j, t in enumerate(TIMES)]
    many = mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))
    method = mf.Adam(mf.Amortised(mf.networks.SetEncoder(many, 2), samples=50), steps=400, learning_rate=0.02)
    fit = mf.fit(MODEL, many, method, key=KEY, progress=False, fixed=("beta", "omega", "sigma"))
    people = mf.individual(fit, PEOPLE, draws=4000, proposal=fit.encoder, key=KEY)
    mean, covariance = exact(3)
    np.testing.assert_allclose(people.mean[2], mean, atol=0.1 * np.sqrt(covariance.max()))


def test_a_heavy_tail_is_told():
    rng = np.random.default_rng(0)
    for shape in (0.3, 0.9):
        weights = stats.genpareto(shape).rvs(20_000, random_state=rng)
        assert pareto_k(np.log(weights)) == pytest.approx(shape, abs=0.12)
    assert pareto_k(np.zeros(100)) == -np.inf
    assert np.isnan(pareto_k(np.zeros(10)))
    far_apart = np.append(np.full(200, -1e4), [0.0, -1.0, -2.0])  # of a posterior that next to no draw has met
    assert pareto_k(far_apart) == np.inf
    assert pareto_k(np.full(200, np.nan)) == np.inf


def test_what_cannot_be_asked():
    class Alike(Line):
        def random_effects(self):
            return None

        def observations(self, eta, subject):
            return dist.Normal(self.beta[0] + 0.0 * subject.time, self.sigma)

    with pytest.raises(ValueError, match="no random effects"):
        mf.individual(Alike(beta=MODEL.beta, omega=MODEL.omega, sigma=MODEL.sigma), PEOPLE, key=KEY)
    with pytest.raises(ValueError, match="draws is a whole number, 1 or more"):
        mf.individual(MODEL, PEOPLE, draws=0, key=KEY)
