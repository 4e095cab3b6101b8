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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

import mefit as mf
from mefit import style
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider

KA, SIGMA = 1.58, 0.69  # 1/h and mg/L: what all twelve subjects say (AGQ), as is the SD of log ka, 0.66
METHODS = ("Monte Carlo", "importance sampling", "FO", "FOCE", "Laplace", "AGQ")
MONTE_CARLO, IMPORTANCE, FO, FOCE, LAPLACE, AGQ = METHODS
TWO, ALL, ONE = CASES = ("subject 9, two samples", "subject 9, all 11", "subject 5, one at 2 h")
# Which subject and which of its samples, and its own CL (L/h/kg) and V (L/kg)
_CASES: dict[str, tuple[int, list[int], float, float]] = {
    TWO: (8, [2, 5], 0.0338, 0.3775),
    ALL: (8, list(range(11)), 0.0338, 0.3775),
    ONE: (4, [4], 0.0436, 0.4885),
}
MOST_DRAWS, MOST_NODES, FREEDOM = 2000, 15, 5.0
LEFT, RIGHT = -2.6, 3.6  # of the picture
_CLIP = 200.0  # percent
_random = np.random.default_rng(3)
_NORMAL, _T = _random.normal(size=MOST_DRAWS), _random.standard_t(FREEDOM, size=MOST_DRAWS)


@functools.cache
def data(case: str) -> tuple[np.ndarray, np.ndarray, float, float, float]:
    """Times (n,) in h, concentrations (n,) in mg/L, dose in mg/kg, and the subject's CL and V."""
    i, rows, cl, v = _CASES[case]
    subject = mf.datasets.theophylline()[i]
    time, y = (np.asarray(a)[rows] for a in (subject.time, subject.y))
    return time, y, float(subject.doses.amount[0]), cl, v


