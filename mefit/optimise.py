"""Optimisers: SciPy's quasi-Newton methods, one iteration at a time, so that progress and interruption come free."""

import dataclasses
import warnings
from collections.abc import Callable

import equinox as eqx
import numpy as np
from scipy.optimize import minimize

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

    Source: Nocedal and Wright (2006), Numerical Optimization, algorithm 6.1, with a Wolfe line search.
    """

    tolerance: float = 1e-6
    max_iterations: int = 500

    def init(self, function: ValueAndGradient, x: np.ndarray) -> Point:
        """The first point; it may already be the last."""
        value, gradient = function(x)
        return self._judge(Point(x, value, gradient, np.eye(x.size), 1))

    def step(self, function: ValueAndGradient, point: Point) -> Point:
        """One iteration: a line search and an update of the inverse Hessian."""
        seen: dict[bytes, tuple[float, np.ndarray]] = {point.x.tobytes(): (point.value, point.gradient)}
        evaluations = point.evaluations

        def remembered(x):
            nonlocal evaluations
            key = x.tobytes()
            if key not in seen:
                value, gradient = function(x)
                seen[key] = (value, gradient) if np.isfinite(value) else (np.inf, np.zeros_like(x))
                evaluations += 1
            return seen[key]

        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the line search warns before it tries its second way
            result = minimize(
                remembered, point.x, jac=True, method="BFGS",
                options={"maxiter": 1, "gtol": 0.0, "hess_inv0": point.inverse_hessian},
            )
        moved = Point(result.x, float(result.fun), result.jac, _symmetric(result.hess_inv), evaluations)
        if not result.fun < point.value:
            if not np.array_equal(point.inverse_hessian, np.eye(point.x.size)):
                # The line search found nothing: forget the curvature and try once more downhill.
                return dataclasses.replace(point, inverse_hessian=np.eye(point.x.size), evaluations=evaluations)
            flat = np.max(np.abs(point.gradient)) < 100 * self.tolerance
            message = "converged to rounding error" if flat else "the line search found no way up from here"
            return dataclasses.replace(point, evaluations=evaluations, done=True, converged=bool(flat), message=message)
        return self._judge(moved)

    def _judge(self, point: Point) -> Point:
        converged = bool(point.x.size == 0 or np.max(np.abs(point.gradient)) <= self.tolerance)
        return dataclasses.replace(point, done=converged, converged=converged, message="converged" if converged else "")


def _symmetric(inverse_hessian: np.ndarray) -> np.ndarray:
    """The matrix made exactly symmetric, as SciPy asks of one that it is given; the identity where it went bad."""
    matrix = 0.5 * (inverse_hessian + inverse_hessian.T)
    sound = np.all(np.isfinite(matrix)) and np.all(np.linalg.eigvalsh(matrix) > 0)
    return matrix if sound else np.eye(len(matrix))
