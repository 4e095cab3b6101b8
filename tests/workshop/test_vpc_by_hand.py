"""The visual predictive check by hand of lesson 05, against integration, percentiles one by one and the library."""

import dataclasses
import sys

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import test_stage
from jaxtyping import Array

import mefit as mf
from workshop import explorers

vpc = sys.modules["workshop.explorers.vpc_by_hand"]  # the function has its module's name
EVERYONE, WEAK, STRONG = (
    (vpc.WEAKEST, vpc.STRONGEST),
    (vpc.WEAKEST, vpc.MIDDLE),
    (vpc.MIDDLE, vpc.STRONGEST),
)


def test_concentrations_solve_the_equations():
    """Both curves against the steps of absorption integrated numerically."""
    for steps in (1, 2):
        model = vpc.Candidate(1.1, 4.0, 30.0, (0.1, 0.1, 0.1), 0.1, 0.1, steps=steps)
        found = vpc.concentration(model, np.array([100.0]), np.array([60.0]), np.zeros((1, 3)))[0]
        t = np.linspace(0, 24, 480_001)
        into = 1.1 * np.exp(-1.1 * t) if steps == 1 else 1.1**2 * t * np.exp(-1.1 * t)
        ke = 4.0 * (60 / 90) / 30
        area = np.cumsum(into * np.exp(ke * t)) * (t[1] - t[0])
        np.testing.assert_allclose(found, 100 / 30 * np.interp(vpc.TIMES, t, area * np.exp(-ke * t)), rtol=1e-3)


@pytest.mark.parametrize("corrected", [False, True])
def test_bands_are_those_of_percentiles_one_by_one(corrected):
    found = vpc.compute(vpc.ERROR, *WEAK, corrected, 50)
    dose, kidney, y = vpc.study()
    weak = kidney <= vpc.MIDDLE
    assert 0.45 < weak.mean() < 0.55 and vpc.WEAKEST < kidney.min() and kidney.max() < vpc.STRONGEST
    pred = vpc.concentration(vpc.MODELS[vpc.ERROR], dose[weak], kidney[weak], np.zeros((weak.sum(), 3)))
    factor = np.median(pred, 0) / pred if corrected else np.ones_like(pred)
    j = 3
    np.testing.assert_allclose(found.observed[:, j], np.percentile((y[weak] * factor)[:, j], [10, 50, 90]))
    each = [np.percentile((s[weak] * factor)[:, j], 90) for s in vpc._simulated(vpc.ERROR)[:50]]
    np.testing.assert_allclose([found.low[2, j], found.high[2, j]], np.percentile(each, [5, 95]))


def test_each_fault_is_seen_where_it_can_be():
    def outside(model, who=EVERYONE, corrected=False):
        return int(vpc.compute(model, *who, corrected).outside.sum())

    assert all(outside(vpc.RIGHT, who, c) <= 4 for who in (EVERYONE, WEAK, STRONG) for c in (False, True))
    assert outside(vpc.ABSORPTION) >= 8 and outside(vpc.ABSORPTION, corrected=True) >= 12
    assert outside(vpc.ERROR) >= 5 and outside(vpc.ERROR, corrected=True) >= 5
    assert outside(vpc.KIDNEY) <= 4  # averages out over people
    assert outside(vpc.KIDNEY, WEAK) >= 8 and outside(vpc.KIDNEY, STRONG) >= 8


def test_the_check_says_how_many_lie_outside_and_what_that_means():
    def said(*moves):
        return vpc.say(vpc.compute(*moves))

    assert said(vpc.KIDNEY, *EVERYONE, False).startswith(
        "0 of the 24 percentiles of the data lie outside their bands, no more than chance would put there."
    )
    assert "far more than chance would put there" in said(vpc.ABSORPTION, *EVERYONE, False)
    assert "more than chance usually puts there" in said(vpc.ERROR, *EVERYONE, False)
    one = vpc.compute(vpc.RIGHT, *EVERYONE, False)
    high = one.high.copy()
    high[one.outside] = np.inf
    low = one.low.copy()
    low[one.outside] = -np.inf
    high[0, 0] = one.observed[0, 0] - 1
    assert vpc.say(dataclasses.replace(one, low=low, high=high)).startswith(
        "1 of the 24 percentiles of the data lies outside its band,"
    )
    with pytest.raises(ValueError, match="needs ten studies at least"):
        vpc.compute(vpc.RIGHT, *EVERYONE, False, 5)
    with pytest.raises(explorers.Refused, match="Only 0 people have a kidney function from 90 to 40 mL/min"):
        vpc.compute(vpc.RIGHT, 90, 40, False)


