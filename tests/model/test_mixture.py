"""A mixture of experts is a model like any other: its parameters, its gate, and what is drawn from it."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from experts import DOWN, KEY, UP, by_class, line, lines, log_marginal, mixture, sixty
from jaxtyping import Array
from models import Logistic, Means
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import mefit as mf
from mefit.model.parameters import parameters
from mefit.model.space import Space


class Skewed(mf.Model):
    """Random effects that are not Gaussian."""

    rate: Array = mf.positive()

    def random_effects(self):
        return dist.Gamma(2.0, self.rate)

    def observations(self, eta, subject):
        return dist.Normal(jnp.broadcast_to(eta, subject.time.shape), 1.0)


def test_parameters_bear_the_number_of_their_expert_and_shared_ones_stand_once():
    population, _ = sixty()
    model = mf.MixtureOfExperts(
        (line(UP), line(DOWN)), gate=mf.LinearGate(population, ["w"]), shared=("sigma", "omega")
    )
    assert list(parameters(model)) == ["beta_1", "omega", "sigma", "beta_2", "log_odds"]
    space = Space(model)
    assert space.size == 2 + 3 + 1 + 2 + 2
    assert space.labels[:4] == ["beta_1[intercept]", "beta_1[slope]", "beta_2[intercept]", "beta_2[slope]"]
    assert "log_odds[2: w]" in space.labels
    moved = space.model_at(space.vector() + 0.3)
    first, second = moved.experts
    np.testing.assert_allclose(moved.sigma, 0.5 * np.exp(0.3), rtol=1e-12)
    np.testing.assert_array_equal(first.sigma, second.sigma)
    np.testing.assert_array_equal(first.omega, second.omega)
    np.testing.assert_allclose(second.beta, DOWN + 0.3, rtol=1e-12)
    np.testing.assert_allclose(Space(moved).vector(), space.vector() + 0.3, atol=1e-12)
    with pytest.raises(AttributeError, match="no attribute 'beta_3'"):
        _ = model.beta_3


def test_a_typical_prediction_is_the_mean_over_the_classes_in_any_order():
    population, _ = sixty()
    coefficients = np.array([UP, DOWN, [0.0, 5.0]])
    gate = mf.LinearGate(population, ["w"], [[0.3, -1.0], [-0.4, 0.7]])
    model = mf.MixtureOfExperts(tuple(line(beta) for beta in coefficients), gate=gate)
    shares = np.exp([np.asarray(gate.log_shares(subject)) for subject in population])
    time = np.asarray(population.subjects.time)
    right = (shares @ coefficients)[:, :1] + (shares @ coefficients)[:, 1:] * time
    for same in (model, model.reordered([2, 0, 1])):
        np.testing.assert_allclose(mf.predict(same, population), right, rtol=1e-9)
        np.testing.assert_allclose(mf.predict(same, population, time=[1.0])[:, 0], shares @ coefficients.sum(axis=1))


def test_a_class_in_another_place_is_the_same_mixture():
    population, _ = sixty()
    three = mf.MixtureOfExperts(
        (line(UP), line(DOWN), line([0.0, 5.0])),
        gate=mf.LinearGate(population, ["w"], [[0.3, -1.0], [-0.4, 0.7]]),
    )
    turned = three.reordered([2, 0, 1])
    np.testing.assert_array_equal(turned.experts[0].beta, [0.0, 5.0])
    for model in (three, turned):
        value = mf.log_likelihood(model, population, mf.Laplace())
        np.testing.assert_allclose(value, mf.log_likelihood(three, population, mf.Laplace()), rtol=1e-12)
    before = mf.responsibilities(three, population)
    after = mf.responsibilities(turned, population)
    np.testing.assert_allclose(after[[1, 2, 3]].to_numpy(), before[[3, 1, 2]].to_numpy(), atol=1e-10)


def test_what_is_drawn_has_the_shares_and_the_moments_of_the_mixture():
    """Shares 0.3 and 0.7: mean and variance of y at time 0 by the law of total variance."""
    population, _ = lines(2000, seed=1)
    model = mf.MixtureOfExperts((line(UP), line(DOWN)), gate=mf.ConstantGate([0.3, 0.7]))
    y = np.asarray(mf.simulate(model, population, KEY).subjects.y)
    within = 0.5 + 0.25
    mean = 0.3 * 1.0 + 0.7 * -1.0
    variance = within + 0.3 * 0.7 * 4.0
    assert abs(y[:, 0].mean() - mean) < 4.0 * np.sqrt(variance / 2000)
    assert abs(y[:, 0].var() / variance - 1.0) < 0.1
    # the sum of slopes: a person keeps its class over all rows
    slope = (y[:, -1] - y[:, 0]).mean()
    assert abs(slope - (0.3 * 2.0 - 0.7 * 1.0)) < 4.0 * np.sqrt((0.25 + 0.5 + 0.21 * 9.0) / 2000)


def test_the_class_follows_the_gate():
    population, _ = lines(3000, seed=2)
    model = mixture(population, up=[20.0, 0.0], down=[-20.0, 0.0], log_odds=((0.5, 2.0),))
    second = np.asarray(mf.simulate(model, population, KEY).subjects.y)[:, 0] < 0.0
    w = np.asarray(population.subjects.covariates["w"])
    z = (w - w.mean()) / w.std()
    expected = 1.0 / (1.0 + np.exp(-(0.5 + 2.0 * z)))
    for low, high in ((-3.0, -0.7), (-0.7, 0.0), (0.0, 0.7), (0.7, 3.0)):
        some = (z > low) & (z < high)
        error = 4.0 * np.sqrt(np.mean(expected[some] * (1 - expected[some])) / some.sum())
        assert abs(second[some].mean() - expected[some].mean()) < error


def test_its_random_effects_tell_the_same_likelihood():
    """p(y) = E[p(y | u, eta_1, eta_2)] over the random effects of the whole model: the mixture's likelihood."""
    population, _ = sixty()
    model = mixture(population)
    few = population[[0, 1, 2]]
    draws = mf.sample_random_effects(model, 50_000, KEY)

    def average(subject):
        return jax.scipy.special.logsumexp(jax.vmap(lambda eta: mf.log_conditional(model, eta, subject))(draws))

    found = jax.lax.map(average, few.subjects) - np.log(len(draws))
    exact = logsumexp(by_class(model, few), axis=1)
    np.testing.assert_allclose(found, exact, atol=0.25)


