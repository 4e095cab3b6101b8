"""A drug that some people clear fast and others slowly: two groups, and a genotype that hints at them and is partly
missing."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from jaxtyping import Array, Bool

import mefit as mf

TIMES = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0])  # h
DOSE = 100.0  # mg
KA = 1.2  # 1/h
V = 30.0  # L
CLEARANCES = (1.5, 4.0)  # L/h, slow and fast
SD = 0.25  # of log clearance and of log volume, within a group
ERROR = 0.15  # SD of a log concentration
FAST = {0: 0.1, 1: 0.85}  # P(fast) by genotype, of which each is as common
UNKNOWN = -1.0  # stands for a genotype that was not determined


class Study(NamedTuple):
    """The people, and what a study does not know of them."""

    people: mf.Population
    fast: Bool[np.ndarray, " N"]
    genotype: np.ndarray  # (N,), of everybody


class Oral(mf.Model):
    """One compartment, first-order absorption, log-normal clearance and volume, log-normal error."""

    ka: Array = mf.positive(unit="1/h")
    cl: Array = mf.positive(unit="L/h")
    v: Array = mf.positive(unit="L")
    omega: Array = mf.diagonal_covariance(names=("cl", "v"))
    sigma: Array = mf.positive()

    def random_effects(self):
        return dist.MultivariateNormal(jnp.zeros(2), self.omega)

    def observations(self, eta, subject):
        cl = self.cl * jnp.exp(eta[0])
        v = self.v * jnp.exp(eta[1])
        level = mf.pk.oral_one_compartment(subject, ka=self.ka, cl=cl, v=v)
        return dist.LogNormal(jnp.log(level), self.sigma)


def simulate(count: int, seed: int, clearances: tuple[float, ...] = CLEARANCES, missing: float = 0.25) -> Study:
    """`count` people, a share `missing` of whom without genotype; the slow clearance twice for a study of one group."""
    rng = np.random.default_rng(seed)
    genotype = rng.integers(2, size=count).astype(float)
    fast = rng.random(count) < np.where(genotype == 1, FAST[1], FAST[0])
    eta = SD * rng.standard_normal((count, 2))
    cl = np.where(fast, clearances[-1], clearances[0]) * np.exp(eta[:, 0])
    v = V * np.exp(eta[:, 1])
    rate = (cl / v)[:, None]
    level = DOSE * KA / (v[:, None] * (KA - rate)) * (np.exp(-rate * TIMES) - np.exp(-KA * TIMES))
    y = level * np.exp(ERROR * rng.standard_normal(level.shape))
    told = np.where(rng.random(count) < missing, UNKNOWN, genotype)
    rows = 1 + TIMES.size
    frame = pd.DataFrame(
        {
            "ID": np.repeat(np.arange(1, count + 1), rows),
            "TIME": np.tile(np.concatenate([[0.0], TIMES]), count),
            "DV": np.concatenate([np.full((count, 1), np.nan), y], axis=1).ravel(),
            "AMT": np.tile(np.concatenate([[DOSE], np.zeros(TIMES.size)]), count),
            "GENOTYPE": np.repeat(told, rows),
        }
    )
    people = mf.Population.from_frame(frame, covariates={"genotype": "GENOTYPE"})
    return Study(people, fast, genotype)


def one_group(cl: float = 2.5) -> Oral:
    """A model of one group, at values to begin with."""
    omega = jnp.diag(jnp.array([0.1, 0.1]))
    return Oral(ka=jnp.array(1.0), cl=jnp.array(cl), v=jnp.array(25.0), omega=omega, sigma=jnp.array(0.2))


def two_groups(gate: mf.LinearGate | mf.ConstantGate | None = None) -> mf.MixtureOfExperts:
    """Two groups that differ in clearance alone."""
    return mf.MixtureOfExperts((one_group(1.8), one_group(3.2)), gate, shared=("ka", "v", "omega", "sigma"))
