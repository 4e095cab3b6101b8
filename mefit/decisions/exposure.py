"""What a curve of concentrations comes to: peak, trough, areas, terminal half-life, time above a level."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, ArrayLike, Float

from ..base.compiling import compiled

Rule = Literal["linear", "linear up, log down"]
_RULES = ("linear", "linear up, log down")
_FEWEST = 3  # points on a terminal line: through two there is always one
_AS_GOOD = 1e-4  # of an adjusted R2: lines so close to the best are as good, and the longest of them is taken
_NAMES = (
    *("cmax", "tmax", "cmin", "trough", "auc", "time_above", "clast", "tlast", "auc_last"),
    *("half_life", "half_life_points", "half_life_r2", "no_half_life", "auc_inf", "auc_extrapolated"),
)
_NO_HALF_LIFE = (
    "",
    f"no half-life: fewer than {_FEWEST} positive concentrations after the highest",
    "no half-life: the end of the curve does not fall",
)


def exposure(
    time: Float[ArrayLike, "... m"],
    concentration: Float[ArrayLike, "... m"],
    *,
    rule: Rule = "linear",
    above: Float[ArrayLike, ""] | float | int | None = None,
) -> dict[str, Array]:
    """What curves (m,) or (N, m) at times (m,) or (N, m) come to: numbers, or (N,), by name.

    - `cmax`, `tmax`: the highest value, and the first time of it. `cmin`: the lowest. `trough`: the last.
    - `auc`: the area, first to last time. By the `rule` "linear" all is trapezoids, (c1 + c2) dt / 2. By
      "linear up, log down" it is (c1 - c2) dt / log(c1 / c2) where c falls and stays positive, as an exponential does.
    - `clast`, `tlast`: the last positive value and its time. `auc_last`: the area up to there.
    - `half_life`: log(2) / lambda, -lambda being the slope of log c over the last `half_life_points` positive values
      after the highest: three or more, those of the best adjusted R2, `half_life_r2`, or the most points within 0.0001
      of it.
    - `auc_inf`: `auc_last` + `clast` / lambda. `auc_extrapolated`: the share of it, 0 to 1, that is the second term.
    - `time_above`, if asked for: how long c is higher than `above`, between samples by the same rule as the area.

    Where there is no half-life it is NaN, and what needs it is; `no_half_life` is then 1 (fewer than three points) or 2
    (the last values do not fall), else 0. `exposure_table` says so in words. Half-life and area to infinity mean
    something after the last dose only. The rule for the half-life is made for samples: on a fine grid it reaches back
    before the terminal phase, so let the grid begin with that. Peak and area need a fine grid, a trough the times of
    its interval.

    **Raises:** ValueError for times that fall, other shapes, a value that is not finite, or another rule.

    Source: Gabrielsson and Weiner (2016), Pharmacokinetic and Pharmacodynamic Data Analysis, 5th ed., 2.8; the choice
    of points is that of Phoenix WinNonlin and of PKNCA, for doses that are absorbed: the peak itself is no such point.

        mf.exposure(np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.0, 3.1, 4.0, 2.9]))["auc"]
    """
    t = jnp.asarray(time, float)
    c = jnp.asarray(concentration, float)
    if rule not in _RULES:
        raise ValueError(f'exposure: the rule is {rule!r}; choose "linear" or "linear up, log down".')
    if c.ndim * c.size == 0 or t.shape not in (c.shape[-1:], c.shape):
        raise ValueError(f"exposure: time has shape {t.shape}, concentration {c.shape}; give (m,) or (N, m) of both.")
    sound = jnp.all(jnp.diff(t) >= 0) & jnp.all(jnp.isfinite(t)) & jnp.all(jnp.isfinite(c))
    if not isinstance(sound, jax.core.Tracer) and not bool(sound):
        raise ValueError("exposure: times must rise, and times and concentrations be finite; sort, and leave gaps out.")
    level = None if above is None else jnp.asarray(above, float)
    if level is not None and level.ndim:
        raise ValueError(f"exposure: above has shape {level.shape}; give one level for all curves.")
    return _in_order(_measures(jnp.broadcast_to(t, c.shape), c, rule, level))


def exposure_table(
    time: Float[ArrayLike, "... m"],
    concentration: Float[ArrayLike, "... m"],
    *,
    rule: Rule = "linear",
    above: float | int | None = None,
    ids: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """`exposure` as a table: a row for each curve, named by `ids` (or 1 to N), and a `remark` where there is no
    half-life, which says why.

    ValueError as `exposure` has it, or for another number of ids than of curves.

        mf.exposure_table(np.array([0.0, 1.0, 2.0, 4.0]), np.array([[0.0, 3.1, 4.0, 2.9]]), ids=["Anna"])
    """
    curves = np.atleast_2d(np.asarray(concentration, float))
    found = exposure(time if np.ndim(time) == 1 else np.atleast_2d(time), curves, rule=rule, above=above)
    names = np.arange(len(curves)) + 1 if ids is None else list(ids)
    if len(names) != len(curves):
        raise ValueError(f"exposure_table: {len(names)} ids for {len(curves)} curves; give one for each.")
    table = pd.DataFrame({name: np.asarray(x) for name, x in found.items()}, index=pd.Index(names, name="ID"))
    table["remark"] = [_NO_HALF_LIFE[why] for why in table.pop("no_half_life")]
    return table


def regimen_measures(
    time: Float[np.ndarray, " m"], curves: Float[np.ndarray, "D S m"], above: float | int | None
) -> dict[str, Array]:
    """What is told of curves of any doses: all of `exposure` that needs no terminal phase, by the linear rule."""
    level = None if above is None else jnp.asarray(above, float)
    return _in_order(_simple(jnp.broadcast_to(time, curves.shape), jnp.asarray(curves), "linear", level))


def _in_order(measures: dict[str, Array]) -> dict[str, Array]:
    """The measures as they are told; a compiled program returns them by the alphabet."""
    return {name: measures[name] for name in _NAMES if name in measures}


@compiled
def _simple(t: Float[Array, "... m"], c: Float[Array, "... m"], rule: Rule, above: Array | None) -> dict[str, Array]:
    peak = jnp.argmax(c, -1, keepdims=True)
    measures = {
        "cmax": jnp.max(c, -1),
        "tmax": jnp.take_along_axis(t, peak, -1)[..., 0],
        "cmin": jnp.min(c, -1),
        "trough": c[..., -1],
        "auc": jnp.sum(_areas(t, c, rule), -1),
    }
    if above is not None:
        measures["time_above"] = jnp.sum(_times_above(t, c, rule, above), -1)
    return measures


@compiled
def _measures(t: Float[Array, "... m"], c: Float[Array, "... m"], rule: Rule, above: Array | None) -> dict[str, Array]:
    measures = _simple(t, c, rule, above)
    positive = c > 0.0
    some = jnp.any(positive, -1)
    last = c.shape[-1] - 1 - jnp.argmax(positive[..., ::-1], -1, keepdims=True)
    clast = jnp.where(some, jnp.take_along_axis(c, last, -1)[..., 0], jnp.nan)
    tlast = jnp.where(some, jnp.take_along_axis(t, last, -1)[..., 0], jnp.nan)
    before_last = jnp.arange(c.shape[-1] - 1) < last
    auc_last = jnp.where(some, jnp.sum(jnp.where(before_last, _areas(t, c, rule), 0.0), -1), 0.0)
    measures |= {"clast": clast, "tlast": tlast, "auc_last": auc_last}
    terminal = _terminal(t, c, measures["tmax"], clast, tlast)
    rate = terminal.pop("rate")
    beyond = clast / rate
    measures |= {"half_life": jnp.log(2.0) / rate, **terminal}
    return measures | {"auc_inf": auc_last + beyond, "auc_extrapolated": beyond / (auc_last + beyond)}


def _falls(c: Float[Array, "... m"], rule: Rule) -> Array:
    """Between which samples the curve is taken for an exponential."""
    if rule == "linear":
        return jnp.zeros(c[..., 1:].shape, bool)
    return (c[..., 1:] < c[..., :-1]) & (c[..., 1:] > 0.0)


def _areas(t: Float[Array, "... m"], c: Float[Array, "... m"], rule: Rule) -> Array:
    """The area between each sample and the next."""
    first = c[..., :-1]
    second = c[..., 1:]
    falls = _falls(c, rule)
    # c2 (e^x - 1) / x with x = log(c1 / c2), which keeps its digits, and its derivative, where c1 is close to c2
    x = jnp.log(jnp.where(falls, first, 1.0) / jnp.where(falls, second, 1.0))
    near = x < 1e-5
    safe = jnp.where(near, 1.0, x)
    mean = jnp.where(near, 1.0 + x / 2.0 + x**2 / 6.0, jnp.expm1(safe) / safe)
    return jnp.diff(t, axis=-1) * jnp.where(falls, second * mean, 0.5 * (first + second))


def _times_above(t: Float[Array, "... m"], c: Float[Array, "... m"], rule: Rule, level: Array) -> Array:
    """How long the curve is above a level between each sample and the next."""
    first = c[..., :-1]
    second = c[..., 1:]
    crosses = (first > level) != (second > level)
    share = (jnp.maximum(first, second) - level) / jnp.where(crosses, jnp.abs(first - second), 1.0)
    in_logs = crosses & _falls(c, rule)
    top = jnp.where(in_logs, first, 2.0)
    ratio = jnp.log(top / jnp.where(in_logs, level, 1.0)) / jnp.log(top / jnp.where(in_logs, second, 1.0))
    part = jnp.where(in_logs, ratio, share)
    whole = jnp.where((first > level) & (second > level), 1.0, 0.0)
    return jnp.diff(t, axis=-1) * jnp.where(crosses, part, whole)


def _terminal(t: Float[Array, "... m"], c: Float[Array, "... m"], tmax: Array, clast: Array, tlast: Array) -> dict:
    """Lines through the last points of log c, from each point on: the rate of the one that is taken, its points, and
    its adjusted R2."""
    used = (t > tmax[..., None]) & (c > 0.0)
    # From the last point on, so that nothing cancels whatever the units and the origin of time
    x = jnp.where(used, t - tlast[..., None], 0.0)
    y = jnp.where(used, jnp.log(jnp.where(used, c / clast[..., None], 1.0)), 0.0)

    def from_here_on(values: Array) -> Array:
        return jnp.cumsum(values[..., ::-1], -1)[..., ::-1]

    count = from_here_on(used.astype(float))
    n = jnp.maximum(count, 1.0)
    sum_x = from_here_on(x)
    sum_y = from_here_on(y)
    var_x = from_here_on(x * x) - sum_x * sum_x / n
    var_y = from_here_on(y * y) - sum_y * sum_y / n
    covariance = from_here_on(x * y) - sum_x * sum_y / n
    line = used & (count >= _FEWEST) & (var_x > 0.0)
    slope = covariance / jnp.where(line, var_x, 1.0)
    straight = line & (var_y > 0.0)
    product = jnp.where(straight, var_x * var_y, 1.0)
    r2 = jnp.where(straight, covariance**2 / product, 0.0)
    adjusted = jnp.where(line, 1.0 - (1.0 - r2) * (n - 1.0) / jnp.maximum(n - 2.0, 1.0), -jnp.inf)
    good = line & (slope < 0.0) & (adjusted > jnp.max(adjusted, -1, keepdims=True) - _AS_GOOD)
    found = jnp.any(good, -1)
    chosen = jnp.argmax(good, -1, keepdims=True)  # the first of them has the most points

    def at_chosen(values: Array, otherwise: float) -> Array:
        return jnp.where(found, jnp.take_along_axis(values, chosen, -1)[..., 0], otherwise)

    return {
        "rate": at_chosen(-slope, jnp.nan),
        "half_life_points": at_chosen(count, 0.0).astype(int),
        "half_life_r2": at_chosen(adjusted, jnp.nan),
        "no_half_life": jnp.where(found, 0, jnp.where(jnp.any(line, -1), 2, 1)),
    }
