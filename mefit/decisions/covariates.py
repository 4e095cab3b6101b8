"""What covariates say about random effects: the second of two stages, and how to read the network
it gives.

First a model without covariates is fitted. `learn_effects` then learns from that fit how the random
effects depend on covariates. Its network goes into the model as a field, with `eta + self.net(x)`
in the place of eta, and what spread is left, or everything together, is estimated again.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ..base.bfgs import BFGS
from ..base.compiling import compiled
from ..curves.networks import L2, MLP, Penalty
from ..effects.gaussian import gaussian_effects
from ..fitting.fit import fit as fit_model
from ..fitting.result import Fit
from ..model.model import Model
from ..model.normals import unwrapped
from ..model.numbers import eta_names
from ..model.parameters import covariance, diagonal_covariance, weights
from ..objectives.information import inverse_information, stand_in_the_way
from ..objectives.objective import Objective, Term, name_subjects

# Of the strongest direction: an eigenvalue below zero by no more is zero, for all that can be told
_ROUNDING = 1e-6


def learn_effects(
    fit: Fit,
    network: MLP,
    covariates: Sequence[str],
    *,
    prior: Penalty = L2(1.0),  # noqa: B008 - it has no state
    progress: bool = True,
) -> Fit:
    """eta_i ~ N(g(x_i), W): the network g and the spread W that is left, from a fit without these
    covariates.

    The fit gives each subject's posterior N(mu_i, C_i) under its prior N(m, Omega). What the data
    alone say, p(y_i | eta) ~ exp(b'eta - eta'S eta / 2) with S = C_i^-1 - Omega^-1 and b = C_i^-1
    mu_i - Omega^-1 m, is integrated against the new prior, with theta as it was fitted:

        log of the integral = b'g - g'S g / 2 - log|A| / 2 + r'A^-1 r / 2,
        A = I + L'S L, r = L'(b - S g), W = L L'.

    So a subject counts by what its data say, and shrunken modes are not taken for small effects.
    The sum over subjects plus the log prior of the weights is maximised over the weights and W,
    diagonal where Omega was declared by a `Normal`, else full.

    **Arguments:** `network` takes the `covariates`, constant in time, in their order and has an
    output for each eta.

    **Returns:** a `Fit` of this stage, with `.model.network`, `.model.omega` and `.eta`, the modes
    of eta - g(x). Its `remarks` name the subjects whose posterior is wider than their prior, for
    which S was made positive.

    **Raises:** ValueError for random effects that are not Gaussian or have a singular covariance, a
    covariate that is not there or changes in time, or a network of another size.

        network = mf.networks.MLP(1, (3,), 3, centre=70.0, spread=10.0)  # from weight to three random effects
        learned = mf.learn_effects(fit, network, ["wt"])
    """
    mean, root = gaussian_effects(fit.model)
    inputs = _inputs(fit, covariates)
    size = jax.eval_shape(lambda x: jnp.reshape(network(x), -1), inputs[0]).size
    if size != mean.size:
        raise ValueError(f"the network has {size} outputs for {mean.size} random effects: give it one for each.")
    evidence = _evidence(fit, np.asarray(mean), np.asarray(root))
    kind = _effects_model(prior, isinstance(unwrapped(fit.model.random_effects()), dist.Normal))
    model = kind(network=network, omega=np.asarray(root @ root.T))
    summaries = jax.tree.map(jnp.asarray, (evidence.strength, evidence.pull, inputs))
    learned = fit_model(model, fit.population, _Summaries(summaries=summaries), progress=progress)
    return dataclasses.replace(learned, remarks=(*learned.remarks, *evidence.remarks))


class _Evidence(NamedTuple):
    """What the data of each subject alone say about its random effects."""

    strength: Float[np.ndarray, "N K K"]  # S
    pull: Float[np.ndarray, "N K"]  # b
    remarks: tuple[str, ...]


def _evidence(fit: Fit, mean: Float[np.ndarray, " K"], root: Float[np.ndarray, "K K"]) -> _Evidence:
    """S_i and b_i from each subject's posterior and their common prior, N(mean, root root').

    Where a posterior is wider than the prior in some direction, S has a negative eigenvalue there,
    and no integral. It is set to zero, as if the data said nothing, after standardising by the
    prior, so that units do not matter.
    """
    names = eta_names(fit.model)
    omega = root @ root.T
    degenerate = stand_in_the_way(omega, names)
    if degenerate:
        raise ValueError(
            f"the random effects {', '.join(degenerate)} have a singular covariance, and so no density: "
            "leave one out, or fit with a diagonal covariance first."
        )
    before = inverse_information(omega, names)
    posterior = np.stack([_precision(fit, i, names) for i in range(len(fit.population))])
    values, axes = np.linalg.eigh(root.T @ (posterior - before) @ root)
    inverse_root = np.linalg.inv(root)
    directions = inverse_root.T @ axes
    strength = np.einsum("nij,nj,nkj->nik", directions, np.maximum(values, 0.0), directions)
    pull = np.einsum("nij,nj->ni", posterior, np.asarray(fit.eta)) - before @ mean
    wider = np.any(values < -_ROUNDING * (1.0 + np.abs(values[:, -1:])), axis=1)
    if not np.any(wider):
        return _Evidence(strength, pull, ())
    return _Evidence(
        strength,
        pull,
        (
            f"the posterior of {name_subjects(fit.population, wider)} is wider than the prior in some direction, "
            "and their data are taken to say nothing there.",
        ),
    )


def _precision(fit: Fit, i: int, names: tuple[str, ...]) -> np.ndarray:
    """The inverse of one subject's posterior covariance; ValueError where there is none."""
    covariance = np.asarray(fit.eta_covariance)[i]
    degenerate = list(names)
    if np.all(np.isfinite(covariance)):
        degenerate = stand_in_the_way(covariance, names)
    if degenerate:
        raise ValueError(
            f"the posterior of subject {fit.population.ids[i]} has no finite, positive variance in "
            f"{', '.join(degenerate)}, which learn_effects needs: fit by Laplace or FOCE first."
        )
    return inverse_information(covariance, names)


