"""Bases of time: functions in whose span a curve lies, for models whose networks give coefficients."""

import abc
import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from numpy.polynomial import legendre

from ..base.places import place_among
from ..data.population import Population

_GRID = 401  # points on which a basis is made orthonormal


class Basis(eqx.Module):
    """Functions of time side by side; bases are joined by a plus sign:

    mf.networks.NaturalSpline(4, 0, 21) + mf.networks.TimeOfDay(2, 9, 21, day=24) + mf.networks.Cosines(1, period=7)

    Of those that are joined one, such as the spline, has the constant.
    """

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """How many functions there are."""

    @abc.abstractmethod
    def __call__(self, time: Float[ArrayLike, " n"]) -> Float[Array, "n J"]:
        """The functions at each time, a column each."""

    def __add__(self, other: "Basis") -> "Basis":
        if not isinstance(other, Basis):
            return NotImplemented
        return Joined(self, other)


class Joined(Basis):
    """The functions of two bases, side by side."""

    first: Basis
    second: Basis

    @property
    def size(self) -> int:
        return self.first.size + self.second.size

    def __call__(self, time: Float[ArrayLike, " n"]) -> Float[Array, "n J"]:
        return jnp.concatenate([self.first(time), self.second(time)], axis=1)


class Cosines(Basis):
    """A rhythm of this period: sqrt(2) cos(2 pi k t / period) and sqrt(2) sin(2 pi k t / period), k = 1 ... `waves`.

    They are orthonormal over a period. **Raises:** ValueError for no waves, or a period that is not positive.
    """

    waves: int = eqx.field(static=True)
    period: float | int = eqx.field(static=True)

    def __check_init__(self):
        if self.waves < 1 or not self.period > 0:
            raise ValueError(f"Cosines({self.waves}, {self.period:g}): give one wave or more, and a positive period.")

    @property
    def size(self) -> int:
        return 2 * self.waves

    def __call__(self, time: Float[ArrayLike, " n"]) -> Float[Array, "n J"]:
        turns = jnp.asarray(time, float)[:, None] * jnp.arange(1, self.waves + 1) / self.period
        angle = 2.0 * jnp.pi * turns
        return jnp.sqrt(2.0) * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1)


class TimeOfDay(Basis):
    """Polynomials of the time of day, of degree 1 to `degree`, the same every day:

        sqrt(2 k + 1) P_k(2 (s - low) / (high - low) - 1),    s = t modulo `day`, P_k Legendre's,

    orthonormal between `low` and `high`, which are times of day in the unit of t, as is the length of a `day`.

    **Raises:** ValueError for no degree, or low and high that do not follow each other within a day.
    """

    degree: int = eqx.field(static=True)
    low: float | int = eqx.field(static=True)
    high: float | int = eqx.field(static=True)
    day: float | int = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        if self.degree < 1 or not 0 <= self.low < self.high <= self.day:
            raise ValueError(
                f"TimeOfDay({self.degree}, {self.low:g}, {self.high:g}, day={self.day:g}): the degree must be one or "
                "more, and low and high follow each other within a day."
            )

    @property
    def size(self) -> int:
        return self.degree

    def __call__(self, time: Float[ArrayLike, " n"]) -> Float[Array, "n J"]:
        share = (jnp.mod(jnp.asarray(time, float), self.day) - self.low) / (self.high - self.low)
        degrees = range(1, self.degree + 1)
        place = jnp.tile((2.0 * share - 1.0)[:, None], self.degree)
        powers = jnp.pad(jnp.cumprod(place, axis=1), ((0, 0), (1, 0)), constant_values=1.0)
        polynomials = np.column_stack(
            [np.pad(legendre.leg2poly(np.eye(k + 1)[k]), (0, self.degree - k)) for k in degrees]
        )
        return powers @ (polynomials * np.sqrt(2.0 * np.asarray(degrees) + 1.0))


class LevellingOff(Basis):
    """Functions that level off, one for each half-life h, for curves that do:

        2 exp(-log 2 t / h) - 1,

    1 at time 0, 0 at the half-life, and -1 long after. A network of them, rather than of time, tends to a constant
    beyond the data, where that of a straight or bent function of time goes on as it likes. Times are those since a
    dose; earlier ones count as 0.

        basis = mf.networks.LevellingOff.over(population)            # half-lives for these times
        basis = mf.networks.LevellingOff((0.5, 1.0, 2.0, 4.0))       # in the unit of time

    **Raises:** ValueError for no half-lives, or one that is not positive.
    """

    half_lives: tuple[float | int, ...] = eqx.field(static=True, converter=tuple)

    def __check_init__(self):
        if not self.half_lives or not all(0.0 < h < np.inf for h in self.half_lives):
            raise ValueError(
                f"LevellingOff({self.half_lives}): give one half-life or more, positive, in units of time."
            )

    @classmethod
    def over(cls, population: Population, count: int = 5) -> "LevellingOff":
        """`count` half-lives, each twice the one before, the longest a fifth of the latest time since a dose.

        So by the end of the data all have levelled off. Times are those since the last dose before them; of people
        without doses, the times themselves.

        **Raises:** ValueError where no time is later than 0.
        """
        latest = latest_time_since_dose(population)
        if not latest > 0.0:
            raise ValueError("LevellingOff.over: nobody was seen after a dose, or after time 0; give the half-lives.")
        return cls(tuple(float(latest / 5.0 / 2.0**k) for k in reversed(range(count))))

    @property
    def size(self) -> int:
        return len(self.half_lives)

    def __call__(self, time: Float[ArrayLike, " n"]) -> Float[Array, "n J"]:
        passed = jnp.maximum(jnp.asarray(time, float), 0.0)[:, None]
        return 2.0 * jnp.exp(-jnp.log(2.0) * passed / jnp.asarray(self.half_lives)) - 1.0


