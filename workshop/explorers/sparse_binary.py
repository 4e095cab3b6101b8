"""Sparse binary data: Laplace's Gaussian against the true posterior of one cluster's random effect.

A cluster has n answers, k of them yes: logit P(yes) = eta, eta ~ N(0, omega^2). In one given order of the answers

    log p(k, eta) = k eta - n log(1 + exp(eta)) - eta^2 / (2 omega^2) - log(omega) - log(2 pi) / 2

is concave in eta, with one mode eta* and P = n p (1 - p) + 1 / omega^2 there, p = 1 / (1 + exp(-eta*)). Laplace puts
p(k, eta*) exp(-P (eta - eta*)^2 / 2) in its place: the area becomes p(k, eta*) sqrt(2 pi / P), and the posterior is
N(eta*, 1/P).
The exact area, posterior and moments are sums over a fine grid, which for a smooth density that has died out at both
ends is as good as quadrature can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.special import expit

from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Scene, Span
from workshop.explorers.stage import Move, Stage

MOST = 50  # answers of either kind
_SHOWN = np.linspace(-10.0, 10.0, 201)  # of eta


def log_joint(eta: np.ndarray, n: int, k: int, omega: float) -> np.ndarray:
    """log p(k, eta) of one given order of the answers, b0 = 0."""
    return k * eta - n * np.logaddexp(0.0, eta) + stats.norm.logpdf(eta, 0.0, omega)


@dataclass(frozen=True)
class Binary:
    """Curves over `eta` (g,): the joint density, as a share of its peak, and Laplace's; the rest are numbers."""

    n: int
    k: int
    omega: float
    eta: np.ndarray
    joint: np.ndarray
    laplace: np.ndarray
    log_exact: float
    log_laplace: float
    mode: float
    sd: float
    mean: float
    true_sd: float
    skewness: float
    total_variation: float
    """Half the integral of |posterior - N(eta*, 1/P)|: the largest error of any posterior probability."""


def compute(n: int, k: int, omega: float) -> Binary:
    """Both areas and both posteriors of a cluster with `k` of `n` answers yes."""
    if not 0 <= k <= n or not omega > 0:
        raise Refused(f"Needs 0 <= k <= n and a positive SD, not n = {n}, k = {k} and {omega:g}.")
    mode, slope = 0.0, 1.0
    # Newton's steps cannot overshoot for long: the density is log-concave, and the prior keeps P above 1 / omega^2.
    for _ in range(100):
        p = expit(mode)
        slope, precision = k - n * p - mode / omega**2, n * p * (1 - p) + omega**-2
        step = slope / precision
        mode += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-12:
            break
    p = expit(mode)
    sd = float((n * p * (1 - p) + omega**-2) ** -0.5)
    reach = 9 * omega
    eta = np.linspace(min(mode, 0.0) - reach, max(mode, 0.0) + reach, 6001)
    log_density = log_joint(eta, n, k, omega)
    top = float(log_joint(np.asarray(mode), n, k, omega))
    joint = np.exp(log_density - top)
    step = eta[1] - eta[0]
    area = joint.sum() * step
    posterior, gaussian = joint / area, stats.norm.pdf(eta, mode, sd)
    mean = float((posterior * eta).sum() * step)
    centred = eta - mean
    variance = float((posterior * centred**2).sum() * step)
    return Binary(
        n,
        k,
        omega,
        eta,
        joint,
        np.exp(-0.5 * ((eta - mode) / sd) ** 2),
        top + float(np.log(area)),
        top + float(0.5 * np.log(2 * np.pi) + np.log(sd)),
        mode,
        sd,
        mean,
        variance**0.5,
        float((posterior * centred**3).sum() * step) / variance**1.5,
        float(0.5 * np.abs(posterior - gaussian).sum() * step),
    )


def _answered(no: int, yes: int, omega: float) -> Binary:
    """As the hand on the point counts: by kind."""
    return compute(no + yes, yes, omega)


def say(found: Binary) -> str:
    error = found.log_laplace - found.log_exact
    if found.n == 0:
        what = "Nobody has answered: the posterior is the prior, and Laplace is exact"
    elif found.k in (0, found.n):
        kind = "yes" if found.k else "no"
        what = f"Only {kind}: the prior alone ends the curve on that side, and the posterior leans"
    else:
        what = "Both kinds of answer: the curve is held on both sides"
    return (
        f"{what}. Laplace's area is {np.exp(error):.1%} of the exact one; its probabilities are wrong by up to "
        f"{found.total_variation:.2g}.\n"
        f"{found.k} of {found.n} yes. Areas: {_short(found.log_exact)}, Laplace {_short(found.log_laplace)} "
        f"(log error {error:+.4f}). Mean {found.mean:.3f}, SD {found.true_sd:.3f}; "
        f"Laplace {found.mode:.3f}, {found.sd:.3f}. Total variation {found.total_variation:.4f}."
    )


