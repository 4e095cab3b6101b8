"""Optimisers: SciPy's quasi-Newton methods, one iteration at a time, so that progress and interruption come free; and
where an estimate cannot be trusted to lie inside: scales that run to zero or infinity, and those that end there.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from scipy.optimize import Bounds, OptimizeResult, minimize

from .parameters import Coordinate

ValueAndGradient = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of a minimisation, with the inverse Hessian that has been learned so far."""

    x: np.ndarray
    value: float
    gradient: np.ndarray
    inverse_hessian: np.ndarray
    evaluations: int
    done: bool = False
    converged: bool = False
    message: str = ""


class BFGS(eqx.Module):
    """SciPy's BFGS. It ends where no component of the gradient of the mean objective a subject exceeds `tolerance`.

    Where its line search finds nothing, as on an objective without a minimum, one iteration of SciPy's L-BFGS-B looks
    along the steepest descent, up to the bounds.
    Source: Nocedal and Wright (2006), Numerical Optimization, algorithm 6.1, with a Wolfe line search.
    """

    tolerance: float = 1e-6
    max_iterations: int = 500

    def init(self, function: ValueAndGradient, x: np.ndarray) -> Point:
        """The first point; it may already be the last."""
        return self._judge(Point(x, *function(x), np.eye(x.size), 1))

    def step(self, function: ValueAndGradient, point: Point, bounds: Bounds) -> Point:
        """One iteration: a line search and an update of the inverse Hessian."""
        seen = {point.x.tobytes(): (point.value, point.gradient)}
        remembered = _remembered(function, seen)
        quiet: dict[str, Any] = {"maxiter": 1, "gtol": 0.0}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the line search warns before it tries its second way
            options = quiet | {"hess_inv0": point.inverse_hessian}
            found = minimize(remembered, point.x, jac=True, method="BFGS", options=options)
            inverse_hessian = _symmetric(found.hess_inv)
            if not found.fun < point.value:
                found, inverse_hessian = _bounded(remembered, point.x, bounds, quiet), np.eye(point.x.size)
        evaluations = point.evaluations + len(seen) - 1
        if not found.fun < point.value:
            flat = np.max(np.abs(point.gradient)) < 100 * self.tolerance
            stuck = "the line search found no way up from here, as on a rugged objective"
            advice = "try other starting values, fix a parameter, or use another method"
            message = "converged to rounding error" if flat else f"{stuck}: {advice}"
            return dataclasses.replace(point, evaluations=evaluations, done=True, converged=bool(flat), message=message)
        return self._judge(Point(found.x, float(found.fun), np.asarray(found.jac), inverse_hessian, evaluations))

    def within(self, function: ValueAndGradient, x: np.ndarray, bounds: Bounds) -> Point:
        """The minimum within bounds, by SciPy's L-BFGS-B: for an objective that has none without them."""
        seen: dict[bytes, tuple[float, np.ndarray]] = {}
        options = {"maxiter": self.max_iterations, "gtol": self.tolerance}
        with np.errstate(all="ignore"):
            found = _bounded(_remembered(function, seen), np.clip(x, bounds.lb, bounds.ub), bounds, options)
        return Point(found.x, float(found.fun), np.asarray(found.jac, float), np.eye(x.size), len(seen), done=True)

    def _judge(self, point: Point) -> Point:
        converged = bool(point.x.size == 0 or np.max(np.abs(point.gradient)) <= self.tolerance)
        return dataclasses.replace(point, done=converged, converged=converged, message="converged" if converged else "")


def _bounded(function: ValueAndGradient, x: np.ndarray, bounds: Bounds, options: dict[str, Any]) -> OptimizeResult:
    options = options | {"ftol": 0.0}
    return minimize(function, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options)


def _remembered(function: ValueAndGradient, seen: dict[bytes, tuple[float, np.ndarray]]) -> ValueAndGradient:
    """The function, which is not evaluated again where SciPy asks for the starting point once more."""

    def once(x):
        if x.tobytes() not in seen:
            seen[x.tobytes()] = function(x)
        return seen[x.tobytes()]

    return once


