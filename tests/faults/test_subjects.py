"""One subject that is wrong, or few, or many: it is named, and the others are fitted as if it were not there."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from models import Means

import mefit as mf
from mefit.methods import maximise


class Rooted(mf.Model):
    """Of a covariate x the root is taken, which is no number where x is negative."""

    mu: Array = mf.real(prior=dist.Normal(0.0, 100.0))
    omega: Array = mf.positive(prior=dist.HalfNormal(10.0))
    sigma: Array = mf.positive(prior=dist.HalfNormal(10.0))

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        mean = self.mu + eta + jnp.sqrt(subject.covariates["x"])
        return dist.Normal(jnp.broadcast_to(mean, subject.time.shape), self.sigma)


MODEL = Rooted(mu=4.0, omega=1.0, sigma=1.0)
METHODS = {
    "NaivePooled": mf.NaivePooled(),
    "TwoStage": mf.TwoStage(),
    "JointMAP": mf.JointMAP(),
    "FO": mf.FO(),
    "FOCE": mf.FOCE(),
    "Laplace": mf.Laplace(),
    "AGQ": mf.AGQ(3),
    "Variational": mf.Variational(nodes=3),
    "ImportanceSampling": mf.ImportanceSampling(),
    "Adam": mf.Adam(mf.FO(), steps=40, block=20),
    "SAEM": mf.SAEM(chains=2, exploration=40, smoothing=40, block=20, likelihood_by=mf.Laplace()),
    "NUTS": mf.NUTS(chains=2, warmup=20, samples=40, block=20),
}


def rooted(subjects=6, rows=3, bad=()):
    rng = np.random.default_rng(3)
    ids = np.repeat(np.arange(subjects) + 1, rows)
    y = 5.0 + rng.normal(size=subjects)[ids - 1] + 0.5 * rng.normal(size=ids.size)
    x = np.where(np.isin(ids, bad), -1.0, 1.0)
    frame = pd.DataFrame({"ID": ids, "TIME": np.tile(np.arange(rows), subjects), "DV": y, "x": x})
    return mf.Population.from_frame(frame, covariates=["x"])


@pytest.mark.parametrize("name", METHODS)
def test_a_density_that_is_no_number_for_one_subject_is_refused_by_name(name):
    with pytest.raises(ValueError, match="subject 4 is not finite") as said:
        mf.fit(MODEL, rooted(bad=(4,)), METHODS[name], key=jax.random.key(0), progress=False)
    assert "\n" not in str(said.value)


def test_after_a_fit_the_others_keep_their_numbers(key):
    """Tables have NaN in its rows alone; what is over all people refuses, with its name."""
    fit = mf.fit(MODEL, rooted(), mf.FO(), progress=False)
    people = rooted(bad=(4,))
    mine = people.to_frame().ID.to_numpy() == 4
    for frame in (mf.predictions(fit, population=people), mf.residuals(fit, population=people)):
        np.testing.assert_array_equal(np.isnan(frame.PRED), mine)
    good = mf.predictions(fit, population=rooted())
    np.testing.assert_array_equal(mf.predictions(fit, population=people)[~mine], good[~mine])
    with pytest.raises(ValueError, match="new response of subject 4 in its row 1 is not a number"):
        mf.simulate(MODEL, people, key)
    with pytest.raises(ValueError, match="what is simulated for subject 4 is not a number"):
        mf.vpc(fit, population=people, samples=20, bins=2, key=key)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time": [0.0, np.nan, 2.0]}, "Subject b has a time that is no finite number"),
        ({"covariates": {"x": np.nan}}, "Subject b has a covariate x that is no finite number"),
        ({"covariates": {"x": [1.0, np.inf, 1.0]}}, "Subject b has a covariate x that is no finite number"),
        ({"y": [1.0, np.inf, 2.0]}, "Subject b has a response that is infinite"),
        ({"doses": mf.Doses.of([np.nan], [0.0])}, "Subject b has a dose amount that is no finite number"),
        ({"doses": mf.Doses.of([1.0], [np.inf])}, "Subject b has a dose time that is no finite number"),
    ],
    ids=lambda x: "" if isinstance(x, str) else "-".join(x),
)
def test_data_that_are_no_number_stay_outside(change, words):
    subject = rooted()[0]
    arrays = {
        k: v if k == "doses" else jax.tree.map(jnp.asarray, v, is_leaf=lambda x: isinstance(x, list))
        for k, v in change.items()
    }
    wrong = dataclasses.replace(subject, **arrays)
    with pytest.raises(ValueError, match=words):
        mf.Population.from_subjects([subject, wrong], ids=["a", "b"])


def test_a_response_that_is_no_number_is_a_missing_one():
    subject = rooted()[0]
    holed = dataclasses.replace(subject, y=subject.y.at[1].set(jnp.nan))
    people = mf.Population.from_subjects([subject, holed])
    assert people.n_observations == 5 and people.subjects.mask.tolist() == [[True] * 3, [True, False, True]]


# ---------------------------------------------------------------- an equation that blows up


class Growth(mf.Model):
    """y' = k y^2 from the dose: y = D / (1 - k D t), which is infinite at 1 / (k D)."""

    k: Array = mf.positive()
    omega: Array = mf.positive()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        k = self.k * jnp.exp(eta)
        return dist.Normal(mf.dynamics.solve(lambda t, y: [k * y[0] ** 2], [0.0], subject)[:, 0], self.sigma)


