"""Shrinkage: what empirical Bayes estimates hide, and the posterior gives back.

y_ij = eta_i + e_ij with n measurements of each subject, eta_i ~ N(0, omega^2), e_ij ~ N(0, sigma^2), all known. Then

    B = n omega^2 / (n omega^2 + sigma^2)                   the reliability
    eta_i | y_i ~ N(B ybar_i, (1 - B) omega^2)              the estimate (mode and mean) and the posterior variance
    Var(estimate) + posterior variance = B omega^2 + (1 - B) omega^2 = omega^2
    shrinkage = 1 - SD(estimates) / omega = 1 - sqrt(B)     and in its variance form 1 - B

Source of the two forms: Savic and Karlsson (2009), AAPS Journal 11, 558-569.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Move, Stage

SUBJECTS, EDGES = 2000, np.linspace(-3.5, 3.5, 36)  # the edges in units of omega
MOST, LEAST_OMEGA, MOST_OMEGA = 40, 0.2, 2.0
REACH, TOP = 4.5, 1.4  # of the picture: a needle of estimates leaves it, for the prior must stay readable
_CURVE = np.linspace(-3.5, 3.5, 81)
_COUNTS = np.geomspace(1, MOST, 60)
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
    lost = 1 - found.reliability**0.5
    drawn = 1 - np.std(found.draw) / found.omega
    trust = "their plots are not to be trusted" if lost > _WARNING else "their plots can be trusted"
    return (
        f"The estimates have lost {100 * lost:.2g}% of the spread: {trust}. "
        "It is not gone: each posterior is as wide as what they lack, and draws from it look like the prior.\n"
        f"n ω²/σ² = {found.ratio:.3g}, B = {found.reliability:.4f}. "
        f"Shrinkage: 1 − √B = {1 - found.reliability**0.5:.4f} "
        f"(2,000 estimates {1 - found.spread**0.5:.3f}, draws {drawn:+.3f}); variance form "
        f"1 − B = {1 - found.reliability:.4f} ({1 - found.spread:.3f})."
    )


def scene(found: Shrinkage) -> Scene:
    count = Axis(1, MOST, "measurements per subject, n", log=True, ticks=[1, 2, 5, 10, 20, 40])
    panels = {
        # The axes stand still, so that a prior that is made narrower is seen to be narrower.
        "eta": Panel(Axis(-REACH, REACH, "random effect η"), Axis(0, TOP, "density")),
        "parts": Panel(
            Axis(1, MOST, log=True, ticks=[1, 2, 5, 10, 20, 40]),
            Axis(0, 1.25, ticks=[(0, "0"), (1, "ω²")]),
            "Where the variance is",
        ),
        "lost": Panel(count, Axis(0, 1, ticks=[(0, "0"), (_WARNING, "30%"), (1, "100%")]), "Shrinkage of the SD"),
    }
    return Scene(panels, [*_densities(found), *_over_counts(found)])


def _steps(values: np.ndarray, omega: float) -> tuple[np.ndarray, np.ndarray]:
    """A histogram as the line of its steps."""
    edges = EDGES * omega
    height = np.histogram(values, edges, density=True)[0]
    return np.repeat(edges, 2)[1:-1], np.repeat(height, 2)


def _densities(found: Shrinkage) -> list[Mark]:
    """The prior, the estimates and the draws; the prior is held at its SD."""
    x = _CURVE * found.omega
    edges, estimates = _steps(found.estimate, found.omega)
    _, draws = _steps(found.draw, found.omega)
    marks: list[Mark] = [
        Band("eta", "estimates", "individual", edges, 0 * edges, estimates, "2,000 estimates (EBEs)"),
        Line("eta", "outline", "individual", edges, estimates, weight="thin"),
        Line("eta", "draws", "posterior", edges, draws, "a posterior draw of each"),
        Line("eta", "prior", "prior", x, norm.pdf(x, 0, found.omega), "prior"),
        Rule("eta", "omega", "prior", "x", [found.omega, -found.omega], "±ω: drag it", Drag(x="omega"), "thin"),
    ]
    if estimates.max() > TOP:
        marks.append(Text("eta", "needle", "individual", 0.15 * REACH, 0.85 * TOP, "↑  the estimates go on upwards"))
    return marks


def _over_counts(found: Shrinkage) -> list[Mark]:
    """For any number of measurements: the two parts of the variance, and both forms of shrinkage."""
    ratio = _COUNTS * found.ratio / found.n
    b = ratio / (1 + ratio)
    here = found.reliability
    return [
        Band("parts", "estimates", "individual", _COUNTS, 0 * b, b),
        Band("parts", "posteriors", "posterior", _COUNTS, b, 0 * b + 1),
        Line("parts", "reliability", "individual", _COUNTS, b),
        Text("parts", "below", "individual", 0.95 * MOST, 0.06, "of the estimates, B ω²", "end"),
        Text("parts", "above", "posterior", 0.95 * MOST, 1.05, "of the posteriors, (1 − B) ω²", "end"),
        Rule("parts", "now", "guide", "x", found.n, weight="thin"),
        Dots("parts", "here", "individual", found.n, here, drag=Drag(x="n", along="reliability"), size=11),
        Rule("lost", "warning", "guide", "y", _WARNING, weight="thin"),
        Line("lost", "variance form", "guide", _COUNTS, 1 - b, "1 − B, the variance form"),
        Line("lost", "shrinkage", "individual", _COUNTS, 1 - np.sqrt(b), "1 − √B", weight="strong"),
        Rule("lost", "now", "guide", "x", found.n, weight="thin"),
        Dots("lost", "here", "individual", found.n, 1 - here**0.5, drag=Drag(x="n", along="shrinkage"), size=11),
    ]


def shrinkage() -> Stage:
    """The explorer of lesson 05: how many measurements, how much subjects differ, how noisy the measurements are."""
    controls: dict[str, Control] = {
        "n": Slider("Measurements per subject n", 1, MOST, 2, 1),
        "omega": Slider("Prior SD ω", LEAST_OMEGA, MOST_OMEGA, 1.0, log=True),
        "sigma": Slider("Residual SD σ", 0.1, 5.0, 1.0, log=True),
    }
    alt = (
        "Left: histograms of 2,000 empirical Bayes estimates and of as many posterior draws, with the prior. Right: "
        "the two parts of the variance, and shrinkage, against the number of measurements per subject."
    )
    tries: Sequence[Move] = [
        ("make people more alike", {"omega": 0.3}),
        ("measure each 20 times", {"n": 20}),
        ("measure badly", {"sigma": 4.0}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["eta parts", "eta lost"],
        widths=[1.4, 1],
        heights=[1, 1.16],
        size=(900, 440),
        tries=tries,
    )