def concentration(eta: Any, case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f (..., n) in mg/L at eta (...), and its first and second derivatives in eta."""
    time, _, dose, cl, v = data(case)
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


GRID = np.linspace(LEFT, RIGHT, 621)


def bars(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Places z_k and widths w_k exp(z_k^2 / 2) of the Gauss-Hermite rule of weight exp(-z^2 / 2)."""
    z, weight = np.polynomial.hermite_e.hermegauss(nodes)
    return z, weight * np.exp(0.5 * z**2)


def compute(method: str, case: str, omega: float, draws: int, nodes: int) -> Area:
    """Six areas under the joint density of one subject, and the outline of the chosen one; `omega` is positive."""
    if not omega > 0:
        raise Refused(f"The prior's standard deviation must be positive, not {omega:g}.")
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
    return Area(
        method,
        case,
        omega,
        {MONTE_CARLO: draws, IMPORTANCE: draws, AGQ: nodes}.get(method, 0),
        np.exp(log_joint(GRID, case, omega) - top),
        0.45 * from_where / from_where.max(),
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
    many = {MONTE_CARLO: f" with {found.count} draws", IMPORTANCE: f" with {found.count} draws"}
    many[AGQ] = f" with {found.count} node{'s' * (found.count > 1)}"
    text = (
        f"{found.method[0].upper()}{found.method[1:]}{many.get(found.method, '')}: {_percent(error)} of the exact "
        f"area. Log-likelihood {area:.3f} in place of {found.log_exact:.3f}, an error of {error:+.3f}."
    )
    if found.relative_sd[i]:
        text += f" Other draws would differ by ±{_percent(np.log(found.relative_sd[i]))} (one SD)."
    return text


def _signed(error: float) -> str:
    return f"{error:+.2f}".replace("-", "−")


def _percent(log_share: float) -> str:
    share = 100 * np.exp(log_share)
    return f"{share:.3g}%" if share < 99.5 or 100.5 < share < 1000 else f"{share:.4g}%"


def paint(picture: style.Picture, found: Area) -> Callable[[Area], None]:
    left = picture.add_axes((0.04, 0.13, 0.49, 0.68), xlim=(LEFT, RIGHT), yticks=[])
    left.set(xlabel="random effect η of log ka", ylabel="joint density, exact peak = 1")
    shade = left.fill_between([], [], **style.AREA["marginal"])
    (sampled,) = left.plot([], [], **style.LINE["prior"], label="prior, any height")
    (outline,) = left.plot([], [], **style.LINE["marginal"] | {"linewidth": 2.2}, label="its curve and area")
    (sticks,) = left.plot([], [], color=style.COLOUR["marginal"], linewidth=0.9, alpha=0.5, zorder=1.6)
    (exact,) = left.plot([], [], **style.LINE["truth"], label="exact")
    dot = style.POINT["marginal"] | {"zorder": 2.9}
    (dots,) = left.plot([], [], **dot, label="where it looks", clip_on=False)
    legend = left.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1.2)

    right = picture.add_axes((0.72, 0.13, 0.17, 0.68), xlim=(0, _CLIP), ylim=(5.5, -0.5), xticks=[0, 100, 200])
    right.set(xlabel="area, % of the exact one", yticks=range(6), yticklabels=METHODS)
    right.axvline(100, **style.LINE["truth"])
    (spread,) = right.plot([], [], color=style.COLOUR["prior"], linewidth=1.6, zorder=2.7)
    (all_six,) = right.plot([], [], **style.POINT["marginal"] | {"alpha": 0.45}, clip_on=False)
    (chosen,) = right.plot([], [], **style.POINT["marginal"] | {"markersize": 12.0}, clip_on=False)
    notes = [right.text(1.06, i, "", va="center", transform=right.get_yaxis_transform(), size=12) for i in range(6)]
    right.text(1.06, -0.75, "error of\nthe log", va="bottom", transform=right.get_yaxis_transform(), size=12)

    def update(found: Area) -> None:
        exact.set_data(GRID, found.exact)
        sampled.set_data(GRID, found.sampled_from)
        shade.set_data(found.x, 0 * found.x, found.height)
        outline.set_data(found.x, found.height)
        drawn = found.method in (MONTE_CARLO, IMPORTANCE)
        inside = (found.points >= LEFT) & (found.points <= RIGHT)  # dots may stand on the axis, but not beyond its ends
        dots.set_data(
            found.points[inside], found.point_height[inside] * (not drawn)
        )  # draws have a stick up to the curve
        ends = np.stack([found.points, found.points, np.full(found.points.size, np.nan)], 1)
        sticks.set_data(ends.ravel() if drawn else [], np.outer(found.point_height, [0, 1, 0]).ravel() if drawn else [])
        dots.set_markersize(4.5 if drawn else 7.0)
        legend.get_texts()[0].set_text("draws come from here" if found.method == IMPORTANCE else "prior, any height")
        left.set_ylim(0, max(1.12, 1.05 * float(np.max(found.height, initial=0.0))))
        share = 100 * np.exp(found.log_areas - found.log_exact)
        shown = np.minimum(share, _CLIP)
        places = np.arange(6)
        all_six.set_data(shown, places)
        i = METHODS.index(found.method)
        chosen.set_data([shown[i]], [i])
        reach = 100 * np.outer(found.relative_sd[:2], [-1, 1, np.nan]) + share[:2, None]
        spread.set_data(np.clip(reach, 0, _CLIP).ravel(), np.repeat([0, 1], 3))
        for j, (note, error) in enumerate(zip(notes, found.log_areas - found.log_exact, strict=True)):
            note.set(text=_signed(error) + (" →" if share[j] > _CLIP else ""), weight="bold" if j == i else "normal")

    update(found)
    return update


def one_subject() -> Explorer:
    """The explorer of lesson 03: how, how much the subjects differ, how many draws and how many nodes."""
    controls: dict[str, Control] = {
        "method": Choice("Method", METHODS, LAPLACE),
        "case": Choice("Data", CASES, TWO),
        "omega": Slider("Prior SD ω", 0.2, 2.0, 0.66, unit="of log ka", log=True),
        "draws": Slider("Draws (both samplers)", 10, MOST_DRAWS, 50, 10),
        "nodes": Slider("Nodes (AGQ)", 1, MOST_NODES, 3, 1),
    }
    alt = (
        "Left: the joint density of one subject over its random effect, and the outline of what the chosen method "
        "integrates. Right: the area by each of six methods, in percent of the exact one."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=440)
