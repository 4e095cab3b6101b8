"""The joint density of one subject with one random effect, and six ways to find the area under it.

Theophylline by mouth, one compartment. Only the absorption rate has a random effect, ka = KA exp(eta) with eta ~ N(0,
omega^2), so that p(y, eta) = N(y; f(eta), SIGMA^2) N(eta; 0, omega^2) is a curve; CL and V are held at the subject's
own estimates. With D the dose, ke = CL/V and k = KA exp(eta), f(t) = D k / (V (k - ke)) (exp(-ke t) - exp(-k t)).

With g = df/deta, eta* the mode of the joint density and P minus the second derivative of its logarithm there:

    Monte Carlo    mean of p(y | eta_m), eta_m from the prior
    importance     mean of p(y, eta_m) / q(eta_m), eta_m from a t with 5 degrees of freedom around eta*, scale P^-1/2
    FO             that of N(y; f(0) + g(0) eta, SIGMA^2) N(eta; 0, omega^2)
    FOCE           sqrt(2 pi / H) p(y, eta*),  H = g(eta*)'g(eta*) / SIGMA^2 + 1 / omega^2
    Laplace        sqrt(2 pi / P) p(y, eta*)
    AGQ            sum of bars, as high as the curve at eta* + z_k P^-1/2 and w_k exp(z_k^2 / 2) P^-1/2 wide
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

import mefit as mf

# What all twelve subjects say (AGQ), as is the SD of log ka, 0.66
KA = 1.58  # 1/h
SIGMA = 0.69  # mg/L
METHODS = ("Monte Carlo", "importance sampling", "FO", "FOCE", "Laplace", "AGQ")
MONTE_CARLO, IMPORTANCE, FO, FOCE, LAPLACE, AGQ = METHODS
TWO, ALL, ONE = CASES = ("subject 9, two samples", "subject 9, all 11", "subject 5, one at 2 h")
# Which subject and which of its samples, and its own CL (L/h/kg) and V (L/kg)
_CASES: dict[str, tuple[int, list[int], float, float]] = {
    TWO: (8, [2, 5], 0.0338, 0.3775),
    ALL: (8, list(range(11)), 0.0338, 0.3775),
    ONE: (4, [4], 0.0436, 0.4885),
}
MOST_DRAWS = 2000
MOST_NODES = 15
FREEDOM = 5.0
LEFT = -2.6  # of what is shown
RIGHT = 3.6
PRIOR_HEIGHT = 0.45
_random = np.random.default_rng(3)
_NORMAL = _random.normal(size=MOST_DRAWS)
_T = _random.standard_t(FREEDOM, size=MOST_DRAWS)


@functools.cache
def data(case: str) -> tuple[np.ndarray, np.ndarray, float, float, float]:
    """Times (n,) in h, concentrations (n,) in mg/L, dose in mg/kg, and the subject's CL and V."""
    i, rows, cl, v = _CASES[case]
    subject = mf.datasets.theophylline()[i]
    time, y = (np.asarray(a)[rows] for a in (subject.time, subject.y))
    return time, y, float(subject.doses.amount[0]), cl, v


