"""Has the joint density of a subject more than one peak? Its mode is searched anew from other starting points.

The program that was fitted is run again, so that this costs a few evaluations and compiles nothing.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from ..base.peaks import APART, COUNTS
from ..base.sides import sides
from ..model.model import Model
from ..model.parameters import has_network
from .objective import Objective, Term


class OtherPeaks(NamedTuple):
    """What was found for each subject."""

    several: Bool[np.ndarray, " N"]  # another peak that counts
    better: Bool[np.ndarray, " N"]  # another peak that counts for more than the one that was found first


def may_have_missed(objective: Objective, model: Model) -> bool:
    """Does the objective search each subject's mode from a single point, by a search that could end on another peak?"""
    newton = objective.newton
    several = newton.looks or newton.thorough or (newton.looks is None and has_network(model))
    return _searches(objective) and not several


def _searches(objective: Objective) -> bool:
    searches = objective.likelihood and objective.finds_modes and objective.looks_for_peaks
    return searches and objective.newton.starts is None


def searched_thoroughly(objective: Any) -> Any:
    """The same objective, which searches each mode thoroughly, where it searches one for a likelihood.

    To evaluate it once: at every step of a fit that would cost several searches in place of one. What is no objective
    stays as it is.
    """
    if not isinstance(objective, Objective) or not _searches(objective):
        return objective
    return dataclasses.replace(objective, newton=dataclasses.replace(objective.newton, thorough=True))


def find_peaks(run: Callable[[Float[np.ndarray, " K"]], Term], terms: Term) -> OtherPeaks:
    """`run` gives the terms with every search begun so many SDs beside the prior's mean; `terms` are those at 0."""
    first = jax.tree.map(np.asarray, terms)
    several = np.zeros(first.value.shape, bool)
    better = several.copy()
    for aside in sides(first.eta.shape[1]):
        other = jax.tree.map(np.asarray, run(aside))
        move = other.eta - first.eta
        with np.errstate(invalid="ignore"):
            squared = np.einsum("na,nab,nb->n", move, first.precision, move)
            gain = other.value - first.value
            another = first.converged & other.converged & (squared > APART**2) & (gain > -COUNTS)
        several |= another
        better |= another & (gain > 1e-6)
    return OtherPeaks(several, better)
