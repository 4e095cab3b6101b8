"""Several fits on one ruler, and likelihood-ratio tests of nested models, at a boundary too."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from scipy.optimize import brentq

from ..base.asked import require_share
from ..fitting.about import not_estimated, typical
from ..fitting.fit import log_likelihood
from ..fitting.result import Fit
from ..model.parameters import has_prior
from ..objectives.objective import Objective
from ..objectives.quadrature import AGQ
from ..objectives.side_by_side import classes_of
from .ratios import MISSED, twice_log_ratio
from .same_data import other_conditions, same_responses


def compare(
    fits: Mapping[str, Fit],
    by: Objective = AGQ(9),  # noqa: B008 - it has no state
    key: PRNGKeyArray | None = None,
    *,
    across_conditions: bool = False,
) -> pd.DataFrame:
    """Fits of the same data, all with their likelihood by one method, in the order given.

    A row for each fit:

    - `-2LL` is by `by` at the fit's parameters, whatever method found them. Naive pooling is scored
      as it was made, everyone typical. Methods that left parameters of the random effects where
      they started have no score.
    - `parameters` is how many were estimated; `AIC` adds 2 for each, `BIC` log n for n
      observations.
    - `delta ...` are differences from the lowest.
    - `own -2LL` is the method's own, -2 times its objective.
    - `remark` says what was not estimated, how a fit ended that did not converge, priors, and, with
      `across_conditions`, what differs from the first fit in times, doses or covariates.

    ValueError for fits of other responses: other subjects, values, outcomes or censoring; and,
    unless `across_conditions`, for other times, doses or covariates of the same name. Change these
    only where they are what is to be compared, or for other units.

        mf.compare({"FO": other_fit, "Laplace": fit}, by=mf.Laplace())
    """
    if not fits:
        raise ValueError('compare needs fits by name, such as {"FO": fit_1, "Laplace": fit_2}.')
    first = next(iter(fits))
    rows = []
    for name, fit in fits.items():
        _check_same_responses(fits[first], fit, name)
        conditions = _conditions(fits[first], fit, first, across_conditions)
        lost = not_estimated(fit)
        count = fit.n_parameters
        score = np.nan if lost else -2.0 * _score(fit, by, key)
        rows.append(
            {
                "fit": name,
                "method": fit.method.label,
                "parameters": count,
                "-2LL": score,
                "AIC": score + 2 * count,
                "BIC": score + count * np.log(fit.population.n_observations),
                "own -2LL": fit.minus_two_log_likelihood,
                "remark": "; ".join([*_shortcomings(fit, lost), *conditions]),
            }
        )
    table = pd.DataFrame(rows).set_index("fit")
    for place, column in enumerate(("-2LL", "AIC", "BIC")):
        table.insert(5 + place, f"delta {column}", table[column] - table[column].min())
    return table


@dataclasses.dataclass(frozen=True)
class LikelihoodRatio:
    """`statistic` = 2 (log L_large - log L_small), and the `p_value` of one as large where the
    small model is right."""

    statistic: float
    degrees_of_freedom: int
    boundary: int
    p_value: float
    remarks: tuple[str, ...] = ()  # on what differs in the data of the two fits

    def cut(self, level: float | int = 0.05) -> float:
        """What the statistic exceeds with probability `level` where the small model is right; 0 where it is above 0
        more rarely. ValueError for a `level` that is no share."""
        require_share(level, "the level of a test is a share", 0.05)
        above_zero = 1.0 - 0.5**self.boundary if self.degrees_of_freedom == self.boundary else 1.0
        if level >= above_zero:
            return 0.0
        return float(brentq(lambda x: tail(x, self.degrees_of_freedom, self.boundary) - level, 1e-9, 1e4))


def likelihood_ratio_test(
    small: Fit,
    large: Fit,
    by: Objective | None = None,
    key: PRNGKeyArray | None = None,
    *,
    boundary: int = 0,
    across_conditions: bool = False,
) -> LikelihoodRatio:
    """Does the large model fit better than the small one, which it contains, by more than chance?

        small = mf.fit(model, population, mf.Laplace(), fixed=("ka",))
        mf.likelihood_ratio_test(small, fit)

    The statistic is chi-squared with as many degrees of freedom as there are parameters more.
    `boundary` = 1 says that one of these is a variance, zero in the small model, and the others its
    q covariances: then it is the mixture 1/2 chi2_q + 1/2 chi2_{q+1}. With more than one, variances
    whose estimates are uncorrelated, its weights are binomial. Likelihoods are by `by`, else the fits'
    own if by the same method. With `across_conditions`, `remarks` say what differs in times, doses,
    or covariates that both have.
    ValueError for fits this does not hold for, for fits of other responses, and, unless
    `across_conditions`, for fits under other conditions.
    Sources: Self and Liang (1987), JASA 82; Stram and Lee (1994), Biometrics 50.
    """
    _check_same_responses(small, large, "the large model")
    conditions = _conditions(small, large, "the small model", across_conditions)
    df = large.n_parameters - small.n_parameters
    if not 0 <= boundary <= df or df == 0:
        raise ValueError(
            f"the small model has {small.n_parameters} parameters, the large one {large.n_parameters}, "
            f"boundary is {boundary}: the large one needs more, and as many as are at a boundary."
        )
    for fit in (small, large):
        at_a_maximum = fit.converged and fit.method.likelihood and not not_estimated(fit)
        if not at_a_maximum or has_prior(fit.model, fit.fixed):
            raise ValueError(f"{fit.method.label} has not ended at a maximum of a likelihood, which the test needs.")
    if classes_of(small.model) != classes_of(large.model):
        raise ValueError(
            "the likelihood ratio of different numbers of classes has no chi-squared distribution: take "
            "mf.bootstrap_classes, which simulates it."
        )
    if by is None and not (typical(small) or small.method == large.method):
        raise ValueError("these fits measure their likelihoods differently: give one ruler, such as by=mf.AGQ(9).")
    low = small.log_likelihood if by is None else _score(small, by, key)
    high = large.log_likelihood if by is None else _score(large, by, key)
    statistic = float(twice_log_ratio(low, high))
    if statistic < MISSED:
        raise ValueError(
            f"the large model's -2 log L is {-statistic:.3g} above the small one's: "
            "they are not nested, or the large fit is not at its maximum; start it closer."
        )
    statistic = max(statistic, 0.0)
    return LikelihoodRatio(
        statistic=statistic,
        degrees_of_freedom=df,
        boundary=boundary,
        p_value=tail(statistic, df, boundary),
        remarks=tuple(conditions),
    )


def tail(x: float, df: int, boundary: int = 0) -> float:
    """P(X >= x) of the mixture sum_k Binomial(k; boundary, 1/2) chi2_{df - boundary + k}; chi2_0 is
    always 0."""
    from scipy.stats import binom, chi2  # it takes a third of a second to import

    freedom = df - boundary + np.arange(boundary + 1)
    each = np.where(freedom == 0, float(x <= 0), chi2.sf(x, np.maximum(freedom, 1)))
    return float(binom.pmf(np.arange(boundary + 1), boundary, 0.5) @ each)


def _score(fit: Fit, by: Objective, key: PRNGKeyArray | None) -> float:
    """log L by the ruler; with every eta at its mean there is no integral, and the fit's own is
    what any ruler says."""
    return fit.log_likelihood if typical(fit) else float(log_likelihood(fit.model, fit.population, by, key=key))


def _check_same_responses(first: Fit, other: Fit, name: str) -> None:
    if not same_responses(first.population, other.population):
        raise ValueError(f"{name} was fitted to different responses, and its likelihood cannot be compared: fit again.")


def _conditions(first: Fit, other: Fit, name: str, allowed: bool) -> list[str]:
    """A sentence on other times, doses or covariates than those of the fit of this name, if there are any.

    ValueError with that sentence where they are not `allowed`.
    """
    different = other_conditions(first.population, other.population)
    if not different:
        return []
    sentence = (
        f"{', '.join(different)}: not those of {name}, so likelihoods compare only where this is a change of units, "
        "or is what is to be compared"
    )
    if not allowed:
        raise ValueError(f"{sentence}; then say across_conditions=True, else fit both to the same data.")
    return [sentence]


def _shortcomings(fit: Fit, lost: str) -> list[str]:
    if lost:
        return [f"not estimated: {lost}"]
    said = [] if fit.converged else [fit.message]
    if has_prior(fit.model, fit.fixed):
        said.append("fitted with a prior, whose hold on the parameters AIC and BIC do not know")
    return said
