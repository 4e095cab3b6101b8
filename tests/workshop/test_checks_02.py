"""Lesson 02's checks: answers as learners write them, the wrong ones with the reason each must get."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from models import Schools
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import multivariate_normal, norm

import mefit as mf
from workshop.checks import lesson_02
from workshop.checks.engine import Checker, Function, Mistake, Parts, Value

check = Checker(lambda lesson: {"02": lesson_02.EXERCISES}[lesson], None)

# ------------------------------------------------------------------ right answers, in two hands


def cond(y, eta, mu, sigma):
    return norm.logpdf(y, mu + eta, sigma).sum()


def joint(y, eta, mu, omega, sigma):
    return cond(y, eta, mu, sigma) + norm.logpdf(eta, 0, omega)


def marg(y, mu, omega, sigma):
    n = len(y)
    return multivariate_normal.logpdf(y, np.full(n, mu), sigma**2 * np.eye(n) + omega**2 * np.ones((n, n)))


def marg_on_a_grid(y, mu, omega, sigma):
    grid, step = np.linspace(-10, 10, 801, retstep=True)
    return np.log(sum(np.exp(joint(y, eta, mu, omega, sigma)) for eta in grid) * step)


def cond_of(model, eta, subject):
    return jnp.sum(model.observations(eta, subject).log_prob(subject.y) * subject.mask)


def joint_of(model, eta, subject):
    return cond_of(model, eta, subject) + model.random_effects().log_prob(eta)


def on_grid(log_density):
    """A learner's area under exp(log_density) over eta."""

    def area(model, subject):
        grid = jnp.linspace(-7, 7, 501) * model.omega
        values = jnp.exp(jax.vmap(lambda eta: log_density(model, eta, subject))(grid))
        return jnp.trapezoid(values, grid)

    return area


def marg_of(model, subject):
    return jnp.log(on_grid(joint_of)(model, subject))


def by_numpy(model, eta, subject):
    seen = np.asarray(subject.mask)
    mean = 100 / float(model.v) * np.exp(-float(model.cl) * np.exp(float(eta)) / float(model.v) * subject.time[seen])
    return norm.logpdf(subject.y[seen], mean, float(model.sigma)).sum()


def joint_by_numpy(model, eta, subject):
    return by_numpy(model, eta, subject) + norm.logpdf(float(eta), 0, float(model.omega))


def marg_by_quad(model, subject):
    reach = 6 * float(model.omega)
    return np.log(quad(lambda e: np.exp(joint_by_numpy(model, e, subject)), -reach, reach, limit=200, epsabs=0)[0])


def bias(n, sigma):
    return sigma**2 * (1 - 1 / n) - sigma**2


def limit(n, omega, sigma):
    s = sigma**2
    for _ in range(500):
        b = omega**2 / (omega**2 + s / n)
        s = (n - 1) / n * sigma**2 + (1 - b) ** 2 * (omega**2 + sigma**2 / n)
    return s


def limit_by_root(n, omega, sigma):
    def gap(s):
        return (1 - 1 / n) * sigma**2 + (s / (n * omega**2 + s)) ** 2 * (omega**2 + sigma**2 / n) - s

    return brentq(gap, 1e-9, sigma**2)


def profile(omega, a, omega0):
    return -(omega0**2 + a) / (omega**2 + a) / 2 - np.log(omega)


def mode_on_a_grid(a, omega0):
    grid = np.linspace(0.05, 3, 20001) * omega0
    rising = np.diff(profile(grid, a, omega0)) > 0
    falls = np.flatnonzero(rising[:-1] & ~rising[1:])
    return grid[falls[0] + 1] if falls.size else np.nan


def mode_by_formula(a, omega0):
    total = omega0**2 + a
    if total < 4 * a:
        return float("nan")
    return np.sqrt((total - 2 * a + np.sqrt(total * (total - 4 * a))) / 2)


@functools.cache
def fitted(method=None, fixed=(), scale=1.0):
    data = mf.datasets.eight_schools()
    data = data.with_responses(scale * data.subjects.y)
    return mf.fit(Schools(mu=8.0, tau=5.0), data, method or mf.Laplace(), fixed=fixed, progress=False)


SLOPES = [[-8, -8], [0, 0], [0, -8]]


@functools.cache
def right(number):
    """One right answer for every exercise."""
    return {
        "02.1": [cond, joint, marg],
        "02.2": [cond_of, joint_of, marg_of],
        "02.3": [bias, limit],
        "02.4": lambda n, sigma: sigma * (3 / n) ** 0.5,
        "02.5": [profile, mode_on_a_grid],
        "02.6": lambda: [fitted(), fitted(mf.JointMAP()), SLOPES],
    }[number]


