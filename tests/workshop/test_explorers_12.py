"""The explorers of lesson 12: a gate against a search, a patient against Bayes' rule, sets that split against root
finding, and calibration against the Beta law of its coverage."""

import sys

import numpy as np
import pytest
import test_stage
from models import Line
from scipy.optimize import brentq, minimize
from scipy.special import expit
from scipy.stats import beta, multivariate_normal, norm

import mefit as mf
from workshop import explorers
from workshop.studies import liver

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
NAMES = ("gate_by_hand", "class_by_class", "split_set", "calibrated")
turned, known, splitting, calibrating = (sys.modules[f"workshop.explorers.{name}"] for name in NAMES)


def patients():
    """A mixture near the fitted one, and some real patients: what the first two explorers take."""
    fitted, _, new = liver.split()
    rising = Line(beta=[1.04, 0.268], omega=np.array([[1.0, -0.001], [-0.001, 0.0216]]), sigma=0.465)
    steady = Line(beta=[-0.151, 0.057], omega=np.array([[0.265, 0.011], [0.011, 0.0041]]), sigma=0.217)
    gate = mf.LinearGate(fitted, liver.GATE, [[-0.36, 0.46, -0.43, -0.43, -0.57, 0.83]])
    return mf.MixtureOfExperts((rising, steady), gate=gate), new


@pytest.fixture(scope="module", name="given")
def given_patients():
    return patients()


@pytest.fixture(scope="module", name="gate")
def gate_of(given):
    return turned.prepare(*given)


@pytest.fixture(scope="module", name="newcomers")
def prepared(given):
    return known.prepare(*given)


MAKERS = {
    "gate_by_hand": lambda: explorers.gate_by_hand(*patients()),
    "class_by_class": lambda: explorers.class_by_class(*patients()),
    "split_set": explorers.split_set,
    "calibrated": explorers.calibrated,
}
ASKS = {"gate_by_hand": "best", "class_by_class": "to come", "calibrated": "truth"}  # those with an answer to show


# A gate by hand


def by_scipy(kind, time, y):
    z = np.stack([np.ones(time.size), time], axis=1)
    covariance = z @ np.asarray(kind.omega) @ z.T + float(kind.sigma) ** 2 * np.eye(time.size)
    return multivariate_normal.logpdf(y, z @ np.asarray(kind.beta), covariance)


def test_the_log_likelihood_of_a_gate_is_that_by_scipy(given, gate):
    model, people = given
    hand = turned.compute(gate, 0.9, 0.2)
    total = 0.0
    for i, subject in enumerate(people):
        seen = np.asarray(subject.mask)
        time, y = np.asarray(subject.time)[seen], np.asarray(subject.y)[seen]
        along = (float(np.asarray(subject.covariates["albumin"])[0]) - 2.0) / 2.6
        share = expit((1 - along) * np.log(0.9 / 0.1) + along * np.log(0.2 / 0.8))
        each = np.array([share, 1 - share]) * np.exp([by_scipy(kind, time, y) for kind in model.experts])
        total += np.log(each.sum())
        assert hand.chance[i] == pytest.approx(each[0] / each.sum(), abs=1e-9)
    assert gate.best - hand.below == pytest.approx(total, abs=1e-8)


def test_no_hand_does_better_than_the_best_gate(gate):
    """Found again by another search, from another start."""
    found = minimize(
        lambda x: turned.compute(gate, *np.clip(expit(x), 0.02, 0.98)).below, [1.0, -1.0], method="Nelder-Mead"
    )
    assert 0.0 <= found.fun < 0.05 or max(abs(np.array(gate.ends) - 0.5)) > 0.48
    flat = min(turned.compute(gate, share, share).below for share in np.linspace(0.1, 0.9, 161))
    assert gate.best - gate.flat == pytest.approx(flat, abs=0.01)
    assert "says the opposite" in turned.say(turned.compute(gate, 0.05, 0.95))
    assert "Close to the best" in turned.say(turned.compute(gate, *np.clip(gate.ends, 0.02, 0.98)))


