"""The checks of lesson 09: wrong answers as learners write them, with the reason each gets, and right ones."""

import numpy as np
from planted import Table
from scipy.spatial.distance import cdist
from scipy.stats import norm

from workshop.checks import lesson_09
from workshop.checks.engine import Checker
from workshop.checks.lesson_09 import EXERCISES

check = Checker(lambda lesson: EXERCISES, None)


def path(move):
    def follow(rate, start, c, h):
        found = [start]
        for k in range(len(c) - 1):
            found.append(move(rate, found[-1], c, k, h, start))
        return found

    return follow


def gauss(x, variance):
    return -0.5 * np.log(2 * np.pi * variance) - x**2 / (2 * variance)


def pairs(x, y, power=1.0):
    total = [np.linalg.norm(a - b) ** power for a in x for b in y]
    return sum(total) / len(total)


def by_pairs(x, y, cross=2.0, power=1.0):
    return cross * pairs(x, y, power) - pairs(x, x, power) - pairs(y, y, power)


FIRST = {
    "09.1": path(lambda f, r, c, k, h, s: r + h * f(c[k], r)),
    "09.2": lambda mu, v, w: ((w - v) / (w * v), mu * w / (w - v)),
    "09.3": lambda m, s, g, w: gauss(m - g, w + 1 / s),
    "09.4": [1 / 5, 1, 2],
    "09.5": by_pairs,
    "09.6": [0.3, 6],
}
RIGHT = [
    *FIRST.items(),
    ("09.1", lambda f, r, c, h: np.array(FIRST["09.1"](f, r, c, h))),
    ("09.2", lambda mu, v, w: np.array([1 / v - 1 / w, mu / v / (1 / v - 1 / w)])),
    ("09.3", lambda m, s, g, w: norm.logpdf(m, g, np.sqrt(w + 1 / s))),
    ("09.4", np.array([0.2, 1.0, 2.0])),
    ("09.5", lambda x, y: 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()),
    ("09.6", np.array([0.3, 6.0])),
]
PLANTED = [
    ("09.1", path(lambda f, r, c, k, h, s: r + f(c[k], r)), "a step takes h hours"),
    ("09.1", path(lambda f, r, c, k, h, s: h * f(c[k], r)), "where it was plus"),
    ("09.1", path(lambda f, r, c, k, h, s: r + h * f(c[k + 1], r)), "at the end of each step"),
    ("09.1", path(lambda f, r, c, k, h, s: r + h * f(c[k], s)), "as it was at the very beginning"),
    ("09.1", path(lambda f, r, c, k, h, s: s + h * f(c[k], r)), "begins at the start again"),
    ("09.1", path(lambda f, r, c, k, h, s: r + h * f(r, c[k])), "takes c first"),
    ("09.1", path(lambda f, r, c, k, h, s: r - h * f(c[k], r)), "is taken off"),
    ("09.1", path(lambda f, r, c, k, h, s: r + f(c[k], r) / h), "multiply by h"),
    ("09.1", path(lambda f, r, c, k, h, s: r + h * f(c[0], r)), "looks at the first concentration"),
    ("09.1", path(lambda f, r, c, k, h, s: r + h * f(0.5 * (c[k] + c[k + 1]), r)), "in the middle of a step"),
    ("09.1", lambda f, s, c, h: FIRST["09.1"](f, s, [*c, 0], h)[1:], "one place too early"),
    ("09.2", lambda mu, v, w: (1 / v, mu), "prior and all"),
    ("09.2", lambda mu, v, w: (mu * w / (w - v), 1 / v - 1 / w), "have changed places"),
    ("09.2", lambda mu, v, w: (1 / v - 1 / w, mu / v), "one division is missing"),
    ("09.2", lambda mu, v, w: (1 / v - 1 / w, mu / (1 / v - 1 / w)), "with its own precision"),
    ("09.2", lambda mu, v, w: (1 / (v - w), mu / v / (1 / v - 1 / w)), "not variances"),
    ("09.2", lambda mu, v, w: (1 / v - 1 / w, (mu / v - 1 / w) / (1 / v - 1 / w)), "prior's centre is zero"),
    ("09.2", lambda mu, v, w: FIRST["09.2"](mu, v * v, w * w), "variances already"),
    ("09.2", lambda mu, v, w: (1 / v + 1 / w, mu / v / (1 / v + 1 / w)), "Dividing subtracts"),
    ("09.2", lambda mu, v, w: (1 / (v - w), mu * w / (w - v)), "not variances"),
    ("09.2", lambda mu, v, w: (1 / v - 1 / w, mu), "the centre moves, too"),
    ("09.2", lambda mu, v, w: (1 / v - 1 / w, mu * (1 - v / w)), "towards zero once more"),
    ("09.2", lambda mu, v, w: (v * w / (w - v), mu * w / (w - v)), "The first number is the variance"),
    ("09.3", lambda m, s, g, w: gauss(m - g, w), "Only the spread between people"),
    ("09.3", lambda m, s, g, w: gauss(m - g, 1 / s), "Only the data's uncertainty"),
    ("09.3", lambda m, s, g, w: gauss(m - g, w + s), "S is a precision"),
    ("09.3", lambda m, s, g, w: gauss(m - g, (w**0.5 + s**-0.5) ** 2), "Standard deviations were added"),
    ("09.3", lambda m, s, g, w: -((m - g) ** 2) / (2 * (w + 1 / s)), "normalising constant"),
    ("09.3", lambda m, s, g, w: np.exp(gauss(m - g, w + 1 / s)), "not its logarithm"),
    ("09.3", lambda m, s, g, w: gauss(m, w + 1 / s), "g is left out"),
    ("09.3", lambda m, s, g, w: norm.logpdf(m, g, w + 1 / s), "take an SD"),
    ("09.3", lambda m, s, g, w: norm.logpdf(m, g, np.hypot(w, s**-0.5)), "W is a variance already"),
    ("09.3", lambda m, s, g, w: norm.logpdf(m, g, np.hypot(w**0.5, 1 / s)), "1 / S is a variance already"),
    ("09.3", lambda m, s, g, w: gauss(m - g, w) + gauss(m - g, 1 / s), "Two densities were multiplied"),
    ("09.3", lambda m, s, g, w: gauss(m - g, 1 / (s + 1 / w)), "Precisions were added"),
    ("09.3", lambda m, s, g, w: -0.5 * (np.log(w + 1 / s) + (m - g) ** 2 / (w + 1 / s)), "2π is missing"),
    ("09.3", lambda m, s, g, w: 2 * gauss(0, w + 1 / s) - (m - g) ** 2 / 2 / (w + 1 / s), "brackets around both"),
    ("09.4", [1 / 4, 1, 2], "over b's"),
    ("09.4", [0.1, 1, 2], "a half is too many"),
    ("09.4", [1, 1, 2], "the mean square itself"),
    ("09.4", [0.2**0.5, 1, 2], "not of SDs"),
    ("09.4", [0.2, 1, 4], "that you have just found"),
    ("09.4", [1 / 3, 1, 2], "by variances"),
    ("09.4", [0.8, 1, 2], "the share of b"),
    ("09.4", [0.4, 1, 2], "In g1 the half"),
    ("09.4", [0.2, 0.5, 1], "neither of the two can be shared out"),
    ("09.4", [0.2, 0, 0], "does not move the mean"),
    ("09.4", [0.2, 1, 1], "the sum over a and b"),
    ("09.4", [0.2, 2, 4], "Of g2 the half"),
    ("09.5", lambda x, y: by_pairs(x, y, 1.0), "counts twice"),
    ("09.5", lambda x, y: 2 * pairs(x, y), "has to be taken off"),
    ("09.5", lambda x, y: by_pairs(x, y, 2.0, 2.0), "distances are squared"),
    ("09.5", lambda x, y: np.linalg.norm(x.mean(0) - y.mean(0)), "between the mean curves"),
    ("09.5", lambda x, y: sum(by_pairs(x[:, [j]], y[:, [j]]) for j in range(3)), "Each time was compared by itself"),
    ("09.5", lambda x, y: 2 * pairs(x, y) - 5 / 4 * pairs(x, x) - 4 / 3 * pairs(y, y), "with itself were left out"),
    ("09.5", lambda x, y: by_pairs(x, y) / 3**0.5, "mean over the times was taken"),
    ("09.5", lambda x, y: 2 * pairs(x, y) + pairs(x, x) + pairs(y, y), "are added. They are"),
    ("09.5", lambda x, y: 2 * pairs(x, y) - pairs(x, x), "The second group"),
    ("09.5", lambda x, y: 40 * pairs(x, y) - 25 * pairs(x, x) - 16 * pairs(y, y), "distances were added up"),
    ("09.5", lambda x, y: 2 * pairs(x, y, 2) ** 0.5 - pairs(x, x, 2) ** 0.5 - pairs(y, y, 2) ** 0.5, "root was taken"),
    ("09.5", lambda x, y: sum(by_pairs(x[:, [j]], y[:, [j]]) for j in range(3)) / 3, "of absolute differences"),
    ("09.6", [6, 0.3], "changed places"),
    ("09.6", np.array([300, 6]), "1.2 mg is the most"),
    ("09.6", [1.2, 24], "smaller portions"),
    ("09.6", [0.4, 8], "smaller portions"),
    ("09.6", [0.1, 6], "Give more in each dose"),
    ("09.6", [1.0, 6], "1.2 mg is the most"),
    ("09.6", [0.3, 4], "every 6, 8, 12 or 24 h"),
    ("09.6", [0.0, 6], "positive number of mg"),
    ("09.6", ["a", 6], "have to be numbers"),
    ("09.6", 0.3, "Give two numbers"),
]
DOTS = {"09.4": [...] * 3, "09.6": [...] * 2}
TABLE = Table(exercises=EXERCISES, planted=PLANTED, right=RIGHT, dots=DOTS, apart=True, numbers=True)


def test_every_mistake_is_planted():
    for number, exercise in EXERCISES.items():
        planted = [reason for n, _, reason in PLANTED if n == number]
        parts = getattr(exercise, "parts", (exercise,))
        for mistake in (m for part in parts for m in getattr(part, "mistakes", ())):
            assert any(reason in mistake.reason for reason in planted), mistake.reason


def test_what_comes_next_is_said():
    assert "a in g1 right. Next is a in g2" in check("09.4", [0.2, ..., ...]).reason


def test_the_regimens_of_the_trial_are_apart():
    shares = {i: lesson_09.share_reaching(1.2 * i / 24, i) for i in (6, 8, 12, 24)}
    assert shares[6] > lesson_09.SHARE + 0.04 and max(shares[i] for i in (8, 12, 24)) < lesson_09.SHARE - 0.03
