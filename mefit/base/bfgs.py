"""SciPy's quasi-Newton methods, one iteration at a time and in scaled coordinates.

One iteration at a time, progress and interruption come free. In coordinates scaled by the function's curvature, what
happens does not depend on the units of the parameters.
"""

import dataclasses
import warnings
from typing import Any

import equinox as eqx
import numpy as np
from scipy.optimize import Bounds, OptimizeResult, minimize

from .scales import Curvature, Sizes, ValueAndGradient, measure_curvature

_FAR = 2.0  # scales: after a longer way the curvature may be another, and is measured again before the end
_DOUBT = 100.0  # tolerances: a decrement above this, by the new curvature, says that the search has not ended
_LONG = 1e6  # scales: in units so long SciPy begins its line search with the whole quasi-Newton step
_FIRST_MOVE = 1.0 / 3.0  # of the longest scale: a logarithm moves by no more in the first step
_FLATTEST = 1e-3  # of what one scale bends: in the first inverse Hessian nothing is flatter
_FLAT = 100.0  # tolerances: below this, a line search that finds nothing is stopped by rounding only

STUCK = (  # what a point says where it cannot go on
    "the line search found no way up from here, as on a rugged objective: "
    "try other starting values, fix a parameter, or use another method"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a minimisation, with what has been learned of the function so far."""

    x: np.ndarray
    value: float
    gradient: np.ndarray
    sizes: Sizes  # what was known of the scales beforehand
    scale: np.ndarray  # of each coordinate
    inverse_hessian: np.ndarray  # in scaled coordinates x / scale
    measured: np.ndarray  # the x where the scales were measured
    flat: np.ndarray  # the coordinates along which no bend was seen there
    evaluations: int
    done: bool = False
    converged: bool = False
    message: str = ""

    @property
    def decrement(self) -> float:
        """sqrt(g' H^-1 g): how far the minimum is, in scales, were the function a parabola."""
        slope = self.gradient * self.scale
        with np.errstate(over="ignore", invalid="ignore"):
            squared = slope @ self.inverse_hessian @ slope
        if not np.isfinite(squared):  # too steep for its square to be a number
            return np.inf
        return float(np.sqrt(max(squared, 0.0)))


class BFGS(eqx.Module):
    """SciPy's BFGS in scaled coordinates. It ends where the Newton decrement sqrt(g' H^-1 g) is below `tolerance`.

    The function is a mean over subjects, so the decrement is the distance to the minimum in standard errors, over the
    square root of the number of subjects. Each coordinate is divided by its scale (see `measure_curvature`), measured
    by differences of the gradient at the start, and once more before the end where the way was long. H is what BFGS
    learns on its way. None of this depends on units.

    Where its line search finds nothing, as on an objective without a minimum, one iteration of SciPy's L-BFGS-B looks
    along the steepest descent, up to the bounds.
    Source: Nocedal and Wright (2006), Numerical Optimization, algorithm 6.1, with a Wolfe line search.

        fit = mf.fit(model, population, mf.FO(optimiser=mf.BFGS(max_iterations=50)))
    """

    tolerance: float = 1e-6
    max_iterations: int = 500

    def init(self, function: ValueAndGradient, x: np.ndarray, sizes: Sizes) -> Point:
        """The first point; it may already be the last. `sizes` as `measure_curvature` takes them."""
        value, gradient = function(x)
        point = Point(
            x=x,
            value=value,
            gradient=gradient,
            sizes=sizes,
            scale=np.ones(x.size),
            inverse_hessian=np.eye(x.size),
            measured=x,
            flat=np.zeros(x.size, bool),
            evaluations=1,
        )
        if not np.isfinite(value):
            return point
        return self._judge(function, self._measure(function, point))

    def step(self, function: ValueAndGradient, point: Point, bounds: Bounds) -> Point:
        """One iteration: a line search and an update of the inverse Hessian."""
        # Where nothing was measured, as of a network's weights, H says little at first: SciPy's own first guess of a
        # step, of about one unit, does better.
        length = _LONG if np.all(point.sizes.measured) else 1.0
        options: dict[str, Any] = {"maxiter": 1, "gtol": 0.0}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the line search warns before it tries its second way
            long = _Scaled(function, point, unit=length)
            learned = options | {"hess_inv0": point.inverse_hessian / length**2}
            result = minimize(long, long.start, jac=True, method="BFGS", options=learned)
            inverse_hessian = _symmetric(result.hess_inv * length**2)
            unit = long.unit
            evaluations = point.evaluations + long.evaluations
            if not result.fun < point.value:
                scaled = _Scaled(function, point)
                result = scaled.within(bounds, options)
                inverse_hessian = np.eye(point.x.size)
                unit = scaled.unit
                evaluations += scaled.evaluations
        if not result.fun < point.value:
            return self._stuck(dataclasses.replace(point, evaluations=evaluations))
        there = dataclasses.replace(
            point,
            x=result.x * unit,
            value=float(result.fun),
            gradient=np.asarray(result.jac) / unit,
            inverse_hessian=inverse_hessian,
            evaluations=evaluations,
        )
        return self._judge(function, there)

    def within(self, function: ValueAndGradient, point: Point, bounds: Bounds) -> Point:
        """The minimum within bounds, by SciPy's L-BFGS-B: for an objective that has none without them."""
        point = dataclasses.replace(point, x=np.clip(point.x, bounds.lb, bounds.ub))
        scaled = _Scaled(function, point, remember=False)
        options = {"maxiter": self.max_iterations, "gtol": self.tolerance}
        with np.errstate(all="ignore"):
            result = scaled.within(bounds, options)
        return dataclasses.replace(
            point,
            x=result.x * point.scale,
            value=float(result.fun),
            gradient=np.asarray(result.jac, float) / point.scale,
            inverse_hessian=np.eye(point.x.size),
            evaluations=point.evaluations + scaled.evaluations,
            done=True,
        )

    def _measure(self, function: ValueAndGradient, point: Point) -> Point:
        """The point with scales measured where it stands; H is forgotten."""
        curvature = measure_curvature(function, point.x, point.gradient, point.sizes)
        return dataclasses.replace(
            point,
            scale=curvature.scale,
            inverse_hessian=_inverse_of_measured(curvature, point.gradient, point.sizes),
            measured=point.x,
            flat=curvature.flat,
            evaluations=point.evaluations + curvature.evaluations,
        )

    def _judge(self, function: ValueAndGradient, point: Point) -> Point:
        if point.x.size and point.decrement > self.tolerance:
            return point
        if np.max(np.abs(point.x - point.measured) / point.scale, initial=0.0) > _FAR:
            again = self._measure(function, point)
            if again.decrement > _DOUBT * self.tolerance:
                return again
            point = dataclasses.replace(point, evaluations=again.evaluations)
        return dataclasses.replace(point, done=True, converged=True, message="converged")

    def _stuck(self, point: Point) -> Point:
        flat = bool(np.isfinite(point.value)) and point.decrement < _FLAT * self.tolerance
        message = "converged to rounding error" if flat else STUCK
        return dataclasses.replace(point, done=True, converged=flat, message=message)


class _Scaled:
    """The function in scaled coordinates, not evaluated again where SciPy asks for the start once more."""

    def __init__(self, function: ValueAndGradient, point: Point, unit: float = 1.0, remember: bool = True):
        self._function = function
        self.unit = point.scale * unit
        self.start = point.x / self.unit
        self.evaluations = 0
        self._known: dict[bytes, tuple[float, np.ndarray]] = {}
        if remember:
            self._known[self.start.tobytes()] = (point.value, point.gradient * self.unit)

    def __call__(self, u: np.ndarray) -> tuple[float, np.ndarray]:
        place = u.tobytes()
        if place not in self._known:
            value, gradient = self._function(u * self.unit)
            self._known[place] = (value, gradient * self.unit)
            self.evaluations += 1
        return self._known[place]

    def within(self, bounds: Bounds, options: dict[str, Any]) -> OptimizeResult:
        """L-BFGS-B from the start, within bounds on the unscaled coordinates."""
        scaled = Bounds(bounds.lb / self.unit, bounds.ub / self.unit)
        options = options | {"ftol": 0.0}
        start = np.clip(self.start, scaled.lb, scaled.ub)
        return minimize(self, start, jac=True, method="L-BFGS-B", bounds=scaled, options=options)


def _inverse_of_measured(curvature: Curvature, gradient: np.ndarray, sizes: Sizes) -> np.ndarray:
    """The first inverse Hessian, in scaled coordinates: of the curvature measured, its signs and zeros mended.

    What bends down is taken to bend up as strongly, and what does not bend as it is scaled. The first step is made
    shorter where it would move a logarithm by more than one.
    """
    unit = curvature.scale
    strength, axes = np.linalg.eigh(curvature.matrix * np.outer(unit, unit))
    upward = (axes * np.abs(strength)) @ axes.T
    missing = np.maximum(1.0 - np.diagonal(upward), 0.0)
    strength, axes = np.linalg.eigh(upward + np.diag(missing))
    inverse = _symmetric((axes / np.maximum(strength, _FLATTEST)) @ axes.T)
    if not np.all(sizes.measured):
        return inverse
    step = np.abs(unit * (inverse @ (unit * gradient)))
    return inverse / max(1.0, float(np.max(step / (_FIRST_MOVE * sizes.most), initial=0.0)))


def _symmetric(inverse_hessian: np.ndarray) -> np.ndarray:
    """The matrix made exactly symmetric, as SciPy asks of one that it is given; the identity where it went bad."""
    matrix = 0.5 * (inverse_hessian + inverse_hessian.T)
    if not matrix.size or not np.all(np.isfinite(matrix)):
        return np.eye(len(matrix))
    curvatures = np.linalg.eigvalsh(matrix)
    return matrix if curvatures[0] > 1e-12 * curvatures[-1] else np.eye(len(matrix))
