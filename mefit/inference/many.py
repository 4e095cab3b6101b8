"""Many maximisations at once, through the program that evaluates pairs of theta and subject."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..base.together import Slopes, minimise_together
from .pairs import Pairs

TOLERANCE = 1e-3  # of a gradient, for a move of one standard error
# Up to which slope an end is a maximum: where the objective is rough, as where somebody has two peaks, a search stops
# short. Estimates are then off by a twentieth of a standard error, and -2LL by its square, for each parameter.
ENDED = 0.05


class Maxima(NamedTuple):
    """Where R searches ended."""

    x: Float[np.ndarray, "R P"]
    value: Float[np.ndarray, " R"]  # log-likelihood plus log prior, the subjects weighted
    gradient: Float[np.ndarray, " R"]  # the largest entry, for a move of one standard error

    @property
    def ended(self) -> Bool[np.ndarray, " R"]:
        """Which of the ends are maxima."""
        return self.gradient <= ENDED


def maximise_many(
    pairs: Pairs,
    centre: Float[np.ndarray, " P"],
    root: Float[np.ndarray, "P P"],
    weights: Float[np.ndarray, "R N"] | Int[np.ndarray, "R N"],
    *,
    begin: Float[np.ndarray, "R P"] | None = None,
    moving: Bool[np.ndarray, "R P"] | None = None,
    most: int = 100,
) -> Maxima:
    """Maximise R weighted objectives at once, in u of x = centre + root u.

    `root` says how far a step of one goes, a standard error where it is known. `begin` are the points at which the
    searches begin, the centre unless given. `moving` says which entries of u move, all unless given. When a search
    ends is said by `minimise_together`.
    """
    count = len(weights)
    roots = np.tile(root, (count, 1, 1))
    if moving is not None:
        roots = roots * np.asarray(moving)[:, None, :]  # a move along the others goes nowhere
    x = np.tile(centre, (count, 1)) if begin is None else np.asarray(begin)

    def total(x: np.ndarray, which: np.ndarray) -> Slopes:
        found = pairs.total(x, weights[which])
        return Slopes(found.value, found.score)

    ends = minimise_together(total, x, roots, tolerance=TOLERANCE, rounds=most)
    return Maxima(ends.x, -ends.value, ends.slope)
