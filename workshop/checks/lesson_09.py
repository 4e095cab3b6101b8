"""Exercises of lesson 09: an equation followed by hand, two stages by hand, importance, energy distance, a trial."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import mefit as mf
from workshop.checks.engine import Exercise, Function, Judged, Mistake, Parts, StillOpen, Value, Wrong
from workshop.studies import effect_study as study

# ------------------------------------------------------------------------------------ 1: follow a rate


def follow(rate: Callable, start: float, c: np.ndarray, h: float) -> np.ndarray:
    """R by Euler's method: as many values as `c` has, the first of them `start`."""
    return _follow(rate, start, c, h)


def _follow(rate: Callable, start: float, c: np.ndarray, h: float, move: Callable | None = None) -> np.ndarray:
    path = [float(start)]
    for k in range(len(c) - 1):
        r = path[-1]
        path.append(float(r + h * rate(c[k], r) if move is None else move(rate, r, c, k, h, start)))
    return np.array(path)


def _moving(move: Callable) -> Callable:
    return lambda rate, start, c, h: _follow(rate, start, c, h, move)


def _some_rate(rng: np.random.Generator) -> Callable:
    a, b = rng.uniform(0.5, 2.0, 2)
    return lambda c, r: a * np.tanh(2 * c) - b * np.tanh(r)


_FOLLOW = Function(
    "Follow the rate",
    truth=follow,
    inputs=lambda rng: (_some_rate(rng), rng.uniform(0.5, 2), rng.uniform(0, 1, 6), rng.uniform(0.1, 0.4)),
    praise="Any function of c and R will do as a rate: a formula, or a network.",
    mistakes=[
        Mistake(_moving(lambda f, r, c, k, h, s: r + f(c[k], r)), "The rate is per hour, and a step takes h hours.", 1),
        Mistake(_moving(lambda f, r, c, k, h, s: h * f(c[k], r)), "R is where it was plus what is added: r + ...", 1),
        Mistake(
            _moving(lambda f, r, c, k, h, s: r + h * f(c[k + 1], r)),
            "The concentration is that at the end of each step; Euler's method looks at its beginning.",
            2,
        ),
        Mistake(
            _moving(lambda f, r, c, k, h, s: r + h * f(c[k], s)),
            "The rate is asked with R as it was at the very beginning. It has to be R as it is now.",
            2,
        ),
        Mistake(
            _moving(lambda f, r, c, k, h, s: s + h * f(c[k], r)),
            "Every step begins at the start again. It has to begin where the last one ended.",
            2,
        ),
        Mistake(_moving(lambda f, r, c, k, h, s: r + h * f(r, c[k])), "The rate takes c first, and R second.", 2),
        Mistake(
            _moving(lambda f, r, c, k, h, s: r - h * f(c[k], r)), "The rate is taken off; it says what comes on.", 3
        ),
        Mistake(_moving(lambda f, r, c, k, h, s: r + f(c[k], r) / h), "A rate per hour times hours: multiply by h.", 3),
        Mistake(
            _moving(lambda f, r, c, k, h, s: r + h * f(c[0], r)),
            "Every step looks at the first concentration. Each has its own.",
            2,
        ),
        Mistake(
            _moving(lambda f, r, c, k, h, s: r + h * f((c[k] + c[k + 1]) / 2, r)),
            "This takes the concentration in the middle of a step; Euler's method takes that at its beginning.",
            2,
        ),
        Mistake(
            lambda f, s, c, h: _follow(f, s, np.append(c, 0.0), h)[1:],
            "The values are right, one place too early: the first of them is the start itself.",
            1,
        ),
    ],
)

# ------------------------------------------------------------------------------------ 2: what the data alone say


def data_alone(mu: float, variance: float, omega: float) -> np.ndarray:
    """Precision and centre of what the data say of one eta, its prior N(0, omega) divided out of N(mu, variance)."""
    s = 1 / variance - 1 / omega
    return np.array([s, mu / variance / s])


