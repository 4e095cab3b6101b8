"""What each response is expected to be given a person's own data: its mean, or a draw beyond its limit."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtri
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.compiling import compiled
from ..data.by_outcome import as_dict, as_given
from ..data.subject import Subject
from ..model.densities import observation_density
from ..model.model import Model
from ..model.moments import mean_of
from ..model.normals import NormalRows, normal_rows

_NOTHING = 1e-300  # a probability that is no more


@compiled
def expected_responses(model: Model, etas: Float[Array, "N M K"], subjects: Subject, keys: Any) -> Any:
    """E[y | eta, theta] of every row, its mean over the draws of each person; of a censored one a draw in its place."""

    def add(total, drawn):
        values = jax.vmap(lambda eta, subject, key: _of_one(model, eta, subject, key))(drawn[0], subjects, drawn[1])
        return jax.tree.map(jnp.add, total, values), None

    start = jax.tree.map(lambda y: jnp.zeros(y.shape), subjects.y)
    total, _ = jax.lax.scan(add, start, (jnp.swapaxes(etas, 0, 1), jnp.swapaxes(keys, 0, 1)))
    return jax.tree.map(lambda values: values / etas.shape[1], total)


def _of_one(model: Model, eta: Float[Array, " K"], subject: Subject, key: PRNGKeyArray) -> Any:
    """The same of one subject and one draw."""
    every = jax.tree.map(lambda mask: jnp.ones(mask.shape, bool), subject.mask)
    whole = dataclasses.replace(subject, mask=every, censored=None, limit=None)
    who = f"{type(model).__name__}.observations"
    shape = subject.time.shape
    found = {}
    for place, (name, density) in enumerate(sorted(as_dict(observation_density(model, eta, whole)).items())):
        found[name] = jnp.broadcast_to(mean_of(density, who), shape)
        censored = as_dict(subject.censored).get(name)
        normal = normal_rows(density)
        if censored is None or normal is None:  # then none is censored
            continue
        y = as_dict(subject.y)[name]
        limit = as_dict(subject.limit)[name]
        cut = as_dict(subject.mask)[name] & (censored != 0)
        lower = jnp.where(censored > 0, limit, y)
        upper = jnp.where(censored > 0, y, limit)
        uniform = jax.random.uniform(jax.random.fold_in(key, place), shape, minval=jnp.finfo(float).eps)
        inside = normal_between(normal, jnp.where(cut, lower, -jnp.inf), jnp.where(cut, upper, jnp.inf), uniform)
        found[name] = jnp.where(cut, inside, found[name])
    return as_given(found)


def normal_between(normal: NormalRows, lower: Array, upper: Array, uniform: Float[Array, " n"]) -> Float[Array, " n"]:
    """y = g(w), w ~ N(loc, scale^2), given lower < y < upper: the quantile of a uniform number, row by row.

    It is taken in the lower tail, that of the reflected law where the interval lies above, whose digits are kept.
    """
    loc = jnp.broadcast_to(normal.loc, uniform.shape)
    scale = jnp.broadcast_to(normal.scale, uniform.shape)
    spread = jnp.where(scale > 0, scale, 1.0)
    a = (normal.bound(lower) - loc) / spread
    b = (normal.bound(upper) - loc) / spread
    flip = a + b > 0
    left = jnp.where(flip, -b, a)
    right = jnp.where(flip, -a, b)
    near = log_ndtr(jnp.where(right == jnp.inf, 0.0, right))
    near = jnp.where(right == jnp.inf, 0.0, near)
    is_open = left == -jnp.inf
    share = jnp.where(is_open, 0.0, jnp.exp(log_ndtr(jnp.where(is_open, 0.0, left)) - near))
    p = jnp.exp(near + jnp.log(share + uniform * (1.0 - share)))
    # where no number is that small, 37 SDs out, the response is at its limit
    z = jnp.clip(ndtri(jnp.maximum(p, _NOTHING)), left, right)
    w = jnp.where(scale > 0, loc + spread * jnp.where(flip, -z, z), loc)
    return w if normal.curve is None else normal.curve(w)
