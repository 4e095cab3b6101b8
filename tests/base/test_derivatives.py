"""Derivatives taken forward inside reverse mode are the ordinary ones."""

import jax
import jax.numpy as jnp
import numpy as np

from mefit.base.derivatives import derived_forward


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
