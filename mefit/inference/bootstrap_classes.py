"""Is one class more than chance? A likelihood-ratio test, its distribution by simulation."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ..base.chance import require_key
from ..data.population import Population
from ..fitting.about import final_objective
from ..fitting.result import Fit
from ..methods.many import fit_many
from ..model.mixture import MixtureOfExperts
from ..model.model import Model
from ..model.simulate import simulate
from ..objectives.objective import Objective
from ..objectives.side_by_side import classes_of
from .ratios import MISSED, ruler_of, twice_log_ratio
from .resampling import in_groups, said_of_interrupt
from .same_data import same_responses


@dataclasses.dataclass(frozen=True)
class ClassTest:
    """A test of K classes against K + 1."""

    classes: tuple[int, int]  # K and K + 1
    statistic: float  # 2 (log L of K + 1 - log L of K)
    p_value: float
    replicates: Float[np.ndarray, " R"] = dataclasses.field(repr=False)  # the statistic where there are K classes
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        few, more = self.classes
        sentence = (
            f"{more} classes against {few}: 2 log likelihood ratio {self.statistic:.2f}, p = {self.p_value:.3g} by "
            f"{len(self.replicates)} replicates."
        )
        return "\n".join([sentence, *self.remarks])


def bootstrap_classes(
    smaller: Fit, larger: Fit, replicates: int = 99, *, starts: int = 4, key: Any = None, progress: bool = True
) -> ClassTest:
    """Test K classes against K + 1 by a parametric bootstrap of the likelihood ratio.

        T = 2 (log L_{K+1} - log L_K);  p = (1 + number of T* >= T) / (1 + R)

    T has no chi-squared distribution here: with K classes, those of K + 1 are not identified. So R data sets are drawn
    from the smaller fit, at the times, doses and covariates of the people, and both models are fitted to each, as one
    batched program.

    **Arguments**

    - `smaller`, `larger`: fits of the same data by the same objective, of K classes (or a single model) and K + 1.
    - `replicates`: R; 99 tell a p of 0.05 from one of 0.1.
    - `starts`: of the larger model in each replicate: its estimates, and others that put people into classes at
      random. With too few, T* is too small and p too.
    - `key`: draws the data and the starts.

    **Returns:** `ClassTest`. Replicates of which a fit did not converge, or the larger one ended below the smaller one,
    are left out, and said. Interrupting leaves those that are done.

    **Raises:** ValueError for fits of other data, numbers of classes that do not follow on each other, fits that have
    not converged, a larger one below the smaller one, or no key.
    Source: McLachlan (1987), Appl. Statist. 36.

        test = mf.bootstrap_classes(one_class, two_classes, 99, key=key)
        test.p_value
    """
    require_key(key, "bootstrap_classes")
    objective = _common_objective(smaller, larger)
    classes = (classes_of(smaller.model), classes_of(larger.model))
    if classes[1] != classes[0] + 1 or not isinstance(larger.model, MixtureOfExperts):
        raise ValueError(f"the fits have {classes[0]} and {classes[1]} classes: give one with K and one with K + 1.")
    if min(replicates, starts) < 1:
        raise ValueError("bootstrap_classes needs one or more replicates and starts.")
    statistic = float(twice_log_ratio(smaller.log_likelihood, larger.log_likelihood))
    if statistic < MISSED:
        raise ValueError(
            f"-2 log L with {classes[1]} classes is {-statistic:.3g} above that with {classes[0]}, which it contains: "
            "it has not found its maximum; fit it from more starts, as by mf.EM(starts=20)."
        )
    statistic = max(statistic, 0.0)
    key_data, key_starts = jax.random.split(key)
    size = max(1, min(replicates, 25, 16_384 // (starts * len(smaller.population))))

    def ratios(group: slice) -> np.ndarray:
        drawn = _drawn(smaller.model, smaller.population, key_data, group.start, size)
        own = jax.random.fold_in(key_starts, group.start)
        few = fit_many(smaller.model, drawn, objective, fixed=smaller.fixed, key=own)
        many = fit_many(larger.model, drawn, objective, fixed=larger.fixed, starts=starts, key=own)
        ratio = twice_log_ratio(few.log_likelihood, many.log_likelihood)
        return np.where(few.converged & many.converged & (ratio >= MISSED), ratio, np.nan)[: group.stop - group.start]

    groups, why = in_groups(ratios, replicates, size, size, "bootstrap of classes", progress)
    found = np.concatenate(groups)
    kept = np.maximum(found[~np.isnan(found)], 0.0)
    if not kept.size:
        raise ValueError("no replicate converged: look at both fits first, and at a class that is nearly empty.")
    remarks = said_of_interrupt(why, len(found), replicates, "replicates")
    if kept.size < found.size:
        remarks += (
            f"{found.size - kept.size} of {found.size} replicates did not converge, or ended below the smaller model, "
            "and are left out; more starts find more.",
        )
    p_value = float((1 + np.sum(kept >= statistic)) / (1 + kept.size))
    return ClassTest(classes, float(statistic), p_value, kept, remarks)


def _common_objective(smaller: Fit, larger: Fit) -> Objective:
    for name, fit in (("smaller", smaller), ("larger", larger)):
        if not (fit.converged and fit.method.likelihood):
            raise ValueError(f"the {name} fit has not ended at a maximum of a likelihood ({fit.message}): fit again.")
    if not same_responses(smaller.population, larger.population):
        raise ValueError("the fits are of different responses, and cannot be compared: fit again.")
    objective = final_objective(larger.method)
    if objective is None or ruler_of(smaller) != ruler_of(larger):
        raise ValueError("the fits are by different objectives, whose ratio says nothing: fit both by the same.")
    return objective


def _drawn(model: Model, population: Population, key: Any, begin: int, count: int) -> list[Population]:
    return [simulate(model, population, jax.random.fold_in(key, begin + number)) for number in range(count)]