@pytest.mark.slow
def test_a_covariate_that_is_missing_has_a_share_of_its_own():
    """Of one yes-or-no covariate the gate is saturated: its shares are those among people with 0, 1 and unknown."""
    rng = np.random.default_rng(3)
    genotype = rng.choice([0.0, 1.0, -1.0], size=300, p=[0.4, 0.4, 0.2])
    chance = np.select([genotype == 0, genotype == 1], [0.1, 0.8], 0.45)
    second = rng.random(300) < chance
    y = np.where(second, 50.0, -50.0)[:, None] + rng.normal(size=(300, 2))
    rows = {"ID": np.repeat(np.arange(300), 2), "TIME": np.tile([0.0, 1.0], 300), "DV": y.ravel()}
    frame = pd.DataFrame(rows | {"G": np.repeat(genotype, 2)})
    population = mf.Population.from_frame(frame, covariates={"genotype": "G"})
    gate = mf.LinearGate(population, ["genotype"], missing={"genotype": -1})
    assert gate.features == ("constant", "genotype", "genotype missing")
    experts = [Means(mu=mu, omega=0.5, sigma=1.0) for mu in (-50.0, 50.0)]
    fit = mf.fit(mf.MixtureOfExperts(experts, gate=gate), population, mf.Laplace(), progress=False)
    told = mf.responsibilities(fit.model, population.until(-1.0))[2].to_numpy()
    for code in (0.0, 1.0, -1.0):
        np.testing.assert_allclose(told[genotype == code], second[genotype == code].mean(), atol=1e-5)


def test_a_network_as_a_gate_is_a_softmax_of_its_outputs():
    population, _ = sixty()
    few = population[[0, 1, 2, 3]]
    gate = mf.NetworkGate(few, ["w"], hidden=(3,))
    model = mf.MixtureOfExperts((line(UP), line(DOWN), line([0.0, 5.0])), gate=gate)
    assert "gate_network" in parameters(model) and len(model.gate_network.shift) == 3
    w = np.asarray(few.subjects.covariates["w"])
    z = (w - w.mean()) / w.std()
    first, last = model.gate_network.weights
    inner, outer = model.gate_network.biases
    outputs = np.tanh(z[:, None] * np.asarray(first).T + np.asarray(inner)) @ np.asarray(last).T + np.asarray(outer)
    expected = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    shares = mf.responsibilities(model, few.until(-1.0))[[1, 2, 3]].to_numpy()
    np.testing.assert_allclose(shares, expected, atol=1e-12)
    turned = mf.responsibilities(model.reordered([1, 2, 0]), few.until(-1.0))[[1, 2, 3]].to_numpy()
    np.testing.assert_allclose(turned, expected[:, [1, 2, 0]], atol=1e-12)
    assert float(mf.log_prior(model)) == pytest.approx(float(gate.prior.log_density(model.gate_network)))


