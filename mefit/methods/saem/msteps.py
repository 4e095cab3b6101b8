"""SAEM's M-steps: how each kind of parameter is improved, given draws of the random effects."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ...base.newton import curvature
from ...base.small_matrices import solve_positive_definite
from ...data.subject import Subject
from ...effects.kernels import Kernel, Target, log_effects
from ...model.densities import eta_mean
from ...model.free import log_prior, with_values
from ...model.model import Model
from ...model.parameters import free_parameters
from ...model.space import Space
from .in_classes import expected_effects, expected_joint
from .structure import Structure, as_covariance, closest


class Setting(NamedTuple):
    """What stays the same through all iterations."""

    kernels: tuple[Kernel, ...]
    structure: Structure
    space: Space
    subjects: Subject
    mesh: Any = None  # the devices that the subjects are shared out among; None where there is one


class Information(NamedTuple):
    """What a Newton step remembers."""

    matrix: Array  # -d^2Q/dx^2, averaged over the iterations
    trust: Array  # how much of the next step is taken


class AdamMoments(NamedTuple):
    """What a step of Adam remembers: averages of the slope and of its square."""

    mean: Array
    square: Array


class MSteps:
    """The M-steps of one setting. Each takes x and the draws eta (C, N, K), and gives a new x.

    Of a mixture of experts `weights_of_classes` (C, N, L) are the probabilities of the classes given y and the draws.
    The complete data are then the class and the random effects in it, and Q sums over the classes by these weights.
    """

    def __init__(self, setting: Setting, weights_of_classes: Array | None = None):
        self.of_classes = weights_of_classes
        self.structure = setting.structure
        self.space = setting.space
        self.subjects = setting.subjects
        self.mesh = setting.mesh
        self.coordinates = setting.space.coordinates
        self.shifts = np.array(setting.structure.shift, int)
        self.newton = np.array(setting.structure.newton, int)
        self.weights = np.array(setting.structure.weights, int)
        self.variances = np.array(setting.structure.variances, int)

    def shift(self, x: Array, eta: Array, memory: Information, gain: Array) -> tuple[Array, Array, Information]:
        """A Newton step of the coordinates that move along with eta, and eta moved the other way."""
        natural = np.array(self.structure.natural, bool)

        def place(values):
            return self.structure.directions @ jnp.where(natural, jnp.exp(values), values)

        def moved(values):
            return eta - (place(values) - place(x[self.shifts]))

        def complete(values):
            return self._q(self._model_with(x, self.shifts, values), moved(values), self._effects)

        values, memory = ascend(complete, x[self.shifts], memory, gain, -jnp.inf)
        return x.at[self.shifts].set(values), moved(values), memory

    def by_moments(self, x: Array, eta: Array, gain: Array, hold: Array) -> Array:
        """The covariance of Gaussian random effects, from the second moments of their draws."""
        name = self.structure.covariance
        model = self.space.at(x)
        domain = free_parameters(self.space.template)[name].domain
        value = getattr(model, name)
        centred = eta - eta_mean(model)
        old = as_covariance(domain, value, eta.shape[-1])
        moments = jnp.einsum("cna,cnb->ab", centred, centred) / (eta.shape[0] * eta.shape[1])
        least = jnp.exp(2.0 * hold) * jnp.diagonal(old)
        moments = moments + jnp.diag(jnp.maximum(least - jnp.diagonal(moments), 0.0))
        new = old + gain * (closest(domain, moments, value) - old)
        if not domain.is_covariance:
            new = jnp.sqrt(jnp.diagonal(new) if value.ndim else new[0, 0])
        return x.at[self.variances].set(ravel_pytree(domain.free(new))[0])

    def by_newton(
        self, x: Array, eta: Array, memory: Information, gain: Array, hold: Array
    ) -> tuple[Array, Information]:
        """A Newton step of the coordinates that no closed form fits."""
        falling = np.array([self.coordinates[i].log_scale for i in self.newton], bool)
        floor = jnp.where(falling, hold, -jnp.inf)
        values, memory = ascend(self._q_at(x, self.newton, eta), x[self.newton], memory, gain, floor)
        return x.at[self.newton].set(values), memory

    def by_adam(self, x: Array, eta: Array, memory: AdamMoments, rate: Array) -> tuple[Array, AdamMoments]:
        """A step of Adam for the weights of networks."""
        slope = jax.grad(self._q_at(x, self.weights, eta))(x[self.weights])
        memory = AdamMoments(
            mean=0.9 * memory.mean + 0.1 * slope,
            square=0.99 * memory.square + 0.01 * slope**2,
        )
        step = rate * memory.mean / (jnp.sqrt(memory.square) + 1e-12)
        return x.at[self.weights].add(step), memory

    def standard_errors(self, x: Array, eta: Array, of_shifts: Information, of_newton: Information) -> Array:
        """Of each coordinate, were every eta and all other coordinates known; infinite for weights."""
        error = jnp.full(x.size, jnp.inf)
        error = error.at[self.shifts].set(standard_errors(of_shifts.matrix))
        error = error.at[self.newton].set(standard_errors(of_newton.matrix))
        if self.structure.covariance:

            def q_of_variances(values):
                return self._q(self._model_with(x, self.variances, values), eta, self._effects)

            bend = curvature(q_of_variances, x[self.variances])[2]
            error = error.at[self.variances].set(standard_errors(bend))
        return error

    def _model_with(self, x: Array, places: np.ndarray, values: Array) -> Model:
        """The model at x with other values at some places; derivatives see the parameters there, and no others."""
        before = self.space.at(x)
        after = self.space.at(x.at[places].set(values))
        names = {self.coordinates[i].parameter for i in places}
        return with_values(before, {name: getattr(after, name) for name in names})

    def _q(self, model: Model, eta: Array, density: Callable[[Model, Array], Array]) -> Array:
        return jnp.sum(jnp.mean(density(model, eta), 0)) + log_prior(model, self.space.fixed)

    def _q_at(self, x: Array, places: np.ndarray, eta: Array) -> Callable[[Array], Array]:
        """Q of values at some places of x, with eta held still."""

        return lambda values: self._q(self._model_with(x, places, values), eta, self._joint)

    def _effects(self, model: Model, eta: Array) -> Array:
        if self.of_classes is None:
            return log_effects(model, eta)
        return expected_effects(model, eta, self.of_classes)

    def _joint(self, model: Model, eta: Array) -> Array:
        target = Target(model, self.subjects, self.mesh)
        if self.of_classes is None:
            return target.log_density(eta)
        return expected_joint(target, eta, self.of_classes)


def ascend(
    function: Callable[[Array], Array], x: Array, memory: Information, gain: Array, floor: Any
) -> tuple[Array, Information]:
    """A Newton step of size `gain` up `function`, with averaged information, not taken where it leads down.

    `trust` shortens the next step fourfold after one that was not taken, and doubles, up to 1, after one that was. No
    coordinate falls by more than -`floor`.
    """
    value, slope, bend = curvature(function, x)
    sound = jnp.all(jnp.isfinite(slope)) & jnp.all(jnp.isfinite(bend))
    matrix = jnp.where(sound, memory.matrix + gain * (bend - memory.matrix), memory.matrix)
    unit = standard_errors(matrix)
    correlation = matrix * jnp.outer(unit, unit)
    slope = slope * unit
    newton = solve_positive_definite(correlation, slope)
    step = unit * jnp.where(jnp.all(jnp.isfinite(newton)), newton, slope)
    trial = x + gain * memory.trust * jnp.maximum(jnp.where(sound, step, 0.0), floor)
    taken = function(trial) >= value - 1e-9 * (1.0 + jnp.abs(value))
    trust = jnp.where(taken, jnp.minimum(1.0, 2.0 * memory.trust), 0.25 * memory.trust)
    return jnp.where(taken, trial, x), Information(matrix, trust)


def standard_errors(information: Float[Array, "S S"]) -> Float[Array, " S"]:
    """That of each coordinate with all others known; one where there is no information."""
    size = jnp.sqrt(jnp.abs(jnp.diagonal(information)))
    return 1.0 / jnp.where(size > 0, size, 1.0)
