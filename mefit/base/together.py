"""Many minimisations together: one evaluation serves all that still go on."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int


class Slopes(NamedTuple):
    """A function at each of R points."""

    value: Float[np.ndarray, " R"]
    gradient: Float[np.ndarray, "R P"]


# of points x (R, P), of the searches with these numbers (R,)
ManyValues: TypeAlias = Callable[[Float[np.ndarray, "R P"], Int[np.ndarray, " R"]], Slopes]


class Ends(NamedTuple):
    """Where the searches ended."""

    x: Float[np.ndarray, "R P"]
    value: Float[np.ndarray, " R"]
    slope: Float[np.ndarray, " R"]  # the largest entry of the gradient, for a move of one unit
    evaluations: int  # of single points


def minimise_together(
    function: ManyValues,
    x: Float[np.ndarray, "R P"],
    root: Float[np.ndarray, "R P P"],
    *,
    tolerance: float,
    rounds: int = 100,
    farthest: float = 5.0,
) -> Ends:
    """Minimise a function from R points by BFGS, one trial of each search that still goes on in a round.

    `root` L of each search is its unit, x = x0 + L u, with L L' the first inverse Hessian: a step is at most `farthest`
    units long, and a search ends where the gradient is within `tolerance` for a move of one unit, or its steps have
    become too short to tell. So nothing depends on the units of x.
    Source: Nocedal and Wright (2006), Numerical Optimization, algorithm 6.1, backtracking.
    """
    u = np.zeros(x.shape)
    inverse = np.tile(np.eye(x.shape[1]), (len(x), 1, 1))
    length = np.ones(len(x))
    every = np.arange(len(x))

    def of(u: np.ndarray, which: np.ndarray) -> Slopes:
        found = function(x[which] + np.einsum("rpq,rq->rp", root[which], u), which)
        return Slopes(np.array(found.value), np.einsum("rpq,rp->rq", root[which], found.gradient))

    value, gradient = of(u, every)
    evaluations = len(x)
    for _ in range(rounds):
        going = np.flatnonzero((np.max(np.abs(gradient), 1, initial=0.0) > tolerance) & (length > 1e-6))
        if not going.size:
            break
        direction = -np.einsum("rpq,rq->rp", inverse[going], gradient[going])
        reach = np.linalg.norm(direction, axis=1, keepdims=True)
        step = length[going, None] * direction * np.minimum(1.0, farthest / reach)
        expected = np.sum(gradient[going] * step, 1)
        with np.errstate(all="ignore"):
            trial = of(u[going] + step, going)
            good = np.isfinite(trial.value) & np.all(np.isfinite(trial.gradient), 1)
            good &= trial.value <= value[going] + 1e-4 * expected + 1e-9
            excess = trial.value - value[going] - expected
            shorter = np.clip(np.nan_to_num(-0.5 * expected / excess), 0.1, 0.5)
        evaluations += len(going)
        length[going] = np.where(good, 1.0, length[going] * shorter)
        accepted = going[good]
        change = step[good]
        turn = trial.gradient[good] - gradient[accepted]
        inverse[accepted] = _updated(inverse[accepted], change, turn)
        u[accepted] += change
        value[accepted] = trial.value[good]
        gradient[accepted] = trial.gradient[good]
    ends = x + np.einsum("rpq,rq->rp", root, u)
    return Ends(ends, value, np.max(np.abs(gradient), 1, initial=0.0), evaluations)


def _updated(inverse: np.ndarray, change: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The inverse Hessians (R, P, P) after steps `change` that turned the gradients by `turn`; as they were where the
    function does not curve upwards along the step."""
    curved = np.sum(change * turn, 1)
    upwards = curved > 1e-8 * np.linalg.norm(change, axis=1) * np.linalg.norm(turn, axis=1)
    rho = np.where(upwards, 1.0 / np.where(upwards, curved, 1.0), 0.0)[:, None, None]
    left = np.eye(change.shape[1]) - rho * change[:, :, None] * turn[:, None, :]
    return left @ inverse @ np.swapaxes(left, 1, 2) + rho * change[:, :, None] * change[:, None, :]
