"""Bases of time: functions in whose span a curve lies, for models whose networks give coefficients."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.interpolate import CubicSpline, PPoly

_GRID = 401  # points on which a basis is made orthonormal


class NaturalSpline(eqx.Module):
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
        place = jnp.clip(jnp.searchsorted(jnp.asarray(tables.knots), inside, side="right") - 1, 0, self.df - 1)
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
def _tables(df: int, low: float, high: float) -> _Tables:
    """The functions, made orthonormal one after the other, the constant first."""
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


def _lines(knots: np.ndarray) -> PPoly:
    """The two straight lines between two knots."""
    width = knots[1] - knots[0]
    return PPoly(np.array([[[-1.0 / width, 1.0 / width]], [[1.0, 0.0]]]), knots)
