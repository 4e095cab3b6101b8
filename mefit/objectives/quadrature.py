"""Adaptive Gauss-Hermite quadrature of the marginal likelihood."""

from typing import Any, ClassVar

import jax
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Float

from ..base.newton import principal_axes
from ..data.population import Population
from ..data.subject import Subject
from ..effects.modes import mode_with_curvature
from ..effects.starts import finite_sd
from ..model.densities import eta_size, log_joint
from ..model.model import Model
from .objective import Objective, Term


class AGQ(Objective):
    """Adaptive Gauss-Hermite quadrature: `nodes` to the power K points around each subject's mode.

    log L_i = log sum_k w_k exp(z_k'z_k / 2) p(y, eta* + C z_k) + log|C|, C C' = P^-1, with the tensor grid of the
    Gauss-Hermite rule of weight exp(-z^2/2). C lies along the principal axes of the posterior, of random effects in
    their prior SDs (`standardised`), so that their units do not matter; or in their own units. One node is Laplace.
    Exact in the limit of many nodes; its cost grows as nodes^K. Raises ValueError beyond `largest_grid` points.
    Source: Pinheiro and Bates (1995), J. Comput. Graph. Stat. 4.
    """

    nodes: int = 9
    largest_grid: int = 100_000
    standardised: bool = True
    fewest: ClassVar[int] = 1
    label: ClassVar[str] = "AGQ"

    def check(self, model: Model, population: Population) -> None:
        k = eta_size(model)
        if self.nodes < self.fewest:
            raise ValueError(f"{self.label} with nodes={self.nodes} has too few points: give {self.fewest} or more.")
        if self.nodes**k > self.largest_grid:
            advice = f"use at most {int(self.largest_grid ** (1.0 / k))} nodes, or ImportanceSampling"
            many = f"{self.label} with {self.nodes} nodes and {k} random effects is {self.nodes**k:,} points a subject"
            raise ValueError(f"{many}: {advice}.")

    def evaluations(self, model: Model) -> int:
        return self.nodes ** eta_size(model)

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode, precision = mode_with_curvature(model, subject, self.newton)
        z, log_w = self.grid(mode.eta.size)
        unit = finite_sd(model) if self.standardised else jnp.ones(mode.eta.size)
        root, log_det = principal_axes(precision * jnp.outer(unit, unit))
        root = unit[:, None] * root
        log_det = log_det + jnp.sum(jnp.log(unit))
        joint = jax.vmap(lambda move: log_joint(model, mode.eta + move, subject))(z @ root.T)
        value = logsumexp(joint + (log_w + 0.5 * np.sum(z**2, 1))) + log_det
        return Term(value, mode.eta, precision, mode.converged, {})

    def grid(self, k: int) -> tuple[Float[np.ndarray, "G {k}"], Float[np.ndarray, " G"]]:
        """The points of the tensor grid in k directions, and the logarithms of their weights."""
        z1, w1 = np.polynomial.hermite_e.hermegauss(self.nodes)
        node = np.indices((self.nodes,) * k).reshape(k, self.nodes**k).T  # of each point, in each direction
        return z1[node], np.sum(np.log(w1)[node], 1)
