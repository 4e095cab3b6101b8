"""The judges of exercises 06.4 and 06.6: the slide's model written, simulated and fitted, and a regimen for a newborn.

A model is compared by its densities at random parameters, so it may be written with differential equations or without.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions.distribution import validation_enabled

import mefit as mf
from workshop.checks.engine import StillOpen, Wrong, called
from workshop.studies.newborns import start

SLIDE = {"lag": 0.5, "cl": 4.0, "v": 30.0, "sigma": 0.1}
KA, SDS, DOSE = np.log(2) / 0.5, np.array([0.3, 0.2]), 100.0
TIMES = np.array([0.25, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 24.0])
PERSON = mf.Subject(jnp.asarray(TIMES), 0 * TIMES, TIMES > 0, doses=mf.Doses.of(DOSE))


def tmax(ka: float, lag: float, cl: float, v: float) -> float:
    """The time of the peak after one dose at time 0."""
    return lag + np.log(ka * v / cl) / (ka - cl / v)


# ------------------------------------------------------------------------------------ 06.4: the model


def _curve(t: np.ndarray, m: dict[str, Any], eta: Any, slip: str = "") -> Any:
    """Concentrations at parameters `m` and random effects `eta`, right or with a slip."""
    a, b = eta[::-1] if slip == "swapped" else (eta[0], eta[0]) if slip == "one" else eta
    if slip == "plain":
        a, b = np.log1p(a), np.log1p(b)
    elif slip == "added":
        a, b = np.log1p(a / m["cl"]), np.log1p(b / m["v"])
    elif slip == "minus":
        a, b = -a, -b
    elif slip in ("only cl", "only v"):
        a, b = (a, 0.0) if slip == "only cl" else (0.0, b)
    cl, v = (m["cl"], m["v"]) if slip == "typical" else (m["cl"] * np.exp(a), m["v"] * np.exp(b))
    lag = {"no lag": 0.0, "twice": 2 * m["lag"]}.get(slip, m["lag"])
    ke = {"rate": cl, "turned": v / cl, "sign": -cl / v}.get(slip, cl / v)
    s = np.maximum(t - lag, 0.0)
    depot = DOSE * np.exp(-m["ka"] * s) * (t >= lag)
    amount = DOSE * m["ka"] / (m["ka"] - ke) * (np.exp(-ke * s) - np.exp(-m["ka"] * s))
    other = {"amount": amount, "depot": depot, "depot / v": depot / v, "typical v": amount / m["v"]}
    other |= {"twice v": amount / v**2, "source": amount / m["ka"] / v}
    return other.get(slip, amount / v)


_CURVES = {
    "amount": "observations holds amounts in mg: divide by the person's volume to get concentrations.",
    "depot": "The first column of the states is the depot, before anything is absorbed: the blood is the second.",
    "depot / v": "The first column of the states is the depot, before anything is absorbed: the blood is the second.",
    "no lag": "The lag has no effect: absorption begins at once. `mf.dynamics.solve` takes it as lag=.",
    "twice": "The lag counts twice: give it to solve, or shift the times, not both.",
    "rate": "The amount falls at the rate CL. A clearance is a volume an hour: the rate is CL / V.",
    "swapped": "The random effects have changed places: the first is that of clearance.",
    "one": "One random effect serves both CL and V, and the other one is not used.",
    "typical": "observations does not use eta: everybody is typical.",
    "plain": "The effects are log-normal: the typical value times exp(eta), not times 1 + eta.",
    "added": "The effects are log-normal: the typical value times exp(eta), not plus eta.",
    "minus": "The effects have the wrong sign: the typical value times exp(eta), as on lines 8 and 9.",
    "only cl": "The second random effect is not used: the volume, too, is a person's own.",
    "only v": "The first random effect is not used: the clearance, too, is a person's own.",
    "typical v": "The amount is divided by the typical volume: line 12 has the person's own.",
    "twice v": "The volume is divided by twice: the blood holds an amount, and the amount over V is the concentration.",
    "source": "What leaves the depot, ka times its amount, is what arrives in the blood: the ka is missing there.",
    "turned": "The amount falls at the rate V / CL: it is turned over.",
    "sign": "The amount in the blood grows by what is eliminated: that term has a minus.",
}


@validation_enabled(False)
def judge_model(answer: Any) -> None:
    """`truth`: the slide's model, written properly, at the values on the slide."""
    if isinstance(answer, type):
        raise Wrong("This is the class. Give it values: truth = Tablet(ka=..., lag=..., ...).", 2)
    if not isinstance(answer, mf.Model):
        raise Wrong("A model is asked for: truth = Tablet(ka=..., lag=..., ...).", 2)
    have, want = set(vars(answer)), {"ka", *SLIDE, "omega"}
    if want - have:
        missing = ", ".join(sorted(want - have))
        raise Wrong(f"{missing} is not declared, and the equations need it: ka, lag, cl, v, omega and sigma.", 1)
    if have - want:
        raise Wrong(
            f"{', '.join(sorted(have - want))} appears in no equation. A parameter that nothing uses can have any "
            "value, and its standard error is infinite: leave it out.",
            1,
        )
    rng = np.random.default_rng()
    values: dict[str, Any] = {k: float(rng.uniform(0.8, 1.25)) * x for k, x in {"ka": KA, **SLIDE}.items()}
    model = called("your class", lambda: type(answer)(**values, omega=np.diag(rng.uniform(0.05, 0.2, 2))))
    eta = rng.choice([-1.0, 1.0], 2) * rng.uniform(0.2, 0.5, 2)
    _judge_effects(model, eta)
    density = called("observations", model.observations, jnp.asarray(eta), PERSON)
    if not isinstance(density, dist.Normal) or jnp.shape(density.loc) != TIMES.shape:
        if not isinstance(density, dist.Distribution):
            raise Wrong("observations returns the curve alone: dist.Normal(curve, self.sigma) is what was observed.", 3)
        kind = type(density).__name__
        raise Wrong(f"observations returns a {kind}; a `dist.Normal` with a mean for each time is asked for.", 3)

    def like(x: Any) -> bool:
        return bool(np.allclose(density.loc, x, rtol=2e-3, atol=2e-4))

    if not like(_curve(TIMES, values, eta)):
        reason = next((said for slip, said in _CURVES.items() if like(_curve(TIMES, values, eta, slip))), "")
        raise Wrong(
            reason or "The concentrations are not those of the slide: compare each derivative with its line.", 2
        )
    if not np.allclose(density.scale, values["sigma"], rtol=1e-6):
        square = np.allclose(density.scale, values["sigma"] ** 2)
        raise Wrong(
            "sigma is squared: dist.Normal takes an SD." if square else "The error does not have the SD sigma.", 3
        )
    _judge_values(answer)


