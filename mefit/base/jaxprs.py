"""Reading a jaxpr: whose line an equation is, and which jaxprs it holds."""

from collections.abc import Collection, Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Var

from .plainly import line_that_asks

_OVER_ALL = ("argmax", "argmin", "sort")


def line_of(eqn: Any) -> str | None:
    """The line of whoever wrote a function, where that line itself asks for this; None where a library does."""
    frames = eqn.source_info.traceback
    return line_that_asks(frames.as_python_traceback()) if frames is not None else None


def inside(eqn: Any) -> Iterator[Any]:
    """The jaxprs inside an equation: of a loop, a branch, a function."""
    for value in eqn.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr):
                yield one


def lines_that_read(closed: ClosedJaxpr, inputs: Collection[Any]) -> list[str]:
    """The lines that take one of these inputs of a jaxpr as it is."""
    taking = [eqn for eqn in closed.jaxpr.eqns if any(atom in inputs for atom in eqn.invars if isinstance(atom, Var))]
    return _their_lines(taking)


def lines_that_join(closed: ClosedJaxpr, size: int) -> list[str]:
    """The lines that make one number of all along an axis of this size.

    What goes from each to the next, as the steps of a solver do, or a sum that grows, is not meant.
    """
    return _their_lines([eqn for eqn in closed.jaxpr.eqns if _joins(eqn, size)]) if size > 1 else []


def _their_lines(eqns: list[Any]) -> list[str]:
    return [line for line in dict.fromkeys(map(line_of, eqns)) if line]


def _joins(eqn: Any, size: int) -> bool:
    name = eqn.primitive.name
    shape = getattr(eqn.invars[0].aval, "shape", ()) if eqn.invars else ()
    if name.startswith("reduce_") and any(shape[axis] == size for axis in eqn.params.get("axes", ())):
        return True
    if name in _OVER_ALL and size in shape:
        return True
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return any(shape[axis] == size for axis in contracted)
    if name in ("scan", "while"):
        return False
    return any(_joins(one, size) for inner in inside(eqn) for one in inner.jaxpr.eqns)
