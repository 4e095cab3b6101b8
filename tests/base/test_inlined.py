"""A function followed without the small programs in it computes the same, keeps its lines, and knows what was known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import theophylline_model

import mefit as mf
from mefit.base.inlined import inlined
from mefit.base.jaxprs import line_of

X = jnp.array([0.3, -1.2, 2.0])


def wave(x, more):
    shape = jnp.where(x > 0.0, jnp.sinc(x), jax.nn.softplus(x)) + jax.scipy.special.xlogy(more["b"], more["b"])
    looped = jax.lax.fori_loop(0, more["n"], lambda _, total: jnp.clip(total * 0.5 + shape, -9.0, 9.0), shape)
    return {"sum": jnp.sum(looped), "each": looped}


def loss(function):
    def value(x, b):
        found = function(x, {"b": b, "n": 3})
        return found["sum"] + jnp.sum(found["each"] ** 2)

    return value


def opened(x, more):
    return inlined(wave, x, more)


@pytest.mark.parametrize("derive", [lambda f: f, jax.grad, jax.hessian, lambda f: jax.jacfwd(jax.grad(f, argnums=1))])
def test_values_and_derivatives_are_the_same(derive):
    b = jnp.array(0.7)
    for way in (jax.jit(derive(loss(opened))), derive(loss(opened))):
        np.testing.assert_allclose(way(X, b), derive(loss(wave))(X, b), rtol=1e-13)
    many = jax.jit(jax.vmap(derive(loss(opened)), (0, None)))(jnp.stack([X, 2 * X]), b)
    np.testing.assert_allclose(many[1], derive(loss(wave))(2 * X, b), rtol=1e-13)


def test_no_program_is_left_and_every_equation_keeps_its_line():
    closed = jax.make_jaxpr(lambda x: inlined(lambda x: jnp.where(x > 0.0, jnp.sinc(x), 0.0), x))(X)
    assert not {"jit", "pjit"} & {eqn.primitive.name for eqn in closed.jaxpr.eqns}
    lines = {line_of(eqn) for eqn in jax.make_jaxpr(lambda x: inlined(lambda x: x / 3.0 + x[1], x))(X).jaxpr.eqns}
    assert any("x / 3.0" in line for line in lines if line)


def test_what_is_known_stays_known():
    def only_known(x, size):
        assert not isinstance(size, jax.core.Tracer)
        return x * float(size)

    two = jnp.asarray(2.0)
    np.testing.assert_allclose(jax.jit(lambda x: inlined(only_known, x, two))(X), 2 * X)


def test_a_density_has_the_derivatives_that_it_has_without():
    model = theophylline_model()
    subject = mf.datasets.theophylline()[0]
    eta = jnp.array([0.2, -0.1, 0.3])

    def density(eta):
        return mf.log_joint(model, eta, subject)

    np.testing.assert_allclose(jax.jit(jax.hessian(density))(eta), jax.hessian(density)(eta), rtol=1e-10)
