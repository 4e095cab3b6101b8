"""A multilayer perceptron."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

Numbers: TypeAlias = float | int | Sequence[float | int] | np.ndarray  # one for all, or one for each


def identity(x: Array) -> Array:
    """x itself: the link of outputs that may be any number. It has a name, so that a file can hold it."""
    return x


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
        link: Callable = identity,
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
