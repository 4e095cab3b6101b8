"""What `fit` asks of a method, whatever the method does: a first state, a step, and what came out."""

import abc
import dataclasses
import enum
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
import pandas as pd
from jaxtyping import Float

from ..curves.encoding import AnyEncoder
from ..data.population import Population
from ..model.densities import eta_size
from ..model.model import Model
from ..model.space import Space
from ..objectives.sleeping import Amortisation
from .nuts.draws import Draws


class Ending(enum.Enum):
    """How a fit ended, for a program to ask; `fit.message` says the same to a person."""

    CONVERGED = "converged"
    BOUNDARY = "converged, with a parameter at its boundary"
    NOT_IDENTIFIED = "converged, with parameters that the data do not tell apart"
    UNBOUNDED = "the objective has no maximum"
    DEGENERATE = "the objective has a maximum that only a prior holds, where random effects have vanished"
    INTERRUPTED = "interrupted"
    FAILED = "not converged"

    @property
    def converged(self) -> bool:
        """Are the values of the fit its estimates?"""
        return self in (Ending.CONVERGED, Ending.BOUNDARY, Ending.NOT_IDENTIFIED)


@dataclasses.dataclass(frozen=True)
class Problem:
    """One fit to be made: the model at its starting values, the data, a key and the names held fixed."""

    model: Model
    population: Population
    key: Any  # of `jax.random`, or None; `fit` sees to it that a method that draws at random has one
    fixed: tuple[str, ...]

    @property
    def space(self) -> Space:
        """What moves: the parameters that are not held fixed."""
        return Space(self.model, self.fixed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info:
    """What people read of an iteration."""

    objective: float  # what is being maximised, on the log scale
    measure: float  # how near the end is, by the method's own account
    measure_name: str  # what that is
    evaluations: int
    goal: float = 0.0  # where the measure ends the search; 0 where it does not
    note: str = ""  # what else a person who waits would like to read


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """Where a fit stands: `model` is the best so far, `memory` what the method's next step needs."""

    iteration: int
    model: Model
    info: Info
    memory: Any = dataclasses.field(default=None, repr=False)
    ending: Ending | None = None  # None while it goes on
    message: str = ""

    @property
    def done(self) -> bool:
        """Has it ended?"""
        return self.ending is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SAEMRun:
    """What SAEM leaves beside its estimates. Of a mixture of experts the random effects are those of all classes."""

    trajectory: pd.DataFrame  # a row for each iteration, a column for each number of the table of parameters
    acceptance: pd.DataFrame  # of the proposals of each kernel, a row for each iteration
    explored: int  # iterations before the smoothing
    monte_carlo_error: Float[np.ndarray, " P"]  # of each coordinate, in standard errors if every eta were known
    conditional_mean: Float[np.ndarray, "N K"]  # of the random effects given the data
    conditional_sd: Float[np.ndarray, "N K"]
    eta_draws: Float[np.ndarray, "C N K"]  # the last of each chain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What training leaves beside its estimates."""

    curve: pd.DataFrame  # by step: the objective, and the mean log-likelihood of a held-out subject
    memory: Any = dataclasses.field(repr=False)  # from which it can go on


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What data augmentation leaves beside its estimates.

    `encoder` was trained on completed records: it answers q(eta | y) of a record without gaps, and a person with gaps
    has to be completed first. `completed` is the last completed population, one draw of the missing responses.
    """

    encoder: AnyEncoder = dataclasses.field(repr=False)
    trajectory: pd.DataFrame  # a row for each round, a column for each number of the table of parameters
    acceptance: pd.DataFrame  # of the encoder's proposals and of the walk's, a row for each round
    completed: Population = dataclasses.field(repr=False)
    eta_draws: Float[np.ndarray, "N K"] = dataclasses.field(repr=False)  # the random effects that go with it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a method leaves behind at its last state."""

    model: Model
    log_likelihood: float  # the method's own, every constant included
    log_prior: float
    eta: Float[np.ndarray, "N K"]
    eta_covariance: Float[np.ndarray, "N K K"]
    ending: Ending
    message: str
    # for each free coordinate: "" where it was estimated, or a word of `objectives.objective`
    status: tuple[str, ...] = dataclasses.field(repr=False)
    remarks: tuple[str, ...] = ()  # sentences that a person should read
    # the objective or method that was used in the end, where it is not the one that was asked for
    method: Any = None
    effective_sample_size: Float[np.ndarray, " N"] | None = dataclasses.field(default=None, repr=False)
    # (N, C), of a mixture of experts: the probability of each class given the subject's covariates and responses
    responsibilities: Float[np.ndarray, "N C"] | None = dataclasses.field(default=None, repr=False)
    draws: Draws | None = dataclasses.field(default=None, repr=False)
    saem: SAEMRun | None = dataclasses.field(default=None, repr=False)
    training: Training | None = dataclasses.field(default=None, repr=False)
    amortised: Amortisation | None = dataclasses.field(default=None, repr=False)
    augmentation: Augmentation | None = dataclasses.field(default=None, repr=False)

    @property
    def converged(self) -> bool:
        """Are these values the method's estimates?"""
        return self.ending.converged


class Method(eqx.Module):
    """What to do about the random effects. A method is `init`, `step` and `finish`; `fit` runs them.

    `label` names it in tables; `likelihood` says whether its objective is a likelihood of theta, which AIC, BIC
    and standard errors need; `random` whether it needs a key.
    """

    label: ClassVar[str]
    likelihood: ClassVar[bool] = True
    random: ClassVar[bool] = False
    mixes: ClassVar[bool] = False  # does it hold for mixtures of experts?

    @property
    def likelihood_by(self) -> Any:
        """The objective that gives the log-likelihood and the standard errors at the end; None where there is none."""
        return None

    @property
    def iterations(self) -> int | None:
        """How many iterations are planned, where that is known beforehand; it may end before."""
        return None

    @abc.abstractmethod
    def init(self, problem: Problem) -> State:
        """The state at the starting values."""

    @abc.abstractmethod
    def step(self, problem: Problem, state: State) -> State:
        """One iteration."""

    @abc.abstractmethod
    def finish(self, problem: Problem, state: State) -> Outcome:
        """What is reported of the last state."""

    def unfinished(self, problem: Problem, state: State) -> Outcome:
        """What is known of the last state without computing more, where `finish` was stopped: the rest is NaN."""
        count = len(problem.population)
        size = eta_size(problem.model)
        return Outcome(
            model=state.model,
            log_likelihood=np.nan,
            log_prior=np.nan,
            eta=np.full((count, size), np.nan),
            eta_covariance=np.full((count, size, size), np.nan),
            ending=state.ending or Ending.INTERRUPTED,
            message=state.message,
            status=("",) * len(problem.space.coordinates),
        )

    def states(self, problem: Problem, onward: Callable[[State], State] = lambda first: first) -> Iterator[State]:
        """The state at the starting values, then that after each iteration, to the last.

        `onward` may put a state that was kept in place of the first.
        """
        state = onward(self.init(problem))
        yield state
        while not state.done:
            state = self.step(problem, state)
            yield state
