"""The checks of lesson 12: wrong answers as learners write them, with the reason each gets, and right ones."""

import math

import numpy as np
import pytest
from planted import Table
from scipy.optimize import minimize
from scipy.special import softmax
from scipy.stats import norm

from workshop.checks import choosing_12, kinds_12, sets_12
from workshop.checks.lesson_12 import EXERCISES
from workshop.studies import fits_of_kinds as given

# ------------------------------------------------------------------------------------ answers, as they are written


def quiet(answer):
    def called(*arguments):
        with np.errstate(all="ignore"):
            return answer(*arguments)

    return called


def bayes(each=lambda s, ll: s + ll, end=lambda a: softmax(a, axis=1)):
    return quiet(lambda s, ll: end(each(s, ll)))


def hard(a):
    return np.eye(a.shape[1])[a.argmax(axis=1)]


def m_step(
    own=lambda r: r,
    share=lambda r: r.sum(axis=0) / len(r),
    mean=lambda r, y: np.average(np.tile(y[:, None], r.shape[1]), axis=0, weights=r),
    sd=lambda r, y, m: np.sqrt(np.average((y[:, None] - m) ** 2, axis=0, weights=r)),
):
    def step(r, y):
        r = own(r)
        m = mean(r, y)
        return [share(r), m, sd(r, y, m)]

    return step


def gate(
    line=lambda w, a: np.column_stack([np.ones(len(w)), w]) @ a.T,
    first=lambda x: np.insert(x, 0, 0.0, axis=1),
    end=lambda x: softmax(x, axis=1),
):
    return lambda w, a: end(first(line(w, a)))


def alone(w, a):
    others = 1 / (1 + np.exp(-(np.column_stack([np.ones(len(w)), w]) @ a.T)))
    return np.column_stack([1 - others.sum(axis=1), others])


def by_bic(charge=lambda p, n: p * np.log(n), likelihood=lambda ll: -2 * ll):
    return lambda ll, p, n: likelihood(ll) + charge(p, n)


def steepest(rank=lambda b, s: -b[..., 1], share=True):
    def ordered(beta, shares):
        out = []
        for b, s in zip(beta, shares, strict=True):
            order = np.argsort(rank(b, s), kind="stable")
            out.append(np.column_stack([b[order], s[order] if share else s]))
        return np.array(out)

    return ordered


def columns(beta, share):
    return np.sort(np.dstack([beta, share]), axis=1)[:, ::-1]


def one_order(beta, share):
    order = np.argsort(-beta.mean(axis=0)[:, 1])
    return np.dstack([beta, share])[:, order]


def cells(order=lambda p: np.sort(p)[::-1], wanted=lambda v: v, mass=lambda p, h: p * h, end=lambda k, h: k * h):
    def length(p, step, level):
        held = np.cumsum(mass(order(p), step))
        return end(int(np.sum(held < wanted(level))) + 1, step)

    return length


def by_loop(p, step, level):
    held = 0.0
    for count, density in enumerate(sorted(p, reverse=True), start=1):
        held += density * step
        if held >= level:
            return count * step
    return len(p) * step


def spanned(p, step, level):
    order = np.argsort(-p)
    own = order[: int(np.sum(np.cumsum(p[order]) * step < level)) + 1]
    return (own.max() - own.min() + 1) * step


def central(p, step, level):
    below = np.cumsum(p) * step
    return np.sum((below > (1 - level) / 2) & (below < (1 + level) / 2)) * step


def kept(place):
    return lambda scores, level: sorted(scores)[place(len(scores), level) - 1]


def bic_right(answer):
    return [by_bic(), answer, ...]


def held_right(answer):
    return [by_bic(), 2, answer]


def second(answer):
    return [lambda levels: np.nanmax(levels, axis=1), answer]


