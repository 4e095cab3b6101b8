"""Where the search for a subject's mode begins."""

import jax.numpy as jnp
from jaxtyping import Array, Float
from scipy.special import ndtri

from ..base.newton import ModeSearch
from ..model.densities import eta_mean, eta_sd
from ..model.model import Model
from ..model.parameters import has_network


def spread_over_prior(model: Model, count: int) -> Float[Array, "count K"]:
    """`count` points spread evenly over p(eta): Halton's sequence through the Gaussian quantile function, in SDs."""
    from scipy.stats import qmc  # it takes a third of a second to import

    mean = eta_mean(model)
    if mean.size == 0:
        return jnp.zeros((count, 0))
    return mean + ndtri(qmc.Halton(mean.size, scramble=False).random(count + 1)[1:]) * finite_sd(model)


def starting_points(search: ModeSearch, model: Model) -> Float[Array, "S K"]:
    """The points (S, K) of which the best begins the search.

    They lie a hair beside the mean: some densities have a kink at a round number, where automatic derivatives are
    wrong (NumPyro's Bernoulli at a logit of exactly 0), and a typical subject is often just there.
    """
    hair = 1e-7 * finite_sd(model)
    if search.starts is not None:
        return search.starts + hair
    mean = eta_mean(model)[None] + hair
    if search.aside is not None:
        mean = mean + search.aside * finite_sd(model)
    looks = search.looks
    if looks is None:
        looks = 128 if has_network(model) else 0
    if looks == 0 or mean.size == 0:
        return mean
    return jnp.concatenate([mean, spread_over_prior(model, looks)])


def finite_sd(model: Model) -> Float[Array, " K"]:
    """The SD of each random effect in p(eta | theta); one where it has none."""
    return jnp.nan_to_num(eta_sd(model), nan=1.0, posinf=1.0)
