"""One way to share out what is done to many things alike, such as chains, starts or simulated data sets, among devices.

It is apart from `devices.py`, which `import mefit` needs and which loads no Equinox.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from .devices import AXIS, count_of


def dealt_out(
    mesh: Mesh | None,
    work: Callable[[Any, Any], Any],
    known: Any,
    things: Any,
    *,
    together: bool = False,
) -> Any:
    """`work(known, share)` on each device for its share of `things`, and what came out of all, in their order.

    This is how whatever is done to many things alike is done on several devices: chains, starts, simulated data sets.
    It is to be traced, in a program that is `compiled_for_devices`.

    **Arguments:**

    - `mesh`: the devices, or None for one.
    - `work`: takes a share of the things and gives arrays with as long a leading axis. That the numbers are the same
      for any number of devices is up to it: what it makes of one thing must not depend on the others of its share.
    - `known`: whatever all things need, arrays or not.
    - `things`: arrays with leading axes of one length, of any number. The last stands in where the shares would differ.
    - `together`: whether all devices need what comes out, since the program goes on with it. They then wait for each
      other; else each keeps its own share, as is right for what the program ends with.
    """
    if mesh is None:
        return work(known, things)
    moving, still = eqx.partition(known, eqx.is_array)

    def here(moving: Any, share: Any) -> Any:
        found = work(eqx.combine(moving, still), share)
        return _gathered(found) if together else found

    count = jax.tree.leaves(things)[0].shape[0]
    room = -(-count // count_of(mesh)) * count_of(mesh)
    if room > count:
        filled = np.minimum(np.arange(room), count - 1)
        things = jax.tree.map(lambda leaf: leaf[filled], things)
    whole = PartitionSpec()
    dealt = PartitionSpec(AXIS)
    # Loops inside begin with constants, which are the same everywhere, and go on with what is not: not to be checked.
    found = jax.shard_map(
        here,
        mesh=mesh,
        in_specs=(whole, dealt),
        out_specs=whole if together else dealt,
        check_vma=False,
    )(moving, things)
    return found if room == count else jax.tree.map(lambda leaf: leaf[:count], found)


def one_by_one(mesh: Mesh | None, work: Callable[[Any, Any], Any], known: Any, things: Any) -> Any:
    """`work(known, thing)` for each of the things, as `dealt_out`: on a processor one after the other.

    Side by side each loop would run as long as the longest of all, and what is rounded would depend on how many there
    are. A last digit may still come out otherwise in a program for another number of devices. An accelerator does all
    of its share at once.
    """

    def share(known: Any, things: Any) -> Any:
        if jax.default_backend() == "cpu":
            return jax.lax.map(lambda thing: work(known, thing), things)
        return jax.vmap(lambda thing: work(known, thing))(things)

    return dealt_out(mesh, share, known, things)


def _gathered(tree: Any) -> Any:
    """The arrays of all devices, joined along their leading axes.

    Those of a kind go as one: at each exchange all devices wait for the last, which on a busy processor is long.
    """
    leaves, structure = jax.tree.flatten(tree)
    kinds = [jnp.dtype(float) if leaf.dtype == bool else leaf.dtype for leaf in leaves]
    joined: list[Any] = list(leaves)
    for kind in dict.fromkeys(kinds):
        which = [i for i, other in enumerate(kinds) if other == kind]
        columns = [leaves[i].reshape(len(leaves[i]), -1).astype(kind) for i in which]
        whole = jax.lax.all_gather(jnp.concatenate(columns, axis=1), AXIS, tiled=True)
        ends = np.cumsum([column.shape[1] for column in columns])[:-1]
        for i, column in zip(which, jnp.split(whole, ends, axis=1), strict=True):
            joined[i] = column.reshape(len(whole), *leaves[i].shape[1:]).astype(leaves[i].dtype)
    return jax.tree.unflatten(structure, joined)
