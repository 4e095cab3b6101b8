"""Explorers drawn in the browser: a scene described as data, marks to take hold of, and a sentence that reads it.

An explorer is three functions, and each can be tested without the others:

```python
def compute(omega):                          # numbers in, numbers out; Refused with one sentence where it cannot
    eta = np.linspace(-3, 3, 121)
    return omega, eta, np.exp(-0.5 * (eta / omega) ** 2) / (np.sqrt(2 * np.pi) * omega)

def scene(result):                           # the picture as data: see scene.py
    omega, eta, density = result
    return Scene(
        panels={"density": Panel(Axis(-3, 3, "eta"), Axis(0, 2, "density"))},
        marks=[
            Line("density", "curve", "prior", eta, density),
            Dots("density", "SD", "prior", omega, np.interp(omega, eta, density), drag=Drag("omega", along="curve")),
        ],
    )

def say(result):                             # in words; what stands after a line break waits behind *Numbers*
    return f"The density is highest at 0.\\nIt is {result[2].max():.2f} there."

explorer = Stage(compute, scene, say, {"omega": Slider("Prior SD", 0.2, 3, 1)},
                 alt="The density of a random effect.", layout=["density"])
explorer                                     # as the last line of a cell
explorer.set(omega=0.3)                      # moves the control as a hand would; raises what the hand would be shown
```

`stage.js` draws it, `stage.css` is its look, and `still.py` paints the same scene for pages without a kernel.
"""

import html
import json
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from mefit import style
from workshop.explorers.controls import Control, Controlled, Refused, Slider, Switch, sentence_of
from workshop.explorers.scene import GUIDE, Scene
from workshop.explorers.still import still

Move = tuple[str, Mapping[str, Any]]  # a few words for a button, and the values to go to
_HERE = Path(__file__).parent
_PIXELS = 100 / 72  # in a point, as matplotlib draws on the screen


@cache
def look() -> str:
    """The style sheet: the palette of `mefit.plots.style` for the light theme, then `stage.css`."""
    rules = []
    colours = "".join(f"--{meaning}:{colour};" for meaning, colour in style.COLOUR.items())
    # First, and through :where, which counts for nothing: what the dark theme says of the same names wins.
    rules.append(f":where(.mefit-stage){{{colours}}}")
    for meaning, line in style.LINE.items():
        dash = line["linestyle"]
        width = 0.8 * _PIXELS * line["linewidth"]
        dashes = "none" if dash == "-" else " ".join(f"{width * part:.3g}" for part in dash[1])
        rules.append(f".mefit-stage .{meaning}{{--colour:var(--{meaning});--width:{width:.3g}px;--dash:{dashes};}}")
    rules.append(f".mefit-stage .{GUIDE}{{--colour:var(--guide);--width:1.6px;--dash:none;}}")
    rules.append(f".mefit-stage .title.{GUIDE}{{--colour:var(--ink);}}")
    rules.append(f".mefit-stage .text.{GUIDE}{{--colour:var(--faint);}}")
    return "\n".join(rules) + "\n" + (_HERE / "stage.css").read_text(encoding="utf-8")