def _judge_effects(model: Any, eta: np.ndarray) -> None:
    effects = called("random_effects", model.random_effects)
    at, omega = jnp.asarray(eta), np.asarray(model.omega)
    if not isinstance(effects, dist.Distribution) or effects.shape() != (2,):
        raise Wrong("random_effects is to return a distribution of two random effects, of shape (2,).", 1)
    given = float(jnp.sum(effects.log_prob(at)))
    for wrong, reason in (
        (dist.MultivariateNormal(jnp.zeros(2), omega), ""),
        (dist.Normal(0.0, jnp.diagonal(omega)), "omega holds variances, and is used as if it held SDs."),
        (dist.MultivariateNormal(jnp.zeros(2), omega @ omega), "omega is squared, and it is a covariance already."),
    ):
        if np.isclose(given, float(jnp.sum(wrong.log_prob(at)))):
            if reason:
                raise Wrong(reason, 1)
            return
    raise Wrong("random_effects is not the normal distribution with mean zero and covariance omega.", 1)


def _judge_values(answer: Any) -> None:
    if not np.isclose(answer.ka, KA, rtol=1e-3):
        for value, reason in (
            (0.5, "ka is a rate. Half an hour is the half-life."),
            (2.0, "One over the half-life is not the rate: half is left when exp(-ka t) = 1/2."),
            (0.5 / np.log(2), "This is a time, the mean one spent in the depot. ka is one over it."),
            (np.log(2) * 0.5, "log 2 is to be divided by the half-life."),
        ):
            if np.isclose(answer.ka, value, rtol=0.01):
                raise Wrong(reason, 2)
        raise Wrong("ka is not the rate whose half-life is half an hour.", 2)
    for name, value in SLIDE.items():
        if not np.isclose(getattr(answer, name), value):
            raise Wrong(f"{name} does not have the value on the slide.", 2)
    omega = np.asarray(answer.omega)
    if np.allclose(omega, np.diag(SDS)):
        raise Wrong(
            "omega is a covariance, and has the SDs of the slide on its diagonal: people would differ by half in place "
            "of a third. Square them.",
            2,
        )
    for wrong, reason in (
        (100 * SDS, "omega is in per cent: a covariance has the squares of the shares, thirty hundredths and twenty."),
        (
            (100 * SDS) ** 2,
            "omega is in per cent: a covariance has the squares of the shares, thirty hundredths and twenty.",
        ),
        (np.sqrt(SDS), "omega has the square *roots* of the SDs on its diagonal. A variance is the SD squared."),
        (SDS[::-1] ** 2, "The two have changed places: 30% is for clearance, the first of the two effects."),
        (
            np.log1p(SDS**2),
            "That turns 30% into a coefficient of variation of CL itself, more exactly than the slide: take it as the "
            "SD of eta, and square it.",
        ),
    ):
        if np.allclose(omega, np.diag(wrong)):
            raise Wrong(reason, 2)
    if not np.allclose(omega, np.diag(SDS**2)):
        raise Wrong("omega is not the covariance of two independent effects with SDs of 30% and 20%.", 2)


