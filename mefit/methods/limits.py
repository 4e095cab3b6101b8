"""Where an estimate cannot be trusted to lie inside: scales that run to zero or infinity, and those that end there."""

import dataclasses
import math

import numpy as np
from scipy.optimize import Bounds

from ..base.bfgs import BFGS, Point
from ..base.scales import ValueAndGradient
from ..model.space import Coordinate

_BEYOND = 1e3  # a factor: so far beyond a limit it is looked whether the objective still rises
_LEAP = 10.0  # a factor: a step so far beyond a limit is a leap
_STILL = 0.5  # of the slope at the limit: what is left of it there, where it rises without end
_LOWER = 0.01  # log-likelihood: a larger loss beyond the limit says that the maximum is not out there
_SETTLED = 1.0  # log-likelihood of a subject over one scale: with more to climb, a search is still on its way
_SAME = 1e-5  # log-likelihood: so far apart modes that are found to a tolerance may put what is the same
_CLEAR = 20.0  # log-likelihood: by the curvature half a scale costs this, where 0.1 would be looked into
_LEVEL = 1e-3  # log-likelihood for each unit of a logarithm: with less, the objective levels off


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far the positive quantities of a fit may go from where they began, and which have come to an end."""

    coordinates: list[Coordinate]
    start: np.ndarray  # the middle of the limits: the starting values, moved along where they were far off
    factor: float
    subjects: int
    boundary: dict[int, str] = dataclasses.field(default_factory=dict)  # of those at their end, a sentence that says so
    unbounded: bool = False

    @property
    def bounds(self) -> Bounds:
        """The limits of every free coordinate; those that are not the log of a scale have none."""
        reach = np.array([math.log(self.factor) if c.log_scale else np.inf for c in self.coordinates])
        return Bounds(self.start - reach, self.start + reach)

    def reached(self, x: np.ndarray, near: bool = False) -> list[int]:
        """The scales at their limits; or `near` them, a thousandfold from their start."""
        limit = min(self.factor, 1e3) if near else 0.99 * self.factor
        far = np.abs(x - self.start) > math.log(limit)
        return [i for i, c in enumerate(self.coordinates) if c.log_scale and i not in self.boundary and far[i]]

    def first_beyond(self, before: Point, after: Point, loss: ValueAndGradient) -> Point:
        """Where a step reaches the limits, if it leads far beyond them; else its end.

        On a slope without end a search leaps, and from where it lands the other coordinates do not find back.
        """
        bounds = self.bounds
        beyond = np.maximum(after.x - bounds.ub, bounds.lb - after.x)
        beyond[list(self.boundary)] = -np.inf
        if np.max(beyond, initial=-np.inf) <= math.log(_LEAP):
            return after
        move = after.x - before.x
        room = np.where(move > 0.0, bounds.ub, bounds.lb) - before.x
        shares = room[beyond > 0.0] / move[beyond > 0.0]
        x = before.x + float(np.clip(np.min(shares), 0.0, 1.0)) * move
        value, gradient = loss(x)
        if not value < before.value:
            return after
        there = dataclasses.replace(after, x=x, value=value, gradient=gradient, done=False, converged=False, message="")
        return dataclasses.replace(there, evaluations=after.evaluations + 1)

    def stop(self, optimiser: BFGS, point: Point, loss: ValueAndGradient, near: bool) -> tuple[Point, "Limits"]:
        """What a scale at its limit means, found by looking on from the best point within the limits.

        The objective is unbounded where it rises at the limit and, a thousandfold further, as steeply still; the
        message names these directions. Where it rises at the limit but not beyond, the start was far off: the limits
        move along. Where it has levelled off, the scale is at its boundary. In both cases the search goes on.
        """
        stopped = optimiser.within(loss, point, self.bounds)
        if not np.isfinite(stopped.value):
            return dataclasses.replace(point, evaluations=stopped.evaluations), self
        boundary = dict(self.boundary)
        climbing = []
        far_off = []
        for i in self.reached(stopped.x, near):
            label = self.coordinates[i].label
            end = "0" if stopped.x[i] < self.start[i] else "infinity"
            slope = abs(stopped.gradient[i]) * self.subjects
            if slope >= _LEVEL and self._still_rises(stopped, i, loss):
                climbing.append(f"{label} goes to {end} (by {slope:.3g} for each unit of its logarithm)")
                continue
            inside = self._better_inside(stopped, i, loss)
            if inside is not None:
                return _again(optimiser, stopped, inside, loss), self
            if slope < _LEVEL and self._has_levelled_off(stopped, i, loss):
                boundary[i] = f"{label} went to its boundary, {end}, where the objective levels off."
            else:
                far_off.append(i)
        limits = dataclasses.replace(self, boundary=boundary)
        if climbing:
            farthest = math.exp(np.max(np.abs(stopped.x - self.start)[self.reached(stopped.x, near)]))
            message = (
                f"no maximum: the objective is unbounded, it grows without limit as {' and '.join(climbing)}; "
                f"stopped a factor of {farthest:.1g} from the starting value"
            )
            return dataclasses.replace(stopped, message=message), dataclasses.replace(limits, unbounded=True)
        if boundary == self.boundary and not far_off and not stopped.value < point.value:
            return dataclasses.replace(point, evaluations=stopped.evaluations), limits
        middle = self.start.copy()
        middle[far_off] = stopped.x[far_off]
        return _again(optimiser, stopped, stopped.x, loss), dataclasses.replace(limits, start=middle)

    def _better_inside(self, point: Point, i: int, loss: ValueAndGradient) -> np.ndarray | None:
        """A better place on the way back from the limit and beyond the start, one decade after the other, if any."""
        best = None
        least = point.value - _LOWER / self.subjects
        for decades in range(-6, 4):
            x = point.x.copy()
            x[i] = self.start[i] + decades * math.log(10.0)
            value = loss(x)[0]
            if value < least:
                least = value
                best = x
        return best

    def _still_rises(self, point: Point, i: int, loss: ValueAndGradient) -> bool:
        """Does the objective rise as steeply a thousandfold beyond the limit, and is it higher there?"""
        direction, value, gradient = self._beyond(point, i, loss)
        if not np.isfinite(value):  # nothing more is to be seen that way
            return bool(-direction * point.gradient[i] > 0.0) and self._others_have_settled(point)
        slope = abs(point.gradient[i])
        steep = -direction * gradient[i] > _STILL * slope
        risen = point.value - value > _STILL * slope * math.log(_BEYOND)
        return bool(steep and risen and self._others_have_settled(point))

    def _others_have_settled(self, point: Point) -> bool:
        """Is the point a maximum in all coordinates that are not at a limit? Else it is merely on its way."""
        away = np.abs(point.x - self.start) < math.log(min(self.factor, 1e3))
        others = np.array([away[i] or not c.log_scale for i, c in enumerate(self.coordinates)], bool)
        return bool(np.max(np.abs(point.gradient * point.scale)[others], initial=0.0) < _SETTLED)

    def _has_levelled_off(self, point: Point, i: int, loss: ValueAndGradient) -> bool:
        """Is the objective no lower a thousandfold beyond the limit? Else there is a maximum close to the limit."""
        _, value, _ = self._beyond(point, i, loss)
        return bool((value - point.value) * self.subjects <= _LOWER)

    def _beyond(self, point: Point, i: int, loss: ValueAndGradient) -> tuple[float, float, np.ndarray]:
        """The direction of the limit, and the loss and its gradient a thousandfold beyond."""
        x = point.x.copy()
        direction = float(np.sign(point.x[i] - self.start[i]))
        x[i] += direction * math.log(_BEYOND)
        value, gradient = loss(x)
        return direction, value, gradient

    def look_at_zero(self, optimiser: BFGS, point: Point, loss: ValueAndGradient) -> tuple[Point, "Limits"]:
        """Put a scale that is no worse a thousandfold smaller at its boundary, zero, and go on from there."""
        boundary = dict(self.boundary)
        for i, coordinate in enumerate(self.coordinates):
            if not coordinate.log_scale or i in boundary or point.gradient[i] == 0.0:
                continue
            if self._is_clear_of_zero(point, i):
                continue
            # Far from there the modes are hard to find, so this looks only where the objective is flat close by.
            falls = (loss(_smaller(point, i, 2.0))[0] - point.value) * self.subjects
            lower = _smaller(point, i, 1e3)
            if falls < 0.1 and (loss(lower)[0] - point.value) * self.subjects <= _SAME:
                boundary[i] = f"{coordinate.told} is at its boundary, 0: the objective is highest there."
                point = _again(optimiser, point, lower, loss)
        return point, dataclasses.replace(self, boundary=boundary)

    def _is_clear_of_zero(self, point: Point, i: int) -> bool:
        """Does the curvature say that half of this scale would cost so much that there is nothing to look at?"""
        if point.flat[i] or not point.scale[i] < 1.0:  # not measured, or no longer than it may be
            return False
        spread = point.scale[i] ** 2 * max(1.0, float(point.inverse_hessian[i, i]))
        return bool(0.5 * math.log(2.0) ** 2 / spread * self.subjects > _CLEAR)


def _again(optimiser: BFGS, point: Point, x: np.ndarray, loss: ValueAndGradient) -> Point:
    """The search begun again at x."""
    begun = optimiser.init(loss, x, point.sizes)
    return dataclasses.replace(begun, evaluations=begun.evaluations + point.evaluations)


def _smaller(point: Point, i: int, factor: float) -> np.ndarray:
    x = point.x.copy()
    x[i] -= math.log(factor)
    return x
