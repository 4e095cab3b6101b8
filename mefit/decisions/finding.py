"""The dose itself, where any amount may be given: the least of a smooth expected loss, rounded to what can be had."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import optimize

from ..data.doses import Doses
from ..inference.individual import Individuals
from .choosing import Choice, choose
from .goal import Goal
from .losses import smooth_expectation, smooth_share_above

_FIRST_LOOK = 12  # amounts, evenly spaced in logarithms
_CLOSE = 1e-3  # of the logarithm of an amount: so close the search comes
_EVALUATIONS = 200  # of a search in several numbers


def find(
    people: Individuals,
    make: Callable[..., Doses],
    between: Sequence[Any],
    goal: Goal,
    *,
    step: float | int | Sequence[float | int] | None = None,
) -> Choice:
    """The amount with the least expected loss, of all that lie between two, for each of `people`.

        mf.dosing.find(people, lambda amount: mf.regimen(amount, every=24, count=7), (25, 400), goal, step=25)

    The same draws judge every amount, so that the expected loss is a smooth function of it, but for the steps of
    `Window`, which are smoothed while it is searched. A ceiling that is broken counts as a loss that no target makes
    up for.

    **Arguments**

    - `people`, `goal`: as of `choose`.
    - `make`: from an amount, or several numbers, to doses, such as
      `lambda first, daily: mf.regimen(daily, every=24, count=7, loading=first)`.
      An interval or the length of an infusion may be one of them.
    - `between`: the two ends of the amount, above 0; or a pair for each number.
    - `step`: what can be given, such as tablets of 25, or one for each number: the multiples around the best amount are
      compared.

    **Returns:** a `Choice` among the amounts that were found for these people, named by their numbers.

    **Raises:** as `choose`; and ValueError for ends that are not 0 < low < high, or without a multiple of `step`.
    """
    ends = _pairs(between)
    candidates: dict[str, Doses] = {}
    for i in range(len(people.population)):
        person = people[i]

        def expected(numbers: Float[np.ndarray, " P"], person: Individuals = person) -> float:
            return _expected(person, make(*numbers), goal)

        for numbers in _within_reach(_least(expected, ends), ends, step):
            candidates[", ".join(f"{x:.4g}" for x in numbers)] = make(*numbers)
    return choose(people, candidates, goal)


def _expected(person: Individuals, doses: Doses, goal: Goal) -> float:
    """The smooth expected loss of one person, and what ceilings that are broken add."""
    given = goal.doses(person, {"a dose": doses})["a dose"]
    measures = goal.measures(person, given, "a dose")
    loss = smooth_expectation(goal.loss, measures[goal.label][0], *goal.ends)
    for ceiling in goal.ceilings:
        risk = smooth_share_above(measures[ceiling.quantity][0], ceiling.above)
        loss += 1e3 * max(0.0, risk - ceiling.probability)
    return loss


def _pairs(between: Sequence[Any]) -> Float[np.ndarray, "P 2"]:
    ends = np.asarray(between, float).reshape(-1, 2)
    if not (np.all(np.isfinite(ends)) and np.all(ends[:, 0] > 0.0) and np.all(ends[:, 0] < ends[:, 1])):
        raise ValueError(f"between is {between}: give two ends, 0 < low < high, or a pair of them for each number.")
    return ends


def _least(expected: Callable[[np.ndarray], float], ends: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, " P"]:
    """Where the expected loss is least: a first look at the whole, then a search where it is low."""

    def loss(logs: Any) -> float:
        return expected(np.exp(np.atleast_1d(logs)))

    bounds = [(float(low), float(high)) for low, high in np.log(ends)]
    if len(bounds) > 1:
        begun = optimize.direct(loss, bounds, maxfun=_EVALUATIONS)
        options = {"xatol": _CLOSE, "maxfev": _EVALUATIONS}
        return np.exp(optimize.minimize(loss, begun.x, method="Nelder-Mead", bounds=bounds, options=options).x)
    grid = np.linspace(*bounds[0], _FIRST_LOOK)
    losses = [loss(x) for x in grid]
    best = int(np.argmin(losses))
    near = (grid[max(0, best - 1)], grid[min(_FIRST_LOOK - 1, best + 1)])
    found = optimize.minimize_scalar(loss, bounds=near, method="bounded", options={"xatol": _CLOSE})
    return np.exp([found.x if found.fun <= losses[best] else grid[best]])


def _within_reach(
    numbers: Float[np.ndarray, " P"], ends: Float[np.ndarray, "P 2"], step: Any
) -> list[tuple[float, ...]]:
    """The numbers themselves, or the multiples of `step` on both sides of them, within the ends."""
    if step is None:
        return [tuple(map(float, numbers))]
    steps = np.broadcast_to(np.asarray(step, float), numbers.shape)
    choices = []
    for number, (low, high), one in zip(numbers, ends, steps, strict=True):
        around = {np.floor(number / one) * one, np.ceil(number / one) * one}
        kept = sorted(float(x) for x in around if low <= x <= high)
        if not kept:
            raise ValueError(
                f"there is no multiple of {one:g} between {low:g} and {high:g} near {number:.4g}: widen them."
            )
        choices.append(kept)
    return list(itertools.product(*choices))
