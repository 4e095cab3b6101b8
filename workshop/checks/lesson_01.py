"""Exercises of lesson 01, mixed effects: what is right, and what people take for right.

The judges of the two models, 01.3 and 01.4, stand in `models_01`.
"""

import inspect
from collections.abc import Callable
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import mefit as mf
from workshop.checks.engine import Function, Judged, Mistake, Parts, Value, Wrong

from .models_01 import judge_mended, judge_written

# 01.1 Count

_DIAGONAL = [
    Mistake(6, "One too few: is there sigma, how far a measurement lies from its curve? And theta 4, what sex does?"),
    Mistake(5, "How much people differ is estimated too: each random effect brings a variance."),
    Mistake(4, "These are the typical values alone. How much people differ, and the noise, are estimated too."),
    Mistake(8, "One too many: is the exponent of the weight estimated? Is there a covariance in it?", 2),
    Mistake(9, "Two too many: random effects, weight and sex are not parameters."),
    Mistake(10, "Three too many: weight, sex and the exponent are given, not estimated."),
    Mistake(3, "There are more theta than the three typical values; spread and noise are estimated too."),
    Mistake(67, "You counted the random effects of all people. Their distribution is what is estimated."),
]
_FULL = [
    Mistake(9, "A covariance matrix is symmetric: what stands above its diagonal stands below it too.", 2),
    Mistake(7, "So many with a diagonal matrix. A full one has something off its diagonal.", 2),
    Mistake(10, "With two random effects the matrix has two rows and two columns, no more.", 2),
    Mistake(3, "So many has the matrix alone; count everything that is estimated.", 2),
    Mistake(11, "A matrix of two rows holds two variances and a covariance: you added it whole to the first count.", 2),
]
_EFFECTS = [
    Mistake(2, "So many has each person; how many have all thirty together?", 2),
    Mistake(30, "Each person has more than one random effect.", 2),
    Mistake(90, "Of the three numbers of a curve, only two have a random effect in this model.", 2),
    Mistake(120, "Which numbers of a person bear an eta? The theta are the same for everybody.", 2),
    Mistake(62, "How many random effects are there? Their distribution, Omega, is not among them.", 2),
    Mistake(150, "These are the measurements; count the random effects.", 2),
]
_THREE_HUNDRED = [
    Mistake(80, "Ten times the people bring ten times the random effects. What is there once for all?", 3),
    Mistake(608, "You added everybody's random effects: they are averaged over, not estimated.", 3),
    Mistake(600, "These are the random effects; the numbers that a fit estimates are asked for.", 3),
    Mistake(68, "You added random effects: they are averaged over, not estimated.", 3),
    Mistake(7, "With the full covariance matrix, please, as in your second answer.", 3),
]
_COUNT = [
    Value("with_diagonal", 7, _DIAGONAL),
    Value("with_full", 8, _FULL),
    Value("random_effects", 60, _EFFECTS),
    Value("with_300_people", 8, _THREE_HUNDRED),
]

# 01.2 What omega says

_Z = 1.6448536269514722  # the central 90% of a normal distribution, in SDs to either side


def _variance(rng: np.random.Generator) -> tuple:
    return (rng.uniform(0.3, 0.9) ** 2,)


def _clearance(rng: np.random.Generator) -> tuple:
    return (rng.uniform(2.0, 9.0), *_variance(rng))


def _range(z: float, power: float = 0.5) -> Callable[[float, float], np.ndarray]:
    return lambda cl, v: cl * np.exp(np.array([-z, z]) * v**power)