def test_how_many_lie_outside_by_chance():
    """Simulated studies of the right model, checked against that model: what the words of the sentence rest on."""
    for who in (EVERYONE, WEAK):
        simulated = vpc._percentiles(vpc.RIGHT, *who, False, vpc.MOST_STUDIES)[2]
        low, high = np.percentile(simulated, vpc.BAND, axis=0)
        outside = ((simulated < low) | (simulated > high)).sum((1, 2))
        assert outside.mean() == pytest.approx(2.4, abs=0.1)
        assert np.mean(outside >= 5) == pytest.approx(1 / 8, abs=0.04)
        assert np.mean(outside >= 7) == pytest.approx(0.03, abs=0.015)


class OneStep(mf.Model):
    """The models of the check, for the library."""

    ka: Array = mf.positive()
    cl: Array = mf.positive()
    v: Array = mf.positive()
    omega: Array = mf.diagonal_covariance(names=("ka", "cl", "v"))
    additive: Array = mf.positive()
    proportional: Array = mf.positive()
    kidney: Array = mf.real()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def inside(self, ka, gap, t):
        return ka / gap * -jnp.expm1(-gap * t)

    def observations(self, eta, subject):
        ka, cl, v = jnp.array([self.ka, self.cl, self.v]) * jnp.exp(eta)
        ke = cl * (subject.covariates["kidney"] / 90) ** self.kidney / v
        f = subject.covariates["dose"] / v * self.inside(ka, ka - ke, subject.time) * jnp.exp(-ke * subject.time)
        return dist.Normal(f, jnp.sqrt(self.additive**2 + (self.proportional * f) ** 2))


class TwoSteps(OneStep):
    def inside(self, ka, gap, t):
        return (ka / gap) ** 2 * (1 - (1 + gap * t) * jnp.exp(-gap * t))


@pytest.mark.slow
@pytest.mark.parametrize("name", [vpc.ERROR, vpc.ABSORPTION, vpc.KIDNEY])
def test_wrong_models_have_the_values_that_fit_best(name):
    kept, (dose, kidney, y) = vpc.MODELS[name], vpc.study()
    none = mf.Doses(*(jnp.zeros((len(y), 0)) for _ in range(4)))
    covariates = {"dose": dose, "kidney": kidney}
    people = mf.Subject(jnp.broadcast_to(vpc.TIMES, y.shape), y, jnp.ones(y.shape), covariates, none)
    population = mf.Population(people, tuple(range(len(y))))
    values = {n: getattr(kept, n) for n in ("ka", "cl", "v", "additive", "kidney")}
    values |= {"omega": np.diag(np.square(kept.omega)), "proportional": max(kept.proportional, 1e-12)}
    fixed = ("kidney", "proportional") if kept.proportional == 0 else ("kidney",)
    start = (TwoSteps if kept.steps == 2 else OneStep)(**values)
    fit = mf.fit(start, population, mf.Laplace(), fixed=fixed, progress=False)
    assert fit.converged
    for n in ("ka", "cl", "v", "additive", "proportional"):
        assert float(getattr(fit.model, n)) == pytest.approx(getattr(kept, n), rel=5e-3, abs=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diagonal(fit.model.omega)), kept.omega, rtol=5e-3)


@pytest.mark.parametrize("check", (*test_stage.OF_EVERY_STAGE, test_stage.check_a_sentence_has_three_numbers_at_most))
def test_as_every_stage(check):
    check(explorers.vpc_by_hand)


def test_the_edges_of_every_control():
    test_stage.assert_the_edges_hold(explorers.vpc_by_hand)


def test_who_is_looked_at_is_shown_beside_the_check():
    explorer = explorers.vpc_by_hand()
    start = test_stage.shown(explorer)["scene"]["panels"]
    told = test_stage.shown(explorer.set(high=vpc.MIDDLE))["scene"]
    assert told["panels"] == start
    marks = {(mark["panel"], mark["id"]): mark for mark in told["marks"]}
    kidney = vpc.study()[1]
    assert len(marks["who", "kept"]["x"]) == np.sum(kidney <= vpc.MIDDLE) == len(explorer.result.points)
    assert max(marks["who", "kept"]["x"]) <= vpc.MIDDLE <= min(marks["who", "others"]["x"])
    assert len(marks["check", "outside"]["x"]) == explorer.result.outside.sum()
