"""What every encoder is: a network that answers with a Gaussian, and what brings numbers to a size near one."""

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from ..data.by_outcome import as_dict
from ..data.population import Population
from ..data.subject import Subject

_FILLED = 0.2  # of the planned times: where people were seen at fewer on average, they have times of their own
_PLANNED = 200  # times

EncoderT = TypeVar("EncoderT", bound="AnyEncoder")


class Gaussian(NamedTuple):
    """q(eta | y) = N(mean, C C')."""

    mean: Float[Array, " K"]
    lower: Float[Array, "K K"]  # C, lower triangular with a positive diagonal


class EffectScale(NamedTuple):
    """Where random effects lie before any data: what an encoder's first answer is."""

    mean: Float[Array, " K"]
    sd: Float[Array, " K"]


class AnyEncoder(eqx.Module):
    """Base of encoders: called with a subject, one answers with a `Gaussian`.

    Its constants (centres and spreads of what it reads and answers) stand in `constants`, and are not learned; all
    other arrays are its weights. The answer is in units of `constants["effects"]`, which a fit sets from the model's
    p(eta), so that no unit matters.
    """

    constants: eqx.AbstractVar[dict[str, Any]]
    covariates: eqx.AbstractVar[tuple[str, ...]]  # names of those that it reads

    @property
    @abc.abstractmethod
    def effects(self) -> int:
        """K, the number of random effects that it answers for."""

    @abc.abstractmethod
    def __call__(self, subject: Subject) -> Gaussian:
        """q(eta | y) of one subject."""

    @abc.abstractmethod
    def check(self, population: Population) -> None:
        """Raise ValueError for subjects that it cannot read, which compiled code could not tell."""

    @property
    def weights(self) -> PyTree:
        """What is learned: the encoder without its constants, which are None here."""
        kept = eqx.filter(self, eqx.is_inexact_array)
        return eqx.tree_at(lambda encoder: encoder.constants, kept, None)

    def with_weights(self: EncoderT, weights: PyTree) -> EncoderT:
        """The encoder with these weights; the inverse of `weights`."""
        return eqx.combine(weights, self)

    def for_effects(self: EncoderT, mean: Float[ArrayLike, " K"], sd: Float[ArrayLike, " K"]) -> EncoderT:
        """The encoder whose first answer is N(mean, sd^2) for everybody; one that was set before stays as it is."""
        if self.constants["effects"] is not None:
            return self
        scale = EffectScale(jnp.asarray(mean, float), jnp.asarray(sd, float))
        return eqx.tree_at(lambda encoder: encoder.constants["effects"], self, scale, is_leaf=lambda leaf: leaf is None)

    def begun_anew(self: EncoderT, seed: int) -> EncoderT:
        """The encoder with other weights to begin with: each layer's drawn from N(0, s^2), s their root mean square."""
        rng = np.random.default_rng(seed)

        def drawn(weights: Array) -> Array:
            spread = np.sqrt(np.mean(np.square(weights)))
            return jnp.asarray(spread * rng.standard_normal(weights.shape))

        return self.with_weights(jax.tree.map(drawn, self.weights))

    def covariates_read(self, subject: Subject) -> Float[Array, " C"]:
        """The subject's covariates, standardised."""
        sizes: Sizes = self.constants["covariates"]
        return sizes.of(covariates_of(subject, self.covariates))

    def in_its_unit(self, mean: Float[Array, " K"], lower: Float[Array, "K K"]) -> Gaussian:
        """An answer in SDs of the random effects, in the unit of the random effects: SDs of one until a fit sets it."""
        scale: EffectScale | None = self.constants["effects"]
        if scale is None:
            return Gaussian(mean, lower)
        return Gaussian(scale.mean + scale.sd * mean, scale.sd[:, None] * lower)


def shares_planned_times(population: Population) -> bool:
    """Were people to be seen at the same few times, or each at times of their own?"""
    real = np.asarray(population.subjects.real, bool)
    times = np.asarray(population.subjects.time, float)[real]
    distinct = np.unique(times).size
    return distinct <= _PLANNED and times.size >= _FILLED * distinct * len(population)


