"""The checks of lesson 02: conditional, joint and marginal by hand, and where joint estimates go wrong.

02.1 and 02.2 are in `likelihoods_by_hand.py`. 02.3 to 02.5 are about many groups y_ij = eta_i + e_ij of n measurements,
eta_i ~ N(0, omega0^2), e_ij ~ N(0, sigma^2). The variance of a group's mean is T = omega0^2 + a, with a = sigma^2 / n;
per group, and without what does not depend on omega, the centred joint log density at its best eta_i is

    J(omega) = -T / (2 (omega^2 + a)) - log omega,      dJ/domega = 0  where  (w + a)^2 = w T,  w = omega^2.

02.6 is about Eight Schools.
"""

import itertools
from typing import Any

import numpy as np

import mefit as mf
from workshop.checks.engine import Exercise, Function, Judged, Mistake, Parts, Value, Wrong

from .likelihoods_by_hand import BY_HAND, LIBRARY

# ------------------------------------------------------------------ 02.3 Neyman and Scott


def bias_mle(n, sigma):
    return -(sigma**2) / n


def limit_map(n, omega, sigma, steps=500):
    """The fixed point of s = mean squared residual from B(s) times the group's mean, started at the truth."""
    s = sigma**2
    for _ in range(steps):
        s = _residual(n, omega, sigma, 1 - _kept(n, omega, s))
    return s


def _kept(n, omega, s):
    return omega**2 / (omega**2 + s / n)


def _residual(n, omega, sigma, lost):
    return (1 - 1 / n) * sigma**2 + lost**2 * (omega**2 + sigma**2 / n)


def _iterate(step):
    """The fixed point of a wrong equation, s = step(n, omega, sigma, s)."""

    def solve(n, omega, sigma):
        s = sigma**2
        for _ in range(500):
            s = step(n, omega, sigma, s)
        return s

    return solve


