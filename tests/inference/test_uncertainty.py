"""Uncertainty: closed forms, published profiles, agreement where the model is right and not where it is wrong."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from models import Line, Means, Schools, replaced, theophylline_model

import mefit as mf
from mefit.inference import resampling
from mefit.model.space import Space

LABELS = ["ka", "cl", "v", "omega[ka]", "omega[cl]", "omega[v]", "sigma"]


def design(rows, subjects):
    subject = mf.Subject(time=jnp.arange(float(rows)), y=jnp.zeros(rows), mask=jnp.ones(rows, bool))
    return mf.Population.from_subjects([subject] * subjects)


@pytest.fixture(scope="module")
def sleep_fit():
    start = Line(beta=[250.0, 10.0], omega=[[500.0, 0.0], [0.0, 30.0]], sigma=20.0)
    return mf.fit(start, mf.datasets.sleepstudy(), mf.FO(), progress=False)


@pytest.fixture(scope="module")
def linear_fit():
    truth = Line(beta=[250.0, 10.0], omega=[[600.0, 20.0], [20.0, 60.0]], sigma=15.0)
    population = mf.simulate(truth, design(5, 500), jax.random.key(3))
    return mf.fit(truth, population, mf.FO(), progress=False)


@pytest.mark.slow
def test_profiles_are_those_of_lme4(sleep_fit):
    """The intervals that lme4's confint(fm1, oldNames = FALSE) is documented with, by maximum likelihood."""
    published = {
        "omega[intercept]": (14.3814148, 37.7159929),
        "corr(intercept, slope)": (-0.4815008, 0.6849863),
        "omega[slope]": (3.8011641, 8.7533736),
        "sigma": (22.8982669, 28.8579965),
        "beta[intercept]": (237.6806955, 265.1295147),
        "beta[slope]": (7.3586533, 13.5759188),
    }
    for label, interval in published.items():
        profile = mf.profile(sleep_fit, label, points=5, progress=False)
        assert (profile.low, profile.high) == pytest.approx(interval, rel=1e-4), label
        assert profile.estimate == pytest.approx(sleep_fit.table.estimate[label]) and not profile.remarks
        inside = profile.curve[profile.curve.value.between(profile.low, profile.high)]
        assert len(profile.curve) == 5 and len(inside) == 3 and inside.difference.max() < 3.8415
        assert (profile.curve.difference.iloc[[0, -1]] > 3.8415).all()


