"""The same subjects, with a leading axis, with other doses or other responses."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike

from .by_outcome import as_dict, each_outcome
from .choosing import only_seen
from .doses import Doses
from .subject import Subject


def with_doses(subjects: Subject, doses: Doses | Sequence[Doses]) -> Subject:
    """The same subjects with other doses: the same for all, or a list with those of each.

    Raises:
        ValueError: doses of another number of subjects than there are.
    """
    n = len(subjects.time)
    given: Doses | None
    if isinstance(doses, Doses):
        given = doses
    else:
        given = Doses.together(doses) if len(doses) == n else None
    if given is None or given.time.shape[:-1] not in ((), (n,)):
        raise ValueError(f"This population needs doses for all of its {n} subjects: one Doses, or {n}.")
    given = jax.tree.map(lambda x: jnp.broadcast_to(x, (n, x.shape[-1])), given)
    return dataclasses.replace(subjects, doses=given)


def with_responses(subjects: Subject, y: ArrayLike | Mapping[str, ArrayLike]) -> Subject:
    """The same subjects with new responses (N, n), or a dict of them by outcome, none censored.

    Raises:
        ValueError: another shape than (N, n), or other outcomes.
    """
    new = each_outcome(float)(y)
    mask = subjects.mask
    shape = subjects.time.shape
    if as_dict(new).keys() != as_dict(mask).keys():
        several = isinstance(mask, dict)
        form = f"a dict by outcome: {', '.join(sorted(mask))}" if several else "one array, not a dict"
        raise ValueError(f"New responses need to be {form}.")
    for x in as_dict(new).values():
        if x.shape != shape:
            raise ValueError(f"New responses have shape {x.shape}; this population needs {shape}.")
    new = jax.tree.map(lambda seen, x: jnp.where(seen, x, 0.0), mask, new)
    return dataclasses.replace(subjects, y=new, censored=None, limit=None)


def without_censored(subjects: Subject) -> Subject:
    """The same subjects with the censored responses left out, as if they were missing."""
    if subjects.censored is None:
        return subjects
    kept = only_seen(subjects, jax.tree.map(lambda side: side == 0, subjects.censored))
    return dataclasses.replace(kept, censored=None, limit=None)


def until(subjects: Subject, time: float | int) -> Subject:
    """The same subjects with the responses after a time left out, as if they were missing."""
    early = subjects.time <= time
    return only_seen(subjects, jax.tree.map(lambda _: early, subjects.mask))
