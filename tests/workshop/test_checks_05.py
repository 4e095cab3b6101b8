"""The checks of lesson 05: wrong answers as learners write them, with the reason each gets, and right ones."""

import math

import jax
import numpy as np
import pandas as pd
import pytest
from planted import Table
from scipy.linalg import solve_triangular, sqrtm
from scipy.stats import chi2, norm

import mefit as mf
from mefit.inference.compare import tail
from workshop.checks import lesson_05
from workshop.checks.engine import Checker
from workshop.checks.lesson_05 import EXERCISES
from workshop.studies import faults

check = Checker(lambda lesson: EXERCISES, None)

# ------------------------------------------------------------------------------------ answers, as they are written


def forms(b, sd=lambda b: 1 - math.sqrt(b), variance=lambda b: 1 - b):
    return lambda n, omega, sigma: (b(n, omega, sigma), sd(b(n, omega, sigma)), variance(b(n, omega, sigma)))


def share(n, omega, sigma):
    return omega**2 / (omega**2 + sigma**2 / n)


def bands(q=(5, 95), inner=None, flip=False):
    def band(simulated, bin_of, percentile):
        out = []
        for b in np.unique(bin_of):
            rows = simulated[:, bin_of == b]
            each = np.array([np.percentile(row, percentile if inner is None else inner(percentile)) for row in rows])
            ends = np.percentile(each, q)
            out.append(ends[::-1] if flip else ends)
        return np.array(out)

    return band


def per_bin(f):
    return lambda simulated, bin_of, p: np.array([f(simulated[:, bin_of == b], p) for b in np.unique(bin_of)])


def whitened(cov=None, use=None, residual=None):
    def residuals(y, mean, z, omega, sigma):
        v = (z @ omega @ z.T + sigma**2 * np.eye(y.size)) if cov is None else cov(z, omega, sigma)
        r = y - mean if residual is None else residual(y, mean)
        return solve_triangular(np.linalg.cholesky(v), r, lower=True) if use is None else use(v, r)

    return residuals


def root(matrix):
    return lambda scores, information: np.sqrt(np.diag(matrix(np.linalg.inv(information), scores, information)))


def mixture(f):
    return lambda small, large, q: f(2 * large - 2 * small, q)


def zero_or(x, q):
    return chi2.sf(x, q) if q > 0 else 0.0


