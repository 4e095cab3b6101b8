"""Responses simulated from a fit."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm.auto import tqdm

from ..base.compiling import compiled
from ..data.population import Population
from ..data.subject import Subject
from ..fitting.about import check, typical
from ..fitting.result import Fit
from ..model.densities import eta_mean, sample_random_effects
from ..model.model import Model
from ..model.simulate import _simulate_responses

_BLOCK = 50  # data sets simulated at once


def simulations(
    fit: Fit, samples: int, key: Any, posterior: bool = False, population: Population | None = None
) -> Float[np.ndarray, "S N n"]:
    """Responses of the fitted subjects, or of those of another `population`.

    Number s is `simulate(model, population, split(key, samples)[s])`: with new random effects, and,
    where `posterior`, at another draw of theta.
    ValueError for fewer than two samples, and as `check` has it.
    """
    check(fit, False, key, population)
    if samples < 2:
        raise ValueError(f"{samples} simulated data sets do not make a distribution: take hundreds.")
    subjects = (fit.population if population is None else population).subjects
    keys = jax.random.split(key, samples)
    models = fit.model
    turns = None
    if posterior and fit.draws is not None:
        models = fit.draws.models
        order = np.asarray(jax.random.permutation(key, len(fit.draws)))
        turns = np.resize(order, (samples,))
    done = []
    for begin in tqdm(range(0, samples, _BLOCK), desc="simulating", leave=False, delay=1.0):
        block = np.minimum(begin + np.arange(_BLOCK), samples - 1)  # filled up with the last
        block_turns = None if turns is None else turns[block]
        done.append(np.asarray(_replicates(models, subjects, keys[block], block_turns, typical(fit))))
    return np.concatenate(done)[:samples]


@compiled
def _replicates(models: Model, subjects: Subject, keys: Any, turns: Array | None, pooled: bool) -> Array:
    count = subjects.time.shape[0]

    def one(key, turn):
        model = models if turn is None else jax.tree.map(lambda a: a[turn] if eqx.is_array(a) else a, models)
        key_eta, key_y = jax.random.split(key)
        eta = jnp.tile(eta_mean(model), (count, 1)) if pooled else sample_random_effects(model, count, key_eta)
        return _simulate_responses._function(model, eta, subjects, jax.random.split(key_y, count))

    return jax.vmap(one)(keys, turns)
