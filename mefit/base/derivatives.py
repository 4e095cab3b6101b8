"""Functions whose first derivatives are right and whose second would not be."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, PyTree


def first_derivatives_only(function: Callable[[PyTree], Array], name: str) -> Callable[[PyTree], Array]:
    """The function, which raises ValueError where somebody derives it twice.

    `name` begins the sentence: what is not to be had.
    """
    sentence = (
        f"{name} is not to be had by automatic derivatives, which would give a wrong number: "
        "take differences of the first derivative, or use mf.observed_information(fit)."
    )

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
