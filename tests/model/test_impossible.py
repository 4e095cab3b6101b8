"""Responses that a model cannot give, rows that it leaves no chance, and intervals: numbers by SciPy, or a sentence."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jax.scipy.special import ndtr
from jaxtyping import Array
from numpyro.distributions.distribution import validation_enabled
from numpyro.distributions.transforms import AffineTransform, SigmoidTransform
from scipy import special, stats

import mefit as mf
from mefit.model.impossible import refuse_impossible
from mefit.model.outcomes import log_interval
from mefit.model.support import log_prob

NAN = np.nan
INF = np.inf


class Any1(mf.Model):
    """A density of a number and the times."""

    a: Array = mf.positive()
    density: object = eqx.field(static=True)

    def observations(self, eta, subject):
        return self.density(self.a, subject.time)


def population_of(y, **columns):
    frame = {"ID": 7, "TIME": np.arange(len(y)) + 1.0, "DV": y} | columns
    return mf.Population.from_frame(pd.DataFrame(frame))


# ---------------------------------------------------------------- outside the support


SHIFTED = dist.TransformedDistribution(dist.Exponential(2.0), AffineTransform(1.0, 1.0))
OUTSIDE = [  # density, y inside, log p there by SciPy, y outside, what the sentence says
    (dist.LogNormal(0.0, 1.0), 2.0, stats.lognorm(1.0).logpdf(2.0), 0.0, "LogNormal takes numbers above 0"),
    (dist.LogNormal(0.0, 1.0), 2.0, stats.lognorm(1.0).logpdf(2.0), -1.0, "LogNormal takes numbers above 0"),
    (dist.Gamma(2.0, 1.0), 2.0, stats.gamma(2.0).logpdf(2.0), -1.0, "Gamma takes numbers above 0"),
    (dist.Gamma(2.0, 1.0), 2.0, stats.gamma(2.0).logpdf(2.0), 0.0, "Gamma takes numbers above 0"),
    (dist.Exponential(2.0), 0.0, np.log(2.0), -1.0, "Exponential takes numbers above 0"),
    (dist.HalfNormal(1.0), 0.5, stats.halfnorm.logpdf(0.5), -0.5, "HalfNormal takes numbers above 0"),
    (dist.Weibull(1.0, 2.0), 0.5, stats.weibull_min(2.0).logpdf(0.5), -0.5, "Weibull takes numbers above 0"),
    (dist.Beta(2.0, 3.0), 0.4, stats.beta(2, 3).logpdf(0.4), 1.2, "Beta takes numbers between 0 and 1"),
    (dist.Beta(2.0, 3.0), 0.4, stats.beta(2, 3).logpdf(0.4), 1.0, "Beta takes numbers between 0 and 1"),
    (dist.Uniform(0.5, 2.5), 0.5, -np.log(2.0), 2.6, "Uniform takes numbers between 0.5 and 2.5"),
    # numpyro #1492 and torch_truncnorm #1: a truncated density that is finite beyond its ends
    (
        dist.TruncatedNormal(0.0, 1.0, low=-1.0, high=2.0),
        1.5,
        stats.truncnorm(-1.0, 2.0).logpdf(1.5),
        2.5,
        "takes numbers between -1 and 2",
    ),
    (SHIFTED, 1.5, stats.expon(1.0, 0.5).logpdf(1.5), 0.5, "takes numbers of its support"),
    (
        dist.TransformedDistribution(dist.Normal(0.0, 1.0), SigmoidTransform()),
        0.5,
        stats.norm.logpdf(0.0) - np.log(0.25),
        1.0,
        "takes numbers between 0 and 1",
    ),
    (dist.Poisson(2.0), 3.0, stats.poisson(2.0).logpmf(3), 2.5, "Poisson takes whole numbers from 0 on"),
    (dist.NegativeBinomial2(2.0, 1.0), 3.0, stats.nbinom(1, 1 / 3).logpmf(3), -1.0, "takes whole numbers from 0 on"),
    (dist.Binomial(4, 0.3), 4.0, 4 * np.log(0.3), 5.0, "Binomial takes whole numbers from 0 to 4"),
    (dist.Bernoulli(0.3), 1.0, np.log(0.3), 0.5, "Bernoulli takes 0 or 1"),
    (dist.Categorical(jnp.array([0.2, 0.8])), 1.0, np.log(0.8), 2.0, "Categorical takes whole numbers from 0 to 1"),
    (
        dist.OrderedLogistic(0.0, jnp.array([0.0])),
        1.0,
        np.log(0.5),
        2.0,
        "OrderedLogistic takes whole numbers from 0 to 1",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(OUTSIDE)))
def test_a_response_outside_the_support_is_minus_infinity_and_told(case):
    density, inside, exact, outside, sentence = OUTSIDE[case]
    assert log_prob(density, jnp.array([inside]))[0] == pytest.approx(exact, rel=1e-12)
    assert not np.isfinite(log_prob(density, jnp.array([outside]))[0])
    population = population_of([inside, outside])
    model = Any1(a=1.0, density=lambda a, t: density)
    with pytest.raises(ValueError, match=f"of subject 7 in its row 2 is {outside:g}, and .*{sentence}"):
        refuse_impossible(model, population[0], 7)
    refuse_impossible(model, population_of([inside, inside])[0], 7)


def test_both_doors_refuse_an_impossible_response():
    model = Any1(a=1.0, density=lambda a, t: dist.Exponential(a + 0.0 * t))
    for ask in (
        lambda: mf.log_likelihood(model, population_of([1.0, -0.2]), mf.NaivePooled()),
        lambda: mf.fit(model, population_of([1.0, -0.2]), mf.NaivePooled(), progress=False),
    ):
        with pytest.raises(ValueError, match="subject 7 in its row 2 is -0.2, and Exponential takes numbers above 0"):
            ask()


def test_an_ordered_probit_is_a_categorical_of_differences():
    cuts = np.array([-0.5, 0.4, 1.1])

    def density(a, t):
        below = ndtr(jnp.asarray(cuts) - (a * t)[:, None])
        return dist.Categorical(probs=jnp.diff(below, prepend=0.0, append=1.0))

    below = stats.norm.cdf(np.concatenate([[-INF], cuts, [INF]])[None] - 0.3 * np.arange(1.0, 5.0)[:, None])
    exact = np.sum(np.log(np.diff(below))[np.arange(4), [0, 3, 1, 2]])
    model = Any1(a=0.3, density=density)
    assert mf.log_likelihood(model, population_of([0, 3, 1, 2]), mf.NaivePooled()) == pytest.approx(exact, rel=1e-12)
    drawn = mf.simulate(model, population_of([0, 3, 1, 2]), jax.random.key(0))
    assert set(np.unique(drawn.subjects.y)) <= {0.0, 1.0, 2.0, 3.0}


@pytest.mark.parametrize("x", [-400.0, -40.0, -3.0, 0.2, 40.0, 400.0])
def test_unlikely_grades_keep_their_digits(x):
    """brms #1192: log-likelihoods of ordinal models that are not finite. Exact: log(s(b - x) - s(a - x)) by logs."""
    cuts = np.array([-1.0, 0.7, 2.0])
    log_below = special.log_expit(cuts - x)
    log_above = special.log_expit(x - cuts)
    middle = [log_below[k] + log_above[k - 1] + np.log1p(-np.exp(cuts[k - 1] - cuts[k])) for k in (1, 2)]
    exact = [log_below[0], *middle, log_above[2]]
    density = dist.OrderedLogistic(jnp.full(4, x), jnp.asarray(cuts))
    np.testing.assert_allclose(log_prob(density, jnp.arange(4.0)), exact, rtol=1e-12)
    slope = jax.grad(lambda x: jnp.sum(log_prob(dist.OrderedLogistic(x, jnp.asarray(cuts)), jnp.arange(4.0))))
    assert np.all(np.isfinite(slope(jnp.full(4, x))))