def answer_of(number):
    return right(number)() if number == "02.6" else right(number)


ALSO_RIGHT = [
    ("02.1", lambda: (cond, joint, marg_on_a_grid)),
    ("02.2", lambda: [by_numpy, joint_by_numpy, marg_by_quad]),
    ("02.3", lambda: [lambda n, s: -(s**2) / n, limit_by_root]),
    ("02.4", lambda: lambda n, s: jnp.sqrt(4 * s**2 / n - s**2 / n)),
    ("02.5", lambda: [lambda w, a, o: jnp.asarray(profile(w, a, o)), mode_by_formula]),
    ("02.6", lambda: [fitted(mf.AGQ(nodes=5)), fitted(mf.JointMAP()), np.array(SLOPES, float)]),
]


@pytest.mark.parametrize("number", lesson_02.EXERCISES)
def test_right(number):
    verdict = check(number, answer_of(number))
    assert verdict, verdict


@pytest.mark.parametrize("number, make", ALSO_RIGHT, ids=[n for n, _ in ALSO_RIGHT])
def test_right_in_another_hand(number, make):
    verdict = check(number, make())
    assert verdict, verdict


def stub(*arguments):
    return ...


@pytest.mark.parametrize("number", lesson_02.EXERCISES)
def test_dots_are_open(number):
    exercise = lesson_02.EXERCISES[number]
    untouched = [..., ..., ...] if number == "02.6" else stub
    if isinstance(exercise, Parts) and number != "02.6":
        untouched = [stub] * len(exercise.parts)
    assert check(number, untouched).state == "open"


# ------------------------------------------------------------------ wrong answers


def no_area(model, subject):
    """The grid, but a plain sum: the step is missing."""
    return jnp.log(jnp.sum(jnp.exp(jax.vmap(lambda eta: joint_of(model, eta, subject))(jnp.linspace(-3, 3, 301)))))


def argmax_of_grid(a, omega0):
    grid = np.linspace(0.05, 3, 20001) * omega0
    return grid[np.argmax(profile(grid, a, omega0))]


def first_top_or_first_point(a, omega0):
    """np.argmax of nothing but False is 0."""
    grid = np.linspace(0.05, 3, 20001) * omega0
    height = profile(grid, a, omega0)
    return grid[1:-1][np.argmax((height[1:-1] > height[:-2]) & (height[1:-1] > height[2:]))]


def valley(a, omega0):
    total = omega0**2 + a
    inside = total * (total - 4 * a)
    return np.sqrt((total - 2 * a - np.sqrt(inside)) / 2) if inside > 0 else np.nan


def undefined_name(y, eta, mu, sigma):
    return np.sum(norm.logpdf(y, mean_of_subject, sigma))  # noqa: F821


def fixed_point(step):
    def solve(n, omega, sigma):
        s = sigma**2
        for _ in range(500):
            s = step(n, omega, sigma, s, omega**2 / (omega**2 + s / n))
        return s

    return solve


def over_grid(summary, reach=5):
    """A learner's marginal on a grid of `reach` SDs, put together in a wrong way."""

    def answer(y, mu, omega, sigma):
        grid = np.linspace(-reach * omega, reach * omega, 401)
        return summary(grid, np.array([joint(y, eta, mu, omega, sigma) for eta in grid]))

    return answer


def independent(y, mu, omega, sigma):
    return sum(norm.logpdf(one, mu, np.sqrt(sigma**2 + omega**2)) for one in y)


def mean_of_log(y, mu, omega, sigma):
    eta = np.linspace(-10 * omega, 10 * omega, 401)
    return np.trapezoid([cond(y, e, mu, sigma) * norm.pdf(e, 0, omega) for e in eta], eta)


def without_prior(y, mu, omega, sigma):
    eta = np.linspace(-20, 20, 801)
    return np.log(np.trapezoid([np.exp(cond(y, e, mu, sigma)) for e in eta], eta))


def over_mu(y, mu, omega, sigma):
    mu = np.linspace(-10, 20, 301)
    return np.log(np.trapezoid([np.exp(marg(y, m, omega, sigma)) for m in mu], mu))


def peak(y, mu, omega, sigma):
    return -minimize_scalar(lambda e: -joint(y, e, mu, omega, sigma)).fun


