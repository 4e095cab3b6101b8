"""What depends on the shapes of a tree alone, worked out once."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax

ResultT = TypeVar("ResultT")


def of_outline(function: Callable[[Any], ResultT]) -> Callable[[Any], ResultT]:
    """The function of a tree whose arrays are `jax.ShapeDtypeStruct`, remembered for trees of the same outline."""

    @functools.lru_cache(maxsize=1000)
    def remembered(structure: Any, leaves: tuple) -> ResultT:
        return function(jax.tree.unflatten(structure, leaves))

    @functools.wraps(function)
    def outlined(tree: Any) -> ResultT:
        leaves, structure = jax.tree.flatten(tree)
        outline = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if eqx.is_array(leaf) else leaf for leaf in leaves]
        try:
            hash((structure, *outline))
        except TypeError:  # it holds something that has no hash
            return remembered.__wrapped__(structure, tuple(outline))
        return remembered(structure, tuple(outline))

    return outlined
