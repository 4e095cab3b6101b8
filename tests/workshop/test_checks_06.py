"""The checks of lesson 06: wrong answers as learners write them, with the reason each gets, and right ones."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from planted import Table
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

import mefit as mf
from workshop.checks import lesson_06, models_06
from workshop.checks.engine import Checker
from workshop.checks.lesson_06 import EXERCISES

check = Checker(lambda lesson: EXERCISES, None)

# ------------------------------------------------------------------------------------ answers, as they are written


def run(average=None, peak=None, loading=None, ke=lambda cl, v: cl / v):
    def long_run(dose, interval, cl, v):
        q = math.exp(-ke(cl, v) * interval)
        top = dose / v / (1 - q)
        a = dose / interval / cl if average is None else average(dose, interval, cl, v)
        p = top if peak is None else peak(dose, v, q)
        return a, p, dose / (1 - q) if loading is None else loading(dose, v, q, a)

    return long_run


def top(when=None, height=None):
    def peak(dose, ka, cl, v):
        ke = cl / v
        t = np.log(ka / ke) / (ka - ke) if when is None else when(ka, ke, cl)
        c = dose * ka / v / (ka - ke) * (np.exp(-ke * t) - np.exp(-ka * t))
        return t, c if height is None else height(dose, ka, ke, v, t)

    return peak


def piled(pile, exponent=lambda d, t, cl, v: cl / v * t):
    """The right average, and the rest by another pile of what is left."""

    def long_run(*given):
        d, t, cl, v = given
        p = pile(math.exp(-exponent(*given)))
        return d / t / cl, d * p / v, d * p

    return long_run


def curve(dose, ka, ke, v, t):
    return dose * ka / v / (ka - ke) * (np.exp(-ke * t) - np.exp(-ka * t))


def by_grid(step):
    def peak(dose, ka, cl, v):
        t = np.arange(0, 80, step)
        c = dose * ka / (v * ka - cl) * (np.exp(-cl / v * t) - np.exp(-ka * t))
        return [t[c.argmax()], c.max()]

    return peak


class Tablet(mf.Model):
    ka: Array = mf.positive()
    lag: Array = mf.positive()
    cl: Array = mf.positive()
    v: Array = mf.positive()
    omega: Array = mf.diagonal_covariance(names=("cl", "v"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def own(self, eta):
        return self.cl * jnp.exp(eta[0]), self.v * jnp.exp(eta[1])

    def curve(self, subject, cl, v):
        return mf.pk.oral_one_compartment(subject, ka=self.ka, cl=cl, v=v, lag=self.lag)

    def observations(self, eta, subject):
        return dist.Normal(self.curve(subject, *self.own(eta)), self.sigma)


class Equations(Tablet):
    def observations(self, eta, subject):
        cl, v = self.own(eta)

        def rhs(t, y):
            return [-self.ka * y[0], self.ka * y[0] - cl / v * y[1]]

        solver = mf.dynamics.RK4(10)
        states = mf.dynamics.solve(rhs, [0.0, 0.0], subject, lag=jnp.stack([self.lag, 0.0]), solver=solver)
        return dist.Normal(states[:, 1] / v, self.sigma)


def variant(**methods):
    return type("Tablet", (Tablet,), methods | {"__annotations__": {}})


def observed(mean=lambda c, v: c, sd=lambda s: s):
    def observations(self, eta, subject):
        cl, v = self.own(eta)
        return dist.Normal(mean(self.curve(subject, cl, v), v), sd(self.sigma))

    return variant(observations=observations)


VALUES = {"ka": math.log(2) / 0.5, "lag": 0.5, "cl": 4.0, "v": 30.0, "omega": np.diag([0.09, 0.04]), "sigma": 0.1}


def at(kind=Tablet, **changed):
    return kind(**VALUES | changed)


class TypicalVolume(Tablet):
    def observations(self, eta, subject):
        cl, v = self.own(eta)
        return dist.Normal(self.curve(subject, cl, v) * v / self.v, self.sigma)


def blood(rate):
    """The slide's equations with another second one: rate(depot, amount, ka, CL / V)."""

    class Another(Tablet):
        def curve(self, subject, cl, v):
            def rhs(t, y):
                return [-self.ka * y[0], rate(y[0], y[1], self.ka, cl / v)]

            lag, solver = jnp.stack([self.lag, 0.0]), mf.dynamics.RK4(40)
            return mf.dynamics.solve(rhs, [0.0, 0.0], subject, lag=lag, solver=solver)[:, 1] / v

    return Another


