"""Data: doses, subjects, and populations of subjects.

A `Subject` holds what was seen of one individual. A `Population` is the same structure with a leading axis: every array
is padded to the longest subject and a mask says which rows count, so that whatever is written for one subject runs for
all of them through `jax.vmap(f)(population.subjects)`.
"""

import html
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from . import frames

if TYPE_CHECKING:
    import pandas as pd


def _floats(x: Any) -> Float[Array, "..."]:
    return jnp.asarray(x, dtype=float)


def _integers(x: Any) -> Int[Array, "..."]:
    return jnp.asarray(x, dtype=int)


def _booleans(x: Any) -> Bool[Array, "..."]:
    return jnp.asarray(x, dtype=bool)


def _covariates(x: Mapping[str, Any]) -> dict[str, Float[Array, "..."]]:
    return {str(name): _floats(value) for name, value in x.items()}


class Doses(eqx.Module):
    """The doses given to one subject, d of them; rows of zero amount are padding and change nothing.

    A duration of zero is given at once (a bolus, or a tablet); a longer one is an infusion at constant rate.
    Compartments are numbered from 1. In a population every array has the subjects as a leading axis.
    """

    time: Float[Array, "*subjects d"] = eqx.field(converter=_floats)
    amount: Float[Array, "*subjects d"] = eqx.field(converter=_floats)
    duration: Float[Array, "*subjects d"] = eqx.field(converter=_floats)
    compartment: Int[Array, "*subjects d"] = eqx.field(converter=_integers)

    @classmethod
    def none(cls) -> "Doses":
        """No doses: arrays of length zero."""
        return cls(*(jnp.zeros(0) for _ in range(4)))

    @classmethod
    def of(cls, amount: Any, time: Any = 0.0, duration: Any = 0.0, compartment: Any = 1) -> "Doses":
        """Doses from numbers or lists; single numbers are repeated: `Doses.of([100, 50], time=[0, 12])`."""
        columns = (np.atleast_1d(x) for x in (time, amount, duration, compartment))
        return cls(*(jnp.asarray(x) for x in np.broadcast_arrays(*columns)))


class Subject(eqx.Module):
    """What was seen of one subject: n rows of time and response, its covariates and its doses.

    `mask` is true where a row is real and its response was observed; elsewhere `y` holds 0, never a NaN.
    A covariate is a scalar, or (n,) where it varies in time. Under a `Population` every array has a leading axis.
    """

    time: Float[Array, "*subjects n"] = eqx.field(converter=_floats)
    y: Float[Array, "*subjects n"] = eqx.field(converter=_floats)
    mask: Bool[Array, "*subjects n"] = eqx.field(converter=_booleans)
    covariates: dict[str, Float[Array, "..."]] = eqx.field(converter=_covariates, default_factory=dict)
    doses: Doses = eqx.field(default_factory=Doses.none)


