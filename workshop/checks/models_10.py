"""The judges of exercises 10.4 to 10.6: a model and its encoder, a cure for a collapse, a mean under dropout."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpyro.distributions.distribution import validation_enabled
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

import mefit as mf
from mefit.model.densities import eta_size, log_random_effects, observation_density
from workshop.checks.engine import Judged, Mistake, Parts, StillOpen, Value, Wrong, called
from workshop.studies import small_trials as trials

# ------------------------------------------------------------------------------------ 10.4: a model and its encoder

FIELDS = ("top", "rate", "omega", "sigma")


def judge_encoder(answer: Any) -> None:
    """[model, fit, told]: the growth model, its fit by an encoder, and three numbers read from that fit."""
    parts = [
        Judged("model", judge_model),
        Judged("fit", judge_fit),
        Judged("told", lambda told: judge_told(told, answer[1])),
    ]
    Parts("", parts).judge(answer)


@validation_enabled(False)
def judge_model(answer: Any) -> None:
    """`model`: growth towards a plateau, both of its numbers log-normal between people."""
    if isinstance(answer, type):
        raise Wrong("This is the class. Give it values: model = Plateau(top=8.0, rate=0.3, omega=..., sigma=1.0).", 1)
    if not isinstance(answer, mf.Model):
        raise Wrong("A model is asked for: model = Plateau(top=8.0, rate=0.3, omega=..., sigma=1.0).", 1)
    for name in FIELDS:
        if not hasattr(answer, name):
            raise Wrong(f"{name} is not declared: the fields are {', '.join(FIELDS)}.", 1)
    _judge_effects(answer)
    _judge_growth(answer)


def _judge_effects(model: Any) -> None:
    called("random_effects", model.random_effects)
    if eta_size(model) != 2:
        raise Wrong("random_effects is not a distribution of two numbers, one for top and one for rate.", 1)
    omega = np.array([0.3, 0.05])
    tried = _with(model, {"omega": jnp.diag(jnp.asarray(omega))})
    eta = np.array([0.4, -0.3])
    found = float(log_random_effects(tried, jnp.asarray(eta)))

    def density(variance: np.ndarray) -> float:
        return float(np.sum(-0.5 * eta**2 / variance - 0.5 * np.log(2 * np.pi * variance)))

    if np.isclose(found, density(omega**2)):
        raise Wrong("omega is taken for SDs: it is a covariance. dist.MultivariateNormal takes it as it is.", 1)
    if np.isclose(found, density(np.ones(2))):
        raise Wrong("The random effects are N(0, I) and do not depend on omega.", 1)
    if not np.isclose(found, density(omega)):
        raise Wrong("The random effects are not N(0, omega): dist.MultivariateNormal(jnp.zeros(2), self.omega).", 1)


def _judge_growth(model: Any) -> None:
    person = trials.growth(1)[0]
    eta = jnp.array([0.3, -0.5])
    top, rate = 7.0, 0.25
    values = {"top": jnp.asarray(top), "rate": jnp.asarray(rate), "sigma": jnp.asarray(0.6)}
    density = called("observations", observation_density, _with(model, values), eta, person)
    mean = np.asarray(density.mean)
    sd = np.sqrt(np.asarray(density.variance))

    def curve(a: float, b: float) -> np.ndarray:
        return top * np.exp(a) * (1 - np.exp(-rate * np.exp(b) * trials.GROWTH_TIMES))

    if mean.shape != person.time.shape:
        raise Wrong("A mean for each time is asked for: use subject.time, all of it.", 1)
    for wrong, reason in (
        (curve(-0.5, 0.3), "The random effects have changed places: the first is that of top, the second of rate."),
        (curve(0.0, 0.0), "eta has no effect: everybody is typical."),
        (curve(0.3, 0.0), "The second random effect, that of rate, has no effect."),
        (curve(0.0, -0.5), "The first random effect, that of top, has no effect."),
        (
            (top + 0.3) * (1 - np.exp(-(rate - 0.5) * trials.GROWTH_TIMES)),
            "The random effects are added. Log-normal ones multiply: self.top * jnp.exp(eta[0]).",
        ),
        (top * np.exp(0.3) - curve(0.3, -0.5), "This falls from the top to zero: 1 minus the exponential is missing."),
        (
            top * np.exp(0.3) * (1 - np.exp(rate * np.exp(-0.5) * trials.GROWTH_TIMES)),
            "The exponent has lost its minus: this runs away.",
        ),
    ):
        if np.allclose(mean, wrong):
            raise Wrong(reason, 1)
    if not np.allclose(mean, curve(0.3, -0.5)):
        raise Wrong("The mean is not top e^eta1 (1 - exp(-rate e^eta2 t)).", 1)
    if np.allclose(sd, 0.36):
        raise Wrong("sigma is squared: dist.Normal takes an SD.", 1)
    if not np.allclose(sd, 0.6):
        raise Wrong("The measurements do not have the SD sigma.", 1)


def _with(model: Any, values: dict[str, Any]) -> Any:
    """The same model at other values of its fields."""
    fields = {name: values.get(name, getattr(model, name)) for name in model.__dataclass_fields__}
    return type(model)(**fields)


def judge_fit(answer: Any) -> None:
    """`fit`: the growth model, trained together with an encoder."""
    _judge_amortised(answer, "model")
    if len(answer.population) != len(trials.growth()):
        raise Wrong("This fit is of other people than `people`.", 2)
    for name in FIELDS:
        if not hasattr(answer.model, name):
            raise Wrong("This fit is of another model than Plateau.", 2)
    if answer.fixed:
        raise Wrong(f"{', '.join(answer.fixed)} was held fixed: let all of theta move.", 2)
    if answer.amortised.gap > 0.2:
        raise Wrong(
            "It has not been trained to the end: the encoder lacks more than it has to. Take `steps` and "
            "`learning_rate` as the task gives them.",
            2,
        )


def _judge_amortised(answer: Any, start: str) -> None:
    if not isinstance(answer, mf.Fit):
        raise Wrong(f"This is not what mf.fit({start}, people, mf.Adam(mf.Amortised(encoder), ...), key=key) gives.", 2)
    if answer.amortised is None:
        raise Wrong(f"{answer.method.label} trains no encoder: mf.Adam(mf.Amortised(encoder), ...).", 2)


def judge_told(told: Any, fit: Any) -> None:
    """`told`: bound and gap of a person, and the effective share of the draws, as this fit has them."""
    names = ("bound", "gap", "share")
    if not isinstance(told, list | tuple | np.ndarray) or len(told) != len(names):
        raise Wrong("Give three numbers in a list: [bound, gap, share].", None)
    if any(one is ... for one in told):
        raise StillOpen
    count = len(fit.population)
    samples = fit.method.objective.samples
    share = float(np.mean(fit.effective_sample_size)) / samples
    account = fit.amortised
    for name, given, part in zip(names, told, _told_parts(fit, count, samples, account, share), strict=True):
        try:
            part.judge(given)
        except Wrong as wrong:
            raise Wrong(f"{name}: {wrong.reason}", 3) from None


def _told_parts(fit: Any, count: int, samples: int, account: Any, share: float) -> Sequence[Value]:
    bound = account.bound / count
    per_person = fit.log_likelihood / count
    return (
        Value(
            "bound",
            truth=bound,
            rtol=1e-6,
            mistakes=[
                Mistake(account.bound, "This is the bound of all people: divide by how many they are."),
                Mistake(per_person, "This is the log-likelihood, by importance sampling. The bound lies below it."),
                Mistake(fit.log_likelihood, "This is the log-likelihood of all people, not the bound of one."),
                Mistake(per_person + account.gap, "The gap is added. The bound lies *below* the log-likelihood."),
            ],
        ),
        Value(
            "gap",
            truth=account.gap,
            rtol=1e-6,
            atol=1e-9,
            mistakes=[
                Mistake(
                    account.gap * count, "This is the gap of all people together. fit.amortised.gap is per person."
                ),
                Mistake(account.gap / count, "fit.amortised.gap is per person already."),
                Mistake(-account.gap, "The gap is what the bound lacks: log-likelihood minus bound, not below zero."),
                Mistake(
                    float(np.sum(account.divergence)),
                    "This is the KL of q from the *prior*. The gap is its KL from the posterior.",
                ),
            ],
        ),
        Value(
            "share",
            truth=share,
            rtol=1e-6,
            mistakes=[
                Mistake(share * samples, f"This is a number of draws. As a share, divide by the {samples} drawn."),
                Mistake(float(np.min(fit.effective_sample_size)) / samples, "This is the person's with the smallest."),
                Mistake(
                    float(np.sum(fit.effective_sample_size)) / samples, "Summed over people: take the mean over them."
                ),
            ],
        ),
    )


# ------------------------------------------------------------------------------------ 10.5: a cure


@cache
def best_of_lines() -> float:
    """The exact maximum of the log-likelihood of the lines, by SciPy."""
    y = np.asarray(trials.lines().subjects.y)
    time = trials.VISITS

    def minus_log_likelihood(x: np.ndarray) -> float:
        one, slope, variance = np.exp(2 * x)
        covariance = one + slope * np.outer(time, time) + variance * np.eye(time.size)
        return -float(np.sum(multivariate_normal(np.zeros(time.size), covariance).logpdf(y)))

    return -float(minimize(minus_log_likelihood, np.zeros(3), method="BFGS").fun)


def judge_cured(answer: Any) -> None:
    """`cured`: a fit by an encoder in which both random effects are awake."""
    _judge_amortised(answer, "trials.lines_start()")
    if len(answer.population) != len(trials.lines()):
        raise Wrong("This fit is of other people than `people_5`.", 3)
    if answer.fixed:
        raise Wrong("What is held fixed cannot fall asleep, and is not estimated either: let all of theta move.", 3)
    if answer.log_likelihood > best_of_lines() - 3.0:
        return
    objective = answer.method.objective
    q = answer.encoder(answer.population[0])
    if not np.any(np.asarray(q.lower)[~np.eye(q.mean.size, dtype=bool)]):
        if objective.annealing:
            raise Wrong(
                "Annealing keeps it awake while the KL counts less, and lets it fall afterwards: it delays. What makes "
                "it sleep is the diagonal q, which cannot say that intercept and slope are correlated given the data.",
                3,
            )
        raise Wrong(
            "Random effect 1 still sleeps, or is on its way: no seed, rate or number of steps helps where the bound of "
            "a diagonal q is highest asleep. Give the encoder what it lacks.",
            3,
        )
    raise Wrong("The encoder is full, and not trained to the end: take the steps and the rate of the first fit.", 3)


# ------------------------------------------------------------------------------------ 10.6: a mean under dropout


@cache
def _scores() -> np.ndarray:
    return trials.pain()


def _ways() -> dict[float, tuple[str, int]]:
    """What other ways of treating those who left give, why that is wrong, and the hint that helps."""
    y = _scores()
    first = float(np.nanmean(y[:, 0]))
    return {
        trials.available(y): (
            "This is the mean of those who are still there at the last visit; completers and imputing by that mean "
            "give it, too. People in pain have left, so it is too low.",
            1,
        ),
        trials.carried_forward(y): (
            "This carries the last score forward. Scores fall, and those who left did so high up: it is too high.",
            1,
        ),
        trials.pooled_line(y): (
            "This is one line through all rows, as if no two of them came from one person. Nobody's own level is in "
            "it, so it does not know that those who left had more pain.",
            1,
        ),
        first: ("This is the first visit: there is a slope, too.", 3),
        trials.most_likely_end(y) - first: ("This is the change since the first visit. Add where the line begins.", 3),
        float(np.nanmean(y)): ("This is the mean of all scores that were seen, at all visits.", 1),
    }


def judge_end(answer: Any) -> None:
    """`at_the_end`: the mean score at the last visit, had nobody left."""
    right = Value("at_the_end", truth=lambda: trials.most_likely_end(_scores()), atol=0.15)
    try:
        right.judge(answer)
    except Wrong:
        if np.ndim(answer) == 0 and isinstance(answer, float | int | np.ndarray | jnp.ndarray | np.generic):
            for value, why in _ways().items():
                if abs(float(answer) - value) < 0.02:
                    raise Wrong(*why) from None
        raise
