"""The checks of lesson 01: right answers, however written, and wrong ones, each with its own reason and hint."""

import dataclasses
from math import ceil, exp, floor, sqrt

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import Array
from models import Line, theophylline_model

import mefit as mf
from workshop.checks import lesson_01
from workshop.checks.engine import DONE, OPEN, WRONG, Checker


def judged(number, answer):
    return Checker(lambda lesson: lesson_01.EXERCISES, None)(number, answer)


# ---------------------------------------------------------------- models, as a learner would write them


class Fields(mf.Model):
    ka: Array = mf.positive(unit="1/h")
    cl: Array = mf.positive(unit="L/h")
    v: Array = mf.positive(unit="L")
    omega: Array = mf.covariance(names=("cl", "v"))
    sigma: Array = mf.positive(unit="mg/L")

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        return ...


def oral(subject, ka, cl, v):
    return mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v)


def weighed(m, eta, subject):
    cl = m.cl * (subject.covariates["wt"] / 70) ** 0.75 * jnp.exp(eta[0])
    return oral(subject, m.ka, cl, m.v * jnp.exp(eta[1]))


def written(curve=weighed, effects=None, observed=lambda m, f: dist.Normal(f, m.sigma)):
    """A class for 01.3 out of three pieces of code."""

    class Answer(Fields):
        def random_effects(self):
            return effects(self) if effects else dist.MultivariateNormal(jnp.zeros(2), self.omega)

        def observations(self, eta, subject):
            return observed(self, curve(self, eta, subject))

    return Answer


def by_hand(m, eta, subject):
    """The curve from its formula, the etas inside the logarithms."""
    weight = 0.75 * jnp.log(subject.covariates["wt"] / 70)
    cl, v = jnp.exp(jnp.log(m.cl) + weight + eta[0]), jnp.exp(jnp.log(m.v) + eta[1])
    ke, t = cl / v, subject.time
    scale = subject.doses.amount[0] * m.ka / v / (m.ka - ke)
    return scale * (jnp.exp(-ke * t) - jnp.exp(-m.ka * t))


def no_dose(m, eta, subject):
    return by_hand(m, eta, subject) / subject.doses.amount[0]


def no_noise(m, eta, subject):
    return subject.time * jnp.nan


def curve(change):
    """A wrong curve from a person's own (ka, cl, v): `change(ka, cl, v, w, a, b)`, w the weight's factor."""

    def wrong(m, eta, subject):
        w = (subject.covariates["wt"] / 70) ** 0.75
        return oral(subject, *change(m.ka, m.cl, m.v, w, jnp.exp(eta[0]), jnp.exp(eta[1])))

    return written(wrong)


def only_weight(m, eta, subject):
    return oral(subject, m.ka, m.cl * subject.covariates["wt"] ** 0.75 * jnp.exp(eta[0]), m.v * jnp.exp(eta[1]))


def counted_from_one(m, eta, subject):
    own = m.cl * (subject.covariates["wt"] / 70) ** 0.75 * jnp.exp(eta[1])
    return oral(subject, m.ka, own, m.v * jnp.exp(eta[2]))


def linear_weight(m, eta, subject):
    return oral(subject, m.ka, m.cl * subject.covariates["wt"] / 70 * jnp.exp(eta[0]), m.v * jnp.exp(eta[1]))


def raises(m, eta, subject):
    return oral(subject, m.ka, m.cl * subject.covariates["weight"], m.v)


def mended(eta_v=1, power=1, peak=None):
    """The model of 01.4: which eta moves the volume, the power of sigma, and the code of its peak."""

    class Tablet(Fields):
        def observations(self, eta, subject):
            f = oral(subject, self.ka, self.cl * jnp.exp(eta[0]), self.v * jnp.exp(eta[eta_v]))
            return dist.Normal(f, self.sigma**power)

        def peak_time(self, eta, subject):
            f = oral(subject, self.ka, self.cl * jnp.exp(eta[0]), self.v * jnp.exp(eta[1]))
            ka, ke = self.ka, self.cl * jnp.exp(eta[0] - eta[1]) / self.v
            return (peak or (lambda *a: jnp.log(ka / ke) / (ka - ke)))(self, eta, subject, f)

    return Tablet


def last_sample(m, eta, subject, f):
    return jnp.max(subject.time)


