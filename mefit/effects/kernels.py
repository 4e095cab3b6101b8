"""Markov kernels that leave p(eta | y, theta) of every subject unchanged: the simulation step of SAEM.

All chains of all subjects move at once: `eta` is (C, N, K), and `value` (C, N) its log joint density.
"""

import abc
import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..base.newton import Newton
from ..data.subject import Subject
from ..model.densities import eta_mean, eta_size, log_joint, log_random_effects, sample_random_effects
from ..model.model import Model
from .starts import finite_sd


class Target(NamedTuple):
    """What is sampled from: log p(y_i | theta, eta) + log p(eta | theta) of every subject."""

    model: Model
    subjects: Subject

    def log_density(self, eta: Float[Array, "C N K"]) -> Float[Array, "C N"]:
        """The log joint density of every chain and subject."""
        return jax.vmap(jax.vmap(lambda e, subject: log_joint(self.model, e, subject)), (0, None))(eta, self.subjects)


def log_effects(model: Model, eta: Float[Array, "C N K"]) -> Float[Array, "C N"]:
    """log p(eta | theta) of every chain and subject."""
    return jax.vmap(jax.vmap(lambda e: log_random_effects(model, e)))(eta)


class Kernel(eqx.Module):
    """A Metropolis-Hastings kernel: a proposal, what it learns, and how many `steps` it makes an iteration."""

    label: ClassVar[str]
    steps: eqx.AbstractVar[int]

    def moves(self, model: Model) -> int:
        """How many proposals a chain gets in an iteration."""
        return self.steps

    def init(self, model: Model, subjects: int) -> PyTree:
        """What the kernel knows before it starts."""

    def learn(self, target: Target, tuning: PyTree) -> PyTree:
        """What it knows at new parameters, before its moves; it must not look at the chains."""
        return tuning

    def adapt(self, tuning: PyTree, accepted: Float[Array, " moves"], gain: Array) -> PyTree:
        """What it knows after its moves, of which the shares `accepted` were taken; `gain` tends to 0."""
        return tuning

    @abc.abstractmethod
    def propose(
        self, key: PRNGKeyArray, target: Target, eta: Float[Array, "C N K"], tuning: PyTree, move: Array
    ) -> tuple[Float[Array, "C N K"], Float[Array, "C N"]]:
        """New values, and log q(old | new) - log q(new | old)."""


class PriorProposal(Kernel):
    """Independent proposals eta ~ p(eta | theta). Needs no tuning; seldom accepted where the data say much."""

    steps: int = 2
    label: ClassVar[str] = "prior"

    def propose(self, key, target, eta, tuning, move):
        new = sample_random_effects(target.model, eta.shape[0] * eta.shape[1], key).reshape(eta.shape)
        return new, log_effects(target.model, eta) - log_effects(target.model, new)


