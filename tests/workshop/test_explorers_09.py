"""The explorers of lesson 09, against SciPy's integrator and against the mechanism they are made from."""

import sys
from functools import partial

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import test_stage
from jaxtyping import Array
from scipy.integrate import solve_ivp

import mefit as mf
from workshop import explorers
from workshop.studies import effect_study as study

inside, trial = (sys.modules[f"workshop.explorers.{name}"] for name in ("inside_the_ode", "virtual_trial"))


class DeepNLME(mf.Model):
    """The model of the lesson."""

    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(1.0))
    typical: Array = mf.positive(names=("Ka", "V", "R0", "CL"))
    sd: Array = mf.positive(names=("Ka", "V", "R0"))
    sigma: Array = mf.positive(names=("drug", "response"))

    def random_effects(self):
        return dist.Normal(jnp.zeros(5), 1.0)

    def observations(self, eta, subject):
        ka, v, r0 = self.typical[:3] * jnp.exp(self.sd * eta[:3])
        drug = partial(mf.pk.oral_one_compartment, subject, ka=ka, cl=self.typical[3], v=v)
        response = study.follow(lambda c, r: self.net(c, r, eta[2:]), r0, drug, subject.time)
        return study.measured(drug(time=subject.time), response, self.sigma)


NET = mf.networks.MLP(5, (7, 7), centre=(0.2, 0.8, 0.0, 0.0, 0.0), spread=(0.2, 0.5, 1.0, 1.0, 1.0), last=0.5, seed=3)
WEIGHTS = [np.asarray(weights) for weights in NET.weights]
BIASES = [np.asarray(biases) for biases in NET.biases]
MODEL = DeepNLME(
    net=NET,
    typical=jnp.array([0.5, 1.0, 0.4, 1.0]),
    sd=jnp.array([0.3, 0.3, 0.4]),
    sigma=jnp.array([0.02, 0.1]),
)


class Effects(mf.Model):
    """What a second stage leaves: a network of covariates, and a spread."""

    network: mf.networks.MLP = mf.weights()
    omega: Array = mf.diagonal_covariance()

    def observations(self, eta, subject):
        raise NotImplementedError


EFFECTS = Effects(network=study.network(seed=1), omega=0.05 * jnp.eye(5))
ALL = [partial(explorers.inside_the_ode, MODEL), partial(explorers.virtual_trial, study.true_mechanism(), EFFECTS)]
INSIDE = {"dial_1": 0.0, "dial_2": 0.0, "dial_3": 0.0, "dose": 1.0}
TRIAL = {"dose": 0.4, "interval": 12, "people_an_arm": 100, "target": 2.0, "clinic": trial.CLINICS[0], "seed": 1}


# Inside the differential equation


def network_in_numpy(c, r, dials):
    """What NET is by its definition; SciPy asks for it thousands of times."""
    h = (np.array([c, r, *dials]) - np.array(NET.centre)) / np.array(NET.spread)
    for weights, biases in zip(WEIGHTS[:-1], BIASES[:-1], strict=True):
        h = np.tanh(weights @ h + biases)
    return float((WEIGHTS[-1] @ h + BIASES[-1])[0])


def test_the_path_solves_the_networks_equation():
    dials, dose = np.array([0.7, -1.0, 0.4]), 2.0
    found = inside.compute(MODEL, *dials, dose)
    given = np.array([0.0, inside.GIVEN])

    def drug(t, ka=0.5, ke=1.0):
        since = np.maximum(t - given, 0.0)
        return float(np.sum(dose * ka / (ka - ke) * (np.exp(-ke * since) - np.exp(-ka * since))))

    def rate(t, y):
        return [network_in_numpy(drug(t), y[0], dials)]

    start = 0.4 * np.exp(0.4 * dials[0])
    out = solve_ivp(rate, (0, 24), [start], t_eval=inside.TIME, rtol=1e-8, max_step=0.25)
    np.testing.assert_allclose(found.drug, [drug(t) for t in inside.TIME], atol=1e-9)
    np.testing.assert_allclose(found.response, out.y[0], atol=2e-3)
    typical = inside.compute(MODEL, 0.0, 0.0, 0.0, dose)
    np.testing.assert_allclose(found.typical, typical.response, rtol=1e-12)


def test_the_surface_is_the_network_and_its_line_of_rest():
    found = inside.compute(MODEL, 0.5, 0.0, -0.5, 1.0)
    for i, j in ((0, 0), (5, 20), (35, 40)):
        by_hand = NET(inside.C[j], inside.R[i], np.array([0.5, 0.0, -0.5]))
        assert found.surface[i, j] == pytest.approx(float(by_hand))
    slope = 1.0 + inside.C - 0.8 * inside.R[:, None]  # at rest where R = (1 + c) / 0.8
    level = inside._zero(slope)
    there = level <= inside.R[-1]
    np.testing.assert_allclose(level[there], ((1.0 + inside.C) / 0.8)[there], rtol=1e-9)
    assert np.isnan(inside._zero(np.ones_like(slope))).all()


def test_how_much_of_a_path_was_seen():
    states, most = inside.seen()
    assert states.shape == (250, 2) and np.all(states.max(0) == most) and 0.2 < most[0] < 1.0
    assert inside.compute(MODEL, 0.0, 0.0, 0.0, 0.5).inside > inside.compute(MODEL, 0.0, 0.0, 0.0, 10.0).inside
    with pytest.raises(ValueError, match="positive number of mg"):
        inside.compute(MODEL, 0.0, 0.0, 0.0, 0.0)


# A virtual trial