_BOTH = np.array([-_Z, _Z])
_SYMMETRIC = "It reaches as far down as up. What is normal here is the logarithm of the clearance."
_CV = [
    Mistake(lambda v: np.sqrt(v), "This is omega, the SD of eta: near the CV where it is small, and only there."),
    Mistake(lambda v: v, "This is the variance of eta; the CV is an SD, of the clearances, over their mean."),
    Mistake(lambda v: np.sqrt(np.expm1(np.sqrt(v))), "You used the SD of eta where its variance belongs.", 2),
    Mistake(lambda v: np.sqrt(np.expm1(v**2)), "What comes in is a variance already: do not square it.", 2),
    Mistake(lambda v: np.expm1(v), "This is the squared CV, a variance over a squared mean.", 3),
    Mistake(lambda v: np.sqrt(np.exp(v)), "Where nobody differs, v = 0, yours is 1: what is missing?", 3),
    Mistake(lambda v: np.expm1(np.sqrt(v)), "This is how far up one SD of eta takes you, no SD of clearances.", 2),
    Mistake(lambda v: np.exp(v) * np.expm1(v), "This is a variance over a squared median: a root, and the mean.", 3),
    Mistake(
        lambda v: np.sqrt(np.exp(-v) * np.expm1(v)), "The mean holds half of v in its exponent: you took all of it.", 2
    ),
    Mistake(lambda v: np.exp(v / 2) * np.expm1(v), "You divided the variance by the mean; the SD is its root.", 2),
    Mistake(lambda v: np.expm1(v / 2), "The 1 stands under the root: first e^v - 1, then the root.", 3),
    Mistake(lambda v: np.exp((v - 1) / 2), "The 1 is not in the exponent: mind the brackets.", 3),
    Mistake(lambda v: np.sqrt(np.exp(v) * np.expm1(v)), "This is the SD over the median; divide by the mean.", 2),
]
_INTERVAL = [
    Mistake(_range(2.0), "You went two SDs, which holds 95% of people; 90% are asked for.", 3),
    Mistake(_range(_Z, 1.0), "You took the variance for the SD: what comes in is an entry of Omega."),
    Mistake(_range(1.959964), "This range holds 95% of people; 90% are asked for.", 3),
    Mistake(_range(1.281552), "This range leaves 10% out at each end, so it holds 80% of people.", 3),
    Mistake(_range(1.0), "This is one SD of eta down and one up, which holds 68% of people.", 3),
    Mistake(lambda cl, v: cl * (1 + _BOTH * np.sqrt(v)), _SYMMETRIC, 2),
    Mistake(lambda cl, v: cl * (1 + _BOTH * np.sqrt(np.expm1(v))), _SYMMETRIC, 2),
    Mistake(lambda cl, v: cl + _BOTH * np.sqrt(v), _SYMMETRIC, 2),
    Mistake(lambda cl, v: cl + _BOTH * v, _SYMMETRIC, 2),
    Mistake(lambda cl, v: cl * (1 + _BOTH * v), _SYMMETRIC, 2),
    Mistake(lambda cl, v: cl * np.exp(v / 2) * (1 + _BOTH * np.sqrt(np.expm1(v))), _SYMMETRIC, 2),
    Mistake(lambda cl, v: np.exp(_BOTH * np.sqrt(v)), "These are shares of the typical clearance: multiply by it.", 2),
    Mistake(lambda cl, v: _BOTH * np.sqrt(v), "This is the range of eta; carry its ends over to the clearances.", 2),
    Mistake(
        lambda cl, v: cl * np.exp(_BOTH * 0.9 / _Z * np.sqrt(v)), "0.9 is the share of people, not how many SDs.", 3
    ),
    Mistake(lambda cl, v: cl * np.exp(v / 2 + _BOTH * np.sqrt(v)), "You started from the mean, not the median.", 2),
    Mistake(lambda cl, v: cl * np.exp(_BOTH * np.sqrt(np.expm1(v))), "The CV is no SD of eta: use omega.", 2),
    Mistake(_range(-_Z), "The two ends are exchanged: the lower one comes first.", 3),
    Mistake(lambda cl, v: np.log(cl) + _BOTH * np.sqrt(v), "This is the range of log CL: go back to L/h.", 2),
]
_SPREAD = [
    Function("cv", lambda v: np.sqrt(np.expm1(v)), _variance, _CV, rtol=1e-3),
    Function("interval", _range(_Z), _clearance, _INTERVAL, rtol=6e-3, atol=0.02),  # 1.64 will do, near zero too
]

