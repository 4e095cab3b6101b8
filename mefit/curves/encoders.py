"""Encoders: networks that read one subject's records and answer with a Gaussian for its random effects.

    encoder = mf.networks.Encoder(population, effects=3)
    fit = mf.fit(model, population, mf.Adam(mf.Amortised(encoder), steps=3000), key=key)
    mean, lower = fit.encoder(subject)          # q(eta | y) of anybody, in microseconds

One network serves everybody, which is what *amortised* means: a new subject costs one evaluation and no search.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..base.places import place_among, sums_by_place
from ..data.by_outcome import as_dict
from ..data.population import Population
from ..data.subject import Subject
from .encoding import (
    AnyEncoder,
    Gaussian,
    lower_of,
    outcome_names,
    outputs_for,
    refuse_no_effects,
    refuse_other_outcomes,
    sizes_of,
    sizes_of_covariates,
)
from .mlp import MLP


class Encoder(AnyEncoder):
    """The encoder of planned times: a small network plus a straight line.

    With z (J,) the responses at each planned time of each outcome, less the mean of the population there and over one
    SD of the outcome, zero where nothing was seen, m (J,) which were seen, and w the covariates,

        q(eta | y) = N(A z + f(z, m, w), C C'),    C = C(f(z, m, w)),

    f a multilayer perceptron whose further outputs are the logarithms of C's diagonal and, if `full`, what stands below
    it. The straight line is the answer where everything is Gaussian; the network learns what bends, and what gaps do.
    Several responses of one outcome at one time count by their mean. The order of a subject's rows and padding change
    nothing. Before training the answer is about p(eta) for everybody.

    **Arguments**

    - `population`: its times are the planned ones, of which a subject may lack any; its responses give the sizes.
    - `effects`: K, the number of random effects.
    - `hidden`: the widths of the network's layers.
    - `full`: a full covariance; False for independent random effects in q.
    - `covariates`: names of those that it reads besides; one that changes in time is read at the first row.
    - `seed`: of the weights at the start.

    **Raises:** ValueError for more than 2,000 planned times (then `SetEncoder` reads any), for a covariate that is not
    there, and, by `check`, for a population with other times or outcomes.
    Source: Kingma and Welling (2014), ICLR; with the mask: Nazabal et al. (2020), Pattern Recognit. 107, section 3.1.
    """

    net: MLP
    line: Float[Array, "K J"]
    constants: dict[str, Any]
    outcomes: tuple[str, ...] = eqx.field(static=True)
    covariates: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        population: Population,
        effects: int,
        hidden: Sequence[int] = (64, 64),
        *,
        full: bool = True,
        covariates: Sequence[str] = (),
        seed: int = 0,
    ):
        refuse_no_effects(effects)
        grid = _planned(population)
        self.outcomes = outcome_names(population)
        self.covariates = tuple(covariates)
        places = _place_in(grid, np.asarray(population.subjects.time, float))
        read = [_on_grid(population, name, places, grid.size) for name in self.outcomes]
        self.constants = {
            "effects": None,  # a fit sets it
            "grid": jnp.asarray(grid),
            "values": {name: sizes_of(*table) for name, table in zip(self.outcomes, read, strict=True)},
            "covariates": sizes_of_covariates(population, self.covariates),
        }
        cells = grid.size * len(self.outcomes)
        inputs = 2 * cells + len(self.covariates)
        self.net = MLP(inputs, hidden, outputs_for(effects, full), seed=seed)
        self.line = jnp.zeros((effects, cells))

    @property
    def effects(self) -> int:
        return self.line.shape[0]

    def __call__(self, subject: Subject) -> Gaussian:
        values, seen = self.read(subject)
        covariates = self.covariates_read(subject)
        out = jnp.reshape(self.net(values, seen, covariates), -1)
        mean = self.line @ values + out[: self.effects]
        return self.in_its_unit(mean, lower_of(out[self.effects :], self.effects))

    def read(self, subject: Subject) -> tuple[Float[Array, " J"], Float[Array, " J"]]:
        """z and m: standardised responses at each planned time of each outcome, 0 where none, and which were seen."""
        grid = self.constants["grid"]
        rows = place_among(0.5 * (grid[1:] + grid[:-1]), subject.time)
        parts = []
        for name in self.outcomes:
            sizes = self.constants["values"][name]
            y = as_dict(subject.y)[name]
            mask = as_dict(subject.mask)[name]
            z = jnp.where(mask, (y - sizes.centre[rows]) / sizes.spread, 0.0)
            total, count = sums_by_place(rows, jnp.stack([z, mask.astype(float)], axis=1), grid.size).T
            parts.append((total / jnp.maximum(count, 1.0), jnp.minimum(count, 1.0)))
        return jnp.concatenate([z for z, _ in parts]), jnp.concatenate([m for _, m in parts])

    def check(self, population: Population) -> None:
        refuse_other_outcomes(self.outcomes, population)
        grid = np.asarray(self.constants["grid"])
        time = np.asarray(population.subjects.time, float)
        seen = np.any([np.asarray(mask) for mask in as_dict(population.subjects.mask).values()], axis=0)
        places = _place_in(grid, time)
        off = seen & ~_same_time(grid[places], time, grid)
        if np.any(off):
            i, row = np.argwhere(off)[0]
            raise ValueError(
                f"the encoder reads {grid.size} planned times, and subject {population.ids[i]} was seen at "
                f"{time[i, row]:g}, which is none of them: build it from a population with these times, or use "
                "mf.networks.SetEncoder, which reads any times."
            )


_MOST_TIMES = 2000


def _planned(population: Population) -> np.ndarray:
    """The times at which anybody was to be seen, those that differ by rounding only once."""
    real = np.asarray(population.subjects.real, bool)
    times = np.unique(np.asarray(population.subjects.time, float)[real])
    kept = times[np.append(True, np.diff(times) > _slack(times))]
    if kept.size > _MOST_TIMES:
        raise ValueError(
            f"the population has {kept.size} different times, too many to be planned ones: use "
            "mf.networks.SetEncoder, which reads any times."
        )
    return kept


def _slack(times: np.ndarray) -> float:
    """How far two times that are the same may differ, by rounding."""
    return 1e-9 * float(np.max(np.abs(times), initial=0.0))


def _place_in(grid: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The index of the planned time that is nearest."""
    above = np.clip(np.searchsorted(grid, time), 1, max(1, grid.size - 1))
    if grid.size == 1:
        return np.zeros(time.shape, int)
    nearer_below = np.abs(time - grid[above - 1]) <= np.abs(grid[above] - time)
    return np.where(nearer_below, above - 1, above)


def _same_time(a: np.ndarray, b: np.ndarray, grid: np.ndarray) -> np.ndarray:
    return np.abs(a - b) <= 2 * _slack(grid)


def _on_grid(population: Population, outcome: str, places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Responses (N, J) of one outcome at the planned times, and which were seen."""
    y = np.asarray(as_dict(population.subjects.y)[outcome], float)
    mask = np.asarray(as_dict(population.subjects.mask)[outcome], bool)
    total = np.zeros((len(y), size))
    count = np.zeros((len(y), size))
    subject = np.broadcast_to(np.arange(len(y))[:, None], y.shape)
    np.add.at(total, (subject[mask], places[mask]), y[mask])
    np.add.at(count, (subject[mask], places[mask]), 1.0)
    return total / np.maximum(count, 1.0), count > 0
