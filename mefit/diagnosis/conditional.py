"""Draws of each subject's random effects given its data."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.compiling import compiled
from ..data.subject import Subject
from ..effects.kernels import LaplaceProposal, RandomWalk, Target, sweep
from ..fitting.about import _check
from ..fitting.result import Fit
from ..model.densities import sample_random_effects
from ..model.model import Model

_KERNELS = (LaplaceProposal(), RandomWalk(steps=1))  # those of SAEM


def conditional_draws(
    fit: Fit, draws: int = 200, *, key: PRNGKeyArray | None = None, chains: int = 10, thin: int = 5
) -> Float[np.ndarray, "N {draws} K"]:
    """Draws from p(eta_i | y_i, theta) of every subject at the fit's theta: the whole distribution, not its mode.

    Metropolis-Hastings by the default kernels of SAEM, in `chains` that start from p(eta | theta). Every `thin`-th
    state is kept, after a warm-up as long as what follows, 50 iterations or more, in which the kernels adapt. Where
    the modes shrink, the draws of all subjects together have the variance omega^2: a shrinkage of 0.
    """
    _check(fit, True, key)
    if min(draws, chains, thin) < 1:
        raise ValueError("conditional_draws needs draws, chains and thin of one or more.")
    kept = max(-(-draws // chains), -(-50 // thin))
    gains = np.append(1.0 / np.sqrt(1.0 + np.arange(kept)), np.zeros(kept))
    eta = np.asarray(_walk(fit.model, fit.population.subjects, key, gains, chains, thin))
    return np.moveaxis(eta.reshape(-1, *eta.shape[2:])[-draws:], 1, 0)


@compiled
def _walk(model: Model, subjects: Subject, key: Any, gains: Array, chains: int, thin: int) -> Array:
    """eta (kept, C, N, K) after each `thin` iterations, as often as there are gains; the second half is kept."""
    (key_start, key), count = jax.random.split(key), subjects.time.shape[0]
    eta = sample_random_effects(model, chains * count, key_start).reshape(chains, count, -1)

    def iteration(state, inputs):
        eta, _, tuning, _ = sweep(_KERNELS, inputs[0], Target(model, subjects), state[0], state[1], inputs[1])
        return (eta, tuning), None

    def keep(state, inputs):
        state, _ = jax.lax.scan(iteration, state, (jax.random.split(inputs[0], thin), jnp.full(thin, inputs[1])))
        return state, state[0]

    begin = (eta, tuple(kernel.init(model, count) for kernel in _KERNELS))
    return jax.lax.scan(keep, begin, (jax.random.split(key, len(gains)), jnp.asarray(gains)))[1][len(gains) // 2 :]
