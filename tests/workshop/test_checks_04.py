"""The checks of lesson 04: wrong answers as learners write them, with the reason each gets, and right ones."""

import math

import numpy as np
import pytest
from planted import Table
from scipy.integrate import quad
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import norm

from workshop.checks import lesson_04
from workshop.checks.engine import Checker
from workshop.checks.lesson_04 import EXERCISES

check = Checker(lambda lesson: EXERCISES, None)

# ------------------------------------------------------------------------------------ answers, as they are written


def expect(mean=None, variance=None, noise=lambda s, n: s / n):
    """An E-step as learners write it, with one piece exchanged: functions of B, the mean deviation, omega2, noise."""

    def e_step(y, mu, omega2, sigma2):
        a = noise(sigma2, len(y))
        b, d = omega2 / (omega2 + a), y.mean() - mu
        first = b * d if mean is None else mean(b, d, omega2, a)
        return first, omega2 * (1 - b) if variance is None else variance(b, d, omega2, a)

    return e_step


def maximise(mu=None, omega2=None, sigma2=None):
    def m_step(y, m, v):
        centre = (y.mean(1) - m).mean() if mu is None else mu(y, m)
        rest = (y - centre) - m.reshape(-1, 1)
        between = (m**2).mean() + v.mean() if omega2 is None else omega2(m, v)
        return centre, between, (rest**2).mean() + v.mean() if sigma2 is None else sigma2(rest, v)

    return m_step


def loop(update=lambda b, d, w: (b * b * d * d).mean() + w * (1 - b), weight=lambda w, start, a: w / (w + a)):
    def em(d, a, omega2, iterations):
        path = [omega2]
        while len(path) <= iterations:
            path.append(update(weight(path[-1], omega2, a), d, path[-1]))
        return path

    return em


def digits(b):
    return -1 / math.log10(1 - b * b)


def held(d, a, omega2, iterations):
    path, variance = [omega2], omega2 * a / (omega2 + a)
    for _ in range(iterations):
        path.append(((path[-1] / (path[-1] + a) * d) ** 2).mean() + variance)
    return path


def walk(accept=lambda new, old, u: math.log(u) < new - old, note="now", origin="now"):
    def metropolis(log_density, start, steps, u):
        now, chain = start, []
        for t in range(len(steps)):
            new = {"now": now, "start": start}[origin] + steps[t]
            with np.errstate(all="ignore"):
                now = new if accept(log_density(new), log_density(now), u[t]) else now
            chain.append({"now": now, "new": new}[note])
        return chain

    return metropolis


def gains(gamma):
    def approximate(s, explore):
        S = [s[0]]
        for k in range(2, len(s) + 1):
            g = gamma(k, explore)
            S.append((1 - g) * S[-1] + g * s[k - 1])
        return S

    return approximate


def accepted_only(log_density, start, steps, u):
    return sorted(set(walk()(log_density, start, steps, u)))


def without_an_axis(y, m, v):
    return y - m, m, v


def share(omega2, sigma2, y):
    return omega2 / (omega2 + sigma2 / len(y))


def residuals(left):
    """An M-step whose third number is made of `left(y, mu, m)`."""

    def m_step(y, m, v):
        mu, omega2, _ = maximise()(y, m, v)
        return mu, omega2, (left(y, mu, m[:, None]) ** 2 + v[:, None]).mean()

    return m_step


def forgetful(log_density, start, steps, u):
    moved = [math.log(c) < log_density(start + s) - log_density(start) for s, c in zip(steps, u, strict=True)]
    return np.where(moved, start + steps, start)


def jumping(log_density, start, steps, u):
    chain = [start]
    for step, chance in zip(steps, u, strict=True):
        chain.append(step if math.log(chance) < log_density(step) - log_density(chain[-1]) else chain[-1])
    return chain[1:]


def em_but(**changes):
    return [loop(**changes), digits]


def rate_but(function):
    return [loop(), function]


# ------------------------------------------------------------------------------------ the tables

