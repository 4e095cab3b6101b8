"""The scale of each coordinate of a function: how far it may move before the function bends.

Optimisers, differences and tests that count in these scales give the same answer in every unit.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

ValueAndGradient = Callable[[np.ndarray], tuple[float, np.ndarray]]

_TRIES = 12
_STEEP = 0.01  # the slope over one scale is at most the inverse of this
_FARTHEST = 1e12  # guesses: no step is longer
_FIRST = 1e-3  # of a coordinate's guess: the first step of a difference
_COARSE = 0.1  # scales: a longer step than this may see another curvature than the one here
_NOISE = 3e-8  # over one step or guess: a smaller change of the slope may be the error of an inner search
_LOST = 1e-6  # of the slope: a smaller change may be rounding


class Sizes(NamedTuple):
    """What is known of the scales before they are measured.

    `guess` is 1 for a logarithm, the value itself for a number with a unit, and 0 where nothing is known. No scale is
    taken for longer than `most`: 3 for a logarithm, infinite for a number with a unit. A coordinate that is not
    `measured` has the scale 1 by construction, such as a weight of a network.
    """

    guess: Float[np.ndarray, " P"]
    most: Float[np.ndarray, " P"]
    measured: Bool[np.ndarray, " P"]


class Curvature(NamedTuple):
    """Second derivatives of a function by differences of its gradient, and the scales that come of them.

    Where a coordinate was not measured, or the function does not bend along it, its row and column are 0, and its
    scale is what was guessed.
    """

    scale: Float[np.ndarray, " P"]
    matrix: Float[np.ndarray, "P P"]
    flat: Bool[np.ndarray, " P"]  # was measured, and no bend was seen
    evaluations: int


def measure_curvature(
    function: ValueAndGradient,
    x: Float[np.ndarray, " P"],
    gradient: Float[np.ndarray, " P"],
    sizes: Sizes,
    *,
    central: bool = False,
) -> Curvature:
    """Measure how the gradient g of `function` changes along each coordinate at x.

    scale_j = |d^2 f / dx_j^2|^(-1/2), so that the function bends by about one half over one scale; and no longer than
    a hundredth of the slope allows, where the function slopes and hardly bends.

    The step of a difference begins at a small part of the guess, and is made longer or shorter until it lies well
    between rounding and the function's bends: a poor guess costs evaluations and no digits. The function is one of
    order one, such as a log-likelihood for each subject: what changes its slope by 1e-8 is taken for nothing.
    `central` takes differences to both sides, which squares the error.
    """
    count = x.size
    scale = np.ones(count)
    matrix = np.zeros((count, count))
    evaluations = 0
    for i in np.flatnonzero(sizes.measured).tolist():
        guess = sizes.guess[i] if sizes.guess[i] > 0.0 else _size_by_gradient(gradient[i])
        longest = min(_COARSE * sizes.most[i], _FARTHEST * guess)
        row, tries = _row(function, x, gradient, i, guess, longest, central)
        evaluations += tries
        if row is None:
            scale[i] = min(guess, sizes.most[i])
            continue
        scale[i] = min(1.0 / np.hypot(np.sqrt(abs(row[i])), _STEEP * gradient[i]), sizes.most[i])
        matrix[i] = row
    known = np.any(matrix != 0.0, axis=1)
    matrix = np.where(np.outer(known, known), 0.5 * (matrix + matrix.T), 0.0)
    return Curvature(scale, matrix, sizes.measured & ~known, evaluations)


def _size_by_gradient(slope: float) -> float:
    return 1.0 / abs(slope) if slope != 0.0 else 1.0


def _row(
    function: ValueAndGradient,
    x: np.ndarray,
    gradient: np.ndarray,
    i: int,
    guess: float,
    longest: float,
    central: bool,
) -> tuple[np.ndarray | None, int]:
    """A row of the matrix of second derivatives, None where it cannot be told from nothing; and the evaluations."""
    evaluations = 0

    def difference(step: float) -> tuple[np.ndarray, float]:
        """The change of the gradient for each unit of the step, and the larger of the two slopes."""
        nonlocal evaluations
        move = np.zeros(x.size)
        move[i] = step
        ahead = function(x + move)[1]
        behind = function(x - move)[1] if central else gradient
        evaluations += 2 if central else 1
        return (ahead - behind) / (2.0 * step if central else step), max(abs(ahead[i]), abs(behind[i]))

    step = _FIRST * guess
    for _ in range(_TRIES):
        row, steepest = difference(step)
        if not np.all(np.isfinite(row)):
            step *= 0.01
            continue
        share = step * np.sqrt(abs(row[i]))  # of a scale
        if share > _COARSE:
            step *= 0.01 / share
            continue
        lost = abs(row[i]) * step < max(_NOISE / max(step, guess), _LOST * steepest)
        if not lost and (step <= guess or _is_steady(row[i], difference(3.0 * step)[0][i])):
            return row, evaluations
        if step >= longest:
            break
        step = min(20.0 * step, longest)
    return None, evaluations


def _is_steady(bend: float, other: float) -> bool:
    """Are two measurements of one bend, by steps of different lengths, alike? Errors of an inner search are not."""
    return 0.5 < other / bend < 2.0
