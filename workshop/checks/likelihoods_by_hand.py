"""The checks of exercises 02.1 and 02.2: the conditional, the joint and the marginal log-likelihood of one subject.

First y_j = mu + eta + e_j with the SDs omega (of eta) and sigma (of e), where everything is known in closed form; then
a model of the library that is not linear in eta.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

import mefit as mf
from workshop.checks.engine import Function, Mistake, Parts

_LOG_2PI = np.log(2 * np.pi)


def _log_normal(x, mean, sd):
    """log N(x; mean, sd^2), number by number."""
    return -0.5 * ((x - mean) / sd) ** 2 - np.log(sd) - 0.5 * _LOG_2PI


# ------------------------------------------------------------------ 02.1 one subject, linear and Gaussian


def _squares(y, eta, mu, sigma):
    return 0.5 * np.sum(((y - mu - eta) / sigma) ** 2)


def conditional(y, eta, mu, sigma):
    return _log_normal(y, mu + eta, sigma).sum()


def joint(y, eta, mu, omega, sigma):
    return conditional(y, eta, mu, sigma) + _log_normal(eta, 0, omega)


def marginal(y, mu, omega, sigma):
    """log N(y; mu 1, sigma^2 I + omega^2 1 1'): the density of the mean of y, times that of y given its mean."""
    return _given_mean(y, sigma) + _log_normal(y.mean(), mu, np.sqrt(omega**2 + sigma**2 / y.size))


def _given_mean(y, sigma):
    """log p(y | mean of y); also the logarithm of the integral of p(y | eta) over all eta, without p(eta)."""
    return _log_normal(y, y.mean(), sigma).sum() - _log_normal(0, 0, sigma / np.sqrt(y.size))


def _mode(y, mu, omega, sigma):
    return omega**2 / (omega**2 + sigma**2 / y.size) * (y.mean() - mu)


def _one_subject(*without: str) -> Callable[[np.random.Generator], tuple]:
    """y (n,), eta, mu, omega, sigma. The SDs stay away from 1, where an SD and a variance look the same."""

    def draw(rng: np.random.Generator) -> tuple:
        mu, omega, sigma = rng.uniform(2, 6), rng.uniform(0.5, 0.8), rng.uniform(1.2, 2)
        eta = rng.normal(0, omega)
        y = mu + eta + rng.normal(0, sigma, rng.integers(3, 7))
        values = {"y": y, "eta": eta, "mu": mu, "omega": omega, "sigma": sigma}
        return tuple(value for name, value in values.items() if name not in without)

    return draw


def _area_slips(arguments: list, given: list, wanted: list) -> tuple[str, int]:
    """What is wrong with an area on a grid, whatever the grid: its step, its ends, or logs in place of densities."""
    apart = np.array(given) - np.array(wanted)
    # A grid of so many SDs of eta has a step in proportion to it. The SD is third in 02.1, and in the model in 02.2.
    sd = np.array([float(a[0].omega) if isinstance(a[0], Decline) else a[2] for a in arguments])
    if np.allclose(apart + np.log(sd), apart[0] + np.log(sd[0]), atol=1e-3):
        return "It is a sum or a mean of heights, not yet an area: an area is the sum of heights times the step.", 3
    if np.all(apart < -15):
        return "It is far too small: was the log integrated? The density is what goes under the integral.", 1
    if np.all(apart < 0):
        return "It is too small every time, so part of the area is missing: does the grid reach several SDs of eta?", 3
    return "It is not the area under p(y | eta) p(eta): look at what is summed, over which eta, and with which step.", 3


_CONDITIONAL = [
    Mistake(
        lambda y, e, m, s: -0.5 * np.sum(((y - m - e) / s) ** 2),
        "The normaliser of the normal density is missing: only the squares are left.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) + y.size * np.log(s),
        "The part of the normaliser that holds sigma is missing. It is what keeps sigma from growing.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) + 0.5 * y.size * _LOG_2PI,
        "The 2 pi of the normaliser is missing, once for every measurement.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) + (y.size - 1) * (np.log(s) + 0.5 * _LOG_2PI),
        "The normaliser is there once, but every measurement has a density, and so a normaliser, of its own.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: np.exp(conditional(y, e, m, s)),
        "This is the product of the densities. Its logarithm is asked for: a sum of logs.",
    ),
    Mistake(
        lambda y, e, m, s: np.log(np.exp(_log_normal(y, m + e, s)).sum()),
        "This is the log of a sum of densities. Densities multiply, so it is their logs that are added.",
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) / y.size,
        "This is a mean over the measurements; the log-likelihood is their sum.",
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, np.sqrt(s)),
        "sigma is used as if it were a variance. It is an SD.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s**2),
        "sigma squared is used as if it were the SD. It is the variance.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, 0, m, s),
        "eta is not used: given eta, the subject's mean is not mu alone.",
    ),
    Mistake(lambda y, e, m, s: conditional(y, e, 0, s), "mu is not used: given eta, the mean is mu + eta."),
    Mistake(lambda y, e, m, s: conditional(y, -e, m, s), "eta is taken off mu; the mean is mu + eta."),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) - 0.5 * np.sum(((y - m - e) / s) ** 2),
        "The square is not halved: a normal density has -1/2 in its exponent.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) + _squares(y, e, m, s) - _squares(y, e, m, np.sqrt(s)),
        "Under the square stands sigma; it is squared too.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) + _squares(y, e, m, s) - s**2 * _squares(y, e, m, 1.0),
        "The square is multiplied by sigma squared: put 2 * sigma**2 in brackets.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) + 0.5 * y.size * np.log(s),
        "In the normaliser stands the root of 2 pi sigma squared: half of the logarithm of sigma is missing.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) + 2 * y.size * np.log(s),
        "The sign of log sigma is the wrong way round: a wide density is a low one.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: conditional(y, e, m, s) - 0.5 * y.size * _LOG_2PI,
        "log 2 pi is not halved: in the normaliser stands the root of 2 pi.",
        2,
    ),
    Mistake(
        lambda y, e, m, s: _log_normal(y.mean(), m + e, s),
        "This is the density of the mean of y: every measurement has one of its own, and their logs are added.",
    ),
]
_JOINT = [
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s),
        "This is the conditional one: the joint density is p(y | eta) times p(eta).",
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) - 0.5 * (e / o) ** 2,
        "The normaliser of p(eta) is missing. It holds omega, and this lesson turns on it.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) - 0.5 * (e / o) ** 2 - 0.5 * _LOG_2PI,
        "The normaliser of p(eta) lacks omega, and this lesson turns on it.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) + y.size * _log_normal(e, 0, o),
        "p(eta) is counted once for every measurement. A subject has one eta, so its density comes once.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) + np.exp(_log_normal(e, 0, o)),
        "The density p(eta) itself has been added; add its logarithm.",
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) * _log_normal(e, 0, o),
        "Two logs have been multiplied. Where densities multiply, logs are added.",
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) + _log_normal(e, m, o),
        "eta is drawn around 0, not around mu: mu is in the mean of y already.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) + _log_normal(e, 0, np.sqrt(o)),
        "omega is used as if it were a variance; it is the SD of eta.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) + _log_normal(e, 0, s),
        "The SD of eta is omega; sigma belongs to the measurements.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, o) + _log_normal(e, 0, s),
        "omega and sigma are exchanged: mind the order in which the function gets them.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, o) + _log_normal(e, 0, o),
        "The measurements have the SD sigma; omega is that of eta.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) + _log_normal(e, 0, o**2),
        "omega squared is used as if it were the SD of eta. It is the variance.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) - _log_normal(e, 0, o),
        "The log density of eta is taken off; where densities multiply, logs are added.",
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) + _log_normal(e, 0, o) + 2 * np.log(o),
        "The sign of log omega is the wrong way round: a wide density is a low one.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: conditional(y, e, m, s) + _log_normal(e, 0, o) - 0.5 * (e / o) ** 2,
        "The square of eta is not halved.",
        2,
    ),
    Mistake(
        lambda y, e, m, o, s: _log_normal(e, 0, o),
        "This is log p(eta) alone: p(y | eta) is the other factor.",
    ),
    Mistake(
        lambda y, e, m, o, s: np.logaddexp(conditional(y, e, m, s), _log_normal(e, 0, o)),
        "This is the log of a sum of two densities. They multiply, so their logs are added.",
    ),
]
_MARGINAL = [
    Mistake(
        lambda y, m, o, s: marginal(y, m, s, o),
        "omega and sigma are exchanged: what all of a subject's y share is eta, of variance omega squared.",
        3,
    ),
    Mistake(
        lambda y, m, o, s: _log_normal(y.mean(), m, np.sqrt(o**2 + s**2 / y.size)),
        "This is the density of the mean of y; the density of all of y is asked for.",
        3,
    ),
    Mistake(
        lambda y, m, o, s: _log_normal(y, m, o + s).sum(),
        "SDs do not add up, variances do; and the measurements are not independent: they share one eta.",
        2,
    ),
    Mistake(
        lambda y, m, o, s: _log_normal(y, m, np.sqrt(o**2 + s**2)).sum(),
        "Every measurement has been integrated by itself, as if they were independent. They share one eta: integrate "
        "it out once, for all of them together.",
        2,
    ),
    Mistake(
        lambda y, m, o, s: conditional(y, 0, m, s) - 0.5 * y.size * (o / s) ** 2,
        "This is the mean of the log; the marginal is the log of the mean. Average the likelihood, then take the log.",
    ),
    Mistake(
        lambda y, m, o, s: _given_mean(y, s),
        "It depends neither on mu nor on omega. Either p(eta) is not in the integral, or you integrated over theta "
        "(over mu): only eta goes, weighted by its density.",
        2,
    ),
    Mistake(
        lambda y, m, o, s: joint(y, _mode(y, m, o, s), m, o, s),
        "This is the peak of the joint density over eta; the marginal is the area under it.",
    ),
    Mistake(
        lambda y, m, o, s: conditional(y, _mode(y, m, o, s), m, s),
        "This is the conditional likelihood at the best eta; the marginal averages over all of them.",
    ),
    Mistake(
        lambda y, m, o, s: conditional(y, 0, m, s),
        "This is the likelihood of the typical subject, eta = 0; the marginal averages over all etas.",
    ),
    Mistake(
        lambda y, m, o, s: np.exp(marginal(y, m, o, s)),
        "This is the area itself; the question asks for its logarithm.",
    ),
    Mistake(
        lambda y, m, o, s: marginal(y, m, np.sqrt(o), np.sqrt(s)),
        "omega and sigma are used as if they were variances; they are SDs.",
        2,
    ),
    Mistake(
        lambda y, m, o, s: marginal(y, m, o / np.sqrt(2), s) - 0.5 * np.log(4 * np.pi * o**2),
        "p(eta) is in the integral twice: the joint density has it already.",
        3,
    ),
]
BY_HAND = Parts(
    "Three log-likelihoods by hand",
    [
        Function("log_conditional", truth=conditional, inputs=_one_subject("omega"), mistakes=_CONDITIONAL),
        Function("log_joint", truth=joint, inputs=_one_subject(), mistakes=_JOINT),
        Function(
            "log_marginal",
            truth=marginal,
            inputs=_one_subject("eta"),
            mistakes=_MARGINAL,
            rtol=1e-4,
            otherwise=_area_slips,
        ),
    ],
    praise="The three differ only in what happens to eta: it is given, weighted, or integrated out.",
)


