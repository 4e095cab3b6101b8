"""Keys: asked for by name, and handed to NumPy."""

import jax
import numpy as np
import pytest

from mefit.base.chance import numpy_generator, require_key


def test_a_key_is_asked_for():
    require_key(jax.random.key(1), "this")
    require_key(jax.random.PRNGKey(1), "this")
    for wrong in (None, 1, ()):
        with pytest.raises(ValueError, match=r"SAEM draws at random: give it a key, .* key=jax.random.key\(1\)"):
            require_key(wrong, "SAEM")


def test_one_key_is_one_stream():
    first, again, other = (numpy_generator(jax.random.key(seed)).normal(size=5) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)
