"""Questions that may be asked of any fit."""

from typing import Any

from ..base.chance import require_key
from ..data.population import one_outcome
from ..methods.method import NOT_ESTIMATED
from ..model.densities import eta_size
from ..model.space import coordinates
from ..objectives.joint import NaivePooled
from ..objectives.objective import Objective
from .result import Fit


def not_estimated(fit: Fit) -> str:
    """The parameters that a fit left where they started, though eta is not held at its mean."""
    pairs = zip(coordinates(fit.model, fit.fixed), fit.status, strict=True)
    return ", ".join(c.label for c, status in pairs if status == NOT_ESTIMATED and not typical(fit))


def typical(fit: Fit) -> bool:
    """Is every eta held at its mean, by naive pooling, or is there none?"""
    return isinstance(fit.method, NaivePooled) or eta_size(fit.model) == 0


def _check(fit: Fit, effects: bool = False, key: Any = ()) -> None:
    if effects and typical(fit):
        raise ValueError(f"{fit.method.label} had no random effects to estimate: fit a model with some, by Laplace.")
    if lost := not_estimated(fit):
        raise ValueError(f"{fit.method.label} has not estimated {lost}, which this needs: fit by Laplace.")
    one_outcome(fit.population)
    if not isinstance(key, tuple):  # the empty tuple: nothing is drawn
        require_key(key, "this")


def likelihood_of(fit: Fit) -> Objective:
    """The objective of a fit at an inner maximum of a likelihood; ValueError, with the reason, for any other."""
    objective = getattr(fit.method, "marginal", fit.method)
    if not (isinstance(objective, Objective) and objective.likelihood):
        what = f"{fit.method.label} maximises no likelihood of theta, so its uncertainty cannot be had this way"
        raise ValueError(f"{what}: fit again from fit.model by Laplace, AGQ or FOCE.")
    if not fit.converged:
        raise ValueError(f"the fit has not converged ({fit.message}): its uncertainty means nothing until it has.")
    for coordinate, status in zip(coordinates(fit.model, fit.fixed), fit.status, strict=True):
        if status:
            what = f"{coordinate.label} is {status}, where standard errors and their relatives do not hold"
            raise ValueError(f"{what}: leave it out of the model, or fit again with fixed=({coordinate.parameter!r},).")
    if not fit.status:
        raise ValueError("every parameter was held fixed, so there is no uncertainty to measure.")
    return objective