_NEYMAN_SCOTT = Parts(
    "How wrong is a joint variance?",
    [
        Function(
            "bias_mle",
            truth=bias_mle,
            inputs=lambda rng: (int(rng.integers(2, 12)), rng.uniform(1.3, 3)),
            mistakes=[
                Mistake(
                    lambda n, s: (1 - 1 / n) * s**2,
                    "This is what the estimate tends to. Its bias is that minus the truth.",
                ),
                Mistake(
                    lambda n, s: -(s**2) / (n - 1),
                    "n - 1 is what the sum of squares has left; joint likelihood divides that sum by n.",
                    2,
                ),
                Mistake(
                    lambda n, s: s * (np.sqrt(1 - 1 / n) - 1),
                    "This is the bias of the SD; the question asks for that of the variance.",
                ),
                Mistake(
                    lambda n, s: -s / n,
                    "sigma is an SD: what is divided among the measurements is its square.",
                ),
                Mistake(
                    lambda n, s: -1 / n,
                    "This is the bias as a share of sigma squared; the bias itself is asked for.",
                ),
                Mistake(
                    lambda n, s: 0.0,
                    "That would be the marginal estimate. Joint likelihood also fits one mean in every group.",
                ),
                Mistake(
                    lambda n, s: -(1 - 1 / n) * s**2,
                    "This is minus the limit itself; the bias is the limit minus the truth.",
                ),
                Mistake(
                    lambda n, s: -(s**2) / n**2, "One mean in each group takes one part in n, not in n squared.", 2
                ),
                Mistake(
                    lambda n, s: s**2 / (n - 1), "Which is larger, the truth or its estimate? And what divides?", 1
                ),
                Mistake(lambda n, s: 1 - 1 / n, "This is the limit as a share of the truth, not yet a bias.", 1),
                Mistake(
                    lambda n, s: (1 - 1 / n) * s**2 - s,
                    "The truth to take off is the variance; sigma is an SD.",
                    1,
                ),
                Mistake(
                    lambda n, s: -(s**2) / 2,
                    "That holds for pairs; how does it go on with n?",
                    2,
                ),
            ],
        ),
        Function(
            "limit_map",
            truth=limit_map,
            inputs=lambda rng: (int(rng.integers(2, 8)), rng.uniform(0.4, 0.8), rng.uniform(1.2, 1.8)),
            rtol=1e-3,
            mistakes=[
                Mistake(
                    lambda n, o, s: (1 - 1 / n) * s**2,
                    "This is joint maximum likelihood. The prior pulls each eta towards 0, away from the group's mean, "
                    "which adds to the residuals.",
                    2,
                ),
                Mistake(
                    lambda n, o, s: s**2,
                    "That is the truth; joint MAP misses it even when omega is known. (In it, 1 - B is squared.)",
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: _residual(n, o, s, 1 - o**2 / (o**2 + v))),
                    "In B the estimate s is divided by n: a group's mean is surer than one measurement.",
                    3,
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: _residual(n, o, s, 1 - _kept(n, o, v**2))),
                    "s is a variance already: do not square it in B.",
                    3,
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: _residual(n, o, s, 1 - o / (o + v / n))),
                    "B weighs variances: omega comes in squared.",
                    3,
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: (1 - 1 / n) * s**2 + (1 - _kept(n, o, v)) ** 2 * (o**2 + v / n)),
                    "The groups' means vary by the true variance over n. Only B has the estimate s in it.",
                    3,
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: (1 - 1 / n) * s**2 + (1 - _kept(n, o, v)) ** 2 * (o**2 + s**2)),
                    "The sampling variance of a group's mean is sigma^2 divided by n.",
                    3,
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: (1 - 1 / n) * s**2 + (1 - _kept(n, o, v) ** 2) * (o**2 + s**2 / n)),
                    "B is taken from 1 first, then squared: mind the brackets.",
                    3,
                ),
                Mistake(
                    lambda n, o, s: limit_map(n, o, s) - s**2,
                    "This is the bias; here the limit itself is asked for.",
                ),
                Mistake(
                    lambda n, o, s: _residual(n, o, s, 1 - _kept(n, o, s**2)),
                    "The pull has been computed with the true sigma. Joint MAP has only its own estimate s: put s "
                    "into B, and repeat until s stays put.",
                    3,
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: _residual(n, o, s, _kept(n, o, v))),
                    "B is the share of a group's mean that is kept; the residual has what is lost, 1 - B.",
                    2,
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: (1 - _kept(n, o, v)) ** 2 * (o**2 + s**2 / n)),
                    "The spread of the measurements around their own group's mean is missing.",
                    2,
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: (1 - 1 / n) * s**2 + (1 - _kept(n, o, v)) ** 2 * o**2),
                    "A group's mean varies by more than omega: it has sampling error too.",
                    3,
                ),
                Mistake(
                    _iterate(lambda n, o, s, v: s**2 + (1 - _kept(n, o, v)) ** 2 * (o**2 + s**2 / n)),
                    "Around its own group's mean a measurement varies by less than sigma squared.",
                    2,
                ),
                Mistake(
                    lambda n, o, s: np.sqrt(limit_map(n, o, s)),
                    "This is the SD; the question asks for the variance.",
                ),
            ],
        ),
    ],
    praise="For pairs it is one half, and 0.575 with omega known and both SDs 1. No number of groups changes that.",
)

# ------------------------------------------------------------------ 02.4 and 02.5 the centred joint mode

