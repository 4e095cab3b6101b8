"""Many climbs of EM side by side: from several starts, on one data set or on many alike."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from ..model.model import Model
from ..model.space import Space
from ..objectives import side_by_side
from ..objectives.objective import Objective
from ..objectives.side_by_side import Pool, Seen
from .limits import Limits

_SURE = 0.9  # responsibility of the class that a drawn start puts a subject into
_PARTED = 8  # steps of the first M-step of a drawn start, whose responsibilities are held
_FARTHEST = 1.0  # of a logarithm or a logit in one step
_DAMPING = 1e-3  # of the first step: of the curvature along each coordinate
_MOST_DAMPING = 1e6  # a step so short that nothing is to be gained
_LEVEL = 1e-3  # log-likelihood for each unit of a logarithm: with less, a scale at its limit is at its boundary
_CLIMB = 1e-9  # of the log-likelihood's size: less than this is rounding

Looks: TypeAlias = Callable[[np.ndarray, np.ndarray], Seen]  # at points, of the climbs with these numbers


class Climbs(NamedTuple):
    """R climbs, as far as they came."""

    x: Float[np.ndarray, "R P"]
    seen: Seen  # at x
    damping: Float[np.ndarray, " R"]
    gain: Float[np.ndarray, " R"]  # of the last step that climbed
    before: Float[np.ndarray, " R"]  # of the one before
    steps: Int[np.ndarray, " R"]
    stuck: Bool[np.ndarray, " R"]  # no step climbs
    evaluations: int

    @property
    def left(self) -> Float[np.ndarray, " R"]:
        """What is still to be climbed, were the gains a geometric series (Aitken)."""
        with np.errstate(all="ignore"):
            rate = self.gain / self.before
            left = self.gain * rate / (1.0 - rate)
        known = np.isfinite(self.before) & (self.before > 0.0) & (rate < 1.0)
        return np.where(known, left, np.inf)

    @property
    def lost(self) -> Bool[np.ndarray, " R"]:
        """Where no step climbed, however short, though more was promised than rounding."""
        return self.stuck & (self.damping > _MOST_DAMPING)

    @property
    def rounding(self) -> Float[np.ndarray, " R"]:
        """A gain that is no more than rounding."""
        return _CLIMB * np.maximum(1.0, np.abs(self.seen.value))


@dataclasses.dataclass(frozen=True)
class Ground:
    """What is climbed: an objective, in the coordinates of a model, of one data set or several."""

    objective: Objective
    space: Space
    pool: Pool
    room: int  # how many points are looked at together, at most

    @functools.cached_property
    def free(self) -> Bool[np.ndarray, " P"]:
        """Which coordinates have a unit, and so no step that is long by itself."""
        return np.array([coordinate.has_unit for coordinate in self.space.coordinates], bool)

    def look(self, x: np.ndarray, which: np.ndarray, given: Any = None) -> Seen:
        """The objective at points, each of the data set `which`."""
        return side_by_side.look(self.objective, self.space, self.pool, x, which, given, self.room)


def begin(looks: Looks, x: Float[np.ndarray, "R P"]) -> Climbs:
    """The climbs at their starts."""
    count = len(x)
    seen = looks(x, np.arange(count))
    nothing = np.full(count, np.inf)
    return Climbs(
        x=np.array(x),
        seen=seen,
        damping=np.full(count, _DAMPING),
        gain=nothing,
        before=nothing.copy(),
        steps=np.zeros(count, int),
        stuck=~(np.isfinite(seen.value) & np.all(np.isfinite(seen.gradient), axis=1)),
        evaluations=count,
    )


def advance(looks: Looks, climbs: Climbs, which: Int[np.ndarray, " A"], free: Bool[np.ndarray, " P"]) -> Climbs:
    """One step of those climbs: scoring by the complete cross-products, damped where it did not climb.

    It is the first step of Newton's method in an M-step, its Hessian by the scores of the classes.
    Source: Lange (1995), A gradient algorithm locally equivalent to the EM algorithm, J. R. Stat. Soc. B 57.
    """
    if not which.size:
        return climbs
    step = _steps(climbs, which, free)
    with np.errstate(all="ignore"):
        seen = looks(climbs.x[which] + step, which)
        gain = seen.value - climbs.seen.value[which]
        promised = np.sum(climbs.seen.gradient[which] * step, axis=1)
        good = np.isfinite(gain) & np.all(np.isfinite(seen.gradient), axis=1) & (gain >= 1e-4 * promised)
        good &= np.all(np.isfinite(seen.complete), axis=(1, 2))
    up = which[good]
    down = which[~good]
    new = climbs._replace(
        x=climbs.x.copy(),
        damping=climbs.damping.copy(),
        gain=climbs.gain.copy(),
        before=climbs.before.copy(),
        steps=climbs.steps.copy(),
        stuck=climbs.stuck.copy(),
    )
    new.x[up] += step[good]
    new.before[up] = climbs.gain[up]
    new.gain[up] = gain[good]
    new.damping[up] = np.maximum(0.2 * climbs.damping[up], 1e-6)
    new.damping[down] = np.maximum(10.0 * climbs.damping[down], 0.03)
    new.steps[which] += 1
    new.stuck[down] = (new.damping[down] > _MOST_DAMPING) | (promised[~good] <= climbs.rounding[down])
    known = [leaf.copy() for leaf in climbs.seen]
    for mine, theirs in zip(known, seen, strict=True):
        mine[up] = theirs[good]
    return new._replace(seen=Seen(*known), evaluations=climbs.evaluations + len(which))


def _steps(climbs: Climbs, which: np.ndarray, free: np.ndarray) -> Float[np.ndarray, "A P"]:
    """(B + damping diag B)^-1 g, no logarithm or logit moved farther than by one."""
    root, matrix = scaled(climbs.seen.complete[which])
    matrix = matrix + climbs.damping[which][:, None, None] * np.eye(root.shape[1])
    slope = climbs.seen.gradient[which] / root
    step = np.linalg.solve(matrix, slope[:, :, None])[:, :, 0] / root
    reach = np.max(np.abs(np.where(free, 0.0, step)), axis=1, initial=0.0)
    return step * np.minimum(1.0, _FARTHEST / np.maximum(reach, 1e-300))[:, None]


def scaled(matrices: Float[np.ndarray, "R P P"]) -> tuple[Float[np.ndarray, "R P"], Float[np.ndarray, "R P P"]]:
    """Roots of the diagonals, 1 where these are 0, and the matrices divided by them."""
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    root = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    return root, matrices / (root[:, :, None] * root[:, None, :])


def runaways(climbs: Climbs, limits: Limits) -> Bool[np.ndarray, " R"]:
    """Of which a scale has run to its limit, where the likelihood still climbs: a class that collapses."""
    slope = np.abs(climbs.seen.gradient)
    return np.array([np.any(slope[r, limits.reached(x)] > _LEVEL) for r, x in enumerate(climbs.x)], bool)


def parted(
    ground: Ground, x: Float[np.ndarray, "R P"], which: Int[np.ndarray, " R"], given: Float[np.ndarray, "R N C"]
) -> Float[np.ndarray, "R P"]:
    """Starts x, each of the data set `which`, moved to where a partition of its subjects draws them."""

    def looks(x: np.ndarray, numbers: np.ndarray) -> Seen:
        return ground.look(x, which[numbers], given[numbers])

    climbs = begin(looks, x)
    for _ in range(_PARTED):
        climbs = advance(looks, climbs, np.flatnonzero(~climbs.stuck), ground.free)
    return climbs.x


def partition(effects: Float[np.ndarray, "N K"], classes: int, rng: np.random.Generator) -> Float[np.ndarray, "N C"]:
    """Responsibilities of a start: of each subject most for the class whose centre, a subject drawn, is nearest.

    Distances are in SDs over subjects. Without random effects the class is drawn.
    """
    count = len(effects)
    nearest = rng.integers(classes, size=count)
    if effects.shape[1]:
        sd = effects.std(axis=0)
        units = effects / np.where(sd > 0.0, sd, 1.0)
        centres = units[rng.choice(count, size=classes, replace=count < classes)]
        nearest = np.argmin(np.sum((units[:, None] - centres) ** 2, axis=2), axis=1)
    return most_of(nearest, classes)


def most_of(which: Int[np.ndarray, " N"], classes: int) -> Float[np.ndarray, "N C"]:
    """Responsibilities of subjects who are put into these classes, each most for its own."""
    others = (1.0 - _SURE) / max(1, classes - 1)
    return np.where(np.arange(classes) == which[:, None], _SURE if classes > 1 else 1.0, others)


def effects_of_first(model: Model, eta: Float[np.ndarray, "N L"]) -> Float[np.ndarray, "N K"]:
    """The random effects that the first expert of a mixture gives to subjects, or a model that is none."""
    places = getattr(model, "places", (slice(None),))
    return eta[:, places[0]]
