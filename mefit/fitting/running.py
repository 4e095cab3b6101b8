"""A method run to its end, or to where it is stopped: what it has found so far always comes back."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from ..base.stopping import is_interrupt, why_stopped
from ..methods.method import Ending, Method, Outcome, Problem, State


class Stop(NamedTuple):
    """Why the work stopped before its end."""

    ending: Ending
    why: str


class Run(NamedTuple):
    """Where a method came to, and what it leaves."""

    state: State
    outcome: Outcome


def run(
    method: Method,
    problem: Problem,
    look: Callable[[State], object],
    onward: Callable[[State], State] = lambda first: first,
    alone: bool = True,
) -> Run:
    """Run a method, showing every state to `look`; `onward` may put a state that was kept in place of the first.

    An interrupt, or an error after the first iteration, ends it with the best so far, marked as such. So it does while
    the end is worked out; then what was not computed is NaN. An error before that is raised: there is nothing to keep.
    Where it is not `alone`, but one of several processes that compute together, both are raised at any time: the others
    would not go the same way.
    """
    states = method.states(problem, onward)
    try:
        state = next(states)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted before the first evaluation: there is no result yet") from None
    stop = None
    try:
        look(state)
        for state in states:
            look(state)
    except (KeyboardInterrupt, Exception) as error:
        if not alone or (not is_interrupt(error) and state.iteration == 0):
            raise
        stop = _stop(error)
    try:
        outcome = method.finish(problem, state)
    except (KeyboardInterrupt, Exception) as error:
        if not alone or (not is_interrupt(error) and state.iteration == 0):
            raise
        return Run(state, _unfinished(method, problem, state, stop or _stop(error)))
    if stop is None:
        return Run(state, outcome)
    kept = "these are the best values so far, not the estimates"
    if outcome.draws is not None:
        kept = f"{len(outcome.draws)} draws are kept"
    message = f"{stop.why} after {state.iteration} iterations: {kept}"
    return Run(state, dataclasses.replace(outcome, ending=stop.ending, message=message))


def _stop(error: BaseException) -> Stop:
    return Stop(Ending.INTERRUPTED if is_interrupt(error) else Ending.FAILED, why_stopped(error))


def _unfinished(method: Method, problem: Problem, state: State, stop: Stop) -> Outcome:
    """What is known where the work stopped on its last stretch, behind the iterations."""
    outcome = method.unfinished(problem, state)
    kept = "these are the best values so far"
    if state.ending and state.ending.converged:
        kept = "the estimates were found"
    if outcome.draws is not None:
        kept = f"{len(outcome.draws)} draws are kept"
    message = (
        f"{stop.why} after {state.iteration} iterations: {kept}, but what is worked out at the end, such as the "
        "log-likelihood, is missing; fit again from fit.model to have it"
    )
    return dataclasses.replace(outcome, ending=stop.ending, message=message)
