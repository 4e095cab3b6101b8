"""Draws that meet next to nothing of somebody's density: refused, remarked, and told of an encoder beforehand.

The right values are the multivariate normal density of a linear mixed model.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line, theophylline_model
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

import mefit as mf

TIMES = np.linspace(0.0, 3.0, 40)
BETA = np.array([2.0, 0.5])
OMEGA = np.array([[1.0, 0.2], [0.2, 0.3]])
SIGMA = 0.5
KEY = jax.random.key(3)


def people(count, seed, seen=0.4, unit=1.0):
    """People on a line each, of whose 40 planned responses most are missing."""
    rng = np.random.default_rng(seed)
    b = BETA + rng.multivariate_normal([0, 0], OMEGA, count)
    y = b @ np.stack([np.ones_like(TIMES), TIMES]) + SIGMA * rng.standard_normal((count, TIMES.size))
    kept = rng.random(y.shape) < seen
    kept[:, 0] = True
    number, place = np.indices(y.shape)
    frame = pd.DataFrame({"ID": number.ravel(), "TIME": TIMES[place.ravel()], "DV": np.where(kept, y, np.nan).ravel()})
    frame["DV"] *= unit
    return mf.Population.from_frame(frame)


def truth(unit=1.0):
    return Line(beta=jnp.asarray(BETA) * unit, omega=jnp.asarray(OMEGA) * unit**2, sigma=SIGMA * unit)


def exact(model, population):
    """log L of each person."""
    values = []
    for i in range(len(population)):
        person = population[i]
        seen = np.asarray(person.mask)
        z = np.stack([np.ones(seen.sum()), np.asarray(person.time)[seen]], axis=1)
        cov = z @ np.asarray(model.omega) @ z.T + float(model.sigma) ** 2 * np.eye(len(z))
        mean = z @ np.asarray(model.beta)
        values.append(multivariate_normal(mean, cov).logpdf(np.asarray(person.y)[seen]))
    return np.array(values)


def trained(population, encoder, **options):
    method = mf.Adam(mf.Amortised(encoder), steps=1000, learning_rate=0.01, batch=20, **options)
    return mf.fit(truth(), population, method, key=KEY, progress=False)


@pytest.fixture(scope="module")
def own():
    return people(20, 1)


@pytest.fixture(scope="module")
def by_heart(own):
    """Eighty inputs of a network and twenty people: it learns them one by one."""
    return trained(own, mf.networks.Encoder(own, 2), held_out=people(20, 2), block=250)


@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_an_encoder_that_has_not_met_such_people_is_refused_as_their_ruler(unit):
    population = people(10, 4, unit=unit)
    untrained = mf.networks.Encoder(population, 2, hidden=(4,)).for_effects(jnp.zeros(2), 1e-2 * unit * jnp.ones(2))
    by = mf.ImportanceSampling(400, proposal=untrained)
    with pytest.raises(ValueError, match=r"falls short.*subject 0, .*fewer than 10 count.*without it"):
        mf.log_likelihood(truth(unit), population, by, key=KEY)
    searched = mf.log_likelihood(truth(unit), population, mf.ImportanceSampling(400), key=KEY, by_subject=True)
    np.testing.assert_allclose(searched, exact(truth(unit), population), atol=0.1)


def test_its_own_people_are_known_and_others_are_not(by_heart, own):
    told = by_heart.amortised
    assert by_heart.log_likelihood == pytest.approx(np.sum(exact(by_heart.model, own)), abs=0.5)
    assert told.gap < 0.1
    assert told.gap_of_new > 1.0
    assert any("by heart" in remark and "SetEncoder" in remark for remark in by_heart.remarks)
    strangers = mf.gaps(by_heart, people(200, 5), by=mf.AGQ(3), key=KEY)  # who are of the truth, and not of the model
    lacking = float(np.mean(strangers.table.log_likelihood - strangers.table.encoder))
    assert told.gap_of_new == pytest.approx(lacking, rel=0.6)


def test_an_encoder_shaped_like_a_posterior_knows_others_as_well(own):
    fit = trained(own, mf.networks.SetEncoder(own, 2))
    assert fit.amortised.gap_of_new < 0.3
    assert not any("by heart" in remark for remark in fit.remarks)


def test_the_score_of_held_out_people_is_their_likelihood_whatever_the_encoder_knows(by_heart):
    held_out = people(20, 2)
    kept = by_heart.curve.held_out.max()
    assert kept == pytest.approx(np.mean(exact(by_heart.model, held_out)), abs=0.02)


class Wave(mf.Model):
    """Of whose frequency only the prior's neighbourhood is easily searched."""

    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), 1.0)

    def observations(self, eta, subject):
        return dist.Normal(jnp.sin((1.0 + eta[0]) * subject.time), self.sigma)


def test_a_person_whose_highest_peak_was_missed_is_refused_and_found_by_a_search_that_looks_around():
    time = np.linspace(0.5, 12.0, 20)
    y = np.sin(2.7 * time) + 0.1 * np.cos(40.0 * time)
    one = mf.Population.from_frame(pd.DataFrame({"ID": 7, "TIME": time, "DV": y}))

    def density(eta):
        return np.exp(norm.logpdf(y, np.sin((1.0 + eta) * time), 0.3).sum() + norm.logpdf(eta))

    value = np.log(quad(density, 1.5, 1.9, points=[1.7])[0])
    from_the_mean = mf.ImportanceSampling(400, newton=mf.Newton(starts=jnp.zeros((1, 1))))
    with pytest.raises(ValueError, match=r"subject 7, .*looks=128"):
        mf.log_likelihood(Wave(sigma=0.3), one, from_the_mean, key=KEY)
    for method in (mf.ImportanceSampling(400), mf.ImportanceSampling(400, newton=mf.Newton(looks=128)), mf.AGQ(9)):
        assert mf.log_likelihood(Wave(sigma=0.3), one, method, key=KEY) == pytest.approx(value, abs=0.05)


@pytest.mark.parametrize(
    "method", [mf.MonteCarlo(50), mf.SAEM(exploration=10, smoothing=10, likelihood_by=mf.MonteCarlo(50))]
)
def test_a_fit_whose_draws_miss_its_subjects_says_so(theophylline, method):
    fit = mf.fit(theophylline_model(), theophylline, method, key=KEY, progress=False)
    assert np.min(fit.effective_sample_size) < 5
    assert any("falls short" in remark and "ImportanceSampling()" in remark for remark in fit.remarks)
    assert "falls short" in str(fit)


def test_draws_around_the_modes_need_no_remark(fitted):
    fit = fitted(mf.SAEM())
    assert not any("falls short" in remark for remark in fit.remarks)
