"""Exercises of lesson 04, EM and SAEM: what is right, what people take for right, and what each mistake is called."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from workshop.checks.engine import Exercise, Function, Parts, slip
from workshop.checks.several import by_number

# ------------------------------------------------------------------------------------ 1: the E-step


def _one_subject(rng: np.random.Generator) -> tuple[np.ndarray, float, float, float]:
    """Measurements (n,) of one subject, mu, omega^2 and sigma^2."""
    mu, omega2, sigma2 = rng.uniform(2, 5), rng.uniform(0.3, 3), rng.uniform(0.3, 3)
    n = int(rng.integers(2, 9))
    return mu + rng.normal(0, omega2**0.5) + rng.normal(0, sigma2**0.5, n), mu, omega2, sigma2


def _shrink(f: Callable[[float, float, float, float], tuple[float, float]], noise: Any = None) -> Callable:
    """An E-step in other words: f(B, mean above mu, omega^2, its noise variance), with B at that `noise` variance."""

    def wrong(y, mu, omega2, sigma2):
        a = sigma2 / y.size if noise is None else noise(sigma2, y.size)
        return np.array(f(omega2 / (omega2 + a), np.mean(y) - mu, omega2, a))

    return wrong


e_step = _shrink(lambda b, d, w, a: (b * d, w * (1 - b)))
_E_STEP = Function(
    "The E-step, by hand",
    truth=e_step,
    inputs=_one_subject,
    praise="Two numbers, and everything that is known about this subject.",
    mistakes=[
        slip(
            _shrink(lambda b, d, w, a: (d, w * (1 - b))),
            1,
            "The variance is right. The mean is that of the data alone: the prior pulls it towards 0, by the factor B.",
        ),
        slip(
            lambda y, mu, w, s: e_step(y, mu, w, s) + np.array([mu, 0.0]),
            1,
            "The variance is right. The mean is that of mu + eta; asked for is that of eta, which is 0 on average.",
        ),
        slip(
            lambda y, mu, w, s: np.array([w / (w + s / y.size) * np.mean(y), w * s / (w * y.size + s)]),
            1,
            "The variance is right. In the mean you shrink the data themselves: take mu off first.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, w * (1 - b)), lambda s, n: s),
            2,
            "B is that of a single measurement: the mean of n measurements has a variance n times smaller.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, w * (1 - b)), lambda s, n: s / n**0.5),
            2,
            "In B the noise is divided by the square root of n, as an SD would be. These are variances.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, w * (1 - b)), lambda s, n: s**2 / n),
            2,
            "You squared what is a variance already: sigma2 is the square of an SD.",
        ),
        slip(
            _shrink(lambda b, d, w, a: ((1 - b) * d, w * b)),
            2,
            "B and 1 - B are exchanged. With endless data B goes to 1: the mean is then that of the data, and no "
            "variance is left.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, w * b)),
            3,
            "The mean is right. The variance is the share B of the prior's; more data must make it smaller.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, a)),
            3,
            "The mean is right. The variance is that of the data alone: what the prior knows makes it smaller.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, w)),
            3,
            "The mean is right. The variance is still the prior's, as if nothing had been measured.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, np.sqrt(w * (1 - b)))),
            3,
            "The mean is right. The second number is an SD; a variance is asked for.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, 1 / w + 1 / a)),
            3,
            "The mean is right. The second number is the precision: precisions add up, and the variance is one over "
            "their sum.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, w + a)),
            3,
            "The mean is right. The variances of prior and data do not add up here: that is the variance of the data's "
            "mean over subjects, not that of eta given them.",
        ),
        slip(
            lambda y, mu, w, s: e_step(y, mu, w, s) * [0, 1] + [w / (w + s / y.size) * np.mean(y) - mu, 0],
            1,
            "The variance is right. In the mean mu is taken off too late: B multiplies the whole difference.",
        ),
        slip(
            lambda y, mu, w, s: e_step(y, mu, w, s) * [y.size, 1],
            1,
            "The variance is right. In the mean the deviations are added up: it is their mean that is shrunken.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, w * (1 - b)), lambda s, n: s * n),
            2,
            "In B the noise is multiplied by n: the mean of n measurements has a variance n times *smaller*.",
        ),
        slip(
            lambda y, mu, w, s: e_step(y, mu, w**2, s**2),
            2,
            "You squared omega2 and sigma2, and they are variances already.",
        ),
        slip(
            lambda y, mu, w, s: np.array([(b := 1 + s / y.size) * (np.mean(y) - mu), w * (1 - b)]),
            2,
            "Python divides first: omega2 / omega2 + ... is 1 + ... Put brackets around the sum below the line.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, 1 - b)),
            3,
            "The mean is right. 1 - B is the *share* of the prior's variance that is left: times omega2.",
        ),
        slip(
            _shrink(lambda b, d, w, a: (b * d, w * (1 - b**2))),
            3,
            "The mean is right. In the variance B is squared; 1 minus the square of B is the rate of EM, not this.",
        ),
        slip(
            lambda y, mu, w, s: e_step(y, mu, w, s) * [1, 0] + [0, 1 / (1 / w + 1 / s)],
            3,
            "The mean is right. The variance is that after a single measurement: n have the precision n / sigma2.",
        ),
    ],
    otherwise=by_number("the mean", "the variance", hints=(1, 3)),
)

# ------------------------------------------------------------------------------------ 2: the M-step


def _a_group(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measurements (N, n), and conditional means (N,) and variances (N,) that belong to other parameters."""
    y = rng.uniform(2, 5) + rng.normal(0, 1, (12, 1)) + rng.normal(0, 1, (12, 4))
    return y, rng.uniform(0.5, 0.9) * (y.mean(1) - y.mean()) + 0.3, rng.uniform(0.1, 0.9, 12)


