"""When a search of unknown length will end: foretold from how fast it came nearer so far."""

import time
from collections import deque
from collections.abc import Callable

import numpy as np

from ..base.progress import duration

_LOOKED_AT = 6  # iterations: earlier ones say little of the pace of these
_FEWEST = 4
_SHORT = 5.0  # seconds: nobody asks when what has taken no longer will end


class Pace:
    """Foretells when a measure m of the distance falls to its goal, by a line through log m of the last iterations.

    Quasi-Newton steps grow better on their way, so that the end mostly comes sooner.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._begun = clock()
        self._seen: deque[tuple[int, float, float]] = deque(maxlen=_LOOKED_AT)

    def left(self, iteration: int, measure: float, goal: float) -> str:
        """'about 3 min left', or nothing where too little is known, or the distance does not fall.

        To be asked at every iteration; the `goal` is 0 where there is none.
        """
        now = self._clock()
        if not (goal > 0.0 and 0.0 < measure < np.inf):
            self._seen.clear()
            return ""
        self._seen.append((iteration, np.log(measure), now))
        if len(self._seen) < _FEWEST or now - self._begun < _SHORT:
            return ""
        numbers, nearness, moments = np.array(self._seen).T
        slope = np.polyfit(numbers - numbers[-1], nearness, 1)[0]
        if not slope < 0.0:
            return ""
        steps = max(1.0, (np.log(goal) - nearness[-1]) / slope)
        each = (moments[-1] - moments[0]) / (numbers[-1] - numbers[0])
        return f"about {duration(float(steps * each))} left"
