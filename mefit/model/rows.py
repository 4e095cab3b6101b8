"""Rows without a response: what a density holds for them is put aside before it is evaluated.

A row that is padding, or that was not seen, may hold anything: a logarithm of zero, the state of a differential
equation past its end. Its log density is left out of the sum, but in reverse mode a derivative of what was left out is
zero times infinity. So the numbers of such rows are replaced by constants first, and no derivative passes there.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Bool, Int
from numpyro.distributions import constraints
from numpyro.distributions.batch_util import promote_batch_shape

# A parameter of these domains may be one half, which needs no look at the other rows.
_HOLDS_ONE_HALF = (
    constraints.real,
    constraints.positive,
    constraints.nonnegative,
    constraints.unit_interval,
)


class _Rows(NamedTuple):
    observed: Bool[Array, " n"]
    first: Int[Array, ""]  # the first observed row


def with_own_batch(density: dist.Distribution) -> Any:
    """The density with the batch that its parameters have: one that `jax.vmap` returned does not know of its rows."""
    return density if density.batch_shape else promote_batch_shape(density)


def without_unseen_rows(density: dist.Distribution, observed: Bool[Array, " n"]) -> Any:
    """The density with harmless parameters in the rows that are not `observed`.

    Which numbers belong to rows is told by the `batch_shape` of the density that owns them, never by a length that
    happens to fit: the shared weights of a mixture of n components are left alone, for a subject of n rows too. Where
    one half lies in a parameter's domain it stands in, else the first observed row's own value, as a constant.
    """
    rows = _Rows(observed, jnp.argmax(observed))
    return _replaced(density, rows, behind=0)


def _replaced(density: dist.Distribution, rows: _Rows, behind: int) -> Any:
    """The density with harmless rows; `behind` axes of its batch, such as components, follow that of the rows."""
    density = with_own_batch(density)
    axis = len(density.batch_shape) - 1 - behind
    if axis < 0 or density.batch_shape[axis] != rows.observed.size:
        return density
    names = type(density).gather_pytree_data_fields()
    children, static = density.tree_flatten()

    def child(name: str, value: Any) -> Any:
        def part(x: Any) -> Any:
            if isinstance(x, dist.Distribution):
                return _replaced(x, rows, behind + _more_behind(density, name, x))
            return _replaced_number(x, density, name, rows, behind)

        return jax.tree.map(part, value, is_leaf=lambda x: isinstance(x, dist.Distribution))

    new = tuple(child(name, value) for name, value in zip(names, children, strict=True))
    return type(density).tree_unflatten(static, new)


def _more_behind(density: dist.Distribution, name: str, inner: dist.Distribution) -> int:
    """How many more axes follow the rows in the batch of a density inside another."""
    if isinstance(density, dist.MixtureSameFamily):
        return 1 if name == "_component_distribution" else 0
    if isinstance(density, dist.Independent):
        return density.reinterpreted_batch_ndims
    return max(0, len(inner.batch_shape) - len(density.batch_shape))


def _replaced_number(value: Any, owner: dist.Distribution, name: str, rows: _Rows, behind: int) -> Any:
    """One parameter with harmless rows, where its owner's batch gives it rows at all."""
    constraint = owner.arg_constraints.get(name)
    axis = jnp.ndim(value) - _event_dim(value, owner, constraint) - 1 - behind
    if axis < 0 or jnp.shape(value)[axis] != rows.observed.size:
        return value
    stand_in: Any = 0.5
    if not any(constraint is domain for domain in _HOLDS_ONE_HALF):
        own = jax.lax.stop_gradient(jnp.asarray(value))
        stand_in = jax.lax.dynamic_index_in_dim(own, rows.first, axis)
    observed = jnp.reshape(rows.observed, (-1, *(1 for _ in jnp.shape(value)[axis + 1 :])))
    return jnp.where(observed, value, stand_in)


def _event_dim(value: Any, owner: dist.Distribution, constraint: Any) -> int:
    """How many axes of a parameter belong to one entry of the batch, such as the probabilities of categories."""
    try:
        return constraint.event_dim
    except (AttributeError, NotImplementedError):  # not declared: what is more than the batch
        return max(0, jnp.ndim(value) - len(owner.batch_shape))
