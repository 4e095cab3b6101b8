"""A new person in a mixture of experts: classes, random effects and predictions, before and after measurements."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from experts import DOWN, KEY, TIMES, UP, by_class, line, mixture, shares, sixty
from models import Line, Logistic
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import norm

import mefit as mf


@pytest.fixture(scope="module")
def few():
    population, _ = sixty()
    return population[[0, 1, 2, 3]]


@pytest.fixture(scope="module")
def model(few):
    return mixture(few)


def test_responsibilities_are_the_gate_s_and_then_bayes_s(few, model):
    unseen = mf.responsibilities(model, few.until(-1.0))
    np.testing.assert_allclose(unseen[[1, 2]].to_numpy(), shares(model, few), atol=1e-12)
    each = by_class(model, few)
    expected = np.exp(each - logsumexp(each, axis=1, keepdims=True))
    seen = mf.responsibilities(model, few)
    np.testing.assert_allclose(seen[[1, 2]].to_numpy(), expected, atol=1e-10)
    np.testing.assert_allclose(seen.entropy, -np.sum(expected * np.log(expected), axis=1), atol=1e-8)
    assert seen.index.tolist() == list(few.ids)


def test_responsibilities_refuse_what_has_no_classes(few, model):
    with pytest.raises(ValueError, match="Line is none"):
        mf.responsibilities(line(UP), few)
    with pytest.raises(ValueError, match="has seen nobody"):
        mf.responsibilities(model)


def test_draws_have_the_class_and_the_posterior_of_each_class(few, model):
    """Given two rows: E[y at the last time] = sum_k r_k (x'beta_k + z'E[eta_k | y]), by the Gaussian closed form."""
    early = few.until(0.3)
    people = mf.individual(model, early, draws=4000, key=KEY)
    r = mf.responsibilities(model, early)[[1, 2]].to_numpy()
    np.testing.assert_allclose(people.responsibilities, r, atol=1e-12)
    seen = TIMES <= 0.3
    z = np.stack([np.ones(TIMES.size), TIMES], axis=1)
    omega = np.diag([0.5, 0.25])
    gain = omega @ z[seen].T @ np.linalg.inv(z[seen] @ omega @ z[seen].T + 0.25 * np.eye(seen.sum()))
    y = np.asarray(few.subjects.y)[:, seen]
    curves = [[z[-1] @ (beta + gain @ (one - z[seen] @ beta)) for beta in (UP, DOWN)] for one in y]
    spread = omega - gain @ z[seen] @ omega
    mean = np.sum(r * curves, axis=1)
    within = z[-1] @ spread @ z[-1]
    between = np.sum(r * (np.array(curves) - mean[:, None]) ** 2, axis=1)
    drawn = people.curves()[:, :, -1]
    np.testing.assert_allclose(drawn.mean(axis=1), mean, atol=5.0 * np.sqrt((within + between.max()) / 4000))
    np.testing.assert_allclose(drawn.var(axis=1), within + between, rtol=0.15)
    assert people.eta.shape == (4, 4000, 5) and people[1].responsibilities.shape == (1, 2)


def exact_set(density, probability, low, high, cut_between, level):
    """The highest-density set by root finding: the cut with this probability, then where the density crosses it."""
    grid = np.linspace(low, high, 4001)

    def crossings(cut):
        above = density(grid) >= cut
        turns = np.flatnonzero(np.diff(above.astype(int)))
        return [brentq(lambda y: density(y) - cut, grid[k], grid[k + 1]) for k in turns]

    def excess(cut):
        ends = crossings(cut)
        return sum(probability(b) - probability(a) for a, b in zip(ends[::2], ends[1::2], strict=True)) - level

    return crossings(brentq(excess, *cut_between))


def two_normals():
    """0.6 N(0, 1) + 0.4 N(6, 0.5^2), as five components of equal weight."""
    loc = np.array([0.0, 0.0, 0.0, 6.0, 6.0])[None, :, None]
    scale = np.array([1.0, 1.0, 1.0, 0.5, 0.5])[None, :, None]
    return mf.Predictive(ids=("A",), time=np.zeros((1, 1)), loc=loc, scale=scale)


def test_a_set_of_two_peaks_is_two_intervals():
    told = two_normals()

    def density(y):
        return 0.6 * norm.pdf(y) + 0.4 * norm.pdf(y, 6.0, 0.5)

    def probability(y):
        return 0.6 * norm.cdf(y) + 0.4 * norm.cdf(y, 6.0, 0.5)

    ends = exact_set(density, probability, -8.0, 12.0, (1e-4, 0.15), 0.95)
    assert len(ends) == 4
    table = told.highest_density(0.95)
    np.testing.assert_allclose(table[["low", "high"]].to_numpy().ravel(), ends, atol=0.005)
    assert table.part.tolist() == [1, 2] and table.ID.tolist() == ["A", "A"]
    y = np.array([[1.3]])
    assert told.density(y)[0, 0] == pytest.approx(density(1.3), rel=1e-12)
    assert told.probability_below(y)[0, 0] == pytest.approx(probability(1.3), abs=1e-12)
    for share in (0.05, 0.5, 0.7):
        assert probability(told.quantile(share)[0, 0]) == pytest.approx(share, abs=1e-9)
    assert told.mean[0, 0] == pytest.approx(2.4)
    # the smallest set that holds a response at its end has that level
    for level in (0.5, 0.8, 0.95):
        end = told.highest_density(level).high.iloc[0]
        assert told.level_of(np.array([[end]]))[0, 0] == pytest.approx(level, abs=1e-3)
    assert told.level_of(np.array([[60.0]]))[0, 0] == 1.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        told.highest_density(95)


class LogLine(Line):
    """Log-normal responses about a line."""

    def observations(self, eta, subject):
        normal = super().observations(eta, subject)
        return dist.LogNormal(normal.loc, normal.scale)


def test_a_set_of_log_normal_responses_is_the_smallest_in_their_own_unit(few):
    """A person without data, at time 0: log y ~ N(1, 0.5 + 0.25); the smallest interval is not the central one."""
    fits = LogLine(beta=UP, omega=np.diag([0.5, 0.25]), sigma=0.5)
    positive = few.with_responses(np.exp(np.asarray(few.subjects.y))).until(-1.0)
    people = mf.individual(fits, positive[[0]], draws=4000, key=KEY)
    told = mf.predictive(people, time=[0.0], components=4000)
    sd = np.sqrt(0.75)

    def density(y):
        return norm.pdf(np.log(y), 1.0, sd) / y

    ends = exact_set(density, lambda y: norm.cdf(np.log(y), 1.0, sd), 1e-3, 60.0, (1e-4, 0.2), 0.9)
    table = told.highest_density(0.9)
    np.testing.assert_allclose(table[["low", "high"]].to_numpy()[0], ends, rtol=0.05, atol=0.02)
    assert told.mean[0, 0] == pytest.approx(np.exp(1.0 + 0.375), rel=0.03)
    assert told.density(np.array([[-1.0]]))[0, 0] == 0.0
    assert told.quantile(0.5)[0, 0] == pytest.approx(np.e, rel=0.05)


def test_a_person_without_data_has_the_mixture_of_the_gate(few, model):
    people = mf.individual(model, few.until(-1.0), draws=4000, key=KEY)
    told = mf.predictive(people, time=[0.0, 1.0], components=4000)
    variance = np.array([0.5, 0.75]) + 0.25
    y = np.array([0.3, -1.5])
    means = np.array([[1.0, 3.0], [-1.0, -2.0]])
    r = shares(model, few)
    expected = r @ norm.pdf(y, means, np.sqrt(variance))
    np.testing.assert_allclose(told.density(np.tile(y, (4, 1))), expected, rtol=0.06)
    np.testing.assert_allclose(told.mean, r @ means, atol=0.12)


@pytest.mark.slow
def test_a_rare_class_counts_by_its_probability_and_not_by_the_draws_that_fall_into_it(few):
    """Two people in a hundred lie 20 away: what lies there has a probability of 0.02 exactly, and the density of a
    normal with the variance of the line and of its error, as well known as that of the many."""
    kinds = (line([0.0, 0.0]), line([20.0, 0.0]))
    rare = mf.MixtureOfExperts(kinds, gate=mf.ConstantGate([0.98, 0.02]))
    people = mf.individual(rare, few.until(-1.0)[[0, 1]], draws=2000, key=KEY)
    told = mf.predictive(people, time=[0.0, 1.0], components=2000)
    middle = np.full((2, 2), 10.0)
    np.testing.assert_allclose(told.probability_below(middle), 0.98, atol=1e-12)
    np.testing.assert_allclose(told.mean, 0.4, atol=0.15)
    sd = np.sqrt(np.array([0.5, 0.75]) + 0.25)
    for away in (-1.0, 0.0, 1.0):
        expected = 0.02 * norm.pdf(away * sd, 0.0, sd)
        np.testing.assert_allclose(told.density(np.tile(20.0 + away * sd, (2, 1))), [expected] * 2, rtol=0.12)
    np.testing.assert_allclose(told.quantile(0.99), 20.0, atol=0.25)
    # what holds 99% reaches the rare, what holds 90% does not
    assert (told.highest_density(0.99).groupby(["ID", "TIME"]).high.max() > 19.0).all()
    assert told.highest_density(0.9).high.max() < 5.0


def test_where_theta_was_drawn_each_density_has_its_own(few):
    """Of four draws three belong to a second line, 10 higher: three quarters of the density are there, exactly."""
    low, high = line([0.0, 0.0]), line([10.0, 0.0])
    both = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), low, high)
    nothing = np.zeros(1)
    eta = np.zeros((1, 4, 2))
    theta = np.array([[0, 1, 1, 1]])
    people = mf.Individuals(low, few[[0]], eta, nothing, nothing, models=both, theta=theta)
    told = mf.predictive(people, time=[0.0])
    assert told.mean[0, 0] == pytest.approx(7.5)
    assert told.density(np.array([[10.3]]))[0, 0] == pytest.approx(0.75 * norm.pdf(0.3, 0.0, 0.5), rel=1e-9)


def test_predictive_refuses_what_it_does_not_know(few):
    answers = few.with_responses(np.ones((4, 6)))
    people = mf.individual(Logistic(b0=0.0, omega=1.0), answers, draws=50, proposed=200, key=KEY)
    with pytest.raises(ValueError, match="normal, log-normal or logit-normal"):
        mf.predictive(people)


@pytest.mark.slow
def test_how_many_classes_by_bic_and_by_people_held_out():
    population, _ = sixty()
    fitted = population[list(range(40))]
    held = population[list(range(40, 60))]
    one = mf.fit(line([0.0, 0.5]), fitted, mf.Laplace(), progress=False)
    two = mf.fit(mixture(fitted), fitted, mf.Laplace(), progress=False)
    table = mf.how_many_classes({1: one, 2: two}, held)
    assert table.classes.tolist() == [1, 2] and table.parameters.tolist() == [6, 14]
    expected = -2 * two.log_likelihood + 14 * np.log(40)
    assert table.BIC[2] == pytest.approx(expected) and table["delta BIC"].min() == 0.0
    exact = logsumexp(by_class(two.model, held), axis=1)
    assert table["held-out"][2] == pytest.approx(exact.mean(), abs=1e-9)
    assert table["held-out SE"][2] == pytest.approx(exact.std(ddof=1) / np.sqrt(20), abs=1e-9)
    assert table["held-out"][2] > table["held-out"][1] and table["smallest share"][2] < 0.6
    with pytest.raises(ValueError, match="different responses"):
        mf.how_many_classes({1: one, 2: mf.fit(line([0.0, 0.5]), held, mf.Laplace(), progress=False)})
