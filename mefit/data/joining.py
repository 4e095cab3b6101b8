"""Which subjects may go together into one population."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .by_outcome import as_dict
from .subject import Subject


def refuse_unlike(subjects: Sequence[Subject], ids: Sequence[Any]) -> None:
    """ValueError where a subject has no rows, other covariates or outcomes than the first one, or a
    time, dose, covariate or response that is no finite number.
    """
    for name, subject in zip(ids, subjects, strict=True):
        if not np.any(subject.real):
            raise ValueError(f"Subject {name} has no rows; give it at least one time or leave it out.")
        _refuse_other_names("covariates", subject.covariates, subjects[0].covariates, name, ids[0])
        _refuse_other_names("outcomes", as_dict(subject.y), as_dict(subjects[0].y), name, ids[0])
        _refuse_no_number(subject, name)


def _refuse_no_number(subject: Subject, id: Any) -> None:
    """A response may be NaN, which is a missing one; nothing else may."""
    real = np.asarray(subject.real)
    found = {"time": np.asarray(subject.time)[real]}
    found |= {f"covariate {name}": _at(x, real) for name, x in subject.covariates.items()}
    doses = subject.doses
    given = np.asarray(doses.amount) != 0
    found |= {f"dose {part}": np.asarray(getattr(doses, part))[given] for part in ("amount", "time", "duration")}
    for what, x in found.items():
        if not np.all(np.isfinite(x)):
            raise ValueError(f"Subject {id} has a {what} that is no finite number; correct it or leave it out.")
    masks = as_dict(subject.mask)
    for name, y in as_dict(subject.y).items():
        if np.any(np.isinf(np.asarray(y)[np.asarray(masks[name])])):
            of_outcome = f" of {name}" if name else ""
            raise ValueError(
                f"Subject {id} has a response{of_outcome} that is infinite; correct it, or make it NaN, for missing."
            )


def _at(x: Any, real: np.ndarray) -> np.ndarray:
    values = np.asarray(x)
    return values[real] if values.ndim else values


def _refuse_other_names(kind: str, names: Iterable[str], first: Iterable[str], id: Any, first_id: Any) -> None:
    if sorted(names) != sorted(first):
        raise ValueError(
            f"Subject {id} has the {kind} {sorted(names)} and subject {first_id} has {sorted(first)}; "
            f"give every subject the same {kind}."
        )