class WithPeripheral(Tablet):
    vp: Array = mf.positive()


class WithoutLag(mf.Model):
    ka: Array = mf.positive()
    cl: Array = mf.positive()
    v: Array = mf.positive()
    omega: Array = mf.diagonal_covariance()
    sigma: Array = mf.positive()
    random_effects, observations = Tablet.random_effects, Tablet.observations


MODELS = [  # a truth, and part of what is said of it
    (Tablet, "This is the class", 2),
    (3.0, "A model is asked for", 2),
    (at(WithPeripheral, vp=60.0), "vp appears in no equation", 1),
    (WithoutLag(**{k: v for k, v in VALUES.items() if k != "lag"}), "lag is not declared", 1),
    (at(omega=np.diag([0.3, 0.2])), "has the SDs of the slide", 2),
    (at(omega=np.diag([0.04, 0.09])), "30% is for clearance", 2),
    (at(omega=np.diag([0.1, 0.1])), "omega is not the covariance", 2),
    (at(ka=0.5), "ka is a rate", 2),
    (at(ka=2.0), "One over the half-life", 2),
    (at(ka=0.5 / math.log(2)), "the mean one spent", 2),
    (at(ka=0.5 * math.log(2)), "divided by the half-life", 2),
    (at(ka=3.3), "whose half-life", 2),
    (at(cl=5.0), "cl does not have the value", 2),
    (at(observed(mean=lambda c, v: c * v)), "amounts in mg", 2),
    (at(observed(sd=lambda s: s**2)), "sigma is squared", 3),
    (at(observed(sd=lambda s: 2 * s)), "does not have the SD sigma", 3),
    (at(observed(mean=lambda c, v: 1.1 * c)), "not those of the slide", 2),
    (at(observed(mean=lambda c, v: jnp.sum(c))), "a mean for each time", 3),
    (at(variant(own=lambda self, eta: (self.cl * jnp.exp(eta[1]), self.v * jnp.exp(eta[0])))), "changed places", 2),
    (at(variant(own=lambda self, eta: (self.cl * jnp.exp(eta[0]), self.v * jnp.exp(eta[0])))), "serves both", 2),
    (at(variant(own=lambda self, eta: (self.cl, self.v))), "does not use eta", 2),
    (at(variant(own=lambda self, eta: (self.cl * (1 + eta[0]), self.v * (1 + eta[1])))), "log-normal", 2),
    (
        at(variant(curve=lambda self, s, cl, v: mf.pk.oral_one_compartment(s, ka=self.ka, cl=cl, v=v))),
        "The lag has no effect",
        2,
    ),
    (
        at(
            variant(
                curve=lambda self, s, cl, v: mf.pk.oral_one_compartment(s, ka=self.ka, cl=cl, v=v, lag=2 * self.lag)
            )
        ),
        "counts twice",
        2,
    ),
    (
        at(
            variant(
                curve=lambda self, s, cl, v: mf.pk.oral_one_compartment(s, ka=self.ka, cl=cl * v, v=v, lag=self.lag)
            )
        ),
        "falls at the rate CL",
        2,
    ),
    (
        at(
            variant(
                curve=lambda self, s, cl, v: 100 / v * jnp.exp(-self.ka * (s.time - self.lag)) * (s.time >= self.lag)
            )
        ),
        "before anything is absorbed",
        2,
    ),
    (at(variant(random_effects=lambda self: dist.Normal(0.0, jnp.diagonal(self.omega)))), "as if it held SDs", 1),
    (
        at(variant(random_effects=lambda self: dist.MultivariateNormal(jnp.zeros(2), scale_tril=self.omega))),
        "as if it held SDs",
        1,
    ),
    (at(variant(random_effects=lambda self: dist.Normal(0.0, 1.0))), "of two random effects", 1),
    (
        at(variant(random_effects=lambda self: dist.MultivariateNormal(jnp.ones(2), self.omega))),
        "mean zero and covariance",
        1,
    ),
    (at(variant(observations=lambda self, eta, subject: None)), "returns nothing", None),
    (at(variant(observations=lambda self, eta, s: self.curve(s, *self.own(eta)))), "the curve alone", 3),
    (at(variant(own=lambda self, eta: (self.cl + eta[0], self.v + eta[1]))), "not plus eta", 2),
    (at(variant(own=lambda self, eta: (self.cl * jnp.exp(-eta[0]), self.v * jnp.exp(-eta[1])))), "wrong sign", 2),
    (at(variant(own=lambda self, eta: (self.cl * jnp.exp(eta[0]), self.v))), "second random effect is not used", 2),
    (at(variant(own=lambda self, eta: (self.cl, self.v * jnp.exp(eta[1])))), "first random effect is not used", 2),
    (at(observed(mean=lambda c, v: c / v)), "divided by twice", 2),
    (at(TypicalVolume), "line 12 has the person's own", 2),
    (at(blood(lambda depot, amount, ka, ke: depot - ke * amount)), "the ka is missing there", 2),
    (at(blood(lambda depot, amount, ka, ke: ka * depot + ke * amount)), "that term has a minus", 2),
    (at(blood(lambda depot, amount, ka, ke: ka * depot - amount / ke)), "it is turned over", 2),
    (at(omega=np.diag([30.0, 20.0])), "omega is in per cent", 2),
    (at(omega=np.diag([900.0, 400.0])), "omega is in per cent", 2),
    (at(omega=np.diag([0.3, 0.2]) ** 0.5), "square *roots*", 2),
    (at(omega=np.diag(np.log1p([0.09, 0.04]))), "coefficient of variation", 2),
    (at(variant(observations=lambda self, eta, subject: self.oops)), "observations stopped with AttributeError", None),
]

