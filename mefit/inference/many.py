"""Many maximisations at once, through the program that evaluates pairs of theta and subject."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from .pairs import Pairs, Values

TOLERANCE = 1e-3  # of a gradient, for a move of one standard error


class Maxima(NamedTuple):
    """Where R searches ended."""

    x: Float[np.ndarray, "R P"]
    value: Float[np.ndarray, " R"]  # log-likelihood plus log prior, the subjects weighted
    gradient: Float[np.ndarray, " R"]  # the largest entry, for a move of one standard error


def maximise_many(
    pairs: Pairs,
    centre: Float[np.ndarray, " P"],
    root: Float[np.ndarray, "P P"],
    weights: Float[np.ndarray, "R N"] | Int[np.ndarray, "R N"],
    *,
    begin: Float[np.ndarray, "R P"] | None = None,
    moving: Bool[np.ndarray, "R P"] | None = None,
    tolerance: float = TOLERANCE,
    most: int = 100,
) -> Maxima:
    """Maximise R weighted objectives at once: BFGS in u, x = centre + root u, one trial a round.

    `root` says how far a step of one goes, a standard error where it is known. `begin` are the points at which the
    searches begin, the centre unless given. `moving` says which entries of u move, all unless given. A search ends
    where its gradient is within the tolerance, or its steps have become too short to tell.
    Source: Nocedal and Wright (2006), algorithm 6.1, backtracking.
    """
    u = np.zeros((len(weights), len(centre)))
    if begin is not None:
        u = np.linalg.solve(root, (begin - centre).T).T
    inverse = np.tile(np.eye(len(centre)), (len(u), 1, 1))
    length = np.ones(len(u))
    mask = np.ones(u.shape, bool) if moving is None else moving

    def total(which: np.ndarray, u: np.ndarray) -> Values:
        value, slope = pairs.total(centre + u @ root.T, weights[which])
        return Values(value, np.where(mask[which], slope @ root, 0.0))

    value, gradient = total(np.arange(len(u)), u)
    for _ in range(most):
        going = np.flatnonzero((np.max(np.abs(gradient), 1) > tolerance) & (length > 1e-6))
        if not going.size:
            break
        direction = -np.einsum("rpq,rq->rp", inverse[going], gradient[going])
        reach = np.linalg.norm(direction, axis=1, keepdims=True)
        # At most five standard errors
        step = length[going, None] * direction * np.minimum(1.0, 5.0 / reach)
        expected = np.sum(gradient[going] * step, 1)
        with np.errstate(all="ignore"):
            trial = total(going, u[going] + step)
            good = np.isfinite(trial.value) & np.all(np.isfinite(trial.score), 1)
            good &= trial.value <= value[going] + 1e-4 * expected + 1e-9
            excess = trial.value - value[going] - expected
            shorter = np.clip(np.nan_to_num(-0.5 * expected / excess), 0.1, 0.5)
        length[going] = np.where(good, 1.0, length[going] * shorter)
        accepted = going[good]
        change = step[good]
        turn = trial.score[good] - gradient[accepted]
        inverse[accepted] = _updated(inverse[accepted], change, turn)
        u[accepted] += change
        value[accepted] = trial.value[good]
        gradient[accepted] = trial.score[good]
    return Maxima(x=centre + u @ root.T, value=-value, gradient=np.max(np.abs(gradient), 1))


def _updated(inverse: np.ndarray, change: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The inverse Hessians (R, P, P) after steps `change` that turned the gradients by `turn`; as
    they were where the function does not curve upwards along the step."""
    curved = np.sum(change * turn, 1)
    upwards = curved > 1e-8 * np.linalg.norm(change, axis=1) * np.linalg.norm(turn, axis=1)
    rho = np.where(upwards, 1.0 / np.where(upwards, curved, 1.0), 0.0)[:, None, None]
    left = np.eye(change.shape[1]) - rho * change[:, :, None] * turn[:, None, :]
    return left @ inverse @ np.swapaxes(left, 1, 2) + rho * change[:, :, None] * change[:, None, :]