def _instead(mu: Any = None, omega2: Any = None, sigma2: Any = None) -> Callable:
    """An M-step with one or more of its numbers by another formula."""

    def wrong(y, mean, variance):
        centre = np.mean(y - mean[:, None]) if mu is None else mu(y, mean)
        left = y - centre - mean[:, None]
        between = np.mean(mean**2 + variance) if omega2 is None else omega2(mean, variance)
        return np.array(
            [centre, between, np.mean(left**2 + variance[:, None]) if sigma2 is None else sigma2(left, variance)]
        )

    return wrong


def _no_variance(mean, variance):
    return np.mean(mean**2)


def _no_variance_left(left, variance):
    return np.mean(left**2)


m_step = _instead()
_M_STEP = Function(
    "The M-step",
    truth=m_step,
    inputs=_a_group,
    praise="Averages of what would be averaged if the eta had been seen.",
    mistakes=[
        slip(
            _instead(omega2=_no_variance, sigma2=_no_variance_left),
            1,
            "You plug in the conditional means as if they were the eta. What is known about each eta is a "
            "distribution, and the mean of a square is the square of the mean plus a variance.",
        ),
        slip(
            _instead(omega2=_no_variance),
            1,
            "mu and sigma2 are right. In omega2 the conditional variance is missing: this is the plug-in that "
            "collapses.",
        ),
        slip(
            _instead(sigma2=_no_variance_left),
            2,
            "mu and omega2 are right. In sigma2 it is missing that the eta are not known exactly: a residual contains "
            "eta, so its mean square contains the variance of eta.",
        ),
        slip(
            _instead(omega2=lambda m, v: np.var(m) + np.mean(v)),
            2,
            "In omega2 you took the spread of the conditional means about *their* mean. The model has the eta around "
            "0: average their squares.",
        ),
        slip(
            _instead(omega2=lambda m, v: np.sum(m**2 + v) / (m.size - 1)),
            2,
            "omega2 is divided by N - 1. Maximum likelihood divides by N; no mean was estimated here, either.",
        ),
        slip(
            _instead(
                omega2=lambda m, v: np.sqrt(np.mean(m**2 + v)), sigma2=lambda r, v: np.sqrt(np.mean(r**2) + v.mean())
            ),
            3,
            "These are SDs; variances are asked for.",
        ),
        slip(
            _instead(omega2=lambda m, v: np.mean(v)),
            1,
            "omega2 is the conditional variance alone: the spread of the conditional means belongs to it as well.",
        ),
        slip(
            _instead(sigma2=lambda r, v: np.mean(r**2) + np.mean(v) / r.shape[1]),
            3,
            "In sigma2 the conditional variance is divided by n. It is the same eta in each of the n residuals of a "
            "subject, so it is in the square of each.",
        ),
        slip(
            _instead(mu=lambda y, m: np.mean(y)),
            1,
            "mu is the mean of the data. With the eta as good as seen, it is the mean of what is left when they are "
            "taken off.",
        ),
        slip(
            _instead(sigma2=lambda r, v: np.mean(r**2) - np.mean(v)),
            2,
            "In sigma2 the conditional variance is taken off; not knowing the eta adds to a mean square.",
        ),
        slip(
            _instead(omega2=lambda m, v: np.sqrt(np.mean(m**2 + v))),
            3,
            "mu and sigma2 are right. omega2 is an SD; a variance is asked for.",
        ),
        slip(
            _instead(sigma2=lambda r, v: np.sqrt(np.mean(r**2) + v.mean())),
            3,
            "mu and omega2 are right. sigma2 is an SD; a variance is asked for.",
        ),
        slip(
            _instead(omega2=lambda m, v: np.mean(m) ** 2 + np.mean(v)),
            1,
            "In omega2 you squared the mean of the conditional means: square each, then average.",
        ),
        slip(
            _instead(omega2=lambda m, v: np.mean(m**2 + v**2), sigma2=lambda r, v: np.mean(r**2) + np.mean(v**2)),
            1,
            "You squared the conditional variances: they are squares already.",
        ),
        slip(
            _instead(omega2=lambda m, v: np.mean(m**2 - v)),
            1,
            "In omega2 the conditional variance is taken off; not knowing the eta adds to a mean square.",
        ),
        slip(
            lambda y, m, v: m_step(y, m, v) * [1, 1, 0] + [0, 0, np.mean((y - m[:, None]) ** 2 + v[:, None])],
            2,
            "mu and omega2 are right. In sigma2 mu has not been taken off: a residual is what mu and eta leave.",
        ),
        slip(
            lambda y, m, v: (
                m_step(y, m, v) * [1, 1, 0] + [0, 0, np.mean((y - np.mean(y - m[:, None])) ** 2) + v.mean()]
            ),
            2,
            "mu and omega2 are right. In sigma2 the eta have not been taken off: a residual is what mu and eta leave.",
        ),
        slip(
            lambda y, m, v: (
                m_step(y, m, v) * [1, 1, 0] + [0, 0, np.mean((y - np.mean(y) - m[:, None]) ** 2) + v.mean()]
            ),
            2,
            "mu and omega2 are right. In sigma2 the mean of the data is taken off, in place of the new mu.",
        ),
        slip(
            lambda y, m, v: m_step(y, m, v) * [y.size, m.size, y.size],
            1,
            "These are sums; averages are asked for.",
        ),
        slip(
            _instead(sigma2=lambda r, v: np.mean(r.mean(1) ** 2 + v)),
            2,
            "In sigma2 the residuals of a subject are averaged before they are squared, so that they cancel.",
        ),
        slip(
            _instead(sigma2=lambda r, v: np.sum(r**2) / (r.size - 1) + np.mean(v)),
            2,
            "The mean square in sigma2 is divided by one less than the number of residuals. Maximum likelihood "
            "divides by their number.",
        ),
    ],
    otherwise=by_number("mu", "omega2", "sigma2", hints=(1, 1, 2)),
)