PLANTED = [
    ("05.1", forms(lambda n, w, s: w**2 / (w**2 + s**2)), "single measurement", 1),
    ("05.1", forms(lambda n, w, s: n * w / (n * w + s)), "square them", 1),
    ("05.1", forms(lambda n, w, s: w**2 / (w**2 + (s / n) ** 2)), "divided twice", 2),
    ("05.1", forms(lambda n, w, s: s**2 / (s**2 + n * w**2)), "turned over", 1),
    ("05.1", forms(share, sd=lambda b: 1 - b, variance=lambda b: 1 - b**0.5), "changed places", 3),
    ("05.1", forms(share, sd=lambda b: b**0.5, variance=lambda b: b), "one minus the ratio", 2),
    ("05.1", forms(share, sd=lambda b: 1 - b, variance=lambda b: 1 - b * b), "SD for B omega", 2),
    ("05.1", forms(share, sd=lambda b: (1 - b) ** 0.5), "not the root of one minus", 3),
    ("05.1", lambda n, w, s: share(n, w, s), "an array of 3 numbers", 1),
    ("05.1", lambda n, w, s: (0.5, 0.29, 0.5), "whatever goes in", 1),
    ("05.1", lambda n, w, s: None, "returns nothing", None),
    ("05.1", (0.5, 0.29, 0.5), "A function is asked for", None),
    ("05.2", per_bin(lambda rows, p: np.percentile(rows, [5, 95])), "single *observations*", 1),
    (
        "05.2",
        per_bin(lambda rows, p: [np.percentile(np.percentile(rows, e, axis=0), p) for e in (5, 95)]),
        "other way round",
        2,
    ),
    (
        "05.2",
        per_bin(lambda rows, p: np.percentile(np.percentile(rows, p, axis=0), [5, 95])),
        "for each observation",
        2,
    ),
    ("05.2", bands(q=(2.5, 97.5)), "holds 95% of the studies", 3),
    ("05.2", bands(q=(10, 90)), "holds 80%", 3),
    ("05.2", bands(q=(0, 100)), "smallest and the largest", 3),
    (
        "05.2",
        per_bin(lambda rows, p: (e := np.percentile(rows, p, axis=1)).mean() + 1.645 * np.array([-e.std(), e.std()])),
        "Mean and SD",
        3,
    ),
    ("05.2", bands(inner=lambda p: 100 - p), "at the other end", 1),
    ("05.2", bands(inner=lambda p: 50), "band of the median", 1),
    ("05.2", bands(flip=True), "changed places", 3),
    ("05.2", lambda simulated, bin_of, p: bands()(simulated, bin_of, p).T, "shape", 1),
    ("05.3", whitened(use=lambda v, r: r / np.diag(v) ** 0.5), "still correlated", 1),
    ("05.3", lambda y, mean, z, omega, sigma: (y - mean) / sigma, "leaves out the random effects", 1),
    ("05.3", whitened(cov=lambda z, o, s: z @ o @ z.T + s * np.eye(len(z))), "sigma is an SD", 1),
    (
        "05.3",
        whitened(
            cov=lambda z, o, s: (z**2 * np.diag(o)) @ np.ones(2) * 0 + z @ (o * np.eye(2)) @ z.T + s**2 * np.eye(len(z))
        ),
        "diagonal of omega only",
        2,
    ),  # fmt: skip
    ("05.3", whitened(cov=lambda z, o, s: z @ o @ z.T + s**2), "positive definite", 1),
    ("05.3", whitened(cov=lambda z, o, s: z @ o @ o @ z.T + s**2 * np.eye(len(z))), "omega is squared", 2),
    ("05.3", whitened(use=lambda v, r: np.linalg.inv(v) @ r), "divides twice", 3),
    ("05.3", whitened(use=lambda v, r: np.linalg.inv(np.linalg.cholesky(v).T) @ r), "L transposed", 3),
    ("05.3", whitened(use=lambda v, r: np.linalg.cholesky(v) @ r), "multiplied by L", 3),
    ("05.3", whitened(use=lambda v, r: np.linalg.inv(np.real(sqrtm(v))) @ r), "symmetric root", 3),
    ("05.3", whitened(residual=lambda y, mean: y), "mean has not been taken off", 1),
    ("05.3", whitened(residual=lambda y, mean: mean - y), "sign is the wrong way", 1),
    ("05.4", root(lambda bread, s, a: bread), "the bread alone", 1),
    ("05.4", root(lambda bread, s, a: np.linalg.inv(s.T @ s)), "cross-products", 1),
    ("05.4", root(lambda bread, s, a: a @ np.linalg.inv(s.T @ s) @ a), "inside out", 2),
    (
        "05.4",
        root(lambda bread, s, a: np.linalg.inv(s.T @ s) @ a @ np.linalg.inv(s.T @ s)),
        "changed places",
        2,
    ),
    ("05.4", root(lambda bread, s, a: bread @ s.T @ s), "slice is missing", 2),
    ("05.4", lambda s, a: root(lambda bread, s, a: bread @ s.T @ s @ bread)(s, a) ** 2, "These are variances", 3),
    ("05.4", root(lambda bread, s, a: bread @ np.cov(s.T, bias=True) @ bread), "you averaged them", 3),
    ("05.4", root(lambda bread, s, a: bread * (s * s).sum(0) @ bread), "squares of the scores only", 2),
    ("05.4", lambda s, a: s.T @ s, "shape", 1),
    ("05.5", mixture(lambda x, q: chi2.sf(x, q + 1)), "the usual test", 1),
    ("05.5", mixture(zero_or), "lower half", 2),
    ("05.5", mixture(lambda x, q: chi2.sf(x, q + 1) / 2), "Right for a variance alone", 2),
    ("05.5", mixture(lambda x, q: zero_or(x, q) + chi2.sf(x, q + 1)), "Two halves", 2),
    ("05.5", lambda a, b, q: (zero_or(b - a, q) + chi2.sf(b - a, q + 1)) / 2, "*twice* the difference", 1),
    ("05.5", lambda a, b, q: chi2.sf(b - a, q + 1), "Two things", 1),
    ("05.5", mixture(lambda x, q: 1 - (zero_or(x, q) + chi2.sf(x, q + 1)) / 2), "*smaller* statistic", 3),
    ("05.5", mixture(lambda x, q: (chi2.sf(x, q + 1) + chi2.sf(x, q + 2)) / 2), "freedom too many", 3),
    ("05.5", mixture(lambda x, q: chi2.sf(x, q + 1) / (2 if q == 0 else 1)), "holds for both", 2),
    ("05.5", lambda a, b, q: 0.05, "whatever goes in", 1),
    ("05.6", {"P": "covariate", "Q": "shape", "R": "random effects"}, "2 of 3 are right. Study Q", 2),
    ("05.6", {"P": "nothing", "Q": "error", "R": "random effects"}, "rings loudly", 2),
    ("05.6", ["error", "error", "error"], "spread of CWRES", 2),
    ("05.6", ["covariate", "covariate", "covariate"], "go along with it", 2),
    ("05.6", ["random effects"] * 3, "do not look like the prior", 2),
    ("05.6", {"P": "kidney", "Q": "error", "R": "shape"}, "is none of", 1),
    ("05.6", {"P": "covariate"}, "There are three studies", 1),
    ("05.6", "covariate", "one fault for each", 1),
    ("05.6", None, "None", None),
    ("05.1", forms(lambda n, w, s: 1 + s**2), "Python divides first", 1),
    ("05.1", forms(lambda n, w, s: n * w**2 / s**2), "in the *sum* of both", 1),
    ("05.1", forms(lambda n, w, s: share(n, w, s) ** 0.5), "This is the root of B", 1),
    ("05.1", forms(lambda n, w, s: w**2 / (w**2 + s / n)), "sigma is an SD", 1),
    ("05.1", forms(lambda n, w, s: n * w / (n * w + s**2)), "it is B that is not", 1),
    ("05.1", forms(share, sd=lambda b: b**0.5 - 1, variance=lambda b: b - 1), "sign is the wrong way", 2),
    ("05.1", forms(share, sd=lambda b: 100 - 100 * b**0.5, variance=lambda b: 100 - 100 * b), "are in per cent", 3),
    ("05.1", lambda n, w, s: ((b := share(n, w, s)), b**0.5 * w, b * w * w), "SD and the variance of the estimates", 2),
    ("05.1", lambda n, w, s: ((b := share(n, w, s)), 1 - b**0.5, (1 - b) * w * w), "posterior variance itself", 2),
    ("05.1", forms(share, sd=lambda b: 1 - b), "B and the variance form are right; the SD form is not", 3),
    ("05.2", bands(q=(0.05, 0.95)), "np.quantile that takes shares", 3),
    ("05.2", bands(inner=lambda p: p / 100), "do not divide by 100", 1),
    (
        "05.2",
        lambda simulated, bin_of, p: [np.percentile(np.percentile(simulated, p, axis=1), [5, 95])] * 4,
        "thrown together",
        1,
    ),
    ("05.2", per_bin(lambda rows, p: np.percentile(rows.mean(1), [5, 95])), "each study's *mean*", 2),
    (
        "05.2",
        per_bin(lambda rows, p: [np.percentile(np.percentile(rows, e, axis=1), p) for e in (5, 95)]),
        "The two percentiles have changed places",
        2,
    ),
    ("05.2", bands(q=(0, 90)), "upper tenth only", 3),
    ("05.2", bands(q=(25, 75)), "holds one half", 3),
    ("05.2", bands(q=(1, 99)), "holds 98%", 3),
    (
        "05.2",
        per_bin(lambda rows, p: (e := np.percentile(rows, p, axis=1)).mean() + 2 * np.array([-e.std(), e.std()])),
        "so many SDs",
        3,
    ),
    ("05.2", bands(q=(5, 50)), "The low ends are right; the high ends are not", 3),
    ("05.3", lambda y, mean, z, omega, sigma: y - mean, "raw residuals", 1),
    ("05.3", whitened(cov=lambda z, o, s: z @ o @ z.T + np.eye(len(z))), "identity by sigma squared", 2),
    ("05.3", whitened(cov=lambda z, o, s: z @ z.T + s**2 * np.eye(len(z))), "omega is missing", 2),
    ("05.3", whitened(cov=lambda z, o, s: z @ np.linalg.inv(o) @ z.T + s**2 * np.eye(len(z))), "omega is inverted", 2),
    ("05.3", whitened(use=lambda v, r: r / np.diag(v)), "by variances, not by SDs", 1),
    ("05.3", whitened(use=lambda v, r: r / np.diag(np.linalg.cholesky(v))), "the diagonal of L", 3),
    ("05.3", lambda y, mean, *rest: whitened(residual=lambda y, m: y)(y, mean, *rest) - mean, "taken off too late", 1),
    ("05.3", lambda y, mean, z, omega, sigma: (y - mean) / sigma**2, "variance in place of an SD", 1),
    ("05.4", root(lambda bread, s, a: a @ s.T @ s @ a), "its *inverse* that does", 1),
    ("05.4", root(lambda bread, s, a: bread @ np.cov(s.T) @ bread), "np.cov divides", 3),
    ("05.4", root(lambda bread, s, a: bread @ s.T @ s @ bread * len(s)), "in the sums already", 3),
    ("05.4", lambda s, a: 1 / np.sqrt(np.diag(a)), "the scores play no part", 1),
    ("05.4", lambda s, a: np.sqrt((s**2).sum(0)) / np.diag(a), "the diagonal of the information", 1),
    ("05.4", lambda s, a: np.sqrt(abs(np.diag((1 / a) @ s.T @ s @ (1 / a)))), "one over every entry", 1),
    ("05.4", lambda s, a: np.sqrt(abs(np.diag(np.linalg.inv(a) * (s.T @ s) * np.linalg.inv(a)))), "entry by entry", 2),
    (
        "05.4",
        lambda s, a: np.sqrt(np.linalg.eigvalsh(np.linalg.inv(a) @ s.T @ s @ np.linalg.inv(a))),
        "roots of eigenvalues",
        3,
    ),
    ("05.5", mixture(lambda x, q: (chi2.sf(x, q) + chi2.sf(x, q + 1)) / 2), "has no answer (NaN)", 2),
    ("05.5", mixture(lambda x, q: ((chi2.sf(x, q) if q else 1) + chi2.sf(x, q + 1)) / 2), "as if it were always", 2),
    (
        "05.5",
        mixture(lambda x, q: (chi2.sf(x, q) + chi2.sf(x, q + 1)) / 2 if q else chi2.sf(x, 1)),
        "keeps its weight",
        2,
    ),
    ("05.5", mixture(lambda x, q: ((chi2.cdf(x, q) if q else 0) + chi2.cdf(x, q + 1)) / 2), "*smaller* statistic", 3),
    ("05.5", mixture(lambda x, q: ((chi2.pdf(x, q) if q else 0) + chi2.pdf(x, q + 1)) / 2), "are densities", 3),
    ("05.5", mixture(lambda x, q: (zero_or(-x, q) + chi2.sf(-x, q + 1)) / 2), "statistic is negative", 1),
    ("05.5", mixture(lambda x, q: (zero_or(x, q) + chi2.sf(x, q + 2)) / 2), "one degree of freedom apart", 2),
    ("05.5", mixture(lambda x, q: (zero_or(x, q - 1) + zero_or(x, q)) / 2), "too few in both halves", 2),
    ("05.5", mixture(lambda x, q: x), "This is the statistic", 1),
    ("05.6", ["covariate", "error", "random effects", "shape"], "There are three studies", 1),
    ("05.6", {"P": ["covariate"], "Q": "error", "R": np.array(["shape"])}, "is none of", 1),
    ("05.6", np.array(["covariate", "shape", "random effects"]), "2 of 3 are right. Study Q", 2),
]

