"""Markov kernels that leave p(eta | y, theta) of every subject unchanged: the simulation step of SAEM.

All chains of all subjects move at once: `eta` is (C, N, K), and `value` (C, N) its log joint density.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..base.dealing import dealt_out
from ..data.population import Population
from ..data.subject import Subject
from ..model.densities import eta_size, log_joint, log_random_effects, sample_random_effects
from ..model.model import Model
from .standard import finite_sd


class Target(NamedTuple):
    """What is sampled from: log p(y_i | theta, eta) + log p(eta | theta) of every subject."""

    model: Model
    subjects: Subject
    mesh: Any = None  # the devices that the subjects are shared out among; None where there is one

    def log_density(self, eta: Float[Array, "C N K"]) -> Float[Array, "C N"]:
        """The log joint density of every chain and subject."""

        def of_all(model: Model, eta: Array, subjects: Subject) -> Array:
            return jax.vmap(jax.vmap(lambda e, subject: log_joint(model, e, subject)), (0, None))(eta, subjects)

        if self.mesh is None:
            return of_all(self.model, eta, self.subjects)
        return self.by_subject(lambda model, own: of_all(model, own[0].swapaxes(0, 1), own[1]).T, eta.swapaxes(0, 1)).T

    def by_subject(self, work: Callable[[Model, Any], Any], own: PyTree) -> Any:
        """`work(model, (own, subjects))` on each device for its share of the subjects; `own` has a row for each."""
        return dealt_out(self.mesh, work, self.model, (own, self.subjects), together=True)


def log_effects(model: Model, eta: Float[Array, "C N K"]) -> Float[Array, "C N"]:
    """log p(eta | theta) of every chain and subject."""
    return jax.vmap(jax.vmap(lambda e: log_random_effects(model, e)))(eta)


class Kernel(eqx.Module):
    """A Metropolis-Hastings kernel: a proposal, what it learns, and how many `steps` it makes an iteration."""

    label: ClassVar[str]
    knows_one_posterior: ClassVar[bool] = False  # does it propose near one place of each subject?
    steps: eqx.AbstractVar[int]

    def moves(self, model: Model) -> int:
        """How many proposals a chain gets in an iteration."""
        return self.steps

    def check(self, model: Model, population: Population) -> None:
        """Raise ValueError where the kernel cannot serve the model; called before anything is compiled."""

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
    """Independent proposals eta ~ p(eta | theta). Needs no tuning; seldom accepted where the data say much.

    ```python
    method = mf.SAEM(kernels=(mf.PriorProposal(steps=1), mf.RandomWalk()))
    ```
    """

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
    """A random walk in one random effect after the other, each with a scale of its own, adapted as in `RandomWalk`.

    ```python
    method = mf.SAEM(kernels=(mf.PriorProposal(), mf.ComponentWise(steps=1)))
    ```
    """

    steps: int = 2
    target: float = 0.4
    label: ClassVar[str] = "component-wise"

    def moves(self, model):
        return self.steps * eta_size(model)

    def propose(self, key, target, eta, tuning, move):
        count = eta.shape[-1]
        moving = jnp.arange(count) == move % count
        return self.moved(key, target.model, eta, jnp.where(moving, tuning, 0.0))


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
