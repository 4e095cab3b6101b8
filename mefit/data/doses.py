"""The records of what one subject was given."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..base.compiling import is_followed
from .by_outcome import each_outcome
from .padding import side_by_side

# Fields that are None where they would hold this for every dose.
USUAL: dict[str, Any] = {"interval": 0.0, "steady_state": 0, "rate": 0.0, "reset": False}
DOSE = ("time", "amount", "duration", "compartment", *USUAL)

# Codes in `rate`: the model gives the rate, or the duration.
RATE_BY_MODEL = -1.0
DURATION_BY_MODEL = -2.0

_floats = each_outcome(float)
_integers = each_outcome(int)
_truths = each_outcome(bool)


class Doses(eqx.Module):
    """The records of doses of one subject, d of them, in the order in which they were written.

    A record with an amount of zero is padding and changes nothing, unless it is a `reset`, or a
    constant infusion at steady state. In a population every array has the subjects as a leading
    axis. The last four fields are None where no dose needs them, so that what is compiled need not
    provide for it.

    A dose enters at once where its record has neither rate nor duration. With a duration, amount /
    duration enters in a unit of time; a rate above 0 is kept, and -1 or -2 leave the rate or the
    duration to the model.

    Of records at one time, one at steady state and a reset do away with those before them, in this
    order, and not with those after them.

        doses = mf.Doses([0.0, 12.0], [100.0, 50.0], duration=[0.0, 0.0], compartment=[1, 1])
        again = mf.regimen(50.0, every=12.0, count=2, loading=100.0)  # the same, and no list to write

    Raises:
        ValueError: one of interval and steady_state without the other.
    """

    # In the unit of the subject's times.
    time: Float[Array, "*subjects d"] = eqx.field(converter=_floats)
    # 0 for padding.
    amount: Float[Array, "*subjects d"] = eqx.field(converter=_floats)
    # 0 where all is given at once (a bolus, or a tablet), else the time an infusion takes at its
    # constant rate. Bioavailability then acts on the rate.
    duration: Float[Array, "*subjects d"] = eqx.field(converter=_floats)
    # Where it goes: 1, 2, ...
    compartment: Int[Array, "*subjects d"] = eqx.field(converter=_integers)
    # The time from one dose to the next of those that a dose at steady state stands for; 0 for
    # other doses.
    interval: Float[Array, "*subjects d"] | None = eqx.field(converter=_floats, default=None)
    # 1 where a dose stands for itself and for endlessly many like it before, in place of all that
    # was given before; 2 where what these have left is added to it; 0 for other doses. With an
    # amount and an interval of 0 and a rate: an infusion that has run for ever, and ends here.
    steady_state: Int[Array, "*subjects d"] | None = eqx.field(converter=_integers, default=None)
    # Above 0 where the rate of an infusion is what is known: it lasts amount / rate, and with a
    # bioavailability F it lasts F amount / rate. -1 where the model gives the rate, -2 where it
    # gives the duration. 0 where `duration` says it all.
    rate: Float[Array, "*subjects d"] | None = eqx.field(converter=_floats, default=None)
    # True where a record first does away with all that was given before, and sets the state to
    # what it was in the beginning.
    reset: Bool[Array, "*subjects d"] | None = eqx.field(converter=_truths, default=None)

    # Whether any dose may be an infusion: false only where all are known to be given at once, so that
    # what is compiled need not provide for the others.
    has_infusions: bool = eqx.field(static=True, init=False)

    def __post_init__(self) -> None:
        self.has_infusions = _any_infusion(self.duration, self.rate)

    def __check_init__(self) -> None:
        if (self.interval is None) != (self.steady_state is None):
            raise ValueError("Doses at steady state need both interval= and steady_state=; give both or neither.")

    @classmethod
    def none(cls) -> "Doses":
        """No doses: arrays of length zero."""
        nothing = jnp.zeros(0)
        return cls(time=nothing, amount=nothing, duration=nothing, compartment=nothing)

    @classmethod
    def of(cls, amount: Any, time: Any = 0.0, duration: Any = 0.0, compartment: Any = 1, **others: Any) -> "Doses":
        """Doses from numbers or lists; single numbers are repeated: `Doses.of([100, 50], time=[0,
        12])`.

        `others` takes interval= with steady_state=, rate= and reset=.
        """
        given = {"time": time, "amount": amount, "duration": duration, "compartment": compartment} | others
        columns = np.broadcast_arrays(*(np.atleast_1d(x) for x in given.values()))
        return cls(**{name: jnp.asarray(column) for name, column in zip(given, columns, strict=True)})

    @classmethod
    def together(cls, doses: Sequence["Doses"]) -> "Doses":
        """Doses of several subjects with a leading axis, filled up with amounts of zero."""
        fields = {name: np.concatenate([dose_field(one, name) for one in doses]) for name in DOSE}
        subject = np.repeat(np.arange(len(doses)), [one.time.size for one in doses])
        return cls.padded(len(doses), subject, **fields)

    @classmethod
    def padded(cls, size: int, subject: np.ndarray, **fields: np.ndarray) -> "Doses":
        """Doses written one under another, of the subjects of these numbers, with `size` subjects
        as leading axis.
        """
        first = np.zeros(size)  # doses that fill up sit at the subject's first dose
        first[subject[::-1]] = fields["time"][::-1]
        fill = {"time": first, "compartment": 1}
        needed = {name for name, usual in USUAL.items() if np.any(fields[name] != usual)}
        if needed & {"interval", "steady_state"}:
            needed |= {"interval", "steady_state"}
        names = [name for name in DOSE if name not in USUAL or name in needed]
        arrays: dict[str, Any] = {name: side_by_side(subject, fields[name], size, fill.get(name, 0)) for name in names}
        return cls(**arrays)

    @property
    def real(self) -> Bool[Array | np.ndarray, "*subjects d"]:
        """Which records are no padding."""
        real = self.amount != 0
        if self.reset is not None:
            real = real | self.reset
        if self.rate is not None and self.steady_state is not None:
            real = real | ((self.steady_state > 0) & (self.rate != 0))
        return real


def _any_infusion(*lengths_or_rates: Any) -> bool:
    if is_followed(lengths_or_rates):
        return True
    return any(x is not None and bool(np.any(np.asarray(x) != 0)) for x in lengths_or_rates)


def dose_field(doses: Doses, name: str) -> np.ndarray:
    """A field of doses; 0 or false in place of None, where no dose needs it."""
    value = getattr(doses, name)
    if value is None:
        return np.full(doses.time.shape, USUAL[name])
    return np.asarray(value)


def of_each(doses: Doses) -> list[Doses]:
    """The doses of each subject of a population, padding included."""
    fields = {name: getattr(doses, name) for name in DOSE if getattr(doses, name) is not None}
    return [Doses(**{name: x[i] for name, x in fields.items()}) for i in range(len(doses.time))]


def joined(first: Doses, second: Doses) -> Doses:
    """The records of both, in the order of time; padding is left out."""
    fields = {name: np.concatenate([dose_field(first, name), dose_field(second, name)]) for name in DOSE}
    kept = np.concatenate([np.asarray(first.real), np.asarray(second.real)])
    if not np.any(kept):
        return Doses.none()
    order = np.argsort(np.where(kept, fields["time"], np.inf), kind="stable")[: kept.sum()]
    together = Doses.padded(1, np.zeros(order.size, int), **{name: x[order] for name, x in fields.items()})
    return of_each(together)[0]


class PerDose(eqx.Module):
    """A number for each of d doses, in the order of `subject.doses`: such as a bioavailability that
    differs between two formulations.

        share = mf.PerDose(jnp.where(subject.doses.compartment == 1, 0.7, 1.0))

    The functions of `mf.pk` and `mf.dynamics.solve` take one as lag=, bioavailability=, rate= and
    duration=. `Subject.at_doses` makes one of the rows of a subject, such as its occasions.
    """

    values: Float[Array, " d"] = eqx.field(converter=_floats)


def repeated_times(start: np.ndarray, step: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """start + turn * step, as a person reckons: 0.1, three times over from 0, is 0.3.

    Times and steps are taken for the shortest decimal numbers that are written so.
    """

    times = []
    for first, every, number in zip(start.tolist(), step.tolist(), turn.tolist(), strict=True):
        exact = Fraction(repr(float(first))) + int(number) * Fraction(repr(float(every))) if number else first
        times.append(float(exact))
    return np.array(times, float)
