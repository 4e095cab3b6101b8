"""Compiled programs kept in a folder, for the next process and for those beside it.

JAX writes a program in place, and never over one that is there. So an entry whose writing was cut
short, by a kernel that was killed or a laptop that was switched off, would be complained of by every
later process, and compiled by each anew. Here it is taken away, and the next writer makes it whole.
"""

import functools
import hashlib
import os
import platform
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

try:
    from jax._src import compilation_cache
except ImportError:
    compilation_cache = None

# Of a module of JAX that is not for others. Where a version lacks it nothing is guarded; a test holds that it is there.
READER = "get_executable_and_time"
WRITER = "put_executable_and_time"


def keep_compiled(folder: str | os.PathLike) -> None:
    """Keep compiled programs in a folder, from which later processes take them.

    Call it right after the import, before the first fit; or set MEFIT_COMPILED to the folder.
    Nothing is kept unless asked for. What it saves is most of XLA's share; importing and tracing
    remain. Programs are kept apart by version of JAX, by operating system and by processor, so that
    a folder may be shared, by several processes at once too; it may be deleted at any time. Those
    who may write to it decide what runs here: share it with people whom you trust.

    Raises:
        ValueError: a folder that cannot be made or written to.
    """
    kind = f"{platform.system()}-{_processor()}-jax-{jax.__version__}"
    place = Path(folder).expanduser() / kind
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / ".writable").touch()
    except OSError as error:
        raise ValueError(f"programs cannot be kept in {place}: {error.strerror}; name another folder.") from None
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    for name, guarded in ((READER, _reading), (WRITER, _writing)):
        if own := getattr(compilation_cache, name, None):
            setattr(compilation_cache, name, guarded(getattr(own, "__wrapped__", own), place))


def _reading(own: Callable, place: Path) -> Callable:
    """JAX's reader, which takes away what it cannot read: a damaged program is one that was never kept."""

    @functools.wraps(own)
    def read(cache_key: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return own(cache_key, *args, **kwargs)
        except Exception:  # whatever the bytes make of the decompressor or of XLA
            _take_away(place, cache_key)
            return None, None

    return read


def _writing(own: Callable, place: Path) -> Callable:
    """JAX's writer, which says once that it cannot write, and leaves no half of a program behind."""
    failed = False

    @functools.wraps(own)
    def write(cache_key: str, *args: Any, **kwargs: Any) -> None:
        nonlocal failed
        if failed:
            return
        try:
            own(cache_key, *args, **kwargs)
        except OSError as error:
            failed = True
            _take_away(place, cache_key)
            why = f"no more compiled programs can be kept ({error.strerror}); all works, but the next start is slower."
            warnings.warn(why, stacklevel=2)

    return write


def _take_away(place: Path, cache_key: str) -> None:
    try:
        (place / f"{cache_key}-cache").unlink(missing_ok=True)
    except OSError:
        pass  # another process has it open (Windows), and will have it whole in a moment


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
