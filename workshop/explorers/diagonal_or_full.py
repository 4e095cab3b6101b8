"""A Gaussian q on a posterior that leans: what a q with independent random effects loses, and when nothing.

One person is seen at times t_1 ... t_n, y_j = eta_1 + eta_2 (t_j - zero) + e_j, e_j ~ N(0, sigma^2), eta ~ N(0, I). The
posterior is Gaussian with precision L = Z'Z / sigma^2 + I, Z the rows (1, t_j - zero). For q = N(mean, S),

    gap = KL(q || posterior) = 1/2 (tr(L S) - 2 - log det(L S)).

Of all S without a correlation the best has the variances 1 / L_11 and 1 / L_22, which are those of each random effect
*given the other*, and its gap is -1/2 log(1 - r^2), r the correlation of the posterior. The posterior's own variances
are (L^-1)_11 and (L^-1)_22, each 1 / (1 - r^2) times as large.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import ANSWER, Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Span, Text
from workshop.explorers.stage import Move, Stage

DIAGONAL, FULL = "diagonal", "full"
VISITS = 5
TIMES = np.linspace(0.0, 4.0, VISITS)
_CIRCLE = np.linspace(0.0, 2 * np.pi, 97)
_ROOM = 1.35  # nats that the panel of gaps has room for
_SDS = 2.0  # of an ellipse that holds 86% of its Gaussian
_REACH = 1.9
_ZEROS = np.linspace(0.0, 4.0, 81)


def precision(zero: float, sigma: float) -> np.ndarray:
    """L (2, 2) of the posterior."""
    z = np.column_stack([np.ones(VISITS), TIMES - zero])
    return z.T @ z / sigma**2 + np.eye(2)


def gap_of(covariance: np.ndarray, inverse: np.ndarray) -> float:
    """KL(N(m, covariance) || N(m, inverse^-1)), `inverse` a precision."""
    product = inverse @ covariance
    return float(0.5 * (np.trace(product) - 2 - np.log(np.linalg.det(product))))


def best_diagonal_gap(zero: float, sigma: float) -> float:
    """The gap of the best q without a correlation."""
    inverse = precision(zero, sigma)
    return float(-0.5 * np.log(np.linalg.det(inverse) / np.prod(np.diag(inverse))))


@dataclass(frozen=True)
class Laid:
    """A q with SDs `sds` and correlation `rho`, on a posterior with its covariance `exact`; `gap`s in nats, the present
    one, and the `least` that a q of its `kind` can have, at `best` (2, 2); `along` (m,) is the least gap of a diagonal
    q over zeros of time."""

    zero: float
    sigma: float
    kind: str
    sds: np.ndarray
    rho: float
    exact: np.ndarray
    gap: float
    least: float
    best: np.ndarray
    along: np.ndarray
    shown: bool

    @property
    def r(self) -> float:
        """The correlation of the posterior."""
        return float(self.exact[0, 1] / np.sqrt(self.exact[0, 0] * self.exact[1, 1]))


def compute(sd1: float, sd2: float, rho: float, zero: float, sigma: float, answer: bool = False) -> Laid:
    """q with SDs `sd1` and `sd2` and the correlation `rho`; a diagonal one where that is 0."""
    if not (sd1 > 0 and sd2 > 0 and sigma > 0 and abs(rho) < 1):
        raise Refused("SDs must be positive, and the correlation between -1 and 1.")
    inverse = precision(zero, sigma)
    exact = np.linalg.inv(inverse)
    kind = DIAGONAL if rho == 0.0 else FULL
    sds = np.array([sd1, sd2])
    covariance = np.outer(sds, sds) * np.array([[1.0, rho], [rho, 1.0]])
    best = exact if kind == FULL else np.diag(1.0 / np.diag(inverse))
    return Laid(
        zero=zero,
        sigma=sigma,
        kind=kind,
        sds=sds,
        rho=rho,
        exact=exact,
        gap=gap_of(covariance, inverse),
        least=gap_of(best, inverse),
        best=best,
        along=np.array([best_diagonal_gap(at, sigma) for at in _ZEROS]),
        shown=answer,
    )


def say(found: Laid) -> str:
    more = found.gap - found.least
    if more < 0.02:
        first = f"No {found.kind} q is much nearer to the posterior"
    else:
        first = f"A better {found.kind} q would save {more:.2f} nats"
    if found.least < 0.005:
        second = "and the best of them is the posterior itself"
    else:
        narrow = 1 - np.sqrt(1 - found.r**2)
        second = f"and the best of them still lacks {found.least:.2f}, with SDs {narrow:.0%} too small"
    own = np.sqrt(np.diag(found.exact))
    best = np.sqrt(np.diag(found.best))
    return (
        f"{first}, {second}.\nGap {found.gap:.3f} nats. Correlation of the posterior {found.r:.2f}; its SDs "
        f"{own[0]:.2f} and {own[1]:.2f}, those of the best {found.kind} q {best[0]:.2f} and {best[1]:.2f}."
    )


def ellipse(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outline at two SDs."""
    points = _SDS * np.linalg.cholesky(covariance) @ np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)])
    return points[0], points[1]


