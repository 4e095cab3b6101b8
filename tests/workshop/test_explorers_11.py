"""The explorers of lesson 11: chances against a Gaussian posterior's closed forms, what a sample shows, a batch's
noise against principal components, and other doses of models whose answers are known."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import test_stage
from jaxtyping import Array
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import norm

import mefit as mf
from workshop import explorers
from workshop.studies import hard_profiles as hard

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
NAMES = ("one_more_sample", "dose_and_loss", "batch_size", "other_doses")
sample, dosing, batches, others = (sys.modules[f"workshop.explorers.{name}"] for name in NAMES)
TRAINED = {4: SimpleNamespace(divergence=np.array([0.6, 0.1])), 32: SimpleNamespace(divergence=np.zeros(2))}


class Straight(mf.Model):
    """log C = log(3 dose / 100) - 0.1 exp(eta) t."""

    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.Normal(jnp.zeros(1), 0.2)

    def observations(self, eta, subject):
        start = jnp.log(0.03 * subject.doses.amount[0])
        return dist.Normal(start - 0.1 * jnp.exp(eta[0]) * subject.time, self.sigma)


def untrained():
    """What `other_doses` takes, with a model that needs no training: it is the hands that are tested."""
    fits = {"a straight line": SimpleNamespace(model=Straight(sigma=0.2), encoder=None)}
    return fits, hard.TWO_INPUTS, hard.simulate(hard.TWO_INPUTS, 4, seed=1), jax.random.key(1)


def known_answers():
    """Two models of four people: one is right about all doses, the other is off by half the logarithm of dose / 100."""
    hours = others.HOURS
    log_dose = np.log(others.DOSES / 100.0)[:, None, None]
    shape = np.log(3.0) - 0.1 * hours + 0.1 * np.arange(4)[:, None]
    truth = shape + log_dose
    curves = {"right": truth, "wrong": truth + 0.5 * log_dose}
    errors = {"right": np.zeros(9), "wrong": np.abs(0.5 * log_dose[:, 0, 0])}
    samples = [(np.array([1.0, 8.0, 20.0]), np.interp([1.0, 8.0, 20.0], hours, shape[k])) for k in range(4)]
    return others.Answers(curves, errors, truth, samples)


def made_other_doses():
    """The explorer on these answers, without a fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(others, "prepare", lambda *_: known_answers())
        return explorers.other_doses({}, "", None, None)


MAKERS = {
    "one_more_sample": explorers.one_more_sample,
    "dose_and_loss": explorers.dose_and_loss,
    "batch_size": lambda: explorers.batch_size(TRAINED),
    "other_doses": made_other_doses,
}
ASKS = ("one_more_sample", "dose_and_loss")  # those with an answer to show
LOW, HIGH = 80 / 3, 125 / 3  # 80 and 125% of 100 mg / (3 L/h)


# One more sample


def test_the_sample_that_is_dragged_is_the_one_that_narrows():
    late = sample.compute(24.0)
    assert late.after.times == (24.0,) and late.before.times == ()
    assert late.before.sd == pytest.approx(0.3, rel=2e-3) and late.promised == pytest.approx(0.134, abs=2e-3)
    assert "worth as much as any" in sample.say(late)
    early = sample.compute(1.0)
    assert early.promised > 0.29 and "next to nothing" in sample.say(early)
    assert 18 < early.best < 24
    second = sample.compute(24.0, sample.LATE, person=3)
    assert second.after.times == (24.0, 24.0) and second.after.sd < second.before.sd


def test_the_chance_to_be_well_dosed_is_the_closed_form():
    assert sample.well_dosed(0.3) == pytest.approx(0.543, abs=5e-4)  # in print
    assert sample.well_dosed(0.1) == pytest.approx(0.9743, abs=5e-5)


def test_a_sample_before_the_dose_is_refused():
    with pytest.raises(ValueError, match="from 0.5 to 28 h after the dose"):
        sample.compute(0.0)


