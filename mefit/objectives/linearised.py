"""First-order approximations of the marginal likelihood: FO and FOCE."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from ..base.small_matrices import half_log_det
from ..data.population import Population
from ..data.subject import Subject
from ..effects.gaussian import (
    LOG_2PI,
    gaussian_effects,
    gaussian_marginal,
    gaussian_moments,
    linearised,
    slope_and_information,
)
from ..effects.modes import standard_mode
from ..effects.standard import standard_of
from ..effects.starts import starting_points
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

        fit = mf.fit(model, population, mf.FO())
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
        standard, mode = standard_mode(model, subject, self.newton)
        _, precision = slope_and_information(model, mode.eta, subject)
        half = half_log_det(jnp.linalg.cholesky(precision))
        value = standard.log_joint(model, mode.eta, subject) + 0.5 * mode.eta.size * LOG_2PI - half
        return Term(value, *standard.mode(mode._replace(precision=precision)), {})

    def _without(self, model: Model, subject: Subject) -> Term:
        standard = standard_of(model)

        def log_density(u, args):
            model, subject, standard = args
            typical = gaussian_moments(model, standard.mean, subject)
            here = gaussian_moments(model, standard.eta(u), subject)
            misfit = typical.whitened(here.y - here.mean)
            return -0.5 * (misfit @ misfit + u @ u)

        start = starting_points(self.newton, model, standard)
        mode = standard.mode(self.newton(log_density, start, (model, subject, standard)))
        at, jacobian, _ = linearised(model, mode.eta, subject)
        typical = gaussian_moments(model, standard.mean, subject)
        residual = at.y - at.mean + jacobian @ (mode.eta - standard.mean)
        return Term(gaussian_marginal(typical, residual, jacobian, standard.lower), *mode, {})
