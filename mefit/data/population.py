"""Data: populations of subjects, read from files and frames, or put together.

A `Subject` holds what was seen of one individual. A `Population` is the same structure with a
leading axis: every array is padded to the longest subject, `real` says which rows exist and `mask`
which were seen, so that whatever is written for one subject runs for all of them through
`jax.vmap(f)(population.subjects)`.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import ArrayLike

from . import written
from .by_outcome import as_dict, each_outcome
from .choosing import one_subject, only_rows, only_seen
from .doses import Doses
from .reading.frames import ColumnNames, read_frame
from .reading.reader import Reader
from .reading.text import read_text
from .subject import Subject
from .written import Notes, Report


def one_outcome(population: "Population") -> "Population":
    """The population itself; ValueError where it has several outcomes, for what looks at one."""
    names = population.outcomes
    if names:
        raise ValueError(
            f"There are several outcomes ({', '.join(names)}), and this looks at one: "
            f"take one by fit.outcome({names[0]!r}), or of data alone by population.outcome({names[0]!r})."
        )
    return population


class Population(eqx.Module):
    """Subjects together, padded and masked.

    Padding repeats a subject's last time, with response 0; it is neither real nor seen, and reaches
    neither a value nor a gradient.
    """

    subjects: Subject  # every array with a leading axis of length N
    ids: tuple[Any, ...] = eqx.field(static=True)  # one for each, as in the file
    # the axes of a plot, with units
    time_label: str = eqx.field(static=True, kw_only=True, default="time")
    y_label: str = eqx.field(static=True, kw_only=True, default="y")
    # what was done to the data on reading
    notes: Notes = eqx.field(static=True, kw_only=True, default=Notes())

    # ---------------------------------------------------------------- building

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        *,
        id: str = "ID",
        time: str | None = "TIME",
        y: str | Mapping[str, str | int | float] = "DV",
        amount: str | None = "AMT",
        duration: str | None = None,
        compartment: str = "CMT",
        outcome: str = "DVID",
        occasion: str = "OCC",
        covariates: str | Sequence[str] | Mapping[str, str] = (),
        time_label: str | None = None,
        y_label: str | None = None,
        **csv: Any,
    ) -> "Population":
        """Read a data frame with one row per observation or dose, sorted by subject and time.

        Columns are found by their exact name, then without regard to case; empty, `.` and NA are
        missing. `population.report` tells what was read, what was left out or filled, and why.

        - Rows: EVID is 0 (observation), 1 (dose) or 2 (neither: a time at which covariates are
          known). Without EVID a row with a positive amount is a dose. An empty response, or MDV of
          1, is missing: kept and masked.
        - Times: numbers; or clock times (hh:mm), beside a column DATE (year-month-day) where they
          pass midnight; or dates with clock times: these become hours since the subject's first
          record. `time=None` numbers the rows.
        - Doses: infusions come from `duration` (or DUR), or as amount / RATE. ADDL and II become
          doses of their own; SS of 1 is kept as `doses.steady_state`, with II as `doses.interval`.
          At one and the same time a dose comes before an observation.
        - Outcomes: several where `outcome` (DVID) has several values, which are their names;
          `y={"pk": 1, "pd": 2}` names them otherwise, and `y={"pk": "CONC", "pd": "EFFECT"}` reads
          a column each.
        - Censoring: CENS 1 means below DV, -1 above DV, and LIMIT is the other end of an interval.
          BLQ 1 means below the limit in LLOQ or LIMIT, or in DV itself.
        - `covariates` lists columns, or maps the names that a model uses to columns; one that is
          constant within every subject becomes a scalar. A missing value is the last one before it,
          carried forward. Where a dose changes one, its time is kept as a row without a response.
        - Occasions: a column OCC becomes the covariate "occasion", counted from 0; a model with
          inter-occasion variability picks `eta[1 + subject.covariates["occasion"].astype(int)]`,
          one random effect an occasion.

        Raises:
            ValueError: one sentence with subject, row (1 is the first row of data), column and
                remedy, where something is missing, unsorted, apart, twice, negative, infinite, text
                in place of a number, or a code (EVID, MDV, CENS, SS, RATE) that is not read.
        """
        names = ColumnNames(
            id=id,
            time=time,
            y=y,
            amount=amount,
            duration=duration,
            compartment=compartment,
            outcome=outcome,
            occasion=occasion,
            covariates=covariates,
        )
        return cls._read(Reader(df, **csv), names, time_label, y_label)

    @classmethod
    def _read(cls, reader: Reader, names: ColumnNames, time_label: str | None, y_label: str | None) -> "Population":
        subjects, ids, notes = read_frame(reader, names)
        outcomes = ", ".join(subjects.y) if isinstance(subjects.y, dict) else str(names.y)
        return cls(
            subjects=subjects,
            ids=ids,
            time_label=time_label or names.time or "row",
            y_label=y_label or outcomes,
            notes=Notes(notes),
        )

    @classmethod
    def read_csv(cls, path: str | os.PathLike, *, id: str = "ID", **options: Any) -> "Population":
        """Read a text file: the same columns, conventions and options as `from_frame`.

        Cells are separated by tabs, semicolons, commas or spaces, whichever the header has. Lines
        that begin with #, and lines whose first cell is C (or begins with C and a space) in a file
        of numbers, are comments. A decimal comma is read where the comma is not what separates the
        cells.

        Raises:
            ValueError: as `from_frame`, with the line of the file in place of the row; and where a
                line has more or fewer cells than the header, or decimal commas and decimal points
                are mixed.
        """
        df, lines, notes = read_text(path, id)
        return cls.from_frame(df, id=id, lines=lines, notes=notes, **options)

    @classmethod
    def from_subjects(
        cls,
        subjects: Sequence[Subject],
        ids: Sequence | None = None,
        *,
        time_label: str = "time",
        y_label: str = "y",
    ) -> "Population":
        """Put subjects together, padding the shorter ones; ids are 1, 2, ... where none are given.

        Raises:
            ValueError: no subjects, ids that are repeated or not one for each, or subjects with
                different covariates or outcomes.
        """
        n = len(subjects)
        ids = tuple(range(1, n + 1)) if ids is None else tuple(ids)
        if not subjects:
            raise ValueError("A population needs at least one subject, and the list is empty.")
        if len(ids) != n or len(set(ids)) != n:
            raise ValueError(f"There are {n} subjects and {len(set(ids))} different ids; give each its own.")
        for name, subject in zip(ids, subjects, strict=True):
            if not np.any(subject.real):
                raise ValueError(f"Subject {name} has no rows; give it at least one time or leave it out.")
            _refuse_unlike("covariates", subject.covariates, subjects[0].covariates, name, ids[0])
            _refuse_unlike("outcomes", as_dict(subject.y), as_dict(subjects[0].y), name, ids[0])
        return cls(Subject.together(subjects), ids, time_label=time_label, y_label=y_label)

    # ---------------------------------------------------------------- choosing

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: Any) -> Any:
        """One `Subject` with its own rows and doses for an integer; a `Population` for a slice,
        list or array of them.

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
        if np.ndim(chosen) and np.size(chosen) == 0:
            raise IndexError("This choice leaves no subject; a population needs at least one.")
        # the width stays: a subset of the same size then runs a program that is compiled already
        local = jax.tree.map(lambda x: np.asarray(x)[chosen], self.subjects)
        if np.ndim(chosen):
            ids = tuple(self.ids[i] for i in chosen)
            return dataclasses.replace(self, subjects=jax.tree.map(jnp.asarray, local), ids=ids)
        return one_subject(local)

    def keep_rows(self, index: Sequence[int]) -> "Population":
        """The same subjects with only these rows each: `keep_rows([2, -1])` keeps the third and the
        last of everyone.

        Raises:
            ValueError: a row that a subject does not have, one named twice, or a subject left
                without an observation.
        """
        return dataclasses.replace(self, subjects=only_rows(self.subjects, index, self.ids))

    def outcome(self, name: str) -> "Population":
        """The same subjects with one of several outcomes, as arrays.

        Raises:
            ValueError: no outcome of this name.
        """
        if name not in self.outcomes:
            raise ValueError(f"There is no outcome {name!r}; this population has {', '.join(self.outcomes) or 'one'}.")
        fields = ("y", "mask", "censored", "limit")
        alone: Any = {field: as_dict(getattr(self.subjects, field)).get(name) for field in fields}
        return dataclasses.replace(self, subjects=dataclasses.replace(self.subjects, **alone), y_label=name)

    def with_doses(self, doses: Doses | Sequence[Doses]) -> "Population":
        """A copy with other doses, such as `mf.regimen` makes: the same for all, or a list with
        those of each subject.

        Raises:
            ValueError: doses of another number of subjects than there are.
        """
        n = len(self)
        given: Doses | None
        if isinstance(doses, Doses):
            given = doses
        else:
            given = Doses.together(doses) if len(doses) == n else None
        if given is None or given.time.shape[:-1] not in ((), (n,)):
            raise ValueError(f"This population needs doses for all of its {n} subjects: one Doses, or {n}.")
        given = jax.tree.map(lambda x: jnp.broadcast_to(x, (n, x.shape[-1])), given)
        return dataclasses.replace(self, subjects=dataclasses.replace(self.subjects, doses=given))

    @property
    def uncensored(self) -> "Population":
        """The same subjects with the censored responses left out, as if they were missing."""
        if self.subjects.censored is None:
            return self
        kept = only_seen(self.subjects, jax.tree.map(lambda side: side == 0, self.subjects.censored))
        kept = dataclasses.replace(kept, censored=None, limit=None)
        return dataclasses.replace(self, subjects=kept)

    def until(self, time: float | int) -> "Population":
        """The same subjects with the responses after `time` left out, as if they were missing: to
        fit a differential equation on a short horizon first, and on longer ones from there.
        """
        early = self.subjects.time <= time
        kept = jax.tree.map(lambda _: early, self.subjects.mask)
        return dataclasses.replace(self, subjects=only_seen(self.subjects, kept))

    def with_responses(self, y: ArrayLike | Mapping[str, ArrayLike]) -> "Population":
        """A copy with new responses (N, n), or a dict of them by outcome; none is censored, missing
        rows stay so.

        Raises:
            ValueError: another shape than (N, n), or other outcomes.
        """
        new = each_outcome(float)(y)
        mask = self.subjects.mask
        shape = self.subjects.time.shape
        if as_dict(new).keys() != as_dict(mask).keys():
            form = f"a dict by outcome: {', '.join(self.outcomes)}" if self.outcomes else "one array, not a dict"
            raise ValueError(f"New responses need to be {form}.")
        for x in as_dict(new).values():
            if x.shape != shape:
                raise ValueError(f"New responses have shape {x.shape}; this population needs {shape}.")
        new = jax.tree.map(lambda seen, x: jnp.where(seen, x, 0.0), mask, new)
        subjects = dataclasses.replace(self.subjects, y=new, censored=None, limit=None)
        return dataclasses.replace(self, subjects=subjects)

    # ---------------------------------------------------------------- telling

    @property
    def rows(self) -> np.ndarray:
        """(N,) How many rows each subject has, seen or missing; padding does not count."""
        return np.asarray(self.subjects.real).sum(axis=1)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The names of the outcomes where there are several; empty where there is one."""
        return tuple(sorted(self.subjects.y)) if isinstance(self.subjects.y, dict) else ()

    @property
    def n_observations(self) -> int:
        """How many responses were observed, over all subjects and outcomes."""
        return sum(int(np.asarray(m).sum()) for m in jax.tree.leaves(self.subjects.mask))

    @property
    def n_doses(self) -> int:
        """How many doses of non-zero amount were given, over all subjects."""
        return int((np.asarray(self.subjects.doses.amount) != 0).sum())

    @property
    def report(self) -> Report:
        """What was read: subjects, observations, doses and covariates; what was left out, filled or
        added, and why.
        """
        return Report(self._facts, self.notes)

    def to_frame(self) -> pd.DataFrame:
        """An event frame: ID TIME DV AMT EVID MDV, what else is needed (CMT DUR SS II DVID CENS
        LIMIT OCC), covariates.

        `Population.from_frame` reads it back. Dose rows come before observations of the same time
        and carry the covariates that hold at their time: the last known ones.
        """
        return written.event_frame(self.subjects, self.ids)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write `to_frame()` as a file, with `.` for what is missing; `Population.read_csv` reads
        it back.
        """
        self.to_frame().to_csv(path, index=False, na_rep=".")

    @property
    def _facts(self) -> dict[str, str]:
        return written.facts(self.subjects, self.time_label, self.y_label)

    def __repr__(self) -> str:
        text = f"Population of {len(self)} subjects, {written.counts(self.subjects)}, {self.n_doses} doses"
        names = ", ".join(self.subjects.covariates)
        return text + (f", covariates: {names}" if names else "")

    def _repr_html_(self) -> str:
        return Report(self._facts, ())._repr_html_()


def _refuse_unlike(kind: str, names: Iterable[str], first: Iterable[str], id: Any, first_id: Any) -> None:
    """ValueError where a subject has other covariates or outcomes than the first one."""
    if sorted(names) != sorted(first):
        raise ValueError(
            f"Subject {id} has the {kind} {sorted(names)} and subject {first_id} has {sorted(first)}; "
            f"give every subject the same {kind}."
        )
