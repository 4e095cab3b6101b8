"""Jumps in time of a right-hand side, which the steps of a solver may pass over."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float

_PROBES = 2048  # times between the first and the last, at which the right-hand side is looked at
_LARGEST = 16  # of the differences between two of them are looked into
_HALVINGS = 45
_NOTABLE = 1e-3  # of the largest slope, below which a difference is not looked into
_NEAR = 1e-6  # of all the time: so near to a stop a jump belongs to it


def jumps_between_stops(
    rhs: Callable[[Array, Array], Array],
    state: Float[Array, " S"],
    start: float,
    end: float,
    stops: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " j"]:
    """Times at which  rhs(t, state)  jumps where no step stops, in order.

    Differences between neighbouring times are halved again and again; a jump keeps its size, and a
    slope that is steep does not. What is narrower than the distance of the probes may be missed.
    """
    span = end - start
    if not span > 0:
        return np.zeros(0)
    slope = jax.jit(jax.vmap(lambda t: rhs(t, state)))
    times = np.linspace(start, end, _PROBES)
    values = np.asarray(slope(times))
    differences = np.max(np.abs(np.diff(values, axis=0)), axis=1)
    notable = differences > _NOTABLE * np.max(np.abs(values), initial=0.0)
    places = np.flatnonzero(notable)
    if places.size == 0:
        return np.zeros(0)
    places = places[np.argsort(-differences[places])[:_LARGEST]]
    places = np.resize(places, _LARGEST)  # of one length, so that one program serves all
    low = times[places]
    high = times[places + 1]
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        at_middle = np.asarray(slope(middle))
        before = np.max(np.abs(at_middle - np.asarray(slope(low))), axis=1)
        after = np.max(np.abs(np.asarray(slope(high)) - at_middle), axis=1)
        first = before >= after
        high = np.where(first, middle, high)
        low = np.where(first, low, middle)
    left = np.max(np.abs(np.asarray(slope(high)) - np.asarray(slope(low))), axis=1)
    jumps = np.unique(high[left > 0.5 * differences[places]])
    if stops.size == 0:
        return jumps
    distance = np.min(np.abs(jumps[:, None] - stops), axis=1)
    return jumps[distance > _NEAR * span]
