"""Compiling: what a learner waits for, kept short, and what XLA computes wrongly, kept out.

XLA's newer way of fusing loops on a CPU ("fusion emitters") takes about half as long again to
compile the kit's programs and runs them no faster. JAX versions that let a single program leave it
out are told to; others do not know the option, and are left alone. Nor does it pay to cut a program
into 32 parts for LLVM to work on side by side: most of the work lies in one of them, and where the
cores are busy the parts wait for each other (a quadrature: 5.4 CPU seconds in parts, 4.8 in one).
LLVM's first level of optimisation will do: the higher ones take up to a fifth longer (SAEM) and make
nothing faster that was measured, from 12 to 6,000 subjects; on a GPU, where that was not measured,
its own level stays.

Some versions compute wrongly on a CPU unless "YNN fusions" are switched off, which `xla.py` tells
about: every program of the kit is compiled without them, however JAX was started.

Others stand still for ever where two devices call LAPACK at once, unless `lapack.py` keeps its calls small.

NumPyro checks a distribution's arguments when it is made. While a program is traced there are no
values to check, and the attempt costs a second of small compilations, so it is switched off there;
the kit says what is not finite.

To follow a program makes millions of objects that live until its end. Python would look through all
there are for garbage again and again, a tenth of the time that it takes: it waits meanwhile.

To follow a program takes Python, to compile it does not: a program that is needed later can be compiled
by a second core while the first goes on (`compiled.ahead`).
"""

import contextlib
import functools
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar

import equinox as eqx
import jax
from jax.extend.core import unsafe_am_i_under_a_jit_DO_NOT_USE
from numpyro.distributions.distribution import validation_enabled

from . import lapack, processes
from .xla import FUSIONS

LEVEL = "xla_backend_optimization_level"
OPTIONS: dict[str, Any] = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
    LEVEL: 1,
    FUSIONS: "",
}


def _is_known(options: dict[str, Any]) -> bool:
    """Whether this XLA knows all of these options: it refuses them together."""
    try:
        jax.jit(lambda x: -x, compiler_options=options)(0.0)
    except (RuntimeError, ValueError):
        return False
    return True


@functools.cache
def known_options() -> dict[str, Any]:
    """Those of `OPTIONS` that this XLA knows."""
    options = dict(OPTIONS)
    if jax.default_backend() != "cpu":
        options.pop(LEVEL, None)
    if _is_known(options):  # one try in place of several where all are known
        return options
    return {name: value for name, value in options.items() if _is_known({name: value})}


def _inside_another(arguments: Any) -> bool:
    """Whether JAX is following a larger program just now, of which a call becomes a part.

    JAX takes compiler options for a whole program only, and those of the larger one hold. What is
    computed is the same either way, so it does no harm that JAX warns of such a question by the
    name of its function.
    """
    return unsafe_am_i_under_a_jit_DO_NOT_USE() or is_followed(arguments)


def is_followed(tree: Any) -> bool:
    """Whether JAX is following a program of which these are inputs, so that they have no values."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


class _Tidying:
    """Python's search for garbage, which waits while anybody is at work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work = 0
        self._was_on = True

    @contextlib.contextmanager
    def waits(self) -> Iterator[None]:
        """Until the end of the `with`, for all threads."""
        with self._lock:
            if self._at_work == 0:
                self._was_on = gc.isenabled()
                gc.disable()
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
                if self._at_work == 0 and self._was_on:
                    gc.enable()


_tidying = _Tidying()


@functools.cache
def _another_core() -> ThreadPoolExecutor:
    """Where programs are compiled ahead, one after the other."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")


class compiled:
    """A function under `equinox.filter_jit` with the kit's compiler options.

    It is set up at its first call and not at import. Inside another program, or under a
    transformation of JAX such as `jax.grad`, it is the plain function.
    """

    def __init__(self, function: Callable):
        self._function = function
        self._coming: list[Future] = []  # what is being compiled ahead
        functools.update_wrapper(self, function)

    @functools.cached_property
    def program(self) -> Any:
        """The compiled function, which tests and benchmarks ask how often it was compiled."""

        @functools.wraps(self._function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            return self._unchecked(*args, **kwargs)

        lapack.never_wait()
        for_jax: dict[str, Any] = {"compiler_options": known_options()}
        return eqx.filter_jit(traced, **for_jax)

    def _unchecked(self, *args: Any, **kwargs: Any) -> Any:
        with validation_enabled(False), _tidying.waits():
            return self._function(*args, **kwargs)

    def ahead(self, *args: Any, **kwargs: Any) -> None:
        """Begin to compile for a later call with arguments alike, and go on: that call waits for it."""
        if not _inside_another((args, kwargs)):
            lowered = self.program.lower(*args, **kwargs)
            self._coming.append(_another_core().submit(lowered.compile))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _inside_another((args, kwargs)):
            return self._unchecked(*args, **kwargs)
        while self._coming:
            self._coming.pop().exception()  # waits; if compiling failed it does so again, here
        return self.program(*args, **kwargs)


class compiled_for_devices(compiled):
    """As `compiled`, of a program that may run on several devices at once.

    Threads hand over such programs one after the other. Devices that began two of them in different orders would wait
    for each other for ever. Where its arrays lie on devices of several processes, all of them must make the call, and
    what comes out, the same in each, are arrays of NumPy.
    """

    _turn: ClassVar[Any] = threading.RLock()  # of all such programs together

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._turn:
            if not processes.spans((args, kwargs)):
                return super().__call__(*args, **kwargs)
            args, kwargs = processes.everywhere((args, kwargs))
            with processes.heard():
                return processes.here(super().__call__(*args, **kwargs))
