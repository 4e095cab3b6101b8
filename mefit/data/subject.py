"""One subject: what was seen of it, its covariates, and the doses it was given."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

DOSE, STEADY = ("time", "amount", "duration", "compartment"), ("interval", "steady_state")


def as_dict(x: Any) -> dict[str, Any]:
    """By outcome, under the name "" where there is one only."""
    return x if isinstance(x, dict) else {} if x is None else {"": x}


def each_outcome(dtype: type) -> Callable[[Any], Any]:
    """A converter of an array, of a dict of arrays by outcome, or of None."""

    def convert(x: Any) -> Any:
        if isinstance(x, Mapping):
            return {str(name): jnp.asarray(value, dtype=dtype) for name, value in x.items()}
        return None if x is None else jnp.asarray(x, dtype=dtype)

    return convert


_floats = each_outcome(float)


def turns(numbers: np.ndarray) -> np.ndarray:
    """For sorted numbers, such as the subject of each row: each row's place among those of its number, from 0."""
    return np.arange(len(numbers)) - np.searchsorted(numbers, numbers)


def side_by_side(subject: np.ndarray, values: np.ndarray, size: int, fill: Any) -> np.ndarray:
    """(size, most): the values of each subject side by side, then `fill`, one for all or one for each subject."""
    out = np.empty((size, np.bincount(subject, minlength=size).max()), values.dtype)
    out.T[:] = fill
    out[subject, turns(subject)] = values
    return out


class Doses(eqx.Module):
    """The doses given to one subject, d of them; rows of zero amount are padding and change nothing.

    A duration of zero is given at once (a bolus, or a tablet); a longer one is an infusion at constant rate.
    Compartments are numbered from 1. A dose at `steady_state` stands for itself and for endlessly many like it before,
    one every `interval`; both are None where no dose is, so that what is compiled need not provide for it.
    In a population every array has the subjects as a leading axis.
    """

    time: Float[Array, "*subjects d"] = eqx.field(converter=_floats)
    amount: Float[Array, "*subjects d"] = eqx.field(converter=_floats)
    duration: Float[Array, "*subjects d"] = eqx.field(converter=_floats)
    compartment: Int[Array, "*subjects d"] = eqx.field(converter=each_outcome(int))
    interval: Float[Array, "*subjects d"] | None = eqx.field(converter=_floats, default=None)
    steady_state: Bool[Array, "*subjects d"] | None = eqx.field(converter=each_outcome(bool), default=None)

    def __check_init__(self) -> None:
        if (self.interval is None) != (self.steady_state is None):
            raise ValueError("Doses at steady state need both interval= and steady_state=; give both or neither.")

    @classmethod
    def none(cls) -> "Doses":
        """No doses: arrays of length zero."""
        return cls(*(jnp.zeros(0) for _ in range(4)))

    @classmethod
    def of(cls, amount: Any, time: Any = 0.0, duration: Any = 0.0, compartment: Any = 1, **steady: Any) -> "Doses":
        """Doses from numbers or lists; single numbers are repeated: `Doses.of([100, 50], time=[0, 12])`.

        `steady` takes interval= and steady_state=.
        """
        given = {"time": time, "amount": amount, "duration": duration, "compartment": compartment} | steady
        columns = np.broadcast_arrays(*(np.atleast_1d(x) for x in given.values()))
        return cls(**{k: jnp.asarray(x) for k, x in zip(given, columns, strict=True)})

    @classmethod
    def together(cls, doses: Sequence["Doses"]) -> "Doses":
        """Doses of several subjects with a leading axis; shorter ones are filled up with amounts of zero."""
        fields = {k: np.concatenate([dose_field(d, k) for d in doses]) for k in DOSE + STEADY}
        return cls.padded(len(doses), np.repeat(np.arange(len(doses)), [d.time.size for d in doses]), **fields)

    @classmethod
    def padded(cls, size: int, subject: np.ndarray, **fields: np.ndarray) -> "Doses":
        """Doses written one under another, of the subjects of these numbers, with `size` subjects as leading axis."""
        first = np.zeros(size)  # doses that fill up sit at the subject's first dose
        first[subject[::-1]] = fields["time"][::-1]
        fill = {"time": first, "compartment": 1}
        names = DOSE + STEADY if fields["steady_state"].any() else DOSE
        arrays: dict[str, Any] = {k: side_by_side(subject, fields[k], size, fill.get(k, 0)) for k in names}
        return cls(**arrays)