def test_the_gate_alone_is_a_line_of_log_odds(gate):
    found = turned.compute(gate, 0.9, 0.1, turned.GATE)
    order = np.argsort(gate.w)
    assert np.all(np.diff(found.chance[order]) <= 0.0)
    middle = turned.shares(np.log([9.0, 1 / 9]), np.array([3.3]))
    assert middle[0] == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"from 0\.02 to 0\.98"):
        turned.compute(gate, 0.0, 0.5)


# A patient, measurement by measurement


def test_chances_are_bayes_rule_with_the_gate_as_the_prior(given, newcomers):
    model, people = given
    found = known.compute(newcomers, 2.1, 13)
    subject = people[12]
    share = np.exp(np.asarray(model.gate.log_shares(subject)))
    np.testing.assert_allclose(found.chances[0], share, atol=1e-12)
    for n in range(1, found.time.size + 1):
        each = share * np.exp([by_scipy(kind, found.time[:n], found.y[:n]) for kind in model.experts])
        np.testing.assert_allclose(found.chances[n], each / each.sum(), atol=1e-9)
    assert found.time.size == np.sum(np.asarray(subject.time)[np.asarray(subject.mask)] < 2.1)


def test_an_imagined_measurement_counts_only_if_it_is_to(newcomers):
    without = known.compute(newcomers, 3.0, 2, imagined=3.4)
    with_it = known.compute(newcomers, 3.0, 2, imagined=3.4, imagine=True)
    assert with_it.time.size == without.time.size + 1 and with_it.y[-1] == 3.4
    assert with_it.chances[-1, 0] > 0.99 > 0.5 > without.chances[-1, 0]
    with pytest.raises(ValueError, match="from 0 to 8 years"):
        known.compute(newcomers, 9.0)


def test_every_set_holds_what_it_says(newcomers):
    """P(set) by normal distribution functions; outside of it the density is lower than inside."""
    found = known.compute(newcomers, 0.6, 6)
    held = 0.0
    for low, high in found.slice.parts:
        held += float(np.diff(found.next.below(np.array([[low, high]]))[0])[0])
    assert held == pytest.approx(known.LEVEL, abs=2e-3)
    low, high = found.slice.parts[0, 0], found.slice.parts[-1, 1]
    ends = found.next.density(np.array([[low, high]]))[0]
    np.testing.assert_allclose(ends, found.slice.height, rtol=0.05)


# A set that splits


def density(y, distance, share):
    return share * norm.pdf(y) + (1 - share) * norm.pdf(y, distance, 0.7)


@pytest.mark.parametrize(("distance", "share", "parts"), [(2.0, 0.56, 1), (5.0, 0.56, 2), (5.0, 0.9, 2)])
def test_the_ends_of_a_set_are_where_the_density_is_the_same(distance, share, parts):
    found = splitting.compute(distance, share, 0.95)
    assert len(found.smallest.parts) == parts
    ends = found.smallest.parts.ravel()
    np.testing.assert_allclose(density(ends, distance, share), found.smallest.height, rtol=0.02)
    held = sum(
        share * np.diff(norm.cdf(p)) + (1 - share) * np.diff(norm.cdf(p, distance, 0.7)) for p in ends.reshape(-1, 2)
    )
    assert float(held[0]) == pytest.approx(0.95, abs=1e-3)
    low, high = found.central
    for end, probability in ((low, 0.025), (high, 0.975)):
        below = brentq(
            lambda y, p=probability: share * norm.cdf(y) + (1 - share) * norm.cdf(y, distance, 0.7) - p, -9, 19
        )
        assert end == pytest.approx(below, abs=1e-8)
    assert found.smallest.length <= found.width + 0.01