# 01.5 B and shrinkage


def _b(n: float, o: float, s: float) -> float:
    return n * o**2 / (n * o**2 + s**2)


def _design(rng: np.random.Generator) -> tuple:
    return int(rng.integers(3, 9)), rng.uniform(0.2, 0.5), rng.uniform(0.55, 0.95)


def _samples(left: float, o: float, s: float) -> float:
    """The n for which B is `left`."""
    return s**2 / o**2 * left / (1 - left)


_BELOW_A_HALF = cycle((True, False))  # so that rounding to the nearest whole number is wrong in every check


def _wanted(rng: np.random.Generator) -> tuple:
    below = next(_BELOW_A_HALF)
    while True:  # away from whole numbers, where rounding would be a matter of the last digit
        limit, o, s = rng.uniform(0.06, 0.2), rng.uniform(0.2, 0.4), rng.uniform(0.6, 1.2)
        parts = [_samples(left, o, s) % 1 for left in ((1 - limit) ** 2, 1 - limit, limit**2)]
        if all(0.1 < part < 0.9 for part in parts) and (parts[0] < 0.5) == below:
            return limit, o, s


_SDS = "omega and sigma are SDs; what adds up, and what a mean of n measurements divides by n, are variances."
_WEIGHT = [
    Mistake(lambda n, o, s: 1 - _b(n, o, s), "This is the share of the way that she is pulled, 1 - B."),
    Mistake(lambda n, o, s: _b(1, o, s), "It is the same for 1 measurement and for 100.", 2),
    Mistake(lambda n, o, s: n * o / (n * o + s), _SDS, 2),
    Mistake(lambda n, o, s: np.sqrt(n) * o / (np.sqrt(n) * o + s), _SDS, 2),
    Mistake(lambda n, o, s: n * o**2 / (n * o**2 + s), "sigma stands there without its square: it is an SD.", 2),
    Mistake(lambda n, o, s: n * o / (n * o + s**2), "omega stands there without its square: it is an SD.", 2),
    Mistake(
        lambda n, o, s: o**4 + s**2, "The sum has to stand in brackets: without them only the first term divides.", 3
    ),
    Mistake(
        lambda n, o, s: 1 / (n / s**2 + 1 / o**2), "This is the variance of what is left unknown, no share yet.", 3
    ),
    Mistake(lambda n, o, s: _b(n - 1, o, s), "It counts one measurement too few: no mean is estimated here.", 2),
    Mistake(lambda n, o, s: s**2 / (n * o**2), "A share lies between 0 and 1; this is the ratio of two variances.", 3),
    Mistake(lambda n, o, s: _b(1 / n, o, s), "More measurements make it smaller: n is in the wrong place.", 2),
    Mistake(lambda n, o, s: n * o**2 / s**2, "A share lies between 0 and 1; this is the ratio of two precisions.", 3),
    Mistake(lambda n, o, s: _b(n**2, o, s), "The variance of a mean falls with n, not with its square.", 2),
    Mistake(lambda n, o, s: np.sqrt(_b(n, o, s)), "This is the root of B.", 3),
]
_SD_FORM = [
    Mistake(lambda n, o, s: 1 - _b(n, o, s), "This is the variance form; the one with SDs is asked for.", 3),
    Mistake(lambda n, o, s: np.sqrt(_b(n, o, s)), "This is what is left of the spread, not what is lost.", 3),
    Mistake(_b, "This is B itself, but shrinkage is 0 where the data say everything.", 3),
    Mistake(lambda n, o, s: np.sqrt(1 - _b(n, o, s)), "The root of the variance form is not the SD form.", 3),
    Mistake(lambda n, o, s: 1 - _b(n, o, s) ** 2, "B is a ratio of variances: from it to SDs is a root, no square.", 3),
    Mistake(lambda n, o, s: 1 - np.sqrt(_b(1, o, s)), "It is the same for 1 measurement and for 100.", 2),
    Mistake(lambda n, o, s: 1 - np.sqrt(_b(n, o, s)) * o, "Divide the SD by omega before you take it off 1.", 3),
    Mistake(
        lambda n, o, s: 1 - _b(n, o, s) * o, "SD over omega, please; and B squared times the variance of a mean.", 3
    ),
    Mistake(lambda n, o, s: 1 - _b(n, o, s) * np.sqrt(1 + s**2 / o**2), "The noise of a mean is divided by n.", 3),
    Mistake(lambda n, o, s: 1 - np.sqrt(1 + s**2 / n / o**2), "This is the spread of the separate estimates.", 3),
]
_VARIANCE_FORM = "So many keep the variance form below the limit, and fewer do for the one with SDs."
_TOO_EXACT = "Nobody gives a part of a sample: round, and think which way."
_NEEDED = [
    Mistake(lambda x, o, s: _samples((1 - x) ** 2, o, s), _TOO_EXACT, 3),
    Mistake(lambda x, o, s: np.floor(_samples((1 - x) ** 2, o, s)), "With so few it is still above the limit.", 3),
    Mistake(lambda x, o, s: np.ceil(_samples((1 - x) ** 2, o, s)) + 1, "One fewer is enough.", 3),
    Mistake(lambda x, o, s: np.ceil(_samples(1 - x, o, s)), _VARIANCE_FORM, 3),
    Mistake(lambda x, o, s: _samples(1 - x, o, s), _VARIANCE_FORM, 3),
    Mistake(lambda x, o, s: np.floor(_samples(1 - x, o, s)), _VARIANCE_FORM, 3),
    Mistake(lambda x, o, s: np.round(_samples((1 - x) ** 2, o, s)), "Rounded to the nearest, it may be too few.", 3),
    Mistake(
        lambda x, o, s: np.ceil(_samples(x, o, s)), "You set B to the limit: it is what stays, and under a root.", 3
    ),
    Mistake(lambda x, o, s: np.ceil(_samples(np.sqrt(1 - x), o, s)), "From the root to B is a square, not a root.", 3),
    Mistake(lambda x, o, s: np.ceil(s / o * (1 - x) ** 2 / (1 - (1 - x) ** 2)), _SDS, 3),
    Mistake(lambda x, o, s: np.ceil(_samples(x**2, o, s)), "You set sqrt(B) to the limit: it is 1 - sqrt(B).", 3),
]
_SHRINKAGE = [
    Function("weight", _b, _design, _WEIGHT),
    Function("shrinkage", lambda n, o, s: 1 - np.sqrt(_b(n, o, s)), _design, _SD_FORM),
    Function("samples_needed", lambda x, o, s: np.ceil(_samples((1 - x) ** 2, o, s)), _wanted, _NEEDED),
]

