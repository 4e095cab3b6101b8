"""First-order approximations of the marginal likelihood: FO and FOCE."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from ..data.population import Population
from ..data.subject import Subject
from ..effects.gaussian import (
    LOG_2PI,
    gaussian_effects,
    gaussian_marginal,
    gaussian_moments,
    half_log_det,
    linearised,
    slope_and_information,
)
from ..effects.modes import subject_mode
from ..effects.starts import starting_points
from ..model.densities import eta_mean, log_joint, log_random_effects
from ..model.model import Model
from .objective import Objective, Term, no_modes


class _Linearised(Objective):
    """What FO and FOCE share: they need Gaussian observations and random effects."""

    mixes: ClassVar[bool] = True

    def rehearse(self, model: Model, population: Population) -> None:
        eqx.filter_eval_shape(self.subject, model, population[0], None)


class FO(_Linearised):
    """First-order method: y is linearised in eta at its mean.

    y_i ~ N(f(0), G L L' G' + R(f(0))), G = df/deta at 0. Needs Gaussian observations and random effects; log-normal
    observations are Gaussian as logarithms, which are then what is linearised.
    Source: Beal and Sheiner (1982), Estimating population kinetics, CRC Crit. Rev. Biomed. Eng. 8.
    """

    label: ClassVar[str] = "FO"
    finds_modes: ClassVar[bool] = False

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        law = gaussian_effects(model)
        at, jacobian, _ = linearised(model, law.mean, subject)
        return no_modes(model, gaussian_marginal(at, at.y - at.mean, jacobian, law.lower))


class FOCE(_Linearised):
    """First-order conditional estimation: y is linearised in eta at each subject's mode eta*.

    With interaction (the default), -2 log L_i = -2 log p(y, eta*) - K log 2 pi + log|H|,
    H = Omega^-1 + sum_j [g g'/R + c c'/2], g = df/deta, c = (dR/deta)/R at eta*: NONMEM's FOCEI.
    Without, the residual variance R stays at eta = 0, for the mode too: NONMEM's FOCE. Both agree where R does not
    depend on eta.
    Source: Wang (2007), Derivation of various NONMEM estimation methods, J. Pharmacokinet. Pharmacodyn. 34.
    """

    interaction: bool = True
    label: ClassVar[str] = "FOCE"

    def subject(self, model: Model, subject: Subject, extra: Any) -> Term:
        if not self.interaction:
            return self._without(model, subject)
        mode = subject_mode(model, subject, self.newton)
        _, precision = slope_and_information(model, mode.eta, subject)
        half = half_log_det(jnp.linalg.cholesky(precision))
        value = log_joint(model, mode.eta, subject) + 0.5 * mode.eta.size * LOG_2PI - half
        return Term(value, mode.eta, precision, mode.converged, {})

    def _without(self, model: Model, subject: Subject) -> Term:
        law = gaussian_effects(model)

        def log_density(eta, args):
            model, subject = args
            typical = gaussian_moments(model, eta_mean(model), subject)
            here = gaussian_moments(model, eta, subject)
            misfit = typical.whitened(here.y - here.mean)
            return -0.5 * misfit @ misfit + log_random_effects(model, eta)

        mode = self.newton(log_density, starting_points(self.newton, model), (model, subject))
        at, jacobian, _ = linearised(model, mode.eta, subject)
        typical = gaussian_moments(model, law.mean, subject)
        residual = at.y - at.mean + jacobian @ (mode.eta - law.mean)
        return Term(gaussian_marginal(typical, residual, jacobian, law.lower), *mode, {})