# ------------------------------------------------------------------ 02.2 a model that is not linear


class Decline(mf.Model):
    """The model of the exercise: concentration after an intravenous dose, clearances that differ between patients."""

    cl: Array = mf.positive(unit="L/h")
    v: Array = mf.positive(unit="L")
    omega: Array = mf.positive()
    sigma: Array = mf.positive(unit="mg/L")

    def random_effects(self):
        return dist.Normal(0.0, self.omega)

    def observations(self, eta, subject):
        curve = mf.pk.iv_bolus_one_compartment(subject, cl=self.cl * jnp.exp(eta), v=self.v)
        return dist.Normal(curve, self.sigma)


def _rows(model, eta, subject):
    """log p(y_j | eta) of every row, seen or not, for one eta or g of them: (g, n)."""
    cl, v, sigma, time, y = (np.asarray(x) for x in (model.cl, model.v, model.sigma, subject.time, subject.y))
    curve = np.sum(subject.doses.amount) / v * np.exp(-cl / v * np.exp(np.asarray(eta).reshape(-1, 1)) * time)
    return _log_normal(y, np.asarray(curve), sigma)


def _conditional(model, eta, subject):
    return np.sum(_rows(model, eta, subject) * np.asarray(subject.mask), axis=1)


def _prior(model, eta):
    return _log_normal(np.asarray(eta), 0, float(model.omega))


