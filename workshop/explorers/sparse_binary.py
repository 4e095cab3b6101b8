"""Sparse binary data: Laplace's Gaussian against the true posterior of one cluster's random effect.

A cluster has n answers, k of them yes: logit P(yes) = eta, eta ~ N(0, omega^2). In one given order of the answers

    log p(k, eta) = k eta - n log(1 + exp(eta)) - eta^2 / (2 omega^2) - log(omega) - log(2 pi) / 2

is concave in eta, with one mode eta* and P = n p (1 - p) + 1 / omega^2 there, p = 1 / (1 + exp(-eta*)). Laplace puts
p(k, eta*) exp(-P (eta - eta*)^2 / 2) in its place: the area becomes p(k, eta*) sqrt(2 pi / P), and the posterior is
N(eta*, 1/P).
The exact area, posterior and moments are sums over a fine grid, which for a smooth density that has died out at both
ends is as good as quadrature can be.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import expit

from mefit import style
from workshop.explorers.panel import Control, Explorer, Refused, Slider

MOST = 50


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
    """Both areas and both posteriors of a cluster with `k` of `n` answers yes; a k beyond n counts as n."""
    if n < 1 or k < 0 or not omega > 0:
        raise Refused(f"Needs n >= 1, k >= 0 and a positive SD, not n = {n}, k = {k} and {omega:g}.")
    k, mode, slope = min(k, n), 0.0, 1.0
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


def say(found: Binary) -> str:
    error = found.log_laplace - found.log_exact
    return (
        f"{found.k} of {found.n} yes. Areas: exact {_short(found.log_exact)}, Laplace {_short(found.log_laplace)} "
        f"({np.exp(error):.1%} of it, log error {error:+.4f}). Mean {found.mean:.3f}, SD {found.true_sd:.3f}; "
        f"Laplace: mode {found.mode:.3f}, SD {found.sd:.3f}. Total variation {found.total_variation:.4f}."
    )


def _short(log_value: float) -> str:
    return f"{np.exp(log_value):.4g}"


def paint(picture: style.Picture, found: Binary) -> Callable[[Binary], None]:
    left = picture.add_axes((0.045, 0.13, 0.445, 0.63))
    right = picture.add_axes((0.545, 0.13, 0.445, 0.63))
    left.set(xlabel="random effect η of the cluster (logit)", ylabel="joint density p(k, η)", yticks=[])
    right.set(xlabel="random effect η of the cluster (logit)", ylabel="posterior density", yticks=[])
    left_title, right_title = left.set_title("", pad=8, size=13), right.set_title("", pad=8, size=13)
    filled = left.fill_between([], [], **style.AREA["truth"], label="exact area")
    (joint,) = left.plot([], [], **style.LINE["truth"])
    (curve,) = left.plot([], [], **style.LINE["marginal"] | {"linewidth": 2.0}, label="Laplace's curve")
    gap = right.fill_between([], [], **style.AREA["joint"], label="their difference")
    (posterior,) = right.plot([], [], **style.LINE["truth"], label="exact")
    (gaussian,) = right.plot([], [], **style.LINE["posterior"], label="N(mode, 1/P)")
    (prior,) = right.plot([], [], **style.LINE["prior"] | {"linewidth": 1.8}, label="prior")
    for axes in (left, right):
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.1), ncols=2, columnspacing=1.2)

    def update(found: Binary) -> None:
        low = min(found.mode - 4.0 * found.sd, found.mean - 4.5 * found.true_sd)
        high = max(found.mode + 4.0 * found.sd, found.mean + 4.5 * found.true_sd)
        kept = slice(*np.searchsorted(found.eta, [low, high]))
        eta = found.eta[kept]
        filled.set_data(eta, 0 * eta, found.joint[kept])
        joint.set_data(eta, found.joint[kept])
        curve.set_data(eta, found.laplace[kept])
        truth = found.joint[kept] * np.exp(
            -0.5 * np.log(2 * np.pi) - np.log(found.sd) + found.log_laplace - found.log_exact
        )
        approximation = stats.norm.pdf(eta, found.mode, found.sd)
        gap.set_data(eta, truth, approximation)
        posterior.set_data(eta, truth)
        gaussian.set_data(eta, approximation)
        prior.set_data(eta, stats.norm.pdf(eta, 0.0, found.omega))
        left.set(xlim=(low, high), ylim=(0, 1.08))
        right.set(xlim=(low, high), ylim=(0, 1.08 * max(truth.max(), approximation.max())))
        share = np.exp(found.log_laplace - found.log_exact)
        left_title.set_text(f"Laplace's area is {share:.1%} of the exact one")
        right_title.set_text(f"total variation {found.total_variation:.4f}")

    update(found)
    return update


def sparse_binary() -> Explorer:
    """The explorer of lesson 03: how many answers, how many of them yes, and how much clusters differ."""
    controls: dict[str, Control] = {
        "n": Slider("Answers n", 1, MOST, 5, 1, unit="in the cluster"),
        "k": Slider("Of them yes, k", 0, MOST, 0, 1, unit="at most n"),
        "omega": Slider("Prior SD ω", 0.2, 5.0, 2.0, unit="logit", log=True),
    }
    alt = (
        "Left: the joint density of a cluster's answers and its random effect, and Laplace's curve. "
        "Right: the exact posterior, its Gaussian approximation and the difference."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=430)