# 01.6 A fit. Sleepstudy: -2LL with a full omega, and with a diagonal one, by any method that integrates.

MINUS_TWO_LL_FULL, MINUS_TWO_LL_DIAGONAL = 1751.9393, 1752.0033
_JOINT = "This fit maximises over the random effects; in a mixed fit they are averaged over."
_METHODS: dict[type, str] = {
    mf.NaivePooled: "This fit pools: with everybody typical, nothing can tell it about omega.",
    mf.TwoStage: "These are separate fits and their summary: its spread holds the error of each estimate as well.",
    mf.JointMLE: _JOINT,
    mf.JointMAP: _JOINT,
}


def _judge_fit(fit: Any) -> None:
    if isinstance(fit, mf.Model) or inspect.isclass(fit):
        raise Wrong("It is a model; what comes out of `mf.fit` is asked for.", 2)
    if not isinstance(fit, mf.Fit):
        raise Wrong(f"It is a {type(fit).__name__}; it should be what comes out of `mf.fit`.", 2)
    given, data = fit.population.subjects.y, mf.datasets.sleepstudy().subjects.y
    if given.shape != data.shape or not np.allclose(given, data):
        raise Wrong("It was made with other data: take `sleep`, all eighteen people.", 2)
    if type(fit.method) in _METHODS:
        raise Wrong(_METHODS[type(fit.method)], 2)
    if fit.fixed:
        raise Wrong(f"{', '.join(fit.fixed)} held fixed: let the fit estimate everything.", 2)
    omega = np.asarray(getattr(fit.model, "omega", 0.0))
    if omega.shape != (2, 2):
        raise Wrong("The model has no `omega` of shape (2, 2): change its declaration only.")
    if omega[0, 1] == 0.0:
        raise Wrong("Its omega is diagonal: declared so, its covariance stays 0 whatever the data say.")
    if fit.n_parameters != 6:
        raise Wrong(f"It estimates {fit.n_parameters} numbers, where this model has 2 + 3 + 1: change omega only.")
    excess = fit.minus_two_log_likelihood - MINUS_TWO_LL_FULL
    if excess > 0.01 and not fit.converged:
        raise Wrong(f"It has not arrived. Its message: {fit.message}. Fit on from `fit.model`.", 2)
    if abs(excess) > 0.01:
        raise Wrong("Its likelihood is not that of this model at its maximum: change nothing but omega.")


