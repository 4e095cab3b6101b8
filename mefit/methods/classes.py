"""The classes of a mixture of experts: how many subjects each holds, and how surely."""

import numpy as np
import pandas as pd
from jaxtyping import Float

_SAME = 1e-6  # of a log-likelihood: experts that differ by no more say the same
_EMPTY = 0.5  # subjects: a class with fewer, by the sum of its responsibilities, is empty


def assignment_entropy(responsibilities: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
    """-sum_k r_ik log r_ik of each subject: 0 where the class is certain, log C where nothing is known."""
    r = np.asarray(responsibilities)
    return -np.sum(r * np.log(np.where(r > 0.0, r, 1.0)), axis=1)


def class_table(responsibilities: Float[np.ndarray, "N C"]) -> pd.DataFrame:
    """A row for each class of a mixture.

    - `share`: the mean of its responsibilities over subjects.
    - `assigned`: how many subjects it is the most probable class of.
    - `certainty`: the mean of their responsibilities; NaN where there are none.

    `attrs["entropy"]` is the relative entropy of the assignment, 1 - sum_i -sum_k r_ik log r_ik / (N log C): 1 where
    every class is certain, 0 where nothing is known. Source: Ramaswamy et al. (1993), Mark. Sci. 12.
    """
    r = np.asarray(responsibilities)
    count, classes = r.shape
    best = np.argmax(r, axis=1)
    rows = []
    for k in range(classes):
        own = r[best == k, k]
        certainty = float(np.mean(own)) if own.size else np.nan
        rows.append({"share": float(np.mean(r[:, k])), "assigned": int(own.size), "certainty": certainty})
    table = pd.DataFrame(rows, index=pd.Index(range(1, classes + 1), name="class"))
    if classes > 1:
        table.attrs["entropy"] = 1.0 - float(np.sum(assignment_entropy(r))) / (count * np.log(classes))
    return table


def empty_classes(responsibilities: Float[np.ndarray, "N C"] | None) -> tuple[str, ...]:
    """A sentence for each class that has lost its subjects."""
    if responsibilities is None:
        return ()
    held = np.sum(np.asarray(responsibilities), axis=0)
    return tuple(
        f"class {k + 1} is empty: it holds {subjects:.2g} of {len(responsibilities)} subjects, so that its parameters "
        "mean nothing; take one class fewer."
        for k, subjects in enumerate(held)
        if subjects < _EMPTY
    )


def same_classes(log_likelihoods: Float[np.ndarray, "N C"] | None) -> tuple[str, ...]:
    """A sentence where all experts say the same of everybody: one kind, several times."""
    if log_likelihoods is None or np.shape(log_likelihoods)[1] < 2:
        return ()
    each = np.asarray(log_likelihoods)
    if np.max(np.abs(each - each[:, :1]) / np.maximum(1.0, np.abs(each[:, :1]))) > _SAME:
        return ()
    return (
        "all experts say the same of everybody: those that begin alike stay alike; begin with experts that differ, or "
        "use mf.EM(), which splits the subjects first.",
    )
