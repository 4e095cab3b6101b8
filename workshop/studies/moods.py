"""A simulated twin of a study of moods: three outcomes, many prompts, most of them without an answer.

The study it is modelled on followed 1,174 young adults by an app: 123,000 planned measurements, three in five of them
missing, of negative affect (between 1 and 7) and of feeling lonely and bored (yes or no), to predict moods day by day.
Its data are not public; these have its sizes. 21 days of five prompts a day, at 9, 12, 15, 18 and 21 h. With
s = 1/2 - 3/2 (1 - t / 21)^2, in which the first days differ most from the rest, v the time of day from -1 to 1, w the
day of the week as an angle, b ~ N(0, I_4), r = 0.3 (b1^2 - 1) and g = exp(0.4 b4),

    logit m      = -1.31 + 1.02 b1 + 0.88 r + (0.68 b2 + 0.25 b1 b2) s + 0.32 b3 v + 0.36 (g - 0.6) cos(w - 0.8),
    affect       = 1 + 6 Beta(12 m, 12 (1 - m)),

and the logits of lonely and bored are made of the same four random effects, in which they bend as well. Every person
answers with a chance of their own. After each day a person may give up for good, the more likely the higher the affect
that they told last: missing at random.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array, ArrayLike, Bool, Float

import mefit as mf

DAYS = 21
HOURS = np.array([9.0, 12.0, 15.0, 18.0, 21.0])
TIMES = (np.arange(DAYS)[:, None] + HOURS / 24.0).ravel()  # in days
PRECISION = 12.0
OUTCOMES = ("affect", "bored", "lonely")


class Moods(NamedTuple):
    """People, and what is true of them: means of the three outcomes at all times, whether they were seen or not."""

    population: mf.Population
    means: dict[str, Float[np.ndarray, "N 105"]]  # of affect, and the probabilities of bored and lonely
    answered: Bool[np.ndarray, "N 105"]


def linear_predictors(b: Iterable[ArrayLike], time: ArrayLike) -> dict[str, Array]:
    """The logits of the three outcomes of people with these four random effects, at these times in days."""
    t = jnp.asarray(time)
    settling = 0.5 - 1.5 * (1.0 - t / DAYS) ** 2
    day = (24.0 * (t - jnp.floor(t)) - 15.0) / 6.0
    week = 2.0 * jnp.pi * t / 7.0
    b1, b2, b3, b4 = (jnp.asarray(effect) for effect in b)
    bent = 0.30 * (b1**2 - 1.0)
    swing = jnp.exp(0.4 * b4)
    drift = (0.68 * b2 + 0.25 * b1 * b2) * settling
    weekend = jnp.cos(week - 0.8)
    affect = -1.31 + 1.02 * b1 + 0.88 * bent + drift + 0.32 * b3 * day + 0.36 * (swing - 0.6) * weekend
    lonely = -1.10 + 1.35 * b1 + 0.40 * bent + 0.70 * b3 + 0.70 * drift + 0.30 * (swing - 1.0) * weekend
    bored = -0.55 + 0.77 * b1 - 0.75 * b3 + 0.55 * b4 + 0.50 * b2 * settling + 0.33 * day + 0.20 * jnp.cos(week)
    return {"affect": affect, "bored": bored, "lonely": lonely}


def chances(b: Iterable[ArrayLike]) -> dict[str, np.ndarray]:
    """What the logits of these people come to between 0 and 1, at all times."""
    logits = linear_predictors(b, TIMES)
    return {name: 1.0 / (1.0 + np.exp(-np.asarray(values))) for name, values in logits.items()}


class Truth(mf.Model):
    """What the people are made by, as a model: the posterior that no fitted model can better."""

    def random_effects(self):
        return dist.Normal(jnp.zeros(4), 1.0)

    def observations(self, eta, subject):
        logits = linear_predictors(eta, subject.time)
        m = jax.nn.sigmoid(logits["affect"])
        share = dist.Beta(PRECISION * m, PRECISION * (1.0 - m))
        return {
            "affect": dist.TransformedDistribution(share, dist.transforms.AffineTransform(1.0, 6.0)),
            "bored": dist.Bernoulli(logits=logits["bored"]),
            "lonely": dist.Bernoulli(logits=logits["lonely"]),
        }


def simulate_moods(count: int = 1174, seed: int = 1) -> Moods:
    """`count` people, of whom nobody answers all prompts and everybody the first."""
    rng = np.random.default_rng(seed)
    chance = chances(rng.standard_normal((count, 4)).T[:, :, None])
    m = chance["affect"]
    y = {name: (rng.random(m.shape) < chance[name]).astype(float) for name in ("bored", "lonely")}
    y["affect"] = 1.0 + 6.0 * np.clip(rng.beta(PRECISION * m, PRECISION * (1.0 - m)), 1e-6, 1.0 - 1e-6)
    answered = _answers(y["affect"], rng)
    means = {**chance, "affect": 1.0 + 6.0 * m}
    return Moods(_population(y, answered), means, answered)


def _answers(affect: Float[np.ndarray, "N 105"], rng: np.random.Generator) -> Bool[np.ndarray, "N 105"]:
    """Which prompts are answered: by a chance of one's own, until one gives up, by the affect that was told last."""
    count = len(affect)
    own = 1.0 / (1.0 + np.exp(-rng.normal(-0.05, 0.8, (count, 1))))
    answered = rng.random(affect.shape) < own
    answered[:, 0] = True
    last = affect[:, 0]
    here = np.ones(count, bool)
    for day in range(DAYS):
        rows = slice(day * HOURS.size, (day + 1) * HOURS.size)
        answered[:, rows] &= here[:, None]
        for row in range(rows.start, rows.stop):
            last = np.where(answered[:, row], affect[:, row], last)
        here = here & (rng.random(count) >= 1.0 / (1.0 + np.exp(-(-5.03 + 0.5 * last))))
    return answered


def _population(y: dict[str, np.ndarray], answered: np.ndarray) -> mf.Population:
    number, place = np.indices(answered.shape)
    frame = pd.DataFrame({"ID": number.ravel() + 1, "TIME": TIMES[place.ravel()]})
    for name in OUTCOMES:
        frame[name] = np.where(answered, y[name], np.nan).ravel()
    return mf.Population.from_frame(frame, y={name: name for name in OUTCOMES})