# ------------------------------------------------------------------------------------ 06.4: simulated, and fitted


def judge_study(answer: Any) -> None:
    """`study`: what `mf.simulate` makes of the design."""
    if not isinstance(answer, mf.Population):
        kind = type(answer).__name__
        raise Wrong(f"study is a {kind}; mf.simulate(truth, design, key) returns a population.", 3)
    times, y = np.asarray(answer.subjects.time), np.asarray(answer.subjects.y)
    if times.shape != (30, TIMES.size) or not np.allclose(times, TIMES):
        raise Wrong("study has other people or times than `design`.", 3)
    if not np.any(y):
        raise Wrong("study is the design itself: nothing has been measured yet. Simulate it.", 3)
    typical = _curve(TIMES, {"ka": KA, **SLIDE}, np.zeros(2))
    apart = np.sqrt(np.mean((y - typical) ** 2))
    if apart < 1e-3:
        raise Wrong("study holds predictions of the typical person: mf.simulate draws random effects and noise.", 3)
    if apart < 2 * SLIDE["sigma"]:
        raise Wrong("Everybody in the study is typical, but for noise: let mf.simulate draw the random effects.", 3)


def judge_fit(answer: Any) -> None:
    """`fit`: of a simulated study, by a method that has random effects."""
    if not isinstance(answer, mf.Fit):
        raise Wrong("fit is not what mf.fit(start, study, method) returns.", 3)
    judge_study(answer.population)
    if not answer.method.likelihood or isinstance(answer.method, mf.NaivePooled):
        raise Wrong(f"{answer.method.label} does not integrate the random effects out: take mf.FOCE().", 3)
    if answer.fixed:
        raise Wrong(f"{', '.join(answer.fixed)} was held fixed, so that nothing was found out about it.", 3)
    if not answer.converged:
        raise Wrong(f"The fit has not converged: {answer.message}.", 3)
    table = answer.table
    rows = {"ka": KA, **SLIDE} | dict(zip(table.index[table.kind == "sd"], SDS, strict=True))
    far = [k for k, true in rows.items() if not abs(table.estimate[k] - true) < 5 * table.se[k]]
    if far:
        raise Wrong(f"{' and '.join(far)} ended more than five standard errors from the truth: was it this study?", 3)


