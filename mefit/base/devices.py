"""Devices that work side by side: the cores of a processor, or several accelerators.

To JAX a processor is one device, whose own pool of threads has nothing to do in programs of many small matrices. Here
each core becomes a device, and what is independent is shared out among them by `jax.shard_map`.
"""

import contextlib
import contextvars
import math
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "devices"
ALL = "all"  # the devices of all processes
_ASKED: contextvars.ContextVar[int | str | None] = contextvars.ContextVar("devices", default=None)
_FLAG = "xla_force_host_platform_device_count"


def cores(root: str = "/") -> int:
    """How many cores this process may use: of the machine, or those that a container lends it."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _lent(Path(root)))))


def _lent(root: Path) -> float:
    """Cores by the limits of control groups, version 2 or 1; infinite where there are none."""
    groups = root / "sys" / "fs" / "cgroup"
    try:
        quota, period = (groups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (groups / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (groups / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return math.inf
    if quota == "max" or float(quota) <= 0:
        return math.inf
    return float(quota) / float(period)


def cores_as_devices(environment: MutableMapping[str, str], running: bool) -> None:
    """Make each core a device and leave XLA's own threads idle, unless the user has chosen or XLA `running` has begun.

    XLA reads the variable NPROC when it begins, for the size of its pool, which has at least one thread a device.
    """
    if running:
        return
    environment.setdefault("NPROC", "1")
    if jax.config.values.get("jax_num_cpu_devices", 0) == -1 and _FLAG not in environment.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", cores())


@contextlib.contextmanager
def using(devices: int | str | None) -> Iterator[None]:
    """Share out what is done inside among so many devices of this process, or among those of `ALL` processes.

    None leaves the choice to the `using` around this one, and else to what is done.

    Raises:
        ValueError: a number that is not positive, or larger than that of the devices; another word than "all".
    """
    if isinstance(devices, str):
        if devices != ALL:
            raise ValueError(f'devices is a number, or "all" for those of all processes, and is {devices!r}.')
    elif devices is not None:
        there = len(jax.local_devices())
        if devices < 1:
            raise ValueError(f"devices must be 1 or more, and is {devices}; leave it out for an automatic choice.")
        if devices > there:
            raise ValueError(
                f"devices={devices}, and JAX has {there} here: ask for {there} at most, or set the environment "
                f"variable JAX_NUM_CPU_DEVICES={devices} before Python starts."
            )
    before = _ASKED.set(_ASKED.get() if devices is None else devices)
    try:
        yield
    finally:
        _ASKED.reset(before)


def mesh_of(parts: int, that_pay: int, *, at_any_load: bool = False) -> Mesh | None:
    """The devices for so many independent parts, or None where one is enough.

    Each of them gets at least `that_pay` parts where nobody asked for a number of devices, and else at least one. On
    a processor with other work for twice its cores one is taken: several would wait for each other. `at_any_load` they
    are taken all the same: for what a last digit, rounded otherwise in another program, turns into other numbers.
    """
    asked = _ASKED.get()
    if isinstance(asked, str):
        asked = len(jax.devices())
        if jax.process_count() > 1:  # a process without a part would not hear of the others
            return Mesh(np.array(jax.devices()), (AXIS,))
    if asked is None:
        if jax.config.jax_default_device is not None:  # type: ignore[attr-defined]
            return None  # the user has chosen one
        if jax.default_backend() == "cpu" and not at_any_load and _is_crowded():
            return None
        most = parts // that_pay
    else:
        most = min(asked, parts)
    if most < 2:
        return None
    devices = jax.local_devices()[:most]
    return Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None


def _is_crowded() -> bool:
    """Does more than twice as much wait for the cores as there are, so that threads of one program do not meet?

    At a load of 12 to 19 on two cores 3,000 subjects took 1.7 times longer on two devices than on one.
    """
    try:
        return os.getloadavg()[0] > 2.0 * (os.cpu_count() or 1)
    except (AttributeError, OSError):  # Windows does not tell
        return False


def count_of(mesh: Mesh | None) -> int:
    """How many devices there are in a mesh."""
    return 1 if mesh is None else mesh.devices.size


def on_each(mesh: Mesh | None, tree: Any) -> Any:
    """The tree, its arrays held as a whole by each device, so that a program finds them there at every call."""
    if mesh is None or mesh.is_multi_process:
        return tree
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: jax.device_put(leaf, whole) if _is_array(leaf) else leaf, tree)


def on_none(mesh: Mesh | None, tree: Any) -> Any:
    """The tree, its arrays, held by the devices of a mesh, as such that go along with any others.

    What they are used for later would else be done on all of them, by a program of its own.
    """
    if mesh is None or mesh.is_multi_process:
        return tree
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)) if isinstance(leaf, jax.Array) else leaf, tree)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray))


def shared_out(mesh: Mesh | None, leaf: Any) -> Any:
    """An array on the devices, its leading axis cut into one piece for each."""
    if mesh is None:
        return jax.device_put(leaf)
    pieces = NamedSharding(mesh, PartitionSpec(AXIS))
    if not mesh.is_multi_process:
        return jax.device_put(leaf, pieces)
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(shared_out(mesh, jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    # Each process puts its own pieces on its devices.
    return jax.make_array_from_callback(whole.shape, pieces, lambda index: whole[index])
