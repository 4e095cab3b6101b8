"""The explorers of lesson 10: bounds against quadrature, ellipses against a search, dropout against known answers, and
what an encoder says of a linear model against its closed form."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import test_stage
from jaxtyping import Array
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

import mefit as mf
from workshop import explorers
from workshop.studies import autoencoders as study

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
NAMES = ("bound_and_gap", "diagonal_or_full", "one_network", "dropout", "collapse", "day_by_day")
bounds, ellipses, network, left, asleep, days = (sys.modules[f"workshop.explorers.{name}"] for name in NAMES)


# A bound and a gap


def test_the_bound_and_the_gap_add_up_to_the_likelihood_by_quadrature():
    d, a = bounds.people()
    omega, slope, sd = 33.0, 0.4, 21.0
    found = bounds.compute(omega, slope, sd)
    lower = gap = log_l = 0.0
    for one in d:
        q = norm(slope * one, sd)
        prior, noise = norm(0, omega), norm(0, np.sqrt(a))
        area = quad(lambda e, p=prior, n=noise, y=one: p.pdf(e) * n.pdf(y - e), -300, 300, limit=200)[0]
        points, weights = np.polynomial.hermite_e.hermegauss(41)
        eta, weights = slope * one + sd * points, weights / weights.sum()
        log_joint = prior.logpdf(eta) + noise.logpdf(one - eta)
        lower += weights @ (log_joint - q.logpdf(eta))
        gap += weights @ (q.logpdf(eta) - log_joint + np.log(area))
        log_l += np.log(area)
    assert (found.value, found.lower, found.gap) == pytest.approx((log_l, lower, gap), abs=1e-6)
    assert found.value == pytest.approx(found.lower + found.gap, abs=1e-9)
    width = np.diff(bounds._ETA)[0]
    assert found.integrand.sum() * width == pytest.approx(found.share, abs=2e-3)


def test_the_exact_encoder_touches_and_turns_climb_to_the_maximum():
    omega = 50.0
    heights = []
    for _ in range(40):
        slope, sd = bounds.exact_encoder(omega)
        assert bounds.compute(omega, slope, sd).gap == pytest.approx(0.0, abs=1e-9)
        heights.append(float(bounds.log_likelihood(np.asarray(omega))))
        omega = bounds.top_of_the_bound(slope, sd)
    assert np.all(np.diff(heights) >= -1e-12)
    best = minimize(lambda w: -float(bounds.log_likelihood(np.abs(w[0]))), [20.0], method="Nelder-Mead")
    assert omega == pytest.approx(best.x[0], abs=1e-2)
    grid = np.linspace(10, 45, 3501)
    assert bounds.top_of_the_bound(0.4, 18.0) == pytest.approx(grid[bounds.bound(grid, 0.4, 18.0).argmax()], abs=0.02)


def test_the_buttons_of_em_lead_upwards():
    explorer = explorers.bound_and_gap()
    heights = []
    for words, values in bounds.steps_of_em(40.0, 2):
        explorer.set(**values)
        heights.append(explorer.result.lower)
        at_posterior = "there is no gap" in explorer.text
        assert at_posterior == ("E:" in words)
    assert np.all(np.diff(heights) > 0)


# Diagonal or full


@pytest.mark.parametrize(("zero", "sigma"), [(0.0, 1.0), (0.7, 0.5), (2.0, 2.0)])
def test_the_best_diagonal_q_by_search(zero, sigma):
    inverse = ellipses.precision(zero, sigma)
    exact = np.linalg.inv(inverse)

    def gap(x):
        sds = np.exp(x)
        other = np.diag(sds**2)
        return 0.5 * (np.trace(inverse @ other) - 2 + np.log(np.linalg.det(exact)) - np.log(np.linalg.det(other)))

    best = minimize(gap, [-0.5, -0.5], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13})
    found = ellipses.compute(*map(float, np.exp(best.x)), 0.0, zero, sigma)
    assert found.gap == pytest.approx(best.fun, abs=1e-9) and found.least == pytest.approx(best.fun, abs=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(found.best)), np.exp(best.x), rtol=1e-4)
    assert found.least == pytest.approx(-0.5 * np.log(1 - found.r**2))
    full = ellipses.compute(*map(float, np.sqrt(np.diag(exact))), found.r or 1e-9, zero, sigma)
    assert full.kind == ellipses.FULL and full.gap == pytest.approx(0.0, abs=1e-12)
    assert "the best of them is the posterior itself" in ellipses.say(full)


def test_counted_from_the_middle_the_posterior_stands_upright():
    assert ellipses.compute(0.4, 0.3, 0.0, 2.0, 1.0).least == pytest.approx(0.0, abs=1e-12)
    assert ellipses.compute(0.4, 0.3, 0.0, 0.0, 1.0).r == pytest.approx(-10 / np.sqrt(6 * 31))
    with pytest.raises(ValueError, match="between -1 and 1"):
        ellipses.compute(0.4, 0.3, 1.0, 0.0, 1.0)


# One network for everybody, and a person visit by visit: on straight lines, whose posteriors have closed forms


class Lines(mf.Model):
    """y = eta_1 + eta_2 t + 0 eta_3, with noise."""

    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(3), 1.0)

    def observations(self, eta, subject):
        return dist.Normal(eta[0] + eta[1] * subject.time, self.sigma)


SIGMA = 0.5


def straight_lines():
    """Sixteen people of that model, as a study."""
    rng = np.random.default_rng(1)
    eta = rng.normal(size=(16, 3))
    curves = eta[:, :1] + eta[:, 1:2] * study.TIMES
    return study.Study(study.population_of(curves + SIGMA * rng.normal(size=curves.shape)), curves)


def posterior(y, seen):
    """Mean and covariance of eta after the first visits."""
    z = np.column_stack([np.ones(20), study.TIMES, np.zeros(20)])[:seen]
    covariance = np.linalg.inv(z.T @ z / SIGMA**2 + np.eye(3))
    return covariance @ z.T @ y[:seen] / SIGMA**2, covariance


def each_alone(people):
    """As a fit by `Variational`: explorers ask it for model, population and each one's Gaussian."""
    both = [posterior(y, 20) for y in np.asarray(people.population.subjects.y)]
    return SimpleNamespace(
        model=Lines(sigma=SIGMA),
        population=people.population,
        eta=np.array([mean for mean, _ in both]),
        eta_covariance=np.array([covariance for _, covariance in both]),
    )