def on_a_grid(m, eta, subject, f):
    grid = jnp.linspace(0, 24, 1000)
    fine = mf.pk.oral_one_compartment(subject, ka=m.ka, cl=m.cl * jnp.exp(eta[0]), v=m.v * jnp.exp(eta[1]), time=grid)
    return grid[jnp.argmax(fine)]


def cl(m, eta):
    return m.cl * jnp.exp(eta[0])


def ke(m, eta):
    return cl(m, eta) / (m.v * jnp.exp(eta[1]))


def on_a_coarse_grid(m, eta, subject, f):
    return jnp.round(on_a_grid(m, eta, subject, f) / 3) * 3 + 0.5


BROKEN = mended(0, 2, last_sample)

# ---------------------------------------------------------------- fits


class FullLine(Line):
    """Full already, in the models of the tests."""


class DiagonalLine(Line):
    omega: Array = mf.diagonal_covariance(names=("intercept", "slope"))


START = {"beta": [250.0, 10.0], "omega": jnp.diag(jnp.array([600.0, 35.0])), "sigma": 25.0}


@pytest.fixture(scope="module")
def sleep():
    return mf.datasets.sleepstudy()


@pytest.fixture(scope="module")
def full(sleep):
    return mf.fit(FullLine(**START), sleep, mf.Laplace(), progress=False)


def readings(fit):
    (a, c), (_, b) = np.asarray(fit.model.omega)
    return [fit, c / sqrt(a * b), fit.aic - 1762.00326]


@pytest.fixture(scope="module")
def wrong_fits(full, sleep, theophylline):
    """Wrong answers to 01.6. The ones that differ in what a fit says of itself need no fit of their own."""
    changed = dataclasses.replace
    _, correlation, change = readings(full)
    (a, c), (_, b) = np.asarray(full.model.omega)
    others = {
        "model": full.model,
        "method": "Laplace",
        "other data": changed(full, population=theophylline),
        "one person short": changed(full, population=sleep[:17]),
        "pooled": changed(full, method=mf.NaivePooled()),
        "two-stage": changed(full, method=mf.TwoStage()),
        "joint": changed(full, method=mf.JointMAP()),
        "fixed": changed(full, fixed=("sigma",)),
        "diagonal": changed(full, model=DiagonalLine(**START)),
        "one more": changed(full, status=("",) * 7),
        "no omega": changed(full, model=theophylline_model()),
        "stopped": changed(full, log_likelihood=-900.0, ending=mf.Ending.FAILED, message="stopped"),
        "elsewhere": changed(full, log_likelihood=-900.0),
    }
    return {name: [fit, correlation, change] for name, fit in others.items()} | {
        "none": None,
        "fit alone": full,
        "covariance": [full, c, change],
        "variances": [full, c / (a * b), change],
        "one SD": [full, c / sqrt(a), change],
        "people": [full, np.corrcoef(np.asarray(full.eta).T)[0, 1], change],
        "nothing": [full, 0, change],
        "sign": [full, correlation, -change],
        "-2LL": [full, correlation, change - 2],
        "twice": [full, correlation, change + 2],
        "BIC": [full, correlation, full.bic - 1777.96804],
        "AIC": [full, correlation, full.aic],
        "nan": [full, float("nan"), change],
    }


PLANTED_FITS = [
    ("none", "has the cell", None),
    ("fit alone", "3 answers as a list", None),
    ("model", "is a model", 2),
    ("method", "is a str", 2),
    ("other data", "other data", 2),
    ("one person short", "other data", 2),
    ("pooled", "pools", 2),
    ("two-stage", "separate fits", 2),
    ("joint", "maximises over the random effects", 2),
    ("fixed", "sigma held fixed", 2),
    ("diagonal", "omega is diagonal", 1),
    ("one more", "estimates 7 numbers", 1),
    ("no omega", "no `omega`", 1),
    ("stopped", "has not arrived", 2),
    ("elsewhere", "not that of this model", 1),
    ("covariance", "correlation: This is the covariance", 3),
    ("variances", "by SDs, not by variances", 3),
    ("one SD", "both SDs", 3),
    ("people", "estimates of the people", 3),
    ("nothing", "takes for granted", 3),
    ("sign", "aic_change: The sign", 3),
    ("-2LL", "change of -2LL", 3),
    ("twice", "it is one parameter", 3),
    ("BIC", "change of BIC", 3),
    ("AIC", "AIC of the new fit", 3),
    ("nan", "not finite", 1),
]


