"""The judges of the models that exercises 01.3 and 01.4 ask for.

A model is compared by its densities at random parameters, random effects and people. Where it differs, its curve and
the spread around it are looked at one by one, so that each slip gets its own reason, two slips at once included.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions.distribution import validation_enabled

import mefit as mf
from workshop.checks.engine import StillOpen, Wrong, called


class Slip(NamedTuple):
    """A wrong way to write a part of a model, why it is wrong, and the hint that helps most."""

    wrong: Callable[..., Any]
    reason: str
    hint: int = 2


class Theta(mf.Model):
    """The parameters of both models, and what their methods have in common."""

    ka: Any = mf.positive()
    cl: Any = mf.positive()
    v: Any = mf.positive()
    omega: Any = mf.covariance()
    sigma: Any = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        raise NotImplementedError("the two exercises differ in their curves")


class Trial(NamedTuple):
    """The answer at random parameters, with a person and random effects to try it on; `weighed`: in 01.3."""

    model: mf.Model
    theta: Theta
    eta: Any
    subject: mf.Subject
    weighed: bool

    def curve(self, individual: Callable[..., tuple]) -> Any:
        """The concentrations, where `individual(ka, cl, v, w, a, b)` gives a person's own ka, CL and V.

        w is what weight does to the clearance; a and b are the exponentials of the two random effects.
        """
        m, weight = self.theta, self.subject.covariates["wt"]
        w = (weight / 70.0) ** 0.75 if self.weighed else 1.0
        ka, cl, v = individual(m.ka, m.cl, m.v, w, *jnp.exp(self.eta))
        return mf.pk.oral_one_compartment(self.subject, ka=ka, cl=cl, v=v)


def _true(ka, cl, v, w, a, b):
    return ka, cl * w * a, v * b


def _reused(ka, cl, v, w, a, b):
    return ka, cl * w * a, v * a


def _weight_on_eta(ka, cl, v, w, a, b):
    return ka, cl * w * a**0.75, v * b


_FROM_ONE = "The volume has the second random effect, and so has the clearance: Python counts from 0."
_NO_EXP = "A random effect is not in an exponential: a departure of -1.2 would make the clearance negative."
_ETA = [
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w, v), "The random effects do nothing: everybody is typical.", 1),
    Slip(_reused, "One random effect moves both clearance and volume, and the other one does nothing."),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w * b, v * a), "The two random effects are exchanged: count from 0."),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w * b, v * b), _FROM_ONE),
    Slip(
        lambda ka, cl, v, w, a, b: (ka * a, cl * w * b, v * b), "ka has a random effect, and the volume has that of CL."
    ),
    Slip(
        lambda ka, cl, v, w, a, b: (ka * a, cl * w * a, v * b), "A random effect sits on ka, which is the same for all."
    ),
    Slip(
        lambda ka, cl, v, w, a, b: (ka, cl * w / a, v / b), "The signs of the random effects are the wrong way round."
    ),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w + a, v + b), "exp(eta) is added; the formula multiplies by it."),
    Slip(_weight_on_eta, "The exponent takes the random effect along: close the brackets behind the weight."),
    Slip(lambda ka, cl, v, w, a, b: (ka * a, cl * w, v * b), "A random effect sits on ka, which is the same for all."),
    Slip(lambda ka, cl, v, w, a, b: (ka * a, cl * w * b, v), "The random effects sit on ka and CL, not on CL and V."),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w * a, v), "The volume has no random effect, so it is the same for all."),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w, v * b), "The clearance has no random effect."),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w * (1 + jnp.log(a)), v * (1 + jnp.log(b))), _NO_EXP),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w + jnp.log(a), v + jnp.log(b)), _NO_EXP),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w * jnp.log(a), v * jnp.log(b)), _NO_EXP),
]
_RATES = [
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w * a / v / b, v * b), "CL/V stands where the clearance belongs.", 3),
    Slip(lambda ka, cl, v, w, a, b: (cl * w * a / v / b, ka * v * b, v * b), "ka and CL/V are exchanged.", 3),
    Slip(lambda ka, cl, v, w, a, b: (ka, v * b, cl * w * a), "The clearance and the volume are exchanged.", 3),
]
_WEIGHT = [
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * a, v * b), "Weight does nothing: 50 kg and 90 kg get one clearance.", 1),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w ** (4 / 3) * a, v * b), "The exponent of the weight is missing."),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl / w * a, v * b), "Heavier people get a smaller clearance: turn the ratio."),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w * 70**0.75 * a, v * b), "The weight is not divided by 70 kg."),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * w * a, v * w * b), "Weight changes the volume too; only CL is meant."),
    Slip(
        lambda ka, cl, v, w, a, b: (ka, cl * w * a, v * w ** (4 / 3) * b),
        "Weight changes the volume too; only CL is meant.",
    ),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl**0.75 * w * a, v * b), "The exponent takes the typical clearance along."),
    Slip(
        lambda ka, cl, v, w, a, b: (ka, 0.75 * cl * w ** (4 / 3) * a, v * b),
        "The exponent of the weight stands there as a factor.",
    ),
    Slip(
        lambda ka, cl, v, w, a, b: (ka, (cl + w) * a, v * b), "What weight does is added; the formula multiplies by it."
    ),
    Slip(lambda ka, cl, v, w, a, b: (ka, cl * a, v * w * b), "Weight changes the volume; the clearance is meant."),
]
_SPREAD = [
    Slip(lambda m, curve: m.sigma**2, "The noise has SD sigma^2, and `dist.Normal` takes the SD, no variance.", 3),
    Slip(lambda m, curve: jnp.sqrt(m.sigma), "The noise has SD sqrt(sigma), but sigma is an SD already.", 3),
    Slip(lambda m, curve: m.sigma * curve, "The noise grows with the curve; here its SD is the same everywhere.", 3),
    Slip(lambda m, curve: 1.0, "The noise does not depend on sigma.", 3),
]
_FACTOR = "omega is used as a Cholesky factor, a kind of SD. It is the covariance matrix itself."
_INVERSE = "omega is used as a precision, the inverse of a covariance. It is the covariance matrix itself."
_ALONE = "The two random effects are independent: what became of the covariance, off the diagonal of omega?"
_AS_SD = "omega is used as an SD, but its diagonal holds variances. And its covariance is left out."
_MEAN = "Random effects are departures from the typical values, so their mean is zero."
_EFFECTS = [
    Slip(lambda m: dist.MultivariateNormal(jnp.zeros(2), scale_tril=m.omega), _FACTOR, 1),
    Slip(lambda m: dist.MultivariateNormal(jnp.zeros(2), precision_matrix=m.omega), _INVERSE, 1),
    Slip(lambda m: dist.Normal(0.0, jnp.sqrt(jnp.diagonal(m.omega))), _ALONE, 1),
    Slip(lambda m: dist.Normal(0.0, jnp.diagonal(m.omega)), _AS_SD, 1),
    Slip(
        lambda m: dist.MultivariateNormal(jnp.zeros(2), m.omega @ m.omega),
        "omega is squared: it holds variances already.",
        1,
    ),
    Slip(
        lambda m: dist.MultivariateNormal(jnp.zeros(2), m.omega**2), "omega is squared: it holds variances already.", 1
    ),
    Slip(
        lambda m: dist.Normal(jnp.zeros(2), m.sigma),
        "sigma is the SD of a measurement; the random effects have omega.",
        1,
    ),
    Slip(lambda m: dist.Normal(jnp.zeros(2), 1.0), "The random effects do not depend on omega.", 1),
    Slip(lambda m: dist.MultivariateNormal(jnp.array([m.cl, m.v]), m.omega), _MEAN, 1),
    Slip(lambda m: dist.MultivariateNormal(jnp.log(jnp.array([m.cl, m.v])), m.omega), _MEAN, 1),
    Slip(lambda m: dist.MultivariateNormal(jnp.ones(2), m.omega), _MEAN, 1),
]


@cache
def _people() -> mf.Population:
    return mf.datasets.theophylline(per_kg=False)


def _trials(answer: Any, weighed: bool, count: int = 3) -> list[Trial]:
    """The learner's class at random parameters; ValueError and the like, in its own words, where it cannot be made."""
    kind = answer if inspect.isclass(answer) else type(answer)
    if not issubclass(kind, mf.Model):
        raise Wrong(f"A model is asked for, and this is a {kind.__name__}: give the name of your class.")
    rng, trials = np.random.default_rng(), []
    for _ in range(count):
        sd = rng.uniform(0.2, 0.6, 2)
        covariance = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 0.8) * sd[0] * sd[1]
        values: dict[str, Any] = {
            "ka": rng.uniform(1.0, 2.0),
            "cl": rng.uniform(2.0, 4.0),
            "v": rng.uniform(25.0, 40.0),
        }
        values["omega"] = np.array([[sd[0] ** 2, covariance], [covariance, sd[1] ** 2]])
        values["sigma"] = rng.uniform(0.4, 0.8)
        eta = jnp.asarray(rng.choice([-1.0, 1.0], 2) * rng.uniform(0.1, 0.5, 2) * np.array([1.0, 0.6]))
        model = _tried(f"{kind.__name__}(ka=..., cl=..., v=..., omega=..., sigma=...)", kind, **values)
        trials.append(Trial(model, Theta(**values), eta, _people()[int(rng.integers(12))], weighed))
    return trials