PLANTED = [
    ("04.1", expect(mean=lambda b, d, w, a: d), "that of the data alone", 1),
    ("04.1", lambda y, mu, w, s: (lambda m, v: (mu + m, v))(*expect()(y, mu, w, s)), "that of mu + eta", 1),
    ("04.1", lambda y, mu, w, s: (expect()(y, 0, w, s)[0], expect()(y, mu, w, s)[1]), "take mu off first", 1),
    ("04.1", expect(noise=lambda s, n: s), "a single measurement", 2),
    ("04.1", expect(noise=lambda s, n: s / math.sqrt(n)), "square root of n", 2),
    ("04.1", expect(noise=lambda s, n: s * s / n), "squared what is a variance", 2),
    ("04.1", expect(lambda b, d, w, a: (1 - b) * d, lambda b, d, w, a: b * w), "are exchanged", 2),
    ("04.1", expect(variance=lambda b, d, w, a: b * w), "more data must make it smaller", 3),
    ("04.1", expect(variance=lambda b, d, w, a: a), "variance is that of the data alone", 3),
    ("04.1", expect(variance=lambda b, d, w, a: w), "nothing had been measured", 3),
    ("04.1", expect(variance=lambda b, d, w, a: math.sqrt(w * (1 - b))), "a variance is asked for", 3),
    ("04.1", expect(variance=lambda b, d, w, a: 1 / w + 1 / a), "is the precision", 3),
    ("04.1", expect(variance=lambda b, d, w, a: w + a), "do not add up here", 3),
    ("04.1", lambda y, mu, w, s: expect()(y, mu, w, s)[0], "one number", 1),
    ("04.1", lambda y, mu, w, s: (0.5, 0.5), "whatever goes in", 1),
    ("04.1", lambda y, mu, w, s: None, "returns nothing", None),
    ("04.1", 0.7, "A function is asked for", None),
    ("04.2", maximise(omega2=lambda m, v: (m**2).mean(), sigma2=lambda r, v: (r**2).mean()), "plug in", 1),
    ("04.2", maximise(omega2=lambda m, v: (m**2).mean()), "the plug-in that collapses", 1),
    ("04.2", maximise(sigma2=lambda r, v: (r**2).mean()), "not known exactly", 2),
    ("04.2", maximise(omega2=lambda m, v: m.var() + v.mean()), "about *their* mean", 2),
    ("04.2", maximise(omega2=lambda m, v: (m**2 + v).sum() / (len(m) - 1)), "divided by N - 1", 2),
    (
        "04.2",
        maximise(
            omega2=lambda m, v: math.sqrt((m**2 + v).mean()), sigma2=lambda r, v: math.sqrt((r**2).mean() + v.mean())
        ),
        "These are SDs",
        3,
    ),
    ("04.2", maximise(omega2=lambda m, v: v.mean()), "variance alone", 1),
    ("04.2", maximise(sigma2=lambda r, v: (r**2).mean() + v.mean() / r.shape[1]), "is divided by n", 3),
    ("04.2", maximise(mu=lambda y, m: y.mean()), "mu is the mean of the data", 1),
    ("04.2", maximise(sigma2=lambda r, v: (r**2).mean() - v.mean()), "adds to a mean square", 2),
    ("04.2", lambda y, m, v: (y - m[:, None]).mean(), "one number", 1),
    ("04.2", lambda y, m, v: (1.0, 1.0, 1.0), "whatever goes in", 1),
    ("04.2", without_an_axis, "with 3 arguments, stopped", None),
    ("04.3", em_but(update=lambda b, d, w: ((b * d) ** 2).mean()), "em: this is the loop by modes", 1),
    ("04.3", em_but(weight=lambda w, start, a: start / (start + a)), "stays at its starting value", 1),
    ("04.3", [held, digits], "has to follow omega2", 1),
    ("04.3", em_but(update=lambda b, d, w: (b * d).mean() ** 2 + w * (1 - b)), "squared the mean", 1),
    ("04.3", em_but(update=lambda b, d, w: (d**2).mean() + w * (1 - b)), "not shrunken", 1),
    ("04.3", em_but(update=lambda b, d, w: ((b * d) ** 2).mean() + w * b), "1 - B, not times B", 1),
    ("04.3", em_but(update=lambda b, d, w: (b * d).var() + w * (1 - b)), "about their mean", 1),
    ("04.3", [lambda *given: loop()(*given)[1:], digits], "an array of 7 numbers", 1),
    ("04.3", rate_but(lambda b: math.log(10) / -math.log(1 - b)), "em right. iterations_per_digit: you used 1 - B", 2),
    ("04.3", rate_but(lambda b: math.log(10) / -math.log(b * b)), "much information makes EM fast", 2),
    ("04.3", rate_but(lambda b: 1 / -math.log(1 - b * b)), "a factor of ten", 3),
    ("04.3", rate_but(lambda b: 0.1 / (1 - b * b)), "k-th power", 3),
    ("04.3", rate_but(lambda b: 1 / (1 - b * b)), "k-th power", 3),
    ("04.3", rate_but(lambda b: math.log(2) / -math.log(1 - b * b)), "half of the error", 3),
    ("04.3", rate_but(lambda b: -digits(b)), "sign", 1),
    ("04.3", loop(), "as a list", None),
    ("04.4", walk(lambda new, old, u: u < np.exp(new) / np.exp(old)), "0/0", 2),
    ("04.4", walk(lambda new, old, u: u < new - old), "*log* of the ratio", 2),
    ("04.4", walk(lambda new, old, u: u < new / old), "divide one log density", 2),
    ("04.4", walk(lambda new, old, u: math.log(u) < old - new), "turned over", 2),
    ("04.4", walk(lambda new, old, u: math.log(u) > new - old), "which way round", 2),
    ("04.4", walk(lambda new, old, u: new > old), "search for the mode", 1),
    ("04.4", walk(lambda new, old, u: True), "Every proposal is accepted", 1),
    ("04.4", walk(note="new"), "These are the proposals", 3),
    ("04.4", walk(origin="start"), "start from the first value", 1),
    ("04.4", accepted_only, "an array of 60 numbers", 1),
    ("04.4", lambda f, start, steps, u: [start, *walk()(f, start, steps, u)], "an array of 61 numbers", 1),
    ("04.5", gains(lambda k, e: 1.0 if k <= e else 1 / k), "starts anew", 1),
    ("04.5", gains(lambda k, e: 1 / k), "from the first iteration on", 1),
    ("04.5", lambda s, e: [s[: k + 1].mean() for k in range(len(s))], "from the first iteration on", 1),
    ("04.5", lambda s, e: s, "Nothing is averaged", 1),
    ("04.5", gains(lambda k, e: 1.0 if k <= e else 1 / (k - e + 1)), "One value too many", 2),
    ("04.5", gains(lambda k, e: 1.0 if k <= e + 1 else 1 / (k - e - 1)), "too late", 2),
    ("04.5", gains(lambda k, e: 0.0 if k <= e else 1 - 1 / (k - e)), "are exchanged", 3),
    ("04.5", lambda s, e: np.r_[s[:e], np.cumsum(s[e:])], "an average is divided", 3),
    ("04.5", lambda s, e: s[e:].mean(), "one number", 1),
    ("04.1", lambda y, mu, w, s: (share(w, s, y) * y.mean() - mu, w - w * share(w, s, y)), "taken off too late", 1),
    ("04.1", lambda y, mu, w, s: (share(w, s, y) * (y - mu).sum(), w - w * share(w, s, y)), "are added up", 1),
    ("04.1", expect(noise=lambda s, n: s * n), "n times *smaller*", 2),
    ("04.1", lambda y, mu, w, s: expect()(y, mu, w * w, s * s), "squared omega2 and sigma2", 2),
    ("04.1", lambda y, mu, w, s: ((b := w / w + s / len(y)) * (y.mean() - mu), w * (1 - b)), "Put brackets", 2),
    ("04.1", expect(variance=lambda b, d, w, a: 1 - b), "*share* of the prior's variance", 3),
    ("04.1", expect(variance=lambda b, d, w, a: w * (1 - b * b)), "the rate of EM", 3),
    ("04.1", lambda y, mu, w, s: (expect()(y, mu, w, s)[0], w * s / (w + s)), "after a single measurement", 3),
    ("04.1", expect(variance=lambda b, d, w, a: a * (1 - b)), "The mean is right; the variance is not", 3),
    ("04.1", expect(mean=lambda b, d, w, a: -b * d), "The variance is right. The mean: the sign", 1),
    ("04.1", lambda *given: expect()(*given)[::-1], "asked for is the mean, then the variance", 1),
    ("04.2", maximise(omega2=lambda m, v: math.sqrt((m**2 + v).mean())), "omega2 is an SD", 3),
    ("04.2", maximise(sigma2=lambda r, v: math.sqrt((r**2).mean() + v.mean())), "sigma2 is an SD", 3),
    ("04.2", maximise(omega2=lambda m, v: m.mean() ** 2 + v.mean()), "square each, then average", 1),
    (
        "04.2",
        maximise(omega2=lambda m, v: (m**2 + v**2).mean(), sigma2=lambda r, v: (r**2).mean() + (v**2).mean()),
        "they are squares already",
        1,
    ),
    ("04.2", maximise(omega2=lambda m, v: (m**2 - v).mean()), "In omega2 the conditional variance is taken off", 1),
    ("04.2", residuals(lambda y, mu, m: y - m), "mu has not been taken off", 2),
    ("04.2", residuals(lambda y, mu, m: y - mu), "the eta have not been taken off", 2),
    ("04.2", residuals(lambda y, mu, m: y - y.mean() - m), "in place of the new mu", 2),
    ("04.2", lambda y, m, v: np.array(maximise()(y, m, v)) * [y.size, m.size, y.size], "averages are asked for", 1),
    ("04.2", maximise(sigma2=lambda r, v: (r.mean(1) ** 2 + v).mean()), "so that they cancel", 2),
    ("04.2", maximise(sigma2=lambda r, v: (r**2).sum() / (r.size - 1) + v.mean()), "one less than the number", 2),
    ("04.2", lambda y, m, v: (lambda mu, w, s: (mu, s, w))(*maximise()(y, m, v)), "in the wrong order", 1),
    ("04.2", maximise(mu=lambda y, m: (y.mean(1) + m).mean()), "omega2 is right; mu and sigma2 are not", 1),
    ("04.3", em_but(update=lambda b, d, w: (b * d).var(ddof=1) + w * (1 - b)), "about their mean", 1),
    ("04.3", em_but(weight=lambda w, start, a: a / (w + a)), "B is turned over", 1),
    ("04.3", em_but(update=lambda b, d, w: (b * d * d).mean() + w * (1 - b)), "B is not squared", 1),
    ("04.3", em_but(update=lambda b, d, w: ((b * d) ** 2).sum() + w * (1 - b)), "added up, not averaged", 1),
    ("04.3", em_but(update=lambda b, d, w: ((b * d) ** 2).mean() - w * (1 - b)), "is taken off", 1),
    ("04.3", em_but(update=lambda b, d, w: ((b * d) ** 2).mean() + 1 - b), "times the present omega2", 1),
    ("04.3", em_but(weight=lambda w, start, a: w / (w + a * a)), "a variance already", 1),
    ("04.3", em_but(weight=lambda w, start, a: w / (w + math.sqrt(a))), "the root of a", 1),
    ("04.3", em_but(update=lambda b, d, w: ((b * d) ** 2).mean() + 2 * w), "the very first step", 1),
    ("04.3", rate_but(lambda b: math.log(0.9) / math.log(1 - b * b)), "nine tenths", 3),
    ("04.3", rate_but(lambda b: math.log(10) / -math.log((1 - b) ** 2)), "the square stands outside", 2),
    ("04.3", rate_but(lambda b: round(digits(b))), "not rounded", 3),
    ("04.3", rate_but(lambda b: math.ceil(digits(b))), "not rounded", 3),
    ("04.3", rate_but(lambda b: math.log10(1 - b * b)), "turned over", 3),
    ("04.3", rate_but(lambda b: math.log(0.1) * math.log(1 - b * b)), "divided by", 3),
    ("04.3", rate_but(lambda b: math.log(10) / b**2), "nearly right for a small B", 3),
    ("04.4", walk(lambda new, old, u: math.log(u) < new / old), "compared with a *difference*", 1),
    ("04.4", walk(lambda new, old, u: np.log(u) < np.log(new) - np.log(old)), "No proposal is ever accepted", 2),
    ("04.4", walk(lambda new, old, u: math.log(1 - u) < new - old), "1 - u in place of u", 2),
    ("04.4", walk(lambda new, old, u: new > old or u < 0.5), "accepted by half", 1),
    ("04.4", lambda f, start, steps, u: [start, *walk()(f, start, steps, u)[:-1]], "one iteration late", 3),
    ("04.4", forgetful, "forgets where it moved", 1),
    ("04.4", jumping, "taken for the place", 1),
    ("04.5", gains(lambda k, e: 1.0 if k <= e else 1 / k - e), "is not 1 / (k - explore)", 2),
    ("04.5", gains(lambda k, e: 1 / k if k <= e else 1.0), "two phases have changed places", 1),
    ("04.5", lambda s, e: [v / max(k - e, 1) for k, v in enumerate(s, 1)], "gamma times the new value alone", 3),
    ("04.5", lambda s, e: [*s[:e], *(s[e - 1] + np.cumsum(s[e:] / np.arange(1, len(s) - e + 1)))], "*difference*", 3),
    ("04.5", lambda s, e: [*s[:e], *[s[e:].mean()] * (len(s) - e)], "its mean at the end", 3),
    ("04.5", lambda s, e: [1 / max(k - e, 1) for k in range(1, len(s) + 1)], "These are the gammas", 1),
    ("04.5", gains(lambda k, e: 1.0 if k <= e else 1 / math.sqrt(k - e)), "not over its root", 2),
    ("04.5", gains(lambda k, e: 1.0 if k <= e else 0.1), "The exploration is right", 2),
    (
        "04.5",
        lambda s, e: np.r_[0 * s[:e], [s[e : k + 1].mean() for k in range(e, len(s))]],
        "The smoothing is right",
        1,
    ),
]