RIGHT = [
    ("05.1", forms(share)),
    (
        "05.1",
        lambda n, w, s: (
            np.array([1, 1, 1])
            - [s**2 / (s**2 + n * w**2), n**0.5 * w / math.hypot(n**0.5 * w, s), n * w**2 / (n * w**2 + s**2)]
        ),
    ),  # fmt: skip
    ("05.2", bands()),
    (
        "05.2",
        lambda simulated, bin_of, p: np.stack(
            [np.quantile(np.quantile(simulated[:, bin_of == b], p / 100, 1), (0.05, 0.95)) for b in range(4)]
        ),
    ),
    ("05.3", whitened()),
    (
        "05.3",
        lambda y, mean, z, omega, sigma: (
            np.linalg.inv(np.linalg.cholesky(z @ omega @ z.T + np.diag(np.full(len(z), sigma**2)))) @ (y - mean)
        ),
    ),  # fmt: skip
    ("05.4", root(lambda bread, s, a: bread @ s.T @ s @ bread)),
    ("05.4", root(lambda bread, s, a: bread @ sum(np.outer(one, one) for one in s) @ bread)),
    ("05.4", lambda s, a: np.linalg.norm(s @ np.linalg.inv(a), axis=0)),
    ("05.5", mixture(lambda x, q: (zero_or(x, q) + chi2.sf(x, q + 1)) / 2)),
    ("05.5", mixture(lambda x, q: norm.sf(x**0.5) if q == 0 else 1 - (chi2.cdf(x, q) + chi2.cdf(x, q + 1)) / 2)),
    ("05.6", {"P": "covariate", "Q": "error", "R": "random effects"}),
    ("05.6", ("covariate", "error", "random effects")),
    ("05.6", np.array(["Covariate", "error", "random_effects"])),
    ("05.6", pd.Series({"P": "covariate", "Q": "error", "R": "random effects"})),
]

