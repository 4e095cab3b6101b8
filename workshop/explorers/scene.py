"""The description of a picture as data: panels with axes, and marks with a name and a meaning.

```python
Scene(
    panels={"profile": Panel(Axis(0.01, 100, "tau (points)", log=True), Axis(-40, -30), title="Marginal")},
    marks=[
        Line("profile", "curve", "marginal", x=grid, y=height),
        Dots("profile", "here", "marginal", x=tau, y=value, drag=Drag(x="tau", along="curve")),
    ],
)
```

Every mark says, in this order, its panel; its name, which no other of the panel has (a mark glides from where the mark
of that name was); and its meaning. That is one of `mefit.plots.style`, whose colour, width, dash and marker it gets,
or `"guide"` for what only helps to read. `label` makes a legend entry. With `ghost=True` the mark's last state stays
on the panel, faint, until the next move has begun: for where axes must change, or where the change is the lesson.
Marks lie on one another in the order of the list. NaN breaks a line. `Scene.data` checks all of it and gives plain
lists and numbers of five digits; `stage.js` and `still.py` draw them.
"""

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mefit import style

GUIDE = "guide"
MEANINGS = (*style.COLOUR, GUIDE)
WEIGHTS = ("thin", "normal", "strong")
SHAPES = ("o", "s", "D", "^", "v", "+", "*")
ANCHORS = ("start", "middle", "end")


