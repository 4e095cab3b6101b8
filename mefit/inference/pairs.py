"""Values and scores for any pairs of theta and subject, through one program of fixed size."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..base import devices
from ..base.compiling import compiled, compiled_for_devices
from ..base.dealing import dealt_out
from ..data.population import Population
from ..fitting.about import likelihood_of
from ..fitting.result import Fit
from ..model.parameters import has_prior
from ..model.space import Space
from ..objectives import mixture
from ..objectives.evaluation import value_and_gradient
from ..objectives.objective import Objective

# (theta, subject) pairs evaluated at once: measured fastest, 27 microseconds a pair by Laplace
_PAIRS = 64
_BLOCKS = 32  # and so many times in one call of the program, at most


class Values(NamedTuple):
    """Values of the pairs, and their derivatives in the free coordinates."""

    value: Float[Any, " M"]
    score: Float[Any, "M P"]


class _Likelihood(NamedTuple):
    """What is evaluated at each pair."""

    objective: Objective
    space: Space
    mesh: Any  # the devices that the pairs are shared out among; None where there is one


@compiled_for_devices
def _pair_scores(likelihood: _Likelihood, data: Any, blocks: Array, x: Array, subject: Array) -> Values:
    """Value and score of pairs, a vector of free coordinates and the number of a subject, on each
    device so many blocks of its own, one after the other."""

    def here(known: Any, pairs: Any) -> Values:
        likelihood, blocks, data = known
        x, subject = pairs
        return _on_one(likelihood, blocks, x, subject, data)

    return dealt_out(likelihood.mesh, here, (likelihood, blocks, data), (x, subject))


def _on_one(likelihood: _Likelihood, blocks: Array, x: Array, subject: Array, data: Any) -> Values:
    objective, space, _ = likelihood
    size = x.shape[0] // _BLOCKS

    def value_of(x, data):
        return mixture.term(objective, space.at(x), *data).value, None

    with_gradient = value_and_gradient(objective, space, x.shape[1])(value_of)

    def block(k, values):
        begin = k * size
        x_here = jax.lax.dynamic_slice_in_dim(x, begin, size)
        subject_here = jax.lax.dynamic_slice_in_dim(subject, begin, size)
        data_here = jax.tree.map(lambda leaf: leaf[subject_here], data)
        (value, _), score = jax.vmap(with_gradient)(x_here, data_here)
        return Values(
            value=jax.lax.dynamic_update_slice_in_dim(values.value, value, begin, 0),
            score=jax.lax.dynamic_update_slice_in_dim(values.score, score, begin, 0),
        )

    return jax.lax.fori_loop(0, blocks, block, Values(jnp.zeros(len(x)), jnp.zeros(x.shape)))


@compiled
def _priors(space: Space, x: Array) -> Values:
    """Log prior and its derivative at each x (R, P)."""
    value, score = jax.vmap(jax.value_and_grad(space.log_prior))(x)
    return Values(value, score)


class Pairs:
    """Values and scores for any pairs of theta and subject, through one program of fixed size."""

    def __init__(self, fit: Fit):
        self._set(likelihood_of(fit), fit.space, fit.population, fit.key)

    @classmethod
    def of(cls, objective: Objective, space: Space, population: Population, key: Any) -> "Pairs":
        """The pairs of an objective at any model, fitted or not: that of the space's template."""
        pairs = object.__new__(cls)
        pairs._set(objective, space, population, key)
        return pairs

    def _set(self, objective: Objective, space: Space, population: Population, key: Any) -> None:
        model = space.template
        mesh = devices.mesh_of(len(jax.local_devices()), 1) if jax.default_backend() == "cpu" else None
        self.likelihood = _Likelihood(objective, space, mesh)
        self.prior = has_prior(model, space.fixed)
        data = (population.subjects, mixture.extras_of(objective, model, population, key))
        self.known = devices.on_each(mesh, (self.likelihood, data))
        self.size = max(1, _PAIRS // max(1, mixture.evaluations_of(objective, model) // 2000))

    def __call__(
        self, x: Float[np.ndarray, "R P"], which: Int[np.ndarray, " M"], subject: Int[np.ndarray, " M"]
    ) -> Values:
        """Values and scores of the pairs (x[which], subject)."""
        room = self.size * _BLOCKS  # of each device
        dealt = devices.count_of(self.likelihood.mesh)
        parts = []
        for begin in range(0, len(which), dealt * room):
            count = min(dealt * room, len(which) - begin)
            each = math.ceil(count / dealt)
            stand = np.arange(dealt)[:, None] * each + np.minimum(np.arange(room), each - 1)
            pairs = begin + np.minimum(stand, count - 1).ravel()  # filled up with the last pair
            blocks = np.asarray(math.ceil(each / self.size))
            values = _pair_scores(*self.known, blocks, x[which[pairs]], subject[pairs])
            kept = np.arange(count) // each * room + np.arange(count) % each
            parts.append(Values(np.asarray(values.value)[kept], np.asarray(values.score)[kept]))
        return Values(
            value=np.concatenate([part.value for part in parts]),
            score=np.concatenate([part.score for part in parts]),
        )

    def total(self, x: Float[np.ndarray, "R P"], weights: Float[np.ndarray, "R N"] | Int[np.ndarray, "R N"]) -> Values:
        """Minus the weighted objective (R,) and its gradient (R, P) at x."""
        which, subject = np.nonzero(weights)  # a subject of weight zero costs nothing
        weight = weights[which, subject]
        pairs = self(x, which, subject)
        value = np.zeros(len(x))
        score = np.zeros(x.shape)
        np.add.at(value, which, -weight * pairs.value)
        np.add.at(score, which, -weight[:, None] * pairs.score)
        if self.prior:
            prior = _priors(self.likelihood.space, x)
            value = value - np.asarray(prior.value)
            score = score - np.asarray(prior.score)
        return Values(value, score)