def permutation_importance(
    network: Callable, inputs: Float[ArrayLike, "N C"], key: PRNGKeyArray, repeats: int = 20
) -> Float[np.ndarray, "C K"]:
    """How much of each output's variance a covariate carries: (1/2) E (g(x) - g(x'))^2 / Var g(x).

    In x' the covariate was exchanged between subjects. For independent covariates this is Sobol's
    total index: 0 where g does not use it, 1 where g uses nothing else; they add up to more than 1
    where covariates act together.
    Source: Jansen (1999), Comput. Phys. Commun. 117.
    ValueError for an output that is the same for all.

        x = jax.random.normal(key, (200, 2))
        mf.permutation_importance(lambda x: jnp.array([x[0] + 0.1 * x[1]]), x, key)
    """
    x = jnp.asarray(inputs, float)
    g = _outputs(network, x)
    shares = []
    if not bool(jnp.all(jnp.var(g, 0) > 0)):
        raise ValueError("an output of the network is the same for all subjects: it uses no covariate.")
    for j in range(x.shape[1]):
        keys = jax.random.split(jax.random.fold_in(key, j), repeats)
        others = _outputs_of_shuffled(network, x, jnp.asarray(j), keys)
        shares.append(0.5 * jnp.mean((others - g) ** 2, (0, 1)) / jnp.var(g, 0))
    return np.stack(shares)


@compiled
def _outputs(network: Callable, x: Array) -> Array:
    """g (N, K) of covariates (N, C)."""
    return jax.vmap(lambda row: jnp.reshape(network(row), -1))(x)


@compiled
def _outputs_of_shuffled(network: Callable, x: Array, column: Array, keys: Array) -> Array:
    """g (repeats, N, K) where a column of the covariates was exchanged between subjects, anew for each key."""

    def once(key: Array) -> Array:
        shuffled = x.at[:, column].set(jax.random.permutation(key, x[:, column]))
        return jax.vmap(lambda row: jnp.reshape(network(row), -1))(shuffled)

    return jax.vmap(once)(keys)


class _Summaries(Objective):
    """The objective of `learn_effects`; `summaries` are S (N, K, K), b (N, K) and the covariates
    (N, C)."""

    summaries: Any = None
    # Weights are many, and an evaluation takes a millisecond
    optimiser: BFGS = BFGS(max_iterations=2000)
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
