"""`fit`: the one door to every method."""

import inspect
import os
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.chance import require_key
from ..base.derivatives import first_derivatives_only
from ..base.devices import ALL, using
from ..base.processes import are_several, is_first
from ..base.stopping import Bar
from ..data.population import Population
from ..methods.choice import as_method
from ..methods.maximise import Maximise
from ..methods.method import Method, Problem, State
from ..methods.refusals import refuse_values
from ..model.free import log_prior
from ..model.impossible import refuse_impossible, refuse_lifted
from ..model.model import Model
from ..model.parameters import as_names, free_parameters
from ..model.pitfalls import refuse_pitfalls
from ..objectives import mixture
from ..objectives.evaluation import batches_of, terms_of, total
from ..objectives.objective import Objective, name_subjects
from ..objectives.weights import refuse_short
from .about import curvature_of_a_bound
from .checkpoint import Checkpoint
from .meeting import meet
from .pace import Pace
from .result import Fit, Step
from .running import run

_KEPT = 4_000_000  # numbers that the models of a history may hold together


def _problem(
    model: Model, population: Population, method: Objective | Method, key: Any, fixed: Iterable[str]
) -> Problem:
    for part in ("", "objective", "likelihood_by"):
        made = getattr(method, part, None) if part else method
        if inspect.isclass(made):
            raise ValueError(f"the method must be made first: write mf.{made.__name__}() with its brackets.")
    for value, kind, example in (
        (model, Model, "a model such as MyModel(ka=1.5, ...)"),
        (population, Population, "a population such as mf.datasets.theophylline()"),
        (method, Objective | Method, "a method such as mf.Laplace()"),
    ):
        if not isinstance(value, kind):
            raise ValueError(f"fit(model, population, method) needs {example}; it got a {type(value).__name__}.")
    mixture.refuse_unmixed(method, model)
    if method.random:
        require_key(key, method.label)
    fixed = as_names(fixed)
    free_parameters(model, fixed)
    refuse_pitfalls(model, population)
    return Problem(model, population, key, fixed)


def iterate(
    model: Model,
    population: Population,
    method: Objective | Method,
    *,
    key: PRNGKeyArray | None = None,
    fixed: Iterable[str] = (),
) -> Iterator[tuple[Model, Step]]:
    """The algorithm of `fit`, a step at a time: yields the model so far and what happened.

    ```python
    for model, step in mf.iterate(model, population, mf.FO()):
        print(step.iteration, step.minus_two_objective)
    ```
    """
    for state in as_method(method, population).states(_problem(model, population, method, key, fixed)):
        yield state.model, _step(state)


def fit(
    model: Model,
    population: Population,
    method: Objective | Method,
    *,
    key: PRNGKeyArray | None = None,
    fixed: Iterable[str] = (),
    progress: bool = True,
    devices: int | str | None = None,
    checkpoint: str | os.PathLike | None = None,
) -> Fit:
    """Estimate the parameters of `model` from `population` by `method`.

        fit = mf.fit(model, population, mf.FOCE())
        print(fit)                                     # estimates, units, standard errors, shrinkage

    **Arguments:**

    - `model`: the model at its starting values. Fit again from `fit.model` to chain methods.
    - `population`: the data.
    - `method`: `NaivePooled()`, `TwoStage()`, `JointMLE()`, `JointMAP()`, `FO()`, `FOCE()`, `Laplace()`, `AGQ()`,
      `Variational()`, `MonteCarlo()`, `ImportanceSampling()` or `SAEM()`; for models with a network, `Adam()` on one of
      these, `Amortised(encoder)`, or `Augmented(encoder)`, which draws what is missing. Where a parameter declares a
      prior, its log density is added and the estimate is a maximum a posteriori. `NUTS()` draws from the posterior.
      `EM()` is for mixtures of experts.
    - `key`: a `jax.random.key`, for the methods that draw at random.
    - `fixed`: names of parameters to hold at their starting values.
    - `progress`: show a line with the current -2 log-likelihood and, where it is known, the time left.
    - `devices`: among how many cores, or accelerators, subjects are shared out: as many as pay, unless given; "all"
      for those of all processes that `mf.connect` has joined, which must all make this call with the same data. The
      result does not depend on it.
    - `checkpoint`: a folder in which the state of the fit is kept, written anew every minute. After a crash the same
      call goes on from there and ends at the same numbers; it is emptied when the fit is over. Only a folder that you
      trust: what is read there can run code.

    **Returns:** a `Fit`. Interrupting (Ctrl-C, or the stop button) returns the best so far, marked as interrupted; so
    does an error after the first iteration, marked as failed, and `fit.message` says which.

    **Raises:** ValueError, in one sentence, where the model, the data or the method cannot be used together.
    """
    problem = _problem(model, population, method, key, fixed)
    refuse_lifted(model, population)
    history = _History(problem.space.size)
    running = as_method(method, population)
    together = devices == ALL and are_several()
    if together:
        meet(problem, running)
    kept = Checkpoint(checkpoint, problem, running, together) if checkpoint is not None else None
    pace = Pace()
    shown = progress and (is_first() or not together)
    with Bar(f"{running.label}: compiling, once", total=running.iterations, shown=shown) as bar:

        def look(state: State) -> None:
            history.append(state)
            if state.iteration > 0:
                _show(bar, running, state, pace)
            if kept:
                kept.look(state, history)

        def onward(first: State) -> State:
            nonlocal history
            if not kept:
                return first
            state, history = kept.begin(first, history)
            history.forget(state)  # it is looked at again
            return state

        with using(devices):
            state, outcome = run(running, problem, look, onward, alone=not together)
    if kept and state.done:
        kept.forget()
    facts = vars(outcome) | {"method": outcome.method or method}
    return Fit(
        population=population,
        key=key,
        fixed=problem.fixed,
        history=tuple(history.steps),
        evaluations=state.info.evaluations,
        **facts,
    )