_ALONE = Function(
    "Divide the prior out",
    truth=data_alone,
    inputs=lambda rng: (rng.normal(), rng.uniform(0.02, 0.1), rng.uniform(0.15, 0.6)),
    praise="The centre lies further out than the mode: the shrinkage is undone, and its price is in the precision.",
    mistakes=[
        Mistake(
            lambda mu, v, w: [1 / v, mu],
            "This is the posterior as it came, prior and all. Divide by the prior: subtract its precision.",
            1,
        ),
        Mistake(lambda mu, v, w: [1 / v + 1 / w, mu / v / (1 / v + 1 / w)], "Dividing subtracts precisions.", 1),
        Mistake(
            lambda mu, v, w: [1 / (v - w), mu * w / (w - v)], "Precisions are subtracted, not variances: 1/C − 1/Ω.", 1
        ),
        Mistake(lambda mu, v, w: [1 / v - 1 / w, mu], "The precision is right; the centre moves, too.", 2),
        Mistake(
            lambda mu, v, w: [1 / v - 1 / w, mu * (1 / v - 1 / w) * v],
            "The precision is right, the centre is pulled the wrong way: towards zero once more.",
            3,
        ),
        Mistake(
            lambda mu, v, w: [1 / (1 / v - 1 / w), mu / v / (1 / v - 1 / w)],
            "The centre is right. The first number is the variance; asked for is the precision.",
            2,
        ),
        Mistake(lambda mu, v, w: data_alone(mu, v, w)[::-1], "The two have changed places: first S, then m.", 3),
        Mistake(
            lambda mu, v, w: [1 / v - 1 / w, mu / v],
            "The precision is right. The second number is precision times centre: one division is missing.",
            3,
        ),
        Mistake(
            lambda mu, v, w: [1 / v - 1 / w, mu / (1 / v - 1 / w)],
            "The precision is right. In the centre the mode counts with its own precision, 1/C.",
            2,
        ),
        Mistake(
            lambda mu, v, w: [1 / (v - w), mu / v / (1 / v - 1 / w)],
            "The centre is right. For the first number precisions are subtracted, not variances.",
            1,
        ),
        Mistake(
            lambda mu, v, w: [1 / v - 1 / w, (mu / v - 1 / w) / (1 / v - 1 / w)],
            "The precision is right. The prior's centre is zero: of precision times centre it takes nothing away.",
            2,
        ),
        Mistake(
            lambda mu, v, w: data_alone(mu, v**2, w**2),
            "C and Ω were squared, and they are variances already.",
            1,
        ),
    ],
)

# ------------------------------------------------------------------------------------ 3: what a subject counts


def counted(centre: float, precision: float, g: float, w: float) -> float:
    """log p of the centre when eta ~ N(g, w) and the data say N(eta, 1 / precision)."""
    return float(_normal(centre - g, w + 1 / precision))


def _normal(x: float, variance: float) -> float:
    return -0.5 * (np.log(2 * np.pi * variance) + x**2 / variance)


_COUNTED = Function(
    "What a subject counts",
    truth=counted,
    inputs=lambda rng: (rng.normal(), rng.uniform(2, 30), rng.normal(), rng.uniform(0.02, 0.4)),
    praise="A subject of whom the data say little has a large variance here, and so a small say.",
    mistakes=[
        Mistake(
            lambda m, s, g, w: _normal(m - g, w),
            "Only the spread between people is in the variance. The centre is uncertain as well: add 1 / S.",
            1,
        ),
        Mistake(
            lambda m, s, g, w: _normal(m - g, 1 / s),
            "Only the data's uncertainty is in the variance: people with the same covariates differ, by W.",
            1,
        ),
        Mistake(
            lambda m, s, g, w: _normal(m - g, w + s), "S is a precision; in a sum of variances it stands as 1 / S.", 2
        ),
        Mistake(
            lambda m, s, g, w: _normal(m - g, (np.sqrt(w) + np.sqrt(1 / s)) ** 2),
            "Standard deviations were added. Of independent things the variances add up.",
            2,
        ),
        Mistake(
            lambda m, s, g, w: -0.5 * (m - g) ** 2 / (w + 1 / s),
            "The normalising constant is missing, and it has W in it, which is to be learned.",
            3,
        ),
        Mistake(lambda m, s, g, w: np.exp(_normal(m - g, w + 1 / s)), "This is the density, not its logarithm.", 3),
        Mistake(lambda m, s, g, w: _normal(m, w + 1 / s), "The network's g is left out: it is the mean.", 1),
        Mistake(
            lambda m, s, g, w: _normal(m - g, (w + 1 / s) ** 2),
            "The variance stands where an SD belongs (norm.logpdf and dist.Normal take an SD): take its root.",
            3,
        ),
        Mistake(lambda m, s, g, w: _normal(m - g, w**2 + 1 / s), "W is a variance already, and was squared again.", 2),
        Mistake(
            lambda m, s, g, w: _normal(m - g, w + 1 / s**2), "1 / S is a variance already, and was squared again.", 2
        ),
        Mistake(
            lambda m, s, g, w: _normal(m - g, w) + _normal(m - g, 1 / s),
            "Two densities were multiplied. It is two variances that add up, in one density.",
            1,
        ),
        Mistake(
            lambda m, s, g, w: _normal(m - g, 1 / (s + 1 / w)),
            "Precisions were added, as when a prior meets data. Here two errors come together: variances add up.",
            1,
        ),
        Mistake(
            lambda m, s, g, w: _normal(m - g, w + 1 / s) + 0.5 * np.log(2 * np.pi),
            "The 2π is missing: every constant is asked for.",
            3,
        ),
        Mistake(
            lambda m, s, g, w: -np.log(2 * np.pi * (w + 1 / s)) - 0.5 * (m - g) ** 2 / (w + 1 / s),
            "The half belongs to the logarithm as well: brackets around both.",
            3,
        ),
    ],
)

