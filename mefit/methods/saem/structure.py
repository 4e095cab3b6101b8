"""What kind of parameter each is, for SAEM: found by automatic derivatives at random points, not declared."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from ...base.compiling import compiled
from ...model.densities import effects_of, eta_cov, eta_size, log_conditional, log_random_effects, sample_random_effects
from ...model.domains import DiagonalCovariance, ScalarCovariance, Weights
from ...model.outcomes import unwrapped
from ...model.parameters import free_parameters
from ...model.space import coordinates, set_free
from ..method import Problem
from ..steps import natural_scale

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


@compiled
def _survey(
    about: tuple[Any, ...], x: Array, scale: Array, places: Any, names: tuple[str, ...], key: Any
) -> tuple[Any, ...]:
    """At random points: values, derivatives of both densities, and the covariance, true and by each field."""
    model, fixed, subjects = about
    k, at, keys = eta_size(model), jnp.asarray(places, int), jax.random.split(key)
    points = x[at] + 0.05 * scale[at] * jax.random.normal(keys[0], (_POINTS, len(places)))

    def one(point, eta):
        def moved(point):
            return set_free(model, fixed, x.at[at].set(point))

        def conditional(point, eta):
            return jax.vmap(lambda subject: log_conditional(moved(point), eta, subject))(subjects)

        gaussian = isinstance(unwrapped(effects_of(moved(point))), dist.Normal | dist.MultivariateNormal)
        covariance = eta_cov(moved(point)) if gaussian else jnp.full((k, k), jnp.nan)
        said = [as_covariance(free_parameters(model)[n].domain, getattr(moved(point), n), k) for n in names]
        by_point, by_eta = jax.jacfwd(conditional, argnums=(0, 1))(point, eta)
        return by_point, by_eta, jax.jacfwd(lambda p: log_random_effects(moved(p), eta))(point), covariance, said

    return points, *jax.vmap(one)(points, sample_random_effects(model, _POINTS, keys[1]))


def find_structure(problem: Problem, x: np.ndarray, key: Any) -> Structure:
    """The kind of every coordinate.

    A coordinate is a shift where for each subject d log p(y | theta, eta) / dx = A_i' d log p(y | theta, eta) / d eta,
    to rounding, with one A_i at all the points (theta, eta), and p(eta | theta) does not depend on it: then the data
    see eta_i + A_i x only. For a positive parameter x is its logarithm, or else its value.
    """
    model, k, kinds = problem.model, eta_size(problem.model), coordinates(problem.model, problem.fixed)
    free = free_parameters(model, problem.fixed)
    weights = tuple(i for i, c in enumerate(kinds) if isinstance(free[c.parameter].domain, Weights))
    places = tuple(sorted(set(range(x.size)) - set(weights)))

    def could_be(value: Any, domain: Any) -> bool:
        shape = np.shape(value)
        return shape == (k, k) if domain.is_covariance else shape in ((), (k,)) and domain.log_scale(value)[0]

    names = tuple(n for n, p in free.items() if p.prior is None and could_be(getattr(model, n), p.domain))
    about = (model, problem.fixed, problem.population.subjects)
    scale = natural_scale(problem)
    points, by_x, by_eta, by_effects, seen, said = jax.tree.map(
        np.asarray, _survey(about, x, scale, places, names, key)
    )
    covariance = next((n for n, one in zip(names, said, strict=True) if np.allclose(one, seen, 1e-9, 0.0)), "")
    variances = tuple(i for i, c in enumerate(kinds) if c.parameter == covariance)
    shifts: dict[int, tuple[bool, np.ndarray]] = {}
    for j, i in enumerate(places):
        for is_natural in (False, True)[: 1 + kinds[i].log_scale]:
            direction = _direction(by_x[:, :, j] / np.exp(is_natural * points[:, j : j + 1]), by_eta)
            if direction is not None and i not in (*variances, *shifts) and not np.any(by_effects[:, j]):
                shifts[i] = is_natural, direction
    natural = tuple(is_natural for is_natural, _ in shifts.values())
    directions = np.reshape([one for _, one in shifts.values()], (len(shifts), len(problem.population), k))
    newton = tuple(i for i in places if i not in variances and i not in shifts)
    return Structure(tuple(shifts), natural, np.moveaxis(directions, 0, -1), covariance, variances, weights, newton)


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
    left, right = (by_eta / size[..., None]).transpose(1, 0, 2), (by_x / size).T[..., None]
    direction = np.linalg.pinv(left, rcond=1e-10) @ right
    if not np.all(np.abs(left @ direction - right) < 1e-8):
        return None
    return direction[..., 0] * unit_x / unit_eta


def _size_of(columns: Float[np.ndarray, "R C"]) -> Float[np.ndarray, " C"]:
    """The root mean square of each column; one where all of it is zero."""
    size = np.sqrt(np.mean(np.nan_to_num(columns) ** 2, axis=0))
    return np.where(size > 0.0, size, 1.0)