RIGHT = [
    ("04.1", expect()),
    ("04.1", lambda y, mu, w, s: np.array([np.sum(y - mu) / s, 1.0]) / (1 / w + len(y) / s)),
    ("04.2", maximise()),
    (
        "04.2",
        lambda y, m, v: (
            lambda mu: [mu, np.average(v + m * m), np.mean([(y[i] - mu - m[i]) ** 2 + v[i] for i in range(len(y))])]
        )(y.mean() - m.mean()),
    ),
    ("04.3", [loop(), digits]),
    ("04.3", (lesson_04.em_path, lambda b: np.log(0.1) / np.log1p(-(b**2)))),
    ("04.4", walk()),
    ("04.4", walk(lambda new, old, u: u < math.exp(min(0.0, new - old)))),
    ("04.5", gains(lambda k, e: 1.0 if k <= e else 1 / (k - e))),
    ("04.5", lambda s, e: np.r_[s[:e], [s[e : k + 1].mean() for k in range(e, len(s))]]),
]

TABLE = Table(exercises=EXERCISES, planted=PLANTED, right=RIGHT, dots={"04.3": [lambda *arguments: ...] * 2})


def test_what_comes_next_is_said():
    assert "Next is iterations_per_digit" in check("04.3", [loop(), lambda b: ...]).reason


