"""Where an estimate cannot be trusted to lie inside: scales that run to zero or infinity, and those that end there."""

import dataclasses
import math

import numpy as np
from scipy.optimize import Bounds

from ..base.bfgs import BFGS, Point, ValueAndGradient
from ..model.space import Coordinate


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
