"""Markov kernels that leave p(eta | y, theta) of every subject unchanged: the simulation step of SAEM.

All chains of all subjects move at once: `eta` is (C, N, K), and `value` (C, N) its log joint density.
"""

import abc
import math
from collections.abc import Callable
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


class Walk(Kernel):
    """Base of Gaussian steps that learn how wide to be: a scale, or several, times the SD in p(eta | theta).

    After each iteration a scale is multiplied by exp(0.4 gain (accepted - target)).
    """

    target: eqx.AbstractVar[float]

    def init(self, model, subjects):
        return jnp.full(self.moves(model) // self.steps, 0.5, float)

    def adapt(self, tuning, accepted, gain):
        taken = jnp.mean(accepted.reshape(self.steps, -1), 0)
        return tuning * jnp.exp(0.4 * gain * (taken - self.target))

    def moved(
        self, key: PRNGKeyArray, model: Model, eta: Float[Array, "C N K"], scale: Array
    ) -> tuple[Float[Array, "C N K"], Float[Array, "C N"]]:
        """eta after a Gaussian step, which is as likely as the step back; `scale` is one number, or (K,)."""
        step = scale * finite_sd(model) * jax.random.normal(key, eta.shape)
        return eta + step, jnp.zeros(eta.shape[:-1])


class RandomWalk(Walk):
    """A Gaussian step in all random effects at once, as wide as a scale times their SD in p(eta | theta).

    After each iteration the scale is multiplied by exp(0.4 gain (accepted - target)).
    Source of the target: Gelman, Roberts and Gilks (1996), Efficient Metropolis jumping rules.
    """

    steps: int = 2
    target: float = 0.3
    label: ClassVar[str] = "random walk"

    def propose(self, key, target, eta, tuning, move):
        return self.moved(key, target.model, eta, tuning)


class ComponentWise(Walk):
    """A random walk in one random effect after the other, each with a scale of its own, adapted as in `RandomWalk`."""

    steps: int = 2
    target: float = 0.4
    label: ClassVar[str] = "component-wise"

    def moves(self, model):
        return self.steps * eta_size(model)

    def propose(self, key, target, eta, tuning, move):
        count = eta.shape[-1]
        moving = jnp.arange(count) == move % count
        return self.moved(key, target.model, eta, jnp.where(moving, tuning, 0.0))


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
        model = target.model

        def log_density(eta, args):
            return log_joint(args[0], eta, args[1])

        def follow(start, subject):
            mode = self.newton.search(log_density, start, (model, subject))
            lower = jnp.linalg.cholesky(mode.precision)
            sound = jnp.all(jnp.isfinite(lower)) & jnp.all(jnp.isfinite(mode.eta))
            lower = jnp.where(sound, lower, jnp.diag(1.0 / finite_sd(model)))
            inverse = solve_triangular(lower, jnp.eye(start.size), lower=True)
            return jnp.where(sound, mode.eta, eta_mean(model)), lower, inverse

        return jax.vmap(follow)(tuning[0], target.subjects)

    def propose(self, key, target, eta, tuning, move):
        mode, lower, inverse = tuning
        z = self._standardised(key, eta.shape)
        old = jnp.einsum("nba,cnb->cna", lower, eta - mode)
        new = mode + jnp.einsum("nba,cnb->cna", inverse, z)
        return new, self._log_density(old) - self._log_density(z)

    def _standardised(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "C N K"]:
        """Draws of Student's t with unit scale, or of a Gaussian."""
        *chains, k = shape
        is_gaussian = math.isinf(self.degrees_of_freedom)
        pairs, odd = (0, 0) if is_gaussian else divmod(int(self.degrees_of_freedom), 2)
        key_z, key_pairs = jax.random.split(key)
        normal = jax.random.normal(key_z, (*chains, k + odd))
        if is_gaussian:
            return normal
        # Chi-squared is twice a sum of exponentials, cheaper than Gaussians, and one square more if df is odd.
        chi_squared = 2.0 * jnp.sum(jax.random.exponential(key_pairs, (*chains, pairs)), -1)
        chi_squared = chi_squared + jnp.sum(normal[..., k:] ** 2, -1)
        return normal[..., :k] * jnp.sqrt(self.degrees_of_freedom / chi_squared)[..., None]

    def _log_density(self, z: Float[Array, "C N K"]) -> Float[Array, "C N"]:
        """The log density of such draws, but for a constant."""
        squared = jnp.sum(z**2, -1)
        if math.isinf(self.degrees_of_freedom):
            return -0.5 * squared
        df = self.degrees_of_freedom
        return -0.5 * (df + z.shape[-1]) * jnp.log1p(squared / df)


class _Chains(NamedTuple):
    """Where the chains are: eta (C, N, K), and the log joint density there (C, N)."""

    eta: Array
    value: Array


class _Move(NamedTuple):
    """One move of an iteration, or all of them with a leading axis."""

    kernel: Array  # which kernel proposes, by its place
    turn: Array  # which of that kernel's moves it is
    key: PRNGKeyArray
    log_uniform: Array  # (C, N), what the acceptance is compared with


def sweep(
    kernels: tuple[Kernel, ...], key: PRNGKeyArray, target: Target, eta: Array, tuning: tuple, gain: Array
) -> tuple[Array, Array, tuple, Array]:
    """Every kernel's moves, one after the other: eta, its log density, the new tuning, and the share each took.

    One loop with one evaluation of the density, whichever kernel proposes, so that it is compiled once.
    """
    learned = [kernel.learn(target, known) for kernel, known in zip(kernels, tuning, strict=True)]
    proposers = [_proposer(kernel, target, known) for kernel, known in zip(kernels, learned, strict=True)]
    counts = [kernel.moves(target.model) for kernel in kernels]
    moves = _moves_of(counts, key, eta.shape[:2])

    def advance(chains: _Chains, move: _Move) -> tuple[_Chains, Array]:
        proposal, correction = jax.lax.switch(move.kernel, proposers, move.key, chains.eta, move.turn)
        proposed = target.log_density(proposal)
        accepted = move.log_uniform < proposed - chains.value + correction
        # A chain may begin where the density is zero or not a number: it takes the first proposal that has one.
        take = jnp.isfinite(proposed) & (accepted | ~jnp.isfinite(chains.value))
        new = _Chains(
            eta=jnp.where(take[..., None], proposal, chains.eta),
            value=jnp.where(take, proposed, chains.value),
        )
        return new, jnp.mean(take)

    begin = _Chains(eta, target.log_density(eta))
    chains, taken = jax.lax.scan(advance, begin, moves)
    shares = jnp.split(taken, np.cumsum(counts)[:-1])
    adapted = []
    for kernel, known, share in zip(kernels, learned, shares, strict=True):
        adapted.append(kernel.adapt(known, share, gain))
    return chains.eta, chains.value, tuple(adapted), jnp.stack([jnp.mean(share) for share in shares])


def _proposer(kernel: Kernel, target: Target, tuning: PyTree) -> Callable:
    """The kernel's proposal as a function of what changes from move to move."""

    def propose(key: PRNGKeyArray, eta: Array, turn: Array) -> tuple[Array, Array]:
        return kernel.propose(key, target, eta, tuning, turn)

    return propose


def _moves_of(counts: list[int], key: PRNGKeyArray, shape: tuple[int, ...]) -> _Move:
    """All moves of an iteration, `counts` of each kernel, for chains and subjects of this shape (C, N)."""
    total = sum(counts)
    key, *keys = jax.random.split(key, 1 + total)
    return _Move(
        kernel=jnp.asarray(np.repeat(np.arange(len(counts)), counts)),
        turn=jnp.asarray(np.concatenate([np.arange(count) for count in counts])),
        key=jnp.stack(keys),
        log_uniform=jnp.log(jax.random.uniform(key, (total, *shape))),
    )