# ------------------------------------------------------------------------------------ 3: the loop and its rate


def _a_start(rng: np.random.Generator) -> tuple[np.ndarray, float, float, int]:
    """Mean deviations (N,) of subjects, their noise variance, a start for omega^2, and how many iterations."""
    return rng.normal(0, 1.5, 15), rng.uniform(0.3, 2), rng.uniform(2, 6), 6


def _loop(update: Callable[[float, np.ndarray, float], Any]) -> Callable:
    """A path of omega^2: update(B, deviations, omega^2) is the next value."""

    def path(d, a, omega2, iterations):
        found = [omega2]
        for _ in range(iterations):
            found.append(update(found[-1] / (found[-1] + a), d, found[-1]))
        return np.array(found)

    return path


def _stale(d, a, omega2, iterations):
    b = omega2 / (omega2 + a)
    return _loop(lambda _, d, w: np.mean((b * d) ** 2) + w * (1 - b))(d, a, omega2, iterations)


def _half_stale(d, a, omega2, iterations):
    variance = omega2 * a / (omega2 + a)
    return _loop(lambda b, d, w: np.mean((b * d) ** 2) + variance)(d, a, omega2, iterations)


em_path = _loop(lambda b, d, w: np.mean((b * d) ** 2) + w * (1 - b))
_PATH = Function(
    "em",
    truth=em_path,
    inputs=_a_start,
    mistakes=[
        slip(
            _loop(lambda b, d, w: np.mean((b * d) ** 2)),
            1,
            "this is the loop by modes: it forgets the conditional variance, and comes out too small or at 0.",
        ),
        slip(_stale, 1, "B stays at its starting value. It depends on omega2: the E-step works it out anew each time."),
        slip(_half_stale, 1, "the conditional variance is that of the starting omega2; it has to follow omega2."),
        slip(
            _loop(lambda b, d, w: np.mean(b * d) ** 2 + w * (1 - b)),
            1,
            "you squared the mean of the modes; asked for is the mean of their squares.",
        ),
        slip(
            _loop(lambda b, d, w: np.mean(d**2) + w * (1 - b)),
            1,
            "the deviations are not shrunken: the conditional mean is B times the deviation.",
        ),
        slip(
            _loop(lambda b, d, w: np.mean((b * d) ** 2) + w * b),
            1,
            "the conditional variance is omega2 times 1 - B, not times B.",
        ),
        slip(
            _loop(lambda b, d, w: np.var(b * d) + w * (1 - b)),
            1,
            "you took the variance of the modes about their mean; the eta have mean 0, so average their squares.",
        ),
        slip(
            _loop(lambda b, d, w: np.var(b * d, ddof=1) + w * (1 - b)),
            1,
            "you took the variance of the modes about their mean; the eta have mean 0, so average their squares.",
        ),
        slip(
            _loop(lambda b, d, w: np.mean(((1 - b) * d) ** 2) + w * b),
            1,
            "B is turned over: it is the share of omega2 in the variance of a deviation, omega2 / (omega2 + a).",
        ),
        slip(
            _loop(lambda b, d, w: np.mean(b * d**2) + w * (1 - b)),
            1,
            "B is not squared with the deviation: the conditional mean is B d, and its square is asked for.",
        ),
        slip(_loop(lambda b, d, w: np.sum((b * d) ** 2) + w * (1 - b)), 1, "the squares are added up, not averaged."),
        slip(
            _loop(lambda b, d, w: np.mean((b * d) ** 2) - w * (1 - b)),
            1,
            "the conditional variance is taken off; not knowing the eta adds to a mean square.",
        ),
        slip(
            _loop(lambda b, d, w: np.mean((b * d) ** 2) + 1 - b),
            1,
            "1 - B is only the share of the variance that is left: times the present omega2.",
        ),
        slip(
            lambda d, a, omega2, iterations: em_path(d, a**2, omega2, iterations),
            1,
            "you squared a, and it is a variance already.",
        ),
        slip(
            lambda d, a, omega2, iterations: em_path(d, a**0.5, omega2, iterations),
            1,
            "you took the root of a: B is a ratio of variances.",
        ),
    ],
    otherwise=lambda arguments, given, wanted: (
        ("the start is right, and the very first step is not. By hand: B, then the mean of squares.", 1)
        if all(np.isclose(g[0], w[0]) and not np.isclose(g[1], w[1]) for g, w in zip(given, wanted, strict=True))
        else None
    ),
)


