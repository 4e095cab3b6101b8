"""Prediction sets that hold what they promise for new people, whatever is wrong with the model."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import ArrayLike, Bool, Float, PRNGKeyArray

from ..base.chance import numpy_generator, require_key
from ..data.by_outcome import UNNAMED, as_dict
from ..data.choosing import measured
from ..data.population import Population
from ..inference.predictive import Predictive

Predicts: TypeAlias = Callable[[Population], Predictive]


def conformal_quantile(scores: Float[ArrayLike, " n"] | Sequence, level: float | int) -> float:
    """The smallest score that is no smaller than ceil((n + 1) level) of n, so that a new one is below it as often:

        P(score_new <= quantile) >= level, and <= level + 1 / (n + 1) where no two scores are equal.

    ValueError for fewer than level / (1 - level) scores, of which none is large enough.
    Source: Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World.

        mf.conformal_quantile(np.arange(1.0, 40.0), 0.9)  # 36: of 39 scores the 36th
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"a conformal set needs a level between 0 and 1, and got {level:g}.")
    values = np.sort(np.ravel(np.asarray(scores, float)))
    if np.any(np.isnan(values)):
        raise ValueError("a score is not a number: leave out people of whom nothing was seen.")
    place = math.ceil((values.size + 1) * level - 1e-9)
    if place > values.size:
        least = math.ceil(level / (1.0 - level) - 1e-9)
        raise ValueError(f"{values.size} people cannot vouch for {100 * level:g}%: calibrate on {least} or more.")
    return float(values[place - 1])


@dataclasses.dataclass(frozen=True)
class Conformal:
    """Prediction sets calibrated on people that the model had not seen.

    `promised` is the probability with which they hold a new person's response, or with `whole` all its responses at
    once; `level` is that of the highest-density sets of the model that do so: larger where the model is too sure.
    `scores` are those of the people that it was calibrated on; of rows up to `after` nothing is said.
    """

    predict: Predicts = dataclasses.field(repr=False)
    promised: float | int
    level: float
    whole: bool
    scores: Float[np.ndarray, " n"] = dataclasses.field(repr=False)
    after: float | int = -np.inf

    def sets(self, population: Population) -> pd.DataFrame:
        """The sets of new people, a row for each interval: ID, TIME, part, low, high."""
        found = self.predict(population).highest_density(self.level)
        return found[found.TIME > self.after].reset_index(drop=True)

    def covers(self, population: Population, *, outcome: str = UNNAMED, rows: Any = None) -> Float[np.ndarray, "N m"]:
        """1 where a response that came lies in its set, 0 where not, NaN where none came, or in rows up to `after`.

        ValueError for a censored response, of which it is not known, unless `rows`, a mask (N, m), leaves it out.
        """
        later = np.asarray(population.subjects.time) > self.after
        levels = _levels(self.predict(population), population, outcome, later if rows is None else later & rows)
        return np.where(np.isnan(levels), np.nan, levels <= self.level)


def conformal(
    predict: Predicts,
    population: Population,
    level: float | int = 0.95,
    *,
    whole: bool = False,
    outcome: str = UNNAMED,
    after: float | int = -np.inf,
    key: PRNGKeyArray | None = None,
) -> Conformal:
    """Calibrate prediction sets on people that the model was not fitted to.

        def predict(people):
            known = mf.individual(fit, people.until(1.0), key=jax.random.key(1))
            return mf.predictive(known)

        calibrated = mf.conformal(predict, held_out, 0.95, after=1.0, key=jax.random.key(2))
        calibrated.sets(new_people)

    A response's score is the level of the smallest highest-density set that holds it. People are exchangeable, the rows
    of one are not: each person gives one score, of one of its rows drawn at random, or with `whole` the largest of all
    its rows, so that the sets hold a whole curve. The sets at the ceil((n + 1) level)-th of n scores hold a new
    person's response (one drawn at random), or whole curve, with a probability of `level` at least, however wrong the
    model is.

    **Arguments**

    - `predict`: from people to a `Predictive` at their own rows. It has to leave out what it predicts.
    - `population`: n people, of whom none was fitted.
    - `after`: rows up to this time are not predicted, such as those that `predict` has seen.
    - `key`: draws the row of each; not needed with `whole`.

    **Returns:** `Conformal`.

    **Raises:** ValueError for too few people, or none with a response to be predicted; for a response to be predicted
    that is censored, whose score is not known: taken for its limit, or left out, it would make the sets too small.
    Sources: Lei et al. (2018), J. Am. Stat. Assoc. 113; scores: Izbicki, Shimizu and Stern (2022), J. Mach. Learn. Res.
    23; groups: Dunn, Wasserman and Ramdas (2023), J. Am. Stat. Assoc. 118.
    """
    rows = np.asarray(population.subjects.time) > after
    levels = _levels(predict(population), population, outcome, rows)
    seen = ~np.isnan(levels)
    have = np.any(seen, axis=1)
    if not np.any(have):
        raise ValueError("nobody has a response to be predicted: look at after=, and at the responses.")
    levels = levels[have]
    seen = seen[have]
    if whole:
        scores = np.max(np.where(seen, levels, -np.inf), axis=1)
    else:
        require_key(key, "conformal")
        luck = np.where(seen, numpy_generator(key).random(seen.shape), -1.0)
        scores = np.take_along_axis(levels, np.argmax(luck, axis=1)[:, None], axis=1)[:, 0]
    found = conformal_quantile(scores, level)
    if found >= 1.0:
        raise ValueError(
            "sets of this level have to hold responses that the model holds for impossible, and would hold everything: "
            "give the model a wider density, or take a lower level."
        )
    return Conformal(predict=predict, promised=level, level=found, whole=whole, scores=scores, after=after)


def _levels(told: Predictive, population: Population, outcome: str, rows: Any) -> Float[np.ndarray, "N m"]:
    """The level of each response that came, NaN where none did, or in rows that are left out."""
    subjects = population.subjects
    mask = np.asarray(as_dict(subjects.mask)[outcome])
    if told.time.shape != mask.shape:
        raise ValueError("predict has to give a Predictive at the rows of the people themselves: leave time out.")
    wanted = mask if rows is None else mask & rows
    _refuse_censored(population, outcome, wanted)
    y = np.where(wanted, np.asarray(as_dict(subjects.y)[outcome]), np.nan)
    return told.level_of(y)


def _refuse_censored(population: Population, outcome: str, wanted: Bool[np.ndarray, "N m"]) -> None:
    """Where a response lies within an interval, and so whether a set holds it, nobody knows."""
    cut = wanted & ~measured(population.subjects, outcome)
    if cut.any():
        i, row = np.argwhere(cut)[0]
        raise ValueError(
            f"the response of subject {population.ids[i]} in row {row + 1} is censored, one of {int(cut.sum())}, and "
            "whether a set holds it is not known: conformal sets need people whose responses to be predicted were all "
            "measured, by a later after=, another outcome, or an assay with a lower limit."
        )