def latest_time_since_dose(population: Population) -> float:
    """The longest time from a dose to a row that no other dose lies between; of people without doses, the last time."""
    time = np.asarray(population.subjects.time, float)
    doses = population.subjects.doses
    given = np.where(np.asarray(doses.amount) != 0.0, np.asarray(doses.time, float), np.inf)
    before = np.where(given[:, None, :] <= time[:, :, None], given[:, None, :], -np.inf)
    last = np.max(before, axis=-1, initial=-np.inf)
    undosed = np.all(np.isinf(given), axis=-1, keepdims=True)
    since = time - np.where(undosed, 0.0, last)
    return float(np.max(since[np.asarray(population.subjects.real, bool) & np.isfinite(since)], initial=0.0))


class NaturalSpline(Basis):
    """A basis of natural cubic splines: `df` functions of time and a constant.

    The knots stand evenly from `low` to `high`; beyond them every function goes on as a straight line. The functions
    are orthonormal over [low, high], so that coefficients of size one make a curve of size one, whatever the unit:

        1/(high - low) integral B_j B_k dt = [j = k].

        basis = mf.networks.NaturalSpline(8, 0.0, 1.0)
        curve = basis(subject.time) @ coefficients          # (n, 9) @ (9,)

    **Raises:** ValueError for fewer than one df, or high not above low.
    Source: Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 5.2.1.
    """

    df: int = eqx.field(static=True)
    low: float | int = eqx.field(static=True)
    high: float | int = eqx.field(static=True)

    def __check_init__(self):
        if self.df < 1 or not self.high > self.low:
            raise ValueError(
                f"NaturalSpline({self.df}, {self.low:g}, {self.high:g}): df must be one or more, and high above low."
            )

    @property
    def size(self) -> int:
        """How many functions there are, the constant included."""
        return self.df + 1

    def __call__(self, time: Float[ArrayLike, " n"]) -> Float[Array, "n J"]:
        """The functions at each time, a column each; the first is the constant 1."""
        tables = _tables(self.df, self.low, self.high)
        t = jnp.asarray(time, float)
        inside = jnp.clip(t, self.low, self.high)
        place = jnp.clip(place_among(jnp.asarray(tables.knots), inside, "right") - 1, 0, self.df - 1)
        step = (inside - jnp.asarray(tables.knots)[place])[:, None]
        cubic, square, linear, constant = jnp.asarray(tables.pieces)[:, place]
        value = ((cubic * step + square) * step + linear) * step + constant
        below = jnp.minimum(t - self.low, 0.0)[:, None] * tables.slopes[0]
        above = jnp.maximum(t - self.high, 0.0)[:, None] * tables.slopes[1]
        return value + below + above


class _Tables(NamedTuple):
    """A basis as piecewise cubics."""

    knots: Float[np.ndarray, " J"]
    pieces: Float[np.ndarray, "4 pieces J"]  # coefficients of (t - knot)^3 ... 1 within each interval
    slopes: Float[np.ndarray, "2 J"]  # at the first and at the last knot


@functools.cache
def _tables(df: int, low: float | int, high: float | int) -> _Tables:
    """The functions, made orthonormal one after the other, the constant first."""
    from scipy.interpolate import CubicSpline  # it takes a tenth of a second to import

    knots = np.linspace(low, high, df + 1)
    cardinal = CubicSpline(knots, np.eye(df + 1), bc_type="natural") if df > 1 else _lines(knots)
    grid = np.linspace(low, high, _GRID)
    weight = np.full(_GRID, 1.0 / (_GRID - 1))
    weight[[0, -1]] /= 2.0
    change = np.column_stack([np.ones(df + 1), np.eye(df + 1)[:, :df]])  # cardinal functions add up to 1
    values = cardinal(grid) @ change
    upper = np.linalg.cholesky(values.T @ (weight[:, None] * values)).T
    change = change @ np.linalg.inv(upper)
    pieces = np.zeros((4, df, df + 1))
    pieces[-len(cardinal.c) :] = cardinal.c @ change
    return _Tables(knots, pieces, cardinal(knots[[0, -1]], 1) @ change)


def _lines(knots: np.ndarray) -> Any:
    """The two straight lines between two knots."""
    from scipy.interpolate import PPoly

    width = knots[1] - knots[0]
    return PPoly(np.array([[[-1.0 / width, 1.0 / width]], [[1.0, 0.0]]]), knots)
