"""An autoencoder for concentrations as it is often written, whose loss decides by the size of a batch whether patients
differ; and the same networks under the bound.

The classes follow a published listing line by line, with its defaults: 24 fixed times, three covariates, 8 latent
numbers, layers of 64 and 32 and back, the dose as an input of the decoder. Two things in it are wrong.

- **`latent_dim` without `self`.** The listing's `encode` cuts its output at `latent_dim`, a name that is known in
  `__init__` only: it stops with a NameError before anything is learned. Here it is `self.latent_dim`.
- **A mean of squares and a sum of divergences.** `loss` adds the mean of squared errors over the B x T cells of a batch
  to beta times the sum of KL over its B people. Times B T / (2 v) per batch, with v = beta B T / 2,

      mean of squares + beta sum KL    is    sum of squares / (2 v) + sum KL,      but for a factor:

  minus the bound of a Gaussian with the variance v, which nobody chose and which grows with the batch. A linear decoder
  keeps dimension j where the eigenvalue l_j of the data's covariance exceeds it, with KL_j = 1/2 log(l_j / v): above
  B = 2 l_1 / (beta T) nothing is left, and all patients get the same curve.

The remedy is one line: the bound, with the noise learned. `train` does either with the same networks.
Sources: the listing is a blog's of 2025; collapse: Lucas, Tucker, Grosse and Norouzi (2019), NeurIPS.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .one_person import SD, TYPICAL

TIMES = np.linspace(0.5, 24.0, 24)  # hours after a dose of 100 mg
NOISE = 0.1  # SD of the logarithm of a concentration
BETA = 0.1
MEAN_AND_SUM, BOUND = "mean of squares + beta x sum of KL", "the bound, noise learned"
LISTED = (64, 32)  # the listing's layers


class Data(NamedTuple):
    """Standardised logarithms of concentrations, and what the listing wants beside them."""

    y: Float[np.ndarray, "N T"]
    covariates: Float[np.ndarray, "N 3"]
    dose: Float[np.ndarray, " N"]


def simulate(people: int, seed: int, times: Float[np.ndarray, " T"] = TIMES) -> Data:
    """People of one compartment by mouth: log C at each time, less its mean and over its SD in an endless population.

    Covariates say nothing, and everybody gets the same dose, so that all that tells people apart is in y.
    """
    rng = np.random.default_rng(seed)
    centre, spread = _population(tuple(times))
    y = _log_concentrations(people, rng, times)
    return Data((y - centre) / spread, rng.standard_normal((people, 3)), np.ones(people))


def _log_concentrations(people: int, rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    ka, cl, v = (np.asarray(TYPICAL) * np.exp(rng.standard_normal((people, 3)) * SD)).T[:, :, None]
    k = cl / v
    curve = 100.0 * ka / (v * (ka - k)) * (np.exp(-k * times) - np.exp(-ka * times))
    return np.log(curve) + NOISE * rng.standard_normal(curve.shape)


@functools.cache
def _population(times: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    y = _log_concentrations(20_000, np.random.default_rng(0), np.asarray(times))
    return y.mean(axis=0), y.std(axis=0)


def eigenvalues(data: Data) -> Float[np.ndarray, " T"]:
    """Of the data's covariance, largest first."""
    return np.linalg.eigvalsh(np.cov(data.y, rowvar=False))[::-1]


def implied_variance(batch: int, times: int = TIMES.size, beta: float = BETA) -> float:
    """v = beta B T / 2, the variance of the noise that the listing's loss takes for granted."""
    return 0.5 * beta * batch * times


class Layers(eqx.Module):
    """Linear layers with ReLU between them, with a listing's usual start: U(-1, 1) / sqrt(inputs)."""

    layers: tuple[eqx.nn.Linear, ...]

    def __init__(self, sizes: tuple[int, ...], key: PRNGKeyArray):
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(
            eqx.nn.Linear(inputs, outputs, key=k) for inputs, outputs, k in zip(sizes, sizes[1:], keys, strict=False)
        )

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


