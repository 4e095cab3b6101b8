"""A model: log p(y | theta, eta, x) + log p(eta | theta), written for one subject."""

import abc
import dataclasses
import functools
import sys
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from ..base.compiling import is_followed
from ..base.plainly import Refusal
from ..data.subject import Subject
from .parameters import parameters
from .views import seen_through


def check_values(model: eqx.Module) -> None:
    """Refuse, naming the field, a value outside its domain, or a network not declared."""
    for field in dataclasses.fields(model):
        _check_declared(model, field)
    for name, parameter in parameters(model).items():
        value = getattr(model, name)
        leaves = jax.tree.leaves(eqx.filter(value, eqx.is_array))
        if is_followed(leaves):
            continue
        where = f"{type(model).__name__}.{name}"
        if not all(np.all(np.isfinite(leaf)) for leaf in leaves):
            raise Refusal(f"{where} is not finite: give a number to start from.")
        problem = parameter.domain.problem(jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, value))
        if problem:
            shown = " ".join(np.array2string(np.asarray(value), precision=4, threshold=20).split()).rstrip(".")
            raise Refusal(f"{where} {problem}; it is {shown}.")


def _refuse_without_type(kind: type) -> None:
    """Refuse a field that is declared without its type, which Python says in words of its own."""
    fields = [name for name, value in vars(kind).items() if isinstance(value, dataclasses.Field)]
    typed = _names_with_types(kind)
    for name in fields:
        if name not in typed:
            raise Refusal(
                f"{kind.__name__}.{name} has no type, which every field needs: "
                f"write {name}: Array = ..., or {name}: mf.networks.MLP = mf.weights() for a network."
            )


def _names_with_types(kind: type) -> set[str]:
    """The names that a class body gives a type to."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return set(annotationlib.get_annotations(kind, format=annotationlib.Format.FORWARDREF))
    else:
        return set(vars(kind).get("__annotations__", {}))


def _check_declared(model: eqx.Module, field: dataclasses.Field) -> None:
    """Refuse a network without a declaration, or one that says `mf.positive` without its brackets."""
    if field.name in parameters(model) or field.name in getattr(model, "parts", ()):
        return
    value = getattr(model, field.name)
    is_network = isinstance(value, eqx.Module) and jax.tree.leaves(eqx.filter(value, eqx.is_inexact_array))
    without_brackets = getattr(field.default, "__module__", "") == parameters.__module__
    if is_network or without_brackets:
        declaration = getattr(field.default, "__name__", "weights")
        raise Refusal(
            f"{type(model).__name__}.{field.name} is not declared, and no fit moves it: "
            f"write {field.name}: ... = mf.{declaration}(), and fixed= to hold it."
        )


class Model(eqx.Module):
    """Base of every model. A subclass declares its parameters as fields and says two things:

    - `random_effects()`: the distribution p(eta | theta), for instance
      `dist.MultivariateNormal(jnp.zeros(3), self.omega)`; leave it out for a model without random effects.
    - `observations(eta, subject)`: the distribution p(y | theta, eta, x) of the responses of one subject, with one
      entry for each time of `subject.time`; any density of `numpyro.distributions` whose entries are independent, or a
      Gaussian law of all entries together, such as a `MultivariateNormal` with an autoregressive covariance.
      Where it is discrete, responses are whole numbers, and categories are counted from 0. An ordered probit is
      `dist.Categorical(probs=jnp.diff(ndtr(cuts - x[:, None]), prepend=0.0, append=1.0))`, with `ndtr` of
      `jax.scipy.special`.
      Where there are several outcomes, a dict of such distributions by the names that the data give them.
      A subject's rows are filled up to as many as others have, so that a mean over them is
      `jnp.mean(x, where=subject.real)`.

    Parameters outside their domain raise ValueError when the model is made. A field without its type raises ValueError
    when the class is, and a model without `observations` when it is made.
    """

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        _refuse_without_type(cls)

    def __new__(cls, *_: Any, **__: Any) -> Any:
        if cls.__abstractmethods__:
            raise Refusal(
                f"{cls.__name__} has no method observations(self, eta, subject), which gives the density of the "
                "responses: write it, and look at how its name is spelled."
            )
        return super().__new__(cls)

    def random_effects(self) -> dist.Distribution | None:
        """p(eta | theta), or None where the model has no random effects."""
        return None

    @abc.abstractmethod
    def observations(self, eta: Array, subject: Subject) -> dist.Distribution | dict[str, dist.Distribution]:
        """p(y | theta, eta, x) for one subject."""

    def names_within(self, parameter: str) -> tuple[str, ...]:
        """Names of the entries of one of its arrays, for tables; none where they are counted from 0."""
        return ()

    def __check_init__(self):
        check_values(self)


class OneDensity(Model):
    """A model whose responses have one density together, and none row by row."""

    @abc.abstractmethod
    def log_conditional(self, eta: Array, subject: Subject) -> Array:
        """log p(y | theta, eta, x) of one subject."""

    def observations(self, eta, subject):
        raise ValueError(f"{type(self).__name__} has one density of all responses together, and none for each row.")


ModelT = TypeVar("ModelT", bound=Model)


@functools.cache  # one class for each, or every call would compile anew
def _restricted(kind: type[Model], outcome: str) -> type[Model]:
    def observations(self, eta, subject):
        with seen_through(outcome):
            return kind.observations(self, eta, subject)[outcome]

    own = {"observations": observations, "__doc__": kind.__doc__, "_seen_outcome": outcome}
    return type(kind.__name__, (kind,), own)


def is_view(kind: type) -> bool:
    """Is it a class that `outcome_of` made, to see one of several outcomes?"""
    return "_seen_outcome" in vars(kind)


def outcome_of(model: ModelT, outcome: str) -> ModelT:
    """The model of one of several outcomes, by name: the same parameters and random effects."""
    view = object.__new__(_restricted(type(model), outcome))
    for field in dataclasses.fields(model):
        object.__setattr__(view, field.name, getattr(model, field.name))
    return view  # type: ignore[return-value]


def draw_of(models: ModelT, draw: Any) -> ModelT:
    """Model number `draw` of a stack of models, whose arrays have a leading axis of draws from a posterior."""
    return jax.tree.map(lambda leaf: leaf[draw] if eqx.is_array(leaf) else leaf, models)


def model_at(models: ModelT, draw: Any) -> ModelT:
    """The model itself; or, where there is a number `draw`, that one of a stack of models."""
    return models if draw is None else draw_of(models, draw)
