"""What is known of one person of `one_person.py`, by quadrature: a referee of draws, and quick enough for a hand.

On a regular grid of eta (G, 3) the posterior given samples y_j at times t_j has the masses

    m_g = p(eta_g) prod_j N(log y_j; log C(t_j, eta_g) - s^2 / 2, s^2),    normalised,      s = 0.2,

and every expectation is a sum. For densities that are smooth over a step of the grid such a sum is all but exact.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp

from workshop.studies.one_person import ERROR, SD, TYPICAL

DOSE = 100.0  # mg, of everybody
_REACH = 3.75  # SDs to both sides
_NODES = (19, 45, 27)  # of ka, CL and V: a step of each is smaller than its SD after many samples
_FINE = 400  # points of the density of log clearance
_BINS = 8  # of log concentration, in an SD of the error


@functools.cache
def grid() -> tuple[Float[np.ndarray, "G 3"], Float[np.ndarray, " G"]]:
    """The nodes eta, and the logarithm of their prior masses."""
    axes = [sd * np.linspace(-_REACH, _REACH, nodes) for sd, nodes in zip(SD, _NODES, strict=True)]
    eta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    log_mass = -0.5 * np.sum((eta / SD) ** 2, axis=1)
    return eta, log_mass - logsumexp(log_mass)


def log_concentration(
    eta: Float[np.ndarray, "N 3"], time: Float[np.ndarray, " t"], dose: float = DOSE
) -> Float[np.ndarray, "t N"]:
    """log C(t), mg/L: one compartment by mouth, log(dose ka / (V (ka - k))) + log(exp(-k t) - exp(-ka t)), k = CL/V."""
    ka, cl, v = (np.array(TYPICAL) * np.exp(eta)).T
    k = cl / v
    slow, fast = np.minimum(k, ka), np.maximum(k, ka)  # the curve is the same with the two rates exchanged
    gap = np.maximum(fast - slow, 1e-9 * fast)
    t = np.asarray(time, float)[:, None]
    return np.log(dose * ka / (v * gap)) - slow * t + np.log(-np.expm1(-gap * t))


def masses(times: Sequence[float], y: Sequence[float]) -> Float[np.ndarray, " G"]:
    """The posterior masses of the nodes after samples `y` (mg/L) at `times` (h); of none, the prior's."""
    eta, log_mass = grid()
    for time, value in zip(times, y, strict=True):
        away = np.log(value) + 0.5 * ERROR**2 - log_concentration(eta, np.array([time]))[0]
        log_mass = log_mass - 0.5 * (away / ERROR) ** 2
    return np.exp(log_mass - logsumexp(log_mass))


def log_clearance(mass: Float[np.ndarray, " G"]) -> tuple[float, float]:
    """Mean and SD of log CL, CL in L/h."""
    eta = grid()[0][:, 1]
    mean = float(mass @ eta)
    return float(np.log(TYPICAL[1])) + mean, float(np.sqrt(mass @ (eta - mean) ** 2))


def density(mass: Float[np.ndarray, " G"]) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    """The posterior density of log CL on a fine grid: its logarithm goes smoothly through that of the nodes."""
    nodes = SD[1] * np.linspace(-_REACH, _REACH, _NODES[1])
    share = mass.reshape(_NODES).sum(axis=(0, 2))
    logs = np.log(np.maximum(share, 1e-290))
    fine = np.linspace(nodes[0], nodes[-1], _FINE)
    height = np.exp(CubicSpline(nodes, logs)(fine))
    height /= np.trapezoid(height, fine)
    return np.log(TYPICAL[1]) + fine, height


def distribution(mass: Float[np.ndarray, " G"]) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    """log CL on the fine grid, and the posterior chance to lie below it."""
    log_cl, height = density(mass)
    below = np.concatenate([[0.0], np.cumsum(0.5 * (height[1:] + height[:-1]) * np.diff(log_cl))])
    return log_cl, below / below[-1]


@functools.lru_cache(maxsize=8)
def _curves(times: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """At each time the nodes by rising concentration, and these concentrations."""
    values = np.exp(log_concentration(grid()[0], np.array(times)))
    order = np.argsort(values, axis=1)
    return order, np.take_along_axis(values, order, axis=1)


def bands(
    mass: Float[np.ndarray, " G"], times: tuple[float, ...], levels: Sequence[float] = (0.05, 0.5, 0.95)
) -> Float[np.ndarray, "l t"]:
    """Quantiles of the concentration (mg/L) at each of `times` (h), later than 0."""
    order, values = _curves(times)
    own = mass[order]
    below = np.cumsum(own, axis=1) - 0.5 * own
    return np.array([np.interp(levels, b, v) for b, v in zip(below, values, strict=True)]).T


def expected_sd(mass: Float[np.ndarray, " G"], times: Sequence[float] | np.ndarray) -> Float[np.ndarray, " t"]:
    """The posterior SD of log CL after one more sample at each of `times` (h), on average over what it may show.

        E SD = int p(y) SD(log CL | y) dy,    p(y) = sum_g m_g N(y; log C(t, eta_g), s^2)

    The logarithms of concentrations go into narrow bins, and sums over bins are smeared by the error.
    """
    eta = grid()[0]
    heavy = mass > 1e-9 * mass.max()  # the others would only widen the range of bins
    own, value = mass[heavy] / mass[heavy].sum(), eta[heavy, 1]
    step = ERROR / _BINS
    reach = 5 * _BINS
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _BINS) ** 2)
    kernel /= kernel.sum()
    found = []
    for x in log_concentration(eta[heavy], np.asarray(times, float)):
        moments = [np.convolve(_binned(x, own * value**power, step), kernel) for power in range(3)]
        p = np.maximum(moments[0], 1e-300)
        variance = np.maximum(moments[2] / p - (moments[1] / p) ** 2, 0.0)
        found.append(float(np.sum(moments[0] * np.sqrt(variance))))
    return np.array(found)


def _binned(x: np.ndarray, weight: np.ndarray, step: float) -> np.ndarray:
    """The weights, each shared by the two bins that it lies between."""
    place = (x - x.min()) / step
    left = np.floor(place).astype(int)
    right_part = place - left
    size = int(left.max()) + 2
    return np.bincount(left, weight * (1 - right_part), size) + np.bincount(left + 1, weight * right_part, size)


class Patient(NamedTuple):
    """A simulated person: eta (3,), and errors of the samples, the first to the third, in SDs."""

    eta: Float[np.ndarray, " 3"]
    errors: Float[np.ndarray, " 3"]

    @property
    def clearance(self) -> float:
        """CL, in L/h."""
        return float(TYPICAL[1] * np.exp(self.eta[1]))

    def sample(self, time: float, turn: int) -> float:
        """What is measured (mg/L) at `time`, as this person's sample number `turn`, from 0."""
        curve = log_concentration(self.eta[None], np.array([time]))[0, 0]
        return float(np.exp(curve + ERROR * self.errors[turn] - 0.5 * ERROR**2))


@functools.cache
def patients(count: int = 6, seed: int = 12) -> tuple[Patient, ...]:
    """The people of the explorers: the seed is one that gives slow and quick ones, 2.0 to 4.1 L/h."""
    rng = np.random.default_rng(seed)
    return tuple(Patient(SD * rng.standard_normal(3), rng.standard_normal(3)) for _ in range(count))
