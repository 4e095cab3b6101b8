"""Things done a part at a time: what is done to each alone, in one program, a few at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mefit.base.parts import has_loop, in_parts


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17])
def test_each_thing_is_done_once_and_in_its_place(count):
    x = np.arange(3.0 * count).reshape(count, 3)
    keys = jax.random.split(jax.random.key(0), count)
    found = jax.jit(lambda x, keys: in_parts(lambda one: (one[0].sum(), jax.random.uniform(one[1])), (x, keys), 8))(
        x, keys
    )
    np.testing.assert_allclose(found[0], x.sum(axis=1))
    np.testing.assert_array_equal(found[1], [jax.random.uniform(key) for key in keys])


@pytest.mark.parametrize("count", [20, 21, 31, 32])
def test_one_program_serves_all_parts_and_few_are_at_work_together(count):
    """A function is traced once, on a part whose size the number of parts divides as evenly as can be."""
    traced = []

    def function(one):
        traced.append(one)
        return jnp.sin(one)

    text = jax.jit(lambda x: in_parts(function, x, 10)).lower(np.ones(count)).as_text()
    assert len(traced) == 1
    parts = -(-count // 10)
    assert f"tensor<{-(-count // parts)}xf64>" in text and text.count("stablehlo.sine") == 1


def test_a_loop_is_seen_wherever_it_stands_in_a_program():
    def halved(x):
        return jax.lax.while_loop(lambda y: y > 1.0, lambda y: 0.5 * y, x)

    def twice(x):
        return jax.lax.scan(lambda y, _: (2.0 * y, None), x, None, length=3)[0]

    assert has_loop(halved, 4.0) and has_loop(jax.jit(twice), 4.0)
    assert has_loop(lambda x: jax.lax.cond(x > 0.0, twice, jnp.sin, x), 4.0)
    assert not has_loop(lambda x: jnp.exp(x) @ x, jnp.ones(3))
