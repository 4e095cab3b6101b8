"""Compiling: what a learner waits for, kept short.

XLA's newer way of fusing loops on a CPU ("fusion emitters") takes about half as long again to compile the kit's
programs and runs them no faster. JAX versions that let a single program leave it out are told to; others do not know
the option, and are left alone.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

_OPTIONS = {"xla_cpu_use_fusion_emitters": False}


@functools.cache
def _known_options() -> dict[str, Any]:
    try:
        jax.jit(lambda x: -x, compiler_options=_OPTIONS)(0.0)
    except (RuntimeError, ValueError):  # this XLA has no such option
        return {}
    return _OPTIONS


def compiled(function: Callable) -> Callable:
    """`equinox.filter_jit` with the kit's compiler options, set up at the first call and not at import."""

    @functools.cache
    def program():
        options = _known_options()
        return eqx.filter_jit(function, **({"compiler_options": options} if options else {}))

    @functools.wraps(function)
    def call(*args, **kwargs):
        return program()(*args, **kwargs)

    call.program = program  # for tests and benchmarks, which count what was compiled
    return call
