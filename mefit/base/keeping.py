"""Compiled programs kept in a folder, for the next process and for those beside it.

JAX's own folder writes a program in place, so that an interrupted writer leaves half of one behind, and it grows
without end. `ProgramFolder` takes its place.
"""

import functools
import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from .program_folder import ProgramFolder, can_write

try:
    from jax._src import compilation_cache
except ImportError:
    compilation_cache = None  # type: ignore[assignment]

# Of a module of JAX that is not for others. Where a version lacks them JAX keeps programs in its own way; a test holds
# that they are there.
MAKER = "get_file_cache"
READER = "get_executable_and_time"
MEGABYTES = 600.0  # a whole run of the tests keeps about 200


def keep_compiled(folder: str | os.PathLike, megabytes: float | int = MEGABYTES) -> None:
    """Keep compiled programs in a folder, from which later processes take them.

    Call it right after the import, before the first fit; or set MEFIT_COMPILED to the folder.
    Nothing is kept unless asked for. What it saves is most of XLA's share; importing and tracing
    remain. Programs are kept apart by version of JAX, by operating system and by processor, so that
    a folder may be shared, by several processes at once too; it may be deleted at any time. Those
    who may write to it decide what runs here: share it with people whom you trust.

    **Arguments:**

    - `folder`: it is made if need be. One that cannot be written to is read: a class may share what its teacher has
      kept.
    - `megabytes`: the most that the programs of this computer and this JAX may take; beyond that, those not used for
      longest go.

    Raises:
        ValueError: a folder that cannot be made, or that can neither be written to nor holds programs for this
            computer; a bound that is not positive.
    """
    if not megabytes > 0:
        raise ValueError(f"megabytes must be positive, to bound what is kept, and is {megabytes}.")
    kind = f"{platform.system()}-{_processor()}-jax-{jax.__version__}"
    place = Path(folder).expanduser() / kind
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"programs cannot be kept in {place}: {error.strerror}; name another folder.") from None
    programs = ProgramFolder(place, 1e6 * megabytes, can_write(place))
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if hasattr(compilation_cache, MAKER):
        compilation_cache.reset_cache()  # which would hold on to another folder
        setattr(compilation_cache, MAKER, lambda path: (programs, path))
    if own := getattr(compilation_cache, READER, None):
        setattr(compilation_cache, READER, _reading(getattr(own, "__wrapped__", own), programs))


def keep_where_possible(folder: str | os.PathLike) -> str:
    """`keep_compiled`, but what stands in its way is returned as a sentence and stops nothing."""
    try:
        keep_compiled(folder)
    except ValueError as error:
        return f"{error} All works, but compiles anew."
    return ""


def _reading(own: Callable, programs: ProgramFolder) -> Callable:
    """JAX's reader, which takes away what XLA does not take: such a program is one that was never kept."""

    @functools.wraps(own)
    def read(cache_key: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return own(cache_key, *args, **kwargs)
        except Exception:  # whatever the bytes make of the decompressor or of XLA
            programs.take_away(cache_key)
            return None, None

    return read


def _processor() -> str:
    """A short name of this processor and what it can do: programs for others may not run on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        description = platform.processor()
    else:
        # Those of the first processor: all are alike.
        telling = [line for line in lines if line.startswith(("model name", "flags"))]
        description = "".join(telling[:2])
    return hashlib.sha256(description.encode()).hexdigest()[:8]