LN = np.log(2 * np.pi)
C, J, M = 0, 1, 2  # which part of the answer is wrong; the other parts are right
PLANTED = [
    # 02.1: conditional
    ("02.1", C, lambda y, e, m, s: -np.sum((y - m - e) ** 2) / (2 * s**2), "normaliser of the normal density", 2),
    ("02.1", C, lambda y, e, m, s: cond(y, e, m, s) + len(y) * LN / 2, "2 pi of the normaliser is missing", 2),
    ("02.1", C, lambda y, e, m, s: cond(y, e, m, s) + len(y) * np.log(s), "normaliser that holds sigma", 2),
    ("02.1", C, lambda y, e, m, s: np.sum(-((y - m - e) ** 2) / (2 * s**2)) - np.log(s) - LN / 2, "there once", 2),
    ("02.1", C, lambda y, e, m, s: np.prod(norm.pdf(y, m + e, s)), "product of the densities", 1),
    ("02.1", C, lambda y, e, m, s: np.log(np.sum(norm.pdf(y, m + e, s))), "log of a sum of densities", 1),
    ("02.1", C, lambda y, e, m, s: np.mean(norm.logpdf(y, m + e, s)), "mean over the measurements", 1),
    ("02.1", C, lambda y, e, m, s: norm.logpdf(y, m + e, s**2).sum(), "It is the variance", 2),
    ("02.1", C, lambda y, e, m, s: norm.logpdf(y, m + e, s**0.5).sum(), "It is an SD", 2),
    ("02.1", C, lambda y, e, m, s: norm.logpdf(y, m, s).sum(), "eta is not used", 1),
    ("02.1", C, lambda y, e, m, s: -cond(y, e, m, s), "sign is the wrong way", 1),
    ("02.1", C, lambda y, e, m, s: norm.logpdf(y, m + e, s), "an array of", 1),
    ("02.1", C, lambda y, e, m, s: -4.2, "same result whatever goes in", 1),
    ("02.1", C, lambda y, e, m, s: None, "returns nothing", None),
    ("02.1", C, lambda y, e, m, s: float("nan"), "not finite", 1),
    ("02.1", C, lambda y, m, s: cond(y, 0, m, s), "stopped with TypeError", None),
    ("02.1", C, undefined_name, "stopped on its line", None),
    ("02.1", C, -4.2, "A function is asked for", None),
    ("02.1", C, None, "This is None", None),
    ("02.1", C, lambda y, e, m, s: norm.logpdf(y, e, s).sum(), "mu is not used", 1),
    ("02.1", C, lambda y, e, m, s: norm.logpdf(y, m - e, s).sum(), "eta is taken off", 1),
    ("02.1", C, lambda y, e, m, s: np.sum(-(((y - m - e) / s) ** 2) - np.log(s) - LN / 2), "not halved", 2),
    ("02.1", C, lambda y, e, m, s: np.sum(-((y - m - e) ** 2) / (2 * s) - np.log(s) - LN / 2), "squared too", 2),
    ("02.1", C, lambda y, e, m, s: np.sum(-((y - m - e) ** 2) / 2 * s**2 - np.log(s) - LN / 2), "in brackets", 2),
    ("02.1", C, lambda y, e, m, s: np.sum(-(((y - m - e) / s) ** 2) / 2 - np.log(2 * np.pi * s) / 2), "half of the", 2),
    ("02.1", C, lambda y, e, m, s: np.sum(-(((y - m - e) / s) ** 2) / 2 + np.log(s) - LN / 2), "sign of log sigma", 2),
    ("02.1", C, lambda y, e, m, s: np.sum(-(((y - m - e) / s) ** 2) / 2 - np.log(s) - LN), "log 2 pi is not", 2),
    ("02.1", C, lambda y, e, m, s: norm.logpdf(np.mean(y), m + e, s), "density of the mean of y", 1),
    # 02.1: joint
    ("02.1", J, lambda y, e, m, o, s: joint(y, e, m, s, o), "are exchanged", 2),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, o) + norm.logpdf(e, 0, o), "that of eta", 2),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) + norm.logpdf(e, 0, o**2), "It is the variance", 2),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) - norm.logpdf(e, 0, o), "is taken off", 1),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) - e**2 / o**2 / 2 + np.log(o) - LN / 2, "sign of log omega", 2),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) - e**2 / o**2 - np.log(o) - LN / 2, "not halved", 2),
    ("02.1", J, lambda y, e, m, o, s: norm.logpdf(e, 0, o), "the other factor", 1),
    (
        "02.1",
        J,
        lambda y, e, m, o, s: np.log(np.exp(cond(y, e, m, s)) + norm.pdf(e, 0, o)),
        "log of a sum of two densities",
        1,
    ),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s), "the conditional one", 1),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) - e**2 / (2 * o**2), "normaliser of p(eta) is missing", 2),
    ("02.1", J, lambda y, e, m, o, s: joint(y, e, m, o, s) + np.log(o), "lacks omega", 2),
    ("02.1", J, lambda y, e, m, o, s: np.sum(norm.logpdf(y, m + e, s) + norm.logpdf(e, 0, o)), "once for every", 2),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) + norm.pdf(e, 0, o), "add its logarithm", 1),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) * norm.logpdf(e, 0, o), "have been multiplied", 1),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) + norm.logpdf(e, m, o), "around 0, not around mu", 2),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) + norm.logpdf(e, 0, o**0.5), "omega is used as if", 2),
    ("02.1", J, lambda y, e, m, o, s: cond(y, e, m, s) + norm.logpdf(e, 0, s), "SD of eta is omega", 2),
    ("02.1", J, lambda y, e, m, o, s: np.exp(joint(y, e, m, o, s)), "asks for the logarithm of this", 1),
    # 02.1: marginal
    ("02.1", M, independent, "as if they were independent", 2),
    ("02.1", M, mean_of_log, "mean of the log; the marginal is the log of the mean", 1),
    ("02.1", M, without_prior, "p(eta) is not in the integral", 2),
    ("02.1", M, over_mu, "integrated over theta", 2),
    ("02.1", M, peak, "peak of the joint density", 1),
    ("02.1", M, lambda y, m, o, s: marg(y, m, s, o), "are exchanged", 3),
    ("02.1", M, lambda y, m, o, s: norm.logpdf(y.mean(), m, np.sqrt(o**2 + s**2 / y.size)), "of all of y", 3),
    ("02.1", M, lambda y, m, o, s: norm.logpdf(y, m, o + s).sum(), "SDs do not add up", 2),
    ("02.1", M, lambda y, m, o, s: cond(y, 0, m, s), "the typical subject", 1),
    ("02.1", M, lambda y, m, o, s: np.exp(marg(y, m, o, s)), "the area itself", 1),
    ("02.1", M, lambda y, m, o, s: marg(y, m, o**0.5, s**0.5), "they are SDs", 2),
    ("02.1", M, lambda y, m, o, s: marg_on_a_grid(y, m, o, s) - np.log(0.025), "off by the same amount", 2),
    ("02.1", M, over_grid(lambda g, h: np.log(np.mean(np.exp(h)))), "a sum or a mean of heights", 3),
    ("02.1", M, over_grid(lambda g, h: np.log(np.sum(np.exp(h)))), "a sum or a mean of heights", 3),
    ("02.1", M, over_grid(lambda g, h: np.trapezoid(h, g), reach=8), "was the log integrated", 1),
    (
        "02.1",
        M,
        over_grid(lambda g, h: np.log(np.trapezoid(np.exp(h), g)), reach=0.3),
        "part of the area is missing",
        3,
    ),
    ("02.1", M, lambda y, m, o, s: marg(y, m, o, s) + s - 1 + o * m, "not the area under", 3),
    # 02.2
    ("02.2", C, mf.log_conditional, "mf.log_conditional of the library", 1),
    ("02.2", J, lambda m, e, x: mf.log_joint(m, e, x), "mf.log_joint of the library", 1),
    ("02.2", C, lambda m, e, x: m.observations(e, x).log_prob(x.y).sum(), "no response was seen", 2),
    ("02.2", C, lambda m, e, x: jnp.exp(cond_of(m, e, x)), "its logarithm", 1),
    ("02.2", C, lambda m, e, x: cond_of(m, jnp.zeros(()), x), "the typical patient", 1),
    ("02.2", C, lambda m, e, x: m.observations(e, x).log_prob(x.y)[x.mask].mean(), "mean over the rows", 1),
    ("02.2", C, lambda m, e, x: m.observations(e, x).log_prob(x.y), "an array of 5 numbers", 1),
    ("02.2", C, lambda m, e, x: jnp.sum(m.observations(e, x).log_prob(x.y) * ~x.mask), "were not seen", 2),
    ("02.2", C, lambda m, e, x: jnp.where(x.mask, m.observations(e, x).log_prob(x.y), 1.0).sum(), "adds 0", 2),
    ("02.2", C, lambda m, e, x: m.random_effects().log_prob(e), "how well eta explains", 1),
    ("02.2", J, lambda m, e, x: cond_of(m, e, x) - m.random_effects().log_prob(e), "is taken off", 1),
    ("02.2", J, lambda m, e, x: cond_of(m, e, x) * m.random_effects().log_prob(e), "been multiplied", 1),
    ("02.2", J, lambda m, e, x: cond_of(m, e, x) + m.random_effects().log_prob(0.0), "taken at 0", 1),
    ("02.2", J, lambda m, e, x: cond_of(m, e, x) + dist.Normal(0, m.sigma).log_prob(e), "SD of eta is omega", 2),
    ("02.2", J, lambda m, e, x: cond_of(m, e, x) - (e / m.omega) ** 2 / 2, "normaliser of p(eta)", 2),
    ("02.2", C, joint_of, "p(eta) is in it already", 1),
    ("02.2", J, cond_of, "density of eta is missing", 1),
    (
        "02.2",
        J,
        lambda m, e, x: jnp.sum((m.observations(e, x).log_prob(x.y) + m.random_effects().log_prob(e)) * x.mask),
        "once for every row",
        2,
    ),
    ("02.2", J, lambda m, e, x: cond_of(m, e, x) + norm.pdf(e, 0, m.omega), "add its logarithm", 1),
    ("02.2", J, lambda m, e, x: cond_of(m, e, x) + dist.Normal(0, m.omega**2).log_prob(e), "used as its SD", 2),
    ("02.2", M, lambda m, x: jnp.log(on_grid(cond_of)(m, x)), "p(eta) is not in", 2),
    ("02.2", M, lambda m, x: on_grid(joint_of)(m, x), "the area itself", 1),
    (
        "02.2",
        M,
        lambda m, x: jnp.log(on_grid(lambda m, e, x: joint_of(m, e, x) + m.random_effects().log_prob(e))(m, x)),
        "in the integral twice",
        2,
    ),
    ("02.2", M, lambda m, x: -minimize_scalar(lambda e: -joint_by_numpy(m, e, x), bracket=(-0.1, 0.1)).fun, "peak", 1),
    ("02.2", M, lambda m, x: cond_of(m, jnp.zeros(()), x), "the typical patient", 1),
    ("02.2", M, no_area, "off by the same amount", 2),
    ("02.2", M, lambda m, x: jnp.log(on_grid(joint_of)(m, x) / m.omega), "a sum or a mean of heights", 3),
    ("02.2", M, lambda m, x: -0.7648, "same result whatever goes in", 1),
    # 02.3
    ("02.3", C, lambda n, s: s**2 * (n - 1) / n, "Its bias is that minus the truth", 1),
    ("02.3", C, lambda n, s: s**2 / n, "sign is the wrong way", 1),
    ("02.3", C, lambda n, s: -(s**2) / (n - 1), "n - 1 is what", 2),
    ("02.3", C, lambda n, s: np.sqrt(s**2 * (1 - 1 / n)) - s, "bias of the SD", 1),
    ("02.3", C, lambda n, s: -s / n, "sigma is an SD", 1),
    ("02.3", C, lambda n, s: -1 / n, "as a share of sigma squared", 1),
    ("02.3", C, lambda n, s: 0, "the marginal estimate", 1),
    ("02.3", C, lambda n, s: -0.5 * s**2, "That holds for pairs", 2),
    ("02.3", C, lambda n, s: -(s**2) * (1 - 1 / n), "minus the limit itself", 1),
    ("02.3", C, lambda n, s: -((s / n) ** 2), "not in n squared", 2),
    ("02.3", C, lambda n, s: 1 - 1 / n, "not yet a bias", 1),
    ("02.3", C, lambda n, s: s**2 * (1 - 1 / n) - s, "sigma is an SD", 1),
    (
        "02.3",
        J,
        fixed_point(lambda n, o, s, v, b: (1 - 1 / n) * s**2 + (1 - b) * (o**2 + s**2 / n)),
        "1 - B is squared",
        1,
    ),
    ("02.3", J, fixed_point(lambda n, o, s, v, b: (1 - 1 / n) * s**2 + (1 - b) ** 2 * (o**2 + v / n)), "Only B", 3),
    ("02.3", J, fixed_point(lambda n, o, s, v, b: (1 - 1 / n) * s**2 + (1 - b) ** 2 * (o**2 + s**2)), "by n", 3),
    ("02.3", J, fixed_point(lambda n, o, s, v, b: (1 - 1 / n) * s**2 + (1 - b**2) * (o**2 + s**2 / n)), "brackets", 3),
    ("02.3", J, lambda n, o, s: limit(n, o, s) - s**2, "the limit itself is asked for", 1),
    ("02.3", J, lambda n, o, s: (1 - 1 / n) * s**2, "joint maximum likelihood", 2),
    ("02.3", J, lambda n, o, s: s**2, "That is the truth", 1),
    (
        "02.3",
        J,
        lambda n, o, s: (1 - 1 / n) * s**2 + (1 - o**2 / (o**2 + s**2 / n)) ** 2 * (o**2 + s**2 / n),
        "with the true sigma",
        3,
    ),
    ("02.3", J, fixed_point(lambda n, o, s, v, b: (1 - 1 / n) * s**2 + b**2 * (o**2 + s**2 / n)), "what is lost", 2),
    ("02.3", J, fixed_point(lambda n, o, s, v, b: (1 - b) ** 2 * (o**2 + s**2 / n)), "own group's mean is missing", 2),
    ("02.3", J, fixed_point(lambda n, o, s, v, b: (1 - 1 / n) * s**2 + (1 - b) ** 2 * o**2), "more than omega", 3),
    ("02.3", J, lambda n, o, s: np.sqrt(limit(n, o, s)), "the SD; the question asks for the variance", 1),
    ("02.3", J, lambda n, o, s: 0.5747, "same result whatever goes in", 1),
    # 02.4
    ("02.4", None, lambda n, s: 2 * s / np.sqrt(n), "smallest SD of the groups' means", 3),
    ("02.4", None, lambda n, s: 3 * s**2 / n, "This is the variance; omega0 is an SD", 1),
    ("02.4", None, lambda n, s: 4 * s**2 / n, "variance of the groups' means", 3),
    ("02.4", None, lambda n, s: 0 * s, "true of the marginal likelihood", 1),
    ("02.4", None, lambda n, s: s / n**0.5, "sampling error of a mean, B = 1/2", 2),
    ("02.4", None, lambda n, s: 3**0.5 / n * s, "has left out n", 2),
    ("02.4", None, lambda n, s: 3 * s / n**0.5, "of a part only", 3),
    ("02.4", None, lambda n, s: (3 / n) ** 0.5, "sigma is missing", 2),
    ("02.4", None, lambda n, s: s * (5 / n) ** 0.5, "take it off", 3),
    ("02.4", None, lambda n, s: 2 * s / n, "Two slips", 3),
    ("02.4", None, lambda n, s: 3 * s / n, "sigma is squared", 3),
    ("02.4", None, lambda n, s: s**2 / n, "how large must T be", 3),
    ("02.4", None, lambda n, s: s * (3 / (n - 1)) ** 0.5, "not n - 1", 1),
    ("02.4", None, lambda n, s: n + s, "does not give the right numbers", 1),
    ("02.4", None, lambda n, s: 0.75, "a value of B", 3),
    ("02.4", None, lambda n, s: 3, "a value of the ratio", 3),
    ("02.4", None, lambda n, s: 3**0.5 * s, "n is missing", 2),
    ("02.4", None, lambda n, s: (3 * n) ** 0.5 * s, "wrong side", 2),
    ("02.4", None, lambda n, s: (3 * s / n) ** 0.5, "sigma is an SD", 1),
    ("02.4", None, lambda n, s: None, "returns nothing", None),
    ("02.4", None, 1.2247, "A function is asked for", None),
    # 02.5
    ("02.5", C, lambda w, a, o: -(o**2 + a) / (w**2 + a) / 2 - np.log(w**2 + a) / 2, "the marginal profile", 1),
    ("02.5", C, lambda w, a, o: -(o**2 + a) / (w**2 + a) / 2, "the non-centred form", 1),
    ("02.5", C, lambda w, a, o: -(o**2) / (w**2 + a) / 2 - np.log(w), "sampling error too", 2),
    ("02.5", C, lambda w, a, o: -(o**2 + a) / (w**2 + a) / 2 - 2 * np.log(w), "counts twice", 2),
    ("02.5", C, lambda w, a, o: -(o**2 + a) / (w**2 + a) - np.log(w), "factor 1/2", 2),
    ("02.5", C, lambda w, a, o: -(o + a) / (w + a) / 2 - np.log(w), "need their squares", 2),
    ("02.5", C, lambda w, a, o: -(o**2 + a) / 2 / w**2 + a - np.log(w), "in brackets", 1),
    ("02.5", C, lambda w, a, o: -(o**2 + a) / 2 * (w**2 + a) - np.log(w), "in place of dividing", 1),
    ("02.5", C, lambda w, a, o: -(o**2 + a) / 2 / w**2 - np.log(w), "a is missing", 1),
    ("02.5", C, lambda w, a, o: -(w**2 + a) / 2 / (o**2 + a) - np.log(w), "are exchanged", 1),
    ("02.5", C, lambda w, a, o: -(o**2 + a) / 2 / (w**2 + a) - np.log10(w), "natural logarithm", 1),
    ("02.5", C, lambda w, a, o: -(o**2 + a) / 2 / (w + a) - np.log(w), "it is squared", 1),
    ("02.5", C, lambda w, a, o: (o**2 + a) / 2 / (w**2 + a) - np.log(w), "sign of the fraction", 1),
    ("02.5", J, lambda a, o: profile(mode_by_formula(a, o), a, o), "the omega there", 3),
    ("02.5", J, lambda a, o: mode_by_formula(a, o) / o, "share of omega0", 3),
    ("02.5", J, first_top_or_first_point, "the edge of the range", 3),
    ("02.5", C, lambda w, a, o: profile(w, a, o) - 0.5 * LN, "off by the same amount", 2),
    ("02.5", C, lambda w, a, o: profile(w, a, o).max(), "one number", 1),
    ("02.5", J, lambda a, o: mode_by_formula(a, o) ** 2, "the variance at the mode", 1),
    ("02.5", J, valley, "the valley", 2),
    ("02.5", J, lambda a, o: o, "where the marginal likelihood has its maximum", 1),
    ("02.5", J, lambda a, o: 0.0, "climbs without limit", 2),
    ("02.5", J, argmax_of_grid, "highest point of the range", 2),
    ("02.5", J, lambda a, o: np.nan, "NaN even where there is a mode", 2),
    ("02.5", J, lambda a, o: np.nan_to_num(mode_on_a_grid(a, o)), "returns 0 where none does", 3),
    ("02.5", J, lambda a, o: None, "returns nothing", None),
    ("02.5", J, lambda a, o: np.sqrt(o**2 - 3 * a) if o**2 > 3 * a else np.nan, "which case is left out", 2),
    # 02.6
    ("02.6", C, lambda: fitted(mf.JointMAP()), "the eight etas were maximised", 1),
    ("02.6", C, lambda: fitted(mf.JointMLE()), "tau was not estimated", 1),
    ("02.6", C, lambda: fitted(mf.NaivePooled()), "does not integrate", 1),
    ("02.6", C, lambda: fitted(fixed="tau"), "tau was held where it started", 2),
    ("02.6", C, lambda: fitted(scale=2.0), "other data", 1),
    ("02.6", C, lambda: fitted().model, "Hand in the whole fit", 1),
    ("02.6", C, lambda: 0.0, "Hand in the whole fit", 1),
    ("02.6", J, fitted, "Were the two exchanged", 1),
    ("02.6", J, lambda: fitted(mf.JointMAP(centred=False)), "the non-centred form", 2),
    ("02.6", J, lambda: fitted(mf.JointMLE()), "leaves p(eta) out", 1),
    ("02.6", M, lambda: [[8, -8], [0, 0], [0, -8]], "centred: A slope is for growing tau", 1),
    ("02.6", M, lambda: [[-8, 0], [0, 0], [0, -8]], "goes on falling", 2),
    ("02.6", M, lambda: [[0, 0], [-8, -8], [0, -8]], "exchanged: which of them", 2),
    ("02.6", M, lambda: [[-1, -1], [0, 0], [0, -1]], "for one school", 2),
    ("02.6", M, lambda: [[-8, -8], [0, 8], [0, -8]], "at both ends it is flat", 2),
    ("02.6", M, lambda: [[-8, -8], [0, 0], [0, -4]], "2 log tau", 3),
    ("02.6", M, lambda: [[-8, -8], [0, 0], [-8, -8]], "tiny tau makes no difference", 3),
    ("02.6", M, lambda: [[-16, -16], [0, 0], [0, -8]], "as an SD", 2),
    ("02.6", M, lambda: [[-8, -16], [0, 0], [0, -8]], "the same as at the left end", 2),
    ("02.6", M, lambda: [[-8, -8], [8, 0], [0, -8]], "also at the left", 2),
    ("02.6", M, lambda: [[-8, -8], [0, -8], [0, -8]], "also far out", 2),
    ("02.6", M, lambda: [[-8, -8], [0, 0], [0, 8]], "not believed", 3),
    ("02.6", M, lambda: [[-8, -8], [0, 0], [8, -8]], "tiny tau makes no difference", 3),
    ("02.6", M, lambda: [-8, 0, -8], "asks for an array of 2 numbers", None),
    ("02.6", M, lambda: SLOPES[:2], "Give 3 answers as a list", None),
]
TOLD = {
    "02.3": ("-(s", "0.575", "sigma**2 / n", "sigma^2 / n"),
    "02.4": ("3 / n", "3/n", "sqrt(3", "at least 3"),
    "02.5": ("sqrt(3",),
    "02.6": ("-8", "29.67", "7.6", "[0"),
}


