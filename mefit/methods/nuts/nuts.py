"""Full Bayes: draws of theta and of every random effect from their joint posterior, by NumPyro's NUTS."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array, PyTree
from numpyro.distributions import biject_to
from numpyro.infer import NUTS as _Kernel

from ...base.compiling import compiled
from ...effects.gaussian import gaussian_effects
from ...model.densities import eta_size, log_conditional, log_random_effects, refuse_impossible
from ...model.model import Model
from ...model.numbers import labels_of, numbers
from ...model.parameters import free_parameters, has_network
from ...model.space import free_vector, get_free, prior_of, prior_of_free, with_values
from ...objectives.laplace import Laplace
from ...objectives.objective import Objective
from ..method import Method, Outcome, Problem, State
from .draws import Draws, diagnose
from .propriety import refuse_improper


class Memory(NamedTuple):
    """What NUTS keeps; in `seen` a record (C, n, ...) of all draws, once warm, and before that of the last block."""

    states: Any
    remarks: tuple[str, ...]
    seen: dict[str, Any]
    leapfrogs: int = 0


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
    `gradient_norm` the largest R-hat of the table. ValueError for an improper posterior: without a prior a number is
    flat on its natural scale, so the posterior must fall off as it goes to either end (see `propriety.py`).
    Sources: Hoffman and Gelman (2014), J. Mach. Learn. Res. 15; z: Papaspiliopoulos et al. (2007), Stat. Sci. 22.
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

    def init(self, problem: Problem) -> State:
        if min(self.warmup, self.samples, self.chains, self.block) < 1 or not 0 < self.target_accept < 1:
            raise ValueError("NUTS needs warmup, samples, chains and block of 1 or more, and target_accept in (0, 1).")
        if not free_parameters(problem.model, problem.fixed) and not eta_size(problem.model):
            raise ValueError("nothing is left to sample: every parameter is fixed, and there are no random effects.")
        remarks = refuse_improper(problem, self.likelihood_by)
        states, seen = _begin(self._about(problem), jax.random.split(problem.key, self.chains))
        if not np.all(np.isfinite(seen["log_density"])):
            for i, who in enumerate(problem.population.ids):
                refuse_impossible(problem.model, problem.population[i], who)
            causes = "a start outside a prior's support, a residual error of zero, or a response outside the density's"
            raise ValueError(f"the log posterior is not finite at the starting values: look for {causes} support.")
        if not self.centred and _is_centred(self, problem.model):
            remarks += ("the random effects are not Gaussian, so they are sampled as they are (centred), not as L z.",)
        if has_network(problem.model, problem.fixed):
            remarks += ("the mean of a network's weights is not a network to predict with: use draws.models.",)
        seen = jax.tree.map(lambda leaf: np.asarray(leaf)[:, None], seen)
        return self._state(problem, 0, Memory(states, remarks, seen))

    def step(self, problem: Problem, state: State) -> State:
        memory, done = state.memory, state.iteration
        count = min(self.block, self.warmup - done if done < self.warmup else self.warmup + self.samples - done)
        states, seen = _advance(self._about(problem), memory.states, np.asarray(count))
        seen = jax.tree.map(lambda leaf: np.asarray(leaf)[:, :count], seen)
        leapfrogs = memory.leapfrogs + int(np.sum(seen["leapfrogs"]))
        if done > self.warmup:
            seen = jax.tree.map(lambda old, new: np.concatenate([old, new], axis=1), memory.seen, seen)
        return self._state(problem, done + count, Memory(states, memory.remarks, seen, leapfrogs))

    def finish(self, problem: Problem, state: State) -> Outcome:
        remarks, flat = state.memory.remarks, jax.tree.map(np.concatenate, state.memory.seen)
        count, eta = len(flat["eta"]), flat["eta"]
        frame = pd.DataFrame(flat["numbers"], columns=labels_of(problem.model, problem.fixed))
        frame.insert(0, "chain", np.repeat(np.arange(self.chains) + 1, count // self.chains))
        if state.iteration <= self.warmup:
            remarks += ("these draws are from the warm-up: they are not yet draws from the posterior.",)
        every = jax.tree.map(lambda a: jnp.broadcast_to(a, (count, *a.shape)) if eqx.is_array(a) else a, problem.model)
        details = {"draws": Draws(_with(every, flat["values"]), eta, flat["diverged"], frame)}
        details["leapfrogs"] = state.memory.seen["leapfrogs"]
        log_l = float(np.sum(self.likelihood_by.terms(state.model, problem.population, problem.key).value))
        log_p = float(prior_of(state.model, problem.fixed))
        status = ("",) * len(free_vector(problem.model, problem.fixed))
        covariance = np.einsum("sna,snb->nab", eta - eta.mean(0), eta - eta.mean(0)) / max(1, count - 1)
        found, ended = (log_l, log_p, eta.mean(0), covariance), (state.converged, state.message)
        return Outcome(state.model, *found, *ended, status, remarks, details)

    def _state(self, problem: Problem, iteration: int, memory: Memory) -> State:
        """The model is at the mean of the draws; at the end, what speaks against them and what to do about it."""
        seen, ids, k = memory.seen, problem.population.ids, eta_size(problem.model)
        chains, count = seen["diverged"].shape
        diverged, over = int(np.sum(seen["diverged"])), iteration >= self.warmup + self.samples
        effects = [f"eta[{j + 1}] of {i}" for i in ids for j in range(k)]
        names = [*labels_of(problem.model, problem.fixed), *effects, "the log density"]
        parts = (seen["numbers"], seen["eta"].reshape(chains, count, -1), seen["log_density"][..., None])
        r_hat, ess = diagnose(np.concatenate(parts, axis=2)) if over else 2 * (np.full(len(names), np.nan),)
        worst, least = np.argmax(np.nan_to_num(r_hat, nan=np.inf)), np.argmin(np.nan_to_num(ess))
        wrong = []
        if diverged:
            advice = f"raise target_accept towards 1, give tighter priors, or take centred={not self.centred}"
            what = f"{diverged} of {chains * count} trajectories diverged"
            wrong.append(f"{what}, so part of the posterior may be missing: {advice}")
        if not r_hat[worst] <= self.largest_r_hat:
            wrong.append(f"the chains disagree, R-hat of {names[worst]} is {r_hat[worst]:.3g}: allow more warmup")
        if not ess[least] >= self.smallest_ess:
            wrong.append(f"the effective sample size of {names[least]} is {ess[least]:.0f}: draw more samples")
        phase = "warm-up" if iteration <= self.warmup else "sampling"
        good = f"every R-hat is at most {r_hat[worst]:.3f}, every effective sample size at least {ess[least]:.0f}"
        message = ("; ".join(wrong) or good) if over else f"{phase}, {diverged} divergences"
        model = _with(problem.model, jax.tree.map(lambda leaf: np.mean(leaf, (0, 1)), seen["values"]))
        objective, ended = float(np.mean(seen["log_density"][:, -1])), (over, over and not wrong, message)
        return State(iteration, model, objective, float(r_hat[worst]), memory.leapfrogs, *ended, memory)

    def _about(self, problem: Problem) -> tuple[Any, ...]:
        return self, problem.model, problem.fixed, problem.population.subjects


def _with(model: Model, values: dict[str, PyTree]) -> Model:
    """The model with other values of some parameters, as they are in `_record`."""
    arrays = jax.tree.map(jnp.asarray, values)
    return with_values(model, {name: eqx.combine(v, getattr(model, name)) for name, v in arrays.items()})


def _is_centred(method: NUTS, model: Model) -> bool:
    return method.centred or not isinstance(model.random_effects(), dist.Normal | dist.MultivariateNormal | None)


def _density(about: tuple[Any, ...], place: Any) -> tuple[Array, Any]:
    """Log posterior density of x and z, but for a constant, with the model and the random effects there."""
    method, template, fixed, subjects = about
    x, z = place
    model, value = prior_of_free(template, fixed, x)
    if _is_centred(method, model):
        effects: Any = model.random_effects()
        transform = biject_to(effects.support)

        def eta_of(z):
            z = jnp.reshape(z, effects.shape())
            eta = jnp.reshape(transform(z), -1)
            return eta, log_random_effects(model, eta) + jnp.sum(transform.log_abs_det_jacobian(z, transform(z)))

        eta, log_p = jax.vmap(eta_of)(z)
    else:
        mean, lower = gaussian_effects(model)
        eta, log_p = mean + z @ lower.T, -0.5 * z**2
    log_y = jax.vmap(lambda e, subject: log_conditional(model, e, subject))(eta, subjects)
    return value + jnp.sum(log_p) + jnp.sum(log_y), (model, eta)


def _kernel(about: tuple[Any, ...]) -> _Kernel:
    settings = {"target_accept_prob": about[0].target_accept, "max_tree_depth": about[0].max_tree_depth}
    return _Kernel(potential_fn=lambda place: -_density(about, place)[0], **settings)


def _record(about: tuple[Any, ...], state: Any) -> dict[str, Any]:
    """What is kept of one state of a chain."""
    model, eta = _density(about, state.z)[1]
    values = {n: eqx.filter(getattr(model, n), eqx.is_inexact_array) for n in free_parameters(model, about[2])}
    seen = {"values": values, "eta": eta, "numbers": numbers(model, about[2]), "log_density": -state.potential_energy}
    return seen | {"diverged": state.diverging, "leapfrogs": state.num_steps}


@compiled
def _begin(about: tuple[Any, ...], keys: Any) -> Any:
    """A state of every chain near the starting values, and its record."""
    method, template, fixed, subjects = about
    x0, count = get_free(template, fixed), subjects.time.shape[0]

    def one(key):
        key, key_x, key_z = jax.random.split(key, 3)
        x = x0 + 0.1 * jnp.maximum(1.0, jnp.abs(x0)) * jax.random.normal(key_x, x0.shape)
        z = 0.5 * jax.random.normal(key_z, (count, eta_size(template)))
        x = jnp.where(jnp.isfinite(_density(about, (x, z))[0]), x, x0)
        state = _kernel(about).init(key, method.warmup, (x, z))
        return state, _record(about, state)

    return jax.vmap(one)(keys)


@compiled
def _advance(about: tuple[Any, ...], states: Any, count: Array) -> tuple[Any, dict[str, Any]]:
    """`count` transitions, at most a block, of every chain: their states, and a record of each."""
    method = about[0]

    def one(state):
        kernel = _kernel(about)
        kernel.init(state.rng_key, method.warmup, state.z)  # NumPyro's kernel has to see a start; this one is not used
        empty = jax.eval_shape(lambda s: _record(about, s), state)
        seen = jax.tree.map(lambda leaf: jnp.zeros((method.block, *leaf.shape), leaf.dtype), empty)

        def move(i, carry):
            state = kernel.sample(carry[0], (), {})
            return state, jax.tree.map(lambda a, new: a.at[i].set(new), carry[1], _record(about, state))

        return jax.lax.fori_loop(0, count, move, (state, seen))

    return jax.vmap(one)(states)
