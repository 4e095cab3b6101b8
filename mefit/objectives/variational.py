"""The evidence lower bound of the marginal likelihood, by the best Gaussian of each subject."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..base.newton import hold_constant
from ..data.subject import Subject
from ..effects.gaussian import _LOG_2PI, _half_log_det
from ..effects.modes import subject_mode
from ..model.densities import log_joint
from ..model.model import Model
from .objective import Term
from .quadrature import AGQ


class Variational(AGQ):
    """The evidence lower bound: of all Gaussians q = N(m, V) of a subject's eta, the one nearest to its posterior.

    log L_i >= E_q[log p(y, eta)] + (K/2) (1 + log 2 pi) + log|C|, C C' = V, at its maximum over m and the full V, where
    E_q[gradient] = 0 and V^-1 = -E_q[Hessian]. The divergence of q from the posterior is what is missing: nothing where
    the joint density is Gaussian in eta. E_q is a quadrature of `nodes` to the power K points, and gradients give the
    Hessian, E_q[gradient z'] = E_q[Hessian] C. From the Laplace approximation on both equations are solved in turn,
    at most `updates` times. `eta` of the fit are the means m, `eta_covariance` the V.
    Source: Opper and Archambeau (2009), The variational Gaussian approximation revisited, Neural Comput. 21.
    """

    nodes: int = 5
    updates: int = 200
    fewest: ClassVar[int] = 2
    label: ClassVar[str] = "Variational"

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        mode = subject_mode(model, subject, self.newton)
        (z, log_w), eye, held = self.grid(mode.eta.size), jnp.eye(mode.eta.size), hold_constant((model, subject))
        weights = np.exp(log_w) / np.sum(np.exp(log_w))

        def update(at):  # nothing is derived through it: at the maximum the bound is flat in m and C
            centre, lower, _, count = at
            root = jax.scipy.linalg.solve_triangular(lower, eye, lower=True, trans="T")
            slopes = jax.vmap(jax.jacfwd(lambda eta: log_joint(held[0], eta, held[1])))(centre + z @ root.T)
            bend, move = -root.T @ (slopes.T @ (weights[:, None] * z)), root.T @ (weights @ slopes)
            bend = jnp.triu(bend) + jnp.triu(bend, 1).T  # as C is: then the bound is flat however few the nodes
            sound = jnp.all(jnp.linalg.eigvalsh(bend) > 0.1) & jnp.all(jnp.isfinite(move))
            error = jnp.max(jnp.abs(jnp.append(move, bend - eye)), initial=0.0)
            new = jnp.where(sound, lower @ jnp.linalg.cholesky(bend), lower)
            return centre + root @ jnp.where(sound, move, 0.1 * move), new, error, count + 1

        lower = jnp.linalg.cholesky(mode.precision)
        lower = jnp.where(jnp.all(jnp.isfinite(lower)), lower, eye)
        begin = (*hold_constant((mode.eta, lower)), jnp.asarray(jnp.inf), jnp.asarray(0))
        eta, lower, error, _ = jax.lax.while_loop(lambda at: (at[2] > 1e-9) & (at[3] < self.updates), update, begin)
        root = jax.scipy.linalg.solve_triangular(lower, eye, lower=True, trans="T")
        joint = jax.vmap(lambda move: log_joint(model, eta + move, subject))(z @ root.T)
        value = weights @ joint - _half_log_det(lower) + 0.5 * len(eye) * (1.0 + _LOG_2PI)
        return Term(value, eta, lower @ lower.T, error < 1e-6, {})