class Closed(Growth):
    def observations(self, eta, subject):
        k = self.k * jnp.exp(eta)
        dose = subject.doses.amount[0]
        left = 1.0 - k * dose * subject.time
        return dist.Normal(jnp.where(left > 0.0, dose / jnp.where(left > 0.0, left, 1.0), jnp.nan), self.sigma)


def growing(largest, key):
    """Five people with doses up to the largest, on days 1 to 4, with k = 0.1 and no difference between them."""
    times = jnp.arange(1.0, 5.0)
    zero = jnp.zeros(4)
    people = [
        mf.Subject(times, zero, jnp.ones(4, bool), doses=mf.regimen(amount)) for amount in (0.5, 1.0, 1.2, 1.5, largest)
    ]
    truth = Closed(k=0.1, omega=0.05, sigma=0.05)
    population = mf.Population.from_subjects(people)
    return mf.simulate(truth, population, key, eta=0.05 * np.random.default_rng(1).normal(size=(5, 1)))


def test_an_equation_that_blows_up_for_one_subject_names_it(key):
    """At the start k D t = 0.3 x 2 x 4 for the last of them, and below 1.8 for the others' 1.5: both are told apart."""
    people = growing(2.0, key)
    with pytest.raises(ValueError, match="subject 5, at k = 0.15") as said:
        mf.fit(Growth(k=0.15, omega=0.05, sigma=0.1), people, mf.FO(), progress=False)
    assert "\n" not in str(said.value)


def test_an_equation_that_blows_up_on_the_way_turns_the_search_back(key, monkeypatch):
    """From k = 0.005 the search steps beyond 1 / (D t); the end is that of the closed form."""
    people = growing(2.0, key)
    own = maximise.mean_loss
    beyond = []

    def watched(*given):
        loss = own(*given)

        def seen(x):
            value, gradient = loss(x)
            beyond.append(not np.isfinite(value))
            return value, gradient

        return seen

    monkeypatch.setattr(maximise, "mean_loss", watched)
    found = [mf.fit(kind(k=0.005, omega=0.05, sigma=0.1), people, mf.FO(), progress=False) for kind in (Growth, Closed)]
    assert any(beyond) and found[0].converged and found[1].converged
    assert found[0].minus_two_log_likelihood == pytest.approx(found[1].minus_two_log_likelihood, abs=1e-4)
    assert float(found[0].model.k) == pytest.approx(0.1, rel=0.1)


# ---------------------------------------------------------------- few and many


def test_two_stages_of_one_subject_are_refused():
    with pytest.raises(ValueError, match="two stages need two subjects or more"):
        mf.fit(MODEL, rooted(1, 12), mf.TwoStage(), progress=False)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "TwoStage"])
def test_one_subject(name):
    """The variance between people is not to be had from one; nothing breaks, and nothing claims to be an estimate."""
    fit = mf.fit(MODEL, rooted(1, 12), METHODS[name], key=jax.random.key(0), progress=False)
    assert fit.eta.shape == (1, 1) and np.isfinite(float(fit.model.mu)) and "nan" not in str(fit).lower()
    assert float(fit.model.mu) == pytest.approx(float(np.mean(fit.population.subjects.y)) - 1.0, abs=2.5)


@pytest.mark.parametrize("name", METHODS)
def test_one_row_each(name):
    """Two variances share one: their sum is known, and no method stops without a word."""
    people = rooted(30, 1)
    fit = mf.fit(MODEL, people, METHODS[name], key=jax.random.key(0), progress=False)
    y = np.asarray(people.subjects.y)[:, 0]
    assert float(fit.model.mu) == pytest.approx(y.mean() - 1.0, abs=0.6)
    assert fit.converged or fit.message
    if name in ("FO", "FOCE", "Laplace", "AGQ"):
        total = float(fit.model.omega**2 + fit.model.sigma**2)
        assert total == pytest.approx(y.var(), rel=0.02) and "nan" not in str(fit).lower()


@pytest.mark.slow
def test_a_hundred_thousand_subjects():
    """The maximum of a balanced design is known: its mean, and its variances between and within."""
    rng = np.random.default_rng(11)
    count, rows = 100_000, 3
    y = 5.0 + rng.normal(size=(count, 1)) + 0.5 * rng.normal(size=(count, rows))
    ids = np.repeat(np.arange(count), rows)
    frame = pd.DataFrame({"ID": ids, "TIME": np.tile(np.arange(rows), count), "DV": y.ravel()})
    people = mf.Population.from_frame(frame)
    fit = mf.fit(Means(mu=3.0, omega=2.0, sigma=1.0), people, mf.FO(), progress=False)
    within = y.var(1, ddof=1).mean()
    between = y.mean(1).var() - within / rows
    assert fit.converged and fit.eta.shape == (count, 1)
    assert float(fit.model.mu) == pytest.approx(y.mean(), rel=1e-6)
    assert float(fit.model.sigma) ** 2 == pytest.approx(within, rel=1e-5)
    assert float(fit.model.omega) ** 2 == pytest.approx(between, rel=1e-5)
    assert len(str(fit)) < 2000 and fit.table.se["mu"] == pytest.approx(np.sqrt(y.mean(1).var() / count), rel=1e-3)