def _short(log_value: float) -> str:
    return f"{np.exp(log_value):.4g}"


def scene(found: Binary) -> Scene:
    # Heights are shares of the peak, and no axis moves: what one sees move is what changed.
    eta = Axis(-10, 10, "random effect η of the cluster (logit)", ticks=(-10, -5, 0, 5, 10))

    def counts(label: str) -> Axis:
        return Axis(-1, MOST + 2, label, ticks=range(0, MOST + 1, 10))

    panels = {
        "joint": Panel(replace(eta, label=""), Axis(0, 1.2, ticks=[]), "Joint density: two areas of one height"),
        "posterior": Panel(eta, Axis(0, 1.45, ticks=[]), "Posterior: two densities of one area"),
        "answers": Panel(counts("answers “no”"), counts("answers “yes”"), "Drag the point"),
    }
    return Scene(panels, [*_areas(found), *_posteriors(found), *_point(found)])


def _at(found: Binary, curve: np.ndarray) -> np.ndarray:
    """A curve where it is drawn. The exact ones were summed on a grid that reaches further and moves with the prior."""
    return np.interp(_SHOWN, found.eta, curve, left=0.0, right=0.0).round(4)


def _areas(found: Binary) -> list[Mark]:
    joint, laplace = _at(found, found.joint), _at(found, found.laplace)
    prior = np.exp(-0.5 * (_SHOWN / found.omega) ** 2).round(4)
    return [
        Band("joint", "area", "truth", _SHOWN, 0 * _SHOWN, joint, "exact"),
        Line("joint", "exact", "truth", _SHOWN, joint),
        Line("joint", "prior", "prior", _SHOWN, prior, "prior, to another scale", weight="thin"),
        Line("joint", "laplace", "marginal", _SHOWN, laplace, "Laplace's curve"),
        Dots("joint", "omega", "prior", found.omega, np.exp(-0.5), drag=Drag(x="omega", along="prior"), size=11),
    ]


def _posteriors(found: Binary) -> list[Mark]:
    # The exact posterior is the joint density over its area: here as a share of its own peak.
    exact = _at(found, found.joint)
    ratio = np.exp(found.log_exact - found.log_laplace)
    gaussian = (_at(found, found.laplace) * ratio).round(4)
    return [
        Band("posterior", "difference", "guide", _SHOWN, exact, gaussian, "their difference"),
        Line("posterior", "exact", "truth", _SHOWN, exact, weight="thin"),
        Line("posterior", "gaussian", "posterior", _SHOWN, gaussian, "N(mode, 1/P)", weight="thin"),
    ]


def _point(found: Binary) -> list[Mark]:
    no, yes = found.n - found.k, found.k
    return [
        Span("answers", "no", "data", 0, 0, no, 0, weight="strong"),
        Span("answers", "yes", "data", 0, 0, 0, yes, weight="strong"),
        Span("answers", "to no", "guide", no, 0, no, yes, weight="thin"),
        Span("answers", "to yes", "guide", 0, yes, no, yes, weight="thin"),
        Dots("answers", "here", "data", no, yes, size=12, drag=Drag(x="no", y="yes")),
    ]


def sparse_binary() -> Stage:
    """The explorer of lesson 03: how many answers of either kind, and how much clusters differ."""
    controls: dict[str, Control] = {
        "no": Slider("Answers “no”", 0, MOST, 5, 1),
        "yes": Slider("Answers “yes”", 0, MOST, 0, 1),
        "omega": Slider("Prior SD ω", 0.2, 5.0, 2.0, unit="logit", log=True),
    }
    alt = (
        "Left, the joint density of a cluster's answers and its random effect with Laplace's curve; below, the exact "
        "posterior with its Gaussian approximation. Right, a point to drag: answers no across, answers yes upwards."
    )
    tries: Sequence[Move] = [
        ("fifty times no", {"no": 50, "yes": 0}),
        ("ten of each", {"no": 10, "yes": 10}),
        ("two times no, a wide prior", {"no": 2, "yes": 0, "omega": 5.0}),
    ]
    return Stage(
        _answered,
        scene,
        say,
        controls,
        alt=alt,
        layout=["joint answers", "posterior answers"],
        widths=[2.1, 1],
        heights=[1, 1.16],
        size=(900, 440),
        tries=tries,
    )
