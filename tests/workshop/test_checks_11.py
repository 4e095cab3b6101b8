"""The checks of lesson 11: wrong answers as learners write them, with the reason each gets, and right ones."""

import jax
import numpy as np
import pandas as pd
import pytest
from planted import Table
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import norm

import mefit as mf
from workshop.checks import batch_11, closed_dose_11, models_11, risks_11, sample_11
from workshop.checks.engine import Checker, Wrong
from workshop.checks.lesson_11 import EXERCISES
from workshop.studies import one_person
from workshop.studies import patients_by_draws as trials

check = Checker(lambda lesson: EXERCISES, None)

# ------------------------------------------------------------------------------------ answers, as they are written


def shares(area=lambda c, d: d / c, end=lambda below, within, above: [below, within, above]):
    def risks(clearance, dose, low, high):
        areas = area(clearance, dose)
        return np.array(end(np.mean(areas < low), np.mean((areas >= low) & (areas <= high)), np.mean(areas > high)))

    return risks


def loss(cost=lambda b, i, a, over, under: under * b + over * a, centre=lambda c: c, times=1.0):
    def expected_loss(clearance, doses, low, high, over, under):
        c = np.atleast_1d(centre(clearance))
        found = []
        for dose in doses:
            b, i, a = shares()(c, dose, low, high)
            found.append(cost(b, i, a, over, under) * (len(c) if times == "sum" else times))
        return found

    return expected_loss


BEST = float(min(trials.DOSES, key=lambda dose: loss()(trials.CLEARANCE, [dose], *trials.WINDOW, 5.0, 1.0)[0]))


def best(over, under):
    values = loss()(trials.CLEARANCE, trials.DOSES, *trials.WINDOW, over, under)
    return float(trials.DOSES[int(np.argmin(values))])


def hit(
    half=0.5, end=lambda z: norm.cdf(z) - norm.cdf(-z), scale=lambda s: s, width=lambda lo, hi: np.log(hi) - np.log(lo)
):
    return lambda s, low, high: end(half * width(low, high) / scale(s))


def closed(
    m=lambda m: m,
    middle=lambda lo, hi: np.log(np.sqrt(lo * hi)),
    lever=lambda s, k: s**2 * np.log(k),
    width=lambda lo, hi: np.log(hi / lo),
    sign=-1,
    end=np.exp,
):
    return lambda mu, s, lo, hi, over, under: end(
        m(mu) + middle(lo, hi) + sign * lever(s, over / under) / width(lo, hi)
    )


def weighed(log_w=lambda z: -0.5 * (z**2).sum(1), share=softmax, sd=None, scale=lambda s: s):
    def weigh(log_curve, log_y, sigma, value):
        with np.errstate(all="ignore"):
            w = share(log_w((log_curve - log_y) / scale(sigma)))
            mean = np.sum(w * value)
            spread = np.sqrt(np.sum(w * (value - mean) ** 2)) if sd is None else sd(w, value, mean)
            return [mean, spread]

    return weigh


def ahead(outcome=lambda c, s, e: c[: e.size] + s * e, axis=1, end=None):
    def expected_sd(log_curve, sigma, value, normal):
        y = np.atleast_1d(outcome(log_curve, sigma, normal))
        w = softmax(norm.logpdf(y[:, None], log_curve, sigma), axis=axis)
        if end is not None:
            return end(w, value)
        return np.mean([np.sqrt(np.sum(one * (value - one @ value) ** 2)) for one in w])

    return expected_sd


def variances(w, v):
    return w @ v**2 - (w @ v) ** 2


def elbow(v=lambda b, t, beta: beta * b * t / 2, end=lambda r: np.where(r > 1, np.log(r) / 2, 0.0)):
    return lambda eigenvalues, batch, times, beta: end(eigenvalues / v(batch, times, beta))


def second(answer):
    return [hit(), answer]


