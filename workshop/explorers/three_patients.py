"""Three patients, one prior: what maximising each random effect sees, and what integrating it out sees.

Patient i has one random effect eta and a likelihood of Gaussian shape, a_i exp(-(eta - m_i)^2 / (2 s_i^2)), so that
everything below is known in closed form. With the prior N(0, omega^2) the product of the two is again Gaussian in eta:

- its mode, where joint maximisation puts the patient: m omega^2 / (omega^2 + s^2);
- its height there, the patient's factor in the joint objective: a N(m; 0, omega^2 + s^2) sqrt(omega^2 + s^2) / omega;
- its area, the patient's factor in the marginal likelihood: a sqrt(2 pi) s N(m; 0, omega^2 + s^2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workshop.explorers.controls import Choice, Control, Refused, Slider
from workshop.explorers.scene import Axis, Band, Dots, Drag, Line, Mark, Panel, Scene, Span, Text
from workshop.explorers.stage import Move, Stage

HEIGHT = np.array([0.7, 0.9, 0.4])  # a: the likelihood at its best eta
BEST = np.array([0.3, -1.5, 1.0])  # m: the eta that the data alone would choose
WIDTH = np.array([0.3, 0.1, 0.9])  # s: how loosely the data hold it
BOTH, PEAK, AREA = "both", "the peak", "the area"
LOW, HIGH = 0.2, 5.0  # of omega
LEFT, RIGHT, TOP = -3.0, 5.2, 1.3  # of the picture: the prior is in sight at one SD, where it is held


@dataclass(frozen=True)
class Patients:
    """Curves over `eta` (n,), each (3, n) but the prior (n,), and one number a patient, each (3,)."""

    omega: float
    show: str
    eta: np.ndarray
    likelihood: np.ndarray
    prior: np.ndarray
    product: np.ndarray
    mode: np.ndarray
    peak: np.ndarray
    area: np.ndarray
    shrinkage: np.ndarray


def compute(omega: float, show: str = BOTH) -> Patients:
    """The three patients under a prior of standard deviation `omega` (positive, in the unit of eta)."""
    if not omega > 0:
        raise Refused(f"The prior's standard deviation must be positive, not {omega:g}.")
    eta = np.linspace(LEFT, RIGHT, 821)
    spread = omega**2 + WIDTH**2
    likelihood = HEIGHT[:, None] * np.exp(-0.5 * ((eta - BEST[:, None]) / WIDTH[:, None]) ** 2)
    prior = np.exp(-0.5 * (eta / omega) ** 2) / (np.sqrt(2 * np.pi) * omega)
    agreement = np.exp(-0.5 * BEST**2 / spread)
    mode = BEST * omega**2 / spread
    peak = HEIGHT * agreement / (np.sqrt(2 * np.pi) * omega)
    area = HEIGHT * WIDTH * agreement / np.sqrt(spread)
    return Patients(omega, show, eta, likelihood, prior, likelihood * prior, mode, peak, area, 1 - mode / BEST)


def rank(values: np.ndarray) -> list[str]:
    """'1st', '2nd' or '3rd' for each of three values, the largest first."""
    return [("1st", "2nd", "3rd")[int(np.sum(values > value))] for value in values]


def say(found: Patients) -> str:
    def order(values: np.ndarray) -> str:
        return ", ".join(str(i + 1) for i in np.argsort(-values))

    def number(values: np.ndarray) -> str:
        return f"{np.prod(values):.2g}"

    by_peak, by_area = order(found.peak), order(found.area)
    pulls = ", ".join(f"{part:.0%}" for part in found.shrinkage)
    why = "here the two agree" if by_peak == by_area else "an area counts the width too, and a peak forgets it"
    return (
        f"Patient {by_peak[0]} ranks first by the peak (joint: {by_peak}), "
        f"patient {by_area[0]} by the area (marginal: {by_area}): {why}.\n"
        f"All three multiplied: peaks {number(found.peak)}, areas {number(found.area)}. "
        f"The prior pulls the modes {pulls} of the way to 0."
    )


def scene(found: Patients) -> Scene:
    # The axes stand still: what narrows is the prior, and the likelihood, which knows nothing of omega, stays.
    height = Axis(0, TOP, ticks=[])
    panels = {f"p{i}": Panel(Axis(LEFT, RIGHT, "random effect η"), height, f"Patient {i + 1}") for i in range(3)}
    names = [(float(i), f"patient {i + 1}") for i in range(3)]
    panels["scores"] = Panel(Axis(-0.5, 2.5, ticks=names), Axis(1, 0, ticks=[]))
    marks: list[Mark] = []
    for i in range(3):
        marks += _curves(i, found)
    if found.show != AREA:
        marks += _scores("peak", "joint", found.peak, 0.38)
    if found.show != PEAK:
        marks += _scores("area", "marginal", found.area, 0.88)
    return Scene(panels, marks)


def _curves(i: int, found: Patients) -> list[Mark]:
    """One patient's likelihood, the prior, and their product with its peak and its area."""
    panel, every = f"p{i}", slice(None, None, 4)
    eta, product = found.eta[every], found.product[i, every]
    # One entry of the legend for each meaning
    labels = ("likelihood", "prior: drag it", "its area", "their product", "its peak") if i == 0 else [""] * 5
    marks: list[Mark] = []
    if found.show != PEAK:
        marks.append(Band(panel, "area", "marginal", eta, 0 * eta, product.round(4), labels[2]))
    marks += [
        Line(panel, "prior", "prior", eta, found.prior[every].round(4), labels[1]),
        Line(panel, "likelihood", "individual", eta, found.likelihood[i, every].round(4), labels[0]),
    ]
    if found.show != AREA:
        seen = product > 0.002 * TOP  # a line that lies on the axis says nothing
        marks += [
            Line(panel, "product", "joint", eta, np.where(seen, product.round(4), np.nan), labels[3]),
            Dots(panel, "peak", "joint", found.mode[i], found.peak[i], labels[4]),
        ]
    beside = float(np.exp(-0.5) / (np.sqrt(2 * np.pi) * found.omega))
    hold = Drag(x="omega", along="prior")
    return [*marks, Dots(panel, "omega", "prior", found.omega, beside, drag=hold, size=11)]


