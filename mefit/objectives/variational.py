"""The evidence lower bound of the marginal likelihood, by the best Gaussian of each subject."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..base.newton import hold_constant
from ..base.peaks import Mode
from ..base.small_matrices import half_log_det
from ..data.population import Population
from ..data.subject import Subject
from ..effects.gaussian import LOG_2PI
from ..effects.modes import standard_mode
from ..effects.standard import Standard
from ..model.densities import eta_size
from ..model.model import Model
from .objective import Objective, Term
from .quadrature import check_grid, tensor_grid


class Bound(NamedTuple):
    """A Gaussian, and how far it is from the best one."""

    mean: Float[Array, " K"]
    lower: Float[Array, "K K"]  # the Cholesky factor of its precision
    error: Array  # the largest of what should be zero, in the Gaussian's own SDs
    updates: Array


class Variational(Objective):
    """The evidence lower bound: of all Gaussians q = N(m, V) of a subject's eta, the one nearest to its posterior.

    log L_i >= E_q[log p(y, eta)] + (K/2) (1 + log 2 pi) + log|C|, C C' = V, at its maximum over m and the full V, where
    E_q[gradient] = 0 and V^-1 = -E_q[Hessian]. The divergence of q from the posterior is what is missing: nothing where
    the joint density is Gaussian in eta. E_q is a quadrature of `nodes` to the power K points, and gradients give the
    Hessian, E_q[gradient z'] = E_q[Hessian] C. From the Laplace approximation on both equations are solved in turn,
    at most `updates` times. `eta` of the fit are the means m, `eta_covariance` the V.
    Source: Opper and Archambeau (2009), The variational Gaussian approximation revisited, Neural Comput. 21.

        mf.log_likelihood(model, population, mf.Variational(nodes=3))
    """

    nodes: int = 5
    updates: int = 200
    largest_grid: int = 100_000
    label: ClassVar[str] = "Variational"

    def check(self, model: Model, population: Population) -> None:
        check_grid(self.label, self.nodes, 2, eta_size(model), self.largest_grid)

    def evaluations(self, model: Model) -> int:
        return self.nodes ** eta_size(model)

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        standard, mode = standard_mode(model, subject, self.newton)
        return self.nearest(standard, model, subject, mode)

    def nearest(self, standard: Standard, model: Model, subject: Subject, begin: Mode) -> Term:
        """The term of the Gaussian that a search finds from a place u and the precision there."""
        z, weights = self._rule(begin.eta.size)
        best = self._best_gaussian(hold_constant((model, subject, standard)), hold_constant(begin), z, weights)
        value = self.bound(standard, model, subject, best.mean, _inverse_transposed(best.lower))
        found = Mode(best.mean, best.lower @ best.lower.T, best.error < 1e-6)
        return Term(value, *standard.mode(found), {})

    def bound(
        self, standard: Standard, model: Model, subject: Subject, mean: Float[Array, " K"], root: Float[Array, "K K"]
    ) -> Float[Array, ""]:
        """The bound of any Gaussian of u, N(mean, root root'), root triangular, by the same quadrature."""
        z, weights = self._rule(mean.size)
        joint = jax.vmap(lambda move: standard.log_joint(model, mean + move, subject))(z @ root.T)
        return jnp.asarray(weights) @ joint + half_log_det(root) + 0.5 * mean.size * (1.0 + LOG_2PI)

    def _rule(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights of an expectation over N(0, I)."""
        z, log_w = tensor_grid(self.nodes, k)
        return z, np.exp(log_w) / np.sum(np.exp(log_w))

    def _best_gaussian(
        self, held: tuple[Model, Subject, Standard], mode: Mode, z: np.ndarray, weights: np.ndarray
    ) -> Bound:
        """The Gaussian that maximises the bound. Nothing is derived through it: there the bound is flat in m and C."""
        model, subject, standard = held
        eye = jnp.eye(mode.eta.size)

        def update(bound: Bound) -> Bound:
            root = _inverse_transposed(bound.lower)
            slope_at = jax.jacfwd(lambda u: standard.log_joint(model, u, subject))
            slopes = jax.vmap(slope_at)(bound.mean + z @ root.T)
            gradient = root.T @ (weights @ slopes)
            hessian = -root.T @ (slopes.T @ (weights[:, None] * z))
            hessian = jnp.triu(hessian) + jnp.triu(hessian, 1).T  # as C is: so the bound is flat however few the nodes
            sound = jnp.all(jnp.linalg.eigvalsh(hessian) > 0.1) & jnp.all(jnp.isfinite(gradient))
            return Bound(
                mean=bound.mean + root @ jnp.where(sound, gradient, 0.1 * gradient),
                lower=jnp.where(sound, bound.lower @ jnp.linalg.cholesky(hessian), bound.lower),
                error=jnp.max(jnp.abs(jnp.append(gradient, hessian - eye)), initial=0.0),
                updates=bound.updates + 1,
            )

        def goes_on(bound: Bound) -> Array:
            return (bound.error > 1e-9) & (bound.updates < self.updates)

        lower = jnp.linalg.cholesky(mode.precision)
        lower = jnp.where(jnp.all(jnp.isfinite(lower)), lower, eye)
        begin = Bound(mode.eta, lower, jnp.asarray(jnp.inf), jnp.asarray(0))
        return jax.lax.while_loop(goes_on, update, begin)


def _inverse_transposed(lower: Array) -> Array:
    """C with C C' = (L L')^-1, for a lower triangular L."""
    return jax.scipy.linalg.solve_triangular(lower, jnp.eye(len(lower)), lower=True, trans="T")
