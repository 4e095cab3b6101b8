"""A fault of XLA on a CPU, switched off before XLA starts.

Some versions of jaxlib hand pieces of a program to a library called YNN, as "YNN fusions". Of
jaxlib 0.10.2 these compute wrongly: a matrix-vector product under `vmap`, then a sum, over 16,385
rows ends in a wrong last row, in float64 too (jax-ml/jax issue 39103); others end the process
(issues 39257 and 40412). An empty list of what may be fused switches them off, and costs nothing
that was measured.

The kit's own programs carry that setting with them (`compiling.OPTIONS`). What a person compiles by
`jax.jit` reads it from XLA_FLAGS, which XLA reads once, when its backend starts. This file knows
how XLA reads that variable, and imports neither JAX nor jaxlib: it runs before them.
"""

import importlib.metadata
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path

FUSIONS = "xla_cpu_experimental_ynn_fusion_type"
SWITCHED_OFF = f"--{FUSIONS}="

# XLA ends the process at a flag that it does not know, so the flag is set only where it is known to
# be known.
FIRST_THAT_KNOWS = (0, 10, 2)
LAST_THAT_KNOWS = (0, 12, 0, 1)
FIRST_THAT_IS_RIGHT = (0, 12)


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version: (0, 10, 2) of 0.10.2.dev20260601."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    if numbers is None:
        return ()
    return tuple(int(number) for number in numbers.group().split("."))


def knows_the_flag(jaxlib: str) -> bool:
    """Whether this version of jaxlib is known to take the flag."""
    return FIRST_THAT_KNOWS <= version_numbers(jaxlib) <= LAST_THAT_KNOWS


def needs_the_flag(jaxlib: str) -> bool:
    """Whether this version of jaxlib computes wrongly, or stops, without the flag."""
    return FIRST_THAT_KNOWS <= version_numbers(jaxlib) < FIRST_THAT_IS_RIGHT


def is_file_name(value: str) -> bool:
    """Whether XLA takes a value of XLA_FLAGS for the name of a file that holds the flags."""
    return value != "" and not value.lstrip(" \t\r\n").startswith("-")


def flags_read(text: str) -> dict[str, str]:
    """The flags that XLA reads in a text: those before the first word without a dash.

    Of two of a name the last holds.
    """
    flags = {}
    for word in re.findall(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""", text):
        if not word.startswith("-"):
            break
        name, _, value = word.partition("=")
        flags[name.lstrip("-")] = value.strip("\"'")
    return flags


def text_of(value: str) -> str | None:
    """The text that a value of XLA_FLAGS stands for: itself, or that of the file it names.

    None where it names a file that is not there.
    """
    if not is_file_name(value) or not value.strip():
        return value
    try:
        return Path(value).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def with_fusions_off(value: str) -> str:
    """XLA_FLAGS with YNN's fusions switched off, and everything that `value` says kept.

    The flag comes first. So no word without a dash stands before it, behind which XLA reads
    nothing, and a person's own setting of the same flag comes later and holds. Where `value` names
    a file of flags, the flags are taken out of it.
    """
    text = text_of(value)
    if text is None:
        return value  # XLA itself says that there is no such file
    words = text.split()
    if not words:
        return SWITCHED_OFF
    if words[0] == SWITCHED_OFF:  # inherited from a process that imported the kit
        return text
    return f"{SWITCHED_OFF} {text}"


def backend_is_running() -> bool:
    """Whether JAX has started XLA in this process, after which XLA_FLAGS is read no more.

    It does not import JAX.
    """
    bridge = sys.modules.get("jax._src.xla_bridge")
    initialised = getattr(bridge, "backends_are_initialized", None)
    return initialised is not None and bool(initialised())


def installed_jaxlib() -> str:
    """The version of jaxlib, read from what the installer wrote; empty where there is none."""
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return ""


def switch_fusions_off(
    environment: MutableMapping[str, str],
    jaxlib: str,
    running: bool,
) -> str | None:
    """Set XLA_FLAGS in time, or say in a sentence that it is too late.

    **Arguments:** the environment to change, the version of jaxlib, and whether XLA `running`
    has read it already.

    **Returns:** None, or a sentence where this version computes wrongly and can no longer be told.
    """
    value = environment.get("XLA_FLAGS", "")
    if not running:
        if knows_the_flag(jaxlib):
            environment["XLA_FLAGS"] = with_fusions_off(value)
        return None
    # The variable stays as XLA read it: the cache of compiled programs files them under what it
    # says.
    if not needs_the_flag(jaxlib) or FUSIONS in flags_read(text_of(value) or ""):
        return None
    return (
        f"JAX computed something before mefit was imported, and jaxlib {jaxlib} gets some programs "
        "wrong on a CPU. The kit's own programs are safe, a jax.jit of your own may not be: "
        "restart Python and import mefit first."
    )
