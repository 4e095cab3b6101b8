"""A block of SAEM's iterations as one program: new random effects, then an M-step for each kind of parameter."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...base.compiling import compiled_for_devices
from ...effects.kernels import Target, sweep
from ...model.densities import eta_mean, eta_size, sample_random_effects
from ...model.free import log_prior
from ...model.model import Model
from ...model.numbers import numbers
from .in_classes import class_weights
from .msteps import AdamMoments, Information, MSteps, Setting


class Moments(NamedTuple):
    """Of each eta given y, averaged over the iterations."""

    mean: Float[Array, "N K"]
    square: Float[Array, "N K"]


class Draws(NamedTuple):
    """What one iteration hands to the next."""

    key: Any
    x: Float[Array, " P"]
    eta: Float[Array, "C N K"]
    tuning: tuple[Any, ...]  # of each kernel
    of_shifts: Information
    of_newton: Information
    adam: AdamMoments
    moments: Moments


class Trace(NamedTuple):
    """What is kept of every iteration, a row each; the acceptance of the start is NaN."""

    x: Float[Any, "I P"]
    numbers: Float[Any, "I E"]  # of the table of parameters, on the natural scale
    q: Float[Any, " I"]
    acceptance: Float[Any, "I kernels"]


class Begun(NamedTuple):
    """Where SAEM begins."""

    draws: Draws
    trace: Trace  # its first row
    typical: Float[Array, " N"]  # the log joint density of every subject at the mean of eta
    log_prior: Float[Array, ""]


@compiled_for_devices
def begin(setting: Setting, chains: int, key: Any) -> Begun:
    """The first draws, from p(eta | theta)."""
    kernels, structure, space, subjects, mesh = setting
    model = space.template
    count = subjects.time.shape[0]
    k = eta_size(model)
    keys = jax.random.split(key)
    prior = log_prior(model, space.fixed)
    x = space.pack()
    typical = Target(model, subjects, mesh).log_density(jnp.tile(eta_mean(model), (1, count, 1)))[0]
    draws = Draws(
        key=keys[0],
        x=x,
        eta=sample_random_effects(model, chains * count, keys[1]).reshape(chains, count, k),
        tuning=tuple(kernel.init(model, count) for kernel in kernels),
        of_shifts=_no_information(len(structure.shift)),
        of_newton=_no_information(len(structure.newton)),
        adam=AdamMoments(jnp.zeros(len(structure.weights)), jnp.zeros(len(structure.weights))),
        moments=Moments(jnp.zeros((count, k)), jnp.zeros((count, k))),
    )
    q = jnp.sum(typical) + prior  # as if every subject were typical
    first = Trace(x, numbers(model), q, jnp.full(len(kernels), jnp.nan))
    return Begun(draws, jax.tree.map(lambda leaf: leaf[None], first), typical, prior)


def _no_information(count: int) -> Information:
    return Information(jnp.zeros((count, count)), jnp.ones(()))


@compiled_for_devices
def block(
    setting: Setting, learning_rate: float, draws: Draws, gains: Float[Any, " I"], holds: Float[Any, " I"]
) -> tuple[Draws, Trace, Model, Float[Array, " P"]]:
    """The last draws, a row for each iteration, the model at the end, and complete-data standard errors.

    `gains` are the gammas; no logarithm of a scale may fall by more than -`holds`. The standard errors are those of
    each coordinate were every eta, and all other coordinates, known; infinite for weights.
    """
    kernels, structure, space, subjects, mesh = setting

    def iteration(draws, inputs):
        key, gain, hold = inputs
        model = space.at(draws.x)
        target = Target(model, subjects, mesh)
        eta, value, tuning, accepted = sweep(kernels, key, target, draws.eta, draws.tuning, gain)
        steps = MSteps(setting, class_weights(target, eta))
        complete = jnp.sum(jnp.mean(value, 0)) + log_prior(model, space.fixed)
        now = Moments(jnp.mean(eta, 0), jnp.mean(eta**2, 0))
        moments = jax.tree.map(lambda old, new: old + gain * (new - old), draws.moments, now)
        x = draws.x
        of_shifts = draws.of_shifts
        of_newton = draws.of_newton
        adam = draws.adam
        if structure.shift:
            x, eta, of_shifts = steps.shift(x, eta, of_shifts, gain)
        if structure.covariance:
            x = steps.by_moments(x, eta, gain, hold)
        if structure.newton:
            x, of_newton = steps.by_newton(x, eta, of_newton, gain, hold)
        if structure.weights:
            x, adam = steps.by_adam(x, eta, adam, gain * learning_rate)
        onward = Draws(
            key=draws.key,
            x=x,
            eta=eta,
            tuning=tuning,
            of_shifts=of_shifts,
            of_newton=of_newton,
            adam=adam,
            moments=moments,
        )
        return onward, (x, complete, accepted)

    key, key_block = jax.random.split(draws.key)
    # Philox: on a CPU it takes a third of the time of JAX's own Threefry.
    fast = jax.random.wrap_key_data(jax.random.bits(key_block, (4,), jnp.uint32), impl="rbg")
    inputs = (jax.random.split(fast, len(gains)), jnp.asarray(gains), jnp.asarray(holds))
    draws, (xs, complete, accepted) = jax.lax.scan(iteration, draws._replace(key=key), inputs)
    error = MSteps(setting).standard_errors(draws.x, draws.eta, draws.of_shifts, draws.of_newton)
    trace = Trace(xs, jax.vmap(lambda x: numbers(space.at(x)))(xs), complete, accepted)
    return draws, trace, space.at(draws.x), error
