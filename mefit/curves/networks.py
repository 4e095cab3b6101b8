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
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float

Numbers: TypeAlias = float | int | Sequence[float | int] | np.ndarray  # one for all, or one for each


class MLP(eqx.Module):
    """A multilayer perceptron from `inputs` numbers to `outputs` numbers:

        h_0 = (x - centre) / spread,
        h_l = activation(W_l h_{l-1} + b_l),
        f(x) = link(shift + scale (W h + b)).

    `hidden` are the widths of the layers between; with none of them f is linear before the link.
    `centre` and `spread` bring the inputs, `shift` and `scale` the outputs, to a size near one,
    which the activation and the weights' prior take for granted: give the mean and SD of what goes
    in and of what shall come out. They are constants, not weights. `link` keeps outputs where they
    belong: `jax.nn.softplus` or `jnp.exp` positive, `jax.nn.sigmoid` in (0, 1).

    The start is the same for the same `seed`: W_l ~ N(0, 1 / its inputs), b_l ~ N(0, 1/4) in the
    hidden layers, so that their bends lie among the data and not all in one place, and the last
    layer `last` times as large, so that the first curve is close to link(shift) everywhere: a
    network starts by claiming nothing. Inside a differential equation that is what keeps the first
    solution from running away. Random effects as inputs are best given a `spread` of about 3 of
    their SDs: then the first family of curves is smooth in them, and does not fold.

    **Raises:** ValueError where a number of inputs, outputs or units is below one, or a scaling has
    another length. Source of the initial scale: Glorot and Bengio (2010), AISTATS 9.
    """

    weights: tuple[Float[Array, "out in"], ...]  # of each layer
    biases: tuple[Float[Array, " out"], ...]
    centre: tuple[float, ...] = eqx.field(static=True)  # of each input
    spread: tuple[float, ...] = eqx.field(static=True)
    shift: tuple[float, ...] = eqx.field(static=True)  # of each output
    scale: tuple[float, ...] = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)  # of the hidden layers
    link: Callable = eqx.field(static=True)  # of the outputs

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int] = (6, 6),
        outputs: int = 1,
        *,
        centre: Numbers = 0.0,
        spread: Numbers = 1.0,
        shift: Numbers = 0.0,
        scale: Numbers = 1.0,
        activation: Callable = jnp.tanh,
        link: Callable = lambda x: x,
        last: float | int = 0.1,
        seed: int = 0,
    ):
        sizes = (inputs, *hidden, outputs)
        if min(sizes) < 1:
            raise ValueError(f"MLP with layers of {sizes} units: every layer needs one or more.")
        rng = np.random.default_rng(seed)
        sd_of_weights = [1.0 / np.sqrt(n) for n in sizes[:-2]] + [last / np.sqrt(sizes[-2])]
        sd_of_biases = [0.5] * len(hidden) + [0.0]
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        weights = zip(sd_of_weights, shapes, strict=True)
        biases = zip(sd_of_biases, sizes[1:], strict=True)
        self.weights = tuple(jnp.asarray(sd * rng.standard_normal(shape)) for sd, shape in weights)
        self.biases = tuple(jnp.asarray(sd * rng.standard_normal(rows)) for sd, rows in biases)
        self.centre = _fit_to("centre", centre, inputs)
        self.spread = _fit_to("spread", spread, inputs)
        self.shift = _fit_to("shift", shift, outputs)
        self.scale = _fit_to("scale", scale, outputs)
        if not all(s > 0 for s in (*self.spread, *self.scale)):
            raise ValueError("MLP's spread and scale divide and multiply: give positive numbers.")
        self.activation = activation
        self.link = link

    def __call__(self, *inputs: ArrayLike) -> Float[Array, "..."]:
        """The output at one point, a scalar where there is one output.

        Numbers and vectors are joined in order: `net(t, eta)`.
        """
        x = jnp.concatenate([jnp.reshape(jnp.asarray(part, float), -1) for part in inputs])
        if x.size != len(self.centre):
            raise ValueError(f"this network takes {len(self.centre)} numbers, and was given {x.size}.")
        h = (x - jnp.asarray(self.centre)) / jnp.asarray(self.spread)
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = self.activation(w @ h + b)
        linear = self.weights[-1] @ h + self.biases[-1]
        out = self.link(jnp.asarray(self.shift) + jnp.asarray(self.scale) * linear)
        return out[0] if len(self.shift) == 1 else out

    def along(self, first: Float[ArrayLike, " n"], *others: ArrayLike) -> Float[Array, "n ..."]:
        """The outputs along a vector of the first input: `net.along(subject.time, eta)`.

        The other inputs stay the same.
        """
        return jax.vmap(lambda x: self(x, *others))(jnp.asarray(first, float))

    @property
    def size(self) -> int:
        """How many weights and biases there are."""
        return sum(leaf.size for leaf in (*self.weights, *self.biases))


def _fit_to(name: str, value: Any, count: int) -> tuple[float, ...]:
    given = np.atleast_1d(np.asarray(value, float))
    if given.size not in (1, count):
        raise ValueError(f"MLP's {name} has {given.size} numbers for {count}: give one, or one for each.")
    return tuple(float(x) for x in np.broadcast_to(given, count))


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
    """-strength sum w^2, as a density: w ~ N(0, 1 / (2 strength)).

    Pulls large weights in: smooth curves.
    """

    def density(self):
        return dist.Normal(0.0, jnp.sqrt(0.5 / self.strength))


class L1(Penalty):
    """-strength sum |w|, as a density: w ~ Laplace(0, 1 / strength).

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