class View(anywidget.AnyWidget):
    """What the browser knows: `setup`, which never changes, and `shown`, the present state as one text of JSON.

    One text, so that picture and words never disagree, and because a saved notebook sorts the names of what is a
    dictionary and writes each number on a line of its own. `heard` gets each message; a first one is answered here.
    """

    setup = traitlets.Dict().tag(sync=True)
    shown = traitlets.Unicode("").tag(sync=True)

    def __init__(self, setup: Mapping[str, Any], heard: Callable[[Mapping[str, Any]], None]):
        super().__init__(setup=setup)
        self._heard = heard
        self.add_class("mefit-stage-view")
        self.on_msg(self._answer)

    def show(self, told: Mapping[str, Any]) -> None:
        """Tell the browser the present state."""
        self.shown = json.dumps(told, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    def _answer(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if message.get("kind") == "hello":
            self.send({"kind": "here"})
        self._heard(message)


class _StageView(View):
    _esm = (_HERE / "stage.js").read_text(encoding="utf-8")
    _css = look()


class Stage(Controlled):
    """An explorer drawn in the browser, and the same picture at rest where no kernel runs.

    **Arguments**

    - `compute(**values) -> result`: pure. What it refuses by `Refused` is shown as a sentence in the error line;
      anything else is a fault of the kit, shown as such and raised. In both cases the picture stays as it was.
    - `scene(result) -> Scene`: the picture as data.
    - `say(result) -> str`: one or two sentences; what stands after a line break is shown behind *Numbers*.
    - `controls`: name to `Slider`, `Choice` or `Switch`; the names are those of `compute`'s arguments.
    - `alt`: what the picture is a picture of, for those who do not see it; `say` tells them what it shows.
    - `layout`: rows of panel names, as in `["left right", "below right"]`; `widths` and `heights` of columns and rows.
    - `size`: width and height of the picture at rest in pixels. In the browser it fills the width that it has.
    - `tries`: moves for buttons, each a few words and the values to go to. Sliders go there step by step, the picture
      with them; pressing the button again stops them.
    - `live`: False where a move takes long: then it is computed when a slider or a mark is let go, not on the way.

    After each move `values`, `result`, `text` and `seconds` (compute, scene) describe it; `png` paints it at rest.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        scene: Callable[[Any], Scene],
        say: Callable[[Any], str],
        controls: Mapping[str, Control],
        *,
        alt: str,
        layout: Sequence[str],
        widths: Sequence[float] | None = None,
        heights: Sequence[float] | None = None,
        size: tuple[int, int] = (860, 400),
        tries: Sequence[Move] = (),
        live: bool = True,
    ):
        super().__init__(compute, say, controls, alt)
        self.seconds = {"compute": 0.0, "scene": 0.0}
        self._scene = scene
        self._sliders = [name for name, control in self.controls.items() if isinstance(control, Slider)]
        self._layout = list(layout)
        self._widths = list(widths or [1] * len(self._layout[0].split()))
        self._heights = list(heights or [1] * len(self._layout))
        self._size = size
        self._drawn: dict[str, Any] = {}
        self._sentences = ("", "")
        self._asked: tuple[str, int] = ("", 0)  # by which view, and its how manieth move
        self._turn = 0
        self._check_layout(tries)
        setup = {
            "controls": [[name, control_data(control)] for name, control in self.controls.items()],
            "tries": [[words, dict(values)] for words, values in tries],
            "alt": alt,
            "layout": self._layout,
            "widths": self._widths,
            "heights": self._heights,
            "aspect": size[1] / size[0],
            "live": live,
        }
        self.view = _StageView(setup, self._heard)
        self._redraw()

    @property
    def png(self) -> bytes:
        """The present picture, painted at rest with two pixels for each."""
        return style.png(still(self._drawn, self._layout, self._widths, self._heights, self._size, self.alt))

    def frames(self, **over: Sequence[Any]) -> dict[str, Any]:
        """The states for all combinations of some controls' values, the last named changing fastest, as plain data.

        `explorer.frames(tau=[1, 5, 25], form=["centred"])` computes without a browser and moves nothing; the other
        controls stay where they are. `over` lists the names with their values; `states` has for each combination
        `panels`, the place of its panels in `panels`; `marks`, the places of its marks in `marks`, where each distinct
        one stands once; and the sentence, `say` and `more`. Where `compute` refuses, `error` says so and the rest is
        missing.
        """
        unknown = [name for name in over if name not in self.controls]
        if unknown:
            raise ValueError(f"There is no control {unknown[0]!r}; there are {', '.join(map(repr, self.controls))}.")
        grid = {name: [self.controls[name].check(value) for value in values] for name, values in over.items()}
        panels, marks = _Distinct(), _Distinct()
        states: list[dict[str, Any]] = []
        for values in product(*grid.values()):
            try:
                result = self._compute(**self._values | dict(zip(grid, values, strict=True)))
            except Refused as refusal:
                states.append({"error": str(refusal)})
                continue
            drawn = self._scene(result).data(self._sliders)
            say, more = _sentences(self._say(result))
            places = [marks.place(mark) for mark in drawn["marks"]]
            states.append({"panels": panels.place(drawn["panels"]), "marks": places, "say": say, "more": more})
        return {
            "over": [[*pair] for pair in grid.items()],
            "panels": panels.kept,
            "marks": marks.kept,
            "states": states,
        }

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The living view, and at rest: a picture with its sentence for a page, a bare picture, bare text."""
        picture, text, alt = b64encode(self.png).decode(), html.escape(self.text), html.escape(self.alt)
        size = {"width": self._size[0], "height": self._size[1]}
        source = f"data:image/png;base64,{picture}"
        page = f'<img alt="{alt}" width="{self._size[0]}" style="max-width:100%" src="{source}"><p>{text}</p>'
        rest = {"text/html": page, "image/png": picture, "text/plain": self.text}
        living, _metadata = self.view._repr_mimebundle_() or ({}, {})
        return {**living, **rest}, {"image/png": size | {"alt": f"{self.alt} {self.text}"}}

    # A move

    def _heard(self, message: Mapping[str, Any]) -> None:
        """Answer the browser's moves."""
        if message.get("kind") == "move":
            self._asked = (message["who"], message["turn"])
            self._values |= {name: self.controls[name].check(value) for name, value in message["values"].items()}
            self._redraw(by_hand=True)

    def _redraw(self, by_hand: bool = False) -> None:
        clock = [time.perf_counter()]
        error = ""
        try:
            result = self._compute(**self._values)
            clock.append(time.perf_counter())
            told = self._say(result)
            self._drawn = self._scene(result).data(self._sliders)
            clock.append(time.perf_counter())
            self.result = result
            self.seconds = {"compute": clock[1] - clock[0], "scene": clock[2] - clock[1]}
            self._sentences = _sentences(told)
            self.text = " ".join(filter(None, self._sentences))
        except Exception as failure:
            # Said on the page too: what a callback raises in answer to a browser goes to a log that no learner opens.
            refused = isinstance(failure, Refused) and len(clock) == 1
            error = sentence_of(failure, refused)
            if not (refused and by_hand):
                raise
        finally:
            self._show(error)

    def _show(self, error: str) -> None:
        if not self._drawn:
            return  # the first picture failed, and there is nothing to show
        self._turn += 1
        who, turn = self._asked
        told = {"seq": self._turn, "who": who, "turn": turn, "values": self._values, "scene": self._drawn}
        told |= {"say": self._sentences[0], "more": self._sentences[1], "error": error}
        self.view.show(told)

    def _check_layout(self, tries: Sequence[Move]) -> None:
        columns = {len(row.split()) for row in self._layout}
        if columns != {len(self._widths)} or len(self._heights) != len(self._layout):
            sizes = f"{len(self._widths)} widths and {len(self._heights)} heights"
            raise ValueError(f"The layout {self._layout} does not go with {sizes}.")
        for words, values in tries:
            for name, value in values.items():
                if name not in self.controls:
                    raise ValueError(f"The move {words!r} is of {name!r}, which is no control.")
                self.controls[name].check(value)


class _Distinct:
    """Plain data, each kept once."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, one: Any) -> int:
        key = json.dumps(one)
        if key not in self._places:
            self._places[key] = len(self.kept)
            self.kept.append(one)
        return self._places[key]


def _sentences(told: str) -> tuple[str, str]:
    """What is shown, and what waits behind *Numbers*."""
    first, _, more = told.partition("\n")
    return first, more


def control_data(control: Control) -> dict[str, Any]:
    """A control as plain data for the browser."""
    told = asdict(control)
    if isinstance(control, Slider):
        return told | {"kind": "slider", "whole": control.whole}
    if isinstance(control, Switch):
        return told | {"kind": "switch"}
    return told | {"kind": "choice", "options": list(control.options)}
