"""Expectation maximisation of a mixture of experts, from one start or several."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ..base.bfgs import Point
from ..base.chance import numpy_generator
from ..model.mixture import MixtureOfExperts
from ..model.model import Model
from ..objectives import mixture
from ..objectives.evaluation import Batches, batches_of, evaluate, mean_loss, modes_of
from ..objectives.laplace import Laplace
from ..objectives.objective import Objective
from .limits import Limits
from .maximise import Maximise, first_point, outcome_of
from .method import Ending, Info, Method, Outcome, Problem, State
from .refusals import refuse_start

_STEPS = 10  # of BFGS in an M-step, at most
_SURE = 0.9  # responsibility of the class that a drawn start puts a subject into
_NEAR = 0.01  # log-likelihood: so close to its end, EM hands over to quasi-Newton steps
_LITTLE = 1e-3  # log-likelihood: where an iteration gains no more, quasi-Newton steps are faster
_CLIMB = 1e-9  # of the log-likelihood's size: less than this is rounding


class Climb(NamedTuple):
    """One start of EM, as far as it came."""

    x: np.ndarray
    objective: float  # log-likelihood plus log prior at x
    responsibilities: Float[np.ndarray, "N C"]  # at x
    gains: tuple[float, ...]  # of the objective, by iteration
    point: Point | None  # of the last M-step, with what it learned of the curvature
    evaluations: int

    @property
    def left(self) -> float:
        """What is still to be climbed, were the gains a geometric series (Aitken)."""
        if len(self.gains) < 2 or self.gains[-2] <= 0.0:
            return np.inf
        rate = self.gains[-1] / self.gains[-2]
        return self.gains[-1] * rate / (1.0 - rate) if rate < 1.0 else np.inf


class Memory(NamedTuple):
    """What EM keeps between iterations."""

    objective: Objective
    batches: Batches
    limits: Limits
    problem: Problem  # the classes in the order of the end, once that is known
    climb: Climb
    ended: tuple[Climb, ...] = ()  # the starts that have ended
    polishing: State | None = None  # of the quasi-Newton steps at the end


class EM(Method):
    """Expectation maximisation of a mixture: responsibilities, then a weighted maximisation, again and again.

        E: r_ik = pi_k(w_i) L_ik / sum_l pi_l(w_i) L_il
        M: theta = argmax sum_i sum_k r_ik [log pi_k(w_i) + log L_ik] + log p(theta)

    L_ik is by `objective`: the marginal likelihood of subject i under expert k. The M-step is a few steps of BFGS. They
    climb and need not arrive, so the likelihood never falls. Where what is left to climb, by Aitken's extrapolation, is
    below 0.01, or an iteration gains less than 0.001, steps of BFGS on the likelihood itself go on to the maximum,
    because EM is slow there; with `polish=False` EM goes on alone until less than `tolerance` is left.

    With several `starts` the first is the model's own. Each other puts every subject into a class with a probability of
    0.9: that of the nearest of as many subjects, drawn at random, by the random effects that the first expert gives
    them. The best is kept, and a remark tells where the others ended. Then classes of one kind are put in order:
    by `order`, a function of an expert, the lowest first, such as `lambda expert: expert.beta[1]`; left out, by their
    shares, the largest first. A single start keeps the order of its experts unless `order` is given.

    **Raises:** ValueError for a model that is no mixture, or where the objective cannot serve it.
    Sources: Dempster, Laird and Rubin (1977), J. R. Stat. Soc. B 39; Aitken's rule: Boehning et al. (1994), Ann. Inst.
    Stat. Math. 46.
    """

    objective: Objective = Laplace()
    starts: int = 1
    order: Callable[[Any], Any] | None = None
    polish: bool = True
    tolerance: float = 1e-6
    max_iterations: int = 1000  # of each start
    label: ClassVar[str] = "EM"
    mixes: ClassVar[bool] = True

    @property
    def likelihood(self) -> bool:  # type: ignore[override]
        return self.objective.likelihood

    @property
    def random(self) -> bool:  # type: ignore[override]
        return self.starts > 1 or self.objective.random

    @property
    def likelihood_by(self) -> Objective:
        return self.objective

    def init(self, problem: Problem) -> State:
        if not isinstance(problem.model, MixtureOfExperts):
            raise ValueError(
                f"EM needs a mixture of experts, and {type(problem.model).__name__} is none: use Laplace()."
            )
        if min(self.starts, self.max_iterations) < 1:
            raise ValueError("EM needs one or more starts and iterations.")
        mixture.check(self.objective, problem.model, problem.population)
        batches = batches_of(self.objective, problem.model, problem.population, problem.key)
        space = problem.space
        limits = Limits(space.coordinates, space.vector(), self.objective.scale_limit, len(problem.population))
        climb = self._expected(problem, batches, space.vector(), None)
        return self._state(0, Memory(self.objective, batches, limits, problem, climb))

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        onward = state.iteration + 1
        if memory.polishing is not None:
            further = Maximise(self.objective).step(memory.problem, memory.polishing)
            return self._state(onward, memory._replace(polishing=further))
        climb = memory.climb
        if not self._over(memory):
            climb = self._iterate(memory)
            return self._state(onward, memory._replace(climb=climb))
        ended = (*memory.ended, climb)
        if len(ended) < self.starts:
            return self._state(onward, memory._replace(climb=self._drawn(memory, len(ended)), ended=ended))
        return self._state(onward, self._best(memory._replace(ended=ended)))

    def finish(self, problem: Problem, state: State) -> Outcome:
        memory: Memory = state.memory
        told = _told(memory.ended, memory.limits)
        if memory.polishing is not None:
            outcome = Maximise(self.objective).finish(memory.problem, memory.polishing)
            wider = outcome.method and dataclasses.replace(self, objective=outcome.method)
            return dataclasses.replace(outcome, remarks=(*told, *outcome.remarks), method=wider)
        _, _, prior, terms = evaluate(self.objective, memory.problem.space, memory.climb.x, memory.batches)
        outcome = outcome_of(self.objective, memory.problem, state, terms, float(prior))
        return dataclasses.replace(outcome, remarks=(*told, *outcome.remarks))

    # ---------------------------------------------------------------- one start

    def _expected(self, problem: Problem, batches: Batches, x: np.ndarray, before: Climb | None) -> Climb:
        """The E-step at x."""
        value, _, prior, terms = evaluate(self.objective, problem.space, x, batches)
        if before is None:
            refuse_start(problem, prior, np.asarray(terms.value))
        gains = () if before is None else (*before.gains, float(value) - before.objective)
        return Climb(
            x=x,
            objective=float(value),
            responsibilities=np.asarray(terms.details["responsibilities"]),
            gains=gains,
            point=None if before is None else before.point,
            evaluations=1 + (0 if before is None else before.evaluations),
        )

    def _iterate(self, memory: Memory) -> Climb:
        """An M-step and the E-step after it."""
        moved = self._maximised(memory, memory.climb)
        return self._expected(memory.problem, memory.batches, moved.x, moved)

    def _maximised(self, memory: Memory, climb: Climb) -> Climb:
        """The M-step: up to `_STEPS` of BFGS, which goes on from what the last one learned of the curvature."""
        problem = memory.problem
        space = problem.space
        expected = mixture.Expected.of(self.objective, climb.responsibilities)
        batches = batches_of(expected, problem.model, problem.population, problem.key)
        loss = mean_loss(expected.without_data(), space, batches, len(problem.population))
        optimiser = self.objective.optimiser
        if climb.point is None:
            point = first_point(self.objective, space, climb.x, problem.population, loss)
        else:
            value, gradient = loss(climb.x)
            known = climb.point
            point = dataclasses.replace(known, x=climb.x, value=value, gradient=gradient, done=False, converged=False)
        before = point.evaluations
        for _ in range(_STEPS):
            if point.done:
                break
            point = optimiser.step(loss, point, memory.limits.bounds)
        return climb._replace(x=point.x, point=point, evaluations=climb.evaluations + point.evaluations - before)

    def _over(self, memory: Memory) -> bool:
        """Has this start come to its end, or close enough?"""
        climb = memory.climb
        if len(climb.gains) >= self.max_iterations or memory.limits.reached(climb.x):
            return True
        least = _CLIMB * max(1.0, abs(climb.objective))
        if self.polish:
            least = max(least, _LITTLE)
        enough = _NEAR if self.polish else self.tolerance
        return bool(climb.gains) and (climb.gains[-1] <= least or climb.left < enough)

    # ---------------------------------------------------------------- several starts

    def _drawn(self, memory: Memory, number: int) -> Climb:
        """The first iteration of a start that puts subjects into classes at random."""
        problem = memory.problem
        start = problem.space.vector()
        _, _, _, terms = evaluate(self.objective, problem.space, start, memory.batches)
        rng = numpy_generator(jax.random.fold_in(problem.key, number))
        model: Any = problem.model
        eta, _, _ = modes_of(self.objective, model, problem.population, terms)
        given = _partition(eta[:, model.places[0]], len(model.members), rng)
        first = Climb(start, -np.inf, given, (), None, 0)
        moved = self._maximised(memory, first)
        return self._expected(problem, memory.batches, moved.x, None)._replace(point=None)

    def _best(self, memory: Memory) -> Memory:
        """The best of the starts, its classes in order, and the first of its quasi-Newton steps."""
        sound = [climb for climb in memory.ended if not memory.limits.reached(climb.x)]
        best = max(sound or memory.ended, key=lambda climb: climb.objective)
        if not sound:
            return memory._replace(climb=best)
        problem = memory.problem
        model = self._ordered(problem, problem.space.model_at(best.x), best.responsibilities)
        problem = dataclasses.replace(problem, model=model)
        if not self.polish:
            again = batches_of(self.objective, model, problem.population, problem.key)
            settled = self._expected(problem, again, problem.space.vector(), None)
            return memory._replace(problem=problem, batches=again, climb=settled._replace(gains=best.gains))
        return memory._replace(problem=problem, climb=best, polishing=Maximise(self.objective).init(problem))

    def _ordered(self, problem: Problem, model: MixtureOfExperts, responsibilities: np.ndarray) -> MixtureOfExperts:
        experts = model.experts
        alike = len({(type(expert), jax.tree.structure(expert)) for expert in experts}) == 1
        if not alike or problem.fixed or (self.starts == 1 and self.order is None):
            return model
        ranks = -responsibilities.mean(axis=0)
        if self.order is not None:
            ranks = np.array([float(self.order(expert)) for expert in experts])
        return model.reordered(np.argsort(ranks, kind="stable").tolist())

    # ---------------------------------------------------------------- what is told

    def _state(self, iteration: int, memory: Memory) -> State:
        if memory.polishing is not None:
            own = memory.polishing.info
            before = sum(climb.evaluations for climb in memory.ended)
            info = dataclasses.replace(own, evaluations=own.evaluations + before)
            return dataclasses.replace(memory.polishing, iteration=iteration, info=info, memory=memory)
        climb = memory.climb
        ending, message = self._ending(memory)
        info = Info(
            objective=climb.objective,
            measure=climb.left,
            measure_name="log-likelihood that is left to climb, extrapolated",
            evaluations=climb.evaluations + sum(other.evaluations for other in memory.ended),
            note=f", start {len(memory.ended) + 1} of {self.starts}" if self.starts > 1 else "",
        )
        model: Model = memory.problem.space.model_at(climb.x)
        return State(iteration=iteration, model=model, info=info, memory=memory, ending=ending, message=message)

    def _ending(self, memory: Memory) -> tuple[Ending | None, str]:
        """How EM ended that goes on to no quasi-Newton steps."""
        if len(memory.ended) < self.starts:
            return None, ""
        climb = memory.climb
        runaway = memory.limits.reached(climb.x)
        if runaway:
            labels = " and ".join(memory.limits.coordinates[i].label for i in runaway)
            return Ending.UNBOUNDED, (
                f"a class collapsed: {labels} ran to the limit of its scale, where the likelihood of a mixture has no "
                "maximum; start elsewhere, take fewer classes, or give it a prior"
            )
        if climb.left > self.tolerance and climb.gains and climb.gains[-1] > _CLIMB * max(1.0, abs(climb.objective)):
            return Ending.FAILED, f"stopped after {len(climb.gains)} iterations, still climbing"
        return Ending.CONVERGED, "converged"


def _partition(effects: np.ndarray, classes: int, rng: np.random.Generator) -> Float[np.ndarray, "N C"]:
    """Responsibilities of a start: of each subject most for the class whose centre, a subject drawn, is nearest.

    Distances are in SDs over subjects. Without random effects the class is drawn.
    """
    count = len(effects)
    nearest = rng.integers(classes, size=count)
    if effects.shape[1]:
        sd = effects.std(axis=0)
        scaled = effects / np.where(sd > 0.0, sd, 1.0)
        centres = scaled[rng.choice(count, size=classes, replace=count < classes)]
        nearest = np.argmin(np.sum((scaled[:, None] - centres) ** 2, axis=2), axis=1)
    others = (1.0 - _SURE) / max(1, classes - 1)
    return np.where(np.arange(classes) == nearest[:, None], _SURE if classes > 1 else 1.0, others)


def _told(ended: tuple[Climb, ...], limits: Limits) -> tuple[str, ...]:
    """Where several starts came to."""
    if len(ended) < 2:
        return ()
    values = []
    for climb in ended:
        collapsed = " (a class collapsed)" if limits.reached(climb.x) else ""
        values.append(f"{climb.objective:.2f}{collapsed}")
    return (f"{len(ended)} starts of EM came to the log-likelihoods {', '.join(values)}; the best was kept.",)