def test_a_gate_says_what_it_cannot_do():
    population, _ = sixty()
    with pytest.raises(ValueError, match="'age'.*the population has w"):
        mf.LinearGate(population, ["age"])
    with pytest.raises(ValueError, match="no subject lacks 'w'"):
        mf.LinearGate(population, ["w"], missing={"w": -1})
    with pytest.raises(ValueError, match=r"by name which number stands for one that is not known, such as {'w': -9}"):
        mf.LinearGate(population, ["w"], missing=-9)
    with pytest.raises(ValueError, match="2 columns|columns, and the gate 2"):
        mf.LinearGate(population, ["w"], [[0.0, 1.0, 2.0]])
    with pytest.raises(ValueError, match="3 shares for 2 experts"):
        mf.MixtureOfExperts((line(UP), line(DOWN)), gate=mf.ConstantGate([0.2, 0.3, 0.5]))
    other = mf.Population.from_subjects([mf.Subject(time=[0.0], y=[1.0], mask=[True])])
    with pytest.raises(ValueError, match="asks for the covariate 'w'"):
        mf.log_likelihood(mixture(population), other, mf.Laplace())


def test_a_mixture_says_what_cannot_stand_in_it():
    with pytest.raises(ValueError, match="one or more experts"):
        mf.MixtureOfExperts(())
    with pytest.raises(ValueError, match="Skewed are not Gaussian"):
        mf.MixtureOfExperts((Skewed(rate=1.0), Skewed(rate=2.0)))
    with pytest.raises(ValueError, match="fewer than two"):
        mf.MixtureOfExperts((line(UP), line(DOWN)), shared=("gamma",))
    with pytest.raises(ValueError, match="different values"):
        mf.MixtureOfExperts((line(UP), line(DOWN, sigma=0.7)), shared=("sigma",))
    with pytest.raises(ValueError, match="mixture itself"):
        mf.MixtureOfExperts((mf.MixtureOfExperts((line(UP), line(DOWN))), line(UP)))


@pytest.mark.parametrize("method", [mf.JointMAP(), mf.TwoStage(), mf.NaivePooled(), mf.NUTS(), mf.Adam()])
def test_a_method_without_classes_refuses(method):
    population, _ = sixty()
    with pytest.raises(ValueError, match="cannot fit a mixture of experts: use EM"):
        mf.fit(mixture(population), population, method, key=KEY)


@pytest.mark.slow
def test_experts_of_two_kinds_have_a_likelihood_but_no_common_draw():
    population, _ = sixty()
    few = population[[0, 1]]
    model = mf.MixtureOfExperts((line(UP), Means(mu=0.0, omega=1.0, sigma=1.0)))
    exact = []
    for s in few:
        flat = line([0.0, 0.0], omega=np.diag([1.0, 1e-30]), sigma=1.0)
        both = [log_marginal(line(UP), np.asarray(s.y)), log_marginal(flat, np.asarray(s.y))]
        exact.append(np.log(0.5) + logsumexp(both))
    np.testing.assert_allclose(mf.log_likelihood(model, few, mf.Laplace(), by_subject=True), exact, atol=1e-9)
    simulated = mf.simulate(model, few, KEY)
    assert simulated.subjects.y.shape == (2, 6)
    odd = mf.MixtureOfExperts((line(UP), Logistic(b0=0.0, omega=1.0)))
    with pytest.raises(ValueError, match="different kinds"):
        mf.simulate(odd, few, KEY)


def test_a_mixture_of_one_is_its_expert():
    expert = Means(mu=0.4, omega=0.7, sigma=0.6)
    population = mf.Population.from_frame(
        pd.DataFrame({"ID": [0, 0, 1, 1, 2], "TIME": [0.0, 1.0, 0.0, 1.0, 0.0], "DV": [1.0, 2.0, 3.0, 1.0, 2.0]})
    )
    exact = 0.0
    for y in ([1.0, 2.0], [3.0, 1.0], [2.0]):
        covariance = 0.49 + 0.36 * np.eye(len(y))
        exact += multivariate_normal.logpdf(y, np.full(len(y), 0.4), covariance)
    for gate in (mf.ConstantGate(1), mf.ConstantGate((1.0,)), None):
        alone = mf.MixtureOfExperts((expert,), gate=gate)
        assert mf.log_likelihood(alone, population, mf.Laplace()) == pytest.approx(exact, abs=1e-8)
        assert mf.simulate(alone, population, KEY).n_observations == 5
    with pytest.raises(ValueError, match="takes the share of each class, such as"):
        mf.ConstantGate(3)
