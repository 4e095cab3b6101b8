"""A block of SAEM's iterations as one program: new random effects, then an M-step for each kind of parameter."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ...base.compiling import compiled
from ...base.newton import curvature
from ...data.subject import Subject
from ...effects.kernels import Kernel, Target, log_effects, sweep
from ...model.densities import eta_mean, eta_size, sample_random_effects
from ...model.model import Model
from ...model.numbers import numbers
from ...model.parameters import free_parameters
from ...model.space import coordinates, get_free, log_prior, set_free, with_values
from .structure import Structure, as_covariance, closest


class Setting(NamedTuple):
    """What stays the same through all iterations."""

    kernels: tuple[Kernel, ...]
    structure: Structure
    template: Model
    fixed: tuple[str, ...]
    subjects: Subject


class Information(NamedTuple):
    """What a Newton step remembers: -d^2Q/dx^2, averaged over the iterations, and how far to go."""

    matrix: Array
    trust: Array


class Draws(NamedTuple):
    """What one iteration hands to the next."""

    key: Any
    x: Float[Array, " P"]
    eta: Float[Array, "C N K"]
    tuning: tuple[Any, ...]
    information: tuple[Information, ...]  # of the shifts, of the Newton step
    adam: tuple[Array, Array]
    moments: tuple[Float[Array, "N K"], Float[Array, "N K"]]  # of eta given y: mean, mean square


class Trace(NamedTuple):
    """What is kept of every iteration, a row each; the acceptance of the start is NaN."""

    x: Float[Any, "I P"]
    numbers: Float[Any, "I E"]  # of the table of parameters, on the natural scale
    q: Float[Any, " I"]
    acceptance: Float[Any, "I kernels"]


@compiled
def begin(setting: Setting, chains: int, key: Any) -> tuple[Draws, Trace, Float[Array, " N"], Float[Array, ""]]:
    """The first draws, the first row, the log joint density of every subject at the mean of eta, and the log prior."""
    kernels, structure, model, fixed, subjects = setting
    count, k, keys = subjects.time.shape[0], eta_size(model), jax.random.split(key)
    prior, x = log_prior(model, fixed), get_free(model, fixed)
    typical = Target(model, subjects).log_density(jnp.tile(eta_mean(model), (1, count, 1)))[0]
    eta = sample_random_effects(model, chains * count, keys[1]).reshape(chains, count, k)
    tuning = tuple(kernel.init(model, count) for kernel in kernels)
    places = (structure.shift, structure.newton)
    information = tuple(Information(jnp.zeros((len(at),) * 2), jnp.ones(())) for at in places)
    adam, moments = (jnp.zeros(len(structure.weights)),) * 2, (jnp.zeros((count, k)),) * 2
    draws = Draws(keys[0], x, eta, tuning, information, adam, moments)
    q = jnp.sum(typical) + prior  # as if every subject were typical
    first = Trace(x, numbers(model), q, jnp.full(len(kernels), jnp.nan))
    return draws, jax.tree.map(lambda leaf: leaf[None], first), typical, prior


def _ascend(function: Callable[[Array], Array], x: Array, memory: Information, gain: Array, floor: Any) -> Any:
    """A Newton step of size `gain` up `function`, with averaged information, not taken where it leads down.

    `trust` shortens the next step fourfold after one that was not taken, and doubles, up to 1, after one that was.
    """
    value, slope, seen = curvature(function, x)
    sound = jnp.all(jnp.isfinite(slope)) & jnp.all(jnp.isfinite(seen))
    matrix = jnp.where(sound, memory.matrix + gain * (seen - memory.matrix), memory.matrix)
    unit = standard_errors(matrix)
    correlation, slope = matrix * jnp.outer(unit, unit), slope * unit
    newton = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(correlation), True), slope)
    step = unit * jnp.where(jnp.all(jnp.isfinite(newton)), newton, slope)
    there = x + gain * memory.trust * jnp.maximum(jnp.where(sound, step, 0.0), floor)
    taken = function(there) >= value - 1e-9 * (1.0 + jnp.abs(value))
    trust = jnp.where(taken, jnp.minimum(1.0, 2.0 * memory.trust), 0.25 * memory.trust)
    return jnp.where(taken, there, x), Information(matrix, trust)


def standard_errors(information: Float[Array, "S S"]) -> Float[Array, " S"]:
    """That of each coordinate with all others known; one where there is no information."""
    size = jnp.sqrt(jnp.abs(jnp.diagonal(information)))
    return 1.0 / jnp.where(size > 0, size, 1.0)


@compiled
def block(
    setting: Setting, learning_rate: float, draws: Draws, gains: Float[Any, " I"], holds: Float[Any, " I"]
) -> tuple[Draws, Trace, Model, Float[Array, " P"]]:
    """The last draws, a row for each iteration, the model at the end, and complete-data standard errors.

    `gains` are the gammas; no logarithm of a scale may fall by more than -`holds`. The standard errors are those of
    each coordinate were every eta, and all other coordinates, known; infinite for weights.
    """
    kernels, structure, template, fixed, subjects = setting
    groups = (structure.shift, structure.newton, structure.weights, structure.variances)
    shift, newton, network, variances = (np.array(places, int) for places in groups)
    natural, kinds = np.array(structure.natural, bool), coordinates(template, fixed)
    falling = np.array([kinds[i].log_scale for i in newton], bool)

    def model_with(x, places, values):
        """The model at x with other values at some places; derivatives see the parameters there, and no others."""
        here, there = (set_free(template, fixed, at) for at in (x, x.at[places].set(values)))
        return with_values(here, {name: getattr(there, name) for name in (kinds[i].parameter for i in places)})

    def q(model, eta, density):
        return jnp.sum(jnp.mean(density(model, eta), 0)) + log_prior(model, fixed)

    def q_at(x, places, eta):
        """Q of values at some places of x, with eta held still."""
        return lambda values: q(model_with(x, places, values), eta, lambda m, e: Target(m, subjects).log_density(e))

    def by_shift(x, eta, memory, gain):
        def place(values):
            return structure.directions @ jnp.where(natural, jnp.exp(values), values)

        def moved(values):
            return eta - (place(values) - place(x[shift]))

        def complete(values):
            return q(model_with(x, shift, values), moved(values), log_effects)

        there, memory = _ascend(complete, x[shift], memory, gain, -jnp.inf)
        return x.at[shift].set(there), moved(there), memory

    def by_moments(x, eta, gain, hold):
        model, domain = set_free(template, fixed, x), free_parameters(template)[structure.covariance].domain
        value, centred = getattr(model, structure.covariance), eta - eta_mean(model)
        old = as_covariance(domain, value, eta.shape[-1])
        seen = jnp.einsum("cna,cnb->ab", centred, centred) / (eta.shape[0] * eta.shape[1])
        least = jnp.exp(2.0 * hold) * jnp.diagonal(old)
        seen = seen + jnp.diag(jnp.maximum(least - jnp.diagonal(seen), 0.0))
        new = old + gain * (closest(domain, seen, value) - old)
        if not domain.is_covariance:
            new = jnp.sqrt(jnp.diagonal(new) if value.ndim else new[0, 0])
        return x.at[variances].set(ravel_pytree(domain.free(new))[0])

    def iteration(draws, inputs):
        key, gain, hold = inputs
        model = set_free(template, fixed, draws.x)
        eta, value, tuning, accepted = sweep(kernels, key, Target(model, subjects), draws.eta, draws.tuning, gain)
        complete = jnp.sum(jnp.mean(value, 0)) + log_prior(model, fixed)
        now = jnp.mean(eta, 0), jnp.mean(eta**2, 0)
        moments = jax.tree.map(lambda old, new: old + gain * (new - old), draws.moments, now)
        x, adam, (of_shift, of_newton) = draws.x, draws.adam, draws.information
        if structure.shift:
            x, eta, of_shift = by_shift(x, eta, of_shift, gain)
        if structure.covariance:
            x = by_moments(x, eta, gain, hold)
        if structure.newton:
            floor = jnp.where(falling, hold, -jnp.inf)
            there, of_newton = _ascend(q_at(x, newton, eta), x[newton], of_newton, gain, floor)
            x = x.at[newton].set(there)
        if structure.weights:
            slope = jax.grad(q_at(x, network, eta))(x[network])
            adam = (0.9 * adam[0] + 0.1 * slope, 0.99 * adam[1] + 0.01 * slope**2)
            x = x.at[network].add(gain * learning_rate * adam[0] / (jnp.sqrt(adam[1]) + 1e-12))
        return Draws(draws.key, x, eta, tuning, (of_shift, of_newton), adam, moments), (x, complete, accepted)

    key, key_block = jax.random.split(draws.key)
    # Philox: on a CPU it takes a third of the time of JAX's own Threefry.
    fast = jax.random.wrap_key_data(jax.random.bits(key_block, (4,), jnp.uint32), impl="rbg")
    inputs = (jax.random.split(fast, len(gains)), jnp.asarray(gains), jnp.asarray(holds))
    draws, (xs, complete, accepted) = jax.lax.scan(iteration, draws._replace(key=key), inputs)
    error = jnp.full(draws.x.size, jnp.inf)
    for places, information in zip((shift, newton), draws.information, strict=True):
        error = error.at[places].set(standard_errors(information.matrix))
    if structure.covariance:
        seen = curvature(lambda v: q(model_with(draws.x, variances, v), draws.eta, log_effects), draws.x[variances])[2]
        error = error.at[variances].set(standard_errors(seen))
    trace = Trace(xs, jax.vmap(lambda x: numbers(set_free(template, fixed, x)))(xs), complete, accepted)
    return draws, trace, set_free(template, fixed, draws.x), error
