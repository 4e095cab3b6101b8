"""Data: populations of subjects, read from files and frames, or put together.

A `Subject` holds what was seen of one individual. A `Population` is the same structure with a
leading axis: every array is padded to the longest subject, `real` says which rows exist and `mask`
which were seen, so that whatever is written for one subject runs for all of them through
`jax.vmap(f)(population.subjects)`.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import ArrayLike

from ..base.files import write_whole
from . import written
from .by_outcome import as_dict
from .by_outcome import one_outcome as one_outcome
from .changing import until, with_doses, with_responses, without_censored
from .choosing import one_subject, only_rows, positions
from .doses import Doses
from .joining import refuse_unlike
from .reading.frames import read_frame
from .reading.ignored import refuse_ids_like_remarks
from .reading.options import Choices, ColumnNames
from .reading.reader import Codes, Reader
from .reading.text import read_text
from .subject import Subject
from .written import Notes, Report


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
        codes: Codes | None = None,
        date: str | None = None,
        date_order: str | None = None,
        negative_times: bool = False,
        lloq: float | int | None = None,
        backfill: bool = False,
        drop_unobserved: bool | None = False,
        time_label: str | None = None,
        y_label: str | None = None,
        file: Any = None,  # of a text file, as `read_csv` gives them: the line of each row, and notes
    ) -> "Population":
        """Read a data frame with one row per observation or dose, sorted by subject and time.

        Columns are found by their exact name, then without regard to case; empty, `.` and NA are
        missing. `population.report` tells what was read, what was left out or filled, and why.

        - Rows: EVID is 0 (observation), 1 (dose) or 2 (neither: a time at which covariates are
          known). Without EVID a row with a positive amount is a dose. An empty response, or MDV of
          1, is missing: kept and masked. Several observations of one thing at the same time, as two
          assays of one sample, are as many rows. Rows with a C in a first column C are left out.
        - Times: numbers; or clock times (hh:mm), by the day in a column DATE, DAT1, DAT2, DAT3 or
          DAY, or the one that `date` names; or dates with clock times: these become hours since the
          subject's first record. Dates are year-month-day, or in the order that NONMEM's DAT1
          (dmy), DAT2 (ymd) and DAT3 (ydm) promise, or in the only one possible; `date_order` ("mdy",
          "dmy", "ymd", "ydm") says which. Years of two digits are 1951 to 2050. Where `date` names a
          column, numbers as times are hours of its days. `time=None` numbers the rows.
        - Doses: infusions come from `duration` (or DUR), or from RATE, which is then kept (-1 and -2
          leave rate and duration to the model). ADDL and II become doses of their own; SS of 1 or 2
          is `doses.steady_state`, II `doses.interval`; EVID 3 and 4 are `doses.reset`, after which
          a clock may start again. At one and the same time a dose comes before an observation.
        - Outcomes: several where `outcome` (DVID) has several values, which are their names;
          `y={"pk": 1, "pd": 2}` names them otherwise, and `y={"pk": "CONC", "pd": "EFFECT"}` reads
          a column each.
        - Censoring: CENS 1 means below DV, -1 above DV, and LIMIT is the other end of an interval.
          BLQ (BQL, BLOQ) 1 means below the limit in LLOQ (LOQ), in LIMIT, or in `lloq`. The limit
          takes the place of a DV that is empty or 0; where it is 0 indeed, as of logarithms,
          `lloq=0` says so.
        - `covariates` lists columns, or maps the names that a model uses to columns; one that is
          constant within every subject becomes a scalar. A missing value is the last one before it,
          carried forward. Where a dose changes one, its time is kept as a row without a response.
        - Occasions: a column OCC becomes the covariate "occasion", counted from 0; a model with
          inter-occasion variability picks `eta[1 + subject.covariates["occasion"].astype(int)]`,
          one random effect an occasion.
        - Ids keep their type: an int, or a text of any spelling.

        What would be a guess is refused, unless an option says what to do:

        - `codes={"CMT": {"depot": 1}, "EVID": {101: 1}, "SEX": {"F": 1, "M": 0}}` gives the number
          that a word or another code stands for, by column; None is missing, as for -99.
        - `negative_times=True` keeps times below 0, as of samples before the first dose.
        - `backfill=True` gives a covariate that is missing in a subject's first rows the first
          value after them.
        - `drop_unobserved=True` leaves out subjects without an observation; None keeps them, as
          people who are yet to be seen.

        Raises:
            ValueError: one sentence with subject, row (1 is the first row of data), column and
                remedy, where something is missing, unsorted, apart, negative, infinite, text in
                place of a number, a dose twice, a code (EVID, MDV, CENS, SS, RATE) that is not
                read, a date in more than one possible order, or a limit that nothing tells.
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
        choices = Choices(
            date=date,
            date_order=date_order,
            negative_times=negative_times,
            lloq=lloq,
            backfill=backfill,
            drop_unobserved=drop_unobserved,
        )
        lines, remarks = file or (None, ())
        subjects, ids, notes = read_frame(Reader(df, lines, remarks, codes), names, choices)
        outcomes = ", ".join(subjects.y) if isinstance(subjects.y, dict) else str(names.y)
        return cls(
            subjects=subjects,
            ids=ids,
            time_label=time_label or time or "row",
            y_label=y_label or outcomes,
            notes=Notes(notes),
        )

    @classmethod
    def read_csv(
        cls,
        path: str | os.PathLike,
        *,
        id: str = "ID",
        ignore: str | None = None,
        decimal: str | None = None,
        **options: Any,
    ) -> "Population":
        """Read a text file, or one that gzip has compressed: the same columns, conventions and
        options as `from_frame`.

        Cells are separated by tabs, semicolons, commas or spaces, whichever the header has, or by
        what a first line `sep=;` says. Ids are whole numbers where all of them are, and text as it
        is written where a number would lose something of it, as of 007, or of 1.1 beside 1.10.

        Lines that begin with # or @, and lines whose first cell is C (or begins with C and a space)
        in a file of numbers, are comments. `ignore` is NONMEM's: "@" leaves out lines that begin
        with a letter, "#" none but comments, any other text those that begin with it.

        A decimal comma is read where the comma is not what separates the cells, and where one of
        them at least cannot set thousands apart, as in 0,5. Where all may, as in 1,000 or, beside
        semicolons, 1.000, `decimal` says which mark is decimal, "," or ".".

        Raises:
            ValueError: as `from_frame`, with the line of the file in place of the row; and where a
                line has more or fewer cells than the header, begins with a letter while ids are
                numbers, where decimal commas and decimal points are mixed, or all may set thousands
                apart.
        """
        df, *file = read_text(path, id, ignore, decimal)
        return cls.from_frame(df, id=id, file=file, **options)

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
        refuse_unlike(subjects, ids)
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
        chosen = positions(key, len(self))
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
        return dataclasses.replace(self, subjects=with_doses(self.subjects, doses))

    @property
    def uncensored(self) -> "Population":
        """The same subjects with the censored responses left out, as if they were missing."""
        return dataclasses.replace(self, subjects=without_censored(self.subjects))

    def until(self, time: float | int) -> "Population":
        """The same subjects with the responses after `time` left out, as if they were missing: to
        fit a differential equation on a short horizon first, and on longer ones from there.
        """
        return dataclasses.replace(self, subjects=until(self.subjects, time))

    def with_responses(self, y: ArrayLike | Mapping[str, ArrayLike]) -> "Population":
        """A copy with new responses (N, n), or a dict of them by outcome; none is censored, missing
        rows stay so.

        Raises:
            ValueError: another shape than (N, n), or other outcomes.
        """
        return dataclasses.replace(self, subjects=with_responses(self.subjects, y, self.ids))

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
        it back. Where it cannot be written whole, what was there before stays as it was.

        Raises:
            OSError: a full disk, or a place that cannot be written to.
            ValueError: an id that begins with # or a space, or that a reader would leave out.
        """
        refuse_ids_like_remarks(self.ids)
        frame = self.to_frame()
        write_whole(path, lambda draft: frame.to_csv(draft, index=False, na_rep="."))

    @property
    def _facts(self) -> dict[str, str]:
        return written.facts(self.subjects, self.time_label, self.y_label)

    def __repr__(self) -> str:
        text = f"Population of {len(self)} subjects, {written.counts(self.subjects)}, {self.n_doses} doses"
        names = ", ".join(self.subjects.covariates)
        return text + (f", covariates: {names}" if names else "")

    def _repr_html_(self) -> str:
        return Report(self._facts, ())._repr_html_()
