"""Exercises of lesson 06, mechanisms: what people take for right, and what each mistake is called."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import chi2

import mefit as mf
from workshop.checks import models_06
from workshop.checks.engine import Exercise, Function, Judged, Mistake, Parts, StillOpen, Value, Wrong


def _slip(wrong: Callable, hint: int, reason: str) -> Mistake:
    """A mistake may divide by zero or take the logarithm of nothing: that is just what it is recognised by."""

    def quietly(*arguments):
        with np.errstate(all="ignore"):
            return wrong(*arguments)

    return Mistake(quietly, reason, hint)


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


_LONG_RUN = Function(
    "The long run, by pencil",
    truth=long_run,
    inputs=lambda rng: (rng.uniform(50, 500), rng.uniform(2, 5), rng.uniform(0.3, 1.2), rng.uniform(1.5, 4)),
    praise="The average knows clearance alone; volume only decides how far peak and trough lie apart.",
    mistakes=[
        _slip(
            _other(average=lambda d, t, cl, v: d / cl),
            1,
            "The first number is the area under the curve of one interval. The average is that area over its length.",
        ),
        _slip(
            _other(average=lambda d, t, cl, v: d / (t * v)),
            1,
            "The average has the volume in it. In the long run what goes in comes out, and that is CL times C.",
        ),
        _slip(_other(average=lambda d, t, cl, v: d / v), 1, "The first number is the rise by one dose, dose / V."),
        _slip(
            _other(average=lambda d, t, cl, v: d * t / cl),
            1,
            "The average grows with the interval: the rate of dosing is the dose divided by it.",
        ),
        _slip(
            _other(rate=lambda cl, v: cl),
            2,
            "The clearance stands in the exponential. A rate is asked for there, CL / V.",
        ),
        _slip(_other(rate=lambda cl, v: v / cl), 2, "CL / V is turned over in the exponential."),
        _slip(
            _other(rate=lambda cl, v: -cl / v),
            2,
            "The sign in the exponential is wrong: what is left after an interval is less than one.",
        ),
        _slip(
            _other(peak=lambda d, v, pile, left: d / v),
            2,
            "The peak is that of the first dose. At steady state it comes on top of what is left of all former ones.",
        ),
        _slip(
            _other(peak=lambda d, v, pile, left: d * pile * left / v),
            2,
            "This is the trough, just before the next dose. The peak is just after.",
        ),
        _slip(
            _other(peak=lambda d, v, pile, left: d * pile),
            2,
            "The peak is an amount, in mg: divide by the volume.",
        ),
        _slip(
            _other(peak=lambda d, v, pile, left: d * (1 + left) / v),
            2,
            "You counted the last dose and the one before it. There are endlessly many: sum the geometric series.",
        ),
        _slip(
            _other(loading=lambda d, v, pile, mean: mean * v),
            3,
            "This first dose begins at the steady-state *average*. Asked for is one that begins at the peak.",
        ),
        _slip(
            _other(loading=lambda d, v, pile, mean: d * pile / v),
            3,
            "The third number is the peak again. A loading dose is in mg: the peak times the volume.",
        ),
        _slip(
            _other(loading=lambda d, v, pile, mean: d * pile - d),
            3,
            "This is what has to be given beside the usual dose. Asked for is the whole first dose.",
        ),
        _slip(
            _other(loading=lambda d, v, pile, mean: d), 3, "The third number is the usual dose, without any loading."
        ),
    ],
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


def _by_grid(arguments: list, given: list, wanted: list) -> tuple[str, int] | None:
    """An answer read off a grid of times is near in time, and nearer in height, where the curve is flat."""
    apart = [np.abs(g / w - 1) for g, w in zip(given, wanted, strict=True)]
    if all(a[1] < 0.05 and a[0] < 0.6 for a in apart) and any(a[0] > 1e-6 for a in apart):
        return "Cmax is nearly right and tmax is not: was it read off a grid of times? The formula needs none.", 2
    return None


_PEAK = Function(
    "The time of the peak",
    truth=peak,
    inputs=lambda rng: (rng.uniform(50, 500), rng.uniform(0.5, 2.5), rng.uniform(1, 6), rng.uniform(20, 60)),
    praise="The time does not depend on the dose, and the height is proportional to it.",
    otherwise=_by_grid,
    mistakes=[
        _slip(
            _peak_with(when=lambda ka, ke, cl: np.log(ka / cl) / (ka - cl)),
            1,
            "The clearance stands where a rate belongs: ke = CL / V.",
        ),
        _slip(
            _only_time(lambda ka, ke, cl: np.log(ka / cl) / (ka - cl)),
            1,
            "The clearance stands in tmax where a rate belongs: ke = CL / V.",
        ),
        _slip(
            _peak_with(when=lambda ka, ke, cl: np.log(ke / ka) / (ka - ke)),
            2,
            "tmax is negative: logarithm and difference have to be taken the same way round.",
        ),
        _slip(
            _only_time(lambda ka, ke, cl: np.log(ke / ka) / (ka - ke)),
            2,
            "tmax is negative: logarithm and difference have to be taken the same way round.",
        ),
        _slip(_peak_with(when=lambda ka, ke, cl: np.log(ka) - np.log(ke)), 2, "log(ka / ke) is not yet a time."),
        _slip(_only_time(lambda ka, ke, cl: 1 / ka), 2, "1 / ka is the mean time in the depot, not that of the peak."),
        _slip(
            _peak_with(when=lambda ka, ke, cl: 1 / ka), 2, "1 / ka is the mean time in the depot, not that of the peak."
        ),
        _slip(
            lambda dose, ka, cl, v: peak(dose, ka, cl, v)[::-1],
            3,
            "The two have changed places: the time comes first.",
        ),
        _slip(
            _peak_with(height=lambda t, d, ka, ke, v: d / v),
            3,
            "Cmax is dose / V, as if all were absorbed at once and nothing had left by then.",
        ),
        _slip(
            _peak_with(height=lambda t, d, ka, ke, v: d / v * (np.exp(-ke * t) - np.exp(-ka * t))),
            3,
            "Cmax lacks the factor ka / (ka - ke).",
        ),
        _slip(
            _peak_with(height=lambda t, d, ka, ke, v: v * _at(t, d, ka, ke, v)),
            3,
            "Cmax is an amount: divide by the volume.",
        ),
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
    if isinstance(answer, str) or not isinstance(answer, list | tuple | set):
        raise Wrong("Give the numbers of four lines in a list: [1, 2, 3, 4].")
    lines = list(answer)
    if any(line is ... for line in lines):
        raise StillOpen("" if all(line is ... for line in lines) else "Name the other lines, too.")
    if any(isinstance(line, bool) or line not in range(1, 16) for line in lines):
        raise Wrong("The lines are numbered from 1 to 15.")
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


_TMAX = Value(
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
    ],
)
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
        Mistake(lambda: chi2.pdf(_statistic(), 2), "This is a density; a p-value is the area of a tail.", 3),
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
