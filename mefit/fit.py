"""`fit`: the one door to every method, and `Fit`, what comes out of it."""

import dataclasses
import inspect
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, PRNGKeyArray
from tqdm.auto import tqdm

from .method import AT_BOUNDARY, Method, Outcome, Problem, State
from .model import Model, eta_sd, outcome_of
from .objective import Objective
from .parameters import free_parameters, has_network
from .population import Population
from .report import html_report, parameter_table, text_report
from .sampling import Draws


@dataclasses.dataclass(frozen=True)
class Step:
    """One iteration as a person reads it: its number, -2 times the objective, and the model there."""

    iteration: int
    minus_two_objective: float
    gradient_norm: float
    model: Model = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit(Outcome):
    """A fitted model, and how it came about.

    `model` is the model at the estimates: a model like any other. `eta` (N, K) are the empirical Bayes estimates and
    `eta_covariance` (N, K, K) the covariance of their Gaussian approximation. `log_likelihood` is the method's own,
    every constant included; `log_prior` is what the priors add where there are any. `message` says how the fit ended,
    `remarks` what else is worth knowing, `history` holds every iteration. In a notebook a fit shows itself as a table;
    `print(fit)` says the same in a terminal.
    """

    population: Population
    method: Method
    history: tuple[Step, ...]
    evaluations: int
    fixed: tuple[str, ...]
    key: Any = dataclasses.field(default=None, repr=False)

    @property
    def draws(self) -> Draws | None:
        """The draws from the posterior that a sampler (`NUTS`) leaves; None for all other methods."""
        return self.details.get("draws")

    def outcome(self, name: str) -> "Fit":
        """This fit seen through one of several outcomes, for diagnostics and pictures; its numbers stay those of all.

        ValueError where there is no outcome of this name.
        """
        population, details = self.population.outcome(name), dict(self.details)
        if self.draws is not None:
            details["draws"] = dataclasses.replace(self.draws, models=outcome_of(self.draws.models, name))
        return dataclasses.replace(self, model=outcome_of(self.model, name), population=population, details=details)

    @property
    def minus_two_log_likelihood(self) -> float:
        """-2 log L with every constant; subtract n log(2 pi) for NONMEM's objective function value."""
        return -2.0 * self.log_likelihood

    @property
    def n_parameters(self) -> int:
        """The number of free parameters that the method estimates, those at a boundary included."""
        return sum(status in ("", AT_BOUNDARY) for status in self.status)

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 log L + 2 p."""
        return self.minus_two_log_likelihood + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion, -2 log L + p log n, with n the number of observations."""
        return self.minus_two_log_likelihood + self.n_parameters * float(np.log(self.population.n_observations))

    @property
    def has_standard_errors(self) -> bool:
        """Does the objective's curvature measure uncertainty? Not where it is no likelihood of theta, or where a
        network's weights are free: many sets of weights give the same curves."""
        return self.method.likelihood and not has_network(self.model, self.fixed)

    @cached_property
    def covariance(self) -> Float[np.ndarray, "P P"]:
        """Covariance of the free coordinates: inverse observed information, NaN for what was not estimated.

        Raises ValueError for a method whose objective is not a likelihood of theta.
        """
        if not self.method.likelihood:
            raise ValueError(f"{self.method.label} has no likelihood of theta, so it has no standard errors.")
        information = self.method.information(Problem(self.model, self.population, self.key, self.fixed), self.model)
        kept = np.flatnonzero([not status for status in self.status])
        covariance = np.full(information.shape, np.nan)
        inner = information[np.ix_(kept, kept)]
        if kept.size and np.all(np.isfinite(inner)) and np.all(np.linalg.eigvalsh(inner) > 0):
            covariance[np.ix_(kept, kept)] = np.linalg.inv(inner)
        return covariance

    @cached_property
    def shrinkage(self) -> Float[np.ndarray, " K"]:
        """Shrinkage of each eta, 1 - SD(EBE) / omega, with the SD over subjects (divisor N - 1)."""
        deviation = np.std(np.asarray(self.eta), axis=0, ddof=1) if len(self.population) > 1 else np.nan
        return 1.0 - deviation / np.asarray(eta_sd(self.model))

    @cached_property
    def table(self) -> pd.DataFrame:
        """The parameters as a pandas DataFrame: estimate, unit, standard error, relative standard error."""
        return parameter_table(self)

    def __str__(self) -> str:
        return text_report(self)

    def _repr_html_(self) -> str:
        return html_report(self)


