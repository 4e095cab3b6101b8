"""Three patients, one prior: what maximising each random effect sees, and what integrating it out sees.

Patient i has one random effect eta and a likelihood of Gaussian shape, a_i exp(-(eta - m_i)^2 / (2 s_i^2)), so that
everything below is known in closed form. With the prior N(0, omega^2) the product of the two is again Gaussian in eta:

- its mode, where joint maximisation puts the patient: m omega^2 / (omega^2 + s^2);
- its height there, the patient's factor in the joint objective: a N(m; 0, omega^2 + s^2) sqrt(omega^2 + s^2) / omega;
- its area, the patient's factor in the marginal likelihood: a sqrt(2 pi) s N(m; 0, omega^2 + s^2).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mefit import style
from workshop.explorers.panel import Choice, Control, Explorer, Refused, Slider

HEIGHT = np.array([0.7, 0.9, 0.4])  # a: the likelihood at its best eta
BEST = np.array([0.3, -1.5, 1.0])  # m: the eta that the data alone would choose
WIDTH = np.array([0.3, 0.1, 0.9])  # s: how loosely the data hold it
BOTH, PEAK, AREA = "both", "the peak", "the area"


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
    eta = np.linspace(-3, 3, 601)
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

    pulls = ", ".join(f"{part:.0%}" for part in found.shrinkage)
    return (
        f"Patient {order(found.peak)[0]} ranks first by the peak (joint: {order(found.peak)}), "
        f"patient {order(found.area)[0]} by the area (marginal: {order(found.area)}). "
        f"Multiplied: peaks {number(found.peak)}, areas {number(found.area)}. "
        f"The prior pulls the modes {pulls} of the way to 0."
    )


def paint(picture: style.Picture, found: Patients) -> Callable[[Patients], None]:
    grid = picture.add_gridspec(
        3, 2, width_ratios=(3, 1), left=0.06, right=0.98, top=0.9, bottom=0.12, hspace=0.16, wspace=0.06
    )
    rows = []
    for i in range(3):
        curves = picture.add_subplot(grid[i, 0], xlim=(-3, 3), yticks=[])
        curves.plot(found.eta, found.likelihood[i], **style.LINE["individual"], label="likelihood")
        (prior,) = curves.plot([], [], **style.LINE["prior"], label="prior")
        (product,) = curves.plot([], [], **style.LINE["joint"], label="their product")
        (peak,) = curves.plot([], [], **style.POINT["joint"], label="its peak", clip_on=False)
        area = curves.fill_between([], [], **style.AREA["marginal"], label="its area")
        curves.tick_params(labelbottom=i == 2)

        beside = picture.add_subplot(grid[i, 1], xlim=(0, 1), ylim=(0, 3))
        beside.set_axis_off()
        beside.text(0, 2.6, f"Patient {i + 1}", weight="bold", size=14, va="center")
        bars = beside.barh([1.35, 0.1], [0, 0], height=0.34, align="edge")
        notes = [beside.text(0, y, "", va="center") for y in (1.95, 0.7)]
        for bar, note, meaning in zip(bars, notes, ("joint", "marginal"), strict=True):
            bar.set_color(style.COLOUR[meaning])
            note.set_color(style.COLOUR[meaning])
        rows.append((curves, prior, product, peak, area, bars, notes))
    keys = rows[0][0].get_legend_handles_labels()
    picture.legend(*keys, loc="upper left", bbox_to_anchor=(0.04, 1.0), ncols=5, columnspacing=1.3, handletextpad=0.5)
    rows[2][0].set_xlabel("random effect η")
    rows[1][0].set_ylabel("height")

    def update(found: Patients) -> None:
        top = max(1.0, 1.08 * found.prior.max())
        strong = {"joint": 0.2 if found.show == AREA else 1.0, "marginal": 0.2 if found.show == PEAK else 1.0}
        scores = (("peak", found.peak, rank(found.peak)), ("area", found.area, rank(found.area)))
        for i, (curves, prior, product, peak, area, bars, notes) in enumerate(rows):
            seen = found.product[i] > 0.002 * top  # a line that lies on the axis says nothing
            prior.set_data(found.eta, found.prior)
            product.set_data(found.eta, np.where(seen, found.product[i], np.nan))
            peak.set_data([found.mode[i]], [found.peak[i]])
            area.set_data(found.eta, 0 * found.eta, found.product[i])
            area.set_alpha({PEAK: 0.0, AREA: 0.6}.get(found.show, style.AREA["marginal"]["alpha"]))
            peak.set_visible(found.show != AREA)
            product.set_visible(found.show != AREA)
            for bar, note, (word, score, place), alpha in zip(bars, notes, scores, strong.values(), strict=True):
                bar.set_width(score[i] / score.max())
                note.set_text(f"{word} {_short(score[i])}   {place[i]}")
                bar.set_alpha(alpha)
                note.set_alpha(alpha)
            curves.set_ylim(0, top)

    update(found)
    return update


def _short(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else f"{value:.0e}"


def three_patients() -> Explorer:
    """The explorer of lesson 02: the prior's standard deviation under a slider."""
    controls: dict[str, Control] = {
        "omega": Slider("Prior SD ω", 0.05, 5.0, 1.1, unit="of η", log=True),
        "show": Choice("Look at", (BOTH, PEAK, AREA), BOTH),
    }
    alt = "For each of three patients, likelihood, prior and their product over the random effect; its peak and area."
    return Explorer(compute, paint, say, controls, alt=alt, height=520)
