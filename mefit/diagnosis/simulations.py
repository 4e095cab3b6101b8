"""Responses simulated from a fit."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm.auto import tqdm

from ..base.compiling import compiled
from ..data.subject import Subject
from ..fitting.about import _check, typical
from ..fitting.result import Fit
from ..model.densities import eta_mean, sample_random_effects
from ..model.model import Model
from ..model.simulate import _simulate_responses

_BLOCK = 50  # data sets simulated at once


def simulations(fit: Fit, samples: int, key: Any, posterior: bool = False) -> Float[np.ndarray, "S N n"]:
    """Responses: number s is `simulate(model, population, split(key, samples)[s])`, `posterior` at draws of theta."""
    _check(fit, False, key)
    if samples < 2:
        raise ValueError(f"{samples} simulated data sets do not make a distribution: take hundreds.")
    keys = jax.random.split(key, samples)
    draws = fit.draws if posterior else None
    turn = None if draws is None else np.resize(np.asarray(jax.random.permutation(key, len(draws))), (samples,))
    models = draws.models if draws else fit.model
    done = []
    for begin in tqdm(range(0, samples, _BLOCK), desc="simulating", leave=False, delay=1.0):
        block = np.minimum(begin + np.arange(_BLOCK), samples - 1)  # filled up with the last
        some = keys[block], None if turn is None else turn[block]
        done.append(np.asarray(_replicates(models, fit.population.subjects, *some, typical(fit))))
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
