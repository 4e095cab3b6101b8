"""How many classes a mixture of experts should have: several fits side by side."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray

from ..data.choosing import have_responses
from ..data.population import Population
from ..fitting.about import final_objective
from ..fitting.fit import log_likelihood
from ..fitting.result import Fit
from .ratios import MISSED, ruler_of, twice_log_ratio
from .same_data import same_responses


def how_many_classes(
    fits: Mapping[str | int, Fit], held_out: Population | None = None, *, key: PRNGKeyArray | None = None
) -> pd.DataFrame:
    """Fits with different numbers of classes, all of the same data, in one table.

    A row for each fit: `classes`; `parameters` p; `log L`; `BIC` = -2 log L + p log N, with N subjects that have a
    response, because it is these that are put into classes; `delta BIC` from the lowest; `held-out` and its standard
    error, the mean log-likelihood of a subject of `held_out`, by the fit's own objective; `entropy`, 1 where every
    class is certain and 0 where nothing is known; `smallest share`; and `remark`, the sentences of the fit. A fit of a
    single model stands for one class.

    **Raises:** ValueError for fits of other responses, by different methods, that have not converged, or that maximised
    no likelihood.
    Source: Nylund, Asparouhov and Muthen (2007), Struct. Equ. Modeling 14.

        mf.how_many_classes({1: one_class, 2: two_classes})
    """
    if not fits:
        raise ValueError("how_many_classes needs fits by name, such as {1: fit_1, 2: fit_2}.")
    first = next(iter(fits.values()))
    rulers = {name: ruler_of(fit) for name, fit in fits.items()}
    if len(set(rulers.values())) > 1:
        by = ", ".join(f"{name} by {ruler}" for name, ruler in rulers.items())
        raise ValueError(f"likelihoods by different methods cannot be compared ({by}): fit all by the same.")
    rows = []
    for name, fit in fits.items():
        if not same_responses(first.population, fit.population):
            raise ValueError(f"{name} was fitted to different responses, and cannot be compared: fit again.")
        if not (fit.converged and fit.method.likelihood):
            raise ValueError(f"fit {name} has not ended at a maximum of a likelihood ({fit.message}): fit again.")
        count = np.count_nonzero(have_responses(fit.population.subjects))
        table = fit.classes
        row = {
            "fit": name,
            "classes": 1 if table is None else len(table),
            "parameters": fit.n_parameters,
            "log L": fit.log_likelihood,
            "BIC": fit.minus_two_log_likelihood + fit.n_parameters * np.log(count),
        }
        if held_out is not None:
            values = _held_out(fit, held_out, key)
            row["held-out"] = float(np.mean(values))
            row["held-out SE"] = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
        row["entropy"] = np.nan if table is None else table.attrs.get("entropy", np.nan)
        row["smallest share"] = 1.0 if table is None else float(table.share.min())
        row["remark"] = " ".join(fit.remarks)
        rows.append(row)
    result = pd.DataFrame(rows).set_index("fit")
    result["remark"] = [f"{_missed(row, result)} {row.remark}".strip() for _, row in result.iterrows()]
    result.insert(4, "delta BIC", result.BIC - result.BIC.min())
    return result


def _missed(row: pd.Series, table: pd.DataFrame) -> str:
    """On a fit that ends below one with fewer classes."""
    fewer = table[table.classes < row.classes]
    if fewer.empty or twice_log_ratio(fewer["log L"].max(), row["log L"]) >= MISSED:
        return ""
    return "log L is below that with fewer classes: if these are among its own, fit it from more starts."


def _held_out(fit: Fit, held_out: Population, key: PRNGKeyArray | None) -> np.ndarray:
    objective = final_objective(fit.method)
    if objective is None:
        raise ValueError(f"{fit.method.label} has no likelihood to evaluate on held-out subjects: fit by Laplace.")
    key = fit.key if key is None else key
    return np.asarray(log_likelihood(fit.model, held_out, objective, key=key, by_subject=True))