PLANTED = [
    ("06.1", run(average=lambda d, t, cl, v: d / cl), "area under the curve of one interval", 1),
    ("06.1", run(average=lambda d, t, cl, v: d / t / v), "has the volume in it", 1),
    ("06.1", run(average=lambda d, t, cl, v: d / v), "the rise by one dose", 1),
    ("06.1", run(average=lambda d, t, cl, v: d * t / cl), "grows with the interval", 1),
    ("06.1", run(ke=lambda cl, v: cl), "clearance stands in the exponential", 2),
    ("06.1", run(ke=lambda cl, v: v / cl), "turned over", 2),
    ("06.1", run(ke=lambda cl, v: -cl / v), "less than one", 2),
    ("06.1", run(peak=lambda d, v, q: d / v), "peak is that of the first dose", 2),
    ("06.1", run(peak=lambda d, v, q: d / v * q / (1 - q)), "This is the trough", 2),
    ("06.1", run(peak=lambda d, v, q: d / (1 - q)), "The peak is an amount", 2),
    ("06.1", run(peak=lambda d, v, q: d / v + d / v * q), "sum the geometric series", 2),
    ("06.1", run(loading=lambda d, v, q, a: a * v), "steady-state *average*", 3),
    ("06.1", run(loading=lambda d, v, q, a: d / v / (1 - q)), "is the peak again", 3),
    ("06.1", run(loading=lambda d, v, q, a: d * q / (1 - q)), "beside the usual dose", 3),
    ("06.1", run(loading=lambda d, v, q, a: d), "without any loading", 3),
    ("06.1", (4.2, 6.0, 300.0), "A function is asked for", None),
    ("06.2", top(when=lambda ka, ke, cl: np.log(ka / cl) / (ka - cl)), "The clearance stands", 1),
    ("06.2", top(when=lambda ka, ke, cl: np.log(ke / ka) / (ka - ke)), "tmax is negative", 2),
    ("06.2", top(when=lambda ka, ke, cl: np.log(ka / ke)), "not yet a time", 2),
    ("06.2", top(when=lambda ka, ke, cl: 1 / ka), "mean time in the depot", 2),
    ("06.2", lambda *a: top()(*a)[::-1], "changed places", 3),
    ("06.2", top(height=lambda d, ka, ke, v, t: d / v), "as if all were absorbed at once", 3),
    (
        "06.2",
        top(height=lambda d, ka, ke, v, t: d / v * (math.exp(-ke * t) - math.exp(-ka * t))),
        "lacks the factor",
        3,
    ),
    ("06.2", lambda dose, ka, cl, v: np.array(top()(dose, ka, cl, v)) * [1, v], "Cmax is an amount", 3),
    ("06.2", by_grid(0.5), "read off a grid", 2),
    ("06.3", [3, 5, 10, 13], "3 of four found. Nothing is wrong with line 13", 1),
    ("06.3", [1, 2, 4, 6], "0 of four found. Nothing is wrong with line 1", 1),
    ("06.3", [3, 5, 10, 11], "shows earlier", 1),
    ("06.3", [3, 5, 10], "3 of four found. Ask of every name", 3),
    ("06.3", [3, 14], "2 of four found. Ask of every name", 2),
    ("06.3", [0, 5, 10, 14], "numbered from 1 to 15", 1),
    ("06.3", "3, 5, 10, 14", "numbers of four lines", 1),
    *(("06.4", [truth, ..., ..., ...], reason, hint) for truth, reason, hint in MODELS),
    ("06.4", [at(), 24.0, ..., ...], "largest of the times", 2),
    ("06.4", [at(), 1.869, ..., ...], "the lag has to pass", 2),
    ("06.4", [at(), top()(100.0, math.log(2) / 0.5, 4.0, 30.0)[1], ..., ...], "how high", 2),
    ("06.4", [at(), 5, ..., ...], "place in an array", 2),
    ("06.4", [at(), 2.0, ..., ...], "sampling time nearest", 2),
    ("06.5", lambda: [stat() / 2, ..., ...], "*twice* the difference", 1),
    ("06.5", lambda: [-stat(), ..., ...], "cannot fit worse", 1),
    ("06.5", lambda: [stat((0.0, 0.0)), ..., ...], "no weight at all", 1),
    ("06.5", lambda: [stat((1.0, 1.0)), ..., ...], "both powers one", 1),
    ("06.5", lambda: [stat((0.75, 0.75)), ..., ...], "another one for volumes", 1),
    ("06.5", lambda: [stat(), 1, ...], "count them", 2),
    ("06.5", lambda: [stat(), 7, ...], "all parameters of the large", 2),
    ("06.5", lambda: [stat(), 5, ...], "parameters of the small", 2),
    ("06.5", lambda: [stat(), 2, chi2.cdf(stat(), 2)], "*smaller* statistic", 3),
    ("06.5", lambda: [stat(), 2, chi2.sf(stat(), 1)], "one degree of freedom", 3),
    ("06.5", lambda: [stat(), 2, chi2.sf(stat() / 2, 2)], "half the statistic", 3),
    ("06.5", lambda: [stat(), 2, chi2.pdf(stat(), 2)], "This is half the p-value", 3),
    ("06.5", lambda: [stat(), 2, (chi2.sf(stat(), 1) + chi2.sf(stat(), 2)) / 2], "at its boundary", 3),
    ("06.6", [60.0, 1.9, 6.0], "more than the ward can do", 1),
    ("06.6", [3.7, 3.7, 12.0], "it takes weeks", 1),
    ("06.6", [25.0 / 1.5, 1.4, 12.0], "meant per kg", 2),
    ("06.6", [38.0, 3.7, 12.0], "too low: think of the volume", 2),
    ("06.6", [90.0, 3.7, 12.0], "too high: think of the volume", 2),
    ("06.6", [60.0, 2.0, 12.0], "too low: think of the clearance", 3),
    ("06.6", [60.0, 7.5, 12.0], "too high: think of the clearance", 3),
    ("06.6", [60.0, 21.9, 72.0], "less, more often", 3),
    ("06.6", [49.0, 3.1, 12.0], "nearer to the middle", 3),
    ("06.6", [60.0, -3.0, 12.0], "above zero", 1),
    ("06.6", "60 mg", "Give three numbers", 1),
    ("06.6", None, "None", None),
    ("06.1", piled(lambda q: 1 / (1 - q), lambda d, t, cl, v: cl / v), "interval is missing", 2),
    ("06.1", piled(lambda q: 1 / (1 - q), lambda d, t, cl, v: cl / (v * t)), "below the line in the exponential", 2),
    ("06.1", piled(lambda q: 1 / (1 - q), lambda d, t, cl, v: math.log(2) * cl / v * t), "a log 2", 2),
    ("06.1", piled(lambda q: 1 - q), "You multiplied by 1 - q", 2),
    ("06.1", piled(lambda q: 1 / (1 + q)), "with a minus", 2),
    ("06.1", piled(lambda q: 1 / q), "divided by what is left", 2),
    (
        "06.1",
        run(peak=lambda d, v, q: d / v * 1 / 1 - q, loading=lambda d, v, q, a: d * 1 / 1 - q),
        "lacks the brac",
        2,
    ),
    ("06.1", run(peak=lambda d, v, q: 0, loading=lambda d, v, q, a: a / (1 - q) * v), "The average is right; the p", 2),
    (
        "06.1",
        lambda d, t, cl, v: (a := d / t / cl, p := a / (1 - math.exp(-cl / v * t)), p * v),
        "multiplies the av",
        2,
    ),
    ("06.1", run(average=lambda d, t, cl, v: d / t * cl), "from left to right", 1),
    ("06.1", lambda *g: (lambda a, p, dose: ((2 * p - g[0] / g[3]) / 2, p, dose))(*run()(*g)), "halfway between", 1),
    ("06.1", lambda *g: (run()(*g)[1], *run()(*g)[1:]), "The average is the peak", 1),
    ("06.1", run(loading=lambda d, v, q, a: a), "a concentration, the average", 3),
    ("06.1", run(loading=lambda d, v, q, a: d + d / (1 - q)), "counted twice", 3),
    ("06.1", run(loading=lambda d, v, q, a: d / (1 - q) * v), "by the volume once more", 3),
    (
        "06.1",
        run(peak=lambda d, v, q: d / (1 - q), loading=lambda d, v, q, a: d / v / (1 - q)),
        "have changed places",
        3,
    ),
    (
        "06.1",
        run(peak=lambda d, v, q: d / v * q / (1 - q), loading=lambda d, v, q, a: d * q / (1 - q)),
        "and what would reach it",
        2,
    ),
    ("06.1", lambda *given: (lambda a, p, dose: (p, a, dose))(*run()(*given)), "in the wrong order", 1),
    ("06.2", top(when=lambda ka, ke, cl: np.log(ka / ke) / ka - ke), "brackets around ka - ke", 2),
    ("06.2", top(when=lambda ka, ke, cl: np.log10(ka / ke) / (ka - ke)), "base ten", 2),
    ("06.2", top(when=lambda ka, ke, cl: np.log(ka / ke) / (ka + ke)), "added below the line", 2),
    ("06.2", top(when=lambda ka, ke, cl: np.log(ka / ke) / (ka - cl)), "stands in the difference", 2),
    ("06.2", top(when=lambda ka, ke, cl: np.log(ka * ke) / (ka - ke)), "the rates are divided", 2),
    ("06.2", top(when=lambda ka, ke, cl: 0.1 / ka), "not where the peak is", 2),
    ("06.2", lambda d, ka, cl, v: (t := np.log(ka * cl / v) / (ka - v / cl), curve(d, ka, v / cl, v, t)), "turned", 1),
    ("06.2", top(height=lambda d, ka, ke, v, t: -curve(d, ka, ke, v, t)), "Cmax is negative", 3),
    ("06.2", top(height=lambda d, ka, ke, v, t: curve(d, ka, ke, v, t) * (ka - ke) ** 2), "from left to right", 3),
    ("06.2", top(height=lambda d, ka, ke, v, t: curve(1, ka, ke, v, t)), "The dose is missing", 3),
    ("06.2", top(height=lambda d, ka, ke, v, t: curve(d, ka, ke, v, t) / ka), "lacks a ka", 3),
    ("06.2", top(height=lambda d, ka, ke, v, t: d * ka / v / (ka - ke) * np.exp(-ke * t)), "second exponential", 3),
    ("06.2", top(height=lambda d, ka, ke, v, t: 3.0), "tmax is right; Cmax is not", 3),
    ("06.2", lambda *given: (60 * top()(*given)[0], top()(*given)[1]), "in minutes", 2),
    ("06.3", ["3", "5", "10", "14"], "without quotes", 1),
    ("06.3", [np.array([3, 5]), 10, 14], "without quotes", 1),
    ("06.3", np.array([3, 5, 10, 13]), "3 of four found. Nothing is wrong with line 13", 1),
    ("06.3", [3, 3, 5, 10], "named twice", 1),
    ("06.4", [at(), 2.8687, ..., ...], "lag counts twice", 2),
    ("06.4", [at(), 1.3687, ..., ...], "not taken off", 2),
    ("06.4", [at(), 60 * 2.3687, ..., ...], "in minutes", 2),
    ("06.4", [at(), 0.5 + math.log(0.5 * 7.5) / (0.5 - 4 / 30), ..., ...], "half an hour is the half-life", 2),
    ("06.4", [at(), 0.5 + math.log(2 * 7.5) / (2 - 4 / 30), ..., ...], "One over the half-life", 2),
    ("06.4", [at(), 0.5 + math.log(models_06.KA / 4) / (models_06.KA - 4), ..., ...], "where a rate belongs", 2),
    ("06.4", [at(), {"tmax": 2.3687, "cmax": 2.6}, ..., ...], "the one that says *when*", 2),
    ("06.5", lambda: [stat((1.0, 0.75)), ..., ...], "powers have changed places", 1),
    ("06.5", lambda: [models_06.fitted((0.75, 1.0), True).minus_two_log_likelihood, ..., ...], "how much it falls", 1),
    ("06.5", lambda: [chi2.sf(stat(), 2), 2, stat()], "This is the p-value", 1),
    ("06.6", [60.0, 3.7, 0.5], "meant in days", 1),
    ("06.6", [0.06, 0.0037, 12.0], "meant in grams", 2),
    ("06.6", {60.0, 3.7, 12.0}, "A set has no order", 1),
]