class PKVAE(eqx.Module):
    """The listing's class."""

    encoder: Layers  # concentrations and covariates -> mean and log variance
    decoder: Layers  # latent numbers and dose -> concentrations
    log_sigma: Array  # the bound's own; the listing has none
    latent_dim: int = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        latent_dim: int = 8,
        time_points: int = TIMES.size,
        hidden: tuple[int, ...] = LISTED,
    ):
        key_in, key_out = jax.random.split(key)
        self.encoder = Layers((time_points + 3, *hidden, 2 * latent_dim), key_in)
        self.decoder = Layers((latent_dim + 1, *reversed(hidden), time_points), key_out)
        self.log_sigma = jnp.zeros(())
        self.latent_dim = latent_dim

    def encode(self, x: Float[Array, " i"]) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
        h = self.encoder(x)
        return h[: self.latent_dim], h[self.latent_dim :]  # the listing: latent_dim, which is a NameError

    def decode(self, z: Float[Array, " K"], dose: Float[Array, ""]) -> Float[Array, " T"]:
        return self.decoder(jnp.append(z, dose))

    def __call__(self, x: Float[Array, " i"], dose: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        mu, logvar = self.encode(x)
        z = mu + jnp.exp(0.5 * logvar) * jax.random.normal(key, mu.shape)
        return self.decode(z, dose), mu, logvar


def mean_and_sum(recon: Array, target: Array, mu: Array, logvar: Array, beta: float = BETA) -> Array:
    """The listing's loss of a batch: a mean over cells, and a sum over people and latent numbers."""
    return jnp.mean((recon - target) ** 2) + beta * jnp.sum(divergence(mu, logvar))


def minus_bound(recon: Array, target: Array, mu: Array, logvar: Array, log_sigma: Array) -> Array:
    """Minus the evidence lower bound per person, the noise being learned."""
    cells = 0.5 * ((recon - target) / jnp.exp(log_sigma)) ** 2 + log_sigma + 0.5 * jnp.log(2.0 * jnp.pi)
    return jnp.mean(jnp.sum(cells, axis=-1) + jnp.sum(divergence(mu, logvar), axis=-1))


def divergence(mu: Array, logvar: Array) -> Array:
    """KL(N(mu, exp logvar) || N(0, 1)), number by number."""
    return -0.5 * (1.0 + logvar - mu**2 - jnp.exp(logvar))


class Trained(NamedTuple):
    """What a training ended at, on other people."""

    r2: float  # of the curve that the encoder's mean decodes to
    divergence: Float[np.ndarray, " K"]  # mean KL per person of each latent number, largest first
    sigma: float  # of the noise: that is learned, or that the loss implies
    net: PKVAE

    @property
    def active(self) -> int:
        """How many latent numbers say a tenth of a nat or more."""
        return int(np.sum(self.divergence > 0.1))


def train(
    loss: str = MEAN_AND_SUM,
    *,
    batch: int = 32,
    people: int = 200,
    times: int = 12,
    latent_dim: int = 4,
    hidden: tuple[int, ...] = (16,),
    steps: int = 1200,
    rate: float = 1e-2,
    seed: int = 0,
) -> Trained:
    """Train the networks by either loss on `people`, and look at 500 others. The sizes are the smallest that show it;
    the listing's are times=24, latent_dim=8, hidden=LISTED, with 500 people, 2,000 steps and a rate of 3e-3."""
    at = np.linspace(0.5, 24.0, times)
    data = simulate(people, 2 * seed + 1, at)
    key_start, key_steps = jax.random.split(jax.random.key(seed))
    net = PKVAE(key_start, latent_dim, times, hidden)
    rng = np.random.default_rng(seed)
    passes = -(-steps // (people // batch))
    chosen = np.concatenate([rng.permutation(people)[: people // batch * batch] for _ in range(passes)])
    net = _trained(net, data, chosen.reshape(-1, batch)[:steps], jax.random.split(key_steps, steps), loss, rate)
    return _looked_at(net, simulate(500, 2 * seed + 2, at), loss, batch)


def _loss(net: PKVAE, batch: Data, key: PRNGKeyArray, loss: str) -> Array:
    x = jnp.concatenate([batch.y, batch.covariates], axis=1)
    recon, mu, logvar = jax.vmap(net)(x, batch.dose, jax.random.split(key, len(x)))
    if loss == MEAN_AND_SUM:
        return mean_and_sum(recon, batch.y, mu, logvar)
    return minus_bound(recon, batch.y, mu, logvar, net.log_sigma)


@eqx.filter_jit
def _trained(net: PKVAE, data: Data, chosen: Array, keys: Array, loss: str, rate: float) -> PKVAE:
    """The whole training as one program."""
    adam = optax.adam(rate)
    weights, rest = eqx.partition(net, eqx.is_inexact_array)

    def step(state, drawn):
        which, key = drawn
        weights, moments = state
        batch = jax.tree.map(lambda values: jnp.asarray(values)[which], data)
        slope = jax.grad(lambda w: _loss(eqx.combine(w, rest), batch, key, loss))(weights)
        move, moments = adam.update(slope, moments)
        return (optax.apply_updates(weights, move), moments), None

    (weights, _), _ = jax.lax.scan(step, (weights, adam.init(weights)), (jnp.asarray(chosen), keys))
    return eqx.combine(weights, rest)


def _looked_at(net: PKVAE, new: Data, loss: str, batch: int) -> Trained:
    mu, logvar = jax.vmap(net.encode)(jnp.concatenate([new.y, new.covariates], axis=1))
    curves = np.asarray(jax.vmap(net.decode)(mu, jnp.asarray(new.dose)))
    missed = np.sum((new.y - curves) ** 2) / np.sum((new.y - new.y.mean(axis=0)) ** 2)
    sigma = np.sqrt(implied_variance(batch, new.y.shape[1])) if loss == MEAN_AND_SUM else np.exp(float(net.log_sigma))
    sorted_divergence = np.sort(np.asarray(divergence(mu, logvar)).mean(axis=0))[::-1]
    return Trained(float(1.0 - missed), sorted_divergence, float(sigma), net)