PLANTED = [
    ("11.1", shares(lambda c, d: d * c), "dose times clearance", 1),
    ("11.1", shares(end=lambda b, i, a: [a, i, b]), "Below and above are exchanged", 2),
    ("11.1", shares(end=lambda b, i, a: [200 * b, 200 * i, 200 * a]), "counts of draws", 2),
    ("11.1", shares(end=lambda b, i, a: [100 * b, 100 * i, 100 * a]), "These are percent", 2),
    ("11.1", lambda c, d, lo, hi: shares()(np.array([np.median(c)]), d, lo, hi), "verdict on one clearance", 1),
    ("11.1", lambda c, d, lo, hi: shares()(np.array([c.mean()]), d, lo, hi), "verdict on one clearance", 1),
    ("11.1", shares(end=lambda b, i, a: [b, b + i, a]), "has those below in it", 3),
    ("11.1", lambda c, d, lo, hi: shares()(c, d, np.log(lo), np.log(hi)), "held against logarithms", 2),
    ("11.1", shares(end=lambda b, i, a: [i, b, a]), "in the wrong order", 2),
    ("11.1", 0.5, "A function is asked for", None),
    ("11.2", [loss(lambda b, i, a, over, under: over * b + under * a), ...], "over and under are exchanged", 1),
    ("11.2", [loss(lambda b, i, a, over, under: 1 - i), ...], "All misses cost the same here", 1),
    ("11.2", [loss(lambda b, i, a, over, under: i), ...], "the chance of a hit. Asked", 1),
    ("11.2", [loss(lambda b, i, a, over, under: over * a), ...], "without `under`", 2),
    ("11.2", [loss(lambda b, i, a, over, under: over * a + under * b + i), ...], "A hit costs something", 2),
    (
        "11.2",
        [loss(lambda b, i, a, over, under: (over * a + under * b) / (over + under)), ...],
        "by the sum of both",
        3,
    ),
    ("11.2", [loss(lambda b, i, a, over, under: (over * a + under * b) / (1 - i)), ...], "by the share of misses", 3),
    ("11.2", [loss(times="sum"), ...], "added up over the draws", 3),
    ("11.2", [loss(centre=np.median), ...], "loss at one clearance", 2),
    ("11.2", [loss(centre=np.mean), ...], "loss at one clearance", 2),
    ("11.2", [loss(), best(1, 1)], "where all misses cost the same", 1),
    ("11.2", [loss(), best(1, 5)], "too *little* is the worse", 1),
    ("11.2", [loss(), 102.0], "the plug-in dose", 1),
    ("11.2", [loss(), 180.0], "*greatest* expected loss", 3),
    ("11.2", [loss(), 30.0], "always too little", 2),
    ("11.2", [loss(), int(np.argmin(np.abs(trials.DOSES - BEST)))], "the place of the dose", 3),
    (
        "11.2",
        [loss(), min(loss()(trials.CLEARANCE, trials.DOSES, *trials.WINDOW, 5.0, 1.0))],
        "the loss of the best",
        3,
    ),
    ("11.3", [hit(half=1.0), ...], "*half* of log(high / low)", 2),
    ("11.3", [hit(end=norm.cdf), ...], "one side only", 2),
    ("11.3", [hit(end=lambda z: 1 - norm.cdf(z) + norm.cdf(-z)), ...], "the chance of a miss", 1),
    ("11.3", [hit(width=lambda lo, hi: hi - lo), ...], "on the log scale too", 1),
    ("11.3", [hit(scale=lambda s: s**2), ...], "Divided by the variance", 2),
    ("11.3", [hit(end=lambda z: 2 * norm.pdf(z) - 1), ...], "norm.pdf is the density", 2),
    ("11.3", second(closed(sign=0)), "This is the plug-in dose: no loss", 1),
    ("11.3", second(closed(sign=1)), "pulls the wrong way", 2),
    ("11.3", second(lambda mu, s, lo, hi, over, under: closed()(mu, s, lo, hi, under, over)), "pulls the wrong way", 2),
    ("11.3", second(closed(lever=lambda s, k: s * np.log(k))), "enters by its square", 2),
    ("11.3", second(closed(lever=lambda s, k: s**2 * np.log(k) / 2)), "A factor of two is missing", 3),
    ("11.3", second(closed(lever=lambda s, k: 2 * s**2 * np.log(k))), "counts twice", 3),
    ("11.3", second(closed(lever=lambda s, k: s**2 * k)), "by its logarithm", 3),
    ("11.3", second(closed(width=lambda lo, hi: 1.0)), "The width of the window is missing", 3),
    ("11.3", second(closed(width=lambda lo, hi: hi - lo)), "that on the log scale", 2),
    ("11.3", second(closed(middle=lambda lo, hi: np.log((lo + hi) / 2))), "the one of the logarithms", 2),
    ("11.3", second(closed(m=lambda m: -m)), "*plus* log CL", 1),
    ("11.3", second(closed(end=lambda x: x)), "the logarithm of the dose", 1),
    ("11.4", weighed(share=lambda w: np.ones(len(w)) / len(w)), "All draws count the same", 1),
    ("11.4", weighed(share=lambda w: np.exp(w) / np.exp(w).sum()), "take the largest log weight off", 3),
    ("11.4", weighed(share=lambda w: np.exp(w)), "do not add up to one", 2),
    ("11.4", weighed(share=lambda w: np.exp(w - w.max())), "do not add up to one", 2),
    ("11.4", weighed(share=lambda w: w / w.sum()), "Weighed with logarithms", 1),
    ("11.4", weighed(scale=np.sqrt), "taken for a variance", 2),
    ("11.4", weighed(lambda z: -0.5 * (z**2).mean(1)), "two would say no more than one", 2),
    ("11.4", weighed(lambda z: -0.5 * z[:, -1] ** 2), "Only the last sample", 2),
    ("11.4", weighed(lambda z: -0.5 * z[:, 0] ** 2), "Only the first sample", 2),
    ("11.4", weighed(lambda z: -(z**2).sum(1)), "The half in front of the square", 2),
    ("11.4", weighed(sd=lambda w, v, m: w @ v**2 - m**2), "the variance; asked for", 3),
    ("11.4", weighed(sd=lambda w, v, m: v.std()), "that of the population, without weights", 3),
    ("11.4", weighed(sd=lambda w, v, m: np.sqrt(w @ v**2)), "it is not taken off", 3),
    ("11.5", ahead(end=lambda w, v: np.sqrt(variances(w, v).mean())), "the root of the mean variance", 3),
    ("11.5", ahead(end=lambda w, v: variances(w, v).mean()), "These are variances", 3),
    ("11.5", ahead(end=lambda w, v: (w @ v).std()), "the posterior *means* would differ", 2),
    ("11.5", ahead(end=lambda w, v: v.std()), "the SD without a sample", 1),
    ("11.5", ahead(lambda c, s, e: c[: e.size]), "without an error of measurement", 1),
    ("11.5", ahead(lambda c, s, e: c.mean() + s * e), "simulated from one curve", 1),
    (
        "11.5",
        ahead(axis=0, end=lambda w, v: np.sqrt((w * (v - (w @ v)[:, None]) ** 2).sum(1)).mean()),
        "over the draws",
        2,
    ),
    ("11.5", ahead(lambda c, s, e: np.mean(c[: e.size] + s * e)), "The outcomes are averaged first", 2),
    ("11.7", [elbow(end=lambda r: np.log(r) / 2), ...], "Some are negative", 2),
    ("11.7", [elbow(lambda b, t, beta: beta * t / 2), ...], "The batch is missing", 1),
    ("11.7", [elbow(lambda b, t, beta: beta * b / 2), ...], "The times are missing", 1),
    ("11.7", [elbow(lambda b, t, beta: beta * b * t), ...], "*twice* its variance", 2),
    ("11.7", [elbow(lambda b, t, beta: b * t / 2), ...], "beta is missing", 1),
    ("11.7", [elbow(lambda b, t, beta: (beta * b * t / 2) ** 2), ...], "squared once too often", 2),
    ("11.7", [elbow(lambda b, t, beta: beta * t / 2 / b), ...], "Turned round", 1),
    ("11.7", [elbow(end=lambda r: np.maximum(0, np.log(r))), ...], "The half in front of the logarithm", 3),
    ("11.7", [elbow(end=lambda r: np.maximum(0, np.log2(r) / 2)), ...], "These are bits", 3),
    ("11.7", [elbow(end=lambda r: np.log(1 + r) / 2), ...], "nothing would ever sleep", 2),
    ("11.7", [elbow(), 17.2 / 1.2], "There is no such batch", 3),
    ("11.7", [elbow(), 15], "everything sleeps already", 3),
    ("11.7", [elbow(), 7], "A factor of two is missing", 2),
    ("11.7", [elbow(), 0], "where the *last* direction", 3),
    ("11.7", [elbow(), 3], "where the second direction", 3),
    ("11.7", [elbow(), 18], "one by one", 3),
]
RIGHT = [
    ("11.1", shares()),
    ("11.1", lambda c, d, lo, hi: [(c > d / lo).mean(), ((c <= d / lo) & (c >= d / hi)).mean(), (c < d / hi).mean()]),
    ("11.2", [loss(), BEST]),
    (
        "11.2",
        (
            lambda c, doses, lo, hi, over, under: np.mean(
                np.where(doses / c[:, None] > hi, over, np.where(doses / c[:, None] < lo, under, 0.0)), axis=0
            ),
            np.float64(BEST),
        ),
    ),
    ("11.3", [hit(), closed()]),
    (
        "11.3",
        [
            lambda s, lo, hi: 2 * norm.cdf(np.log(hi / lo) / 2 / s) - 1,
            lambda mu, s, lo, hi, over, under: (
                np.sqrt(lo * hi) * np.exp(mu) * (under / over) ** (s**2 / np.log(hi / lo))
            ),
        ],
    ),
    ("11.4", weighed()),
    ("11.4", weighed(lambda z: norm.logpdf(z).sum(1), sd=lambda w, v, m: np.sqrt(w @ v**2 - m**2))),
    ("11.5", ahead()),
    ("11.5", ahead(end=lambda w, v: np.sqrt(variances(w, v)).mean())),
    ("11.7", [elbow(), 14]),
    ("11.7", [elbow(end=lambda r: np.log(np.maximum(r, 1)) / 2), np.int64(14)]),
]
DOTS = {
    "11.2": [lambda *given: ..., ...],
    "11.3": [lambda *given: ...] * 2,
    "11.6": [..., ...],
    "11.7": [lambda *given: ..., ...],
}
TABLE = Table(exercises=EXERCISES, planted=PLANTED, right=RIGHT, dots=DOTS, elsewhere=("11.6",), apart=True)


