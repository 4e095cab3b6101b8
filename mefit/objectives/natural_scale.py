"""How large each free coordinate is at the starting values: a first guess of scales that no unit changes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..base.compiling import compiled
from ..data.population import Population
from ..data.subject import Subject
from ..model.densities import eta_mean, log_conditional
from ..model.space import Space


def natural_scale(space: Space, population: Population) -> Float[np.ndarray, " P"]:
    """The size of each coordinate at the space's template: what a unit is to a walk, so that units do not matter.

    One for a logarithm or a weight; for a number with a unit its own size, or, where it starts near zero, the distance
    over which a typical subject's log-likelihood changes by about one.
    """
    guess = space.sizes.guess
    has_unit = np.array([coordinate.has_unit for coordinate in space.coordinates], bool)
    if not np.any(has_unit):
        return guess
    slopes = np.asarray(_typical_slopes(space, population.subjects))
    steepness = np.sqrt(np.mean(np.nan_to_num(slopes, posinf=0.0, neginf=0.0) ** 2, axis=0))
    reach = np.where(steepness > 0.0, 1.0 / np.where(steepness > 0.0, steepness, 1.0), 0.0)
    scale = np.where(has_unit, np.maximum(guess, reach), guess)
    return np.where(scale > 0.0, scale, 1.0)


@compiled
def _typical_slopes(space: Space, subjects: Subject) -> Float[Array, "N P"]:
    """The derivative of each subject's log p(y | theta, mean of eta) in the free coordinates."""

    def slope(subject):
        def log_p(x):
            model = space.at(x)
            return log_conditional(model, eta_mean(model), subject)

        return jax.jacfwd(log_p)(space.pack())

    return jnp.asarray(jax.vmap(slope)(subjects))