@pytest.mark.parametrize(
    "number, part, wrong, reason, hint", PLANTED, ids=[f"{p[0]}-{i}" for i, p in enumerate(PLANTED)]
)
def test_wrong_and_why(number, part, wrong, reason, hint):
    answer = wrong
    if part is not None:
        answer = list(answer_of(number))
        answer[part] = wrong() if number == "02.6" else wrong
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a learner's own code may divide by zero
        verdict = check(number, answer)
    assert verdict.state == "wrong" and reason in verdict.reason, verdict
    assert verdict.hint == hint, verdict
    assert not any(told in verdict.text for told in TOLD.get(number, ())), verdict


def test_every_exercise_has_planted_wrong_answers():
    for number in lesson_02.EXERCISES:
        assert sum(row[0] == number for row in PLANTED) >= 8


def mistakes_of(exercise):
    if isinstance(exercise, Parts):
        return [pair for part in exercise.parts for pair in mistakes_of(part)]
    return [(exercise, m) for m in exercise.mistakes] if isinstance(exercise, Function | Value) else []


ALL = [(n, e, m) for n, exercise in lesson_02.EXERCISES.items() for e, m in mistakes_of(exercise)]


@pytest.mark.parametrize(
    "number, exercise, mistake", ALL, ids=[f"{n}-{e.title}-{i}" for i, (n, e, _) in enumerate(ALL)]
)
def test_every_mistake_is_told_from_the_truth_and_from_those_before_it(number, exercise, mistake: Mistake):
    alone = Checker(lambda lesson: {number: exercise}, None)
    verdict = alone(number, mistake.answer)
    assert verdict.state == "wrong" and mistake.reason in verdict.reason, verdict