def _tried(what: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What `call` returns, as `called` does; dots mean that it has not been written yet."""
    result = called(what, call, *arguments, **named)
    if result is ...:
        raise StillOpen
    return result


def _distribution(what: str, call: Callable[..., Any], *arguments: Any) -> dist.Distribution:
    density = _tried(what, call, *arguments)
    if not isinstance(density, dist.Distribution):
        kind = type(density).__name__
        raise Wrong(f"{what} returns a {kind}; a distribution is asked for, such as `dist.Normal(mean, sd)`.")
    return density


def _same(given: Sequence[Any], wanted: Sequence[Any]) -> bool:
    return all(np.allclose(g, w, 1e-6, 1e-9) for g, w in zip(given, wanted, strict=True))


def _blame(given: Sequence[Any], slips: Sequence[Slip], call: Callable[[Slip, int], Any], otherwise: Wrong) -> Wrong:
    """The slip that gives the same as the answer in every trial; `call(slip, i)` is what it gives in trial i."""
    for slip in slips:
        if _same(given, [call(slip, i) for i in range(len(given))]):
            return Wrong(slip.reason, slip.hint)
    return otherwise


def _judge_effects(trials: Sequence[Trial]) -> None:
    given = []
    for t in trials:
        density = _distribution("random_effects", t.model.random_effects)
        if density.shape() != (2,):
            raise Wrong(f"random_effects has shape {density.shape()}; this model has two random effects, shape (2,).")
        given.append(np.sum(_tried("its log_prob", density.log_prob, t.eta)))
    if _same(given, [mf.log_random_effects(t.theta, t.eta) for t in trials]):
        return
    if not np.all(np.isfinite(given)):
        allowed = "random_effects has no density at negative values, but departures go down as well as up."
        raise Wrong(f"{allowed} The exponential has its place in observations.")
    otherwise = Wrong("random_effects is not the normal distribution with mean zero and covariance omega.")
    raise _blame(
        given, _EFFECTS, lambda slip, i: np.sum(slip.wrong(trials[i].theta).log_prob(trials[i].eta)), otherwise
    )


def _normal(trials: Sequence[Trial]) -> tuple[list[Any], list[Any]]:
    """Mean and SD of the answer's observations, an entry for each time."""
    means, sds = [], []
    for t in trials:
        density, shape = _distribution("observations", t.model.observations, t.eta, t.subject), t.subject.time.shape
        if isinstance(density, dist.Independent):
            density = density.base_dist
        if not isinstance(density, dist.Normal):
            kind = type(density).__name__
            raise Wrong(f"observations is a {kind}; each y is normal around the curve by itself: `dist.Normal`.", 3)
        if density.shape() not in ((), shape):
            raise Wrong(f"observations has shape {density.shape()}; it needs one entry for each sampling time.", 3)
        means.append(np.broadcast_to(density.loc, shape))
        sds.append(np.broadcast_to(density.scale, shape))
    return means, sds


_MIDDLE = [
    Slip(lambda m, curve: m.sigma + 0 * curve, "Curve and sigma are exchanged: `dist.Normal` takes the mean first.", 3),
    Slip(lambda m, curve: 0 * curve, "The measurements lie around 0; their mean is the curve.", 3),
    Slip(lambda m, curve: m.sigma + curve, "sigma is added to the curve; the noise goes up and down by itself.", 3),
    Slip(lambda m, curve: jnp.log(curve), "The logarithm of the curve is in the middle; y is not on the log scale.", 3),
]


def _judge_observations(trials: Sequence[Trial], means: list[Any], sds: list[Any]) -> None:
    curves = [t.curve(_true) for t in trials]
    if not _same(means, curves):
        for slip in _MIDDLE:
            if _same(means, [slip.wrong(t.theta, curve) for t, curve in zip(trials, curves, strict=True)]):
                raise Wrong(slip.reason, slip.hint)
        typical = [t._replace(eta=jnp.zeros(2)) for t in trials]
        if _same(_normal(typical)[0], [t.curve(_true) for t in typical]):
            otherwise = Wrong(
                "For a typical person, both random effects 0, the curve is right; for others it is not.", 2
            )
        else:
            otherwise = Wrong(
                "Even for a typical person, both random effects 0, the curve is wrong: look at CL and V.", 2
            )
        slips = [*(_WEIGHT if trials[0].weighed else []), *_ETA, *_RATES]
        raise _blame(means, slips, lambda slip, i: trials[i].curve(slip.wrong), otherwise)
    if not _same(sds, [t.theta.sigma for t in trials]):
        otherwise = Wrong("The curve is right; the noise around it does not have the SD sigma.", 3)
        raise _blame(sds, _SPREAD, lambda slip, i: slip.wrong(trials[i].theta, means[i]), otherwise)


@validation_enabled(False)  # a matrix in the wrong place gets our reason, not an error about a triangle
def judge_written(answer: Any) -> None:
    """01.3: both methods written from nothing."""
    trials = _trials(answer, weighed=True)
    _judge_effects(trials)
    try:
        means, sds = _normal(trials)
    except StillOpen:
        raise StillOpen("random_effects is right. Next is observations.") from None
    _judge_observations(trials, means, sds)


def _peak(t: Trial, individual: Callable[..., tuple] = _true, size: float = 1.0) -> Any:
    """log(ka / ke) / (ka - ke), the time of the peak after a dose at time 0; `size` multiplies the random effects."""
    ka, cl, v = individual(t.theta.ka, t.theta.cl, t.theta.v, 1.0, *jnp.exp(size * t.eta))
    return jnp.log(ka * v / cl) / (ka - cl / v)


def _with_rates(t: Trial, peak: Callable[[Any, Any], Any]) -> Any:
    """What `peak` makes of the person's own ka and ke."""
    ka, cl, v = _true(t.theta.ka, t.theta.cl, t.theta.v, 1.0, *jnp.exp(t.eta))
    return peak(ka, cl / v)


_PEAK = [
    Slip(lambda t: jnp.max(t.subject.time), "peak_time is the time of the last sample, whatever the curve does.", 3),
    Slip(lambda t: jnp.max(t.curve(_true)), "peak_time is a concentration: how high, not when.", 3),
    Slip(lambda t: jnp.argmax(t.curve(_true)), "peak_time is the number of a sample, not its time.", 3),
    Slip(
        lambda t: t.subject.time[jnp.argmax(t.curve(_true))],
        "peak_time is the sampling time at which the curve is highest, and the peak lies between two samples.",
        3,
    ),
    Slip(
        lambda t: t.subject.time[jnp.argmax(t.subject.y)],
        "peak_time is the time of the highest measurement, noise and all; the time of the curve's peak is asked for.",
        3,
    ),
    Slip(lambda t: _peak(t, size=0.0), "peak_time is that of a typical person: it does not depend on eta.", 3),
    Slip(lambda t: _peak(t, _reused), "peak_time uses one random effect for both CL and V.", 3),
    Slip(lambda t: _with_rates(t, lambda ka, ke: jnp.log(ka / ke) / ka - ke), "Put ka - ke in brackets.", 3),
    Slip(
        lambda t: _with_rates(t, lambda ka, ke: jnp.log10(ka / ke) / (ka - ke)),
        "The natural logarithm is meant, not that to base 10.",
        3,
    ),
    Slip(lambda t: _with_rates(t, lambda ka, ke: ka / ke / (ka - ke)), "peak_time lacks its logarithm.", 3),
    Slip(
        lambda t: _with_rates(t, lambda ka, ke: jnp.log(ka / ke)), "That has no unit; a time is divided by a rate.", 3
    ),
    Slip(
        lambda t: _with_rates(t, lambda ka, ke: jnp.log(ka - ke) / (ka - ke)), "The log of a ratio, not of ka - ke.", 3
    ),
    Slip(lambda t: _peak(t, lambda ka, cl, v, w, a, b: (ka, cl * a, 1.0)), "ke is CL/V; the volume is missing.", 3),
    Slip(
        lambda t: _peak(t, lambda ka, cl, v, w, a, b: (ka, cl * a, v)), "ke has the person's own CL, but V typical.", 3
    ),
    Slip(lambda t: 1 / t.theta.ka, "1/ka is how long absorption takes on average, not when the curve is highest.", 3),
    Slip(lambda t: -_peak(t), "peak_time is negative: what stands over what in the logarithm?", 3),
]


@validation_enabled(False)
def judge_mended(answer: Any) -> None:
    """01.4: a model with three slips, mended. Untouched, it counts as open."""
    trials = _trials(answer, weighed=False)
    _judge_effects(trials)
    means, sds = _normal(trials)
    kind = type(trials[0].model)
    if not hasattr(kind, "peak_time"):
        raise Wrong("The model has lost its method peak_time: the check asks for it.", 3)
    peaks = [_tried("peak_time", kind.peak_time, t.model, t.eta, t.subject) for t in trials]
    if any(np.ndim(peak) for peak in peaks):
        raise Wrong("peak_time returns an array; one time is asked for, in h.", 3)
    if not all(np.issubdtype(np.asarray(peak).dtype, np.number) for peak in peaks):
        raise Wrong(f"peak_time returns a {type(peaks[0]).__name__}; a time is asked for, a number in h.", 3)
    slips = [
        _same(means, [t.curve(_reused) for t in trials]),
        _same(sds, [t.theta.sigma**2 for t in trials]),
        _same(peaks, [_PEAK[0].wrong(t) for t in trials]),
    ]
    if all(slips):
        raise StillOpen("All three slips are still there: change the code above, run it, then this cell again.")
    try:
        _judge_observations(trials, means, sds)
        apart = [abs(float(peak) - float(_peak(t))) for peak, t in zip(peaks, trials, strict=True)]
        if not max(apart) < 0.1:  # h, so that a fine grid of times will do
            otherwise = Wrong("peak_time is not the time at which the person's own curve is highest.", 3)
            raise _blame(peaks, _PEAK, lambda slip, i: slip.wrong(trials[i]), otherwise)
    except Wrong as wrong:
        left = {0: "", 1: "One of the slips is left. ", 2: "Two of the slips are left. "}[sum(slips)]
        raise Wrong(left + wrong.reason, wrong.hint) from None
