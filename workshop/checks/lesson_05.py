"""Exercises of lesson 05, can you trust the fit: what people take for right, and what each mistake is called."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import chi2

from workshop.checks.engine import Exercise, Function, Judged, StillOpen, Wrong, slip
from workshop.checks.several import by_number
from workshop.studies import faults

# ------------------------------------------------------------------------------------ 1: shrinkage


def reliability(n: int, omega: float, sigma: float) -> float:
    """B of n measurements of one random effect."""
    return n * omega**2 / (n * omega**2 + sigma**2)


def _three(b: float) -> np.ndarray:
    return np.array([b, 1 - np.sqrt(b), 1 - b])


def _by(b: Callable[[int, float, float], float]) -> Callable:
    return lambda n, omega, sigma: _three(b(n, omega, sigma))


_which = by_number("B", "the SD form", "the variance form", hints=(1, 3, 2))


def _forms(arguments: list, given: list, wanted: list) -> tuple[str, int] | None:
    """Both forms may be right for a B that is not."""
    if all(np.allclose(g, _three(g[0])) and not np.isclose(g[0], w[0]) for g, w in zip(given, wanted, strict=True)):
        return "Both forms are right for your B; it is B that is not: which part of omega**2 + sigma**2 / n is it?", 1
    return _which(arguments, given, wanted)


_SHRINKAGE = Function(
    "Shrinkage, by pencil",
    truth=lambda n, omega, sigma: _three(reliability(n, omega, sigma)),
    inputs=lambda rng: (int(rng.integers(2, 9)), rng.uniform(0.2, 0.8), rng.uniform(1.1, 2.0)),
    praise="Three numbers that say the same; ask which of them a program prints.",
    mistakes=[
        slip(
            _by(lambda n, w, s: w**2 / (w**2 + s**2)),
            1,
            "This is the reliability of a single measurement: the mean of n has the error variance sigma squared / n.",
        ),
        slip(
            _by(lambda n, w, s: n * w / (n * w + s)),
            1,
            "B is a ratio of variances, and omega and sigma are SDs: square them.",
        ),
        slip(
            _by(lambda n, w, s: w**2 / (w**2 + s**2 / n**2)),
            2,
            "The variance of the mean of n errors is sigma squared / n; its SD is sigma / sqrt(n). You divided twice.",
        ),
        slip(
            _by(lambda n, w, s: s**2 / (n * w**2 + s**2)),
            1,
            "B is turned over: it is the share of the variance of the means that comes from the subjects, near 1 "
            "where data are good.",
        ),
        slip(
            lambda n, w, s: _three(reliability(n, w, s))[[0, 2, 1]],
            3,
            "The two forms of shrinkage have changed places: the one of SDs comes first.",
        ),
        slip(
            lambda n, w, s: (
                _three(reliability(n, w, s)) * [1, 0, 0]
                + np.sqrt(reliability(n, w, s)) * np.array([0, 1, 0])
                + reliability(n, w, s) * np.array([0, 0, 1])
            ),
            2,
            "These are the ratios themselves. Shrinkage is what is missing: one minus the ratio.",
        ),
        slip(
            lambda n, w, s: np.array([(b := reliability(n, w, s)), 1 - b, 1 - b**2]),
            2,
            "You took the estimates' SD for B omega. Their *variance* is B omega squared: the mean of a subject has "
            "variance omega squared / B, and is multiplied by B.",
        ),
        slip(
            lambda n, w, s: np.array([(b := reliability(n, w, s)), np.sqrt(1 - b), 1 - b]),
            3,
            "One minus the root, not the root of one minus: shrinkage of the SD is 1 - SD(estimates) / omega.",
        ),
        slip(
            _by(lambda n, w, s: 1 + s**2),
            1,
            "Python divides first: n w**2 / n w**2 + ... is 1 + ... Put brackets around the sum below the line.",
        ),
        slip(
            _by(lambda n, w, s: n * w**2 / s**2),
            1,
            "This is the ratio of the two variances. B is the share of the one in the *sum* of both.",
        ),
        slip(
            _by(lambda n, w, s: np.sqrt(reliability(n, w, s))),
            1,
            "This is the root of B. B is a share of variance as it stands.",
        ),
        slip(_by(lambda n, w, s: w**2 / (w**2 + s / n)), 1, "sigma is an SD: its square is what is divided by n."),
        slip(
            lambda n, w, s: _three(reliability(n, w, s)) * [1, -1, -1],
            2,
            "The sign is the wrong way round: shrinkage is what is missing, one minus the ratio.",
        ),
        slip(
            lambda n, w, s: _three(reliability(n, w, s)) * [1, 100, 100],
            3,
            "The shrinkages are in per cent; give the shares themselves.",
        ),
        slip(
            lambda n, w, s: (b := reliability(n, w, s)) * np.array([1, 0, 0]) + [0, np.sqrt(b) * w, b * w**2],
            2,
            "These are the SD and the variance of the estimates. Shrinkage is what they lack, as a share of omega's.",
        ),
        slip(
            lambda n, w, s: _three(b := reliability(n, w, s)) * [1, 1, 0] + [0, 0, (1 - b) * w**2],
            2,
            "The third number is the posterior variance itself. As a share of omega**2 it is the shrinkage.",
        ),
    ],
    otherwise=_forms,
)

# ------------------------------------------------------------------------------------ 2: a VPC


def band(simulated: np.ndarray, bin_of: np.ndarray, percentile: float) -> np.ndarray:
    """Low and high end (bins, 2) of the 90% band of a percentile over simulated studies (S, n)."""
    found = _percentiles(simulated, bin_of, percentile)
    return np.percentile(found, [5, 95], axis=0).T


def _percentiles(simulated: np.ndarray, bin_of: np.ndarray, percentile: float) -> np.ndarray:
    bins = np.unique(bin_of)
    return np.array([np.percentile(simulated[:, bin_of == b], percentile, axis=1) for b in bins]).T


def _studies(rng: np.random.Generator) -> tuple:
    bin_of = np.repeat(np.arange(4), [7, 12, 9, 15])
    rng.shuffle(bin_of)
    simulated = rng.gamma(4.0, 1.0 + bin_of, size=(60, bin_of.size))
    return simulated, bin_of, float(rng.choice([10.0, 90.0]))


def _ends(f: Callable) -> Callable:
    return lambda simulated, bin_of, p: f(_percentiles(simulated, bin_of, p))


def _between(low: float, high: float) -> Callable:
    """The band between these two percentiles of the studies."""
    return _ends(lambda found: np.percentile(found, [low, high], axis=0).T)


def _within(sds: float) -> Callable:
    """The mean of the studies and so many SDs to both sides."""
    return _ends(lambda found: found.mean(0)[:, None] + sds * found.std(0)[:, None] * np.array([-1, 1]))


def _pooled(simulated: np.ndarray, bin_of: np.ndarray, percentile: float) -> np.ndarray:
    return np.array([np.percentile(simulated[:, bin_of == b], [5, 95]) for b in np.unique(bin_of)])


def _backwards(simulated: np.ndarray, bin_of: np.ndarray, percentile: float) -> np.ndarray:
    rows = np.percentile(simulated, [5, 95], axis=0)
    return np.array([np.percentile(rows[:, bin_of == b], percentile, axis=1) for b in np.unique(bin_of)])


def _across(simulated: np.ndarray, bin_of: np.ndarray, percentile: float) -> np.ndarray:
    each = np.percentile(simulated, percentile, axis=0)
    return np.array([np.percentile(each[bin_of == b], [5, 95]) for b in np.unique(bin_of)])


_VPC = Function(
    "The band of a VPC",
    truth=band,
    inputs=_studies,
    praise="One line a bin: that is all that a VPC is.",
    mistakes=[
        slip(
            _pooled,
            1,
            "This is where 90% of single *observations* lie. A band belongs to a percentile: take the percentile of "
            "each study first, then look at how it varies over studies.",
        ),
        slip(
            _backwards,
            2,
            "You went over studies first and over the bin second. It is the other way round: a study's percentile in "
            "the bin, then its spread over studies.",
        ),
        slip(
            _across,
            2,
            "You took the percentile over studies for each observation. Within one study, it is taken over the "
            "observations of the bin.",
        ),
        slip(
            _between(2.5, 97.5),
            3,
            "This band holds 95% of the studies. Asked for is 90%: 5% below and 5% above.",
        ),
        slip(_between(10, 90), 3, "This band holds 80%, not 90%."),
        slip(
            _ends(lambda found: np.array([found.min(0), found.max(0)]).T),
            3,
            "These are the smallest and the largest of all studies: they move apart the more you simulate.",
        ),
        slip(
            _within(1.645),
            3,
            "Mean and SD would do for normal percentiles; those near the ends are skewed. Take percentiles of them.",
        ),
        slip(
            lambda simulated, bin_of, p: band(simulated, bin_of, 100 - p),
            1,
            "This is the band of the percentile at the other end: of 100 minus the one that is asked for.",
        ),
        slip(
            lambda simulated, bin_of, p: band(simulated, bin_of, 50),
            1,
            "This is the band of the median, whatever percentile is asked for.",
        ),
        slip(
            lambda simulated, bin_of, p: band(simulated, bin_of, p)[:, ::-1],
            3,
            "Low and high have changed places.",
        ),
        slip(
            _between(0.05, 0.95),
            3,
            "np.percentile takes per cent, from 0 to 100: 5 and 95. (It is np.quantile that takes shares.)",
        ),
        slip(
            lambda simulated, bin_of, p: band(simulated, bin_of, p / 100),
            1,
            "`percentile` is in per cent already, as np.percentile takes it: do not divide by 100.",
        ),
        slip(
            lambda simulated, bin_of, p: np.tile(
                np.percentile(np.percentile(simulated, p, axis=1), [5, 95]), (np.unique(bin_of).size, 1)
            ),
            1,
            "All bins are thrown together: this is the same band for each. Take the columns of one bin at a time.",
        ),
        slip(
            lambda simulated, bin_of, p: np.array(
                [np.percentile(simulated[:, bin_of == b].mean(1), [5, 95]) for b in np.unique(bin_of)]
            ),
            2,
            "This is the band of each study's *mean*. The percentile that is asked for takes its place.",
        ),
        slip(
            lambda simulated, bin_of, p: np.array(
                [
                    np.percentile(np.percentile(simulated[:, bin_of == b], [5, 95], axis=1), p, axis=1)
                    for b in np.unique(bin_of)
                ]
            ),
            2,
            "The two percentiles have changed places: the one that is asked for belongs within a study, 5 and 95 over "
            "studies.",
        ),
        slip(
            _between(0, 90),
            3,
            "This cuts off the upper tenth only. 90% in the middle are what lies between the 5th and the 95th.",
        ),
        slip(_between(25, 75), 3, "This band holds one half, not 90%."),
        slip(_between(1, 99), 3, "This band holds 98%, not 90%."),
        *(
            slip(
                _within(times),
                3,
                "Mean and so many SDs hold 95% of normal numbers. Asked for is 90%, and percentiles need no normality.",
            )
            for times in (1.96, 2.0)
        ),
    ],
    otherwise=lambda arguments, given, wanted: next(
        (
            (f"The {right} ends are right; the {wrong} ends are not.", 3)
            for k, (right, wrong) in enumerate((("low", "high"), ("high", "low")))
            if all(np.allclose(g[:, k], w[:, k]) for g, w in zip(given, wanted, strict=True))
        ),
        None,
    ),
)

# ------------------------------------------------------------------------------------ 3: CWRES


def cwres(y: Any, mean: Any, z: Any, omega: Any, sigma: float) -> np.ndarray:
    """L^-1 (y - mean) with L L' = z omega z' + sigma^2 I."""
    lower = np.linalg.cholesky(_covariance(z, omega, sigma))
    return np.linalg.solve(lower, np.asarray(y) - np.asarray(mean))


def _covariance(z: Any, omega: Any, sigma: float) -> np.ndarray:
    z, omega = np.asarray(z), np.asarray(omega)
    return z @ omega @ z.T + sigma**2 * np.eye(len(z))


def _a_line(rng: np.random.Generator) -> tuple:
    n = int(rng.integers(5, 9))
    z = np.column_stack([np.ones(n), np.sort(rng.uniform(0, 5, n))])
    root = rng.normal(size=(2, 2)) * [[1.0], [0.4]]
    omega, sigma, mean = root @ root.T + np.diag([0.3, 0.05]), rng.uniform(0.3, 0.8), z @ rng.normal(size=2)
    y = mean + np.linalg.cholesky(_covariance(z, omega, sigma)) @ rng.normal(size=n)
    return y, mean, z, omega, sigma


def _standardise(f: Callable[[np.ndarray, np.ndarray], Any]) -> Callable:
    """f(covariance, y - mean)."""
    return lambda y, mean, z, omega, sigma: f(_covariance(z, omega, sigma), y - mean)


def _with(covariance: Callable) -> Callable:
    """The right residuals with another covariance."""

    def wrong(y, mean, z, omega, sigma):
        try:
            return np.linalg.solve(np.linalg.cholesky(covariance(z, omega, sigma)), y - mean)
        except np.linalg.LinAlgError:  # no covariance, and so nobody's answer
            return np.full(len(y), -np.inf)

    return wrong


def _symmetric(v: np.ndarray, r: np.ndarray) -> np.ndarray:
    values, axes = np.linalg.eigh(v)
    return axes @ (axes.T @ r / np.sqrt(values))


_CWRES = Function(
    "Residuals that are independent",
    truth=cwres,
    inputs=_a_line,
    praise="For a linear Gaussian model these are the CWRES, and the NPDE too.",
    mistakes=[
        slip(
            _standardise(lambda v, r: r / np.sqrt(np.diagonal(v))),
            1,
            "Each has variance 1 now, but they are still correlated: a subject whose first point lies high has the "
            "others high as well. Use the whole covariance, not only its diagonal.",
        ),
        slip(
            lambda y, mean, z, omega, sigma: (y - mean) / sigma,
            1,
            "This leaves out the random effects: y differs from its mean by what makes the subject differ, too.",
        ),
        slip(
            _with(lambda z, omega, sigma: z @ omega @ z.T + sigma * np.eye(len(z))),
            1,
            "sigma is an SD: its square goes on the diagonal of the covariance.",
        ),
        slip(
            _with(lambda z, omega, sigma: z @ np.diag(np.diagonal(omega)) @ z.T + sigma**2 * np.eye(len(z))),
            2,
            "You took the diagonal of omega only: intercept and slope may be correlated.",
        ),
        slip(
            _with(lambda z, omega, sigma: z @ omega @ omega @ z.T + sigma**2 * np.eye(len(z))),
            2,
            "omega is squared, and it is a covariance already.",
        ),
        slip(
            _standardise(lambda v, r: np.linalg.solve(v, r)),
            3,
            "You multiplied by the inverse of the covariance; that divides twice. Asked for is its root: solve with "
            "the Cholesky factor.",
        ),
        slip(
            _standardise(lambda v, r: np.linalg.solve(np.linalg.cholesky(v).T, r)),
            3,
            "This solves with L transposed. With V = L L' it is L itself that makes the residuals independent.",
        ),
        slip(
            _standardise(lambda v, r: np.linalg.cholesky(v) @ r),
            3,
            "You multiplied by L, which makes independent numbers correlated. Undo it: solve with L.",
        ),
        slip(
            _standardise(_symmetric),
            3,
            "These are independent too: you used the symmetric root of the covariance. Asked for are those by "
            "Cholesky, in which each residual is what its predecessors do not explain.",
        ),
        slip(
            lambda y, mean, z, omega, sigma: np.linalg.solve(np.linalg.cholesky(_covariance(z, omega, sigma)), y),
            1,
            "The mean has not been taken off.",
        ),
        slip(
            lambda y, mean, z, omega, sigma: cwres(mean, y, z, omega, sigma),
            1,
            "The sign is the wrong way round: a residual is what was measured minus what was expected.",
        ),
        slip(
            lambda y, mean, z, omega, sigma: y - mean, 1, "These are the raw residuals, correlated and in units of y."
        ),
        slip(
            _with(lambda z, omega, sigma: z @ omega @ z.T + np.eye(len(z))),
            2,
            "The error has variance 1 in your covariance: multiply the identity by sigma squared.",
        ),
        slip(
            _with(lambda z, omega, sigma: z @ z.T + sigma**2 * np.eye(len(z))),
            2,
            "omega is missing: the covariance of z eta is z omega z', not z z'.",
        ),
        slip(
            _with(lambda z, omega, sigma: z @ np.linalg.cholesky(omega) @ z.T + sigma**2 * np.eye(len(z))),
            2,
            "A root of omega stands where omega belongs: the root is taken once, of the covariance of y.",
        ),
        slip(
            _with(lambda z, omega, sigma: z @ np.linalg.inv(omega) @ z.T + sigma**2 * np.eye(len(z))),
            2,
            "omega is inverted: it is a covariance already, and stands between z and z' as it is.",
        ),
        slip(
            _standardise(lambda v, r: r / np.diagonal(v)),
            1,
            "Divided by variances, not by SDs, and still correlated: solve with the Cholesky factor of the whole.",
        ),
        slip(
            _standardise(lambda v, r: r / np.diagonal(np.linalg.cholesky(v))),
            3,
            "You divided by the diagonal of L. What stands below it takes off what the earlier residuals explain.",
        ),
        slip(
            lambda y, mean, z, omega, sigma: cwres(y, 0 * y, z, omega, sigma) - mean,
            1,
            "The mean is taken off too late: first y - mean, then solve.",
        ),
        slip(
            lambda y, mean, z, omega, sigma: (y - mean) / sigma**2,
            1,
            "This leaves out the random effects, and divides by a variance in place of an SD.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 4: the sandwich


def sandwich(scores: Any, information: Any) -> np.ndarray:
    """SEs (P,) from scores (N, P) and the observed information (P, P)."""
    bread = np.linalg.inv(np.asarray(information))
    return np.sqrt(np.diagonal(bread @ np.asarray(scores).T @ np.asarray(scores) @ bread))


def _sandwiched(scores: np.ndarray, information: np.ndarray) -> np.ndarray:
    bread = np.linalg.inv(information)
    return bread @ scores.T @ scores @ bread


def _scores(rng: np.random.Generator) -> tuple:
    n, p = int(rng.integers(40, 80)), 3
    root = rng.normal(size=(p, p)) + 2 * np.eye(p)
    scores = rng.standard_t(5, size=(n, p)) @ root
    scores -= scores.mean(0)  # at the estimate they add up to zero
    other = rng.normal(size=(p, p))
    return scores, n * (root.T @ root + 0.3 * other @ other.T)


def _roots(f: Callable[[np.ndarray, np.ndarray, int], np.ndarray]) -> Callable:
    """sqrt of the diagonal of f(A, C, N)."""
    return lambda scores, information: np.sqrt(np.diagonal(f(information, scores.T @ scores, len(scores))))


_inv = np.linalg.inv
_SANDWICH = Function(
    "The sandwich, from scores",
    truth=sandwich,
    inputs=_scores,
    praise="Two slices of what the model believes, and in between what the subjects did.",
    mistakes=[
        slip(
            _roots(lambda a, c, n: _inv(a)),
            1,
            "This is the bread alone, the observed information: right where the model is, and blind to the scores.",
        ),
        slip(
            _roots(lambda a, c, n: _inv(c)),
            1,
            "These are the SEs by cross-products. They trust the model as well; the filling goes between two slices.",
        ),
        slip(
            _roots(lambda a, c, n: a @ _inv(c) @ a),
            2,
            "It is inside out: the inverse of the information stands on both sides, the cross-products in the middle.",
        ),
        slip(
            _roots(lambda a, c, n: _inv(c) @ a @ _inv(c)),
            2,
            "Bread and filling have changed places: the inverse of the *information* stands on both sides.",
        ),
        slip(
            _roots(lambda a, c, n: _inv(a) @ c), 2, "A slice is missing: the inverse information stands on both sides."
        ),
        slip(
            lambda scores, information: sandwich(scores, information) ** 2,
            3,
            "These are variances. A standard error is the square root of one.",
        ),
        slip(
            _roots(lambda a, c, n: _inv(a) @ (c / n) @ _inv(a)),
            3,
            "The scores' products are summed over subjects, as the information is; you averaged them.",
        ),
        slip(
            lambda scores, information: np.sqrt(
                np.diagonal(_inv(information) @ np.diag((scores**2).sum(0)) @ _inv(information))
            ),
            2,
            "In the middle you have the squares of the scores only. Scores of different parameters belong together: "
            "take the whole matrix, products and all.",
        ),
        slip(
            lambda scores, information: np.sqrt(
                np.diagonal(_inv(information) @ np.outer(scores.sum(0), scores.sum(0)) @ _inv(information))
            ),
            2,
            "You added the scores up and then squared. At the estimate they add up to zero: square first, then add.",
        ),
        slip(
            lambda scores, information: np.diagonal(
                _inv(information) @ np.sqrt(np.abs(scores.T @ scores)) @ _inv(information)
            ),
            3,
            "The root comes last, of the diagonal of the whole product.",
        ),
        slip(
            _roots(lambda a, c, n: a @ c @ a),
            1,
            "The information itself stands on both sides: it is its *inverse* that does.",
        ),
        slip(
            lambda scores, information: np.sqrt(np.diagonal(_inv(information) @ np.cov(scores.T) @ _inv(information))),
            3,
            "np.cov divides by the number of subjects (less one); the scores' products are summed.",
        ),
        slip(
            lambda scores, information: sandwich(scores, information) * len(scores) ** 0.5,
            3,
            "Multiplied by the root of N, which is in the sums already.",
        ),
        slip(
            lambda scores, information: 1 / np.sqrt(np.diagonal(information)),
            1,
            "This takes one over the diagonal of the information: the whole matrix is to be inverted, and the scores "
            "play no part here.",
        ),
        slip(
            lambda scores, information: np.sqrt(np.sum(scores**2, 0)) / np.diagonal(information),
            1,
            "You divided by the diagonal of the information: the whole matrix is to be inverted.",
        ),
        slip(
            lambda scores, information: np.sqrt(np.abs(np.diagonal(1 / information @ scores.T @ scores / information))),
            1,
            "1 / information takes one over every entry. The inverse of a matrix is `np.linalg.inv(information)`.",
        ),
        slip(
            lambda scores, information: np.sqrt(
                np.abs(np.diagonal((1 / information) @ scores.T @ scores @ (1 / information)))
            ),
            1,
            "1 / information takes one over every entry. The inverse of a matrix is `np.linalg.inv(information)`.",
        ),
        slip(
            lambda scores, information: np.sqrt(
                np.abs(np.diagonal(_inv(information) * (scores.T @ scores) * _inv(information)))
            ),
            2,
            "`*` multiplies entry by entry: matrices are multiplied by `@`.",
        ),
        slip(
            lambda scores, information: np.sqrt(np.linalg.eigvalsh(_sandwiched(scores, information))),
            3,
            "These are roots of eigenvalues. The variances of the parameters stand on the diagonal.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 5: at the boundary


def boundary_p(log_small: float, log_large: float, covariances: int) -> float:
    """P-value of the mixture 1/2 chi2_q + 1/2 chi2_{q+1}."""
    return _mixture(2 * (log_large - log_small), covariances)


def _mixture(x: float, q: int) -> float:
    below = chi2.sf(x, q) if q else float(x <= 0)
    return 0.5 * below + 0.5 * chi2.sf(x, q + 1)


_covariances = itertools.cycle((0, 1, 2))  # each of them, whatever is drawn


def _two_fits(rng: np.random.Generator) -> tuple:
    low = -rng.uniform(100, 900)
    return low, low + rng.uniform(0.6, 3.0), next(_covariances)


def _of(f: Callable[[float, int], float]) -> Callable:
    return lambda low, high, q: f(2 * (high - low), q)


def _plain(x: float, q: int) -> float:
    return float(chi2.sf(x, q)) if q else float(x <= 0)


_BOUNDARY = Function(
    "At the boundary",
    truth=boundary_p,
    inputs=_two_fits,
    trials=8,
    praise="Half of the time the data would rather have a variance below zero.",
    mistakes=[
        slip(
            _of(lambda x, q: chi2.sf(x, q + 1)),
            1,
            "This is the usual test, with every added parameter inside its domain. A variance at zero is at the edge: "
            "the p-value is too large.",
        ),
        slip(_of(_plain), 2, "Only the lower half of the mixture: the other has one degree of freedom more."),
        slip(
            _of(lambda x, q: 0.5 * chi2.sf(x, q + 1)),
            2,
            "Right for a variance alone. With covariances the other half of the mixture is a chi-squared as well, with "
            "q degrees of freedom, and not always zero.",
        ),
        slip(_of(lambda x, q: _plain(x, q) + chi2.sf(x, q + 1)), 2, "Two halves: each has the weight one half."),
        slip(
            lambda low, high, q: _mixture(high - low, q),
            1,
            "The statistic is *twice* the difference of the log-likelihoods.",
        ),
        slip(
            lambda low, high, q: chi2.sf(high - low, q + 1),
            1,
            "Two things: the statistic is twice the difference, and at the edge it has a mixture of two distributions.",
        ),
        slip(
            _of(lambda x, q: 1 - _mixture(x, q)),
            3,
            "This is the chance of a *smaller* statistic. The p-value is that of one as large or larger: `chi2.sf`.",
        ),
        slip(
            _of(lambda x, q: 0.5 * chi2.sf(x, q + 1) + 0.5 * chi2.sf(x, q + 2)),
            3,
            "One degree of freedom too many in both halves: the variance itself counts in the second half only.",
        ),
        slip(
            _of(lambda x, q: chi2.sf(x, q + 1) / 2 if q == 0 else chi2.sf(x, q + 1)),
            2,
            "You halve for a variance alone and not with covariances: the mixture holds for both.",
        ),
        slip(
            _of(lambda x, q: 0.5 * chi2.sf(x, q if q else np.nan) + 0.5 * chi2.sf(x, q + 1)),
            2,
            "Right with covariances. With q = 0 chi2.sf has no answer (NaN): that half is always zero, so it is never "
            "as large as a positive statistic.",
        ),
        slip(
            _of(lambda x, q: 0.5 * (chi2.sf(x, q) if q else 1.0) + 0.5 * chi2.sf(x, q + 1)),
            2,
            "Right with covariances. With q = 0 you count the half that is always zero as if it were always larger.",
        ),
        slip(
            _of(lambda x, q: _mixture(x, q) if q else chi2.sf(x, 1)),
            2,
            "Right with covariances. With q = 0 the other half is zero, and this half keeps its weight one half.",
        ),
        slip(
            _of(lambda x, q: 0.5 * (chi2.cdf(x, q) if q else 0.0) + 0.5 * chi2.cdf(x, q + 1)),
            3,
            "These are chances of a *smaller* statistic. The p-value is that of one as large or larger: `chi2.sf`.",
        ),
        slip(
            _of(lambda x, q: 0.5 * (chi2.pdf(x, q) if q else 0.0) + 0.5 * chi2.pdf(x, q + 1)),
            3,
            "These are densities; a p-value is the area of a tail, `chi2.sf`.",
        ),
        *(
            slip(
                lambda low, high, q, none=at_zero: (
                    0.5 * (chi2.sf(2 * (low - high), q) if q else none) + 0.5 * chi2.sf(2 * (low - high), q + 1)
                ),
                1,
                "The statistic is negative: it is the larger log-likelihood minus the smaller, twice.",
            )
            for at_zero in (0.0, 1.0)
        ),
        slip(
            _of(lambda x, q: 0.5 * _plain(x, q) + 0.5 * chi2.sf(x, q + 2)),
            2,
            "The two halves are one degree of freedom apart, not two.",
        ),
        slip(
            _of(lambda x, q: 0.5 * (chi2.sf(x, q - 1) if q > 1 else 0.0) + 0.5 * _plain(x, q)),
            2,
            "One degree of freedom too few in both halves: the covariances alone count in the first.",
        ),
        slip(_of(lambda x, q: x), 1, "This is the statistic. The p-value is how often it is as large or larger."),
    ],
)

# ------------------------------------------------------------------------------------ 6: find the fault

_WHY = {
    faults.NOTHING: "If nothing were wrong, no diagnostic would ring; one rings loudly.",
    faults.ERROR: "With a wrong error model the spread of CWRES changes with time: plot them, or their SD by time.",
    faults.SHAPE: "With a wrong shape the mean of CWRES moves with time, and the VPC's median leaves its band.",
    faults.COVARIATE: "With a forgotten covariate the estimates go along with it, and the VPC fails in strata.",
    faults.EFFECTS: "With random effects of another shape, draws of all subjects together do not look like the prior.",
}


def _judge_faults(answer: Any) -> None:
    names = list(faults.MYSTERIES)
    if hasattr(answer, "to_dict"):  # a pandas Series
        answer = answer.to_dict()
    if isinstance(answer, np.ndarray):
        answer = answer.tolist()
    if isinstance(answer, str) or not isinstance(answer, dict | list | tuple):
        raise Wrong('Give one fault for each study: {"P": ..., "Q": ..., "R": ...}.')
    given = answer if isinstance(answer, dict) else dict(zip(names, answer, strict=False))
    if len(answer) != len(names) or set(given) != set(names):
        raise Wrong(f"There are three studies, {', '.join(names)}, and each has one fault: give all of them.")
    if any(value is ... for value in given.values()):
        raise StillOpen("" if all(value is ... for value in given.values()) else "Name the faults of the others, too.")
    given = {name: str(value).strip().lower().replace("_", " ") for name, value in given.items()}
    for name, value in given.items():
        if value not in faults.FAULTS:
            raise Wrong(f"{value!r}, for study {name}, is none of {', '.join(map(repr, faults.FAULTS))}.")
    wrong = [name for name, (number, _) in faults.MYSTERIES.items() if given[name] != tuple(faults.FAULTS)[number]]
    if wrong:
        right = len(names) - len(wrong)
        raise Wrong(f"{right} of 3 are right. Study {wrong[0]} is not: {_WHY[given[wrong[0]]]}", 2)


_FAULTS = Judged(
    "Find the fault",
    _judge_faults,
    praise="Three fits that converged, three faults, and a different diagnostic for each.",
)

EXERCISES: dict[str, Exercise] = {
    "05.1": _SHRINKAGE,
    "05.2": _VPC,
    "05.3": _CWRES,
    "05.4": _SANDWICH,
    "05.5": _BOUNDARY,
    "05.6": _FAULTS,
}
