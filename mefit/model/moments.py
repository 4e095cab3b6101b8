"""Mean and variance of a density, or a sentence where they are not known."""

from typing import Any

import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import transforms

from .categorical import refuse_categories
from .normals import gaussian_blocks, normal_rows
from .rows import with_own_batch


def mean_of(density: dist.Distribution, who: str) -> Array:
    """The mean of every number of a draw, in the shape of the density; `who` returns it.

    ValueError for categories, which have none, and where it is not known in closed form.
    """
    refuse_categories(density, who)
    return _moment(density, "mean", who)


def variance_of(density: dist.Distribution, who: str) -> Array:
    """The variance of every number of a draw, as `mean_of` has it."""
    refuse_categories(density, who)
    return _moment(density, "variance", who)


def _moment(density: dist.Distribution, name: str, who: str) -> Array:
    density = with_own_batch(density)
    shape = density.shape()
    try:
        return jnp.broadcast_to(getattr(density, name), shape)
    except NotImplementedError:
        pass
    law: Any = gaussian_blocks(density)
    if law is not None:
        found = law.mean if name == "mean" else jnp.sum(law.lower**2, axis=-1)
        return found.reshape(shape)
    rows = normal_rows(density)
    if rows is not None and isinstance(rows.curve, transforms.ExpTransform):
        same = dist.LogNormal(rows.loc, rows.scale, validate_args=False)
        return jnp.broadcast_to(getattr(same, name), shape)
    raise ValueError(
        f"{who} returns {type(density).__name__}, whose {name} is not known in closed form: "
        "use a density that has one, or write what is random as a Normal and transform it in the model."
    )
