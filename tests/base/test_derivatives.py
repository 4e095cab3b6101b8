"""Derivatives taken forward inside reverse mode are the ordinary ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mefit.base.derivatives import derived_forward, shorter_unless_derived


def plain(x, data):
    return jnp.sin(x[0] * data["a"]) * x[1], {"square": x**2 * data["a"][:, None] + 0.0 * data["count"]}


def loss(function):
    def value(x, data):
        wave, more = function(x, data)
        return jnp.sum(wave**2) + jnp.sum(jnp.exp(more["square"]))

    return value


X = jnp.array([0.7, -0.3])
DATA = {"a": jnp.array([0.2, 1.1, -0.4]), "count": jnp.asarray(2)}


def test_in_the_vector_and_where_the_data_move_too():
    forward = loss(derived_forward(plain))
    np.testing.assert_allclose(jax.grad(forward)(X, DATA), jax.grad(loss(plain))(X, DATA), rtol=1e-13)

    def of_data(value):
        return lambda x, a: value(x, DATA | {"a": a})

    for derive in (jax.grad, jax.jacfwd):
        expected = derive(of_data(loss(plain)), argnums=(0, 1))(X, DATA["a"])
        found = derive(of_data(forward), argnums=(0, 1))(X, DATA["a"])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)
        np.testing.assert_allclose(derive(of_data(forward), argnums=1)(X, DATA["a"]), expected[1], rtol=1e-13)


def short(x, data):
    return plain(x, data)[0], {"square": jnp.full((3, 2), 7.0)}  # tells which of the two was computed


def test_a_short_way_is_taken_where_nobody_derives_and_nowhere_else():
    forward = derived_forward(plain, short)
    in_any_order = partial(shorter_unless_derived, short, plain)
    for value in (forward, in_any_order):
        for way in (value, jax.jit(value), lambda x, data, value=value: jax.lax.map(lambda x: value(x, data), x[None])):
            assert np.all(np.asarray(way(X, DATA)[1]["square"]) == 7.0)
        for derive in (jax.grad, jax.jacfwd, jax.hessian):
            np.testing.assert_allclose(derive(loss(value))(X, DATA), derive(loss(plain))(X, DATA), rtol=1e-12)
        one, other = (jax.value_and_grad(loss(function))(X, DATA)[0] for function in (value, plain))
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_only_what_moves_is_followed_in_a_derivative():
    def told(x, data):
        moving.append(isinstance(data["a"], jax.core.Tracer))
        return plain(x, data)

    moving = []
    jax.grad(loss(partial(shorter_unless_derived, short, told)))(X, DATA)
    assert moving == [False]