def _over_eta(integrand):
    """A function (model, subject) from an integrand (model, eta, subject): its integral over eta."""

    def integrate(model, subject):
        eta = np.linspace(-10, 10, 4001) * float(model.omega)
        return np.trapezoid(integrand(model, eta, subject), eta)

    return integrate


_AREA = _over_eta(lambda m, e, x: np.exp(_conditional(m, e, x) + _prior(m, e)))
_FLAT = _over_eta(lambda m, e, x: np.exp(_conditional(m, e, x)))
_TWICE = _over_eta(lambda m, e, x: np.exp(_conditional(m, e, x) + 2 * _prior(m, e)))
_ALL_ROWS = _over_eta(lambda m, e, x: np.exp(_rows(m, e, x).sum(1) + _prior(m, e)))
_MEAN_OF_LOG = _over_eta(lambda m, e, x: _conditional(m, e, x) * np.exp(_prior(m, e)))


def _peak(model, subject):
    eta = np.linspace(-5, 5, 20001) * float(model.omega)
    return np.max(_conditional(model, eta, subject) + _prior(model, eta))


def _patient(rng: np.random.Generator) -> tuple[Decline, Array, mf.Subject]:
    """A model, an eta and a subject with five times (h), at one of which no response was seen."""
    omega: Any = rng.uniform(0.2, 0.4)
    values: dict[str, Any] = {"cl": rng.uniform(3, 6), "v": rng.uniform(20, 30), "sigma": rng.uniform(0.15, 0.25)}
    model = Decline(omega=omega, **values)
    time = np.array([1.0, *np.sort(rng.choice(np.arange(2, 13.0), 4, replace=False))])
    eta, seen = rng.normal(0, omega), np.full(5, True)
    mean = 100 / float(model.v) * np.exp(-float(model.cl / model.v) * np.exp(eta) * time)
    y = mean + float(model.sigma) * rng.normal(size=5)
    seen[rng.integers(1, 5)] = False
    subject = mf.Subject(jnp.asarray(time), jnp.where(seen, y, 0.0), jnp.asarray(seen), {}, mf.Doses.of(100.0))
    return model, jnp.asarray(rng.normal(0, omega)), subject


