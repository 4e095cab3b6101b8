"""Where values stand among a few others, and sums by place: by comparing with all of them where that is quicker.

A search by halves and a sum by scattering are loops for a compiler, a number after the other: of 50 people with 20 rows
each on 20 places they took a third of a step of training, comparisons a tenth of that.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_FEW = 200  # places: of more, comparing costs more than a loop does


def place_among(edges: Float[Array, " J"], values: Float[Array, " n"], side: str = "left") -> Int[Array, " n"]:
    """How many of the sorted edges lie below each value; by `side="right"`, or at it. As `jnp.searchsorted` has it."""
    method = "compare_all" if edges.size <= _FEW else "scan"
    return jnp.searchsorted(edges, values, side=side, method=method)


def sums_by_place(places: Int[Array, " n"], columns: Float[Array, "n m"], size: int) -> Float[Array, "{size} m"]:
    """The sum of the rows of each of `size` places."""
    if size <= _FEW:
        there = places == jnp.arange(size)[:, None]
        return jnp.sum(jnp.where(there[:, :, None], columns, 0.0), axis=1)
    return jnp.zeros((size, columns.shape[1]), columns.dtype).at[places].add(columns)