@pytest.mark.parametrize(("name", "reason", "hint"), PLANTED_FITS, ids=[p[0] for p in PLANTED_FITS])
def test_wrong_fits_get_their_reason(wrong_fits, name, reason, hint):
    verdict = judged("01.6", wrong_fits[name])
    assert (verdict.state, verdict.hint) == (WRONG, hint) and reason in verdict.reason, verdict
    assert not [part for part in ("0.08", "1.9", "mf.covariance") if part in verdict.reason]


def test_a_right_fit_passes_and_its_parts_one_by_one(full):
    fit, correlation, change = readings(full)
    assert judged("01.6", [fit, correlation, change])
    assert judged("01.6", (dataclasses.replace(fit, method=mf.FOCE()), 0.081, round(change, 2)))
    for answer, next_one in (([..., ..., ...], "dots"), ([fit, ..., ...], "correlation"), ([fit, 0.081, ...], "aic")):
        verdict = judged("01.6", answer)
        assert verdict.state == OPEN and next_one in verdict.reason


def test_the_two_likelihoods_that_the_check_knows(full, sleep):
    assert full.minus_two_log_likelihood == pytest.approx(lesson_01.MINUS_TWO_LL_FULL, abs=1e-3)
    omega = jnp.diag(jnp.array([584.250054, 33.633142]))  # at its maximum
    diagonal = FullLine(beta=[251.405104, 10.467286], omega=omega, sigma=25.5561347)
    known = -2 * mf.log_likelihood(diagonal, sleep, mf.Laplace())
    assert known == pytest.approx(lesson_01.MINUS_TWO_LL_DIAGONAL, abs=1e-3)


# ---------------------------------------------------------------- numbers, functions, models


def b(n, o, s):
    return 1 / (1 + s**2 / (n * o**2))


def lost(n, o, s):
    return 1 - b(n, o, s) ** 0.5


def needed(limit, o, s):
    n = 1
    while lost(n, o, s) >= limit:
        n += 1
    return n


def unrounded(limit, o, s):
    return (s / o) ** 2 * (1 - limit) ** 2 / (1 - (1 - limit) ** 2)


def cv(v):
    return sqrt(exp(v) - 1)


def ends(cl, v):
    return [cl / exp(1.645 * sqrt(v)), cl * exp(1.645 * sqrt(v))]


def drawn(model, key, count=1000):
    return mf.sample_random_effects(model, count, key)


GRID = jnp.linspace(0.0, 24.0, 300)


def share(model, person, limit, key):
    curves = mf.predict(model, person[[0] * 1000], drawn(model, key), GRID)
    return (curves > limit).any(axis=1).mean()


def share_one_by_one(model, person, limit, key):
    def peak(eta):
        return jnp.max(model.observations(eta, dataclasses.replace(person[0], time=GRID, y=GRID, mask=GRID >= 0)).mean)

    return np.mean(np.asarray(jax.vmap(peak)(drawn(model, key))) > limit)


def share_noisy(model, person, limit, key):
    return np.mean(np.asarray(mf.simulate(model, person[[0] * 1000], key).subjects.y).max(1) > limit)


def share_below(model, person, limit, key):
    return 1 - share(model, person, limit, key)


def share_typical(model, person, limit, key):
    return float(mf.predict(model, person, None, GRID).max() > limit)


def share_of_points(model, person, limit, key):
    return jnp.mean(mf.predict(model, person[[0] * 1000], drawn(model, key), GRID) > limit)


def share_of_the_mean(model, person, limit, key):
    return float(mf.predict(model, person[[0] * 1000], drawn(model, key), GRID).mean(axis=0).max() > limit)


def share_variances(model, person, limit, key):
    eta = jax.random.normal(key, (1000, 3)) * jnp.diagonal(model.omega)
    return jnp.mean(mf.predict(model, person[[0] * 1000], eta, GRID).max(axis=1) > limit)


def share_standard(model, person, limit, key):
    eta = jax.random.normal(key, (1000, 3))
    return jnp.mean(mf.predict(model, person[[0] * 1000], eta, GRID).max(axis=1) > limit)


def share_by_axis(model, person, limit, key):
    return mf.predict(model, person[[0] * 1000], drawn(model, key), GRID).max(axis=0) > limit


