"""Likelihoods by averages over weighted draws: how far they may be off, and of whom they say nothing."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ..data.population import Population
from ..model.model import Model
from .mixture import evaluations_of
from .objective import Objective, Term, name_subjects
from .sampled import ImportanceSampling

_FEWEST = 10.0  # draws that count: with fewer, a subject's log-likelihood falls short by tenths of a nat, or by many
_SHARE = 0.1  # and of few draws, this share of them


def simulation_error(effective: Float[np.ndarray, " N"], drawn: int) -> float:
    """The SD over draws of sum_i log L_i, by the delta method: the square root of sum_i (1/ESS_i - 1/M)."""
    return float(np.sqrt(np.sum(np.maximum(1.0 / effective - 1.0 / drawn, 0.0))))


def hardly_met(effective: Float[np.ndarray, " N"], drawn: int) -> Bool[np.ndarray, " N"]:
    """Of whom the draws say nothing: next to all the weight lies on a few, and what they missed nobody knows.

    The log of such an average falls short, most often by more than its own spread tells.
    """
    return effective < min(_FEWEST, _SHARE * drawn)


def remarks_on_draws(objective: Objective, model: Model, population: Population, effective: Any) -> tuple[str, ...]:
    """The sentence of a fit on subjects whose log-likelihood falls short, if there are any."""
    if effective is None:
        return ()
    drawn = evaluations_of(objective, model)
    few = hardly_met(effective, drawn)
    return (_falls_short(objective, population, few, drawn),) if np.any(few) else ()


def refuse_few_draws(objective: Objective, model: Model, population: Population, terms: Term) -> None:
    """ValueError where importance sampling met too little of somebody's density to say how large it is.

    Plain Monte Carlo is left to those who ask for it: falling short is what it is known for.
    """
    effective = terms.details.get("effective_sample_size")
    if effective is None or not isinstance(objective, ImportanceSampling):
        return
    drawn = evaluations_of(objective, model)
    few = hardly_met(np.asarray(effective), drawn)
    if np.any(few):
        raise ValueError(_falls_short(objective, population, few, drawn))


def _falls_short(objective: Objective, population: Population, few: Bool[np.ndarray, " N"], drawn: int) -> str:
    remedy = "take ImportanceSampling() or AGQ(), which search each mode"
    if isinstance(objective, ImportanceSampling):
        remedy = (
            "a peak may have been missed; search from more points, by newton=mf.Newton(looks=16), or take more samples"
        )
        if objective.proposal is not None:
            remedy = "the encoder knows too little of such people; take ImportanceSampling() without it"
    return (
        f"the log-likelihood by {objective.label} falls short, nobody knows by how much, for "
        f"{name_subjects(population, few)}, of whose {drawn:,} draws fewer than {min(_FEWEST, _SHARE * drawn):.3g} "
        f"count: {remedy}."
    )
