"""The loop that maximises an objective over theta, an iteration of its optimiser at a time."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from ..base.bfgs import STUCK, Point
from ..base.scales import ValueAndGradient
from ..data.population import Population
from ..model.parameters import free_parameters
from ..model.space import Space
from ..objectives import mixture
from ..objectives.evaluation import (
    Batches,
    batches_of,
    evaluate,
    mean_loss,
    modes_of,
)
from ..objectives.natural_scale import natural_scale
from ..objectives.objective import (
    AT_BOUNDARY,
    NOT_ESTIMATED,
    NOT_IDENTIFIED,
    Maximum,
    Objective,
    Term,
    name_subjects,
)
from ..objectives.peaks import find_peaks, may_have_missed, searched_thoroughly
from ..objectives.turns import with_turns
from ..objectives.weights import falls_short
from .classes import empty_classes, same_classes
from .limits import Limits
from .method import Ending, Info, Method, Outcome, Problem, State
from .refusals import refuse_derivative

_SMALLER = 1e3  # a factor: a scale so much smaller is 0 to the data, if they do not see it
_SAME = 0.01  # log-likelihood: no more than this is no difference


class Memory(NamedTuple):
    """What maximising keeps between iterations."""

    objective: Objective  # as it was given, or with a wider search for modes
    point: Point
    batches: Batches
    limits: Limits
    several: np.ndarray | None = None  # the subjects with more than one peak, once it was looked for them


class Maximise(Method):
    """Maximise an objective: sum_i l_i(theta) + log p(theta). `fit` makes one of every objective that it is given.

    The objective's optimiser works on the mean over subjects. `scale_limit` bounds every positive quantity to that
    factor below and above its starting value; `Limits` says what it means where one gets there.
    """

    objective: Objective

    @property
    def label(self) -> str:  # type: ignore[override]
        return self.objective.label

    @property
    def likelihood(self) -> bool:  # type: ignore[override]
        return self.objective.likelihood

    @property
    def mixes(self) -> bool:  # type: ignore[override]
        return self.objective.mixes

    @property
    def random(self) -> bool:  # type: ignore[override]
        return self.objective.random

    @property
    def likelihood_by(self) -> Objective | None:
        return self.objective if self.objective.likelihood else None

    def init(self, problem: Problem) -> State:
        mixture.check(self.objective, problem.model, problem.population)
        space = problem.space
        count = len(problem.population)
        batches = batches_of(self.objective, problem.model, problem.population, problem.key)
        x = space.vector()
        loss = mean_loss(self.objective, space, batches, count)
        point = first_point(self.objective, space, x, problem.population, loss)
        if not np.isfinite(point.value):
            refuse_derivative(problem, self.objective, batches, x)
        limits = Limits(
            coordinates=space.coordinates,
            start=x,
            factor=self.objective.scale_limit,
            subjects=count,
        )
        return self._state(problem, 0, Memory(self.objective, point, batches, limits))

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        objective = memory.objective
        optimiser = objective.optimiser
        limits = memory.limits
        loss = mean_loss(objective, problem.space, memory.batches, len(problem.population))
        point = limits.first_beyond(memory.point, optimiser.step(loss, memory.point, limits.bounds), loss)
        at_maximum = point.converged and objective.likelihood
        near = point.done and not at_maximum  # then it may have broken down, or levelled off, on the way to a limit
        if limits.reached(point.x, near):
            point, limits = limits.stop(optimiser, point, loss, near)
        elif at_maximum:
            point, limits = limits.look_at_zero(optimiser, point, loss)
        if not point.done and state.iteration + 1 >= optimiser.max_iterations:
            steepest = problem.space.labels[int(np.argmax(np.abs(point.gradient * point.scale)))]
            message = (
                f"stopped after {optimiser.max_iterations} iterations, with the objective still climbing in "
                f"{steepest}: start closer, fix a parameter, or allow more iterations"
            )
            point = dataclasses.replace(point, done=True, message=message)
        memory = memory._replace(point=point, limits=limits)
        # a search for modes that ends now on one peak and now on another breaks the objective, and stops its maximiser
        stuck = point.message == STUCK and np.isfinite(point.value) and not limits.unbounded
        if point.done and (point.converged or stuck) and memory.several is None:
            memory = _look_for_peaks(problem, memory)
        return self._state(problem, state.iteration + 1, memory)

    def finish(self, problem: Problem, state: State) -> Outcome:
        memory: Memory = state.memory
        x = memory.point.x
        objective = memory.objective
        gradient, prior, terms = at_the_end(objective, problem.space, x, memory.batches)
        unused = unused_coordinates(objective, problem, memory.batches, x, np.asarray(gradient))
        boundary = memory.limits.boundary | _vanished(problem, memory)
        status = []
        for i in range(x.size):
            word = NOT_ESTIMATED if unused[i] else ""
            status.append(AT_BOUNDARY if i in boundary else word)
        maximum = Maximum(
            space=problem.space,
            x=x,
            value=state.info.objective,
            population=problem.population,
            key=problem.key,
            terms=terms,
            status=tuple(status),
            converged=bool(state.ending and state.ending.converged),
        )
        verdict = objective.judge(maximum)
        ended = outcome_of(objective, problem, state, terms, float(prior))
        remarks = (*boundary.values(), *ended.remarks, *verdict.remarks, *_of_peaks(problem, memory))
        ended = dataclasses.replace(ended, status=verdict.status, remarks=remarks)
        if objective is not self.objective:
            ended = dataclasses.replace(ended, method=objective)
        if verdict.unbounded:
            return dataclasses.replace(ended, ending=Ending.UNBOUNDED, message=verdict.unbounded)
        if verdict.degenerate:
            return dataclasses.replace(ended, ending=Ending.DEGENERATE, message=verdict.degenerate)
        if ended.ending is Ending.CONVERGED and AT_BOUNDARY in verdict.status:
            ended = dataclasses.replace(ended, ending=Ending.BOUNDARY)
        if NOT_IDENTIFIED in verdict.status and ended.converged:
            return dataclasses.replace(ended, ending=Ending.NOT_IDENTIFIED)
        return ended

    def _state(self, problem: Problem, iteration: int, memory: Memory) -> State:
        point = memory.point
        count = len(problem.population)
        info = Info(
            objective=-point.value * count,
            measure=point.decrement * np.sqrt(count),
            measure_name="distance to the maximum, in standard errors",
            evaluations=point.evaluations,
            goal=memory.objective.optimiser.tolerance * np.sqrt(count),
        )
        return State(
            iteration=iteration,
            model=problem.space.model_at(point.x),
            info=info,
            memory=memory,
            ending=_ending(memory),
            message=point.message,
        )


def first_point(
    objective: Objective, space: Space, x: np.ndarray, population: Population, loss: ValueAndGradient
) -> Point:
    """The first point of a search from x, its scales measured."""
    sizes = space.sizes
    point = objective.optimiser.init(loss, x, sizes)
    if np.any(point.flat & np.isinf(sizes.most)):  # a number with a unit, far from the size it begins with
        sizes = sizes._replace(guess=natural_scale(space, population))
        point = objective.optimiser.init(loss, x, sizes)
    return point


def _look_for_peaks(problem: Problem, memory: Memory) -> Memory:
    """Remember which subjects have several peaks; where that matters to the objective, go on with a thorough search."""
    objective = memory.objective
    space = problem.space
    batches = memory.batches
    x = memory.point.x
    if not may_have_missed(objective, problem.model):
        return memory

    def run(aside: np.ndarray) -> Term:
        return evaluate(objective, space, x, batches._replace(aside=aside))[3]

    peaks = find_peaks(run, evaluate(objective, space, x, batches)[3])
    memory = memory._replace(several=peaks.several)
    if not np.any(peaks.several if objective.covers_peaks else peaks.better):
        return memory
    wider = searched_thoroughly(objective)
    loss = mean_loss(wider, space, batches, len(problem.population))
    begun = wider.optimiser.init(loss, x, memory.point.sizes)
    if not np.isfinite(begun.value):
        return memory
    begun = dataclasses.replace(begun, evaluations=begun.evaluations + memory.point.evaluations)
    return memory._replace(objective=wider, point=begun)


def _vanished(problem: Problem, memory: Memory) -> dict[int, str]:
    """The scales that only their prior keeps from 0, the likelihood being the same there; a sentence for each.

    Such are the SDs of random effects that the data do not show, under a prior that has a peak close to 0.
    """
    objective = memory.objective
    point = memory.point
    if not (point.converged and objective.likelihood):
        return {}
    declared = free_parameters(problem.model, problem.fixed)
    scales = [
        (i, c)
        for i, c in enumerate(problem.space.coordinates)
        if c.log_scale and declared[c.parameter].prior is not None and i not in memory.limits.boundary
    ]
    gone = {}
    for i, coordinate in scales:
        x = point.x.copy()
        likelihood = []
        for _ in range(2):
            value, _, prior, _ = evaluate(objective, problem.space, x, memory.batches)
            likelihood.append(float(value) - float(prior))
            x[i] -= math.log(_SMALLER)
        if abs(likelihood[1] - likelihood[0]) < _SAME:
            gone[i] = (
                f"{coordinate.told} is at its boundary, 0, for all that the data tell: the likelihood is the same "
                "there, and the value is where its prior is highest."
            )
    return gone


def _of_peaks(problem: Problem, memory: Memory) -> tuple[str, ...]:
    """A sentence on the subjects with more than one peak, if there are any."""
    several = memory.several
    if several is None or not np.any(several):
        return ()
    who = name_subjects(problem.population, several)
    if memory.objective.covers_peaks and memory.objective.newton.thorough:
        return (
            f"more than one peak of the joint density was found for {np.sum(several)} of {several.size} subjects "
            f"({who}), and {memory.objective.label} covers them.",
        )
    return (
        f"more than one peak of the joint density was found for {np.sum(several)} of {several.size} subjects ({who}), "
        f"and {memory.objective.label} takes one of them: compare the log-likelihood by ImportanceSampling.",
    )


def _ending(memory: Memory) -> Ending | None:
    if not memory.point.done:
        return None
    if memory.point.converged:
        return Ending.BOUNDARY if memory.limits.boundary else Ending.CONVERGED
    return Ending.UNBOUNDED if memory.limits.unbounded else Ending.FAILED


def unused_coordinates(
    objective: Objective,
    problem: Problem,
    batches: Batches,
    x: Float[np.ndarray, " P"],
    gradient: Float[np.ndarray, " P"] | None = None,
) -> np.ndarray:
    """The coordinates that the objective does not use: those along which its gradient is exactly zero everywhere.

    It is looked at x, where the `gradient` may be known, at the start and in between, a little to the side: a gradient
    may vanish at one point by symmetry, or at the maximum itself.
    """
    if gradient is None:
        gradient = np.asarray(evaluate(objective, problem.space, x, batches)[1])
    unused = gradient == 0.0
    if not np.any(unused):
        return unused
    start = problem.space.vector()
    sizes = problem.space.sizes
    aside = np.where(sizes.guess > 0.0, sizes.guess, 1.0) * 1e-3 * np.cos(np.arange(x.size))
    for place in (start, x + aside):
        unused &= np.asarray(evaluate(objective, problem.space, place, batches)[1]) == 0.0
        if not np.any(unused):
            break
    return unused


def at_the_end(objective: Objective, space: Space, x: np.ndarray, batches: Batches) -> tuple[Array, Array, Term]:
    """The gradient, the log prior and the terms where a fit ended, with what turning a grid changes of them."""
    _, gradient, prior, terms = evaluate(objective, space, x, batches)
    return gradient, prior, with_turns(objective, terms, batches, lambda other: evaluate(objective, space, x, other)[3])


def outcome_of(objective: Objective, problem: Problem, state: State, terms: Term, prior: float) -> Outcome:
    """What is reported of a state's model, given the terms of every subject and the log prior there."""
    terms = jax.tree.map(np.asarray, terms)
    eta, covariance, searched = modes_of(objective, state.model, problem.population, terms)
    sizes: Any = terms.details.get("effective_sample_size")
    classes: Any = terms.details.get("responsibilities")
    likelihoods: Any = terms.details.get("log_likelihoods")
    remarks: tuple[str, ...] = ()
    if not np.all(searched):
        lost = name_subjects(problem.population, ~searched)
        remarks += (f"the search for the random effects did not end for {lost}.",)
    short = falls_short(objective, state.model, problem.population, terms.details)
    remarks += (short,) if short else ()
    remarks += empty_classes(classes) + same_classes(likelihoods)
    return Outcome(
        model=state.model,
        log_likelihood=float(np.sum(terms.value)),
        log_prior=prior,
        eta=eta,
        eta_covariance=covariance,
        ending=state.ending or Ending.INTERRUPTED,
        message=state.message,
        status=("",) * len(problem.space.coordinates),
        remarks=remarks,
        effective_sample_size=sizes,
        responsibilities=classes,
    )
