"""Adaptive Gauss-Hermite quadrature of the marginal likelihood."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from ..base.newton import principal_axes
from ..base.peaks import Mode, Peaks, highest_of
from ..base.small_matrices import half_log_det
from ..data.population import Population
from ..data.subject import Subject
from ..effects.modes import peaks_with_curvature
from ..effects.standard import Standard
from ..model.densities import eta_size
from ..model.model import Model
from .objective import Objective, Term

# With fewer nodes that count, of posteriors with a bend most log-likelihoods were off by 0.15 to 1, with more by less.
_FEWEST_NODES = 2.2
_SHARE_OF_GAUSSIAN = 0.6  # and of few nodes, this share of what count of a Gaussian posterior
_SOMETHING = 0.05  # share of a likelihood that lies under one peak


class AGQ(Objective):
    """Adaptive Gauss-Hermite quadrature: `nodes` to the power K points around each subject's mode.

    log L_i = log sum_k w_k exp(z_k'z_k / 2) p(y, eta* + C z_k) + log|C|, C C' = P^-1, with the tensor grid of the
    Gauss-Hermite rule of weight exp(-z^2/2). C lies along the principal axes of the posterior, of random effects
    u in SDs of their law, eta = mean + L u (`standardised`), so that their units do not matter; or in their own units.
    One node is Laplace.
    Where a thorough search finds several peaks, each has a grid of its own, and the density is shared out among them:
    on that of peak c it counts s_c g_c / sum_d s_d g_d, g being the Gaussians around the peaks and s what lies under
    each by Laplace; up to four peaks. `mf.log_likelihood` searches so, and a fit from where it meets a subject with
    several of them.
    Exact in the limit of many nodes; its cost grows as nodes^K. Raises ValueError beyond `largest_grid` points.
    Where a posterior bends away from its mode, or is much narrower than its curvature there tells, one node of an axis
    may bear all, and the sum is off by half a nat and more. `details["nodes"]` is the least number of nodes of an axis
    that count, (sum m)^2 / sum m^2, m being what lies at each: of a Gaussian 3.5 of 9. And where a grid is fine enough
    it may be turned about the mode. `mf.log_likelihood` turns it so, and refuses too few nodes that count, and a
    log L_i that moves by a twentieth of a nat; a fit remarks on them.
    Sources: Pinheiro and Bates (1995), J. Comput. Graph. Stat. 4; the shares are the balance heuristic of Veach and
    Guibas (1995), SIGGRAPH 95.
    """

    nodes: int = 9
    largest_grid: int = 100_000
    standardised: bool = True
    label: ClassVar[str] = "AGQ"
    covers_peaks: ClassVar[bool] = True
    mixes: ClassVar[bool] = True

    def check(self, model: Model, population: Population) -> None:
        check_grid(self.label, self.nodes, 1, eta_size(model), self.largest_grid)

    def evaluations(self, model: Model) -> int:
        return self.nodes ** eta_size(model)

    def extras(self, model, population, key):
        """By how much each subject's grid is turned about its mode."""
        return np.zeros(len(population))

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        standard, peaks = peaks_with_curvature(model, subject, self.newton)
        z, log_w = tensor_grid(self.nodes, peaks.modes.eta.shape[-1])
        turn = _rotation(extra, peaks.modes.eta.shape[-1])

        def around(mode: Mode, own: Array) -> Array:
            root, log_det = self._axes(standard, mode)
            us = mode.eta + z @ (root @ turn).T
            joint = jax.vmap(lambda u: standard.log_joint(model, u, subject))(us)
            return joint + _log_share(peaks, own, us) + (log_w + 0.5 * np.sum(z**2, 1)) + log_det

        each = jax.vmap(around)(peaks.modes, jnp.arange(len(peaks.log_share)))
        details = {"left_out": peaks.left_out, "nodes": _nodes_that_count(each, self.nodes, z.shape[1])}
        return Term(logsumexp(each), *standard.mode(highest_of(peaks)), details)

    @property
    def fewest_nodes(self) -> float:
        """With fewer that count along an axis, the grid does not tell what lies between them."""
        _, log_w = tensor_grid(self.nodes, 1)
        weight = np.exp(log_w) / np.sum(np.exp(log_w))
        return min(_FEWEST_NODES, _SHARE_OF_GAUSSIAN / float(np.sum(weight**2)))

    def _axes(self, standard: Standard, mode: Mode) -> tuple[Array, Array]:
        if self.standardised:
            return principal_axes(mode.precision)
        root, log_det = principal_axes(standard.precision(mode.precision))
        return solve_triangular(standard.lower, root, lower=True), log_det - half_log_det(standard.lower)


def _rotation(angle: Float[Array, ""], k: int) -> Float[Array, "K K"]:
    """A turn by the angle in the plane of each two axes that follow on each other."""
    whole = jnp.eye(k)
    cos = jnp.cos(angle)
    sin = jnp.sin(angle)
    plane = jnp.array([[cos, -sin], [sin, cos]])
    for axis in range(k - 1):
        whole = whole @ jnp.eye(k).at[axis : axis + 2, axis : axis + 2].set(plane)
    return whole


def _nodes_that_count(each: Float[Array, "C G"], nodes: int, k: int) -> Float[Array, ""]:
    """The least of all axes, and of the grids of all peaks under which something lies."""
    weight = jnp.exp(each - jnp.max(each))
    under = jnp.sum(weight, axis=1)
    counts = [jnp.full(len(each), float(nodes))]
    for axis in range(k):
        at_node = jnp.sum(weight.reshape(len(each), nodes**axis, nodes, -1), axis=(1, 3))
        counts.append(under**2 / jnp.sum(at_node**2, axis=1))
    least = jnp.min(jnp.stack(counts), axis=0)
    return jnp.min(jnp.where(under > _SOMETHING * jnp.sum(under), least, float(nodes)))


def _log_share(peaks: Peaks, own: Array, us: Float[Array, "G K"]) -> Float[Array, " G"] | float:
    """The logarithm of what the density at each point counts on the grid of the peak `own`."""
    if len(peaks.log_share) == 1:
        return 0.0
    away = us[:, None] - peaks.modes.eta
    squared = jnp.einsum("gci,cij,gcj->gc", away, peaks.modes.precision, away)
    log_dets = jax.vmap(lambda precision: half_log_det(jnp.linalg.cholesky(precision)))(peaks.modes.precision)
    each = peaks.log_share + log_dets - 0.5 * squared
    return each[:, own] - logsumexp(each, axis=1)


def tensor_grid(nodes: int, k: int) -> tuple[Float[np.ndarray, "G {k}"], Float[np.ndarray, " G"]]:
    """The points of the tensor grid of Gauss and Hermite in k directions, and the logarithms of their weights."""
    point, weight = np.polynomial.hermite_e.hermegauss(nodes)
    place = np.indices((nodes,) * k).reshape(k, nodes**k).T  # of each point, in each direction
    return point[place], np.sum(np.log(weight)[place], 1)


def check_grid(label: str, nodes: int, fewest: int, k: int, largest: int) -> None:
    """Raise ValueError for too few nodes, or a grid of more than `largest` points."""
    if nodes < fewest:
        raise ValueError(f"{label} with nodes={nodes} has too few points: give {fewest} or more.")
    if nodes**k > largest:
        raise ValueError(
            f"{label} with {nodes} nodes and {k} random effects is {nodes**k:,} points per subject: "
            f"use at most {int(largest ** (1.0 / k))} nodes, or ImportanceSampling."
        )
