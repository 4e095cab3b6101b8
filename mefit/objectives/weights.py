"""Likelihoods by averages over weighted draws: how far they may be off, and of whom they say nothing."""

from typing import Any

import numpy as np
from jaxtyping import Float

from ..data.population import Population
from ..model.model import Model
from .mixture import evaluations_of
from .objective import Objective, Term, name_subjects
from .sampled import ImportanceSampling

_FEWEST = 10.0  # draws that count: with fewer, a subject's log-likelihood falls short by tenths of a nat, or by many
_SHARE = 0.1  # and of few draws, this share of them


def simulation_errors(effective: Any, drawn: int) -> Float[np.ndarray, " N"]:
    """The SD over draws of each log L_i, by the delta method: the square root of 1/ESS_i - 1/M."""
    return np.sqrt(np.maximum(1.0 / np.asarray(effective) - 1.0 / drawn, 0.0))


def falls_short(objective: Objective, model: Model, population: Population, effective: Any) -> str:
    """The sentence on subjects of whom the draws say nothing; empty where there are none, or nothing is drawn.

    Next to all the weight lies on a few draws, and what they missed nobody knows: the log of such an average falls
    short, most often by more than its own spread tells.
    """
    if effective is None:
        return ""
    drawn = evaluations_of(objective, model)
    fewest = min(_FEWEST, _SHARE * drawn)
    few = np.asarray(effective) < fewest
    if not np.any(few):
        return ""
    return (
        f"the log-likelihood by {objective.label} falls short, nobody knows by how much, for "
        f"{name_subjects(population, few)}, of whose {drawn:,} draws fewer than {fewest:.3g} count: "
        f"{_remedy(objective)}."
    )


def _remedy(objective: Objective) -> str:
    if not isinstance(objective, ImportanceSampling):
        return "take ImportanceSampling() or AGQ(), which search each mode"
    if objective.proposal is not None:
        return "the encoder knows too little of such people; take ImportanceSampling() without it"
    return "a peak may have been missed; search from more points, by newton=mf.Newton(looks=128), or take more samples"


def refuse_few_draws(objective: Objective, model: Model, population: Population, terms: Term) -> None:
    """ValueError where importance sampling met too little of somebody's density to say how large it is.

    Plain Monte Carlo is left to those who ask for it: falling short is what it is known for.
    """
    why = falls_short(objective, model, population, terms.details.get("effective_sample_size"))
    if why and isinstance(objective, ImportanceSampling):
        raise ValueError(why)
