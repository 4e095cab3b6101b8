"""Functions whose first derivatives are right and whose second would not be, those to be derived forward, and those
that are shorter where nobody derives them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, PyTree


def first_derivatives_only(function: Callable[[PyTree], Array], sentence: str) -> Callable[[PyTree], Array]:
    """The function, which raises ValueError with this sentence where somebody derives it twice."""

    @jax.custom_jvp
    def once(arrays: PyTree) -> PyTree:
        return arrays

    @once.defjvp
    def refuse(primals: Any, tangents: Any) -> Any:
        raise ValueError(sentence)

    def guarded(tree: PyTree) -> Array:
        moving, still = eqx.partition(tree, eqx.is_inexact_array)

        @jax.custom_jvp
        def value(arrays: PyTree) -> Array:
            return function(eqx.combine(arrays, still))

        @value.defjvp
        def derivative(primals: Any, tangents: Any) -> Any:
            # Whoever derives this rule in turn meets `once`, and its refusal.
            return jax.jvp(lambda arrays: function(eqx.combine(arrays, still)), (once(primals[0]),), tangents)

        return value(moving)

    return guarded


def shorter_unless_derived(short: Callable[..., PyTree], whole: Callable[..., PyTree], *args: Any) -> PyTree:
    """`whole(*args)` with its derivatives; where nobody asks for them `short(*args)`, which is the same but for
    rounding.

    All outputs are floats, and what moves is among `args`: neither function takes it from elsewhere.
    """
    arrays, still = eqx.partition(args, eqx.is_array)
    leaves, shape = jax.tree.flatten(arrays)

    def given(leaves: list[Any]) -> Any:
        return eqx.combine(jax.tree.unflatten(shape, leaves), still)

    @jax.custom_jvp
    def value(leaves: list[Any]) -> PyTree:
        return short(*given(leaves))

    def derivative(primals: Any, tangents: Any) -> Any:
        moves = {place: move for place, move in enumerate(tangents[0]) if not _is_zero(move)}

        def of_those(moving: list[Any]) -> PyTree:
            instead = dict(zip(moves, moving, strict=True))
            return whole(*given([instead.get(place, leaf) for place, leaf in enumerate(primals[0])]))

        return jax.jvp(of_those, ([primals[0][place] for place in moves],), (list(moves.values()),))

    value.defjvp(derivative, symbolic_zeros=True)
    return value(leaves)


def derived_forward(
    function: Callable[[Array, PyTree], PyTree], short: Callable[[Array, PyTree], PyTree] | None = None
) -> Callable[[Array, PyTree], PyTree]:
    """`function(x, data)` of a short vector x, with its Jacobian in x taken forward, inside reverse mode too.

    All outputs are floats. Where the data move as well, the derivatives are the ordinary ones. Where nobody asks for
    derivatives it is `short(x, data)`, if that is given: the same but for rounding.
    """

    @jax.custom_jvp
    def value(x: Array, data: PyTree) -> PyTree:
        return (short or function)(x, data)

    def derivative(primals: Any, tangents: Any) -> Any:
        x, data = primals
        if any(not _is_zero(leaf) for leaf in jax.tree.leaves(tangents[1], is_leaf=_is_zero)):
            moves = jax.tree.map(_as_array, tangents, is_leaf=_is_zero)
            return jax.jvp(function, primals, moves)

        def twice(x):
            out = function(x, data)
            return out, out

        jacobian, out = jax.jacfwd(twice, has_aux=True)(x)
        move = _as_array(tangents[0])
        return out, jax.tree.map(lambda leaf: leaf @ move, jacobian)

    value.defjvp(derivative, symbolic_zeros=True)
    return value


def _is_zero(tangent: Any) -> bool:
    """Whether JAX says that nothing moves here."""
    return isinstance(tangent, SymbolicZero)


def _as_array(tangent: Any) -> Any:
    if not _is_zero(tangent):
        return tangent
    zeros = np.zeros if tangent.dtype == jax.dtypes.float0 else jnp.zeros  # float0: the tangent of an integer
    return zeros(tangent.shape, tangent.dtype)