def test_the_answer_is_hidden_until_it_is_asked_for():
    for name in ASKS:
        explorer = MAKERS[name]()
        hidden = {mark["id"] for mark in test_stage.shown(explorer)["scene"]["marks"]}
        told = explorer.text
        explorer.set(answer=True)
        shown = {mark["id"] for mark in test_stage.shown(explorer)["scene"]["marks"]}
        assert shown - hidden == {"truth"} and "true" not in told.lower(), name
        assert "true clearance" in explorer.text or "In truth" in explorer.text


# A dose and its loss: without a sample log CL is N(log 3, 0.3^2)


def by_hand(dose, over):
    below = norm.sf((np.log(dose / LOW) - np.log(3)) / 0.3)
    above = norm.cdf((np.log(dose / HIGH) - np.log(3)) / 0.3)
    return below, above, below + over * above


@pytest.mark.parametrize(("dose", "over"), [(100.0, 5.0), (60.0, 1.0), (150.0, 9.5)])
def test_chances_and_loss_are_those_of_a_gaussian(dose, over):
    found = dosing.compute(dose, over)
    np.testing.assert_allclose(found.here, by_hand(dose, over), atol=2e-3)
    at = np.interp(dose, dosing.DOSES, found.loss)
    assert at == pytest.approx(found.here[2], abs=5e-3)


@pytest.mark.parametrize("over", [1.0, 2.0, 5.0, 10.0])
def test_the_best_dose_is_found_by_a_search_and_by_its_formula(over):
    found = dosing.compute(100.0, over)
    searched = minimize_scalar(
        lambda log: by_hand(np.exp(log), over)[2], bounds=(np.log(40), np.log(180)), method="bounded"
    )
    formula = np.log(3) + 0.5 * np.log(LOW * HIGH) - 0.3**2 * np.log(over) / np.log(HIGH / LOW)
    assert searched.x == pytest.approx(formula, abs=1e-4)
    assert np.log(found.least) == pytest.approx(formula, abs=0.01)
    assert found.likely == pytest.approx(100.0, rel=1e-3)


def test_the_loss_is_a_lever_only_where_little_is_known():
    nobody = dosing.compute(100.0, 10.0)
    late = dosing.compute(100.0, 10.0, sample.BOTH)
    assert nobody.least / nobody.likely < 0.65 < 0.9 < late.least / late.likely < 1.0


def test_the_true_area_is_dose_over_clearance():
    for person in range(1, 7):
        found = dosing.compute(100.0, person=person, answer=True)
        clearance = 3.0 * np.exp(sample.exact.patients()[person - 1].eta[1])
        assert dosing.area(found) == pytest.approx(100.0 / clearance)
        assert ("too much" in dosing.say(found).split("In truth")[1]) == (100.0 / clearance > HIGH)


# Batches, against the linear autoencoder of a spectrum


@pytest.fixture(scope="module", name="prepared")
def spectrum():
    return batches.prepare(TRAINED)


