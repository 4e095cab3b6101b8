"""Networks for population data: small multilayer perceptrons that are fields of a model.

    class MeNet(mf.Model):
        net: mf.networks.MLP = mf.weights(prior=mf.networks.L2(1.0))
        sigma: Array = mf.positive()

        def random_effects(self):
            return dist.Normal(jnp.zeros(2), 1.0)

        def observations(self, eta, subject):
            return dist.Normal(self.net.along(subject.time, eta), self.sigma)

    model = MeNet(net=mf.networks.MLP(3, (6, 6)), sigma=0.1)

A network may stand anywhere in a model: as a function of time and eta, as the right-hand side of a
differential equation, as the mean of the random effects given covariates. It has no state and no
hidden randomness.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

from ..data.population import Population
from .bases import Basis as Basis
from .bases import Cosines as Cosines
from .bases import LevellingOff as LevellingOff
from .bases import NaturalSpline as NaturalSpline
from .bases import TimeOfDay as TimeOfDay
from .encoders import Encoder as Encoder
from .encoding import AnyEncoder, shares_planned_times
from .mlp import MLP as MLP
from .set_encoder import SetEncoder as SetEncoder
from .unit_response import UnitResponse as UnitResponse

__all__ = [
    *("Cosines", "Encoder", "L1", "L2", "LevellingOff", "MLP", "NaturalSpline", "Penalty", "SetEncoder", "TimeOfDay"),
    *("UnitResponse", "encoder_for", "time_features"),
]


def encoder_for(population: Population, effects: int) -> AnyEncoder:
    """An encoder that suits a population: `Encoder` where people share planned times, else `SetEncoder`."""
    if shares_planned_times(population):
        return Encoder(population, effects)
    return SetEncoder(population, effects)


class Penalty(eqx.Module):
    """A prior for the weights of a network, given to `mf.weights(prior=...)`.

    `biases=False` leaves the biases free and `first=False` the weights of the first layer, which
    say how fast a curve may bend. In a pytree that is not an `MLP`, arrays of two axes are weights
    and others biases.
    """

    strength: float
    biases: bool = True
    first: bool = True

    def log_density(self, network: Any) -> Float[Array, ""]:
        """log p(weights), its normalising constant included; what is left free adds nothing."""
        if isinstance(network, MLP):
            weights = list(network.weights) if self.first else list(network.weights[1:])
            biases = list(network.biases)
        else:
            leaves = jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))
            weights = [leaf for leaf in leaves if leaf.ndim > 1]
            biases = [leaf for leaf in leaves if leaf.ndim <= 1]
        penalised = weights + biases if self.biases else weights
        density = self.density()
        return sum((jnp.sum(density.log_prob(values)) for values in penalised), start=jnp.zeros(()))

    @abc.abstractmethod
    def density(self) -> dist.Distribution:
        """The density of a single weight."""


class L2(Penalty):
    """-strength sum w^2 as a log density: w ~ N(0, 1 / (2 strength)).

    Pulls large weights in: smooth curves.
    """

    def density(self):
        return dist.Normal(0.0, jnp.sqrt(0.5 / self.strength))


class L1(Penalty):
    """-strength sum |w| as a log density: w ~ Laplace(0, 1 / strength).

    Pulls small weights to nothing.
    """

    def density(self):
        return dist.Laplace(0.0, 1.0 / self.strength)


def time_features(time: ArrayLike, *half_lives: float) -> Float[Array, "... F"]:
    """What is left of a unit after `time`, one column for each half-life: exp(-log 2 t / h), inputs
    that level off.

    A network of them, rather than of time itself, tends to a constant beyond the data. `time` in
    their unit.
    """
    if not half_lives or min(half_lives) <= 0:
        raise ValueError("time_features needs one or more half-lives, all positive, in the unit of time.")
    return jnp.exp(-jnp.log(2.0) * jnp.asarray(time, float)[..., None] / jnp.asarray(half_lives))
