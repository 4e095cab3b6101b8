"""The mode of a log density, its curvature, and the exact derivative through it."""

import abc
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Float, PyTree

from .derivatives import shorter_unless_derived
from .peaks import Mode, Peaks, highest_of, only, peaks_of
from .sides import count_of_sides
from .small_matrices import solve_positive_definite

_IN_PAIRS_UP_TO = 6  # random effects: of more the pairs are many, and take longer to compute


class _Search(NamedTuple):
    eta: Array
    value: Array
    gradient: Array
    precision: Array
    damping: Array
    decrement: Array
    stalled: Array
    steps: Array


def curvature(log_density: Callable[[Array], Array], eta: Float[Array, " K"]) -> tuple[Array, Array, Array]:
    """Value, gradient and minus the Hessian. Forward over forward: for a few etas it compiles and runs fastest."""
    if 0 < eta.size <= _IN_PAIRS_UP_TO:
        return _curvature_in_pairs(log_density, eta)

    def gradient(e):
        return jax.jacfwd(lambda u: (log_density(u),) * 2, has_aux=True)(e)

    def second(e):
        slope, value = gradient(e)
        return slope, (value, slope)

    hessian, (value, slope) = jax.jacfwd(second, has_aux=True)(eta)
    return value, slope, -hessian


def _curvature_in_pairs(log_density: Callable[[Array], Array], eta: Float[Array, " K"]) -> tuple[Array, Array, Array]:
    """The same along pairs of coordinates, each pair once.

    One `jax.vmap` in place of two, one in the other, is followed in two thirds of the time.
    """
    row, column = np.triu_indices(eta.size)
    which = np.zeros((eta.size, eta.size), int)
    which[row, column] = which[column, row] = np.arange(row.size)

    def along(one: Array, other: Array) -> tuple[Array, Array, Array]:
        def slope(e):
            value, along_one = jax.jvp(log_density, (e,), (one,))
            return along_one, value

        along_one, along_both, value = jax.jvp(slope, (eta,), (other,), has_aux=True)
        return value, along_one, along_both

    ways = jnp.asarray(np.eye(eta.size))
    value, slopes, second = jax.vmap(along, out_axes=(None, 0, 0))(ways[row], ways[column])
    return value, slopes[np.diagonal(which)], -second[which]


class ModeSearch(eqx.Module):
    """Base of the searches for a mode: `search(log_density, start, args)` is the mode in eta, differentiable in args.

    A search begins at the prior's mean. A network of eta may put several peaks into the joint density: there (or
    where `looks` says how many) it begins at the best of the mean and of `looks` points spread over the prior. For
    other models a fit searches again from elsewhere once it has converged; where that finds better peaks, it goes on
    thoroughly.

    A `thorough` search looks at as many points whatever the model, climbs from the best of them and from every one of
    `sides`, and takes the peak with most under it by Laplace, value - log|P|/2: the highest of several starting points
    need not stand at the foot of the highest peak. So search all who evaluate once, at parameters that stand still.
    """

    looks: int | None = eqx.field(default=None, kw_only=True)  # None: 128 where the model has a network, else none
    # the points to choose from instead, as the last mode while training
    starts: Float[Array, "S K"] | None = eqx.field(default=None, kw_only=True)
    # how far beside the prior's mean a search begins, in SDs of the prior: to see whether it ends elsewhere
    aside: Float[Array, " K"] | None = eqx.field(default=None, kw_only=True)
    thorough: bool = eqx.field(default=False, kw_only=True)
    knows_curvature: ClassVar[bool] = False  # is the precision that comes out minus the Hessian?

    @abc.abstractmethod
    def __call__(self, log_density: Callable[[Array, PyTree], Array], start: Float[Array, "..."], args: PyTree) -> Mode:
        """The mode in eta of `log_density(eta, args)`, searched from `start`, (K,) or the best of (S, K)."""

    @abc.abstractmethod
    def search(self, log_density: Callable[[Array, PyTree], Array], start: Float[Array, "..."], args: PyTree) -> Mode:
        """The same mode as a constant, through which no derivative passes: enough for a value that is flat there."""

    def peaks(self, log_density: Callable[[Array, PyTree], Array], start: Float[Array, "..."], args: PyTree) -> Peaks:
        """The peaks that the search knows of, as constants: the one that it ends on, or all of a thorough search."""
        return only(self.search(log_density, start, args))

    def settled(self, log_density: Callable[[Array, PyTree], Array], mode: Mode, args: PyTree) -> Mode:
        """The mode that a search found, differentiable in `args`."""
        if mode.eta.size == 0:
            return mode
        slope = jax.jacfwd(lambda eta: log_density(eta, args))(mode.eta)
        # Where the search did not end, the matrix may not be positive definite: its NaN must not reach a derivative.
        eta = mode.eta + posterior_step(jnp.where(mode.converged, mode.precision, jnp.eye(mode.eta.size)), slope)
        return mode._replace(eta=jnp.where(mode.converged, eta, mode.eta))


