"""What covariates say about random effects: the second of two stages, and how to read the network it gives.

First a model without covariates is fitted. `learn_effects` then learns from that fit how the random effects depend on
covariates. Its network goes into the model as a field, with `eta + self.net(x)` in the place of eta, and what spread
is left, or everything together, is estimated again.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ..base.bfgs import BFGS
from ..curves.networks import L2, MLP, Penalty
from ..effects.gaussian import gaussian_effects
from ..fitting.fit import fit as fit_model
from ..fitting.result import Fit
from ..model.model import Model
from ..model.outcomes import unwrapped
from ..model.parameters import covariance, diagonal_covariance, weights
from ..objectives.objective import Objective, Term


def learn_effects(
    fit: Fit,
    network: MLP,
    covariates: Sequence[str],
    *,
    prior: Penalty = L2(1.0),  # noqa: B008 - it has no state
    progress: bool = True,
) -> Fit:
    """eta_i ~ N(g(x_i), W): the network g and the spread W that is left, from a fit without these covariates.

    The fit gives each subject's posterior N(mu_i, C_i) under its prior N(m, Omega). What the data alone say,
    p(y_i | eta) ~ exp(b'eta - eta'S eta / 2) with S = C_i^-1 - Omega^-1 and b = C_i^-1 mu_i - Omega^-1 m, is integrated
    against the new prior, with theta as it was fitted:

        log of the integral = b'g - g'S g / 2 - log|A| / 2 + r'A^-1 r / 2,   A = I + L'S L, r = L'(b - S g), W = L L'.

    So a subject counts by what its data say, and shrunken modes are not taken for small effects. The sum over subjects
    plus the log prior of the weights is maximised over the weights and W, diagonal where Omega was declared by a
    `Normal`, else full.

    **Arguments:** `network` takes the `covariates`, constant in time, in their order and has an output for each eta.

    **Returns:** a `Fit` of this stage, with `.model.network`, `.model.omega` and `.eta`, the modes of eta - g(x).

    **Raises:** ValueError for random effects that are not Gaussian, a covariate that is not there or changes in time,
    or a network of another size.
    """
    population, (mean, chol) = fit.population, gaussian_effects(fit.model)
    inputs = _inputs(fit, covariates)
    if (size := jax.eval_shape(lambda x: jnp.reshape(network(x), -1), inputs[0]).size) != mean.size:
        raise ValueError(f"the network has {size} outputs for {mean.size} random effects: give it one for each.")
    omega = np.asarray(chol @ chol.T)
    before, posterior = np.linalg.inv(omega), np.linalg.inv(np.asarray(fit.eta_covariance))
    values, axes = np.linalg.eigh(posterior - before)
    strength = np.einsum("nij,nj,nkj->nik", axes, np.maximum(values, 0.0), axes)
    pull = np.einsum("nij,nj->ni", posterior, np.asarray(fit.eta)) - before @ np.asarray(mean)
    kind = _effects_model(prior, isinstance(unwrapped(fit.model.random_effects()), dist.Normal))
    summaries = jax.tree.map(jnp.asarray, (strength, pull, inputs))
    return fit_model(kind(network=network, omega=omega), population, _Summaries(summaries=summaries), progress=progress)


def permutation_importance(
    network: Callable, inputs: Float[ArrayLike, "N C"], key: PRNGKeyArray, repeats: int = 20
) -> Float[np.ndarray, "C K"]:
    """How much of each output's variance a covariate carries: (1/2) E (g(x) - g(x'))^2 / Var g(x).

    In x' the covariate was exchanged between subjects. For independent covariates this is Sobol's total index: 0 where
    g does not use it, 1 where g uses nothing else; they add up to more than 1 where covariates act together.
    Source: Jansen (1999), Comput. Phys. Commun. 117. ValueError for an output that is the same for all.
    """
    x = jnp.asarray(inputs, float)
    outputs = jax.vmap(lambda row: jnp.reshape(network(row), -1))
    g, shares = outputs(x), []
    if not bool(jnp.all(jnp.var(g, 0) > 0)):
        raise ValueError("an output of the network is the same for all subjects: it uses no covariate.")
    for j in range(x.shape[1]):
        keys = jax.random.split(jax.random.fold_in(key, j), repeats)
        others = jax.vmap(lambda k, j=j: outputs(x.at[:, j].set(jax.random.permutation(k, x[:, j]))))(keys)
        shares.append(0.5 * jnp.mean((others - g) ** 2, (0, 1)) / jnp.var(g, 0))
    return np.stack(shares)


class _Summaries(Objective):
    """The objective of `learn_effects`; `summaries` are S (N, K, K), b (N, K) and the covariates (N, C)."""

    summaries: Any = None
    optimiser: BFGS = BFGS(max_iterations=2000)  # weights are many, and an evaluation takes a millisecond
    label: ClassVar[str] = "Effects from covariates"

    def extras(self, model, population, key):
        return self.summaries

    def subject(self, model: Any, subject: Any, extra: Any) -> Term:
        strength, pull, inputs = extra
        g = jnp.reshape(model.network(inputs), -1)
        lower = jnp.linalg.cholesky(model.omega)
        a = jnp.eye(g.size) + lower.T @ strength @ lower
        r = lower.T @ (pull - strength @ g)
        z = jnp.linalg.solve(a, r)
        value = pull @ g - 0.5 * g @ strength @ g - 0.5 * jnp.linalg.slogdet(a)[1] + 0.5 * r @ z
        return Term(value, lower @ z, strength + jnp.linalg.inv(model.omega), jnp.asarray(True), {})


@functools.cache
def _effects_model(prior: Penalty, diagonal: bool) -> type[Model]:
    class Effects(Model):
        network: MLP = weights(prior=prior)
        omega: Array = diagonal_covariance() if diagonal else covariance()

        def random_effects(self):
            return dist.MultivariateNormal(jnp.zeros(len(self.omega)), self.omega)

        def observations(self, eta, subject):
            raise ValueError("this model is of random effects, and has no responses: put its network into your model.")

    return Effects


def _inputs(fit: Fit, names: Sequence[str]) -> Float[np.ndarray, "N C"]:
    known = fit.population.subjects.covariates
    for name in names:
        if name not in known:
            raise ValueError(f"covariate {name!r} is not one of the population's: {', '.join(known) or 'none'}.")
        if known[name].ndim > 1:
            raise ValueError(f"covariate {name} changes in time: a random effect needs one value for each subject.")
    if not names:
        raise ValueError("learn_effects needs the names of one or more covariates.")
    return np.stack([np.asarray(known[name], float) for name in names], axis=1)
