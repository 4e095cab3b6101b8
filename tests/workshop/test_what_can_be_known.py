"""The explorer of lesson 06 on what a study can know, against finite differences and simulated studies."""

import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
import test_stage
from models import OralLog
from scipy.optimize import approx_fprime
from test_explorers_06 import oral

import mefit as mf
from workshop import explorers

known = sys.modules["workshop.explorers.what_can_be_known"]  # the function has its module's name
DESIGNS = [(0.5, 2.0, 12.0, 24.0), (4.0, 8.0, 12.0, 20.0), (1.0, 6.0, 24.0)]


def gaussian(times, theta, logs, j=None):
    """Mean and covariance of log y to first order, from the formula, with finite differences for J unless given."""
    t = np.array(times)

    def mean(x):
        return np.log(oral(t, *np.exp(x)))

    if j is None:
        j = approx_fprime(theta, mean, 1e-6)
    return mean(theta), (j * np.exp(2 * logs[:3])) @ j.T + np.exp(2 * logs[3]) * np.eye(t.size)


@pytest.mark.parametrize("times", DESIGNS)
def test_information_is_the_expected_hessian_of_the_gaussian_likelihood(times):
    """E[-log p(y; b)] under a has the Hessian in b, at b = a, that is the information; by finite differences."""
    theta, logs = np.log(known.TYPICAL), np.log([*known.OMEGA, 0.2])
    j = approx_fprime(theta, lambda x: gaussian(times, x, logs, np.zeros((len(times), 3)))[0], 1e-7)
    np.testing.assert_allclose(known.sensitivity(times), j, atol=1e-5)
    j, (m0, s0) = known.sensitivity(times), gaussian(times, theta, logs, known.sensitivity(times))

    def cross_entropy(x):
        m, s = gaussian(times, theta + x[:3], logs + x[3:], j)
        gap = m - m0
        return 0.5 * (np.linalg.slogdet(s)[1] + np.trace(np.linalg.solve(s, s0)) + gap @ np.linalg.solve(s, gap))

    h, hessian = 1e-3, np.zeros((7, 7))
    for a, b in np.ndindex(7, 7):
        u, w = h * np.eye(7)[a], h * np.eye(7)[b]
        corners = cross_entropy(u + w) - cross_entropy(u - w) - cross_entropy(w - u) + cross_entropy(-u - w)
        hessian[a, b] = 50 * corners / (4 * h**2)
    fixed, variance = known.information(times, 50, 0.2)
    scale = np.abs(hessian).max()
    np.testing.assert_allclose(fixed, hessian[:3, :3], atol=1e-4 * scale)
    np.testing.assert_allclose(variance, hessian[3:, 3:], atol=1e-4 * scale)
    np.testing.assert_allclose(hessian[:3, 3:], 0.0, atol=1e-4 * scale)
    inverse = np.sqrt(np.diagonal(np.linalg.inv(hessian)))[:6]
    np.testing.assert_allclose(known.expected(times, 50, 0.2), inverse, rtol=5e-3)


def test_standard_errors_are_those_of_simulated_linear_studies():
    """Generalised least squares on 20,000 studies of the first-order model: the spread of its estimates."""
    times, subjects = DESIGNS[0], 10
    j = known.sensitivity(times)
    s = (j * known.OMEGA**2) @ j.T + 0.2**2 * np.eye(4)
    y = np.random.default_rng(1).multivariate_normal(np.zeros(4), s, (20_000, subjects)).mean(1)
    weights = np.linalg.solve(j.T @ np.linalg.solve(s, j), j.T) @ np.linalg.inv(s)
    found = known.compute(*times, subjects, 0.2)
    np.testing.assert_allclose((y @ weights.T).std(0), found.rse[:3], rtol=0.02)


def test_more_subjects_and_more_samples():
    few, many = known.compute(*DESIGNS[0], 10, 0.2), known.compute(*DESIGNS[0], 40, 0.2)
    np.testing.assert_allclose(few.rse, 2 * many.rse, rtol=1e-9)
    assert (many.rich < many.rse).all()
    # no sampling, however rich, does better than knowing every subject: omega / sqrt(N) and 1 / sqrt(2 N)
    exact = known.expected(tuple(np.linspace(0.1, 24, 400)), 40, 0.05)
    floor = np.append(known.OMEGA / np.sqrt(40), np.full(3, 1 / np.sqrt(80)))
    assert (exact > floor).all()
    np.testing.assert_allclose(exact, floor, rtol=0.02)
    assert known.compute(20.0, 8.0, 12.0, 4.0, 40, 0.2).times == DESIGNS[1]  # in whatever order


