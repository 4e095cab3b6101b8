"""Comparing fits: one ruler, known cuts, and tests whose size is what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from models import Line, Means, theophylline_model
from scipy.stats import chi2

import mefit as mf
from mefit.inference.compare import LikelihoodRatio, tail


class Parallel(Line):
    """A random intercept, and one slope for all: `Line` with a variance at zero, and with it its covariance."""

    omega: Array = mf.diagonal_covariance(names=("intercept",))

    def random_effects(self):
        return mf.model.dist.MultivariateNormal(jnp.zeros(1), self.omega)

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
