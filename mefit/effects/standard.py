"""Random effects in SDs of their own law: coordinates in which no covariance is too narrow.

As a covariance Omega = L L' comes close to a singular one, Omega^-1 grows without end, and what is computed with it
loses its digits: modes are not found, and a likelihood may come out several units off. In eta = mean + L u nothing
needs Omega^-1: the prior of u is N(0, I), and minus the Hessian of log p(y, u) is I + L'(...)L. The likelihood is the
same, for p(y, u) = p(y, eta) |L|.
"""

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ..base.peaks import Mode
from ..base.small_matrices import half_log_det
from ..curves.encoding import Gaussian
from ..data.subject import Subject
from ..model.densities import eta_mean, eta_sd, gaussian_law_of, log_conditional, log_joint
from ..model.model import Model
from .gaussian import LOG_2PI


class Standard(eqx.Module):
    """eta = mean + lower u: the mean and Cholesky factor of a Gaussian law; of others the mean, and the SDs alone."""

    mean: Float[Array, " K"]
    lower: Float[Array, "K K"]
    gaussian: bool = eqx.field(static=True)

    def eta(self, u: Float[Array, " K"]) -> Float[Array, " K"]:
        """The random effects at u."""
        return self.mean + self.lower @ u

    def of(self, eta: Float[Array, " K"]) -> Float[Array, " K"]:
        """The u of random effects."""
        return solve_triangular(self.lower, eta - self.mean, lower=True)

    def log_joint(self, model: Model, u: Float[Array, " K"], subject: Subject) -> Float[Array, ""]:
        """log p(y, u | theta) = log p(y, eta | theta) + log|L|."""
        if not self.gaussian:
            return log_joint(model, self.eta(u), subject) + half_log_det(self.lower)
        return log_conditional(model, self.eta(u), subject) - 0.5 * (u @ u + u.size * LOG_2PI)

    def precision(self, of_u: Float[Array, "K K"]) -> Float[Array, "K K"]:
        """The precision of eta, L^-T P L^-1, where u has the precision P."""
        inverse = solve_triangular(self.lower, jnp.eye(len(of_u)), lower=True)
        return inverse.T @ of_u @ inverse

    def of_gaussian(self, q: Gaussian) -> Gaussian:
        """The Gaussian of u, where that of eta is known."""
        return Gaussian(self.of(q.mean), solve_triangular(self.lower, q.lower, lower=True))

    def mode(self, of_u: Mode) -> Mode:
        """A mode in eta that is known in u."""
        return Mode(self.eta(of_u.eta), self.precision(of_u.precision), of_u.converged)


def standard_of(model: Model) -> Standard:
    """The coordinates that belong to the model's random effects."""
    law = gaussian_law_of(model)
    return by_mean_and_sd(model) if law is None else Standard(law.mean, law.lower, gaussian=True)


def by_mean_and_sd(model: Model) -> Standard:
    """Coordinates that know the means and SDs of the random effects, and nothing else of their law."""
    return Standard(eta_mean(model), jnp.diag(finite_sd(model)), gaussian=False)


def finite_sd(model: Model) -> Float[Array, " K"]:
    """The SD of each random effect in p(eta | theta); one where it has none."""
    return jnp.nan_to_num(eta_sd(model), nan=1.0, posinf=1.0)