class Newton(ModeSearch):
    """Damped Newton search for a mode, with the derivative of the mode by the implicit function theorem.

    A step solves (P + damping D) step = gradient, P being minus the Hessian and D the size of its diagonal, so that
    the units of the random effects do not matter. The damping rises until the step goes uphill, and falls to exactly
    zero near the mode. The search ends where the Newton decrement sqrt(g' P^-1 g), the distance to the mode in
    posterior standard deviations, is below `tolerance`.

    Derivative: the search runs on values whose gradient is stopped; one more Newton step from its end, with P held
    constant, does not move the value, and has the derivative d eta*/d theta = P^-1 d gradient/d theta.

    `looks` is how many points of the prior are looked at for a place to begin, next to its mean: 128 where the model
    has a network, unless it is said, else none. A fit sets `starts`, points to choose from instead, and `aside`, how
    many SDs beside the mean a search begins to see whether it ends elsewhere. With `thorough` the search looks at 128
    points in any model, and climbs from 2 SDs to both sides along every random effect, too (of more than four: from
    eight points of the prior).

        method = mf.Laplace(newton=mf.Newton(tolerance=1e-10, max_steps=200))
    """

    tolerance: float = 1e-9
    max_steps: int = 100
    knows_curvature: ClassVar[bool] = True

    def __call__(self, log_density: Callable[[Array, PyTree], Array], start: Float[Array, "..."], args: PyTree) -> Mode:
        def found(search: Newton, start: Array, args: PyTree) -> tuple[Array, Array, Array]:
            return _floats_of(search.search(log_density, start, args))

        def settled(search: Newton, start: Array, args: PyTree) -> tuple[Array, Array, Array]:
            return _floats_of(search.settled(log_density, search.search(log_density, start, args), args))

        eta, precision, converged = shorter_unless_derived(found, settled, self, start, args)
        return Mode(eta, precision, converged > 0.5)

    def search(self, log_density: Callable[[Array, PyTree], Array], start: Float[Array, "..."], args: PyTree) -> Mode:
        if start.size == 0:
            return Mode(jnp.zeros(0), jnp.zeros((0, 0)), jnp.asarray(True))
        frozen = hold_constant(args)

        def density(eta):
            return log_density(eta, frozen)

        points = stop_gradient(start).reshape(-1, start.shape[-1])
        if self._climbs_from_sides(start):
            return highest_of(self._highest(density, points))
        return self._ended(self._search(density, best_of(density, points)))

    def peaks(self, log_density: Callable[[Array, PyTree], Array], start: Float[Array, "..."], args: PyTree) -> Peaks:
        if not self._climbs_from_sides(start):
            return super().peaks(log_density, start, args)
        frozen = hold_constant(args)
        return self._highest(lambda eta: log_density(eta, frozen), stop_gradient(start))

    def _climbs_from_sides(self, start: Float[Array, "..."]) -> bool:
        return self.thorough and self.starts is None and start.ndim == 2 and start.shape[-1] > 0

    def _highest(self, log_density: Callable[[Array], Array], points: Float[Array, "S K"]) -> Peaks:
        others = count_of_sides(points.shape[-1])
        first = best_of(log_density, points[:-others])
        ends = jax.lax.map(lambda point: self._search(log_density, point), jnp.append(first[None], points[-others:], 0))
        return peaks_of(self._ended(ends), ends.value)

    def _ended(self, end: _Search) -> Mode:
        converged = end.decrement < jnp.maximum(self.tolerance, 1e-6)
        return Mode(*stop_gradient((end.eta, end.precision)), converged)

    def _search(self, log_density: Callable[[Array], Array], start: Array) -> _Search:
        k = start.size

        def running(s):
            return (s.decrement >= self.tolerance) & ~s.stalled & (s.steps < self.max_steps)

        def step(s):
            # The first step does not move: its gradient is zero, and it only evaluates the starting point.
            sizes = jnp.abs(jnp.diagonal(s.precision))
            sizes = jnp.where(sizes > 0.0, sizes, jnp.mean(sizes) + 1e-300)
            trial = s.eta + posterior_step(s.precision + s.damping * jnp.diag(sizes), s.gradient)
            value, gradient, precision = curvature(log_density, trial)
            rounding = 1e-14 * (jnp.abs(value) + 1.0)
            sound = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(precision))
            uphill = sound & (value >= s.value - rounding)
            calmer = jnp.where(s.damping < 1e-2, 0.0, 0.1 * s.damping)
            damping = jnp.where(uphill, calmer, jnp.maximum(10.0 * s.damping, 0.3))

            eta = jnp.where(uphill, trial, s.eta)
            value = jnp.where(uphill, value, s.value)
            gradient = jnp.where(uphill, gradient, s.gradient)
            precision = jnp.where(uphill, precision, s.precision)
            squared = gradient @ posterior_step(precision, gradient)
            decrement = jnp.where(squared >= 0.0, jnp.sqrt(jnp.abs(squared)), jnp.inf)
            decrement = jnp.where(s.steps == 0, jnp.where(uphill, decrement, jnp.inf), decrement)
            # Where rounding keeps the decrement above the tolerance, a pure step that gains nothing ends the search.
            stalled = ((decrement < 1e-6) & (s.damping == 0.0) & (decrement >= 0.5 * s.decrement)) | (damping > 1e12)
            return _Search(eta, value, gradient, precision, damping, decrement, stalled, s.steps + 1)

        infinity = jnp.asarray(jnp.inf)
        begin = _Search(
            eta=start,
            value=-infinity,
            gradient=jnp.zeros(k),
            precision=jnp.eye(k),
            damping=jnp.zeros(()),
            decrement=infinity,
            stalled=jnp.asarray(False),
            steps=jnp.asarray(0),
        )
        # JAX follows a loop over many once more where only some of its state differs between them from the start.
        here = start[0] == start[0]
        return jax.lax.while_loop(running, step, jax.tree.map(lambda leaf: jnp.where(here, leaf, leaf), begin))