def test_the_set_splits_when_the_valley_sinks_below_the_cut():
    """At this distance the probability of densities above the valley's lowest is 95%."""

    def spare(distance):
        y = np.linspace(-6.0, 12.0, 90_001)
        p = density(y, distance, 0.56)
        between = (y > 0.5) & (y < distance - 0.3)
        return np.sum(p[p >= p[between].min()]) * (y[1] - y[0]) - 0.95

    splits = brentq(spare, 2.5, 5.0, xtol=1e-4)
    assert len(splitting.compute(splits - 0.05, 0.56, 0.95).smallest.parts) == 1
    assert len(splitting.compute(splits + 0.05, 0.56, 0.95).smallest.parts) == 2
    assert splits == pytest.approx(3.5, abs=0.1)  # what the lesson asks for


# Calibration


@pytest.mark.parametrize("truth", calibrating.TRUTHS)
def test_coverage_over_lots_of_people_is_the_law_of_its_place(truth):
    """Beta(k, n + 1 - k) whatever the truth: mean and SD over 300 lots; before, it is wrong by any amount."""
    held = np.array([calibrating.compute(truth, 0.6, 50, 0.9, draw).held for draw in range(300)])
    law = beta(46, 5)
    assert held[:, 1].mean() == pytest.approx(law.mean(), abs=4 * law.std() / np.sqrt(300))
    assert held[:, 1].std() == pytest.approx(law.std(), rel=0.2)
    assert np.ptp(held[:, 0]) == 0.0 and held[0, 0] < 0.85


@pytest.mark.parametrize("truth", calibrating.TRUTHS)
def test_a_truth_has_mean_0_and_sd_1(truth):
    p = (np.arange(200_000) + 0.5) / 200_000
    y = calibrating.LAWS[truth].quantile(p)
    assert y.mean() == pytest.approx(0.0, abs=1e-3) and y.std() == pytest.approx(1.0, abs=0.02)
    half = 1.3
    assert calibrating.coverage(truth, half) == pytest.approx(np.mean(np.abs(y) <= half), abs=1e-3)
    x = np.linspace(-1.0, 1.0, 2001)
    inside = np.trapezoid(calibrating.LAWS[truth].density(x), x)
    assert inside == pytest.approx(calibrating.coverage(truth, 1.0), abs=2e-3)


def test_a_model_that_is_right_needs_hardly_any_calibration():
    found = calibrating.compute(calibrating.NORMAL, 1.0, 200, 0.9)
    assert found.held[0] == pytest.approx(0.9, abs=1e-9) and found.after == pytest.approx(found.before, rel=0.15)
    assert found.place == 181 and found.scores[found.place - 1] == found.after
    with pytest.raises(ValueError, match="20 to 200 people"):
        calibrating.compute(calibrating.NORMAL, 1.0, 10, 0.9)


# All of them


def test_the_answer_is_hidden_until_it_is_asked_for():
    for name, mark in ASKS.items():
        explorer = MAKERS[name]()
        hidden = {(m["panel"], m["id"]) for m in test_stage.shown(explorer)["scene"]["marks"]}
        explorer.set(answer=True)
        shown = {(m["panel"], m["id"]) for m in test_stage.shown(explorer)["scene"]["marks"]}
        assert {own for _, own in shown - hidden} == {mark}, name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage_of_12(check, name):
    check(MAKERS[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_edges_of_every_control_of_12(name):
    test_stage.assert_the_edges_hold(MAKERS[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_axes_of_12_stand_still(name):
    """The title names the person, and nothing else of a panel moves."""
    explorer = MAKERS[name]()
    start = test_stage.shown(explorer)["scene"]["panels"]
    begin = explorer.values
    for control in explorer.controls:
        for value in test_stage.elsewhere(explorer.controls[control]):
            panels = test_stage.shown(explorer.set(**{control: value}))["scene"]["panels"]
            assert [panel | {"title": ""} for panel in panels] == [panel | {"title": ""} for panel in start]
        explorer.set(**begin)
