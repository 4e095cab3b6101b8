"""Values and scores for any pairs of theta and subject, through one program of fixed size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..base.compiling import compiled
from ..fitting.about import likelihood_of
from ..fitting.result import Fit
from ..model.model import Model
from ..model.parameters import has_prior
from ..model.space import log_prior, set_free

_PAIRS = 64  # (theta, subject) pairs evaluated at once: measured fastest, 27 microseconds a pair by Laplace
_BLOCKS = 32  # and so many times in one call of the program, at most


@compiled
def _pair_scores(about: tuple[Any, ...], blocks: Array, x: Array, subject: Array, data: Any) -> tuple[Array, Array]:
    """Value and score of pairs, a vector of free coordinates and the number of a subject, block after block."""
    (objective, template, fixed), size = about, x.shape[0] // _BLOCKS

    def one(x, data):
        return objective.subject(set_free(template, fixed, x), *data).value

    def block(k, found):
        at, i = (jax.lax.dynamic_slice_in_dim(a, k * size, size) for a in (x, subject))
        part = jax.vmap(jax.value_and_grad(one))(at, jax.tree.map(lambda leaf: leaf[i], data))
        return tuple(jax.lax.dynamic_update_slice_in_dim(a, p, k * size, 0) for a, p in zip(found, part, strict=True))

    return jax.lax.fori_loop(0, blocks, block, (jnp.zeros(len(x)), jnp.zeros(x.shape)))


@compiled
def _priors(template: Model, fixed: tuple[str, ...], x: Array) -> tuple[Array, Array]:
    return jax.vmap(jax.value_and_grad(lambda x: log_prior(set_free(template, fixed, x), fixed)))(x)


class Pairs:
    """Values and scores for any pairs of theta and subject, through one program of fixed size."""

    def __init__(self, fit: Fit):
        self.fit = fit
        self.objective = likelihood_of(fit)
        self.prior = has_prior(fit.model, fit.fixed)
        self.data = (fit.population.subjects, self.objective.extras(fit.model, fit.population, fit.key))
        self.size = max(1, _PAIRS // max(1, self.objective.evaluations(fit.model) // 2000))

    def __call__(self, x: np.ndarray, which: np.ndarray, subject: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value (M,) and score (M, P) of the pairs (x[which], subject)."""
        found, most = [], self.size * _BLOCKS
        for begin in range(0, len(which), most):
            count = min(most, len(which) - begin)
            some = begin + np.minimum(np.arange(most), count - 1)  # filled up with the last pair
            about, blocks = (self.objective, self.fit.model, self.fit.fixed), np.asarray(-(-count // self.size))
            both = _pair_scores(about, blocks, x[which[some]], subject[some], self.data)
            found.append([np.asarray(part)[:count] for part in both])
        values, scores = map(np.concatenate, zip(*found, strict=True))
        return values, scores

    def total(self, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the weighted objective (R,) and its gradient (R, P) at x (R, P)."""
        which, subject = np.nonzero(weights)  # a subject of weight zero costs nothing
        (value, score), weight = self(x, which, subject), weights[which, subject]
        total, slope = np.zeros(len(x)), np.zeros(x.shape)
        np.add.at(total, which, -weight * value)
        np.add.at(slope, which, -weight[:, None] * score)
        if self.prior:
            prior, prior_slope = _priors(self.fit.model, self.fit.fixed, x)
            total, slope = total - np.asarray(prior), slope - np.asarray(prior_slope)
        return total, slope
