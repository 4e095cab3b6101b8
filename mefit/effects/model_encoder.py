"""The encoder of a model that is known: the model's own first-order quantities, and a network for what they leave."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from ..base.small_matrices import solve_positive_definite
from ..curves.encoding import AnyEncoder, EffectScale, Gaussian, lower_of, outputs_for, refuse_no_effects
from ..curves.mlp import MLP
from ..data.population import Population
from ..data.subject import Subject
from ..model.densities import eta_size, gaussian_law_of, log_conditional
from ..model.mixture import MixtureOfExperts
from ..model.model import Model
from .gaussian import has_gaussian_rows, slope_and_information
from .standard import Standard, standard_of
from .starts import HAIR

_FURTHEST = 5.0  # SDs from the mean of p(eta): a step never leads beyond


class Look(NamedTuple):
    """What a few looks at a subject say before anything is learned: z ~ N(centre, root root') in SDs of p(eta)."""

    centre: Float[Array, " K"]
    root: Float[Array, "K K"]  # lower triangular
    last: Float[Array, " K"]  # how far the last step led, in units of the root


class ModelEncoder(AnyEncoder):
    """The encoder of a model at known parameters: it sees a subject through the model's own first-order quantities.

    With p(eta) = N(m, L L') and eta = m + L z, a look at z takes the slope and the information of log p(y, z),

        g = L' J' R^-1 (y - f) - z,    P = I + L' J' R^-1 J L,    J = df / deta,

    R the residual variance (and what R itself tells, where it depends on eta: see `FOCE`); of responses that are not
    Gaussian, or censored, the derivative of their log density, and its Hessian without what bends upwards. The next
    look is at z + P^-1 g, and after `looks` of them

        q(eta | y) = N(m + L (z + B f), L B C C' B' L'),    B B' = P^-1,

    with f and the Cholesky factor C from a small network of z, of B and of the last step. So it knows doses,
    covariates, gaps and censoring as the model does, reads any number of rows, and is exact before any training where
    the model is linear and Gaussian. `taught_encoder` trains it.

    **Arguments**

    - `model`: at its parameters, which are not learned; its random effects are Gaussian.
    - `hidden`: the widths of the network's layers.
    - `looks`: 1 sees the subject from the mean of p(eta) alone; each further one costs as much again.
    - `seed`: of the weights at the start.

    **Raises:** ValueError for random effects that are not Gaussian, or none, a mixture, and fewer than one look.

        encoder = mf.ModelEncoder(model, hidden=(8,))
        fit = mf.fit(model, population, mf.Adam(mf.Amortised(encoder), steps=3000), key=key)
    """

    bend: MLP
    constants: dict[str, Any]
    looks: int = eqx.field(static=True)
    covariates: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, model: Model, hidden: Sequence[int] = (32,), *, looks: int = 2, seed: int = 0):
        if isinstance(model, MixtureOfExperts):
            raise ValueError(
                "an encoder answers for one model, and this is a mixture of several: make one for an expert by itself; "
                "mf.individual needs none for a mixture."
            )
        effects = eta_size(model)
        refuse_no_effects(effects)
        law = gaussian_law_of(model)
        if law is None:
            raise ValueError(
                f"ModelEncoder needs Gaussian random effects, but {type(model).__name__}.random_effects returns "
                f"{type(model.random_effects()).__name__}: use mf.networks.SetEncoder."
            )
        if looks < 1:
            raise ValueError(f"ModelEncoder looks once or more, and got looks={looks}.")
        self.looks = looks
        self.covariates = ()  # the model reads them
        scale = EffectScale(law.mean, jnp.sqrt(jnp.diagonal(law.covariance)))
        self.constants = {"effects": scale, "model": model}
        inputs = 2 * effects + effects * (effects + 1) // 2
        self.bend = MLP(inputs, hidden, outputs_for(effects, full=True), last=0.0, seed=seed)

    @property
    def effects(self) -> int:
        return self.constants["effects"].mean.size

    def __call__(self, subject: Subject) -> Gaussian:
        look = self.look(subject)
        shift, factor = self.bent(self.features(look))
        standard = self._standard
        return Gaussian(standard.eta(look.centre + look.root @ shift), standard.lower @ look.root @ factor)

    def check(self, population: Population) -> None:
        eqx.filter_eval_shape(self, population[0])  # the model says what it cannot read

    @property
    def _standard(self) -> Standard:
        return standard_of(self.constants["model"])

    def look(self, subject: Subject) -> Look:
        """What is seen of a subject without the network."""
        standard = self._standard
        k = self.effects
        z = jnp.full(k, HAIR)
        before = z
        slope = -z
        precision = jnp.eye(k)
        for _ in range(self.looks):
            seen_slope, seen_precision = self._slope_and_precision(standard, z, subject)
            # where the model has no number there, what was seen before stands
            sound = jnp.all(jnp.isfinite(seen_slope)) & jnp.all(jnp.isfinite(seen_precision))
            slope = jnp.where(sound, seen_slope, slope)
            precision = jnp.where(sound, seen_precision, precision)
            before = z
            z = _held_back(z + solve_positive_definite(precision, slope))
        covariance = cho_solve((jnp.linalg.cholesky(precision), True), jnp.eye(k))
        root = jnp.linalg.cholesky(covariance)
        return Look(z, root, solve_triangular(root, z - before, lower=True))

    def _slope_and_precision(self, standard: Standard, z: Float[Array, " K"], subject: Subject) -> tuple[Array, Array]:
        """g and P at z."""
        model = self.constants["model"]
        if has_gaussian_rows(model, standard.eta(z), subject):
            return slope_and_information(model, z, subject)
        slope = jax.grad(lambda at: standard.log_joint(model, at, subject))(z)
        hessian = jax.hessian(lambda at: log_conditional(model, standard.eta(at), subject))(z)
        bend, axes = jnp.linalg.eigh(-hessian)
        return slope, jnp.eye(z.size) + (axes * jnp.maximum(bend, 0.0)) @ axes.T

    def features(self, look: Look) -> Float[Array, " F"]:
        """What the network reads: all of a size near one."""
        root = look.root
        below = root[np.tril_indices(root.shape[0], -1)]
        return jnp.concatenate([look.centre, jnp.tanh(look.last / 3.0), jnp.log(jnp.diagonal(root)), below])

    def bent(self, features: Float[Array, " F"]) -> tuple[Float[Array, " K"], Float[Array, "K K"]]:
        """f and C."""
        out = jnp.reshape(self.bend(features), -1)
        return out[: self.effects], lower_of(out[self.effects :], self.effects)


def _held_back(z: Float[Array, " K"]) -> Float[Array, " K"]:
    """z, or the point in its direction beyond which no step leads."""
    length = jnp.sqrt(jnp.sum(z**2))
    return z * jnp.minimum(1.0, _FURTHEST / jnp.maximum(length, _FURTHEST * 1e-3))