def _digit(rate: Callable[[float], float]) -> Callable[[float], float]:
    return lambda b: np.log(10) / -np.log(rate(b))


iterations_a_digit = _digit(lambda b: 1 - b**2)
_DIGIT = Function(
    "iterations_per_digit",
    truth=iterations_a_digit,
    inputs=lambda rng: (rng.uniform(0.1, 0.9),),
    praise="Now you know before the first iteration whether to wait for it.",
    mistakes=[
        slip(
            _digit(lambda b: 1 - b),
            2,
            "you used 1 - B, the shrinkage. The error of omega2 is multiplied by 1 minus the *square* of B.",
        ),
        slip(_digit(lambda b: b**2), 2, "the factor is 1 minus the square of B: much information makes EM fast."),
        slip(
            lambda b: 1 / -np.log(1 - b**2),
            3,
            "this is for an error e times smaller; a digit is a factor of ten.",
        ),
        slip(
            lambda b: 0.1 / (1 - b**2),
            3,
            "a factor for each iteration multiplies: after k of them the error is its k-th power.",
        ),
        slip(
            lambda b: 1 / (1 - b**2),
            3,
            "a factor for each iteration multiplies: after k of them the error is its k-th power.",
        ),
        slip(lambda b: np.log(2) / -np.log(1 - b**2), 3, "this is for half of the error; a digit is a tenth."),
        slip(
            lambda b: np.log(0.9) / np.log(1 - b**2),
            3,
            "this is for nine tenths of the error; one tenth is to be left.",
        ),
        slip(
            _digit(lambda b: (1 - b) ** 2), 2, "the square stands outside: the factor is 1 minus the square of B alone."
        ),
        *(
            slip(lambda b, to=to: to(iterations_a_digit(b)), 3, "a number that is not rounded is asked for.")
            for to in (np.round, np.ceil, np.floor)
        ),
        *(
            slip(lambda b, c=sign: c * np.log(1 - b**2) / np.log(10), 3, "the ratio of the logarithms is turned over.")
            for sign in (-1, 1)
        ),
        slip(lambda b: np.log(0.1) * np.log(1 - b**2), 3, "solve for k: the logarithm beside it is to be divided by."),
        slip(
            lambda b: np.log(10) / b**2,
            3,
            "nearly right for a small B, where -log(1 - x) is nearly x. The exact one has the logarithm.",
        ),
    ],
)
_RATE = Parts("The loop and its rate", [_PATH, _DIGIT], praise=_DIGIT.praise)

