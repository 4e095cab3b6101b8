"""Data augmentation: draws of the random effects together with the responses that are missing.

For one subject with seen responses y and missing ones u, the pair (eta, u) has the density

    p(eta, u | y, theta)  proportional to  p(y | eta) p(eta) p(u | eta),

and leaves p(eta | y), what is known of eta, untouched by u. An encoder that reads whole records answers q(eta | y, u).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.compiling import compiled
from ..base.small_matrices import half_log_det
from ..curves.encoding import AnyEncoder, Gaussian
from ..data.by_outcome import as_dict
from ..data.missing import filled, gaps
from ..data.population import Population
from ..data.subject import Subject
from ..model.densities import eta_size, first_density, log_joint, sample_random_effects
from ..model.model import Model
from ..model.normals import correlated_rows
from ..model.simulate import respond
from .proposals import log_standard, standard_draws

_DEGREES_OF_FREEDOM = 10.0  # of Student's t around the encoder's answer: tails that the posterior does not outrun
_WALK = 2.38  # over the root of K, times the encoder's spread: Gelman, Roberts and Gilks (1996)


class Completion(NamedTuple):
    """A draw of every subject's random effects and missing responses."""

    eta: Float[Array, "N K"]
    y: Any  # (N, n), by outcome where there are several: missing responses as drawn, 0 elsewhere


class _Place(NamedTuple):
    """Where one subject's chain is."""

    eta: Float[Array, " K"]
    y: Any
    value: Float[Array, ""]  # log p(y | eta) + log p(eta), of what was seen
    q: Gaussian  # the encoder's answer to the record with these missing responses


def refuse_dependent_rows(model: Model, population: Population, who: str) -> None:
    """ValueError, in the name of `who`, for rows that depend on each other given the random effects."""
    densities = as_dict(first_density(model, population))
    if any(correlated_rows(density) is not None for density in densities.values()):
        raise ValueError(
            f"{who} takes each missing response by itself given the random effects, and rows of this model depend on "
            "each other: leave the missing ones out, as Laplace, FOCE and Amortised do."
        )


@compiled
def first_completion(model: Model, subjects: Subject, key: PRNGKeyArray) -> Completion:
    """eta from p(eta | theta), and the missing responses from the model."""
    count = subjects.time.shape[0]
    key_eta, key_y = jax.random.split(key)
    etas = sample_random_effects(model, count, key_eta)
    return Completion(etas, missing_responses(model, etas, subjects, jax.random.split(key_y, count)))


def missing_responses(model: Model, etas: Float[Array, "N K"], subjects: Subject, keys: Any) -> Any:
    """u ~ p(u | theta, eta_i) of every subject: (N, n) by outcome, 0 where a response was seen."""
    return jax.vmap(lambda eta, subject, key: _missing(model, eta, subject, key))(etas, subjects, keys)


def _missing(model: Model, eta: Float[Array, " K"], subject: Subject, key: PRNGKeyArray) -> Any:
    """The same of one subject."""
    return respond(model, eta, gaps(subject), key)


@compiled
def completed_anew(
    model: Model, encoder: AnyEncoder, subjects: Subject, completion: Completion, key: PRNGKeyArray, sweeps: int
) -> tuple[Completion, Float[Array, " 2"]]:
    """The next draw of every subject, and the shares accepted: of the encoder's proposals, and of the walk's.

    Each of the `sweeps` is a proposal around the encoder's answer m with its spread C, then one around eta itself,

        eta' = m + C z,        eta' = eta + (2.38 / sqrt K) C z,        u' ~ p(u | eta'),

    of the pair, accepted by min(1, r), r = p(y, eta') g(eta | u', eta') / (p(y, eta) g(eta' | u, eta)), g the density
    of the proposal: the encoder answers to u on the way there and to u' on the way back, so the pair's distribution
    stays what it is. At the end u is drawn once more, for those whose chain stood still.
    Source: Hastings (1970), Biometrika 57; the alternation: Tanner and Wong (1987), J. Am. Stat. Assoc. 82.
    """
    moves = jnp.tile(jnp.array([False, True]), sweeps)

    def of_subject(subject: Subject, eta: Array, y: Any, key: PRNGKeyArray) -> tuple[Completion, Array]:
        key_last, key_moves = jax.random.split(key)
        keys = jax.random.split(key_moves, moves.size)
        begin = _Place(eta, y, log_joint(model, eta, subject), encoder(filled(subject, y)))
        place, taken = jax.lax.scan(lambda at, move: _move(model, encoder, subject, at, *move), begin, (moves, keys))
        return Completion(place.eta, _missing(model, place.eta, subject, key_last)), taken

    keys = jax.random.split(key, subjects.time.shape[0])
    drawn, taken = jax.vmap(of_subject)(subjects, completion.eta, completion.y, keys)
    return drawn, jnp.mean(taken.reshape(-1, sweeps, 2), (0, 1))


def _move(
    model: Model, encoder: AnyEncoder, subject: Subject, at: _Place, walks: Array, key: PRNGKeyArray
) -> tuple[_Place, Array]:
    """One proposal of one subject, taken or not: a walk, or else the encoder's."""
    key_eta, key_y, key_accept = jax.random.split(key, 3)
    width = jnp.where(walks, _WALK / np.sqrt(eta_size(model)), 1.0)

    def centre(place: _Place) -> Array:
        return jnp.where(walks, place.eta, place.q.mean)

    def log_proposed(eta: Array, place: _Place) -> Array:
        z = solve_triangular(width * place.q.lower, eta - centre(place), lower=True)
        return log_standard(z, _DEGREES_OF_FREEDOM) - half_log_det(place.q.lower)

    z = standard_draws(key_eta, at.eta.shape, _DEGREES_OF_FREEDOM)
    eta = centre(at) + width * at.q.lower @ z
    y = _missing(model, eta, subject, key_y)
    new = _Place(eta, y, log_joint(model, eta, subject), encoder(filled(subject, y)))
    log_ratio = new.value - at.value + log_proposed(at.eta, new) - log_proposed(eta, at)
    accepted = jnp.log(jax.random.uniform(key_accept)) < log_ratio
    # A chain may begin where the density is zero or not a number: it takes the first proposal that has one.
    take = jnp.isfinite(new.value) & (accepted | ~jnp.isfinite(at.value))
    return jax.tree.map(lambda proposed, old: jnp.where(take, proposed, old), new, at), take.astype(float)
