"""Exercises 11.4 and 11.5: what samples make of draws from the population, and what the next one would."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import logsumexp

from workshop.checks.engine import Function, slip
from workshop.checks.several import by_number
from workshop.studies import patients_by_draws as given


def weigh(log_curve: np.ndarray, log_y: np.ndarray, sigma: float, value: np.ndarray) -> np.ndarray:
    """Posterior mean and SD of a quantity, by draws from the prior weighed by p(y | eta)."""
    return _weighed()(log_curve, log_y, sigma, value)


def _weighed(
    rows: Callable = lambda away: np.sum(away, axis=1),
    spread: Callable = lambda sigma: sigma,
    share: Callable = lambda log_w: np.exp(log_w - logsumexp(log_w)),
    sd: Callable = lambda w, v, mean: np.sqrt(w @ (v - mean) ** 2),
) -> Callable:
    def weighed(log_curve, log_y, sigma, value):
        log_w = rows(-0.5 * ((log_y - log_curve) / spread(sigma)) ** 2)
        w = share(log_w)
        mean = w @ value
        return np.array([mean, sd(w, value, mean)])

    return weighed


_cases = itertools.cycle(((2, 0.25), (1500, 20.0)))  # samples and their error: of many, all weights underflow


def _samples(rng: np.random.Generator) -> tuple[Any, ...]:
    count, sigma = next(_cases)
    eta = given.draws_of_eta(300, int(rng.integers(1_000_000)))
    curves = given.log_curves(eta, np.sort(rng.uniform(1, 24, count)))
    return curves, curves[0] + sigma * rng.standard_normal(count), sigma, np.log(3) + eta[:, 1]


WEIGH = Function(
    "What a sample says",
    truth=weigh,
    inputs=_samples,
    praise="Draws from the population and a likelihood are enough for one person: nothing is fitted.",
    otherwise=by_number("the mean", "the SD", hints=(2, 3)),
    mistakes=[
        slip(
            _weighed(share=lambda log_w: np.full(len(log_w), 1 / len(log_w))),
            1,
            "All draws count the same: this is the population, which has not seen the sample.",
        ),
        slip(
            _weighed(share=lambda log_w: np.exp(log_w) / np.exp(log_w).sum()),
            3,
            "It is 0/0 after many samples, where all weights are tiny: take the largest log weight off before exp. "
            "Otherwise it is right.",
        ),
        slip(
            _weighed(share=lambda log_w: np.exp(log_w)),
            2,
            "The weights do not add up to one: divide them by their sum.",
        ),
        slip(
            _weighed(share=lambda log_w: np.exp(log_w - log_w.max())),
            2,
            "The weights do not add up to one: divide them by their sum.",
        ),
        slip(
            _weighed(share=lambda log_w: log_w / log_w.sum()),
            1,
            "Weighed with logarithms. Take their exponential first.",
        ),
        slip(_weighed(spread=np.sqrt), 2, "sigma is taken for a variance. It is an SD."),
        slip(
            _weighed(rows=lambda away: np.mean(away, axis=1)),
            2,
            "The mean over the samples is taken: so two would say no more than one. Their log densities add up.",
        ),
        slip(_weighed(rows=lambda away: away[:, -1]), 2, "Only the last sample is used. All of them speak."),
        slip(_weighed(rows=lambda away: away[:, 0]), 2, "Only the first sample is used. All of them speak."),
        slip(
            _weighed(rows=lambda away: 2 * np.sum(away, axis=1)),
            2,
            "The half in front of the square is missing.",
        ),
        slip(
            _weighed(sd=lambda w, v, mean: w @ (v - mean) ** 2),
            3,
            "The mean is right. The second number is the variance; asked for is the SD.",
        ),
        slip(
            _weighed(sd=lambda w, v, mean: np.std(v)),
            3,
            "The mean is right. The SD is that of the population, without weights.",
        ),
        slip(
            _weighed(sd=lambda w, v, mean: np.sqrt(w @ v**2)),
            3,
            "The mean is right. In the SD it is not taken off.",
        ),
    ],
)


def expected_sd(log_curve: np.ndarray, sigma: float, value: np.ndarray, normal: np.ndarray) -> float:
    """The mean over outcomes y_r = log_curve_r + sigma normal_r of the SD of `value` by weights p(y_r | draw m)."""
    return _expected()(log_curve, sigma, value, normal)


def _mean_of_sds(w: np.ndarray, value: np.ndarray) -> float:
    return float(np.mean(np.sqrt(_variances(w, value))))


def _variances(w: np.ndarray, value: np.ndarray) -> np.ndarray:
    mean = w @ value
    return np.sum(w * (value - mean[:, None]) ** 2, axis=1)


def _expected(
    outcome: Callable = lambda curve, sigma, normal: curve[: len(normal)] + sigma * normal,
    axis: int = 1,
    end: Callable = _mean_of_sds,
) -> Callable:
    def expected(log_curve, sigma, value, normal):
        y = outcome(log_curve, sigma, normal)
        log_w = -0.5 * ((y[:, None] - log_curve) / sigma) ** 2
        return float(end(np.exp(log_w - logsumexp(log_w, axis=axis, keepdims=True)), value))

    return expected


def _a_time(rng: np.random.Generator) -> tuple[Any, ...]:
    eta = given.draws_of_eta(200, int(rng.integers(1_000_000)))
    curve = given.log_curves(eta, np.array([rng.uniform(6, 26)]))[:, 0]
    return curve, float(rng.uniform(0.15, 0.3)), np.log(3) + eta[:, 1], rng.standard_normal(30)


EXPECTED_SD = Function(
    "The next sample",
    truth=expected_sd,
    inputs=_a_time,
    praise="You know what a sample is worth before it is taken, and for any model: only weights are needed.",
    mistakes=[
        slip(
            _expected(end=lambda w, v: np.sqrt(np.mean(_variances(w, v)))),
            3,
            "This is the root of the mean variance. Asked for is the mean of the SDs: the root comes first.",
        ),
        slip(
            _expected(end=lambda w, v: np.mean(_variances(w, v))),
            3,
            "These are variances. Asked for is the mean of the SDs.",
        ),
        slip(
            _expected(end=lambda w, v: np.std(w @ v)),
            2,
            "This is how much the posterior *means* would differ. The better the sample, the larger it is. Asked for "
            "is what stays open.",
        ),
        slip(
            _expected(end=lambda w, v: np.std(v)),
            1,
            "This is the SD without a sample: the weights are not used.",
        ),
        slip(
            _expected(outcome=lambda curve, sigma, normal: curve[: len(normal)]),
            1,
            "The samples are simulated without an error of measurement: y_r = log_curve[r] + sigma * normal[r].",
        ),
        slip(
            _expected(outcome=lambda curve, sigma, normal: np.mean(curve) + sigma * normal),
            1,
            "All samples are simulated from one curve. Nobody knows whose curve it is: each draw makes one outcome.",
        ),
        slip(
            _expected(axis=0),
            2,
            "The weights add up to one over the outcomes. For each outcome they must add up to one over the draws.",
        ),
        slip(
            lambda curve, sigma, value, normal: _expected(
                outcome=lambda c, s, n: np.array([np.mean(c[: len(n)] + s * n)])
            )(curve, sigma, value, normal),
            2,
            "The outcomes are averaged first, and one posterior is made of their mean. Average the SDs instead.",
        ),
    ],
)
