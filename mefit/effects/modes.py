"""The mode of one subject's random effects: eta*(theta) maximises the joint density of the subject."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..base.compiling import compiled
from ..base.derivatives import derived_forward
from ..base.newton import ModeSearch, Newton, curvature
from ..base.parts import in_parts
from ..base.peaks import Mode, Peaks, log_mass
from ..base.small_matrices import half_log_det, inverse_precision
from ..data.population import Population
from ..data.subject import Subject
from ..model.mixture import MixtureOfExperts
from ..model.model import Model
from ..model.pitfalls import refuse_pitfalls
from .experts import search_of_expert, together
from .gaussian import LOG_2PI
from .standard import Standard, standard_of
from .starts import starting_points

_FORWARD_UP_TO = 40  # numbers of a model, each entry of a covariance one
_AT_ONCE = 4096  # subjects: of a million what a search holds on its way would not fit into memory


def standard_mode(model: Model, subject: Subject, newton: ModeSearch) -> tuple[Standard, Mode]:
    """The mode of log p(y, u) of one subject, u its random effects in SDs of their law."""
    standard, density, start = _searching(model, newton)
    return standard, newton(density, start, (model, subject, standard))


def _searching(model: Model, newton: ModeSearch) -> tuple[Standard, Callable[[Array, Any], Array], Float[Array, "S K"]]:
    """The coordinates u, the density of (u, (model, subject, coordinates)), and where the search begins."""
    standard = standard_of(model)

    def density(u, args):
        model, subject, standard = args
        return standard.log_joint(model, u, subject)

    return standard, density, starting_points(newton, model, standard)


def subject_mode(model: Model, subject: Subject, newton: ModeSearch) -> Mode:
    """The empirical Bayes estimate of one subject: the mode of log p(y | eta) + log p(eta).

    Of a mixture the modes of all its experts, and u in the middle of the class that is most probable by Laplace.
    """
    if isinstance(model, MixtureOfExperts):
        return _mode_in_mixture(model, subject, newton)
    standard, mode = standard_mode(model, subject, newton)
    return standard.mode(mode)


def _mode_in_mixture(mixture: MixtureOfExperts, subject: Subject, newton: ModeSearch) -> Mode:
    found = []
    values = []
    for k, expert in enumerate(mixture.experts):
        standard, mode = standard_mode(expert, subject, search_of_expert(newton, mixture, k))
        half = half_log_det(jnp.linalg.cholesky(mode.precision)) if mode.eta.size else jnp.zeros(())
        found.append(standard.mode(mode))
        values.append(standard.log_joint(expert, mode.eta, subject) + 0.5 * mode.eta.size * LOG_2PI - half)
    return together(mixture, subject, jnp.stack(values), found).mode


@compiled
def modes(model: Model, subjects: Subject, newton: ModeSearch) -> Mode:
    """The mode of every subject."""
    return in_parts(lambda subject: subject_mode(model, subject, newton), subjects, _AT_ONCE)


def empirical_bayes(
    model: Model, population: Population, newton: ModeSearch | None = None
) -> tuple[Float[Array, "N K"], Float[Array, "N K K"]]:
    """Empirical Bayes estimates of every subject and the covariance of their Gaussian approximation.

    eta_i = argmax log p(y_i | theta, eta) + log p(eta | theta), and the inverse of minus the Hessian there. Of several
    peaks it is the one with most under it, as far as the search finds them: unless `newton` is given, it climbs from
    the mean of the random effects and from both sides along each.

        eta, covariance = mf.empirical_bayes(model, new_people)  # (N, K) and (N, K, K)
    """
    refuse_pitfalls(model, population)
    mode = modes(model, population.subjects, newton or Newton(thorough=True))
    return mode.eta, _inverses(mode.precision)


def _inverses(precision: Float[Array, "N K K"]) -> Float[Array, "N K K"]:
    """Of every matrix its inverse, by NumPy, which compiles nothing, where nothing is traced."""
    if isinstance(precision, jax.core.Tracer):
        return jnp.linalg.inv(precision)
    return jnp.asarray(inverse_precision(np.asarray(precision)))


def peaks_with_curvature(model: Model, subject: Subject, newton: ModeSearch) -> tuple[Standard, Peaks]:
    """The peaks in u, whose precisions here have their derivatives, which the search does not give.

    What comes after, a grid or draws, is derived in reverse. Through third derivatives of the density that compiled
    for half of a program's time; so these are taken forward, where the model has few numbers.
    """
    moving, rest = eqx.partition(model, eqx.is_inexact_array)
    numbers, rebuilt = ravel_pytree(moving)
    arrays, still = eqx.partition((rest, subject, newton), eqx.is_array)

    def found(numbers, arrays):
        rest, subject, newton = eqx.combine(arrays, still)
        model = eqx.combine(rebuilt(numbers), rest)
        standard, density, start = _searching(model, newton)
        args = (model, subject, standard)
        return newton.peaks(density, start, args), density, args

    def as_found(numbers, arrays):
        peaks = found(numbers, arrays)[0]
        return *peaks.modes[:2], peaks.modes.converged.astype(float), peaks.log_share, peaks.left_out

    def searched(numbers, arrays):
        peaks, density, args = found(numbers, arrays)
        newton = eqx.combine(arrays, still)[-1]

        def settled(mode):
            eta = newton.settled(density, mode, args).eta
            value, _, precision = curvature(lambda u: density(u, args), eta)
            return eta, precision, value

        eta, precision, value = jax.vmap(settled)(peaks.modes)
        log_share = peaks.log_share
        if len(log_share) > 1:
            log_share = jnp.where(jnp.isfinite(log_share), jax.vmap(log_mass)(value, precision), -jnp.inf)
        return eta, precision, peaks.modes.converged.astype(float), jax.nn.log_softmax(log_share), peaks.left_out

    if 0 < numbers.size <= _FORWARD_UP_TO:
        searched = derived_forward(searched, as_found if newton.knows_curvature else None)
    u, precision, converged, log_share, left_out = searched(numbers, arrays)
    return standard_of(model), Peaks(Mode(u, precision, converged > 0.5), log_share, left_out)
