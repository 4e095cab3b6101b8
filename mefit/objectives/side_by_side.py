"""An objective at many points at once, of one data set or of many alike: one program for starts and replicates.

What a point needs for its next step comes with its value: the gradient, and the cross-products of the subjects'
scores, which stand for the curvature in every unit.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..base import devices
from ..base.compiling import compiled_for_devices
from ..base.dealing import dealt_out
from ..data.population import Population
from ..data.subject import Subject
from ..model.model import Model
from ..model.space import Space
from . import mixture
from .evaluation import chunks_of
from .objective import Objective

_POINTS = 4  # of a block: with 32 subjects each, what goes through a core at once
# coordinates for each class up to which slopes are taken forward: 18 coordinates and 2 classes took 3.1 ms a point
# forward and 5.2 in reverse (312 subjects)
_FORWARD = 14


class Pool(NamedTuple):
    """Data sets of equally many subjects: leading axes (data sets, chunks, subjects of a chunk)."""

    subjects: Subject
    extras: PyTree
    weights: Array  # how often each subject counts; those that fill up the last chunk do not
    real: Any  # (chunks, subjects of a chunk): is it a subject, or does it fill up?
    mesh: Any = None  # the devices that points are shared out among; None where there is one

    @property
    def shape(self) -> tuple[int, int]:
        """How many data sets, and how many subjects each."""
        return self.weights.shape[0], int(np.sum(self.real))


class Seen(NamedTuple):
    """The objective at each of R points, with C classes; one class where the model is no mixture."""

    value: Float[Any, " R"]  # sum_i log L_i + log p(theta); of a point that is held, sum_i sum_k r_ik (...)
    gradient: Float[Any, "R P"]
    # sum_i sum_k r_ik s_ik s_ik', with s_ik the slope of log pi_k + log L_ik, and what the prior bends
    complete: Float[Any, "R P P"]
    crossed: Float[Any, "R P P"]  # sum_i s_i s_i', with s_i = sum_k r_ik s_ik, and what the prior bends
    responsibilities: Float[Any, "R N C"]  # at the point itself


def pool_of(
    objective: Objective,
    model: Model,
    populations: Sequence[Population],
    key: PRNGKeyArray | None,
) -> Pool:
    """Populations of one shape, such as one with several simulated responses, cut into chunks."""
    first = populations[0]
    count = len(first)
    chunks, size = chunks_of(objective, model, first, count)
    filled = np.minimum(np.arange(chunks * size), count - 1)
    outlines = {str(jax.tree.map(np.shape, one.subjects)) for one in populations}
    if len(outlines) > 1:
        raise ValueError("data sets side by side need equally many subjects, rows, doses and covariates each.")

    def cut(*leaves: Any) -> Any:
        stacked = jnp.stack(leaves) if _is_key(leaves[0]) else np.stack([np.asarray(leaf) for leaf in leaves])
        return jax.device_put(stacked[:, filled].reshape(len(leaves), chunks, size, *leaves[0].shape[1:]))

    extras = [mixture.extras_of(objective, model, one, key) for one in populations]
    real = (np.arange(chunks * size) < count).reshape(chunks, size)
    return Pool(
        subjects=jax.tree.map(cut, *[one.subjects for one in populations]),
        extras=jax.tree.map(cut, *extras),
        weights=jnp.asarray(np.tile(real.astype(float), (len(populations), 1, 1))),
        real=real,
        mesh=devices.mesh_of(jax.local_device_count(), 1) if jax.default_backend() == "cpu" else None,
    )


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def classes_of(model: Model) -> int:
    """How many classes a model has: one where it is no mixture."""
    return len(getattr(model, "members", (model,)))


class _Asked(NamedTuple):
    """What is asked of one point."""

    x: Any  # (P,)
    which: Any  # the number of its data set
    given: Any  # (chunks, subjects of a chunk, C), responsibilities
    held: Any  # do these count, or those at the point itself?


def look(
    objective: Objective,
    space: Space,
    pool: Pool,
    x: Float[np.ndarray, "R P"],
    which: Int[np.ndarray, " R"] | None = None,
    given: Float[np.ndarray, "R N C"] | None = None,
    room: int = 1,
) -> Seen:
    """The objective at points x, each of the data set `which`; with the responsibilities `given` held, where they are.

    Points are evaluated in blocks, as many as there are, by one program for any number up to `room`.
    """
    count = len(x)
    chunks, size = pool.real.shape
    subjects = int(np.sum(pool.real))
    classes = classes_of(space.template)
    mesh = pool.mesh if max(room, count) > 1 else None
    dealt = devices.count_of(mesh)
    block = min(_POINTS, math.ceil(max(room, count) / dealt))
    room = block * math.ceil(max(room, count) / dealt / block)  # of each device
    each = math.ceil(count / dealt)
    stands = np.arange(dealt)[:, None] * each + np.minimum(np.arange(room), each - 1)
    filled = np.minimum(stands, count - 1).ravel()
    own = np.zeros(count, int) if which is None else np.asarray(which)
    held = np.zeros((count, chunks * size, classes))
    if given is not None:
        held[:, :subjects] = given
    asked = _Asked(
        x=x[filled],
        which=own[filled],
        given=held[filled].reshape(dealt * room, chunks, size, classes),
        held=np.full(dealt * room, given is not None),
    )
    blocks = np.asarray(math.ceil(each / block))
    found = _look(objective, space, pool._replace(real=None, mesh=mesh), blocks, asked, block)
    kept = np.arange(count) // each * room + np.arange(count) % each
    found = jax.tree.map(lambda leaf: np.asarray(leaf)[kept], found)
    classes_of_all = found.responsibilities.reshape(count, chunks * size, classes)[:, :subjects]
    return found._replace(responsibilities=classes_of_all)


@compiled_for_devices
def _look(objective: Objective, space: Space, pool: Pool, blocks: Array, asked: _Asked, block: int) -> Seen:
    """All points, on each device so many blocks of its own, one after the other."""

    def here(known: Any, asked: _Asked) -> Seen:
        objective, space, pool, blocks = known
        return _in_blocks(objective, space, pool, blocks, asked, block)

    return dealt_out(pool.mesh, here, (objective, space, pool._replace(mesh=None), blocks), asked)


def _in_blocks(objective: Objective, space: Space, pool: Pool, blocks: Array, asked: _Asked, block: int) -> Seen:
    room, size = asked.x.shape

    def of_block(k: Array, seen: Seen) -> Seen:
        here = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, k * block, block), asked)
        found = jax.vmap(lambda one: _at_point(objective, space, pool, one))(here)
        return jax.tree.map(
            lambda all_, part: jax.lax.dynamic_update_slice_in_dim(all_, part, k * block, 0), seen, found
        )

    empty = Seen(
        value=jnp.zeros(room),
        gradient=jnp.zeros((room, size)),
        complete=jnp.zeros((room, size, size)),
        crossed=jnp.zeros((room, size, size)),
        responsibilities=jnp.zeros(asked.given.shape),
    )
    return jax.lax.fori_loop(0, blocks, of_block, empty)


def _at_point(objective: Objective, space: Space, pool: Pool, asked: _Asked) -> Seen:
    data = jax.tree.map(lambda leaf: leaf[asked.which], pool[:3])
    with_slopes = _with_slopes(objective, space, asked.x.size)

    def chunk(total: Any, part: Any) -> Any:
        (subjects, extras, weights), given = part
        each, slopes = jax.vmap(lambda subject, extra: with_slopes(asked.x, subject, extra))(subjects, extras)
        whole = jax.scipy.special.logsumexp(each, axis=1)
        own = jnp.exp(each - whole[:, None])
        r = weights[:, None] * jnp.where(asked.held, given, own)
        scores = jnp.einsum("nc,ncp->np", r, slopes)
        values = jnp.where(asked.held, jnp.sum(r * each, axis=1), weights * whole)
        found = (
            jnp.sum(values),
            jnp.sum(scores, axis=0),
            jnp.einsum("nc,ncp,ncq->pq", r, slopes, slopes),
            scores.T @ scores,
        )
        return jax.tree.map(jnp.add, total, found), own

    log_prior, slope = jax.value_and_grad(space.log_prior)(asked.x)
    bend = jnp.diag(jnp.maximum(-_prior_bend(space, asked.x), 0.0))
    begin = (log_prior, slope, bend, bend)
    (value, gradient, complete, crossed), own = jax.lax.scan(chunk, begin, (data, asked.given))
    return Seen(value, gradient, complete, crossed, own)


def _prior_bend(space: Space, x: Array) -> Float[Array, " P"]:
    """The second derivative of the log prior along each coordinate."""
    slope = jax.grad(space.log_prior)
    return jax.lax.map(lambda e: jax.jvp(slope, (x,), (e,))[1] @ e, jnp.eye(x.size))


def _with_slopes(objective: Objective, space: Space, size: int) -> Any:
    """log pi_k + log L_ik of each class, (C,), and their derivatives (C, P), the way that compiles faster."""

    def each_of(x: Array, subject: Subject, extra: PyTree) -> tuple[Array, Array]:
        model = space.at(x)
        whole = mixture.term(objective, model, subject, extra)
        each = whole.value[None]
        if classes_of(model) > 1:
            each = model.gate.log_shares(subject) + whole.details["log_likelihoods"]
        return each, each

    most = max(objective.forward_up_to, _FORWARD * classes_of(space.template))
    forward = size <= most and mixture.evaluations_of(objective, space.template) == 1
    derivative = jax.jacfwd if forward else jax.jacrev
    slopes = derivative(each_of, has_aux=True)
    return lambda x, subject, extra: slopes(x, subject, extra)[::-1]
