"""What a learner may be asked to predict: a number, a choice, curves drawn by hand, or crosses in a table.

Each kind of question says what an answer of its kind is (`read`), whether it is right (`judge`), and how the two lie
on each other (`scene`, for those that have a picture).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from workshop.explorers.scene import Axis, Dots, Line, Mark, Panel, Scene, numbers

PANEL = "drawing"
YOURS, TRUE = "prior", "truth"  # a prediction is what one believes before the data
_GOOD_SHARE = 0.9  # of the boxes of a table that are right in a prediction that counts as right


@dataclass(frozen=True)
class Verdict:
    """Whether a prediction was right, and in words what was said and what is so."""

    right: bool
    said: str
    truth: str


@dataclass(frozen=True)
class Question:
    """What all kinds have: what is asked, and a sentence that is said once it is revealed."""

    asks: str
    then: str = field(default="", kw_only=True)

    kind: ClassVar[str] = ""

    def setup(self) -> dict[str, Any]:
        """What the browser has to know, and never the truth."""
        return {"kind": self.kind, "asks": self.asks}

    def nothing(self) -> Any:
        """The answer of somebody who has not answered."""
        return None

    def read(self, given: Any) -> Any:
        """An answer as it is kept; ValueError in a sentence for what is none."""
        raise NotImplementedError

    def judge(self, given: Any) -> Verdict:
        """The verdict on an answer."""
        raise NotImplementedError

    def told(self, verdict: Verdict) -> str:
        """The verdict in a sentence."""
        return f"You said: {verdict.said}. It is: {verdict.truth}."

    def details(self) -> Any:
        """The truth for the browser, once it is revealed."""
        return None

    def scene(self, given: Any, revealed: bool) -> Scene | None:
        """The answer as a picture, with the truth where it is revealed; None for what is no picture."""
        return None


@dataclass(frozen=True)
class Number(Question):
    """A number between `low` and `high`; right where it is no further than `within` from the truth.

    With `log` the axis is logarithmic, and `within` is a factor.
    """

    truth: float
    within: float
    low: float
    high: float
    unit: str = ""
    log: bool = False

    kind = "number"

    def setup(self) -> dict[str, Any]:
        """Also its range and unit."""
        return super().setup() | {"low": self.low, "high": self.high, "unit": self.unit}

    def read(self, given: Any) -> float:
        """A finite number in the range of the axis."""
        if isinstance(given, bool) or not isinstance(given, int | float) or not self.low <= given <= self.high:
            raise ValueError(f"Give a number from {self.low:g} to {self.high:g}.")
        return float(given)

    def judge(self, given: float) -> Verdict:
        """Right where it is near enough."""
        if self.log:
            right = abs(math.log(given / self.truth)) <= math.log(self.within) * (1 + 1e-9)
        else:
            right = abs(given - self.truth) <= self.within * (1 + 1e-9)
        return Verdict(right, self._words(given), self._words(self.truth))

    def scene(self, given: float | None, revealed: bool) -> Scene | None:
        """The number beside the truth on one line."""
        if given is None or not revealed:
            return None
        panel = Panel(Axis(self.low, self.high, self.unit, log=self.log), Axis(0, 1, ticks=()))
        marks = [
            Dots(PANEL, "you", YOURS, given, 0.32, label="you", size=13),
            Dots(PANEL, "truth", TRUE, self.truth, 0.68, label="it is", size=11),
        ]
        return Scene({PANEL: panel}, marks)

    def _words(self, value: float) -> str:
        return f"{value:.4g} {self.unit}".strip().replace("-", "\u2212", 1 if value < 0 else 0).replace(" %", "%")


@dataclass(frozen=True)
class Choice(Question):
    """One of several answers."""

    options: Sequence[str]
    truth: str

    kind = "choice"

    def setup(self) -> dict[str, Any]:
        """Also the answers to choose from."""
        return super().setup() | {"options": list(self.options)}

    def read(self, given: Any) -> str:
        """One of the options."""
        if given not in self.options:
            raise ValueError(f"Choose one of: {', '.join(self.options)}.")
        return given

    def judge(self, given: str) -> Verdict:
        """Right where it is the true one."""
        return Verdict(given == self.truth, given, self.truth)

    def told(self, verdict: Verdict) -> str:
        """What was chosen, and the answer where it is another."""
        said = f"You said: {verdict.said}."
        return said if verdict.right else f"{said} The answer: {verdict.truth}."

    def details(self) -> str:
        """The true option."""
        return self.truth


@dataclass(frozen=True)
class Curve(Question):
    """Curves drawn by hand on the axes of `panel`, over `grid` (m,); `truth` holds each of them by its name.

    Right where they are on average no further away than `within`, a share of the axis' height. `given` are marks that
    the learner sees from the start.
    """

    panel: Panel
    grid: ArrayLike
    truth: Mapping[str, ArrayLike]
    within: float = 0.1
    given: Sequence[Mark] = ()

    kind = "curve"

    def setup(self) -> dict[str, Any]:
        """Also the curves' names and where they are drawn."""
        return super().setup() | {"curves": list(self.truth), "grid": numbers(self.grid)}

    def nothing(self) -> list[list[float | None]]:
        """Empty axes."""
        return [[None] * np.size(self.grid) for _ in self.truth]

    def read(self, given: Any) -> list[list[float]]:
        """A number for each curve and each place, put back onto the axes where a hand went over their edge."""
        values = np.array(given, dtype=float)
        if values.shape != (len(self.truth), np.size(self.grid)) or not np.isfinite(values).all():
            raise ValueError("Draw from the left end to the right end.")
        low, high = self.panel.y.low, self.panel.y.high
        return np.clip(values, low, high).round(6).tolist()

    def judge(self, given: Any) -> Verdict:
        """Right where the curves lie near each other; the distance is said in percent of the axis."""
        axis = self.panel.y
        place = np.log10 if axis.log else np.asarray
        height = float(place(axis.high) - place(axis.low))
        away = np.abs(place(np.array(given, dtype=float)) - place(np.array(list(self.truth.values()), dtype=float)))
        share = float(away.mean()) / height
        return Verdict(share <= self.within, f"{share:.0%} of the height away", "")

    def told(self, verdict: Verdict) -> str:
        """How far away the drawing is."""
        return f"On average your drawing is {verdict.said}."

    def scene(self, given: Any, revealed: bool) -> Scene:
        """The drawn curves, with the true ones over them once they are revealed."""
        marks = list(self.given)
        for k, (name, values) in enumerate(self.truth.items()):
            drawn = [math.nan if value is None else value for value in given[k]]
            first = k == 0
            marks.append(Line(PANEL, f"you {name}", YOURS, self.grid, drawn, label="you" if first else ""))
            if revealed:
                marks.append(Line(PANEL, f"true {name}", TRUE, self.grid, values, label="it is" if first else ""))
        return Scene({PANEL: self.panel}, [replace(mark, panel=PANEL) for mark in marks])


