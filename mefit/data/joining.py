"""Which subjects may go together into one population."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .by_outcome import as_dict
from .subject import Subject


def refuse_unlike(subjects: Sequence[Subject], ids: Sequence[Any]) -> None:
    """ValueError where a subject has no rows, or other covariates or outcomes than the first
    one.
    """
    for name, subject in zip(ids, subjects, strict=True):
        if not np.any(subject.real):
            raise ValueError(f"Subject {name} has no rows; give it at least one time or leave it out.")
        _refuse_other_names("covariates", subject.covariates, subjects[0].covariates, name, ids[0])
        _refuse_other_names("outcomes", as_dict(subject.y), as_dict(subjects[0].y), name, ids[0])


def _refuse_other_names(kind: str, names: Iterable[str], first: Iterable[str], id: Any, first_id: Any) -> None:
    if sorted(names) != sorted(first):
        raise ValueError(
            f"Subject {id} has the {kind} {sorted(names)} and subject {first_id} has {sorted(first)}; "
            f"give every subject the same {kind}."
        )
