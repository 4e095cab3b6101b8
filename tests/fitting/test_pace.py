"""When a search will end, foretold of one whose end is known."""

import pytest

import mefit as mf
from mefit.fitting.pace import Pace
from mefit.methods.choice import as_method
from mefit.methods.method import Problem


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def told(measures, seconds=60.0, goal=1e-3):
    """What is said after each iteration, one of which takes so many seconds."""
    clock = Clock()
    pace = Pace(clock)
    said = []
    for iteration, measure in enumerate(measures, 1):
        clock.now += seconds
        said.append(pace.left(iteration, measure, goal))
    return said


def test_a_distance_that_halves_each_time():
    halves = [2.0**-i for i in range(6)]  # 2^-10 is the first below 1e-3: 4.97 more iterations
    assert told(halves) == ["", "", "", "about 7 min left", "about 6 min left", "about 5 min left"]
    assert told(halves, seconds=10.0)[-1] == "about 50 s left"


@pytest.mark.parametrize("measures", [[1.0, 2.0, 4.0, 8.0], [1.0] * 5, [1.0, 0.5, 0.2, float("nan"), 0.1, 0.05]])
def test_nothing_is_said_where_nothing_is_known(measures):
    assert told(measures) == [""] * len(measures)
    assert told([2.0**-i for i in range(6)], goal=0.0) == [""] * 6  # there is no goal
    assert told([2.0**-i for i in range(6)], seconds=0.5) == [""] * 6  # it does not take long


def test_a_fit_says_what_ends_it(line_model, linear_population):
    method = as_method(mf.FO(), linear_population)
    *_, last = method.states(Problem(line_model, linear_population, None, ()))
    assert last.info.measure <= last.info.goal == pytest.approx(1e-6 * 5**0.5)