zeros = jnp.zeros(2)
PLANTED = [
    # one number instead of four, a wrong count, words
    ("01.1", 8, "Give 4 answers", None),
    ("01.1", None, "None", None),
    ("01.1", [6, 8, 60, 8], "how far a measurement lies", 1),
    ("01.1", [6, 8, 60, 8], "what sex does", 1),
    ("01.1", [3, 8, 60, 8], "more theta than", 1),
    ("01.1", [7, 11, 60, 8], "added it whole", 2),
    ("01.1", [7, 8, 120, 8], "bear an eta", 2),
    ("01.1", [7, 8, 62, 8], "Their distribution, Omega", 2),
    ("01.1", [7, 8, 60, 68], "added random effects", 3),
    ("01.1", [4, 8, 60, 8], "typical values alone", 1),
    ("01.1", [5, 8, 60, 8], "How much people differ", 1),
    ("01.1", [8, 9, 60, 8], "exponent", 2),
    ("01.1", [67, 68, 60, 68], "random effects of all people", 1),
    ("01.1", [7, 9, 60, 8], "with_full: A covariance matrix is symmetric", 2),
    ("01.1", [7, 8, 2, 8], "all thirty", 2),
    ("01.1", [7, 8, 90, 8], "only two", 2),
    ("01.1", [7, 8, 60, 80], "once for all", 3),
    ("01.1", [7, 8, 60, 608], "averaged over", 3),
    ("01.1", ["seven", 8, 60, 8], "cannot be read", None),
    # 01.2
    ("01.2", [cv], "Give 2 answers", None),
    ("01.2", [0.53, ends], "A function is asked for", None),
    ("01.2", [lambda v: 0.53, ends], "same result whatever goes in", 1),
    ("01.2", [lambda v: v**0.5, ends], "omega, the SD of eta", 1),
    ("01.2", [lambda v: v, ends], "variance of eta", 1),
    ("01.2", [lambda v: exp(v) - 1, ends], "squared CV", 3),
    ("01.2", [lambda v: sqrt(exp(v**2) - 1), ends], "do not square", 2),
    ("01.2", [lambda v: sqrt(exp(sqrt(v)) - 1), ends], "SD of eta where its variance", 2),
    ("01.2", [lambda v: exp(v / 2) * cv(v), ends], "over the median", 2),
    ("01.2", [lambda v: 100 * cv(v), ends], "per cent", 1),
    ("01.2", [lambda v: exp(v) * (exp(v) - 1), ends], "squared median", 3),
    ("01.2", [lambda v: sqrt(exp(v) * (exp(v) - 1)) / exp(v), ends], "half of v in its exponent", 2),
    ("01.2", [lambda v: exp(v) * (exp(v) - 1) / exp(v / 2), ends], "the SD is its root", 2),
    ("01.2", [lambda v: sqrt(exp(v)) - 1, ends], "under the root", 3),
    ("01.2", [lambda v: sqrt(exp(v - 1)), ends], "not in the exponent", 3),
    ("01.2", [cv, lambda cl, v: [cl * exp(-2 * sqrt(v)), cl * exp(2 * sqrt(v))]], "two SDs", 3),
    ("01.2", [cv, lambda cl, v: [cl - 1.645 * v, cl + 1.645 * v]], "as far down as up", 2),
    ("01.2", [cv, lambda cl, v: [cl * (1 - 1.645 * v), cl * (1 + 1.645 * v)]], "as far down as up", 2),
    ("01.2", [cv, lambda cl, v: [cl * exp(v / 2) * (1 + z * cv(v)) for z in (-1.645, 1.645)]], "as far down as up", 2),
    ("01.2", [cv, lambda cl, v: np.array(ends(cl, v)) / cl], "multiply by it", 2),
    ("01.2", [cv, lambda cl, v: [-1.645 * sqrt(v), 1.645 * sqrt(v)]], "range of eta", 2),
    ("01.2", [cv, lambda cl, v: [cl * exp(-0.9 * sqrt(v)), cl * exp(0.9 * sqrt(v))]], "share of people", 3),
    ("01.2", [lambda v: sqrt(1 - exp(v)), ends], "ValueError", None),
    ("01.2", [cv, lambda cl, v: cl], "one number", 1),
    ("01.2", [cv, lambda cl, v: None], "returns nothing", None),
    ("01.2", [cv, lambda cl, v: [cl * exp(-1.645 * v), cl * exp(1.645 * v)]], "variance for the SD", 1),
    ("01.2", [cv, lambda cl, v: [cl / exp(1.96 * v**0.5), cl * exp(1.96 * v**0.5)]], "95%", 3),
    ("01.2", [cv, lambda cl, v: [cl / exp(1.2816 * v**0.5), cl * exp(1.2816 * v**0.5)]], "80%", 3),
    ("01.2", [cv, lambda cl, v: [cl - 1.645 * cl * v**0.5, cl + 1.645 * cl * v**0.5]], "as far down as up", 2),
    ("01.2", [cv, lambda cl, v: [cl - 1.645 * cl * cv(v), cl + 1.645 * cl * cv(v)]], "as far down as up", 2),
    ("01.2", [cv, lambda cl, v: np.array(ends(cl, v)) * exp(v / 2)], "the mean, not the median", 2),
    ("01.2", [cv, lambda cl, v: ends(cl, v)[::-1]], "exchanged", 3),
    ("01.2", [cv, lambda cl, v: np.log(ends(cl, v))], "log CL", 2),
    # 01.3: random effects
    ("01.3", 3.0, "A model is asked for", 1),
    ("01.3", weighed, "A model is asked for", 1),
    ("01.3", written(effects=lambda m: dist.MultivariateNormal(zeros, scale_tril=m.omega)), "Cholesky", 1),
    ("01.3", written(effects=lambda m: dist.MultivariateNormal(zeros, precision_matrix=m.omega)), "precision", 1),
    ("01.3", written(effects=lambda m: dist.Normal(zeros, jnp.sqrt(jnp.diag(m.omega)))), "independent", 1),
    ("01.3", written(effects=lambda m: dist.Normal(zeros, jnp.diag(m.omega)).to_event(1)), "used as an SD", 1),
    ("01.3", written(effects=lambda m: dist.MultivariateNormal(zeros, jnp.eye(2))), "not depend on omega", 1),
    ("01.3", written(effects=lambda m: dist.MultivariateNormal(jnp.array([m.cl, m.v]), m.omega)), "departures", 1),
    ("01.3", written(effects=lambda m: dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3))), "two random effects", 1),
    ("01.3", written(effects=lambda m: dist.LogNormal(zeros, jnp.diag(m.omega) ** 0.5)), "at negative values", 1),
    ("01.3", written(effects=lambda m: dist.MultivariateNormal(zeros, m.omega @ m.omega)), "omega is squared", 1),
    ("01.3", written(effects=lambda m: dist.MultivariateNormal(zeros, m.omega**2)), "omega is squared", 1),
    ("01.3", written(effects=lambda m: dist.Normal(zeros, m.sigma)), "sigma is the SD of a measurement", 1),
    ("01.3", written(effects=lambda m: m.omega), "a distribution is asked for", 1),
    ("01.3", written(effects=lambda m: print(end="")), "returns nothing", None),
    ("01.3", written(effects=lambda m: dist.MultivariateNormal(zeros, 2 * m.omega)), "not the normal", 1),
    # 01.3: curves
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w, v)), "everybody is typical", 1),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w * b, v * a)), "are exchanged: count", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w * a, v * a)), "moves both", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka * a, cl * w * b, v)), "ka and CL", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka * a, cl * w, v * b)), "sits on ka", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w * (1 + jnp.log(a)), v * (1 + jnp.log(b)))), "exponential", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w + jnp.log(a), v + jnp.log(b))), "exponential", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * a, v * b)), "Weight does nothing", 1),
    ("01.3", written(counted_from_one), "Python counts from 0", 2),  # JAX takes the last entry for one beyond the end
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka * a, cl * w * b, v * b)), "the volume has that of CL", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka * a, cl * w * a, v * b)), "sits on ka", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w / a, v / b)), "signs of the random effects", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w + a, v + b)), "exp(eta) is added", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w * a**0.75, v * b)), "close the brackets", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w * a, v * w ** (4 / 3) * b)), "the volume too", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl**0.75 * w * a, v * b)), "typical clearance along", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, 0.75 * cl * w ** (4 / 3) * a, v * b)), "as a factor", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, (cl + w) * a, v * b)), "What weight does is added", 2),
    ("01.3", written(linear_weight), "exponent of the weight", 2),
    ("01.3", written(only_weight), "not divided by 70", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl / w * a, v * b)), "turn the ratio", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w * a, v * w * b)), "the volume too", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * a * w / (v * b), v * b)), "CL/V stands", 3),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (cl * w * a / (v * b), ka * v * b, v * b)), "CL/V are exchanged", 3),
    ("01.3", written(no_dose), "Even for a typical person", 2),
    ("01.3", curve(lambda ka, cl, v, w, a, b: (ka, cl * w * a**2, v * b)), "For a typical person", 2),
    ("01.3", written(no_noise), "Even for a typical person", 2),
    ("01.3", written(raises), "KeyError", None),
    # 01.3: noise
    ("01.3", written(observed=lambda m, f: dist.Normal(f, m.sigma**2)), "no variance", 3),
    ("01.3", written(observed=lambda m, f: dist.Normal(f, jnp.sqrt(m.sigma))), "SD already", 3),
    ("01.3", written(observed=lambda m, f: dist.Normal(f, m.sigma * f)), "grows with the curve", 3),
    ("01.3", written(observed=lambda m, f: dist.Normal(f, 1.0)), "not depend on sigma", 3),
    ("01.3", written(observed=lambda m, f: dist.LogNormal(f, m.sigma)), "LogNormal", 3),
    ("01.3", written(observed=lambda m, f: dist.Normal(m.sigma, f)), "are exchanged", 3),
    ("01.3", written(observed=lambda m, f: dist.Normal(0.0, m.sigma)), "lie around 0", 3),
    ("01.3", written(observed=lambda m, f: dist.Normal(f + m.sigma, m.sigma)), "added to the curve", 3),
    ("01.3", written(observed=lambda m, f: dist.Normal(jnp.log(f), m.sigma)), "logarithm of the curve", 3),
    ("01.3", written(observed=lambda m, f: dist.MultivariateNormal(f, jnp.eye(f.size))), "by itself", 3),
    ("01.3", written(observed=lambda m, f: f), "a distribution is asked for", 1),
    ("01.3", written(observed=lambda m, f: dist.Normal(f[:3], m.sigma)), "each sampling time", 3),
    # 01.4
    ("01.4", None, "None", None),
    ("01.4", written(), "lost its method", 3),
    ("01.4", mended(0, 2), "Two of the slips are left. One random effect moves both", 2),
    ("01.4", mended(1, 2, last_sample), "Two of the slips are left. The noise has SD sigma^2", 3),
    ("01.4", mended(0, 1), "One of the slips is left. One random effect moves both", 2),
    ("01.4", mended(1, 2), "One of the slips is left. The noise has SD sigma^2", 3),
    ("01.4", mended(1, 1, last_sample), "One of the slips is left. peak_time is the time of the last sample", 3),
    ("01.4", mended(1, 0.5), "SD already", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: f.max()), "how high, not when", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: jnp.argmax(f)), "number of a sample", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: s.time[jnp.argmax(f)]), "between two samples", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: s.time[jnp.argmax(s.y)]), "highest measurement", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: jnp.log(m.ka * m.v / m.cl) / (m.ka - m.cl / m.v)), "typical person", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: jnp.log(m.ka / ke(m, e)) / m.ka - ke(m, e)), "in brackets", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: jnp.log10(m.ka / ke(m, e)) / (m.ka - ke(m, e))), "natural logarithm", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: m.ka / ke(m, e) / (m.ka - ke(m, e))), "lacks its logarithm", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: jnp.log(m.ka / ke(m, e))), "has no unit", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: jnp.log(m.ka - ke(m, e)) / (m.ka - ke(m, e))), "log of a ratio", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: jnp.log(m.ka / cl(m, e)) / (m.ka - cl(m, e))), "volume is missing", 3),
    (
        "01.4",
        mended(1, 1, lambda m, e, s, f: jnp.log(m.ka / cl(m, e) * m.v) / (m.ka - cl(m, e) / m.v)),
        "V typical",
        3,
    ),
    ("01.4", mended(1, 1, lambda m, e, s, f: 1 / m.ka), "on average", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: "two hours"), "returns a str", 3),
    ("01.4", mended(1, 1, on_a_coarse_grid), "not the time at which", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: jnp.nan), "not the time at which", 3),
    ("01.4", mended(1, 1, lambda m, e, s, f: s.time), "an array", 3),
    # 01.5
    ("01.5", [lambda n, o, s: 1 - b(n, o, s), lost, needed], "the share of the way", 1),
    ("01.5", [lambda n, o, s: o**2 / (o**2 + s**2), lost, needed], "1 measurement and for 100", 2),
    ("01.5", [lambda n, o, s: n * o / (n * o + s), lost, needed], "are SDs", 2),
    ("01.5", [lambda n, o, s: o**2 / (o**2 + n * s**2), lost, needed], "wrong place", 2),
    ("01.5", [lambda n, o, s: n * (o / s) ** 2, lost, needed], "ratio of two precisions", 3),
    ("01.5", [lambda n, o, s: o / sqrt(o**2 + s**2 / n), lost, needed], "root of B", 3),
    ("01.5", [lambda n, o, s: n * o**2 / (n * o**2 + s), lost, needed], "sigma stands there without", 2),
    ("01.5", [lambda n, o, s: n * o / (n * o + s**2), lost, needed], "omega stands there without", 2),
    ("01.5", [lambda n, o, s: n * o**2 / n * o**2 + s**2, lost, needed], "in brackets", 3),
    ("01.5", [lambda n, o, s: 1 / (n / s**2 + 1 / o**2), lost, needed], "left unknown", 3),
    ("01.5", [lambda n, o, s: b(n - 1, o, s), lost, needed], "one measurement too few", 2),
    ("01.5", [lambda n, o, s: s**2 / (n * o**2), lost, needed], "ratio of two variances", 3),
    ("01.5", [lambda n, o, s: 0.8, lost, needed], "same result whatever", 1),
    ("01.5", [b, lambda n, o, s: 1 - b(n, o, s), needed], "variance form; the one", 3),
    ("01.5", [b, lambda n, o, s: b(n, o, s) ** 0.5, needed], "what is left", 3),
    ("01.5", [b, lambda n, o, s: (1 - b(n, o, s)) ** 0.5, needed], "root of the variance form", 3),
    ("01.5", [b, b, needed], "B itself", 3),
    ("01.5", [b, lambda n, o, s: 1 - b(n, o, s) ** 2, needed], "no square", 3),
    ("01.5", [b, lambda n, o, s: 100 * lost(n, o, s), needed], "per cent", 1),
    ("01.5", [b, lambda n, o, s: 1 - sqrt(b(n, o, s)) * o, needed], "Divide the SD by omega", 3),
    ("01.5", [b, lambda n, o, s: 1 - b(n, o, s) * o, needed], "SD over omega", 3),
    ("01.5", [b, lambda n, o, s: 1 - b(n, o, s) * sqrt(o**2 + s**2) / o, needed], "divided by n", 3),
    ("01.5", [b, lost, lambda x, o, s: round(unrounded(x, o, s))], "too few", 3),
    ("01.5", [b, lost, lambda x, o, s: ceil((s / o) ** 2 * x / (1 - x))], "set B to the limit", 3),
    ("01.5", [b, lost, lambda x, o, s: ceil((s / o) ** 2 * (1 - x) ** 0.5 / (1 - (1 - x) ** 0.5))], "a square", 3),
    ("01.5", [b, lost, lambda x, o, s: ceil(unrounded(x, o, s) * o / s)], "are SDs", 3),
    ("01.5", [b, lost, lambda x, o, s: needed(x, o, s) - 1], "still above", 3),
    ("01.5", [b, lost, lambda x, o, s: needed(x, o, s) + 1], "One fewer", 3),
    ("01.5", [b, lost, lambda x, o, s: (s / o) ** 2 * (1 - x) ** 2 / (1 - (1 - x) ** 2)], "part of a sample", 3),
    ("01.5", [b, lost, lambda x, o, s: ceil((s / o) ** 2 * (1 - x) / x)], "variance form below", 3),
    ("01.5", [b, lost, lambda x, o, s: floor((s / o) ** 2 * (1 - x) / x)], "variance form below", 3),
    ("01.5", [b, lost, lambda x, o, s: 8], "same result whatever", 1),
    # 01.7
    ("01.7", 0.06, "A function is asked for", None),
    ("01.7", lambda *a: 0.3, "same result whatever", 1),
    ("01.7", share_noisy, "highest measurement", 2),
    ("01.7", share_below, "stay below", 3),
    ("01.7", share_typical, "typical", 1),
    ("01.7", share_variances, "variances", 1),
    ("01.7", share_standard, "differ too much", 1),
    ("01.7", share_by_axis, "one number is asked for", 1),
    ("01.7", share_of_points, "too small every time", 3),
    ("01.7", lambda *a: 1000 * share(*a), "at most 1", 3),
    ("01.7", share_of_the_mean, "or alike", 1),
]


