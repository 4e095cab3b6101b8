"""SAEM: the EM algorithm with draws of the random effects in place of its expectation."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from ...base.devices import mesh_of, on_each, on_none
from ...effects.class_proposal import for_classes
from ...effects.kernels import Kernel, RandomWalk
from ...effects.proposals import LaplaceProposal
from ...model.densities import eta_size
from ...model.free import prior_of
from ...model.mixture import MixtureOfExperts
from ...model.model import Model
from ...model.numbers import labels_of
from ...model.parameters import has_network
from ...model.space import Space
from ...objectives import mixture
from ...objectives.evaluation import Batches, prepare, terms_of
from ...objectives.objective import NOT_ESTIMATED, Objective
from ...objectives.peaks import searched_thoroughly
from ...objectives.sampled import ImportanceSampling
from ...objectives.weights import simulation_errors
from ..maximise import Maximise, at_the_end, outcome_of
from ..method import Ending, Info, Method, Outcome, Problem, SAEMRun, State
from ..refusals import refuse_start
from .in_classes import of_every_class, refuse_alike, structure_of, without_classes
from .maximisation import Draws, Trace, begin, block
from .msteps import Setting

_WINDOW = 100  # iterations that the rule which ends the exploration looks at, and the fewest to smooth over
_BATCHES = 10
_SUBJECTS_THAT_PAY = 100  # for each device


class Memory(NamedTuple):
    """What SAEM keeps between blocks; `settled` is None while exploring, then whether the drift had ended."""

    setting: Setting
    draws: Draws
    trace: Trace
    error: np.ndarray
    batches: Batches | None = None  # for the likelihood at the end, where the program of standard errors gives it
    explored: int = 0
    smoothed: int = 0
    settled: bool | None = None
    problem: Problem | None = None  # at what the smoothing left, where that is polished
    polishing: State | None = None


class SAEM(Method):
    """Stochastic approximation EM: draw the random effects, then improve theta as if they had been seen.

    **Simulation.** `chains` values of each eta_i move by Markov `kernels` that leave p(eta_i | y_i, theta) unchanged.

    **Approximation and maximisation.** With the complete data log-density Q(theta), the mean over the chains of
    sum_i log p(y_i | theta, eta_i) + log p(eta_i | theta), plus the log prior (so that priors give MAP),
    theta <- theta + gamma (M(theta) - theta), where M(theta) maximises Q:

    - A fixed effect that only shifts a random effect (log ka + eta, mu + eta, log cl + b wt + eta; found by automatic
      derivatives at random points) is updated with phi_i = eta_i + A_i theta held still, and not eta_i as in all other
      cases. With Gaussian effects and no prior that is generalised least squares:
      M - theta = (sum_i A_i' Omega^-1 A_i)^-1 sum_i A_i' Omega^-1 eta_i.
    - A covariance of Gaussian random effects without a prior, full, diagonal, or one variance: M is the mean of
      (eta - mean)(eta - mean)', of its diagonal, or of the mean of that. The averaging is in variances.
    - All others (residual SDs, fixed effects without a random effect, variances with a prior): a Newton step
      J^-1 dQ/dtheta in the free coordinates. J is the complete information -d^2Q/dtheta^2, averaged over the iterations
      with the same gamma; where it is not positive definite, its diagonal. A step that would lower Q is not taken, and
      the next is shorter.
    - Weights of networks: a step of Adam (Kingma and Ba 2015) at `learning_rate`, times gamma.

    **Schedule.** gamma = 1 in at most `exploration` iterations, then 1/k in at most `smoothing`, in whole blocks of
    `block`. While annealing, for the first half of the exploration, no scale may fall below `annealing` times its last
    value (0: none). The exploration ends, 100 iterations or more after annealing, if the means of the two halves of the
    last 100 differ by no more than the SD of all, in every coordinate; the smoothing, after 100 or more, where the
    Monte Carlo error of every coordinate (batch means of what is averaged) is at most `tolerance` of its standard error
    if every eta were known. Without `stop_early` both go on to their limits. Weights of networks are not judged.
    A covariance that becomes singular ends everything.

    **Mixtures of experts.** The class is summed over, and the random effects of all classes are drawn:
    p(y_i, eta_i) = [sum_k pi_k(w_i) p_k(y_i | eta_ik)] prod_k p_k(eta_ik), whose integral is the mixture's likelihood.
    `LaplaceProposal` proposes a class by its responsibility, the random effects near their mode in it, and those of the
    others from their prior; the M-step weighs each class by its probability given y and the draws. Experts have to
    begin at different values, such as those of `EM()`, and keep their order.

    **Polishing.** What is left unknown, of random effects by few responses and of the class, slows EM down, and with
    steps of 1/k it stands still before the maximum, which no scatter of its values shows. A printed fit says so where
    the maximum is more than a tenth of a standard error away. With `polish` a third phase maximises `likelihood_by`
    from there, and has the last word: by default for mixtures alone. Weights of networks are not polished.

    `likelihood_by` gives the log-likelihood and the information at the end: an objective such as `AGQ(9)`.
    `fit.saem` holds what else it leaves, such as the `trajectory`, and `conditional_mean` and `conditional_sd` of eta.
    In `history` the objective is Q, and the measure the largest Monte Carlo error.
    ValueError for a model without random effects.
    Sources: Delyon, Lavielle and Moulines (1999), Ann. Stat. 27; Kuhn and Lavielle (2005), Comput. Stat. Data Anal. 49;
    the Newton step in place of a maximum: Lange (1995), J. R. Stat. Soc. B 57.
    """

    chains: int = 5
    exploration: int = 300
    smoothing: int = 500
    kernels: tuple[Kernel, ...] = (LaplaceProposal(), RandomWalk(steps=1))
    annealing: float = 0.97
    tolerance: float = 0.05
    stop_early: bool = True
    learning_rate: float = 0.01
    likelihood_by: Objective = eqx.field(default=ImportanceSampling(), converter=searched_thoroughly)
    polish: bool | None = None
    block: int = 50
    label: ClassVar[str] = "SAEM"
    random: ClassVar[bool] = True
    mixes: ClassVar[bool] = True

    @property
    def iterations(self) -> int:
        return self.exploration + self.smoothing

    def init(self, problem: Problem) -> State:
        if eta_size(problem.model) == 0:
            raise ValueError("SAEM draws random effects, and this model has none: use Laplace or NaivePooled.")
        if min(self.chains, self.block, self.exploration, self.smoothing, len(self.kernels)) < 1:
            raise ValueError("SAEM needs one or more chains, kernels, and iterations of each phase and in a block.")
        if not (isinstance(self.likelihood_by, Objective) and self.likelihood_by.likelihood):
            raise ValueError(
                "SAEM's likelihood_by must be a likelihood of theta, such as ImportanceSampling() or AGQ(9)."
            )
        mixture.rehearse(self.likelihood_by, problem.model, problem.population)
        refuse_alike(problem, self.likelihood_by)
        kernels = self.kernels
        if isinstance(problem.model, MixtureOfExperts):
            kernels = tuple(for_classes(kernel) for kernel in kernels)
        for kernel in kernels:
            kernel.check(problem.model, problem.population)
        batches = None
        if not has_network(problem.model, problem.fixed):  # else there are no standard errors
            batches = prepare(self.likelihood_by, problem.space, problem.population, problem.key)
        keys = jax.random.split(problem.key)
        drawn = of_every_class(problem)
        setting = Setting(
            kernels=kernels,
            structure=structure_of(drawn, keys[0]),
            space=drawn.space,
            subjects=problem.population.subjects,
            mesh=mesh_of(len(problem.population), _SUBJECTS_THAT_PAY),
        )
        begun = begin(setting, self.chains, keys[1])
        draws = on_each(setting.mesh, begun.draws)  # as a block leaves them
        refuse_start(problem, begun.log_prior, begun.typical)
        trace = jax.tree.map(np.asarray, begun.trace)
        error = np.full(problem.space.size, np.inf)
        memory = Memory(setting, draws, trace, error, batches=batches)
        return self._state(problem, problem.model, memory)

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        if self._is_smooth(memory):
            return self._polish(problem, state)
        ahead = np.arange(self.block)
        exploring = memory.settled is None
        gains = np.ones(self.block) if exploring else 1.0 / (memory.smoothed + 1.0 + ahead)
        annealed = exploring & (self.annealing > 0) & (memory.explored + ahead < self.exploration // 2)
        holds = np.where(annealed, np.log(self.annealing or 1.0), -np.inf)
        structure = memory.setting.structure
        draws, rows, found, errors = block(memory.setting, self.learning_rate, memory.draws, gains, holds)
        model = on_none(memory.setting.mesh, without_classes(found))
        trace = Trace(*map(np.concatenate, zip(memory.trace, rows, strict=True)))
        if not np.all(np.isfinite(trace.x[-1])) or _is_singular(getattr(model, structure.covariance or "", None)):
            message = (
                f"stopped after {state.iteration} iterations, before a covariance became singular or a value "
                "infinite: leave out a random effect, make the covariance diagonal, or give it a prior"
            )
            return dataclasses.replace(state, ending=Ending.FAILED, message=message)
        memory = memory._replace(draws=draws, trace=trace)
        if not exploring:
            smoothed = memory.smoothed + self.block
            error = _monte_carlo_error(trace.x, smoothed, np.asarray(errors))
            return self._state(problem, model, memory._replace(smoothed=smoothed, error=error))
        explored = memory.explored + self.block
        annealed_long_ago = explored >= self.exploration // 2 + _WINDOW
        quiet = annealed_long_ago and not _drifts(np.delete(trace.x[-_WINDOW:], structure.weights, axis=1))
        over = explored >= self.exploration or (quiet and self.stop_early)
        return self._state(problem, model, memory._replace(explored=explored, settled=quiet if over else None))

    def _polish(self, problem: Problem, state: State) -> State:
        """One step up `likelihood_by`, from where the smoothing ended."""
        memory: Memory = state.memory
        method = Maximise(self.likelihood_by)
        if memory.problem is None or memory.polishing is None:
            left = dataclasses.replace(problem, model=state.model)
            memory = memory._replace(problem=left, polishing=method.init(left))
        else:
            memory = memory._replace(polishing=method.step(memory.problem, memory.polishing))
        further: Any = memory.polishing
        message = f"{self._path(memory)}, then by {method.label}: {further.message}" if further.ending else ""
        return dataclasses.replace(
            further,
            iteration=state.iteration + 1,
            info=dataclasses.replace(further.info, evaluations=self._evaluations(memory) + further.info.evaluations),
            memory=memory,
            message=message,
        )

    def finish(self, problem: Problem, state: State) -> Outcome:
        memory: Memory = state.memory
        if memory.problem is not None and memory.polishing is not None:
            last = dataclasses.replace(memory.polishing, message=state.message)
            outcome = Maximise(self.likelihood_by).finish(memory.problem, last)
            return dataclasses.replace(outcome, method=self, saem=self._run(state, memory))
        marginal = self.likelihood_by
        if memory.batches is None:
            terms = terms_of(marginal, state.model, problem.population, problem.key)
        else:
            space = Space(state.model, problem.fixed)
            *_, terms = at_the_end(marginal, space, space.vector(), memory.batches)
        terms = jax.tree.map(np.asarray, terms)
        remark = f"log-likelihood and standard errors by {marginal.label} at the estimates of SAEM"
        if "effective_sample_size" in terms.details:
            size = terms.details["effective_sample_size"]
            most = mixture.evaluations_of(marginal, state.model)
            error = 2.0 * np.linalg.norm(simulation_errors(size, most))
            remark += f"; its Monte Carlo error makes -2LL uncertain by about {error:.2g} (one SD)"
        log_prior = float(prior_of(state.model, problem.fixed))
        outcome = outcome_of(marginal, problem, state, terms, log_prior)
        still = (np.ptp(memory.trace.x, axis=0) == 0) & (state.iteration > 0)
        return dataclasses.replace(
            outcome,
            status=tuple(NOT_ESTIMATED if unmoved else "" for unmoved in still),
            remarks=(*outcome.remarks, remark + "."),
            saem=self._run(state, memory),
        )

    def unfinished(self, problem: Problem, state: State) -> Outcome:
        return dataclasses.replace(super().unfinished(problem, state), saem=self._run(state, state.memory))

    def _run(self, state: State, memory: Memory) -> SAEMRun:
        rows = pd.RangeIndex(len(memory.trace.x), name="iteration")
        kernels = [kernel.label for kernel in self.kernels]
        mean = np.asarray(memory.draws.moments.mean)
        square = np.asarray(memory.draws.moments.square)
        return SAEMRun(
            trajectory=pd.DataFrame(memory.trace.numbers, rows, labels_of(state.model)),
            acceptance=pd.DataFrame(memory.trace.acceptance, rows, kernels)[1:],
            explored=memory.explored,
            monte_carlo_error=memory.error,
            conditional_mean=mean,
            conditional_sd=np.sqrt(np.maximum(square - mean**2, 0.0)),
            eta_draws=np.asarray(memory.draws.eta),
        )

    def _state(self, problem: Problem, model: Model, memory: Memory) -> State:
        error = float(np.max(memory.error, initial=0.0))
        iteration = memory.explored + memory.smoothed
        close = self._is_close(memory)
        ending = None
        if self._is_smooth(memory) and not self._is_polished(problem, memory):
            ending = Ending.CONVERGED if close else Ending.FAILED
        info = Info(
            objective=float(memory.trace.q[-1]),
            measure=error,
            measure_name="largest Monte Carlo error, in standard errors",
            evaluations=self._evaluations(memory),
        )
        return State(
            iteration=iteration,
            model=model,
            info=info,
            memory=memory,
            ending=ending,
            message=self._message(problem, memory, error, close) if ending else "",
        )

    def _is_smooth(self, memory: Memory) -> bool:
        """Has the smoothing come to its end?"""
        return memory.smoothed >= self.smoothing or (self._is_close(memory) and self.stop_early)

    def _is_close(self, memory: Memory) -> bool:
        return memory.smoothed > 0 and float(np.max(memory.error, initial=0.0)) <= self.tolerance

    def _evaluations(self, memory: Memory) -> int:
        """How many proposals each subject has had."""
        moves = sum(kernel.moves(memory.setting.space.template) for kernel in self.kernels)
        return (memory.explored + memory.smoothed) * self.chains * moves

    def _is_polished(self, problem: Problem, memory: Memory) -> bool:
        """Does a third phase follow?"""
        wanted = isinstance(problem.model, MixtureOfExperts) if self.polish is None else self.polish
        return wanted and not memory.setting.structure.weights

    def _path(self, memory: Memory) -> str:
        how = "until it no longer drifted" if memory.settled else "the most it was allowed"
        return f"explored for {memory.explored} iterations, {how}, and smoothed over {memory.smoothed}"

    def _message(self, problem: Problem, memory: Memory, error: float, close: bool) -> str:
        if close:
            verdict = f"what is averaged scatters by less than {self.tolerance:.0%} of a standard error"
        else:
            worst = problem.space.labels[int(np.argmax(memory.error))]
            size = f"{error:.0%} of a standard error" if np.isfinite(error) else "not known after so few"
            verdict = f"the scatter of {worst} is {size}; allow more smoothing, or more chains"
        return f"{self._path(memory)}: {verdict}"


def _is_singular(covariance: Any) -> bool:
    """Is a matrix so close to a singular one that the random effects can no longer be told apart?"""
    sd = np.sqrt(np.diagonal(covariance)) if np.ndim(covariance) == 2 else np.ones(0)
    return sd.size > 0 and not np.all(np.linalg.eigvalsh(covariance / np.outer(sd, sd)) > 1e-9)


def _drifts(tail: Float[np.ndarray, "window P"]) -> bool:
    """Do the means of the two halves of the last iterations differ by more than the SD of them all, anywhere?"""
    old, new = np.split(tail, 2)
    return bool(np.any(np.abs(old.mean(0) - new.mean(0)) > tail.std(0)))


def _monte_carlo_error(xs: Float[np.ndarray, "I P"], smoothed: int, unit: np.ndarray) -> Float[np.ndarray, " P"]:
    """Monte Carlo error, in these units, of what is averaged, by batch means; infinite after too few iterations.

    While smoothing, x_k is the mean of k values, so their sums over a batch are differences of k x_k.
    """
    if smoothed < _WINDOW:
        return np.full(xs.shape[1], np.inf)
    ends = np.linspace(0, smoothed, _BATCHES + 1).astype(int)
    sums = ends[:, None] * xs[ends - smoothed - 1]
    return np.std(np.diff(sums, axis=0) / np.diff(ends)[:, None], axis=0, ddof=1) / np.sqrt(_BATCHES) / unit
