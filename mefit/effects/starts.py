"""Where the search for a subject's mode begins."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from scipy.special import ndtri

from ..base.newton import ModeSearch
from ..base.sides import scattered, sides
from ..model.model import Model
from ..model.parameters import has_network
from .standard import Standard, standard_of

HAIR = 1e-7  # SDs
_LOOKS = 128  # points of the prior that are looked at, unless it is said


def spread_over_prior(model: Model, count: int) -> Float[Array, "count K"]:
    """`count` points spread evenly over p(eta): Halton's sequence through the Gaussian quantile function, in SDs."""
    standard = standard_of(model)
    return jax.vmap(standard.eta)(_spread(count, standard.mean.size))


def _spread(count: int, size: int) -> Float[Array, "count K"]:
    from scipy.stats import qmc  # it takes a third of a second to import

    if size == 0:
        return jnp.zeros((count, 0))
    return jnp.asarray(ndtri(qmc.Halton(size, scramble=False).random(count + 1)[1:]))


def starting_points(search: ModeSearch, model: Model, standard: Standard) -> Float[Array, "S K"]:
    """The points u (S, K), in SDs of the random effects' law, of which the best begins the search; of a thorough one
    the last are those to the sides.

    They lie a hair beside the mean: some densities have a kink at a round number, where automatic derivatives are
    wrong (NumPyro's Bernoulli at a logit of exactly 0), and a typical subject is often just there.
    """
    size = standard.mean.size
    if search.starts is not None:
        return jax.vmap(standard.of)(search.starts) + HAIR
    mean = jnp.full((1, size), HAIR)
    if search.aside is not None:
        mean = mean + search.aside
    if size == 0:
        return mean
    points: list[Any] = [mean]
    if search.looks is None and has_network(model):
        points.append(_spread(_LOOKS, size))
    elif search.looks:
        points.append(_spread(search.looks, size))
    elif search.looks is None and search.thorough:
        points.append(scattered(_LOOKS, size))
    if search.thorough:  # the last points, as `Newton` expects them
        points.append(sides(size) + HAIR)
    return jnp.concatenate(points)