# ------------------------------------------------------------------------------------ 4: Metropolis

_levels = itertools.cycle((-3.0, -2500.0))  # every other density underflows


def _a_walk(rng: np.random.Generator) -> tuple[Callable, float, np.ndarray, np.ndarray]:
    """A log density, where to start, the steps to propose (T,), and uniform numbers (T,)."""
    level, place, width = next(_levels), rng.normal(), rng.uniform(0.5, 1.5)

    def log_density(eta):
        return level - 0.5 * ((eta - place) / width) ** 2 - 0.1 * abs(eta - place) ** 3

    return log_density, place + rng.normal(), rng.normal(0, 1.5, 60), rng.uniform(size=60)


def _walk(accept: Callable, *, remember: str = "now", from_start: bool = False) -> Callable:
    """A chain with another rule: accept(log density of the proposal, of where it stands, uniform number)."""

    def chain(log_density, start, steps, u):
        now, found = start, []
        for step, chance in zip(steps, u, strict=True):
            new = (start if from_start else now) + step
            if accept(log_density(new), log_density(now), chance):
                now = new
            found.append(now if remember == "now" else new)
        return np.array(found)

    return chain


def _rule(new: float, old: float, u: float) -> bool:
    return bool(np.log(u) < new - old)


def _jumps(log_density, start, steps, u):
    now, found = start, []
    for step, chance in zip(steps, u, strict=True):
        now = step if np.log(chance) < log_density(step) - log_density(now) else now
        found.append(now)
    return np.array(found)


