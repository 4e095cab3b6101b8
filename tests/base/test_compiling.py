"""Compiled: what a program is made of, alone and as a part of another."""

import gc

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

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


def test_a_program_may_be_compiled_ahead_and_is_compiled_once(compiled_meanwhile):
    followed = []

    def programs():
        return sum("slowly" in name for name in compiled_meanwhile)

    @compiling.compiled
    def slowly(x, power):
        followed.append(power)
        return jnp.linalg.inv(x) ** power

    x = 2.0 * jnp.eye(3)
    slowly.ahead(x, 2)
    assert slowly(3.0 * x, 2)[0, 0] == pytest.approx(1 / 36)
    assert (programs(), len(followed)) == (1, 1)
    assert slowly(x, 3)[0, 0] == 0.125  # another program, which nobody had asked for
    assert (programs(), len(followed)) == (2, 2)
    assert jax.jit(lambda x: (slowly.ahead(x, 2), slowly(x, 2))[1])(x)[0, 0] == 0.25  # a part has nothing ahead of it


def test_what_goes_wrong_ahead_is_told_by_the_call(monkeypatch):
    @compiling.compiled
    def half(x):
        return 0.5 * x

    def fail(*_, **__):
        raise MemoryError("no room")

    one = jnp.ones(())
    monkeypatch.setattr(jax.stages.Lowered, "compile", fail)
    half.ahead(one)
    assert isinstance(half._coming[0].exception(), MemoryError)
    monkeypatch.undo()
    assert half(one) == 0.5


def test_garbage_is_looked_for_again_after_a_program_was_followed():
    seen = []

    @compiling.compiled
    def look(x):
        seen.append(gc.isenabled())
        if x.ndim == 1:
            raise ValueError("no vectors")
        return look_again(x)

    @compiling.compiled
    def look_again(x):
        seen.append(gc.isenabled())
        return x

    look(jnp.ones(()))
    assert seen == [False, False] and gc.isenabled()
    with pytest.raises(ValueError, match="no vectors"):
        look(jnp.ones(1))
    assert gc.isenabled()
    gc.disable()
    try:
        look(jnp.ones((1, 1)))
        assert not gc.isenabled(), "somebody had switched it off"
    finally:
        gc.enable()
