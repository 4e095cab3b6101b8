"""The state of a fit kept in a folder, from which the same call goes on in another process.

What a state shares with the method's first state, such as the data, is not written but found there again: `init` is run
anew, and it is deterministic. The rest is written by pickle, arrays as NumPy's. A state appears whole or not at all.
"""

import dataclasses
import hashlib
import io
import os
import pickle
import re
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..base.devices import AXIS, count_of, mesh_of, shared_out, using
from ..base.processes import gathered, is_first
from ..methods.method import Method, Problem, State

EVERY = 60.0  # seconds between two states that are written
_FILE = "state.mefit"
_DIGEST = 32  # bytes


class Checkpoint:
    """Where a fit keeps its state.

    What is in the way of writing is said once, at the beginning where it is so from the beginning, and the fit goes on.
    Where several processes fit `together` the first one reads and writes, so that only it needs the folder.

    **Raises:** ValueError, from `begin`, where the folder cannot be read or holds the state of another fit.
    """

    def __init__(self, folder: str | os.PathLike, problem: Problem, method: Method, together: bool = False):
        self._folder = Path(folder).expanduser()
        self._file = self._folder / _FILE
        self._problem = problem
        self._mark = fingerprint(problem, method)
        self._together = together
        self._known: dict[str, Any] = {}
        self._written = -np.inf
        self._complained = False

    def begin(self, first: State, history: Any) -> tuple[State, Any]:
        """The state to go on from, with its history: what was kept, or the first where nothing was."""
        self._known = dict(_parts("problem", self._problem)) | dict(_parts("memory", first.memory))
        kept = self._read()
        if kept is None:
            return first, history
        return kept

    def look(self, state: State, history: Any) -> None:
        """Keep this state, if none was kept within the last minute; forget all where the fit is over."""
        now = time.monotonic()
        if (now - self._written < EVERY and not state.done) or not self._writes:
            return
        try:
            self._write((state, history))
        except OSError as error:
            self._complain(f"{error.strerror or error}: make room, or name another folder")
        self._written = time.monotonic()

    def forget(self) -> None:
        """Take the state away: the fit has its result."""
        if not self._writes:
            return
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            self._complain(f"{error.strerror}: delete {self._file} before another fit")

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            warnings.warn(f"the state of the fit cannot be kept in {self._folder} ({why}); it goes on.", stacklevel=2)

    def _write(self, kept: Any) -> None:
        buffer = io.BytesIO()
        try:
            _Writer(buffer, self._known).dump(kept)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self._complain(f"it cannot be written: {error}")
            return
        content = self._mark + buffer.getvalue()
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f".{uuid.uuid4().hex}.unfinished"
        try:
            with open(unfinished, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self._file)
        finally:
            unfinished.unlink(missing_ok=True)

    @property
    def _writes(self) -> bool:
        return is_first() or not self._together

    def _read(self) -> tuple[State, Any] | None:
        whole = self._whole() if self._writes else b""
        if self._together:
            whole = gathered(whole)[0]
        if not whole:
            return None
        content = whole[_DIGEST:]
        if hashlib.sha256(content).digest() != whole[:_DIGEST]:
            warnings.warn(f"the state in {self._file} is damaged: the fit begins anew.", stacklevel=2)
            return None
        if content[:_DIGEST] != self._mark:
            raise ValueError(
                f"checkpoint={str(self._folder)!r} holds the state of another fit, with other data, starting values or "
                "settings: name another folder, or delete this one."
            )
        return _Reader(io.BytesIO(content[_DIGEST:]), self._known).load()

    def _whole(self) -> bytes:
        """What the file holds; nothing where there is none."""
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise ValueError(
                f"checkpoint={str(self._folder)!r} cannot be read ({error.strerror}): name another folder."
            ) from None


class _Writer(pickle.Pickler):
    """Writes what is not known from the first state; models and other modules as the arrays of one that is."""

    def __init__(self, file: Any, known: dict[str, Any]):
        super().__init__(file)
        self._places = {id(part): place for place, part in known.items()}
        self._modules = [part for part in known.values() if isinstance(part, eqx.Module)]

    def persistent_id(self, part: Any) -> str | None:
        return self._places.get(id(part))

    def reducer_override(self, part: Any) -> Any:
        if isinstance(part, jax.Array):
            if jnp.issubdtype(part.dtype, jax.dtypes.prng_key):
                return _key, (np.asarray(jax.random.key_data(part)), str(jax.random.key_impl(part)))
            if isinstance(part.sharding, NamedSharding) and part.sharding.spec == PartitionSpec(AXIS):
                return shared_out, (part.sharding.mesh, np.asarray(part))
            return jnp.asarray, (np.asarray(part),)
        if isinstance(part, Mesh):
            return _devices, (count_of(part),)
        if isinstance(part, eqx.Module):
            structure: Any = jax.tree.structure(part)
            for like in self._modules:
                if type(like) is type(part) and structure == jax.tree.structure(like):
                    return _like, (like, jax.tree.leaves(part))
        return NotImplemented


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, known: dict[str, Any]):
        super().__init__(file)
        self._known = known

    def persistent_load(self, place: str) -> Any:
        return self._known[place]


def _key(data: np.ndarray, kind: str) -> jax.Array:
    return jax.random.wrap_key_data(jnp.asarray(data), impl=kind)


def _devices(count: int) -> Mesh | None:
    with using(min(count, len(jax.local_devices()))):
        return mesh_of(count, 1)


def _like(module: Any, leaves: list[Any]) -> Any:
    return jax.tree.unflatten(jax.tree.structure(module), leaves)


def _parts(place: str, whole: Any) -> Iterator[tuple[str, Any]]:
    """Everything inside that is worth not writing, by its place: arrays, modules, functions and what holds them."""
    if whole is None or isinstance(whole, bool | int | float | complex | str | bytes | np.generic):
        return
    yield place, whole
    if dataclasses.is_dataclass(whole) and not isinstance(whole, type):
        inside = [(field.name, getattr(whole, field.name, None)) for field in dataclasses.fields(whole)]
    elif isinstance(whole, tuple | list):
        inside = [(str(i), part) for i, part in enumerate(whole)]
    elif isinstance(whole, dict):
        inside = [(str(name), part) for name, part in whole.items()]
    else:
        inside = []
    for name, part in inside:
        yield from _parts(f"{place}.{name}", part)


def fingerprint(problem: Problem, method: Method) -> bytes:
    """What tells one fit from another: model, data, key, names held fixed, and the method with its settings."""
    digest = hashlib.sha256()
    everything = (problem.model, problem.population, problem.key, problem.fixed, method)
    leaves, structure = jax.tree.flatten(everything)
    for leaf in (*leaves, structure):
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if isinstance(leaf, jax.Array | np.ndarray) and np.asarray(leaf).dtype != object:
            array = np.asarray(leaf)
            digest.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
        else:  # addresses in memory are others in the next process
            digest.update(re.sub(r" at 0x[0-9a-f]+", "", repr(leaf)).encode())
    return digest.digest()
