"""How good predictions were: scores of probabilities and of whole predictive distributions against what came.

    mf.scores.auc(predicted, happened)            does the higher probability belong to those to whom it happened?
    mf.scores.brier(predicted, happened)          mean squared distance of probability and outcome
    mf.scores.ranked_probability(probabilities, grade)
    mf.scores.calibration(predicted, happened)    predicted and observed shares, by tenths
    mf.scores.coverage(place, 0.9)                how many lie inside the central 90%

All take plain arrays, one entry for each prediction; what is not a number is left out.
"""

from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..base.asked import require_share

Numbers: TypeAlias = Any  # an array, a list, or a column of a table, with an entry for each prediction

_ROUNDED = 1e-4  # probabilities written with a few digits sum to 1 within it


def auc(predicted: Numbers, happened: Numbers) -> float:
    """The area under the ROC curve: P(a prediction where it happened > one where it did not) + 1/2 P(they are equal).

    It is the Mann-Whitney statistic U over the number of pairs, 1/2 for guessing. NaN where all happened, or none.
    Source: Hanley and McNeil (1982), Radiology 143.
    """
    p, y = _pairs(predicted, happened)
    events = int(y.sum())
    others = y.size - events
    if not events or not others:
        return float("nan")
    from scipy.stats import rankdata  # it takes a third of a second to import

    above = rankdata(p)[y == 1].sum() - events * (events + 1) / 2
    return float(above / (events * others))


def brier(predicted: Numbers, happened: Numbers) -> float:
    """The mean of (probability - outcome)^2: 0 at best, 1/4 for a coin. NaN of nothing.

    ValueError for a prediction that is no probability.
    Source: Brier (1950), Mon. Weather Rev. 78.
    """
    p, y = _pairs(predicted, happened)
    _refuse_no_probabilities(p)
    return float(np.mean((p - y) ** 2)) if p.size else float("nan")


def ranked_probability(probabilities: Numbers, grade: Numbers) -> Float[np.ndarray, " n"]:
    """The ranked probability score of each graded response, over the number of its cut points,

        1/(G - 1) sum_g (P(y <= g) - [y <= g])^2,    g = 0 ... G - 2,

    which for two grades is the Brier score. NaN where the grade is.
    ValueError for a grade that is none of 0 ... G - 1, or probabilities that do not sum to 1.
    Source: Epstein (1969), J. Appl. Meteorol. 8.
    """
    p = np.asarray(probabilities, float)
    y = np.asarray(grade, float)
    _refuse_no_grades(p, y)
    cuts = np.arange(p.shape[-1] - 1)
    below = np.cumsum(p, axis=-1)[..., :-1]
    score = np.mean((below - (y[..., None] <= cuts)) ** 2, axis=-1)
    return np.where(np.isnan(y), np.nan, score)


def calibration(predicted: Numbers, happened: Numbers, groups: int = 10) -> pd.DataFrame:
    """Predicted against observed shares: the predictions in order of size, in `groups` of one size.

    Of equal predictions that fall into several groups each group has its part, whatever their order.

    **Returns:** a row a group with `predicted`, the mean probability; `observed`, the share to which it happened;
    `count`. A calibrated prediction has the same in both, but for sqrt(p (1 - p) / count), if all are independent.

    **Raises:** ValueError for fewer than one group, fewer predictions than groups, or one that is no probability.
    Source: Hosmer and Lemeshow (1980), Commun. Stat. Theory Methods 9.
    """
    p, y = _pairs(predicted, happened)
    _refuse_no_probabilities(p)
    if not 1 <= groups <= p.size:
        raise ValueError(f"calibration in {groups} groups needs that many predictions with outcome, and got {p.size}.")
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, groups)
    _, tied = np.unique(p, return_inverse=True)
    alike = (np.bincount(tied, weights=y) / np.bincount(tied))[tied]  # the share among equal predictions
    rows = [(p[part].mean(), alike[part].mean(), part.size) for part in parts]
    return pd.DataFrame(rows, columns=["predicted", "observed", "count"])


def calibration_error(predicted: Numbers, happened: Numbers, groups: int = 10) -> float:
    """The mean distance of predicted and observed shares over the groups of `calibration`; NaN of too few."""
    p, y = _pairs(predicted, happened)
    if p.size < groups:
        return float("nan")
    table = calibration(p, y, groups)
    return float(np.average(np.abs(table.predicted - table.observed), weights=table["count"]))


def coverage(place: Numbers, level: float | int) -> float:
    """The share of responses inside the central interval of this level, by their `place` in what was predicted.

    The place is P(y_predicted < y) + 1/2 P(y_predicted = y), uniform on (0, 1) where predictions are calibrated
    and responses continuous.
    ValueError for a `level` that is no share.
    Source: Gneiting, Balabdaoui and Raftery (2007), J. R. Stat. Soc. B 69.
    """
    require_share(level, "a central interval holds a share", 0.9)
    at = np.asarray(place, float)
    at = at[~np.isnan(at)]
    return float(np.mean(np.abs(at - 0.5) <= level / 2)) if at.size else float("nan")


def _refuse_no_grades(p: Float[np.ndarray, "*n G"], y: Float[np.ndarray, "*n"]) -> None:
    """What is not a number is left out, and nothing is said of it."""
    count = p.shape[-1]
    strange = y[~np.isnan(y) & ~np.isin(y, np.arange(count))]
    if strange.size:
        raise ValueError(f"a grade among {count} is counted from 0 to {count - 1}, and here is {strange.flat[0]:g}.")
    total = p.sum(axis=-1)
    wrong = total[(np.abs(total - 1.0) > _ROUNDED) | np.any(p < 0.0, axis=-1)]
    if wrong.size:
        raise ValueError(
            f"the probabilities of the {count} grades are 0 or more and sum to 1 for each response; "
            f"here they sum to {wrong.flat[0]:g}."
        )


def _refuse_no_probabilities(p: np.ndarray) -> None:
    wrong = p[(p < -_ROUNDED) | (p > 1.0 + _ROUNDED)]
    if wrong.size:
        raise ValueError(f"a predicted probability lies between 0 and 1, and here is {wrong[0]:g}.")


def _pairs(predicted: Numbers, happened: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Those predictions and outcomes (0 or 1) that are numbers, side by side."""
    p = np.ravel(np.asarray(predicted, float))
    y = np.ravel(np.asarray(happened, float))
    if p.shape != y.shape:
        raise ValueError(f"there are {p.size} predictions for {y.size} outcomes: give one for each.")
    known = ~(np.isnan(p) | np.isnan(y))
    p = p[known]
    y = y[known]
    wrong = y[(y != 0) & (y != 1)]
    if wrong.size:
        raise ValueError(f"an outcome is 1 where it happened and 0 where not, and here is {wrong[0]:g}.")
    return p, y