# ------------------------------------------------------------------ what the truths are


def test_truths_are_those_of_the_literature():
    for n, expected in ((2, 0.5747), (5, 0.8240), (10, 0.9076)):
        assert lesson_02.limit_map(n, 1.0, 1.0) == pytest.approx(expected, abs=5e-5)
    for n, expected in ((2, 0.7779), (5, 0.8764), (10, 0.9256)):
        assert lesson_02.limit_map(n, 0.5, 1.0) == pytest.approx(expected, abs=5e-5)
    for a, variance in ((0.1, 0.8887), (0.25, 0.6545), (0.3, 0.5303)):
        assert lesson_02.local_mode(a, 1.0) ** 2 == pytest.approx(variance, abs=5e-5)
    assert np.isnan(lesson_02.local_mode(0.5, 1.0))
    assert fitted().log_likelihood == pytest.approx(-29.67424, abs=5e-5)


def test_the_library_agrees_with_what_is_written_by_hand():
    from workshop.checks import likelihoods_by_hand as by_hand

    rng = np.random.default_rng(3)
    model, eta, subject = by_hand._patient(rng)
    row = jnp.reshape(eta, 1)
    assert by_hand._conditional(model, eta, subject)[0] == pytest.approx(float(mf.log_conditional(model, row, subject)))
    area = mf.log_likelihood(model, mf.Population.from_subjects([subject]), mf.AGQ(nodes=31))
    assert np.log(by_hand._AREA(model, subject)) == pytest.approx(area, rel=1e-6)


# ------------------------------------------------------------------ the engine, as these exercises use it


def test_parts_are_judged_in_order_and_say_what_comes_next():
    verdict = check("02.1", [cond, stub, stub])
    assert verdict.state == "open" and "log_conditional right. Next is log_joint:" in verdict.reason
    verdict = check("02.1", [cond, joint, peak])
    assert verdict.reason.startswith("log_conditional and log_joint right. log_marginal: ")
    assert check("02.1", [stub, lambda *a: cond(*a) + 1, stub]).reason.startswith("Replace the dots")
    assert "Give 3 answers as a list: [log_conditional" in check("02.1", cond).reason


def test_an_answer_that_is_almost_right_is_told_so():
    almost = [cond, joint, lambda y, m, o, s: marg(y, m, o, s) + 0.02 + 0.01 * np.sin(50 * m)]
    assert "to within 2% only" in check("02.1", almost).reason