# ------------------------------------------------------------------------------------ 4: importance

_IMPORTANCE = Parts(
    "Importance, by pencil",
    [
        Value(
            "a in g1",
            truth=0.2,
            rtol=1e-6,
            mistakes=[
                Mistake(1 / 3, "In g1 the shares go by variances: 1 and 2², not by 1 and 2.", 1),
                Mistake(0.25, "This is a's variance over b's. Divide by the variance of the whole.", 1),
                Mistake(0.8, "This is the share of b in g1; asked for is that of a.", 1),
                Mistake(0.4, "In g1 the half in front of the mean is missing.", 1),
                Mistake(0.1, "In g1 a half is too many: the mean of (a − a')² is 2, for both have a variance of 1.", 1),
                Mistake(1.0, "This is the mean square itself. Divide by the variance of g1.", 1),
                Mistake(np.sqrt(0.2), "Shares are of variances, not of SDs: no root.", 1),
            ],
        ),
        Value(
            "a in g2",
            truth=1.0,
            rtol=1e-6,
            mistakes=[
                Mistake(
                    0.5,
                    "In g2 neither of the two can be shared out: with a exchanged nothing is left of the product.",
                    2,
                ),
                Mistake(
                    0.0, "On its own a does not move the mean of g2, true. But exchanged, it changes every value.", 2
                ),
                Mistake(2.0, "Of g2 the half in front of the mean is missing.", 2),
            ],
        ),
        Value(
            "a and b in g2",
            truth=2.0,
            rtol=1e-6,
            mistakes=[
                Mistake(1.0, "The third number is the sum over a and b. It need not be one.", 3),
                Mistake(4.0, "Each of the two has the importance that you have just found.", 3),
            ],
        ),
    ],
    praise="Where covariates act together, each is needed for all of it, and the column adds up to more than one.",
)

# ------------------------------------------------------------------------------------ 5: energy distance


