"""Responses simulated from a fit."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float
from tqdm.auto import tqdm

from ..base.compiling import compiled
from ..data.subject import Subject
from ..fitting.about import _check, typical
from ..fitting.result import Fit
from ..model.model import Model
from ..model.simulate import new_people

_BLOCK = 50  # data sets simulated at once


def simulations(fit: Fit, samples: int, key: Any, posterior: bool = False) -> Float[np.ndarray, "S N n"]:
    """Responses: number s is `simulate(model, population, split(key, samples)[s])`, `posterior` at draws of theta."""
    _check(fit, False, key)
    if samples < 2:
        raise ValueError(f"{samples} simulated data sets do not make a distribution: take hundreds.")
    keys = jax.random.split(key, samples)
    draws = fit.draws if posterior else None
    models = fit.model
    turns = None
    if draws is not None:
        models = draws.models
        turns = np.resize(np.asarray(jax.random.permutation(key, len(draws))), (samples,))
    done = []
    for begin in tqdm(range(0, samples, _BLOCK), desc="simulating", leave=False, delay=1.0):
        block = np.minimum(begin + np.arange(_BLOCK), samples - 1)  # filled up with the last
        block_turns = None if turns is None else turns[block]
        y = _replicates(models, fit.population.subjects, keys[block], block_turns, typical(fit))
        done.append(np.asarray(y))
    return np.concatenate(done)[:samples]


@compiled
def _replicates(models: Model, subjects: Subject, keys: Any, turns: Array | None, at_mean: bool) -> Array:
    """A data set (N, n) of each key, from the model or from the draw of this turn."""

    def replicate(key, turn):
        key_effects, key_responses = jax.random.split(key)
        return new_people(models, turn, subjects, key_effects, key_responses, at_mean=at_mean)

    return jax.vmap(replicate)(keys, turns)