def _symmetric(inverse_hessian: np.ndarray) -> np.ndarray:
    """The matrix made exactly symmetric, as SciPy asks of one that it is given; the identity where it went bad."""
    matrix = 0.5 * (inverse_hessian + inverse_hessian.T)
    curvatures = np.linalg.eigvalsh(matrix) if np.all(np.isfinite(matrix)) else np.zeros(len(matrix))
    return matrix if curvatures[0] > 1e-12 * curvatures[-1] else np.eye(len(matrix))


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far the positive quantities of a fit may go from their starting values, and which have come to an end.

    `boundary` holds the coordinates that were put at their boundary, each with the sentence that says so.
    """

    coordinates: list[Coordinate]
    start: np.ndarray
    factor: float
    subjects: int
    boundary: dict[int, str] = dataclasses.field(default_factory=dict)

    @property
    def bounds(self) -> Bounds:
        """The limits of every free coordinate; those that are not the log of a scale have none."""
        reach = np.array([math.log(self.factor) if c.log_scale else np.inf for c in self.coordinates])
        return Bounds(self.start - reach, self.start + reach)

    def reached(self, point: Point) -> list[int]:
        """The scales at their limits; where the optimiser broke down, those a thousandfold from their start."""
        broke_down = point.done and not point.converged
        far = np.abs(point.x - self.start) > math.log(min(self.factor, 1e3) if broke_down else 0.99 * self.factor)
        return [i for i, c in enumerate(self.coordinates) if c.log_scale and i not in self.boundary and far[i]]

    def stop(self, optimiser: BFGS, point: Point, loss: ValueAndGradient) -> tuple[Point, "Limits"]:
        """The best point within the limits, with a message of what climbs beyond them and what levels off there."""
        stopped = optimiser.within(loss, point.x, self.bounds)
        evaluations, climbing, boundary = point.evaluations + stopped.evaluations, [], dict(self.boundary)
        for i in self.reached(stopped):
            label, end = self.coordinates[i].label, "0" if stopped.x[i] < self.start[i] else "infinity"
            if (slope := abs(stopped.gradient[i]) * self.subjects) < 1e-3:
                boundary[i] = f"{label} went to its boundary, {end}, where the objective levels off."
            else:
                climbing.append(f"{label} goes to {end} (by {slope:.3g} for each unit of its logarithm)")
        limits = dataclasses.replace(self, boundary=boundary)
        if not climbing:
            return dataclasses.replace(stopped, evaluations=evaluations, converged=True), limits
        farthest = math.exp(np.max(np.abs(stopped.x - self.start)[self.reached(stopped)]))
        what = f"the objective is unbounded, it grows without limit as {' and '.join(climbing)}"
        message = f"no maximum: {what}; stopped a factor of {farthest:.1g} from the starting value"
        return dataclasses.replace(stopped, evaluations=evaluations, message=message), limits

    def look_at_zero(self, optimiser: BFGS, point: Point, loss: ValueAndGradient) -> tuple[Point, "Limits"]:
        """Put a scale that is no worse a thousandfold smaller at its boundary, zero, and go on from there."""
        boundary = dict(self.boundary)
        for i, coordinate in enumerate(self.coordinates):
            if not coordinate.log_scale or i in boundary or point.gradient[i] == 0.0:
                continue
            half, lower = (point.x - math.log(factor) * (np.arange(point.x.size) == i) for factor in (2.0, 1e3))
            # Far from there the modes are hard to find, so this looks only where the objective is flat close by.
            if (loss(half)[0] - point.value) * self.subjects < 0.1 and loss(lower)[0] <= point.value:
                boundary[i] = f"{coordinate.label} is at its boundary, 0: the objective is highest there."
                point = dataclasses.replace(optimiser.init(loss, lower), evaluations=point.evaluations + 1)
        return point, dataclasses.replace(self, boundary=boundary)
