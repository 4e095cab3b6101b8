"""SciPy's quasi-Newton methods, one iteration at a time, so that progress and interruption come free."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from scipy.optimize import Bounds, OptimizeResult, minimize

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
