"""Adaptive Gauss-Hermite quadrature of the marginal likelihood."""

from typing import Any, ClassVar

import jax
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp
from jaxtyping import Float

from ..base.newton import principal_axes
from ..data.population import Population
from ..data.subject import Subject
from ..effects.gaussian import half_log_det
from ..effects.modes import mode_with_curvature
from ..model.densities import eta_size
from ..model.model import Model
from .objective import Objective, Term


class AGQ(Objective):
    """Adaptive Gauss-Hermite quadrature: `nodes` to the power K points around each subject's mode.

    log L_i = log sum_k w_k exp(z_k'z_k / 2) p(y, eta* + C z_k) + log|C|, C C' = P^-1, with the tensor grid of the
    Gauss-Hermite rule of weight exp(-z^2/2). C lies along the principal axes of the posterior, of random effects
    u in SDs of their law, eta = mean + L u (`standardised`), so that their units do not matter; or in their own units.
    One node is Laplace.
    Exact in the limit of many nodes; its cost grows as nodes^K. Raises ValueError beyond `largest_grid` points.
    Source: Pinheiro and Bates (1995), J. Comput. Graph. Stat. 4.
    """

    nodes: int = 9
    largest_grid: int = 100_000
    standardised: bool = True
    label: ClassVar[str] = "AGQ"
    mixes: ClassVar[bool] = True

    def check(self, model: Model, population: Population) -> None:
        check_grid(self.label, self.nodes, 1, eta_size(model), self.largest_grid)

    def evaluations(self, model: Model) -> int:
        return self.nodes ** eta_size(model)

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        standard, mode = mode_with_curvature(model, subject, self.newton)
        z, log_w = tensor_grid(self.nodes, mode.eta.size)
        root, log_det = principal_axes(mode.precision)
        if not self.standardised:
            root, log_det = principal_axes(standard.precision(mode.precision))
            root = solve_triangular(standard.lower, root, lower=True)
            log_det = log_det - half_log_det(standard.lower)
        joint = jax.vmap(lambda move: standard.log_joint(model, mode.eta + move, subject))(z @ root.T)
        value = logsumexp(joint + (log_w + 0.5 * np.sum(z**2, 1))) + log_det
        return Term(value, *standard.mode(mode), {})


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
