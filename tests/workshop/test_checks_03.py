"""The checks of lesson 03: wrong answers as learners write them, with the reason each gets, and right ones."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp
from models import Logistic, replaced
from planted import Table
from scipy.integrate import quad
from scipy.stats import norm

import mefit as mf
from workshop.checks import integrals
from workshop.checks.engine import Checker
from workshop.checks.lesson_03 import EXERCISES

check = Checker(lambda lesson: EXERCISES, None)
hermite, hermite_e = np.polynomial.hermite.hermgauss, np.polynomial.hermite_e.hermegauss

# ------------------------------------------------------------------------------------ answers, as they are written


def ratio(s):
    return (1 + s * s) / (s * math.sqrt(2 + s * s))


def weights(model, subject, draws):
    return jax.vmap(lambda eta: mf.log_conditional(model, eta, subject))(draws)


def joints(model, subject, draws):
    return jax.vmap(lambda eta: mf.log_joint(model, eta, subject))(draws)


def squares_only(model, subject, draws):
    """A likelihood made of squares, without its constants."""

    def one(eta):
        mean = model.observations(eta, subject).mean
        return -0.5 * jnp.sum(((subject.y - mean) / model.sigma) ** 2)

    return logsumexp(jax.vmap(one)(draws)) - jnp.log(len(draws))


def first_three(model, subject, draws):
    return logsumexp(weights(model, subject, draws)[:3]) - jnp.log(3.0)


def run(draws, s, *, scale=1.0, exact=None, weight=None, size=None, total=None):
    d = draws.shape[1]
    lw = norm.logpdf(0, draws, s).sum(1) if weight is None else weight(draws, s)
    truth = d * norm.logpdf(0, 0, np.sqrt(1 + s**2)) if exact is None else exact(d, s)
    log_mean = logsumexp(lw) - np.log(lw.size) if total is None else total(lw)
    own = jnp.exp(2 * logsumexp(lw) - logsumexp(2 * lw)) if size is None else size(lw)
    return scale * (log_mean - truth), own


def but(**changes):
    return lambda draws, s: run(draws, s, **changes)


def plain_mean(lw):
    return jnp.log(jnp.mean(jnp.exp(lw)))


def plain_size(lw):
    return jnp.sum(jnp.exp(lw)) ** 2 / jnp.sum(jnp.exp(lw) ** 2)


def by_hand(at_height=True, at_hessian=True, height=mf.log_joint, bend=mf.log_joint, det=None, pi=None, half=-0.5):
    """Laplace as learners write it, with one piece exchanged."""

    def laplace(model, subject, mode):
        zero = jnp.zeros(mode.size)
        hessian = jax.hessian(lambda eta: bend(model, eta, subject))(mode if at_hessian else zero)
        log_det = jnp.linalg.slogdet(-hessian)[1] if det is None else det(hessian)
        constant = mode.size / 2 * jnp.log(2 * jnp.pi) if pi is None else pi
        return height(model, mode if at_height else zero, subject) + constant + half * log_det

    return laplace


def log_visits(eta, n, k, omega):
    return k * eta - n * np.log1p(np.exp(eta)) + norm.logpdf(eta, 0, omega)


def error(compare, data=1.0, prior=1.0, power=0.5, factor=1.0):
    def laplace_error(n, k, omega):
        grid = np.linspace(-30, 30, 60_001)
        heights = np.exp(log_visits(grid, n, k, omega))
        mode = integrals.peak(n, k, omega)[0]
        p = 1 / (1 + np.exp(-mode))
        precision = data * n * p * (1 - p) + prior / omega**2
        return compare(
            factor * np.exp(log_visits(mode, n, k, omega)) * (2 * np.pi) ** 0.5 / precision**power, heights.sum() / 1000
        )

    return laplace_error


def precise(precision):
    """The relative error with a precision made of n, k, omega and p, the probability at the mode."""

    def laplace_error(n, k, omega):
        grid, mode = np.linspace(-30, 30, 60_001), integrals.peak(n, k, omega)[0]
        width = np.sqrt(2 * np.pi / precision(n, k, omega, 1 / (1 + np.exp(-mode))))
        return (
            np.exp(log_visits(mode, n, k, omega)) * width / np.trapezoid(np.exp(log_visits(grid, n, k, omega)), grid)
            - 1
        )

    return laplace_error


def no_height(n, k, omega):
    grid, precision = np.linspace(-30, 30, 60_001), integrals.peak(n, k, omega)[1]
    return np.sqrt(2 * np.pi / precision) / np.trapezoid(np.exp(log_visits(grid, n, k, omega)), grid) - 1


def summed_logs(log_density, mode, precision, nodes):
    z, w = hermite_e(nodes)
    return jnp.sum(log_density(mode + z / np.sqrt(precision)) + z**2 / 2 + np.log(w)) - np.log(precision) / 2


def relative(a, b):
    return a / b - 1


def quadrature(rule=hermite_e, undo=0.5, centre=1.0, scale=lambda p: 1 / np.sqrt(p), jacobian=None, stable=True):
    def adaptive(log_density, mode, precision, nodes):
        z, w = rule(nodes)
        log_f = log_density(centre * mode + scale(precision) * z) + undo * z**2
        area = logsumexp(log_f, b=w) if stable else jnp.log(jnp.sum(w * jnp.exp(log_f)))
        return area + np.log(scale(precision) if jacobian is None else jacobian(precision))

    return adaptive


def one(p):
    return 1.0


# ------------------------------------------------------------------------------------ the tables

PLANTED = [
    ("03.1", lambda s, d: 100 * (ratio(s) * d - 1), "multiplied r by d", 2),
    ("03.1", lambda s, d: (ratio(s) ** d) / 0.1**2, "minus the square of the mean", 2),
    ("03.1", lambda s, d: (ratio(s) - 1) ** d / 0.1**2, "taken off at the end", 2),
    ("03.1", lambda s, d: (ratio(s) ** d - 1) / 0.1, "falls as one over the square root", 3),
    ("03.1", lambda s, d: math.sqrt(ratio(s) ** d - 1) / 0.1, "divided an SD by M", 3),
    ("03.1", lambda s, d: 100 * ((1 + s**-2) ** d - 1), "average over all subjects", 1),
    ("03.1", lambda s, d: 100 * (ratio(s**0.5) ** d - 1), "took s for a variance", 1),
    (
        "03.1",
        lambda s, d: (
            100 * ((norm.pdf(0, 0, math.sqrt(1 + s * s / 2)) / norm.pdf(0, 0, math.sqrt(1 + s * s)) ** 2) ** d - 1)
        ),
        "times a constant",
        2,
    ),
    (
        "03.1",
        lambda s, d: 100 * ((ratio(s) * norm.pdf(0, 0, math.sqrt(1 + s * s))) ** d - 1),
        "divided by the mean squared",
        1,
    ),
    ("03.1", lambda s, d: 100 * (((1 + s * s) / s * math.sqrt(2 + s * s)) ** d - 1), "in brackets", 3),
    (
        "03.1",
        lambda s, d: 100 * ((math.sqrt(1 + s * s) / (s * math.sqrt(2 + s * s))) ** d - 1),
        "mean is squared in r",
        2,
    ),
    ("03.1", lambda s, d: 100 * ((ratio(s) * s) ** d - 1), "has s in it", 2),
    ("03.1", lambda s, d: 100 * (ratio(s) ** (d / 2) - 1), "took a root", 2),
    ("03.1", lambda s, d: 100 * d * (ratio(s) - 1), "relative variance by d", 2),
    ("03.1", lambda s, d: 100 * (ratio(s) - 1), "d does not come in", 2),
    ("03.1", lambda s, d: 100 * math.sqrt(ratio(s) ** d - 1), "square it before", 3),
    ("03.1", lambda s, d: (ratio(s) ** d - 1) * 0.1**2, "where it divides", 3),
    ("03.1", lambda s, d: (ratio(s) ** d - 1) / 0.01**2, "error 1%", 3),
    ("03.1", lambda s, d: 100 * d * math.log(ratio(s)), "not give the right numbers", 1),
    ("03.1", lambda s, d: 1188.0, "whatever goes in", 1),
    ("03.1", lambda s, d: None, "returns nothing", None),
    ("03.1", lambda s, d: np.full(d, 3.0), "one number is asked for", 1),
    ("03.1", 321.0, "A function is asked for", None),
    ("03.1", None, "None", None),
    ("03.2", lambda m, s, e: jnp.log(jnp.mean(jnp.exp(weights(m, s, e)))), "minus infinity for a long one", 2),
    ("03.2", lambda m, s, e: jnp.mean(weights(m, s, e)), "the mean of the logs", 1),
    ("03.2", lambda m, s, e: logsumexp(weights(m, s, e)), "not of the mean", 3),
    ("03.2", lambda m, s, e: jnp.log(jnp.sum(jnp.exp(weights(m, s, e)))), "Two things", 2),
    ("03.2", lambda m, s, e: jnp.log(jnp.mean(weights(m, s, e))), "log of a mean of logs", 1),
    ("03.2", lambda m, s, e: logsumexp(joints(m, s, e)) - jnp.log(len(e)), "averaged the joint density", 1),
    ("03.2", lambda m, s, e: jnp.log(jnp.mean(jnp.exp(joints(m, s, e)))), "averaged the joint density", 1),
    ("03.2", squares_only, "lacks its constant", 2),
    ("03.2", lambda m, s, e: weights(m, s, e).max(), "best of the draws", 1),
    ("03.2", lambda m, s, e: jnp.exp(logsumexp(weights(m, s, e))) / len(e), "asks for the logarithm", 1),
    ("03.2", weights, "an array of 100 numbers", 1),
    ("03.2", lambda m, s, e: logsumexp(weights(m, s, e)) / len(e), "divided a logarithm", 3),
    ("03.2", lambda m, s, e: logsumexp(weights(m, s, e)) - len(e), "its logarithm is", 3),
    ("03.2", lambda m, s, e: logsumexp(weights(m, s, e)) - jnp.log(e.shape[1]), "number of random effects", 3),
    ("03.2", lambda m, s, e: logsumexp(weights(m, s, e)) - jnp.log(e.size), "its rows are the draws", 3),
    ("03.2", lambda m, s, e: logsumexp(weights(m, s, e)) + jnp.log(len(e)), "is added", 3),
    ("03.2", lambda m, s, e: logsumexp(weights(m, s, e) / len(e)), "divided before the sum", 3),
    ("03.2", lambda m, s, e: weights(m, s, e).sum(), "sum of the logs", 1),
    ("03.2", lambda m, s, e: mf.log_conditional(m, e[0], s), "Only the first draw", 1),
    ("03.2", lambda m, s, e: mf.log_conditional(m, e.mean(0), s), "draws were averaged", 1),
    ("03.2", lambda m, s, e: jnp.log(jnp.mean(jnp.exp((a := weights(m, s, e)) - a.max()))), "not added again", 2),
    ("03.2", lambda m, s, e: plain_mean((a := weights(m, s, e)) - a.max()) - a.max(), "a second time", 2),
    ("03.2", lambda m, s, e: logsumexp(joints(m, s, e)), "added up the joint density", 1),
    ("03.2", lambda m, s, e: -9.5, "whatever goes in", 1),
    ("03.2", first_three, "not give the right numbers", 1),
    ("03.2", lambda m, s: 0.0, "called with 3 arguments, stopped", None),
    ("03.3", but(total=plain_mean, size=plain_size), "all weights underflow", 2),
    ("03.3", but(total=plain_mean), "The error is minus infinity", 2),
    ("03.3", but(size=plain_size), "is 0/0", 3),
    ("03.3", lambda x, s: (-run(x, s)[0], run(x, s)[1]), "sign of the error", 1),
    ("03.3", but(total=logsumexp), "you took their sum", 1),
    ("03.3", but(total=np.mean), "averaged the logs", 1),
    ("03.3", lambda x, s: (run(x, s)[0], run(x, s)[1] / len(x)), "share of the draws", 3),
    ("03.3", lambda x, s: (run(x, s)[0], 1 / run(x, s)[1]), "one over the effective", 3),
    ("03.3", but(size=lambda lw: jnp.exp(-logsumexp(2 * lw))), "has a numerator too", 3),
    ("03.3", but(size=lambda lw: lw.sum() ** 2 / (lw**2).sum()), "logs of the weights in place", 3),
    ("03.3", but(weight=lambda x, s: -(x**2).sum(1) / (2 * s**2)), "lacks its constant", 1),
    ("03.3", but(exact=lambda d, s: d * norm.logpdf(0, 0, np.sqrt(1 + s))), "s is an SD", 2),
    ("03.3", but(exact=lambda d, s: norm.logpdf(0, 0, np.sqrt(1 + s**2))), "that of one", 2),
    ("03.3", but(weight=lambda x, s: norm.logpdf(0, x, s).ravel()), "one weight of each coordinate", 1),
    ("03.3", but(exact=lambda d, s: d * norm.logpdf(0, 0, 1 + s**2)), "used as an SD", 2),
    ("03.3", but(exact=lambda d, s: d * norm.logpdf(0, 0, s)), "prior's variance, 1, is missing", 2),
    ("03.3", but(exact=lambda d, s: d * norm.logpdf(0)), "as well as by the prior", 2),
    ("03.3", but(exact=lambda d, s: 0.0), "minus the exact one", 2),
    ("03.3", but(size=lambda lw: 2 * logsumexp(lw) - logsumexp(2 * lw)), "logarithm of the effective", 3),
    ("03.3", lambda x, s: run(x, s)[::-1], "are exchanged", 1),
    ("03.3", lambda x, s: (np.exp(run(x, s)[0]) - 1, run(x, s)[1]), "relative error of the likelihood", 1),
    ("03.3", lambda x, s: (np.exp(run(x, s)[0]), run(x, s)[1]), "is a ratio", 1),
    ("03.3", but(weight=lambda x, s: norm.logpdf(0, x, s**2).sum(1)), "s is an SD already", 1),
    ("03.3", but(weight=lambda x, s: norm.logpdf(0, x, s).mean(1)), "not their mean", 1),
    ("03.3", but(weight=lambda x, s: (norm.logpdf(0, x, s) + norm.logpdf(x)).sum(1)), "counts twice", 1),
    ("03.3", but(weight=lambda x, s: norm.logpdf(0, x, s).sum(0)), "added up over the draws", 1),
    ("03.3", but(total=lambda lw: logsumexp(lw) / len(lw)), "divided the log of the sum", 1),
    ("03.3", but(size=lambda lw: float(len(lw))), "how many of them count", 3),
    ("03.3", but(size=lambda lw: jnp.exp(logsumexp(lw) - logsumexp(2 * lw) / 2)), "root of the effective", 3),
    ("03.3", but(size=lambda lw: jnp.exp(2 * logsumexp(lw) - 2 * logsumexp(lw))), "not the square of the sum", 3),
    ("03.3", lambda x, s: run(x, s)[0], "one number", 1),
    ("03.3", lambda x, s: (0.0, 1000.0), "whatever goes in", 1),
    ("03.4", by_hand(pi=0.0), "Gaussian's own constant", 1),
    ("03.4", by_hand(pi=0.5 * np.log(2 * np.pi)), "once for each of the K", 2),
    ("03.4", by_hand(pi=3 * np.log(2 * np.pi)), "Too much of log 2 pi", 1),
    ("03.4", by_hand(half=-1.0), "not halved", 1),
    ("03.4", by_hand(half=0.5), "wrong way round", 2),
    ("03.4", by_hand(pi=-1.5 * np.log(2 * np.pi)), "more than 1", 1),
    ("03.4", by_hand(pi=1.5 * 2 * np.pi), "as it stands", 2),
    ("03.4", by_hand(pi=0.5 * np.log(2 * np.pi * 3)), "inside the logarithm", 2),
    ("03.4", by_hand(det=lambda h: jnp.linalg.slogdet(-h)[0]), "returns two things", 2),
    ("03.4", by_hand(det=lambda h: jnp.linalg.det(-h)), "determinant itself", 2),
    ("03.4", by_hand(det=lambda h: jnp.log(jnp.trace(-h))), "the trace", 2),
    ("03.4", by_hand(height=lambda *a: jnp.exp(mf.log_joint(*a))), "the density itself", 1),
    ("03.4", by_hand(height=lambda *a: 0.0), "how high", 1),
    ("03.4", by_hand(pi=0.0, half=0.0), "the peak, not yet the area", 1),
    ("03.4", by_hand(det=lambda h: jnp.log(jnp.linalg.det(h))), "*minus* the Hessian", 2),
    ("03.4", by_hand(det=lambda h: 2 * jnp.log(jnp.diagonal(jnp.linalg.cholesky(h))).sum()), "*minus* the Hessian", 2),
    ("03.4", by_hand(bend=mf.log_conditional), "Hessian of the conditional", 3),
    ("03.4", by_hand(height=mf.log_conditional), "prior density at the mode is missing", 3),
    ("03.4", by_hand(height=mf.log_conditional, bend=mf.log_conditional), "leaves the prior out", 3),
    ("03.4", by_hand(det=lambda h: jnp.log(-jnp.diagonal(h)).sum()), "product of its diagonal", 2),
    ("03.4", by_hand(at_height=False, at_hessian=False), "taken at eta = 0", 3),
    ("03.4", by_hand(at_hessian=False), "the Hessian is taken at eta = 0", 3),
    ("03.4", lambda m, s, e: jnp.exp(by_hand()(m, s, e)), "asks for the logarithm", 1),
    ("03.4", lambda m, s, e: -2 * by_hand()(m, s, e), "-2 times", 1),
    ("03.4", lambda m, s, e: -14.2, "whatever goes in", 1),
    ("03.5", error(lambda a, b: a / b), "ratio of the areas", 1),
    ("03.5", error(lambda a, b: np.log(a) - np.log(b)), "error of the log-likelihood", 1),
    ("03.5", error(lambda a, b: (b - a) / a), "turn the ratio over", 1),
    ("03.5", error(lambda a, b: (b - a) / b), "sign is the wrong way round", 1),
    ("03.5", error(lambda a, b: abs(a - b) / b), "or left out", 1),
    ("03.5", error(lambda a, b: a - b), "divide it by the exact one", 1),
    ("03.5", error(relative, prior=0.0), "curvature of the prior is missing", 2),
    ("03.5", error(relative, data=0.0), "curvature of the data is missing", 2),
    ("03.5", precise(lambda n, k, o, p: p * (1 - p) + 1 / o**2), "Each of the n visits", 2),
    ("03.5", precise(lambda n, k, o, p: k * p * (1 - p) + 1 / o**2), "as much about eta", 2),
    ("03.5", precise(lambda n, k, o, p: n * p + 1 / o**2), "p (1 - p), not p", 2),
    ("03.5", precise(lambda n, k, o, p: n * p * (1 - p) + 1 / o), "omega is an SD", 2),
    ("03.5", precise(lambda n, k, o, p: n * p * (1 - p) + o**2), "prior's variance", 2),
    ("03.5", precise(lambda n, k, o, p: n / 4 + 1 / o**2), "not one half", 2),
    ("03.5", precise(lambda n, k, o, p: n * (k / n) * (1 - k / n) + 1 / o**2), "not k/n", 2),
    ("03.5", error(lambda a, b: a / (100 * b) - 1), "step of the grid", 1),
    ("03.5", error(relative, factor=(2 * np.pi) ** 0.5), "under the root", 3),
    ("03.5", error(relative, factor=0.5**0.5), "A 2 is missing", 3),
    ("03.5", precise(lambda n, k, o, p: 2 * np.pi), "by the width", 3),
    ("03.5", no_height, "height at the mode is missing", 3),
    ("03.5", error(relative, power=1.0), "square root", 3),
    ("03.5", error(relative, power=-0.5), "sharp peak has a small area", 3),
    ("03.5", error(relative, factor=(2 * np.pi) ** -0.5), "square root of 2 pi", 3),
    ("03.5", error(lambda a, b: 100 * (a / b - 1)), "per cent", 1),
    ("03.5", lambda n, k, omega: -0.0256, "whatever goes in", 1),
    ("03.5", lambda n, k, omega: np.nan, "not finite", 1),
    ("03.6", quadrature(stable=False), "the sum underflows", 3),
    ("03.6", quadrature(undo=0.0), "has to be divided out", 2),
    ("03.6", quadrature(undo=1.0), "physicists' rule", 2),
    ("03.6", quadrature(scale=lambda p: np.sqrt(2 / p), jacobian=lambda p: 1 / np.sqrt(p)), "wide enough without", 1),
    ("03.6", quadrature(jacobian=lambda p: 1 / p), "half of its logarithm", 3),
    ("03.6", quadrature(jacobian=lambda p: np.sqrt(2 * np.pi / p)), "have it already", 3),
    ("03.6", quadrature(rule=lambda n: (hermite_e(n)[0], np.ones(n))), "are missing", 3),
    ("03.6", quadrature(rule=lambda n: (hermite_e(n)[0], np.exp(hermite_e(n)[1]))), "added to the logs", 3),
    ("03.6", quadrature(rule=lambda n: (hermite_e(n)[0], hermite_e(n)[1] / n)), "number of nodes", 3),
    ("03.6", summed_logs, "multiplies the heights", 3),
    ("03.6", quadrature(scale=lambda p: p), "stretched by the precision", 2),
    ("03.6", quadrature(undo=-0.5), "to be undone", 2),
    ("03.6", quadrature(rule=hermite), "(physicists'), the correction", 1),
    ("03.6", quadrature(rule=hermite, undo=1.0), "too close together", 1),
    (
        "03.6",
        quadrature(rule=hermite, undo=1.0, scale=lambda p: np.sqrt(2 / p), jacobian=lambda p: 1 / np.sqrt(p)),
        "sqrt(2) times as wide",
        1,
    ),
    ("03.6", quadrature(rule=hermite, undo=0.0, scale=lambda p: np.sqrt(2 / p)), "has to be divided out", 2),
    ("03.6", quadrature(jacobian=one), "brings a factor", 3),
    ("03.6", quadrature(scale=lambda p: 1 / p), "scaled by the variance", 2),
    ("03.6", quadrature(scale=np.sqrt), "scale is turned over", 2),
    ("03.6", quadrature(jacobian=np.sqrt), "factor of the change of variables is turned over", 3),
    ("03.6", quadrature(centre=0.0), "lie around 0", 2),
    ("03.6", quadrature(scale=one), "not scaled", 2),
    ("03.6", quadrature(centre=0.0, scale=one), "does not adapt", 2),
    ("03.6", quadrature(jacobian=lambda p: 1 / np.sqrt(2 * np.pi * p)), "add up to 1", 3),
    ("03.6", lambda f, mode, p, n: f(mode) + 0.5 * np.log(2 * np.pi / p), "whatever the number of nodes", 2),
    ("03.6", lambda f, mode, p, n: None, "returns nothing", None),
    ("03.6", lambda f, mode, p, n: hermite_e(n)[1], "an array of 3 numbers", 1),
]

RIGHT = [
    ("03.1", lambda s, d: 100 * (ratio(s) ** d - 1)),
    ("03.1", lambda s, d: math.ceil(100 * math.expm1(d * math.log(ratio(s))))),
    ("03.2", lambda m, s, e: logsumexp(weights(m, s, e), b=1 / len(e))),
    (
        "03.2",
        lambda m, s, e: (lambda a: a.max() + np.log(np.mean(np.exp(a - a.max()))))(np.asarray(weights(m, s, e))),
    ),
    ("03.3", run),
    ("03.3", lambda x, s: np.array([float(r) for r in run(x, s)])),
    (
        "03.3",
        but(size=lambda lw: 1 / np.sum((np.exp(lw - lw.max()) / np.sum(np.exp(lw - lw.max()))) ** 2)),
    ),
    ("03.4", by_hand()),
    ("03.4", by_hand(det=lambda h: 2 * jnp.log(jnp.diagonal(jnp.linalg.cholesky(-h))).sum())),
    ("03.4", by_hand(det=lambda h: jnp.log(jnp.linalg.det(h / -2 / np.pi)), pi=0.0)),
    ("03.5", error(relative)),
    (
        "03.5",
        lambda n, k, omega: (
            math.exp(log_visits((top := integrals.peak(n, k, omega))[0], n, k, omega))
            * math.sqrt(2 * math.pi / top[1])
            / quad(lambda e: math.exp(log_visits(e, n, k, omega)), -25, 25, points=[top[0]], limit=200)[0]
            - 1
        ),
    ),
    ("03.6", quadrature()),
    ("03.6", quadrature(rule=hermite, undo=1.0, scale=lambda p: np.sqrt(2 / p))),
    (
        "03.6",
        lambda f, mode, p, n: (
            logsumexp(
                jnp.array([jnp.log(w) + z * z / 2 + f(mode + z / p**0.5) for z, w in zip(*hermite_e(n), strict=True)])
            )
            - 0.5 * jnp.log(p)
        ),
    ),
]

TABLE = Table(exercises=EXERCISES, planted=PLANTED, right=RIGHT, dots={"03.7": [...] * 3}, elsewhere=("03.7",))


# ------------------------------------------------------------------------------------ the truths themselves


def test_draws_are_those_of_the_closed_form():
    """Rows of the table of second moments, and what they predict."""
    assert [integrals.draws_needed(s, d) for s, d in ((1, 1), (0.5, 5), (0.1, 10))] == pytest.approx(
        [15.47, 1186.0, 3.367e10], rel=2e-3
    )
    rng = np.random.default_rng(1)
    w = np.exp(integrals.centre_weights(rng.normal(size=(400_000, 2)), 0.5))
    assert 100 * np.var(w) / np.mean(w) ** 2 == pytest.approx(integrals.draws_needed(0.5, 2), rel=0.02)
    assert np.log(np.mean(w)) == pytest.approx(integrals.centre_exact(np.zeros((1, 2)), 0.5), abs=0.01)


def test_truths_by_hand_are_those_of_the_library():
    rng = np.random.default_rng(2)
    model, subject, mode = integrals.a_subject_and_mode(rng)
    alone = mf.Population.from_subjects([subject])
    assert integrals.laplace(model, subject, mode) == pytest.approx(
        mf.log_likelihood(model, alone, mf.Laplace()), abs=1e-9
    )
    assert mf.empirical_bayes(model, alone)[0][0] == pytest.approx(np.asarray(mode), abs=1e-7)
    model, subject, draws = integrals.a_subject_and_draws(rng)
    assert integrals.log_weights(model, subject, draws[:3]) == pytest.approx(
        [float(mf.log_conditional(model, eta, subject)) for eta in draws[:3]], rel=1e-10
    )


@pytest.mark.parametrize("nodes", [1, 5])
def test_quadrature_by_hand_is_that_of_the_library(nodes):
    n, k, omega = 7, 2, 1.7
    subject = mf.Subject(np.arange(n), np.arange(n) < k, np.ones(n, bool))
    library = mf.log_likelihood(
        Logistic(b0=1e-12, omega=omega), mf.Population.from_subjects([subject]), mf.AGQ(nodes=nodes)
    )
    by_hand = integrals.rule()(lambda e: integrals.log_joint(e, n, k, omega), *integrals.peak(n, k, omega), nodes)
    assert by_hand == pytest.approx(library, abs=1e-9)


# ------------------------------------------------------------------------------------ fits on one ruler


@pytest.fixture(scope="module")
def gap(fitted, theophylline):
    def of(method):
        pair = (fitted(mf.FO()), fitted(mf.FOCE()))
        return -2 * np.subtract(*(mf.log_likelihood(fit.model, theophylline, method) for fit in pair))

    return of


def test_one_ruler(fitted, theophylline, gap):
    fo, foce = fitted(mf.FO()), fitted(mf.FOCE())
    exact = gap(mf.AGQ(nodes=9))
    for right in ((fo, foce, exact), [fo, foce, round(exact, 1)]):
        assert check("03.7", right), check("03.7", right).text
    elsewhere = dataclasses.replace(fo, model=replaced(fo.model, ka=1.5))
    fewer = dataclasses.replace(foce, population=theophylline.keep_rows(range(8)))
    own = fo.minus_two_log_likelihood - foce.minus_two_log_likelihood
    planted = [
        ((fo, foce, own), "two rulers", 2),
        ((fo, foce, -exact), "sign", 2),
        ((fo, foce, exact / 2), "log-likelihoods", 3),
        ((fo, foce, exact / 12), "one subject", 3),
        ((fo, foce, gap(mf.FO())), "FO's own ruler", 2),
        ((fo, foce, 1.0), "the number is not", 3),
        ((fo, foce, "large"), "a number is asked for", 1),
        ((foce, fo, exact), "one by FOCE", 1),
        ((elsewhere, foce, exact), "held fixed", 1),
        ((fo, fewer, exact), "other data", 1),
        ((fo.model, foce, exact), "not what mf.fit returns", 1),
        (exact, "Three things", 1),
        (None, "None", None),
    ]
    for answer, part, hint in planted:
        verdict = check("03.7", answer)
        assert verdict.state == "wrong" and part in verdict.reason and verdict.hint == hint, verdict.text
        assert f"{exact:.1f}" not in verdict.text
    assert own < 0 < exact  # the trap: by their own numbers FO looks better