# ---------------------------------------------------------------- no chance left


class Bolus(mf.Model):
    cl: Array = mf.positive()
    v: Array = mf.positive()
    omega: Array = mf.diagonal_covariance(names=("cl",))
    sigma: Array = mf.positive()
    least: float = eqx.field(static=True, default=0.0)

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(1), self.omega)

    def observations(self, eta, subject):
        c = mf.pk.iv_bolus_one_compartment(subject, cl=self.cl * jnp.exp(eta[0]), v=self.v)
        c = jnp.maximum(c, self.least) if self.least else c
        return dist.Normal(c, self.sigma * c)


START = dict(cl=2.0, v=20.0, omega=[[0.1]], sigma=0.1)


def people(early):
    """Twelve people with a proportional error of 0.1, and a row before the dose in which `early` was measured."""
    rng = np.random.default_rng(1)
    rows = []
    for who in range(12):
        k = 0.1 * np.exp(0.3 * rng.standard_normal())
        if early is not None:
            rows.append((who, 0.0, early, 0.0, 0))
        rows.append((who, 1.0, NAN, 100.0, 1))
        for t in (2.0, 5.0, 9.0, 25.0):
            rows.append((who, t, 5 * np.exp(-k * (t - 1)) * (1 + 0.1 * rng.standard_normal()), 0.0, 0))
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT", "EVID"]))