class RandomWalk(Kernel):
    """A Gaussian step in all random effects at once, as wide as a scale times their SD in p(eta | theta).

    After each iteration the scale is multiplied by exp(0.4 gain (accepted - target)).
    Source of the target: Gelman, Roberts and Gilks (1996), Efficient Metropolis jumping rules.
    """

    steps: int = 2
    target: float = 0.3
    label: ClassVar[str] = "random walk"

    def init(self, model, subjects):
        return jnp.full(self.moves(model) // self.steps, 0.5, float)

    def adapt(self, tuning, accepted, gain):
        return tuning * jnp.exp(0.4 * gain * (jnp.mean(accepted.reshape(self.steps, -1), 0) - self.target))

    def propose(self, key, target, eta, tuning, move):
        step = tuning * finite_sd(target.model) * jax.random.normal(key, eta.shape)
        return eta + step, jnp.zeros(eta.shape[:-1])


class ComponentWise(RandomWalk):
    """A random walk in one random effect after the other, each with a scale of its own, adapted as in `RandomWalk`."""

    target: float = 0.4
    label: ClassVar[str] = "component-wise"

    def moves(self, model):
        return self.steps * eta_size(model)

    def propose(self, key, target, eta, tuning, move):
        one = jnp.arange(eta.shape[-1]) == move % eta.shape[-1]
        return super().propose(key, target, eta, jnp.where(one, tuning, 0.0), move)


class LaplaceProposal(Kernel):
    """Independent proposals around each subject's mode, with the curvature there: f-SAEM.

    eta = eta* + L^-T z, L L' = P = minus the Hessian of the log joint density at eta*, z from Student's t with a whole
    number of `degrees_of_freedom`. Infinitely many are the Gaussian of the source, in whose tails, if they are lighter
    than those of the posterior, a chain can get stuck for good. The modes follow theta by a few Newton steps an
    iteration from where they were; where one is not found, the proposal has the mean and SD of p(eta | theta).
    Source: Karimi, Lavielle and Moulines (2020), Comput. Stat. Data Anal. 141.
    """

    steps: int = 2
    degrees_of_freedom: float = 10.0
    newton: Newton = Newton(tolerance=0.1, max_steps=5)
    label: ClassVar[str] = "Laplace"

    def init(self, model, subjects):
        eye = jnp.tile(jnp.eye(eta_size(model)), (subjects, 1, 1))
        start = eta_mean(model) + 1e-7 * finite_sd(model)  # a hair beside: see `starting_points`
        return jnp.tile(start, (subjects, 1)), eye, eye

    def learn(self, target, tuning):
        def one(start, subject):
            mode = self.newton.search(lambda e, args: log_joint(args[0], e, args[1]), start, (target.model, subject))
            lower = jnp.linalg.cholesky(mode.precision)
            sound = jnp.all(jnp.isfinite(lower)) & jnp.all(jnp.isfinite(mode.eta))
            lower = jnp.where(sound, lower, jnp.diag(1.0 / finite_sd(target.model)))
            inverse = solve_triangular(lower, jnp.eye(start.size), lower=True)
            return jnp.where(sound, mode.eta, eta_mean(target.model)), lower, inverse

        return jax.vmap(one)(tuning[0], target.subjects)

    def propose(self, key, target, eta, tuning, move):
        mode, lower, inverse = tuning
        k, df = eta.shape[-1], self.degrees_of_freedom
        odd, pairs = (0, 0) if math.isinf(df) else (int(df) % 2, int(df) // 2)
        key_z, key_pairs = jax.random.split(key)
        normal = jax.random.normal(key_z, (*eta.shape[:-1], k + odd))
        # Chi-squared is twice a sum of exponentials, cheaper than Gaussians, and one square more if df is odd.
        chi_squared = 2.0 * jnp.sum(jax.random.exponential(key_pairs, (*eta.shape[:-1], pairs)), -1)
        chi_squared = chi_squared + jnp.sum(normal[..., k:] ** 2, -1)
        z = normal[..., :k] * (1.0 if math.isinf(df) else jnp.sqrt(df / chi_squared)[..., None])

        def log_density(z):
            squared = jnp.sum(z**2, -1)
            return -0.5 * squared if math.isinf(df) else -0.5 * (df + k) * jnp.log1p(squared / df)

        old = jnp.einsum("nba,cnb->cna", lower, eta - mode)
        return mode + jnp.einsum("nba,cnb->cna", inverse, z), log_density(old) - log_density(z)


def sweep(
    kernels: tuple[Kernel, ...], key: PRNGKeyArray, target: Target, eta: Array, tuning: tuple, gain: Array
) -> tuple[Array, Array, tuple, Array]:
    """Every kernel's moves, one after the other: eta, its log density, the new tuning, and the share each took.

    One loop with one evaluation of the density, whichever kernel proposes, so that it is compiled once.
    """
    pairs = [(kernel, kernel.learn(target, known)) for kernel, known in zip(kernels, tuning, strict=True)]
    moves = [kernel.moves(target.model) for kernel in kernels]
    which, turn = jnp.asarray([(i, move) for i, count in enumerate(moves) for move in range(count)]).T
    key, *keys = jax.random.split(key, 1 + len(which))
    chance = jnp.log(jax.random.uniform(key, (len(which), *eta.shape[:2])))

    def one(chains, inputs):
        (eta, value), (which, turn, key, chance) = chains, inputs
        proposers = [lambda key, eta, turn, k=k, t=t: k.propose(key, target, eta, t, turn) for k, t in pairs]
        proposal, correction = jax.lax.switch(which, proposers, key, eta, turn)
        proposed = target.log_density(proposal)
        # A chain may begin where the density is zero or not a number: it takes the first proposal that has one.
        take = jnp.isfinite(proposed) & ((chance < proposed - value + correction) | ~jnp.isfinite(value))
        return (jnp.where(take[..., None], proposal, eta), jnp.where(take, proposed, value)), jnp.mean(take)

    (eta, value), taken = jax.lax.scan(one, (eta, target.log_density(eta)), (which, turn, jnp.stack(keys), chance))
    shares = jnp.split(taken, np.cumsum(moves)[:-1])
    adapted = tuple(k.adapt(known, share, gain) for (k, known), share in zip(pairs, shares, strict=True))
    return eta, value, adapted, jnp.stack([jnp.mean(share) for share in shares])
