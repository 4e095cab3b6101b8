"""Posterior collapse without chance: random intercepts and slopes, endless people, everything in closed form.

The data, for n times t_j and rows z_j = (1, t_j - zero): y_j = b_1 + b_2 (t_j - zero) + e_j, b ~ N(0, D0) and
e ~ N(0, s0^2), so that V0 = Z D0 Z' + s0^2 I. The decoder is of the same form, with D = diag(d_1, d_2) and s^2 to be
found; its random effects are eta = D^-1/2 b ~ N(0, I), whose posterior has the precision

    P = D^1/2 Z'Z D^1/2 / s^2 + I.

What is maximised, per person and in expectation over the data, V = Z D Z' + s^2 I:

    log L            = -1/2 (n log 2 pi s^2 + log det P + tr(V^-1 V0))
    bound, full q    = log L
    bound, diagonal  = -1/2 (n log 2 pi s^2 + log P_11 + log P_22 + tr(V^-1 V0)),

the best diagonal q having the variances 1 / P_jj; so its gap is -1/2 log det R, R the correlation matrix of P. Where
d_j > 0 is the best, the mean of KL_j is 1/2 log P_jj.

In r_j = sqrt(d_j) / s, the SDs in units of the noise, P = R Z'Z R + I and T = tr(R Z'V0 Z R P^-1) do not hold s, and
tr(V^-1 V0) = (tr V0 - T) / s^2, so that the best noise is s^2 = (tr V0 - T) / n, and two numbers are left to be found.

A decoder that is free to rotate is another matter. With eigenvalues l_1 >= l_2 >= ... of V0 and a noise s held fixed
(or a divergence that counts beta fold), dimension j is awake where l_j > beta s^2, with KL 1/2 log(l_j / (beta s^2)).
Sources: Lucas, Tucker, Grosse and Norouzi (2019), NeurIPS, Don't blame the ELBO; Tipping and Bishop (1999), J. R.
Stat. Soc. B 61, 611-622. The bound for a diagonal q is ours.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

TIMES = np.arange(5.0)  # of the visits
DIAGONAL, FULL = "diagonal", "full"


def elbow(
    eigenvalues: Float[np.ndarray, "..."], noise: Float[np.ndarray, "..."] | float, beta: float = 1.0
) -> Float[np.ndarray, "..."]:
    """KL of a dimension, in nats, of a decoder that may rotate, its noise SD held: 1/2 log(l / (beta s^2)) or 0."""
    return np.maximum(0.0, 0.5 * np.log(eigenvalues / (beta * np.square(noise))))


def covariance(noise: float, sds: tuple[float, float] = (1.0, 1.0), zero: float = 0.0) -> Float[np.ndarray, "n n"]:
    """V0 of data with this noise and these SDs of intercepts and slopes, time counted from `zero`."""
    z = _rows(zero)
    return (z * np.square(sds)) @ z.T + noise**2 * np.eye(TIMES.size)


def _rows(zero: float) -> Float[np.ndarray, "n 2"]:
    return np.column_stack([np.ones(TIMES.size), TIMES - zero])


class Fitted(NamedTuple):
    """At SDs r1, r2 in units of the noise (arrays that broadcast): the best noise, the bound there, and P_11, P_22."""

    s: np.ndarray
    bound: np.ndarray
    p11: np.ndarray
    p22: np.ndarray


def fitted(
    r1: np.ndarray | float,
    r2: np.ndarray | float,
    v0: Float[np.ndarray, "n n"],
    zero: float = 0.0,
    kind: str = DIAGONAL,
) -> Fitted:
    """The bound per person, at its best noise."""
    z = _rows(zero)
    zz = z.T @ z
    zvz = z.T @ v0 @ z
    p11 = r1**2 * zz[0, 0] + 1.0
    p22 = r2**2 * zz[1, 1] + 1.0
    p12 = r1 * r2 * zz[0, 1]
    determinant = p11 * p22 - p12**2
    diagonal = r1**2 * zvz[0, 0] * p22 + r2**2 * zvz[1, 1] * p11
    explained = (diagonal - 2 * r1 * r2 * zvz[0, 1] * p12) / determinant
    count = TIMES.size
    variance = (np.trace(v0) - explained) / count
    size = np.log(determinant) if kind == FULL else np.log(p11 * p22)
    return Fitted(np.sqrt(variance), -0.5 * (count * np.log(2 * np.pi * variance) + count + size), p11, p22)


class Best(NamedTuple):
    """Where a bound is highest: the decoder's SDs and noise, the bound, and KL of each random effect in nats."""

    om1: float
    om2: float
    s: float
    value: float
    divergence: tuple[float, float]


_CELLS = 33  # to a side of a grid that is laid anew, ever finer, around its best point
_FINER = 11


@functools.lru_cache(maxsize=4096)
def best(noise: float, sds: tuple[float, float] = (1.0, 1.0), zero: float = 0.0, kind: str = DIAGONAL) -> Best:
    """The decoder at which the bound of this kind of q is highest. What it gives up has the SD 0, exactly."""
    v0 = covariance(noise, sds, zero)
    low = np.zeros(2)
    high = 2.0 * np.asarray(sds) / noise + 1.0
    for _ in range(_FINER):
        side1, side2 = (np.linspace(low[k], high[k], _CELLS) for k in range(2))
        values = fitted(side1[:, None], side2[None, :], v0, zero, kind).bound
        i, j = np.unravel_index(np.argmax(values), values.shape)
        centre = np.array([side1[i], side2[j]])
        reach = 3.0 * (high - low) / (_CELLS - 1)
        low = np.maximum(centre - reach, 0.0)
        high = centre + reach
    r1, r2 = centre
    found = fitted(r1, r2, v0, zero, kind)
    for one, other in ((0.0, r2), (r1, 0.0)):  # a grid comes near to nothing, and not quite there
        there = fitted(one, other, v0, zero, kind)
        if there.bound >= found.bound - 1e-12:
            r1 = one
            r2 = other
            found = there
    nats = 0.5 * float(np.log(found.p11)), 0.5 * float(np.log(found.p22))
    return Best(float(r1 * found.s), float(r2 * found.s), float(found.s), float(found.bound), nats)


def profile(
    r1: Float[np.ndarray, " m"],
    noise: float,
    sds: tuple[float, float] = (1.0, 1.0),
    zero: float = 0.0,
    kind: str = DIAGONAL,
) -> Float[np.ndarray, " m"]:
    """The bound for each SD of the intercepts in units of the noise, at the best slopes and noise."""
    r2 = np.linspace(0.0, 2.0 * sds[1] / noise + 1.0, 401)
    return fitted(r1[:, None], r2[None, :], covariance(noise, sds, zero), zero, kind).bound.max(axis=1)
