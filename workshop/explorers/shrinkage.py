"""Shrinkage: what empirical Bayes estimates hide, and the posterior gives back.

y_ij = eta_i + e_ij with n measurements of each subject, eta_i ~ N(0, omega^2), e_ij ~ N(0, sigma^2), all known. Then

    B = n omega^2 / (n omega^2 + sigma^2)                   the reliability
    eta_i | y_i ~ N(B ybar_i, (1 - B) omega^2)              the estimate (mode and mean) and the posterior variance
    Var(estimate) + posterior variance = B omega^2 + (1 - B) omega^2 = omega^2
    shrinkage = 1 - SD(estimates) / omega = 1 - sqrt(B)     and in its variance form 1 - B

Source of the two forms: Savic and Karlsson (2009), AAPS Journal 11, 558-569.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import NullLocator
from scipy.stats import norm

from mefit import style
from workshop.explorers.panel import Control, Explorer, Refused, Slider

SUBJECTS, EDGES = 2000, np.linspace(-3.5, 3.5, 36)  # the edges in units of omega
_CURVE = np.linspace(-3.5, 3.5, 141)
_RATIO = np.geomspace(3e-4, 5e4, 201)  # what the sliders reach
_WARNING = 0.3  # the usual line: above it, plots of estimates are not to be trusted
_rng = np.random.default_rng(5)
_ETA, _ERROR, _DRAW = (z / z.std() for z in _rng.normal(size=(3, SUBJECTS)))


@dataclass(frozen=True)
class Shrinkage:
    """`estimate` and `draw` (2000,): each subject's estimate and one draw from its posterior, in the unit of eta."""

    n: int
    omega: float
    sigma: float
    ratio: float
    reliability: float
    eta: np.ndarray
    estimate: np.ndarray
    draw: np.ndarray
    posterior_variance: float

    @property
    def spread(self) -> float:
        """Var(estimates) / omega^2, which B is on average."""
        return float(np.var(self.estimate) / self.omega**2)


def compute(n: int, omega: float, sigma: float) -> Shrinkage:
    """Estimates and posterior draws of 2000 subjects with `n` measurements each: the same subjects at any position."""
    if n < 1 or not omega > 0 or not sigma > 0:
        raise Refused(f"Needs n >= 1 and positive SDs, not {n}, {omega:g} and {sigma:g}.")
    ratio = n * omega**2 / sigma**2
    b = ratio / (1 + ratio)
    eta = omega * _ETA
    estimate = b * (eta + sigma / np.sqrt(n) * _ERROR)
    variance = (1 - b) * omega**2
    return Shrinkage(n, omega, sigma, ratio, b, eta, estimate, estimate + np.sqrt(variance) * _DRAW, variance)


def say(found: Shrinkage) -> str:
    drawn = 1 - np.std(found.draw) / found.omega
    return (
        f"n ω²/σ² = {found.ratio:.3g}, B = {found.reliability:.4f}. "
        f"Shrinkage: 1 − √B = {1 - found.reliability**0.5:.4f} "
        f"(in 2,000 estimates {1 - found.spread**0.5:.3f}, in posterior draws {drawn:+.3f}); variance form "
        f"1 − B = {1 - found.reliability:.4f} ({1 - found.spread:.3f})."
    )


