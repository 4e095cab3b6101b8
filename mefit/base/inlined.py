"""Functions followed without the small programs in them, so that whatever is done to them next takes less time.

Most functions of `jax.numpy` are programs of their own. Each level of `jax.vmap` and `jax.jvp` around a density handles
each of them as one: it follows the program anew and keeps what came out, which takes several times as long as what it
would do to the one or two equations inside. Under the four levels of a curvature that was two thirds of the time that
following a likelihood takes, for which a learner waits even where all compiled programs are kept.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
from jax.extend import source_info_util as origin
from jax.extend.core import ClosedJaxpr, Literal, unsafe_am_i_under_a_jit_DO_NOT_USE

from .compiling import is_followed

_PROGRAMS = ("jit", "pjit")  # by the name of their equation, in newer and older versions


def inlined(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, of equations alone where it is being followed; what is returned holds arrays alone.

    What is known stays known to the function, such as data of a single subject. Each equation keeps the line of code
    that it is from.
    """
    if not (unsafe_am_i_under_a_jit_DO_NOT_USE() and is_followed(args)):
        return function(*args)
    moving, still = eqx.partition(args, lambda leaf: isinstance(leaf, jax.core.Tracer))
    leaves, shape = jax.tree.flatten(moving)

    def of_leaves(*leaves: Any) -> Any:
        return function(*eqx.combine(jax.tree.unflatten(shape, leaves), still))

    closed, outcome = jax.make_jaxpr(of_leaves, return_shape=True)(*leaves)
    return jax.tree.unflatten(jax.tree.structure(outcome), _outputs(closed, leaves))


def _outputs(closed: ClosedJaxpr, inputs: Sequence[Any]) -> Sequence[Any]:
    """What comes out of a jaxpr, the programs in it opened."""
    jaxpr = closed.jaxpr
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *inputs], strict=True))

    def value_of(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        given = [value_of(atom) for atom in eqn.invars]
        is_program = eqn.primitive.name in _PROGRAMS
        found = _outputs(eqn.params["jaxpr"], given) if is_program else _of_one(eqn, given)
        values.update(zip(eqn.outvars, found, strict=True))
    return [value_of(atom) for atom in jaxpr.outvars]


def _of_one(eqn: Any, given: list[Any]) -> Sequence[Any]:
    """What comes out of one equation."""
    source = eqn.source_info
    names = origin.current_name_stack() + source.name_stack
    with origin.user_context(source.traceback, name_stack=names), eqn.ctx.manager:
        found = eqn.primitive.bind(*given, **eqn.primitive.get_bind_params(eqn.params))
    return found if eqn.primitive.multiple_results else [found]