def refuse_no_effects(effects: int) -> None:
    """ValueError for fewer than one random effect."""
    if effects < 1:
        raise ValueError(f"an encoder for {effects} random effects: there must be one or more.")


def outputs_for(effects: int, full: bool) -> int:
    """How many numbers say a mean and a Cholesky factor."""
    return 2 * effects + (effects * (effects - 1) // 2 if full else 0)


def lower_of(numbers: Float[Array, " m"], effects: int) -> Float[Array, "K K"]:
    """A Cholesky factor: the logarithms of its diagonal, then what stands below it, row by row, or nothing."""
    rows, columns = np.hstack([np.diag_indices(effects), np.tril_indices(effects, -1)])[:, : numbers.size]
    into = np.zeros((numbers.size, effects, effects))
    into[np.arange(numbers.size), rows, columns] = 1.0
    # a sum of products, since writing into places is a loop for a compiler
    return jnp.tensordot(jnp.concatenate([jnp.exp(numbers[:effects]), numbers[effects:]]), into, 1)


class Sizes(NamedTuple):
    """Centre and spread of what is read, by which it is brought to a size near one."""

    centre: Array
    spread: Array

    def of(self, values: Array) -> Array:
        """The values in this centre and spread."""
        return (values - self.centre) / self.spread


def sizes_of(values: np.ndarray, seen: np.ndarray) -> Sizes:
    """For each column (J,) the mean of what was seen; one SD for all columns about these means."""
    count = seen.sum(axis=0)
    total = np.where(seen, values, 0.0).sum(axis=0)
    overall = total.sum() / max(1, count.sum())
    centre = np.where(count > 0, total / np.maximum(count, 1), overall)
    residual = np.where(seen, values - centre, 0.0)
    spread = np.sqrt((residual**2).sum() / max(1, count.sum()))
    return Sizes(jnp.asarray(centre), jnp.asarray(spread if spread > 0.0 else 1.0))


def responses_of(population: Population, outcome: str) -> np.ndarray:
    """All responses of an outcome that were seen."""
    mask = np.asarray(as_dict(population.subjects.mask)[outcome], bool)
    return np.asarray(as_dict(population.subjects.y)[outcome], float)[mask]


def covariates_of(subject: Subject, names: Sequence[str]) -> Float[Array, " C"]:
    """The covariates named, one number each; of one that changes in time, the subject's first row."""
    values = [jnp.ravel(jnp.asarray(subject.covariates[name], float))[0] for name in names]
    return jnp.stack(values) if values else jnp.zeros(0)


def sizes_of_covariates(population: Population, names: Sequence[str]) -> Sizes:
    """Mean and SD of each covariate over the subjects; ValueError for one that the population has not."""
    known = population.subjects.covariates
    for name in names:
        if name not in known:
            raise ValueError(
                f"the covariate {name!r} is asked for, and the population has {', '.join(known) or 'none'}: "
                "name it in covariates= when the data are read."
            )
    columns = [np.asarray(known[name], float).reshape(len(population), -1)[:, 0] for name in names]
    table = np.stack(columns, axis=1) if columns else np.zeros((len(population), 0))
    spread = table.std(axis=0)
    return Sizes(jnp.asarray(table.mean(axis=0)), jnp.asarray(np.where(spread > 0.0, spread, 1.0)))


def outcome_names(population: Population) -> tuple[str, ...]:
    """The names of the outcomes in order; one without a name has the name that `as_dict` gives it."""
    return tuple(sorted(as_dict(population.subjects.y)))


def refuse_other_outcomes(outcomes: tuple[str, ...], population: Population) -> None:
    """ValueError where the population's outcomes are not those that an encoder was built for."""
    others = outcome_names(population)
    if others != outcomes:
        told = [", ".join(filter(None, names)) or "one outcome without a name" for names in (outcomes, others)]
        raise ValueError(f"the encoder reads {told[0]}, and the population has {told[1]}: build it anew.")