def paint(picture: style.Picture, found: Shrinkage) -> Callable[[Shrinkage], None]:
    left = picture.add_axes((0.07, 0.13, 0.46, 0.66), yticks=[], xlabel="random effect η")
    left.set_ylabel("density")
    estimates = left.stairs(np.zeros(EDGES.size - 1), EDGES, fill=True, **style.AREA["individual"] | {"alpha": 0.75})
    estimates.set_label("2,000 estimates (EBEs)")
    draws = left.stairs(np.zeros(EDGES.size - 1), EDGES, color=style.COLOUR["posterior"], linewidth=2.4, zorder=3)
    draws.set_label("a posterior draw each")
    (prior,) = left.plot([], [], **style.LINE["prior"] | {"zorder": 3.2}, label="prior N(0, ω²)")
    (expected,) = left.plot([], [], **style.LINE["individual"] | {"zorder": 3.1}, label="N(0, B ω²)")
    left.legend(loc="lower left", bbox_to_anchor=(-0.03, 1.0), ncols=2, columnspacing=1.0)

    bars = picture.add_axes((0.62, 0.72, 0.365, 0.12), xlim=(0, 1.12), ylim=(-0.5, 0.5), yticks=[])
    parts = bars.set_title("", size=12)
    (known,) = bars.barh([0], [0.5], color=style.COLOUR["individual"], height=0.8)
    (hidden,) = bars.barh([0], [0.5], left=[0.5], color=style.COLOUR["posterior"], height=0.8)
    bars.axvline(1, **style.LINE["truth"])
    bars.set_xticks([0, 1], ["0", "ω²"])

    right = picture.add_axes((0.62, 0.13, 0.365, 0.4), xscale="log", xlim=(_RATIO[0], _RATIO[-1]), ylim=(0, 1))
    right.set(xlabel="n ω² / σ²", ylabel="shrinkage", yticks=[0, 0.3, 1])
    right.set_xticks([0.001, 1, 1000], ["0.001", "1", "1000"])
    right.xaxis.set_minor_locator(NullLocator())
    reliability = _RATIO / (1 + _RATIO)
    right.plot(_RATIO, 1 - np.sqrt(reliability), **style.LINE["individual"] | {"linewidth": 2.6}, label="1 − √B")
    right.plot(_RATIO, 1 - reliability, **style.LINE["prior"], label="1 − B")
    right.axhline(_WARNING, color="#999999", linewidth=1.2, zorder=1)
    (dots,) = right.plot(
        [], [], **style.POINT["individual"] | {"markersize": 10, "clip_on": False}, label="these estimates"
    )
    right.legend(loc="upper right", borderaxespad=0.1)

    def update(found: Shrinkage) -> None:
        edges, top = EDGES * found.omega, 0.0
        for artist, values in ((estimates, found.estimate), (draws, found.draw)):
            height = np.histogram(values, edges, density=True)[0]
            artist.set_data(height, edges)
            top = max(top, height.max())
        x = _CURVE * found.omega
        prior.set_data(x, norm.pdf(x, 0, found.omega))
        curve = norm.pdf(x, 0, np.sqrt(found.reliability) * found.omega)
        expected.set_data(x, curve)
        # A spike of estimates may leave the picture: the prior must stay readable.
        left.set(xlim=(x[0], x[-1]), ylim=(0, min(1.08 * max(top, curve.max()), 3 / found.omega)))
        share, rest = found.spread, found.posterior_variance / found.omega**2
        known.set_width(share)
        hidden.set_x(share)
        hidden.set_width(rest)
        total = round(share, 2) + round(rest, 2)  # so that the sum is right as it is written
        parts.set_text(f"EBEs {share:.2f} + posterior {rest:.2f} = {total:.2f}")
        dots.set_data([found.ratio] * 2, [1 - share**0.5, 1 - share])

    update(found)
    return update


def shrinkage() -> Explorer:
    """The explorer of lesson 05: how many measurements, how much subjects differ, how noisy the measurements are."""
    controls: dict[str, Control] = {
        "n": Slider("Measurements n", 1, 40, 2, 1, unit="a subject"),
        "omega": Slider("Prior SD ω", 0.1, 3.0, 1.0, unit="between subjects", log=True),
        "sigma": Slider("Residual SD σ", 0.1, 5.0, 1.0, unit="of one", log=True),
    }
    alt = (
        "Left: histograms of 2,000 empirical Bayes estimates and of as many posterior draws, with the prior. "
        "Right: the total variance as a bar of two parts, and shrinkage against n omega squared over sigma squared."
    )
    return Explorer(compute, paint, say, controls, alt=alt, width=900, height=430)
