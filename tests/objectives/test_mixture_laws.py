"""Laws of mixtures of experts: units, order and padding change nothing, gradients are right, a network finds a gate."""

import dataclasses

import numpy as np
import pytest
from experts import DOWN, KEY, SPREAD, UP, by_class, line, lines, mixture, sixty
from models import Logistic
from scipy.special import expit, logsumexp

import mefit as mf
from mefit.model.space import Space
from mefit.objectives import evaluation, side_by_side

METHODS = {
    "Laplace": mf.Laplace(),
    "EM": mf.EM(polish=False),
    "EM from three starts": mf.EM(starts=3),
    "FO": mf.FO(),
    "FOCE": mf.FOCE(),
    "AGQ": mf.AGQ(2),
}
LATER = ("FO", "FOCE", "AGQ")


def methods():
    for name in METHODS:
        yield pytest.param(name, marks=pytest.mark.slow if name in LATER else ())


def in_units(population, y, time, w):
    """The population in other units."""
    s = population.subjects
    covariates = {name: value * w for name, value in s.covariates.items()}
    other = dataclasses.replace(s, time=s.time * time, y=s.y * y, covariates=covariates)
    return dataclasses.replace(population, subjects=other)


@pytest.mark.slow
@pytest.mark.parametrize("name", methods())
def test_in_other_units_it_is_the_same_fit_and_the_same_classes(name):
    population, _ = sixty()
    method = METHODS[name]
    fit = mf.fit(mixture(population), population, method, key=KEY, progress=False)
    assert fit.converged
    for y, time, w in ((1e6, 1e-4, 1e5), (1e-5, 1e4, 1e-6)):
        there = in_units(population, y, time, w)
        scale = np.array([y, y / time])
        experts = [line(scale * b, np.outer(scale, scale) * SPREAD, 0.5 * y) for b in (UP, DOWN)]
        gate = mf.LinearGate(there, ["w"], ((0.2, 1.5),))
        other = mf.fit(mf.MixtureOfExperts(experts, gate=gate), there, method, key=KEY, progress=False)
        assert other.ending is fit.ending and other.status == fit.status
        assert abs(other.history[-1].iteration - fit.history[-1].iteration) <= 2
        constant = population.n_observations * np.log(y)
        assert other.log_likelihood + constant == pytest.approx(fit.log_likelihood, abs=1e-5)
        np.testing.assert_allclose(other.responsibilities, fit.responsibilities, atol=1e-4)
        for k in (1, 2):
            mine = getattr(fit.model, f"beta_{k}") * scale
            np.testing.assert_allclose(getattr(other.model, f"beta_{k}"), mine, rtol=2e-3)
            mine = getattr(fit.model, f"sigma_{k}") * y
            np.testing.assert_allclose(getattr(other.model, f"sigma_{k}"), mine, rtol=1e-3)
        np.testing.assert_allclose(other.model.log_odds, fit.model.log_odds, atol=2e-3)


@pytest.mark.slow
def test_the_order_of_people_and_their_padding_change_nothing():
    population, _ = sixty()
    model = mixture(population)
    expected = mf.log_likelihood(model, population, mf.Laplace(), by_subject=True)
    order = np.random.default_rng(3).permutation(60)
    turned = population[order.tolist()]
    np.testing.assert_allclose(
        mf.log_likelihood(model, turned, mf.Laplace(), by_subject=True), expected[order], atol=1e-10
    )
    long = mf.Subject(time=np.linspace(0.0, 2.0, 15), y=np.ones(15), mask=np.ones(15, bool), covariates={"w": 0.3})
    padded = mf.Population.from_subjects([*population, long])
    found = mf.log_likelihood(model, padded, mf.Laplace(), by_subject=True)
    np.testing.assert_allclose(found[:60], expected, atol=1e-10)
    fit = mf.fit(model, population, mf.EM(), progress=False)
    again = mf.fit(model, turned, mf.EM(), progress=False)
    assert again.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(again.responsibilities, fit.responsibilities[order], atol=1e-4)


def test_a_relabelled_start_ends_at_the_relabelled_fit():
    population, _ = sixty()
    model = mixture(population)
    fit = mf.fit(model, population, mf.EM(), progress=False)
    other = mf.fit(model.reordered([1, 0]), population, mf.EM(), progress=False)
    assert other.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(other.model.beta_1, fit.model.beta_2, atol=1e-3)
    np.testing.assert_allclose(other.model.log_odds, -fit.model.log_odds, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [mf.Laplace(), mf.AGQ(5)], ids=lambda one: one.label)
