"""The explorers of lesson 08, on a model whose posteriors have closed forms: lines with a random height and slope."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import test_stage
from jaxtyping import Array
from scipy.stats import norm

import mefit as mf
from mefit import plots
from workshop import explorers

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
pad, watch, crowd = (
    sys.modules[f"workshop.explorers.{name}"] for name in ("latent_pad", "prior_to_posterior", "generative")
)
SD, SIGMA = np.array([1.0, 0.5]), 0.3


class Lines(mf.Model):
    """y = eta_1 + eta_2 t, with noise."""

    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(2), jnp.asarray(SD))

    def observations(self, eta, subject):
        return dist.Normal(eta[0] + eta[1] * subject.time, self.sigma)


class Flat(mf.Model):
    """No random effects."""

    sigma: Array = mf.positive()

    def observations(self, eta, subject):
        return dist.Normal(0.0 * subject.time, self.sigma)


TIMES = np.linspace(0.0, 2.0, 9)


@pytest.fixture(scope="module", name="fit")
def fitted():
    """As a fit, with sigma where it was: explorers ask it for model, population and eta."""
    blank = mf.Population.from_subjects([mf.Subject(TIMES, 0 * TIMES, TIMES >= 0)] * 40)
    model = Lines(sigma=SIGMA)
    people = mf.simulate(model, blank, jax.random.key(1))
    eta, _ = mf.empirical_bayes(model, people)
    return SimpleNamespace(model=model, population=people, eta=np.asarray(eta))


@pytest.fixture(scope="module", name="makers")
def made(fit):
    truth = np.asarray(fit.eta[:, :1] + fit.eta[:, 1:] * plots.time_grid(fit.population, 81))
    return {
        "latent_pad": lambda: explorers.latent_pad(fit, truth=truth),
        "prior_to_posterior": lambda: explorers.prior_to_posterior(fit, fit.population, truth=truth),
        "generative": lambda: explorers.generative(fit, fit.population),
    }


def test_the_pad_knows_curve_likelihood_and_the_best_place(fit):
    made = pad.prepare(fit)
    found = pad.compute(made, 3, 0.5, -1.2)
    eta = np.array([0.5, -1.2]) * SD
    np.testing.assert_allclose(found.curve, eta[0] + eta[1] * made.time, atol=1e-12)
    y = np.asarray(fit.population[2].y)
    wanted = norm.logpdf(y, eta[0] + eta[1] * TIMES, SIGMA).sum()
    assert found.log_likelihood == pytest.approx(wanted)
    assert found.log_posterior == pytest.approx(wanted + norm.logpdf(eta, 0, SD).sum())
    assert np.abs(found.best - fit.eta[2] / SD).max() < 0.11 and found.highest > found.log_posterior
    best = pad.compute(made, 3, *map(float, found.best))
    assert "There is no better place on the pad" in pad.say(best) and "η = (0.5, −1.2)" in pad.say(found)
    with pytest.raises(ValueError, match="reaches 3 SDs"):
        pad.compute(made, 1, 4.0, 0.0)


def closed_form(y, rows):
    """Mean and covariance of eta after some rows."""
    x = np.column_stack([np.ones(len(rows)), TIMES[rows]])
    precision = np.diag(1 / SD**2) + x.T @ x / SIGMA**2
    covariance = np.linalg.inv(precision)
    return covariance @ x.T @ y[rows] / SIGMA**2, covariance


@pytest.mark.parametrize(
    ("count", "order"), [(0, "from the left"), (1, "from the left"), (4, "spread out"), (9, "spread out")]
)
def test_the_posterior_band_is_that_of_the_closed_form(fit, count, order):
    made = watch.Watch(fit, fit.population, range(5), None)
    found, rows = watch.compute(made, 2, count, order), made.order(1, count, order)
    assert len(rows) == count == found.count
    mean, covariance = closed_form(np.asarray(fit.population[1].y), rows)
    np.testing.assert_allclose(found.sd, np.sqrt(np.diag(covariance)) / SD, rtol=0.02)
    x = np.column_stack([np.ones(81), made.time])
    middle, sd = x @ mean, np.sqrt(np.einsum("ti,ij,tj->t", x, covariance, x))
    for level, line in zip(watch.LEVELS, found.band, strict=True):
        np.testing.assert_allclose(line, middle + sd * norm.ppf(level), atol=0.09 * sd.max())
    assert found.widths.shape == (count + 1,) and found.widths[0] == pytest.approx(1.0)
    assert found.widths[-1] == pytest.approx(sd.mean() / np.sqrt(1 + 0.25 * made.time**2).mean(), rel=0.04)


def test_observations_are_taken_from_the_left_or_spread_out(fit):
    made = watch.Watch(fit, fit.population, range(5), None)
    assert made.order(0, 3, watch.LEFT).tolist() == [0, 1, 2]
    spread = made.order(0, 3, watch.SPREAD)
    assert len(spread) == 3 and np.ptp(spread) >= 4
    found = watch.compute(made, 1, 3, watch.SPREAD)
    assert len(found.used[0]) == 3 and len(found.left[0]) == 6
    assert "After no observations" in watch.say(watch.compute(made, 1, 0, watch.LEFT))
    assert "After 1 observation the band" in watch.say(watch.compute(made, 1, 1, watch.LEFT))
    last = watch.compute(made, 1, 3, watch.LEFT)  # of a line that is known at its beginning, the end is least known
    assert f"least is known near time {TIMES[-1]:.2g}" in watch.say(last)


def test_virtual_people_are_spread_as_the_model_says(fit):
    made = crowd.prepare(fit, fit.population)
    sd = np.sqrt(1 + 0.25 * TIMES**2)
    quiet = np.concatenate([crowd.compute(made, crowd.MOST, d, False).shown for d in range(1, crowd.STUDIES + 1)])
    np.testing.assert_allclose(quiet.std(0), sd, rtol=0.03)
    loud = np.concatenate([crowd.compute(made, crowd.MOST, d, True).shown for d in range(1, crowd.STUDIES + 1)])
    np.testing.assert_allclose(loud.std(0), np.hypot(sd, SIGMA), rtol=0.03)
    found = crowd.compute(made, 200, 3, True)
    assert found.shown.shape == (200, 9) and found.inside > 0.6
    np.testing.assert_allclose(found.virtual, np.percentile(found.shown, crowd.PERCENTILES, axis=0))
    np.testing.assert_allclose(found.real[2], np.median(np.asarray(fit.population.subjects.y), axis=0))
    # bands of 40 people's percentiles: nine in ten studies of the model itself lie within
    fresh = [mf.simulate(fit.model, fit.population, k).subjects.y for k in jax.random.split(jax.random.key(5), 200)]
    share = np.percentile(np.asarray(fresh), (5, 50, 95), axis=1)
    inside = np.mean((share >= made.bands[:, None, 0]) & (share <= made.bands[:, None, 2]))
    assert inside == pytest.approx(0.9, abs=0.03)


def test_who_is_real_is_told_when_the_answer_is_asked_for(makers, fit):
    explorer = makers["generative"]()
    places = set()
    for draw in range(1, 9):
        explorer.set(draw=draw, answer=False)
        hidden = test_stage.shown(explorer)["scene"]
        assert "is real" not in explorer.text
        assert {panel["title"] for panel in hidden["panels"][:2]} == {"A: real or virtual?", "B: real or virtual?"}
        assert {mark["cls"] for mark in hidden["marks"] if mark["id"] == "curves"} == {"guide"}
        told = test_stage.shown(explorer.set(answer=True))["scene"]
        (real,) = (mark for mark in told["marks"] if mark["id"] == "curves" and mark["cls"] == "data")
        assert f"{real['panel']} is real." in explorer.text
        assert real["y"][: TIMES.size] == pytest.approx(np.asarray(fit.population[0].y), abs=1e-3)
        places.add(real["panel"])
    assert places == {"A", "B"}


def test_the_sentence_of_virtual_people_is_about_the_time_that_is_looked_at(fit):
    made = crowd.prepare(fit, fit.population)
    found = crowd.compute(made, 100, 1, True, 0.5)
    assert TIMES[found.place] == 0.5
    outer = np.percentile(np.asarray(fit.population.subjects.y)[:, found.place], [5, 95])
    assert f"At time 0.5 nine in ten virtual people span {np.ptp(found.virtual[:, found.place]):.2f}" in crowd.say(
        found
    )
    assert f"nine in ten real ones {np.ptp(outer):.2f}" in crowd.say(found)
    low, high = made.bands[0, :, found.place], made.bands[2, :, found.place]
    assert found.expected == bool(low[0] <= outer[0] <= low[2] and high[0] <= outer[1] <= high[2])


def test_what_cannot_be_shown_is_refused(fit):
    flat = SimpleNamespace(model=Flat(sigma=1.0), population=fit.population, eta=np.zeros((40, 0)))
    with pytest.raises(ValueError, match="two random effects"):
        pad.prepare(flat)
    with pytest.raises(ValueError, match="two random effects"):
        watch.Watch(flat, fit.population, range(3), None)
    with pytest.raises(ValueError, match="again and again"):
        crowd.prepare(flat, fit.population)
    with pytest.raises(ValueError, match="subjects 1 to"):
        watch.compute(watch.Watch(fit, fit.population, range(3), None), 4, 2, watch.LEFT)
    with pytest.raises(ValueError, match="virtual studies of up to"):
        crowd.compute(crowd.prepare(fit, fit.population), 0, 1, True)


STAGES = ("latent_pad", "prior_to_posterior", "generative")


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage(check, name, makers):
    check(makers[name])


def test_the_answer_of_the_pad_is_hidden_until_it_is_asked_for(makers):
    explorer = makers["latent_pad"]().set(eta1=1.0)
    hidden = {mark["kind"] for mark in test_stage.shown(explorer)["scene"]["marks"]}
    assert "heat" not in hidden and "best place" not in explorer.text
    explorer.set(answer=True)
    told = {mark["kind"] for mark in test_stage.shown(explorer)["scene"]["marks"]}
    assert told - hidden == {"heat"} and "The best place on the pad is" in explorer.text


def test_truth_and_what_is_not_yet_measured_are_hidden_until_they_are_asked_for(makers):
    explorer = makers["prior_to_posterior"]()

    def drawn():
        return {mark["id"] for mark in test_stage.shown(explorer)["scene"]["marks"]}

    hidden, axes = drawn(), test_stage.shown(explorer)["scene"]["panels"]
    assert "misses the truth" not in explorer.text
    explorer.set(answer=True)
    assert drawn() - hidden == {"truth", "not yet"} and "misses the truth by" in explorer.text
    for move in ({"observations": 0}, {"observations": 9}, {"subject": 5, "order": watch.SPREAD}):
        assert test_stage.shown(explorer.set(**move))["scene"]["panels"] == axes


@pytest.mark.parametrize("name", STAGES)
def test_the_edges_of_every_control(name, makers):
    test_stage.assert_the_edges_hold(makers[name])
