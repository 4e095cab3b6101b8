"""Some of the subjects, rows or responses of subjects that have a leading axis."""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .by_outcome import as_dict
from .subject import Subject


def positions(key: Any, size: int) -> Any:
    """The position of one subject, or an array of those of several, among `size` of them.

    Raises:
        IndexError: a position out of range, or a choice of nobody.
    """
    try:
        chosen = np.arange(size)[key]
    except IndexError as error:
        raise IndexError(
            f"Position {key} is not in this population of {size}; count from 0 to {size - 1} "
            "(positions are not ids: see population.ids)."
        ) from error
    if np.ndim(chosen) and np.size(chosen) == 0:
        raise IndexError("This choice leaves no subject; a population needs at least one.")
    return chosen


def one_subject(padded: Subject) -> Subject:
    """A subject without padding: its real rows, and the doses that it was given. Arrays are
    NumPy's.
    """
    own = padded.with_rows(lambda x: x[padded.real] if x.ndim else x)
    given = padded.doses.real
    return dataclasses.replace(own, doses=jax.tree.map(lambda x: jnp.asarray(x[given]), own.doses))


def only_rows(subjects: Subject, index: Sequence[int], ids: Sequence[Any]) -> Subject:
    """The same subjects with only these of their real rows each, counted from 0, or from -1 for the
    last one.

    Raises:
        ValueError: a row that a subject does not have, one named twice, or a subject left without
        an observation.
    """
    real = np.asarray(subjects.real)
    count = real.sum(axis=1, keepdims=True)
    wanted = np.asarray([operator.index(i) for i in index], dtype=int)
    turn = np.sort(np.where(wanted < 0, count + wanted, wanted), axis=1)
    absent = (turn < 0) | (turn >= count)
    repeated = np.diff(turn, axis=1, prepend=-1) == 0
    wrong = (absent | repeated).any(axis=1)
    if wrong.any():
        i = int(np.argmax(wrong))
        trouble = "does not have every row of" if absent[i].any() else "would have a row twice with"
        raise ValueError(f"Subject {ids[i]} has {count[i, 0]} rows and {trouble} {list(index)}; count from 0.")
    real_first = np.argsort(~real, axis=1, kind="stable")
    place = np.take_along_axis(real_first, turn, axis=1)

    def keep(x: Array) -> Array:
        return jnp.asarray(np.take_along_axis(np.asarray(x), place, axis=1)) if x.ndim == 2 else x

    kept = subjects.with_rows(keep)
    seen = have_responses(kept)
    if not seen.all():
        who = ids[int(np.argmin(seen))]
        raise ValueError(f"Subject {who} has no observation in rows {list(index)}; keep others.")
    return kept


def only_seen(subjects: Subject, kept: Any) -> Subject:
    """The same rows, but responses that are not `kept`, true or false (N, n) by outcome, are
    missing.
    """
    mask = jax.tree.map(lambda seen, keep: seen & keep, subjects.mask, kept)
    y = jax.tree.map(lambda seen, y: jnp.where(seen, y, 0.0), mask, subjects.y)
    return dataclasses.replace(subjects, mask=mask, y=y)


def have_responses(subjects: Subject) -> Bool[np.ndarray, " N"]:
    """Who has a response of any outcome."""
    return np.any([np.asarray(mask).any(axis=1) for mask in as_dict(subjects.mask).values()], axis=0)


def measured(subjects: Subject, outcome: str) -> Bool[np.ndarray, "*N n"]:
    """Which responses of an outcome were measured as numbers: seen, and not censored."""
    mask = np.asarray(as_dict(subjects.mask)[outcome], bool)
    censored = as_dict(subjects.censored).get(outcome)
    return mask if censored is None else mask & (np.asarray(censored) == 0)