RIGHT = [
    ("06.1", run()),
    ("06.1", lambda d, t, cl, v: np.array([d / cl / t, (p := d / -np.expm1(-t * cl / v)) / v, p])),
    ("06.2", top()),
    ("06.2", top(when=lambda ka, ke, cl: (np.log(ke) - np.log(ka)) / (ke - ka))),
    ("06.3", [3, 5, 10, 14]),
    ("06.3", {14, 10, 5, 3}),
    ("06.3", np.array([3, 5, 10, 14])),
    ("06.5", lambda: [stat(), 2, chi2.sf(stat(), 2)]),
    ("06.5", lambda: (stat() + 1e-3, 2.0, math.exp(-stat() / 2))),
    ("06.6", [60.0, 3.7, 12.0]),
    ("06.6", (62.0, 7.6, 24.0)),
]


def stat(power=(0.75, 1.0)):
    small, large = models_06.fitted(power, True), models_06.fitted((1.0, 1.0), False)
    return small.minus_two_log_likelihood - large.minus_two_log_likelihood


DOTS = {"06.3": [...] * 4, "06.4": [...] * 4, "06.5": [...] * 3, "06.6": [...] * 3}
TABLE = Table(
    exercises=EXERCISES, planted=PLANTED, right=RIGHT, dots=DOTS, elsewhere=("06.4",), made_when_used=("06.5",)
)


