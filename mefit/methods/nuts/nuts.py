"""Full Bayes: draws of theta and of every random effect from their joint posterior, by NumPyro's NUTS."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, PyTree
from numpyro.distributions import biject_to
from numpyro.infer import NUTS as _Kernel

from ...base.compiling import compiled_for_devices
from ...base.dealing import one_by_one
from ...base.devices import mesh_of
from ...data.subject import Subject
from ...model.densities import (
    effects_of,
    eta_size,
    gaussian_law_of,
    log_conditional,
    log_random_effects,
)
from ...model.free import prior_of, with_values
from ...model.impossible import refuse_impossible
from ...model.model import Model
from ...model.numbers import labels_of, numbers
from ...model.parameters import free_parameters, has_network
from ...model.space import Space
from ...objectives.evaluation import terms_of
from ...objectives.joint import NaivePooled
from ...objectives.laplace import Laplace
from ...objectives.natural_scale import natural_scale
from ...objectives.objective import Objective
from ..method import Ending, Info, Method, Outcome, Problem, State
from ..refusals import refuse_start
from .draws import Draws, diagnose
from .propriety import refuse_improper


class Memory(NamedTuple):
    """What NUTS keeps between blocks."""

    scale: np.ndarray  # of each coordinate: the unit that it is sampled in
    chains: Any  # NumPyro's states
    remarks: tuple[str, ...]
    records: dict[str, Any]  # (C, n, ...): of all draws, once warm, and before that of the last block
    leapfrogs: int = 0
    mesh: Any = None  # the devices that the chains are shared out among


class Verdict(NamedTuple):
    """What is to be said of the draws."""

    wrong: list[str]
    good: str
    largest_r_hat: float


class Target(NamedTuple):
    """What is sampled: u and z, with x = start + scale u the free coordinates, and eta = mean + L z."""

    method: "NUTS"
    space: Space
    subjects: Subject
    scale: Any
    mesh: Any = None  # the devices that the chains are shared out among; None where there is one


class NUTS(Method):
    """Draws from p(theta, eta_1 ... eta_N | y) by the No-U-Turn sampler, `chains` of `samples` after `warmup`.

    Sampled are the free values of theta, where a prior on the natural scale gains the log Jacobian of the transform,
    and z_i, with eta_i = mean + L z_i and z_i ~ N(0, I), for Gaussian random effects. Those of another law are sampled
    as they are (where they are bounded, by way of free values), and so are all with `centred`. Step size, aimed at
    `target_accept`, and diagonal mass matrix are learned in the warm-up. Progress comes after each `block`.

    `model` is the posterior mean (covariances averaged as matrices), `eta` and `eta_covariance` mean and covariance of
    the random effects given the data, `log_likelihood` that of `model` by the objective `likelihood_by`. Converged:
    no divergence, every R-hat at most `largest_r_hat`, every effective sample size `smallest_ess` or more, weights of
    networks aside, which can change places. In `history` the objective is the log density of what is sampled, and
    the measure the largest R-hat. ValueError for an improper posterior: without a prior a number is
    flat on its natural scale, so the posterior must fall off as it goes to either end.
    Sources: Hoffman and Gelman (2014), J. Mach. Learn. Res. 15; z: Papaspiliopoulos et al. (2007), Stat. Sci. 22.

        fit = mf.fit(model, population, mf.NUTS(warmup=300, samples=300), key=key)
        fit.draws.summary
    """

    warmup: int = 500
    samples: int = 500
    chains: int = 2
    target_accept: float = 0.8
    max_tree_depth: int = 10
    centred: bool = False
    block: int = 50
    largest_r_hat: float = 1.05
    smallest_ess: float = 100.0
    likelihood_by: Objective = Laplace()
    label: ClassVar[str] = "NUTS"
    likelihood: ClassVar[bool] = False
    random: ClassVar[bool] = True

    @property
    def iterations(self) -> int:
        return self.warmup + self.samples

    def init(self, problem: Problem) -> State:
        if min(self.warmup, self.samples, self.chains, self.block) < 1 or not 0 < self.target_accept < 1:
            raise ValueError("NUTS needs warmup, samples, chains and block of 1 or more, and target_accept in (0, 1).")
        if not free_parameters(problem.model, problem.fixed) and not eta_size(problem.model):
            raise ValueError("nothing is left to sample: every parameter is fixed, and there are no random effects.")
        remarks = refuse_improper(problem, self.likelihood_by)
        mesh = mesh_of(self.chains, 1, at_any_load=True)  # else the same key would give other draws on a busy computer
        target = self._target(problem, natural_scale(problem.space, problem.population), mesh)
        chains, records = _begin(target, jax.random.split(problem.key, self.chains))
        if not np.all(np.isfinite(records["log_density"])):
            typical = terms_of(NaivePooled(), problem.model, problem.population).value
            refuse_start(problem, prior_of(problem.model, problem.fixed), typical)
            for i, who in enumerate(problem.population.ids):
                refuse_impossible(problem.model, problem.population[i], who)
            raise ValueError(
                "the log posterior is not finite at the starting values: look for a start outside a prior's support, "
                "a residual error of zero, or a response outside the density's support."
            )
        if not self.centred and _is_centred(self, problem.model):
            remarks += ("the random effects are not Gaussian, so they are sampled as they are (centred), not as L z.",)
        if has_network(problem.model, problem.fixed):
            remarks += ("the mean of a network's weights is not a network to predict with: use draws.models.",)
        records = jax.tree.map(lambda leaf: np.asarray(leaf)[:, None], records)
        return self._state(problem, 0, Memory(target.scale, chains, remarks, records, mesh=mesh))

    def step(self, problem: Problem, state: State) -> State:
        memory: Memory = state.memory
        done = state.iteration
        left = self.warmup - done if done < self.warmup else self.warmup + self.samples - done
        count = min(self.block, left)
        target = self._target(problem, memory.scale, memory.mesh)
        chains, records = _advance(target, memory.chains, np.asarray(count))
        records = jax.tree.map(lambda leaf: np.asarray(leaf)[:, :count], records)
        leapfrogs = memory.leapfrogs + int(np.sum(records["leapfrogs"]))
        if done > self.warmup:
            records = jax.tree.map(lambda old, new: np.concatenate([old, new], axis=1), memory.records, records)
        onward = memory._replace(chains=chains, records=records, leapfrogs=leapfrogs)
        return self._state(problem, done + count, onward)

    def finish(self, problem: Problem, state: State) -> Outcome:
        terms = terms_of(self.likelihood_by, state.model, problem.population, problem.key)
        return dataclasses.replace(
            self.unfinished(problem, state),
            log_likelihood=float(np.sum(terms.value)),
            log_prior=float(prior_of(state.model, problem.fixed)),
        )

    def unfinished(self, problem: Problem, state: State) -> Outcome:
        """The draws, with the moments of the random effects."""
        memory: Memory = state.memory
        remarks = memory.remarks
        flat = jax.tree.map(np.concatenate, memory.records)
        eta = flat["eta"]
        count = len(eta)
        frame = pd.DataFrame(flat["numbers"], columns=labels_of(problem.model, problem.fixed))
        frame.insert(0, "chain", np.repeat(np.arange(self.chains) + 1, count // self.chains))
        if state.iteration <= self.warmup:
            remarks += ("these draws are from the warm-up: they are not yet draws from the posterior.",)

        def repeated(leaf):
            return jnp.broadcast_to(leaf, (count, *leaf.shape)) if eqx.is_array(leaf) else leaf

        draws = Draws(
            models=_with(jax.tree.map(repeated, problem.model), flat["values"]),
            eta=eta,
            diverged=flat["diverged"],
            frame=frame,
            leapfrogs=memory.records["leapfrogs"],
        )
        centred = eta - eta.mean(0)
        return dataclasses.replace(
            super().unfinished(problem, state),
            eta=eta.mean(0),
            eta_covariance=np.einsum("sna,snb->nab", centred, centred) / max(1, count - 1),
            remarks=remarks,
            draws=draws,
        )

    def _state(self, problem: Problem, iteration: int, memory: Memory) -> State:
        """The model is at the mean of the draws."""
        over = iteration >= self.warmup + self.samples
        diverged = int(np.sum(memory.records["diverged"]))
        ending = None
        largest = np.nan
        phase = "warm-up" if iteration <= self.warmup else "sampling"
        message = f"{phase}, {diverged} divergences"
        if over:
            verdict = self._verdict(problem, memory)
            ending = Ending.FAILED if verdict.wrong else Ending.CONVERGED
            largest = verdict.largest_r_hat
            message = "; ".join(verdict.wrong) or verdict.good
        means = jax.tree.map(lambda leaf: np.mean(leaf, (0, 1)), memory.records["values"])
        info = Info(
            objective=float(np.mean(memory.records["log_density"][:, -1])),
            measure=largest,
            measure_name="largest R-hat",
            evaluations=memory.leapfrogs,
        )
        return State(
            iteration=iteration,
            model=_with(problem.model, means),
            info=info,
            memory=memory,
            ending=ending,
            message=message,
        )

    def _verdict(self, problem: Problem, memory: Memory) -> Verdict:
        """What speaks for the draws, what against them, and what to do about it."""
        records = memory.records
        chains, count = records["diverged"].shape
        diverged = int(np.sum(records["diverged"]))
        effects = [f"eta[{j + 1}] of {i}" for i in problem.population.ids for j in range(eta_size(problem.model))]
        names = [*labels_of(problem.model, problem.fixed), *effects, "the log density"]
        eta = records["eta"].reshape(chains, count, -1)
        everything = np.concatenate([records["numbers"], eta, records["log_density"][..., None]], axis=2)
        r_hat, ess = diagnose(everything)
        worst = int(np.argmax(np.nan_to_num(r_hat, nan=np.inf)))
        least = int(np.argmin(np.nan_to_num(ess)))
        wrong = []
        if diverged:
            wrong.append(
                f"{diverged} of {chains * count} trajectories diverged, so part of the posterior may be missing: "
                f"raise target_accept towards 1, give tighter priors, or take centred={not self.centred}"
            )
        if not r_hat[worst] <= self.largest_r_hat:
            wrong.append(f"the chains disagree, R-hat of {names[worst]} is {r_hat[worst]:.3g}: allow more warmup")
        if not ess[least] >= self.smallest_ess:
            wrong.append(f"the effective sample size of {names[least]} is {ess[least]:.0f}: draw more samples")
        good = f"every R-hat is at most {r_hat[worst]:.3f}, every effective sample size at least {ess[least]:.0f}"
        return Verdict(wrong, good, float(r_hat[worst]))

    def _target(self, problem: Problem, scale: np.ndarray, mesh: Any) -> Target:
        return Target(self, problem.space, problem.population.subjects, scale, mesh)


def _with(model: Model, values: dict[str, PyTree]) -> Model:
    """The model with other values of some parameters, as they are in `_record`."""
    arrays = jax.tree.map(jnp.asarray, values)
    return with_values(model, {name: eqx.combine(v, getattr(model, name)) for name, v in arrays.items()})


def _is_centred(method: NUTS, model: Model) -> bool:
    return method.centred or gaussian_law_of(model) is None


def _density(target: Target, place: Any) -> tuple[Array, Any]:
    """Log posterior density of u and z, but for a constant, with the model and the random effects there."""
    u, z = place
    x = target.space.pack() + target.scale * u
    model = target.space.at(x)
    log_prior = target.space.log_prior(x) + target.space.log_jacobian(x)
    law = None if target.method.centred else gaussian_law_of(model)
    if law is None:
        effects: Any = effects_of(model)
        transform = biject_to(effects.support)

        def eta_of(z):
            z = jnp.reshape(z, effects.shape())
            eta = jnp.reshape(transform(z), -1)
            jacobian = jnp.sum(transform.log_abs_det_jacobian(z, transform(z)))
            return eta, log_random_effects(model, eta) + jacobian

        eta, log_p = jax.vmap(eta_of)(z)
    else:
        eta = law.mean + z @ law.lower.T
        log_p = -0.5 * z**2
    log_y = jax.vmap(lambda e, subject: log_conditional(model, e, subject))(eta, target.subjects)
    return log_prior + jnp.sum(log_p) + jnp.sum(log_y), (model, eta)


def _kernel(target: Target) -> _Kernel:
    return _Kernel(
        potential_fn=lambda place: -_density(target, place)[0],
        target_accept_prob=target.method.target_accept,
        max_tree_depth=target.method.max_tree_depth,
    )


def _record(target: Target, state: Any) -> dict[str, Any]:
    """What is kept of one state of a chain."""
    model, eta = _density(target, state.z)[1]
    fixed = target.space.fixed
    return {
        "values": {n: eqx.filter(getattr(model, n), eqx.is_inexact_array) for n in free_parameters(model, fixed)},
        "eta": eta,
        "numbers": numbers(model, fixed),
        "log_density": -state.potential_energy,
        "diverged": state.diverging,
        "leapfrogs": state.num_steps,
    }


@compiled_for_devices
def _begin(target: Target, keys: Any) -> Any:
    """A state of every chain near the starting values, and its record."""

    def begin_chain(target: Target, key: Any) -> Any:
        count = target.subjects.time.shape[0]
        origin = jnp.zeros(target.scale.shape)
        key, key_u, key_z = jax.random.split(key, 3)
        u = 0.1 * jax.random.normal(key_u, origin.shape)
        z = 0.5 * jax.random.normal(key_z, (count, eta_size(target.space.template)))
        u = jnp.where(jnp.isfinite(_density(target, (u, z))[0]), u, origin)
        state = _kernel(target).init(key, target.method.warmup, (u, z))
        return state, _record(target, state)

    return one_by_one(target.mesh, begin_chain, target._replace(mesh=None), keys)


@compiled_for_devices
def _advance(target: Target, chains: Any, count: Array) -> tuple[Any, dict[str, Any]]:
    """`count` transitions, at most a block, of every chain: their states, and a record of each."""

    def advance_chain(known: Any, state: Any) -> Any:
        target, count = known
        kernel = _kernel(target)
        # NumPyro's kernel has to see a start; this one is not used
        kernel.init(state.rng_key, target.method.warmup, state.z)
        shapes = jax.eval_shape(lambda s: _record(target, s), state)
        records = jax.tree.map(lambda leaf: jnp.zeros((target.method.block, *leaf.shape), leaf.dtype), shapes)

        def move(i, carry):
            state = kernel.sample(carry[0], (), {})
            written = jax.tree.map(lambda kept, new: kept.at[i].set(new), carry[1], _record(target, state))
            return state, written

        return jax.lax.fori_loop(0, count, move, (state, records))

    advanced: Any = one_by_one(target.mesh, advance_chain, (target._replace(mesh=None), count), chains)
    return advanced