def test_what_cannot_be_known_is_said():
    default = explorers.what_can_be_known().result
    assert default.unknown == ["ω of ka"] and 0.5 < default.rse[2] < 1
    two = known.compute(0.0, 0.0, 1.0, 24.0, 400, 0.05)  # two numbers for three typical values
    assert two.unknown == list(known.NAMES) and np.isinf(two.rse).all()
    assert known.say(two) == f"Cannot be known: {', '.join(known.NAMES)}.\n400 subjects, sampled at 1, 24 h."
    same = known.compute(4.0, 4.0, 4.0, 24.0, 40, 0.2)  # repeats tell about sigma, not about a third parameter
    assert np.isinf(same.rse[:3]).all()
    assert known.say(known.compute(0, 0, 0, 0, 40, 0.2)) == "Nobody gives a sample, so nothing can be known."
    # singular, but not for all: the first is singled out, the others only together
    partly = np.array([[4.0, 0, 0], [0, 1, 1], [0, 1, 1]])
    np.testing.assert_allclose(known.standard_errors(partly), [0.5, np.inf, np.inf])
    with pytest.raises(ValueError, match="A study needs a subject or more"):
        known.compute(1.0, 2.0, 3.0, -4.0, 40, 0.2)


@pytest.mark.slow
def test_standard_errors_are_those_of_simulated_and_refitted_studies():
    """The whole nonlinear model, 200 times: what first order expects is what Laplace's estimates scatter by."""
    cl, v, ka = known.TYPICAL
    truth, studies = OralLog(cl=cl, v=v, ka=ka, omega=np.diag(known.OMEGA**2), sigma=0.2), 200
    times = np.array(DESIGNS[0])
    blank = mf.Subject(times, np.zeros(4), np.ones(4, bool), {}, mf.Doses.of(100.0))
    design = mf.Population.from_subjects([blank] * 60)
    logs = []
    for key in jax.random.split(jax.random.key(3), studies):
        fit = mf.fit(truth, mf.simulate(truth, design, key), mf.Laplace(), progress=False).model
        logs.append(np.log([fit.cl, fit.v, fit.ka, *np.sqrt(np.diagonal(fit.omega))]))
    expected = known.expected(DESIGNS[0], 60, 0.2)
    # an SD from 200 studies is within 10% in nineteen of twenty; the rest is what first order leaves out
    np.testing.assert_allclose(np.std(logs, 0), expected, rtol=0.2)


@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage(check):
    check(explorers.what_can_be_known)


def test_the_edges_of_every_control():
    test_stage.assert_the_edges_hold(explorers.what_can_be_known)


def test_every_sample_is_taken_hold_of_on_the_curve():
    explorer = explorers.what_can_be_known()
    start = test_stage.shown(explorer)["scene"]["panels"]
    told = test_stage.shown(explorer.set(t2=0.0, t4=3.0))["scene"]
    assert told["panels"] == start
    (samples,) = (mark for mark in told["marks"] if mark["id"] == "samples")
    assert samples["x"] == [4.0, 0.0, 12.0, 3.0]
    assert [(drag["x"], drag["index"], drag["along"]) for drag in samples["drag"]] == [
        (f"t{k}", k - 1, "typical") for k in (1, 2, 3, 4)
    ]
    np.testing.assert_allclose(samples["y"], oral(np.array(samples["x"]), *known.TYPICAL), atol=1e-3)


def test_no_sentence_is_longer_than_two_lines():
    longest = known.compute(10.25, 11.75, 12.25, 23.75, 400, 0.2)
    for rse in (np.full(6, 0.099), np.full(6, np.inf), np.array([0.01, 0.02, 0.03, 0.04, np.inf, 2.0])):
        first, more = known.say(replace(longest, rse=rse)).split("\n")
        assert len(first) < 130 and len(more) < 180