@pytest.mark.slow
def test_five_ways_agree_on_a_linear_model_with_500_subjects(linear_fit):
    key = jax.random.key(1)
    ways = [
        mf.observed_information(linear_fit),
        mf.cross_products(linear_fit),
        mf.sandwich(linear_fit),
        mf.bootstrap(linear_fit, 500, key=key, progress=False),
        mf.sir(linear_fit, 2000, 1000, key=key, progress=False),
    ]
    errors = np.stack([way.table.se for way in ways])
    reference = ways[0].table.se.to_numpy()
    np.testing.assert_allclose(reference, linear_fit.table.se, rtol=1e-10)
    assert np.max(np.abs(errors / reference - 1.0)) < 0.10, errors / reference
    for way in ways:
        wald = 1.959964 * reference
        np.testing.assert_allclose(way.table.high - way.table.low, 2 * wald, rtol=0.15)
        np.testing.assert_allclose(np.diagonal(way.covariance), way.table.se**2)
    assert ways[4].details["effective_sample_size"] > 1800
    profile = mf.profile(linear_fit, "omega[slope]", progress=False)
    assert profile.high - profile.low == pytest.approx(2 * 1.959964 * ways[0].table.se["omega[slope]"], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("rows, ratio", [(3, 1.358), pytest.param(1, 1.173, marks=pytest.mark.slow)])
def test_the_sandwich_sees_heavy_tails(rows, ratio, key):
    """eta of excess kurtosis 3, sigma known: true SE of omega over the naive one is sqrt((2 + 3 B^2) / 2)."""
    key_eta, key_y = jax.random.split(key)
    truth = Means(mu=1.0, omega=1.0, sigma=1.0)
    eta = dist.Laplace(0.0, np.sqrt(0.5)).sample(key_eta, (6000, 1))
    population = mf.simulate(truth, design(rows, 6000), key_y, eta=eta)
    fit = mf.fit(truth, population, mf.FO(), fixed=("sigma",), progress=False)
    naive, robust, products = (f(fit).table.se for f in (mf.observed_information, mf.sandwich, mf.cross_products))
    assert robust["omega"] / naive["omega"] == pytest.approx(ratio, rel=0.06)
    assert products["omega"] / naive["omega"] == pytest.approx(1 / ratio, rel=0.06)
    assert robust["mu"] / naive["mu"] == pytest.approx(1.0, rel=0.02)
    assert "sigma" not in naive.index


def test_scores_are_the_derivatives_of_each_subjects_likelihood(fitted, theophylline):
    fit = fitted(mf.Laplace())
    scores, x = mf.subject_scores(fit), Space(fit.model).vector()
    assert scores.shape == (12, 7) and np.max(np.abs(scores.sum(0))) < 1e-4
    for i, name in ((1, "ka"), (6, "v")):  # coordinates are sorted by name: cl, ka, omega, sigma, v
        up, down = (replaced(fit.model, **{name: np.exp(x[i] + h)}) for h in (1e-4, -1e-4))
        values = [mf.log_likelihood(m, theophylline, mf.Laplace(), by_subject=True) for m in (up, down)]
        np.testing.assert_allclose(scores[:, i], (values[0] - values[1]) / 2e-4, rtol=1e-5, atol=1e-6)


def test_500_bootstrap_fits_of_theophylline(fitted, theophylline):
    """At most 20 s on two cores, and each replicate is what a fit of the resampled subjects gives."""
    fit = fitted(mf.Laplace())
    mf.subject_scores(fit)  # compiles
    begin = time.process_time()
    result = mf.bootstrap(fit, 500, key=jax.random.key(1), progress=False)
    assert time.process_time() - begin < 20.0
    assert len(result.draws) == 500 and result.details["failed"] == 0 and list(result.draws) == LABELS
    for r in (0, 250, 499):
        weights = result.details["weights"][r]
        again = mf.fit(fit.model, theophylline[np.repeat(np.arange(12), weights)], mf.Laplace(), progress=False)
        np.testing.assert_allclose(again.table.estimate[LABELS], result.draws.iloc[r], rtol=2e-3)
    assert 0.8 < result.table.se["cl"] / mf.sandwich(fit).table.se["cl"] < 1.2
    assert (result.table.low < result.table.estimate).all() and (result.table.estimate < result.table.high).all()


def test_sir_on_theophylline_is_reproducible_and_says_when_it_is_poor(fitted):
    fit = fitted(mf.Laplace())
    one, two = (mf.sir(fit, 1000, 200, key=jax.random.key(4), progress=False) for _ in range(2))
    assert (
        one.table.equals(two.table) and len(one.draws) == 200 and not one.draws.duplicated().any() and not one.remarks
    )
    assert 200 < one.details["effective_sample_size"] < 1000
    poor = mf.sir(fit, 300, 200, key=jax.random.key(4), inflation=9.0, progress=False)
    assert "fewer than resampled" in poor.remarks[0] and "inflation=18" in poor.remarks[0]


class Shift(mf.Model):
    """y ~ N(mu, 1), mu ~ N(0, 1/2): everything is known."""

    mu: Array = mf.real(prior=dist.Normal(0.0, np.sqrt(0.5)), unit="mg")

    def observations(self, eta, subject):
        return dist.Normal(jnp.broadcast_to(self.mu, subject.time.shape), 1.0)


def test_a_prior_counts(key):
    population = mf.simulate(Shift(mu=1.0), design(1, 40), key)
    y = np.asarray(population.subjects.y)[:, 0]
    fit = mf.fit(Shift(mu=0.0), population, mf.FO(), progress=False)
    mu = y.sum() / 42
    assert float(fit.model.mu) == pytest.approx(mu, rel=1e-5)
    assert mf.observed_information(fit).table.se["mu"] == pytest.approx(42**-0.5)
    assert mf.cross_products(fit).table.se["mu"] == pytest.approx((np.sum((y - mu) ** 2) + 2) ** -0.5, rel=1e-5)
    assert mf.sandwich(fit).table.se["mu"] == pytest.approx(np.sum((y - mu) ** 2) ** 0.5 / 42, rel=1e-5)
    boot = mf.bootstrap(fit, 1000, key=key, progress=False)
    exact = (boot.details["weights"] @ y) / 42
    np.testing.assert_allclose(boot.draws.mu, exact, atol=2e-3 * 42**-0.5)
    sir = mf.sir(fit, 4000, 1000, key=key, progress=False)
    assert sir.table.se["mu"] == pytest.approx(42**-0.5, rel=0.1)
    assert sir.details["effective_sample_size"] == pytest.approx(4000, rel=1e-3)
    profile = mf.profile(fit, "mu", progress=False)
    assert (profile.low, profile.high) == pytest.approx((mu - 1.959964 / 42**0.5, mu + 1.959964 / 42**0.5), rel=1e-3)
    shown = str(boot) + boot._repr_html_()
    assert "Bootstrap over subjects" in shown and "mg" in shown and "rse" in shown


def test_intervals_keep_to_the_domain(sleep_fit):
    table = mf.sandwich(sleep_fit, level=0.9999).table
    assert (table.low[["omega[intercept]", "omega[slope]", "sigma"]] > 0).all()
    assert -1 < table.low["corr(intercept, slope)"] < table.high["corr(intercept, slope)"] < 1
    np.testing.assert_allclose(table.rse, 100 * table.se / table.estimate.abs())


def test_a_profile_without_an_end_says_so():
    """Eight Schools with effects twice as large: tau has a maximum at 13.585, but zero is not ruled out."""
    schools = mf.datasets.eight_schools()
    fit = mf.fit(Schools(mu=8.0, tau=10.0), schools.with_responses(2.0 * schools.subjects.y), mf.FO(), progress=False)
    assert float(fit.model.tau) == pytest.approx(13.585, abs=0.02)
    profile = mf.profile(fit, "tau", progress=False)
    assert profile.low == 0.0 and 13.6 < profile.high < 60.0
    assert len(profile.remarks) == 1 and "no lower limit" in profile.remarks[0]


def test_replicates_do_not_depend_on_how_many_are_refitted_together(sleep_fit, monkeypatch):
    found = {}
    for soon in (0.0, 1e9):
        monkeypatch.setattr(resampling, "_SOON", soon)
        found[soon] = mf.bootstrap(sleep_fit, 170, key=jax.random.key(0), progress=False).draws
    np.testing.assert_allclose(found[0.0], found[1e9], rtol=1e-12)


def test_interrupted_and_failed_replicates_are_said(sleep_fit, monkeypatch):
    monkeypatch.setattr(resampling, "_SOON", 0.0)  # groups of 50, however fast they are
    refit, calls = resampling.maximise_many, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return refit(*args)

    monkeypatch.setattr(resampling, "maximise_many", interrupted)
    result = mf.bootstrap(sleep_fit, 300, key=jax.random.key(0), progress=False)
    assert len(result.draws) == 100 and result.remarks == ("interrupted: 100 of 300 replicates were done.",)
    monkeypatch.setattr(resampling, "maximise_many", lambda *args: refit(*args, most=5))
    result = mf.bootstrap(sleep_fit, 100, key=jax.random.key(0), progress=False)
    failed = result.details["failed"]
    assert 0 < failed < 100 and len(result.draws) == 100 - failed == len(result.details["weights"])
    assert f"{failed} of 100 replicates did not converge" in result.remarks[0]


def test_replicates_that_stalled_are_kept_and_said(sleep_fit, monkeypatch):
    """Within a twentieth of a standard error they are kept; beyond, left out."""
    refit = resampling.maximise_many

    def stalling(*args):
        refits = refit(*args)
        gradient = refits.gradient.copy()
        gradient[:3] = [0.002, 0.049, 0.051]
        return refits._replace(gradient=gradient)

    monkeypatch.setattr(resampling, "maximise_many", stalling)
    result = mf.bootstrap(sleep_fit, 20, key=jax.random.key(0), progress=False)
    assert (result.details["stalled"], result.details["failed"], len(result.draws)) == (2, 1, 19)
    assert result.remarks == (
        "1 of 20 replicates did not converge and are left out.",
        "2 of 20 replicates stalled short of the tolerance of 0.001, below 0.05 for a move of one standard error, "
        "and are kept.",
    )


class Twins(mf.Model):
    a: Array = mf.real()
    b: Array = mf.real()

    def observations(self, eta, subject):
        return dist.Normal(jnp.broadcast_to(self.a + self.b, subject.time.shape), 1.0)


@pytest.mark.slow
def test_refusals(fitted, sleep_fit, theophylline):
    schools = mf.fit(Schools(mu=8.0, tau=5.0), mf.datasets.eight_schools(), mf.FO(), progress=False)
    twins = mf.fit(Twins(a=0.1, b=0.2), mf.simulate(Twins(a=1.0, b=1.0), design(2, 9), jax.random.key(0)), mf.FO())
    short = mf.fit(theophylline_model(), theophylline, mf.FO(optimiser=mf.BFGS(max_iterations=1)), progress=False)
    fixed = mf.fit(Shift(mu=0.0), design(1, 3), mf.FO(), fixed=("mu",), progress=False)
    everywhere = {
        "tau is at its boundary.*fixed=.'tau',": schools,
        "Joint MAP maximises no likelihood of theta": fitted(mf.JointMAP()),
        "has not converged": short,
        "held fixed": fixed,
    }
    for words, fit in everywhere.items():
        for act in (mf.observed_information, mf.sandwich, lambda f: mf.sir(f, key=jax.random.key(0))):
            with pytest.raises(ValueError, match=words):
                act(fit)
    with pytest.raises(ValueError, match="not identified.*a, b move together"):
        mf.observed_information(twins)
    with pytest.raises(ValueError, match="give it a key"):
        mf.bootstrap(sleep_fit)
    with pytest.raises(ValueError, match="not a number that this fit estimated: choose from beta.intercept"):
        mf.profile(sleep_fit, "slope")
    with pytest.raises(ValueError, match="cannot draw 500 of 100 without replacement"):
        mf.sir(sleep_fit, 100, key=jax.random.key(0))


@pytest.mark.slow
def test_after_saem_the_marginal_is_asked(fitted, theophylline):
    fit = mf.fit(
        theophylline_model(), theophylline, mf.SAEM(likelihood_by=mf.Laplace()), key=jax.random.key(1), progress=False
    )
    np.testing.assert_allclose(mf.sandwich(fit).table.se, mf.sandwich(fitted(mf.Laplace())).table.se, rtol=0.05)
    one, two = (mf.profile(f, "cl", progress=False) for f in (fit, fitted(mf.Laplace())))
    assert (one.low, one.high) == pytest.approx((two.low, two.high), rel=1e-3)