class _History:
    """The steps of a fit; where their models would fill the memory, every second one is dropped, again and again."""

    def __init__(self, size: int):
        self._most = max(10, _KEPT // max(1, size))
        self._stride = 1
        self.steps: list[Step] = []

    def forget(self, state: State) -> None:
        """Take away its step, if it is the last."""
        if self.steps and self.steps[-1].iteration == state.iteration:
            self.steps.pop()

    def append(self, state: State) -> None:
        if len(self.steps) >= 2 and self.steps[-1].iteration % self._stride:
            self.steps.pop()  # it was the last, and is not one to be kept
        self.steps.append(_step(state))
        if len(self.steps) > self._most:
            self._stride *= 2
            self.steps = [step for step in self.steps if step.iteration % self._stride == 0]


def _show(bar: Bar, method: Method, state: State, pace: Pace) -> None:
    name = "-2LL" if isinstance(method, Maximise) else "-2 x objective"
    info = state.info
    left = pace.left(state.iteration, info.measure, info.goal)
    reached = f"{name} = {-2.0 * info.objective:.4f}{info.note}{left and ', ' + left}"
    bar.say(method.label, state.message or reached)
    bar.move_to(state.iteration)


def _step(state: State) -> Step:
    return Step(
        iteration=state.iteration,
        minus_two_objective=-2.0 * state.info.objective,
        measure=state.info.measure,
        measure_name=state.info.measure_name,
        model=state.model,
    )


def _objective(method: Objective | Method) -> Objective:
    if not isinstance(method, Objective):
        raise ValueError(f"{method.label} has no log-likelihood to evaluate: use Laplace, AGQ or ImportanceSampling.")
    return method


def log_likelihood(
    model: Model,
    population: Population,
    method: Objective | Method,
    *,
    key: PRNGKeyArray | None = None,
    by_subject: bool = False,
) -> float | Float[np.ndarray, " N"]:
    """The (approximate) log-likelihood of the model at its present parameters: one ruler for all models and fits.

        mf.log_likelihood(model, population, mf.AGQ(nodes=5))

    Every constant is included and no prior is added. `by_subject` returns one value for each subject instead of the
    sum. Raises ValueError for a method that has no objective to evaluate, such as `TwoStage`; and, naming subject and
    row, for a response that the model's density cannot give, or a subject whose density importance sampling has hardly
    met: fewer than 10 draws count (or a tenth of them), and the log of their mean falls short; one with more peaks than
    a grid or the draws cover; or one whose posterior slips through a grid.
    """
    problem = _problem(model, population, method, key, ())
    refuse_lifted(model, population)
    objective = _objective(method).reported
    terms = terms_of(objective, problem.model, population, key)
    values = np.asarray(terms.value)
    lost = ~np.isfinite(values) & ~np.asarray(terms.converged)
    if np.any(lost):
        raise ValueError(
            f"the log-likelihood by {objective.label} was not found for {name_subjects(population, lost)}, where its "
            "search did not end: the density may have several peaks, or kinks; let it begin at more points, by "
            "newton=mf.Newton(looks=128), or take MonteCarlo, which searches for nothing."
        )
    for i in np.flatnonzero(values == -np.inf):  # of a response that no parameter makes possible
        refuse_impossible(problem.model, population[int(i)], population.ids[i])
    refuse_values(problem.model, population, np.where(values == -np.inf, 0.0, values))
    refuse_short(objective, problem.model, population, terms)
    return values if by_subject else float(np.sum(values))


def log_density(
    model: Model,
    population: Population,
    method: Objective | Method,
    *,
    key: PRNGKeyArray | None = None,
    fixed: Iterable[str] = (),
) -> Float[Array, ""]:
    """log p(y | theta) by this method, plus the log prior where there is one: what `fit` maximises, to derive through.

    It may stand inside any other program of JAX: a sampler, an optimiser, `jax.grad` over the model's fields. Its first
    derivatives are exact. Methods that search each subject's mode have no second derivatives to offer (the mode's own
    derivative is had by one step of Newton with its matrix held constant), so asking for one raises ValueError.

    **Raises:** ValueError for a method that has no objective, and for a second derivative that would be wrong.

        import equinox as eqx

        value, slopes = eqx.filter_value_and_grad(mf.log_density)(model, population, mf.FO())
        slopes.cl
    """
    problem = _problem(model, population, method, key, fixed)
    objective = _objective(method)
    mixture.check(objective, model, population)
    with using(1), jax.ensure_compile_time_eval():  # the data are known, whatever else is being traced
        batches = batches_of(objective, model, population, key)

    def density(model: Model) -> Array:
        return total(objective, model, batches) + log_prior(model, problem.fixed)

    if objective.derived_twice or not objective.finds_modes:
        return density(model)
    return first_derivatives_only(density, _why_not_twice(objective))(model)


def _why_not_twice(objective: Objective) -> str:
    if objective.reported is not objective:
        return curvature_of_a_bound(objective)
    return (
        f"a second derivative of {objective.label}'s log density is not to be had by automatic derivatives, which "
        "would give a wrong number: take differences of the first derivative, or use mf.observed_information(fit)."
    )