def dose_field(doses: Doses, name: str) -> np.ndarray:
    """A field of doses; 0 or false for what steady state needs, where no dose is at steady state."""
    value = getattr(doses, name)
    return np.zeros(doses.time.shape, bool if name == "steady_state" else float) if value is None else np.asarray(value)


class Subject(eqx.Module):
    """What was seen of one subject: n rows of time and response, its covariates and its doses.

    `mask` is true where a row is real and its response was observed; elsewhere `y` holds 0, never a NaN. Where there
    are several outcomes, `y` and `mask` are dicts by outcome name over the same rows.
    A covariate is a scalar, or (n,) where it varies in time. Under a `Population` every array has a leading axis.
    `censored` and `limit` are None where no response is censored. Else, where `censored` is 1 the response lies below
    `y` (and above `limit`, if that is finite); where it is -1, above `y` (and below `limit`); where 0, it is `y`.
    """

    time: Float[Array, "*subjects n"] = eqx.field(converter=_floats)
    y: Any = eqx.field(converter=_floats)
    mask: Any = eqx.field(converter=each_outcome(bool))
    covariates: dict[str, Float[Array, "..."]] = eqx.field(converter=_floats, default_factory=dict)
    doses: Doses = eqx.field(default_factory=Doses.none)
    censored: Any = eqx.field(converter=each_outcome(int), default=None)
    limit: Any = eqx.field(converter=_floats, default=None)

    def with_rows(self, change: Callable[[Any], Any]) -> "Subject":
        """The same subject with `change` done to each of its arrays but the doses."""
        return dataclasses.replace(jax.tree.map(change, eqx.tree_at(lambda s: s.doses, self, None)), doses=self.doses)

    @classmethod
    def together(cls, subjects: Sequence["Subject"]) -> "Subject":
        """Subjects with a leading axis, the shorter ones filled up; outcomes and covariates are the same for all."""
        local = [jax.tree.map(np.asarray, s) for s in subjects]
        censoring = ("censored", "limit") if any(s.censored is not None for s in local) else ()

        def flat(s: Subject) -> dict[str, Any]:
            fields = {"time": s.time, "covariates": s.covariates}
            fields["y"] = jax.tree.map(lambda m, y: np.where(m, y, np.nan), s.mask, s.y)
            fields |= {k: jax.tree.map(np.zeros_like, s.y) if s.censored is None else getattr(s, k) for k in censoring}
            return jax.tree.map(lambda x: np.broadcast_to(x, s.time.shape), fields)

        rows = jax.tree.map(lambda *x: np.concatenate(x), *map(flat, local))
        varying = {k for s in local for k, x in s.covariates.items() if x.ndim}
        whose = np.repeat(np.arange(len(local)), [s.time.size for s in local])
        return cls.padded(whose, rows, varying, Doses.together([s.doses for s in local]))

    @classmethod
    def padded(cls, subject: np.ndarray, rows: dict[str, Any], varying: set[str], doses: Doses) -> "Subject":
        """Rows written one under another, of the subjects of these numbers, with the subjects as leading axis.

        `rows` has the fields of a `Subject`, but no mask: `y` is NaN where it was not observed. Covariates that are not
        `varying` become scalars, one for each subject.
        """
        last = np.flatnonzero(np.diff(subject, append=-1))

        def spread(name: str, x: Any) -> Any:
            if isinstance(x, dict):
                return {k: spread(name, x[k]) for k in x}
            fill = x[last] if name in ("time", "covariates") else np.nan if name == "y" else 0
            return side_by_side(subject, x, len(last), fill)

        fields = {name: spread(name, x) for name, x in rows.items()}
        fields["mask"] = jax.tree.map(lambda y: ~np.isnan(y), fields["y"])
        fields["y"] = jax.tree.map(np.nan_to_num, fields["y"])
        fields["covariates"] = {k: x if k in varying else x[:, 0] for k, x in fields["covariates"].items()}
        return cls(**fields, doses=doses)
