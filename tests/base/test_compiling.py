"""Compiled: what a program is made of, alone and as a part of another."""

import equinox as eqx
import jax
import jax.numpy as jnp

from mefit.base import compiling


def test_an_option_that_xla_does_not_know_costs_no_other(monkeypatch):
    monkeypatch.setattr(compiling, "OPTIONS", {"xla_cpu_no_such_option": 1} | compiling.OPTIONS)
    assert compiling.known_options.__wrapped__() == compiling.known_options()
    assert compiling.known_options()["xla_cpu_experimental_ynn_fusion_type"] == ""


def test_a_compiled_function_may_be_part_of_another_program():
    @compiling.compiled
    def cube(x):
        return x**3

    two = jnp.asarray(2.0)
    assert float(cube(two)) == 8
    assert float(jax.jit(lambda x: cube(x) + cube(two))(two)) == 16
    assert float(jax.jit(lambda: cube(two))()) == 8  # nothing that is followed goes in
    assert float(compiling.compiled(lambda x: 2 * cube(x))(two)) == 16
    assert float(jax.grad(cube)(two)) == 12
    assert jax.vmap(cube)(jnp.asarray([1.0, 2.0])).tolist() == [1, 8]
    total, _ = jax.lax.scan(lambda total, x: (total + cube(x), None), 0.0, jnp.arange(1.0, 3.0))
    assert total == 9
    assert eqx.filter_eval_shape(cube, two).shape == ()
