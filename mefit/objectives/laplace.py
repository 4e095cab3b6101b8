"""Laplace's approximation of the marginal likelihood."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..base.derivatives import shorter_unless_derived
from ..base.peaks import Mode
from ..base.small_matrices import half_log_det
from ..data.subject import Subject
from ..effects.gaussian import LOG_2PI
from ..effects.modes import standard_mode
from ..effects.standard import Standard
from ..model.model import Model
from .objective import Objective, Term


def _half_log_det_of_curvature(standard: Standard, model: Model, subject: Subject, mode: Mode) -> Array:
    """(1/2) log|P| with its derivative (1/2) tr(P^-1 dP), P = minus the Hessian at the mode, known from the search.

    With the columns c of P^-1/2 held constant the trace is a sum of second derivatives along them: K directions
    instead of K^2, and no derivative of a Cholesky factor. A second derivative with respect to theta is not had.
    """
    if mode.eta.size == 0:
        return jnp.zeros(())
    lower = jnp.linalg.cholesky(mode.precision)

    def value(lower: Array, *_: Any) -> Array:
        return half_log_det(lower)

    def derived(lower: Array, eta: Array, *known: Any) -> Array:
        trace = _trace_of_curvature(lower, eta, *known)
        return half_log_det(lower) + trace - jax.lax.stop_gradient(trace)

    return shorter_unless_derived(value, derived, lower, mode.eta, standard, model, subject)


def _trace_of_curvature(lower: Array, eta: Array, standard: Standard, model: Model, subject: Subject) -> Array:
    """(1/2) tr(P^-1 M), M = minus the Hessian at eta, P^-1 held constant."""
    columns = jax.scipy.linalg.solve_triangular(lower, jnp.eye(eta.size), lower=True)  # its rows, L^-1

    def bend(direction: Array) -> Array:
        def slope(eta: Array) -> Array:
            return jax.jvp(lambda u: standard.log_joint(model, u, subject), (eta,), (direction,))[1]

        return jax.jvp(slope, (eta,), (direction,))[1]

    return -0.5 * jnp.sum(jax.vmap(bend)(columns))


class Laplace(Objective):
    """Laplace's approximation: the joint density as a Gaussian around its mode, with its exact Hessian.

    log L_i = log p(y, eta*) + (K/2) log 2 pi - (1/2) log|P|, P = minus the Hessian of log p(y, eta) at eta*.
    Exact where the joint density is Gaussian in eta. Source: Tierney and Kadane (1986), JASA 81.
    """

    label: ClassVar[str] = "Laplace"
    mixes: ClassVar[bool] = True

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        standard, mode = standard_mode(model, subject, self.newton)
        half = _half_log_det_of_curvature(standard, model, subject, mode)
        value = standard.log_joint(model, mode.eta, subject) + 0.5 * mode.eta.size * LOG_2PI - half
        return Term(value, *standard.mode(mode), {})
