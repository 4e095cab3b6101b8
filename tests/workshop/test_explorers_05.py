"""The explorers of lesson 05, its studies with a fault and its table, against closed forms and the library."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
import test_stage
from jaxtyping import Array
from scipy import stats

import mefit as mf
from workshop import explorers
from workshop.studies import all_methods, faults

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
shrunk, times = (sys.modules[f"workshop.explorers.{name}"] for name in ("shrinkage", "sampling_times"))
ALL = [explorers.shrinkage, explorers.sampling_times]


# Shrinkage


@pytest.mark.parametrize(
    ("ratio", "b", "sd_form", "variance_form"),
    [
        (0.25, 0.2, 0.5528, 0.8),
        (1, 0.5, 0.2929, 0.5),
        (2, 0.6667, 0.1835, 0.3333),
        (5, 0.8333, 0.0871, 0.1667),
        (20, 0.9524, 0.0241, 0.0476),
    ],
)
def test_shrinkage_is_that_of_the_closed_form(ratio, b, sd_form, variance_form):
    n = 4
    found = shrunk.compute(n, np.sqrt(ratio / n), 1.0)
    assert found.reliability == pytest.approx(b, abs=5e-5)
    # 2,000 estimates: one SD of an SD of normal numbers is 1 / sqrt(2 * 2000) of it
    assert 1 - found.spread**0.5 == pytest.approx(sd_form, abs=4 * 0.016)
    assert 1 - found.spread == pytest.approx(variance_form, abs=4 * 0.032)
    assert f"1 − √B = {sd_form:.4f}" in shrunk.say(found) and f"1 − B = {variance_form:.4f}" in shrunk.say(found)
    # the two parts of the variance make omega squared, and draws from the posterior have all of it
    assert found.spread + found.posterior_variance / found.omega**2 == pytest.approx(1.0, abs=4 * 0.032 * b)
    assert found.draw.std() / found.omega == pytest.approx(1.0, abs=4 * 0.016)


def test_estimates_and_their_variance_are_those_of_the_library():
    class Repeated(mf.Model):
        omega: Array = mf.positive()
        sigma: Array = mf.positive()

        def random_effects(self):
            return dist.Normal(0.0, self.omega)

        def observations(self, eta, subject):
            return dist.Normal(jnp.broadcast_to(eta, subject.time.shape), self.sigma)

    n, omega, sigma = 3, 0.7, 1.3
    found = shrunk.compute(n, omega, sigma)
    mean = (found.estimate / found.reliability)[:4]
    subjects = [mf.Subject(np.arange(n), np.full(n, m), np.ones(n, bool)) for m in mean]
    eta, covariance = mf.empirical_bayes(Repeated(omega=omega, sigma=sigma), mf.Population.from_subjects(subjects))
    np.testing.assert_allclose(eta[:, 0], found.estimate[:4], atol=1e-9)
    np.testing.assert_allclose(covariance[:, 0, 0], found.posterior_variance, rtol=1e-9)
    with pytest.raises(ValueError, match="n >= 1 and positive SDs"):
        shrunk.compute(2, 0.0, 1.0)


@pytest.mark.parametrize("check", test_stage.OF_EVERY_STAGE)
def test_shrinkage_as_every_stage(check):
    check(explorers.shrinkage)


def test_the_axes_of_shrinkage_stand_still_and_a_needle_is_told_of():
    explorer = explorers.shrinkage()
    start = test_stage.shown(explorer)["scene"]["panels"]
    for move in ({"n": 1}, {"omega": 0.2}, {"sigma": 5.0, "omega": 0.5}):
        scene = test_stage.shown(explorer.set(**move))["scene"]
        assert scene["panels"] == start
    assert "needle" in {mark["id"] for mark in scene["marks"]}
    assert "not to be trusted" in explorer.text and "can be trusted" in explorer.set(n=40, omega=2.0).text


def test_histograms_have_the_area_of_a_density():
    found = shrunk.compute(2, 0.7, 1.0)
    for values in (found.estimate, found.draw):
        edges, height = shrunk._steps(values, found.omega)
        assert np.trapezoid(height, edges) == pytest.approx(1.0, abs=2e-3)


# Sampling times


@pytest.mark.parametrize(
    ("sampled", "shrinkage"),
    [
        (times.TIMES[times.SIX], (0.213, 0.077, 0.183)),
        (times.TIMES[times.THREE], (0.361, 0.088, 0.265)),
        ((24.0,), (0.954, 0.134, 0.684)),
        ((4.0,), (0.949, 0.631, 0.470)),
        (times.TIMES[times.TWELVE], (0.134, 0.052, 0.124)),
    ],
)
def test_shrinkage_by_sampling_times(sampled, shrinkage):
    people, eta = times.virtual(sampled, 4000)
    assert people.n_observations == 4000 * len(sampled)
    np.testing.assert_allclose(eta.std(0, ddof=1), times.SD, rtol=1e-6)
    estimate, covariance = (np.asarray(a) for a in mf.empirical_bayes(times.truth(), people))
    np.testing.assert_allclose(1 - estimate.std(0, ddof=1) / times.SD, shrinkage, atol=0.03)
    total = np.sqrt(estimate.var(0, ddof=1) + np.diagonal(covariance, axis1=1, axis2=2).mean(0))
    np.testing.assert_allclose(total, times.SD, rtol=0.03)
    # the explorer's 1,000 people tell the same
    design = next((name for name, t in times.TIMES.items() if t == sampled), times.ONE)
    found = times.compute(design, times.HOUR if len(sampled) > 1 else sampled[0])
    assert found.times == sampled
    np.testing.assert_allclose(found.shrinkage, shrinkage, atol=0.04)
    np.testing.assert_allclose(found.total, times.SD, rtol=0.04)


def test_concentrations_are_those_of_the_model():
    people, eta = times.virtual(times.TIMES[times.SIX], 7)
    model = np.exp(mf.predict(times.truth(), people, eta))[:, :6]
    np.testing.assert_allclose(times.concentration(eta, np.array(times.TIMES[times.SIX])), model, rtol=1e-10)


def test_one_sample_at_4_hours_says_nothing_of_absorption_and_little_of_clearance():
    early, late = times.compute(times.ONE, 4.0), times.compute(times.ONE, 24.0)
    correlation = [np.corrcoef(f.eta[:, 1], f.shown[:, 1])[0, 1] for f in (early, late)]
    assert correlation[0] < 0.5 < 0.8 < correlation[1]
    assert np.corrcoef(early.shown[:, 1:].T)[0, 1] > 0.95  # one sample fixes one combination of CL and V
    drawn = times.compute(times.ONE, 4.0, times.DRAW)
    np.testing.assert_allclose(drawn.shrinkage, 0.0, atol=0.06)
    assert abs(np.corrcoef(drawn.shown[:, 1:].T)[0, 1]) < 0.12  # CL and V were made independent
    assert times.say(drawn).startswith("Draws from the posteriors have the spread of the people again.")
    assert times.say(early).startswith("The data tell next to nothing about ka, little about CL and V.")
    assert "Everyone is sampled at 4 h." in times.say(early)
    with pytest.raises(ValueError, match="A sample at 0 h"):
        times.compute(times.ONE, 0.0)


def test_one_sample_of_every_design_can_be_moved():
    for design in times.TIMES:
        assert times.times_of(design, times.HOUR) == times.TIMES[design]
        moved = times.times_of(design, 10.0)
        assert 10.0 in moved and times.HOUR not in moved and len(moved) == len(times.TIMES[design])
    # an early sample besides those at 1 and 24 h tells more about absorption than one at 4 h
    early, late = times.compute(times.THREE, 0.5), times.compute(times.THREE, 4.0)
    assert early.shrinkage[0] < late.shrinkage[0] - 0.05


def test_a_picture_of_sampling_times_stands_still():
    explorer = explorers.sampling_times()
    start = [{k: v for k, v in p.items() if k != "title"} for p in test_stage.shown(explorer)["scene"]["panels"]]
    for values in ({"hour": 24.0}, {"design": times.THREE}):
        panels = test_stage.shown(explorer.set(**values))["scene"]["panels"]
        assert [{k: v for k, v in p.items() if k != "title"} for p in panels] == start


# Studies with a fault


def test_a_study_has_its_fault_and_no_other():
    sound = faults.study(faults.NOTHING, jax.random.key(1), 4000)
    y, x, t = (np.asarray(a) for a in (sound.subjects.y, sound.subjects.covariates["kidney"], faults.TIMES))
    design = np.column_stack([np.ones(8), -t])
    v = design @ np.diag(np.square(faults.OMEGA)) @ design.T + faults.SIGMA**2 * np.eye(8)
    z = np.linalg.solve(np.linalg.cholesky(v), (y - (faults.HEIGHT - faults.RATE * t)).T)
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(x, y[:, -1])[0, 1]) < 4 / np.sqrt(4000)

    def residual(fault):
        y = np.asarray(faults.study(fault, jax.random.key(1), 4000).subjects.y)
        rate = np.linalg.lstsq(design, y.T, rcond=None)[0]
        return y - (design @ rate).T, rate[1]

    quiet, rates = residual(faults.NOTHING)
    noisy, _ = residual(faults.ERROR)
    assert noisy[:, -2].std() > 1.4 * quiet[:, -2].std()
    bent, _ = residual(faults.SHAPE)
    assert np.abs(bent.mean(0)).max() > 10 * np.abs(quiet.mean(0)).max()
    _, by_kidney = residual(faults.COVARIATE)
    assert np.corrcoef(x, by_kidney)[0, 1] > 0.5
    _, two = residual(faults.EFFECTS)
    assert stats.skew(two) < -0.5 < stats.skew(rates) < 0.5
    with pytest.raises(ValueError, match="There is no fault 'dose'"):
        faults.study("dose", jax.random.key(1))


# The table of all methods


def test_the_table_has_every_method_and_a_model_at_its_row_is_that_model():
    for data in all_methods.STARTS:
        table = all_methods.table(data)
        assert list(table.index) == list(all_methods.METHODS)
        model = all_methods.model_at(data, table.loc["Laplace"])
        own = -2 * mf.log_likelihood(model, all_methods.population(data), mf.Laplace())
        assert own == pytest.approx(table.loc["Laplace", "own -2LL"], abs=1e-4)
        assert table.loc["joint ML"].isna().any() and table.loc["FO"].notna().all()


@pytest.mark.slow  # every method on three data sets
def test_the_referee_agrees_with_known_likelihoods(monkeypatch):
    theophylline = all_methods.score("theophylline")["exact -2LL"]
    assert theophylline["AGQ, 9 nodes"] == pytest.approx(2 * 179.9505, abs=2e-3)
    assert theophylline["FO"] - theophylline["AGQ, 9 nodes"] > 10 and np.isnan(theophylline["joint ML"])
    assert theophylline.drop("naive pooled").idxmin() in ("AGQ, 9 nodes", "importance, 1000")
    sleep = all_methods.score("sleepstudy")["exact -2LL"]
    exact = ["FO", "FOCE", "Laplace", "AGQ, 9 nodes", "importance, 1000"]
    np.testing.assert_allclose(sleep[exact], 1751.939344, atol=1e-4)
    infants = all_methods.score("phenobarbital")["exact -2LL"]
    good = ["FOCE", "Laplace", "AGQ, 9 nodes", "importance, 1000", "SAEM"]
    assert np.ptp(infants[good]) < 0.2 and infants["two-stage"] - infants["SAEM"] > 200


def test_rows_of_the_table_are_what_a_fit_says():
    pairs = [
        ("sleepstudy", "FOCE"),
        ("sleepstudy", "joint ML"),
        ("phenobarbital", "FO"),
        ("theophylline", "two-stage"),  # on phenobarbital its estimates are one choice out of many
    ]
    again = all_methods.estimates((data, method, all_methods.fit(data, method)) for data, method in pairs)
    kept = pd.read_csv(all_methods.FILE).set_index(["data", "method", "parameter"]).estimate
    for row in again.itertuples():
        assert row.estimate == pytest.approx(kept[row.data, row.method, row.parameter], rel=1e-4, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("data", list(all_methods.STARTS))
@pytest.mark.parametrize("method", list(all_methods.METHODS))
def test_every_row_of_the_table(data, method):
    again = all_methods.estimates([(data, method, all_methods.fit(data, method))])
    kept = pd.read_csv(all_methods.FILE).set_index(["data", "method", "parameter"]).estimate
    for row in again.itertuples():
        assert row.estimate == pytest.approx(kept[data, method, row.parameter], rel=1e-3, nan_ok=True)


# All, as every explorer


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage(check, make):
    check(make)


@pytest.mark.parametrize("make", ALL)
def test_the_edges_of_every_control(make):
    test_stage.assert_the_edges_hold(make)
