"""The encoder of any times: the posterior of a linear mixed model with learned loadings, and what bends it."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float

from ..data.by_outcome import as_dict
from ..data.population import Population
from ..data.subject import Subject
from .bases import Basis
from .encoding import (
    AnyEncoder,
    Gaussian,
    Sizes,
    lower_of,
    outcome_names,
    outputs_for,
    refuse_no_effects,
    refuse_other_outcomes,
    responses_of,
    sizes_of_covariates,
)
from .mlp import MLP


class SetEncoder(AnyEncoder):
    """The encoder of any times, any gaps, any number of rows.

    Each response z at time t speaks for a direction a(t) of the random effects with a weight w(t), as in a linear mixed
    model, whose posterior is

        P = I + sum_j w_j a_j a_j',    u = P^-1 sum_j w_j a_j (z_j - c_j),

    with a, c and log w networks of time (and covariates), one network for each outcome. What is not linear a small
    network adds: q = N(u + f, B C C' B'), B B' = P^-1, with f and the Cholesky factor C from (u, diagonal of B,
    covariates). Exact where the model is linear and Gaussian. The order of a subject's rows and padding change nothing.
    A training may end in a poor optimum, in which a direction sleeps (one in five, of a trial):
    `mf.starts(model, population, method, 3, key=key).fit` is the best of three, each from weights of its own.

    **Arguments:** as of `Encoder`; `hidden` are the layers of all networks. `basis`: functions of time read in place of
    time itself, such as `LevellingOff.over(population)` where much happens early and little late.

    **Raises:** ValueError for a covariate that is not there, and, by `check`, for a population with other outcomes.
    """

    loadings: dict[str, MLP]
    bend: MLP
    constants: dict[str, Any]
    size: int = eqx.field(static=True)
    covariates: tuple[str, ...] = eqx.field(static=True)
    basis: Basis | None

    def __init__(
        self,
        population: Population,
        effects: int,
        hidden: Sequence[int] = (32,),
        *,
        covariates: Sequence[str] = (),
        basis: Basis | None = None,
        seed: int = 0,
    ):
        refuse_no_effects(effects)
        self.size = effects
        self.covariates = tuple(covariates)
        self.basis = basis
        outcomes = outcome_names(population)
        real = np.asarray(population.subjects.real, bool)
        time = np.asarray(population.subjects.time, float)[real]
        self.constants = {
            "effects": None,  # a fit sets it
            "time": _size(time if basis is None else np.asarray(basis(time))),
            "values": {name: _size(responses_of(population, name)) for name in outcomes},
            "covariates": sizes_of_covariates(population, self.covariates),
        }
        inputs = (1 if basis is None else basis.size) + len(self.covariates)
        networks = [
            MLP(inputs, hidden, effects + 2, last=1.0, seed=1000 * seed + place) for place in range(len(outcomes))
        ]
        self.loadings = dict(zip(outcomes, networks, strict=True))
        inputs = 2 * effects + len(self.covariates)
        self.bend = MLP(inputs, hidden, outputs_for(effects, full=True), seed=1000 * seed + len(outcomes))

    @property
    def effects(self) -> int:
        return self.size

    def __call__(self, subject: Subject) -> Gaussian:
        covariates = self.covariates_read(subject)
        precision = jnp.eye(self.size)
        pull = jnp.zeros(self.size)
        for name in self.loadings:
            a, w, z = self._rows(name, subject, covariates)
            precision = precision + (a * w[:, None]).T @ a
            pull = pull + a.T @ (w * z)
        lower = jnp.linalg.cholesky(precision)
        linear = cho_solve((lower, True), pull)
        root = jnp.linalg.cholesky(cho_solve((lower, True), jnp.eye(self.size)))
        out = jnp.reshape(self.bend(linear, jnp.diagonal(root), covariates), -1)
        return self.in_its_unit(linear + out[: self.size], root @ lower_of(out[self.size :], self.size))

    def _rows(self, name: str, subject: Subject, covariates: Float[Array, " C"]) -> tuple[Array, Array, Array]:
        """Loading (n, K), weight (n,) and response less its offset (n,) of each row of one outcome."""
        time = subject.time if self.basis is None else self.basis(subject.time)
        out = jax.vmap(lambda t: self.loadings[name](t, covariates))(self.constants["time"].of(time))
        seen = as_dict(subject.mask)[name]
        z = jnp.where(seen, self.constants["values"][name].of(as_dict(subject.y)[name]) - out[:, -2], 0.0)
        return out[:, : self.size], jnp.where(seen, jnp.exp(out[:, -1]), 0.0), z

    def check(self, population: Population) -> None:
        refuse_other_outcomes(tuple(self.loadings), population)


def _size(values: np.ndarray) -> Sizes:
    """Mean and SD, of each column where there are several; the SD one where there is none."""
    if values.size == 0:
        return Sizes(jnp.zeros(values.shape[1:]), jnp.ones(values.shape[1:]))
    spread = values.std(axis=0)
    return Sizes(jnp.asarray(values.mean(axis=0)), jnp.asarray(np.where(spread > 0.0, spread, 1.0)))
