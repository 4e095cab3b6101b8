"""Compiling: what a learner waits for, kept short.

XLA's newer way of fusing loops on a CPU ("fusion emitters") takes about half as long again to compile the kit's
programs and runs them no faster. JAX versions that let a single program leave it out are told to; others do not know
the option, and are left alone.

NumPyro checks a distribution's arguments when it is made. While a program is traced there are no values to check, and
the attempt costs a second of small compilations, so it is switched off there; the kit says what is not finite.
"""

import functools
import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from numpyro.distributions.distribution import validation_enabled

_OPTIONS: Any = {"compiler_options": {"xla_cpu_use_fusion_emitters": False}}


@functools.cache
def _known_options() -> dict[str, Any]:
    try:
        jax.jit(lambda x: -x, **_OPTIONS)(0.0)
    except (RuntimeError, ValueError):  # this XLA has no such option
        return {}
    return _OPTIONS


class compiled:
    """A function under `equinox.filter_jit` with the kit's compiler options.

    It is set up at its first call and not at import.
    """

    def __init__(self, function: Callable):
        self._function = function
        functools.update_wrapper(self, function)

    @functools.cached_property
    def program(self) -> Any:
        """The compiled function itself, which tests and benchmarks ask how often it was compiled."""

        @functools.wraps(self._function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            with validation_enabled(False):
                return self._function(*args, **kwargs)

        return eqx.filter_jit(traced, **_known_options())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.program(*args, **kwargs)


def keep_compiled(folder: str | os.PathLike) -> None:
    """Keep compiled programs in a folder, from which later processes take them instead of compiling again.

    Call it right after the import, before the first fit; or set MEFIT_COMPILED to the folder. Nothing is kept unless
    asked for. What it saves is most of XLA's share; importing and tracing remain. Programs are kept apart by version of
    JAX, by operating system and by processor, so that a folder may be shared; it may be deleted at any time.

    Raises:
        ValueError: a folder that cannot be made or written to.
    """
    place = Path(folder).expanduser() / f"{platform.system()}-{_processor()}-jax-{jax.__version__}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / ".writable").touch()
    except OSError as error:
        raise ValueError(f"programs cannot be kept in {place}: {error.strerror}; name another folder.") from None
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _processor() -> str:
    """A short name of this processor and what it can do: a program compiled for another may not run on it."""
    try:
        told = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith(("model name", "flags"))][:2]
    except OSError:
        told = [platform.processor()]
    return hashlib.sha256("".join(told).encode()).hexdigest()[:8]
