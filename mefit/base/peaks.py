"""Where a log density peaks: one mode, or several of them with what lies under each."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .small_matrices import half_log_det

MOST_KEPT = 4  # peaks: for each a quadrature has a grid; what lies under a fifth is left out, and said to be
APART = 0.1  # SDs of the higher peak: modes closer than this are one
COUNTS = 7.0  # nats: what lies under a lower peak is nothing beside the highest, less than a thousandth
LITTLE = 0.01  # share of what lies under all peaks that may be left out: a hundredth of a nat
_CLEARLY = 1e-6  # nats by which another peak than the first must have more, to come before it


class Mode(NamedTuple):
    """Where a log density peaks, minus its Hessian there, and whether the search reached the peak."""

    eta: Float[Array, " K"]
    precision: Float[Array, "K K"]
    converged: Bool[Array, ""]


class Peaks(NamedTuple):
    """Several peaks. Where fewer than there is room for were found, the highest again, with a share of 0."""

    modes: Mode  # of C peaks, each with an axis in front; in the order of their first coordinate, so that none jumps
    log_share: Float[Array, " C"]  # of what lies under these, by Laplace
    left_out: Float[Array, ""]  # share of what lies under all that lies under the others, for which there was no room


def only(mode: Mode) -> Peaks:
    """A mode as the only peak."""
    return Peaks(jax.tree.map(lambda leaf: leaf[None], mode), jnp.zeros(1), jnp.zeros(()))


def highest_of(peaks: Peaks) -> Mode:
    """The mode with most under it."""
    which = jnp.argmax(peaks.log_share)
    return jax.tree.map(lambda leaf: leaf[which], peaks.modes)


def log_mass(value: Float[Array, ""], precision: Float[Array, "K K"]) -> Float[Array, ""]:
    """What lies under a peak by Laplace, exp(value) |P|^-1/2 but for a constant, on the log scale."""
    return value - half_log_det(jnp.linalg.cholesky(precision))


def peaks_of(found: Mode, values: Float[Array, " S"]) -> Peaks:
    """Of the ends of several searches, which may be the same, the peaks with most under them.

    The first search is preferred to what is no better, and stands alone where none has ended.
    """
    mass = jax.vmap(log_mass)(values, found.precision)
    mass = jnp.where(found.converged & jnp.isfinite(mass), mass, -jnp.inf)
    order = jnp.argsort(-mass.at[0].add(_CLEARLY))  # stable: where all are equal, the first comes first
    found, mass = jax.tree.map(lambda leaf: leaf[order], (found, mass))
    move = found.eta[:, None] - found.eta
    near = jnp.einsum("abi,bij,abj->ab", move, found.precision, move) <= APART**2
    again = jnp.any(jnp.tril(near & jnp.isfinite(mass), -1), axis=1)
    mass = jnp.where(again | (mass < mass[0] - COUNTS), -jnp.inf, mass)
    mass = mass.at[0].set(jnp.where(jnp.isfinite(mass[0]), mass[0], 0.0))
    mass = jax.nn.log_softmax(mass)
    kept = jnp.argsort(-mass)[:MOST_KEPT]
    there = jnp.isfinite(mass[kept])  # those that are come first, here and in the order below
    kept = jnp.where(there, kept, 0)
    kept = kept[jnp.argsort(jnp.where(there, found.eta[kept, 0], jnp.inf))]
    shares = jnp.where(there, mass[kept], -jnp.inf)
    left_out = 1.0 - jnp.sum(jnp.exp(shares))
    return Peaks(jax.tree.map(lambda leaf: leaf[kept], found), jax.nn.log_softmax(shares), left_out)
