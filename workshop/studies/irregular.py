"""Encoders of any times compared: a set that is pooled, a recurrent network, and a linear mixed model's posterior.

The curves are those of `workshop.studies.autoencoders`, each person seen 4 to 12 times of their own on [0, 1]. Three
encoders read such records, and train the same decoder:

    PooledEncoder            q(eta | y) from the mean over rows of a network of (t, z), and their number
    RecurrentEncoder         from the last state of a gated recurrent unit that reads (t, z) in the order of time
    mf.networks.SetEncoder   from the posterior of a linear mixed model with learned loadings

The first two stand here and not in the library: they would have to earn a place there, by `compared`.
"""

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

import mefit as mf
from mefit.curves.encoding import AnyEncoder, Gaussian, Sizes, lower_of, outputs_for

from .autoencoders import SIGMA, coefficient_model

FEWEST, MOST = 4, 12  # rows of a person
_NODES = 201  # of the oracle's sum over b2


class Records(NamedTuple):
    """People with times of their own, and each one's log-likelihood (N,) by the truth."""

    population: mf.Population
    log_likelihood: Float[np.ndarray, " N"]


def simulate_records(count: int, seed: int, bent: bool = False) -> Records:
    """`count` people, seen at 4 to 12 times that are uniform on [0, 1]."""
    rng = np.random.default_rng(3000 + seed)
    times = np.sort(rng.random((count, MOST)), axis=1)
    seen = np.arange(MOST) < rng.integers(FEWEST, MOST + 1, (count, 1))
    b = rng.standard_normal((count, 3)) * np.sqrt([1.0, 1.0, 0.5])
    curves = _bent_part(times, b[:, 1:2], bent) + 2 + (1 + b[:, :1]) * times + b[:, 2:] * np.sin(3 * times)
    y = curves + SIGMA * rng.standard_normal(curves.shape)
    person, row = np.nonzero(seen)
    frame = pd.DataFrame({"ID": person + 1, "TIME": times[person, row], "DV": y[person, row]})
    return Records(mf.Population.from_frame(frame), _true_log_likelihood(times, y, seen, bent))


def _bent_part(times: np.ndarray, b2: np.ndarray, bent: bool) -> np.ndarray:
    if bent:
        return 1.5 * np.cos(2 * np.pi * (times - 0.1 * b2))
    return 1.5 * np.cos(2 * np.pi * times) * np.exp(0.3 * b2)


def _true_log_likelihood(times: np.ndarray, y: np.ndarray, seen: np.ndarray, bent: bool) -> np.ndarray:
    """By a sum over a fine grid of b2, given which everything is Gaussian."""
    nodes = np.linspace(-8.0, 8.0, _NODES)
    weights = np.exp(-0.5 * nodes**2)
    log_weights = np.log(weights / weights.sum())
    values = []
    for t, response, real in zip(times, y, seen, strict=True):
        t = t[real]
        loadings = np.column_stack([t, np.sin(3 * t)]) * np.sqrt([1.0, 0.5])
        lower = np.linalg.cholesky(loadings @ loadings.T + SIGMA**2 * np.eye(t.size))
        means = 2 + _bent_part(t, nodes[:, None], bent) + t
        z = solve_triangular(lower, (response[real] - means).T, lower=True)
        constant = np.sum(np.log(np.diagonal(lower))) + 0.5 * t.size * np.log(2 * np.pi)
        values.append(logsumexp(log_weights - 0.5 * np.sum(z**2, axis=0)) - constant)
    return np.array(values)


class _OfRows(AnyEncoder):
    """Base of the two: rows (t, z) of one outcome, standardised, and which of them were seen."""

    constants: dict[str, Any]
    covariates: tuple[str, ...] = eqx.field(static=True)
    size: int = eqx.field(static=True)

    @property
    def effects(self) -> int:
        return self.size

    def check(self, population: mf.Population) -> None:
        if population.outcomes:
            raise ValueError("this encoder reads one outcome, without a name.")

    def rows(self, subject: mf.Subject) -> tuple[Float[Array, "n 2"], Array]:
        """What is read of each row, and whether it was seen."""
        t = self.constants["time"].of(subject.time)
        z = self.constants["values"].of(subject.y)
        return jnp.stack([t, jnp.where(subject.mask, z, 0.0)], axis=1), subject.mask

    def answer(self, out: Float[Array, " m"]) -> Gaussian:
        """The Gaussian that these numbers say."""
        return self.in_its_unit(out[: self.size], lower_of(out[self.size :], self.size))


def _constants(population: mf.Population) -> dict[str, Any]:
    seen = np.asarray(population.subjects.mask, bool)
    read = {"time": population.subjects.time, "values": population.subjects.y}
    told = {name: np.asarray(values, float)[seen] for name, values in read.items()}
    sizes = {name: Sizes(jnp.asarray(values.mean()), jnp.asarray(values.std())) for name, values in told.items()}
    return {"effects": None, "covariates": Sizes(jnp.zeros(0), jnp.ones(0)), **sizes}