metropolis = _walk(_rule)
_METROPOLIS = Function(
    "A Metropolis chain",
    truth=metropolis,
    inputs=_a_walk,
    praise="No area was needed.",
    mistakes=[
        slip(
            _walk(lambda new, old, u: u < np.exp(new) / np.exp(old)),
            2,
            "Right where the density is not too small; where its log is -2500 the ratio is 0/0 and the chain never "
            "moves. Take the ratio on the log scale.",
        ),
        slip(
            _walk(lambda new, old, u: u < new - old),
            2,
            "You compare the uniform number with the *log* of the ratio: one of the two has to change its scale.",
        ),
        slip(
            _walk(lambda new, old, u: u < new / old),
            2,
            "You divide one log density by the other. The log of a ratio is a difference.",
        ),
        slip(
            _walk(lambda new, old, u: np.log(u) < old - new),
            2,
            "The ratio is turned over: this chain walks away from where the density is high.",
        ),
        slip(
            _walk(lambda new, old, u: np.log(u) > new - old),
            2,
            "It moves where it should stay, and stays where it should move: which way round is the comparison?",
        ),
        slip(
            _walk(lambda new, old, u: new > old),
            1,
            "It only ever climbs: this is a search for the mode. Steps down are accepted too, with a probability.",
        ),
        slip(
            _walk(lambda new, old, u: True),
            1,
            "Every proposal is accepted: then the density plays no part in it. (The log of u is always below zero: it "
            "is to be compared with a *difference* of log densities.)",
        ),
        slip(
            _walk(lambda new, old, u: False),
            2,
            "No proposal is ever accepted. (The density comes as its logarithm: to take the log once more, of a "
            "negative number, gives NaN, and no comparison with that is true.)",
        ),
        slip(_jumps, 1, "The step is taken for the place: propose now + step."),
        slip(
            lambda f, start, steps, u: np.array(
                [start + s if np.log(c) < f(start + s) - f(start) else start for s, c in zip(steps, u, strict=True)]
            ),
            1,
            "The chain forgets where it moved to: after a move `now` has to become the new value.",
        ),
        slip(
            lambda f, start, steps, u: np.r_[start, metropolis(f, start, steps, u)[:-1]],
            3,
            "Every value comes one iteration late: note where the chain stands *after* it has moved or stayed.",
        ),
        slip(
            _walk(lambda new, old, u: np.log(1 - u) < new - old),
            2,
            "You used 1 - u in place of u: as good a chain, but not the one that these numbers make.",
        ),
        slip(
            _walk(lambda new, old, u: new > old or u < 0.5),
            1,
            "A step down is accepted by half, however deep. Its chance is the ratio of the two densities.",
        ),
        slip(
            _walk(_rule, remember="new"),
            3,
            "These are the proposals. Where one is refused the chain stays, and its old value counts once more.",
        ),
        slip(
            _walk(_rule, from_start=True),
            1,
            "All proposals start from the first value. A step starts from where the chain stands.",
        ),
    ],
)

# ------------------------------------------------------------------------------------ 5: stochastic approximation