PLANTED = [
    ("12.1", bayes(lambda s, ll: ll), "The gate is left out", 1),
    ("12.1", lambda s, ll: np.exp(s), "the gate alone", 1),
    ("12.1", bayes(end=lambda a: softmax(a, axis=0)), "over the people", 2),
    ("12.1", bayes(end=lambda a: np.exp(a) / np.exp(a).sum(1)[:, None]), "0/0 after many", 3),
    ("12.1", bayes(end=np.exp), "do not add up to one: divide", 2),
    ("12.1", bayes(end=lambda a: a / a.sum(1)[:, None]), "Logarithms are divided", 2),
    ("12.1", bayes(end=hard), "wholly to the likeliest", 1),
    ("12.1", 0.5, "A function is asked for", None),
    ("12.2", m_step(hard), "for the likeliest class only", 1),
    ("12.2", m_step(lambda r: np.ones_like(r) / r.shape[1]), "r is not used", 1),
    ("12.2", m_step(mean=lambda r, y: r.T @ y / y.size), "divided by the number of people", 2),
    ("12.2", m_step(share=lambda r: r.sum(0)), "The first row counts people", 2),
    ("12.2", m_step(sd=lambda r, y, m: np.average((y[:, None] - m) ** 2, axis=0, weights=r)), "has variances", 3),
    (
        "12.2",
        m_step(sd=lambda r, y, m: np.sqrt(np.average((y[:, None] - y.mean() + 0 * m) ** 2, axis=0, weights=r))),
        "around the mean of everybody",
        3,
    ),
    ("12.2", m_step(sd=lambda r, y, m: np.full(m.shape, y.std())), "that of all people", 3),
    ("12.2", m_step(sd=lambda r, y, m: np.sqrt((r * (y[:, None] - m) ** 2).mean(0))), "averaged over everybody", 3),
    ("12.3", alone, "a share by itself", 2),
    ("12.3", gate(first=lambda x: np.column_stack([x, np.zeros(len(x))])), "stands last", 2),
    ("12.3", gate(lambda w, a: w @ a[:, 1:].T), "are left out", 1),
    ("12.3", gate(lambda w, a: -(np.column_stack([np.ones(len(w)), w]) @ a.T)), "The other way round", 1),
    ("12.3", gate(end=np.exp), "odds against the first class. Divide", 2),
    ("12.3", gate(end=lambda x: softmax(x, axis=0)), "over the people", 3),
    ("12.3", gate(lambda w, a: np.column_stack([w, np.ones(len(w))]) @ a.T), "from the last column", 1),
    ("12.4", [by_bic(lambda p, n: 2 * p), ..., ...], "This is AIC", 1),
    ("12.4", [by_bic(lambda p, n: -p * np.log(n)), ..., ...], "They are to cost", 1),
    ("12.4", [by_bic(likelihood=lambda ll: 2 * ll), ..., ...], "wrong sign", 2),
    ("12.4", [by_bic(likelihood=lambda ll: -ll), ..., ...], "The likelihood counts once", 2),
    ("12.4", [by_bic(lambda p, n: n * np.log(p)), ..., ...], "are exchanged", 2),
    ("12.4", [by_bic(lambda p, n: p * np.log(n) / 2), ..., ...], "Each parameter costs log N", 2),
    ("12.4", [by_bic(lambda p, n: p * np.log10(n)), ..., ...], "the natural one", 3),
    ("12.4", [by_bic(lambda p, n: 0), ..., ...], "Parameters cost nothing", 1),
    ("12.4", bic_right(3), "the lowest AIC", 2),
    ("12.4", bic_right(1), "the *largest* BIC", 2),
    ("12.4", bic_right(by_bic()(-873.14, 18, 212)), "the smallest BIC itself", 3),
    ("12.4", held_right(lambda r: r.mean(0)), "These are shares", 3),
    ("12.4", held_right(lambda r: hard(r).sum(0)), "counted for the likeliest", 3),
    ("12.4", held_right(lambda r: r.max(0)), "surest member", 3),
    ("12.5", lambda b, s: np.dstack([b, s]), "Nothing is reordered", 1),
    ("12.5", steepest(lambda b, s: -s), "by their shares", 1),
    ("12.5", steepest(lambda b, s: b[..., 1]), "The steady class stands first", 2),
    ("12.5", steepest(lambda b, s: -b[..., 0]), "Ordered by the level", 2),
    ("12.5", columns, "sorted by itself", 3),
    ("12.5", steepest(share=False), "the shares stay where", 3),
    ("12.5", one_order, "One order for all", 2),
    ("12.6", spanned, "from the first cell to the last", 1),
    ("12.6", central, "the central interval", 1),
    ("12.6", cells(wanted=lambda v: 1 - v), "what is to be left out", 2),
    ("12.6", cells(order=np.sort), "from the lowest density up", 2),
    ("12.6", cells(mass=lambda p, h: p), "Densities are added up", 3),
    ("12.6", cells(end=lambda k, h: k), "the number of cells", 3),
    ("12.6", lambda p, h, v: np.sum(p >= 1 - v) * h, "held against 1 - level", 2),
    ("12.6", lambda p, h, v: np.mean(p >= (1 - v) * p.max()) * p.size * h, "some part of the peak", 2),
    ("12.7", [lambda v: np.nanmean(v, axis=1), ...], "The mean of the rows", 1),
    ("12.7", [lambda v: np.nanmin(v, axis=1), ...], "The smallest of the rows", 1),
    ("12.7", [lambda v: np.nanmedian(v, axis=1), ...], "The median", 1),
    ("12.7", [lambda v: v[:, 0], ...], "Only the first row", 1),
    ("12.7", [lambda v: v.max(axis=1), ...], "makes the person missing", 2),
    ("12.7", [lambda v: np.where(np.isnan(v), 1.0, v).max(axis=1), ...], "count as missed", 2),
    ("12.7", second(lambda s, v: np.quantile(s, v)), "np.quantile goes between", 2),
    ("12.7", second(kept(lambda n, v: math.ceil(n * v))), "one of n + 1", 2),
    ("12.7", second(kept(lambda n, v: int((n + 1) * v))), "Rounded down", 3),
    ("12.7", second(kept(lambda n, v: math.ceil((n + 1) * v) + 1)), "One place too far", 3),
    ("12.7", second(lambda s, v: v), "the level that was promised", 1),
    ("12.7", second(kept(lambda n, v: math.ceil((n + 1) * (1 - v)))), "From the wrong end", 2),
    ("12.7", second(lambda s, v: s[math.ceil((len(s) + 1) * v) - 1]), "not in order: sort", 3),
    ("12.7", second(lambda s, v: max(s)), "The largest score", 2),
]
RIGHT = [
    ("12.1", bayes()),
    ("12.1", lambda s, ll: np.exp(s + ll - np.logaddexp.reduce(s + ll, axis=1)[:, None])),
    ("12.2", m_step()),
    ("12.2", m_step(sd=lambda r, y, m: np.sqrt(r.T @ y**2 / r.sum(0) - m**2))),
    ("12.3", gate()),
    ("12.3", gate(end=lambda x: 1 / np.exp(x[:, None, :] - x[:, :, None]).sum(axis=2))),
    ("12.4", [by_bic(), 2, lambda r: r.sum(axis=0)]),
    ("12.4", [by_bic(), 2.0, lambda r: len(r) * r.mean(axis=0)]),
    ("12.5", steepest()),
    ("12.5", lambda b, s: np.dstack([b, s])[np.arange(len(b))[:, None], (-b[:, :, 1]).argsort(axis=1)]),
    ("12.6", cells()),
    ("12.6", by_loop),
    ("12.7", second(kept(lambda n, v: math.ceil((n + 1) * v)))),
    ("12.7", [lambda v: np.where(np.isnan(v), 0.0, v).max(1), kept(lambda n, v: -math.floor(-(n + 1) * v))]),
]
DOTS = {"12.4": [lambda *given: ..., ..., lambda *given: ...], "12.7": [lambda *given: ...] * 2}
TABLE = Table(exercises=EXERCISES, planted=PLANTED, right=RIGHT, dots=DOTS, apart=True)


