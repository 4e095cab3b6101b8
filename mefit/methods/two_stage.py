"""Separate fits of each subject, then a summary of them."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from ..base.bfgs import BFGS
from ..base.newton import Newton
from ..model.densities import eta_size
from ..model.model import Model
from ..objectives.evaluation import terms_of
from ..objectives.joint import CompleteData, JointMLE, undetermined
from .maximise import Maximise, outcome_of
from .method import Ending, Info, Method, Outcome, Problem, State


class TwoStage(Method):
    """Separate fits, then a summary of them: the standard two-stage method.

    Stage 1 fits every subject alone, eta_i = argmax log p(y_i | theta, eta), the residual error being shared.
    Stage 2 treats the eta_i, centred to mean zero, as data: theta = argmax sum_i log p(y_i, eta_i | theta), which puts
    the covariance of the random effects at that of the separate estimates. The two are repeated until the eta_i have
    mean zero. The covariance is too large: it holds the estimation error of each separate fit too.
    `log_likelihood` is the conditional one, sum_i log p(y_i | theta, eta_i).
    Source: Steimer et al. (1984), Drug Metab. Rev. 15.

        fit = mf.fit(model, population, mf.TwoStage())
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
        if len(problem.population) == 1:
            raise ValueError(
                "two stages need two subjects or more, since the second is of how their separate fits differ: "
                "with one subject use NaivePooled."
            )
        return self._state(problem, 0, problem.model, 0, np.inf)

    def step(self, problem: Problem, state: State) -> State:
        eta = np.asarray(state.memory.eta)
        centre = eta.mean(0)
        spread = eta.std(0)
        second = CompleteData(eta=jnp.asarray(eta - centre), optimiser=self.optimiser, newton=self.newton)
        *_, inner = Maximise(second).states(dataclasses.replace(problem, model=state.model))
        distance = float(np.max(np.abs(centre) / np.where(spread > 0.0, spread, 1.0)))
        evaluations = state.info.evaluations + inner.info.evaluations
        return self._state(problem, state.iteration + 1, inner.model, evaluations, distance)

    def finish(self, problem: Problem, state: State) -> Outcome:
        first = JointMLE(newton=self.newton)
        outcome = outcome_of(first, problem, state, state.memory, 0.0)
        remarks = undetermined(state.model, problem.population, state.memory)
        return dataclasses.replace(outcome, remarks=remarks)

    def _state(self, problem: Problem, iteration: int, model: Model, evaluations: int, distance: float) -> State:
        terms = terms_of(JointMLE(newton=self.newton), model, problem.population)
        ending = None
        message = ""
        if distance < self.tolerance:
            ending = Ending.CONVERGED
            message = "converged"
        elif iteration >= self.max_iterations:
            ending = Ending.FAILED
            message = f"the mean of the random effects is still {distance:.1g} SDs from zero"
        info = Info(
            objective=float(np.sum(terms.value)),
            measure=distance,
            measure_name="mean of the random effects, in SDs",
            evaluations=evaluations,
        )
        return State(iteration=iteration, model=model, info=info, memory=terms, ending=ending, message=message)
