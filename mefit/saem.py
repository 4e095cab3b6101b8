"""SAEM: the EM algorithm with draws of the random effects in place of its expectation."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .compiling import compiled
from .empirical_bayes import curvature, empirical_bayes
from .kernels import Kernel, LaplaceProposal, RandomWalk, Target, sweep
from .marginal import ImportanceSampling
from .method import NOT_ESTIMATED, Method, Outcome, Problem, State
from .model import Model, eta_mean, eta_size, log_random_effects, sample_random_effects
from .objective import Objective, _model_at, _unravel, free_vector, inverse_precision
from .parameters import coordinates, free_parameters, log_prior, unconstrain
from .population import Subject
from .report import entries
from .structure import Structure, as_covariance, closest, find_structure

_WINDOW = 100  # iterations that the rule which ends the exploration looks at, and the fewest to smooth over
_BATCHES = 10


class Information(NamedTuple):
    """What a Newton step remembers: -d^2Q/dx^2, averaged over the iterations, and how far to go."""

    matrix: Array
    trust: Array


class Draws(NamedTuple):
    """What one iteration hands to the next."""

    x: Float[Array, " P"]
    eta: Float[Array, "C N K"]
    tuning: tuple[Any, ...]
    information: tuple[Information, Information]  # of the shifts, of the Newton step
    adam: tuple[Array, Array]
    moments: tuple[Float[Array, "N K"], Float[Array, "N K"]]  # of eta given y: mean, mean square


class Memory(NamedTuple):
    """What SAEM keeps between blocks; `settled` is None while exploring, then whether the drift had ended."""

    structure: Structure
    directions: np.ndarray
    draws: Draws
    trajectory: np.ndarray
    q: np.ndarray
    acceptance: np.ndarray
    error: np.ndarray
    explored: int = 0
    smoothed: int = 0
    settled: bool | None = None


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
      with the same gamma, its eigenvalues taken positive. A step that would lower Q is not taken, and the next is
      shorter.
    - Weights of networks: a step of Adam (Kingma and Ba 2015) at `learning_rate`, times gamma.

    **Schedule.** gamma = 1 in at most `exploration` iterations, then 1/k in at most `smoothing`, each rounded up to
    whole blocks of `block`. While annealing, for the first half of the exploration, no SD or other scale may fall below
    `annealing` times its last value (0: none). At the end of a block, 100 iterations or more after annealing, the
    exploration ends if the means of the two halves of the last 100 differ by no more than the SD of all, in every
    coordinate. The smoothing ends, after 100 or more, where the Monte Carlo error of every coordinate (batch means of
    what is averaged) is at most `tolerance` standard errors of the complete data. Without `stop_early` both go on to
    their limits. Weights of networks are not judged. A covariance that becomes singular ends everything.

    `marginal` gives the log-likelihood and the information at the end: an objective such as `AGQ(9)`.
    `details` hold the `trajectory` and the `acceptance` of the kernels as data frames, the last draws `eta_draws`
    (C, N, K), `conditional_mean` and `conditional_sd` of the random effects (N, K), and `monte_carlo_error`.
    In `history` the objective is Q, and `gradient_norm` the largest Monte Carlo error. Raises ValueError for a model
    without random effects.
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
    marginal: Objective = ImportanceSampling()
    block: int = 50
    label: ClassVar[str] = "SAEM"
    random: ClassVar[bool] = True

    def init(self, problem: Problem) -> State:
        if eta_size(problem.model) == 0:
            raise ValueError("SAEM draws random effects, and this model has none: use Laplace or NaivePooled.")
        if min(self.chains, self.block, self.exploration, self.smoothing, len(self.kernels)) < 1:
            raise ValueError("SAEM needs one or more chains, kernels, and iterations of each phase and in a block.")
        if not (isinstance(self.marginal, Objective) and self.marginal.likelihood):
            raise ValueError("SAEM's marginal must be a likelihood of theta, such as ImportanceSampling() or AGQ(9).")
        self.marginal.check(problem)
        x = free_vector(problem.model, problem.fixed)
        keys = jax.random.split(_key(problem, 0))
        structure, directions = find_structure(problem, x, keys[0])
        start = (problem.model, problem.fixed, problem.population.subjects)
        draws, typical, prior = _begin(self.kernels, self.chains, structure, *start, keys[1])
        if not np.isfinite(prior):
            raise ValueError("the log prior is not finite at the starting values: start inside the priors' support.")
        bad = np.flatnonzero(~np.isfinite(typical))
        if bad.size:
            raise ValueError(
                f"the log-likelihood of subject {problem.population.ids[bad[0]]} is not finite at the starting values: "
                "look for a residual error of zero, a response outside the density's support, or a start far off."
            )
        q = np.array([float(np.sum(typical) + prior)])  # as if every subject were typical
        nothing = np.zeros((0, len(self.kernels)))
        return self._state(problem, Memory(structure, directions, draws, x[None], q, nothing, np.full(x.size, np.inf)))

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        ahead, exploring = np.arange(self.block), memory.settled is None
        gains = np.ones(self.block) if exploring else 1.0 / (memory.smoothed + 1.0 + ahead)
        annealed = exploring & (self.annealing > 0) & (memory.explored + ahead < self.exploration // 2)
        draws, seen = _block(
            self.kernels,
            self.learning_rate,
            memory.structure,
            memory.directions,
            problem.model,
            problem.fixed,
            problem.population.subjects,
            memory.draws,
            _key(problem, 1 + state.iteration),
            gains,
            np.where(annealed, np.log(self.annealing or 1.0), -np.inf),
        )
        trajectory, q, acceptance = (np.concatenate(pair) for pair in zip(memory[3:6], seen, strict=True))
        if not _is_sound(problem, memory.structure.covariance, trajectory[-1]):
            message = (
                f"stopped after {state.iteration} iterations, before a covariance became singular or a value infinite"
            )
            message += ": leave out a random effect, make the covariance diagonal, or give it a prior"
            return dataclasses.replace(state, done=True, message=message)
        memory = memory._replace(draws=draws, trajectory=trajectory, q=q, acceptance=acceptance)
        if not exploring:
            memory = memory._replace(smoothed=memory.smoothed + self.block)
            return self._state(problem, memory._replace(error=_monte_carlo_error(problem, memory)))
        memory = memory._replace(explored=memory.explored + self.block)
        annealed_long_ago = memory.explored >= self.exploration // 2 + _WINDOW
        quiet = annealed_long_ago and not _drifts(memory)
        if memory.explored >= self.exploration or (quiet and self.stop_early):
            memory = memory._replace(settled=quiet)
        return self._state(problem, memory)

    def finish(self, problem: Problem, state: State) -> Outcome:
        memory: Memory = state.memory
        terms = jax.tree.map(np.asarray, self.marginal.terms(state.model, problem.population, problem.key))
        remark = f"log-likelihood and standard errors by {self.marginal.label} at the estimates of SAEM"
        if "effective_sample_size" in terms.details:
            size, most = terms.details["effective_sample_size"], self.marginal.evaluations(state.model)
            error = 2.0 * np.sqrt(np.sum(np.maximum(1.0 / size - 1.0 / most, 0.0)))
            remark += f"; its Monte Carlo error makes -2LL uncertain by about {error:.2g} (one SD)"
        if self.marginal.finds_modes:
            eta, covariance = terms.eta, inverse_precision(terms.precision)
        else:
            eta, covariance = (np.asarray(a) for a in empirical_bayes(state.model, problem.population))
        count = len(memory.trajectory)
        longest = max(count, 1 + self.exploration + self.smoothing + 2 * self.block)  # one shape, compiled once
        xs = np.resize(memory.trajectory, (longest, memory.trajectory.shape[1]))
        table = pd.DataFrame(_readable(problem.model, problem.fixed, xs)[:count])
        table.columns = pd.Index([entry.label for entry in entries(state.model)])
        acceptance = pd.DataFrame(memory.acceptance, columns=[kernel.label for kernel in self.kernels])
        mean, square = (np.asarray(moment) for moment in memory.draws.moments)
        still = (np.ptp(memory.trajectory, axis=0) == 0) & (state.iteration > 0)
        return Outcome(
            model=state.model,
            log_likelihood=float(np.sum(terms.value)),
            log_prior=float(_log_prior(state.model, problem.fixed)),
            eta=eta,
            eta_covariance=covariance,
            converged=state.converged,
            message=state.message,
            status=tuple(np.where(still, NOT_ESTIMATED, "").tolist()),
            remarks=(remark + ".",),
            details={
                "trajectory": table.rename_axis("iteration"),
                "acceptance": acceptance.set_axis(range(1, count), axis=0).rename_axis("iteration"),
                "explored": memory.explored,
                "eta_draws": np.asarray(memory.draws.eta),
                "conditional_mean": mean,
                "conditional_sd": np.sqrt(np.maximum(square - mean**2, 0.0)),
                "monte_carlo_error": memory.error,
                **terms.details,
            },
        )

    def information(self, problem: Problem, model: Model) -> Float[np.ndarray, "P P"]:
        """Minus the Hessian of the `marginal` objective in the free coordinates."""
        return self.marginal.information(problem, model)

    def _state(self, problem: Problem, memory: Memory) -> State:
        error, iteration = float(np.max(memory.error, initial=0.0)), memory.explored + memory.smoothed
        close = memory.smoothed > 0 and error <= self.tolerance
        over = memory.smoothed >= self.smoothing or (close and self.stop_early)
        how = "until it no longer drifted" if memory.settled else "the most it was allowed"
        message = f"explored for {memory.explored} iterations, {how}, and smoothed over {memory.smoothed}: "
        if close:
            message += f"the Monte Carlo error of every estimate is below {self.tolerance:.0%} of a standard error"
        else:
            worst = coordinates(problem.model, problem.fixed)[int(np.argmax(memory.error))].label if over else ""
            size = f"{error:.0%} of a standard error" if np.isfinite(error) else "not known after so few"
            message += f"the Monte Carlo error of {worst} is {size}; allow more smoothing, or more chains"
        return State(
            iteration=iteration,
            model=_model_at(problem.model, problem.fixed, memory.trajectory[-1]),
            objective=float(memory.q[-1]),
            gradient_norm=error,
            evaluations=iteration * self.chains * sum(kernel.moves(problem.model) for kernel in self.kernels),
            done=over,
            converged=close and over,
            message=message if over else "",
            memory=memory,
        )


def _key(problem: Problem, turn: int) -> Any:
    """The key of one turn; `fit` has seen to it that there is one."""
    key: Any = problem.key
    return jax.random.fold_in(key, turn)


def _is_sound(problem: Problem, covariance: str, x: np.ndarray) -> bool:
    """Are the values finite, and is the covariance of the random effects far enough from a singular one?"""
    if not np.all(np.isfinite(x)):
        return False
    matrix = np.asarray(getattr(_model_at(problem.model, problem.fixed, x), covariance)) if covariance else np.ones(())
    if matrix.ndim < 2:
        return True
    sd = np.sqrt(np.diagonal(matrix))
    return bool(np.all(np.linalg.eigvalsh(matrix / np.outer(sd, sd)) > 1e-9))


def _drifts(memory: Memory) -> bool:
    """Do the means of the two halves of the last iterations differ by more than the SD of them all, anywhere?"""
    tail = np.delete(memory.trajectory[-_WINDOW:], memory.structure.weights, axis=1)
    old, new = np.split(tail, 2)
    return bool(np.any(np.abs(old.mean(0) - new.mean(0)) > tail.std(0)))


def _monte_carlo_error(problem: Problem, memory: Memory) -> np.ndarray:
    """Monte Carlo error of each coordinate in complete-data standard errors, those with every eta known.

    While smoothing, x_k is the mean of k values, so their sums over a batch are differences of k x_k.
    """
    n, size = memory.smoothed, memory.trajectory.shape[1]
    if n < _WINDOW:
        return np.full(size, np.inf)
    ends = np.linspace(0, n, _BATCHES + 1).astype(int)
    sums = ends[:, None] * memory.trajectory[ends - n - 1]
    error = np.std(np.diff(sums, axis=0) / np.diff(ends)[:, None], axis=0, ddof=1) / np.sqrt(_BATCHES)
    structure, unit = memory.structure, np.full(size, np.inf)  # weights are not judged
    for places, information in zip((structure.shift, structure.newton), memory.draws.information, strict=True):
        scale = np.sqrt(np.abs(np.diagonal(information.matrix)))
        unit[list(places)] = 1.0 / np.where(scale > 0, scale, 1.0)
    if structure.covariance:
        # Of the logarithm of an SD 1 / sqrt(2 N); below the diagonal of a Cholesky factor L_ii / sqrt(N).
        model = _model_at(problem.model, problem.fixed, memory.trajectory[-1])
        at, subjects = list(structure.variances), len(problem.population)
        unit[at] = np.sqrt(0.5 / subjects / np.ceil(eta_size(problem.model) / len(at)))
        rows = np.tril_indices(eta_size(problem.model), -1)[0]
        if len(at) > eta_size(problem.model):
            lower = np.linalg.cholesky(np.asarray(getattr(model, structure.covariance)))
            unit[at[: len(rows)]] = np.diagonal(lower)[rows] / np.sqrt(subjects)
    return error / unit


@compiled
def _begin(
    kernels: tuple[Kernel, ...],
    chains: int,
    structure: Structure,
    model: Model,
    fixed: tuple[str, ...],
    subjects: Subject,
    key: Any,
) -> tuple[Draws, Array, Array]:
    """The first draws, the log joint density of every subject at the mean of eta, and the log prior."""
    count, k = subjects.time.shape[0], eta_size(model)
    eta = sample_random_effects(model, chains * count, key).reshape(chains, count, k)
    typical = Target(model, subjects).log_density(jnp.broadcast_to(eta_mean(model), (1, count, k)))[0]
    groups = (structure.shift, structure.newton)
    draws = Draws(
        x=ravel_pytree(unconstrain(model, fixed))[0],
        eta=eta,
        tuning=tuple(kernel.init(model, count) for kernel in kernels),
        information=tuple(Information(jnp.zeros((len(g),) * 2), jnp.ones(())) for g in groups),  # type: ignore[arg-type]
        adam=(jnp.zeros(len(structure.weights)),) * 2,
        moments=(jnp.zeros((count, k)),) * 2,
    )
    return draws, typical, log_prior(model, fixed)


_log_prior = compiled(log_prior)


def _ascend(function: Callable[[Array], Array], x: Array, memory: Information, gain: Array, floor: Array) -> Any:
    """A Newton step of size `gain` up `function`, with averaged information, not taken where it leads down.

    `trust` shortens the next step fourfold after one that was not taken, and doubles, up to 1, after one that was.
    """
    value, slope, seen = curvature(function, x)
    sound = jnp.all(jnp.isfinite(slope)) & jnp.all(jnp.isfinite(seen))
    matrix = jnp.where(sound, memory.matrix + gain * (seen - memory.matrix), memory.matrix)
    size = jnp.sqrt(jnp.abs(jnp.diagonal(matrix)))
    size = jnp.where(size > 0, size, 1.0)
    strength, axes = jnp.linalg.eigh(matrix / jnp.outer(size, size))
    step = axes @ (axes.T @ (slope / size) / jnp.maximum(jnp.abs(strength), 1e-6)) / size
    there = x + gain * memory.trust * jnp.maximum(jnp.where(sound, step, 0.0), floor)
    taken = function(there) >= value - 1e-9 * (1.0 + jnp.abs(value))
    trust = jnp.where(taken, jnp.minimum(1.0, 2.0 * memory.trust), 0.25 * memory.trust)
    return jnp.where(taken, there, x), Information(matrix, trust)


@compiled
def _block(
    kernels: tuple[Kernel, ...],
    learning_rate: float,
    structure: Structure,
    directions: Array,
    template: Model,
    fixed: tuple[str, ...],
    subjects: Subject,
    draws: Draws,
    key: Any,
    gains: Array,
    holds: Array,
) -> tuple[Draws, tuple[Array, Array, Array]]:
    """A block of iterations in one program: the last draws, and theta, Q and acceptance after each."""
    shift, newton, network, variances = (
        jnp.asarray(p, int) for p in (structure.shift, structure.newton, structure.weights, structure.variances)
    )
    natural, falling = np.array(structure.natural, bool), np.array(structure.falling, bool)

    def place(x):
        return jnp.where(natural, jnp.exp(x), x)

    def q(x, eta):
        model = _unravel(template, fixed, x)
        return jnp.sum(jnp.mean(Target(model, subjects).log_density(eta), 0)) + log_prior(model, fixed)

    def simulate(draws, key, gain):
        model = _unravel(template, fixed, draws.x)
        target = Target(model, subjects)
        eta, value, tuning, acceptance = sweep(kernels, key, target, draws.eta, draws.tuning, gain)
        now = jnp.mean(eta, 0), jnp.mean(eta**2, 0)
        moments = jax.tree.map(lambda old, new: old + gain * (new - old), draws.moments, now)
        complete = jnp.sum(jnp.mean(value, 0)) + log_prior(model, fixed)
        return draws._replace(eta=eta, tuning=tuning, moments=moments), complete, acceptance

    def maximise(draws, gain, hold):
        x, eta = draws.x, draws.eta
        of_shift, of_newton = draws.information
        first, second = draws.adam
        if structure.shift:
            here = x[shift]

            def moved(x_shift):
                return eta - directions @ (place(x_shift) - place(here))

            def effects(x_shift):
                model = _unravel(template, fixed, x.at[shift].set(x_shift))
                density = jax.vmap(jax.vmap(lambda e: log_random_effects(model, e)))(moved(x_shift))
                return jnp.sum(jnp.mean(density, 0)) + log_prior(model, fixed)

            there, of_shift = _ascend(effects, here, of_shift, gain, jnp.asarray(-jnp.inf))
            x, eta = x.at[shift].set(there), moved(there)
        if structure.covariance:
            model = _unravel(template, fixed, x)
            domain = free_parameters(template)[structure.covariance].domain
            value = getattr(model, structure.covariance)
            old = as_covariance(domain, value, eta.shape[-1])
            centred = eta - eta_mean(model)
            seen = jnp.einsum("cna,cnb->ab", centred, centred) / (eta.shape[0] * eta.shape[1])
            least = jnp.exp(2.0 * hold) * jnp.diagonal(old)
            seen = seen + jnp.diag(jnp.maximum(least - jnp.diagonal(seen), 0.0))
            new = old + gain * (closest(domain, seen, value) - old)
            if not domain.is_covariance:
                new = jnp.sqrt(jnp.diagonal(new) if value.ndim else new[0, 0])
            x = x.at[variances].set(ravel_pytree(domain.free(new))[0])
        if structure.newton:
            floor = jnp.where(falling, hold, -jnp.inf)
            there, of_newton = _ascend(lambda s: q(x.at[newton].set(s), eta), x[newton], of_newton, gain, floor)
            x = x.at[newton].set(there)
        if structure.weights:
            slope = jax.grad(lambda w: q(x.at[network].set(w), eta))(x[network])
            first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
            x = x.at[network].add(gain * learning_rate * first / (jnp.sqrt(second) + 1e-12))
        return draws._replace(x=x, eta=eta, information=(of_shift, of_newton), adam=(first, second))

    def iteration(draws, inputs):
        key, gain, hold = inputs
        draws, complete, acceptance = simulate(draws, key, gain)
        draws = maximise(draws, gain, hold)
        return draws, (draws.x, complete, acceptance)

    return jax.lax.scan(iteration, draws, (jax.random.split(key, len(gains)), gains, holds))


@compiled
def _readable(template: Model, fixed: tuple[str, ...], xs: Array) -> Array:
    """The numbers of the table of parameters at each row of free values."""

    def one(x):
        model = _unravel(template, fixed, x)
        return jnp.array([jnp.reshape(entry.value(model), ()) for entry in entries(model)])

    return jax.lax.map(one, jnp.asarray(xs))
