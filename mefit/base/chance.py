"""Keys of `jax.random`: asked for where something is drawn, and handed on to NumPy's generator."""

from typing import Any

import jax
import numpy as np


def require_key(key: Any, who: str) -> None:
    """Raise ValueError where `who` draws at random and got no key of `jax.random`."""
    if not isinstance(key, jax.Array):
        raise ValueError(f"{who} draws at random: give it a key, for instance key=jax.random.key(1).")


def seed_of(key: Any) -> np.ndarray:
    """The whole numbers that a key consists of, as a seed for NumPy."""
    return np.ravel(jax.random.key_data(key))


def numpy_generator(key: Any) -> np.random.Generator:
    """NumPy's generator of random numbers, started from a key of `jax.random`."""
    return np.random.default_rng(seed_of(key))
