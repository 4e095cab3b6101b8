"""Likelihoods by grids and weighted draws: how far they may be off, and of whom they say too little."""

from typing import Any

import numpy as np
from jaxtyping import Float

from ..base.peaks import LITTLE
from ..data.population import Population
from ..model.model import Model
from .mixture import evaluations_of
from .objective import Objective, Term, name_subjects
from .quadrature import AGQ
from .sampled import ImportanceSampling

_FEWEST = 10.0  # draws that count: with fewer, a subject's log-likelihood falls short by tenths of a nat, or by many
_SHARE = 0.1  # and of few draws, this share of them
_TURNED = 0.05  # nats that a turn of the grid may change


def simulation_errors(effective: Any, drawn: int) -> Float[np.ndarray, " N"]:
    """The SD over draws of each log L_i, by the delta method: the square root of 1/ESS_i - 1/M."""
    return np.sqrt(np.maximum(1.0 / np.asarray(effective) - 1.0 / drawn, 0.0))


def falls_short(objective: Objective, model: Model, population: Population, details: dict[str, Any]) -> str:
    """The sentence on subjects of whom grids or draws say too little, from the `details` of their terms; or none."""
    return (
        _of_peaks(objective, population, details)
        or _of_draws(objective, model, population, details)
        or _of_nodes(objective, population, details)
    )


def _of_peaks(objective: Objective, population: Population, details: dict[str, Any]) -> str:
    left_out = np.asarray(details.get("left_out", 0.0))
    missed = left_out > LITTLE
    if not np.any(missed):
        return ""
    by_draws = isinstance(objective, ImportanceSampling)  # those from the prior may have met the others
    return (
        f"the log-likelihood by {objective.label} {'may fall' if by_draws else 'falls'} short, by "
        f"{-np.log1p(-np.max(left_out)):.2g} or more at worst, "
        f"for {name_subjects(population, missed)}, whose joint density has more peaks than are covered: take "
        "MonteCarlo(), with many samples, or write the model so that each random effect is seen in one way only."
    )


def _of_draws(objective: Objective, model: Model, population: Population, details: dict[str, Any]) -> str:
    """On subjects of whom the draws say nothing.

    Next to all the weight lies on a few draws, and what they missed nobody knows: the log of such an average falls
    short, most often by more than its own spread tells.
    """
    if "effective_sample_size" not in details:
        return ""
    drawn = evaluations_of(objective, model)
    fewest = min(_FEWEST, _SHARE * drawn)
    few = np.asarray(details["effective_sample_size"]) < fewest
    if not np.any(few):
        return ""
    return (
        f"the log-likelihood by {objective.label} falls short, nobody knows by how much, for "
        f"{name_subjects(population, few)}, of whose {drawn:,} draws fewer than {fewest:.3g} count: "
        f"{_remedy(objective)}."
    )


def _of_nodes(objective: Objective, population: Population, details: dict[str, Any]) -> str:
    """On subjects whose posterior slips through a grid."""
    if not isinstance(objective, AGQ):
        return ""
    few = np.asarray(details["nodes"]) < objective.fewest_nodes
    turned = np.asarray(details.get("turned", np.zeros(few.shape)))
    slips = few | (turned > _TURNED)
    if not np.any(slips):
        return ""
    worst = np.max(turned)
    how = f"by some {worst:.1g} at worst" if worst > _TURNED else "nobody knows by how much"
    return (
        f"the log-likelihood by {objective.label} is off, {how}, for "
        f"{name_subjects(population, slips)}, whose posterior slips through the grid: turned about its mode, the same "
        f"grid says otherwise, or along an axis fewer than {objective.fewest_nodes:.2g} of its {objective.nodes} nodes "
        "count. Take more nodes, or ImportanceSampling()."
    )


def _remedy(objective: Objective) -> str:
    if not isinstance(objective, ImportanceSampling):
        return "take ImportanceSampling() or AGQ(), which search each mode"
    if objective.proposal is not None:
        return "the encoder knows too little of such people; take ImportanceSampling() without it"
    return "a peak may have been missed; search from more points, by newton=mf.Newton(looks=128), or take more samples"


def refuse_short(objective: Objective, model: Model, population: Population, terms: Term) -> None:
    """ValueError where a grid or importance sampling met too little of somebody's density to say how large it is.

    Plain Monte Carlo is left to those who ask for it: falling short is what it is known for.
    """
    why = falls_short(objective, model, population, terms.details)
    if why and objective.covers_peaks:
        raise ValueError(why)
