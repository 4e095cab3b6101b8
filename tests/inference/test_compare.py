"""Comparing fits: one ruler, known cuts, and tests whose size is what they say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line, Means, theophylline_model
from scipy.stats import chi2, multivariate_normal

import mefit as mf
from mefit.inference.compare import LikelihoodRatio, tail
from mefit.inference.ratios import twice_log_ratio
from mefit.inference.same_data import other_conditions, same_responses


class Parallel(Line):
    """A random intercept, and one slope for all: `Line` with a variance at zero, and with it its covariance."""

    omega: Array = mf.diagonal_covariance(names=("intercept",))

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(1), self.omega)

    def observations(self, eta, subject):
        return super().observations(jnp.append(eta, 0.0), subject)


@pytest.fixture(scope="module")
def sleep():
    population = mf.datasets.sleepstudy()
    small = mf.fit(Parallel(beta=[250.0, 10.0], omega=[[900.0]], sigma=30.0), population, mf.FO(), progress=False)
    start = Line(beta=[250.0, 10.0], omega=[[600.0, 0.0], [0.0, 30.0]], sigma=25.0)
    return small, mf.fit(start, population, mf.FO(), progress=False)


def test_one_ruler_for_all(fitted, theophylline):
    fits = {m.label: fitted(m) for m in (mf.Laplace(), mf.FO(), mf.NaivePooled(), mf.JointMLE(), mf.TwoStage())}
    table = mf.compare(fits)
    assert list(table.index) == list(fits) and table["delta -2LL"].min() == 0.0
    for name in ("Laplace", "FO", "Two-stage (separate fits)"):
        exact = -2 * mf.log_likelihood(fits[name].model, theophylline, mf.AGQ(9))
        assert table["-2LL"][name] == pytest.approx(exact, abs=1e-8)
    assert table["-2LL"]["Laplace"] == pytest.approx(359.903, abs=0.01)
    assert table["-2LL"]["FO"] > table["-2LL"]["Laplace"] + 5
    assert table["own -2LL"]["FO"] == fits["FO"].minus_two_log_likelihood < table["own -2LL"]["Laplace"]
    assert table["-2LL"]["Naive pooled"] == table["own -2LL"]["Naive pooled"] and table.parameters["Naive pooled"] == 4
    best = table.loc["Laplace"]
    assert best.AIC == best["-2LL"] + 14 and best.BIC == pytest.approx(best["-2LL"] + 7 * np.log(132))
    lost = table.loc["Joint maximum likelihood"]
    assert np.isnan(lost.AIC) and lost.remark.startswith("not estimated: SD of omega[ka]")
    drawn = mf.compare({"a": fits["Laplace"]}, by=mf.ImportanceSampling(2000), key=jax.random.key(1))
    assert drawn["-2LL"]["a"] == pytest.approx(best["-2LL"], abs=0.2)


def test_only_fits_of_the_same_data_are_compared(fitted, theophylline):
    other = mf.fit(theophylline_model(), theophylline[:11], mf.FO(), progress=False)
    with pytest.raises(ValueError, match="eleven was fitted to different responses"):
        mf.compare({"all": fitted(mf.FO()), "eleven": other})
    with pytest.raises(ValueError, match="different responses"):
        mf.likelihood_ratio_test(fitted(mf.FO()), other)
    with pytest.raises(ValueError, match="fits by name"):
        mf.compare({})


class PkPd(mf.Model):
    """Two outcomes that share a random effect: pk = a + eta + N(0, 1), pd = b + 2 eta + N(0, 1/4), eta ~ N(0, 9/4)."""

    a: Array = mf.real()
    b: Array = mf.real()

    def random_effects(self):
        return dist.Normal(0.0, 1.5)

    def observations(self, eta, subject):
        ones = jnp.ones_like(subject.time)
        return {"pk": dist.Normal((self.a + eta) * ones, 1.0), "pd": dist.Normal((self.b + 2.0 * eta) * ones, 0.5)}


def pk_pd_people(rng):
    """Twelve people with three rows of each outcome; the first has no pd at its last row."""
    people = []
    for i in range(12):
        eta = rng.normal(scale=1.5)
        y = {"pk": 3.0 + eta + rng.normal(size=3), "pd": 1.4 + 2.0 * eta + 0.5 * rng.normal(size=3)}
        mask = {"pk": np.ones(3, bool), "pd": np.array([True, True, i > 0])}
        people.append(mf.Subject(time=np.arange(3.0), y=y, mask=mask, covariates={"wt": 70.0 + i}))
    return mf.Population.from_subjects(people)


def pk_pd_by_hand(population, b=None):
    """-2 log L at its maximum over a (and b, unless it is given): generalised least squares, in closed form."""
    y, mask = population.subjects.y, population.subjects.mask
    blocks = []
    for i in range(len(population)):
        real = {name: np.asarray(mask[name])[i] for name in ("pk", "pd")}
        response = np.concatenate([np.asarray(y[name])[i][real[name]] for name in ("pk", "pd")])
        of_pd = np.repeat([False, True], [real["pk"].sum(), real["pd"].sum()])
        loading = np.where(of_pd, 2.0, 1.0)
        variance = 1.5**2 * np.outer(loading, loading) + np.diag(np.where(of_pd, 0.25, 1.0))
        blocks.append((response, np.stack([~of_pd, of_pd], 1).astype(float), variance))
    free = [0, 1] if b is None else [0]
    left = [response - (0.0 if b is None else b * design[:, 1]) for response, design, _ in blocks]
    normal = sum(d[:, free].T @ np.linalg.solve(v, d[:, free]) for _, d, v in blocks)
    moment = sum(d[:, free].T @ np.linalg.solve(v, r) for r, (_, d, v) in zip(left, blocks, strict=True))
    estimate = np.linalg.solve(normal, moment)
    return -2.0 * sum(
        multivariate_normal(design[:, free] @ estimate, variance).logpdf(response)
        for response, (_, design, variance) in zip(left, blocks, strict=True)
    )


def test_fits_of_several_outcomes_are_compared():
    population = pk_pd_people(np.random.default_rng(3))
    small = mf.fit(PkPd(a=2.0, b=1.0), population, mf.Laplace(), fixed="b", progress=False)
    large = mf.fit(PkPd(a=2.0, b=1.0), population, mf.Laplace(), progress=False)
    table = mf.compare({"small": small, "large": large}, by=mf.Laplace())
    assert table["-2LL"]["small"] == pytest.approx(pk_pd_by_hand(population, b=1.0), abs=1e-6)
    assert table["-2LL"]["large"] == pytest.approx(pk_pd_by_hand(population), abs=1e-6)
    assert table.BIC["large"] == pytest.approx(pk_pd_by_hand(population) + 2 * np.log(71), abs=1e-6)
    assert list(table.remark) == ["", ""]
    test = mf.likelihood_ratio_test(small, large)
    statistic = pk_pd_by_hand(population, b=1.0) - pk_pd_by_hand(population)
    assert test.statistic == pytest.approx(statistic, abs=1e-6) and test.degrees_of_freedom == 1
    assert test.p_value == pytest.approx(chi2.sf(statistic, 1), rel=1e-5) and test.remarks == ()
    y = dict(population.subjects.y)
    y["pd"] = y["pd"].at[4, 1].add(0.1)
    moved = dataclasses.replace(large, population=population.with_responses(y))
    for other in (moved, large.outcome("pd")):
        with pytest.raises(ValueError, match="the large model was fitted to different responses"):
            mf.likelihood_ratio_test(small, other)


def test_the_same_responses_under_other_conditions_are_refused_or_get_a_sentence(sleep):
    small, large = sleep
    subjects = large.population.subjects
    later = dataclasses.replace(subjects, time=subjects.time + 1.0)
    shifted = dataclasses.replace(large, population=dataclasses.replace(large.population, subjects=later))
    with pytest.raises(ValueError, match="times: not those of now, so .*; then say across_conditions=True"):
        mf.compare({"now": small, "later": shifted}, by=mf.FO())
    table = mf.compare({"now": small, "later": shifted}, by=mf.FO(), across_conditions=True)
    assert table.remark["now"] == "" and table.remark["later"].startswith("times: not those of now, so likelihoods")
    design = np.stack([np.ones(10), np.arange(10.0) + 1.0], axis=1)
    mean = design @ np.asarray(large.model.beta)
    variance = design @ np.asarray(large.model.omega) @ design.T + float(large.model.sigma) ** 2 * np.eye(10)
    exact = -2.0 * multivariate_normal(mean, variance).logpdf(np.asarray(subjects.y)).sum()
    assert table["-2LL"]["later"] == pytest.approx(exact, abs=1e-6)
    with pytest.raises(ValueError, match="times: not those of the small model"):
        mf.likelihood_ratio_test(small, shifted)
    test = mf.likelihood_ratio_test(small, shifted, across_conditions=True)
    assert len(test.remarks) == 1 and test.remarks[0].startswith("times: not those of the small model")
    assert test.statistic == mf.likelihood_ratio_test(small, large).statistic


def test_what_the_likelihood_is_of_and_under(theophylline):
    """Doses, covariates and times are conditions; who, what was measured, and what is known of it are not."""
    subjects = theophylline.subjects

    def changed(**fields):
        return dataclasses.replace(theophylline, subjects=dataclasses.replace(subjects, **fields))

    twice = dataclasses.replace(subjects.doses, amount=2.0 * subjects.doses.amount)
    given_twice = theophylline.with_doses([mf.Doses.of([4.0, 4.0], time=[0.0, 12.0])] * 12)
    conditions = {
        "doses": changed(doses=twice),
        "covariate wt": changed(covariates={"wt": subjects.covariates["wt"] / 70.0}),
        "": changed(covariates={"age": subjects.covariates["wt"]}),  # one has a covariate that the other has not
        "times": changed(time=60.0 * subjects.time),
    }
    for words, other in conditions.items():
        assert same_responses(theophylline, other)
        assert other_conditions(theophylline, other) == ([words] if words else []), words
    assert other_conditions(theophylline, given_twice) == ["doses"]
    spread = jnp.broadcast_to(subjects.covariates["wt"][:, None], subjects.time.shape)
    assert other_conditions(theophylline, changed(covariates={"wt": spread})) == []  # the same values row by row
    below = jnp.zeros(subjects.time.shape, int).at[0, 3].set(1)
    marked = changed(censored=below, limit=jnp.full(below.shape, -jnp.inf))
    unmarked = changed(censored=0 * below, limit=jnp.full(below.shape, -jnp.inf))
    assert same_responses(theophylline, unmarked) and not same_responses(theophylline, marked)
    fewer = changed(mask=subjects.mask.at[2, 2].set(False))
    assert not same_responses(theophylline, fewer) and not same_responses(theophylline, theophylline[::-1])
    # A wider population, padded and with a row that was not observed, has the same responses.
    frame = theophylline.to_frame()
    last = frame.iloc[[-1]].assign(TIME=30.0, DV=np.nan, MDV=1)
    longer = mf.Population.from_frame(pd.concat([frame, last], ignore_index=True), covariates="wt")
    assert longer.subjects.time.shape[1] == 12
    assert same_responses(theophylline, longer) and other_conditions(theophylline, longer) == []


def test_the_cuts_are_those_of_the_mixtures():
    for df, boundary, cut in ((1, 1, 2.7055), (2, 1, 5.138), (1, 0, 3.8415), (3, 1, 7.045), (2, 2, 4.231)):
        assert LikelihoodRatio(0.0, df, boundary, 1.0).cut() == pytest.approx(cut, abs=6e-4), (df, boundary)
        assert tail(cut, df, boundary) == pytest.approx(0.05, abs=1e-4)
    assert tail(3.8415, 1, 1) == pytest.approx(0.025, abs=1e-5) and tail(0.0, 1, 1) == 1.0


def test_a_random_slope_of_sleepstudy(sleep):
    """By maximum likelihood lme4 is documented with a statistic of 42.139 on 2 degrees of freedom."""
    test = mf.likelihood_ratio_test(*sleep, boundary=1)
    assert test.statistic == pytest.approx(42.139, abs=0.01) and test.degrees_of_freedom == 2
    exact = 0.5 * chi2.sf(test.statistic, 1) + 0.5 * chi2.sf(test.statistic, 2)
    assert test.p_value == pytest.approx(exact) and test.p_value < mf.likelihood_ratio_test(*sleep).p_value
    assert mf.likelihood_ratio_test(*sleep, by=mf.AGQ(3)).statistic == pytest.approx(test.statistic, abs=1e-6)


@pytest.mark.slow
def test_what_a_test_refuses(sleep, fitted):
    small, large = sleep
    for first, second, more, words in (
        (large, small, {}, "6 parameters, the large one 4"),
        (small, large, {"boundary": 3}, "boundary is 3"),
        (fitted(mf.NaivePooled()), fitted(mf.TwoStage()), {}, "Two-stage .* has not ended at a maximum"),
    ):
        with pytest.raises(ValueError, match=words):
            mf.likelihood_ratio_test(first, second, **more)
    start = Parallel(beta=[250.0, 10.0], omega=[[900.0]], sigma=30.0)
    by_laplace = mf.fit(start, small.population, mf.Laplace(), progress=False)
    with pytest.raises(ValueError, match="give one ruler"):
        mf.likelihood_ratio_test(by_laplace, large)
    assert mf.likelihood_ratio_test(by_laplace, large, by=mf.AGQ(1)).statistic == pytest.approx(42.139, abs=0.01)
    far = Line(beta=[250.0, 10.0], omega=[[600.0, 0.0], [0.0, 30.0]], sigma=90.0)
    poor = mf.fit(far, small.population, mf.FO(), fixed="sigma", progress=False)
    assert poor.n_parameters == 5
    with pytest.raises(ValueError, match=r"the large model's -2 log L is \d+ above the small one's"):
        mf.likelihood_ratio_test(small, poor)


def test_nothing_gained_is_nothing_in_any_unit():
    """Where the variance ends at zero the statistic is 0 and p is 1, whatever rounding leaves of the difference."""
    subject = mf.Subject(time=jnp.arange(4.0), y=jnp.zeros(4), mask=jnp.ones(4, bool))
    design = mf.Population.from_subjects([subject] * 50)
    truth = Means(mu=1.0, omega=0.3, sigma=1.0)
    population = mf.simulate(truth, design, jax.random.split(jax.random.key(2), 400)[0], eta=jnp.zeros((50, 1)))
    between = float(np.var(population.subjects.y.mean(axis=1), ddof=0))
    within = float(population.subjects.y.var(axis=1, ddof=1).mean())
    assert between < within / 4  # so that maximum likelihood has no variance between subjects
    for unit in (1e-6, 1.0, 1e6):
        data = [mf.Subject(time=s.time, y=s.y * unit, mask=s.mask) for s in population]
        small = mf.fit(
            Means(mu=unit, omega=0.3 * unit, sigma=unit),
            mf.Population.from_subjects(data),
            mf.NaivePooled(),
            progress=False,
        )
        large = mf.fit(small.model, small.population, mf.FO(), progress=False)
        test = mf.likelihood_ratio_test(small, large, boundary=1)
        assert test.statistic == 0.0 and test.p_value == 1.0
    gained = twice_log_ratio(np.array([-283.5, 0.0, 1e6]), np.array([-283.5 + 1e-5, 1e-5, 1e6 + 1e-4]))
    np.testing.assert_allclose(gained, [2e-5, 2e-5, 0.0], rtol=1e-4)


@pytest.mark.slow
def test_the_size_of_a_test_at_the_boundary_is_five_percent():
    """400 data sets without a random effect: half of the statistics are zero, and one in twenty is beyond 2.7055."""
    subject = mf.Subject(time=jnp.arange(4.0), y=jnp.zeros(4), mask=jnp.ones(4, bool))
    design = mf.Population.from_subjects([subject] * 50)
    truth = Means(mu=1.0, omega=0.3, sigma=1.0)
    p = []
    for key in jax.random.split(jax.random.key(2), 400):
        population = mf.simulate(truth, design, key, eta=jnp.zeros((50, 1)))
        small = mf.fit(truth, population, mf.NaivePooled(), progress=False)
        large = mf.fit(truth, population, mf.FO(), progress=False)
        p.append(mf.likelihood_ratio_test(small, large, boundary=1).p_value)
    p = np.array(p)
    assert 0.028 <= np.mean(p < 0.05) <= 0.075 and 0.44 <= np.mean(p > 0.5) <= 0.62, (
        np.mean(p < 0.05),
        np.mean(p > 0.5),
    )


def test_a_level_that_zero_meets_already_is_cut_at_zero():
    """With one variance at its boundary, half of the statistics are 0; with two, a quarter."""
    assert LikelihoodRatio(0.0, 1, 1, 1.0).cut(0.5) == 0.0
    assert LikelihoodRatio(0.0, 1, 1, 1.0).cut(0.7) == 0.0
    assert LikelihoodRatio(0.0, 2, 2, 1.0).cut(0.75) == 0.0
    assert LikelihoodRatio(0.0, 1, 1, 1.0).cut(0.4999) == pytest.approx(chi2.isf(0.9998, 1), rel=1e-6, abs=1e-8)
    with pytest.raises(ValueError, match="the level of a test is a share between 0 and 1"):
        LikelihoodRatio(0.0, 1, 0, 1.0).cut(95)
