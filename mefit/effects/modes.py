"""The mode of one subject's random effects: eta*(theta) maximises the joint density of the subject."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..base.compiling import compiled
from ..base.newton import Mode, ModeSearch, Newton, curvature
from ..data.population import Population
from ..data.subject import Subject
from ..model.densities import log_joint
from ..model.model import Model
from .starts import starting_points


def subject_mode(model: Model, subject: Subject, newton: ModeSearch) -> Mode:
    """The empirical Bayes estimate of one subject: the mode of log p(y | eta) + log p(eta)."""

    def density(eta, args):
        return log_joint(args[0], eta, args[1])

    return newton(density, starting_points(newton, model), (model, subject))


@compiled
def modes(model: Model, subjects: Subject, newton: ModeSearch) -> Mode:
    """The mode of every subject."""
    return jax.vmap(lambda subject: subject_mode(model, subject, newton))(subjects)


def empirical_bayes(
    model: Model, population: Population, newton: ModeSearch | None = None
) -> tuple[Float[Array, "N K"], Float[Array, "N K K"]]:
    """Empirical Bayes estimates of every subject and the covariance of their Gaussian approximation.

    eta_i = argmax log p(y_i | theta, eta) + log p(eta | theta), and the inverse of minus the Hessian there.
    """
    mode = modes(model, population.subjects, newton or Newton())
    return mode.eta, jnp.linalg.inv(mode.precision)


def mode_with_curvature(model: Model, subject: Subject, newton: ModeSearch) -> tuple[Mode, Array]:
    """The mode, and minus the Hessian there with its derivative, which the search does not give."""
    mode = subject_mode(model, subject, newton)
    return mode, curvature(lambda eta: log_joint(model, eta, subject), mode.eta)[2]
