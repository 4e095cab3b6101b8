"""What an encoder's answers lack of the log-likelihood: a Gaussian's share of it, and the network's."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, PRNGKeyArray

from ..base.chance import require_key
from ..base.peaks import Mode
from ..curves.encoding import AnyEncoder
from ..data.population import Population
from ..data.subject import Subject
from ..effects.encoded import precision_of
from ..effects.modes import standard_mode
from ..fitting.fit import log_likelihood
from ..fitting.result import Fit
from ..model.model import Model
from ..objectives.evaluation import terms_of
from ..objectives.objective import Objective, Term, name_subjects
from ..objectives.sampled import ImportanceSampling
from ..objectives.sleeping import ASLEEP, divergence_over
from ..objectives.variational import Variational
from ..objectives.weights import simulation_errors


@dataclasses.dataclass(frozen=True)
class Gaps:
    """log L >= the bound of each person's best Gaussian >= the bound of the encoder's Gaussian.

    `table` has a row for each person, in nats: `log_likelihood` and its `error` by simulation, `best_gaussian`,
    `encoder`, and the differences: `approximation`, what no Gaussian can give, and `amortisation`, what this network
    lacks of the best Gaussian. `approximation` and `amortisation` of the whole are their means per person, `error` is
    that of the mean log-likelihood. `divergence` (K,) are KL(q || p(eta)) per person along the principal axes of the
    encoder's means, and `active` counts those of 0.01 nats or more. NaN and 0 where p(eta) is not Gaussian.
    """

    table: pd.DataFrame
    divergence: Float[np.ndarray, " K"]
    remarks: tuple[str, ...] = ()

    @property
    def approximation(self) -> float:
        return float(self.table.approximation.mean())

    @property
    def amortisation(self) -> float:
        return float(self.table.amortisation.mean())

    @property
    def error(self) -> float:
        return float(np.sqrt(np.sum(self.table.error**2)) / len(self.table))

    @property
    def active(self) -> int:
        return int(np.sum(self.divergence >= ASLEEP))

    def __repr__(self) -> str:
        means = self.table[["log_likelihood", "best_gaussian", "encoder"]].mean()
        return "\n".join(
            [
                f"log L               {means.log_likelihood:10.4f} per person, +- {self.error:.4f} by simulation",
                f"best Gaussian       {means.best_gaussian:10.4f}    approximation gap {self.approximation:.4f}",
                f"encoder's Gaussian  {means.encoder:10.4f}    amortisation gap  {self.amortisation:.4f}",
                f"active dimensions: {self.active} of {self.divergence.size}",
                *self.remarks,
            ]
        )


def gaps(
    fit: Fit,
    population: Population | None = None,
    *,
    by: Objective = ImportanceSampling(samples=4000),  # noqa: B008 - it has no state
    nodes: int = 5,
    key: PRNGKeyArray,
) -> Gaps:
    """What the encoder of a fit by `Amortised` lacks, and why. For q = N(m, V) of one person,

        log L_i - (E_q log p(y_i, eta) + H(q)) = KL(q || p(eta | y_i)),

    at its least over all m and V the *approximation gap*; what the encoder's m and V lie above that is the
    *amortisation gap*. The first is cured by importance weights or another family, the second by a larger or longer
    trained network, and neither by the other's cure.

    **Arguments**

    - `fit`: a fit by `Amortised` or `Augmented`. Its theta is held, whatever the gaps.
    - `population`: other people than those of the fit, such as held-out ones, whose amortisation gap is the honest one.
    - `by`: the ruler of log L; `AGQ` where there are few random effects.
    - `nodes`: of the quadrature of both bounds, to the power K.
    - `key`: a `jax.random.key`.

    **Raises:** ValueError for a fit without an encoder, people that it cannot read, or a grid that is too large.
    Source: Cremer, Li and Duvenaud (2018), ICML, Inference suboptimality in variational autoencoders.

        found = mf.gaps(fit_by_encoder, key=key)
        found.table
    """
    require_key(key, "gaps")
    encoder = fit.encoder
    if encoder is None:
        raise ValueError(f"{fit.method.label} has trained no encoder, so nothing is amortised: fit by mf.Amortised.")
    people = fit.population if population is None else population
    encoder.check(people)
    terms = terms_of(_Bounds(encoder=encoder, best=Variational(nodes=nodes)), fit.model, people, key)
    log_l, error = _ruled(fit.model, people, by, key)
    table = pd.DataFrame(
        {
            "ID": list(people.ids),
            "log_likelihood": log_l,
            "error": error,
            "best_gaussian": np.asarray(terms.value),
            "encoder": np.asarray(terms.details["encoder"]),
        }
    )
    table["approximation"] = table.log_likelihood - table.best_gaussian
    table["amortisation"] = table.best_gaussian - table.encoder
    divergence, _ = divergence_over(encoder, fit.model, people)
    lost = ~np.asarray(terms.converged)
    remarks = () if not lost.any() else (f"the best Gaussian was not found for {name_subjects(people, lost)}.",)
    return Gaps(table=table.set_index("ID"), divergence=divergence, remarks=remarks)


def _ruled(model: Model, population: Population, by: Objective, key: Any) -> tuple[np.ndarray, np.ndarray]:
    """Each person's log-likelihood, and its standard error: 0 where nothing is drawn."""
    values = log_likelihood(model, population, by, key=key, by_subject=True)
    if not isinstance(by, ImportanceSampling):
        return np.asarray(values), np.zeros(len(population))
    effective = terms_of(by, model, population, key).details["effective_sample_size"]
    return np.asarray(values), simulation_errors(effective, by.samples)


class _Bounds(Objective):
    """The bound of each person's best Gaussian, with that of the encoder's beside it."""

    encoder: AnyEncoder
    best: Variational
    label: ClassVar[str] = "Variational"

    def check(self, model: Model, population: Population) -> None:
        self.best.check(model, population)

    def evaluations(self, model: Model) -> int:
        return self.best.evaluations(model)

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        standard, mode = standard_mode(model, subject, self.newton)
        q = standard.of_gaussian(self.encoder(subject))
        own = self.best.bound(standard, model, subject, q.mean, q.lower)
        # of two searches the better: a posterior may have several peaks, and the encoder's be the higher
        from_mode = self.best.nearest(standard, model, subject, mode)
        from_answer = self.best.nearest(standard, model, subject, Mode(q.mean, precision_of(q), jnp.asarray(True)))
        better = _better(from_answer, from_mode)
        found = jax.tree.map(lambda answer, mode: jnp.where(better, answer, mode), from_answer, from_mode)
        return found._replace(details={"encoder": own})


def _better(one: Term, other: Term) -> Array:
    """Whether one search ended higher than the other: one that did not end counts only where neither did."""
    higher = one.value > other.value
    return jnp.where(one.converged == other.converged, higher, one.converged)
