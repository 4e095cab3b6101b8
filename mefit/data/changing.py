"""The same subjects, with a leading axis, with other doses, other responses, or more room for both."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from .by_outcome import as_dict, as_given, each_outcome
from .choosing import only_seen
from .doses import DOSE, Doses
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


def with_responses(subjects: Subject, y: ArrayLike | Mapping[str, ArrayLike], ids: Sequence[Any]) -> Subject:
    """The same subjects with new responses (N, n), or a dict of them by outcome, none censored.

    Raises:
        ValueError: another shape than (N, n), other outcomes, or NaN in the place of a response.
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
    for x in as_dict(new).values():
        _refuse_nan(x, ids)
    return dataclasses.replace(subjects, y=new, censored=None, limit=None)


def _refuse_nan(y: jax.Array, ids: Sequence[Any]) -> None:
    """Where a program is only being followed there are no values to look at."""
    if isinstance(y, jax.core.Tracer) or not bool(jnp.any(jnp.isnan(y))):
        return
    i, row = np.argwhere(np.isnan(np.asarray(y)))[0]
    raise ValueError(
        f"The new response of subject {ids[i]} in its row {row + 1} is not a number: look at what the model makes of "
        "this subject's data; to leave responses out use keep_rows."
    )


def without_censored(subjects: Subject) -> Subject:
    """The same subjects with the censored responses left out, as if they were missing."""
    if subjects.censored is None:
        return subjects
    sides = as_dict(subjects.censored)
    exact = {name: sides[name] == 0 if name in sides else seen for name, seen in as_dict(subjects.mask).items()}
    kept = only_seen(subjects, as_given(exact))
    return dataclasses.replace(kept, censored=None, limit=None)


def until(subjects: Subject, time: float | int) -> Subject:
    """The same subjects with the responses after a time left out, as if they were missing."""
    early = subjects.time <= time
    return only_seen(subjects, jax.tree.map(lambda _: early, subjects.mask))


_LEAST_ROOM = 8


def room_for(count: int) -> int:
    """The next of 8, 12, 16, 24, 32, ...: powers of two, and half as much again."""
    size = _LEAST_ROOM
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def with_room(subjects: Subject, rows: bool = True, few_doses: bool = False) -> Subject:
    """The same subjects with their doses, and their rows unless told otherwise, filled up to one of few sizes.

    What is compiled for a subject then serves it with one more of them as well. Nobody's own rows or doses change. A
    curve costs as much for a dose that is room as for one that was given: `few_doses` are filled up to 1, 2 or 4.
    """
    doses = _filled_doses(subjects.doses, few_doses)
    now = subjects.time.shape[1]
    more = room_for(now) - now if rows and now else 0
    if more == 0:
        return dataclasses.replace(subjects, doses=doses)

    def last(x: Any) -> Any:
        return _filled(x, np.repeat(np.asarray(x)[:, -1:], more, axis=1)) if np.ndim(x) == 2 else x

    def nothing(x: Any) -> Any:
        return _filled(x, np.zeros((len(x), more)))

    empty = {name: jax.tree.map(nothing, getattr(subjects, name)) for name in ("y", "mask", "censored", "limit")}
    covariates = {name: last(x) for name, x in subjects.covariates.items()}
    time: Any = last(subjects.time)
    return Subject(time=time, covariates=covariates, doses=doses, real=nothing(subjects.real), **empty)


def _filled_doses(doses: Doses, few: bool) -> Doses:
    """With amounts of zero at the first dose, as `Doses.padded` has them; where there are none, none are made."""
    given = doses.time.shape[1]
    room = 1 << (given - 1).bit_length() if few and given <= _LEAST_ROOM else room_for(given)
    more = room - given if given else 0
    if more == 0:
        return doses
    first = np.repeat(np.asarray(doses.time)[:, :1], more, axis=1)
    usual = {"time": first, "compartment": np.ones(first.shape)}
    fields = {name: getattr(doses, name) for name in DOSE if getattr(doses, name) is not None}
    arrays: dict[str, Any] = {name: _filled(x, usual.get(name, np.zeros(first.shape))) for name, x in fields.items()}
    return Doses(**arrays)


def _filled(values: Any, further: np.ndarray) -> np.ndarray:
    """(N, n) and (N, m) side by side, of the kind of the first."""
    own = np.asarray(values)
    return np.concatenate([own, further.astype(own.dtype)], axis=1)
