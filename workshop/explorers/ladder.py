"""The rungs of the ladder under a dose that none of them was trained on.

Given are curves: of every model, and of the truth, at the same times and for the same doses. A move looks one up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mefit import style
from workshop.explorers.panel import Control, Explorer, Refused, Slider

LOOK: tuple[
    dict[str, Any], ...
] = (  # of the rungs, from the lowest: none of them is a meaning that the style has a colour for
    {"color": "#BE3A08", "linestyle": ":", "linewidth": 2.6},
    {"color": "#CF8800", "linestyle": "-.", "linewidth": 2.6},
    {"color": "#6A1B77", "linestyle": (0, (4, 1.5)), "linewidth": 2.6},
    {"color": "#0060B0", "linestyle": "-", "linewidth": 2.8},
)


@dataclass(frozen=True)
class Rungs:
    """Curves (D, m) of the truth and of up to four models by name, the doses (D,) and times (m,), and the dose that
    the models were trained on."""

    doses: np.ndarray
    time: np.ndarray
    truth: np.ndarray
    curves: Mapping[str, np.ndarray]
    trained: float

    @property
    def missed(self) -> dict[str, np.ndarray]:
        """Root mean squared errors (D,) by model."""
        return {name: np.sqrt(np.mean((each - self.truth) ** 2, axis=1)) for name, each in self.curves.items()}


@dataclass(frozen=True)
class Seen:
    """What is seen at one dose: its place among the doses, and each model's error there, from the smallest."""

    rungs: Rungs
    place: int
    dose: float
    errors: tuple[tuple[str, float], ...]


def prepare(
    doses: Sequence[float], time: np.ndarray, truth: np.ndarray, curves: Mapping[str, np.ndarray], trained: float
) -> Rungs:
    """The rungs, checked: every curve is (D, m)."""
    given, times, exact = (np.asarray(x, float) for x in (doses, time, truth))
    said = {name: np.asarray(each, float) for name, each in curves.items()}
    shape = (given.size, times.size)
    for name, each in {"the truth": exact, **said}.items():
        if each.shape != shape:
            raise ValueError(f"The curves of {name} are {each.shape}; give one for each dose: {shape}.")
    if not 1 <= len(said) <= len(LOOK):
        raise ValueError(f"Give the curves of 1 to {len(LOOK)} models, not of {len(said)}.")
    return Rungs(given, times, exact, said, trained)


def compute(rungs: Rungs, dose: float) -> Seen:
    """What the models say at the given dose that is nearest to `dose`."""
    if not dose > 0:
        raise Refused("A dose is above zero.")
    place = int(np.argmin(np.abs(np.log(rungs.doses / dose))))
    errors = sorted(((name, float(each[place])) for name, each in rungs.missed.items()), key=lambda pair: pair[1])
    return Seen(rungs, place, float(rungs.doses[place]), tuple(errors))


def say(seen: Seen) -> str:
    what = "the dose of the training data" if np.isclose(seen.dose, seen.rungs.trained) else "a dose never given"
    peak = seen.rungs.truth[seen.place].max()
    errors = ", ".join(f"{name} {error:.3f}" for name, error in seen.errors)
    return f"Dose {seen.dose:.3g}, {what}; the true response peaks at {peak:.2f}. Errors: {errors}."


def paint(picture: style.Picture, seen: Seen) -> Callable[[Seen], None]:
    rungs = seen.rungs
    left = picture.add_axes((0.072, 0.14, 0.493, 0.66), xlim=(0, rungs.time.max()), ylim=(0, 2.2))
    right = picture.add_axes((0.665, 0.14, 0.325, 0.66), xscale="log", yscale="log", ylim=(0.004, 3.0))
    left.set(xlabel="time (h)", ylabel="response")
    right.set(xlabel="dose, at 0 and 5 h", ylabel="error (root mean square)")
    right.set_xlim(rungs.doses.min() / 1.1, 1.1 * rungs.doses.max())  # room for the dots at both ends
    right.set_xticks([0.03, 0.1, 0.3, 1.0, 3.0], ["0.03", "0.1", "0.3", "1", "3"])
    right.set_yticks([0.01, 0.1, 1.0], ["0.01", "0.1", "1"])
    right.minorticks_off()
    right.axvline(rungs.trained, color="#9A9A9A", linewidth=1.2)
    right.text(rungs.trained, 3.2, "trained on", ha="center", va="bottom", size=12, color="#555555")
    (exact,) = left.plot([], [], **style.LINE["truth"] | {"linewidth": 4.0}, label="truth")
    lines, dots = {}, {}
    for (name, error), look in zip(rungs.missed.items(), LOOK, strict=False):
        (lines[name],) = left.plot([], [], **look, zorder=3, label=name)
        right.plot(rungs.doses, error, **look | {"linewidth": 1.8})
        (dots[name],) = right.plot([], [], "o", color=look["color"], markersize=9, markeredgecolor="white", zorder=4)
    cursor = right.axvline(1.0, color="#111111", linewidth=1.4, zorder=2)
    left.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=3, columnspacing=1.4)

    def update(seen: Seen) -> None:
        exact.set_data(rungs.time, rungs.truth[seen.place])
        for name, error in seen.errors:
            lines[name].set_data(rungs.time, rungs.curves[name][seen.place])
            dots[name].set_data([seen.dose], [error])
        cursor.set_xdata([seen.dose, seen.dose])

    update(seen)
    return update


def ladder(
    doses: Sequence[float], time: np.ndarray, truth: np.ndarray, curves: Mapping[str, np.ndarray], trained: float
) -> Explorer:
    """The explorer of lesson 07: a dose, and what each model says of it beside the truth.

    `curves` are each model's predictions (D, m) for the D doses at the m times, and `truth` what is true of them;
    `trained` is the dose that the models have seen.
    """
    rungs = prepare(doses, time, truth, curves, trained)
    low, high = float(rungs.doses.min()), float(rungs.doses.max())
    stride = np.log10(high / low) / (len(rungs.doses) - 1)
    begin = min(max(trained, low), high)
    controls: dict[str, Control] = {"dose": Slider("Test dose", low, high, begin, stride, unit="at 0, 5 h", log=True)}
    alt = (
        "Left: the true response after a test dose, and what each trained model predicts. Right: the error of each "
        "model over all doses; the training dose is marked."
    )
    return Explorer(partial(compute, rungs), paint, say, controls, alt=alt, width=900, height=420)
