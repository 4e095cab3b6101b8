"""The rungs of the ladder under a dose that none of them was trained on.

Given are curves: of every model, and of the truth, at the same times and for the same doses. A move looks one up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mefit import style
from workshop.explorers.controls import Control, Refused, Slider
from workshop.explorers.scene import Axis, Dots, Drag, Line, Mark, Panel, Rule, Scene, Text
from workshop.explorers.stage import Stage


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
    if not 1 <= len(said) <= len(style.SERIES):
        raise ValueError(f"Give the curves of 1 to {len(style.SERIES)} models, not of {len(said)}.")
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
    (best, least), (worst, most) = seen.errors[0], seen.errors[-1]
    nearest = f"{best} misses the truth by {least:.3f}"
    if len(seen.errors) > 1:
        nearest = f"{best} is nearest to the truth (error {least:.2g}), {worst} furthest ({most:.2g})"
    peak = seen.rungs.truth[seen.place].max()
    errors = ", ".join(f"{name} {error:.3f}" for name, error in seen.errors)
    return f"Dose {seen.dose:.3g}, {what}: {nearest}.\nThe true response peaks at {peak:.2f}. Errors: {errors}."


def scene(seen: Seen) -> Scene:
    rungs = seen.rungs
    end = float(rungs.time.max())
    curves = Panel(Axis(0, end, "time (h)"), Axis(0, 2.2, "response"), "What each says of this dose")
    dose = Axis(
        float(rungs.doses.min()) / 1.1,
        1.1 * float(rungs.doses.max()),
        "dose, at 0 and 5 h",
        log=True,
        ticks=[0.03, 0.1, 0.3, 1.0, 3.0],
    )
    error = Axis(0.004, 3.0, "error (root mean square)", log=True, ticks=[0.01, 0.1, 1.0])
    marks: list[Mark] = [
        Rule("errors", "trained", "guide", "x", rungs.trained),
        Text("errors", "trained on", "guide", rungs.trained / 1.06, 1.2, "trained on", "end"),
        Line("curves", "truth", "truth", rungs.time, rungs.truth[seen.place], "truth", ghost=True, weight="strong"),
    ]
    for meaning, (name, missed) in zip(style.SERIES, rungs.missed.items(), strict=False):
        marks += [
            Line("curves", name, meaning, rungs.time, rungs.curves[name][seen.place], name),
            Line("errors", name, meaning, rungs.doses, missed),
            Dots("errors", f"{name} here", meaning, seen.dose, missed[seen.place], shape="o", size=10),
        ]
    hold = Drag(x="dose")
    marks.append(Rule("errors", "dose", "data", "x", seen.dose, drag=hold, weight="thin"))
    return Scene({"curves": curves, "errors": Panel(dose, error, "How far each is off: drag the line")}, marks)


def ladder(
    doses: Sequence[float], time: np.ndarray, truth: np.ndarray, curves: Mapping[str, np.ndarray], trained: float
) -> Stage:
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
    return Stage(
        partial(compute, rungs),
        scene,
        say,
        controls,
        alt=alt,
        layout=["curves errors"],
        widths=[1.4, 1],
        size=(900, 420),
        tries=[
            ("the dose trained on", {"dose": begin}),
            ("the smallest dose", {"dose": low}),
            ("the largest", {"dose": high}),
        ],
    )
