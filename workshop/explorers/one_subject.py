"""One subject, one random effect: the joint density as a curve, and six ways to find the area under it.

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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

import mefit as mf
from workshop.explorers.controls import ANSWER, Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span, Text
from workshop.explorers.stage import Move, Stage

KA, SIGMA = 1.58, 0.69  # 1/h and mg/L: what all twelve subjects say (AGQ), as is the SD of log ka, 0.66
METHODS = ("Monte Carlo", "importance sampling", "FO", "FOCE", "Laplace", "AGQ")
MONTE_CARLO, IMPORTANCE, FO, FOCE, LAPLACE, AGQ = METHODS
MEANING = dict(zip(METHODS, ("MonteCarlo", "ImportanceSampling", "FO", "FOCE", "Laplace", "AGQ"), strict=True))
TWO, ALL, ONE = CASES = ("subject 9, two samples", "subject 9, all 11", "subject 5, one at 2 h")
# Which subject and which of its samples, and its own CL (L/h/kg) and V (L/kg)
_CASES: dict[str, tuple[int, list[int], float, float]] = {
    TWO: (8, [2, 5], 0.0338, 0.3775),
    ALL: (8, list(range(11)), 0.0338, 0.3775),
    ONE: (4, [4], 0.0436, 0.4885),
}
MOST_DRAWS, MOST_NODES, FREEDOM = 2000, 15, 5.0
LEFT, RIGHT = -2.6, 3.6  # of the picture
_CLIP, _END = 200.0, 275.0  # percent: the last that has a place, and the end of the axis
_TOPS = (1.15, 7.4)  # of the picture: all methods but FO stay in the first
_MOST_STICKS = 300
PRIOR_HEIGHT = 0.45
HOURS = np.linspace(0, 25, 101)
TRIES: list[Move] = [
    ("a tangent at η = 0", {"method": FO}),
    ("a tangent at the mode", {"method": FOCE}),
    ("fifteen bars", {"method": AGQ, "nodes": MOST_NODES}),
    ("ten times the draws", {"method": MONTE_CARLO, "draws": 500}),
    ("a second hump", {"method": LAPLACE, "case": ONE, "omega": 2.0}),
]
_random = np.random.default_rng(3)
_NORMAL, _T = _random.normal(size=MOST_DRAWS), _random.standard_t(FREEDOM, size=MOST_DRAWS)


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
    k, ke = KA * np.exp(np.asarray(eta, float))[..., None], cl / v
    gone, late = np.exp(-ke * time), np.exp(-k * time)
    ratio, d_ratio, d2_ratio = k / (k - ke), -ke / (k - ke) ** 2, 2 * ke / (k - ke) ** 3
    rise, d_rise, d2_rise = gone - late, time * late, -(time**2) * late
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
    eta, gauss_newton, full = float(grid[at]), 1.0, 1.0
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


def compute(
    method: str, case: str, omega: float, draws: int, nodes: int, eta: float = 0.0, answer: bool = False
) -> Area:
    """Six areas under the joint density of one subject, the outline of the chosen one, and an `eta` to look at."""
    if not omega > 0:
        raise Refused(f"The prior's standard deviation must be positive, not {omega:g}.")
    return replace(areas(method, case, omega, draws, nodes), eta=eta, shown=answer)


def areas(method: str, case: str, omega: float, draws: int, nodes: int) -> Area:
    """Six areas under the joint density of one subject, and the outline of the chosen one; `omega` is positive."""
    grid = np.linspace(-8 * omega, 8 * omega, 4001)
    conditional, prior = log_conditional(grid, case), log_prior(grid, omega)
    joint = conditional + prior
    top = float(joint.max())
    exact = float(np.log(np.trapezoid(np.exp(joint - top), grid)) + top)
    mode, gauss_newton, full = find_mode(grid, joint, case, omega)
    sd, peak = full**-0.5, float(log_joint(mode, case, omega))

    proposal = stats.t(FREEDOM, mode, sd)
    from_prior, around_mode = omega * _NORMAL[:draws], mode + sd * _T[:draws]
    weights = np.exp(log_joint(around_mode, case, omega) - proposal.logpdf(around_mode) - exact)
    f, g, _ = concentration(0.0, case)
    residual, precision = data(case)[1] - f, g @ g / SIGMA**2 + omega**-2
    centre = float(residual @ g / SIGMA**2 / precision)
    line = stats.norm.logpdf(residual, centre * g, SIGMA).sum() + float(log_prior(centre, omega))
    z, width = bars(nodes)
    node_height = np.exp(log_joint(mode + sd * z, case, omega) - top)
    log_areas = np.array(
        [
            np.log(np.mean(np.exp(log_conditional(from_prior, case) - exact))) + exact,
            np.log(np.mean(weights)) + exact,
            line + 0.5 * np.log(2 * np.pi / precision),
            peak + 0.5 * np.log(2 * np.pi / gauss_newton),
            peak + 0.5 * np.log(2 * np.pi / full),
            np.log(node_height @ width * sd) + top,
        ]
    )
    # What repeating the draws would show: Var = (integral of p^2 / q) / area^2 - 1, divided by the number of draws.
    spreads = [
        np.trapezoid(np.exp(2 * joint - log_q - 2 * exact), grid) - 1 for log_q in (prior, proposal.logpdf(grid))
    ]
    relative_sd = np.array([*np.sqrt(np.maximum(spreads, 0.0) / draws), 0, 0, 0, 0])

    curves = {FO: (line, centre, precision), FOCE: (peak, mode, gauss_newton), LAPLACE: (peak, mode, full)}
    x = height = np.zeros(0)
    points = np.array([0.0 if method == FO else mode])
    if method in curves:
        log_height, centre, precision = curves[method]
        x, height = GRID, np.exp(log_height - top - 0.5 * precision * (GRID - centre) ** 2)
    elif method == AGQ:
        edges = mode + sd * (np.concatenate([[0.0], np.cumsum(width)]) - 0.5 * width.sum())
        x, height = np.repeat(edges, 3)[1:-1], np.zeros(3 * nodes + 1)
        height[1::3] = height[2::3] = node_height  # up, along and down again, once a bar
        points = mode + sd * z
    else:
        points = from_prior if method == MONTE_CARLO else around_mode
    from_where = proposal.pdf(GRID) if method == IMPORTANCE else np.exp(log_prior(GRID, omega))
    count = {MONTE_CARLO: draws, IMPORTANCE: draws, AGQ: nodes}.get(method, 0)
    return Area(
        *(method, case, omega, count),
        np.exp(log_joint(GRID, case, omega) - top),
        PRIOR_HEIGHT * from_where / from_where.max(),
        x,
        height,
        points,
        np.exp(log_joint(points, case, omega) - top),
        log_areas,
        exact,
        relative_sd,
        mode,
        sd,
    )


def say(found: Area) -> str:
    i = METHODS.index(found.method)
    area, error = found.log_areas[i], found.log_areas[i] - found.log_exact
    what = "node" if found.method == AGQ else "draw"
    many = f" with {found.count} {what}{'s' * (found.count > 1)}" if found.count else ""
    text = (
        f"{found.method[0].upper()}{found.method[1:]}{many}: {_percent(error)} of the exact "
        f"area, an error of {error:+.3f} in the log-likelihood.\n{area:.3f} in place of {found.log_exact:.3f}."
    )
    if found.relative_sd[i]:
        text += f" Other draws would differ by ±{_percent(np.log(found.relative_sd[i]))} (one SD)."
    here = float(np.interp(found.eta, GRID, found.exact))
    return text + f" At η = {found.eta:.2f} the joint density is {100 * here:.2g}% of its peak."


def _percent(log_share: float) -> str:
    share = 100 * np.exp(log_share)
    return f"{share:.3g}%" if share < 99.5 or 100.5 < share < 1000 else f"{share:.4g}%"


def scene(found: Area) -> Scene:
    highest = 1.08 * float(np.max(found.height, initial=0.0))
    top = next((level for level in _TOPS if level > highest), highest)
    eta = Axis(LEFT, RIGHT, "random effect η of log ka: slow absorption, or fast")
    height = Axis(0.0, top, "density, exact peak = 1")
    density = Panel(eta, height, "Joint density, and the area that is wanted")
    hours = Axis(0, 25, "time (h)", ticks=range(0, 25, 6))
    level = Axis(0, 13, "C (mg/L)", ticks=(0, 4, 8, 12))
    share, names = Axis(0, _END, "area, % of the exact one", ticks=(0, 100, 200)), list(enumerate(METHODS))
    marks = [*_density_marks(found), *_data_marks(found), *_area_marks(found)]
    areas = Panel(share, Axis(5.6, -1.2, ticks=names))
    return Scene({"density": density, "data": Panel(hours, level, "The subject"), "areas": areas}, marks)


def _density_marks(found: Area) -> list[Mark]:
    """The exact curve, what the method puts in its place, and two handles: eta on the curve, omega on the prior."""
    name = MEANING[found.method]
    bell = PRIOR_HEIGHT * np.exp(-0.5 * (GRID / found.omega) ** 2)
    drawn = found.method in (MONTE_CARLO, IMPORTANCE)
    inside = (found.points >= LEFT) & (found.points <= RIGHT)
    x, height = found.points[inside][:_MOST_STICKS], found.point_height[inside][:_MOST_STICKS]
    here = float(np.interp(found.eta, GRID, found.exact))
    marks: list[Mark] = []
    if found.x.size:
        marks.append(Band("density", "area", name, found.x, 0 * found.x, found.height))
    marks.append(Line("density", "prior", "prior", GRID[::4], bell[::4], "prior, any height"))
    if found.method == IMPORTANCE:
        marks.append(Line("density", "proposal", name, GRID[::4], found.sampled_from[::4], "draws come from here"))
    if drawn:
        marks.append(Span("density", "draws", name, x, 0 * x, x, height, "draws, at most 300 shown", "thin"))
    marks.append(Line("density", "exact", "truth", GRID[::2], found.exact[::2], "exact", ghost=True))
    if found.x.size:
        thin = slice(None, None, 1 if found.method == AGQ else 4)
        marks.append(Line("density", "outline", name, found.x[thin], found.height[thin], found.method, ghost=True))
    if not drawn:
        marks.append(Dots("density", "points", name, x, 0 * x if found.method == FO else height, "where it looks"))
    width = Drag(x="omega", along="prior")
    return [
        *marks,
        Span("density", "stem", "individual", found.eta, 0.0, found.eta, here, weight="thin"),
        Dots("density", "omega", "prior", found.omega, PRIOR_HEIGHT * np.exp(-0.5), drag=width, size=11),
        Dots("density", "eta", "individual", found.eta, here, drag=Drag(x="eta", along="exact"), size=12),
    ]


def _data_marks(found: Area) -> list[Mark]:
    """What the density is of: the measurements, and the curve at the eta that is held."""
    time, y, *_ = data(found.case)
    typical, here = (concentration(eta, found.case, HOURS)[0] for eta in (0.0, found.eta))
    return [
        Line("data", "typical", "population", HOURS, typical, "at η = 0"),
        Line("data", "here", "individual", HOURS, here, "at the η that you hold", ghost=True),
        Dots("data", "measured", "data", time, y, "measured", size=8),
    ]


def _area_marks(found: Area) -> list[Mark]:
    """The area by the chosen method, and by all of them once the answer is asked for."""
    errors = found.log_areas - found.log_exact
    share = 100 * np.exp(errors)
    marks: list[Mark] = [
        Rule("areas", "exact", "truth", "x", 100.0),
        Text("areas", "head", "guide", _END - 3, -0.75, "error of log L", "end"),
    ]
    for i, method in enumerate(METHODS):
        chosen = method == found.method
        if not (chosen or found.shown):
            continue
        name, at, reach = MEANING[method], min(share[i], _CLIP), 100 * found.relative_sd[i]
        if reach:
            ends = np.clip([share[i] - reach, share[i] + reach], 0, _CLIP)
            marks.append(Span("areas", f"spread {i}", name, ends[0], float(i), ends[1], float(i)))
        mark, size = ("chosen", 14) if chosen else (method, 9)
        marks.append(Dots("areas", mark, name, at, float(i), size=size, ghost=chosen))
        words = f"{errors[i]:+.2f}".replace("-", "−") + (" →" if share[i] > _CLIP else "")
        marks.append(Text("areas", f"error {i}", name, _END - 3, i + 0.2, words, "end"))
    return marks


def one_subject() -> Stage:
    """The explorer of lesson 03: how, how much the subjects differ, how many draws and how many nodes."""
    controls: dict[str, Control] = {
        "method": Choice("Method", METHODS, LAPLACE),
        "case": Choice("Data", CASES, TWO),
        "omega": Slider("Prior SD ω", 0.2, 2.0, 0.66, unit="of log ka", log=True),
        "eta": Slider("Try η", LEFT, RIGHT, 1.5, 0.05),
        "draws": Slider("Draws (both samplers)", 10, MOST_DRAWS, 50, 10),
        "nodes": Slider("Nodes (AGQ)", 1, MOST_NODES, 3, 1),
        "answer": ANSWER,
    }
    alt = (
        "Left: the joint density of one subject over its random effect, and what the chosen method puts in its place. "
        "Right: the subject's data with the curve at one value of the random effect, and the area by each method, in "
        "percent of the exact one."
    )
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["density data", "density areas"],
        widths=[1.35, 1],
        heights=[1.1, 1.2],
        size=(940, 470),
        tries=TRIES,
    )