def test_models_of_a_truth_are_planted():
    assert sum(row[0] == "06.4" for row in PLANTED) >= 4


def test_what_comes_next_is_said():
    assert "the other lines" in check("06.3", [3, 5, ..., ...]).reason
    assert "truth right. Next is tmax" in check("06.4", [at(), ..., ..., ...]).reason
    assert "the other numbers" in check("06.6", [60.0, ..., ...]).reason


# ------------------------------------------------------------------------------------ 06.4: study and fit

PEAK = 2.3687


@pytest.fixture(scope="module")
def design():
    return mf.Population.from_subjects([models_06.PERSON] * 30)


@pytest.fixture(scope="module")
def study(design):
    return mf.simulate(at(), design, jax.random.key(2))


@pytest.fixture(scope="module")
def fitted(study):
    start = at(ka=1.0, lag=0.3, cl=3.0, v=20.0, omega=0.1 * np.eye(2), sigma=0.3)
    return mf.fit(start, study, mf.FOCE(), progress=False)


def test_the_whole_slide_is_right(study, fitted):
    for truth in (at(), at(Equations)):
        assert check("06.4", [truth, PEAK, study, fitted]), check("06.4", [truth, PEAK, study, fitted]).text


def test_a_study_that_is_none_gets_its_reason(design, study):
    def said(answer):
        return check("06.4", [at(), PEAK, answer, ...]).reason

    assert "the design itself" in said(design)
    assert "study is a ndarray" in said(np.zeros(3))
    assert "other people or times" in said(study[:5])
    typical = mf.predict(at(), design)
    assert "predictions of the typical person" in said(design.with_responses(typical))
    assert "Everybody in the study is typical" in said(mf.simulate(at(), design, jax.random.key(1), jnp.zeros((30, 2))))
    assert "Next is fit" in said(study)