@pytest.mark.slow
def test_zeros_before_the_dose_are_told_and_left_out_without_bias():
    """nlmixr #488: zeros under a proportional error."""
    with_zeros = people(0.0)
    sentence = "predicts 0 for subject 0 in its row 1, with an error of 0, and 0 was measured: such a row tells nothing"
    for ask in (mf.fit, mf.log_likelihood):
        with pytest.raises(ValueError, match=sentence):
            ask(Bolus(**START), with_zeros, mf.FOCE())
    lifted = "predicts 1e-12 for subject 0 in its row 1, with an error of 1e-13, and 0 was measured"
    for ask in (mf.fit, mf.log_likelihood):
        with pytest.raises(ValueError, match=lifted):
            ask(Bolus(**START, least=1e-12), with_zeros, mf.FOCE())
    plain = mf.fit(Bolus(**START), people(None), mf.FOCE(), progress=False)
    for least in (0.0, 1e-12):
        population = mf.without_certain_rows(Bolus(**START, least=least), with_zeros)
        assert population.n_observations == 48
        fit = mf.fit(Bolus(**START), population, mf.FOCE(), progress=False)
        assert fit.minus_two_log_likelihood == pytest.approx(plain.minus_two_log_likelihood, abs=1e-6)
        assert float(fit.model.sigma) == pytest.approx(float(plain.model.sigma), rel=1e-4)
    with pytest.raises(ValueError, match="and 0.3 was measured, which is impossible then: give the error an additive"):
        mf.without_certain_rows(Bolus(**START), people(0.3))
    with pytest.raises(ValueError, match="and 0.3 was measured, which is impossible then"):
        mf.log_likelihood(Bolus(**START), people(0.3), mf.FOCE())


@pytest.mark.slow
@pytest.mark.parametrize(
    "density",
    [
        lambda c, sigma: dist.Normal(c, sigma * c),
        lambda c, sigma: dist.StudentT(4.0, c, sigma * c),
        lambda c, sigma: dist.LogNormal(jnp.log(c), sigma),
    ],
)
def test_a_prediction_of_zero_lies_below_any_limit(density):
    """PsN #295: samples below the limit before the dose. They add log 1 = 0, and nothing to any derivative."""

    class Limited(Bolus):
        def observations(self, eta, subject):
            return density(super().observations(eta, subject).loc, self.sigma)

    def value(rows):
        frame = pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT", "EVID", "CENS"])
        subject = mf.Population.from_frame(frame)[0]
        model = Limited(**START)

        def f(sigma):
            return mf.log_conditional(eqx.tree_at(lambda m: m.sigma, model, sigma), jnp.zeros(1), subject)

        at = jnp.asarray(0.1)
        with validation_enabled(False):
            return f(at), jax.grad(f)(at), jax.jvp(f, (at,), (jnp.ones(()),))[1]

    rest = [(1, 1.0, NAN, 100.0, 1, 0), (1, 2.0, 4.4, 0.0, 0, 0), (1, 9.0, 2.3, 0.0, 0, 0), (1, 40.0, 0.3, 0.0, 0, 1)]
    np.testing.assert_allclose(value([(1, 0.0, 0.05, 0.0, 0, 1), *rest]), value(rest), rtol=1e-12)