# ------------------------------------------------------------------------------------ 06.5 and 06.6: newborns


@cache
def fitted(power: tuple[float, float], fixed: bool) -> mf.Fit:
    """The lesson's model of phenobarbital with the powers of weight fixed, or estimated from there."""
    held = ("power",) if fixed else ()
    return mf.fit(start(power), mf.datasets.phenobarbital(), mf.FOCE(), fixed=held, progress=False)


WEIGHT, LOW, HIGH, DAYS, ASKED = 2.5, 15.0, 40.0, 10, 0.97


def share_within(loading: float, dose: float, every: float) -> float:
    """The share of 1,000 virtual newborns of 2.5 kg that are within the range from hour 1 to day 10."""
    fit, hours = fitted((1.0, 1.0), False), np.linspace(1.0, 24.0 * DAYS, 24 * DAYS)
    doses = {"yours": mf.regimen(dose, every=every, count=int(np.ceil(24 * DAYS / every)), loading=loading)}
    named: dict[str, Any] = {"key": jax.random.key(66), "subjects": 1000, "covariates": {"wt": WEIGHT}}
    people = mf.simulate_regimens(fit, doses, hours, **named).subjects
    return float(((people.cmin >= LOW) & (people.cmax <= HIGH)).mean())


def judge_regimen(answer: Any) -> None:
    """Three numbers: loading dose and dose in mg, and hours from one to the next."""
    if isinstance(answer, np.ndarray):
        answer = answer.tolist()
    if isinstance(answer, list | tuple) and any(x is ... for x in answer):
        raise StillOpen("" if all(x is ... for x in answer) else "Give the other numbers, too.")
    if isinstance(answer, set | frozenset):
        raise Wrong("A set has no order: give loading dose, dose and hours in a list.")
    try:
        loading, dose, every = (float(x) for x in answer)
    except (TypeError, ValueError):
        raise Wrong("Give three numbers: loading dose (mg), dose (mg), hours from one dose to the next.") from None
    if min(loading, dose, every) <= 0 or not np.isfinite([loading, dose, every]).all():
        raise Wrong("All three are to be above zero.")
    if every <= 1:
        raise Wrong("The third number is in hours from one dose to the next. Was this meant in days?", 1)
    if every < 12:
        raise Wrong("That is more than twice a day, more than the ward can do.", 1)
    model: Any = fitted((1.0, 1.0), False).model
    cl, v = (float(x) * (WEIGHT / 1.5) ** float(p) for x, p in zip((model.cl, model.v), model.power, strict=True))
    first, later = loading / v, dose / (every * cl)
    share = share_within(loading, dose, every)
    if share >= ASKED:
        return
    told = f"{share:.0%} of them stay within the range. "
    if first < 0.5 * LOW and loading == dose:
        raise Wrong(told + "Without a larger first dose it takes weeks to get there: the half-life is six days.", 1)
    if max(first, later) < 0.01 * LOW:
        raise Wrong(told + "The typical child is a thousandfold below. Were these doses meant in grams?", 2)
    if max(first, later) < 0.7 * LOW:
        raise Wrong(told + "Even the typical child is far below. Were these doses meant per kg?", 2)
    for level, what, hint in ((first, "The first dose", 2), (later, "What follows", 3)):
        if not 0.8 * 25 < level < 1.25 * 25:
            where = "low" if level < 25 else "high"
            of = "the volume" if hint == 2 else "the clearance"
            raise Wrong(f"{told}{what} brings the typical child to a level that is too {where}: think of {of}.", hint)
    if every > 24:
        raise Wrong(told + "Peak and trough lie far apart with so long an interval: give less, more often.", 3)
    raise Wrong(told + "The typical child does well; those who differ need it nearer to the middle of the range.", 3)