def test_a_fit_that_is_none_gets_its_reason(study, fitted):
    def said(answer):
        return check("06.4", [at(), PEAK, study, answer]).reason

    assert "not what mf.fit" in said(at())
    assert "Naive pooled does not integrate" in said(dataclasses.replace(fitted, method=mf.NaivePooled()))
    assert "v was held fixed" in said(dataclasses.replace(fitted, fixed=("v",)))
    assert "has not converged: the line search" in said(
        dataclasses.replace(fitted, ending=mf.Ending.FAILED, message="the line search found no way up")
    )
    other = mf.simulate(at(cl=12.0), fitted.population, jax.random.key(3))
    assert "five standard errors" in said(mf.fit(at(), other, mf.FOCE(), progress=False))


# ------------------------------------------------------------------------------------ the truths themselves


def test_the_long_run_is_what_integration_finds():
    dose, interval, cl, v = 100.0, 12.0, 2.0, 50.0
    average, peak, loading = lesson_06.long_run(dose, interval, cl, v)
    time = np.linspace(600.0, 612.0, 1201)
    doses = mf.regimen(dose, every=interval, count=51)
    curve = mf.pk.iv_bolus_one_compartment(mf.Subject(time, 0 * time, time > 0, doses=doses), cl=cl, v=v)
    found = mf.exposure(time[:-1], curve[:-1])
    assert float(found["auc"]) / 12 == pytest.approx(average, rel=2e-3)
    assert float(found["cmax"]) == pytest.approx(peak, rel=1e-6)
    assert loading / v == pytest.approx(peak)


