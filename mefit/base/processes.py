"""Several processes that compute one thing together: how they find and hear each other, and what is said of one lost.

Each of them runs the same script and makes the same calls in the same order, by `jax.distributed`. A process that
stopped, or went another way, would be waited for in vain; so what is found out of it ends the others.
"""

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .stopping import in_one_line

_AXIS = "processes"
_PIECE = 2**24  # bytes of each process that are on their way together
_SIGNS = ("Gloo", "NCCL", "coordination service", "heartbeat")  # in what JAX says where a process is gone


class ProcessLost(RuntimeError):
    """Another process of the computation is gone."""


def connect(
    address: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    patience: int = 100,
) -> int:
    """Join the processes that compute together, and return how many they are.

        mf.connect()                                       # under SLURM or MPI, which tell the rest
        mf.connect("10.0.0.5:4321", processes=8, process=3)

    Call it right after the import, in every process, before anything is computed. `mf.distribute` then exchanges data,
    and `mf.fit(..., devices="all")` computes on the devices of all. They must run the same code on processors of one
    kind.

    **Arguments:**

    - `address`: host and port of process 0, which the others must be able to reach.
    - `processes`: how many there are.
    - `process`: the number of this one, from 0.
    - `patience`: seconds without a sign of life after which a process is given up, of which nothing else tells.

    **Raises:** ValueError where something is missing that nothing tells; RuntimeError where JAX has begun to compute,
    or where the others do not come within five minutes.
    """
    given = (address, processes, process)
    if any(one is not None for one in given) and any(one is None for one in given):
        raise ValueError("connect needs address, processes and process, or none of them where SLURM or MPI tell them.")
    # Else a process that ends because another is gone would wait for that one at its exit.
    jax.config.update("jax_enable_recoverability", True)
    detected: dict[str, Any] = {} if address is None else {"cluster_detection_method": "deactivate"}
    try:
        jax.distributed.initialize(address, processes, process, heartbeat_timeout_seconds=patience, **detected)
    except ValueError as error:
        if address is not None:
            raise ValueError(f"connect: {error}") from None
        raise ValueError(
            "connect found no SLURM or MPI that tells how many processes there are and where the first one is: "
            "give address='host:port' of process 0, processes= and process=."
        ) from None
    return jax.process_count()


def are_several() -> bool:
    """Has this process been connected with others?"""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Is this process number 0, which speaks and writes for all, or alone?"""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Say in a sentence that a process was lost, where what is done inside fails for that.

    **Raises:** ProcessLost.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS):
            raise
        raise ProcessLost(
            f"process {jax.process_index()} of {jax.process_count()} stops, for another one is gone (see what that one "
            "said): start them all again; with checkpoint= the same call goes on from the state that was written last. "
            f"JAX says: {in_one_line(error)}"
        ) from None


def spans(tree: Any) -> bool:
    """Does a tree hold arrays that lie on devices of other processes, too?"""
    return jax.distributed.is_initialized() and any(
        isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and not leaf.is_fully_addressable
        for leaf in jax.tree.leaves(tree)
    )


def everywhere(tree: Any) -> Any:
    """The tree, its arrays of this process as NumPy's, which a program of all processes takes for the same in each."""

    def bare(leaf: Any) -> Any:
        own = isinstance(leaf, jax.Array) and leaf.is_fully_addressable
        return np.asarray(leaf) if own and not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    return jax.tree.map(bare, tree)


def here(tree: Any) -> Any:
    """What came out of a program of all processes, the same in each, as arrays of NumPy."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, tree)


def gathered(content: bytes) -> list[bytes]:
    """What each process has to say, in the order of their numbers; all must ask."""
    sizes = [int(size) for size in _rows(np.array([len(content)], np.int64))[:, 0]]
    parts: list[list[bytes]] = [[] for _ in sizes]
    for begin in range(0, max(sizes), _PIECE):
        mine = np.zeros(min(_PIECE, max(sizes) - begin), np.uint8)
        piece = np.frombuffer(content[begin : begin + _PIECE], np.uint8)
        mine[: piece.size] = piece
        for part, row, size in zip(parts, _rows(mine), sizes, strict=True):
            part.append(row[: max(0, size - begin)].tobytes())
    return [b"".join(part) for part in parts]


def agree(mark: bytes, what: str) -> None:
    """Raise ValueError, in every process, where their marks differ: they would not compute the same."""
    marks = gathered(hashlib.sha256(mark).digest())
    for number, other in enumerate(marks):
        if other != marks[0]:
            raise ValueError(f"process {number} has {what} than process 0: let all of them run the same script.")


def _rows(mine: np.ndarray) -> np.ndarray:
    """An array of each process, of one shape, one under another."""
    if jax.process_count() == 1:
        return mine[None]
    each = [next(group) for _, group in itertools.groupby(_devices(), lambda device: device.process_index)]
    mesh = Mesh(np.array(each), (_AXIS,))
    with heard():
        parts = NamedSharding(mesh, PartitionSpec(_AXIS))
        whole = jax.make_array_from_process_local_data(parts, mine[None], (len(each), *mine.shape))
        collect = jax.jit(lambda rows: rows, out_shardings=NamedSharding(mesh, PartitionSpec()))
        return np.asarray(collect(whole))


def _devices() -> list[Any]:
    """The devices of all processes, those of the first one first."""
    return sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