_THRESHOLD = Function(
    "When is there a joint mode at all?",
    truth=lambda n, sigma: np.sqrt(3 / n) * sigma,
    inputs=lambda rng: (int(rng.integers(2, 12)), rng.uniform(1.3, 3)),
    rtol=1e-3,
    mistakes=[
        Mistake(
            lambda n, s: np.sqrt(5 / n) * s,
            "The sampling variance has been added to the means' variance; it is a part of it, so take it off.",
            3,
        ),
        Mistake(
            lambda n, s: np.sqrt(2 / n) * s,
            "The discriminant is that of (w + a)^2 = w T: the middle term has T - 2a in it, squared.",
            3,
        ),
        Mistake(
            lambda n, s: 2 * s / n,
            "Two slips: the SD of a mean has sqrt(n), and the means vary by sampling error as well as by omega0.",
            3,
        ),
        Mistake(lambda n, s: 3 * s / n, "Where a stands, sigma is squared; and then take the root.", 3),
        Mistake(
            lambda n, s: s**2 / n, "This is a, the sampling variance of a mean; how large must T be against it?", 3
        ),
        Mistake(
            lambda n, s: np.sqrt(3 / (n - 1)) * s,
            "A mean of n has the sampling variance sigma^2 / n, with n, not n - 1.",
        ),
        Mistake(
            lambda n, s: 2 * s / np.sqrt(n),
            "This is the smallest SD of the groups' means. They vary by sampling error as well as by omega0: take that "
            "part off their variance.",
            3,
        ),
        Mistake(lambda n, s: 3 * s**2 / n, "This is the variance; omega0 is an SD.", 1),
        Mistake(
            lambda n, s: 4 * s**2 / n,
            "This is the variance of the groups' means; omega0 is a part of it, and an SD.",
            3,
        ),
        Mistake(
            lambda n, s: 0.0,
            "That is true of the marginal likelihood: its maximum is inside for every omega0 > 0. The joint density "
            "asks for more.",
            1,
        ),
        Mistake(
            lambda n, s: s / np.sqrt(n),
            "There omega0 equals the sampling error of a mean, B = 1/2. The mode needs more than that.",
            2,
        ),
        Mistake(
            lambda n, s: 0.75,
            "This is a value of B. The question asks for an SD, which must scale with sigma.",
            3,
        ),
        Mistake(lambda n, s: 3.0, "This is a value of the ratio n omega0^2 / sigma^2: solve it for omega0.", 3),
        Mistake(
            lambda n, s: np.sqrt(3) * s, "n is missing: more measurements in a group make a mode easier to have.", 2
        ),
        Mistake(
            lambda n, s: np.sqrt(3 * n) * s, "n is on the wrong side: more measurements make a mode easier to have.", 2
        ),
        Mistake(
            lambda n, s: np.sqrt(3) * s / n,
            "The square root has left out n: the sampling variance of a mean is sigma^2 / n, so its SD has sqrt(n).",
            2,
        ),
        Mistake(lambda n, s: 3 * s / np.sqrt(n), "The square root has been taken of a part only.", 3),
        Mistake(
            lambda n, s: np.sqrt(3 / n), "sigma is missing: where the data are noisier, more is asked of omega0.", 2
        ),
        Mistake(lambda n, s: np.sqrt(3 * s / n), "sigma is an SD: the sampling error of a mean is sigma / sqrt(n).", 1),
    ],
    praise="n omega0^2 / sigma^2 must be at least 3: a group's data must be worth three times the prior (B = 0.75).",
)


def profile(omega, a, omega0):
    return -0.5 * (omega0**2 + a) / (omega**2 + a) - np.log(omega)


def _stationary(a, total, sign):
    """The roots w = omega^2 of (w + a)^2 = w T: the mode (+1) and the valley below it (-1), or NaN."""
    inside = total * (total - 4 * a)
    return (total - 2 * a + sign * np.sqrt(inside)) / 2 if inside >= 0 else np.nan


def local_mode(a, omega0):
    return float(np.sqrt(_stationary(a, omega0**2 + a, 1)))


def _or_else(found, otherwise):
    """`found` where there is a mode, `otherwise` where there is none."""

    def answer(a, omega0):
        return (otherwise if np.isnan(local_mode(a, omega0)) else found)(a, omega0)

    return answer


def _highest(a, omega0):
    grid = omega0 * np.geomspace(0.05, 3, 4001)
    return grid[np.argmax(profile(grid, a, omega0))]


# a / omega0^2, in turn, so that every check sees a mode that is the highest point of the search, none, one that is not
_TURNS = itertools.cycle(((0.08, 0.15), (0.4, 1.5), (0.2, 0.28), (0.4, 1.5)))


def _mode_or_none(rng: np.random.Generator) -> tuple[float, float]:
    omega0 = rng.uniform(1.3, 2.5)
    return rng.uniform(*next(_TURNS)) * omega0**2, omega0