TABLE = Table(exercises=EXERCISES, planted=PLANTED, right=RIGHT, dots={"05.6": dict.fromkeys("PQR", ...)})


def test_what_comes_next_is_said():
    partly = check("05.6", {"P": "covariate", "Q": ..., "R": ...})
    assert partly.state == "open" and "the others" in partly.reason


# ------------------------------------------------------------------------------------ the truths themselves


@pytest.fixture(scope="module")
def line():
    return mf.fit(faults.start(), faults.study("error", jax.random.key(2), 60), mf.FOCE(), progress=False)


def test_residuals_and_sandwich_by_hand_are_those_of_the_library(line):
    model, z = line.model, np.column_stack([np.ones(8), -faults.TIMES])
    mean = model.height - model.rate * faults.TIMES
    mine = [lesson_05.cwres(s.y, mean, z, model.omega, float(model.sigma)) for s in line.population]
    np.testing.assert_allclose(np.ravel(mine), mf.residuals(line).CWRES, atol=1e-8)
    by_hand = lesson_05.sandwich(mf.subject_scores(line), np.linalg.inv(line.covariance))
    assert by_hand[0] == pytest.approx(mf.sandwich(line).table.se["height"], rel=1e-6)  # its own free coordinate


def test_the_test_at_the_boundary_is_the_librarys():
    for x, q in ((1.3, 0), (4.0, 1), (6.0, 2)):
        assert lesson_05.boundary_p(0.0, x / 2, q) == pytest.approx(tail(x, q + 1, 1), rel=1e-12)


