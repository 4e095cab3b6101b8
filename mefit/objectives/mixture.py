"""Any objective of a mixture of experts: log sum_k pi_k(w) L_k, each L_k by the objective itself.

A model that is no mixture is what the objective says of it.
"""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from ..base.peaks import Mode
from ..data.population import Population
from ..data.subject import Subject
from ..effects.experts import search_of_expert, together
from ..model.mixture import MixtureOfExperts
from ..model.model import Model
from .objective import Objective, Term


def term(objective: Objective, model: Model, subject: Subject, extra: PyTree) -> Term:
    """The term of one subject: of a mixture log sum_k pi_k(w) L_k, with responsibilities among its details."""
    if not isinstance(model, MixtureOfExperts) or isinstance(objective, Expected):
        return objective.subject(model, subject, extra)
    terms = _of_experts(objective, model, subject, extra)
    values = jnp.stack([one.value for one in terms])
    modes = [Mode(one.eta, one.precision, one.converged) for one in terms]
    whole = together(model, subject, values, modes)

    def expected(*numbers: Any) -> Any:
        return sum(r * number for r, number in zip(whole.responsibilities, numbers, strict=True))

    details = jax.tree.map(expected, *[one.details for one in terms])
    details["responsibilities"] = whole.responsibilities
    details["log_likelihoods"] = values
    return Term(whole.value, *whole.mode, details)


def _of_experts(objective: Objective, model: MixtureOfExperts, subject: Subject, extra: PyTree) -> list[Term]:
    """The term of each expert; of experts of one kind by one program, which compiles in the time of one."""
    cases = []
    for k, expert in enumerate(model.experts):
        own = dataclasses.replace(objective, newton=search_of_expert(objective.newton, model, k))
        cases.append((own, expert, extra[k]))
    if len(cases) == 1 or not _alike(cases):
        return [own.subject(expert, subject, part) for own, expert, part in cases]
    arrays, rest = zip(*[eqx.partition(case, eqx.is_array) for case in cases], strict=True)

    def of_one(arrays: Any) -> Term:
        own, expert, part = eqx.combine(arrays, rest[0])
        return own.subject(expert, subject, part)

    terms = jax.vmap(of_one)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays))
    return [jax.tree.map(lambda leaf, k=k: leaf[k], terms) for k in range(len(cases))]


def _alike(cases: list[Any]) -> bool:
    """Do they differ in the values of their arrays only?"""

    def outline(case: Any) -> Any:
        arrays, rest = eqx.partition(case, eqx.is_array)
        return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), arrays), rest

    first = outline(cases[0])
    return all(bool(eqx.tree_equal(outline(case), first)) for case in cases[1:])


def extras_of(objective: Objective, model: Model, population: Population, key: PRNGKeyArray | None) -> PyTree:
    """What `term` needs for each subject besides its data: of a mixture for each expert."""
    if not isinstance(model, MixtureOfExperts) or isinstance(objective, Expected):
        return objective.extras(model, population, key)
    return tuple(objective.extras(expert, population, key) for expert in model.experts)


def evaluations_of(objective: Objective, model: Model) -> int:
    """How many times one subject's density is evaluated at once."""
    if not isinstance(model, MixtureOfExperts) or isinstance(objective, Expected):
        return objective.evaluations(model)
    return max(objective.evaluations(expert) for expert in model.experts)


def check(objective: Objective, model: Model, population: Population) -> None:
    """Raise ValueError where the objective cannot serve the model, or an expert of it, or the gate the population."""
    if not isinstance(model, MixtureOfExperts):
        return objective.check(model, population)
    refuse_unmixed(objective, model)
    model.gate.check(population)
    for expert in model.experts:
        objective.check(expert, population)


def rehearse(objective: Objective, model: Model, population: Population) -> None:
    """Raise what the first evaluation would raise."""
    if not isinstance(model, MixtureOfExperts):
        return objective.rehearse(model, population)
    check(objective, model, population)
    for expert in model.experts:
        objective.rehearse(expert, population)


def refuse_unmixed(method: Any, model: Model) -> None:
    """Raise ValueError for a mixture given to a method that knows no classes."""
    if isinstance(model, MixtureOfExperts) and not method.mixes:
        raise ValueError(
            f"{method.label} knows no classes, and cannot fit a mixture of experts: use EM(), SAEM() or "
            "Laplace(), and AGQ() or FOCE() likewise."
        )


class Expected(Objective):
    """sum_k r_k [log pi_k(w) + log L_k] of a subject: what an M-step of EM maximises, with responsibilities r held."""

    inner: Objective
    responsibilities: Any = None  # (N, C)
    label: ClassVar[str] = "Expected log-likelihood"
    likelihood: ClassVar[bool] = False
    mixes: ClassVar[bool] = True

    def extras(self, model: Model, population: Population, key: PRNGKeyArray | None) -> PyTree:
        return extras_of(self.inner, model, population, key), jnp.asarray(self.responsibilities)

    def evaluations(self, model: Model) -> int:
        return evaluations_of(self.inner, model)

    def subject(self, model: Model, subject: Subject, extra: PyTree) -> Term:
        own, responsibilities = extra
        whole = term(dataclasses.replace(self.inner, newton=self.newton), model, subject, own)
        each = model.gate.log_shares(subject) + whole.details["log_likelihoods"]  # type: ignore[attr-defined]
        return whole._replace(value=jnp.sum(responsibilities * each))

    @classmethod
    def of(cls, inner: Objective, responsibilities: Any) -> "Expected":
        """With the settings of the objective inside."""
        return cls(inner, responsibilities, newton=inner.newton, forward_up_to=inner.forward_up_to)

    def without_data(self) -> "Expected":
        """The same for a program, which finds the responsibilities among the extras of each subject."""
        return dataclasses.replace(self, responsibilities=None)