def _problem(model: Model, population: Population, method: Method, key: Any, fixed: Iterable[str]) -> Problem:
    for made in (method, getattr(method, "objective", None), getattr(method, "marginal", None)):
        if inspect.isclass(made):
            raise ValueError(f"the method must be made first: write mf.{made.__name__}() with its brackets.")
    for value, kind, example in (
        (model, Model, "a model such as MyModel(ka=1.5, ...)"),
        (population, Population, "a population such as mf.datasets.theophylline()"),
        (method, Method, "a method such as mf.Laplace()"),
    ):
        if not isinstance(value, kind):
            raise ValueError(f"fit(model, population, method) needs {example}; it got a {type(value).__name__}.")
    if method.random and key is None:
        raise ValueError(f"{method.label} draws at random: give it a key, for instance key=jax.random.key(1).")
    fixed = (fixed,) if isinstance(fixed, str) else tuple(fixed)
    free_parameters(model, fixed)
    return Problem(model, population, key, fixed)


def iterate(
    model: Model, population: Population, method: Method, *, key: PRNGKeyArray | None = None, fixed: Iterable[str] = ()
) -> Iterator[tuple[Model, Step]]:
    """The algorithm of `fit`, a step at a time: yields the model so far and what happened."""
    for state in method.states(_problem(model, population, method, key, fixed)):
        yield state.model, _step(state)


def fit(
    model: Model,
    population: Population,
    method: Method,
    *,
    key: PRNGKeyArray | None = None,
    fixed: Iterable[str] = (),
    progress: bool = True,
) -> Fit:
    """Estimate the parameters of `model` from `population` by `method`.

    **Arguments:**

    - `model`: the model at its starting values. Fit again from `fit.model` to chain methods.
    - `population`: the data.
    - `method`: `NaivePooled()`, `TwoStage()`, `JointMLE()`, `JointMAP()`, `FO()`, `FOCE()`, `Laplace()`, `AGQ()`,
      `Variational()`, `MonteCarlo()`, `ImportanceSampling()` or `SAEM()`; for models with a network, `Adam()` on one of
      these. Where a parameter declares a prior, its log density is added and the estimate is a maximum a posteriori.
      `NUTS()` draws from the posterior.
    - `key`: a `jax.random.key`, for the methods that draw at random.
    - `fixed`: names of parameters to hold at their starting values.
    - `progress`: show a progress bar with the current -2 log-likelihood.

    **Returns:** a `Fit`. Interrupting (Ctrl-C, or the stop button) returns the best so far, marked as interrupted.

    **Raises:** ValueError, in one sentence, where the model, the data or the method cannot be used together.
    """
    problem = _problem(model, population, method, key, fixed)
    interrupted, name = False, "-2LL" if isinstance(method, Objective) else "-2 x objective"
    with tqdm(desc=f"{method.label}: compiling, once", disable=not progress, leave=False) as bar:
        states = method.states(problem)
        try:
            state = next(states)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted before the first evaluation: there is no result yet") from None
        history = [_step(state)]
        try:
            for state in states:
                history.append(_step(state))
                bar.set_description_str(method.label, refresh=False)
                bar.set_postfix_str(state.message or f"{name} = {-2.0 * state.objective:.4f}{state.note}")
                bar.update()
        except KeyboardInterrupt:
            interrupted = True
        outcome = method.finish(problem, state)
    if interrupted:
        draws = outcome.details.get("draws")
        now = "these are the best values so far, not the estimates" if draws is None else f"{len(draws)} draws are kept"
        message = f"interrupted after {state.iteration} iterations: {now}"
        outcome = dataclasses.replace(outcome, converged=False, message=message)
    about: dict[str, Any] = {"population": population, "method": method, "key": key, "fixed": problem.fixed}
    return Fit(history=tuple(history), evaluations=state.evaluations, **about, **vars(outcome))


def _step(state: State) -> Step:
    return Step(state.iteration, -2.0 * state.objective, state.gradient_norm, state.model)


def log_likelihood(
    model: Model, population: Population, method: Method, *, key: PRNGKeyArray | None = None, by_subject: bool = False
) -> float | Float[np.ndarray, " N"]:
    """The (approximate) log-likelihood of the model at its present parameters: one ruler for all models and fits.

    Every constant is included and no prior is added. `by_subject` returns one value for each subject instead of the
    sum. Raises ValueError for a method that has no objective to evaluate, such as `TwoStage`.
    """
    problem = _problem(model, population, method, key, ())
    if not isinstance(method, Objective):
        raise ValueError(f"{method.label} has no log-likelihood to evaluate: use Laplace, AGQ or ImportanceSampling.")
    values = np.asarray(method.terms(problem.model, population, key).value)
    return values if by_subject else float(np.sum(values))
