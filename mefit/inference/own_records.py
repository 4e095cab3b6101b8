"""Draws of people's random effects given their own records, by importance weights, theta being known or drawn."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..base.compiling import compiled
from ..base.pareto import pareto_k
from ..base.parts import in_parts
from ..base.peaks import LITTLE
from ..data.subject import Subject
from ..methods.nuts.draws import Draws
from ..model.model import Model, draw_of
from ..objectives.sampled import ImportanceSampling

_AT_ONCE = 32  # people whose draws are made together: of thousands at once they would fill the memory
_DRAWN_AT_ONCE = 2_000_000  # draws of random effects that are kept until some are picked: 16 MB for each of them
# Densities that go through a solver and are looked at together: all wait for the one that takes most steps, and of
# thousands of draws one is far out. A hundred people took 12 s, and 21 with four times as many at a time.
_DENSITIES_AT_ONCE = 1000
_NUMBERS_AT_ONCE = 2_000_000  # draws of all their responses: 16 MB, of which a density needs many


class Picked(NamedTuple):
    """M draws of each person, which all count the same."""

    eta: Float[np.ndarray, "N M K"]
    theta: Int[np.ndarray, "N M"] | None  # which draw of theta each belongs to; None where theta is known
    effective_sample_size: Float[np.ndarray, " N"]
    pareto_k: Float[np.ndarray, " N"]
    found: Bool[np.ndarray, " N"]  # whether their modes were, and the draws cover them


def with_theta_known(
    sampling: ImportanceSampling, model: Model, subjects: Subject, count: int, key_draws: Any, key_pick: Any
) -> Picked:
    """`count` draws from p(eta | y_i, theta) of each person, in an order of chance.

    So draw m of one person has nothing to do with draw m of another: those from the prior stand last in all proposals.
    """
    people = subjects.time.shape[0]
    keys = jax.random.split(key_draws, people)
    starts = np.asarray(jax.random.uniform(key_pick, (people,)))
    size = max(_AT_ONCE, _DRAWN_AT_ONCE // sampling.samples)
    parts = []
    for begin in range(0, people, size):
        which = np.minimum(np.arange(begin, begin + min(size, people)), people - 1)  # all parts are one program
        own = (subjects, keys)
        if people > size:
            own = jax.tree.map(lambda leaf, which=which: leaf[which], own)
        kept = slice(min(size, people - begin))
        weighted = jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[kept], _weighted(sampling, model, *own))
        parts.append(_picked(weighted, count, starts[which[kept]]))
    joined: Picked = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    order = _shuffled_within(key_pick, (people, 1, count))
    return joined._replace(eta=np.take_along_axis(joined.eta, order[:, :, None], axis=1))


def _picked(weighted: Any, count: int, starts: Float[np.ndarray, " N"]) -> Picked:
    """Of people's weighted draws as many as are wanted."""
    log_weight = _counted(weighted.log_weight)
    shares = _shares(log_weight)
    chosen = _systematic(shares, count, starts)
    return Picked(
        eta=np.take_along_axis(weighted.etas, chosen[:, :, None], axis=1),
        theta=None,
        effective_sample_size=np.minimum(1.0 / np.sum(shares**2, axis=1), count),
        pareto_k=np.array([pareto_k(one) for one in log_weight]),
        found=weighted.place.converged & (weighted.left_out < LITTLE),
    )


