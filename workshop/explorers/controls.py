"""What an explorer's controls are, and how they answer to hands and to code.

`stage.js` mirrors the arithmetic of `Slider` (`stride`, `at`, `index`); the tests hold both to one table.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class Refused(ValueError):
    """What an explorer will not compute, in a sentence for the learner that says what to do instead.

    Raised by `compute` alone. A ValueError of Python, NumPy or mefit is none: where an explorer provokes one on
    purpose it raises `Refused` in its place. So a slip in the code is never taken for an answer.
    """


@dataclass(frozen=True)
class Slider:
    """A number between `low` and `high`; a whole number where all of `low`, `high`, `value` and `step` are.

    `step` is in the slider's own unit, or in decades with `log=True`; by default a hundredth of the way.
    `play=True` adds a button that walks from low to high, for algorithms watched step by step.
    """

    label: str
    low: float
    high: float
    value: float
    step: float | None = None
    unit: str = ""
    log: bool = False
    play: bool = False

    def check(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise ValueError(f"{self.label!r} takes a number from {self.low:g} to {self.high:g}, not {value!r}.")
        if self.whole and value != int(value):
            raise ValueError(f"{self.label!r} takes a whole number, not {value!r}.")
        return int(value) if self.whole else float(value)

    @property
    def whole(self) -> bool:
        return not self.log and all(isinstance(v, int) for v in (self.low, self.high, self.value, self.step))

    @property
    def stride(self) -> float:
        span = math.log10(self.high / self.low) if self.log else self.high - self.low
        return span / 100 if self.step is None else self.step

    def at(self, index: int) -> float:
        """The value `index` steps from the low end, without the digits that only the arithmetic put there."""
        value = self.low * 10 ** (index * self.stride) if self.log else self.low + index * self.stride
        short = int(value) if self.whole else float(f"{value:.3g}" if self.log else f"{value:.10g}")
        return min(max(short, self.low), self.high)

    def index(self, value: float) -> int:
        """How many steps from the low end `value` lies, to the nearest step."""
        return round((math.log10(value / self.low) if self.log else value - self.low) / self.stride)


@dataclass(frozen=True)
class Choice:
    """One of a few `options`, each the text that is shown and the value that `compute` gets."""

    label: str
    options: tuple[str, ...]
    value: str

    def check(self, value: Any) -> str:
        if value not in self.options:
            raise ValueError(f"{self.label!r} is one of {', '.join(map(repr, self.options))}, not {value!r}.")
        return value


@dataclass(frozen=True)
class Switch:
    """On or off."""

    label: str
    value: bool

    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"{self.label!r} is True or False, not {value!r}.")
        return value


Control = Slider | Choice | Switch
ANSWER = Switch("show the answer", False)
"""For an explorer that asks something of a hand: what it looks for stays hidden until it is asked for."""


class Controlled:
    """An explorer as code sees it: named controls with values, that are moved all at once.

    What shows it adds `_redraw(by_hand)`, which computes and shows the present values.
    """

    def __init__(
        self, compute: Callable[..., Any], say: Callable[[Any], str], controls: Mapping[str, Control], alt: str
    ):
        self.controls = dict(controls)
        self.alt = alt
        self.result: Any = None
        self.text = ""
        self._compute = compute
        self._say = say
        self._values = {name: control.check(control.value) for name, control in self.controls.items()}

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say now."""
        return dict(self._values)

    def set(self, **values: Any) -> Any:
        """Move controls, all at once, and draw; raises ValueError for what they do not take and for what fails."""
        unknown = [name for name in values if name not in self.controls]
        if unknown:
            raise ValueError(f"There is no control {unknown[0]!r}; there are {', '.join(map(repr, self.controls))}.")
        self._values |= {name: self.controls[name].check(value) for name, value in values.items()}
        self._redraw()
        return self

    def reset(self) -> None:
        """Move every control to where it was at first."""
        self.set(**{name: control.value for name, control in self.controls.items()})

    def _redraw(self, by_hand: bool = False) -> None:
        raise NotImplementedError


def sentence_of(failure: Exception, refused: bool) -> str:
    """What a learner reads when a move fails, by a refusal or by a fault of the kit."""
    ours = "" if refused else f"This explorer has a fault ({type(failure).__name__}): "
    return f"{ours}{failure} The picture has not moved."
