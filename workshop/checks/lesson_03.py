"""Exercises of lesson 03, approximating the marginal: what people take for right, and what each mistake is called."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import logsumexp

import mefit as mf
from workshop.checks.engine import Exercise, Function, Judged, StillOpen, Wrong, slip

from . import integrals as right
from .integrals import LOG_2PI

# ------------------------------------------------------------------------------------ 1: draws by pencil


def _draws(ratio: Callable[[float], float]) -> Callable[[float, int], float]:
    return lambda s, d: 100 * (ratio(s) ** d - 1)


def _unequal(s: float) -> float:
    return np.sqrt(2 * np.pi) * (1 + s**2) / np.sqrt(1 + s**2 / 2)


_r = right.second_moment


def _some_draws(rng: np.random.Generator) -> tuple[float, int]:
    """s and d that need some thousands of draws: so many that rounding is small, so few that a forgotten 1 is not."""
    while True:
        s, d = rng.uniform(0.15, 0.8), int(rng.integers(2, 9))
        if 600 < right.draws_needed(s, d) < 20_000:
            return s, d


_DRAWS = Function(
    "Draws, by pencil",
    truth=right.draws_needed,
    inputs=_some_draws,
    rtol=2e-3,  # a learner may round to whole draws
    praise="The price is a power of the dimension.",
    mistakes=[
        slip(
            lambda s, d: 100 * (d * _r(s) - 1),
            2,
            "You multiplied r by d. The weight of a draw is a product of d independent factors: what happens to its "
            "second moment?",
        ),
        slip(
            lambda s, d: 100 * _r(s) ** d,
            2,
            "Almost: a variance is the second moment minus the square of the mean, and nothing is taken off here.",
        ),
        slip(
            lambda s, d: 100 * (_r(s) - 1) ** d,
            2,
            "You raised the relative variance to the power d. What multiplies over independent factors is the second "
            "moment; the square of the mean is taken off at the end.",
        ),
        slip(
            _draws(lambda s: (1 + s**2) / s * np.sqrt(2 + s**2)),
            3,
            "The root belongs under the fraction: put what divides in brackets.",
        ),
        slip(
            _draws(lambda s: np.sqrt(1 + s**2) / (s * np.sqrt(2 + s**2))),
            2,
            "The mean is squared in r: in one dimension E w has a root in it, which goes away.",
        ),
        slip(
            _draws(lambda s: (1 + s**2) / np.sqrt(2 + s**2)),
            2,
            "The constant in front of the squared normal density has s in it, and so has r.",
        ),
        slip(
            _draws(lambda s: np.sqrt(_r(s))),
            2,
            "You took a root: a relative variance has E[w^2] over the square of E w.",
        ),
        slip(
            lambda s, d: 100 * d * (_r(s) - 1),
            2,
            "You multiplied the relative variance by d. The weight is a product of d factors: what multiplies then?",
        ),
        slip(lambda s, d: 100 * (_r(s) - 1), 2, "This is for one random effect: d does not come in."),
        slip(
            lambda s, d: 100 * np.sqrt(_r(s) ** d - 1),
            3,
            "The relative error is a root of something over M: square it before you solve for M.",
        ),
        slip(
            lambda s, d: (_r(s) ** d - 1) / 100,
            3,
            "You multiplied by the square of the error where it divides: a smaller error takes more draws.",
        ),
        slip(
            lambda s, d: 10_000 * (_r(s) ** d - 1),
            3,
            "So many make the error 1%.",
        ),
        slip(
            lambda s, d: 10 * (_r(s) ** d - 1),
            3,
            "Here the error falls as 1/M, or the variance is 10%. A relative error is an SD: it falls as one over the "
            "square root of M.",
        ),
        slip(
            lambda s, d: 10 * np.sqrt(_r(s) ** d - 1),
            3,
            "You divided an SD by M. The variance of a mean is divided by M, its SD by the square root of M.",
        ),
        slip(
            _draws(lambda s: 1 + 1 / s**2),
            1,
            "This is the average over all subjects that the model can produce. The question is about the mildest one, "
            "with y = 0: work out its two integrals.",
        ),
        slip(
            _draws(_unequal),
            2,
            "The square of a normal density is one of half the variance *times a constant*, which is missing here.",
        ),
        slip(
            _draws(lambda s: _r(np.sqrt(s))),
            1,
            "You took s for a variance. It is an SD: its square adds to the variance 1 of the prior.",
        ),
        slip(
            _draws(lambda s: _r(s) / np.sqrt(2 * np.pi * (1 + s**2))),
            1,
            "This is the second moment over the mean. To be relative, it is divided by the mean squared.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 2: Monte Carlo from the prior


def _of_weights(f: Callable[[np.ndarray], Any]) -> Callable:
    return lambda model, subject, draws: f(right.log_weights(model, subject, draws))


def _of_joint(f: Callable[[np.ndarray], Any]) -> Callable:
    return lambda model, subject, draws: f(right.log_weights(model, subject, draws) + right.log_prior(model, draws))


def _log_mean(log_weight: np.ndarray) -> Any:
    return logsumexp(log_weight) - np.log(len(log_weight))


def _naive(log_weight: np.ndarray) -> Any:
    return np.log(np.mean(np.exp(log_weight)))


_MONTE_CARLO = Function(
    "Monte Carlo from the prior",
    truth=right.monte_carlo,
    inputs=right.a_subject_and_draws,
    rtol=1e-8,
    praise="Right for subjects of 6 and of 1500 rows.",
    mistakes=[
        slip(
            _of_weights(_naive),
            2,
            "Right for a short subject, minus infinity for a long one: the exponential of -2000 is 0 to a computer. "
            "The mean has to be taken without leaving the log scale.",
        ),
        slip(
            _of_weights(np.mean),
            1,
            "This is the mean of the logs. The likelihood is the mean of the p(y | eta), and its log comes last; the "
            "mean of the logs is always smaller.",
        ),
        slip(
            _of_weights(logsumexp),
            3,
            "This is the log of the sum, not of the mean: with twice as many draws it would grow by log 2.",
        ),
        slip(
            _of_weights(lambda lw: np.log(np.sum(np.exp(lw)))),
            2,
            "Two things: it is the sum, not the mean, and it is minus infinity for a long subject, whose p(y | eta) "
            "is too small for a computer. Stay on the log scale.",
        ),
        slip(
            _of_weights(lambda lw: np.log(np.mean(lw))),
            1,
            "This is the log of a mean of logs, which are negative. Averaged are the densities, not their logs.",
        ),
        slip(
            _of_joint(_log_mean),
            1,
            "You averaged the joint density. The draws come from the prior already: p(eta) is counted twice.",
        ),
        slip(
            _of_joint(_naive),
            1,
            "You averaged the joint density, which counts p(eta) twice: the draws come from the prior already.",
        ),
        slip(
            lambda model, subject, draws: (
                right.monte_carlo(model, subject, draws) + subject.y.size * (np.log(model.sigma) + 0.5 * LOG_2PI)
            ),
            2,
            "The density lacks its constant, one over sigma sqrt(2 pi) for every row. It contains sigma, so it may not "
            "be dropped.",
        ),
        slip(
            _of_weights(lambda lw: logsumexp(lw) / len(lw)),
            3,
            "You divided a logarithm by the number of draws. Dividing is for the sum itself: take off a logarithm.",
        ),
        slip(
            _of_weights(lambda lw: logsumexp(lw) - len(lw)),
            3,
            "The number of draws itself is taken off; on the log scale its logarithm is.",
        ),
        slip(
            _of_weights(lambda lw: logsumexp(lw) - np.log(3)),
            3,
            "The sum was divided by the number of random effects; a mean over draws is divided by how many draws.",
        ),
        slip(
            _of_weights(lambda lw: logsumexp(lw) - np.log(3 * len(lw))),
            3,
            "`draws.size` counts every entry of the table; its rows are the draws.",
        ),
        slip(
            _of_weights(lambda lw: logsumexp(lw) + np.log(len(lw))),
            3,
            "The logarithm of the number of draws is added; a mean is the sum divided by it.",
        ),
        slip(
            _of_weights(lambda lw: logsumexp(lw / len(lw))),
            3,
            "The logs were divided before the sum: it is the densities whose mean is taken.",
        ),
        slip(
            _of_weights(np.sum),
            1,
            "This is the sum of the logs, the log of a product over draws. The likelihood is a mean over them.",
        ),
        slip(
            _of_weights(lambda lw: lw[0]),
            1,
            "Only the first draw is in it: an average over all of them is asked for.",
        ),
        slip(
            lambda model, subject, draws: right.log_weights(model, subject, np.mean(np.asarray(draws), 0)),
            1,
            "The draws were averaged. What is averaged is p(y | eta), one number for each draw.",
        ),
        slip(
            _of_weights(lambda lw: _log_mean(lw) - np.max(lw)),
            2,
            "The largest log weight was taken off and not added again.",
        ),
        slip(
            _of_weights(lambda lw: _log_mean(lw) - 2 * np.max(lw)),
            2,
            "The largest log weight is taken off a second time; it has to be added again.",
        ),
        slip(_of_joint(logsumexp), 1, "You added up the joint density: the draws bring the prior with them already."),
        slip(
            _of_weights(np.max),
            1,
            "This is the best of the draws: a peak. The marginal likelihood is an average over all of them.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 3: it fails with dimension


def _either(first: Callable | None = None, second: Callable | None = None) -> Callable:
    """A run with one of its results, or both, replaced: the log of the estimate, the effective sample size."""

    def wrong(draws, s):
        log_weight, exact = right.centre_weights(draws, s), right.centre_exact(draws, s)
        error, size = right.error_and_size(log_weight, exact)
        return np.array([first(log_weight) - exact if first else error, second(log_weight) if second else size])

    return wrong


def _plain_size(log_weight: np.ndarray) -> Any:
    return np.sum(np.exp(log_weight)) ** 2 / np.sum(np.exp(log_weight) ** 2)


def _log_size(log_weight: np.ndarray) -> Any:
    return 2 * logsumexp(log_weight) - logsumexp(2 * log_weight)


def _against(exact: Callable[[int, float], float]) -> Callable:
    return lambda draws, s: right.error_and_size(right.centre_weights(draws, s), exact(draws.shape[1], s))


_FAILURE = Function(
    "Failing with dimension",
    truth=right.one_run,
    inputs=right.a_run,
    rtol=1e-6,
    praise="Two numbers that every sampler should report.",
    mistakes=[
        slip(
            _either(_naive, _plain_size),
            2,
            "Right in few dimensions; in many, all weights underflow to 0. Both results can be had on the log scale.",
        ),
        slip(
            _either(_naive),
            2,
            "The effective sample size is right. The error is minus infinity in many dimensions: take the mean on the "
            "log scale, as in the exercise before.",
        ),
        slip(
            _either(None, _plain_size),
            3,
            "The error is right. The effective sample size is 0/0 in many dimensions: take its sums on the log scale.",
        ),
        slip(
            lambda draws, s: right.one_run(draws, s) * np.array([-1.0, 1.0]),
            1,
            "The sign of the error is the wrong way round: it is the estimate minus the truth, negative where the "
            "estimate falls short.",
        ),
        slip(_either(logsumexp), 1, "The estimate is the mean of the weights; you took their sum."),
        slip(_either(np.mean), 1, "You averaged the logs of the weights; the estimate is the log of their mean."),
        slip(
            _either(None, lambda lw: np.exp(_log_size(lw)) / len(lw)),
            3,
            "The second number is the share of the draws that count; asked for is how many count.",
        ),
        slip(
            _either(None, lambda lw: np.exp(-_log_size(lw))),
            3,
            "The second number is one over the effective sample size: it lies below 1, and a number of draws does not.",
        ),
        slip(
            _either(None, lambda lw: np.exp(-logsumexp(2 * lw))),
            3,
            "The effective sample size has a numerator too: without it, the weights would have to add up to 1.",
        ),
        slip(
            _either(None, lambda lw: np.sum(lw) ** 2 / np.sum(lw**2)),
            3,
            "For the effective sample size you used the logs of the weights in place of the weights.",
        ),
        slip(
            lambda draws, s: right.error_and_size(-0.5 * np.sum(draws**2, 1) / s**2, right.centre_exact(draws, s)),
            1,
            "The effective sample size is right. For the error, each normal density lacks its constant.",
        ),
        slip(
            _against(lambda d, s: -0.5 * d * (LOG_2PI + np.log(1 + s))),
            2,
            "The exact likelihood has the variance 1 + s squared in each dimension: s is an SD.",
        ),
        slip(
            _against(lambda d, s: -0.5 * d * (LOG_2PI + 2 * np.log(1 + s**2))),
            2,
            "For the exact likelihood the variance 1 + s squared was used as an SD: take its root.",
        ),
        slip(
            _against(lambda d, s: -0.5 * d * (LOG_2PI + 2 * np.log(s))),
            2,
            "In the exact likelihood, y varies by the spread of eta as well: the prior's variance, 1, is missing.",
        ),
        slip(
            _against(lambda d, s: -0.5 * d * LOG_2PI),
            2,
            "In the exact likelihood, y varies by the width s of the likelihood as well as by the prior.",
        ),
        slip(
            _against(lambda d, s: 0.0),
            2,
            "The first number is the estimate of log p; its error is that minus the exact one.",
        ),
        slip(
            _either(None, _log_size),
            3,
            "The second number is the logarithm of the effective sample size.",
        ),
        slip(
            lambda draws, s: right.one_run(draws, s)[::-1],
            1,
            "The two numbers are exchanged: first the error, then the effective sample size.",
        ),
        slip(
            lambda draws, s: np.array([np.expm1(right.one_run(draws, s)[0]), right.one_run(draws, s)[1]]),
            1,
            "The first number is the relative error of the likelihood; asked for is the error of its logarithm.",
        ),
        slip(
            lambda draws, s: np.array([np.exp(right.one_run(draws, s)[0]), right.one_run(draws, s)[1]]),
            1,
            "The first number is a ratio, estimate over truth; asked for is the difference of the logs.",
        ),
        slip(
            lambda draws, s: right.error_and_size(
                -0.5 * np.sum(draws**2, 1) / s**4 - draws.shape[1] * (2 * np.log(s) + 0.5 * LOG_2PI),
                right.centre_exact(draws, s),
            ),
            1,
            "The weights have the SD s squared: s is an SD already.",
        ),
        slip(
            lambda draws, s: right.error_and_size(
                right.centre_weights(draws, s) / draws.shape[1], right.centre_exact(draws, s)
            ),
            1,
            "The log weight of a draw is the sum over its coordinates, not their mean.",
        ),
        slip(
            lambda draws, s: right.error_and_size(
                right.centre_weights(draws, s) + right.centre_weights(draws, 1.0), right.centre_exact(draws, s)
            ),
            1,
            "The weights have the prior density in them. The draws come from the prior already: it counts twice.",
        ),
        slip(
            lambda draws, s: right.error_and_size(
                np.sum(-0.5 * (draws / s) ** 2 - np.log(s) - 0.5 * LOG_2PI, 0), right.centre_exact(draws, s)
            ),
            1,
            "You added up over the draws. A draw is a row: its log weight is the sum along the row (`axis=1`).",
        ),
        slip(
            _either(lambda lw: logsumexp(lw) / len(lw)),
            1,
            "You divided the log of the sum by the number of draws: the log of that number is taken off.",
        ),
        slip(
            _either(None, lambda lw: float(len(lw))),
            3,
            "So many draws there are; the effective sample size says how many of them count.",
        ),
        slip(
            _either(None, lambda lw: np.exp(0.5 * _log_size(lw))),
            3,
            "The second number is the root of the effective sample size: the sum is squared, each weight too.",
        ),
        slip(
            _either(None, lambda lw: 1.0),
            3,
            "The sum of the squares is not the square of the sum: w^2 has the log weight 2 log w.",
        ),
        slip(
            _against(lambda d, s: -0.5 * (LOG_2PI + np.log(1 + s**2))),
            2,
            "The weights are those of all dimensions, the exact likelihood is that of one.",
        ),
        slip(
            lambda draws, s: right.error_and_size(
                right.centre_weights(draws.reshape(-1, 1), s), right.centre_exact(draws, s)
            ),
            1,
            "You made one weight of each coordinate. A draw is a whole row: its log weight is the sum over the row.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 4: Laplace


def _laplace(f: Callable[[Any, Any, np.ndarray, np.ndarray], Any]) -> Callable:
    """Laplace in other words: f(log p(y | mode), log p(mode), precision, that of the prior), and (K/2) log 2 pi."""

    def wrong(model, subject, mode):
        conditional, prior = right.log_weights(model, subject, mode), right.log_prior(model, mode)
        precision = right.bend(model, subject, mode)[1]
        return f(conditional, prior, precision, np.diag(np.asarray(model.omega) ** -2.0)) + 1.5 * LOG_2PI

    return wrong


def _at_zero(height: bool) -> Callable:
    def wrong(model, subject, mode):
        zero = np.zeros(3)
        at = zero if height else mode
        value = right.log_weights(model, subject, at) + right.log_prior(model, at)
        return value + 1.5 * LOG_2PI - _half(right.bend(model, subject, zero)[1])

    return wrong


def _half(precision: np.ndarray) -> float:
    return 0.5 * np.linalg.slogdet(precision)[1]


_LAPLACE = Function(
    "Laplace in ten lines",
    truth=right.laplace,
    inputs=right.a_subject_and_mode,
    rtol=1e-7,
    praise="For any model whose log density has two derivatives.",
    mistakes=[
        slip(
            _laplace(lambda c, p, h, _: c + p - _half(h) - 1.5 * LOG_2PI),
            1,
            "The Gaussian's own constant is missing: the area under exp(-x^2/2) is not 1.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - _half(h) - LOG_2PI),
            2,
            "The constant of the Gaussian comes once for each of the K random effects, not once in all.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - _half(h) + 1.5 * LOG_2PI),
            1,
            "Too much of log 2 pi: the area under a Gaussian has the square root of 2 pi for each random effect.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - 2 * _half(h)),
            1,
            "log|P| is not halved: the area under a Gaussian has the square root of the determinant.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p + _half(h)),
            2,
            "The sign of log|P| is the wrong way round: the sharper the peak, the smaller its area.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - 3 * LOG_2PI - _half(h)),
            1,
            "The sign of log 2 pi is the wrong way round: the area under exp(-x^2/2) is more than 1.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - 1.5 * LOG_2PI + 3 * np.pi - _half(h)),
            2,
            "2 pi is in the sum as it stands; it is its logarithm that is added.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - 1.5 * LOG_2PI + 0.5 * np.log(6 * np.pi) - _half(h)),
            2,
            "K stands inside the logarithm; it multiplies it.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - 0.5),
            2,
            "`slogdet` returns two things: the sign, which you took, and the logarithm, [1].",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - 0.5 * np.linalg.det(h)),
            2,
            "The determinant itself is in the sum; it is its logarithm that is taken off.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - 0.5 * np.log(np.trace(h))),
            2,
            "This is the sum of the diagonal, the trace. The determinant is asked for: `slogdet`.",
        ),
        slip(
            _laplace(lambda c, p, h, _: np.exp(c + p) - _half(h)),
            1,
            "The height is the density itself; in a sum of logarithms stands its logarithm.",
        ),
        slip(
            _laplace(lambda c, p, h, _: -_half(h)),
            1,
            "The height of the peak is missing: a Gaussian as wide as this one, but how high?",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - 1.5 * LOG_2PI),
            1,
            "This is the height of the joint density at its mode: the peak, not yet the area.",
        ),
        slip(
            lambda *_: np.nan,
            2,
            "The result is not a number. At a peak the Hessian is negative definite: with three random effects its "
            "determinant is negative, and its logarithm does not exist. The formula has P, *minus* the Hessian.",
        ),
        slip(
            _laplace(lambda c, p, h, prior: c + p - _half(h - prior)),
            3,
            "You took the Hessian of the conditional likelihood. The Gaussian is fitted to the joint density, whose "
            "curvature contains that of the prior.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c - _half(h)),
            3,
            "The height is that of the conditional likelihood: the prior density at the mode is missing.",
        ),
        slip(
            _laplace(lambda c, p, h, prior: c - _half(h - prior)),
            3,
            "Height and Hessian are those of the conditional likelihood: this leaves the prior out.",
        ),
        slip(
            _laplace(lambda c, p, h, _: c + p - 0.5 * np.sum(np.log(np.diagonal(h)))),
            2,
            "The determinant of a matrix is more than the product of its diagonal.",
        ),
        slip(
            _at_zero(height=True),
            3,
            "Height and Hessian are taken at eta = 0. The expansion has no slope only at the mode, which is given.",
        ),
        slip(_at_zero(height=False), 3, "The height is right; the Hessian is taken at eta = 0, not at the mode."),
    ],
)

# ------------------------------------------------------------------------------------ 5: where it is exact


def _compared(f: Callable[[float, float], float], precision: Callable | None = None) -> Callable:
    return lambda n, k, omega: f(*right.areas(n, k, omega, precision))


def _relative(laplace: float, exact: float) -> float:
    return laplace / exact - 1


def _precise(precision: Callable[[int, int, float, float], float]) -> Callable:
    """The error with another precision, from n, k, omega and the probability p at the mode."""

    def wrong(n, k, omega):
        p = 1 / (1 + np.exp(-right.peak(n, k, omega)[0]))
        return _relative(*right.areas(n, k, omega, lambda data, prior: precision(n, k, omega, p)))

    return wrong


def _without_height(n: int, k: int, omega: float) -> float:
    mode = right.peak(n, k, omega)[0]
    laplace, exact = right.areas(n, k, omega)
    return laplace / np.exp(right.log_joint(mode, n, k, omega)) / exact - 1


def _without_width(n: int, k: int, omega: float) -> float:
    return _relative(*right.areas(n, k, omega, lambda data, prior: 2 * np.pi))


_EXACT = Function(
    "Where Laplace is exact",
    truth=_compared(_relative),
    inputs=right.some_visits,
    rtol=1e-4,
    atol=1e-7,
    praise="Now look where it is small, and where it is not.",
    mistakes=[
        slip(_compared(lambda a, b: a / b), 1, "This is the ratio of the areas; an error is how far it is from 1."),
        slip(
            _compared(lambda a, b: np.log(a / b)),
            1,
            "This is the error of the log-likelihood; asked for is the relative error of the likelihood itself.",
        ),
        slip(
            _compared(lambda a, b: b / a - 1), 1, "Relative to the exact area, not to Laplace's: turn the ratio over."
        ),
        slip(
            _compared(lambda a, b: 1 - a / b),
            1,
            "The sign is the wrong way round, or left out: an area that is too small has a negative error.",
        ),
        slip(_compared(lambda a, b: a - b), 1, "This is the difference of the areas; divide it by the exact one."),
        slip(
            _compared(_relative, lambda data, prior: data),
            2,
            "The curvature of the prior is missing from the precision: it is the joint density that is approximated.",
        ),
        slip(
            _compared(_relative, lambda data, prior: prior),
            2,
            "The curvature of the data is missing from the precision: each visit adds to it.",
        ),
        slip(
            _precise(lambda n, k, omega, p: p * (1 - p) + omega**-2),
            2,
            "Each of the n visits adds to the precision; yours has one.",
        ),
        slip(
            _precise(lambda n, k, omega, p: k * p * (1 - p) + omega**-2),
            2,
            "A visit with a no says as much about eta as one with a yes: all n visits add to the precision.",
        ),
        slip(
            _precise(lambda n, k, omega, p: n * p + omega**-2),
            2,
            "A visit adds p (1 - p), not p: a probability near 1 is as flat as one near 0.",
        ),
        slip(
            _precise(lambda n, k, omega, p: n * p * (1 - p) + 1 / omega),
            2,
            "omega is an SD: the prior's precision is one over its square.",
        ),
        slip(
            _precise(lambda n, k, omega, p: n * p * (1 - p) + omega**2),
            2,
            "omega squared is the prior's variance; its precision is one over that.",
        ),
        slip(
            _precise(lambda n, k, omega, p: n / 4 + omega**-2),
            2,
            "The p in the precision is that at the mode, not one half.",
        ),
        slip(
            _precise(lambda n, k, omega, p: k * (1 - k / n) + omega**-2),
            2,
            "The p in the precision is that at the mode, which the prior pulls: it is not k/n.",
        ),
        slip(
            _compared(lambda a, b: a / (100 * b) - 1),
            1,
            "The exact area lacks the step of the grid: `np.trapezoid` takes the grid too.",
        ),
        slip(
            _compared(lambda a, b: np.sqrt(2 * np.pi) * a / b - 1),
            3,
            "2 pi stands under the root, with the precision.",
        ),
        slip(
            _compared(lambda a, b: a / b / np.sqrt(2) - 1),
            3,
            "A 2 is missing: the area of a Gaussian has the root of 2 pi.",
        ),
        slip(
            _without_height,
            3,
            "The height at the mode is missing: the width of a Gaussian alone is no area.",
        ),
        slip(
            _without_width,
            3,
            "This compares the height at the mode with an area: multiply it by the width of the Gaussian.",
        ),
        slip(
            _compared(_relative, lambda data, prior: (data + prior) ** 2),
            3,
            "You divided by the precision; the area of a Gaussian has its square root.",
        ),
        slip(
            _compared(_relative, lambda data, prior: 1 / (data + prior)),
            3,
            "Variance and precision are exchanged: a sharp peak has a small area.",
        ),
        slip(
            _compared(_relative, lambda data, prior: 2 * np.pi * (data + prior)),
            3,
            "Laplace's area lacks its factor, the square root of 2 pi.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 6: adaptive quadrature

_physicist = np.polynomial.hermite.hermgauss


def _wide(precision: float) -> float:
    return np.sqrt(2 / precision)


def _unweighted(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.hermite_e.hermegauss(count)[0], np.ones(count)


def _exponentiated(count: int) -> tuple[np.ndarray, np.ndarray]:
    z, w = np.polynomial.hermite_e.hermegauss(count)
    return z, np.exp(w)


def _averaged(count: int) -> tuple[np.ndarray, np.ndarray]:
    z, w = np.polynomial.hermite_e.hermegauss(count)
    return z, w / count


_QUADRATURE = Function(
    "Adaptive quadrature by hand",
    truth=right.rule(),
    inputs=right.a_peak,
    rtol=1e-9,  # of -2600, where there are 4000 visits
    praise="One node is Laplace; nine are the referee of this workshop.",
    mistakes=[
        slip(
            right.rule(total=lambda terms: np.log(np.sum(np.exp(terms)))),
            3,
            "Right for few visits, minus infinity for many: the sum underflows. Take it on the log scale.",
        ),
        slip(
            lambda f, mode, precision, _: right.rule()(f, mode, precision, 1),
            2,
            "This is Laplace's approximation, whatever the number of nodes: they have to come in.",
        ),
        slip(
            right.rule(correct=lambda z: 0.0),
            2,
            "The weights of the rule contain the bell curve that it is made for. Your integrand does not: that curve "
            "has to be divided out.",
        ),
        slip(
            right.rule(correct=lambda z: -0.5 * z**2),
            2,
            "The sign of z^2/2 is the wrong way round: the weights contain exp(-z^2/2) already, to be undone.",
        ),
        slip(
            right.rule(_physicist),
            1,
            "These nodes are for the weight exp(-x^2) (physicists'), the correction is for exp(-z^2/2) "
            "(probabilists'). Take the other rule, or correct for its weight and its width.",
        ),
        slip(
            right.rule(_physicist, lambda z: z**2),
            1,
            "The area is about right, but these nodes are for exp(-x^2) (physicists'), sqrt(2) too close together for "
            "this posterior.",
        ),
        slip(
            right.rule(_physicist, lambda z: z**2, _wide, lambda precision: precision**-0.5),
            1,
            "The nodes are where they should be. But the change of variables is sqrt(2) times as wide, and that "
            "belongs in the area as well.",
        ),
        slip(
            right.rule(width=lambda precision: 1.0),
            3,
            "The nodes are stretched to the width of the peak, the weights are not: a change of variables brings a "
            "factor.",
        ),
        slip(
            right.rule(scale=lambda precision: 1 / precision),
            2,
            "You scaled by the variance, one over the precision; the width of a peak is its SD.",
        ),
        slip(
            right.rule(scale=np.sqrt),
            2,
            "The scale is turned over: the larger the precision, the closer together the nodes must lie.",
        ),
        slip(
            right.rule(width=np.sqrt),
            3,
            "The nodes are right; the factor of the change of variables is turned over.",
        ),
        slip(
            right.rule(centred=False),
            2,
            "The nodes have the right width but lie around 0: they are not centred at the mode.",
        ),
        slip(
            right.rule(scale=lambda precision: 1.0),
            2,
            "The nodes are centred but not scaled: their spread is that of a standard normal, not of this posterior.",
        ),
        slip(
            right.rule(scale=lambda precision: 1.0, centred=False),
            2,
            "The nodes are neither centred at the mode nor scaled: this is quadrature that does not adapt.",
        ),
        slip(
            right.rule(correct=lambda z: z**2),
            2,
            "The weight is exp(-z^2/2), so z^2/2 undoes it: you added z^2, as for the physicists' rule.",
        ),
        slip(
            right.rule(scale=_wide, width=lambda precision: precision**-0.5),
            1,
            "sqrt(2) belongs to the physicists' nodes; those for exp(-z^2/2) are wide enough without.",
        ),
        slip(
            right.rule(width=lambda precision: 1 / precision),
            3,
            "The factor of the change of variables is one over the root of the precision: half of its logarithm.",
        ),
        slip(
            right.rule(width=lambda precision: np.sqrt(2 * np.pi / precision)),
            3,
            "Too large by the constant log sqrt(2 pi): these weights have it already, they add up to it.",
        ),
        slip(
            right.rule(nodes=_unweighted),
            3,
            "The weights of the rule are missing: each node counts as much as the next.",
        ),
        slip(
            right.rule(nodes=_exponentiated),
            3,
            "The weights are added to the logs; it is their logarithms that are added.",
        ),
        slip(
            right.rule(nodes=_averaged),
            3,
            "You divided by the number of nodes: the weights say already how much each one counts.",
        ),
        slip(
            right.rule(total=np.sum),
            3,
            "The logs were added up, which multiplies the heights: take the logarithm of their sum.",
        ),
        slip(
            right.rule(scale=lambda precision: precision),
            2,
            "The nodes are stretched by the precision; the sharper the peak, the closer together they must lie.",
        ),
        slip(
            right.rule(width=lambda precision: (2 * np.pi * precision) ** -0.5),
            3,
            "Too small by the constant log sqrt(2 pi): weights that add up to 1 are for a mean over a standard normal, "
            "and an area is asked for.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 7: one ruler


def _judge_ruler(answer: Any) -> None:
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        raise Wrong("Three things are asked for: the fit by FO, the fit by FOCE, and a number.")
    if any(part is ... for part in answer):
        raise StillOpen
    wanted: tuple[tuple[Any, str, float], ...] = ((mf.FO, "FO", 2.864), (mf.FOCE, "FOCE", 1.588))
    for fit, (method, label, ka) in zip(answer, wanted, strict=False):
        if not isinstance(fit, mf.Fit):
            raise Wrong(f"In place of the fit by {label} there is a {type(fit).__name__}, not what mf.fit returns.")
        if not isinstance(fit.method, method):
            raise Wrong(f"In place of the fit by {label} there is one by {fit.method.label}.")
        if not hasattr(fit.model, "ka") or fit.population.n_observations != 132:
            raise Wrong(f"The fit by {label} is of another model or other data: use `start` and all 132 rows.")
        if abs(float(fit.model.ka) / ka - 1) > 0.02:
            raise Wrong(f"The fit by {label} is not at the optimum for this model: was anything held fixed?")
    try:
        worse = float(answer[2])
    except (TypeError, ValueError):
        raise Wrong(f"The third of the three is a {type(answer[2]).__name__}; a number is asked for.") from None
    _judge_gap(answer[0], answer[1], worse)


def _judge_gap(fo: mf.Fit, foce: mf.Fit, worse: float) -> None:
    def gap(method):
        of_fo, of_foce = (mf.log_likelihood(fit.model, fit.population, method) for fit in (fo, foce))
        return -2 * (of_fo - of_foce)

    def near(wanted):
        return abs(worse - wanted) < 0.004 * abs(wanted)  # FOCE is but 1% off

    if near(fo.minus_two_log_likelihood - foce.minus_two_log_likelihood):
        reason = (
            "These are two rulers: each method's -2LL of its own fit. By them the poorer approximation looks better."
        )
        raise Wrong(reason, 2)
    exact = gap(mf.AGQ(nodes=9))
    if near(exact):
        return
    for wrong, reason, hint in (
        (-exact, "The sign is the wrong way round: a larger -2LL is worse, and FO's fit is the worse one.", 2),
        (exact / 2, "This is the difference of the log-likelihoods; asked for is that of the -2LL.", 3),
        (exact / 12, "This is the difference for one subject; asked for is that of all twelve together.", 3),
        (gap(mf.FO()), "You measured both fits with FO's own ruler. Ask a method that is exact.", 2),
    ):
        if near(wrong):
            raise Wrong(reason, hint)
    raise Wrong(
        "The two fits are right, the number is not: measure both with one method, and with one that is exact.", 3
    )


EXERCISES: dict[str, Exercise] = {
    "03.1": _DRAWS,
    "03.2": _MONTE_CARLO,
    "03.3": _FAILURE,
    "03.4": _LAPLACE,
    "03.5": _EXACT,
    "03.6": _QUADRATURE,
    "03.7": Judged("One ruler", _judge_ruler, praise="Likelihoods compare only where one method measured them."),
}