def test_every_mistake_of_11_is_planted():
    for number, exercise in EXERCISES.items():
        planted = [reason for n, _, reason, _ in PLANTED if n == number]
        parts = getattr(exercise, "parts", (exercise,))
        for mistake in (m for part in parts for m in getattr(part, "mistakes", ())):
            assert any(reason in mistake.reason for reason in planted), mistake.reason


# ------------------------------------------------------------------------------------ the truths, from outside


def test_the_closed_dose_is_that_of_a_search():
    m, s, low, high, over, under = 0.9, 0.27, 20.0, 33.0, 4.0, 0.7

    def expected(log_dose):
        u = log_dose - m
        return over * norm.sf((np.log(high) - u) / s) + under * norm.cdf((np.log(low) - u) / s)

    found = minimize_scalar(expected, bounds=(2.5, 5.0), method="bounded", options={"xatol": 1e-10})
    assert closed_dose_11.least_loss_dose(m, s, low, high, over, under) == pytest.approx(np.exp(found.x), rel=1e-6)
    draws = np.exp(norm.ppf((np.arange(20_000) + 0.5) / 20_000, m, s))
    doses = np.exp(found.x) * np.array([0.95, 1.0, 1.05])
    by_draws = risks_11.expected_loss(draws, doses, low, high, over, under)
    np.testing.assert_allclose(by_draws, [expected(np.log(dose)) for dose in doses], atol=1e-3)
    assert closed_dose_11.chance(0.3, 80.0, 125.0) == pytest.approx(0.543, abs=5e-4)  # in print