def untrained(people):
    """Three encoders that know nothing yet, as if trained for a while."""
    return {steps: mf.networks.Encoder(people.population, 3, hidden=(4,), seed=steps) for steps in (0, 5, 9)}


@pytest.fixture(scope="module", name="people")
def simulated():
    return straight_lines()


@pytest.fixture(scope="module", name="own")
def by_each(people):
    return each_alone(people)


@pytest.fixture(scope="module", name="encoders")
def trained(people):
    return untrained(people)


@pytest.fixture(scope="module", name="makers")
def made(own, encoders, people):
    fit = SimpleNamespace(model=own.model, encoder=encoders[0], population=people.population)
    records = days.prepare(fit, people, jax.random.key(1))

    def of_days():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(days, "prepare", lambda *_: records)  # its draws are kept
            return explorers.day_by_day(fit, people, jax.random.key(1))

    return {
        "bound_and_gap": explorers.bound_and_gap,
        "diagonal_or_full": explorers.diagonal_or_full,
        "one_network": lambda: explorers.one_network(own, encoders, np.eye(3)),
        "dropout": explorers.dropout,
        "collapse": explorers.collapse,
        "day_by_day": of_days,
    }


def test_the_distance_of_an_answer_is_the_divergence_of_two_gaussians(own, encoders):
    answers = network.prepare(own, encoders, np.eye(3))
    for stage, encoder in enumerate(encoders.values()):
        q = encoder(own.population[4])
        sample = np.asarray(q.mean + np.random.default_rng(2).normal(size=(200_000, 3)) @ np.asarray(q.lower).T)
        mine = multivariate_normal(np.asarray(q.mean), np.asarray(q.lower @ q.lower.T)).logpdf(sample)
        theirs = multivariate_normal(own.eta[4], own.eta_covariance[4]).logpdf(sample)
        error = 5 * np.std(mine - theirs) / np.sqrt(len(sample))
        assert answers.distance[stage, 4] == pytest.approx(np.mean(mine - theirs), abs=error)
    np.testing.assert_allclose(answers.own_curves[2], own.eta[2, 0] + own.eta[2, 1] * answers.time, atol=1e-12)
    with pytest.raises(ValueError, match="12 people or more"):
        network.prepare(SimpleNamespace(population=own.population[:5]), encoders, np.eye(3))
    with pytest.raises(ValueError, match="stages 0 to 2 and people 1 to 12"):
        network.compute(answers, 3, 1)


def test_the_bands_of_a_record_are_those_of_the_closed_form(own, encoders, people):
    fit = SimpleNamespace(model=own.model, encoder=encoders[0])
    records = days.prepare(fit, people, jax.random.key(1))
    y = np.asarray(people.population.subjects.y)
    for person, seen in ((0, 0), (3, 4), (5, 20)):
        mean, covariance = posterior(y[person], seen)
        x = np.column_stack([np.ones(41), days._SMOOTH, np.zeros(41)])
        sd = np.sqrt(np.einsum("ti,ij,tj->t", x, covariance, x))
        for level, line in zip(days.LEVELS, records.band[person, seen], strict=True):
            np.testing.assert_allclose(line, x @ mean + norm.ppf(level) * sd, atol=0.25 * sd.max())
        chance = norm.sf(days.ABOVE, mean[0] + mean[1], np.hypot(sd[-1], SIGMA))
        assert records.chance[person, seen] == pytest.approx(chance, abs=0.04)
    assert np.all(records.width[:, 20] < 0.5 * records.width[:, 0])


