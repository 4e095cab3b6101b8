"""Several outcomes, censored responses, and events in time: against closed forms, quadrature and known truths."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy import stats
from scipy.special import gammaln

import mefit as mf
from mefit.model.outcomes import log_interval

nan, inf = np.nan, np.inf


class Two(mf.Model):
    """A line and a level that share a random effect: linear and Gaussian, so the integral is known."""

    slope: Array = mf.real()
    level: Array = mf.real()
    omega: Array = mf.covariance(names=("slope", "level"))
    sigma: Array = mf.positive()
    tau: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        line = (self.slope + eta[0]) * subject.time
        return {"pk": dist.Normal(line, self.sigma), "pd": dist.Normal(self.level + eta[1] + 0.5 * eta[0], self.tau)}


class Mixed(Two):
    """The same line, and an answer of yes or no, whose logit follows it."""

    def observations(self, eta, subject):
        both = super().observations(eta, subject)
        return {"pk": both["pk"], "yes": dist.Bernoulli(logits=self.level + eta[1] + 0.3 * both["pk"].loc)}


class Positive(Two):
    """A log-normal outcome, whose density does not exist at 0, where padding is."""

    def observations(self, eta, subject):
        both = super().observations(eta, subject)
        return {"pk": both["pk"], "pd": dist.LogNormal(self.level + eta[1], self.tau)}


TWO = dict(slope=1.0, level=2.0, omega=[[0.3, 0.1], [0.1, 0.5]], sigma=0.4, tau=0.7)


@pytest.fixture(scope="module")
def two():
    """Five subjects; the second outcome at other times than the first, some at the same; one subject has none."""
    rng = np.random.default_rng(5)
    rows = []
    for who in range(5):
        rows += [(who, t, t + rng.normal(), 1) for t in range(3 + who)]
        rows += [(who, t, 2 + rng.normal(), 2) for t in (0.5, 2.0) if who != 3]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DV", "DVID"]).sort_values(["ID", "TIME"])
    return mf.Population.from_frame(frame, y={"pk": 1, "pd": 2})


def with_answers(population):
    y, mask = population.subjects.y, population.subjects.mask
    swapped = {"pk": y["pk"], "yes": (y["pd"] > 2).astype(float)}
    from dataclasses import replace

    return replace(
        population, subjects=replace(population.subjects, y=swapped, mask={"pk": mask["pk"], "yes": mask["pd"]})
    )


@pytest.mark.slow
def test_two_gaussian_outcomes_against_the_closed_form_by_every_method(two):
    model, total = Two(**TWO), 0.0
    for s in two:
        pk, pd_ = (np.asarray(s.mask[k]) for k in ("pk", "pd"))
        t = np.asarray(s.time)[pk]
        design = np.vstack([np.column_stack([t, 0 * t]), np.tile([0.5, 1.0], (pd_.sum(), 1))])
        mean = np.concatenate([t, np.full(pd_.sum(), 2.0)])
        noise = np.concatenate([np.full(pk.sum(), 0.4**2), np.full(pd_.sum(), 0.7**2)])
        y = np.concatenate([np.asarray(s.y["pk"])[pk], np.asarray(s.y["pd"])[pd_]])
        total += stats.multivariate_normal(mean, design @ np.array(TWO["omega"]) @ design.T + np.diag(noise)).logpdf(y)
    for method in (mf.FO(), mf.FOCE(), mf.FOCE(interaction=False), mf.Laplace(), mf.AGQ(3)):
        assert mf.log_likelihood(model, two, method) == pytest.approx(total, abs=1e-9), method
    fit = mf.fit(model, two, mf.FOCE(), fixed=("omega",), progress=False)
    assert fit.converged and fit.population.n_observations == 33 and "33 observations" in str(fit)


def test_unseen_rows_reach_neither_value_nor_gradient(two):
    subject = jax.tree.map(lambda x: x[3], two.subjects)  # it has no second outcome at all
    for make in (Two, Positive):
        model = make(**TWO)

        def f(model, subject=subject):
            return mf.log_conditional(model, jnp.array([0.1, -0.2]), subject)

        value, gradient = jax.value_and_grad(f)(model)
        only = stats.norm(1.1 * np.asarray(subject.time), 0.4).logpdf(np.asarray(subject.y["pk"]))
        assert value == pytest.approx(np.sum(only[np.asarray(subject.mask["pk"])]))
        assert gradient.tau == 0 and all(jnp.isfinite(x).all() for x in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_a_continuous_and_a_binary_outcome(two):
    population, model = with_answers(two), Mixed(**TWO)
    s = population[1]
    grid = np.linspace(-6, 6, 241)
    e0, e1 = np.meshgrid(grid, grid, indexing="ij")
    log_p = stats.multivariate_normal([0, 0], TWO["omega"]).logpdf(np.stack([e0, e1], -1))
    for t, y, m in zip(s.time, s.y["pk"], s.mask["pk"], strict=True):
        log_p = log_p + m * stats.norm((1 + e0) * t, 0.4).logpdf(y)
    for t, y, m in zip(s.time, s.y["yes"], s.mask["yes"], strict=True):
        logit = 2 + e1 + 0.3 * (1 + e0) * t
        log_p = log_p - m * np.logaddexp(0, logit if y == 0 else -logit)
    exact = np.log(np.sum(np.exp(log_p)) * (grid[1] - grid[0]) ** 2)
    found = mf.log_likelihood(model, population[[1]], mf.AGQ(15))
    assert found == pytest.approx(exact, abs=1e-6)
    assert mf.log_likelihood(model, population, mf.Laplace()) < 0
    for method in (mf.FO(), mf.FOCE()):
        with pytest.raises(
            ValueError, match="FO and FOCE linearise .* returns Bernoulli\\w* for yes: use Laplace, AGQ"
        ):
            mf.log_likelihood(model, population, method)


@pytest.mark.slow
def test_simulating_and_predicting_give_a_dict(two):
    population, model, key = with_answers(two), Mixed(**TWO), jax.random.key(3)
    drawn = mf.simulate(model, population, key)
    assert set(drawn.subjects.y) == {"pk", "yes"} and jnp.isin(drawn.subjects.y["yes"], jnp.array([0.0, 1.0])).all()
    many = mf.simulate(Two(**TWO), two[[0] * 4000], key)
    level = np.asarray(many.subjects.y["pd"])[:, 1]
    assert level.mean() == pytest.approx(2.0, abs=0.07) and level.var() == pytest.approx(0.49 + 0.5 + 0.175, rel=0.08)
    means = mf.predict(model, population, time=[0.0, 2.0])
    np.testing.assert_allclose(means["pk"][0], [0, 2], atol=1e-12)
    np.testing.assert_allclose(means["yes"][0], 1 / (1 + np.exp(-np.array([2, 2.6]))))
    np.testing.assert_allclose(mf.predict(Two(**TWO), two)["pk"], two.subjects.time)


@pytest.fixture(scope="module")
def fit_of_two(two):
    return mf.fit(Two(**TWO), two, mf.FOCE(), fixed=("omega",), progress=False)


@pytest.mark.slow
def test_diagnostics_look_at_one_outcome_of_a_fit(fit_of_two, two):
    key = jax.random.key(1)
    one = fit_of_two.outcome("pk")
    assert one.model.slope == fit_of_two.model.slope and "slope" in str(one)
    found = mf.residuals(one, key=key, samples=50)
    mask, y, line = two.subjects.mask["pk"], two.subjects.y["pk"], mf.predict(fit_of_two.model, two, fit_of_two.eta)
    assert len(found) == mask.sum() == 25
    np.testing.assert_allclose(found.IWRES, ((y - line["pk"]) / fit_of_two.model.sigma)[np.asarray(mask)])
    assert mf.vpc(one, key=key, samples=20, bins=2).points.DV.tolist() == y[np.asarray(mask)].tolist()
    for look in (mf.predictions, mf.residuals, lambda fit: mf.vpc(fit, key=key), lambda fit: mf.shrinkage(fit)):
        with pytest.raises(
            ValueError, match=r"several outcomes \(pd, pk\), and this looks at one: .*fit.outcome\('pd'\)"
        ):
            look(fit_of_two)
    with pytest.raises(ValueError, match="no outcome 'pp'; this population has pd, pk"):
        fit_of_two.outcome("pp")


def test_pictures_draw_one_outcome_or_say_so(fit_of_two, two):
    from mefit import plots

    for draw in (lambda: plots.population_curves(two), lambda: plots.individual_fits(fit_of_two)):
        with pytest.raises(ValueError, match="several outcomes .pd, pk., and this looks at one"):
            draw()
    assert plots.population_curves(two.outcome("pd")).get_ylabel() == "pd"
    panel = plots.individual_fits(fit_of_two.outcome("pk"), subjects=[0])[0]
    drawn = next(line for line in panel.lines if line.get_label() == "measured")
    np.testing.assert_allclose(drawn.get_ydata(), two[0].y["pk"][np.asarray(two[0].mask["pk"])])


def test_outcomes_of_other_names_are_a_sentence(two, line_model, linear_population):
    for model, population, words in (
        (Mixed(**TWO), two, "returns the outcomes pk, yes, and the data have pd, pk: use the same names"),
        (line_model, two, "returns the outcomes one without a name, and the data have pd, pk.*population.outcome"),
        (Two(**TWO), linear_population, "returns the outcomes pd, pk, and the data have one without a name"),
    ):
        for use in (lambda m, p: mf.log_likelihood(m, p, mf.Laplace()), mf.predict, lambda m, p: mf.fit(m, p, mf.FO())):
            with pytest.raises(ValueError, match=words):
                use(model, population)


# ---------------------------------------------------------------- censored responses


@pytest.mark.slow
def test_probability_of_an_interval_far_into_the_tails():
    low = jnp.array([-inf, -inf, 1.0, 30.0, -30.0, -1.0, 8.0, -9.0])
    high = jnp.array([0.5, -25.0, inf, inf, -29.0, 2.0, 9.0, 9.0])
    found = log_interval(dist.Normal(jnp.zeros(8), 1.0), low, high)
    exact = np.log(np.maximum(stats.norm.cdf(high) - stats.norm.cdf(low), 1e-300))
    exact[[1, 3, 4, 6]] = [
        stats.norm.logcdf(-25),
        stats.norm.logsf(30),
        stats.norm.logcdf(-29) + np.log1p(-np.exp(stats.norm.logcdf(-30) - stats.norm.logcdf(-29))),
        stats.norm.logsf(8) + np.log1p(-np.exp(stats.norm.logsf(9) - stats.norm.logsf(8))),
    ]
    np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-15)

    def total(loc, scale):
        return jnp.sum(log_interval(dist.Normal(loc * jnp.ones(8), scale), low, high))

    for argument in (0, 1):  # value, gradient and curvature stay finite, and the gradient is right
        first, second = jax.grad(total, argument), jax.jacfwd(jax.grad(total, argument), argument)
        step = 1e-5 * (np.arange(2) == argument)
        difference = (total(*(np.array([0.1, 1.2]) + step)) - total(*(np.array([0.1, 1.2]) - step))) / 2e-5
        assert first(0.1, 1.2) == pytest.approx(float(difference), rel=1e-6) and jnp.isfinite(second(0.1, 1.2))
    ends = jnp.array([0.0, 0.5, 2.0]), jnp.array([0.3, inf, 3.0])
    for made, oracle in (
        (dist.LogNormal(jnp.full(3, 0.2), 0.7), stats.lognorm(0.7, scale=np.exp(0.2))),
        (dist.Exponential(jnp.full(3, 1.5)), stats.expon(scale=1 / 1.5)),
    ):
        np.testing.assert_allclose(log_interval(made, *ends), np.log(oracle.cdf(ends[1]) - oracle.cdf(ends[0])))
    with pytest.raises(ValueError, match="cumulative distribution function, which BetaBinomial does not have"):
        log_interval(dist.BetaBinomial(1.0, 1.0, 3), *ends)


class Decay(mf.Model):
    """Exponential decay on a log scale with a random rate: y = log concentration."""

    start: Array = mf.real()
    rate: Array = mf.positive()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Normal(self.start - self.rate * jnp.exp(eta) * subject.time, self.sigma)


def decay(censor: str | None, limit: float = -1.0, subjects: int = 120) -> pd.DataFrame:
    """Data of a known truth, cut at a limit: kept as they are, marked as censored, or replaced by limit - log 2."""
    rng = np.random.default_rng(11)
    rows = []
    for who in range(subjects):
        rate = 0.5 * np.exp(0.4 * rng.normal())
        for t in (0.5, 1, 2, 4, 6, 8):
            rows.append((who, t, 1.0 - rate * t + 0.3 * rng.normal()))
    df = pd.DataFrame(rows, columns=["ID", "TIME", "DV"])
    below = df["DV"] < limit
    if censor == "marked":
        return df.assign(DV=df["DV"].where(~below, limit), CENS=below.astype(int))
    return df.assign(DV=df["DV"].where(~below, limit - np.log(2))) if censor == "half" else df


def test_one_censored_subject_against_the_closed_form():
    df = pd.DataFrame({"ID": 1, "TIME": [0.0, 1, 2, 3], "DV": [1.2, 0.4, 0.0, 2.0], "CENS": [0, 1, 1, -1]})
    population = mf.Population.from_frame(df.assign(LIMIT=[nan, nan, -1.0, nan]))
    model = Decay(start=1.0, rate=0.5, omega=0.4, sigma=0.3)
    f = 1.0 - 0.5 * np.arange(4)
    n = stats.norm(f, 0.3)
    exact = n.logpdf(1.2)[0] + n.logcdf(0.4)[1] + np.log(n.cdf(0.0) - n.cdf(-1.0))[2] + n.logsf(2.0)[3]
    assert mf.log_conditional(model, jnp.zeros(1), population[0]) == pytest.approx(exact, rel=1e-12)
    for method in (mf.FO(), mf.FOCE()):
        with pytest.raises(ValueError, match="a censored one is none: use Laplace or AGQ"):
            mf.log_likelihood(model, population, method)
    drawn = mf.simulate(model, population, jax.random.key(1))
    assert drawn.subjects.censored is None and mf.predict(model, population).shape == (1, 4)


@pytest.mark.slow
def test_the_likelihood_of_censored_data_is_not_biased_and_half_the_limit_is():
    fits = {}
    for censor in (None, "marked", "half"):
        population = mf.Population.from_frame(decay(censor))
        start = Decay(start=1.0, rate=0.5, omega=0.4, sigma=0.3)
        fits[censor] = mf.fit(start, population, mf.AGQ(7), progress=False)
        assert fits[censor].converged, fits[censor].message
    assert 0.2 < np.mean(decay("marked")["CENS"]) < 0.5
    truth = {"rate": 0.5, "omega": 0.4, "sigma": 0.3}
    for name, value in truth.items():
        full, marked, half = (float(getattr(fits[k].model, name)) for k in (None, "marked", "half"))
        assert marked == pytest.approx(value, rel=0.13) and marked == pytest.approx(full, rel=0.1)
        assert abs(half - full) > 2 * abs(marked - full), (name, full, marked, half)
    assert float(fits["half"].model.sigma) > 1.3 * 0.3
    cut = decay("marked").CENS.to_numpy() == 1  # such a response has no residual, and bounds what is simulated
    assert len(mf.residuals(fits["marked"])) == np.sum(~cut)
    check = mf.vpc(fits["marked"], key=jax.random.key(1), samples=50, bins=4)
    lowest = decay("marked").DV[cut].unique().item()
    assert check.simulated.low.min() == lowest == check.points.DV.min() and len(check.points) == len(cut)


# ---------------------------------------------------------------- events in time


class Recurrent(mf.Model):
    """Events at a constant rate, each subject with its own: gaps between events have hazard exp(b + eta)."""

    b: Array = mf.real()
    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        log_hazard = self.b + eta
        return mf.Event(log_hazard, jnp.exp(log_hazard) * subject.covariates["gap"])


class GammaFrailty(Recurrent):
    """With eta = -Gumbel the frailty exp(eta) is exponential: Clayton's model, whose integral is known."""

    def random_effects(self):
        return dist.Gumbel(0.0, 1.0)

    def observations(self, eta, subject):
        return super().observations(-eta, subject)