_NONE = "Where a mode exists this is right, but it returns {} where none does: NaN is asked for there."
_MODES = Parts(
    "The joint mode by computer",
    [
        Function(
            "profile",
            truth=profile,
            inputs=lambda rng: (rng.uniform(0.2, 3, size=6), rng.uniform(0.1, 0.8), rng.uniform(0.5, 0.9)),
            mistakes=[
                Mistake(
                    lambda w, a, o: -0.5 * (o**2 + a) / (w**2 + a) - 0.5 * np.log(w**2 + a),
                    "This is the marginal profile: its normaliser is that of the groups' means. The joint density has "
                    "that of p(eta).",
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (o**2 + a) / (w**2 + a),
                    "The normaliser of p(eta) is missing: this is the non-centred form, which has no mode at all.",
                ),
                Mistake(
                    lambda w, a, o: -0.5 * o**2 / (w**2 + a) - np.log(w),
                    "The groups' means vary by more than omega0: they have sampling error too.",
                    2,
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (o**2 + a) / (w**2 + a) - np.log(w**2),
                    "The normaliser counts twice: a normal density has 1 / omega in front, not 1 / omega squared.",
                    2,
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (o**2 + a) / (w**2 + a) - 0.5 * np.log(w),
                    "omega in the normaliser is used as if it were a variance; it is the SD.",
                    2,
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (o**2 + a) / w**2 + a - np.log(w),
                    "The sum under the fraction has to stand in brackets.",
                    1,
                ),
                Mistake(
                    lambda w, a, o: -(o**2 + a) / 2 * (w**2 + a) - np.log(w),
                    "The fraction multiplies by omega^2 + a in place of dividing: 2 * (...) in brackets.",
                    1,
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (o**2 + a) / w**2 - np.log(w),
                    "Under the fraction a is missing: there stands the variance of a mean by the model, omega^2 + a.",
                    1,
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (w**2 + a) / (o**2 + a) - np.log(w),
                    "omega and omega0 are exchanged: omega0, the truth, makes the data; omega is tried.",
                    1,
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (o**2 + a) / (w**2 + a) - np.log10(w),
                    "The natural logarithm, please: np.log.",
                    1,
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (o**2 + a) / (w + a) - np.log(w),
                    "omega is an SD: under the fraction it is squared.",
                    1,
                ),
                Mistake(
                    lambda w, a, o: 0.5 * (o**2 + a) / (w**2 + a) - np.log(w),
                    "The sign of the fraction is the wrong way round: it comes from the exponent of a density.",
                    1,
                ),
                Mistake(
                    lambda w, a, o: -(o**2 + a) / (w**2 + a) - np.log(w),
                    "The factor 1/2 in front of the square is missing.",
                    2,
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (o + a) / (w + a) - np.log(w),
                    "omega and omega0 are SDs: where they stand beside the variance a, they need their squares.",
                    2,
                ),
                Mistake(
                    lambda w, a, o: -0.5 * (o**2 + a) / (w**2 + a) + np.log(w),
                    "The sign of log omega is the wrong way round: a wide prior is a low one.",
                    2,
                ),
            ],
        ),
        Function(
            "local_mode",
            truth=local_mode,
            inputs=_mode_or_none,
            rtol=5e-3,
            mistakes=[
                Mistake(
                    lambda a, o: _stationary(a, o**2 + a, 1),
                    "This is the variance at the mode; the question asks for the SD omega.",
                ),
                Mistake(
                    lambda a, o: np.sqrt(_stationary(a, o**2 + a, -1)),
                    "This is the valley: the slope is zero there too, but the profile turns from falling to rising.",
                    2,
                ),
                Mistake(
                    lambda a, o: o,
                    "This is where the marginal likelihood has its maximum; the joint mode is lower, if there is one.",
                ),
                Mistake(
                    lambda a, o: 0.0,
                    "Towards 0 the profile climbs without limit: that is no mode. Look for a local top.",
                    2,
                ),
                Mistake(
                    _highest,
                    "This is the highest point of the range that was searched, which can be its edge, where nothing "
                    "turns. A mode is higher than both its neighbours.",
                    2,
                ),
                Mistake(
                    lambda a, o: np.sqrt(_stationary(a, o**2, 1)),
                    "The groups' means vary by more than omega0: they have sampling error too.",
                    1,
                ),
                Mistake(lambda a, o: np.nan, "It says NaN even where there is a mode.", 2),
                Mistake(
                    _or_else(lambda a, o: profile(local_mode(a, o), a, o), lambda a, o: np.nan),
                    "This is how high the profile is at its mode; the omega there is asked for.",
                    3,
                ),
                Mistake(
                    _or_else(lambda a, o: local_mode(a, o) / o, lambda a, o: np.nan),
                    "This is the mode as a share of omega0.",
                    3,
                ),
                Mistake(_or_else(local_mode, lambda a, o: 0.0), _NONE.format("0"), 3),
                Mistake(_or_else(local_mode, lambda a, o: o), _NONE.format("omega0"), 3),
                Mistake(_or_else(local_mode, _highest), _NONE.format("the edge of the range"), 3),
            ],
        ),
    ],
    praise="Where it exists it is too low: at its birth it says sigma / sqrt(n), and omega0 is sqrt(3) times that.",
)

