"""What a caller says about a frame: its columns, and what to do where it leaves a choice."""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .dates import ORDERS


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """Which columns to read; `Population.from_frame` says what each may be."""

    id: str
    time: str | None  # None numbers the rows
    y: str | Mapping[str, str | int | float]
    amount: str | None
    duration: str | None
    compartment: str
    outcome: str
    occasion: str
    covariates: str | Sequence[str] | Mapping[str, str]

    @property
    def covariate_columns(self) -> dict[str, str]:
        """The column of each covariate, by the name that a model uses."""
        if isinstance(self.covariates, Mapping):
            return dict(self.covariates)
        listed = (self.covariates,) if isinstance(self.covariates, str) else self.covariates
        return {column: column for column in listed}


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What to do where the data leave a choice; `Population.from_frame` says what each does."""

    date: str | None
    date_order: str | None
    negative_times: bool
    lloq: Any  # a number, or None
    backfill: bool
    drop_unobserved: bool | None  # None: keep them

    def __post_init__(self) -> None:
        if self.date_order is not None and self.date_order not in ORDERS:
            raise ValueError(f"date_order={self.date_order!r} is none of {', '.join(map(repr, ORDERS))}.")
        is_number = isinstance(self.lloq, numbers.Real) and math.isfinite(self.lloq)
        if self.lloq is not None and not is_number:
            raise ValueError(f"lloq={self.lloq!r} is not a number; give the limit of quantification.")
