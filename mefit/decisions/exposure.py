"""What a curve comes to: peak, trough, area, time above a level; and its terminal phase, without a model."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

_FEWEST = 3  # points of a terminal phase
_TIE = 1e-4  # adjusted R^2: with no more between them, the line through more points is taken


def exposure(
    time: Float[ArrayLike, "... m"],
    concentration: Float[ArrayLike, "... m"],
    *,
    log_down: bool = False,
    above: float | None = None,
) -> dict[str, Array]:
    """Of curves (m,) or (N, m) at times (m,) or (N, m): `cmax` and `cmin`, their highest and lowest
    value, `tmax`, the time of the (first) highest, `trough`, the last value, and `auc`, the area.

    The area is by the linear trapezoidal rule; with `log_down`, where the curve falls between two
    positive values, by the logarithmic one, (c1 - c2) (t2 - t1) / log(c1 / c2), exact for an
    exponential. `above` adds `time_above`, how long the curve lies above that level, between the
    times by the same rule. Peak and area need a fine grid, a trough the times of its interval.
    ValueError for times that fall, other shapes, or a value that is not finite.
    """
    t = jnp.asarray(time, float)
    c = jnp.asarray(concentration, float)
    if c.ndim * c.size == 0 or t.shape not in (c.shape[-1:], c.shape):
        raise ValueError(f"exposure: time has shape {t.shape}, concentration {c.shape}; give (m,) or (N, m) of both.")
    sound = jnp.all(jnp.diff(t) >= 0) & jnp.all(jnp.isfinite(t)) & jnp.all(jnp.isfinite(c))
    if not isinstance(sound, jax.core.Tracer) and not bool(sound):
        raise ValueError("exposure: times must rise, and times and concentrations be finite; sort, and leave gaps out.")
    t = jnp.broadcast_to(t, c.shape)
    peak = jnp.take_along_axis(t, jnp.argmax(c, -1)[..., None], -1)[..., 0]
    found = {
        "cmax": jnp.max(c, -1),
        "tmax": peak,
        "cmin": jnp.min(c, -1),
        "trough": c[..., -1],
        "auc": jnp.sum(_areas(t, c, log_down), axis=-1) if log_down else jnp.trapezoid(c, t, axis=-1),
    }
    if above is not None:
        found["time_above"] = jnp.sum(_times_above(t, c, above, log_down), axis=-1)
    return found


def _falls(c: Array) -> Array:
    """Between which times a curve falls from one positive value to another."""
    return (c[..., 1:] < c[..., :-1]) & (c[..., 1:] > 0)


def _areas(t: Array, c: Array, log_down: bool) -> Array:
    """The area between each time and the next."""
    step = jnp.diff(t)
    linear = 0.5 * step * (c[..., 1:] + c[..., :-1])
    falls = _falls(c) & log_down
    ratio = jnp.where(falls, c[..., :-1] / jnp.where(falls, c[..., 1:], 1.0), 2.0)
    return jnp.where(falls, step * (c[..., :-1] - c[..., 1:]) / jnp.log(ratio), linear)


def _times_above(t: Array, c: Array, level: float, log_down: bool) -> Array:
    """How long the curve lies above a level between each time and the next."""
    falls = _falls(c) & log_down & (level > 0)
    positive = jnp.maximum(level, 1e-300)

    def height(values: Array) -> Array:
        return jnp.where(falls, jnp.log(jnp.where(falls, values, 1.0) / positive), values - level)

    first = height(c[..., :-1])
    last = height(c[..., 1:])
    span = jnp.abs(last - first)
    crosses = (first > 0) != (last > 0)
    share = jnp.where(crosses, jnp.maximum(first, last) / jnp.where(crosses, span, 1.0), first > 0)
    return share * jnp.diff(t)


# ---------------------------------------------------------------- the terminal phase


@dataclasses.dataclass(frozen=True)
class Noncompartmental:
    """What `noncompartmental` found, in the units of its times and concentrations."""

    cmax: float
    tmax: float
    clast: float  # the last concentration above zero
    tlast: float  # its time
    auc: float  # from the first time to tlast
    lambda_z: float  # the terminal slope of log concentration, 1 / time
    half_life: float  # log 2 / lambda_z
    points: tuple[float, ...]  # the times that the slope is from
    adjusted_r2: float  # of the line through them
    auc_infinity: float  # auc + clast / lambda_z
    extrapolated: float  # the share of auc_infinity that lies beyond tlast


class _Line(NamedTuple):
    slope: float
    adjusted_r2: float


def noncompartmental(
    time: Float[ArrayLike, " m"], concentration: Float[ArrayLike, " m"], *, log_down: bool = True
) -> Noncompartmental:
    """One subject's measured curve without a model: peak, area to infinity, terminal half-life.

    The terminal slope is that of a straight line through the logarithms of the last concentrations
    above zero, three or more, all after the peak: of all these numbers of points the one with the
    highest adjusted R^2, 1 - (1 - R^2) (n - 1) / (n - 2), and of those within 1e-4 of it the most
    points. The area is linear where the curve rises and, with `log_down`, logarithmic where it falls.
    ValueError for times that do not rise, values that are negative or not finite, fewer than three
    points after the peak, or a terminal phase that does not fall.
    Source: Gabrielsson and Weiner (2016), Pharmacokinetic and Pharmacodynamic Data Analysis, 2.8.
    """
    t = np.asarray(time, float)
    c = np.asarray(concentration, float)
    if t.ndim != 1 or t.shape != c.shape:
        raise ValueError(f"noncompartmental: time has shape {t.shape}, concentration {c.shape}; give (m,) of both.")
    sound = np.all(np.diff(t) > 0) and np.all(np.isfinite(t)) and np.all(np.isfinite(c) & (c >= 0))
    if not sound or not np.any(c > 0):
        raise ValueError("noncompartmental: times must rise, and concentrations be finite, none of them below 0.")
    peak = int(np.argmax(c))
    last = int(np.flatnonzero(c > 0)[-1])
    after = np.flatnonzero((np.arange(c.size) > peak) & (c > 0))
    if after.size < _FEWEST:
        raise ValueError(f"noncompartmental: a half-life needs {_FEWEST} concentrations after the peak at {t[peak]:g}.")
    lines = {n: _line(t[after[-n:]], np.log(c[after[-n:]])) for n in range(_FEWEST, after.size + 1)}
    best = max(line.adjusted_r2 for line in lines.values())
    count = max(n for n, line in lines.items() if line.adjusted_r2 >= best - _TIE)
    slope = -lines[count].slope
    if not slope > 0:
        raise ValueError(f"noncompartmental: the last {count} concentrations do not fall, so there is no half-life.")
    auc = float(np.sum(_areas(jnp.asarray(t[: last + 1]), jnp.asarray(c[: last + 1]), log_down)))
    beyond = c[last] / slope
    return Noncompartmental(
        cmax=float(c[peak]),
        tmax=float(t[peak]),
        clast=float(c[last]),
        tlast=float(t[last]),
        auc=auc,
        lambda_z=slope,
        half_life=float(np.log(2.0)) / slope,
        points=tuple(t[after[-count:]].tolist()),
        adjusted_r2=lines[count].adjusted_r2,
        auc_infinity=float(auc + beyond),
        extrapolated=float(beyond / (auc + beyond)),
    )


def _line(t: np.ndarray, y: np.ndarray) -> _Line:
    """The least squares line through points."""
    slope = float(np.cov(t, y)[0, 1] / np.var(t, ddof=1))
    if np.ptp(y) == 0:
        return _Line(0.0, 0.0)
    r2 = np.corrcoef(t, y)[0, 1] ** 2
    return _Line(slope, float(1.0 - (1.0 - r2) * (t.size - 1) / (t.size - 2)))
