"""Separate fits of each subject, then a summary of them."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from ..base.bfgs import BFGS
from ..base.newton import Newton
from ..model.densities import eta_size
from ..model.model import Model
from ..model.space import coordinates
from ..objectives.joint import CompleteData, JointMLE, undetermined
from .method import Method, Outcome, Problem, State


class TwoStage(Method):
    """Separate fits, then a summary of them: the standard two-stage method.

    Stage 1 fits every subject alone, eta_i = argmax log p(y_i | theta, eta), the residual error being shared.
    Stage 2 treats the eta_i, centred to mean zero, as data: theta = argmax sum_i log p(y_i, eta_i | theta), which puts
    the covariance of the random effects at that of the separate estimates. The two are repeated until the eta_i have
    mean zero. The covariance is too large: it holds the estimation error of each separate fit too.
    `log_likelihood` is the conditional one, sum_i log p(y_i | theta, eta_i).
    Source: Steimer et al. (1984), Drug Metab. Rev. 15.
    """

    tolerance: float = 1e-4
    max_iterations: int = 50
    optimiser: BFGS = BFGS()
    newton: Newton = Newton()
    label: ClassVar[str] = "Two-stage (separate fits)"
    likelihood: ClassVar[bool] = False

    def init(self, problem: Problem) -> State:
        if eta_size(problem.model) == 0:
            raise ValueError("separate fits need random effects, and this model has none: use NaivePooled.")
        return self._state(problem, 0, problem.model, 0, np.inf)

    def step(self, problem: Problem, state: State) -> State:
        eta = np.asarray(state.memory.eta)
        method = CompleteData(eta=jnp.asarray(eta - eta.mean(0)), optimiser=self.optimiser, newton=self.newton)
        *_, inner = method.states(dataclasses.replace(problem, model=state.model))
        distance = float(np.max(np.abs(eta.mean(0)) / (eta.std(0) + 1e-12)))
        return self._state(problem, state.iteration + 1, inner.model, state.evaluations + inner.evaluations, distance)

    def finish(self, problem: Problem, state: State) -> Outcome:
        stage, status = JointMLE(newton=self.newton), ("",) * len(coordinates(problem.model, problem.fixed))
        modes, ended = stage.modes(state.model, problem.population, state.memory), (state.converged, state.message)
        return Outcome(state.model, state.objective, 0.0, *modes, *ended, status, undetermined(problem, state.memory))

    def _state(self, problem: Problem, iteration: int, model: Model, evaluations: int, distance: float) -> State:
        memory = JointMLE(newton=self.newton).terms(model, problem.population)
        converged, objective = distance < self.tolerance, float(np.sum(memory.value))
        done = converged or iteration >= self.max_iterations
        message = "converged" if converged else f"the mean of the random effects is still {distance:.1g} SDs from zero"
        ended = done, converged, message if done else ""
        return State(iteration, model, objective, distance, evaluations, *ended, memory)
