"""Exercises of lesson 06, mechanisms: what people take for right, and what each mistake is called."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import chi2

import mefit as mf
from workshop.checks import models_06
from workshop.checks.engine import Exercise, Function, Judged, Mistake, Parts, StillOpen, Value, Wrong, slip
from workshop.checks.several import by_number

# ------------------------------------------------------------------------------------ 1: the long run


def long_run(dose: float, interval: float, cl: float, v: float) -> np.ndarray:
    """Average and peak concentration of boluses at steady state, and the first dose that reaches that peak at once."""
    return _long_run(dose, interval, cl, v)


def _long_run(
    dose: float,
    interval: float,
    cl: float,
    v: float,
    average: Callable = lambda d, t, cl, v: d / (t * cl),
    rate: Callable = lambda cl, v: cl / v,
    peak: Callable = lambda d, v, pile, left: d * pile / v,
    loading: Callable = lambda d, v, pile, mean: d * pile,
) -> np.ndarray:
    left = np.exp(-rate(cl, v) * interval)
    pile, mean = 1 / (1 - left), average(dose, interval, cl, v)
    return np.array([mean, peak(dose, v, pile, left), loading(dose, v, pile, mean)])


def _other(**parts: Callable) -> Callable:
    return lambda dose, interval, cl, v: _long_run(dose, interval, cl, v, **parts)


def _washed_out(dose: float, interval: float, cl: float, v: float) -> float:
    return cl / v * interval


def _with_pile(pile: Callable[[float], float], exponent: Callable = _washed_out) -> Callable:
    """The right average, with peak and loading dose by another accumulation of what is left, exp(-exponent)."""

    def wrong(dose, interval, cl, v):
        p = pile(np.exp(-exponent(dose, interval, cl, v)))
        return np.array([dose / (interval * cl), dose * p / v, dose * p])

    return wrong


_LONG_RUN = Function(
    "The long run, by pencil",
    truth=long_run,
    inputs=lambda rng: (rng.uniform(50, 500), rng.uniform(2, 5), rng.uniform(0.3, 1.2), rng.uniform(1.5, 4)),
    praise="The average knows clearance alone; volume only decides how far peak and trough lie apart.",
    mistakes=[
        slip(
            _other(average=lambda d, t, cl, v: d / cl),
            1,
            "The first number is the area under the curve of one interval. The average is that area over its length.",
        ),
        slip(
            _other(average=lambda d, t, cl, v: d / (t * v)),
            1,
            "The average has the volume in it. In the long run what goes in comes out, and that is CL times C.",
        ),
        slip(_other(average=lambda d, t, cl, v: d / v), 1, "The first number is the rise by one dose, dose / V."),
        slip(
            _other(average=lambda d, t, cl, v: d * t / cl),
            1,
            "The average grows with the interval: the rate of dosing is the dose divided by it.",
        ),
        slip(
            _other(rate=lambda cl, v: cl),
            2,
            "The clearance stands in the exponential. A rate is asked for there, CL / V.",
        ),
        slip(_other(rate=lambda cl, v: v / cl), 2, "CL / V is turned over in the exponential."),
        slip(
            _other(rate=lambda cl, v: -cl / v),
            2,
            "The sign in the exponential is wrong: what is left after an interval is less than one.",
        ),
        slip(
            _other(peak=lambda d, v, pile, left: d / v),
            2,
            "The peak is that of the first dose. At steady state it comes on top of what is left of all former ones.",
        ),
        slip(
            _other(peak=lambda d, v, pile, left: d * pile * left / v),
            2,
            "This is the trough, just before the next dose. The peak is just after.",
        ),
        slip(
            _other(peak=lambda d, v, pile, left: d * pile),
            2,
            "The peak is an amount, in mg: divide by the volume.",
        ),
        slip(
            _other(peak=lambda d, v, pile, left: d * (1 + left) / v),
            2,
            "You counted the last dose and the one before it. There are endlessly many: sum the geometric series.",
        ),
        slip(
            _other(loading=lambda d, v, pile, mean: mean * v),
            3,
            "This first dose begins at the steady-state *average*. Asked for is one that begins at the peak.",
        ),
        slip(
            _other(loading=lambda d, v, pile, mean: d * pile / v),
            3,
            "The third number is the peak again. A loading dose is in mg: the peak times the volume.",
        ),
        slip(
            _other(loading=lambda d, v, pile, mean: d * pile - d),
            3,
            "This is what has to be given beside the usual dose. Asked for is the whole first dose.",
        ),
        slip(_other(loading=lambda d, v, pile, mean: d), 3, "The third number is the usual dose, without any loading."),
        slip(
            _with_pile(lambda q: 1 / (1 - q), lambda d, t, cl, v: cl / v),
            2,
            "The interval is missing in the exponential: what is left after an interval is exp(-ke * interval).",
        ),
        slip(
            _with_pile(lambda q: 1 / (1 - q), lambda d, t, cl, v: cl / (v * t)),
            2,
            "The interval stands below the line in the exponential: it multiplies the rate, cl / v * interval.",
        ),
        slip(
            _with_pile(lambda q: 1 / (1 - q), lambda d, t, cl, v: np.log(2) * cl / v * t),
            2,
            "There is a log 2 in the exponential that belongs to half-lives: exp(-ke * interval), or one half to the "
            "power of interval over half-life.",
        ),
        slip(_with_pile(lambda q: 1 - q), 2, "You multiplied by 1 - q where the sum of the series divides by it."),
        slip(
            _with_pile(lambda q: 1 / (1 + q)),
            2,
            "The sum of 1 + q + q^2 + ... is 1 / (1 - q), with a minus: what is left makes the peak higher.",
        ),
        slip(_with_pile(lambda q: 1 / q), 2, "You divided by what is left, q. The sum of the series is 1 / (1 - q)."),
        slip(
            lambda d, t, cl, v: np.array([d / (t * cl), d / v - (q := np.exp(-cl / v * t)), d - q]),
            2,
            "Python divides first: dose / v * 1 / 1 - q lacks the brackets around 1 - q.",
        ),
        slip(
            lambda d, t, cl, v: d / (t * cl) * np.array([1, (pile := 1 / (1 - np.exp(-cl / v * t))), pile * v]),
            2,
            "The accumulation multiplies the average. It belongs to the rise by one dose, dose / v.",
        ),
        *(
            slip(_other(average=wrong), 1, said)
            for wrong, said in (
                (
                    lambda d, t, cl, v: d / t * cl,
                    "Python divides from left to right: dose / interval * cl multiplies by the clearance.",
                ),
                (
                    lambda d, t, cl, v: d / v / 2 / np.tanh(cl / v * t / 2),  # half of (1 + q) / (1 - q)
                    "The average is not halfway between peak and trough: the curve spends more time low than high.",
                ),
                (
                    lambda d, t, cl, v: d / v / (1 - np.exp(-cl / v * t)),
                    "The average is the peak. In the long run what goes in comes out, and that is CL times C.",
                ),
            )
        ),
        slip(_other(loading=lambda d, v, pile, mean: mean), 3, "The third number is a concentration, the average."),
        slip(
            _other(loading=lambda d, v, pile, mean: d + d * pile),
            3,
            "The usual dose is counted twice: the peak times the volume has the first dose in it.",
        ),
        slip(
            _other(loading=lambda d, v, pile, mean: d * pile * v),
            3,
            "The loading dose is multiplied by the volume once more: it is the peak times the volume.",
        ),
        slip(
            _other(peak=lambda d, v, pile, left: d * pile, loading=lambda d, v, pile, mean: d * pile / v),
            3,
            "Peak and loading dose have changed places: one is mg/L, the other mg.",
        ),
        slip(
            _other(peak=lambda d, v, pile, left: d * pile * left / v, loading=lambda d, v, pile, mean: d * (pile - 1)),
            2,
            "This is the trough, just before the next dose, and what would reach it. The peak is just after.",
        ),
    ],
    otherwise=by_number("the average", "the peak", "the loading dose", hints=(1, 2, 3)),
)

# ------------------------------------------------------------------------------------ 2: the peak


def peak(dose: float, ka: float, cl: float, v: float) -> np.ndarray:
    """tmax and Cmax after one oral dose."""
    return _peak(dose, ka, cl, v)


def _at(t: float, dose: float, ka: float, ke: float, v: float) -> float:
    return dose * ka / (v * (ka - ke)) * (np.exp(-ke * t) - np.exp(-ka * t))


def _peak(
    dose: float,
    ka: float,
    cl: float,
    v: float,
    when: Callable = lambda ka, ke, cl: np.log(ka / ke) / (ka - ke),
    height: Callable = _at,
) -> np.ndarray:
    t = when(ka, cl / v, cl)
    return np.array([t, height(t, dose, ka, cl / v, v)])


def _peak_with(**parts: Callable) -> Callable:
    return lambda dose, ka, cl, v: _peak(dose, ka, cl, v, **parts)


def _only_time(when: Callable) -> Callable:
    """tmax wrong, Cmax right."""
    return lambda dose, ka, cl, v: np.array([when(ka, cl / v, cl), peak(dose, ka, cl, v)[1]])


_which = by_number("tmax", "Cmax", hints=(2, 3))


def _by_grid(arguments: list, given: list, wanted: list) -> tuple[str, int] | None:
    """An answer read off a grid of times is near in time, and nearer in height, where the curve is flat."""
    apart = [np.abs(g / w - 1) for g, w in zip(given, wanted, strict=True)]
    if all(a[1] < 0.05 and a[0] < 0.6 for a in apart) and any(a[0] > 1e-6 for a in apart):
        return "Cmax is nearly right and tmax is not: was it read off a grid of times? The formula needs none.", 2
    height = [_at(g[0], d, ka, cl / v, v) for g, (d, ka, cl, v) in zip(given, arguments, strict=True)]
    if np.allclose([g[1] for g in given], height):
        return "Cmax is the height of the curve at your tmax, as it should be; but that is not where the peak is.", 2
    return _which(arguments, given, wanted)


_PEAK = Function(
    "The time of the peak",
    truth=peak,
    inputs=lambda rng: (rng.uniform(50, 500), rng.uniform(0.5, 2.5), rng.uniform(1, 6), rng.uniform(20, 60)),
    praise="The time does not depend on the dose, and the height is proportional to it.",
    otherwise=_by_grid,
    mistakes=[
        slip(
            _peak_with(when=lambda ka, ke, cl: np.log(ka / cl) / (ka - cl)),
            1,
            "The clearance stands where a rate belongs: ke = CL / V.",
        ),
        slip(
            _only_time(lambda ka, ke, cl: np.log(ka / cl) / (ka - cl)),
            1,
            "The clearance stands in tmax where a rate belongs: ke = CL / V.",
        ),
        slip(
            _peak_with(when=lambda ka, ke, cl: np.log(ke / ka) / (ka - ke)),
            2,
            "tmax is negative: logarithm and difference have to be taken the same way round.",
        ),
        slip(
            _only_time(lambda ka, ke, cl: np.log(ke / ka) / (ka - ke)),
            2,
            "tmax is negative: logarithm and difference have to be taken the same way round.",
        ),
        slip(_peak_with(when=lambda ka, ke, cl: np.log(ka) - np.log(ke)), 2, "log(ka / ke) is not yet a time."),
        slip(_only_time(lambda ka, ke, cl: 1 / ka), 2, "1 / ka is the mean time in the depot, not that of the peak."),
        slip(
            _peak_with(when=lambda ka, ke, cl: 1 / ka), 2, "1 / ka is the mean time in the depot, not that of the peak."
        ),
        slip(
            lambda dose, ka, cl, v: peak(dose, ka, cl, v)[::-1],
            3,
            "The two have changed places: the time comes first.",
        ),
        slip(
            _peak_with(height=lambda t, d, ka, ke, v: d / v),
            3,
            "Cmax is dose / V, as if all were absorbed at once and nothing had left by then.",
        ),
        slip(
            _peak_with(height=lambda t, d, ka, ke, v: d / v * (np.exp(-ke * t) - np.exp(-ka * t))),
            3,
            "Cmax lacks the factor ka / (ka - ke).",
        ),
        slip(
            _peak_with(height=lambda t, d, ka, ke, v: v * _at(t, d, ka, ke, v)),
            3,
            "Cmax is an amount: divide by the volume.",
        ),
        *(
            slip(make(when=wrong), 2, said)
            for wrong, said in (
                (
                    lambda ka, ke, cl: np.log(ka / ke) / ka - ke,
                    "Python divides first: log(ka / ke) / ka - ke lacks the brackets around ka - ke.",
                ),
                (lambda ka, ke, cl: np.log10(ka / ke) / (ka - ke), "That is the logarithm to base ten: `np.log`."),
                (lambda ka, ke, cl: np.log(ka / ke) / (ka + ke), "The rates are added below the line: ka - ke."),
                (
                    lambda ka, ke, cl: np.log(ka) / np.log(ke) / (ka - ke),
                    "The log of a ratio is a *difference* of logarithms, not their ratio.",
                ),
                (
                    lambda ka, ke, cl: np.log(np.abs(ka - ke)) / (ka - ke),
                    "The log of a ratio is asked for, log(ka / ke), not that of the difference.",
                ),
                (
                    lambda ka, ke, cl: np.log(ka / ke) / (ka - cl),
                    "The clearance stands in the difference where a rate belongs: ka - ke, with ke = CL / V.",
                ),
                (lambda ka, ke, cl: np.log(ka * ke) / (ka - ke), "In the logarithm the rates are divided: ka / ke."),
            )
            for make in (_peak_with, _only_time)
        ),
        slip(
            lambda dose, ka, cl, v: np.array([t := np.log(ka * cl / v) / (ka - v / cl), _at(t, dose, ka, v / cl, v)]),
            1,
            "ke is turned over: it is CL / V, one over hours.",
        ),
        *(
            slip(_peak_with(height=wrong), 3, said)
            for wrong, said in (
                (
                    lambda t, d, ka, ke, v: -_at(t, d, ka, ke, v),
                    "Cmax is negative: the slower exponential, exp(-ke t), comes first.",
                ),
                (
                    lambda t, d, ka, ke, v: d * ka / v * (ka - ke) * (np.exp(-ke * t) - np.exp(-ka * t)),
                    "Python divides from left to right: in Cmax the factor ka - ke belongs below the line.",
                ),
                (lambda t, d, ka, ke, v: _at(t, 1.0, ka, ke, v), "The dose is missing in Cmax."),
                (
                    lambda t, d, ka, ke, v: _at(t, d, ka, ke, v) / ka,
                    "Cmax lacks a ka: the factor in front is D ka over V (ka - ke).",
                ),
                (
                    lambda t, d, ka, ke, v: d * ka / v / (ka - ke) * np.exp(-ke * t),
                    "Cmax lacks the second exponential: it is the difference of the two.",
                ),
                (
                    lambda t, d, ka, ke, v: d * ka / v / (ka - ke) * (np.exp(-ke * t) + np.exp(-ka * t)),
                    "In Cmax the exponentials are added; the formula has their difference.",
                ),
                (
                    lambda t, d, ka, ke, v: d * ka / v / (ka - ke) * (np.exp(-ke * v * t) - np.exp(-ka * t)),
                    "The clearance stands in an exponential of Cmax where a rate belongs: ke = CL / V.",
                ),
            )
        ),
        slip(lambda dose, ka, cl, v: peak(dose, ka, cl, v) * [60, 1], 2, "tmax is in minutes; hours are asked for."),
    ],
)

# ------------------------------------------------------------------------------------ 3: the slips of a slide

_FINE = {
    1: "a clearance with its domain; three other lines use it",
    2: "a volume with its domain; it is used below",
    4: "a lag, which the heading of the dynamics uses",
    6: "an SD, and it is used as one below",
    7: "random effects have mean zero, and a covariance as their second argument",
    8: "a log-normal clearance",
    9: "a log-normal volume",
    11: "what leaves the depot arrives here, and CL / V is a rate (the rest of what is wrong with it shows earlier)",
    12: "an amount over a volume is a concentration",
    13: "the largest value of the curve is its height",
    15: "a normal error around the concentration",
}
_SLIPS = {3: "a parameter that nothing uses", 5: "SDs called a covariance", 10: "Ka", 14: "the time of the peak"}


def _judge_lines(answer: Any) -> None:
    if isinstance(answer, np.ndarray):
        answer = answer.tolist()
    if isinstance(answer, str) or not isinstance(answer, list | tuple | set | frozenset):
        raise Wrong("Give the numbers of four lines in a list: [1, 2, 3, 4].")
    lines = list(answer)
    if any(line is ... for line in lines):
        raise StillOpen("" if all(line is ... for line in lines) else "Name the other lines, too.")
    if not all(isinstance(line, int | float | np.number) for line in lines):
        raise Wrong("Give line numbers, one beside the other and without quotes: [1, 2, 3, 4].")
    if any(isinstance(line, bool) or line not in range(1, 16) for line in lines):
        raise Wrong("The lines are numbered from 1 to 15.")
    if len(set(lines)) < len(lines):
        raise Wrong("A line is named twice: there are four of them.")
    right = sorted(set(lines) & set(_SLIPS))
    fine = [line for line in lines if line in _FINE]
    found = f"{len(right)} of four found. "
    if fine:
        raise Wrong(f"{found}Nothing is wrong with line {fine[0]}: {_FINE[fine[0]]}.", 1)
    if len(right) < 4:
        raise Wrong(
            f"{found}Ask of every name where it is defined and where it is used, and of every word whether it says "
            "what is computed.",
            2 if len(right) < 3 else 3,
        )


_LINES = Judged(
    "Find the slips",
    _judge_lines,
    praise="Defined and never used, used and never defined, called what it is not, and computed from the wrong thing.",
)

# ------------------------------------------------------------------------------------ 4: the slide, written


def _typical_peak() -> float:
    """tmax of the typical person of the slide."""
    return models_06.tmax(models_06.KA, *(models_06.SLIDE[k] for k in ("lag", "cl", "v")))


def _peak_at(ka: float, ke: float) -> float:
    """The time of the peak by other rates, the lag included."""
    return models_06.SLIDE["lag"] + np.log(ka / ke) / (ka - ke)


_KE = models_06.SLIDE["cl"] / models_06.SLIDE["v"]
_TIME = Value(
    "tmax",
    truth=_typical_peak,
    rtol=0.015,  # 2 minutes: a fine grid of times will do
    mistakes=[
        Mistake(24.0, "This is the largest of the times, the slip of line 14.", 2),
        Mistake(
            lambda: _typical_peak() - models_06.SLIDE["lag"],
            "Before absorption begins, the lag has to pass: add it.",
            2,
        ),
        Mistake(
            lambda: models_06._curve(np.array([_typical_peak()]), {"ka": models_06.KA, **models_06.SLIDE}, (0.0, 0.0))[
                0
            ],
            "This is a concentration, how high; asked for is when.",
            2,
        ),
        Mistake(
            lambda: np.sum(models_06.TIMES < _typical_peak()),
            "This is the place in an array; asked for is the time.",
            2,
        ),
        Mistake(2.0, "This is the sampling time nearest to the peak: use a finer grid, or the formula.", 2),
        Mistake(
            lambda: _typical_peak() + models_06.SLIDE["lag"],
            "The lag counts twice: a curve that has it in it peaks that much later already.",
            2,
        ),
        Mistake(lambda: _typical_peak() - 2 * models_06.SLIDE["lag"], "The lag is added, not taken off.", 2),
        Mistake(lambda: 60 * _typical_peak(), "This is in minutes; hours are asked for.", 2),
        Mistake(lambda: _peak_at(0.5, _KE), "ka is a rate; half an hour is the half-life.", 2),
        Mistake(lambda: _peak_at(2.0, _KE), "One over the half-life is not the rate: that is log 2 over it.", 2),
        Mistake(
            lambda: _peak_at(models_06.KA, models_06.SLIDE["cl"]),
            "The clearance stands where a rate belongs: ke = CL / V.",
            2,
        ),
    ],
)


def _judge_tmax(answer: Any) -> None:
    if isinstance(answer, dict):
        raise Wrong("mf.exposure gives several numbers by name: take the one that says *when*.", 2)
    _TIME.judge(answer)


_TMAX = Judged("tmax", _judge_tmax)
_WRITTEN = Parts(
    "The slide, written properly",
    [
        Judged("truth", models_06.judge_model),
        _TMAX,
        Judged("study", models_06.judge_study),
        Judged("fit", models_06.judge_fit),
    ],
    praise="From a slide to estimates, and every number is one that can be checked.",
)

# ------------------------------------------------------------------------------------ 5: allometry


def _statistic(power: tuple[float, float] = (0.75, 1.0)) -> float:
    """-2 log of the likelihood ratio of powers held at `power` against free ones."""
    small, large = models_06.fitted(power, True), models_06.fitted((1.0, 1.0), False)
    return mf.likelihood_ratio_test(small, large).statistic


_STATISTIC = Value(
    "statistic",
    truth=_statistic,
    rtol=2e-3,
    mistakes=[
        Mistake(lambda: _statistic() / 2, "The statistic is *twice* the difference of the log-likelihoods.", 1),
        Mistake(lambda: -_statistic(), "The large model cannot fit worse: take the small one's -2LL minus its own.", 1),
        Mistake(
            lambda: _statistic((0.0, 0.0)),
            "This is the test against no weight at all: hold the powers where allometry has them.",
            1,
        ),
        Mistake(
            lambda: _statistic((1.0, 1.0)),
            "This is the test of doses per kg, both powers one: allometry has another power for CL.",
            1,
        ),
        Mistake(
            lambda: _statistic((0.75, 0.75)), "That power is for clearances; allometry has another one for volumes.", 1
        ),
        Mistake(lambda: _statistic((1.0, 0.75)), "The powers have changed places: that of CL comes first.", 1),
        Mistake(
            lambda: models_06.fitted((0.75, 1.0), True).minus_two_log_likelihood,
            "This is the -2LL of the small model alone. The statistic is how much it falls with free powers.",
            1,
        ),
        Mistake(
            lambda: chi2.sf(_statistic(), 2), "This is the p-value. The order is: statistic, degrees of freedom, p.", 1
        ),
    ],
)
_DF = Value(
    "df",
    truth=2.0,
    mistakes=[
        Mistake(1.0, "Both powers are free in the large model and held in the small one: count them.", 2),
        Mistake(7.0, "This counts all parameters of the large model; what matters is how many more it has.", 2),
        Mistake(
            5.0, "This counts the parameters of the small model; what matters is how many more the large one has.", 2
        ),
    ],
)
_P = Value(
    "p",
    truth=lambda: chi2.sf(_statistic(), 2),
    rtol=0.01,
    mistakes=[
        Mistake(
            lambda: chi2.cdf(_statistic(), 2), "This is the chance of a *smaller* statistic: chi2.sf, not chi2.cdf.", 3
        ),
        Mistake(lambda: chi2.sf(_statistic(), 1), "This p-value has one degree of freedom.", 3),
        Mistake(lambda: chi2.sf(_statistic() / 2, 2), "This p-value is of half the statistic.", 3),
        Mistake(
            lambda: 0.5 * (chi2.sf(_statistic(), 1) + chi2.sf(_statistic(), 2)),
            "The mixture is for a variance at its boundary. A power may be smaller and larger: plain chi-squared.",
            3,
        ),
        Mistake(
            lambda: 0.5 * chi2.sf(_statistic(), 2),
            "This is half the p-value. No variance is at a boundary here: the powers are plain numbers. (The density, "
            "chi2.pdf, happens to be the same with two degrees of freedom.)",
            3,
        ),
    ],
)
_ALLOMETRY = Parts(
    "Allometry, by likelihood ratio",
    [_STATISTIC, _DF, _P],
    praise="In newborns a heavier child is mostly a riper one: more than size goes with weight.",
)

EXERCISES: dict[str, Exercise] = {
    "06.1": _LONG_RUN,
    "06.2": _PEAK,
    "06.3": _LINES,
    "06.4": _WRITTEN,
    "06.5": _ALLOMETRY,
    "06.6": Judged(
        "A regimen for a newborn",
        models_06.judge_regimen,
        praise="Volume gives the first dose, clearance all others, and the random effects say whom it does not suit.",
    ),
}
