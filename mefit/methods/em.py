"""Expectation maximisation of a mixture of experts, from one start or several side by side."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from ..base.chance import numpy_generator
from ..model.mixture import MixtureOfExperts
from ..model.model import Model
from ..objectives import mixture
from ..objectives.evaluation import Batches, batches_of, evaluate, modes_of
from ..objectives.laplace import Laplace
from ..objectives.objective import Objective, Term
from ..objectives.side_by_side import Seen, pool_of
from .alike import begin_alike, split
from .climbs import Climbs, Ground, advance, begin, effects_of_first, parted, partition, runaways
from .limits import Limits
from .maximise import Maximise, at_the_end, outcome_of
from .method import Ending, Info, Method, Outcome, Problem, State
from .refusals import refuse_start

_NEAR = 0.01  # log-likelihood: so close to its end, EM hands over to quasi-Newton steps
_LITTLE = 1e-3  # log-likelihood: where an iteration gains no more, quasi-Newton steps are faster


class Memory(NamedTuple):
    """What EM keeps between iterations."""

    ground: Ground
    batches: Batches
    limits: Limits
    problem: Problem  # the classes in the order of the end, once that is known
    climbs: Climbs  # of all starts
    is_split: bool  # the first start, its experts being alike
    best: int | None = None  # the start that was kept, once all have ended
    polishing: State | None = None  # of the quasi-Newton steps at the end


class EM(Method):
    """Expectation maximisation of a mixture: responsibilities, then a weighted maximisation, again and again.

        E: r_ik = pi_k(w_i) L_ik / sum_l pi_l(w_i) L_il
        M: theta = argmax sum_i sum_k r_ik [log pi_k(w_i) + log L_ik] + log p(theta)

    L_ik is by `objective`: the marginal likelihood of subject i under expert k. The M-step is one step of Newton's
    method, its Hessian by cross-products of the scores of the classes, damped where the likelihood would fall: it never
    does, and near the maximum the rate is that of EM. Where what is left to climb, by Aitken's extrapolation, is below
    0.01, or an iteration gains less than 0.001, steps of BFGS on the likelihood itself go on to the maximum, because EM
    is slow there; with `polish=False` EM goes on alone until less than `tolerance` is left.

    Several `starts` climb side by side, in one program. The first is the model's own. Where its experts are all the
    same, nothing tells the classes apart and no step would: there the first start splits the subjects, without chance,
    by the random effects that the first expert gives them, and a remark says so. Each other start puts every subject
    into a class with a probability of 0.9: that of the nearest of as many subjects, drawn at random, by the same random
    effects. The best is kept, and a remark tells where the others ended, and of which
    a class collapsed: a scale that ran to its limit. Then classes of one kind are put in order:
    by `order`, a function of an expert, the lowest first, such as `lambda expert: expert.beta[1]`; left out, by their
    shares, the largest first. A single start keeps the order of its experts unless `order` is given.

    **Raises:** ValueError for a model that is no mixture, or where the objective cannot serve it.
    Sources: Dempster, Laird and Rubin (1977), J. R. Stat. Soc. B 39; one step of Newton: Lange (1995), J. R. Stat. Soc.
    B 57; Aitken's rule: Boehning et al. (1994), Ann. Inst. Stat. Math. 46.

        fit = mf.fit(mixture, population, mf.EM(starts=2), key=key)
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
        space = problem.space
        x = space.vector()
        batches = batches_of(self.objective, problem.model, problem.population, problem.key)
        _, _, prior, terms = evaluate(self.objective, space, x, batches)
        refuse_start(problem, prior, np.asarray(terms.value))
        pool = pool_of(self.objective, problem.model, [problem.population], problem.key)
        ground = Ground(self.objective, space, pool, room=self.starts)
        limits = Limits(space.coordinates, x, self.objective.scale_limit, len(problem.population))
        begun, is_split = self._starts(problem, ground, x, terms)
        climbs = begin(_looks(ground), begun)
        return self._state(0, Memory(ground, batches, limits, problem, climbs, is_split))

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        onward = state.iteration + 1
        if memory.polishing is not None:
            further = Maximise(self.objective).step(memory.problem, memory.polishing)
            return self._state(onward, memory._replace(polishing=further))
        going = np.flatnonzero(~self._over(memory))
        if not going.size:
            return self._state(onward, self._kept(memory))
        ground = memory.ground
        climbs = advance(_looks(ground), memory.climbs, going, ground.free)
        return self._state(onward, memory._replace(climbs=climbs))

    def finish(self, problem: Problem, state: State) -> Outcome:
        memory: Memory = state.memory
        told = _told(memory)
        if memory.polishing is not None:
            outcome = Maximise(self.objective).finish(memory.problem, memory.polishing)
            wider = outcome.method and dataclasses.replace(self, objective=outcome.method)
            return dataclasses.replace(outcome, remarks=(*told, *outcome.remarks), method=wider)
        space = memory.problem.space
        _, prior, terms = at_the_end(self.objective, space, space.vector(), memory.batches)
        outcome = outcome_of(self.objective, memory.problem, state, terms, float(prior))
        return dataclasses.replace(outcome, remarks=(*told, *outcome.remarks))

    # ---------------------------------------------------------------- the starts

    def _starts(self, problem: Problem, ground: Ground, x: np.ndarray, terms: Term) -> tuple[np.ndarray, bool]:
        """The model's own start, split where its experts are alike, and those that put subjects into classes at
        random; and whether the first was split."""
        model: Any = problem.model
        classes = len(model.members)
        alike = begin_alike(model, np.asarray(terms.details["responsibilities"]))
        if self.starts == 1 and not alike:
            return x[None], False
        eta, _, _ = modes_of(self.objective, model, problem.population, terms)
        effects = effects_of_first(model, eta)
        given = [split(effects, classes)] if alike else []
        for number in range(1, self.starts):
            rng = numpy_generator(jax.random.fold_in(problem.key, number))
            given.append(partition(effects, classes, rng))
        everywhere = np.tile(x, (len(given), 1))
        drawn = parted(ground, everywhere, np.zeros(len(given), int), np.stack(given))
        return (drawn if alike else np.concatenate([x[None], drawn])), alike

    def _over(self, memory: Memory) -> np.ndarray:
        """Which starts have come to their end, or close enough?"""
        climbs = memory.climbs
        least = np.maximum(climbs.rounding, _LITTLE) if self.polish else climbs.rounding
        enough = _NEAR if self.polish else self.tolerance
        ended = climbs.stuck | (climbs.steps >= self.max_iterations)
        ended |= (climbs.gain <= least) | (climbs.left < enough)
        return ended | runaways(memory.climbs, memory.limits)

    def _kept(self, memory: Memory) -> Memory:
        """The best of the starts, its classes in order, and the first of its quasi-Newton steps."""
        collapsed = runaways(memory.climbs, memory.limits)
        climbs = memory.climbs
        value = np.where(np.isfinite(climbs.seen.value), climbs.seen.value, -np.inf)
        best = int(np.argmax(value if np.all(collapsed) else np.where(collapsed, -np.inf, value)))
        problem = memory.problem
        model: Any = problem.space.model_at(climbs.x[best])
        memory = memory._replace(best=best)
        if np.all(collapsed):
            return memory._replace(problem=dataclasses.replace(problem, model=model))
        model = self._ordered(problem, model, climbs.seen.responsibilities[best])
        problem = dataclasses.replace(problem, model=model)
        if not self.polish:
            again = batches_of(self.objective, model, problem.population, problem.key)
            return memory._replace(problem=problem, batches=again)
        return memory._replace(problem=problem, polishing=Maximise(self.objective).init(problem))

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
        climbs = memory.climbs
        if memory.polishing is not None:
            own = memory.polishing.info
            info = dataclasses.replace(own, evaluations=own.evaluations + climbs.evaluations)
            return dataclasses.replace(memory.polishing, iteration=iteration, info=info, memory=memory)
        value = climbs.seen.value
        best = int(np.argmax(np.where(np.isfinite(value), value, -np.inf))) if memory.best is None else memory.best
        ending, message = self._ending(memory)
        going = int(np.sum(~self._over(memory)))
        info = Info(
            objective=float(value[best]),
            measure=float(climbs.left[best]),
            measure_name="log-likelihood that is left to climb, extrapolated",
            evaluations=climbs.evaluations,
            note=f", {going} of {self.starts} starts still climb" if self.starts > 1 else "",
        )
        space = memory.problem.space
        model: Model = memory.problem.model if memory.best is not None else space.model_at(climbs.x[best])
        return State(iteration=iteration, model=model, info=info, memory=memory, ending=ending, message=message)

    def _ending(self, memory: Memory) -> tuple[Ending | None, str]:
        """How EM ended that goes on to no quasi-Newton steps."""
        best = memory.best
        if best is None:
            return None, ""
        climbs = memory.climbs
        if runaways(climbs, memory.limits)[best]:
            runaway = memory.limits.reached(climbs.x[best])
            labels = " and ".join(memory.limits.coordinates[i].label for i in runaway)
            return Ending.UNBOUNDED, (
                f"a class collapsed: {labels} ran to the limit of its scale, where the likelihood of a mixture has no "
                "maximum; start elsewhere, take fewer classes, or give it a prior"
            )
        if climbs.lost[best]:
            return Ending.FAILED, f"stopped after {climbs.steps[best]} iterations, none of the last of which climbed"
        if climbs.left[best] > self.tolerance and climbs.steps[best] >= self.max_iterations:
            return Ending.FAILED, f"stopped after {climbs.steps[best]} iterations, still climbing"
        return Ending.CONVERGED, "converged"


def _looks(ground: Ground) -> Callable[[np.ndarray, np.ndarray], Seen]:
    return lambda x, numbers: ground.look(x, np.zeros(len(x), int))


def _told(memory: Memory) -> tuple[str, ...]:
    """Where several starts came to, and whether the first was split."""
    if memory.best is None:
        return ()
    said: tuple[str, ...] = ()
    if memory.is_split:
        said += ("the experts began alike, where EM would stay for ever: the first start split the subjects instead.",)
    if len(memory.climbs.x) < 2:
        return said
    values = []
    for value, gone in zip(memory.climbs.seen.value, runaways(memory.climbs, memory.limits), strict=True):
        values.append(f"{value:.2f} (a class collapsed)" if gone else f"{value:.2f}")
    told = f"{len(values)} starts of EM came to the log-likelihoods {', '.join(values)}; the best was kept."
    return (told, *said)
