"""Many things done a part at a time, so that what they make on the way fits into memory."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


def in_parts(function: Callable[[Any], Any], things: PyTree, at_once: int) -> PyTree:
    """`function` of each of N things, leading axes (N, ...), at most `at_once` of them together.

    The parts are of one size, the last thing standing in for those that the last part lacks: of a remainder
    `jax.lax.map(..., batch_size=)` makes a second program, which takes as long to compile as the first.
    """
    count = jax.tree.leaves(things)[0].shape[0]
    parts = math.ceil(count / max(1, at_once))
    each = jax.vmap(function)
    if parts <= 1:
        return each(things)
    size = math.ceil(count / parts)
    filled = np.minimum(np.arange(parts * size), count - 1).reshape(parts, size)
    found = jax.lax.map(each, jax.tree.map(lambda leaf: leaf[filled], things))
    return jax.tree.map(lambda leaf: leaf.reshape(parts * size, *leaf.shape[2:])[:count], found)


def has_loop(function: Callable[..., Any], *args: Any) -> bool:
    """Whether a function of JAX goes through a loop, as of a solver's steps.

    Of many that run side by side all wait for the one that goes round most often, so that few at a time are sooner
    done; what has no loop is best done all at once.
    """
    program = str(jax.make_jaxpr(function)(*args))
    return any(loop in program for loop in ("scan[", "while["))
