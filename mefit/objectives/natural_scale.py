"""How large each free coordinate is at the starting values: a first guess of scales that no unit changes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..base.compiling import compiled
from ..base.parts import in_parts
from ..data.by_outcome import as_dict
from ..data.population import Population
from ..data.subject import Subject
from ..model.densities import eta_mean, log_conditional, observation_density
from ..model.mixture import MixtureOfExperts
from ..model.model import Model
from ..model.moments import mean_of, variance_of
from ..model.space import Space

_NUMBERS_AT_ONCE = 5_000_000  # derivatives of all responses of the subjects that are looked at together: 40 MB


def natural_scale(space: Space, population: Population) -> Float[np.ndarray, " P"]:
    """The size of each coordinate at the space's template: what a unit is to a walk, so that units do not matter.

    One for a logarithm or a weight; for a number with a unit its own size, or, where it starts near zero, the distance
    over which a typical subject's log-likelihood changes by about one.
    """
    return _scale(space, population, _typical_slopes)


def training_scale(space: Space, population: Population) -> Float[np.ndarray, " P"]:
    """`natural_scale`, for steps whose number is planned beforehand: they must be able to go far.

    Where a number with a unit starts near zero, the distance over which a typical response changes by its own SD. The
    log-likelihood of a bad start changes over much less, and a walk in such units would not arrive.
    """
    scale = natural_scale(space, population)
    try:
        return np.maximum(scale, _scale(space, population, _typical_changes))
    except ValueError:  # there is no mean, as of categories, or no variance
        return scale


def _scale(space: Space, population: Population, steepness_of: Callable[[Space, Subject, Array], Array]) -> np.ndarray:
    guess = space.sizes.guess
    has_unit = np.array([coordinate.has_unit for coordinate in space.coordinates], bool)
    if not np.any(has_unit):
        return guess
    if space.guide is not None:  # weights, which come last and are of size one
        of_model = _scale(Space(space.template, space.fixed), population, steepness_of)
        return np.append(of_model, guess[of_model.size :])
    # of these alone: of a network's weights there are thousands, and no derivative in them is wanted
    slopes = np.asarray(steepness_of(space, population.subjects, jnp.flatnonzero(has_unit)))
    steepness = np.zeros(has_unit.size)
    steepness[has_unit] = np.sqrt(np.mean(np.nan_to_num(slopes, posinf=0.0, neginf=0.0) ** 2, axis=0))
    reach = np.where(steepness > 0.0, 1.0 / np.where(steepness > 0.0, steepness, 1.0), 0.0)
    scale = np.where(has_unit, np.maximum(guess, reach), guess)
    return np.where(scale > 0.0, scale, 1.0)


@compiled
def _typical_slopes(space: Space, subjects: Subject, which: Int[Array, " C"]) -> Float[Array, "N C"]:
    """The derivative of each subject's log p(y | theta, mean of eta) in some of the free coordinates."""
    x = space.pack()

    def slope(subject):
        def log_p(moved):
            return _log_typical(space.at(x.at[which].set(moved)), subject)

        return jax.jacfwd(log_p)(x[which])

    return jnp.asarray(in_parts(slope, subjects, _at_once(subjects, which)))


def _at_once(subjects: Subject, which: Int[Array, " C"]) -> int:
    """Of how many subjects the derivatives of all responses are kept together."""
    cells = sum(mask.shape[1] for mask in as_dict(subjects.mask).values())
    return max(1, _NUMBERS_AT_ONCE // max(1, cells * which.size))


def _log_typical(model: Model, subject: Subject) -> Array:
    """log p(y | theta, mean of eta); of a mixture in every class, so that no parameter is left out."""
    if isinstance(model, MixtureOfExperts):
        each = [log_conditional(expert, eta_mean(expert), subject) for expert in model.experts]
        return sum(each) + jnp.sum(model.gate.log_shares(subject))
    return log_conditional(model, eta_mean(model), subject)


@compiled
def _typical_changes(space: Space, subjects: Subject, which: Int[Array, " C"]) -> Float[Array, "N C"]:
    """The root mean square derivative, over each subject's responses, of their means in SDs."""
    who = f"{type(space.template).__name__}.observations"
    x = space.pack()

    def change(subject):
        def means_and_sds(moved):
            model = space.at(x.at[which].set(moved))
            densities = as_dict(observation_density(model, eta_mean(model), subject))
            shape = subject.time.shape
            means = [jnp.broadcast_to(mean_of(densities[name], who), shape) for name in sorted(densities)]
            variances = [jnp.broadcast_to(variance_of(densities[name], who), shape) for name in sorted(densities)]
            return jnp.concatenate(means), jnp.sqrt(jnp.concatenate(variances))

        seen = jnp.concatenate([mask for _, mask in sorted(as_dict(subject.mask).items())])
        steepness, sd = jax.jacfwd(means_and_sds, has_aux=True)(x[which])
        relative = jnp.where(seen[:, None] & (sd[:, None] > 0.0), steepness / sd[:, None], 0.0)
        return jnp.sqrt(jnp.sum(relative**2, axis=0) / jnp.maximum(jnp.sum(seen), 1))

    return jnp.asarray(in_parts(change, subjects, _at_once(subjects, which)))
