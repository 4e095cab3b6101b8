"""New people of a fit with draws of theta: against the joint Gaussian posterior of theta and their random effects.

    y_j = mu + eta + e_j,    mu | y ~ N(m, s^2),    eta ~ N(0, omega^2),    e_j ~ N(0, sigma^2),

the draws of mu being the quantiles of N(m, s^2), which stand for it to three digits.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from models import Means
from scipy.stats import norm

import mefit as mf

M, S, OMEGA, SIGMA = 5.0, 0.8, 0.5, 0.3
SIZE = 400
KEY = jax.random.key(3)
SEEN = pd.DataFrame({"ID": [1, 1, 2, 2], "TIME": [0.0, 1.0] * 2, "DV": [5.5, 5.1, 4.2, 4.6]})
NEW = pd.DataFrame({"ID": [7] * 3 + [8] * 3, "TIME": [0.0, 1.0, 2.0] * 2, "DV": [6.5, 6.1, 6.6] + [np.nan] * 3})


def people_of(frame, unit=1.0):
    return mf.Population.from_frame(frame.assign(DV=unit * frame.DV), drop_unobserved=None)


def fitted(unit=1.0):
    """A fit to SEEN whose draws of theta are known."""
    model = Means(mu=M * unit, omega=OMEGA * unit, sigma=SIGMA * unit)
    fit = mf.fit(model, people_of(SEEN, unit), mf.FO(), fixed=("mu", "omega", "sigma"), progress=False)
    mu = unit * (M + S * norm.ppf((np.arange(SIZE) + 0.5) / SIZE))
    models = Means(mu=model.mu, omega=model.omega, sigma=model.sigma)
    stack = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (SIZE, *leaf.shape)), models)
    stack = dataclasses.replace(stack, mu=jnp.asarray(mu))
    frame = pd.DataFrame({"chain": 1, "mu": mu})
    draws = mf.Draws(stack, np.zeros((SIZE, 2, 1)), np.zeros(SIZE, bool), frame)
    return dataclasses.replace(fit, draws=draws)


FIT = fitted()


def asked(fit, people, **options):
    return mf.individual(fit, people, draws=4000, proposed=12_000, thetas=SIZE, key=KEY, **options)


def exact(y, told_already=False):
    """Mean and covariance of (mu, eta) given a person's own y; mu keeps N(m, s^2) where y is part of it already."""
    if told_already:
        share = len(y) * OMEGA**2 / (len(y) * OMEGA**2 + SIGMA**2)
        mean = np.array([M, share * (np.mean(y) - M)])
        rest = (1 - share) * OMEGA**2
        return mean, np.array([[S**2, -share * S**2], [-share * S**2, share**2 * S**2 + rest]])
    precision = np.diag([S**-2.0, OMEGA**-2.0]) + len(y) / SIGMA**2 * np.ones((2, 2))
    covariance = np.linalg.inv(precision)
    return covariance @ [M / S**2 + np.sum(y) / SIGMA**2, np.sum(y) / SIGMA**2], covariance


def pairs(people, i):
    """Draws of (mu, eta) of person i."""
    mu = people.of(lambda model, eta, subject: model.mu)
    return np.column_stack([mu[i], people.eta[i, :, 0]])


@pytest.mark.slow
def test_a_new_person_tells_of_theta_too():
    people = asked(FIT, people_of(NEW))
    for i, y in enumerate(([6.5, 6.1, 6.6], [])):
        mean, covariance = exact(np.array(y))
        drawn = pairs(people, i)
        np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.05)
        np.testing.assert_allclose(np.cov(drawn, rowvar=False), covariance, atol=0.04)
    assert people.remarks == ()


@pytest.mark.slow
def test_curves_and_responses_are_those_of_the_pairs():
    """mu + eta is far better known than either: its variance is that of the sum, and a response adds sigma^2."""
    people = asked(FIT, people_of(NEW))
    curves = people.curves([5.0, 9.0])
    ys = people.responses([5.0, 9.0])
    for i, y in enumerate(([6.5, 6.1, 6.6], [])):
        mean, covariance = exact(np.array(y))
        variance = covariance.sum()
        np.testing.assert_allclose(curves[i].mean(axis=0), mean.sum(), atol=0.05)
        np.testing.assert_allclose(curves[i].var(axis=0), variance, rtol=0.06)
        np.testing.assert_allclose(ys[i].var(axis=0), variance + SIGMA**2, rtol=0.06)
    # theta taken as known is too sure: of a person without a sample by s^2 / (s^2 + omega^2), 72% of the variance
    known = mf.individual(FIT, people_of(NEW), draws=4000, thetas=0, key=KEY)
    assert known.theta is None
    np.testing.assert_allclose(known.curves([5.0])[1].var(axis=0), OMEGA**2, rtol=0.06)
    assert known.eta[0].mean() == pytest.approx(3 * OMEGA**2 / (3 * OMEGA**2 + SIGMA**2) * 1.4, abs=0.02)


