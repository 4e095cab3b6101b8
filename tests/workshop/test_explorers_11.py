"""The explorers of lesson 11: chances against a Gaussian posterior's closed forms, and what a sample shows."""

import sys

import numpy as np
import pytest
import test_stage
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from workshop import explorers

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
NAMES = ("one_more_sample", "dose_and_loss")
sample, dosing = (sys.modules[f"workshop.explorers.{name}"] for name in NAMES)
MAKERS = {"one_more_sample": explorers.one_more_sample, "dose_and_loss": explorers.dose_and_loss}
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
    for name, make in MAKERS.items():
        explorer = make()
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
