"""What is weak in a fit, in plain words: each with the number, the threshold, and where that comes from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ..diagnosis.vpc import VPC
from ..fitting.result import Fit
from ..inference.influence import Influence
from ..model.numbers import eta_names, labels_of
from ..model.parameters import parameters
from ..objectives.objective import AT_BOUNDARY

RSE_OF_VALUES = 30.0  # percent
RSE_OF_SPREAD = 50.0  # percent, of SDs and correlations
SHRINKAGE = 0.30
CORRELATION = 0.95
R_HAT = 1.01
DRAWS = 400.0  # effective, of each number
CHANCE = 0.05  # of a test that calls a sound model weak
COVARIATE = 0.01
COOK = 1.0  # standard errors


class WeakPoint(NamedTuple):
    """One finding, and the threshold that it crosses."""

    words: str
    threshold: str


_CONVENTION = "a convention of the field, with no theory behind it"
_SAVIC = "Savic and Karlsson (2009), AAPS J. 11: 20 to 30%"


def of_the_end(fit: Fit) -> list[WeakPoint]:
    """Of how a fit ended, and of what it says of itself."""
    found = []
    if not fit.converged:
        found.append(WeakPoint(f"The fit has not converged: {fit.message}.", "any fit should"))
    names = {*labels_of(fit.model), *parameters(fit.model)}
    for remark in fit.remarks:
        begins_with_a_name = remark.split()[0].strip(",:;.") in names
        words = remark if begins_with_a_name else remark[:1].upper() + remark[1:]
        found.append(WeakPoint(words, "the fit's own remark"))
    count = len(fit.population)
    if fit.draws is None and fit.method.likelihood and count < 5 * fit.n_parameters:
        words = f"There are {count} subjects for {fit.n_parameters} parameters: standard errors, which hold for many "
        found.append(WeakPoint(words + "subjects, are likely to be too short.", "5 subjects per parameter, our choice"))
    return found


def of_the_estimates(table: pd.DataFrame, correlations: pd.DataFrame | None) -> list[WeakPoint]:
    """Of estimates without a standard error or with a large one, and of pairs that are told apart poorly.

    `table` is that of `fit.to_frame()`, or of draws with `r_hat` and `ess` besides.
    """
    found = []
    for name, row in table.iterrows():
        label = f"SD of {name}" if row.kind == "sd" else str(name)
        most = RSE_OF_VALUES if row.kind == "value" else RSE_OF_SPREAD
        if np.isfinite(row.rse) and row.rse > most and not (row.kind == "value" and row.low < 0.0 < row.high):
            words = f"{label} is hardly known: its relative standard error is {row.rse:.0f}%."
            found.append(WeakPoint(words, f"{most:g}%, {_CONVENTION}"))
        if row.kind == "value" and row.low < 0.0 < row.high:
            words = f"{label} may be zero, or of the other sign: its interval is {row.low:.3g} to {row.high:.3g}."
            found.append(WeakPoint(words, "an interval around zero"))
        if row.remark and row.remark not in ("fixed", AT_BOUNDARY):  # of a boundary the fit speaks itself
            found.append(WeakPoint(f"{label} is {row.remark}.", "the fit's own remark"))
        if row.get("r_hat", 1.0) > R_HAT or row.get("ess", np.inf) < DRAWS:
            words = f"The chains do not tell {label} well: R-hat {row.r_hat:.3f}, {row.ess:.0f} effective draws."
            found.append(WeakPoint(words, f"R-hat {R_HAT}, {DRAWS:g} draws: Vehtari et al. (2021), Bayesian Anal. 16"))
    if correlations is not None:
        found += _close_pairs(correlations)
    return found


def _close_pairs(correlations: pd.DataFrame) -> list[WeakPoint]:
    r = correlations.to_numpy()
    pairs = np.argwhere(np.tril(np.abs(r) > CORRELATION, -1))
    names = list(correlations)
    threshold = f"{CORRELATION}, {_CONVENTION}"
    found = []
    for i, j in pairs:
        words = f"The data hardly tell {names[j]} from {names[i]}: their estimates correlate by {r[i, j]:.3f}."
        found.append(WeakPoint(words, threshold))
    return found


def of_shrinkage(fit: Fit, epsilon: float) -> list[WeakPoint]:
    """Of random effects that the data say little of, and of residuals that follow the data too well."""
    found = []
    for name, share in zip(eta_names(fit.model), fit.shrinkage, strict=False):
        if share > SHRINKAGE:
            words = f"The shrinkage of {name} is {100 * share:.0f}%: pictures of its individual estimates mislead."
            found.append(WeakPoint(words, f"{100 * SHRINKAGE:g}%, {_SAVIC}"))
    if epsilon > SHRINKAGE:
        words = f"The shrinkage of the residuals is {100 * epsilon:.0f}%: individual predictions follow the data too "
        found.append(WeakPoint(words + "well to show what is wrong.", f"{100 * SHRINKAGE:g}%, {_SAVIC}"))
    return found


def of_vpc(check: VPC, unit: str) -> list[WeakPoint]:
    """Of percentiles of the data that leave their simulated bands in more bins than chance allows."""
    found = []
    chance = 1.0 - check.level
    for (stratum, statistic), own in check.observed.groupby(["stratum", "statistic"], sort=False):
        band = check.simulated.loc[own.index]
        above = (own.value > band.high).to_numpy()
        below = (own.value < band.low).to_numpy()
        outside = int(above.sum() + below.sum())
        if stats.binom.sf(outside - 1, len(own), chance) >= CHANCE:
            continue
        times = own.time.to_numpy()[above | below]
        where = "above" if above.sum() > below.sum() else "below"
        of_whom = "" if stratum == "all" else f" of {stratum}"
        words = (
            f"Visual predictive check: the {statistic} percentile of the data{of_whom} lies outside its band, mostly "
            f"{where}, in {outside} of {len(own)} bins, between {times.min():.3g} and {times.max():.3g} ({unit})."
        )
        threshold = (
            f"more bins than {100 * (1 - CHANCE):g}% of sound models have, at {100 * chance:.0f}% a bin by chance"
        )
        found.append(WeakPoint(words, threshold))
    return found


def npde_tests(npde: np.ndarray) -> pd.DataFrame:
    """Is NPDE N(0, 1)? Mean by Wilcoxon's signed ranks, variance by chi-squared, shape by Shapiro and Wilk.

    `p` are as they are, `adjusted` times three, at most 1.
    Source: Comets, Brendel and Mentré (2008), Comput. Methods Programs Biomed. 90.
    """
    n = npde.size
    tail = stats.chi2.cdf((n - 1) * np.var(npde, ddof=1), n - 1)
    p = [
        float(stats.wilcoxon(npde).pvalue),
        float(2.0 * min(tail, 1.0 - tail)),
        float(stats.shapiro(npde[:5000]).pvalue),
    ]
    value = [float(np.mean(npde)), float(np.var(npde, ddof=1)), float(stats.skew(npde))]
    index = pd.Index(["mean 0", "variance 1", "normal (skewness)"], name="NPDE have")
    return pd.DataFrame({"value": value, "p": p, "adjusted p": np.minimum(3.0 * np.array(p), 1.0)}, index=index)


def of_npde(tests: pd.DataFrame) -> list[WeakPoint]:
    """Of NPDE that are not N(0, 1)."""
    words = {
        "mean 0": "predictions are off on the whole: NPDE have a mean of {:.2f}, not 0",
        "variance 1": "spread is wrong: NPDE have a variance of {:.2f}, not 1",
        "normal (skewness)": "the shape of the distribution is wrong: NPDE are not normal, with a skewness of {:.2f}",
    }
    threshold = f"p below {CHANCE} after three tests: Comets et al. (2008), Comput. Methods Programs Biomed. 90"
    found = []
    for name, row in tests.iterrows():
        if row["adjusted p"] < CHANCE:
            text = words[str(name)].format(row.value)
            found.append(WeakPoint(f"{text[:1].upper()}{text[1:]}, p = {row['adjusted p']:.2g}.", threshold))
    return found


def of_covariates(effects: pd.DataFrame, names: Sequence[str], covariates: Sequence[str]) -> list[WeakPoint]:
    """Of random effects that still follow a covariate: `effects` is `mefit.random_effects_table`."""
    found = []
    tests = max(1, len(names) * len(covariates))
    for name in names:
        for covariate in covariates:
            x = effects[covariate].to_numpy(float)
            eta = effects[name].to_numpy(float)
            if len(x) < 4 or np.ptp(x) == 0.0 or np.ptp(eta) == 0.0:
                continue
            r, p = stats.pearsonr(x, eta)
            if p < COVARIATE / tests:
                words = f"The random effect of {name} still follows {covariate}: r = {r:.2f}, p = {p:.1g}."
                found.append(WeakPoint(words, f"p below {COVARIATE}, divided by {tests} pairs, our choice"))
    return found


def of_influence(result: Influence) -> list[WeakPoint]:
    """Of subjects on whom the estimates hang."""
    heavy = result.table.cook[result.table.cook > COOK].sort_values(ascending=False)
    if not len(heavy):
        return []
    moves = [f"without subject {name} they move by {score:.1f}" for name, score in heavy.head(3).items()]
    more = f"; {len(heavy) - 3} more move them by over {COOK:g}" if len(heavy) > 3 else ""
    words = f"The estimates, taken together, hang on single subjects: {', '.join(moves)} standard errors{more}."
    return [WeakPoint(words, f"a Cook score of {COOK:g}, our choice; one Newton step, which refits may correct")]