def concentration(eta: Any, case: str, at: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f (..., n) in mg/L at eta (...) and its two derivatives in eta, at the times of the data or others, `at`."""
    taken, _, dose, cl, v = data(case)
    time = taken if at is None else at
    k = KA * np.exp(np.asarray(eta, float))[..., None]
    ke = cl / v
    gone = np.exp(-ke * time)
    late = np.exp(-k * time)
    ratio = k / (k - ke)
    d_ratio = -ke / (k - ke) ** 2
    d2_ratio = 2 * ke / (k - ke) ** 3
    rise = gone - late
    d_rise = time * late
    d2_rise = -(time**2) * late
    first = d_ratio * rise + ratio * d_rise
    second = d2_ratio * rise + 2 * d_ratio * d_rise + ratio * d2_rise
    return dose / v * ratio * rise, dose / v * k * first, dose / v * (k**2 * second + k * first)


def log_prior(eta: Any, omega: float) -> np.ndarray:
    return stats.norm.logpdf(eta, 0.0, omega)


def log_conditional(eta: Any, case: str) -> np.ndarray:
    return stats.norm.logpdf(data(case)[1], concentration(eta, case)[0], SIGMA).sum(-1)


def log_joint(eta: Any, case: str, omega: float) -> np.ndarray:
    return log_conditional(eta, case) + log_prior(eta, omega)


def find_mode(grid: np.ndarray, height: np.ndarray, case: str, omega: float) -> tuple[float, float, float]:
    """(eta*, H, P): the mode uphill from 0, and minus the second derivative there, by Gauss-Newton and in full."""
    at = int(np.argmin(np.abs(grid)))
    step = 1 if height[at + 1] > height[at - 1] else -1
    while height[at + step] > height[at]:
        at += step
    eta = float(grid[at])
    gauss_newton = full = 1.0
    for _ in range(6):
        f, g, bend = concentration(eta, case)
        residual = data(case)[1] - f
        gauss_newton = g @ g / SIGMA**2 + omega**-2
        full = gauss_newton - residual @ bend / SIGMA**2
        eta += (residual @ g / SIGMA**2 - eta / omega**2) / full
    return eta, gauss_newton, full


@dataclass(frozen=True)
class Area:
    """All heights are shares of the exact curve's peak; `log_areas` and `log_exact` are log-likelihoods."""

    method: str
    case: str
    omega: float
    count: int
    """Draws or nodes of the chosen method; 0 where it has none."""
    exact: np.ndarray
    """The joint density over `GRID`."""
    sampled_from: np.ndarray
    """The density that draws come from, or the prior, over `GRID`, with its peak at 0.45."""
    x: np.ndarray
    height: np.ndarray
    """The outline of what the method integrates, over `x`; empty for draws."""
    points: np.ndarray
    point_height: np.ndarray
    """Where the method looks at the density: its draws, its nodes, or the point that it expands around."""
    log_areas: np.ndarray
    """(6,) of each of `METHODS`."""
    log_exact: float
    relative_sd: np.ndarray
    """(6,): the SD of the area over repeated draws, as a share of the exact area; 0 where nothing is drawn."""
    mode: float
    sd: float
    eta: float = 0.0
    """That is held on the curve."""
    shown: bool = False
    """Whether the areas by all methods are."""


GRID = np.linspace(LEFT, RIGHT, 621)


def bars(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Places z_k and widths w_k exp(z_k^2 / 2) of the Gauss-Hermite rule of weight exp(-z^2 / 2)."""
    z, weight = np.polynomial.hermite_e.hermegauss(nodes)
    return z, weight * np.exp(0.5 * z**2)


class _Density(NamedTuple):
    """The joint density of one subject on a wide grid, in logarithms, and what is around its mode."""

    case: str
    omega: float
    grid: np.ndarray
    prior: np.ndarray
    joint: np.ndarray
    top: float  # the highest of `joint`
    exact: float  # of the area
    mode: float
    peak: float  # at the mode
    gauss_newton: float  # H of FOCE
    full: float  # P

    @property
    def sd(self) -> float:
        return self.full**-0.5

    @property
    def proposal(self) -> Any:
        """What importance sampling draws from."""
        return stats.t(FREEDOM, self.mode, self.sd)

    def at(self, eta: Any) -> np.ndarray:
        """The logarithm at eta."""
        return log_joint(eta, self.case, self.omega)


class _Bell(NamedTuple):
    """A Gaussian in place of the density: the logarithm of its height, where it peaks, and its precision."""

    log_height: float
    centre: float
    precision: float

    @property
    def log_area(self) -> float:
        return self.log_height + 0.5 * np.log(2 * np.pi / self.precision)


def _density(case: str, omega: float) -> _Density:
    grid = np.linspace(-8 * omega, 8 * omega, 4001)
    prior = log_prior(grid, omega)
    joint = log_conditional(grid, case) + prior
    top = float(joint.max())
    exact = float(np.log(np.trapezoid(np.exp(joint - top), grid)) + top)
    mode, gauss_newton, full = find_mode(grid, joint, case, omega)
    peak = float(log_joint(mode, case, omega))
    return _Density(case, omega, grid, prior, joint, top, exact, mode, peak, gauss_newton, full)


def _bells(density: _Density) -> dict[str, _Bell]:
    """Those of FO, of FOCE and of Laplace."""
    f, g, _ = concentration(0.0, density.case)
    residual = data(density.case)[1] - f
    precision = g @ g / SIGMA**2 + density.omega**-2
    centre = float(residual @ g / SIGMA**2 / precision)
    line = stats.norm.logpdf(residual, centre * g, SIGMA).sum() + float(log_prior(centre, density.omega))
    return {
        FO: _Bell(line, centre, precision),
        FOCE: _Bell(density.peak, density.mode, density.gauss_newton),
        LAPLACE: _Bell(density.peak, density.mode, density.full),
    }


def areas(method: str, case: str, omega: float, draws: int, nodes: int) -> Area:
    """Six areas under the joint density of one subject, and the outline of the chosen one; `omega` is positive."""
    density = _density(case, omega)
    bells = _bells(density)
    exact = density.exact
    top = density.top
    mode = density.mode
    sd = density.sd
    looks = {MONTE_CARLO: omega * _NORMAL[:draws], IMPORTANCE: mode + sd * _T[:draws], FO: np.zeros(1)}
    z, width = bars(nodes)
    looks[AGQ] = mode + sd * z
    node_height = np.exp(density.at(looks[AGQ]) - top)
    shares = np.exp(log_conditional(looks[MONTE_CARLO], case) - exact)
    weights = np.exp(density.at(looks[IMPORTANCE]) - density.proposal.logpdf(looks[IMPORTANCE]) - exact)
    sums = [np.log(np.mean(shares)) + exact, np.log(np.mean(weights)) + exact]
    log_areas = [*sums, *(bell.log_area for bell in bells.values()), np.log(node_height @ width * sd) + top]
    x = height = np.zeros(0)
    if method in bells:
        bell = bells[method]
        x = GRID
        height = np.exp(bell.log_height - top - 0.5 * bell.precision * (GRID - bell.centre) ** 2)
    elif method == AGQ:
        edges = mode + sd * (np.concatenate([[0.0], np.cumsum(width)]) - 0.5 * width.sum())
        x = np.repeat(edges, 3)[1:-1]
        height = np.zeros(3 * nodes + 1)
        height[1::3] = height[2::3] = node_height  # up, along and down again, once a bar
    points = looks.get(method, np.array([mode]))
    from_where = density.proposal.pdf(GRID) if method == IMPORTANCE else np.exp(log_prior(GRID, omega))
    return Area(
        method=method,
        case=case,
        omega=omega,
        count={MONTE_CARLO: draws, IMPORTANCE: draws, AGQ: nodes}.get(method, 0),
        exact=np.exp(density.at(GRID) - top),
        sampled_from=PRIOR_HEIGHT * from_where / from_where.max(),
        x=x,
        height=height,
        points=points,
        point_height=np.exp(density.at(points) - top),
        log_areas=np.array(log_areas),
        log_exact=exact,
        relative_sd=_relative_sd(density, draws),
        mode=mode,
        sd=sd,
    )


def _relative_sd(density: _Density, draws: int) -> np.ndarray:
    """What repeating the draws would show: Var = (integral of p^2 / q) / area^2 - 1, divided by their number."""
    spreads = []
    for log_q in (density.prior, density.proposal.logpdf(density.grid)):
        squared = np.exp(2 * density.joint - log_q - 2 * density.exact)
        spreads.append(np.trapezoid(squared, density.grid) - 1)
    return np.array([*np.sqrt(np.maximum(spreads, 0.0) / draws), 0, 0, 0, 0])