def test_an_arm_is_the_mechanism_with_its_people():
    model, arm, who = study.true_mechanism(), 1, 7
    found = trial.compute(model, EFFECTS, **TRIAL)
    x, z = trial.people(trial.CLINICS[0], 1)
    eta = EFFECTS.network(x[arm, who, 1:]) + np.sqrt(0.05) * z[arm, who]
    doses = mf.regimen(0.4, every=12, count=6)
    covariates = dict(zip(study.COVARIATES, x[arm, who], strict=True))
    subject = mf.Subject(trial.TIME, 0 * trial.TIME, trial.TIME >= 0, covariates, doses)
    response = np.asarray(model.observations(eta, subject)["response"].mean) / x[arm, who, 0]
    assert found.doses == 6
    assert found.outcomes[arm, who] == pytest.approx(response[trial.LAST_DAY].mean(), rel=1e-9)
    np.testing.assert_allclose(found.outcomes[0], 1.0, atol=1e-9)  # nothing given, nothing moves
    assert found.reached[1] == np.mean(found.outcomes[1] > 2.0)
    assert found.reached[0] == 0.0 and found.reached[1] < found.expected[2]


def test_what_a_trial_should_show():
    def expected(**moved):
        return trial.compute(study.true_mechanism(), Truth(0.05 * jnp.eye(5)), **TRIAL | moved).expected[1]

    assert expected(interval=6, dose=0.2) > expected() > expected(interval=24, dose=0.8)  # the effect saturates
    assert expected(clinic=trial.CLINICS[1]) < expected() - 0.1
    few = trial.compute(study.true_mechanism(), EFFECTS, **TRIAL | {"people_an_arm": 20})
    assert few.outcomes.shape == (3, 20) and "20 people per arm, 6 doses." in trial.say(few)
    for moved, sentence in (({"people_an_arm": 0}, "from 1 to 400 people per arm"), ({"dose": 0.0}, "a positive dose")):
        with pytest.raises(ValueError, match=f"A trial needs {sentence}"):
            trial.compute(study.true_mechanism(), EFFECTS, **TRIAL | moved)


class Truth(eqx.Module):
    """What the covariates truly do, in the place of a network."""

    omega: Array

    def network(self, x):
        return study.truth_of_covariates(x)


# All, as every explorer


@pytest.mark.parametrize("make", ALL, ids=["inside_the_ode", "virtual_trial"])
@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage(check, make):
    check(make)


def test_the_picture_of_a_trial_shows_who_reaches_the_target():
    explorer = ALL[1]()
    start = [{**panel, "title": ""} for panel in test_stage.shown(explorer)["scene"]["panels"]]
    found = explorer.set(target=1.5, interval=6, people_an_arm=50).result
    told = test_stage.shown(explorer)["scene"]
    assert [{**panel, "title": ""} for panel in told["panels"]] == start
    marks = {(mark["panel"], mark["id"]): mark for mark in told["marks"]}
    for arm in range(3):
        above = marks["outcomes", f"above {arm}"]["x"]
        assert len(above) + len(marks["outcomes", f"below {arm}"]["x"]) == 50
        assert len(above) == round(50 * found.reached[arm]) and min(above, default=2) >= 1.5 - 1e-3
    doses = marks["arm1", "doses"]
    assert doses["x"][1] == 6 and doses["drag"][0]["x"] == "interval" and len(doses["x"]) == found.doses


def test_the_axes_stand_still_under_the_dials():
    explorer = ALL[0]()
    start = test_stage.shown(explorer)["scene"]["panels"]
    for move in ({"dial_2": -1.5}, {"dial_2": 1.5}, {"dial_2": 0.0, "dial_3": -1.5}, {"dial_3": 1.5}):
        assert test_stage.shown(explorer.set(**move))["scene"]["panels"] == start
    dials = {
        m.name: float(m.x) for m in inside.scene(explorer.result).marks if m.name in ("dial 1", "dial 2", "dial 3")
    }
    assert dials == {"dial 1": 0.0, "dial 2": 0.0, "dial 3": 1.5}


def test_the_surface_is_shaded_where_it_rises_and_where_it_falls():
    found = inside.compute(MODEL, 0.5, 0.0, -0.5, 1.0)
    rises, falls = (m.z for m in inside.scene(found).marks if m.name in ("rises", "falls"))
    np.testing.assert_allclose(np.clip(found.surface / inside.LIMIT, -1, 1), rises - falls)
    assert np.all((rises == 0) | (falls == 0))


@pytest.mark.parametrize("make", ALL, ids=["inside_the_ode", "virtual_trial"])
def test_the_edges_of_every_control(make):
    test_stage.assert_the_edges_hold(make)


def test_a_trial_says_whether_it_can_tell_the_doses_apart():
    found = trial.compute(study.true_mechanism(), EFFECTS, **TRIAL)
    for n, share, verdict in ((100, 0.7, "a gain that this trial shows"), (10, 0.6, "too little for a trial")):
        small = found._replace(outcomes=found.outcomes[:, :n], reached=np.array([0.0, 0.5, share]))
        first, _ = trial.say(small).split("\n")
        error = 100 * np.sqrt((0.25 + share * (1 - share)) / n)
        assert first.startswith(f"Twice the dose brings {100 * (share - 0.5):.0f} in a hundred more to the target")
        assert f"give or take {error:.0f}: {verdict}" in first


def test_no_sentence_is_longer_than_two_lines():
    said = trial.say(trial.compute(study.true_mechanism(), EFFECTS, **TRIAL | {"people_an_arm": 400}))
    assert all(len(part) < 160 for part in said.split("\n"))
    assert len(inside.say(inside.compute(MODEL, **INSIDE))) < 245
