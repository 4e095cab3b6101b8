"""Ways with missing responses that are wrong, each for a reason of its own, and dropout that no way can mend.

`simulate_dropout` of `workshop.studies.autoencoders` has people leave by what was seen of them: missing at random. Then
a likelihood over what was seen is right, and nothing need be filled in. The four ways here are tried beside it:

    available_case_means(population)        the mean of those who are still there
    completers(population)                  only people without a gap
    last_value_carried_forward(population)  the last value that was seen, repeated
    mean_imputed(population)                the mean of those who are still there, in every gap

`simulate_unseen_dropout` has people leave by what nobody saw: missing not at random, where the likelihood errs as well.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

import mefit as mf
from mefit.data.population import one_outcome

from .autoencoders import MEAN_AT_THE_END, CoefficientModel, coefficient_model, simulate_curves

_DROPOUT = -4.65  # of a typical person at each visit, so that three in ten are gone by the end
_STEEP = 1.5  # for each unit that a curve ends higher


def simulate_unseen_dropout(
    count: int, seed: int, strength: float = 1.0
) -> tuple[Float[np.ndarray, "N 20"], Float[np.ndarray, "N 20"]]:
    """Responses of `count` people with nearly linear curves; and the same with NaN from where a person dropped out.

    A person is gone from any visit after the first on with logit P = -4.65 + 1.5 (m - 4.569), m the value in which the
    own curve ends and 4.569 the mean of these: people leave because of what is to come, and nobody has seen it when
    they leave. `strength` multiplies how far the chance hangs on it; at 0 it is as large for everybody, and responses
    are missing completely at random.
    """
    rng = np.random.default_rng(2000 + seed)
    study = simulate_curves(count, seed)
    y = np.asarray(study.population.subjects.y)
    logit = _DROPOUT + _STEEP * strength * (study.curves[:, -1:] - MEAN_AT_THE_END)
    goes = rng.random((count, y.shape[1] - 1)) < 1.0 / (1.0 + np.exp(-logit))
    gone = np.column_stack([np.zeros(count, bool), np.logical_or.accumulate(goes, axis=1)])
    return y, np.where(gone, np.nan, y)


class LooseModel(CoefficientModel):
    """The deep mixed model under a light ridge.

    Of three data sets with dropout at random, under a ridge of 8 in place of 0.5 each had its mean at the end .012
    lower, and two of which it was asked a log-likelihood lower by 10 and 17.
    """

    net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(0.5))


def loose_model(df: int = 6) -> LooseModel:
    """The model at its start."""
    return LooseModel(**vars(coefficient_model(df=df)))


def responses_with_gaps(population: mf.Population) -> Float[np.ndarray, "N n"]:
    """The responses of people who share planned times, NaN where one is missing.

    ValueError for people with times of their own, or several outcomes: the ways here know neither.
    """
    one_outcome(population)
    subjects = population.subjects
    if not np.all(np.asarray(subjects.real)) or np.ptp(np.asarray(subjects.time), axis=0).any():
        raise ValueError("these ways need the same planned times for all: keep a row for each, its response empty.")
    return np.where(np.asarray(subjects.mask), np.asarray(subjects.y), np.nan)


def available_case_means(population: mf.Population) -> Float[np.ndarray, " n"]:
    """The mean at each planned time of those who were seen there.

    **Why it is wrong.** It compares different people at different times: where those with high values leave, the mean
    of those who stay falls though nobody's curve does. It is right only where leaving has nothing to do with the
    response, seen or unseen. NaN where nobody was seen.
    """
    y = responses_with_gaps(population)
    seen = ~np.isnan(y)
    count = seen.sum(axis=0)
    total = np.where(seen, y, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def completers(population: mf.Population) -> mf.Population:
    """The people without a gap.

    **Why it is wrong.** Who stays to the end is not like who leaves: they are a selection by the response itself, and
    so no answer is one about the people who began, not even at the first visit, where everybody was seen. Besides, all
    that the others showed is thrown away. ValueError where nobody was seen throughout.
    """
    whole = ~np.isnan(responses_with_gaps(population)).any(axis=1)
    if not whole.any():
        raise ValueError("nobody was seen at every planned time, so there are no completers.")
    return population[np.flatnonzero(whole)]


def last_value_carried_forward(population: mf.Population) -> mf.Population:
    """Each gap filled by the last value that was seen of the person before it.

    **Why it is wrong.** It takes for granted that everybody stands still from the moment they leave, error of
    measurement and all. Where curves rise or fall it is wrong even if leaving is pure chance; and what was made up
    counts as if it had been measured, so that errors of estimates come out too small. A gap before the first value
    stays one.
    """
    y = responses_with_gaps(population)
    number = np.where(~np.isnan(y), np.arange(y.shape[1]), 0)
    last = np.maximum.accumulate(number, axis=1)
    return _with_responses(population, np.take_along_axis(y, last, axis=1))


def mean_imputed(population: mf.Population) -> mf.Population:
    """Each gap filled by the mean of those who were seen at that time.

    **Why it is wrong.** The means stay those of the available cases, as wrong as they were. On top of that everybody
    who left becomes average: people differ less, their values hang together less from visit to visit, and the error
    looks smaller than it is, so that the wrong answer comes with the narrowest interval of all.
    """
    y = responses_with_gaps(population)
    return _with_responses(population, np.where(np.isnan(y), available_case_means(population), y))


def _with_responses(population: mf.Population, y: Float[np.ndarray, "N n"]) -> mf.Population:
    """The people with these responses; NaN is still missing."""
    seen: Bool[np.ndarray, "N n"] = ~np.isnan(y)
    filled = dataclasses.replace(
        population.subjects, y=jnp.asarray(np.where(seen, y, 0.0)), mask=jnp.asarray(seen), censored=None, limit=None
    )
    return dataclasses.replace(population, subjects=filled)