class Population(eqx.Module):
    """Subjects together: one `Subject` whose arrays have a leading axis of length N, padded and masked.

    `rows[i]` counts the real rows of subject i, observed or missing; the labels name the axes of a plot, with units.
    Padding repeats a subject's last time, with response 0 and a false mask: it reaches neither a value nor a gradient.
    """

    subjects: Subject
    ids: tuple[Any, ...] = eqx.field(static=True)
    rows: np.ndarray
    time_label: str = eqx.field(static=True, default="time")
    y_label: str = eqx.field(static=True, default="y")

    # ---------------------------------------------------------------- building

    @classmethod
    def from_frame(
        cls,
        df: "pd.DataFrame",
        *,
        id: str = "ID",
        time: str | None = "TIME",
        y: str = "DV",
        amount: str | None = "AMT",
        duration: str | None = None,
        compartment: str = "CMT",
        covariates: str | Sequence[str] | Mapping[str, str] = (),
        time_label: str | None = None,
        y_label: str | None = None,
    ) -> "Population":
        """Read a data frame with one row per observation or dose, sorted by subject and time.

        Columns are found by their exact name, then without regard to case. A row is a dose where EVID is 1, or, without
        EVID, where the amount is positive. An empty response, or MDV of 1, is a missing response: kept and masked.
        Infusions come from `duration` (or DUR), or as amount / RATE. `time=None` numbers each subject's rows 0, 1, ...
        `covariates` lists columns, or maps the names that a model uses to columns; one that is constant within
        every subject becomes a scalar.

        At one and the same time a dose comes before an observation.

        Raises:
            ValueError: one sentence with subject, row (1 is the first row of data), column and remedy, where
                a column or an id is missing; times are unsorted, negative or missing; the rows of a subject are apart;
                a row occurs twice; a number is text or infinite; a dose is negative; a subject has no observation;
                a covariate is missing or not a number; EVID is neither 0 nor 1.
        """
        dose: dict[str, Any] = {"amount": amount, "duration": duration, "compartment": compartment}
        table = frames.read(df, id=id, time=time, y=y, covariates=covariates, **dose)
        return cls._padded(table, time_label or time or "row", y_label or y)

    @classmethod
    def from_subjects(
        cls,
        subjects: Sequence[Subject],
        ids: Sequence[Any] | None = None,
        *,
        time_label: str = "time",
        y_label: str = "y",
    ) -> "Population":
        """Put subjects together, padding the shorter ones; ids are 1, 2, ... where none are given.

        Raises:
            ValueError: no subjects, ids that are repeated or not one for each, or subjects with different covariates.
        """
        ids = tuple(range(1, len(subjects) + 1)) if ids is None else tuple(ids)
        if not subjects:
            raise ValueError("A population needs at least one subject, and the list is empty.")
        if len(ids) != len(subjects) or len(set(ids)) != len(ids):
            raise ValueError(
                f"There are {len(subjects)} subjects and {len(set(ids))} different ids; give each its own."
            )
        names = set(subjects[0].covariates)
        for name, subject in zip(ids, subjects, strict=True):
            if subject.time.size == 0:
                raise ValueError(f"Subject {name} has no rows; give it at least one time or leave it out.")
            if set(subject.covariates) != names:
                raise ValueError(
                    f"Subject {name} has the covariates {sorted(subject.covariates)} and subject {ids[0]} has "
                    f"{sorted(names)}; give every subject the same covariates."
                )
        local = [jax.tree.map(np.asarray, s) for s in subjects]
        n, d = np.array([s.time.size for s in local]), np.array([s.doses.time.size for s in local])

        def values(s: Subject, name: str) -> np.ndarray:
            return np.broadcast_to(s.covariates[name], s.time.shape)

        table = frames.Table(
            ids=ids,
            subject=np.repeat(np.arange(len(local)), n),
            time=np.concatenate([s.time for s in local]),
            y=np.concatenate([np.where(s.mask, s.y, np.nan) for s in local]),
            covariates={k: np.concatenate([values(s, k) for s in local]) for k in subjects[0].covariates},
            varying={k: any(np.ndim(s.covariates[k]) for s in local) for k in subjects[0].covariates},
            dose_subject=np.repeat(np.arange(len(local)), d),
            dose_time=np.concatenate([s.doses.time for s in local]),
            amount=np.concatenate([s.doses.amount for s in local]),
            duration=np.concatenate([s.doses.duration for s in local]),
            compartment=np.concatenate([s.doses.compartment for s in local]),
        )
        return cls._padded(table, time_label, y_label)

    @classmethod
    def _padded(cls, table: "frames.Table", time_label: str, y_label: str) -> "Population":
        """Lay the rows of a table out as (N, n) and (N, d) arrays."""
        rows, at = frames.positions(table.subject, len(table.ids))
        n_doses, dose_at = frames.positions(table.dose_subject, len(table.ids))
        last = np.cumsum(rows) - 1

        def spread(values: np.ndarray, fill: np.ndarray) -> Array:
            out = np.repeat(np.asarray(fill)[:, None], rows.max(), axis=1)
            out[table.subject, at] = values
            return jnp.asarray(out)

        def spread_doses(values: np.ndarray, fill: np.ndarray | float) -> Array:
            out = np.full((len(rows), n_doses.max()), fill, dtype=values.dtype)
            out[table.dose_subject, dose_at] = values
            return jnp.asarray(out)

        first_dose = np.zeros((len(rows), 1))  # padding doses sit at the subject's first dose
        first_dose[table.dose_subject[::-1], 0] = table.dose_time[::-1]
        zero, seen = np.zeros(len(rows)), ~np.isnan(table.y)
        covariates = {
            k: spread(x, x[last]) if table.varying[k] else jnp.asarray(x[last]) for k, x in table.covariates.items()
        }
        doses = Doses(
            spread_doses(table.dose_time, first_dose),
            spread_doses(table.amount, 0.0),
            spread_doses(table.duration, 0.0),
            spread_doses(table.compartment, 1.0),
        )
        y = spread(np.where(seen, table.y, 0.0), zero)
        subjects = Subject(spread(table.time, table.time[last]), y, spread(seen, zero > 0), covariates, doses)
        return cls(subjects, table.ids, rows, time_label, y_label)

    # ---------------------------------------------------------------- choosing

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Subject]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        """One `Subject` with its own rows and doses for an integer; a `Population` for a slice, list or array of them.

        Raises:
            IndexError: a position out of range, or a choice of nobody.
        """
        try:
            chosen = np.arange(len(self))[key]
        except IndexError as error:
            raise IndexError(
                f"Position {key} is not in this population of {len(self)}; count from 0 to {len(self) - 1} "
                "(positions are not ids: see population.ids)."
            ) from error
        if np.ndim(chosen):
            return self._subset(np.asarray(chosen))
        i = int(chosen)
        local = jax.tree.map(lambda x: np.asarray(x)[i], self.subjects)
        n, given = self.rows[i], local.doses.amount != 0
        return Subject(
            local.time[:n],
            local.y[:n],
            local.mask[:n],
            {name: x[:n] if x.ndim else x for name, x in local.covariates.items()},
            jax.tree.map(lambda x: jnp.asarray(x[given]), local.doses),
        )

    def _subset(self, chosen: np.ndarray) -> "Population":
        if chosen.size == 0:
            raise IndexError("This choice leaves no subject; a population needs at least one.")
        # the width stays: a subset of the same size then runs a program that is compiled already
        subjects = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[chosen]), self.subjects)
        ids = tuple(self.ids[i] for i in chosen)
        return Population(subjects, ids, self.rows[chosen], self.time_label, self.y_label)

    def keep_rows(self, index: Sequence[int]) -> "Population":
        """The same subjects with only these rows each: `keep_rows([2, -1])` keeps the third and the last of everyone.

        Raises:
            ValueError: a row that a subject does not have, one named twice, or a subject left without an observation.
        """
        wanted = np.asarray([operator.index(i) for i in index], dtype=int)
        at = np.sort(np.where(wanted < 0, self.rows[:, None] + wanted, wanted), axis=1)
        for bad, what in (
            ((at < 0) | (at >= self.rows[:, None]), "does not have every row of"),
            (np.diff(at, axis=1, prepend=-1) == 0, "would have a row twice with"),
        ):
            if bad.any():
                i = int(np.argmax(bad.any(axis=1)))
                who = f"Subject {self.ids[i]} has {self.rows[i]} rows"
                raise ValueError(f"{who} and {what} {list(index)}; count from 0.")

        def keep(x: Array) -> Array:
            return jnp.asarray(np.take_along_axis(np.asarray(x), at, axis=1))

        old = self.subjects
        covariates = {k: keep(x) if x.ndim == 2 else x for k, x in old.covariates.items()}
        mask = keep(old.mask)
        empty = ~np.asarray(mask).any(axis=1)
        if empty.any():
            who = self.ids[int(np.argmax(empty))]
            raise ValueError(f"Subject {who} has no observation in rows {list(index)}; keep others.")
        subjects = Subject(keep(old.time), keep(old.y), mask, covariates, old.doses)
        return Population(subjects, self.ids, np.full(len(self), len(wanted)), self.time_label, self.y_label)

    def with_responses(self, y: ArrayLike) -> "Population":
        """A copy with new responses (N, n); rows that are padding or missing stay so.

        Raises:
            ValueError: another shape than (N, n).
        """
        new, mask = _floats(y), self.subjects.mask
        if new.shape != mask.shape:
            raise ValueError(f"New responses have shape {new.shape}; this population needs {mask.shape}.")
        return eqx.tree_at(lambda p: p.subjects.y, self, jnp.where(mask, new, 0.0))

    # ---------------------------------------------------------------- telling

    @property
    def n_observations(self) -> int:
        """How many responses were observed, over all subjects."""
        return int(np.asarray(self.subjects.mask).sum())

    @property
    def n_doses(self) -> int:
        """How many doses of non-zero amount were given, over all subjects."""
        return int((np.asarray(self.subjects.doses.amount) != 0).sum())

    def to_frame(self) -> "pd.DataFrame":
        """An event frame: ID TIME DV AMT EVID MDV, CMT and DUR where they are needed, and the covariates.

        `Population.from_frame` reads it back. Dose rows come before observations of the same time and carry the
        covariates of the next observation.
        """
        return frames.write(self)

    def __repr__(self) -> str:
        seen, names = self.n_observations, ", ".join(self.subjects.covariates)
        text = f"Population of {len(self)} subjects, {seen} observations ({int(self.rows.sum()) - seen} missing), "
        return text + f"{self.n_doses} doses" + (f", covariates: {names}" if names else "")

    def _repr_html_(self) -> str:
        time, y, mask = (np.asarray(x) for x in (self.subjects.time, self.subjects.y, self.subjects.mask))
        facts = {
            "subjects": f"{len(self)}",
            "observations": f"{self.n_observations} ({int(self.rows.sum()) - self.n_observations} missing)",
            "rows a subject": _span(self.rows),
            "doses": f"{self.n_doses}",
            self.time_label: _span(time),
            self.y_label: _span(y[mask]),
        }
        for name, x in self.subjects.covariates.items():
            facts[f"covariate {name}"] = _span(np.asarray(x)) + (", varies in time" if x.ndim == 2 else "")
        left, text = "style='text-align:left'", html.escape
        body = "".join(f"<tr><th {left}>{text(k)}</th><td {left}>{text(v)}</td></tr>" for k, v in facts.items())
        return f"<table><caption>Population</caption>{body}</table>"


def _span(x: np.ndarray) -> str:
    low, high = (f"{float(v):.4g}" for v in (np.min(x), np.max(x))) if x.size else ("none", "none")
    return low if low == high else f"{low} to {high}"