def watched(subjects: int, omega: float, until: float = 4.0) -> pd.DataFrame:
    """Each subject's events up to a day of its end, the last gap without one."""
    rng, rows = np.random.default_rng(2), []
    for who in range(subjects):
        now, rate = 0.0, np.exp(-0.3 + omega * rng.normal())
        while now < until:
            gap = min(rng.exponential(1 / rate), until - now)
            now += gap
            rows.append((who, now, float(now < until), gap))
    return pd.DataFrame(rows, columns=["ID", "TIME", "DV", "gap"])


@pytest.mark.slow
def test_events_against_the_closed_form_of_a_gamma_frailty():
    df = watched(30, 0.7)
    population = mf.Population.from_frame(df, covariates="gap")
    events, exposure = (df.groupby("ID")[c].sum().to_numpy() for c in ("DV", "gap"))
    b = -0.2
    exact = np.sum(b * events + gammaln(1 + events) - (1 + events) * np.log1p(np.exp(b) * exposure))
    found = mf.log_likelihood(GammaFrailty(b=b, omega=1.0), population, mf.AGQ(31))
    assert found == pytest.approx(exact, abs=1e-3)
    assert mf.log_likelihood(GammaFrailty(b=b, omega=1.0), population, mf.AGQ(15)) == pytest.approx(exact, abs=3e-2)


@pytest.mark.slow
def test_a_frailty_is_recovered_and_an_event_is_not_drawn():
    population = mf.Population.from_frame(watched(300, 0.7), covariates="gap")
    fit = mf.fit(Recurrent(b=0.0, omega=0.3), population, mf.AGQ(9), progress=False)
    assert fit.converged and float(fit.model.b) == pytest.approx(-0.3, abs=0.12)
    assert float(fit.model.omega) == pytest.approx(0.7, abs=0.12)
    chance = mf.predict(fit.model, population)
    np.testing.assert_allclose(
        chance, 1 - np.exp(-np.exp(float(fit.model.b)) * np.asarray(population.subjects.covariates["gap"]))
    )
    with pytest.raises(ValueError, match="cannot be simulated there; draw its time"):
        mf.simulate(fit.model, population, jax.random.key(1))
    with pytest.raises(ValueError, match="returns Event: use Laplace"):
        mf.log_likelihood(fit.model, population, mf.FOCE())
