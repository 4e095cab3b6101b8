"""The likelihood of a mixture of experts, by any objective, against closed forms and quadrature by SciPy."""

import numpy as np
import pytest
from experts import DOWN, KEY, UP, by_class, line, mixture, sixty
from models import Logistic
from scipy.integrate import quad
from scipy.special import expit, logsumexp
from scipy.stats import norm

import mefit as mf
from mefit.model.space import Space
from mefit.objectives import evaluation


@pytest.mark.parametrize("objective", [mf.FO(), mf.FOCE(), mf.Laplace(), mf.AGQ(3)], ids=lambda one: one.label)
def test_of_straight_lines_it_is_exact(objective):
    population, _ = sixty()
    few = population[list(range(8))]
    model = mixture(few)
    exact = logsumexp(by_class(model, few), axis=1)
    found = mf.log_likelihood(model, few, objective, by_subject=True)
    np.testing.assert_allclose(found, exact, rtol=0.0, atol=1e-9)


def test_one_class_is_the_inner_objective():
    population, _ = sixty()
    few = population[list(range(8))]
    alone = mf.log_likelihood(line(UP), few, mf.Laplace())
    assert mf.log_likelihood(mf.MixtureOfExperts((line(UP),)), few, mf.Laplace()) == pytest.approx(alone, abs=1e-10)
    twins = mf.MixtureOfExperts((line(UP), line(UP)), gate=mf.ConstantGate([0.2, 0.8]))
    assert mf.log_likelihood(twins, few, mf.Laplace()) == pytest.approx(alone, abs=1e-10)


def test_the_gradient_is_that_of_the_closed_form():
    population, _ = sixty()
    few = population[list(range(8))]
    model = mixture(few)
    space = Space(model)
    x = space.vector()
    batches = evaluation.batches_of(mf.Laplace(), model, few, None)
    value, gradient, _, terms = evaluation.evaluate(mf.Laplace(), space, x, batches)

    def exact(x):
        return np.sum(logsumexp(by_class(space.model_at(x), few), axis=1))

    assert float(value) == pytest.approx(exact(x), abs=1e-9)
    step = 1e-5
    differences = [(exact(x + step * e) - exact(x - step * e)) / (2 * step) for e in np.eye(x.size)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6)
    each = by_class(model, few)
    expected = np.exp(each - logsumexp(each, axis=1, keepdims=True))
    np.testing.assert_allclose(terms.details["responsibilities"], expected, rtol=1e-8, atol=1e-12)


def exact_of_answers(b0: float, omega: float, y: np.ndarray) -> float:
    """log of the integral over eta of prod_j Bernoulli(y_j; b0 + eta) N(eta; 0, omega^2)."""

    def integrand(eta):
        p = expit(b0 + eta)
        return np.prod(np.where(y == 1, p, 1.0 - p)) * norm.pdf(eta, scale=omega)

    return float(np.log(quad(integrand, -12 * omega, 12 * omega, epsabs=1e-14, epsrel=1e-12, limit=200)[0]))


def test_of_yes_or_no_quadrature_is_right_and_laplace_is_not():
    answers = np.array([[0, 0, 0, 0, 1], [1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]])
    subjects = [mf.Subject(time=np.arange(5.0), y=1.0 * y, mask=np.ones(5, bool)) for y in answers]
    population = mf.Population.from_subjects(subjects)
    experts = (Logistic(b0=-1.0, omega=1.5), Logistic(b0=2.0, omega=0.8))
    model = mf.MixtureOfExperts(experts, gate=mf.ConstantGate([0.6, 0.4]))
    each = [[exact_of_answers(float(e.b0), float(e.omega), y) for e in experts] for y in answers]
    exact = logsumexp(np.log([0.6, 0.4]) + np.array(each), axis=1)
    found = mf.log_likelihood(model, population, mf.AGQ(25), by_subject=True)
    np.testing.assert_allclose(found, exact, atol=1e-6)
    rough = mf.log_likelihood(model, population, mf.Laplace(), by_subject=True)
    assert np.max(np.abs(rough - exact)) > 0.005
    np.testing.assert_allclose(rough, exact, atol=0.2)
    drawn = mf.log_likelihood(model, population, mf.ImportanceSampling(4000), key=KEY, by_subject=True)
    np.testing.assert_allclose(drawn, exact, atol=0.05)


