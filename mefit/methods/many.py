"""One model fitted to many data sets of one shape, all searches side by side: replicates of a study, in one program."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ..base.chance import numpy_generator, require_key
from ..base.newton import Newton
from ..base.together import Slopes, minimise_together
from ..data.population import Population
from ..effects.modes import modes
from ..model.mixture import MixtureOfExperts
from ..model.model import Model
from ..model.parameters import as_names
from ..model.space import Space
from ..objectives import mixture
from ..objectives.laplace import Laplace
from ..objectives.objective import Objective
from ..objectives.side_by_side import Seen, pool_of
from .alike import begin_alike, split
from .climbs import Climbs, Ground, advance, begin, parted, partition, runaways, scaled
from .limits import Limits

_TOLERANCE = 1e-3  # of the gradient, for a move of one standard error by the cross-products
_NEAR = 10.0  # times the tolerance: a search that stalls within it has arrived all the same
_ROUNDS = 60  # of EM, before quasi-Newton steps
_LITTLE = 1e-2  # log-likelihood: where EM gains no more, quasi-Newton steps are faster
_RIDGE = 1e-4  # of the cross-products along each coordinate, so that they have an inverse
_FLATTEST = 0.25  # of a logarithm or a logit: no flatter, so that one at its boundary has a unit, of 2
_STEP = 1e-2  # standard errors: of a difference of gradients


@dataclasses.dataclass(frozen=True)
class Fits:
    """Where the fits of D data sets ended, in the free coordinates of `space`."""

    space: Space
    x: Float[np.ndarray, "D P"]
    log_likelihood: Float[np.ndarray, " D"]  # plus the log prior, where there is one
    converged: Any  # (D,)
    crossed: Float[np.ndarray, "D P P"]  # sum_i s_i s_i', the cross-products of the subjects' scores
    responsibilities: Float[np.ndarray, "D N C"]
    ground: Ground = dataclasses.field(repr=False)

    def model(self, number: int) -> Model:
        """The model fitted to this data set, counted from 0."""
        model: Model = self.space.model_at(self.x[number])
        return model

    def information(self) -> Float[np.ndarray, "D P P"]:
        """Minus the Hessian of each log-likelihood, by central differences of its gradient."""
        count, size = self.x.shape
        step = _STEP / np.sqrt(np.maximum(np.diagonal(self.crossed, axis1=1, axis2=2), 1e-300))
        every = np.arange(count)
        rows = []
        for j in range(size):
            move = np.zeros((count, size))
            move[:, j] = step[:, j]
            ahead = self.ground.look(self.x + move, every).gradient
            behind = self.ground.look(self.x - move, every).gradient
            rows.append((behind - ahead) / (2.0 * step[:, j, None]))
        matrix = np.stack(rows, axis=1)
        return 0.5 * (matrix + np.swapaxes(matrix, 1, 2))


def fit_many(
    model: Model,
    populations: Sequence[Population],
    objective: Objective | None = None,
    *,
    fixed: str | Sequence[str] = (),
    starts: int = 1,
    key: Any = None,
) -> Fits:
    """Maximise the likelihood of each of D populations: equally many subjects and rows, such as simulated replicates.

    All begin at `model`. A mixture of experts climbs by EM first, its subjects split where its experts are alike; with
    several `starts` the others put subjects into classes at random, both as `EM` does, and of each population the best
    is kept, a class of which collapsed last. Then quasi-Newton steps go on, until the gradient is below 0.001 for a
    move of one standard error; where they stall below 0.01 it counts as converged, too. Boundaries and peaks are not
    looked for, as a single `mf.fit` does.

    **Raises:** ValueError for no populations, or some of different shapes, for a missing key, or where the objective
    cannot serve.

        studies = [mf.simulate(model, population, k) for k in jax.random.split(key, 3)]
        fits = mf.fit_many(model, studies, mf.FO())
        fits.log_likelihood
    """
    objective = objective or Laplace()
    if not len(populations):
        raise ValueError("fit_many needs one population or more, and the list is empty.")
    mixture.check(objective, model, populations[0])
    mixes = isinstance(model, MixtureOfExperts)
    if starts > 1 and not mixes:
        raise ValueError(f"{type(model).__name__} is no mixture of experts, and has one start: leave starts out.")
    if starts > 1 or objective.random:
        require_key(key, "fit_many with several starts")
    space = Space(model, as_names(fixed))
    count = len(populations)
    ground = Ground(objective, space, pool_of(objective, model, populations, key), room=count * starts)
    which = np.repeat(np.arange(count), starts)
    x = np.tile(space.vector(), (count * starts, 1))
    drawn = np.arange(count * starts) % starts > 0
    if mixes and _begin_alike(ground, model, x[:1]):
        drawn = np.ones(count * starts, bool)
    if np.any(drawn):
        given = _partitions(ground, model, np.flatnonzero(drawn), starts, key)
        x[drawn] = parted(ground, x[drawn], which[drawn], given)

    def looks(x: np.ndarray, numbers: np.ndarray) -> Seen:
        return ground.look(x, which[numbers])

    climbs = begin(looks, x)
    if mixes:
        climbs = _by_em(looks, climbs, ground)
    limits = Limits(space.coordinates, space.vector(), objective.scale_limit, len(populations[0]))
    best = _best(climbs, limits, count)
    return _polished(ground, climbs.x[best])


def _begin_alike(ground: Ground, model: Model, x: np.ndarray) -> bool:
    """Does nothing tell the classes apart in the first data set?"""
    return begin_alike(model, ground.look(x, np.zeros(1, int)).responsibilities[0])


def _partitions(ground: Ground, model: Any, turns: np.ndarray, starts: int, key: Any) -> Float[np.ndarray, "R N C"]:
    """Responsibilities by the random effects that the first expert gives: of the first start of each data set those of
    a split without chance, of the others drawn."""
    sets, count = ground.pool.shape
    chunks, size = ground.pool.real.shape

    def flat(leaf: Any) -> np.ndarray:
        filled = np.asarray(leaf).reshape(sets, chunks * size, *leaf.shape[3:])
        return filled[:, :count].reshape(sets * count, *leaf.shape[3:])

    expert = model.experts[0]
    eta = np.asarray(modes(expert, jax.tree.map(flat, ground.pool.subjects), Newton()).eta).reshape(sets, count, -1)
    classes = len(model.members)
    rng: Any = numpy_generator(key) if starts > 1 else None
    given = []
    for turn in turns.tolist():
        own = eta[turn // starts]
        given.append(partition(own, classes, rng) if turn % starts else split(own, classes))
    return np.stack(given)


def _by_em(looks: Any, climbs: Climbs, ground: Ground) -> Climbs:
    for _ in range(_ROUNDS):
        going = np.flatnonzero(~climbs.stuck & (climbs.gain > _LITTLE))
        if not going.size:
            break
        climbs = advance(looks, climbs, going, ground.free)
    return climbs


def _best(climbs: Climbs, limits: Limits, count: int) -> np.ndarray:
    """Of each data set the number of the start that came highest, among those of which no class collapsed."""
    gone = runaways(climbs, limits)
    value = np.where(np.isfinite(climbs.seen.value), climbs.seen.value, -1e300)
    value = np.where(gone, value - 1e200, value).reshape(count, -1)
    return np.arange(count) * value.shape[1] + np.argmax(value, axis=1)


def _polished(ground: Ground, x: np.ndarray) -> Fits:
    """The ends of quasi-Newton steps, whose units are measured twice: where they begin, and where they ended."""
    every = np.arange(len(x))

    def minus(x: np.ndarray, which: np.ndarray) -> Slopes:
        found = ground.look(x, which)
        return Slopes(-found.value, -found.gradient)

    seen = ground.look(x, every)
    for _ in range(2):
        ends = minimise_together(minus, x, _roots(seen.crossed, ground.free), tolerance=_TOLERANCE)
        x = ends.x
        seen = ground.look(x, every)
    slope = np.max(
        np.abs(np.einsum("rpq,rp->rq", _roots(seen.crossed, ground.free), seen.gradient)), axis=1, initial=0.0
    )
    return Fits(
        space=ground.space,
        x=x,
        log_likelihood=seen.value,
        converged=slope <= _NEAR * _TOLERANCE,
        crossed=seen.crossed,
        responsibilities=seen.responsibilities,
        ground=ground,
    )


def _roots(crossed: Float[np.ndarray, "R P P"], free: np.ndarray) -> Float[np.ndarray, "R P P"]:
    """Lower L with L L' = B^-1, B the cross-products with a small ridge."""
    sound = np.where(np.isfinite(crossed), crossed, 0.0) + np.diag(np.where(free, 0.0, _FLATTEST))
    root, matrix = scaled(sound)
    inverse = np.linalg.inv(matrix + _RIDGE * np.eye(root.shape[1]))
    return np.linalg.cholesky(0.5 * (inverse + np.swapaxes(inverse, 1, 2))) / root[:, :, None]