def energy(x: np.ndarray, y: np.ndarray) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| between the rows of two tables."""
    return 2 * _apart(x, y) - _apart(x, x) - _apart(y, y)


def _apart(x: np.ndarray, y: np.ndarray, power: int = 1) -> float:
    return float(np.mean(np.sqrt(np.sum((x[:, None] - y[None]) ** 2, -1)) ** power))


def _root(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(_apart(x, y, 2)))


def _absolute(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(np.sum(np.abs(x[:, None] - y[None]), -1)))


_ENERGY = Function(
    "Energy distance",
    truth=energy,
    inputs=lambda rng: (rng.normal(size=(5, 3)), rng.normal(1, 2, size=(4, 3))),
    praise="Of whole curves: two groups can agree at every hour and still be different people.",
    mistakes=[
        Mistake(lambda x, y: _apart(x, y) - _apart(x, x) - _apart(y, y), "E|X − Y| counts twice.", 1),
        Mistake(
            lambda x, y: 2 * _apart(x, y), "What lies between members of one group has to be taken off, for both.", 1
        ),
        Mistake(
            lambda x, y: 2 * _apart(x, y, 2) - _apart(x, x, 2) - _apart(y, y, 2),
            "The distances are squared. Then only the means of the groups count: take the root first.",
            2,
        ),
        Mistake(
            lambda x, y: np.sqrt(np.sum((x.mean(0) - y.mean(0)) ** 2)),
            "This is the distance between the mean curves: it does not see how people differ.",
            1,
        ),
        Mistake(
            lambda x, y: sum(energy(x[:, j : j + 1], y[:, j : j + 1]) for j in range(x.shape[1])),
            "Each time was compared by itself. The norm goes over all times of a curve.",
            2,
        ),
        Mistake(
            lambda x, y: 2 * _apart(x, y) - _apart(x, x) * 5 / 4 - _apart(y, y) * 4 / 3,
            "The pairs of a curve with itself were left out. Here they count, with their distance of zero.",
            3,
        ),
        Mistake(
            lambda x, y: energy(x, y) / np.sqrt(x.shape[1]),
            "The mean over the times was taken. A length has the sum of squares under its root.",
            2,
        ),
        Mistake(
            lambda x, y: 2 * _apart(x, y) + _apart(x, x) + _apart(y, y),
            "The distances within the groups are added. They are to be taken off.",
            3,
        ),
        Mistake(lambda x, y: 2 * _apart(x, y) - _apart(x, x), "The second group has a distance within, too.", 3),
        Mistake(
            lambda x, y: 2 * _apart(x, y) * 20 - _apart(x, x) * 25 - _apart(y, y) * 16,
            "The distances were added up. Groups may differ in size: take the mean over all pairs.",
            2,
        ),
        Mistake(
            lambda x, y: 2 * _root(x, y) - _root(x, x) - _root(y, y),
            "The root was taken last, of the mean square. Every pair has a distance, and of these take the mean.",
            2,
        ),
        Mistake(
            lambda x, y: (2 * _absolute(x, y) - _absolute(x, x) - _absolute(y, y)) / x.shape[1],
            "The mean went over the times as well, of absolute differences. First comes each pair's length.",
            2,
        ),
    ],
)

# ------------------------------------------------------------------------------------ 6: a regimen

TARGET, SHARE, MOST_A_DAY = 2.2, 0.8, 1.2


@functools.cache
def _virtual() -> tuple[mf.Population, Any]:
    made = study.covariate_study(200, 11)
    return made.people, made.eta


def share_reaching(dose: float, interval: int) -> float:
    """The share of 200 people whose mean response on the third day is above `TARGET` times its rest."""
    people, eta = _virtual()
    given = np.arange(0.0, 72.0, interval)
    amounts = np.zeros(18)
    amounts[: given.size] = dose
    doses = mf.Doses.of(amounts, time=np.concatenate([given, np.full(18 - given.size, 1e3)]))
    under = people.with_doses(doses)
    time = np.arange(0.0, 73.0)
    response = np.asarray(mf.predict(study.true_mechanism(), under, eta, time=time)["response"])
    return float(np.mean(response[:, 48:].mean(1) / np.asarray(people.subjects.covariates["R_eq"]) > TARGET))


def judge_regimen(answer: Any) -> None:
    """[dose in mg, interval in h]."""
    answer = answer.tolist() if isinstance(answer, np.ndarray) else answer
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        raise Wrong("Give two numbers: [dose in mg, hours from one dose to the next].")
    if any(x is ... for x in answer):
        raise StillOpen
    try:
        dose, interval = (float(x) for x in answer)
    except (TypeError, ValueError):
        raise Wrong("Both have to be numbers.") from None
    if not (dose > 0 and np.isfinite(dose)):
        raise Wrong("A dose is a positive number of mg.")
    if dose in (6, 8, 12, 24) and interval < 6:
        raise Wrong("The two have changed places: first the dose, then the hours.", 1)
    if interval not in (6, 8, 12, 24):
        raise Wrong("People can be asked to take it every 6, 8, 12 or 24 h.", 1)
    if dose * 24 / interval > MOST_A_DAY + 1e-9:
        raise Wrong(f"That is {dose * 24 / interval:,.4g} mg a day, and {MOST_A_DAY:g} mg is the most.", 2)
    share = share_reaching(dose, int(interval))
    if share < SHARE:
        why = "The same amount in smaller portions would do more." if interval > 6 else "Give more in each dose."
        raise Wrong(f"Only {share:.0%} of the virtual people reach the target. {why}", 3 if interval > 6 else 2)


EXERCISES: dict[str, Exercise] = {
    "09.1": _FOLLOW,
    "09.2": _ALONE,
    "09.3": _COUNTED,
    "09.4": _IMPORTANCE,
    "09.5": _ENERGY,
    "09.6": Judged(
        "A regimen for a trial",
        judge_regimen,
        praise="An effect that saturates wastes peaks: the same amount in smaller portions reaches more people.",
    ),
}