def test_the_next_sample_of_a_linear_model_is_known():
    """x = a value, value ~ N(0, 1): after y = x + e the SD is 1 / sqrt(1 + a^2 / sigma^2), whatever y is."""
    value = norm.ppf((np.arange(4000) + 0.5) / 4000)
    np.random.default_rng(2).shuffle(value)
    found = sample_11.expected_sd(2.0 * value, 1.0, value, np.random.default_rng(1).standard_normal(200))
    assert found == pytest.approx(1 / np.sqrt(5.0), rel=0.02)


def test_the_threshold_is_that_in_print():
    """Nothing is told above a batch of 14.3, for the largest eigenvalue 17.2, 24 times and beta 0.1."""
    told = [batch_11.nats(batch_11.EIGENVALUES, batch, 24, 0.1)[0] for batch in (2, 8, 12, 16)]
    assert told == pytest.approx([0.98, 0.29, 0.09, 0.0], abs=0.006)


# ------------------------------------------------------------------------------------ 11.6: Bea

GOAL = {"time": np.linspace(0, 72, 145), "target": trials.WINDOW}
CEILING = [mf.dosing.Ceiling("cmax", above=trials.PEAK, probability=trials.PROBABILITY)]


@pytest.fixture(scope="module", name="bea")
def known():
    return who()