def test_every_mistake_of_12_is_planted():
    for number, exercise in EXERCISES.items():
        planted = [reason for n, _, reason, _ in PLANTED if n == number]
        parts = getattr(exercise, "parts", (exercise,))
        for mistake in (m for part in parts for m in getattr(part, "mistakes", ())):
            assert any(reason in mistake.reason for reason in planted), mistake.reason


# ------------------------------------------------------------------------------------ the truths, from outside


def test_bayes_rule_by_densities():
    """Two normals at one number: prior odds times the ratio of their densities."""
    odds = 0.3 / 0.7 * norm.pdf(0.4, 1.0, 0.5) / norm.pdf(0.4, -1.0, 1.0)
    log_l = np.array([[norm.logpdf(0.4, 1.0, 0.5), norm.logpdf(0.4, -1.0, 1.0)]])
    found = kinds_12.responsibilities(np.log([[0.3, 0.7]]), log_l)
    assert found[0, 0] == pytest.approx(odds / (1 + odds), rel=1e-12)


def test_the_m_step_is_where_the_expected_log_likelihood_is_highest():
    """Against a search by SciPy over the share, means and log SDs of two classes."""
    rng = np.random.default_rng(3)
    r = rng.dirichlet([1.0, 1.0], size=40)
    y = rng.standard_normal(40) + r[:, 0]

    def loss(x):
        log_share = -np.logaddexp(0.0, [-x[0], x[0]])
        return -np.sum(r * (log_share + norm.logpdf(y[:, None], x[1:3], np.exp(x[3:5]))))

    found = minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-8})
    step = kinds_12.m_step(r, y)
    expected = [1 / (1 + np.exp(-found.x[0])), *found.x[1:3], *np.exp(found.x[3:5])]
    np.testing.assert_allclose([step[0, 0], *step[1], *step[2]], expected, rtol=1e-5)


def test_the_smallest_set_of_a_normal_is_known():
    y = np.linspace(-8.0, 8.0, 16_001)
    found = sets_12.length(norm.pdf(y), y[1] - y[0], 0.95)
    assert found == pytest.approx(2 * norm.ppf(0.975), abs=2e-3)


def test_a_promise_is_kept_by_the_place_among_n_plus_one():
    """Uniform scores: P(new <= k-th of n) = k / (n + 1), here 23 / 25."""
    rng = np.random.default_rng(5)
    held = [rng.random() <= sets_12.promised(rng.random(24), 0.9) for _ in range(4000)]
    assert np.mean(held) == pytest.approx(23 / 25, abs=4 * np.sqrt(0.92 * 0.08 / 4000))


def test_what_the_exercises_are_given_is_as_they_say():
    assert choosing_12.bic(*given.FITS[2], given.PEOPLE) < choosing_12.bic(*given.FITS[3], given.PEOPLE)
    beta, share = given.replicates(200)
    told = choosing_12.ordered(beta, share)
    assert np.all(told[:, 0, 1] > told[:, 1, 1])
    np.testing.assert_allclose(told[:, :, 1].mean(axis=0), [0.27, 0.05], atol=4 * 0.03 / np.sqrt(200))
    assert abs(np.diff(beta[:, :, 1].mean(axis=0))[0]) < 0.05 and share.sum(axis=1) == pytest.approx(1.0)
    y, p = given.two_peaks()
    assert np.sum(p) * (y[1] - y[0]) == pytest.approx(1.0, abs=1e-6)