def _some_statistics(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """What the draws of each iteration say, and how many iterations explore."""
    explore = int(rng.integers(4, 9))
    return rng.uniform(1, 5, explore + 12), explore


def _average(gain: Callable[[int, int], float]) -> Callable:
    """The running approximation with another gain(k, explore), k from 1."""

    def found(s, explore):
        values = [s[0]]
        for k in range(2, s.size + 1):
            values.append(values[-1] + gain(k, explore) * (s[k - 1] - values[-1]))
        return np.array(values)

    return found


def _gain(k: int, explore: int) -> float:
    return 1.0 if k <= explore else 1 / (k - explore)


def _plus(s: np.ndarray, explore: int) -> np.ndarray:
    values = [s[0]]
    for k in range(2, s.size + 1):
        values.append((values[-1] if k > explore else 0.0) + _gain(k, explore) * s[k - 1])
    return np.array(values)


def _phase(arguments: list, given: list, wanted: list) -> tuple[str, int] | None:
    """Is one of the two phases right?"""
    pieces = [(g, w, explore) for (_, explore), g, w in zip(arguments, given, wanted, strict=True)]
    if all(np.allclose(g[:e], w[:e]) for g, w, e in pieces):
        return "The exploration is right; what follows it is not.", 2
    if all(np.allclose(g[e:], w[e:]) for g, w, e in pieces):
        return "The smoothing is right; the exploration before it is not.", 1
    return None


approximate = _average(_gain)
_APPROXIMATION = Function(
    "Stochastic approximation",
    truth=approximate,
    inputs=_some_statistics,
    praise="Exploring forgets everything; smoothing forgets nothing since it began.",
    mistakes=[
        slip(
            _average(lambda k, e: 1.0 if k <= e else 1 / k),
            1,
            "While smoothing you count k from the very beginning. It starts anew when the smoothing does: as it is, "
            "the last value of the exploration keeps most of the weight.",
        ),
        slip(
            _average(lambda k, e: 1 / k),
            1,
            "This averages from the first iteration on, so that the start, far off, is never forgotten. While "
            "exploring, gamma is 1.",
        ),
        slip(
            lambda s, explore: s,
            1,
            "Nothing is averaged: this is gamma = 1 to the end. After the exploration, gamma falls.",
        ),
        slip(
            _average(lambda k, e: 1.0 if k <= e else 1 / (k - e + 1)),
            2,
            "One value too many in the average: the first gamma while smoothing is 1, so that what was explored is "
            "forgotten.",
        ),
        slip(
            _average(lambda k, e: 1.0 if k <= e + 1 else 1 / (k - e - 1)),
            2,
            "The smoothing starts one iteration too late: the first of it has k = 1.",
        ),
        slip(
            _average(lambda k, e: 1 - _gain(k, e)),
            3,
            "gamma and 1 - gamma are exchanged: gamma is the weight of what is new.",
        ),
        slip(
            lambda s, e: np.where(np.arange(s.size) < e, s, np.cumsum(np.r_[np.zeros(e), s[e:]])),
            3,
            "While smoothing you add up; an average is divided by the number of its terms.",
        ),
        slip(
            _average(lambda k, e: 1.0 if k <= e else 1 / k - e),
            2,
            "Python divides first: 1 / k - explore is not 1 / (k - explore).",
        ),
        slip(
            _average(lambda k, e: 1 / k if k <= e else 1.0),
            1,
            "The two phases have changed places: gamma is 1 first, and falls afterwards.",
        ),
        slip(
            lambda s, e: np.array([_gain(k, e) * v for k, v in enumerate(s, 1)]),
            3,
            "This is gamma times the new value alone: what was known before keeps the weight 1 - gamma.",
        ),
        slip(
            _plus,
            3,
            "gamma times the new value is added, and nothing is taken off: it is added gamma times the *difference*.",
        ),
        slip(
            lambda s, e: np.r_[s[:e], np.full(s.size - e, s[e:].mean())],
            3,
            "From the smoothing on you return its mean at the end, for every iteration: S_k knows the first k only.",
        ),
        slip(
            lambda s, e: np.array([_gain(k, e) for k in range(1, s.size + 1)]),
            1,
            "These are the gammas. Asked for are the S that they make.",
        ),
        slip(
            _average(lambda k, e: 1.0 if k <= e else (k - e) ** -0.5),
            2,
            "While smoothing gamma is one over k - K_1, not over its root.",
        ),
    ],
    otherwise=_phase,
)

EXERCISES: dict[str, Exercise] = {
    "04.1": _E_STEP,
    "04.2": _M_STEP,
    "04.3": _RATE,
    "04.4": _METROPOLIS,
    "04.5": _APPROXIMATION,
}
