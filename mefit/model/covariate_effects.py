"""Covariates that shift the random effects of any model."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.distributions import constraints

from ..data.population import Population
from ..data.subject import Subject
from .densities import eta_shape, eta_size
from .domains import Bijected
from .mixture import MixtureOfExperts
from .model import Model
from .numbers import eta_names
from .parameters import Parameter, parameters

EFFECT = "effect"  # the parameter that holds the coefficients


class Relation(NamedTuple):
    """One covariate on one random effect."""

    effect: int  # which random effect
    effect_name: str
    covariate: str
    power: bool  # is it the logarithm of the covariate that counts?
    centre: float  # where the covariate shifts nothing

    @property
    def label(self) -> str:
        return f"{self.covariate} on {self.effect_name}"

    def amount(self, value: Any) -> Any:
        """z: log(value / centre), or value - centre."""
        return jnp.log(value / self.centre) if self.power else value - self.centre


def relate(model: Model, population: Population, effect: str, covariate: str) -> Relation:
    """The relation of a covariate to a random effect, by their names, in the form that suits its values.

    A covariate with two values is 0 at the lower one; one with more that are all positive enters as log(x / median), so
    that a parameter exp(eta) follows a power of it; any other as x - median.
    ValueError for a name that is not there, and for a covariate that changes in time, or is the same for all.
    """
    names = eta_names(model)
    if effect not in names:
        raise ValueError(f"{type(model).__name__} has no random effect {effect!r}: choose from {', '.join(names)}.")
    known = population.subjects.covariates
    if covariate not in known:
        raise ValueError(f"covariate {covariate!r} is not one of the population's: {', '.join(known) or 'none'}.")
    values = np.asarray(known[covariate], float)
    if values.ndim > 1:
        raise ValueError(f"covariate {covariate} changes in time: a random effect needs one value for each subject.")
    levels = np.unique(values)
    if levels.size < 2:
        raise ValueError(f"covariate {covariate} is the same in all subjects, and explains nothing: leave it out.")
    if levels.size == 2:
        return Relation(names.index(effect), effect, covariate, power=False, centre=float(levels[0]))
    power = bool(levels[0] > 0.0)
    return Relation(names.index(effect), effect, covariate, power=power, centre=float(np.median(values)))


class CovariateEffects(Model):
    """A model whose random effects have means that depend on covariates:

        y_i ~ p(y | theta, eta_i + sum_r b_r z_r(x_i) e_r),    eta_i ~ p(eta | theta),

    with e_r the unit vector of the random effect that relation r shifts, and z_r(x) = log(x / centre) or x - centre.
    Where a parameter is theta exp(eta), log(x / centre) makes it theta (x / centre)^b exp(eta). The coefficients b are
    the parameter `effect`; all others keep their names. `eta` is what is left when the covariates are accounted for.

    Make one with `covariate_search`, or from relations by `mefit.model.covariate_effects.relate`.

    **Raises:** ValueError for a mixture of experts, for a model with a parameter called `effect`, or for relations and
    coefficients of different numbers.
    """

    parts: ClassVar[tuple[str, ...]] = ("base",)
    base: Model
    relations: tuple[Relation, ...] = eqx.field(static=True)
    effect: Float[Array, " R"]

    def __init__(self, base: Model, relations: Iterable[Relation], effect: Any = None):
        self.base = base
        self.relations = tuple(relations)
        values = np.zeros(len(self.relations)) if effect is None else np.asarray(effect, float)
        self.effect = jnp.asarray(values)
        if isinstance(base, MixtureOfExperts):
            raise ValueError("in a mixture of experts a covariate belongs to an expert: wrap each of them.")
        if EFFECT in parameters(base):
            raise ValueError(f"{type(base).__name__} has a parameter called {EFFECT!r} already: rename it there.")
        if values.shape != (len(self.relations),):
            raise ValueError(
                f"there are {len(self.relations)} relations and {values.size} coefficients: give one each."
            )

    def __getattr__(self, name: str) -> Any:
        """The value of a parameter of the model within."""
        if name.startswith("_") or "base" not in vars(self) or name not in parameters(vars(self)["base"]):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(vars(self)["base"], name)

    def parameters_of_parts(self) -> dict[str, Parameter]:
        """The declared parameters of the model within, then the coefficients."""
        names = tuple(relation.label for relation in self.relations)
        own = Parameter(Bijected(constraints.real, "a finite number"), "", None, names)
        return parameters(self.base) | ({EFFECT: own} if self.relations else {})

    def random_effects(self):
        return self.base.random_effects()

    def observations(self, eta, subject):
        shape = eta_shape(self.base)
        shifted = jnp.reshape(eta, -1) + self.shift(subject)
        return self.base.observations(jnp.reshape(shifted, shape), subject)

    def shift(self, subject: Subject) -> Float[Array, " K"]:
        """What the covariates of a subject add to its random effects."""
        total = jnp.zeros(eta_size(self.base))
        for coefficient, relation in zip(self.effect, self.relations, strict=True):
            value = jnp.reshape(subject.covariates[relation.covariate], -1)[0]
            total = total.at[relation.effect].add(coefficient * relation.amount(value))
        return total


def factor(relation: Relation, coefficient: float, value: float) -> float:
    """exp(b z): by what a parameter theta exp(eta) is multiplied at this value of the covariate."""
    z = math.log(value / relation.centre) if relation.power else value - relation.centre
    return math.exp(coefficient * z)