def test_the_best_linear_answer_has_these_nats_and_draws_these_curves(prepared):
    """A search of the bound of one dimension: x = sqrt(l) u, decoded as w z with noise v, q(z | u) = N(a u, s^2)."""
    found = batches.compute(prepared, 6)
    assert found.variance == pytest.approx(0.1 * 6 * 12 / 2)
    for k in range(2):
        size = prepared.eigenvalues[k]

        def minus_bound(x, size=size):
            w, a, log_s = x
            squares = size * (1 - w * a / np.sqrt(size)) ** 2 + (w * np.exp(log_s)) ** 2
            return squares / (2 * found.variance) + 0.5 * (a**2 + np.exp(2 * log_s) - 1 - 2 * log_s)

        best = minimize(minus_bound, [1.0, 0.5, -0.2], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x
        nats = 0.5 * (best[1] ** 2 + np.exp(2 * best[2]) - 1 - 2 * best[2])
        assert found.nats[k] == pytest.approx(nats, abs=1e-4)
        drawn = found.curves @ prepared.axes[:, k]
        np.testing.assert_allclose(
            drawn, best[0] * best[1] / np.sqrt(size) * (prepared.y @ prepared.axes[:, k]), atol=1e-3
        )


def test_the_batch_decides_and_only_if_the_divergence_is_summed(prepared):
    last = batches.compute(prepared, 14)
    gone = batches.compute(prepared, 15)
    assert (last.threshold, gone.threshold) == (14, 14)
    assert last.nats[0] > 0 and np.all(gone.nats == 0) and np.all(gone.curves == 0) and gone.r2 == 0
    assert "all patients get the same curve" in batches.say(gone)
    averaged = [batches.compute(prepared, batch, batches.MEAN) for batch in (2, 40)]
    np.testing.assert_array_equal(averaged[0].nats, averaged[1].nats)
    assert np.sum(averaged[0].nats > 0) == 2
    with pytest.raises(ValueError, match="Batches of 2 to 40"):
        batches.compute(prepared, 64)


# Other doses


def test_a_curve_for_each_100_mg_stands_still_where_the_model_is_linear():
    answers = known_answers()
    at = {dose: others.compute(answers, dose, 2) for dose in (15.0, 100.0, 333.0, 600.0)}
    for dose, found in at.items():
        np.testing.assert_allclose(found.truth, at[100.0].truth, atol=1e-9)
        np.testing.assert_allclose(found.curves["right"], found.truth, atol=1e-9)
        away = 0.5 * np.log(dose / 100.0)
        np.testing.assert_allclose(found.curves["wrong"] - found.truth, away, atol=1e-9)
        assert found.late["wrong"] == pytest.approx(abs(away), abs=1e-9) and found.late["right"] == 0.0
        assert found.beyond == (dose in (15.0, 333.0, 600.0))
    assert "for the wrong" in others.say(at[600.0]) and "outside of the trial's doses" in others.say(at[600.0])
    assert "by 145% for the wrong" in others.say(at[600.0])  # sqrt(6) - 1
    with pytest.raises(ValueError, match="15 to 600 mg"):
        others.compute(answers, 5.0)


def test_answers_are_posterior_means_at_each_dose(monkeypatch):
    """A model that is the truth, and many precise samples: its answers are the true curves."""
    time = np.tile(np.linspace(1.0, 24.0, 10), (4, 1))
    doses = mf.Doses.together([mf.regimen(dose) for dose in (50.0, 80.0, 120.0, 200.0)])
    blank = mf.Population(mf.Subject(time, 0 * time, time > 0, {}, doses), ("a", "b", "c", "d"))
    model = Straight(sigma=0.02)
    eta = np.array([[-0.2], [0.0], [0.1], [0.3]])
    new = hard.Study(blank.with_responses(np.asarray(mf.predict(model, blank, eta))), eta)

    def curves(_name, study, hours, dose):
        return np.asarray(mf.predict(model, study.population.with_doses(mf.regimen(dose)), study.eta, hours))

    monkeypatch.setattr(others.study, "curves", curves)
    answers = others.prepare({"it": SimpleNamespace(model=model, encoder=None)}, "", new, jax.random.key(0))
    np.testing.assert_allclose(answers.curves["it"], answers.truth, atol=0.05)
    assert np.all(answers.errors["it"] < 0.02) and answers.errors["it"].shape == (9,)
    time_1, y_1 = answers.samples[1]
    np.testing.assert_allclose(y_1, np.log(3.0) - 0.1 * time_1, atol=1e-6)


# All of them


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage_of_11(check, name):
    check(MAKERS[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_edges_of_every_control_of_11(name):
    test_stage.assert_the_edges_hold(MAKERS[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_axes_of_11_stand_still(name):
    """The title names the person, and nothing else of a panel moves."""
    explorer = MAKERS[name]()
    start = test_stage.shown(explorer)["scene"]["panels"]
    begin = explorer.values
    for control in explorer.controls:
        for value in test_stage.elsewhere(explorer.controls[control]):
            panels = test_stage.shown(explorer.set(**{control: value}))["scene"]["panels"]
            assert [panel | {"title": ""} for panel in panels] == [panel | {"title": ""} for panel in start]
        explorer.set(**begin)