def test_who_was_fitted_does_not_tell_of_theta_twice():
    people = asked(FIT, people_of(SEEN))
    mean, covariance = exact(np.array([5.5, 5.1]), told_already=True)
    drawn = pairs(people, 0)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), covariance, atol=0.04)
    # another person with the same numbers is news
    stranger = asked(FIT, people_of(SEEN.assign(ID=SEEN.ID + 10)))
    mean, covariance = exact(np.array([5.5, 5.1]))
    np.testing.assert_allclose(pairs(stranger, 0).mean(axis=0), mean, atol=0.05)
    # so is the same person with one sample fewer, another time, or another value
    for other in (SEEN.drop(index=1), SEEN.assign(TIME=[0.0, 2.0] * 2), SEEN.assign(DV=[5.5, 5.2, 4.2, 4.6])):
        y = other[other.ID == 1].DV.to_numpy()
        np.testing.assert_allclose(pairs(asked(FIT, people_of(other)), 0).mean(axis=0), exact(y)[0], atol=0.05)


def test_doses_and_the_next_sample_know_that_theta_is_not_known():
    """c = mu + eta at all times; the posterior SD after another sample is (1 / v + 1 / sigma^2)^(-1/2), v that now."""
    people = asked(FIT, people_of(NEW))
    goal = mf.dosing.Goal(time=[0.0, 1.0], target=(4.0, None), quantity=lambda time, curves: curves[..., -1] - 100.0)
    goal = dataclasses.replace(goal, target=(-96.0, None))
    after = mf.dosing.next_time(people, [4.0], goal, outcomes=200).table
    for person, y in ((7, [6.5, 6.1, 6.6]), (8, [])):
        variance = exact(np.array(y))[1].sum()
        own = after[after.ID == person].sd.to_numpy()
        np.testing.assert_allclose(own, [variance**0.5, (1 / variance + SIGMA**-2) ** -0.5], rtol=0.05)
    table = mf.dosing.choose(people, {"none": mf.regimen(0.0)}, goal).table
    assert table.below[1] == pytest.approx(norm.cdf((4.0 - M) / np.hypot(S, OMEGA)), abs=0.02)
    alone = mf.dosing.choose(people[1], {"none": mf.regimen(0.0)}, goal).table
    pd.testing.assert_frame_equal(alone, table[1:].reset_index(drop=True))


def test_other_units_change_nothing():
    plain = asked(FIT, people_of(NEW))
    large = asked(fitted(1e6), people_of(NEW, 1e6))
    np.testing.assert_array_equal(large.theta, plain.theta)
    np.testing.assert_allclose(large.eta, 1e6 * plain.eta, rtol=1e-6)


def test_weights_that_rest_on_few_draws_of_theta_are_told():
    """Records that only the outermost draws of theta can explain."""
    strange = people_of(NEW.assign(DV=[9.5, 9.5, 9.5] + [np.nan] * 3))
    people = asked(FIT, strange)
    assert people.pareto_k[0] > 0.7 and "draws of 7 are not to be trusted" in people.remarks[0]
    with pytest.raises(ValueError, match="thetas is a whole number, 0 or more; it is -1"):
        mf.individual(FIT, strange, thetas=-1, key=KEY)


@pytest.mark.slow
def test_a_fit_by_nuts_hands_its_draws_on():
    """mu ~ N(4.85, (omega^2 + sigma^2 / 2) / 2) by the two people of SEEN, whose means are 5.3 and 4.4; a new person's
    mean has omega^2 more."""
    model = Means(mu=M, omega=OMEGA, sigma=SIGMA)
    method = mf.NUTS(warmup=150, samples=400, chains=1)
    fit = mf.fit(model, people_of(SEEN), method, fixed=("omega", "sigma"), key=KEY, progress=False)
    people = mf.individual(fit, people_of(NEW), key=KEY)
    assert people.theta.max() == 99
    nobody = people.curves([5.0])[1]
    assert nobody.mean() == pytest.approx(4.85, abs=0.12)
    assert nobody.var() == pytest.approx((OMEGA**2 + SIGMA**2 / 2) / 2 + OMEGA**2, rel=0.2)


def test_of_its_own_people_the_draws_are_as_good_as_independent_ones():
    """The SD of 1,000 draws is off by its Monte Carlo error, SD / sqrt(2,000), whatever the key; and their mean."""
    mean, covariance = exact(np.array([5.5, 5.1]), told_already=True)
    sd = np.sqrt(covariance.sum())
    found = []
    for seed in range(16):
        options = {"draws": 1000, "proposed": 4000, "thetas": 100, "key": jax.random.key(seed)}
        people = mf.individual(FIT, FIT.population[:1], **options)
        values = people.of(lambda model, eta, subject: model.mu + eta[0])[0]
        found.append([(values.std() - sd) / (sd / np.sqrt(2000)), (values.mean() - mean.sum()) / (sd / np.sqrt(1000))])
    off = np.array(found)
    assert np.max(np.abs(off)) < 4.0
    assert np.all(np.sqrt(np.mean(off**2, axis=0)) < 1.6)


def test_a_draw_of_one_person_has_nothing_to_do_with_that_of_another():
    """So the m-th draws of all are a draw from the posterior of all: the mean of N squares has variance 2 v^2 / N."""
    count = 200
    frame = pd.DataFrame({"ID": np.arange(count), "TIME": 0.0, "DV": 5.0})
    model = Means(mu=M, omega=OMEGA, sigma=0.5)
    eta = mf.individual(model, people_of(frame), draws=1000, key=KEY).eta[:, :, 0]
    v = 1.0 / (1.0 / OMEGA**2 + 1.0 / 0.5**2)
    of_all = np.mean(eta**2, axis=0)
    assert np.mean(of_all) == pytest.approx(v, rel=0.02)
    assert np.var(of_all) == pytest.approx(2.0 * v**2 / count, rel=0.25)
