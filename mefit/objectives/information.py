"""The inverse of an information matrix, and what is said where it has none."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# A standardised eigenvalue at or below this is zero, for all that differences can tell
_SMALLEST = 1e-7
# Of the largest entry: what moves along a direction no less than this belongs to it
_TAKES_PART = 0.3


class Spectrum(NamedTuple):
    """A symmetric matrix, standardised by its diagonal, by eigenvalues and eigenvectors.

    matrix = S V diag(strength) V' S with S = diag(scale), so that units enter `scale` alone.
    """

    scale: Float[np.ndarray, " P"]  # roots of the diagonal
    strength: Float[np.ndarray, " P"]  # eigenvalues, rising
    axes: Float[np.ndarray, "P P"]  # an eigenvector a column

    @property
    def inverse(self) -> Float[np.ndarray, "P P"]:
        """The inverse of the matrix."""
        return (self.axes / self.strength) @ self.axes.T / np.outer(self.scale, self.scale)


def spectrum(matrix: Float[np.ndarray, "P P"]) -> Spectrum:
    """Eigenvalues and eigenvectors of a finite symmetric matrix, after its diagonal was brought to
    one."""
    scale = np.sqrt(np.abs(np.diagonal(matrix)))
    scale = np.where(scale > 0, scale, 1.0)
    strength, axes = np.linalg.eigh(matrix / np.outer(scale, scale))
    return Spectrum(scale, strength, axes)


def stand_in_the_way(matrix: Float[np.ndarray, "P P"], labels: Sequence[str]) -> list[str]:
    """The labels of those along which a finite symmetric matrix is not positive definite; none
    where it is.

    Judged after standardising by the diagonal, so the answer is the same in all units.
    """
    if not len(labels):
        return []
    _, strength, axes = spectrum(matrix)
    if strength[0] > _SMALLEST:
        return []
    share = np.abs(axes[:, 0])
    return [label for label, part in zip(labels, share, strict=True) if part > _TAKES_PART * share.max()]


def inverse_information(matrix: Float[np.ndarray, "P P"], labels: Sequence[str]) -> Float[np.ndarray, "P P"]:
    """The inverse of an information matrix, which is the covariance of the estimates.

    `labels` name its rows. The answer does not depend on the units of the parameters.

    Raises ValueError, naming the parameters: for entries that are not finite; and where the
    smallest eigenvalue of the matrix, its diagonal standardised, is 1e-7 or less, so that the data
    do not tell the parameters apart.
    """
    # One that is not spoils its row, and its column in all other rows
    finite = np.isfinite(np.diagonal(matrix))
    if np.all(finite):
        finite = np.all(np.isfinite(matrix), axis=1)
    if not np.all(finite):
        unknown = [label for label, is_finite in zip(labels, finite, strict=True) if not is_finite]
        raise ValueError(
            f"the curvature of the likelihood is not finite in {', '.join(unknown)}, "
            "so there is no covariance; look for values at the edge of what the model can take."
        )
    together = stand_in_the_way(matrix, labels)
    if together:
        verb = "moves" if len(together) == 1 else "move together"
        raise ValueError(
            f"not identified: the likelihood hardly changes as {', '.join(together)} {verb}, "
            "so their covariance does not exist; fix one of them, simplify the model, or give a prior."
        )
    return spectrum(matrix).inverse
