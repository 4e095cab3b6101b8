"""Experts that begin alike: a split of subjects that tells them apart, for a start that EM would never leave."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from .climbs import most_of

_TOLD = 0.05  # of a share: a gate that differs by more between subjects tells the classes apart itself
_ROUNDS = 20  # of centres, after which few subjects still change their class


def begin_alike(model: Any, responsibilities: Float[np.ndarray, "N C"]) -> bool:
    """Are all experts of a mixture the same, and the responsibilities at its start those of everybody?

    There the likelihood has a saddle: each expert is fitted to everybody, by the same weights, and no step of EM leaves
    it. Source: McLachlan and Peel (2000), Finite Mixture Models, 2.12.
    """
    first, *others = model.experts
    if not others or not all(bool(eqx.tree_equal(first, other)) for other in others):
        return False
    return bool(np.max(np.ptp(responsibilities, axis=0)) <= _TOLD)


def split(effects: Float[np.ndarray, "N K"], classes: int) -> Float[np.ndarray, "N C"]:
    """Responsibilities of a start without chance: subjects by their nearest centre, whose search begins with groups of
    equal size along the direction in which subjects differ most.

    Distances are in SDs over subjects. Without random effects subjects are dealt out in turn.
    Source of the search: Lloyd (1982), IEEE Trans. Inf. Theory 28.
    """
    count = len(effects)
    if not effects.shape[1]:
        return most_of(np.arange(count) % classes, classes)
    sd = effects.std(axis=0)
    units = (effects - effects.mean(axis=0)) / np.where(sd > 0.0, sd, 1.0)
    _, directions = np.linalg.eigh(units.T @ units)
    longest = directions[:, -1]
    longest = longest * np.sign(longest[np.argmax(np.abs(longest))])  # a direction has no sign of its own
    place = np.empty(count, int)
    place[np.argsort(units @ longest, kind="stable")] = np.arange(count)
    nearest = place * classes // count
    for _ in range(_ROUNDS):
        held = [nearest == k for k in range(classes)]
        if not all(own.any() for own in held):
            break
        centres = np.stack([units[own].mean(axis=0) for own in held])
        nearest = np.argmin(np.sum((units[:, None] - centres) ** 2, axis=2), axis=1)
    return most_of(nearest, classes)
