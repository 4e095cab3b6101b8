"""Counts and categories: against quadrature by hand, in every method, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from jaxtyping import Array
from scipy import optimize, special, stats

import mefit as mf


class Choice(mf.Model):
    """One of three answers; a random effect favours the second, and twice as much the third."""

    b: Array = mf.real()
    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        log_odds = self.b + 0.5 * subject.time + eta
        return dist.Categorical(logits=jnp.stack([0.0 * log_odds, log_odds, 2.0 * log_odds], axis=-1))


class Grade(mf.Model):
    """One of four grades, by a proportional-odds model."""

    b: Array = mf.real()
    omega: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        return dist.OrderedLogistic(self.b * subject.time + eta, jnp.asarray(CUTS))


CUTS = np.array([-1.0, 0.3, 1.5])


def log_p_choice(b, eta, t, y):
    log_odds = b + 0.5 * t + eta
    return special.log_softmax(np.stack([0.0 * log_odds, log_odds, 2.0 * log_odds]), axis=0)[int(y)]


def log_p_grade(b, eta, t, y):
    below = [0.0 * eta, *(special.expit(cut - b * t - eta) for cut in CUTS), 1.0 + 0.0 * eta]
    return np.log(below[int(y) + 1] - below[int(y)])


MODELS = {
    "Categorical": (Choice(b=-0.4, omega=0.9), log_p_choice),
    "OrderedLogistic": (Grade(b=0.6, omega=1.2), log_p_grade),
}
ANSWERS = [(0, 2, 1, 1), (2, 2, np.nan, 1), (0, 0, 1)]
TIMES = (0.0, 0.5, 1.0, 2.0)


def answers() -> mf.Population:
    """Three subjects, one with a missing answer and one with fewer rows than the others."""
    rows = [(i, TIMES[k], y) for i, mine in enumerate(ANSWERS) for k, y in enumerate(mine)]
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))


def log_joint(model, log_p, mine, eta):
    total = stats.norm(0.0, float(model.omega)).logpdf(eta)
    for t, y in zip(TIMES, mine, strict=False):
        if not np.isnan(y):
            total = total + log_p(float(model.b), eta, t, y)
    return total


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_quadrature_against_the_integral_by_hand(name):
    model, log_p = MODELS[name]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    eta = 12.0 * nodes
    exact = [np.log(12.0 * weights @ np.exp(log_joint(model, log_p, mine, eta))) for mine in ANSWERS]
    found = mf.log_likelihood(model, answers(), mf.AGQ(61), by_subject=True)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_laplace_against_the_mode_and_curvature_by_hand(name):
    model, log_p = MODELS[name]
    exact = []
    for mine in ANSWERS:
        found = optimize.minimize_scalar(lambda e, mine=mine: -log_joint(model, log_p, mine, e), tol=1e-14)
        at = found.x + 1e-3 * np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
        bend = np.dot([-1.0, 16.0, -30.0, 16.0, -1.0], log_joint(model, log_p, mine, at)) / 12e-6
        exact.append(-found.fun + 0.5 * np.log(2 * np.pi) - 0.5 * np.log(-bend))
    found = mf.log_likelihood(model, answers(), mf.Laplace(), by_subject=True)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-8)


def grades(subjects: int) -> mf.Population:
    """Grades drawn by SciPy from the model at b = 0.6, omega = 1.2."""
    rng = np.random.default_rng(11)
    rows = []
    for who in range(subjects):
        eta = 1.2 * rng.normal()
        for t in np.linspace(-1.0, 1.0, 8):
            rows.append((who, t + 1.0, np.sum(rng.logistic(0.6 * (t + 1.0) + eta) > CUTS)))
    return mf.Population.from_frame(pd.DataFrame(rows, columns=["ID", "TIME", "DV"]))


@pytest.mark.slow
def test_grades_are_recovered_by_laplace_and_by_saem():
    population = grades(150)
    start = Grade(b=0.1, omega=0.5)
    by_laplace = mf.fit(start, population, mf.Laplace(), progress=False)
    by_saem = mf.fit(start, population, mf.SAEM(likelihood_by=mf.AGQ(9)), key=jax.random.key(1), progress=False)
    for fit in (by_laplace, by_saem):
        assert fit.converged, fit.message
        assert float(fit.model.b) == pytest.approx(0.6, abs=0.15)
        assert float(fit.model.omega) == pytest.approx(1.2, abs=0.25)


def test_categories_are_drawn_with_their_probabilities():
    count = 20_000
    many = mf.Population.from_subjects([mf.Subject(np.zeros(count), np.zeros(count), np.ones(count, bool))])
    for name, (model, log_p) in MODELS.items():
        y = np.asarray(mf.simulate(model, many, jax.random.key(3), eta=np.full((1, 1), 0.4)).subjects.y)
        assert y.dtype == float and not np.any(y % 1)
        for category in range(3 if name == "Categorical" else 4):
            chance = np.exp(log_p(float(model.b), np.array(0.4), 0.0, category))
            assert np.mean(y == category) == pytest.approx(chance, abs=4 * np.sqrt(chance / count))


class Counts(mf.Model):
    """Counts of several kinds, by the name of their density."""

    b: Array = mf.real()
    omega: Array = mf.positive()
    kind: str = "Poisson"

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        log_odds = jnp.broadcast_to(self.b + eta, subject.time.shape)
        if self.kind == "Poisson":
            return dist.Poisson(jnp.exp(log_odds))
        if self.kind == "Binomial":
            return dist.Binomial(jnp.where(subject.time > 0.4, 2, 5), logits=log_odds)
        return dist.Bernoulli(logits=log_odds)


REFUSED = [
    ("Poisson", [1.0, 2.5], r"subject 7 in its row 2 is 2.5, and Poisson takes whole numbers from 0 on: correct"),
    ("Poisson", [-1.0, 2.0], "in its row 1 is -1, and Poisson takes whole numbers from 0 on"),
    ("Binomial", [5.0, 3.0], "in its row 2 is 3, and Binomial takes whole numbers from 0 to 2"),
    ("Bernoulli", [0.0, 2.0], "in its row 2 is 2, and Bernoulli takes 0 or 1"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "y", "sentence"), REFUSED)
def test_a_response_that_cannot_be_is_named(kind, y, sentence):
    frame = pd.DataFrame({"ID": [3, 3, 7, 7], "TIME": [0.0, 0.5, 0.0, 0.5], "DV": [1, 1, *y]})
    model = Counts(b=0.1, omega=0.5, kind=kind)
    with pytest.raises(ValueError, match=sentence):
        mf.fit(model, mf.Population.from_frame(frame), mf.Laplace(), progress=False)


@pytest.mark.slow
def test_categories_are_counted_from_0_in_every_method():
    population = answers()
    one_up = population.with_responses(population.subjects.y + 1.0)
    sentence = "subject 0 in its row 2 is 3, and Categorical takes whole numbers from 0 to 2: .*counted from 0"
    model = MODELS["Categorical"][0]
    fixed = ("b", "omega")
    for method in (mf.AGQ(3), mf.SAEM(block=5), mf.NUTS(warmup=5, samples=5, block=5)):
        with pytest.raises(ValueError, match=sentence):
            mf.fit(model, one_up, method, key=jax.random.key(1), fixed=fixed, progress=False)
    assert mf.log_conditional(model, jnp.zeros(1), one_up[0]) == -np.inf
    with pytest.raises(ValueError, match="returns CategoricalLogits: use Laplace"):
        mf.log_likelihood(model, population, mf.FOCE())


def test_a_category_has_no_mean():
    population = answers()
    fit = mf.fit(Choice(b=0.0, omega=0.5), population, mf.AGQ(5), fixed=("omega",), progress=False)
    sentence = r"returns Categorical, and a category has no mean: .*model.observations\(eta, subject\).probs"
    for ask in (
        lambda: mf.predict(fit.model, population),
        lambda: mf.residuals(fit),
        lambda: mf.vpc(fit, key=jax.random.key(1), samples=20),
        lambda: mf.simulate_regimens(fit, {"none": mf.regimen(0.0)}, np.arange(2.0), key=jax.random.key(1), subjects=5),
    ):
        with pytest.raises(ValueError, match=sentence):
            ask()
