"""A fault of jaxlib on a CPU, kept away: calls of LAPACK that wait for each other for ever.

A call of LAPACK for many matrices hands parts of them to XLA's pool of threads, on one of which it runs, and waits.
With as many such calls at once as the pool has threads, as where two devices decompose the matrices of their subjects,
nobody is left to do the parts: the process stands still without a word. jaxlib 0.10.2 was seen to do so; 0.11.2 is said
to do so no more, and what lies before is treated alike.

A call that is small is not cut into parts. So the larger ones are lowered here as loops over small ones, whose numbers
are the same to the last bit. Measured on jaxlib 0.10.2, 1 to 64 rows: calls are cut from 32,768 numbers on, or from
some 200,000 multiplications.
"""

import functools
import math
from typing import Any

import jax
from jax.interpreters import mlir

from .xla import installed_jaxlib, version_numbers

FIRST_THAT_WAITS = (0, 10)
FIRST_THAT_DOES_NOT = (0, 11, 2)
# Half of what was measured.
_NUMBERS = 16_000
_MULTIPLICATIONS = 100_000
_FEW = 1  # multiplications a number and row, of a triangular system or a factor
_MANY = 10  # of a decomposition that iterates, or asks for its orthogonal matrix

# How many multiplications each takes, and how many axes of its first argument belong to one matrix.
_CALLS = {
    "cholesky": (_FEW, 2),
    "lu": (_FEW, 2),
    "triangular_solve": (_FEW, 2),
    "tridiagonal_solve": (_MANY, 1),
    "eig": (_MANY, 2),
    "eigh": (_MANY, 2),
    "geqrf": (_MANY, 2),
    "geqp3": (_MANY, 2),
    "hessenberg": (_MANY, 2),
    "householder_product": (_MANY, 2),
    "ormqr": (_MANY, 2),
    "schur": (_MANY, 2),
    "svd": (_MANY, 2),
    "tridiagonal": (_MANY, 2),
}


def waits_for_itself(jaxlib: str) -> bool:
    """Whether this version of jaxlib has the fault."""
    return FIRST_THAT_WAITS <= version_numbers(jaxlib) < FIRST_THAT_DOES_NOT


def at_once(multiplications: int, shapes: list[tuple[int, ...]]) -> int:
    """How many matrices one call may take that is not cut into parts; the shapes are those of one, the matrix first."""
    numbers = max(1, *(math.prod(shape) for shape in shapes))
    rows = max(1, min(shapes[0]))
    return max(1, min(_NUMBERS // numbers, _MULTIPLICATIONS // (multiplications * numbers * rows)))


def _in_pieces(primitive: Any, whole: Any, multiplications: int, axes: int) -> Any:
    """The rule of lowering a call of LAPACK, `whole` where it is small enough, and else as a loop."""

    def rule(context: Any, *operands: Any, **parameters: Any) -> Any:
        shapes = [aval.shape for aval in context.avals_in]
        several = shapes[0][: len(shapes[0]) - axes]
        if not all(isinstance(size, int) for shape in shapes for size in shape):  # exported for any size
            return whole(context, *operands, **parameters)
        size = at_once(multiplications, [shape[len(several) :] for shape in shapes])
        if math.prod(several) <= size or 0 in shapes[0]:
            return whole(context, *operands, **parameters)

        def looped(*arrays: Any) -> Any:
            in_a_row = [array.reshape(-1, *array.shape[len(several) :]) for array in arrays]
            found = jax.lax.map(lambda each: primitive.bind(*each, **parameters), in_a_row, batch_size=size)
            return jax.tree.map(lambda leaf: leaf.reshape(*several, *leaf.shape[1:]), found)

        return mlir.lower_fun(looped, multiple_results=primitive.multiple_results)(context, *operands)

    return rule


@functools.cache
def never_wait() -> None:
    """From here on, no call of LAPACK in any program of this process is large enough to be cut into parts."""
    if not waits_for_itself(installed_jaxlib()):
        return
    known: Any = mlir._platform_specific_lowerings["cpu"]  # type: ignore[attr-defined]
    for primitive in list(known):
        call = _CALLS.get(primitive.name)
        if call is not None:
            mlir.register_lowering(primitive, _in_pieces(primitive, known[primitive].rule, *call), platform="cpu")
