"""Several fits on one ruler, and likelihood-ratio tests of nested models, at a boundary too."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from scipy.optimize import brentq
from scipy.stats import binom, chi2

from ..fitting.about import not_estimated, typical
from ..fitting.fit import log_likelihood
from ..fitting.result import Fit
from ..model.parameters import has_prior
from ..objectives.objective import Objective
from ..objectives.quadrature import AGQ


def compare(fits: Mapping[str, Fit], by: Objective = AGQ(9), key: PRNGKeyArray | None = None) -> pd.DataFrame:  # noqa: B008
    """Fits of the same data, all with their likelihood by one method, in the order given.

    `-2LL` is by `by` at each fit's parameters, whatever method found them; `parameters` how many were estimated;
    `BIC` has log n for n observations; `delta ...` are differences from the lowest; `own -2LL` is the method's own (-2
    times its objective). Naive pooling is scored as it was made, everyone typical; methods that left parameters of the
    random effects where they started have no score, as the `remark` says. ValueError for fits of different responses.
    """
    if not fits:
        raise ValueError('compare needs fits by name, such as {"FO": fit_1, "Laplace": fit_2}.')
    rows = []
    for name, fit in fits.items():
        _check_same_data(next(iter(fits.values())), fit, name)
        lost, p = not_estimated(fit), fit.n_parameters
        score = np.nan if lost else -2.0 * _score(fit, by, key)
        row = {"fit": name, "method": fit.method.label, "parameters": p, "-2LL": score, "AIC": score + 2 * p}
        row |= {"BIC": score + p * np.log(fit.population.n_observations), "own -2LL": fit.minus_two_log_likelihood}
        rows.append(row | {"remark": f"not estimated: {lost}" if lost else "" if fit.converged else fit.message})
    table = pd.DataFrame(rows).set_index("fit")
    for place, column in enumerate(("-2LL", "AIC", "BIC")):
        table.insert(5 + place, f"delta {column}", table[column] - table[column].min())
    return table


@dataclasses.dataclass(frozen=True)
class LikelihoodRatio:
    """`statistic` = 2 (log L_large - log L_small), and the `p_value` of one as large where the small model is right."""

    statistic: float
    degrees_of_freedom: int
    boundary: int
    p_value: float

    def cut(self, level: float = 0.05) -> float:
        """What the statistic exceeds with probability `level` where the small model is right."""
        return float(brentq(lambda x: tail(x, self.degrees_of_freedom, self.boundary) - level, 1e-9, 1e4))


def likelihood_ratio_test(
    small: Fit, large: Fit, by: Objective | None = None, key: PRNGKeyArray | None = None, *, boundary: int = 0
) -> LikelihoodRatio:
    """Does the large model fit better than the small one, which it contains, by more than chance?

    The statistic is chi-squared with as many degrees of freedom as there are parameters more. `boundary` = 1 says that
    one of these is a variance, zero in the small model, and the others its q covariances: then it is the mixture
    1/2 chi2_q + 1/2 chi2_{q+1}. With more than one, variances of independent random effects, its weights are binomial.
    Likelihoods are by `by`, else the fits' own if by the same method. ValueError for fits this does not hold for.
    Sources: Self and Liang (1987), JASA 82; Stram and Lee (1994), Biometrics 50.
    """
    _check_same_data(small, large, "the large model")
    df = large.n_parameters - small.n_parameters
    if not 0 <= boundary <= df or df == 0:
        counts = f"{small.n_parameters} parameters, the large one {large.n_parameters}, boundary is {boundary}"
        raise ValueError(f"the small model has {counts}: the large one needs more, and as many as are at a boundary.")
    for fit in (small, large):
        if not (fit.converged and fit.method.likelihood) or not_estimated(fit) or has_prior(fit.model, fit.fixed):
            raise ValueError(f"{fit.method.label} has not ended at a maximum of a likelihood, which the test needs.")
    if by is None and not (typical(small) or small.method == large.method):
        raise ValueError("these fits measure their likelihoods differently: give one ruler, such as by=mf.AGQ(9).")
    low, high = (fit.log_likelihood if by is None else _score(fit, by, key) for fit in (small, large))
    statistic = 2.0 * (high - low)
    if statistic < -0.01:
        above = f"the large model's -2 log L is {-statistic:.3g} above the small one's"
        raise ValueError(f"{above}: they are not nested, or the large fit is not at its maximum; start it closer.")
    return LikelihoodRatio(max(statistic, 0.0), df, boundary, tail(max(statistic, 0.0), df, boundary))


def tail(x: float, df: int, boundary: int = 0) -> float:
    """P(X >= x) of the mixture sum_k Binomial(k; boundary, 1/2) chi2_{df - boundary + k}; chi2_0 is always 0."""
    freedom = df - boundary + np.arange(boundary + 1)
    each = np.where(freedom == 0, float(x <= 0), chi2.sf(x, np.maximum(freedom, 1)))
    return float(binom.pmf(np.arange(boundary + 1), boundary, 0.5) @ each)


def _score(fit: Fit, by: Objective, key: PRNGKeyArray | None) -> float:
    """log L by the ruler; with every eta at its mean there is no integral, and the fit's own is what any ruler says."""
    return fit.log_likelihood if typical(fit) else float(log_likelihood(fit.model, fit.population, by, key=key))


def _check_same_data(first: Fit, other: Fit, name: str) -> None:
    mine, theirs = (np.asarray(f.population.subjects.y)[np.asarray(f.population.subjects.mask)] for f in (first, other))
    if first.population.ids != other.population.ids or not np.array_equal(mine, theirs):
        raise ValueError(f"{name} was fitted to different responses, and its likelihood cannot be compared: fit again.")
