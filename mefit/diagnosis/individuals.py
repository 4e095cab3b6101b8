"""Subjects with their random effects at a fit's theta: those that were fitted, or any others."""

import dataclasses

import numpy as np
from jaxtyping import Float

from ..data.population import Population
from ..effects.modes import empirical_bayes
from ..fitting.about import check, final_objective, typical
from ..fitting.result import Fit
from ..model.densities import eta_mean


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Subjects, and the estimates of their random effects."""

    population: Population
    eta: Float[np.ndarray, "N K"]  # estimates
    covariance: Float[np.ndarray, "N K K"]  # of their Gaussian approximation


def individuals(fit: Fit, population: Population | None = None) -> Estimates:
    """The fitted subjects with the fit's own estimates; those of another `population` by empirical
    Bayes.

    eta_i = argmax log p(y_i | theta, eta) + log p(eta | theta) at the fit's theta, whatever method
    found theta. A subject without a response is at the mode of p(eta | theta). Where a fit held
    every eta at its mean, so are these. Where a fit is seen through one of several outcomes, that
    outcome alone tells about another population's eta.

    Raises ValueError where the fit has not estimated the law of the random effects, or there are
    several outcomes.
    """
    if population is None or population is fit.population:
        return Estimates(
            population=fit.population,
            eta=np.asarray(fit.eta),
            covariance=np.asarray(fit.eta_covariance),
        )
    check(fit, population=population)
    if typical(fit):
        mean = np.asarray(eta_mean(fit.model))
        count = len(population)
        return Estimates(
            population=population,
            eta=np.tile(mean, (count, 1)),
            covariance=np.zeros((count, mean.size, mean.size)),
        )
    objective = final_objective(fit.method)
    newton = None if objective is None else dataclasses.replace(objective.newton, thorough=True)
    eta, covariance = empirical_bayes(fit.model, population, newton)
    return Estimates(population=population, eta=np.asarray(eta), covariance=np.asarray(covariance))
