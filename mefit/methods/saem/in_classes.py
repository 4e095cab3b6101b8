"""SAEM of a mixture of experts: the problem with the random effects of every class, and what kind each parameter is."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...data.subject import Subject
from ...effects.kernels import Target, log_effects
from ...model.domains import Weights
from ...model.every_class import EveryClass
from ...model.mixture import MixtureOfExperts
from ...model.model import Model
from ...model.parameters import parameters
from ...model.space import Coordinate
from ...objectives.evaluation import terms_of
from ..alike import begin_alike
from ..method import Problem
from .structure import Structure, find_structure


def of_every_class(problem: Problem) -> Problem:
    """The problem that SAEM draws in: of a mixture with the class summed over, any other as it is."""
    if not isinstance(problem.model, MixtureOfExperts):
        return problem
    return dataclasses.replace(problem, model=EveryClass(problem.model))


def without_classes(model: Model) -> Model:
    """The model that the problem was given with."""
    return model.mixture if isinstance(model, EveryClass) else model


def refuse_alike(problem: Problem, objective: Any) -> None:
    """Raise ValueError for a mixture whose experts begin alike, where nothing tells the classes apart."""
    model = problem.model
    if not isinstance(model, MixtureOfExperts):
        return
    terms = terms_of(objective, model, problem.population, problem.key)
    if begin_alike(model, np.asarray(terms.details["responsibilities"])):
        raise ValueError(
            "the experts begin alike, and nothing tells SAEM which class a subject is in: begin with experts that "
            "differ, or with the model of mf.fit(..., mf.EM()), which splits the subjects first."
        )


def class_weights(target: Target, eta: Float[Array, "C N K"]) -> Float[Array, "C N L"] | None:
    """P(class | y, eta) of every chain and subject, pi_k p_k(y | eta_k) over their sum; None without classes."""
    model = target.model
    if not isinstance(model, EveryClass):
        return None

    def weights(model: Any, own: Any) -> Array:
        rows, subjects = own
        each = jax.vmap(lambda etas, subject: jax.vmap(lambda one: model.by_class(one, subject))(etas))(rows, subjects)
        return jax.nn.softmax(each)

    return jnp.swapaxes(target.by_subject(weights, jnp.swapaxes(eta, 0, 1)), 0, 1)


def expected_effects(model: Any, eta: Float[Array, "C N K"], weights: Float[Array, "C N L"]) -> Float[Array, "C N"]:
    """sum_k w_k log p_k(eta_k): what an M-step sees of the random effects, those of other classes left out."""
    total = jnp.zeros(eta.shape[:2])
    for k, (expert, place) in enumerate(zip(model.mixture.experts, model.places, strict=True)):
        total = total + weights[..., k] * log_effects(expert, eta[..., place])
    return total


def expected_joint(target: Target, eta: Float[Array, "C N K"], weights: Float[Array, "C N L"]) -> Float[Array, "C N"]:
    """sum_k w_k [log pi_k + log p_k(y | eta_k) + log p_k(eta_k)] of every chain and subject."""

    def expected(model: Any, own: Any) -> Array:
        (rows, held), subjects = own

        def of_one(etas: Array, w: Array, subject: Subject) -> Array:
            return jax.vmap(lambda one, each: jnp.sum(each * model.by_class(one, subject)))(etas, w)

        return jax.vmap(of_one)(rows, held, subjects)

    rows = jnp.swapaxes(eta, 0, 1), jnp.swapaxes(weights, 0, 1)
    return target.by_subject(expected, rows).T + expected_effects(target.model, eta, weights)


def structure_of(problem: Problem, key: Any) -> Structure:
    """The kind of every coordinate; of a mixture what it is in each expert alone.

    A coordinate of an expert is a shift where it shifts that expert's random effects, and a shared one where it does
    so, in the same way, in every expert that has it. Covariances are improved by Newton steps.
    """
    if not isinstance(problem.model, EveryClass):
        return find_structure(problem, key)
    mixture = problem.model.mixture
    coordinates = problem.space.coordinates
    declared = parameters(problem.model)
    weights = {i for i, c in enumerate(coordinates) if isinstance(declared[c.parameter].domain, Weights)}
    ways: dict[int, list[_Way]] = {}
    owners: dict[int, int] = {}
    keys = jax.random.split(key, len(mixture.members))
    for k, expert in enumerate(mixture.experts):
        names = {field: mixture.name_of(k, field) for field in parameters(expert)}
        held = tuple(field for field, name in names.items() if name in problem.fixed)
        alone = Problem(expert, problem.population, problem.key, held)
        there = _places(alone.space.coordinates, coordinates, names)
        found = find_structure(alone, keys[k])
        for place in there:
            owners[place] = owners.get(place, 0) + 1
        for j, i in enumerate(found.shift):
            ways.setdefault(there[i], []).append(_Way(k, found.natural[j], found.directions[..., j]))
    shifts = [i for i in sorted(ways) if len(ways[i]) == owners[i] and len({way.natural for way in ways[i]}) == 1]
    places = problem.model.places
    directions = np.zeros((len(problem.population), places[-1].stop, len(shifts)))
    for column, i in enumerate(shifts):
        for way in ways[i]:
            directions[:, places[way.expert], column] = way.direction
    return Structure(
        shift=tuple(shifts),
        natural=tuple(ways[i][0].natural for i in shifts),
        directions=directions,
        covariance="",
        variances=(),
        weights=tuple(sorted(weights)),
        newton=tuple(i for i in range(len(coordinates)) if i not in shifts and i not in weights),
    )


class _Way(NamedTuple):
    """How a coordinate shifts the random effects of one expert."""

    expert: int
    natural: bool
    direction: np.ndarray  # (N, K)


def _places(own: list[Coordinate], coordinates: list[Coordinate], names: dict[str, str]) -> list[int]:
    """Where the coordinates of an expert stand among those of the mixture."""
    there: dict[str, list[int]] = {}
    for i, coordinate in enumerate(coordinates):
        there.setdefault(coordinate.parameter, []).append(i)
    taken = {name: iter(places) for name, places in there.items()}
    return [next(taken[names[coordinate.parameter]]) for coordinate in own]