class PooledEncoder(_OfRows):
    """q(eta | y) = g(mean over rows of f(t, z), log(1 + their number)), f and g networks.

    Source: Zaheer et al. (2017), Deep sets, NeurIPS, theorem 2.
    """

    of_row: mf.networks.MLP
    of_all: mf.networks.MLP

    def __init__(self, population: mf.Population, effects: int, width: int = 64, *, seed: int = 0):
        self.constants = _constants(population)
        self.covariates = ()
        self.size = effects
        self.of_row = mf.networks.MLP(2, (width,), width, last=1.0, seed=2 * seed)
        self.of_all = mf.networks.MLP(width + 1, (width,), outputs_for(effects, full=True), seed=2 * seed + 1)

    def __call__(self, subject: mf.Subject) -> Gaussian:
        rows, seen = self.rows(subject)
        told = jnp.where(seen[:, None], jax.vmap(self.of_row)(rows), 0.0)
        count = jnp.sum(seen)
        return self.answer(self.of_all(jnp.sum(told, axis=0) / jnp.maximum(count, 1), jnp.log1p(count)))


class RecurrentEncoder(_OfRows):
    """q(eta | y) from the last state of a gated recurrent unit, which reads the seen rows in the order of time.

    Each row is read as (t, time since the row before, z). The order in which rows stand changes nothing, for they are
    sorted first, nor do rows that were not seen, which leave the state as it is.
    Source: Cho et al. (2014), EMNLP, section 2.3.
    """

    unit: eqx.nn.GRUCell
    last: mf.networks.MLP

    def __init__(self, population: mf.Population, effects: int, width: int = 32, *, seed: int = 0):
        self.constants = _constants(population)
        self.covariates = ()
        self.size = effects
        self.unit = eqx.nn.GRUCell(3, width, key=jax.random.key(seed))
        self.last = mf.networks.MLP(width, (), outputs_for(effects, full=True), seed=seed)

    def __call__(self, subject: mf.Subject) -> Gaussian:
        rows, seen = self.rows(subject)
        order = jnp.argsort(jnp.where(seen, rows[:, 0], jnp.inf))
        t, z = rows[order].T
        read = jnp.stack([t, jnp.diff(t, prepend=t[:1]), z], axis=1)

        def onward(state: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
            inputs, real = row
            return jnp.where(real, self.unit(inputs, state), state), None

        state, _ = jax.lax.scan(onward, jnp.zeros(self.unit.hidden_size), (read, seen[order]))
        return self.answer(self.last(state))


ENCODERS = {"pooled": PooledEncoder, "recurrent": RecurrentEncoder, "linear mixed model": mf.networks.SetEncoder}


def compared(seeds: tuple[int, ...] = (1, 2), bent: bool = True, count: int = 800, steps: int = 3000) -> pd.DataFrame:
    """Each encoder on each data set: `lost`, the log-likelihood of 400 other people less the truth's, in nats a
    person; `gap` to the bound on those who were trained on; `sample`, the effective size of 500 draws from the encoder
    for the others; sigma (true 0.5); and `seconds` of CPU, those of a data set after the first without compiling.
    """
    rows = []
    for name, kind in ENCODERS.items():
        for seed in seeds:
            fit, seconds = _fitted(kind, seed, bent, count, steps)
            rows.append({"encoder": name, "data": seed} | _scores(fit, seed, bent) | {"seconds": seconds})
    return pd.DataFrame(rows)


def _fitted(kind: Any, seed: int, bent: bool, count: int, steps: int) -> tuple[mf.Fit, float]:
    population = simulate_records(count, seed, bent).population
    begin = time.process_time()
    method = mf.Adam(mf.Amortised(kind(population, 3), samples=100), steps=steps, learning_rate=5e-3, batch=100)
    model = coefficient_model(units=24)
    fit = mf.fit(model, population, method, key=jax.random.key(seed), progress=False)
    return fit, time.process_time() - begin


def _scores(fit: mf.Fit, seed: int, bent: bool) -> dict[str, float]:
    assert fit.encoder is not None and fit.amortised is not None
    others = simulate_records(400, 100 + seed, bent)
    around_modes = mf.ImportanceSampling(samples=500)  # not from the encoder, whose faults are told beside it
    value = mf.log_likelihood(fit.model, others.population, around_modes, key=jax.random.key(0), by_subject=True)
    people = mf.individual(
        fit.model, others.population, draws=250, proposed=500, proposal=fit.encoder, key=jax.random.key(0)
    )
    return {
        "lost": float(np.mean(value - others.log_likelihood)),
        "gap": fit.amortised.gap,
        "sample": float(np.mean(people.effective_sample_size)),
        "sigma": float(fit.model.sigma),  # type: ignore[attr-defined]
    }
