"""What `fit` asks of a method, whatever the method does: a first state, a step, and what came out."""

import abc
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..data.population import Population
from ..model.model import Model

NOT_ESTIMATED = "not estimated"  # the objective does not depend on it
AT_BOUNDARY = "at its boundary"
NOT_IDENTIFIED = "not identified"  # others can take its place without changing the objective


@dataclasses.dataclass(frozen=True)
class Problem:
    """One fit to be made: the model at its starting values, the data, a key and the names held fixed."""

    model: Model
    population: Population
    key: Any  # of `jax.random`, or None; `fit` sees to it that a method that draws at random has one
    fixed: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class State:
    """Where a fit stands. `model` is the best so far; `objective` is what is being maximised (log scale).

    `done` ends the loop; `converged` and `message` then say how it ended. `memory` is the method's own.
    """

    iteration: int
    model: Model
    objective: float
    gradient_norm: float
    evaluations: int
    done: bool = False
    converged: bool = False
    message: str = ""
    memory: Any = dataclasses.field(default=None, repr=False)
    note: str = ""  # what else a person who waits would like to read


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a method leaves behind at its last state.

    `log_likelihood` is the method's own; `information` is minus the Hessian of the objective in the free
    coordinates, or None where a method has none; `remarks` are sentences a person should read.
    """

    model: Model
    log_likelihood: float
    log_prior: float
    eta: Float[np.ndarray, "N K"]
    eta_covariance: Float[np.ndarray, "N K K"]
    converged: bool
    message: str
    # for each free coordinate: "" where it was estimated, or one of the words above
    status: tuple[str, ...] = dataclasses.field(repr=False)
    remarks: tuple[str, ...] = ()
    details: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)


class Method(eqx.Module):
    """What to do about the random effects. A method is `init`, `step` and `finish`; `fit` runs them.

    `label` names it in tables; `likelihood` says whether its objective is a likelihood of theta, which AIC, BIC
    and standard errors need; `random` whether it needs a key.
    """

    label: ClassVar[str]
    likelihood: ClassVar[bool] = True
    random: ClassVar[bool] = False

    @abc.abstractmethod
    def init(self, problem: Problem) -> State:
        """The state at the starting values."""

    @abc.abstractmethod
    def step(self, problem: Problem, state: State) -> State:
        """One iteration."""

    @abc.abstractmethod
    def finish(self, problem: Problem, state: State) -> Outcome:
        """What is reported of the last state."""

    def states(self, problem: Problem) -> Iterator[State]:
        """The state at the starting values, then that after each iteration, to the last."""
        state = self.init(problem)
        yield state
        while not state.done:
            state = self.step(problem, state)
            yield state

    def information(self, problem: Problem, model: Model) -> Float[np.ndarray, "P P"]:
        """Minus the Hessian of the log-likelihood (plus log prior) in the free coordinates; ValueError without one."""
        raise ValueError(f"{self.label} has no likelihood of theta, so it has no standard errors.")
