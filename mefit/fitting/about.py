"""Questions that may be asked of any fit."""

from typing import Any

from ..base.chance import require_key
from ..data.population import Population, one_outcome
from ..methods.method import Method
from ..methods.two_stage import TwoStage
from ..model.densities import eta_size
from ..model.mixture import MixtureOfExperts
from ..model.pitfalls import refuse_pitfalls
from ..objectives.joint import JointMLE, NaivePooled
from ..objectives.objective import NOT_ESTIMATED, Objective
from .fitted import Estimated

# ---------------------------------------------------------------- of a method


def final_objective(method: Objective | Method) -> Objective | None:
    """The objective that a method evaluates where it ended, which its log-likelihood is by; None without one."""
    return method if isinstance(method, Objective) else method.likelihood_by


def climbed(method: Objective | Method) -> Objective | None:
    """The objective that a method's iterations climb; None for an algorithm that maximises no one
    function."""
    objective = getattr(method, "objective", method)  # Adam's
    return objective if isinstance(objective, Objective) else None


def climbs_a_likelihood(method: Objective | Method) -> bool:
    """Is what the iterations climb a likelihood of theta, so that their history is one of -2 log
    L?"""
    objective = climbed(method)
    return objective is not None and objective.likelihood


def treats_subjects_alone(method: Objective | Method) -> bool:
    """Is every subject estimated from its own data, as if the others did not exist?"""
    return isinstance(method, TwoStage | JointMLE)


def pools_subjects(method: Objective | Method) -> bool:
    """Is every subject taken for the typical one, its random effects held at their mean?"""
    return isinstance(climbed(method), NaivePooled)


# ---------------------------------------------------------------- of a model, and of a fit


def typical(fit: Estimated) -> bool:
    """Is every eta held at its mean, by naive pooling, or is there none?"""
    return pools_subjects(fit.method) or eta_size(fit.model) == 0


def not_estimated(fit: Estimated) -> str:
    """The parameters that a fit left where they started, though eta is not held at its mean."""
    if typical(fit):
        return ""
    pairs = zip(fit.space.coordinates, fit.status, strict=True)
    return ", ".join(coordinate.label for coordinate, status in pairs if status == NOT_ESTIMATED)


def check(fit: Estimated, effects: bool = False, key: Any = (), population: Population | None = None) -> None:
    """Raise ValueError, saying why, where a fit cannot serve what looks at its predictions for a
    `population`.

    That is where parameters of the random effects were left where they started, where there are
    several outcomes, where `effects` are needed and there were none to estimate, or where `key` is
    None.
    """
    if effects and typical(fit):
        raise ValueError(f"{fit.method.label} had no random effects to estimate: fit a model with some, by Laplace.")
    if effects and isinstance(fit.model, MixtureOfExperts):
        raise ValueError(
            "in a mixture of experts a subject has random effects in one class, and which is not certain: "
            "use mf.responsibilities, and mf.individual for draws of both."
        )
    lost = not_estimated(fit)
    if lost:
        raise ValueError(f"{fit.method.label} has not estimated {lost}, which this needs: fit by Laplace.")
    one_outcome(fit.population)
    if population is not None:
        one_outcome(population)
        refuse_pitfalls(fit.model, population)
    if not isinstance(key, tuple):  # the empty tuple: nothing is drawn
        require_key(key, "this")


def curvature_of_a_bound(objective: Objective) -> str:
    """Why the second derivative of a bound says nothing of how sure estimates are."""
    return (
        f"{objective.label} is a bound that touches the likelihood where its encoder was trained and nowhere else: its "
        "curvature in theta is that of data in which all random effects were seen, and intervals by it are far too "
        "short; take that of the likelihood, mf.ImportanceSampling(proposal=fit.encoder)."
    )


def likelihood_of(fit: Estimated) -> Objective:
    """The objective of a fit at an inner maximum of a likelihood; ValueError, with the reason, for
    any other."""
    objective = final_objective(fit.method)
    if objective is None or not (fit.method.likelihood and objective.likelihood):
        raise ValueError(
            f"{fit.method.label} maximises no likelihood of theta, so its uncertainty cannot be had this way: "
            "fit again from fit.model by Laplace, AGQ or FOCE."
        )
    if objective.reported is not objective:
        raise ValueError(curvature_of_a_bound(objective))
    if not fit.converged:
        raise ValueError(f"the fit has not converged ({fit.message}): its uncertainty means nothing until it has.")
    for coordinate, status in zip(fit.space.coordinates, fit.status, strict=True):
        if status:
            raise ValueError(
                f"{coordinate.label} is {status}, where standard errors and their relatives do not hold: "
                f"leave it out of the model, or fit again with fixed=({coordinate.parameter!r},)."
            )
    if not fit.status:
        raise ValueError("every parameter was held fixed, so there is no uncertainty to measure.")
    return objective