# ---------------------------------------------------------------- intervals


SURVIVAL = {
    "Weibull": (dist.Weibull(3.0, 1.7), stats.weibull_min(1.7, scale=3.0)),
    "Exponential": (dist.Exponential(0.4), stats.expon(scale=2.5)),
    "Gompertz": (dist.Gompertz(0.2, 0.5), stats.gompertz(0.2, scale=2.0)),
    "LogNormal": (dist.LogNormal(0.7, 0.5), stats.lognorm(0.5, scale=np.exp(0.7))),
    "Gamma": (dist.Gamma(2.0, 0.7), stats.gamma(2.0, scale=1 / 0.7)),
}


@pytest.mark.parametrize("name", SURVIVAL)
def test_interval_censored_times_are_the_difference_of_survival(name):
    """flexsurv #173 and brms #1622: S(l) - S(u), left- and right-censored times, and one seen exactly."""
    density, law = SURVIVAL[name]
    y = [2.0, 1.5, 4.0, 2.2]
    population = population_of(y, CENS=[1, 1, -1, 0], LIMIT=[0.8, NAN, NAN, NAN])
    exact = np.log(law.cdf(2.0) - law.cdf(0.8)) + law.logcdf(1.5) + law.logsf(4.0) + law.logpdf(2.2)
    model = Any1(a=1.0, density=lambda a, t: density)
    assert mf.log_likelihood(model, population, mf.NaivePooled()) == pytest.approx(exact, rel=1e-10)


def test_far_tails_keep_their_digits():
    far = log_interval(dist.Weibull(1.0, 1.0), jnp.array([50.0, 50.0]), jnp.array([INF, 50.5]))
    np.testing.assert_allclose(far, [-50.0, -50.0 + np.log(-np.expm1(-0.5))], rtol=1e-14)
    early = log_interval(dist.Exponential(1e-12), jnp.array([0.0]), jnp.array([1.0]))
    np.testing.assert_allclose(early, np.log(1e-12), rtol=1e-12)
    law = stats.laplace(1.0, 0.5)
    above = log_interval(dist.Laplace(1.0, 0.5), jnp.array([60.0, 60.0]), jnp.array([INF, 61.0]))
    np.testing.assert_allclose(above, [law.logsf(60.0), law.logsf(60.0) + np.log1p(-np.exp(-2.0))], rtol=1e-12)


def test_events_found_at_a_visit():
    """An event between two visits has S(l) - S(u), by the hazard of any model: here Weibull's."""

    def density(a, t):
        hazard = a / 3.0 * (t / 3.0) ** (a - 1.0)
        return mf.Event(jnp.log(hazard), jnp.diff((t / 3.0) ** a, prepend=0.0))

    model = Any1(a=1.7, density=density)
    law = stats.weibull_min(1.7, scale=3.0)
    for y, exact in (
        ([0, 2], np.log(law.sf(1.0) - law.sf(2.0))),
        ([2], law.logcdf(1.0)),
        ([0, 0, 1], law.logpdf(3.0)),
        ([0, 0, 0], law.logsf(3.0)),
    ):
        assert mf.log_likelihood(model, population_of(y), mf.NaivePooled()) == pytest.approx(exact, rel=1e-12)
    with pytest.raises(ValueError, match="row 1 is 3, and Event takes whole numbers from 0 to 2"):
        mf.log_likelihood(model, population_of([3]), mf.NaivePooled())