def test_the_peak_is_where_the_curve_is_highest():
    dose, ka, cl, v = 100.0, 1.2, 3.0, 30.0

    def low(t):
        return -dose * ka / (v * ka - cl) * (math.exp(-cl / v * t) - math.exp(-ka * t))

    best = minimize_scalar(low, bounds=(0, 24), method="bounded", options={"xatol": 1e-10})
    np.testing.assert_allclose(lesson_06.peak(dose, ka, cl, v), [best.x, -best.fun], rtol=1e-6)


def test_the_slides_curve_is_that_of_its_equations():
    m = {"ka": models_06.KA, **models_06.SLIDE}
    eta = np.array([0.3, -0.2])
    cl, v = m["cl"] * np.exp(eta[0]), m["v"] * np.exp(eta[1])
    times = models_06.TIMES[models_06.TIMES > m["lag"]] - m["lag"]
    exact = solve_ivp(
        lambda t, y: [-m["ka"] * y[0], m["ka"] * y[0] - cl / v * y[1]],
        (0, 24),
        [models_06.DOSE, 0.0],
        t_eval=times,
        rtol=1e-9,
        atol=1e-12,
    )
    np.testing.assert_allclose(models_06._curve(models_06.TIMES, m, eta)[1:], exact.y[1] / v, rtol=1e-6)
    assert lesson_06._typical_peak() == pytest.approx(PEAK, abs=1e-3)


def test_the_share_within_is_that_of_the_formula():
    """With a first dose that holds itself, the level only falls: who begins below the top and ends above the bottom."""
    model = models_06.fitted((1.0, 1.0), False).model
    ratio = (models_06.WEIGHT / 1.5) ** np.asarray(model.power)
    eta = np.random.default_rng(1).normal(size=(40_000, 2)) * np.sqrt(np.diag(np.asarray(model.omega)))
    cl, v = (np.array([model.cl, model.v]) * ratio * np.exp(eta)).T
    share = np.mean((70.0 / v * np.exp(-cl / v) <= 40) & (70.0 / v * np.exp(-cl / v * 240) >= 15))
    assert models_06.share_within(70.0, 1e-9, 240.0) == pytest.approx(share, abs=0.05)