def scene(found: Laid) -> Scene:
    square = Axis(-_REACH, _REACH, "intercept η₁, less its mean")
    panels = {
        "plane": Panel(square, Axis(-_REACH, _REACH, "slope η₂, less its mean"), "q on the posterior"),
        "lost": Panel(
            Axis(-0.1, 4.1, "where time is counted from"),
            Axis(-0.2, 1.4, "nats"),
            "Gap of the best diagonal q",
            "Variational",
        ),
    }
    return Scene(panels, [*_plane(found), *_lost(found)])


def _plane(found: Laid) -> list[Mark]:
    """Both ellipses, and the ends of q's axes, to take hold of."""
    lean = np.array([[1.0, found.rho], [found.rho, 1.0]])
    marks: list[Mark] = [
        Line("plane", "posterior", "posterior", *ellipse(found.exact), "posterior: 86% of it within"),
    ]
    if found.shown:
        marks.append(Line("plane", "best", "truth", *ellipse(found.best), f"the best {found.kind} q"))
    sd1, sd2 = found.sds
    arms = np.array([_SDS * sd1, 0.0]), np.array([0.0, _SDS * sd2])
    return [
        *marks,
        Line("plane", "q", "Variational", *ellipse(np.outer(found.sds, found.sds) * lean), "q"),
        Span("plane", "arms", "guide", [0.0, 0.0], [0.0, 0.0], *arms, weight="thin"),
        Dots("plane", "sd1", "Variational", _SDS * sd1, 0.0, drag=Drag(x="sd1", scale_x=_SDS), size=13),
        Dots("plane", "sd2", "Variational", 0.0, _SDS * sd2, drag=Drag(y="sd2", scale_y=_SDS), size=13),
    ]


def _yours(found: Laid) -> list[Mark]:
    """What the present q lacks. Where that is beyond the panel the dot stays at its top, and a number stands beside."""
    beyond = f"{found.gap:.2f} ↑" if found.gap > _ROOM else ""
    return [
        Dots("lost", "yours", "individual", found.zero, min(found.gap, _ROOM), "your q", size=11),
        Text("lost", "beyond", "individual", found.zero + 0.15, _ROOM - 0.03, beyond),
    ]


def _lost(found: Laid) -> list[Mark]:
    """What the best diagonal q loses, against the zero of time, and what the present q does."""
    here = best_diagonal_gap(found.zero, found.sigma)
    hold = Drag(x="zero", along="least")
    return [
        Rule("lost", "full", "guide", "y", 0.0, weight="thin"),
        Text("lost", "full words", "guide", 2.0, -0.1, "the best full q loses nothing", "middle"),
        Dots("lost", "visits", "data", TIMES, 0 * TIMES, "visits", size=6),
        Line("lost", "least", "Variational", _ZEROS, found.along),
        *_yours(found),
        Dots("lost", "zero", "Variational", found.zero, here, drag=hold, size=13),
    ]


def diagonal_or_full() -> Stage:
    """The explorer of lesson 10: the ellipse of q, laid by hand on that of the posterior."""
    controls: dict[str, Control] = {
        "sd1": Slider("SD of q, intercept", 0.05, 0.8, 0.7, 0.01),
        "sd2": Slider("SD of q, slope", 0.05, 0.8, 0.5, 0.01),
        "rho": Slider("Correlation of q (0: diagonal)", -0.95, 0.95, 0.0, 0.01),
        "zero": Slider("Time is counted from", 0.0, 4.0, 0.0, 0.05),
        "sigma": Slider("Error of measurement σ", 0.3, 3.0, 1.0, 0.05),
        "answer": ANSWER,
    }
    alt = (
        "Left: the ellipse of a person's posterior of intercept and slope, and the ellipse of q. Right: the gap that "
        "the best diagonal q leaves, against the time that counts as zero."
    )
    tries: Sequence[Move] = [
        ("count from the middle", {"zero": 2.0}),
        ("let q lean", {"zero": 0.0, "rho": -0.73}),
        ("measure badly", {"sigma": 3.0}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["plane lost"],
        widths=[1, 1],
        size=(900, 420),
        tries=tries,
    )