def _scores(word: str, meaning: str, values: np.ndarray, down: float) -> list[Mark]:
    """A bar per patient, as long as its share of the largest, with its number and its rank."""
    left, row = np.arange(3) - 0.45, np.full(3, down)
    words = [f"{word} {_short(value)}, {place}" for value, place in zip(values, rank(values), strict=True)]
    return [
        Span("scores", f"{word}s", meaning, left, row, left + 0.9 * values / values.max(), row, weight="strong"),
        Text("scores", f"{word} numbers", meaning, left, row - 0.09, words),
    ]


def _short(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else f"{value:.0e}"


def three_patients() -> Stage:
    """The explorer of lesson 02: the prior is taken hold of, and becomes narrow or wide."""
    controls: dict[str, Control] = {
        "omega": Slider("Prior SD ω", LOW, HIGH, 1.1, log=True),
        "show": Choice("Look at", (BOTH, PEAK, AREA), BOTH),
    }
    alt = (
        "For each of three patients, likelihood, prior and their product over the random effect. "
        "Below them, the peak and the area of each product as bars."
    )
    tries: Sequence[Move] = [
        ("let people differ little", {"omega": LOW}),
        ("let them differ a lot", {"omega": HIGH}),
        ("only the areas", {"show": AREA}),
    ]
    return Stage(
        compute,
        scene,
        say,
        controls,
        alt=alt,
        layout=["p0 p1 p2", "scores scores scores"],
        widths=[1, 1, 1],
        heights=[1.7, 1],
        size=(900, 440),
        tries=tries,
    )