def who(rows=None, draws=1000, model=None):
    people = mf.Population.from_frame(trials.rows() if rows is None else rows, drop_unobserved=None)
    return mf.individual(model or one_person.truth(), people, draws=draws, key=jax.random.key(1))


def find(people, between=(20, 200), step=10, **goal):
    wanted = mf.dosing.Goal(**GOAL | {"ceilings": CEILING} | goal)
    return mf.dosing.find(people, mf.regimen, between, wanted, step=step)


def test_bea_is_judged_by_quadrature(bea):
    verdict = check("11.6", [bea, find(bea)])
    assert verdict, verdict.text
    assert check("11.6", [bea, ...]).state == "open"
    again = who(draws=2000)
    assert check("11.6", [again, find(again)])
    below, above, peak = models_11.shares(110.0)
    (row,) = find(bea, between=(109.9, 110.1), step=None).table.to_dict("records")
    assert (below, above) == pytest.approx((row["below"], row["above"]), abs=0.05)
    assert peak == pytest.approx(row[str(CEILING[0])], abs=0.025)


def other_rows(**changed):
    return trials.rows().assign(**changed)


@pytest.mark.parametrize(
    ("answer", "part", "hint"),
    [
        (lambda: mf.Population.from_frame(trials.rows()), "the patient as read", 2),
        (lambda: trials.rows(), "what mf.individual returns", 1),
        (lambda: who(pd.concat([trials.rows(), other_rows(ID="Ann")])), "and these are 2", 1),
        (lambda: who(other_rows(DV=np.nan)), "Her sample is not in it", 1),
        (lambda: who(other_rows(AMT=[50.0, 0.0])), "She got 100 mg once", 1),
        (lambda: who(other_rows(DV=[np.nan, 0.5])), "another patient", 1),
        (lambda: who(model=one_person.Oral(omega=np.eye(3), sigma=0.2)), "Another model", 2),
        (lambda: who(draws=50), "50 draws make rough tables", 2),
    ],
)
def test_who_bea_is(answer, part, hint):
    with pytest.raises(Wrong, match=part) as wrong:
        models_11.judge_who(answer())
    assert wrong.value.hint == hint


@pytest.mark.parametrize(
    ("goal", "part", "hint"),
    [
        ({"target": (80, 125)}, "The target is another", 1),
        ({"quantity": "cmax"}, "The quantity is cmax", 1),
        ({"time": np.linspace(0, 24, 97)}, "from 0 to 72 h", 2),
        ({"time": np.linspace(0, 72, 10)}, "too far apart", 2),
        ({"loss": mf.dosing.Window(over=1, under=1)}, "five times as bad", 2),
        ({"ceilings": ()}, "The ceiling is missing", 2),
        ({"ceilings": [mf.dosing.Ceiling("cmax", above=trials.PEAK, probability=0.2)]}, "another probability", 2),
        ({"between": (110, 200), "step": 7}, "tablets come in steps of 10", 2),
        ({"between": (20, 60)}, "not the dose of least expected loss", 3),
        ({"between": (150, 200)}, "No dose that you allowed", 3),
    ],
)
def test_what_bea_gets(bea, goal, part, hint):
    with pytest.raises(Wrong, match=part) as wrong:
        models_11.judge_choice(find(bea, **goal))
    assert wrong.value.hint == hint