_MASKED = "A row where no response was seen has been counted, as if y had been 0 there: see subject.mask."
_BY_LIBRARY = ("log_conditional", "log_joint", "log_likelihood", "log_density")
LIBRARY = Parts(
    "The same three for a model of the library",
    [
        Function(
            "log_conditional_of",
            by_hand=_BY_LIBRARY,
            truth=lambda m, e, x: _conditional(m, e, x)[0],
            inputs=_patient,
            mistakes=[
                Mistake(lambda m, e, x: _rows(m, e, x).sum(), _MASKED, 2),
                Mistake(
                    lambda m, e, x: np.exp(_conditional(m, e, x)[0]),
                    "This is the likelihood; the question asks for its logarithm.",
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, 0.0, x)[0],
                    "This is the typical patient, eta = 0: hand eta on to model.observations.",
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] / np.sum(x.mask),
                    "This is a mean over the rows; the log-likelihood is their sum.",
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] + _prior(m, e),
                    "p(eta) is in it already: conditional means given eta.",
                ),
                Mistake(
                    lambda m, e, x: np.sum(_rows(m, e, x) * ~np.asarray(x.mask)),
                    "These are the rows that were not seen: subject.mask is True where there is a response.",
                    2,
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] + np.sum(~np.asarray(x.mask)),
                    "A row that was not seen adds 0 to a sum of logs, not 1.",
                    2,
                ),
                Mistake(lambda m, e, x: _prior(m, e), "This is p(eta); what says how well eta explains y?"),
            ],
        ),
        Function(
            "log_joint_of",
            by_hand=_BY_LIBRARY,
            truth=lambda m, e, x: _conditional(m, e, x)[0] + _prior(m, e),
            inputs=_patient,
            mistakes=[
                Mistake(lambda m, e, x: _rows(m, e, x).sum() + _prior(m, e), _MASKED, 2),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0],
                    "This is the conditional one: the density of eta is missing.",
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] + x.time.size * _prior(m, e),
                    "p(eta) is counted once for every row. A patient has one eta, so add it after the sum.",
                    2,
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] + np.sum(x.mask) * _prior(m, e),
                    "p(eta) is counted once for every row. A patient has one eta, so add it after the sum.",
                    2,
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] - _prior(m, e),
                    "The log density of eta is taken off; where densities multiply, logs are added.",
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] * _prior(m, e),
                    "Two logs have been multiplied. Where densities multiply, logs are added.",
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] + _prior(m, 0.0),
                    "The density of eta is taken at 0, not at the eta that was handed in.",
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] + _log_normal(np.asarray(e), 0, float(m.sigma)),
                    "The SD of eta is omega; sigma belongs to the measurements.",
                    2,
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] - 0.5 * (np.asarray(e) / float(m.omega)) ** 2,
                    "The normaliser of p(eta) is missing: model.random_effects() has it in its log_prob.",
                    2,
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] + np.exp(_prior(m, e)),
                    "The density p(eta) itself has been added; add its logarithm.",
                ),
                Mistake(
                    lambda m, e, x: _conditional(m, e, x)[0] + _log_normal(np.asarray(e), 0, float(m.omega) ** 2),
                    "The variance of eta is used as its SD: dist.Normal takes the SD, and model.omega is one.",
                    2,
                ),
            ],
        ),
        Function(
            "log_marginal_of",
            by_hand=_BY_LIBRARY,
            truth=lambda m, x: np.log(_AREA(m, x)),
            inputs=lambda rng: _patient(rng)[::2],
            rtol=1e-4,
            trials=3,
            otherwise=_area_slips,
            mistakes=[
                Mistake(lambda m, x: np.log(_ALL_ROWS(m, x)), _MASKED, 2),
                Mistake(
                    lambda m, x: np.log(_FLAT(m, x)),
                    "p(eta) is not in the integral: every eta counts alike, however rare it is. Integrate the joint "
                    "density.",
                    2,
                ),
                Mistake(
                    lambda m, x: np.log(_TWICE(m, x)),
                    "p(eta) is in the integral twice: the joint density has it already.",
                    2,
                ),
                Mistake(
                    _MEAN_OF_LOG,
                    "This is the mean of the log; the marginal is the log of the mean: exponentiate, then average.",
                    2,
                ),
                Mistake(_peak, "This is the peak of the joint density over eta; the marginal is the area under it."),
                Mistake(
                    lambda m, x: _conditional(m, 0.0, x)[0],
                    "This is the likelihood of the typical patient, eta = 0; the marginal averages over all etas.",
                ),
                Mistake(_AREA, "This is the area itself; the question asks for its logarithm."),
            ],
        ),
    ],
    praise="No closed form here, and none is needed: one eta can be integrated on a grid. Five cannot: lesson 03.",
)