def _floats_of(mode: Mode) -> tuple[Array, Array, Array]:
    return mode.eta, mode.precision, mode.converged.astype(float)


def best_of(log_density: Callable[[Array], Array], points: Float[Array, "..."]) -> Float[Array, " K"]:
    """Of points (S, K) the one where the log density is highest; a single point (K,) is itself."""
    if points.ndim == 1 or len(points) == 1:
        return points.reshape(-1)
    values = jax.vmap(log_density)(points)
    return points[jnp.argmax(jnp.where(jnp.isnan(values), -jnp.inf, values))]


def posterior_step(precision: Array, vector: Array) -> Array:
    """precision^-1 vector; NaN where the matrix is not positive definite, which the search takes as a refusal."""
    return solve_positive_definite(precision, vector)


@jax.custom_jvp
def principal_axes(precision: Float[Array, "K K"]) -> tuple[Float[Array, "K K"], Float[Array, ""]]:
    """C with C C' = precision^-1, its columns along the principal axes, and log|C|.

    Of all the square roots, this one puts the grid of a quadrature along the axes of the posterior, where few nodes
    do best. Its derivative turns the axes too; where two axes are equally long there is none, and they stay.
    """
    eigenvalues, axes = jnp.linalg.eigh(precision)
    return axes / jnp.sqrt(eigenvalues), -0.5 * jnp.sum(jnp.log(eigenvalues))


@principal_axes.defjvp
def _principal_axes_jvp(primals, tangents):
    precision = primals[0]
    change = tangents[0]
    eigenvalues, axes = jnp.linalg.eigh(precision)
    turned = axes.T @ (0.5 * (change + change.T)) @ axes
    gap = eigenvalues[None, :] - eigenvalues[:, None]
    apart = jnp.abs(gap) > 1e-7 * jnp.max(jnp.abs(eigenvalues))
    turn = jnp.where(apart, turned / jnp.where(apart, gap, 1.0), 0.0)
    relative = jnp.diagonal(turned) / eigenvalues
    root = axes / jnp.sqrt(eigenvalues)
    d_root = (axes @ turn) / jnp.sqrt(eigenvalues) - 0.5 * root * relative
    return (root, -0.5 * jnp.sum(jnp.log(eigenvalues))), (d_root, -0.5 * jnp.sum(relative))


def hold_constant(tree: PyTree) -> PyTree:
    """The same pytree, through which no derivative passes."""
    return jax.tree.map(lambda leaf: stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)