def _judge_readings(answer: Any) -> None:
    parts: list[Any] = [Judged("fit", _judge_fit), Value("correlation", 0.0), Value("aic_change", 0.0)]
    if isinstance(answer, list | tuple) and len(answer) == 3 and answer[0] is not ...:
        parts[0].judge(answer[0])
        parts[1:] = _readings(answer[0])
    Parts("", parts).judge(answer)


def _readings(fit: mf.Fit) -> list[Value]:
    """What is read off the learner's own fit, once it is right."""
    (a, c), (_, b) = omega = np.asarray(fit.model.omega)  # type: ignore[attr-defined]
    two = fit.minus_two_log_likelihood - MINUS_TWO_LL_DIAGONAL
    correlation = [
        Mistake(c, "This is the covariance; a correlation has no unit."),
        Mistake(c / (a * b), "Divide the covariance by SDs, not by variances."),
        Mistake(c / np.sqrt(a), "Divide by both SDs."),
        Mistake(np.linalg.cholesky(omega)[1, 0], "This is an entry of the Cholesky factor."),
        Mistake(np.corrcoef(fit.eta.T)[0, 1], "So are the estimates of the people correlated, which are shrunken."),
        Mistake(0.0, "That it is 0 is what the diagonal fit takes for granted."),
    ]
    change = [
        Mistake(-two - 2, "The sign is the wrong way round: the new fit minus `diagonal`."),
        Mistake(two, "This is the change of -2LL: AIC adds a price for each parameter."),
        Mistake(-two, "This is by how much -2LL fell: AIC adds a price for each parameter."),
        Mistake(-two / 2, "This is the change of the log-likelihood: AIC takes it times -2, and adds a price."),
        Mistake(two + 1, "A parameter costs more than 1 in AIC."),
        Mistake(two + 4, "A covariance stands twice in the matrix, but it is one parameter."),
        Mistake(two + np.log(180), "This is the change of BIC, which asks a higher price for a parameter."),
        Mistake(fit.aic, "This is the AIC of the new fit; its change against `diagonal` is asked for."),
    ]
    hinted = [[Mistake(m.answer, m.reason, 3) for m in table] for table in (correlation, change)]
    return [
        Value("correlation", c / np.sqrt(a * b), hinted[0], rtol=0.02),
        Value("aic_change", two + 2, hinted[1], rtol=0.02),
    ]


# 01.7 Virtual people


class _Three(mf.Model):
    """The model of the lesson."""

    ka: Any = mf.positive()
    cl: Any = mf.positive()
    v: Any = mf.positive()
    omega: Any = mf.diagonal_covariance()
    sigma: Any = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(3), self.omega)

    def observations(self, eta, subject):
        ka, cl, v = jnp.array([self.ka, self.cl, self.v]) * jnp.exp(eta)
        return dist.Normal(mf.pk.oral_one_compartment(subject, ka=ka, cl=cl, v=v), self.sigma)