def test_today_hides_what_has_not_come(makers):
    explorer = makers["day_by_day"]()

    def drawn():
        return {mark["id"] for mark in test_stage.shown(explorer)["scene"]["marks"]}

    hidden = drawn()
    explorer.set(answer=True)
    assert drawn() - hidden == {"truth", "to come", "came"} and "misses the true curve by" in explorer.text
    explorer.set(visits=20)
    assert "nan" not in explorer.text and "misses" not in explorer.text
    with pytest.raises(ValueError, match="visits 0 to 20 of people 1 to 8"):
        explorer.set(visits=20, person=1)._compute(21, 1)


# Dropout


def gone(y, rng, share=0.25):
    """Everybody leaves for good by chance, nobody before the third visit."""
    last = rng.integers(2, y.shape[1] + 1, len(y))
    last[rng.random(len(y)) > share] = y.shape[1]
    return np.where(np.arange(y.shape[1]) < last[:, None], y, np.nan)


def test_the_likelihood_of_observed_cells_is_highest_where_the_closed_form_says():
    rng = np.random.default_rng(3)
    y = gone(rng.multivariate_normal([1.0, 2.0, 0.0, 1.0], np.full((4, 4), 0.6) + 0.4 * np.eye(4), 300), rng)
    mean, covariance = left.observed_cells(y)

    def log_likelihood(mean, covariance):
        total = 0.0
        for seen in np.unique(~np.isnan(y), axis=0):
            rows = y[np.all(~np.isnan(y) == seen, axis=1)][:, seen]
            total += multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)]).logpdf(rows).sum()
        return total

    top = log_likelihood(mean, covariance)
    root = np.linalg.cholesky(covariance)
    for _ in range(60):
        step = 1e-3 * rng.normal(size=4)
        turn = 1e-3 * np.tril(rng.normal(size=(4, 4)))
        other = root @ (np.eye(4) + turn)
        assert log_likelihood(mean + root @ step, other @ other.T) < top
    whole = y[~np.isnan(y).any(axis=1)]
    np.testing.assert_allclose(left.observed_cells(whole)[0], whole.mean(0), atol=1e-9)
    np.testing.assert_allclose(left.observed_cells(whole)[1], np.cov(whole.T, bias=True), atol=1e-9)


def test_only_the_right_way_holds_when_people_leave_by_what_was_seen():
    here = left.compute(1.0).here
    assert abs(here.error(left.RIGHT)) < 0.06
    assert all(here.error(way) < -0.15 for way in left.WAYS)
    assert here.spreads["mean filled in"] < 0.85 * here.truth[1]
    by_chance = left.compute(0.0).here
    assert all(abs(by_chance.error(way)) < 0.06 for way in (left.RIGHT, *left.WAYS) if way != "last value carried on")
    assert by_chance.error("last value carried on") < -0.25
    unseen = left.compute(2.0, left.UNSEEN).here
    assert unseen.error(left.RIGHT) < -0.15
    assert "even the likelihood" in left.say(left.compute(2.0, left.UNSEEN))
    with pytest.raises(ValueError, match="in quarters"):
        left.compute(0.3)


# Collapse


def test_the_picture_of_collapse_has_both_ends_and_the_way_between():
    found = asleep.compute(1.0)
    assert found.found.om1 == 0.0 and found.full.om1 == pytest.approx(1.0, abs=1e-6)
    assert asleep.say(found).startswith("Collapsed: with a diagonal q the intercepts sleep")
    assert np.argmax(found.diagonal_profile) == 0 and asleep._RATIO[np.argmax(found.full_profile)] == pytest.approx(1.0)
    where = np.flatnonzero(found.sds[0] == 0.0)
    assert 0.7 < asleep.GRID[where[0]] < 0.9 and np.all(np.diff(where) == 1)
    middle = asleep.compute(1.0, zero=asleep.MIDDLE)
    assert "loses nothing" in asleep.say(middle)
    z = np.column_stack([np.ones(5), np.arange(5.0)])
    values = np.linalg.eigvalsh(z.T @ z)[::-1]
    np.testing.assert_allclose(found.told_here, 0.5 * np.log1p(values), rtol=1e-9)


# All of them


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage(check, name, makers):
    check(makers[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_edges_of_every_control(name, makers):
    test_stage.assert_the_edges_hold(makers[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_axes_stand_still(name, makers):
    """The title over a person's curve names the person, and nothing else of a panel moves."""
    explorer = makers[name]()
    start = test_stage.shown(explorer)["scene"]["panels"]
    begin = explorer.values
    for control in explorer.controls:
        for value in test_stage.elsewhere(explorer.controls[control]):
            panels = test_stage.shown(explorer.set(**{control: value}))["scene"]["panels"]
            assert [panel | {"title": ""} for panel in panels] == [panel | {"title": ""} for panel in start]
        explorer.set(**begin)
