"""One subject in a mixture of experts: what each class says of it, put together."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float

from ..base.newton import Mode, ModeSearch
from ..data.subject import Subject
from ..model.mixture import MixtureOfExperts

_NEGLIGIBLE = 1e-8  # the share of a class whose search for a mode need not have ended


class Together(NamedTuple):
    """The classes of one subject together."""

    value: Float[Array, ""]  # log sum_k pi_k L_k
    responsibilities: Float[Array, " C"]  # pi_k L_k, over their sum
    mode: Mode  # of (u, eta_1, ..., eta_K): u in the middle of the most probable class


def together(
    mixture: MixtureOfExperts,
    subject: Subject,
    values: Float[Array, " C"],
    modes: list[Mode],
) -> Together:
    """log sum_k pi_k(w) L_k from the log L_k of each class, and the modes of all random effects.

    The mode of eta_k is that in class k. That of u has no curvature of its own; its variance is given as 1, its
    prior's.
    """
    log_shares = mixture.gate.log_shares(subject)
    each = log_shares + values
    value = logsumexp(each)
    responsibilities = jnp.exp(each - value)
    u = mixture.inside_class(jnp.asarray(0.5), log_shares, jnp.argmax(each))
    eta = jnp.concatenate([u[None], *[mode.eta for mode in modes]])
    blocks = [mode.precision for mode in modes if mode.eta.size]
    precision = jax.scipy.linalg.block_diag(jnp.ones((1, 1)), *blocks)
    ended: Bool[Array, " C"] = jnp.stack([mode.converged for mode in modes])
    converged = jnp.all(ended | (responsibilities < _NEGLIGIBLE))
    return Together(value, responsibilities, Mode(jax.lax.stop_gradient(eta), precision, converged))


def search_of_expert(search: ModeSearch, mixture: MixtureOfExperts, k: int) -> ModeSearch:
    """The search for the mode of expert k, of one that is told of all random effects where it begins."""
    place = mixture.places[k]
    aside = None if search.aside is None else search.aside[place]
    starts = None if search.starts is None else search.starts[:, place]
    return dataclasses.replace(search, aside=aside, starts=starts)
