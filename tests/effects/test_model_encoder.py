"""The encoder of a known model: exact where the model is linear, and taught by simulated people where it is not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy.stats import multivariate_normal

import mefit as mf

KEY = jax.random.key(4)


class Dosed(mf.Model):
    """y = (1 + eta_1) (doses so far) + eta_2 x t + e: linear in eta, whatever doses and covariate are."""

    omega: Array = mf.covariance()
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.array([0.5, 0.0]), self.omega)

    def observations(self, eta, subject):
        given = jnp.sum(jnp.where(subject.doses.time <= subject.time[:, None], subject.doses.amount, 0.0), axis=1)
        return dist.Normal((1 + eta[0]) * given + eta[1] * subject.covariates["x"] * subject.time, self.sigma)


OMEGA = np.array([[0.5, 0.1], [0.1, 0.3]])
LINEAR = Dosed(omega=jnp.asarray(OMEGA), sigma=jnp.asarray(0.7))
FRAME = pd.DataFrame(
    {
        "ID": [1] * 4 + [2] * 5,
        "TIME": [0.0, 1.0, 2.0, 4.0, 0.0, 1.0, 2.0, 2.0, 3.0],
        "AMT": [2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0, 0.0, 0.0],
        "DV": [np.nan, 3.0, np.nan, 4.0, np.nan, 1.0, np.nan, 6.0, 7.5],
        "x": [1.5] * 4 + [0.5] * 5,
    }
)


@pytest.mark.parametrize("looks", [1, 2])
def test_it_is_exact_before_any_training_where_the_model_is_linear(looks):
    people = mf.Population.from_frame(FRAME, covariates=["x"])
    encoder = mf.ModelEncoder(LINEAR, looks=looks)
    given = {1: [2.0, 2.0], 2: [1.0, 4.0, 4.0]}
    for i, person in enumerate((1, 2)):
        own = FRAME[(FRAME.ID == person) & (FRAME.AMT == 0) & FRAME.DV.notna()]
        design = np.column_stack([given[person], own.x * own.TIME])
        covariance = np.linalg.inv(np.linalg.inv(OMEGA) + design.T @ design / 0.49)
        residual = own.DV.to_numpy() - given[person]
        mean = covariance @ (np.linalg.inv(OMEGA) @ [0.5, 0.0] + design.T @ residual / 0.49)
        padded = jax.tree.map(lambda leaf, i=i: leaf[i], people.subjects)
        for subject in (people[i], padded):
            q = encoder(subject)
            np.testing.assert_allclose(q.mean, mean, rtol=1e-5)
            np.testing.assert_allclose(q.lower @ q.lower.T, covariance, rtol=1e-9)
            assert np.all(np.triu(q.lower, 1) == 0.0)


class Oral(mf.Model):
    """One compartment by mouth with three random effects, in whatever units."""

    typical: Array = mf.positive(names=("ka", "cl", "v"))
    omega: Array = mf.diagonal_covariance(names=("ka", "cl", "v"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        ka, cl, v = self.typical * jnp.exp(eta)
        curve = mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v)
        return dist.LogNormal(jnp.log(curve), self.sigma)


def oral(hours=1.0, mg=1.0, litres=1.0):
    """The model where the unit of time is so many hours, and so on."""
    units = np.array([hours, hours / litres, 1 / litres])
    omega = jnp.diag(jnp.array([0.4, 0.3, 0.2]) ** 2)
    return Oral(typical=jnp.array([1.2, 3.0, 30.0]) * units, omega=omega, sigma=jnp.asarray(0.2))


def designs(hours=1.0, mg=1.0, count=30):
    rng = np.random.default_rng(3)
    subjects = []
    for _ in range(count):
        time = np.sort(rng.uniform(0.5, 26.0, rng.integers(1, 5))) / hours
        doses = mf.regimen(rng.choice([50.0, 200.0]) / mg)
        subjects.append(mf.Subject(time, np.ones(time.size), np.ones(time.size, bool), {}, doses))
    return mf.Population.from_subjects(subjects)


def simulated(model, population, count=200):
    """New people and their random effects."""
    people = population[np.arange(count) % len(population)]
    people = dataclasses.replace(people, ids=tuple(range(count)))
    eta = mf.sample_random_effects(model, count, jax.random.key(8))
    return mf.simulate(model, people, jax.random.key(9), eta), np.asarray(eta)


def score(encoder, people, eta):
    """Mean log q(eta | y) of the true eta, by SciPy."""
    q = jax.jit(jax.vmap(encoder))(people.subjects)
    laws = zip(np.asarray(q.mean), np.asarray(q.lower), eta, strict=True)
    return np.mean([multivariate_normal(mean, lower @ lower.T).logpdf(true) for mean, lower, true in laws])


SMALL = {"people": 1500, "steps": 300}


@pytest.fixture(scope="module")
def taught():
    return mf.taught_encoder(oral(), designs(), **SMALL, looks=1, key=KEY)


@pytest.mark.slow
def test_what_it_learned_holds_for_new_people(taught):
    people, eta = simulated(oral(), designs())
    before = score(mf.ModelEncoder(oral(), looks=1), people, eta)
    assert score(taught, people, eta) > before + 0.2
    prior = multivariate_normal(np.zeros(3), np.diag([0.16, 0.09, 0.04])).logpdf(eta).mean()
    assert score(taught, people, eta) > prior + 1.0


@pytest.mark.slow
def test_nobody_sampled_is_answered_by_the_prior(taught):
    nobody = dataclasses.replace(designs(count=2), subjects=designs(count=2).until(0.0).subjects)
    q = taught(jax.tree.map(lambda leaf: leaf[0], nobody.subjects))
    np.testing.assert_allclose(q.mean, 0.0, atol=0.06)
    np.testing.assert_allclose(np.sqrt(np.sum(q.lower**2, axis=1)), [0.4, 0.3, 0.2], rtol=0.15)


@pytest.mark.slow
def test_weights_make_up_for_what_it_lacks(taught):
    people, _ = simulated(oral(), designs(), 12)
    by_search = mf.individual(oral(), people, draws=4000, proposed=8000, key=KEY)
    by_encoder = mf.individual(oral(), people, draws=4000, proposed=8000, proposal=taught, key=KEY)
    trusted = by_encoder.pareto_k < 0.7
    assert trusted.mean() > 0.7
    away = (by_encoder.mean - by_search.mean)[trusted] / by_search.sd[trusted]
    np.testing.assert_allclose(away, 0.0, atol=0.12)


@pytest.mark.slow
def test_units_do_not_matter(taught):
    options = {"hours": 1 / 60, "mg": 1e-3}
    other = mf.taught_encoder(oral(**options), designs(**options), **SMALL, looks=1, key=KEY)
    people, _ = simulated(oral(), designs(), 5)
    same, _ = simulated(oral(**options), designs(**options), 5)
    scaled = same.with_responses(np.asarray(people.subjects.y) * 1e3)
    for i in range(5):
        np.testing.assert_allclose(other(scaled[i]).mean, taught(people[i]).mean, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_censored_responses_are_read():
    frame = pd.DataFrame(
        {"ID": 1, "TIME": [0.0, 2.0, 30.0], "AMT": [100.0, 0, 0], "DV": [np.nan, 2.5, 0.6], "CENS": [0, 0, 1]}
    )
    people = mf.Population.from_frame(frame)
    alone = mf.ModelEncoder(oral())
    by_search = mf.individual(oral(), people, draws=4000, proposed=8000, key=KEY)
    by_encoder = mf.individual(oral(), people, draws=4000, proposed=8000, proposal=alone, key=KEY)
    np.testing.assert_allclose(by_encoder.mean, by_search.mean, atol=0.1 * by_search.sd.max())
    seen = mf.individual(oral(), mf.Population.from_frame(frame.drop(columns="CENS")), draws=1000, key=KEY)
    assert by_encoder.mean[0, 1] > seen.mean[0, 1] + 0.02  # below .6 tells of more clearance than .6 does
    assert by_encoder.pareto_k[0] < 0.7


class Grades(mf.Model):
    """Yes or no: no Gaussian anywhere but in eta."""

    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.Bernoulli(logits=jnp.broadcast_to(eta, subject.time.shape))


@pytest.mark.slow
def test_other_responses_by_their_own_curvature():
    frame = pd.DataFrame({"ID": [1] * 5, "TIME": np.arange(5.0), "DV": [1.0, 1.0, 1.0, 0.0, 1.0]})
    q = mf.ModelEncoder(Grades(omega=jnp.asarray(1.5)), looks=6)(mf.Population.from_frame(frame)[0])
    eta = np.linspace(-8, 8, 100_001)
    log_p = 4 * eta - 5 * np.log1p(np.exp(eta)) - 0.5 * eta**2 / 2.25
    top = eta[np.argmax(log_p)]
    chance = 1 / (1 + np.exp(-top))
    assert float(q.mean[0]) == pytest.approx(top, abs=1e-3)
    assert float(q.lower[0, 0]) == pytest.approx((5 * chance * (1 - chance) + 1 / 2.25) ** -0.5, rel=1e-3)


def test_what_it_cannot_be_made_for():
    class Uneven(Grades):
        def random_effects(self):
            return dist.Laplace(0.0, self.omega)

    with pytest.raises(ValueError, match="needs Gaussian random effects, but Uneven.random_effects returns Laplace"):
        mf.ModelEncoder(Uneven(omega=jnp.asarray(1.0)))
    with pytest.raises(ValueError, match="looks=0"):
        mf.ModelEncoder(LINEAR, looks=0)
    with pytest.raises(ValueError, match="give it population="):
        mf.taught_encoder(LINEAR, key=KEY)
    with pytest.raises(ValueError, match="asks for the covariate 'x'"):
        mf.taught_encoder(LINEAR, designs(), key=KEY)
    with pytest.raises(ValueError, match="steps and batch of 1 or more"):
        mf.taught_encoder(oral(), designs(), steps=0, key=KEY)