def test_gradients_through_the_modes_of_experts_that_are_not_gaussian(objective):
    """Answers yes or no: the gradient in all coordinates by central differences of the value."""
    rng = np.random.default_rng(5)
    subjects = []
    for _ in range(8):
        answers = (rng.random(4) < expit(rng.normal() * 1.5)).astype(float)
        w = {"w": float(rng.normal())}
        subjects.append(mf.Subject(time=np.arange(4.0), y=answers, mask=np.ones(4, bool), covariates=w))
    population = mf.Population.from_subjects(subjects)
    gate = mf.LinearGate(population, ["w"], ((0.3, -0.8),))
    space = Space(mf.MixtureOfExperts((Logistic(b0=-1.0, omega=1.5), Logistic(b0=1.5, omega=0.8)), gate=gate))
    batches = evaluation.batches_of(objective, space.template, population, None)
    x = space.vector()
    gradient = evaluation.evaluate(objective, space, x, batches)[1]
    step = 1e-4

    def value(x):
        return float(evaluation.evaluate(objective, space, x, batches)[0])

    differences = [(value(x + step * e) - value(x - step * e)) / (2.0 * step) for e in np.eye(x.size)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_points_side_by_side_have_value_slopes_and_cross_products_of_the_closed_form():
    """Against differences of log pi_k + log N_k by SciPy, at three points of two data sets."""
    population, _ = sixty()
    sets = [population[list(range(5))], population[list(range(5, 10))]]
    space = Space(mixture(sets[0]))
    rng = np.random.default_rng(1)
    x = space.vector() + 0.1 * rng.normal(size=(3, space.size))
    which = np.array([0, 1, 1])
    pool = side_by_side.pool_of(mf.Laplace(), space.template, sets, None)
    seen = side_by_side.look(mf.Laplace(), space, pool, x, which, room=5)
    held = rng.dirichlet([1.0, 1.0], size=(3, 5))
    kept = side_by_side.look(mf.Laplace(), space, pool, x, which, held, room=5)
    step = 1e-5
    for r in range(3):

        def each(x, people=sets[which[r]]):
            return by_class(space.model_at(x), people)

        here = each(x[r])
        slopes = np.stack(
            [(each(x[r] + step * e) - each(x[r] - step * e)) / (2 * step) for e in np.eye(space.size)], -1
        )
        own = np.exp(here - logsumexp(here, axis=1, keepdims=True))
        assert seen.value[r] == pytest.approx(logsumexp(here, axis=1).sum(), abs=1e-9)
        assert kept.value[r] == pytest.approx(np.sum(held[r] * here), abs=1e-9)
        np.testing.assert_allclose(seen.responsibilities[r], own, atol=1e-9)
        for found, weights in ((seen, own), (kept, held[r])):
            scores = np.einsum("nc,ncp->np", weights, slopes)
            np.testing.assert_allclose(found.gradient[r], scores.sum(axis=0), rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found.crossed[r], scores.T @ scores, rtol=1e-4, atol=1e-4)
            complete = np.einsum("nc,ncp,ncq->pq", weights, slopes, slopes)
            np.testing.assert_allclose(found.complete[r], complete, rtol=1e-4, atol=1e-4)


def bent(count: int, seed: int) -> mf.Population:
    """People on two lines, on the second with P = expit(3 (w^2 - 1)): by a gate that no line can be."""
    population, _ = lines(count, seed)
    rng = np.random.default_rng(seed + 1)
    w = np.asarray(population.subjects.covariates["w"])
    second = rng.random(count) < expit(3.0 * (w**2 - 1.0))
    time = np.asarray(population.subjects.time)
    beta = np.where(second[:, None], DOWN, UP) + rng.normal(size=(count, 2)) * np.sqrt(np.diag(SPREAD))
    y = beta[:, :1] + beta[:, 1:] * time + 0.5 * rng.normal(size=time.shape)
    return population.with_responses(y)


@pytest.mark.slow
def test_a_network_finds_a_gate_that_bends():
    """A gate that a straight one cannot follow: the network is likelier by far, its weights held by their prior."""
    population = bent(300, 31)
    experts = (line(UP), line(DOWN))
    straight = mf.fit(
        mf.MixtureOfExperts(experts, gate=mf.LinearGate(population, ["w"])), population, mf.EM(), progress=False
    )
    gate = mf.NetworkGate(population, ["w"], hidden=(4,), prior=mf.networks.L2(0.05))
    fit = mf.fit(mf.MixtureOfExperts(experts, gate=gate), population, mf.EM(), progress=False)
    assert fit.converged and fit.log_likelihood > straight.log_likelihood + 30.0
    # the shares that it says are those of the simulation, where people are: low in the middle, high on both sides
    w = np.linspace(-1.8, 1.8, 19)
    grid = population[list(range(19))]
    moved = dataclasses.replace(grid.subjects, covariates={"w": w})
    told = mf.responsibilities(fit.model, dataclasses.replace(grid, subjects=moved).until(-1.0))[2].to_numpy()
    true = expit(3.0 * (w**2 - 1.0))
    assert np.sqrt(np.mean((told - true) ** 2)) < 0.1
    # both kinds are as likely at -1 and 1, a place that 300 people tell within 0.1 or 0.15 (one standard error)
    assert np.interp(0.5, told[9::-1], w[9::-1]) == pytest.approx(-1.0, abs=0.35)
    assert np.interp(0.5, told[9:], w[9:]) == pytest.approx(1.0, abs=0.35)
    assert told[9] < 0.15 and min(told[0], told[-1]) > 0.85
