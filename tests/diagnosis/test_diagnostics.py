"""Diagnostics: exact where a model is linear and Gaussian, against quadrature where it is not, and able to fail."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Line, Logistic, Means, replaced
from scipy.stats import kstest

import mefit as mf
from mefit.diagnosis import simulations as diagnostics


def at_truth(model, population, method=None):
    """A fit with every parameter held at its value: random effects and predictions at known theta."""
    return mf.fit(model, population, method or mf.FO(), fixed=tuple(mf.parameters(model)), progress=False)


def rows(count, subjects, **more):
    subject = mf.Subject(time=jnp.arange(float(count)), y=jnp.ones(count), mask=jnp.ones(count, bool), **more)
    return mf.Population.from_subjects([subject] * subjects)


@pytest.fixture(scope="module")
def line_fit():
    model = Line(beta=[250.0, 10.0], omega=[[600.0, 20.0], [20.0, 60.0]], sigma=15.0)
    return at_truth(model, mf.simulate(model, rows(5, 1000), jax.random.key(1)))


@pytest.fixture(scope="module")
def answers():
    model = Logistic(b0=0.7, omega=1.5)
    return at_truth(model, mf.simulate(model, rows(4, 400), jax.random.key(2)), mf.Laplace())


def test_predictions_are_those_of_predict_with_missing_rows_kept(linear_population, line_model):
    fit = at_truth(line_model, linear_population)
    frame, real = mf.predictions(fit), np.arange(8) < linear_population.rows[:, None]
    np.testing.assert_array_equal(frame.PRED, mf.predict(fit.model, linear_population)[real])
    np.testing.assert_array_equal(frame.IPRED, mf.predict(fit.model, linear_population, fit.eta)[real])
    assert list(frame) == ["ID", "TIME", "DV", "PRED", "IPRED"] and frame.DV.isna().sum() == 1
    assert len(mf.residuals(fit)) == len(frame) - 1 == linear_population.n_observations
    grid = mf.predictions(fit, [0.0, 2.5])
    assert grid.DV.isna().all() and list(grid.TIME[:2]) == [0.0, 2.5] and list(grid.ID) == sorted([1, 2, 3, 4, 5] * 2)
    np.testing.assert_allclose(grid.IPRED[1], np.array([1.0, 2.5]) @ np.asarray(line_model.beta + fit.eta[0]))


@pytest.mark.slow
def test_predictions_for_new_people_and_new_doses(fitted):
    fit = fitted(mf.Laplace())
    y, unseen = jnp.zeros(2), jnp.zeros(2, bool)
    new = [mf.Subject(jnp.array([1.0, 5.0]), y, unseen, doses=mf.Doses.of(amount)) for amount in (4.0, 8.0)]
    population = mf.Population.from_subjects(new, ids=["a", "b"])
    frame = mf.predictions(fit, population=population)
    np.testing.assert_allclose(frame.PRED[2:], 2 * frame.PRED[:2].to_numpy())
    np.testing.assert_allclose(frame.PRED, frame.IPRED, rtol=1e-12)  # without responses, everyone is typical
    own = mf.predictions(fit, [3.0], population=population, eta=fit.eta[:2])
    np.testing.assert_array_equal(own.IPRED, mf.predict(fit.model, population, fit.eta[:2], [3.0])[:, 0])


def test_residuals_are_exactly_standard_normal_on_a_linear_gaussian_model(line_fit):
    frame = mf.residuals(line_fit, key=jax.random.key(3))
    design = np.stack([np.ones(5), np.arange(5.0)], axis=1)
    marginal = design @ np.asarray(line_fit.model.omega) @ design.T + 15.0**2 * np.eye(5)
    y = np.asarray(line_fit.population.subjects.y)
    exact = np.linalg.solve(np.linalg.cholesky(marginal), (y - design @ [250.0, 10.0]).T).T
    np.testing.assert_allclose(frame.CWRES, exact.ravel(), atol=1e-10)
    np.testing.assert_allclose(frame.IWRES, (frame.DV - frame.IPRED) / 15.0, atol=1e-12)
    assert np.std(frame.NPDE - frame.CWRES) < 0.15  # what 1000 simulations leave open
    for column in ("CWRES", "NPDE"):
        z = frame[column].to_numpy().reshape(1000, 5)
        assert min(kstest(z.ravel(), "norm").pvalue, kstest(z[:, 4], "norm").pvalue) > 0.01, column
        np.testing.assert_allclose(np.corrcoef(z, rowvar=False), np.eye(5), atol=0.1)
    z = frame.NPD.to_numpy().reshape(1000, 5)
    assert kstest(z[:, 4], "norm").pvalue > 0.01 and np.corrcoef(z[:, 3], z[:, 4])[0, 1] > 0.7
    np.testing.assert_allclose(frame.EPRED, frame.PRED, atol=5 * 40 / np.sqrt(1000))


def test_each_wrong_model_is_caught(line_fit):
    for wrong in ({"beta": [260.0, 10.0]}, {"sigma": 22.0}, {"omega": [[200.0, 0.0], [0.0, 20.0]]}):
        values = {"beta": line_fit.model.beta, "omega": line_fit.model.omega, "sigma": 15.0} | wrong
        frame = mf.residuals(at_truth(Line(**values), line_fit.population), key=jax.random.key(3), samples=400)
        assert max(kstest(frame[column], "norm").pvalue for column in ("CWRES", "NPDE")) < 1e-6, wrong


@pytest.mark.slow
def test_npde_of_answers_that_are_yes_or_no(answers):
    frame = mf.residuals(answers, key=jax.random.key(4))
    for column in ("NPD", "NPDE"):
        z = frame[column].to_numpy().reshape(400, 4)
        assert kstest(z[:, 3], "norm").pvalue > 0.01 and kstest(z.ravel(), "norm").pvalue > 0.01
    p = frame.IPRED
    np.testing.assert_allclose(frame.IWRES, (frame.DV - p) / np.sqrt(p * (1 - p)), rtol=1e-10)
    wrong = at_truth(Logistic(b0=0.0, omega=1.5), answers.population, mf.Laplace())
    assert kstest(mf.residuals(wrong, key=jax.random.key(4)).NPD, "norm").pvalue < 1e-6


@pytest.mark.slow
def test_simulations_are_those_of_simulate_and_use_draws_of_theta(linear_population, line_model):
    fit, key = at_truth(line_model, linear_population), jax.random.key(5)
    many = diagnostics.simulations(fit, 60, key)
    for s in (0, 49, 50, 59):
        one = mf.simulate(line_model, linear_population, jax.random.split(key, 60)[s])
        np.testing.assert_allclose(many[s], one.subjects.y, rtol=1e-12)

    models = jax.tree.map(lambda *a: jnp.stack(a), line_model, replaced(line_model, beta=[2000.0, 0.0]))
    draws = mf.Draws(models=models, eta=np.zeros((2, 5, 2)), diverged=np.zeros(2, bool), frame=pd.DataFrame())
    bayesian = dataclasses.replace(fit, draws=draws)
    far = diagnostics.simulations(bayesian, 60, key, posterior=True)[:, 0, 0] > 1000
    assert far.sum() == 30 and not np.any(diagnostics.simulations(bayesian, 60, key)[:, 0, 0] > 1000)


@pytest.mark.slow
@pytest.mark.parametrize("count, b", [(1, 0.2), (1, 0.5), (2, 2 / 3), (5, 5 / 6), (5, 20 / 21)])
def test_shrinkage_is_that_of_the_closed_form(count, b):
    model = Means(mu=1.0, omega=1.0, sigma=np.sqrt(count * (1 - b) / b))
    fit = at_truth(model, mf.simulate(model, rows(count, 4000), jax.random.key(6)))
    table, exact = mf.shrinkage(fit), np.array([[1 - np.sqrt(b), 1 - b], [1 - np.sqrt(1 - b / count), b / count]])
    assert list(table.index) == ["eta1", "epsilon"]
    np.testing.assert_allclose(table[["sd_form", "variance_form"]], exact, atol=0.03)
    assert table.sd_form.iloc[0] == pytest.approx(fit.shrinkage[0])
    if b == 0.2:
        draws = mf.conditional_draws(fit, 4, chains=2, thin=10, key=jax.random.key(7))
        assert abs(1 - draws.std()) < 0.02 and table.sd_form.iloc[0] > 0.5


class Oral(mf.Model):
    """ka, CL, V log-normal, the log of the concentration measured with an SD of 0.2."""

    omega: Array = mf.diagonal_covariance(names=("ka", "cl", "v"))

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        ka, cl, v = jnp.array([1.2, 3.0, 30.0]) * jnp.exp(eta)
        return dist.Normal(jnp.log(mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v)), 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "times, expected",
    [
        ((0.5, 1, 2, 4, 8, 24), (0.213, 0.077, 0.183)),
        ((1, 4, 24), (0.361, 0.088, 0.265)),
        ((24,), (0.954, 0.134, 0.684)),
        ((4,), (0.949, 0.631, 0.470)),
    ],
)
def test_shrinkage_of_a_pharmacokinetic_design(times, expected):
    subject = mf.Subject(jnp.array(times), jnp.zeros(len(times)), jnp.ones(len(times), bool), doses=mf.Doses.of(100.0))
    model = Oral(omega=jnp.diag(jnp.array([0.4, 0.3, 0.2]) ** 2))
    population = mf.simulate(model, mf.Population.from_subjects([subject] * 16000), jax.random.key(8))
    fit = at_truth(model, population)
    # The expected are themselves from 4000 simulated subjects: an SD of 1 / sqrt(2 x 4000) = 0.011 each.
    np.testing.assert_allclose(mf.shrinkage(fit).sd_form[["ka", "cl", "v"]], expected, atol=0.03)
    if len(times) == 6:  # the total variance is that of the estimates and of what they leave open
        total = np.sqrt(fit.eta.var(0) + np.diagonal(fit.eta_covariance, axis1=1, axis2=2).mean(0))
        np.testing.assert_allclose(total, [0.4, 0.3, 0.2], rtol=0.03)


@pytest.mark.slow
def test_conditional_draws_are_those_of_the_exact_posterior(linear_population, line_model):
    fit = at_truth(line_model, linear_population)
    draws = mf.conditional_draws(fit, 4000, key=jax.random.key(9))
    assert draws.shape == (5, 4000, 2)
    sd = np.sqrt(np.diagonal(fit.eta_covariance, axis1=1, axis2=2))
    np.testing.assert_allclose((draws.mean(1) - fit.eta) / sd, 0.0, atol=0.08)
    for one, exact in zip(draws, fit.eta_covariance, strict=True):
        root = np.linalg.cholesky(exact)
        whitened = np.linalg.solve(root, np.linalg.solve(root, np.cov(one, rowvar=False)).T)
        np.testing.assert_allclose(whitened, np.eye(2), atol=0.12)


def test_conditional_draws_of_a_skewed_posterior(answers):
    """All four answers yes: the posterior leans to the right, and its mode is not its mean."""
    i = int(np.argmax(np.asarray(answers.population.subjects.y).sum(1) == 4))
    two = answers.population[[i, 0]]
    draws = mf.conditional_draws(answers, 4000, population=two, key=jax.random.key(10))[0, :, 0]
    eta = np.linspace(-8, 12, 4001)
    density = np.exp(-0.5 * (eta / 1.5) ** 2 - 4 * np.log1p(np.exp(-0.7 - eta)))
    density /= density.sum()
    mean = density @ eta
    variance = density @ (eta - mean) ** 2
    assert draws.mean() == pytest.approx(mean, abs=0.06) and mean - answers.eta[i, 0] > 0.1
    assert draws.var() == pytest.approx(variance, rel=0.08)
    assert np.mean(draws < 0) == pytest.approx(density[eta < 0].sum(), abs=0.02)


def test_the_table_of_random_effects(fitted):
    fit = fitted(mf.Laplace())
    frame = mf.random_effects_table(fit)
    assert list(frame) == ["ID", "ka", "ka_sd", "cl", "cl_sd", "v", "v_sd", "wt"] and len(frame) == 12
    np.testing.assert_array_equal(frame[["ka", "cl", "v"]], fit.eta)
    np.testing.assert_allclose(frame.v_sd**2, fit.eta_covariance[:, 2, 2])
    np.testing.assert_array_equal(frame.wt, fit.population.subjects.covariates["wt"])


def test_after_naive_pooling_everyone_is_typical(fitted):
    fit = fitted(mf.NaivePooled())
    frame = mf.residuals(fit)
    np.testing.assert_array_equal(frame.PRED, frame.IPRED)
    np.testing.assert_allclose(frame.CWRES, frame.IWRES)
    spread = diagnostics.simulations(fit, 400, jax.random.key(11)).std(0)
    np.testing.assert_allclose(spread, fit.model.sigma, rtol=0.2)


@pytest.mark.slow
def test_what_cannot_be_told_is_a_sentence(fitted, linear_population, line_model):
    pooled, fit = fitted(mf.NaivePooled()), fitted(mf.Laplace())
    for function in (mf.shrinkage, mf.random_effects_table):
        with pytest.raises(ValueError, match="Naive pooled had no random effects"):
            function(pooled)
    with pytest.raises(ValueError, match=r"Joint maximum likelihood has not estimated SD of omega\[ka\]"):
        mf.residuals(fitted(mf.JointMLE()))
    with pytest.raises(ValueError, match="give it a key"):
        mf.conditional_draws(fit, key=None)
    with pytest.raises(ValueError, match="of one or more"):
        mf.conditional_draws(fit, 0, key=jax.random.key(1))
    with pytest.raises(ValueError, match="1 simulated data sets do not make a distribution"):
        mf.residuals(fit, key=jax.random.key(1), samples=1)
    with pytest.raises(ValueError, match="subject .* have a singular covariance, so NPDE needs more"):
        mf.residuals(fit, key=jax.random.key(1), samples=8)
    none = {
        "model": Shaky(sigma=1.0),
        "fixed": ("sigma",),
        "eta": np.zeros((5, 0)),
        "eta_covariance": np.zeros((5, 0, 0)),
    }
    never = dataclasses.replace(at_truth(line_model, linear_population), **none)
    with pytest.raises(ValueError, match="subject 1 has observations without a positive, finite variance"):
        mf.residuals(never)
    frame = pd.DataFrame({"ID": [1, 2], "TIME": [0, 0], "DV": [250.0, 260], "slope": [1.0, 2]})
    population = mf.Population.from_frame(frame, covariates="slope")
    with pytest.raises(ValueError, match="slope names both a random effect and a covariate"):
        mf.random_effects_table(at_truth(line_model, population))


class Shaky(mf.Model):
    """An error proportional to the time, which is zero at first."""

    sigma: Array = mf.positive()

    def observations(self, eta, subject):
        return dist.Normal(subject.time, self.sigma * subject.time)


def test_two_stage_is_served_with_its_own_estimates(fitted):
    fit = fitted(mf.TwoStage())
    frame = mf.residuals(fit, key=jax.random.key(12), samples=200)
    np.testing.assert_allclose(frame.IWRES, (frame.DV - frame.IPRED) / fit.model.sigma)
    assert np.isfinite(frame.NPDE).all()
    assert abs(mf.shrinkage(fit).sd_form["ka"]) < 0.05


@pytest.fixture(scope="module")
def check(line_fit):
    return mf.vpc(line_fit, key=jax.random.key(13), samples=200, bins=10)


def test_a_vpc_covers_the_right_model_and_not_the_wrong_one(check, line_fit):
    assert check.inside >= 0.8 and len(check.observed) == len(check.simulated) == 5 * 3
    y = np.asarray(line_fit.population.subjects.y)
    np.testing.assert_allclose(check.observed.value[check.observed.statistic == "95%"], np.percentile(y, 95, axis=0))
    assert (check.observed["count"] == 1000).all() and list(check.observed.time[::3]) == [0, 1, 2, 3, 4]
    simulated = diagnostics.simulations(line_fit, 200, jax.random.key(13))
    low, median, high = np.percentile(np.percentile(simulated[..., 2], 50, axis=1), [5, 50, 95])
    row = check.simulated.query("bin == 2 and statistic == '50%'").iloc[0]
    np.testing.assert_allclose(row[["low", "median", "high"]].astype(float), [low, median, high])
    wrong = at_truth(Line(beta=[250.0, 10.0], omega=[[600.0, 0], [0, 10.0]], sigma=15.0), line_fit.population)
    assert mf.vpc(wrong, key=jax.random.key(13), samples=200).inside < 0.7


def test_a_vpc_prints_what_it_found_as_a_table(check):
    first, *rows = repr(check).splitlines()
    total = len(check.observed)
    assert first.startswith(
        f"VPC: {round(check.inside * total)} of {total} statistics of the data lie inside their bands"
    )
    assert len(rows) == total + 2  # and two lines of headings
    assert check._repr_html_().count("<tr") == total + 2
    np.testing.assert_array_equal(check.table.value, check.observed.value)
    np.testing.assert_array_equal(check.table.high, check.simulated.high)
    assert check.table.inside.mean() == check.inside


@pytest.mark.slow
def test_a_prediction_corrected_vpc_takes_the_doses_away(fitted):
    """Twice the dose and twice the response: corrected, the two groups are one."""
    fit = fitted(mf.Laplace())
    subjects = [
        mf.Subject(jnp.array([1.0, 4.0, 12.0]), jnp.ones(3), jnp.ones(3, bool), doses=mf.Doses.of(amount))
        for amount in [4.0] * 60 + [8.0] * 60
    ]
    population = mf.simulate(fit.model, mf.Population.from_subjects(subjects), jax.random.key(14))
    many = at_truth(fit.model, population)
    check = mf.vpc(many, key=jax.random.key(15), samples=100, bins=[0.0, 2.0, 6.0, 12.0], prediction_corrected=True)
    pred = np.asarray(mf.predict(fit.model, population))
    expected = np.asarray(population.subjects.y) * np.median(pred, axis=0) / pred
    np.testing.assert_allclose(check.points.DV, expected.ravel())
    plain = mf.vpc(many, key=jax.random.key(15), samples=100, bins=[0.0, 2.0, 6.0, 12.0])
    high, low = (
        [c.simulated.loc[c.simulated.statistic == name, "median"].to_numpy() for c in (check, plain)]
        for name in ("95%", "5%")
    )
    assert (high[0] - low[0] < 0.85 * (high[1] - low[1])).all()
    assert check.inside >= 0.7 and not check.remarks
    own = mf.vpc(fit, key=jax.random.key(15), samples=50, prediction_corrected=True)
    assert own.remarks == ("12 observations with PRED = 0 cannot be corrected and are left out.",)
    assert len(own.points) == 120


def test_bins_have_equal_counts_and_strata_are_categories_or_halves(fitted):
    fit = fitted(mf.Laplace())
    check = mf.vpc(fit, key=jax.random.key(16), samples=50, bins=6, stratify="wt")
    assert list(dict.fromkeys(check.observed.stratum)) == ["wt ≤ 70.5", "wt > 70.5"]
    count = check.points.groupby("bin").size()
    assert len(count) == 6 and count.between(18, 26).all() and len(check.edges) == 7
    subjects = fit.population.subjects
    sex = dataclasses.replace(subjects, covariates={"sex": jnp.arange(12) % 2})
    coded = dataclasses.replace(fit, population=dataclasses.replace(fit.population, subjects=sex))
    check = mf.vpc(coded, key=jax.random.key(16), samples=50, stratify="sex")
    odd = check.points[check.points.stratum == "sex = 1"]
    assert sorted(odd.ID.unique()) == [2, 4, 6, 8, 10, 12] and set(check.points.stratum) == {"sex = 0", "sex = 1"}


def test_a_vpc_of_yes_or_no_follows_their_share(answers):
    check = mf.vpc(answers, key=jax.random.key(17), samples=100)
    assert (check.observed.statistic == "mean").all() and check.inside >= 0.75
    np.testing.assert_allclose(check.observed.value, np.asarray(answers.population.subjects.y).mean(0))


def test_what_a_vpc_refuses(fitted, linear_population, line_model):
    fit, key = fitted(mf.Laplace()), jax.random.key(1)
    for arguments, words in (
        ({"stratify": "age"}, "'age' is not a covariate: choose from wt"),
        ({"bins": [0.0, 10.0]}, "hold all times, from 0 to 24.65"),
        ({"bins": 0}, "one bin or more"),
        ({"level": 90.0}, "a level between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=words):
            mf.vpc(fit, key=key, samples=10, **arguments)
    falling = at_truth(Line(beta=[5.0, -9.0], omega=line_model.omega, sigma=14.0), linear_population)
    with pytest.raises(ValueError, match="a prediction of subject 1 is negative"):
        mf.vpc(falling, key=key, samples=10, prediction_corrected=True)
