"""Which subjects does a fit hang on? Every subject left out in turn, by one Newton step or by refits."""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..fitting.result import Fit
from ..model.numbers import labels_of
from ..objectives.objective import name_subjects
from .many import maximise_many
from .pairs import Pairs
from .standard_errors import covariance, natural, prior_hessian, refuse_one_subject

_STEP = 0.01  # standard errors: how far aside the scores are looked at for their slope
_FAR = 1.0  # a Cook score above it: a subject worth a look
_TOO_FAR = 3.0  # and above it one Newton step may mislead


@dataclasses.dataclass(frozen=True)
class Influence:
    """What becomes of a fit without each subject in turn.

    `table` has a row for each subject: `cook`, how far the estimates move in standard errors, all together, and
    `covariance_ratio`, below 1 where the estimates would be surer without. `estimates` holds the estimates without it,
    a column for each number, and `shifts` their changes in standard errors of the whole fit.
    """

    method: str
    table: pd.DataFrame
    estimates: pd.DataFrame
    shifts: pd.DataFrame
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        first = self.table.sort_values("cook", ascending=False).head(5)
        return "\n".join([self.method, first.to_string(float_format="{:.3g}".format), *self.remarks])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{remark}</p>" for remark in self.remarks)
        first = self.table.sort_values("cook", ascending=False)
        return f"<b>{self.method}</b>{first.to_html(float_format='{:.3g}'.format)}{notes}"


def influence(fit: Fit, *, refit: bool = False) -> Influence:
    """Case deletion: the estimates without subject i, by one Newton step from those of everyone.

    With s_i the score of subject i at the estimates x and J_i minus its derivative, so that A = sum J_i plus the
    curvature of a prior is the observed information,

        x_(-i) = x - (A - J_i)^-1 s_i,
        cook_i = sqrt((x_(-i) - x)' A (x_(-i) - x)),
        covariance_ratio_i = sqrt(det((A - J_i)^-1) / det(A^-1)),

    in free coordinates, in which nothing is bounded; J_i by central differences of the exact scores. `refit` maximises
    anew without each subject instead, all at once, which costs some ten times as much and is exact; a step that goes
    further than three standard errors deserves it, and a remark says so.

    **Raises:** ValueError for a fit without standard errors (see `observed_information`), or of a single subject.
    Sources: Cook (1977), Technometrics 19; one step: Pregibon (1981), Ann. Statist. 9; the score and the ratio as in
    PsN's case deletion diagnostics (cdd).

        found = mf.influence(fit)
        plots.influence(found)
    """
    refuse_one_subject(fit, "without it nothing is left")
    spread = covariance(fit)
    pairs = Pairs(fit)
    x = fit.space.vector()
    count = len(fit.population)
    score, slopes = scores_and_slopes(pairs, x, np.sqrt(np.diagonal(spread)), count)
    whole = slopes.sum(axis=0) - np.asarray(prior_hessian(fit.space, x))
    lost = np.zeros(count, bool)
    moved = np.tile(x, (count, 1))
    ratio = np.full(count, np.nan)
    for i in range(count):
        rest = whole - slopes[i]
        lost[i] = np.linalg.eigvalsh(rest)[0] <= 0.0
        if not lost[i]:
            moved[i] -= np.linalg.solve(rest, score[i])
            ratio[i] = np.exp(0.5 * (np.linalg.slogdet(whole)[1] - np.linalg.slogdet(rest)[1]))
    remarks = []
    if refit:
        found = maximise_many(pairs, x, np.linalg.cholesky(spread), 1 - np.eye(count, dtype=int))
        lost = ~found.ended
        moved = found.x
    moved[lost] = np.nan
    if lost.any():
        remarks.append(
            f"without {name_subjects(fit.population, lost)} the estimates were not found: the rest may not tell them."
        )
    step = moved - x
    cook = np.sqrt(np.einsum("ip,pq,iq->i", step, whole, step))
    if not refit and np.any(cook > _TOO_FAR):
        remarks.append(
            f"without {name_subjects(fit.population, cook > _TOO_FAR)} the estimates go further than "
            f"{_TOO_FAR:g} standard errors, where one step may mislead: look at mf.influence(fit, refit=True)."
        )
    elif np.any(cook > _FAR):
        remarks.append(
            f"without {name_subjects(fit.population, cook > _FAR)} the estimates move by more than a standard error."
        )
    return _tabulated(fit, moved, cook, ratio, "refits" if refit else "one Newton step", tuple(remarks))


def _tabulated(
    fit: Fit, moved: np.ndarray, cook: np.ndarray, ratio: np.ndarray, how: str, remarks: tuple[str, ...]
) -> Influence:
    ids = pd.Index(list(fit.population.ids), name="ID")
    labels = labels_of(fit.model, fit.fixed)
    here = np.asarray(natural(fit.space, fit.space.vector()[None]))[0]
    without = np.array(natural(fit.space, np.nan_to_num(moved)))
    without[np.isnan(moved).any(axis=1)] = np.nan
    se = fit.table.se.reindex(labels).to_numpy()
    return Influence(
        method=f"Each subject left out, by {how}",
        table=pd.DataFrame({"cook": cook, "covariance_ratio": ratio}, index=ids),
        estimates=pd.DataFrame(without, ids, labels),
        shifts=pd.DataFrame((without - here) / se, ids, labels),
        remarks=remarks,
    )


def scores_and_slopes(
    pairs: Pairs, x: Float[np.ndarray, " P"], scale: Float[np.ndarray, " P"], count: int
) -> tuple[Float[np.ndarray, "N P"], Float[np.ndarray, "N P P"]]:
    """Each subject's score at x, and minus its derivative, by central differences a hundredth of `scale` aside."""
    size = x.size
    aside = np.diag(_STEP * scale)
    places = np.concatenate([x[None], x + aside, x - aside])
    which = np.repeat(np.arange(len(places)), count)
    subject = np.tile(np.arange(count), len(places))
    score = pairs(places, which, subject).score.reshape(len(places), count, size)
    change = (score[1 : size + 1] - score[size + 1 :]) / (2.0 * _STEP * scale)[:, None, None]
    slopes = -np.transpose(change, (1, 0, 2))
    return score[0], 0.5 * (slopes + np.swapaxes(slopes, 1, 2))