def with_theta_drawn(
    sampling: ImportanceSampling,
    models: Model,
    subjects: Subject,
    told_already: Bool[np.ndarray, " N"],
    count: int,
    key_draws: Any,
    key_pick: Any,
) -> Picked:
    """`count` draws from p(theta, eta | y_i, y) of each person, `models` being S draws from p(theta | y).

    For each theta_s there are P draws eta_sp from a proposal, with weights w_sp = p(y_i, eta_sp | theta_s) / q(eta_sp),
    whose mean is p(y_i | theta_s). So all S P pairs together, weighed by w_sp, are draws from the posterior in which
    person i has told of theta too. Where that is `told_already`, y_i being part of y, each theta counts the same, and
    the weights add up to one within it. The eta of each theta stand in an order of chance: in that of the proposal
    systematic picks would meet the same place within each, such as its draws from the prior, for theta after theta.
    """
    people = subjects.time.shape[0]
    size = _draws_of(models)
    keys = jax.random.split(key_draws, (people, size))
    weighted = jax.tree.map(np.asarray, _weighted_by_theta(sampling, models, subjects, keys))
    log_weight = _counted(weighted.log_weight)  # (N, S, P)
    log_evidence = np.logaddexp.reduce(log_weight, axis=2)
    within = log_weight - np.where(np.isfinite(log_evidence), log_evidence, 0.0)[:, :, None]
    log_theta = np.where(told_already[:, None], 0.0, log_evidence)
    pooled = (within + log_theta[:, :, None]).reshape(people, -1)
    shares = _shares(pooled)
    starts = np.asarray(jax.random.uniform(key_pick, (people,)))
    order = _shuffled_within(key_pick, within.shape)
    picks = _systematic(np.take_along_axis(shares, order, axis=1), count, starts)
    chosen = np.take_along_axis(order, picks, axis=1)
    etas = weighted.etas.reshape(people, -1, weighted.etas.shape[-1])
    tails = [max(pareto_k(one), pareto_k(other)) for one, other in zip(pooled, log_theta, strict=True)]
    return Picked(
        eta=np.take_along_axis(etas, chosen[:, :, None], axis=1),
        theta=chosen // sampling.samples,
        effective_sample_size=np.minimum(1.0 / np.sum(shares**2, axis=1), count),
        pareto_k=np.array(tails),
        found=np.all(weighted.place.converged & (weighted.left_out < LITTLE), axis=1),
    )


def thinned(draws: Draws, count: int) -> Model:
    """`count` of the draws of theta at most, evenly spaced over the chains, as a stack of models."""
    kept = np.linspace(0, len(draws) - 1, min(count, len(draws))).round().astype(int)
    return draw_of(draws.models, kept)


def _draws_of(models: Model) -> int:
    return next(leaf.shape[0] for leaf in jax.tree.leaves(models) if hasattr(leaf, "shape"))


def _counted(log_weight: Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """The weights of draws, of which those where the density is no number count nothing."""
    return np.where(np.isnan(log_weight), -np.inf, log_weight)


def _shares(log_weight: Float[np.ndarray, "N M"]) -> Float[np.ndarray, "N M"]:
    shares = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def _systematic(
    shares: Float[np.ndarray, "N M"], count: int, starts: Float[np.ndarray, " N"]
) -> Int[np.ndarray, "N count"]:
    """For each person `count` indices, each as often as its share says, to less than one; `starts` in [0, 1)."""
    chosen = []
    for share, start in zip(shares, starts, strict=True):
        at = (np.arange(count) + start) / count
        chosen.append(np.minimum(np.searchsorted(np.cumsum(share), at), len(share) - 1))
    return np.stack(chosen)


def _shuffled_within(key: Any, shape: tuple[int, int, int]) -> Int[np.ndarray, "N M"]:
    """For each person the S P indices of the pairs, theta after theta, those of each theta in an order of chance."""
    people, thetas, each = shape
    chance = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    places = chance.permuted(np.broadcast_to(np.arange(each), shape), axis=2)
    return (places + each * np.arange(thetas)[:, None]).reshape(people, -1)


def _at_once(subjects: Subject, draws: int) -> int:
    """How many people's draws are made together."""
    cells = sum(mask.shape[1] for mask in jax.tree.leaves(subjects.mask))
    return min(len(subjects.time), _AT_ONCE, max(1, _NUMBERS_AT_ONCE // (draws * cells)))


def _share(others: int) -> int:
    """How many draws of one person, and of so many others, are evaluated together."""
    return max(1, _DENSITIES_AT_ONCE // others)


@compiled
def _weighted(sampling: ImportanceSampling, model: Model, subjects: Subject, keys: Array) -> Any:
    people = _at_once(subjects, sampling.samples)

    def of_person(one):
        subject, key = one
        return sampling.weighted(model, subject, key, at_once=_share(people))

    return in_parts(of_person, (subjects, keys), people)


@compiled
def _weighted_by_theta(sampling: ImportanceSampling, models: Model, subjects: Subject, keys: Array) -> Any:
    size = keys.shape[1]
    people = _at_once(subjects, sampling.samples * size)

    def of_person(one):
        subject, own_keys = one

        def of_theta(turn, key):
            return sampling.weighted(draw_of(models, turn), subject, key, at_once=_share(people * size))

        return jax.vmap(of_theta)(jnp.arange(size), own_keys)

    return in_parts(of_person, (subjects, keys), people)