@dataclass(frozen=True)
class Axis:
    """From `low` (left, bottom) to `high`; `ticks` are values, or pairs of value and words, or left to the drawer."""

    low: float
    high: float
    label: str = ""
    log: bool = False
    ticks: Sequence[float] | Sequence[tuple[float, str]] | None = None

    def data(self, where: str) -> dict[str, Any]:
        """The axis as plain data; ValueError for limits that are none."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.low == self.high:
            raise ValueError(f"{where} runs from {self.low:g} to {self.high:g}: two different numbers are needed.")
        if self.log and min(self.low, self.high) <= 0:
            raise ValueError(
                f"{where} is logarithmic and runs from {self.low:g} to {self.high:g}: both must be positive."
            )
        ticks = None
        if self.ticks is not None:
            pairs = [tick if isinstance(tick, tuple) else (tick, f"{tick:g}") for tick in self.ticks]
            ticks = [[float(value), str(words).replace("-", "−")] for value, words in pairs]
        return {"low": float(self.low), "high": float(self.high), "label": self.label, "log": self.log, "ticks": ticks}


@dataclass(frozen=True)
class Panel:
    """Two axes, and a title in the colour of a `meaning`."""

    x: Axis
    y: Axis
    title: str = ""
    meaning: str = GUIDE


@dataclass(frozen=True)
class Drag:
    """What a hand on a mark moves: the sliders named `x` and `y`, whose values are the mark's coordinates.

    `along` is the name of a line on the same panel that the mark rides on while it is held; `index` says which of
    several dots it is. Where a coordinate is a multiple of the value (hours on an axis of days, a factor on a dose),
    `scale_x` and `scale_y` say which.
    """

    x: str | None = None
    y: str | None = None
    along: str | None = None
    index: int = 0
    scale_x: float = 1.0
    scale_y: float = 1.0


@dataclass(frozen=True)
class Mark:
    """What every mark says of itself; see the classes below."""

    panel: str
    name: str
    meaning: str
    ghost: bool = field(default=False, kw_only=True)

    kind: ClassVar[str] = ""
    arrays: ClassVar[tuple[str, ...]] = ()

    def data(self) -> dict[str, Any]:
        """The mark as plain data; ValueError for what cannot be drawn."""
        where = f"The mark {self.name!r}"
        _one_of(self.meaning, MEANINGS, f"{where} has the meaning")
        told: dict[str, Any] = {"kind": self.kind, "id": self.name, "panel": self.panel, "cls": self.meaning}
        told |= {"label": getattr(self, "label", ""), "weight": getattr(self, "weight", "normal")}
        told |= {"drag": [], "ghost": self.ghost}
        _one_of(told["weight"], WEIGHTS, f"{where} has the weight")
        told |= {name: numbers(getattr(self, name)) for name in self.arrays}
        lengths = {len(told[name]) for name in self.arrays}
        if len(lengths) > 1:
            sizes = ", ".join(f"{name} {len(told[name])}" for name in self.arrays)
            raise ValueError(f"{where} has arrays of different lengths: {sizes}.")
        return told


@dataclass(frozen=True)
class Line(Mark):
    """A curve through `x` (m,) and `y` (m,), or as many curves as `y` (n, m) has rows."""

    x: ArrayLike
    y: ArrayLike
    label: str = ""
    weight: str = "normal"

    kind = "line"

    def data(self) -> dict[str, Any]:
        """The line as plain data."""
        x, y = np.shape(self.x), np.shape(self.y)
        if len(x) != 1 or len(y) not in (1, 2) or y[-1] != x[0]:
            raise ValueError(
                f"The mark {self.name!r} has x of shape {x} and y of shape {y}: give (m,) and (m,) or (n, m)."
            )
        return super().data() | {"x": numbers(self.x), "y": numbers(self.y)}


@dataclass(frozen=True)
class Band(Mark):
    """The area between `low` (m,) and `high` (m,) over `x` (m,)."""

    x: ArrayLike
    low: ArrayLike
    high: ArrayLike
    label: str = ""
    weight: str = "normal"

    kind = "band"
    arrays = ("x", "low", "high")


@dataclass(frozen=True)
class Dots(Mark):
    """Dots at `x` (m,) and `y` (m,), or one at two numbers: `size` pixels wide, of a `shape` out of `SHAPES`."""

    x: ArrayLike
    y: ArrayLike
    label: str = ""
    drag: Drag | Sequence[Drag] = ()
    size: float = 9.0
    shape: str | None = None

    kind = "dots"
    arrays = ("x", "y")

    def data(self) -> dict[str, Any]:
        """The dots as plain data."""
        shape = self.shape or ("o" if self.meaning == GUIDE else style.POINT[self.meaning]["marker"])
        _one_of(shape, SHAPES, f"The mark {self.name!r} has the shape")
        return super().data() | {"shape": shape, "size": float(self.size), "drag": _drags(self.drag)}


@dataclass(frozen=True)
class Span(Mark):
    """Straight lines from `x`, `y` (m,) to `x1`, `y1` (m,): bars, arrows without heads, ways."""

    x: ArrayLike
    y: ArrayLike
    x1: ArrayLike
    y1: ArrayLike
    label: str = ""
    weight: str = "normal"

    kind = "span"
    arrays = ("x", "y", "x1", "y1")


@dataclass(frozen=True)
class Rule(Mark):
    """A straight line through the whole panel `at` one value of the `axis` `"x"` or `"y"`, or at several."""

    axis: str
    at: ArrayLike
    label: str = ""
    drag: Drag | Sequence[Drag] = ()
    weight: str = "normal"

    kind = "rule"
    arrays = ("at",)

    def data(self) -> dict[str, Any]:
        """The rule as plain data."""
        _one_of(self.axis, ("x", "y"), f"The mark {self.name!r} has the axis")
        return super().data() | {"axis": self.axis, "drag": _drags(self.drag)}


@dataclass(frozen=True)
class Text(Mark):
    """Words at `x` and `y`, or several; `anchor` says which end of them stands there."""

    x: ArrayLike
    y: ArrayLike
    text: str | Sequence[str]
    anchor: str = "start"

    kind = "text"
    arrays = ("x", "y")

    def data(self) -> dict[str, Any]:
        """The words as plain data."""
        _one_of(self.anchor, ANCHORS, f"The mark {self.name!r} has the anchor")
        words = [self.text] if isinstance(self.text, str) else list(map(str, self.text))
        told = super().data() | {"text": words, "anchor": self.anchor}
        if len(words) != len(told["x"]):
            raise ValueError(f"The mark {self.name!r} has {len(words)} texts for {len(told['x'])} places.")
        return told


@dataclass(frozen=True)
class Heat(Mark):
    """A shade over a rectangle, `x` (low, high), `y` (low, high): `z` (rows, columns) from 0 to 1, lowest row first."""

    x: ArrayLike
    y: ArrayLike
    z: ArrayLike
    label: str = ""

    kind = "heat"
    arrays = ("x", "y")

    def data(self) -> dict[str, Any]:
        """The shade as plain data: `z` in 256 steps, highest row first, in base64."""
        z = np.asarray(self.z, dtype=float)
        if z.ndim != 2 or not np.all((z >= 0) & (z <= 1)):
            raise ValueError(f"The mark {self.name!r} takes a table z of numbers from 0 to 1.")
        levels = np.round(255 * z[::-1]).astype(np.uint8)
        return super().data() | {"shape": list(z.shape), "z": b64encode(levels.tobytes()).decode()}


@dataclass(frozen=True)
class Scene:
    """Panels by name, and the marks on them."""

    panels: Mapping[str, Panel]
    marks: Sequence[Mark]

    def data(self, sliders: Sequence[str] | None = None) -> dict[str, Any]:
        """The scene as plain data; ValueError in a sentence where it does not hold together.

        `sliders` are the names that a `Drag` may move; left out, any.
        """
        panels = []
        for name, panel in self.panels.items():
            _one_of(panel.meaning, MEANINGS, f"The panel {name!r} has the meaning")
            axes = {side: getattr(panel, side).data(f"The axis {side} of panel {name!r}") for side in ("x", "y")}
            panels.append({"name": name, "title": panel.title, "cls": panel.meaning} | axes)
        marks = [mark.data() for mark in self.marks]
        places = [(mark["panel"], mark["id"]) for mark in marks]
        for panel_name, name in places:
            _one_of(panel_name, tuple(self.panels), f"The mark {name!r} is on the panel")
            if places.count((panel_name, name)) > 1:
                raise ValueError(f"Two marks of panel {panel_name!r} have the name {name!r}.")
        for mark in marks:
            _check_drags(mark, marks, sliders)
        return {"panels": panels, "marks": marks}


def numbers(values: ArrayLike) -> list[float | None]:
    """The values in one row, at five digits; None for what is not finite."""
    given = np.ravel(np.asarray(values, dtype=float))
    finite = np.isfinite(given)
    size = np.abs(np.where(finite & (given != 0), given, 1.0))
    power = np.clip(4 - np.floor(np.log10(size)), -300, 300)
    # Divided by a whole power of ten, never multiplied by a fraction: so the text of the number stays short.
    up, down = 10.0 ** np.maximum(power, 0), 10.0 ** np.maximum(-power, 0)
    with np.errstate(over="ignore"):
        short = np.round(np.where(finite, given, 0.0) * up / down) * down / up
    return [float(value) if ok else None for value, ok in zip(short, finite, strict=True)]


def _one_of(value: Any, allowed: Sequence[str], what: str) -> None:
    if value not in allowed:
        raise ValueError(f"{what} {value!r}, which is none of {', '.join(map(repr, allowed))}.")


def _drags(drag: Drag | Sequence[Drag]) -> list[dict[str, Any]]:
    given = [drag] if isinstance(drag, Drag) else drag
    return [asdict(one) for one in given]


def _check_drags(mark: dict[str, Any], marks: list[dict[str, Any]], sliders: Sequence[str] | None) -> None:
    lines = [m["id"] for m in marks if m["kind"] == "line" and m["panel"] == mark["panel"]]
    for drag in mark["drag"]:
        named = [name for name in (drag["x"], drag["y"]) if name is not None]
        if not named:
            raise ValueError(f"The drag of mark {mark['id']!r} moves nothing: name a slider for x, for y, or for both.")
        if not (drag["scale_x"] > 0 and drag["scale_y"] > 0):
            raise ValueError(f"The drag of mark {mark['id']!r} has a scale that is not positive.")
        for name in named if sliders is not None else ():
            _one_of(name, tuple(sliders or ()), f"The drag of mark {mark['id']!r} moves")
        if drag["along"] is not None:
            _one_of(drag["along"], tuple(lines), f"The drag of mark {mark['id']!r} rides along")
        if mark["kind"] == "dots" and not 0 <= drag["index"] < len(mark["x"]):
            raise ValueError(f"The drag of mark {mark['id']!r} is for dot {drag['index']} of {len(mark['x'])}.")
