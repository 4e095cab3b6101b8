"""Places that an array of a model has not, for which JAX would quietly take the nearest: refused before that."""

from typing import Any

import equinox as eqx
import jax

from ..base.lookups import Beyond, Lookups
from ..base.outlines import of_outline
from ..base.plainly import Refusal
from ..data.population import Population
from .densities import eta_size, log_joint
from .model import Model


def refuse_places_beyond(model: Model, population: Population) -> None:
    """Raise ValueError where a model's own code asks for a place beyond an array, for anybody of the population.

    Such are `eta[3]` of three random effects, which are counted from 0, and an occasion of the data beyond those that
    the model has effects for.
    """
    data = jax.tree.leaves(population.subjects)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in data):
        return
    beyond = _lookups((model, population.subjects)).beyond(data)
    if beyond is not None:
        raise Refusal(_sentence(type(model).__name__, beyond, population))


def _sentence(name: str, beyond: Beyond, population: Population) -> str:
    """What is said of a look-up beyond an array."""
    asked = f"place {beyond.place}" if beyond.place >= 0 else "a place before the first"
    whose = remedy = ""
    if beyond.who is not None:
        whose = f" for subject {population.ids[beyond.who]}"
        remedy = "; look at the data, or give the array as many places as they need"
    return (
        f"{name} asks{whose} for {asked} of an array of {beyond.size}, at `{beyond.line}`: places are counted from 0, "
        f"so that the last is {beyond.size - 1}{remedy}."
    )


@of_outline
def _lookups(model_and_subjects: Any) -> Lookups:
    """The look-ups of a model for one subject."""
    model, subjects = model_and_subjects
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), subjects)
    eta: Any = jax.ShapeDtypeStruct((eta_size(model),), float)
    jaxpr, _, _ = eqx.filter_make_jaxpr(log_joint)(model, eta, one)
    data = len(jax.tree.leaves(one))
    return Lookups(jaxpr, [False] * (len(jaxpr.jaxpr.invars) - data) + [True] * data)
