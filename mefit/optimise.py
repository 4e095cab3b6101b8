"""Optimisers: SciPy's quasi-Newton methods, one iteration at a time, so that progress and interruption come free."""

import dataclasses
import warnings
from collections.abc import Callable

import equinox as eqx
import numpy as np
from scipy.optimize import Bounds, minimize

_NO_WAY_UP = (
    "the line search found no way up from here, as on a rugged objective: try other starting values, fix a parameter, "
    "or use another method"
)
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
        value, gradient = function(x)
        return self._judge(Point(x, value, gradient, np.eye(x.size), 1))

    def step(self, function: ValueAndGradient, point: Point, bounds: Bounds) -> Point:
        """One iteration: a line search and an update of the inverse Hessian."""
        remembered = _Remembered(function, point)
        quiet = {"maxiter": 1, "gtol": 0.0}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the line search warns before it tries its second way
            options = {**quiet, "hess_inv0": point.inverse_hessian}
            found = minimize(remembered, point.x, jac=True, method="BFGS", options=options)
            inverse_hessian = _symmetric(found.hess_inv)
            if not found.fun < point.value:
                options = {**quiet, "ftol": 0.0}
                found = minimize(remembered, point.x, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
                inverse_hessian = np.eye(point.x.size)
        evaluations = point.evaluations + remembered.evaluations
        if not found.fun < point.value:
            flat = np.max(np.abs(point.gradient)) < 100 * self.tolerance
            message = "converged to rounding error" if flat else _NO_WAY_UP
            return dataclasses.replace(point, evaluations=evaluations, done=True, converged=bool(flat), message=message)
        return self._judge(Point(found.x, float(found.fun), np.asarray(found.jac), inverse_hessian, evaluations))

    def within(self, function: ValueAndGradient, x: np.ndarray, bounds: Bounds) -> Point:
        """The minimum within bounds, by SciPy's L-BFGS-B: for an objective that has none without them."""
        inside = np.clip(x, bounds.lb, bounds.ub)
        begin = Point(inside, *function(inside), np.eye(x.size), 1)
        remembered = _Remembered(function, begin)
        options = {"maxiter": self.max_iterations, "gtol": self.tolerance, "ftol": 0.0}
        with np.errstate(all="ignore"):
            found = minimize(remembered, inside, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        gradient = np.asarray(found.jac, float)
        return dataclasses.replace(
            begin,
            x=found.x,
            value=float(found.fun),
            gradient=gradient,
            evaluations=1 + remembered.evaluations,
            done=True,
        )

    def _judge(self, point: Point) -> Point:
        converged = bool(point.x.size == 0 or np.max(np.abs(point.gradient)) <= self.tolerance)
        return dataclasses.replace(point, done=converged, converged=converged, message="converged" if converged else "")


class _Remembered:
    """The function, which is not evaluated again where SciPy asks for the starting point once more."""

    def __init__(self, function: ValueAndGradient, point: Point):
        self.function, self.evaluations = function, 0
        self.seen = {point.x.tobytes(): (point.value, point.gradient)}

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        key = x.tobytes()
        if key not in self.seen:
            self.seen[key] = self.function(x)
            self.evaluations += 1
        return self.seen[key]


def _symmetric(inverse_hessian: np.ndarray) -> np.ndarray:
    """The matrix made exactly symmetric, as SciPy asks of one that it is given; the identity where it went bad."""
    matrix = 0.5 * (inverse_hessian + inverse_hessian.T)
    if not np.all(np.isfinite(matrix)):
        return np.eye(len(matrix))
    curvatures = np.linalg.eigvalsh(matrix)
    return matrix if curvatures[0] > 1e-12 * curvatures[-1] else np.eye(len(matrix))
