"""One subject: what was seen of it, its covariates, and its doses."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .by_outcome import as_dict as as_dict
from .by_outcome import as_given, each_outcome
from .doses import Doses, PerDose
from .padding import side_by_side

_floats = each_outcome(float)
_integers = each_outcome(int)
_truths = each_outcome(bool)


class Subject(eqx.Module):
    """What is known of one subject: n rows of time and response, its covariates and its doses.

    Where there are several outcomes, `y`, `mask`, `censored` and `limit` are dicts by outcome name
    over the same rows. Under a `Population` every array has a leading axis.

        person = mf.Subject([0.5, 2.0, 8.0], [1.2, 3.4, 2.2], [True, True, True])  # times, responses, were they seen?
        few = mf.Population.from_subjects([person, person])
    """

    # The time of each row, in the unit of the data.
    time: Float[Array, "*subjects n"] = eqx.field(converter=_floats)
    # The responses (n,); 0, never a NaN, where none was observed.
    y: Any = eqx.field(converter=_floats)
    # (n,) Which responses were seen: true where a row is real and its response was observed.
    mask: Any = eqx.field(converter=_truths)
    # By name, a scalar, or (n,) where it varies in time.
    covariates: dict[str, Float[Array, "..."]] = eqx.field(converter=_floats, default_factory=dict)
    # What it was given.
    doses: Doses = eqx.field(default_factory=Doses.none)
    # None where no response is censored; else (n,): 1 below `y` (and above `limit`, if that is
    # finite), -1 above `y` (and below `limit`), 0 where it is `y`. Of several outcomes those that
    # have a censored response are here, and the others may be left out.
    censored: Any = eqx.field(converter=_integers, default=None)
    # None where no response is censored; else (n,), the other end of a censored response's
    # interval.
    limit: Any = eqx.field(converter=_floats, default=None)
    # Which rows exist: false for padding only, so that a row that is real and not seen is a
    # missing response. Left out it means all of them, and so it does where `time` has other rows,
    # as after `replace(subject, time=grid)`. A mean over rows is `jnp.mean(x, where=subject.real)`.
    real: Bool[Array, "*subjects n"] = eqx.field(converter=_truths, default=None)

    def __post_init__(self) -> None:
        # runs before the converters, and so takes whatever a person gave
        if self.real is None or np.shape(self.real) != np.shape(self.time):
            self.real = jnp.ones(np.shape(self.time), bool)

    def with_rows(self, change: Callable[[Any], Any]) -> "Subject":
        """The same subject with `change` done to each of its arrays but the doses."""
        without_doses = eqx.tree_at(lambda s: s.doses, self, None)
        return dataclasses.replace(jax.tree.map(change, without_doses), doses=self.doses)

    def at_doses(self, values: Any) -> PerDose:
        """Values of rows (n,), or a single one, as they hold at each dose: at the last row that is
        not later, else at the first one. A subject's occasions, say, or what a model makes of them:

            occasion = subject.covariates["occasion"].astype(int)
            share = subject.at_doses(self.share[occasion])

        Raises:
            ValueError: values of another shape than the subject's rows.
        """
        values = jnp.asarray(values, float)
        if values.shape not in ((), self.time.shape):
            raise ValueError(
                f"at_doses takes a value for each of the {self.time.size} rows of the subject, and got shape "
                f"{values.shape}; for values that belong to doses already use mf.PerDose."
            )
        earlier = self.real & (self.time <= self.doses.time[:, None])
        row = jnp.maximum(jnp.sum(earlier, axis=1) - 1, 0)
        return PerDose(jnp.broadcast_to(values, self.time.shape)[row])

    @classmethod
    def together(cls, subjects: Sequence["Subject"]) -> "Subject":
        """Subjects with a leading axis, the shorter ones filled up; outcomes and covariates are the
        same for all.

        Padding that a subject brings along is left out first.
        """
        local = [jax.tree.map(np.asarray, subject) for subject in subjects]
        censoring = any(subject.censored is not None for subject in local)
        parts = [_columns(subject, censoring) for subject in local]
        rows = jax.tree.map(lambda *columns: np.concatenate(columns), *parts)
        number = np.repeat(np.arange(len(local)), [part["time"].size for part in parts])
        varying = {name for subject in local for name, values in subject.covariates.items() if values.ndim}
        return cls.padded(number, rows, varying, Doses.together([subject.doses for subject in local]))

    @classmethod
    def padded(cls, subject: np.ndarray, rows: dict[str, Any], varying: set[str], doses: Doses) -> "Subject":
        """Rows written one under another, of the subjects of these numbers, with the subjects as
        leading axis.

        `rows` has the fields of a `Subject`, but neither mask nor real: all of them are, and `y` is
        NaN where it was not observed. Covariates that are not `varying` become scalars, one for
        each subject.
        """
        last = np.flatnonzero(np.diff(subject, append=-1))

        def spread(column: np.ndarray, fill: Any) -> np.ndarray:
            return side_by_side(subject, column, len(last), fill)

        def spread_last(column: np.ndarray) -> np.ndarray:
            return spread(column, column[last])

        y = jax.tree.map(lambda column: spread(column, np.nan), rows["y"])
        fields: dict[str, Any] = {
            "time": spread_last(rows["time"]),
            "y": jax.tree.map(np.nan_to_num, y),
            "mask": jax.tree.map(lambda column: ~np.isnan(column), y),
            "covariates": {
                name: spread_last(column) if name in varying else column[last]
                for name, column in rows["covariates"].items()
            },
            "real": spread(np.ones(len(subject), bool), False),
        }
        cut = _censored_outcomes(rows)
        if cut:
            for field in ("censored", "limit"):
                columns = as_dict(rows[field])
                fields[field] = as_given({name: spread(columns[name], 0) for name in cut})
        return cls(**fields, doses=doses)


def _censored_outcomes(rows: dict[str, Any]) -> list[str]:
    """The outcomes of which a response is censored: only these need densities that know intervals."""
    sides = as_dict(rows.get("censored"))
    return [name for name, side in sides.items() if np.any((side != 0) & ~np.isnan(as_dict(rows["y"])[name]))]


def _columns(subject: Subject, censoring: bool) -> dict[str, Any]:
    """The real rows of a subject as `Subject.padded` takes them, with or without what tells of
    censoring.
    """
    columns: dict[str, Any] = {"time": subject.time, "covariates": subject.covariates}
    columns["y"] = jax.tree.map(lambda seen, y: np.where(seen, y, np.nan), subject.mask, subject.y)
    if censoring:
        for field in ("censored", "limit"):
            own = as_dict(getattr(subject, field))
            columns[field] = as_given({name: own.get(name, np.zeros_like(y)) for name, y in as_dict(subject.y).items()})
    return jax.tree.map(lambda column: np.broadcast_to(column, subject.time.shape)[subject.real], columns)