@dataclass(frozen=True)
class Crosses(Question):
    """Boxes to tick: `rows` by `columns`; `truth` is a row of text each, with x for a cross and . for none.

    Right where nine boxes in ten are.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    truth: Sequence[str]

    kind = "crosses"

    def setup(self) -> dict[str, Any]:
        """Also the names of rows and columns."""
        return super().setup() | {"rows": list(self.rows), "columns": list(self.columns)}

    def nothing(self) -> list[list[bool]]:
        """A table without a cross."""
        return [[False] * len(self.columns) for _ in self.rows]

    def read(self, given: Any) -> list[list[bool]]:
        """True or false for each box."""
        boxes = [[bool(box) for box in row] for row in given]
        if [len(row) for row in boxes] != [len(self.columns)] * len(self.rows):
            raise ValueError("Give true or false for each box.")
        return boxes

    def judge(self, given: Any) -> Verdict:
        """Right where nearly all boxes are."""
        alike = np.array(given, dtype=bool) == np.array(self.details(), dtype=bool)
        hits = int(alike.sum())
        every = alike.size
        crosses = sum(row.count("x") for row in self.truth)
        return Verdict(hits >= _GOOD_SHARE * every, f"{hits} of {every} boxes right", f"{crosses} crosses")

    def told(self, verdict: Verdict) -> str:
        """How many boxes are right, and what the signs say."""
        return f"You have {verdict.said}. A cross that you left out has the sign !, one too many has \u2717."

    def details(self) -> list[list[bool]]:
        """The true crosses."""
        return [[letter == "x" for letter in row] for row in self.truth]