def test_the_band_is_that_of_a_vpc(line):
    key, samples = jax.random.key(4), 40
    simulated = mf.vpc(line, key=key, samples=samples, percentiles=(10.0,)).simulated
    keys = jax.random.split(key, samples)
    studies = np.array([np.ravel(mf.simulate(line.model, line.population, k).subjects.y) for k in keys])
    by_hand = lesson_05.band(studies, np.tile(np.arange(8), 60), 10.0)
    np.testing.assert_allclose(by_hand, simulated[["low", "high"]], rtol=1e-9)


def test_each_mystery_is_told_by_its_own_diagnostic():
    """What the worked answer looks at separates the three studies."""
    for name, (number, _) in faults.MYSTERIES.items():
        fit = mf.fit(faults.start(), faults.mystery(name), mf.FOCE(), progress=False)
        by_time = mf.residuals(fit).groupby("TIME").CWRES
        table = mf.random_effects_table(fit)
        draw = mf.conditional_draws(fit, 1, key=jax.random.key(1))[:, 0, 1]
        skewness = float(np.mean(((draw - draw.mean()) / draw.std()) ** 3))
        rings = {
            faults.SHAPE: by_time.mean().abs().max() > 0.3,
            faults.ERROR: by_time.std().iloc[-1] > 1.4 * by_time.std().iloc[0],
            faults.COVARIATE: table["rate"].corr(table["kidney"]) > 0.4,
            faults.EFFECTS: abs(skewness) > 0.6,
        }
        assert [fault for fault, rang in rings.items() if rang] == [list(faults.FAULTS)[number]]
