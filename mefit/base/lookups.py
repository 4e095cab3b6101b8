"""What a function looks up in arrays, and where it asks for a place that an array has not.

JAX says nothing then and takes the nearest place there is: `eta[3]` of three random effects is the last of them, and a
fourth occasion shares the effect of the third. NumPy would stop.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal
from jax.lax import GatherScatterMode

from .compiling import compiled
from .jaxprs import inside, line_of

_CONSTANT, _OF_DATA, _UNKNOWN = range(3)  # what a value depends on


class Beyond(NamedTuple):
    """A look-up of a place that is not there."""

    place: int  # counted from 0; below 0 it is before the first
    size: int  # how many places there are
    line: str  # of whoever wrote it
    who: int | None  # whose data ask for it; None where it is the same for all


class _Lookup(NamedTuple):
    """One look-up: the variables that say where, and along each axis the size of the array and of what is taken."""

    places: Any  # of one axis each, or of all axes along the last axis
    sizes: tuple[int, ...]
    widths: tuple[int, ...]


class _OfData(NamedTuple):
    """A look-up whose places follow from data."""

    lookup: _Lookup
    line: str
    jaxpr: Any
    constants: dict


class Lookups:
    """The look-ups in the code of whoever wrote a function, whose places are constants or follow from data.

    `closed` is the function's jaxpr, and `is_data` says which of its inputs are data; the others may have any value.
    What is looked up inside a loop is known only where it is the same whatever goes into the loop.
    """

    def __init__(self, closed: ClosedJaxpr, is_data: Sequence[bool]):
        self._wrong: Beyond | None = None  # whatever the data are
        self._lookups: list[_OfData] = []
        self._inputs = [var for var, data in zip(closed.jaxpr.invars, is_data, strict=True) if data]
        with jax.ensure_compile_time_eval():
            self._find(closed, [_OF_DATA if data else _UNKNOWN for data in is_data])
        self._places = compiled(self._places_of_all)

    def beyond(self, data: Sequence[Any]) -> Beyond | None:
        """The first look-up that goes beyond its array, for `data` with a leading axis of subjects."""
        if self._wrong or not self._lookups:
            return self._wrong
        with jax.ensure_compile_time_eval():  # the data are known, whatever else is being followed
            values = self._places(list(data))
        for known, places in zip(self._lookups, values, strict=True):
            wrong = _first_beyond(known.lookup, np.asarray(places), known.line)
            if wrong is not None:
                return wrong
        return None

    def _find(self, closed: Any, levels: Sequence[int]) -> None:
        """Look at a jaxpr, and at those inside it."""
        jaxpr = closed.jaxpr
        level = dict.fromkeys(jaxpr.constvars, _CONSTANT) | dict(zip(jaxpr.invars, levels, strict=True))

        def level_of(atoms: Sequence[Any]) -> int:
            return max((_CONSTANT if isinstance(a, Literal) else level[a] for a in atoms), default=_CONSTANT)

        constants = dict(zip(jaxpr.constvars, closed.consts, strict=True))
        for eqn in jaxpr.eqns:
            level.update(dict.fromkeys(eqn.outvars, level_of(eqn.invars)))
            for inner in inside(eqn):
                self._find(inner, [_UNKNOWN] * len(inner.jaxpr.invars))
            lookup = _lookup(eqn)
            line = line_of(eqn) if lookup is not None and level_of(lookup.places) < _UNKNOWN else None
            if lookup is None or line is None:
                continue
            if level_of(lookup.places) == _OF_DATA:
                self._lookups.append(_OfData(lookup, line, jaxpr, constants))
            else:
                places = np.asarray(_joined(_read(jaxpr, constants, lookup.places)))
                wrong = _first_beyond(lookup, places[None], line)
                self._wrong = self._wrong or (wrong and wrong._replace(who=None))

    def _places_of_all(self, data: list[Any]) -> list[Any]:
        """The places of every look-up that follow from data, (N, ..., axes)."""

        def of_subject(data: list[Any]) -> list[Any]:
            given = dict(zip(self._inputs, data, strict=True))
            return [
                _joined(_read(known.jaxpr, known.constants | given, known.lookup.places)) for known in self._lookups
            ]

        return jax.vmap(of_subject)(data)


def _lookup(eqn: Any) -> _Lookup | None:
    """The look-up of an equation, if it is one that JAX would move to the nearest place, or leave out."""
    name = eqn.primitive.name
    shape = eqn.invars[0].aval.shape if eqn.invars else ()
    if name == "dynamic_slice":
        return _Lookup(list(eqn.invars[1:]), shape, eqn.params["slice_sizes"])
    if name == "gather" and eqn.params["mode"] == GatherScatterMode.PROMISE_IN_BOUNDS:
        axes = eqn.params["dimension_numbers"].start_index_map
        widths = [eqn.params["slice_sizes"][i] for i in axes]
    elif name.startswith("scatter"):
        numbers = eqn.params["dimension_numbers"]
        axes = numbers.scatter_dims_to_operand_dims
        if not set(axes) <= set(numbers.inserted_window_dims):
            return None
        widths = [1] * len(axes)
    else:
        return None
    return _Lookup([eqn.invars[1]], tuple(shape[i] for i in axes), tuple(widths))


def _first_beyond(lookup: _Lookup, places: np.ndarray, line: str) -> Beyond | None:
    """The first of the places (N, ..., axes) that its array has not."""
    ends = places + np.array(lookup.widths) - 1  # the last place that is asked for, along each axis
    wrong = np.argwhere((places < 0) | (ends >= lookup.sizes))
    if not len(wrong):
        return None
    first = tuple(wrong[0])
    place = places[first] if places[first] < 0 else ends[first]
    return Beyond(place=int(place), size=lookup.sizes[first[-1]], line=line, who=int(first[0]))


def _joined(places: list[Any]) -> Any:
    """The places along the last axis."""
    return places[0] if len(places) == 1 and np.ndim(places[0]) else jax.numpy.stack(places, axis=-1)


def _read(jaxpr: Any, known: dict, wanted: Sequence[Any]) -> list[Any]:
    """The values of some variables of a jaxpr from those that are known, by the equations that lead to them."""
    needed = {atom for atom in wanted if not isinstance(atom, Literal)}
    leading = []
    for eqn in reversed(jaxpr.eqns):
        if needed.intersection(eqn.outvars):
            leading.append(eqn)
            needed.update(atom for atom in eqn.invars if not isinstance(atom, Literal))
    given = list(known)
    part = jaxpr.replace(constvars=[], invars=given, outvars=list(wanted), eqns=leading[::-1], debug_info=None)
    return jax.core.eval_jaxpr(part, [], *(known[var] for var in given))