# ------------------------------------------------------------------ 02.6 Eight Schools

_HIGHEST = -29.67424  # the marginal log-likelihood at tau = 0 and the pooled mean
_MARGINAL = (mf.Laplace, mf.AGQ, mf.FO, mf.FOCE, mf.MonteCarlo, mf.ImportanceSampling)


def _eight_schools(answer: Any) -> mf.Fit:
    """The answer, if it is a fit of all eight schools in which mu and tau were free."""
    if not isinstance(answer, mf.Fit):
        kind = type(answer).__name__
        raise Wrong(f"This is a {kind}. Hand in the whole fit, what mf.fit(...) returns: it knows how it was made.", 1)
    schools = mf.datasets.eight_schools().subjects
    y = np.asarray(answer.population.subjects.y)
    if y.shape != schools.y.shape or not np.allclose(y, schools.y):
        raise Wrong("This fit is of other data. Fit all eight schools as they are: data, from the cell at the top.", 1)
    if answer.fixed:
        raise Wrong(f"In this fit {' and '.join(answer.fixed)} was held where it started. Leave everything free.", 2)
    return answer


def _judge_marginal(answer: Any) -> None:
    fit = _eight_schools(answer)
    if isinstance(fit.method, mf.JointMAP):
        raise Wrong("This is a joint fit: the eight etas were maximised. Its tau is where the search was stopped.", 1)
    if isinstance(fit.method, mf.JointMLE):
        raise Wrong("In joint maximum likelihood there is no p(eta), so tau was not estimated at all.", 1)
    if not isinstance(fit.method, _MARGINAL):
        raise Wrong(f"{fit.method.label} does not integrate the etas out: which methods of the table do?", 1)
    if not fit.converged:
        raise Wrong(f"This fit did not end well: {fit.message}.", 2)
    if abs(fit.log_likelihood - _HIGHEST) > (0.05 if fit.method.random else 1e-3):
        raise Wrong("This log-likelihood is not the one of these data's maximum. Is the model the one given?", 2)


def _judge_joint(answer: Any) -> None:
    fit = _eight_schools(answer)
    if isinstance(fit.method, _MARGINAL):
        raise Wrong("Here the etas were integrated out: this is a marginal fit. Were the two exchanged?", 1)
    if not isinstance(fit.method, mf.JointMAP):
        raise Wrong(f"{fit.method.label} leaves p(eta) out. Joint MAP is asked for: p(y | eta) times p(eta).", 1)
    if not fit.method.centred:
        raise Wrong("This is the non-centred form, in z = eta / tau. The centred one is asked for, in eta itself.", 2)
    if not float(getattr(fit.model, "tau", np.inf)) < 0.01:
        raise Wrong("Its tau is not where these data take this fit. Is the model the one given?", 2)


