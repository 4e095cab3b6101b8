"""What kind of parameter each is, for SAEM: found by automatic derivatives at random points, not declared."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...base.compiling import compiled
from ...data.subject import Subject
from ...model.densities import (
    eta_size,
    gaussian_law_of,
    log_conditional,
    log_random_effects,
    sample_random_effects,
)
from ...model.domains import DiagonalCovariance, ScalarCovariance, Weights
from ...model.parameters import Parameter, free_parameters
from ...model.space import Space
from ...objectives.natural_scale import natural_scale
from ..method import Problem

_POINTS = 12  # an identity of smooth functions that holds at twelve random points holds


class Structure(NamedTuple):
    """The places, in the vector of free values, of the coordinates of each kind."""

    shift: tuple[int, ...]  # move along with eta
    natural: tuple[bool, ...]  # whether they do so on the natural scale, and not as logarithms
    directions: Float[Any, "N K S"]  # A_i of each shift: the data of subject i see eta_i + A_i x, and neither alone
    covariance: str  # the field that is the covariance (or the SD) of Gaussian random effects, or ""
    variances: tuple[int, ...]  # its places
    weights: tuple[int, ...]  # of networks
    newton: tuple[int, ...]  # all others


def as_covariance(domain: Any, value: Array, k: int) -> Float[Array, "K K"]:
    """The covariance that a field gives the random effects, by itself or as the SD of each."""
    return value if domain.is_covariance else jnp.diag(jnp.broadcast_to(value**2, (k,)))


def closest(domain: Any, moments: Float[Array, "K K"], value: Array) -> Float[Array, "K K"]:
    """The maximum likelihood covariance for these second moments, of the form that the field `value` can have."""
    if domain.is_covariance:
        return domain.closest(moments)
    form = ScalarCovariance() if value.ndim == 0 else DiagonalCovariance()
    return form.closest(moments)


class Survey(NamedTuple):
    """What was seen at T random points: of theta (J coordinates) and of eta, for every subject."""

    points: Float[Any, "T J"]
    by_theta: Float[Any, "T N J"]  # derivatives of log p(y | theta, eta)
    by_eta: Float[Any, "T N K"]
    of_effects: Float[Any, "T J"]  # the derivative of log p(eta | theta) in theta
    covariance: Float[Any, "T K K"]  # of Gaussian random effects; NaN where they are not
    by_field: list[Float[Any, "T K K"]]  # the covariance that each candidate field gives


@compiled
def _survey(
    space: Space, subjects: Subject, scale: Array, places: tuple[int, ...], names: tuple[str, ...], key: Any
) -> Survey:
    """The survey of some coordinates and of the candidate fields by name."""
    model = space.template
    k = eta_size(model)
    which = jnp.asarray(places, int)
    x = space.pack()
    key_theta, key_eta = jax.random.split(key)
    points = x[which] + 0.05 * scale[which] * jax.random.normal(key_theta, (_POINTS, len(places)))

    def moved(point):
        return space.at(x.at[which].set(point))

    def conditional(point, eta):
        return jax.vmap(lambda subject: log_conditional(moved(point), eta, subject))(subjects)

    def look(point, eta):
        here = moved(point)
        law = gaussian_law_of(here)
        by_theta, by_eta = jax.jacfwd(conditional, argnums=(0, 1))(point, eta)
        domains = free_parameters(model)
        return Survey(
            points=point,
            by_theta=by_theta,
            by_eta=by_eta,
            of_effects=jax.jacfwd(lambda p: log_random_effects(moved(p), eta))(point),
            covariance=jnp.full((k, k), jnp.nan) if law is None else law.covariance,
            by_field=[as_covariance(domains[name].domain, getattr(here, name), k) for name in names],
        )

    return jax.vmap(look)(points, sample_random_effects(model, _POINTS, key_eta))


def find_structure(problem: Problem, key: Any) -> Structure:
    """The kind of every coordinate.

    A coordinate is a shift where for each subject d log p(y | theta, eta) / dx = A_i' d log p(y | theta, eta) / d eta,
    to rounding, with one A_i at all the points (theta, eta), and p(eta | theta) does not depend on it: then the data
    see eta_i + A_i x only. For a positive parameter x is its logarithm, or else its value.
    """
    space = problem.space
    k = eta_size(problem.model)
    coordinates = space.coordinates
    domains = free_parameters(problem.model, problem.fixed)
    weights = [i for i, c in enumerate(coordinates) if isinstance(domains[c.parameter].domain, Weights)]
    places = tuple(i for i in range(len(coordinates)) if i not in weights)
    names = tuple(n for n, p in domains.items() if _could_be_covariance(p, getattr(problem.model, n), k))
    scale = natural_scale(space, problem.population)
    survey = _survey(space, problem.population.subjects, scale, places, names, key)
    survey = jax.tree.map(np.asarray, survey)
    covariance = ""
    for name, claimed in zip(names, survey.by_field, strict=True):
        if not covariance and _is_the_same(claimed, survey.covariance):
            covariance = name
    variances = tuple(i for i, c in enumerate(coordinates) if c.parameter == covariance)
    shifts: dict[int, tuple[bool, np.ndarray]] = {}
    for j, i in enumerate(places):
        if i not in variances and not np.any(survey.of_effects[:, j]):
            shift = _as_shift(survey, j, coordinates[i].log_scale)
            if shift is not None:
                shifts[i] = shift
    directions = np.reshape([shift[1] for shift in shifts.values()], (len(shifts), len(problem.population), k))
    return Structure(
        shift=tuple(shifts),
        natural=tuple(shift[0] for shift in shifts.values()),
        directions=np.moveaxis(directions, 0, -1),
        covariance=covariance,
        variances=variances,
        weights=tuple(weights),
        newton=tuple(i for i in places if i not in variances and i not in shifts),
    )


def _is_the_same(claimed: Float[np.ndarray, "T K K"], covariance: Float[np.ndarray, "T K K"]) -> bool:
    """Are two covariances equal at all points, but for the rounding of an inverse or a product on the way?"""
    sd = np.sqrt(np.diagonal(claimed, axis1=1, axis2=2))
    error = np.abs(claimed - covariance) / (sd[:, :, None] * sd[:, None, :])
    return bool(np.all(error < 1e-9))


def _could_be_covariance(parameter: Parameter, value: Any, k: int) -> bool:
    """Is a field of the form of a covariance of the random effects, or of their SDs, and without a prior?"""
    if parameter.prior is not None:
        return False
    if parameter.domain.is_covariance:
        return np.shape(value) == (k, k)
    return np.shape(value) in ((), (k,)) and parameter.domain.log_scale(value)[0]


def _as_shift(survey: Survey, j: int, log_scale: bool) -> tuple[bool, np.ndarray] | None:
    """Whether a coordinate shifts eta on its natural scale (or as it is), and along which direction; None if not."""
    slope = survey.by_theta[:, :, j]
    direction = _direction(slope, survey.by_eta)
    if direction is not None:
        return False, direction
    if not log_scale:
        return None
    direction = _direction(slope / np.exp(survey.points[:, j : j + 1]), survey.by_eta)
    return None if direction is None else (True, direction)


def _direction(by_x: np.ndarray, by_eta: np.ndarray) -> np.ndarray | None:
    """The A (N, K) with by_x (T, N) = by_eta (T, N, K) A at all T points; None where there is none.

    Both are taken in units of their own size, or a coordinate in a large unit would pass for one that moves nothing.
    """
    unit_x = _size_of(by_x.reshape(-1, 1))
    unit_eta = _size_of(by_eta.reshape(-1, by_eta.shape[-1]))
    by_x = by_x / unit_x
    by_eta = by_eta / unit_eta
    size = np.sqrt(by_x**2 + np.sum(by_eta**2, -1))
    if not np.all(np.isfinite(size)) or not np.any(by_x):
        return None
    size = np.where(size > 0, size, 1.0)
    left = (by_eta / size[..., None]).transpose(1, 0, 2)
    right = (by_x / size).T[..., None]
    direction = np.linalg.pinv(left, rcond=1e-10) @ right
    if not np.all(np.abs(left @ direction - right) < 1e-8):
        return None
    return direction[..., 0] * unit_x / unit_eta


def _size_of(columns: Float[np.ndarray, "R C"]) -> Float[np.ndarray, " C"]:
    """The root mean square of each column; one where all of it is zero."""
    size = np.sqrt(np.mean(np.nan_to_num(columns) ** 2, axis=0))
    return np.where(size > 0.0, size, 1.0)
