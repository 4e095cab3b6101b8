"""Subjects of a mixture of experts: which class each belongs to, and draws of its random effects in all of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.compiling import compiled
from ..data.population import Population
from ..data.subject import Subject
from ..fitting.about import final_objective
from ..fitting.fitted import Estimated
from ..methods.classes import assignment_entropy
from ..model.densities import sample_random_effects
from ..model.mixture import MixtureOfExperts
from ..model.model import Model
from ..objectives.evaluation import terms_of
from ..objectives.laplace import Laplace
from ..objectives.objective import Objective


def responsibilities(
    fit: Estimated | Model,
    population: Population | None = None,
    *,
    by: Objective | None = None,
    key: PRNGKeyArray | None = None,
) -> pd.DataFrame:
    """The probability of each class of a mixture of experts, given each person's covariates and responses.

        r_ik = pi_k(w_i) L_ik / sum_l pi_l(w_i) L_il

    A row a person: a column for each class, from 1, and `entropy`, -sum_k r_ik log r_ik, 0 where the class is certain.
    Without a response r is what the gate says of the covariates.

    **Arguments**

    - `fit`: a fit, or a mixture at its parameters. Theta is taken as known.
    - `population`: the people; left out, those of the fit.
    - `by`: the objective that gives L_ik; left out, the fit's own, or Laplace for a model.
    - `key`: for an objective that draws at random; left out, the fit's.

    **Raises:** ValueError for a model that is no mixture.

        mf.responsibilities(two_classes)
    """
    model = fit if isinstance(fit, Model) else fit.model
    if not isinstance(model, MixtureOfExperts):
        raise ValueError(f"responsibilities are of a mixture of experts, and {type(model).__name__} is none.")
    if population is None:
        if isinstance(fit, Model):
            raise ValueError("a model alone has seen nobody: give the population whose classes are asked for.")
        population = fit.population
    if not isinstance(fit, Model):
        by = by or final_objective(fit.method)
        key = fit.key if key is None else key
    found = class_probabilities(by or Laplace(), model, population, key)
    table = pd.DataFrame(found, index=pd.Index(population.ids, name="ID"), columns=range(1, found.shape[1] + 1))
    table["entropy"] = assignment_entropy(found)
    return table


def class_probabilities(
    objective: Objective, mixture: MixtureOfExperts, population: Population, key: PRNGKeyArray | None
) -> Float[np.ndarray, "N C"]:
    """The responsibilities as an array."""
    terms = terms_of(objective.reported, mixture, population, key)
    return np.asarray(terms.details["responsibilities"])


class Drawn(NamedTuple):
    """Draws of the random effects of one model, equally weighted."""

    eta: Float[np.ndarray, "N M K"]
    effective_sample_size: Float[np.ndarray, " N"]
    pareto_k: Float[np.ndarray, " N"]


_RARE = 1e-3  # a class less probable does not tell whether draws can be trusted


def drawn_in_classes(
    mixture: MixtureOfExperts,
    population: Population,
    shares: Float[np.ndarray, "N C"],
    of_experts: list[Drawn],
    key: PRNGKeyArray,
) -> Drawn:
    """Draws of (u, eta_1, ..., eta_K) from those of each expert given the data, and the probability of its class.

    A draw has a class, u inside it, the random effects of this class from their posterior, and those of others, which
    the data then say nothing of, from their law.
    """
    count, classes = shares.shape
    draws = of_experts[0].eta.shape[1]
    key_effects, key_class, key_u = jax.random.split(key, 3)
    rng = np.random.default_rng(np.ravel(jax.random.key_data(key_class)))
    places = (np.arange(draws) + rng.random((count, 1))) / draws
    edges = np.cumsum(shares, axis=1)[:, :-1]
    which = np.sum(places[:, :, None] > edges[:, None, :], axis=2)
    which = rng.permuted(which, axis=1)
    eta = np.array(sample_random_effects(mixture, count * draws, key_effects)).reshape(count, draws, -1)
    eta[:, :, 0] = _inside(mixture, population.subjects, which, np.asarray(jax.random.uniform(key_u, which.shape)))
    for k, place in enumerate(mixture.places):
        chosen = (which == k)[:, :, None]
        eta[:, :, place] = np.where(chosen, of_experts[k].eta, eta[:, :, place])
    sizes = np.stack([one.effective_sample_size for one in of_experts], axis=1)
    shapes = np.stack([one.pareto_k for one in of_experts], axis=1)
    return Drawn(
        eta=eta,
        effective_sample_size=np.sum(shares * sizes, axis=1),
        pareto_k=np.max(np.where(shares > _RARE, shapes, -np.inf), axis=1),
    )


@compiled
def _inside(mixture: MixtureOfExperts, subjects: Subject, which: Any, share: Any) -> Float[Array, "N M"]:
    """u (N, M) inside these classes, as far in as `share` says."""

    def of_person(subject: Subject, which: Array, share: Array) -> Array:
        log_shares = mixture.gate.log_shares(subject)
        return jax.vmap(lambda k, v: mixture.inside_class(v, log_shares, k))(which, share)

    return jax.vmap(of_person)(subjects, jnp.asarray(which), jnp.asarray(share))
