"""Exercises of lesson 03, approximating the marginal: what people take for right, and what each mistake is called."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import logsumexp

import mefit as mf
from workshop.checks.engine import Exercise, Function, Judged, Mistake, StillOpen, Wrong

from . import integrals as right
from .integrals import LOG_2PI


def _slip(wrong: Callable, hint: int, reason: str) -> Mistake:
    """A mistake may divide by zero or take the logarithm of nothing: that is just what it is recognised by."""

    def quietly(*arguments):
        with np.errstate(all="ignore"):
            return wrong(*arguments)

    return Mistake(quietly, reason, hint)


# ------------------------------------------------------------------------------------ 1: draws by pencil


def _draws(ratio: Callable[[float], float]) -> Callable[[float, int], float]:
    return lambda s, d: 100 * (ratio(s) ** d - 1)


def _unequal(s: float) -> float:
    return np.sqrt(2 * np.pi) * (1 + s**2) / np.sqrt(1 + s**2 / 2)


_r = right.second_moment
_DRAWS = Function(
    "Draws, by pencil",
    truth=right.draws_needed,
    inputs=lambda rng: (rng.uniform(0.15, 0.8), int(rng.integers(2, 9))),
    rtol=1e-6,
    atol=1.0,  # a learner may round up to whole draws
    praise="The price is a power of the dimension.",
    mistakes=[
        _slip(
            lambda s, d: 100 * (d * _r(s) - 1),
            2,
            "You multiplied r by d. The weight of a draw is a product of d independent factors: what happens to its "
            "second moment?",
        ),
        _slip(
            lambda s, d: 100 * _r(s) ** d,
            2,
            "Almost: a variance is the second moment minus the square of the mean, and nothing is taken off here.",
        ),
        _slip(
            lambda s, d: 100 * (_r(s) - 1) ** d,
            2,
            "You raised the relative variance to the power d. What multiplies over independent factors is the second "
            "moment; the square of the mean is taken off at the end.",
        ),
        _slip(
            lambda s, d: 10 * (_r(s) ** d - 1),
            3,
            "Here the error falls as 1/M, or the variance is 10%. A relative error is an SD: it falls as one over the "
            "square root of M.",
        ),
        _slip(
            lambda s, d: 10 * np.sqrt(_r(s) ** d - 1),
            3,
            "You divided an SD by M. The variance of a mean is divided by M, its SD by the square root of M.",
        ),
        _slip(
            _draws(lambda s: 1 + 1 / s**2),
            1,
            "This is the average over all subjects that the model can produce. The question is about the mildest one, "
            "with y = 0: work out its two integrals.",
        ),
        _slip(
            _draws(_unequal),
            2,
            "The square of a normal density is one of half the variance *times a constant*, which is missing here.",
        ),
        _slip(
            _draws(lambda s: _r(np.sqrt(s))),
            1,
            "You took s for a variance. It is an SD: its square adds to the variance 1 of the prior.",
        ),
        _slip(
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
        _slip(
            _of_weights(_naive),
            2,
            "Right for a short subject, minus infinity for a long one: the exponential of -2000 is 0 to a computer. "
            "The mean has to be taken without leaving the log scale.",
        ),
        _slip(
            _of_weights(np.mean),
            1,
            "This is the mean of the logs. The likelihood is the mean of the p(y | eta), and its log comes last; the "
            "mean of the logs is always smaller.",
        ),
        _slip(
            _of_weights(logsumexp),
            3,
            "This is the log of the sum, not of the mean: with twice as many draws it would grow by log 2.",
        ),
        _slip(
            _of_weights(lambda lw: np.log(np.sum(np.exp(lw)))),
            2,
            "Two things: it is the sum, not the mean, and it is minus infinity for a long subject, whose p(y | eta) "
            "is too small for a computer. Stay on the log scale.",
        ),
        _slip(
            _of_weights(lambda lw: np.log(np.mean(lw))),
            1,
            "This is the log of a mean of logs, which are negative. Averaged are the densities, not their logs.",
        ),
        _slip(
            _of_joint(_log_mean),
            1,
            "You averaged the joint density. The draws come from the prior already: p(eta) is counted twice.",
        ),
        _slip(
            _of_joint(_naive),
            1,
            "You averaged the joint density, which counts p(eta) twice: the draws come from the prior already.",
        ),
        _slip(
            lambda model, subject, draws: (
                right.monte_carlo(model, subject, draws) + subject.y.size * (np.log(model.sigma) + 0.5 * LOG_2PI)
            ),
            2,
            "The density lacks its constant, one over sigma sqrt(2 pi) for every row. It contains sigma, so it may not "
            "be dropped.",
        ),
        _slip(
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
        _slip(
            _either(_naive, _plain_size),
            2,
            "Right in few dimensions; in many, all weights underflow to 0. Both results can be had on the log scale.",
        ),
        _slip(
            _either(_naive),
            2,
            "The effective sample size is right. The error is minus infinity in many dimensions: take the mean on the "
            "log scale, as in the exercise before.",
        ),
        _slip(
            _either(None, _plain_size),
            3,
            "The error is right. The effective sample size is 0/0 in many dimensions: take its sums on the log scale.",
        ),
        _slip(
            lambda draws, s: right.one_run(draws, s) * np.array([-1.0, 1.0]),
            1,
            "The sign of the error is the wrong way round: it is the estimate minus the truth, negative where the "
            "estimate falls short.",
        ),
        _slip(_either(logsumexp), 1, "The estimate is the mean of the weights; you took their sum."),
        _slip(_either(np.mean), 1, "You averaged the logs of the weights; the estimate is the log of their mean."),
        _slip(
            _either(None, lambda lw: np.exp(_log_size(lw)) / len(lw)),
            3,
            "The second number is the share of the draws that count; asked for is how many count.",
        ),
        _slip(
            _either(None, lambda lw: np.exp(-_log_size(lw))),
            3,
            "The second number is one over the effective sample size: it lies below 1, and a number of draws does not.",
        ),
        _slip(
            _either(None, lambda lw: np.exp(-logsumexp(2 * lw))),
            3,
            "The effective sample size has a numerator too: without it, the weights would have to add up to 1.",
        ),
        _slip(
            _either(None, lambda lw: np.sum(lw) ** 2 / np.sum(lw**2)),
            3,
            "For the effective sample size you used the logs of the weights in place of the weights.",
        ),
        _slip(
            lambda draws, s: right.error_and_size(-0.5 * np.sum(draws**2, 1) / s**2, right.centre_exact(draws, s)),
            1,
            "The effective sample size is right. For the error, each normal density lacks its constant.",
        ),
        _slip(
            _against(lambda d, s: -0.5 * d * (LOG_2PI + np.log(1 + s))),
            2,
            "The exact likelihood has the variance 1 + s squared in each dimension: s is an SD.",
        ),
        _slip(
            _against(lambda d, s: -0.5 * (LOG_2PI + np.log(1 + s**2))),
            2,
            "The weights are those of all dimensions, the exact likelihood is that of one.",
        ),
        _slip(
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
        _slip(
            _laplace(lambda c, p, h, _: c + p - _half(h) - 1.5 * LOG_2PI),
            1,
            "The Gaussian's own constant is missing: the area under exp(-x^2/2) is not 1.",
        ),
        _slip(
            _laplace(lambda c, p, h, _: c + p - _half(h) - LOG_2PI),
            2,
            "The constant of the Gaussian comes once for each of the K random effects, not once in all.",
        ),
        _slip(
            _laplace(lambda c, p, h, _: c + p - _half(h) + 1.5 * LOG_2PI),
            1,
            "Too much of log 2 pi: the area under a Gaussian has the square root of 2 pi for each random effect.",
        ),
        _slip(
            _laplace(lambda c, p, h, _: c + p - 2 * _half(h)),
            1,
            "log|P| is not halved: the area under a Gaussian has the square root of the determinant.",
        ),
        _slip(
            _laplace(lambda c, p, h, _: c + p + _half(h)),
            2,
            "The sign of log|P| is the wrong way round: the sharper the peak, the smaller its area.",
        ),
        _slip(
            _laplace(lambda c, p, h, _: c + p - 1.5 * LOG_2PI),
            1,
            "This is the height of the joint density at its mode: the peak, not yet the area.",
        ),
        _slip(
            lambda *_: np.nan,
            2,
            "The result is not a number. At a peak the Hessian is negative definite: with three random effects its "
            "determinant is negative, and its logarithm does not exist. The formula has P, *minus* the Hessian.",
        ),
        _slip(
            _laplace(lambda c, p, h, prior: c + p - _half(h - prior)),
            3,
            "You took the Hessian of the conditional likelihood. The Gaussian is fitted to the joint density, whose "
            "curvature contains that of the prior.",
        ),
        _slip(
            _laplace(lambda c, p, h, _: c - _half(h)),
            3,
            "The height is that of the conditional likelihood: the prior density at the mode is missing.",
        ),
        _slip(
            _laplace(lambda c, p, h, prior: c - _half(h - prior)),
            3,
            "Height and Hessian are those of the conditional likelihood: this leaves the prior out.",
        ),
        _slip(
            _laplace(lambda c, p, h, _: c + p - 0.5 * np.sum(np.log(np.diagonal(h)))),
            2,
            "The determinant of a matrix is more than the product of its diagonal.",
        ),
        _slip(
            _at_zero(height=True),
            3,
            "Height and Hessian are taken at eta = 0. The expansion has no slope only at the mode, which is given.",
        ),
        _slip(_at_zero(height=False), 3, "The height is right; the Hessian is taken at eta = 0, not at the mode."),
    ],
)

# ------------------------------------------------------------------------------------ 5: where it is exact


def _compared(f: Callable[[float, float], float], precision: Callable | None = None) -> Callable:
    return lambda n, k, omega: f(*right.areas(n, k, omega, precision))


def _relative(laplace: float, exact: float) -> float:
    return laplace / exact - 1


_EXACT = Function(
    "Where Laplace is exact",
    truth=_compared(_relative),
    inputs=right.some_visits,
    rtol=1e-4,
    atol=1e-7,
    praise="Now look where it is small, and where it is not.",
    mistakes=[
        _slip(_compared(lambda a, b: a / b), 1, "This is the ratio of the areas; an error is how far it is from 1."),
        _slip(
            _compared(lambda a, b: np.log(a / b)),
            1,
            "This is the error of the log-likelihood; asked for is the relative error of the likelihood itself.",
        ),
        _slip(
            _compared(lambda a, b: b / a - 1), 1, "Relative to the exact area, not to Laplace's: turn the ratio over."
        ),
        _slip(
            _compared(lambda a, b: 1 - a / b),
            1,
            "The sign is the wrong way round, or left out: an area that is too small has a negative error.",
        ),
        _slip(_compared(lambda a, b: a - b), 1, "This is the difference of the areas; divide it by the exact one."),
        _slip(
            _compared(_relative, lambda data, prior: data),
            2,
            "The curvature of the prior is missing from the precision: it is the joint density that is approximated.",
        ),
        _slip(
            _compared(_relative, lambda data, prior: prior),
            2,
            "The curvature of the data is missing from the precision: each visit adds to it.",
        ),
        _slip(
            _compared(_relative, lambda data, prior: (data + prior) ** 2),
            3,
            "You divided by the precision; the area of a Gaussian has its square root.",
        ),
        _slip(
            _compared(_relative, lambda data, prior: 1 / (data + prior)),
            3,
            "Variance and precision are exchanged: a sharp peak has a small area.",
        ),
        _slip(
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


_QUADRATURE = Function(
    "Adaptive quadrature by hand",
    truth=right.rule(),
    inputs=right.a_peak,
    rtol=1e-9,  # of -2600, where there are 4000 visits
    praise="One node is Laplace; nine are the referee of this workshop.",
    mistakes=[
        _slip(
            right.rule(total=lambda terms: np.log(np.sum(np.exp(terms)))),
            3,
            "Right for few visits, minus infinity for many: the sum underflows. Take it on the log scale.",
        ),
        _slip(
            lambda f, mode, precision, _: right.rule()(f, mode, precision, 1),
            2,
            "This is Laplace's approximation, whatever the number of nodes: they have to come in.",
        ),
        _slip(
            right.rule(correct=lambda z: 0.0),
            2,
            "The weights of the rule contain the bell curve that it is made for. Your integrand does not: that curve "
            "has to be divided out.",
        ),
        _slip(
            right.rule(correct=lambda z: -0.5 * z**2),
            2,
            "The sign of z^2/2 is the wrong way round: the weights contain exp(-z^2/2) already, to be undone.",
        ),
        _slip(
            right.rule(_physicist),
            1,
            "These nodes are for the weight exp(-x^2) (physicists'), the correction is for exp(-z^2/2) "
            "(probabilists'). Take the other rule, or correct for its weight and its width.",
        ),
        _slip(
            right.rule(_physicist, lambda z: z**2),
            1,
            "The area is about right, but these nodes are for exp(-x^2) (physicists'), sqrt(2) too close together for "
            "this posterior.",
        ),
        _slip(
            right.rule(_physicist, lambda z: z**2, _wide, lambda precision: precision**-0.5),
            1,
            "The nodes are where they should be. But the change of variables is sqrt(2) times as wide, and that "
            "belongs in the area as well.",
        ),
        _slip(
            right.rule(width=lambda precision: 1.0),
            3,
            "The nodes are stretched to the width of the peak, the weights are not: a change of variables brings a "
            "factor.",
        ),
        _slip(
            right.rule(scale=lambda precision: 1 / precision),
            2,
            "You scaled by the variance, one over the precision; the width of a peak is its SD.",
        ),
        _slip(
            right.rule(scale=np.sqrt),
            2,
            "The scale is turned over: the larger the precision, the closer together the nodes must lie.",
        ),
        _slip(
            right.rule(width=np.sqrt),
            3,
            "The nodes are right; the factor of the change of variables is turned over.",
        ),
        _slip(
            right.rule(centred=False),
            2,
            "The nodes have the right width but lie around 0: they are not centred at the mode.",
        ),
        _slip(
            right.rule(scale=lambda precision: 1.0),
            2,
            "The nodes are centred but not scaled: their spread is that of a standard normal, not of this posterior.",
        ),
        _slip(
            right.rule(scale=lambda precision: 1.0, centred=False),
            2,
            "The nodes are neither centred at the mode nor scaled: this is quadrature that does not adapt.",
        ),
        _slip(
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
