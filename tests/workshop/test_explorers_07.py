"""The explorers of lesson 07: curves from a prior, and the ladder."""

import sys

import numpy as np
import pytest
import test_stage

from workshop import explorers
from workshop.studies import indirect_response as study
from workshop.studies import small_network as small

# The explorers' functions share their modules' names, so the modules are fetched by theirs.
prior, rungs = (sys.modules[f"workshop.explorers.{name}"] for name in ("prior_of_curves", "ladder"))
DOSES = np.logspace(-1.5, 0.5, 41)
TRUTH = study.truth(DOSES, study.TIME)
CURVES = {
    "network of time": np.broadcast_to(TRUTH[30], TRUTH.shape),
    "neural ODE": 0.5 * (TRUTH + TRUTH[30]),
    "UDE": TRUTH + 0.05,
    "targeted UDE": TRUTH + 0.01,
}


def ladder():
    return explorers.ladder(DOSES, study.TIME, TRUTH, CURVES, trained=1.0)


ALL = [explorers.prior_of_curves, ladder]


# A prior on curves


def test_the_prior_curves_have_the_spread_of_the_prior():
    """Of units that are odd in their weights nothing is left on average, and the SD follows from E tanh^2."""
    w = small.from_prior(0.5, 24, 20_000)  # every weight N(0, 1)
    drawn = small.curve(w, np.array([7.5]), "tanh")[:, 0]
    z = np.random.default_rng(5).normal(size=200_000)
    sd = 0.4 * np.sqrt(1 + 24 * np.mean(np.tanh(z) ** 2))
    assert drawn.mean() == pytest.approx(0.9, abs=0.03) and drawn.std() == pytest.approx(sd, rel=0.03)


def test_what_is_said_is_what_is_drawn():
    found = prior.compute(0.1, 12, 20, "tanh")
    w = small.fit(small.data(20), 0.1, 12)
    np.testing.assert_allclose(found.fitted, small.curve(w, prior.GRID, "tanh"))
    trained = np.sqrt(np.mean((small.curve(w, found.given.time, "tanh") - found.given.y) ** 2))
    assert found.trained == pytest.approx(trained)
    early = prior.GRID <= 15
    exact = np.interp(prior.GRID[early], study.FINE, study.truth([1.0])[0])
    assert found.missed == pytest.approx(np.sqrt(np.mean((found.fitted[early] - exact) ** 2)))
    assert found.size == pytest.approx(np.sqrt(np.mean(w**2)))
    assert f"prior SD of {1 / np.sqrt(0.2):.2g}" in prior.say(found) and f"it says {found.fitted[-1]:.2f}" in prior.say(
        found
    )


def test_stronger_priors_make_smaller_weights_and_flatter_curves():
    found = [prior.compute(s, 24, 16, "tanh") for s in (0.001, 0.1, 100.0)]
    assert found[0].size > found[1].size > found[2].size
    assert np.ptp(found[2].fitted) < 0.1 < np.ptp(found[1].fitted)
    assert found[0].trained < found[1].trained < found[2].trained
    bent = [np.abs(np.diff(f.drawn, 2, axis=1)).mean() for f in found]
    assert bent[0] > bent[1] > bent[2]


def test_beyond_the_data_the_activation_speaks():
    tanh, relu = (prior.compute(0.1, 24, 16, a).fitted[prior.GRID > 19] for a in ("tanh", "ReLU"))
    assert np.abs(np.diff(tanh, 2)).max() > 1e-9  # levels off, but smoothly
    np.testing.assert_allclose(np.diff(relu, 2), 0, atol=1e-9)  # a straight line
    with pytest.raises(ValueError, match="positive strength"):
        prior.compute(0.0, 24, 16, "tanh")


# The ladder


def test_the_ladder_shows_the_given_curves_and_their_errors():
    explorer = ladder().set(dose=0.1)
    seen = explorer.result
    assert (seen.place, seen.dose) == (10, pytest.approx(0.1))
    errors = dict(seen.errors)
    assert errors["targeted UDE"] == pytest.approx(0.01) and errors["UDE"] == pytest.approx(0.05)
    by_hand = np.sqrt(np.mean((TRUTH[30] - TRUTH[10]) ** 2))
    assert errors["network of time"] == pytest.approx(by_hand)
    assert errors["neural ODE"] == pytest.approx(by_hand / 2)
    assert [name for name, _ in seen.errors] == list(CURVES)[::-1]  # from the best
    assert "a dose never given" in explorer.text and f"peaks at {TRUTH[10].max():.2f}" in explorer.text
    assert "the dose of the training data" in explorer.set(dose=1.0).text


@pytest.mark.parametrize("dose", [0.033, 0.4, 2.9])
def test_the_nearest_dose_is_shown(dose):
    seen = rungs.compute(rungs.prepare(DOSES, study.TIME, TRUTH, CURVES, 1.0), dose)
    assert abs(np.log(seen.dose / dose)) <= np.log(DOSES[1] / DOSES[0]) / 2 + 1e-9


def test_curves_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="The curves of UDE are"):
        explorers.ladder(DOSES, study.TIME, TRUTH, {"UDE": TRUTH[:, :-1]}, 1.0)
    with pytest.raises(ValueError, match="1 to 4 models, not of 0"):
        explorers.ladder(DOSES, study.TIME, TRUTH, {}, 1.0)
    with pytest.raises(ValueError, match="above zero"):
        rungs.compute(rungs.prepare(DOSES, study.TIME, TRUTH, CURVES, 1.0), 0.0)


# All, as every stage


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage(check, make):
    check(make)


@pytest.mark.parametrize("make", ALL)
def test_the_edges_of_every_control(make):
    test_stage.assert_the_edges_hold(make)


@pytest.mark.parametrize(
    ("make", "moves"),
    [
        (
            explorers.prior_of_curves,
            (
                *({"strength": 0.1}, {"strength": 100.0}, {"strength": 0.001, "points": 40}, {"points": 4}),
                *({"points": 16, "strength": 0.1, "activation": "ReLU"}, {"activation": "sine"}, {"units": 1}),
            ),
        ),
        (ladder, ({"dose": 1.0}, {"dose": 0.1}, {"dose": 3.1})),
    ],
)
def test_axes_stand_still(make, moves):
    explorer = make()
    start = test_stage.shown(explorer)["scene"]["panels"]
    for move in moves:
        assert test_stage.shown(explorer.set(**move))["scene"]["panels"] == start


def test_the_line_that_is_dragged_stands_at_the_dose_that_is_shown():
    explorer = ladder()
    for dose in (0.05, 1.0, 3.0):
        drawn = {
            (mark["panel"], mark["id"]): mark for mark in test_stage.shown(explorer.set(dose=dose))["scene"]["marks"]
        }
        seen = explorer.result
        assert drawn["errors", "dose"]["at"] == [pytest.approx(seen.dose, rel=1e-4)]
        for name, error in seen.errors:
            here = drawn["errors", f"{name} here"]
            assert (here["x"][0], here["y"][0]) == pytest.approx((seen.dose, error), rel=1e-4)


def test_curves_far_outside_of_the_picture_add_no_strokes():
    found = prior.compute(0.001, 24, 16, "tanh")
    marks = {mark.name: mark for mark in prior.scene(found).marks if mark.panel != "errors"}
    assert np.abs(found.drawn).max() > 10 > np.abs(marks["draws"].y).max()
    near = (found.drawn > prior.Y[0]) & (found.drawn < prior.Y[1])
    np.testing.assert_array_equal(marks["draws"].y[near], found.drawn[near])