def test_shares_of_nothing_but_0_and_1_are_named():
    slips = lesson_01._crowd_slips([()] * 4, [1.0, 0.0, 0.0, 1.0], [0.2, 0.4, 0.6, 0.8])
    assert slips is not None and "0 or 1" in slips[0]


GIVEN_AWAY = {
    "01.1": [" 7", " 8 ", " 60 "],
    "01.2": ["expm1", "sqrt(", "exp("],
    "01.3": ["jnp.", "0.75", "(self"],
    "01.4": ["jnp.", "eta[1]", "log("],
    "01.5": ["n *", "omega**2", "(1 - limit)"],
    "01.7": ["predict", "sample_random"],
}


@pytest.mark.parametrize(("number", "answer", "reason", "hint"), PLANTED)
def test_wrong_answers_get_their_reason(number, answer, reason, hint):
    verdict = judged(number, answer)
    assert verdict.state == WRONG, verdict
    assert reason in verdict.reason and verdict.hint == hint, verdict
    if "stopped on its line" not in verdict.reason:  # which would be the learner's own
        assert not [part for part in GIVEN_AWAY[number] if part in verdict.reason], verdict


COUNTS = [7, 8, 60, 8]
RIGHT = [
    ("01.1", COUNTS),
    ("01.1", np.array(COUNTS).tolist()),
    ("01.1", tuple(float(n) for n in COUNTS)),
    ("01.2", [cv, ends]),
    ("01.2", [lambda v: np.sqrt(np.expm1(v)), lambda cl, v: np.exp(np.log(cl) + np.array([-1.6449, 1.6449]) * v**0.5)]),
    (
        "01.2",
        (lambda v: jnp.sqrt(jnp.exp(v) - 1), lambda cl, v: cl * jnp.exp(jnp.array([-1.64, 1.64]) * v**0.5)),
    ),
    ("01.3", written()),
    ("01.3", written(by_hand, lambda m: dist.MultivariateNormal(scale_tril=jnp.linalg.cholesky(m.omega)))),
    ("01.3", written(observed=lambda m, f: dist.Normal(f, m.sigma).to_event(1))),
    ("01.3", written()(ka=1.0, cl=3.0, v=30.0, omega=0.1 * jnp.eye(2), sigma=0.5)),
    ("01.4", mended()),
    ("01.4", mended(peak=on_a_grid)),
    ("01.5", [b, lost, needed]),
    (
        "01.5",
        [
            lambda n, o, s: (n / s**2) / (n / s**2 + 1 / o**2),
            lambda n, o, s: 1 - np.sqrt(n) * o / np.sqrt(n * o**2 + s**2),
            lambda x, o, s: floor(s**2 / o**2 / (1 / (1 - x) ** 2 - 1)) + 1,
        ],
    ),
    ("01.7", share),
    ("01.7", share_one_by_one),
]