def _peaks(model: Any, person: Any, power: float = 0.5) -> np.ndarray:
    """The highest concentrations of 20,000 people by their closed form; omega to the `power` is the SD of eta."""
    sd = np.diagonal(model.omega) ** power
    eta = sd * np.random.default_rng(1).normal(size=(20_000, 3))
    ka, cl, v = (np.array([model.ka, model.cl, model.v]) * np.exp(eta)).T
    peak_time = np.log(ka * v / cl) / (ka - cl / v)
    return float(person[0].doses.amount[0]) / v * np.exp(-cl / v * peak_time)


_QUANTILES = cycle((0.8, 0.6, 0.4, 0.2))  # limits on both sides of the middle tell the mistakes apart


def _crowd(rng: np.random.Generator) -> tuple:
    omega = np.diag([0.4, rng.uniform(0.04, 0.1), rng.uniform(0.06, 0.1)])
    theta = {"ka": rng.uniform(1.2, 2), "cl": 0.04, "v": rng.uniform(0.4, 0.5), "sigma": rng.uniform(1.4, 1.8)}
    model, person = _Three(omega=omega, **theta), mf.datasets.theophylline()[[int(rng.integers(12))]]
    limit = float(np.quantile(_peaks(model, person), next(_QUANTILES) + rng.uniform(-0.03, 0.03)))
    return model, person, limit, jax.random.key(int(rng.integers(1_000_000)))


def _share_measured(model: Any, person: Any, limit: float, key: Any) -> Any:
    return jnp.mean(mf.simulate(model, person[[0] * 2000], key).subjects.y.max(axis=1) > limit)


_NOISE = "You took the highest measurement. Noise lifts the highest of many, so this is too large: ask the curves."
_TYPICAL = "All of your people are typical, or alike: give each a random effect, and average after the comparison."
_PEOPLE = [
    Mistake(_share_measured, _NOISE, 2),
    Mistake(lambda m, p, limit, key: np.mean(_peaks(m, p) <= limit), "This is the share of those who stay below.", 3),
    Mistake(lambda m, p, limit, key: np.mean(_peaks(m, p, 1.0) > limit), "The entries of omega are variances.", 1),
    Mistake(lambda m, p, limit, key: np.mean(_peaks(m, p, 0.0) > limit), "Your people differ too much: use omega.", 1),
    Mistake(lambda m, p, limit, key: 1.0 * (_peaks(m, p, 99.0)[0] > limit), _TYPICAL, 1),
]


def _crowd_slips(arguments: list, given: list, wanted: list) -> tuple[str, int] | None:
    """What can be told of a share by its size alone."""
    if all(g in (0.0, 1.0) for g in given):
        return "Each of your shares is 0 or 1: compare every person's peak with the limit, then take the mean.", 3
    if any(g > 1 for g in given):
        return "A share is at most 1: count those above the limit, and divide by how many people there are.", 3
    if all(g < w for g, w in zip(given, wanted, strict=True)):
        return "It is too small every time: take the highest point of each person's curve first, then compare.", 3
    return None


def _share(model: Any, person: Any, limit: float, key: Any) -> Any:
    return np.mean(_peaks(model, person) > limit)


EXERCISES = {
    "01.1": Parts("Count", _COUNT, praise="More people, as many parameters as before: that is why it can work."),
    "01.2": Parts("What omega says", _SPREAD, praise="From Omega to a CV it is two steps: a root, and a logarithm."),
    "01.3": Judged("The model as code", judge_written, praise="Every method of the kit can fit it as it stands."),
    "01.4": Judged("Find the slips", judge_mended, praise="None of the three would ever have raised an error."),
    "01.5": Parts("B and shrinkage", _SHRINKAGE, praise="So a design can be judged before there are data."),
    "01.6": Judged("A full omega", _judge_readings, praise="A larger model is not a better one by itself."),
    "01.7": Function(
        "Virtual people",
        _share,
        _crowd,
        _PEOPLE,
        rtol=0.0,
        otherwise=_crowd_slips,
        atol=0.065,  # more than four standard errors of a share among 1,000
        praise="A dose can be chosen by such a share, and no single curve could have told it.",
    ),
}
