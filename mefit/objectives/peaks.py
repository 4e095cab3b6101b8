"""Has the joint density of a subject more than one peak? Its mode is searched anew from other starting points.

The program that was fitted is run again, so that this costs a few evaluations and compiles nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtri

from ..model.model import Model
from ..model.parameters import has_network
from .objective import Objective, Term

_FAR = 2.0  # SDs of the prior from its mean, where a search begins along one random effect
_FEW = 4  # random effects, up to which it begins on both sides along each
_MANY = 8  # points spread over the prior for more of them
_APART = 0.1  # posterior SDs: modes closer than this are one
_COUNTS = 7.0  # log-likelihood: a peak with less than a thousandth of the other's mass does not


class Peaks(NamedTuple):
    """What was found for each subject."""

    several: Bool[np.ndarray, " N"]  # another peak that counts
    better: Bool[np.ndarray, " N"]  # another peak that counts for more than the one that was found first


def may_have_missed(objective: Objective, model: Model) -> bool:
    """Does the objective search each subject's mode from a single point, by a search that could end on another peak?"""
    searches = objective.likelihood and objective.finds_modes and objective.looks_for_peaks
    newton = objective.newton
    return searches and newton.starts is None and not (newton.looks or (newton.looks is None and has_network(model)))


def find_peaks(run: Callable[[Float[np.ndarray, " K"]], Term], terms: Term) -> Peaks:
    """`run` gives the terms with every search begun so many SDs beside the prior's mean; `terms` are those at 0."""
    first = jax.tree.map(np.asarray, terms)
    several = np.zeros(first.value.shape, bool)
    better = several.copy()
    for aside in beside(first.eta.shape[1], _FAR):
        other = jax.tree.map(np.asarray, run(aside))
        move = other.eta - first.eta
        with np.errstate(invalid="ignore"):
            squared = np.einsum("na,nab,nb->n", move, first.precision, move)
            gain = other.value - first.value
            another = first.converged & other.converged & (squared > _APART**2) & (gain > -_COUNTS)
        several |= another
        better |= another & (gain > 1e-6)
    return Peaks(several, better)


def beside(k: int, far: float) -> Float[np.ndarray, "D K"]:
    """Where searches begin, about so many SDs of the prior from its mean."""
    if k > _FEW:
        from scipy.stats import qmc  # it takes a third of a second to import

        return far / _FAR * ndtri(qmc.Halton(k, scramble=False).random(_MANY + 1)[1:])
    axes = far * np.eye(k)
    return np.concatenate([axes, -axes])
