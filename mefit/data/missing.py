"""Responses that were planned and not seen: which they are, and subjects in which they are filled in."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from .subject import Subject


def gaps(subject: Subject) -> Subject:
    """The subject seen from the other side: its mask is true where a row is real and its response is missing.

    What was censored was seen. One subject, or many with a leading axis; of several outcomes each has its own.
    """
    missing = jax.tree.map(lambda seen: subject.real & ~seen, subject.mask)
    return dataclasses.replace(subject, mask=missing, censored=None, limit=None)


def filled(subject: Subject, y: Any) -> Subject:
    """The subject with the missing responses of its real rows taken from y, and all others as they were."""
    whole = jax.tree.map(lambda seen, own, new: jnp.where(seen, own, new), subject.mask, subject.y, y)
    real = jax.tree.map(lambda _: subject.real, subject.mask)
    return dataclasses.replace(subject, y=jax.tree.map(lambda y: jnp.where(subject.real, y, 0.0), whole), mask=real)