_EXCHANGED = "The two joint forms are exchanged: which of them keeps the normaliser of p(eta), with its tau?"
_SCHOOLS = Parts(
    "Eight Schools: three profiles",
    [
        Judged("by_marginal", _judge_marginal),
        Judged("by_joint", _judge_joint),
        Parts(
            "slopes",
            [
                Value(
                    "centred",
                    truth=[-8.0, -8.0],
                    atol=0.05,
                    mistakes=[
                        Mistake([8, 8], "A slope is for growing tau, also at the left end: does J rise or fall?", 1),
                        Mistake([8, -8], "A slope is for growing tau, also at the left end: does J rise or fall?", 1),
                        Mistake([0, 0], _EXCHANGED, 2),
                        Mistake(
                            [-16, -16], "tau stands there by itself, as an SD: its logarithm comes eight times.", 2
                        ),
                        Mistake([-4, -4], "No one half stands in front of log tau: it is the logarithm of an SD.", 2),
                        Mistake(
                            [-8, -16], "Far out the squares are flat: what is left is the same as at the left end.", 2
                        ),
                        Mistake([-8, 0], "Far out the squares are flat, but the normaliser goes on falling.", 2),
                        Mistake(
                            [-1, -1], "That is for one school, and there are eight etas, each with its normaliser.", 2
                        ),
                        Mistake([0, -8], "This is the marginal profile; the joint one does not level off at 0.", 2),
                    ],
                ),
                Value(
                    "non-centred",
                    truth=[0.0, 0.0],
                    atol=0.05,
                    mistakes=[
                        Mistake([-8, -8], _EXCHANGED, 2),
                        Mistake([8, 8], "8 log tau makes up for the normaliser: add it to the centred slope.", 2),
                        Mistake([0, 8], "It climbs ever more slowly: at both ends it is flat.", 2),
                        Mistake([8, 0], "8 log tau takes the normaliser away at both ends, also at the left.", 2),
                        Mistake([1, 0], "It climbs ever more slowly: at both ends it is flat.", 2),
                        Mistake([0, -8], "8 log tau takes the normaliser away at both ends, also far out.", 2),
                        Mistake([-8, 0], "8 log tau takes the normaliser away at both ends, also at the left.", 2),
                        Mistake([0, 1], "It climbs ever more slowly: at both ends it is flat.", 2),
                    ],
                ),
                Value(
                    "marginal",
                    truth=[0.0, -8.0],
                    atol=0.05,
                    mistakes=[
                        Mistake(
                            [-8, -8], "That is the centred joint one. In s^2 + tau^2 a tiny tau makes no difference.", 3
                        ),
                        Mistake([0, 0], "At the far end log(s^2 + tau^2) goes on growing, for every school.", 3),
                        Mistake([0, -4], "For large tau log(s^2 + tau^2) is log tau^2, and that is 2 log tau.", 3),
                        Mistake([0, 8], "Far out the marginal likelihood falls: too wide a prior is not believed.", 3),
                        Mistake([0, 4], "Far out it falls; and log(s^2 + tau^2) is 2 log tau there.", 3),
                        Mistake([0, -2], "That is for one log(s^2 + tau^2) without its one half; there are eight.", 3),
                        Mistake([8, -8], "In s^2 + tau^2 a tiny tau makes no difference.", 3),
                        Mistake([-4, -8], "In s^2 + tau^2 a tiny tau makes no difference.", 3),
                        Mistake([0, -16], "In front of log(s^2 + tau^2) stands one half.", 3),
                        Mistake([0, -1], "That is for one school, and there are eight.", 3),
                        Mistake([-8, 0], "The ends are exchanged: the first number is for tau to 0.", 3),
                    ],
                ),
            ],
        ),
    ],
    praise="Only the marginal likelihood has a maximum, tau = 0: the centred joint density has no bound, and the "
    "non-centred one climbs towards a limit that it never reaches.",
)

EXERCISES: dict[str, Exercise] = {
    "02.1": BY_HAND,
    "02.2": LIBRARY,
    "02.3": _NEYMAN_SCOTT,
    "02.4": _THRESHOLD,
    "02.5": _MODES,
    "02.6": _SCHOOLS,
}
