"""Draws of each subject's random effects given its data."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.compiling import compiled
from ..data.population import Population
from ..data.subject import Subject
from ..effects.kernels import Kernel, RandomWalk, Target, sweep
from ..effects.proposals import LaplaceProposal
from ..fitting.about import check
from ..fitting.result import Fit
from ..model.densities import sample_random_effects
from ..model.model import Model

_KERNELS = (LaplaceProposal(), RandomWalk(steps=1))  # those of SAEM
_WARM_UP = 50  # iterations, or more


def conditional_draws(
    fit: Fit,
    draws: int = 200,
    *,
    population: Population | None = None,
    key: PRNGKeyArray | None = None,
    chains: int = 10,
    thin: int = 5,
    kernels: tuple[Kernel, ...] = _KERNELS,
) -> Float[np.ndarray, "N {draws} K"]:
    """Draws from p(eta_i | y_i, theta) of every subject at the fit's theta: the whole distribution,
    not its mode.

        draws = mf.conditional_draws(fit, 10, key=jax.random.key(1))

    Metropolis-Hastings by `kernels`, those of SAEM unless given, in `chains` that start from
    p(eta | theta).
    Every `thin`-th state is kept, after a warm-up as long as what follows, 50 iterations or more,
    in which the kernels adapt. Where the modes shrink, the draws of all subjects together have the
    variance omega^2: a shrinkage of 0.

    The subjects are those of `population`, or (None) the fitted ones.
    ValueError for a fit without random effects, one that has not estimated their law, several
    outcomes, no key, or counts below one.
    """
    check(fit, True, key, population)
    if min(draws, chains, thin) < 1:
        raise ValueError("conditional_draws needs draws, chains and thin of one or more.")
    people = fit.population if population is None else population
    for kernel in kernels:
        kernel.check(fit.model, people)
    kept = max(math.ceil(draws / chains), math.ceil(_WARM_UP / thin))
    gains = np.append(1.0 / np.sqrt(1.0 + np.arange(kept)), np.zeros(kept))
    eta = np.asarray(_walk(fit.model, people.subjects, kernels, key, gains, chains, thin))
    last = eta.reshape(-1, *eta.shape[2:])[-draws:]
    return np.moveaxis(last, 1, 0)


class _Chains(NamedTuple):
    eta: Float[Array, "C N K"]
    tuning: Any  # one for each kernel


@compiled
def _walk(
    model: Model, subjects: Subject, kernels: tuple[Kernel, ...], key: Any, gains: Array, chains: int, thin: int
) -> Array:
    """eta (kept, C, N, K) after each `thin` iterations, as often as there are gains; the second
    half is kept."""
    count = subjects.time.shape[0]
    key_start, key_walk = jax.random.split(key)
    start = sample_random_effects(model, chains * count, key_start).reshape(chains, count, -1)
    target = Target(model, subjects)

    def iteration(state, inputs):
        key, gain = inputs
        eta, _, tuning, _ = sweep(kernels, key, target, state.eta, state.tuning, gain)
        return _Chains(eta, tuning), None

    def keep(state, inputs):
        key, gain = inputs
        state, _ = jax.lax.scan(iteration, state, (jax.random.split(key, thin), jnp.full(thin, gain)))
        return state, state.eta

    begin = _Chains(start, tuple(kernel.init(model, count) for kernel in kernels))
    keys = jax.random.split(key_walk, len(gains))
    _, eta = jax.lax.scan(keep, begin, (keys, jnp.asarray(gains)))
    return eta[len(gains) // 2 :]