@pytest.mark.parametrize(("number", "answer"), RIGHT)
def test_right_answers_pass_however_they_are_written(number, answer):
    verdict = judged(number, answer)
    assert verdict.state == DONE, verdict


OPENED = [
    ("01.1", [..., ..., ..., ...], "dots"),
    ("01.1", [7, ..., ..., ...], "with_full"),
    ("01.2", [lambda v: ..., lambda cl, v: ...], "dots"),
    ("01.2", [cv, lambda cl, v: ...], "interval"),
    ("01.3", written(effects=lambda m: ..., observed=lambda m, f: ...), "dots"),
    ("01.3", Fields, "Next is observations"),
    ("01.4", BROKEN, "All three slips are still there"),
    ("01.5", [lambda n, o, s: ...] * 3, "dots"),
    ("01.5", [b, lost, lambda x, o, s: ...], "samples_needed"),
    ("01.6", ..., "dots"),
    ("01.7", lambda model, person, limit, key: ..., "dots"),
]


@pytest.mark.parametrize(("number", "answer", "reason"), OPENED)
def test_what_is_not_written_is_still_open(number, answer, reason):
    verdict = judged(number, answer)
    assert verdict.state == OPEN and reason in verdict.reason, verdict


def test_enough_is_planted():
    numbers = [p[0] for p in PLANTED]
    for number in lesson_01.EXERCISES:
        assert number == "01.6" or numbers.count(number) >= 4
        assert number == "01.6" or sum(r[0] == number for r in RIGHT) >= 2