# ------------------------------------------------------------------------------------ the truths themselves

RNG = np.random.default_rng(5)


def test_the_e_step_by_quadrature():
    y, mu, omega2, sigma2 = lesson_04._one_subject(RNG)

    def joint(eta):
        return norm.pdf(y, mu + eta, np.sqrt(sigma2)).prod() * norm.pdf(eta, 0, np.sqrt(omega2))

    area, first, second = (quad(lambda e, k=k: e**k * joint(e), -15, 15, epsabs=0)[0] for k in range(3))
    expected = first / area, second / area - (first / area) ** 2
    assert lesson_04.e_step(y, mu, omega2, sigma2) == pytest.approx(expected, rel=1e-6)


def test_the_m_step_maximises_the_expected_complete_log_density():
    y, m, v = lesson_04._a_group(RNG)

    def minus_q(x):
        mu, omega2, sigma2 = x[0], *np.exp(x[1:])
        within = ((y - mu - m[:, None]) ** 2 + v[:, None]) / sigma2 + np.log(sigma2)
        return 0.5 * within.sum() + 0.5 * np.sum((m**2 + v) / omega2 + np.log(omega2))

    best = minimize(minus_q, [2.0, 0.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
    assert lesson_04.m_step(y, m, v) == pytest.approx([best[0], *np.exp(best[1:])], rel=1e-5)


def test_the_loop_climbs_to_the_maximum_of_the_likelihood_at_its_rate():
    d, a = RNG.normal(0, 2, 15), 0.8
    path = lesson_04.em_path(d, a, 9.0, 200)

    def minus_log_likelihood(w):
        return -norm.logpdf(d, 0, np.sqrt(w + a)).sum()

    assert np.all(np.diff([minus_log_likelihood(w) for w in path]) <= 1e-12)
    best = minimize_scalar(minus_log_likelihood, bounds=(1e-9, 20), method="bounded", options={"xatol": 1e-10}).x
    assert path[-1] == pytest.approx(best, rel=1e-5)
    error, b = path - (np.mean(d**2) - a), best / (best + a)
    k = int(np.flatnonzero(np.abs(error) < 1e-4)[0])
    assert error[k + 1] / error[k] == pytest.approx(1 - b**2, abs=1e-3)


@pytest.mark.parametrize(("b", "iterations"), [(0.9, 1.39), (0.75, 2.79), (0.5, 8.0), (0.25, 35.7), (0.1, 229)])
def test_iterations_a_digit(b, iterations):
    assert lesson_04.iterations_a_digit(b) == pytest.approx(iterations, rel=4e-3)


def test_the_chain_has_the_density_it_was_given():
    rng, size = np.random.default_rng(6), 40_000
    chain = lesson_04.metropolis(
        lambda e: norm.logpdf(e, 1, 0.5), 0.0, rng.normal(0, 1.2, size), rng.uniform(size=size)
    )
    assert chain[100:].mean() == pytest.approx(1, abs=0.03)
    assert chain[100:].std() == pytest.approx(0.5, abs=0.02)


def test_the_approximation_is_a_mean_since_the_smoothing_began():
    s, explore = lesson_04._some_statistics(RNG)
    found = lesson_04.approximate(s, explore)
    np.testing.assert_array_equal(found[: explore + 1], s[: explore + 1])
    assert found[-1] == pytest.approx(s[explore:].mean(), rel=1e-12)