def test_units_change_nothing_but_the_constant():
    """Responses in a thousandth of the unit, times in another one and the covariate shifted and stretched."""
    population, _ = sixty()
    few = population[list(range(12))]
    other = mf.Population.from_subjects(
        [
            mf.Subject(
                time=np.asarray(s.time) * 24.0,
                y=np.asarray(s.y) * 1e3,
                mask=np.asarray(s.mask),
                covariates={"w": 40.0 + 7.0 * float(s.covariates["w"])},
            )
            for s in few
        ]
    )
    scale = np.diag([1e3, 1e3 / 24.0])

    def changed(beta):
        return line(scale @ beta, omega=scale @ np.diag([0.5, 0.25]) @ scale, sigma=500.0)

    gate = mf.LinearGate(other, ["w"], [[0.2, 1.5]])
    there = mf.MixtureOfExperts((changed(UP), changed(DOWN)), gate=gate)
    cells = int(np.sum(few.subjects.mask))
    here = mf.log_likelihood(mixture(few), few, mf.Laplace())
    assert mf.log_likelihood(there, other, mf.Laplace()) == pytest.approx(here - cells * np.log(1e3), abs=1e-7)


def test_a_response_that_no_class_explains_counts_where_the_gate_is_sure():
    """Far out, log-likelihoods of -1e5 and shares of 1e-20: nothing under- or overflows."""
    population, _ = sixty()
    few = population[[0, 1]].with_responses(np.full((2, 6), 300.0))
    model = mixture(few, log_odds=((0.0, 46.0),))
    exact = logsumexp(by_class_far(model, few), axis=1)
    np.testing.assert_allclose(mf.log_likelihood(model, few, mf.Laplace(), by_subject=True), exact, rtol=1e-12)


def by_class_far(model, population):
    """`by_class` with shares that are not rounded to 0 or 1."""
    each = by_class(mixture(population, log_odds=((0.0, 0.0),)), population) - np.log(0.5)
    w = np.asarray(population.subjects.covariates["w"])
    z = (w - model.gate.inputs.centre[0]) / model.gate.inputs.spread[0]
    logit = 46.0 * z
    return each + np.stack([-np.logaddexp(0.0, logit), -np.logaddexp(0.0, -logit)], axis=1)


def exact_of_counts(x: np.ndarray, counts: np.ndarray, rows: int) -> float:
    """The log-likelihood of counts of yes in two classes, by 101 nodes of Gauss and Hermite; binomial constants out."""
    node, weight = np.polynomial.hermite_e.hermegauss(101)
    share = expit(x[4])
    each = []
    for b0, log_omega in (x[:2], x[2:4]):
        p = expit(b0 + np.exp(log_omega) * node)
        likelihood = p ** counts[:, None] * (1.0 - p) ** (rows - counts[:, None])
        each.append(likelihood @ (weight / weight.sum()))
    return float(np.sum(np.log((1.0 - share) * each[0] + share * each[1])))


def test_experts_of_yes_or_no_by_em_with_quadrature_end_at_the_exact_maximum():
    """Where Laplace ends somewhat lower: the slopes of the exact likelihood by differences."""
    rng = np.random.default_rng(8)
    rows = 6
    second = rng.random(150) < 0.4
    chance = expit(np.where(second, 2.0, -2.0) + 0.8 * rng.normal(size=150))
    counts = rng.binomial(rows, chance)
    subjects = []
    for count in counts:
        answers = (np.arange(rows) < count).astype(float)
        subjects.append(mf.Subject(time=np.arange(float(rows)), y=answers, mask=np.ones(rows, bool)))
    population = mf.Population.from_subjects(subjects)
    start = mf.MixtureOfExperts((Logistic(b0=-1.5, omega=0.7), Logistic(b0=1.5, omega=0.7)))

    def ended(objective):
        model = mf.fit(start, population, mf.EM(objective), progress=False).model
        share = np.log(float(model.share[1]) / float(model.share[0]))
        first, other = model.experts
        return np.array([first.b0, np.log(first.omega), other.b0, np.log(other.omega), share], float)

    x = ended(mf.AGQ(15))
    step = 1e-4

    def slopes(x):
        return [
            (exact_of_counts(x + step * e, counts, rows) - exact_of_counts(x - step * e, counts, rows)) / (2.0 * step)
            for e in np.eye(5)
        ]

    np.testing.assert_allclose(slopes(x), 0.0, atol=0.02)
    rough = ended(mf.Laplace())
    assert exact_of_counts(rough, counts, rows) < exact_of_counts(x, counts, rows) - 1e-3
