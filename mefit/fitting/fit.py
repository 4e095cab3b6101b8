"""`fit`: the one door to every method."""

import dataclasses
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, PRNGKeyArray
from tqdm.auto import tqdm

from ..base.chance import require_key
from ..data.population import Population
from ..methods.method import Method, Problem, State
from ..model.model import Model
from ..model.parameters import free_parameters
from ..objectives.objective import Objective
from .result import Fit, Step


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
    if method.random:
        require_key(key, method.label)
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
